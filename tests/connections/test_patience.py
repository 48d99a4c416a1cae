# SPDX-License-Identifier: MIT
"""Whatever a session waits for, it ends in time: at its deadline, when it is told to stop, when its
client has left. Each wait is made endless in turn and met by each of the three. Before anybody may
have the message they end the wait, and nobody gets it; after that the answer is waited for, so that
the log can say who has it: until the deadline, or stop-timeout."""

import contextlib
import os
import re
import signal
import threading
import time

import pytest
from acceptor import Acceptor, folder  # noqa: F401
from session import Session, command, reset, wait_until
from waits import AFTER, BEFORE, GROUP, PEER, Wait, upstream, waiting

SLACK = 7  # seconds that a busy machine may add; the waits themselves would take 300 and more


def ends_within(session, seconds):
    then = time.monotonic()
    session.process.wait(seconds + SLACK)
    return time.monotonic() - then


def verdicts(octets):
    """Of the message: what came after 354."""
    return re.findall(rb"^(\d{3})", octets.partition(b"354 ")[2].partition(b"\n")[2], re.M)


def is_end(said, expected):
    """A message whose recipients are refused for want of time comes after a refused DATA."""
    return said.rstrip().rpartition(b"\n")[2].startswith((expected,
                                                          b"554 5.5.1 the message came although"))


@pytest.mark.parametrize("wait", sorted(BEFORE))
def test_deadline_before_the_dot(release, tmp_path, wait):
    with waiting(release, tmp_path, BEFORE[wait], "--session-timeout=2") as (session, at):
        said = session.read_to_end()
        assert 1.5 < time.monotonic() - session.began < 2 + SLACK
        assert b"250" not in verdicts(said) and is_end(said, b"421 4.4.2 "), said
        assert session.status() == 0 and at.messages() == 0


@pytest.mark.parametrize("wait", sorted(BEFORE))
def test_stop_before_the_dot(release, tmp_path, wait):
    with waiting(release, tmp_path, BEFORE[wait]) as (session, at):
        session.process.send_signal(signal.SIGTERM)
        said = session.read_to_end()
        assert b"250" not in verdicts(said) and is_end(said, b"421 4.3.2 "), said
        ends_within(session, 0)
        assert session.status() == 0 and at.messages() == 0


@pytest.mark.parametrize("wait", sorted(BEFORE))
def test_client_leaves_before_the_dot_while_it_waits(release, tmp_path, wait):
    with waiting(release, tmp_path, BEFORE[wait]) as (session, at):
        reset(session.ours)
        ends_within(session, 0)
        assert session.status() == 0 and at.messages() == 0
        assert b"duplicate possible" not in session.err()


@pytest.mark.parametrize("option", ["--session-timeout=2", "--message-timeout=2"])
@pytest.mark.parametrize("wait", sorted(AFTER))
def test_deadline_after_the_dot(release, tmp_path, wait, option):
    with waiting(release, tmp_path, AFTER[wait], option) as (session, at):
        session.say(b"QUIT\r\n")
        said = session.read_to_end()
        assert 1.5 < time.monotonic() - session.began < 2 + 2 + SLACK
        assert verdicts(said)[:1] == [b"451"], said
        assert session.status() == 0 and at.messages() == 1
        assert b"duplicate possible" in session.err()


@pytest.mark.parametrize("wait", sorted(AFTER))
def test_stop_after_the_dot(release, tmp_path, wait):
    """There is stop-timeout for the answer."""
    with waiting(release, tmp_path, AFTER[wait], "--stop-timeout=2") as (session, at):
        then = time.monotonic()
        session.process.send_signal(signal.SIGTERM)
        said = session.read_to_end()
        assert 1.5 < time.monotonic() - then < 2 + 2 + SLACK
        assert verdicts(said)[:1] == [b"451"], said
        assert session.status() == 0 and at.messages() == 1
        assert b"duplicate possible" in session.err()


@pytest.mark.parametrize("wait", sorted(AFTER))
def test_client_leaves_after_the_dot(release, tmp_path, wait):
    """The answer is waited for, but not longer than the deadline."""
    with waiting(release, tmp_path, AFTER[wait], "--message-timeout=3") as (session, at):
        reset(session.ours)
        left = session.began + 2.5 - time.monotonic()
        time.sleep(max(0, left))
        assert session.process.poll() is None or left < 0
        ends_within(session, 3)
        assert session.status() == 0 and at.messages() == 1
        assert b"duplicate possible" in session.err()


def test_answer_that_comes_after_the_client_has_left_is_in_the_log(smtpd, tmp_path):
    left = threading.Event()

    def late(c):
        assert left.wait(20)
        c.send(b"250 2.0.0 taken\r\n")

    with waiting(smtpd, tmp_path, upstream("dot", count=1, action=late)) as (session, _):
        reset(session.ours)
        time.sleep(0.3)
        left.set()
        ends_within(session, 0)
        err = session.err()
        assert re.search(rb'message id=\S+ .*verdict="250 2\.0\.0 taken"', err), err
        assert len(re.findall(rb"duplicate possible.* id=\S+ .*to=\S*b@example\.com",
                              err)) == 1, err


def test_answer_that_comes_within_stop_timeout_counts(smtpd, tmp_path):
    stopped = threading.Event()

    def late(c):
        assert stopped.wait(20)
        time.sleep(0.5)
        c.send(b"250 2.0.0 taken\r\n")

    with waiting(smtpd, tmp_path, upstream("dot", count=1, action=late)) as (session, _):
        session.process.send_signal(signal.SIGTERM)
        stopped.set()
        said = session.read_to_end()
        assert verdicts(said)[:2] == [b"250", b"421"], said
        assert session.status() == 0 and b"duplicate possible" not in session.err()


# --- a group of commands, sent at once ------------------------------------------------------------


def slow(seconds, octets):
    def act(c):
        c.stop.wait(seconds)
        c.send(octets)

    return act


def test_recipients_sent_at_once_are_not_worked_off_past_the_deadline(smtpd, tmp_path):
    said = GROUP % (b"".join(b"RCPT TO:<r%d@example.com>\r\n" % i for i in range(20)), b"text")
    with waiting(
        smtpd, tmp_path, upstream("RCPT", said, slow(1, b"250 2.1.5 fine\r\n")),
        "--session-timeout=3"
    ) as (session, at):
        assert b"421 4.4.2 " in session.read_to_end()
        assert time.monotonic() - session.began < 3 + SLACK
        assert session.status() == 0 and at.messages() == 0


MESSAGES = b"EHLO client.example.org\r\n" + b"".join(
    b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: %d\r\n\r\n.\r\n" % i
    for i in range(20)
)


@contextlib.contextmanager
def slow_program(folder):
    path = folder / "program"
    path.write_text(f"#!/bin/sh\necho x >>{folder}/started\nsleep 1\n")
    path.chmod(0o755)
    yield Wait(MESSAGES, ["--strategy=exec", f"--command={path}"], (folder / "started").exists)


def n_started(folder):
    return (folder / "started").read_text().count("x")


def test_no_message_of_a_group_is_begun_after_the_client_has_left(smtpd, tmp_path):
    with waiting(smtpd, tmp_path, slow_program) as (session, _):
        reset(session.ours)
        ends_within(session, 1)
        assert n_started(tmp_path) <= 2  # the reset may come a little after the first


def test_no_message_of_a_group_is_begun_after_the_order_to_stop(smtpd, tmp_path):
    with waiting(smtpd, tmp_path, slow_program) as (session, _):
        session.process.send_signal(signal.SIGTERM)
        said = session.read_to_end()
        n = n_started(tmp_path)
        assert verdicts(said).count(b"354") + 1 <= n + 1
        assert said.rstrip().rpartition(b"\n")[2].startswith(b"421 4.3.2 ")
        assert n <= 2 and len(re.findall(rb"^250 2\.0\.0", said, re.M)) == n
        assert session.status() == 0


def test_no_message_of_a_group_is_begun_after_the_deadline(smtpd, tmp_path):
    with waiting(smtpd, tmp_path, slow_program, "--session-timeout=3") as (session, _):
        assert b"421 4.4.2 " in session.read_to_end()
        assert time.monotonic() - session.began < 5 + SLACK and n_started(tmp_path) <= 4


def test_acceptor_that_stops_has_its_sessions_begin_no_further_message(smtpd, folder):
    """The sessions are another user's."""
    folder.chmod(0o777)
    with slow_program(folder) as wait:
        with Acceptor(smtpd, folder, *wait.options, "--stop-timeout=2") as acceptor:
            client = acceptor.client()
            client.say(MESSAGES)
            wait_until(wait.has_come, "the first message")
            then = time.monotonic()
            acceptor.signal(signal.SIGTERM)
            said = client.read_to_end()
            assert acceptor.status() == 0 and time.monotonic() - then < 2 + SLACK
            assert said.rstrip().rpartition(b"\n")[2].startswith(b"421 4.3.2 ")
            assert n_started(folder) <= 2


def test_acceptor_that_stops_ends_idle_sessions_at_once_and_lets_transactions_end(smtpd, folder):
    with Acceptor(smtpd, folder, "--strategy=print", "--stop-timeout=20") as acceptor:
        idle, busy = acceptor.client("EHLO"), acceptor.client("DATA")
        then = time.monotonic()
        acceptor.signal(signal.SIGTERM)
        assert idle.read_to_end().startswith(b"421 4.3.2 ") and time.monotonic() - then < SLACK
        busy.say(b"Subject: in time\r\n\r\n.\r\n")
        said = busy.read_to_end()
        assert said.startswith(b"250 ") and b"\r\n421 4.3.2 " in said
        assert acceptor.status() == 0 and time.monotonic() - then < 15
        assert len(acceptor.messages()) == 1


# --- several verdicts, one deadline ---------------------------------------------------------------


def test_session_whose_mail_was_refused_is_idle(release, folder):
    with Acceptor(release, folder, "--strategy=proxy", "--upstream=127.0.0.1:1") as acceptor:
        with acceptor.client("EHLO") as client:
            assert client.ask(b"MAIL FROM:<a@b.example>").startswith(b"451 ")
            then = time.monotonic()
            acceptor.signal(signal.SIGTERM)
            assert client.read_to_end().startswith(b"421 4.3.2 ") and time.monotonic() - then < SLACK


def test_verdicts_of_many_recipients_share_the_deadline(smtpd, tmp_path):
    """Each within its own time; together they would take 8 seconds."""

    def verdicts_in_turn(c):
        for i in range(8):
            c.stop.wait(1)
            c.send(b"250 2.0.0 number %d\r\n" % i)

    said = GROUP % (b"".join(b"RCPT TO:<r%d@example.com>\r\n" % i for i in range(7)), b"text")
    make = upstream("dot", said, verdicts_in_turn, lmtp=True, count=1)
    with waiting(smtpd, tmp_path, make, "--message-timeout=3", "--upstream-timeout=2") as (session,
                                                                                           _):
        session.say(b"QUIT\r\n")
        said = session.read_to_end()
        assert verdicts(said) == [b"451", b"221"]
        assert b"451 4.4.2 not delivered in time, try again later\r\n" in said
        assert time.monotonic() - session.began < 3 + SLACK
        assert session.status() == 0
        told = re.findall(rb"duplicate possible.*<(\w+)@example\.com", session.err())
        assert len(told) == len(set(told)) >= 5 and b'reason="the deadline has passed"' in session.err(), session.err()


# --- programs that do not end ---------------------------------------------------------------------


def test_program_that_becomes_another_user_is_left_behind(release, tmp_path):
    """It does not hear our signals: the client has its 451 after two more seconds."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a program that becomes somebody whom its parent cannot "
                    "signal")
    tmp_path.chmod(0o755)
    path = tmp_path / "program"
    path.write_text("#!/bin/sh\nexec setpriv --reuid=65533 --regid=65533 --clear-groups sleep 30\n")
    path.chmod(0o755)
    argv = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill", *command(
        release, "--strategy=exec", f"--command={path}", "--timeout=1", f"--peer={PEER}")]
    pids = set()
    with Session(argv, tmp_path) as session:
        try:
            session.begin("DATA")
            then = time.monotonic()
            session.say(b"Subject: x\r\n\r\n.\r\n")
            verdict = session.reply()
            pids = {int(n) for n in re.findall(rb"process (\d+)\)", session.err())}
            assert verdict.startswith(b"451 ") and time.monotonic() - then < 3 + SLACK
            assert re.search(rb"cannot kill .*left behind", session.err())
            assert b"duplicate possible" in session.err()
            assert session.ask(b"NOOP").startswith(b"250 ")
            assert session.end() == 0
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
