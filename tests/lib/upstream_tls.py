# SPDX-License-Identifier: MIT
"""Upstreams (tests/lib/upstream.py) with TLS and AUTH, what a session is told of them, and what it
says."""

import base64
import re
import ssl

import pytest
from logs import lines
from tls import Certificate, engine_of
from upstream import EVERYTHING, Gone, Upstream


def context_of(certificate, **settings):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


def begin_tls(c, context):
    """The server's side, on a connection of a script."""
    try:
        c.sock = context.wrap_socket(c.sock, server_side=True)
    except OSError as error:
        c.tls_error = error
        raise Gone from error
    c.is_secure = True


def start_tls(certificate, behind=b"", **settings):
    """To STARTTLS."""
    context = context_of(certificate, **settings)

    def act(c):
        c.send(b"220 2.0.0 go on\r\n" + behind)
        begin_tls(c, context)

    return act


def implicit(certificate, **settings):
    """In the place of a greeting: TLS, and then the greeting."""
    context = context_of(certificate, **settings)

    def act(c):
        begin_tls(c, context)
        c.send(b"220 up.example ESMTP\r\n")

    return act


def ehlo(*words):
    words = ["up.example", *words]
    return "".join(f"250{'-' if i < len(words) - 1 else ' '}{w}\r\n" for i,
                   w in enumerate(words)).encode()


def offers(*words):
    """To EHLO: STARTTLS in clear, and what else is offered once there is TLS."""

    def act(c):
        c.send(ehlo(*EVERYTHING, *words) if getattr(c, "is_secure", False)
               else ehlo(*EVERYTHING, "STARTTLS"))

    return act


def secure(certificate, *words, **more):
    """A script: STARTTLS."""
    return {"EHLO": offers(*words), "LHLO": offers(*words),
            "STARTTLS": start_tls(certificate)} | more


class Account:
    """To AUTH: who may log in. What came is in `said`."""

    def __init__(self, user, password, refusal=b"535 5.7.8 bad credentials\r\n"):
        self.user, self.password, self.refusal = user.encode(), password.encode(), refusal
        self.said, self.secure = [], []

    def challenge(self, c, text=b""):
        c.send(b"334 " + base64.b64encode(text) + b"\r\n")
        line = c.line()
        c.commands.append(line)
        return base64.b64decode(line)

    def __call__(self, c):
        _, mechanism, *initial = c.commands[-1].split(b" ")
        self.secure.append(getattr(c, "is_secure", False))
        if mechanism == b"LOGIN":
            said = (self.challenge(c, b"Username:"), self.challenge(c, b"Password:"))
        else:
            said = base64.b64decode(initial[0])
        self.said.append((mechanism, said))
        right = {b"PLAIN": b"\0" + self.user + b"\0" + self.password,
                 b"LOGIN": (self.user, self.password),
                 b"XOAUTH2": b"user=" + self.user + b"\1auth=Bearer " + self.password + b"\1\1"}
        if said == right[mechanism]:
            c.send(b"235 2.7.0 welcome\r\n")
            return
        if mechanism == b"XOAUTH2":
            assert self.challenge(c, b'{"status":"401"}') == b""
        c.send(self.refusal)


HOST = "up.example"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """Certificates of our own authority, and others."""
    folder = tmp_path_factory.mktemp("pki")
    it = {"ca": Certificate(folder, "authority", ca=True), "folder": folder}
    it["good"] = Certificate(folder, HOST, issuer=it["ca"])
    it["other"] = Certificate(folder, "elsewhere.example", issuer=it["ca"])
    it["self"] = Certificate(folder, "self.example")
    it["expired"] = Certificate(folder, "expired.example", days=(-10, -1), ca=True)
    return it


@pytest.fixture(autouse=True)
def engine(request):
    for name in ("smtpd", "release"):
        if name in request.fixturenames:
            engine_of(request.getfixturevalue(name))


def tls(mode, pki=None, name=HOST, **more):
    options = [f"--upstream-tls={mode}"]
    if pki:
        options += [f"--upstream-tls-ca={pki['ca'].certificate}", f"--upstream-tls-name={name}"]
    return options + [f"--upstream-{key.replace('_', '-')}={value}" for key, value in more.items()]


def check_refused(outcome, up, reason):
    assert outcome.last.startswith(
        b"451 4.7.5 the upstream server cannot be reached over TLS"), outcome.replies
    line = lines(outcome.log, "upstream")[0]
    assert re.search(reason.encode(), b" ".join(value for _, value in line.fields)), outcome.log
    assert up.messages == [] and not any(b"MAIL" in c.raw for c in up.connections)


__all__ = ["Account", "Upstream", "context_of", "ehlo", "implicit", "offers", "secure", "start_tls"]
