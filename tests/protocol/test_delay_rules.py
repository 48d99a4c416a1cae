# SPDX-License-Identifier: MIT
"""delay=: steps of the session that wait, and what ends a wait."""

import signal
import time

import pytest
from acceptor import Acceptor, folder  # noqa: F401
from logs import lines
from rules import DIALOGUE, HEADER, MAIL, STEPS, rules
from session import Session, codes, command, replies, reset, tcp_pair


@pytest.mark.parametrize("step", ["connect", *STEPS])
def test_delay_at_each_step(smtpd, tmp_path, step):
    """The step itself waits, and no other; the reply of a rule comes after it."""
    said, started = [], time.monotonic()
    with Session(command(smtpd, f"--delay={step} * 1", *rules("message * 451 4.0.0 late")),
                 tmp_path, pair=tcp_pair()) as session:
        for name, asked in zip(("connect", *STEPS), [None, *DIALOGUE]):
            started = time.monotonic() if asked else started  # it may greet before we look
            said.append(session.reply() if asked is None else session.ask(asked))
            assert time.monotonic() - started >= 1 or name != step
        assert [reply[:3] for reply in said] == [b"220", b"250", b"250", b"250", b"354", b"451"]
        assert session.end() == 0


@pytest.mark.parametrize("end", ["SIGTERM", "session-timeout", "client"])
@pytest.mark.parametrize("step", ["connect", "rcpt", "message"])
def test_what_ends_a_delay(smtpd, tmp_path, step, end):
    options = [f"--delay={step} * 600",
               *(["--session-timeout=2"] if end == "session-timeout" else [])]
    with Session(command(smtpd, *options), tmp_path, pair=tcp_pair()) as session:
        if step != "connect":
            session.begin("MAIL" if step == "rcpt" else "DATA")
            session.say(b"RCPT TO:<b@example.com>\r\n" if step == "rcpt" else HEADER + b".\r\n")
        time.sleep(0.2)
        started = time.monotonic()
        if end == "client":
            reset(session.ours)
        elif end == "SIGTERM":
            session.process.send_signal(signal.SIGTERM)
        if end != "client":
            said = session.read_to_end()
            assert codes(said) == [421]
            assert replies(said)[0][1][:5] == (b"4.3.2" if end == "SIGTERM" else b"4.4.2")
        assert session.status() == 0 and time.monotonic() - started < 15 and not session.messages()
        if step != "connect":
            assert not lines(session.err(), "message")


def test_stopping_ends_a_delay_between_messages(smtpd, folder):  # noqa: F811
    """As an acceptor tells its sessions: those in a transaction have stop-timeout."""
    with (Acceptor(smtpd, folder, "--delay=mail * 600", "--stop-timeout=300") as acceptor,
          acceptor.client("EHLO") as client):
        client.say(MAIL[0] + b"\r\n")
        time.sleep(0.2)
        acceptor.signal(signal.SIGTERM)
        assert codes(client.read_to_end()) == [421] and acceptor.status() == 0


def test_no_delay_for_others(smtpd, folder):  # noqa: F811
    """Each connection waits for itself."""
    with Acceptor(smtpd, folder, "--delay=rcpt slow@* 600") as acceptor:
        with acceptor.client("MAIL") as slow:
            slow.say(b"RCPT TO:<slow@b.example>\r\n")
            assert acceptor.serve_one().startswith(b"250 ")
