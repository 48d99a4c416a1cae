# SPDX-License-Identifier: MIT
"""Clients that drip, flood or do not listen: time, memory and descriptors stay within bounds, also
in a long session."""

import resource
import select
import socket
import subprocess
import time

import pytest
from bad_days import PRINTED_SMALL, SMALL, STAGES, large
from processes import descriptors, status_of
from session import PATIENCE, Session, codes, command, replies, run, tcp_pair

KIB = 1
MIB = 1024  # as /proc/PID/status counts

# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["greeting", "RCPT", "DATA"])
def test_idle_client(smtpd, tmp_path, stage):
    with Session(command(smtpd, "--timeout=1"), tmp_path) as session:
        then = time.monotonic()
        session.begin(stage)
        assert replies(session.read_to_end()) == [(421,
                                                   b"4.4.2 timeout: no input from you, closing "
                                                   b"connection")]
        assert 0.8 < time.monotonic() - then < 5
        assert session.status() == 0 and session.messages() == []


@pytest.mark.parametrize("stage", ["EHLO", "DATA"])
def test_dripping_client(smtpd, tmp_path, stage):
    """One octet now and then is enough for the time-out, but not for the session's."""
    then = time.monotonic()
    with Session(command(smtpd, "--timeout=2", "--session-timeout=3"), tmp_path) as session:
        session.begin(stage)
        while not select.select([session.ours], [], [], 0.1)[0]:
            assert time.monotonic() - then < PATIENCE
            session.say(b"x")
        assert replies(session.read_to_end()) == [(421,
                                                   b"4.4.2 the session took too long, closing "
                                                   b"connection")]
        assert 2.8 < time.monotonic() - then < 8
        assert session.status() == 0 and session.messages() == []


def test_busy_client_is_within_the_session_time_too(smtpd, tmp_path):
    with Session(command(smtpd, "--session-timeout=1", "--max-commands=1000000"),
                 tmp_path) as session:
        session.begin("EHLO")
        then = time.monotonic()
        while session.say(
                b"NOOP\r\n" * 100) == 600 and not session.heard.endswith(b"closing connection\r\n"):
            session.heard[:-200] = b""
            assert time.monotonic() - then < 5
            time.sleep(0.02)
        session.ours.close()
        assert session.status() == 0 and b"session took too long" in session.err()


@pytest.mark.parametrize("make", [tcp_pair, socket.socketpair], ids=["tcp", "unix"])
def test_client_that_never_reads(smtpd, tmp_path, make):
    with Session(command(smtpd, "--timeout=1", "--max-commands=1000000"), tmp_path,
                 make()) as session:
        session.begin("EHLO")
        then = time.monotonic()
        while session.process.poll() is None:
            assert time.monotonic() - then < PATIENCE
            try:
                session.ours.send(b"NOOP\r\n" * 1000)
            except BlockingIOError:
                time.sleep(0.02)
            except (BrokenPipeError, ConnectionResetError):
                break
        assert session.status() == 0
        assert b"the client does not read our replies" in session.err()


# --- floods ---------------------------------------------------------------------------------------


def assert_flat(session, before, more=1024 * KIB):
    """Peak memory has not grown. With sanitizers it says nothing."""
    if "sanitize" not in session.process.args[0]:
        assert status_of(session.pid, "VmHWM") - before <= more


@pytest.mark.parametrize("protocol, n_verdicts", [("smtp", 1), ("lmtp", 30_000)])
def test_many_recipients(smtpd, protocol, n_verdicts):
    """What each of them costs does not depend on how many there are: this takes a fifth of a second
    of the processor, or 7 if it did."""
    n, hello = 30_000, b"LHLO" if protocol == "lmtp" else b"EHLO"
    text = hello + b" c\nMAIL FROM:<>\n" + b"".join(b"RCPT TO:<r%d@example.com>\n" % i
                                                    for i in range(n)) + b"DATA\nx\n.\nQUIT\n"
    argv = command(smtpd, f"--protocol={protocol}", "--max-recipients=30000",
                   "--max-commands=40000")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    status, out, _ = run(argv, text)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert status == 0 and codes(out)[3 + n :] == [354, *[250] * n_verdicts, 221]
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5


def test_million_commands(smtpd, tmp_path):
    with Session(command(smtpd, "--max-commands=1000000"), tmp_path) as session:
        session.begin("EHLO")
        before = status_of(session.pid, "VmHWM")
        session.deadline += PATIENCE
        n, reply = 999_999, b"250 2.0.0 OK\r\n"
        session.say(b"NOOP\r\n" * n)
        while len(session.heard) < n * len(reply):
            session.wait_for([session.ours], [])
            assert session.take()
        assert session.heard == reply * n
        session.heard.clear()
        assert_flat(session, before)
        assert session.ask(b"NOOP").startswith(b"421 4.7.0 ")
        assert session.read_to_end() == b"" and session.status() == 0


def test_endless_line(smtpd, tmp_path):
    with Session(command(smtpd), tmp_path) as session:
        session.begin("EHLO")
        before = status_of(session.pid, "VmHWM")
        session.say(bytes([200]) * 100_000_000)
        assert session.ask(b"").startswith(b"500 5.5.2 ")
        assert_flat(session, before)
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.end() == 0 and session.messages() == [PRINTED_SMALL]


def test_endless_line_in_a_message(smtpd, tmp_path):
    """Past the greatest size it is read, but not kept."""
    with Session(command(smtpd, "--max-size=1M"), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(large(200_000)).startswith(b"250 ")
        before = status_of(session.pid, "VmHWM")
        assert session.send_message(b"x" * 100_000_000 + b"\r\n").startswith(b"552 5.3.4 ")
        assert_flat(session, before)
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.end() == 0 and len(session.messages()) == 2


def test_hundred_thousand_recipients(smtpd, tmp_path):
    n = 100_000
    with Session(command(smtpd, "--max-commands=1000000"), tmp_path) as session:
        session.begin("MAIL")
        session.say(b"RCPT TO:<b@example.com>\r\n" * 100)
        for _ in range(100):
            assert session.reply().startswith(b"250 2.1.5 ")
        before = status_of(session.pid, "VmHWM")
        session.say(b"RCPT TO:<b@example.com>\r\n" * (n - 100) + b"DATA\r\n")
        while not session.heard.endswith(b"<CRLF>.<CRLF>\r\n"):
            session.wait_for([session.ours], [])
            assert session.take()
        heard = codes(bytes(session.heard))
        session.heard.clear()
        assert heard == [452] * (n - 100) + [354]
        assert_flat(session, before)
        session.say(SMALL + b".\r\n")
        assert session.reply().startswith(b"250 ")
        assert session.end() == 0 and b" recipients=100 " in session.err()


def test_pipelined_garbage(smtpd, tmp_path):
    """A megabyte of every octet ends with too many errors, or a bare line end: a reply and a
    close."""
    garbage = bytes(range(256)) * 4096
    for said in (garbage, garbage.replace(b"\n", b"").replace(b"\r", b"\r\n")):
        with Session(command(smtpd), tmp_path, tcp_pair()) as session:
            session.say(said)
            assert codes(session.heard + session.read_to_end())[-1] in (554, 421)
            assert session.status() == 0 and session.messages() == []


VERBS = [b"HELO", b"EHLO", b"LHLO", b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP", b"VRFY", b"EXPN",
         b"HELP", b"QUIT"]


@pytest.mark.parametrize("stage", STAGES[:-1])
def test_odd_octets_in_every_verb(smtpd, tmp_path, stage):
    """NUL, control characters and 8-bit before, in, right after and behind every verb: a reply, and
    the session goes on."""
    with Session(command(smtpd, "--max-errors=100000"), tmp_path) as session:
        session.begin(stage)
        for verb in VERBS:
            for octet in (b"\0", b"\x01", b"\x1b", b"\x7f", b"\x80", b"\xc3\xbc", b"\xff"):
                for line in (octet + verb, verb[:2] + octet + verb[2:], verb + octet,
                             verb + b" " + octet,
                             verb + b" FROM:<" + octet + b"@x>", verb + b" TO:<" + octet + b">"):
                    reply = session.ask(line)
                    assert reply[:1] in (b"2", b"5"), (line, reply)
                    if octet == b"\0" or not line.startswith(verb):
                        assert reply.startswith(b"500 5.5.2 "), (line, reply)
                    if verb == b"DATA":  # after which not everything is a command
                        assert session.ask(b"NOOP").startswith(b"250 ")
        assert session.end() == 0
        assert session.messages() == [] and session.err().replace(b"\n", b"").isascii()
        assert not any(o < 32 for o in session.err().replace(b"\n", b""))


# --- what a long session leaves behind ------------------------------------------------------------


def test_no_descriptor_leaks(smtpd, tmp_path):
    with Session(command(smtpd), tmp_path) as session:
        session.begin("EHLO")
        before = descriptors(session.pid)
        for n in range(50):
            assert session.send_message(large(200_000)).startswith(b"250 ")
            if n % 2:  # and some that end in other ways
                session.expect((b"MAIL FROM:<>", b"250 "), (b"RCPT TO:<b@example.com>", b"250 "),
                               (b"RSET", b"250 "))
        assert descriptors(session.pid) == before
        assert session.end() == 0 and len(session.messages()) == 50


def test_memory_does_not_depend_on_the_message(release, tmp_path):
    def peak(body, times):
        with Session(command(release, "--max-size=0"), tmp_path, err=subprocess.DEVNULL) as session:
            session.deadline += 2 * PATIENCE
            session.begin("DATA")
            for _ in range(times):
                session.say(body)
            session.say(b".\r\n")
            assert session.reply().startswith(b"250 ")
            return status_of(session.pid, "VmHWM")

    assert peak(large(30_000_000), 10) - peak(b"", 1) <= MIB
