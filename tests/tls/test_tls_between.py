# SPDX-License-Identifier: MIT
"""STARTTLS, and somebody in between: what comes behind it is never run."""

import re
import signal
import socket
import time

import pytest
from engine import Engine
from tls_session import end_of, tls_session

INJECTED = b"STARTTLS\r\nEHLO evil.example.org\r\nMAIL FROM:<evil@example.org>\r\n"


@pytest.mark.parametrize("split", range(len(INJECTED) + 1))
def test_octets_after_starttls(release, tmp_path, split):
    """However they come, they are never run: not in clear, and not inside TLS."""
    with Engine(tmp_path) as engine, tls_session(release, tmp_path, engine) as session:
        session.begin("EHLO")
        session.say(INJECTED[:split])
        is_alone = split == len(b"STARTTLS\r\n")
        if is_alone:
            assert session.reply().startswith(b"220 ")
        else:
            time.sleep(0.02)
        session.say(INJECTED[split:])
        assert (session.read_to_end() == b"") or is_alone  # an alert
        assert session.status() == 0
        if is_alone:
            assert re.fullmatch(rb"no TLS: .+", end_of(session))
        else:
            assert end_of(session) == b"octets came behind STARTTLS" and engine.requests == []
        assert b"evil" not in session.err()


def test_octets_after_starttls_with_all_that_comes_before(release, tmp_path):
    """What was asked before is answered."""
    with Engine(tmp_path) as engine, tls_session(release, tmp_path, engine) as session:
        session.begin("greeting")
        session.say(b"EHLO client.example.org\r\nNOOP\r\nSTARTTLS\r\nRSET\r\n")
        said = session.read_to_end()
        assert said.startswith(b"250-mx.example.com\r\n") and said.endswith(b"\r\n250 2.0.0 OK\r\n")
        assert session.status() == 0
        assert end_of(session) == b"octets came behind STARTTLS"


def test_client_closes_after_starttls(release, tmp_path):
    with Engine(tmp_path) as engine, tls_session(release, tmp_path, engine) as session:
        session.begin("EHLO")
        session.process.send_signal(signal.SIGSTOP)
        session.say(b"STARTTLS\r\n")
        session.ours.shutdown(socket.SHUT_WR)
        session.process.send_signal(signal.SIGCONT)
        assert session.read_to_end() == b"" and session.status() == 0
        assert end_of(session) == b"the client closed the connection" and engine.requests == []
