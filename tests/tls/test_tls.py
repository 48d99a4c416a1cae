# SPDX-License-Identifier: MIT
"""TLS, as the session has it (src/tls.c), with each kind of engine. The engine is one of
tests/lib/engine.py; smtpd-tls has tests of its own."""

import os
import re
import shutil
import socket
import subprocess
import sys

import pytest
from engine import Engine, Relay, Secure, make_certificate
from processes import broker_of
from session import PATIENCE, PYTHON, command, environment, tcp_pair
from tls_session import SMALL, deliver, end_of, session_line, tls_session, warnings
from upstream import Upstream

PROTOCOL = rb'TLSv1\.[23] [A-Z0-9_-]+'


class Shared:
    """tls-engine=/SOCKET"""

    has_broker = False

    def __init__(self, folder):
        self.engine = Engine(folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.engine.__exit__()

    def session(self, smtpd, folder, mode, *options):
        return Secure(command(smtpd, *self.engine.options(mode), *options), folder, tcp_pair())


class Inherited(Shared):
    """$SMTPD_TLS_FD, as the acceptor has it for its sessions"""

    def session(self, smtpd, folder, mode, *options):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as requests:
            requests.connect(str(self.engine.path))
            fd = requests.fileno()
            return Secure(command(smtpd, f"--tls={mode}", *options), folder, tcp_pair(),
                          pass_fds=[fd], env=environment(SMTPD_TLS_FD=str(fd)))


class Ucspi(Shared):
    """A starter: it has the connection too, and speaks TLS on it when it is told "Y"."""

    def __init__(self, folder):
        self.certificate = make_certificate(folder)
        self.engine = Engine(folder)  # for its threads

    def wait_for_order(self, relay):
        if relay.control.recv(1) == b"Y":
            relay.speak()

    def session(self, smtpd, folder, mode, *options):
        ours, theirs = tcp_pair()
        control, plain = socket.socketpair(), socket.socketpair()
        fds = [control[1].fileno(), plain[1].fileno()]
        relay = Relay(self.certificate, theirs.dup(), control[0], plain[0])
        self.engine.start(self.wait_for_order, relay)
        with control[1], plain[1]:
            env = environment(SSLCTLFD=str(fds[0]), SSLREADFD=str(fds[1]), SSLWRITEFD=str(fds[1]),
                              SSL_PROTOCOL="lie")
            return Secure(command(smtpd, f"--tls={mode}", *options), folder, (ours, theirs),
                          pass_fds=fds, env=env)


class UcspiOfTwo(Ucspi):
    """The client's words and ours take two ways."""

    def session(self, smtpd, folder, mode, *options):
        ours, theirs = tcp_pair()
        control, read, write = socket.socketpair(), socket.socketpair(), socket.socketpair()
        fds = [control[1].fileno(), read[1].fileno(), write[1].fileno()]
        relay = Relay(self.certificate, theirs.dup(), control[0], write[0], read[0])
        self.engine.start(self.wait_for_order, relay)
        with control[1], read[1], write[1]:
            env = environment(SSLCTLFD=str(fds[0]), SSLREADFD=str(fds[1]), SSLWRITEFD=str(fds[2]))
            return Secure(command(smtpd, f"--tls={mode}", *options), folder, (ours, theirs),
                          pass_fds=fds, env=env)


class Own(Shared):
    """tls-certificate=FILE: the broker starts smtpd-tls, which is looked for beside smtpd"""

    has_broker = True

    def __init__(self, folder):
        self.certificate = make_certificate(folder)

    def __exit__(self, *_):
        pass

    def session(self, smtpd, folder, mode, *options):
        copy = shutil.copy(smtpd, folder)
        helper = folder / "smtpd-tls"
        here = os.path.dirname(sys.modules[Engine.__module__].__file__)
        helper.write_text(f"#!{PYTHON} -I\nimport sys\nsys.path.insert(0, {here!r})\n"
                          f"import engine\nengine.stand_alone({str(self.certificate)!r})\n")
        helper.chmod(0o755)
        options = [f"--tls={mode}", f"--tls-certificate={self.certificate}", *options]
        return Secure(command(copy, *options), folder, tcp_pair())


ENGINES = [pytest.param(kind, id=kind.__name__.lower())
           for kind in (Shared, Inherited, Ucspi, UcspiOfTwo, Own)]


@pytest.mark.parametrize("kind", ENGINES)
def test_starttls(smtpd, tmp_path, kind):
    with kind(tmp_path) as engine, engine.session(smtpd, tmp_path, "starttls") as session:
        session.expect((None, b"220 "))
        assert b"250-STARTTLS\r\n" in session.ask(b"EHLO client.example.org")
        session.start_tls()
        session.expect((b"MAIL FROM:<a@example.org>", b"503 "))
        assert b"STARTTLS" not in session.ask(b"EHLO client.example.org")
        session.expect((b"STARTTLS", b"503 "))
        assert (broker_of(session.pid) is not None) == engine.has_broker
        deliver(session)
        for line in re.findall(rb"^smtpd: (?:session|message) .*$", session.err(), re.M):
            assert re.search(rb' protocol=ESMTPS tls="' + PROTOCOL + rb'" ', line)
            assert b" sni=mx.example.com " in line
            assert b"client-certificate" not in line
        assert end_of(session) == b"221 goodbye" and warnings(session) == []


@pytest.mark.parametrize("kind", ENGINES)
def test_implicit(smtpd, tmp_path, kind):
    """Nothing is said before TLS."""
    with kind(tmp_path) as engine, engine.session(smtpd, tmp_path, "implicit") as session:
        session.handshake()
        session.expect((None, b"220 mx.example.com ESMTP "))
        assert b"STARTTLS" not in session.ask(b"EHLO client.example.org")
        session.expect((b"STARTTLS", b"503 "))
        deliver(session)
        assert b" protocol=ESMTPS " in session_line(session)


@pytest.mark.parametrize("kind", ENGINES)
def test_required(smtpd, tmp_path, kind):
    with kind(tmp_path) as engine, engine.session(smtpd, tmp_path, "required") as session:
        session.expect((None, b"220 "), (b"MAIL FROM:<a@example.org>", b"530 5.7.0 "),
                       (b"EHLO client.example.org", b"250-"),
                       (b"MAIL FROM:<a@example.org>", b"530 5.7.0 "), (b"VRFY b", b"530 5.7.0 "),
                       (b"NOOP", b"250 "))
        session.start_tls()
        session.expect((b"EHLO client.example.org", b"250-"))
        deliver(session)


@pytest.mark.parametrize("mode", ["starttls", "required", "implicit"])
def test_a_transcript_has_none(release, tmp_path, mode):
    """It is its user's own."""
    with Engine(tmp_path) as engine:
        (tmp_path / "transcript").write_bytes(b"EHLO c\nSTARTTLS\nMAIL FROM:<a@b.example>\nQUIT\n")
        with open(tmp_path / "transcript", "rb") as file:
            done = subprocess.run(command(release, *engine.options(mode)), stdin=file, check=True,
                                  capture_output=True, timeout=PATIENCE, env=environment())
        n_lines = done.stdout.count(b"\n250-") + 1  # of the reply to EHLO
        codes = [b"220"] + [b"250"] * n_lines + [b"502", b"250", b"221"]
        assert re.findall(rb"^\d{3}", done.stdout, re.M) == codes
        assert b"STARTTLS" not in done.stdout and engine.requests == []


def test_request(smtpd, tmp_path):
    """What the engine is told; and all that it is given."""
    with Engine(tmp_path) as engine, tls_session(smtpd, tmp_path, engine) as session:
        port = session.ours.getsockname()[1]
        session.begin("EHLO")
        assert engine.requests == []
        session.start_tls()
        assert engine.requests == [(b"Y\0HOSTNAME=mx.example.com\0PEER=127.0.0.1:%d\0" % port, 3)]


def test_variables(smtpd, tmp_path):
    """Of smtpd-exec(7)."""
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\nenv >{tmp_path}/env\n")
    hook.chmod(0o755)
    answer = (b"SSL_PROTOCOL=TLSv1.3\0SSL_CIPHER=X\x1b[m\xff\0SSL_TLS_SNI=a\nb\0"
              b"SSL_CLIENT_VERIFY=FAILED:too old\0SSL_CLIENT_FINGERPRINT=00ff\0\0")
    options = ["--strategy=exec", f"--command={hook}"]

    def speak(relay):
        relay.answer = lambda: relay.control.sendall(answer)
        relay.speak()

    with Engine(tmp_path, speak) as engine, tls_session(
            smtpd, tmp_path, engine, *options) as session:
        session.begin("EHLO")
        session.start_tls()
        session.expect((b"EHLO client.example.org", b"250-"))
        assert session.send_message(SMALL).startswith(b"250 ") and session.end() == 0
        line = session_line(session)
        assert b' tls="TLSv1.3 X?[m?" client-certificate=sha256:00ff ' in line
        assert b" sni=a?b " in line
    lines = (tmp_path / "env").read_bytes().split(b"\n")
    assert {line for line in lines if line.startswith((b"SMTPD_TLS", b"SMTPD_PROTOCOL"))} == {
        b"SMTPD_PROTOCOL=ESMTPS", b"SMTPD_TLS=TLSv1.3", b"SMTPD_TLS_CIPHER=X?[m?",
        b"SMTPD_TLS_SNI=a?b", b"SMTPD_TLS_CLIENT_FINGERPRINT=00ff",
        b"SMTPD_TLS_CLIENT_VERIFY=FAILED:too old"}


def test_proxy(smtpd, tmp_path):
    """Received says what it came in."""
    with Engine(tmp_path) as engine, Upstream() as up:
        options = ["--strategy=proxy", f"--upstream=127.0.0.1:{up.port}", "--relay-to=example.com"]
        with tls_session(smtpd, tmp_path, engine, *options) as session:
            session.begin("EHLO")
            session.start_tls()
            session.expect((b"EHLO other.example.org", b"250-"))
            assert session.send_message(SMALL).startswith(b"250 ") and session.end() == 0
        (message,) = up.messages
        version = re.search(rb' tls="(TLSv1\.[23]) ', session_line(session))[1]
        received = (rb"Received: from other\.example\.org \(\[127\.0\.0\.1\]\)\n"
                    rb"\tby mx\.example\.com \(smtpd\) with ESMTPS \(%b\) id [0-9a-f.]+\n")
        assert re.match(received % version, message.text)
