# SPDX-License-Identifier: MIT
"""TLS of an acceptor with the real engine: each of the processes is killed, at each step of a
session. A message is there whole or not at all, the client's connection ends or goes on, the next
client is served, and nothing is left running."""

import contextlib
import os
import signal
import socket
import ssl
import struct

import pytest
from acceptor import connect, folder
from processes import is_running, running_children
from session import PATIENCE, STAY, wait_until
from tls import NAME, client_context
from tls_peer import hello_of
from tls_real_door import RealDoor, installed
from tls_stand import wait_for_end

_ = folder  # a fixture
STEPS = ["handshake", "EHLO", "DATA", "content", "verdict"]
EHLO = b"EHLO client.example.org\r\n"
ENVELOPE = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"


class Door(RealDoor):
    def __init__(self, smtpd, folder, *options):
        super().__init__(installed(smtpd, folder), folder, None, "--listen-tls=127.0.0.1:0",
                         "--delay=message * 1", "--max-connections-per-source=100", *STAY,
                         *options, n=2)


class Client:
    """TLS from the first octet, up to a step."""

    def __init__(self, door, step):
        self.peer, self.heard = connect(door.addresses[1]), b""
        self.peer.settimeout(PATIENCE)
        if step == "handshake":
            self.peer.sendall(hello_of(NAME)[:100])
            return
        self.peer = client_context().wrap_socket(self.peer, server_hostname=NAME,
                                                 suppress_ragged_eofs=False)
        self.expect(b"220 ")
        for said, reply in [(EHLO, b"250 "), (ENVELOPE, b"354 "), (b"Subject: x\r\n\r\nha", b""),
                            (b"lf\r\n.\r\n", b"")][:STEPS.index(step)]:
            self.peer.sendall(said)
            self.expect(reply)

    def expect(self, code):
        while code and not any(line.startswith(code) and line.endswith(b"\n")
                               for line in self.heard.splitlines(keepends=True)):
            more = self.peer.recv(4096)
            assert more, self.heard
            self.heard += more
        self.heard = b""

    def go_on(self, step):
        """To the end."""
        if step == "handshake":
            return
        rest = [(EHLO, b"250 "), (ENVELOPE, b"354 "), (b"Subject: x\r\n\r\nha", b""),
                (b"lf\r\n.\r\n", b"250 ")]
        for said, reply in rest[STEPS.index(step):]:
            self.peer.sendall(said)
            self.expect(reply)
        if step == "verdict":
            self.expect(b"250 ")
        self.peer.sendall(b"QUIT\r\n")
        self.expect(b"221 ")

    def read_to_end(self):
        with contextlib.suppress(ssl.SSLError, ConnectionResetError):
            while more := self.peer.recv(4096):
                self.heard += more
        return self.heard


def processes_of(door):
    """{name: pid}, with one client that is connected"""
    engine = door.engine
    wait_until(lambda: len(running_children(engine)) == 1 and len(door.sessions()) == 1,
               "the processes")
    return {"session": door.sessions()[0], "connection": running_children(engine)[0],
            "engine": engine, "keeper": door.keepers()[0], "acceptor": door.pid}


def serves_another(door):
    other = Client(door, "EHLO")
    other.peer.sendall(EHLO + b"QUIT\r\n")
    other.expect(b"221 ")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", ["session", "connection"])
def test_one_of_a_connection_is_killed(release, folder, name, step):
    with Door(release, folder) as door:
        client = Client(door, step)
        pids = processes_of(door)
        os.kill(pids[name], signal.SIGKILL)
        assert b"250 " not in client.read_to_end()
        for other in ("session", "connection"):
            wait_for_end(pids[other])
        assert len(door.messages()) <= (step == "verdict")
        serves_another(door)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", ["engine", "keeper", "acceptor"])
def test_one_of_all_connections_is_killed(release, folder, name, step):
    """The connection goes on."""
    with Door(release, folder) as door:
        client = Client(door, step)
        pids = processes_of(door)
        os.kill(pids[name], signal.SIGKILL)
        client.go_on(step)
        client.peer.close()
        if name == "acceptor":
            door.process.wait()
            door.has_ended = True
            for pid in pids.values():
                wait_for_end(pid)
        else:
            wait_until(lambda: not door.sessions(), "the end of the session")
            serves_another(door)
        assert len(door.messages()) == (step != "handshake")


def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def close_after_notice(peer):
    """It has said in TLS that it ends, and does not wait for an answer."""
    peer.settimeout(0)
    with contextlib.suppress(ssl.SSLWantReadError):
        peer.unwrap()
    peer.close()


@pytest.mark.parametrize("leave", [lambda peer: peer.close(), reset, close_after_notice],
                         ids=["close", "reset", "close_notify"])
def test_client_leaves_before_the_verdict(release, folder, leave):
    """It has not heard 250, so either nobody has the message, or the log says so."""
    with Door(release, folder) as door:
        client = Client(door, "verdict")
        leave(client.peer)
        wait_until(lambda: door.log("session ") and not door.sessions(), "the end")
        assert len(door.messages()) == door.err().count(b"duplicate possible: connection lost")
        serves_another(door)
