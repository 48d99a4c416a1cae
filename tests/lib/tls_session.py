# SPDX-License-Identifier: MIT
"""Sessions with TLS (tests/lib/engine.py), and what the log says of them."""

import re

from engine import Secure
from session import command, tcp_pair

SMALL = b"Subject: x\r\n\r\ntext\r\n"
TRANSACTION = [(b"MAIL FROM:<a@example.org>", b"250 "), (b"RCPT TO:<b@example.com>", b"250 "),
               (b"DATA", b"354 ")]


def session_line(session):
    (line,) = re.findall(rb"^smtpd: session .*$", session.err(), re.M)
    return line


def end_of(session):
    return re.search(rb' end="([^"]*)"', session_line(session))[1]


def warnings(session):
    return re.findall(rb"^smtpd: (duplicate possible: [^\n]*)$", session.err(), re.M)


def tls_session(smtpd, tmp_path, engine, *options, mode="starttls", pair=None):
    return Secure(command(smtpd, *engine.options(mode), *options), tmp_path, pair or tcp_pair())


def deliver(session):
    """One message after EHLO, and the end."""
    assert session.send_message(SMALL) == b"250 2.0.0 printed"
    assert session.end() == 0
    (message,) = session.messages()
    assert message.endswith(b"\n\ntext\n")
