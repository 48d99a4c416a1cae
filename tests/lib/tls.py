# SPDX-License-Identifier: MIT
"""For tests of TLS: certificates, and smtpd-tls as it is started for a connection and as a
server."""

import array
import contextlib
import os
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from conftest import missing, need
from session import PATIENCE

NAME = "mx.example.com"


def openssl(*argv, **more):
    return subprocess.run([need("openssl"), *map(str, argv)], check=True, capture_output=True,
                          timeout=60, **more).stdout


class Certificate:
    """A pair of files. Without an issuer it has signed itself."""

    KINDS = {"ecdsa": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), "rsa": ("rsa:2048",),
             "weak": ("rsa:1024",)}

    def __init__(self, folder, name=NAME, kind="ecdsa", issuer=None, days=(0, 30), subject=None,
                 ca=False):
        stem = Path(folder) / f"{name}.{kind}"
        self.certificate, self.key = Path(f"{stem}.crt"), Path(f"{stem}.key")
        request = Path(f"{stem}.csr")
        subject = subject or f"/CN={name}"
        openssl("req", "-new", "-newkey", *self.KINDS[kind], "-nodes", "-subj", subject, "-utf8",
                "-addext", f"subjectAltName=DNS:{name}",
                *(("-addext", "basicConstraints=critical,CA:TRUE") if ca else ()), "-keyout",
                self.key, "-out", request)
        by = ("-CA", issuer.certificate, "-CAkey", issuer.key,
              "-CAcreateserial") if issuer else ("-signkey", self.key)
        start, end = (time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + n * 86400))
                      for n in days)
        if days[0] == 0:
            openssl("x509", "-req", "-in", request, *by, "-copy_extensions", "copy", "-days",
                    days[1], "-out", self.certificate)
        else:
            self.make_with_dates(folder, request, start, end)
        os.chmod(self.key, 0o600)

    def make_with_dates(self, folder, request, start, end):
        """Only `openssl ca` can begin in the past."""
        index, config = Path(folder) / "index", Path(folder) / "ca.cnf"
        index.write_text("")
        config.write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={index}\nnew_certs_dir={folder}\nrand_serial=yes\ndefault_md=sha256\n"
                          "policy=p\ncopy_extensions=copy\nunique_subject=no\n[p]\ncommonName=optional\n")
        openssl("ca", "-batch", "-selfsign", "-config", config, "-in", request, "-keyfile",
                self.key, "-startdate", start,
                "-enddate", end, "-notext", "-out", self.certificate)

    @property
    def fingerprint(self):
        """SHA-256, with colons."""
        return openssl("x509", "-in", self.certificate, "-noout", "-fingerprint",
                       "-sha256").decode().strip().split("=")[1]

    @property
    def options(self):
        return [f"--certificate={self.certificate}", f"--key={self.key}"]


def issued(folder, name=NAME):
    """With what leads to its issuer, as Let's Encrypt's fullchain.pem has it."""
    issuer = Certificate(folder, f"issuer-of-{name}", ca=True)
    made = Certificate(folder, name, issuer=issuer)
    made.certificate.write_bytes(made.certificate.read_bytes() + issuer.certificate.read_bytes())
    return made


def engine_of(smtpd):
    program = Path(smtpd).parent / "smtpd-tls"
    if not program.exists():
        missing("smtpd-tls was not built: OpenSSL is missing")
    return str(program)


@pytest.fixture
def engine(smtpd):
    return engine_of(smtpd)


@pytest.fixture
def released(release):
    return engine_of(release)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """For certificates of a file of tests."""
    return tmp_path_factory.mktemp("certificates")


def client_context(**settings):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # an end without close_notify is an exception
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 1 << 7)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


def read_variables(control):
    """(what was said, whether TLS began)"""
    data = b""
    while not data.endswith(b"\0\0") and (more := control.recv(4096)):
        data += more
    assert len(data) <= 4096
    variables = dict(one.split(b"=", 1) for one in data.split(b"\0") if one)
    return {name.decode(): value.decode() for name,
            value in variables.items()}, data.endswith(b"\0\0")


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname(), timeout=PATIENCE)
        ours = listener.accept()[0]
    return ours, theirs


class Engine:
    """Executed for a connection: 0 is that, 3 control, 4 the clear side. A context manager."""

    patience = PATIENCE

    def __init__(self, argv, env=None, wire=None):
        self.wire, self.peer = (wire, None) if wire else tcp_pair()
        (self.control, control), (self.clear, clear) = socket.socketpair(), socket.socketpair()
        for ours in (self.control, self.clear):
            ours.settimeout(PATIENCE)
        self.process = self.start(argv, control.detach(), clear.detach(), env)
        self.log = None

    def start(self, argv, control, clear, env):
        def place():  # neither may be where the other one goes
            high = [os.dup2(fd, number) for fd, number in ((control, 103), (clear, 104))]
            for fd, number in zip(high, (3, 4)):
                os.dup2(fd, number, inheritable=True)
            os.closerange(5, 200)

        process = subprocess.Popen(argv, stdin=self.wire, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, close_fds=False,
                                   preexec_fn=place, env=env)
        os.close(control)
        os.close(clear)
        return process

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in filter(None, (self.control, self.clear, self.wire, self.peer)):
            one.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def connect(self, context=None, name=NAME, **more):
        """The peer's side, after the handshake."""
        self.peer.settimeout(self.patience)
        self.peer = (context or client_context()).wrap_socket(self.peer, server_hostname=name,
                                                              suppress_ragged_eofs=False, **more)
        return self.peer

    def answer(self):
        return read_variables(self.control)

    def end(self):
        """(exit status, log)"""
        status = self.process.wait(PATIENCE)
        self.log = self.process.stderr.read().decode()
        return status, self.log


def send_request(to, data, *sockets):
    fds = array.array("i", [one.fileno() for one in sockets])
    to.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if sockets else [])


def send_request_of_a_session(*request):
    """From a process of its own, as each session is one: who asks is counted."""
    if (pid := os.fork()) == 0:
        try:
            send_request(*request)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


class Server:
    """smtpd-tls --serve. Its requests come on a pair of sockets, or with a path on a socket that
    listens there."""

    def __init__(self, argv, path=None, env=None, stderr=subprocess.PIPE, patience=PATIENCE):
        self.path, self.stderr, self.patience = path, stderr, patience
        if path:
            theirs = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            theirs.bind(str(path))
            theirs.listen(64)
            self.asker = None
        else:
            self.asker, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ready_fd, ready = os.pipe()
        self.theirs, self.argv, self.env = theirs, [*argv, "--serve"], env
        self.start(ready)

    def start(self, ready=None):
        """Also once more: on the same socket."""
        if ready is None:
            os.close(self.ready_fd)
            self.ready_fd, ready = os.pipe()
        place = lambda: os.dup2(ready, 3, inheritable=True)  # noqa: E731
        self.process = subprocess.Popen(self.argv, stdin=self.theirs, stdout=subprocess.DEVNULL,
                                        stderr=self.stderr, close_fds=False,
                                        preexec_fn=place, env=self.env)
        os.close(ready)

    def wait_until_ready(self):
        assert os.read(self.ready_fd, 100) == b"ready\n" and os.read(self.ready_fd, 100) == b""
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.ready_fd)
        self.theirs.close()
        if self.asker:
            self.asker.close()
        self.process.kill()
        self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()

    def asker_of(self):
        """A socket to ask on."""
        if not self.path:
            return self.asker.dup()
        asker = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        asker.connect(str(self.path))
        return asker

    def ask(self, data=b"Y\0HOSTNAME=mx.example.com\0PEER=192.0.2.1:25\0", asker=None,
            send=send_request_of_a_session):
        return Asked(data, asker or self.asker_of(), send, self.patience)

    def end(self):
        """Its children may go on, and have its log too: what is there now is all."""
        status = self.process.wait(self.patience)
        os.set_blocking(self.process.stderr.fileno(), False)
        return status, (self.process.stderr.read() or b"").decode()


class Asked:
    """A connection that a server was asked to speak TLS on, with the names of Engine."""

    connect, answer = Engine.connect, Engine.answer

    def __init__(self, data, asker, send=send_request, patience=PATIENCE):
        self.patience = patience
        self.wire, self.peer = tcp_pair()
        (self.control, control), (self.clear, clear) = socket.socketpair(), socket.socketpair()
        for ours in (self.control, self.clear):
            ours.settimeout(patience)
        send(asker, data, self.wire, control, clear)
        for theirs in (control, clear, asker):
            theirs.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in (self.control, self.clear, self.wire, self.peer):
            one.close()

    def talk(self, context=None, **more):
        """A word each way."""
        self.connect(context, **more)
        variables, is_secure = self.answer()
        assert is_secure, variables
        self.clear.sendall(b"220 hi\r\n")
        assert self.peer.recv(100) == b"220 hi\r\n"
        self.peer.sendall(b"QUIT\r\n")
        assert self.clear.recv(100) == b"QUIT\r\n"
        return variables
