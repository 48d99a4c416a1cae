# SPDX-License-Identifier: MIT
"""Strategy exec: programs that say too much, leave daemons, or do not end."""

import fcntl
import os
import signal
import time

import pytest
from hooks import DELIVERED, SMALL, TOO_LATE, exec_command, read, script
from hooks import seen  # noqa: F401 (a fixture)
from processes import descriptors, group, is_running, programs, status_of
from session import PATIENCE, Session, environment, wait_until


@pytest.mark.parametrize("stream", ["1", "2"], ids=["stdout", "stderr"])
@pytest.mark.parametrize("what", ["yes", "cat /dev/zero"], ids=["lines", "one-line"])
def test_gigabyte(release, tmp_path, what, stream):
    """Bounded time, memory and log. (With sanitizers those are others; a megabyte of output is
    given to both builds in test_exec_verdicts.py.)"""
    program = script(tmp_path, f"{what} | head -c 300000000 >&{stream}")
    with Session(exec_command(release, program), tmp_path) as session:
        session.deadline += 3 * PATIENCE
        session.begin("EHLO")
        # once, so that what it needs is there
        assert session.send_message(SMALL) == DELIVERED or stream == "1"
        before = status_of(session.pid, "VmHWM")
        then = time.monotonic()
        assert session.send_message(SMALL) == DELIVERED
        assert time.monotonic() - then < 15
        assert status_of(session.pid, "VmHWM") - before <= 1024
        assert session.end() == 0
        log = session.err()
        if stream == "2":
            assert 1 <= log.count(b"smtpd: program ") <= 2 * 1001
        assert len(log) < 1_000_000


@pytest.mark.parametrize("stream", ["1", "2"], ids=["stdout", "stderr"])
def test_endless_output(smtpd, tmp_path, stream):
    """The deadline holds for the busy too."""
    program = script(tmp_path, f"exec yes >&{stream}")
    with Session(exec_command(smtpd, program, "--timeout=1"), tmp_path) as session:
        session.begin("EHLO")
        then = time.monotonic()
        assert session.send_message(SMALL) == TOO_LATE
        assert 0.8 < time.monotonic() - then < 5
        assert not programs(session.pid) and session.end() == 0


def test_reader_of_the_log_sleeps(release, tmp_path):
    """What a hook has to say must not keep the client longer than the hook itself may."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * 4096)
    program = script(tmp_path, "for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; done >&2")
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb") as err:
        with Session(exec_command(release, program, "--timeout=1"), tmp_path, err=err) as session:
            session.begin("EHLO")
            session.deadline = time.monotonic() + 15
            assert session.send_message(SMALL) == DELIVERED


def test_daemon_holds_standard_output(smtpd, tmp_path, seen):
    """It may live on, but nobody waits for it."""
    program = script(tmp_path,
                     'setsid sleep 60 &\necho $! >"$SEEN/daemon"\necho 250 2.0.0 started it')
    pid = 0
    try:
        with Session(exec_command(smtpd, program), tmp_path,
                     env=environment(SEEN=str(seen))) as session:
            session.begin("EHLO")
            before = descriptors(session.pid)
            then = time.monotonic()
            assert session.send_message(SMALL) == b"250 2.0.0 started it"
            assert time.monotonic() - then < 2
            pid = int(read(seen / "daemon"))
            assert is_running(pid) and descriptors(session.pid) == before
            assert session.end() == 0
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)


def test_daemon_goes_on_talking(smtpd, tmp_path, seen):
    """What it says after the hook's end does not count."""
    program = script(tmp_path,
                     'setsid yes "550 5.0.0 from the daemon" &\necho $! '
                     '>"$SEEN/$SMTPD_MAIL_FROM"\nexit 67')
    env = environment(SEEN=str(seen))
    with Session(exec_command(smtpd, program), tmp_path, env=env) as session:
        session.begin("EHLO")
        for n in range(3):
            then = time.monotonic()
            assert session.send_message(SMALL,
                                        sender=b"%d@x.example" % n).startswith((b"550 5.1.1 ",
                                                                                b"550 5.0.0 "))
            assert time.monotonic() - then < 2
            pid = int(read(seen / f"{n}@x.example"))
            wait_until(lambda: not is_running(pid), "SIGPIPE to end the daemon")
        assert session.end() == 0


STUBBORN = """echo $$ >"$SEEN/pid"
trap '' TERM
(while :; do sleep 60; done) &
sh -c 'sleep 60; sleep 60' &
while :; do sleep 60; done"""
OBEDIENT_WITH_STUBBORN_CHILD = """echo $$ >"$SEEN/pid"
(trap '' TERM; sleep 60; sleep 60) &
sleep 60"""
OBEDIENT = """echo $$ >"$SEEN/pid"
trap 'echo 250 2.0.0 late; exit 0' TERM
sleep 60 &
wait"""


@pytest.mark.parametrize("body, least",
                         [(STUBBORN, 1.9), (OBEDIENT_WITH_STUBBORN_CHILD, 0.9), (OBEDIENT, 0.9)],
                         ids=["ignores-SIGTERM", "child-ignores-SIGTERM", "says-250-at-SIGTERM"])
def test_time_is_over(smtpd, tmp_path, seen, body, least):
    """SIGTERM, then SIGKILL, for the whole group; and the session goes on."""
    program = script(tmp_path, body)
    argv = exec_command(smtpd, program, "--timeout=1")
    with Session(argv, tmp_path, env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        then = time.monotonic()
        assert session.send_message(SMALL) == TOO_LATE
        assert least < time.monotonic() - then < 5
        pgid = int(read(seen / "pid"))
        wait_until(lambda: group(pgid) == [], "the end of the group", 2)
        assert not programs(session.pid)
        assert session.end() == 0
        assert b'destination="%s timeout after 1 second"' % bytes(program) in session.err()


def test_hook_says_a_reply_and_hangs(smtpd, tmp_path):
    """It has not ended, so its word does not count."""
    program = script(tmp_path, "echo 250 2.0.0 not yet\nexec sleep 60")
    with Session(exec_command(smtpd, program, "--timeout=1"), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TOO_LATE
        assert session.end() == 0
