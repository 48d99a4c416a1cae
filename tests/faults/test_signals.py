# SPDX-License-Identifier: MIT
"""Signals to a session, also while its client does not listen: what the client still hears, and
what is printed."""

import signal
import socket
import time

import pytest
from bad_days import PRINTED_SMALL, SMALL, STAGES, large
from conftest import need
from processes import stat_of
from session import Session, codes, command, replies, tcp_pair


@pytest.mark.parametrize("stage", STAGES)
def test_sigterm(smtpd, tmp_path, stage):
    with Session(command(smtpd), tmp_path) as session:
        session.begin(stage)
        session.process.send_signal(signal.SIGTERM)
        assert replies(session.read_to_end()) == [(421,
                                                   b"4.3.2 service is shutting down, closing "
                                                   b"connection")]
        assert session.status() == 0 and session.messages() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("text",
                         [b"Subject: half\r\n", b"Subject: whole but for the LF\r\n\r\n.\r",
                          large(1_000_000)],
                         ids=["some", "all-but-LF", "large"])
def test_signal_in_the_message(smtpd, tmp_path, text, number):
    with Session(command(smtpd), tmp_path) as session:
        session.begin("DATA")
        session.say(text)
        session.process.send_signal(number)
        assert codes(session.read_to_end()) == [421]
        assert session.status() == 0 and session.messages() == []


def test_sigterm_after_a_message(smtpd, tmp_path):
    with Session(command(smtpd), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL).startswith(b"250 ")
        session.process.send_signal(signal.SIGTERM)
        assert codes(session.read_to_end()) == [421]
        assert session.status() == 0 and session.messages() == [PRINTED_SMALL]


def test_sigterm_in_a_flood(smtpd, tmp_path):
    """A client that never pauses cannot keep us."""
    with Session(command(smtpd, "--max-commands=1000000"), tmp_path) as session:
        session.begin("EHLO")
        for n in range(100):
            if n == 10:
                session.process.send_signal(signal.SIGTERM)
            if session.say(b"NOOP\r\n" * 5000) < 30000:
                break
        assert session.heard.endswith(b"421 4.3.2 service is shutting down, closing connection\r\n")
        session.ours.close()
        assert session.status() == 0


def fall_behind(session):
    """Speaks, and does not listen, until the session waits for that."""
    n_full = 0
    while n_full < 3:
        try:
            session.ours.send(b"NOOP\r\n" * 1000)
            n_full = 0
        except BlockingIOError:
            is_waiting = stat_of(session.process.pid).state == "S"  # and not for a processor
            n_full = n_full + 1 if is_waiting else 0
            time.sleep(0.05)


@pytest.mark.parametrize("make", [tcp_pair, socket.socketpair], ids=["tcp", "unix"])
def test_sigterm_and_a_client_that_is_behind(smtpd, tmp_path, make):
    """It has two seconds to hear what was said to it, to the last word."""
    with Session(command(smtpd, "--max-commands=1000000"), tmp_path, make()) as session:
        session.begin("EHLO")
        fall_behind(session)
        session.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        *others, last = codes(session.read_to_end())
        assert set(others) == {250} and len(others) > 1000 and last == 421
        assert session.status() == 0 and b'end="421 service is shutting down' in session.err()


@pytest.mark.parametrize("make", [tcp_pair, socket.socketpair], ids=["tcp", "unix"])
def test_sigterm_and_a_client_that_never_reads(smtpd, tmp_path, make):
    with Session(command(smtpd, "--max-commands=1000000"), tmp_path, make()) as session:
        session.begin("EHLO")
        fall_behind(session)
        then = time.monotonic()
        session.process.send_signal(signal.SIGTERM)
        assert session.status() == 0 and 1.9 < time.monotonic() - then < 3.5
        assert b'end="shutting down, and the client does not read our replies"' in session.err()


UNHEARD = b"duplicate possible: connection lost before the client acknowledged the 250"


def say_message(session):
    """A message, and its 250 stands where the client would read it."""
    session.begin("DATA")
    session.say(SMALL + b".\r\n")
    session.wait_for([session.ours], [])


@pytest.mark.parametrize("how", ["SIGTERM", "timeout"])
@pytest.mark.parametrize("does", ["reads", "reads and stays", "never reads", "is gone"])
def test_verdict_that_nobody_hears(smtpd, tmp_path, how, does):
    """The end of a session for another reason does not hide it. (Over TCP, it counts as heard when
    its host has it.)"""
    with Session(command(smtpd, *["--timeout=1"] * (how == "timeout")), tmp_path,
                 socket.socketpair()) as session:
        say_message(session)
        if how == "SIGTERM":
            session.process.send_signal(signal.SIGTERM)
        if does == "is gone":
            session.ours.close()
        if does == "reads":
            assert codes(session.read_to_end()) == [250, 421]
            session.ours.close()
        if does == "reads and stays":
            assert [session.reply()[:3], session.reply()[:3]] == [b"250", b"421"]
        assert session.status() == 0
        assert session.err().count(UNHEARD) == (0 if does.startswith("reads") else 1), session.err()


def test_verdict_that_only_its_host_has(smtpd, tmp_path):
    """Over TCP that is all that we can see."""
    with Session(command(smtpd, "--timeout=1"), tmp_path, tcp_pair()) as session:
        say_message(session)
        assert session.status() == 0 and UNHEARD not in session.err()


def test_interrupted_system_calls(release, tmp_path):
    """EINTR from every second poll, read, write and send is invisible."""
    trace = [need("strace"), "-qq", "-o", "/dev/null", "-e", "trace=poll,read,write,sendto,pread64",
             "-e", "inject=poll,write,sendto:error=EINTR:when=2+2",
             # the dynamic loader reads before, and is less patient
             "-e", "inject=read,pread64:error=EINTR:when=4+2"]
    with Session(trace + command(release), tmp_path) as session:
        session.begin("EHLO")
        body = large(500_000)
        assert session.send_message(body).startswith(b"250 ")
        assert session.end() == 0
        assert session.messages() == [body.replace(b"\r\n", b"\n") + b"X-Peer: local\n"]
