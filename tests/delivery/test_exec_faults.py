# SPDX-License-Identifier: MIT
"""Strategy exec where there is no room for the message, or system calls fail."""

import re
import time

import pytest
from bad_days import large, with_small_disk
from conftest import need
from hooks import (DELIVERED, READER, SMALL, TRY_AGAIN, exec_command, on_the_wire, read, read_two,
                   script, text_of)
from hooks import seen  # noqa: F401 (a fixture)
from session import PYTHON, Session, environment, tcp_pair


def test_full_disk_of_hooks(smtpd, tmp_path, seen):
    """452, and the hook does not run; smaller messages pass."""
    spool = tmp_path / "spool"
    spool.mkdir()
    program = script(tmp_path, 'wc -c >"$SEEN/$SMTPD_MAIL_FROM"')
    argv = with_small_disk(exec_command(smtpd, program), spool)
    with Session(argv, tmp_path, env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        assert session.send_message(on_the_wire(text_of(3_000_000))).startswith(b"452 4.3.1 ")
        assert list(seen.iterdir()) == []
        for n, size in enumerate((100, 300_000)):
            assert session.send_message(on_the_wire(text_of(size)),
                                        sender=b"ok-%d@x.example" % n) == DELIVERED
            assert int(read(seen / f"ok-{n}@x.example")) == size
        assert session.end() == 0


def test_disk_is_full_at_the_end(smtpd, tmp_path, seen):
    """What does not fit is the last piece, which waits in memory until the message is complete."""
    spool = tmp_path / "spool"
    spool.mkdir()
    program = script(tmp_path, 'wc -c >"$SEEN/$SMTPD_MAIL_FROM"')
    argv = with_small_disk(exec_command(smtpd, program), spool)
    with Session(argv, tmp_path, env=environment(SEEN=str(seen))) as session:
        session.begin("DATA")
        for _ in range(36):
            session.say(large(30_000))
            time.sleep(0.02)
        session.say(b".\r\n")
        assert session.reply().startswith(b"452 4.3.1 ") and list(seen.iterdir()) == []
        assert session.end() == 0


def traced(argv, *inject):
    """The command line with system calls that fail. Only calls that are named are looked at."""
    calls = ",".join(one.partition(":")[0] for one in inject)
    options = [word for one in inject for word in ("-e", f"inject={one}")]
    return [need("strace"), "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", *options, *argv]


@pytest.mark.parametrize("size", [100, 300_000])
def test_no_memory_files(release, tmp_path, seen, size):
    """Where there is no memfd_create(2), the message is a file for the hook."""
    program = script(tmp_path, READER, interpreter=PYTHON)
    argv = traced(exec_command(release, program), "memfd_create:error=ENOSYS")
    read_two(argv, tmp_path, seen, size)


@pytest.mark.parametrize("inject, reason", [
    ("vfork:error=EAGAIN", b"Resource temporarily unavailable"),
    ("pipe2:error=EMFILE:when=1", b"Too many open files"),
    ("pipe2:error=EMFILE:when=2", b"Too many open files"),
    ("close_range:error=ENOSYS", b"Function not implemented"),
    ("dup2:error=EMFILE:when=3", b"Too many open files"),
    ("chdir:error=EACCES", b"Permission denied"),
], ids=["vfork", "pipe2-first", "pipe2-second", "close_range", "dup2", "chdir"])
def test_failing_system_calls(release, tmp_path, inject, reason):
    """451, a line in the log, and the session goes on: the client's next commands are heard, its
    next message delivered or not."""
    argv = traced(exec_command(release, "/bin/true"), inject)
    with Session(argv, tmp_path, tcp_pair()) as session:
        session.begin("EHLO")
        session.deadline = time.monotonic() + 5
        assert session.send_message(SMALL) == TRY_AGAIN
        assert re.search(rb"^smtpd: cannot (run|start) .*: " + reason, session.err(), re.M)
        session.expect((b"NOOP", b"250 "))
        assert session.send_message(SMALL) in (TRY_AGAIN, DELIVERED)
        assert session.end() == 0


def test_no_process_descriptors(release, tmp_path, seen):
    """Where there is no pidfd_open(2): bounded, and never a 250 that the hook did not mean."""
    program = script(tmp_path, 'cat >"$SEEN/$SMTPD_MAIL_FROM"\nexit ${SMTPD_MAIL_FROM%%@*}')
    argv = traced(exec_command(release, program), "pidfd_open:error=ENOSYS")
    with Session(argv, tmp_path, env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        for status in (0, 75):
            then = time.monotonic()
            reply = session.send_message(SMALL, sender=b"%d@x.example" % status)
            assert reply.startswith(b"451 ") or (status == 0 and reply == DELIVERED)
            assert time.monotonic() - then < 5
        assert session.end() == 0
