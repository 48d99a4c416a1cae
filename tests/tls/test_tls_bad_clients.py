# SPDX-License-Identifier: MIT
"""Clients that have no handshake with the real engine, at both ports of an acceptor: the log has
the reason, and no more than a scanner is worth; the session ends soon, nothing is delivered, and
nothing is left running."""

import contextlib
import os
import re
import socket
import ssl
import time

import pytest
from acceptor import connect, folder, read_all
from processes import running_children
from session import STAY, environment, reset, wait_until
from tls import NAME, client_context
from tls_peer import hello_of
from tls_real_door import RealDoor, installed

_ = folder  # a fixture
KINDS = ("starttls", "implicit")
PLAIN = "the client speaks plain text, not TLS"
LEFT = "the client closed the connection during the handshake"
# of a reset either may hear first, and the other one then of its end
RESET = LEFT, "nobody is waiting for the handshake any more", "the client has left"


class Journalled(RealDoor):
    """Its log is as the journal has it: each line with its priority."""

    def __init__(self, smtpd, folder, *options):
        path = folder / "log"
        with open(path, "wb") as file:
            stat = os.fstat(file.fileno())
            self.path = path
            super().__init__(installed(smtpd, folder), folder, None, "--listen-tls=127.0.0.1:0",
                             "--timeout=1", *STAY, *options, n=2, err=file,
                             env=environment(JOURNAL_STREAM=f"{stat.st_dev}:{stat.st_ino}"))

    def err(self):
        return re.sub(rb"^<\d>", b"smtpd: ", self.path.read_bytes(), flags=re.M)

    def priorities(self, word):
        return re.findall(rb"^<(\d)>%b [^\n]* (?:reason|end)=\"([^\"]*)\"" % word,
                          self.path.read_bytes(), re.M)


def says(data):
    def act(peer):
        peer.sendall(data)
        with contextlib.suppress(ConnectionResetError):
            read_all(peer)

    return act


def shakes_hands(alpn=(), **settings):
    def act(peer):
        context = client_context(**settings)
        context.set_ciphers("ALL:@SECLEVEL=0")
        if alpn:
            context.set_alpn_protocols(alpn)
        with pytest.raises(ssl.SSLError, match="alert"):
            context.wrap_socket(peer, server_hostname=NAME)

    return act


def half_closes(peer):
    peer.sendall(hello_of(NAME)[:100])
    peer.shutdown(socket.SHUT_WR)
    assert read_all(peer) == b""


def resets(peer):
    peer.sendall(hello_of(NAME)[:100])
    time.sleep(0.2)
    reset(peer)


CLIENTS = {
    "garbage": (says(b"\xff\xfe" * 3000), "wrong version number"),
    "zeros": (says(bytes(500)), "wrong version number"),
    "http": (says(b"GET / HTTP/1.1\r\n\r\n"), PLAIN),
    "smtp": (says(b"EHLO client.example.org\r\nMAIL FROM:<a@example.org>\r\n"), PLAIN),
    "tls-1.0": (shakes_hands(minimum_version=ssl.TLSVersion.TLSv1,
                             maximum_version=ssl.TLSVersion.TLSv1), "unsupported protocol"),
    "alpn": (shakes_hands(["http/1.1"]), "no application protocol"),
    "silent": (lambda peer: read_all(peer), "the client took too long for the handshake"),
    "half-closes": (half_closes, LEFT),
    "resets": (resets, RESET),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_client_without_a_handshake(release, folder, name, kind):
    act, reasons = CLIENTS[name]
    reasons = [reasons] if isinstance(reasons, str) else reasons
    with Journalled(release, folder) as door:
        began = time.monotonic()
        with connect(door.addresses[KINDS.index(kind)]) as peer:
            if kind == "starttls":
                for said in (b"", b"EHLO client.example.org\r\n", b"STARTTLS\r\n"):
                    peer.sendall(said)
                    assert re.match(b"2[25]0", peer.recv(4096))
            act(peer)
        wait_until(lambda: not door.sessions() and not running_children(door.engine), "their end")
        assert time.monotonic() - began < 10
        for word, format in (b"no TLS", "{}"), (b"session", "no TLS: {}"):
            (line,) = door.priorities(word)
            assert line in [(b"6", format.format(reason).encode()) for reason in reasons]
        assert door.messages() == []
