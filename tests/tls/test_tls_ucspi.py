# SPDX-License-Identifier: MIT
"""smtpd-tls starts programs that ask for TLS by themselves: UCSPI-TLS."""

import contextlib
import os
import smtplib
import subprocess

from conftest import need
from session import PATIENCE, command
from tls import NAME, client_context, engine, engine_of, folder, tcp_pair
from tls_peer import ours, until_closed

_ = engine, folder, ours  # fixtures

ASKER = """
import os, socket, sys
control, clear = (socket.socket(fileno=int(os.environ[name])) for name in ("SSLCTLFD", "SSLREADFD"))
assert os.environ["SSLWRITEFD"] == os.environ["SSLREADFD"]
wire = socket.socket(fileno=os.dup(0))
wire.sendall(b"220 clear\\r\\n")
if wire.recv(100) != b"STARTTLS\\r\\n":
    sys.exit(7)
control.sendall(b"Y")
wire.sendall(b"220 go on\\r\\n")
data = b""
while not data.endswith(b"\\0\\0"):
    data += control.recv(4096)
assert b"SSL_PROTOCOL=TLSv1.3\\0" in data
clear.sendall(b"220 secure\\r\\n")
assert clear.recv(100) == b"QUIT\\r\\n"
"""


@contextlib.contextmanager
def started(engine, ours, *argv, log=subprocess.PIPE):
    """(what was started, the client's socket)"""
    wire, peer = tcp_pair()
    process = subprocess.Popen([engine, *ours.options, *argv], stdin=wire, stdout=wire, stderr=log,
                               env=os.environ
                               | {"PROTO": "TCP", "TCPREMOTEIP": "127.0.0.1", "TCPLOCALHOST": NAME})
    wire.close()
    try:
        yield process, peer
    finally:
        peer.close()
        process.kill()
        process.communicate()


def test_program_asks_for_it(engine, ours):
    with started(engine, ours, "python3", "-c", ASKER) as (process, peer):
        assert peer.recv(100) == b"220 clear\r\n"
        peer.sendall(b"STARTTLS\r\n")
        assert peer.recv(100) == b"220 go on\r\n"
        with client_context().wrap_socket(peer, server_hostname=NAME,
                                          suppress_ragged_eofs=False) as secure:
            assert secure.recv(100) == b"220 secure\r\n"
            secure.sendall(b"QUIT\r\n")
            assert secure.recv(100) == b""
        assert process.communicate(timeout=PATIENCE)[1] == b"" and process.returncode == 0


def test_program_does_not_ask(engine, ours):
    """Its exit status is that of the whole, and nothing is left."""
    with started(engine, ours, "python3", "-c", ASKER) as (process, peer):
        assert peer.recv(100) == b"220 clear\r\n"
        peer.sendall(b"QUIT\r\n")
        assert process.communicate(timeout=PATIENCE)[1] == b"" and process.returncode == 7
        assert until_closed(peer) == b""


def test_program_is_missing(engine, ours):
    with started(engine, ours, "/nonexistent/program") as (process, peer):
        assert b"cannot run /nonexistent/program: No such file" in process.communicate(
            timeout=PATIENCE)[1]
        assert process.returncode == 75


def test_mailfront(engine, ours):
    """A whole mail by STARTTLS, to another server that knows nothing of us."""
    program = need("mailfront")
    with started(engine, ours, program, "smtp", "echo", "starttls-ucspi", "accept",
                 log=subprocess.DEVNULL) as (_, peer):
        peer.settimeout(PATIENCE)
        client = smtplib.SMTP(local_hostname="client.example.org", timeout=PATIENCE)
        client.sock = peer
        assert client.getreply()[0] == 220
        assert client.ehlo()[0] == 250 and client.has_extn("starttls")
        client._host = NAME
        assert client.starttls(context=client_context())[0] == 220
        assert client.sock.version() == "TLSv1.3"
        assert client.sendmail("alice@example.org", ["bob@example.net"],
                               "Subject: x\r\n\r\n" + "x" * 70_000 + "\r\n") == {}
        assert client.quit()[0] == 221


def test_smtpd(smtpd, tmp_path, ours):
    """As any other program that asks for it."""
    log = tmp_path / "log"
    with open(log, "wb") as file, started(engine_of(smtpd), ours, *command(smtpd),
                                          log=file) as (process, peer):
        peer.settimeout(PATIENCE)
        client = smtplib.SMTP(local_hostname="client.example.org", timeout=PATIENCE)
        client.sock, client._host = peer, NAME
        assert client.getreply()[0] == 220
        assert client.ehlo()[0] == 250 and client.has_extn("starttls")
        assert client.starttls(context=client_context())[0] == 220
        assert client.sendmail("alice@example.org", ["bob@example.net"],
                               "Subject: x\r\n\r\n" + "x" * 70_000 + "\r\n") == {}
        assert client.quit()[0] == 221
        assert process.wait(PATIENCE) == 0
    assert b' protocol=ESMTPS tls="TLSv1.3 ' in log.read_bytes()
