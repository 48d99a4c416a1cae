# SPDX-License-Identifier: MIT
"""Clients of each kind, and what a session makes of who they are."""

import socket

from session import PATIENCE, tcp_pair

DIALOGUE = b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: x\r\n\r\ntext\r\n.\r\nQUIT\r\n"
REPLIES = [220, 250, 250, 250, 354, 250, 221]
UNKNOWN = "unknown"


def message(peer):
    return b"Subject: x\n" + (b"X-Peer: %s\n" % peer.encode() if peer else b"") + b"\ntext\n"


def mapped_pair(address="127.0.0.1"):
    """A client of IPv4 at a listener of IPv6."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        ours = socket.create_connection((address, listener.getsockname()[1]), PATIENCE)
        theirs, peer = listener.accept()
    assert peer[0].startswith("::ffff:")
    return ours, theirs


CONNECTIONS = {
    "tcp4": (lambda: tcp_pair(), "127.0.0.1"),
    "127.0.0.9": (lambda: tcp_pair(address="127.0.0.9"), "127.0.0.1"),
    "tcp6": (lambda: tcp_pair(socket.AF_INET6), "::1"),
    "mapped": (mapped_pair, "127.0.0.1"),
    "unix": (lambda: socket.socketpair(), "local"),
}

V4 = {"TCPREMOTEIP": "192.0.2.9", "TCPREMOTEPORT": "99"}
SYSTEMD = {"REMOTE_ADDR": "2001:db8::9", "REMOTE_PORT": "98"}
