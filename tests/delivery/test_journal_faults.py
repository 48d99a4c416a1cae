# SPDX-License-Identifier: MIT
"""Strategy journal: what the client is told when journald has a bad day, or when we are a user who
may not read the journal."""

import concurrent.futures
import contextlib
import os
import random
import re
import socket
import subprocess
import time

import pytest
from conftest import BUILDS, ROOT, everybodys, missing, need, need_root
from journal import SMALL, STORED, journal_command, only, stored
from journal import has_helper, journald  # noqa: F401 (fixtures)
from journald import Journald
from session import PATIENCE, Session, command, environment, with_x_peer

# --- journald has a bad day -----------------------------------------------------------------------


@pytest.fixture
def readable(smtpd):
    with everybodys(smtpd) as path:
        yield path


NOBODY = 65534


def as_user(journald, uid, groups, argv):
    need_root()
    keep = f"--groups={groups}" if groups else "--clear-groups"
    return journald.inside(need("setpriv"), f"--reuid={uid}", f"--regid={uid}", keep, *argv)


def group_of_readers():
    group = subprocess.run(["getent", "group", "systemd-journal"], capture_output=True, text=True,
                           check=False).stdout.split(":")
    if len(group) < 3:
        missing("there is no group systemd-journal")
    return group[2]


def ask(journald, smtpd, folder, content=SMALL, user=None, prefix=(), meanwhile=lambda: None):
    """One message: (the verdict, seconds, the log)."""
    with everybodys(smtpd) as program, contextlib.ExitStack() as stack:
        argv = [*prefix, *command(program, "--strategy=journal")]
        argv = as_user(journald, *user, argv) if user else journald.inside(*argv)
        session = stack.enter_context(Session(argv, folder, env=environment(TMPDIR="/tmp")))
        session.deadline += 3 * PATIENCE
        session.begin("EHLO")
        then = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            other = pool.submit(meanwhile)
            verdict = session.send_message(content, sender=b"bad-day@example.org")
            seconds = time.monotonic() - then
            other.result()
        assert session.end() == 0
        return verdict, seconds, session.err()


INCOMPRESSIBLE = random.Random(1).randbytes(4_000_000).hex().encode() + b"\r\n"  # 8 MB



def no_inotify():
    return [need("strace"), "-f", "-o", "/dev/null", "-einject=inotify_init1:error=EMFILE"]


def case_stopped(folder, smtpd):
    with Journald(folder) as journald:
        journald.stop()
        return ask(journald, smtpd, folder)


def case_never_there(folder, smtpd):
    with Journald(folder) as journald:
        journald.stop()
        for name in ("socket", "stdout", "dev-log"):
            os.unlink(journald.path(f"/run/systemd/journal/{name}"))
        return ask(journald, smtpd, folder)


def case_stalled(folder, smtpd):
    """The socket still takes some entries."""
    with Journald(folder) as journald:
        journald.hang()
        return ask(journald, smtpd, folder)


def case_stalled_and_full(folder, smtpd):
    """The socket takes nothing more: sending would wait for ever."""
    with Journald(folder) as journald, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        journald.hang()
        sock.connect(journald.path("/run/systemd/journal/socket"))
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(100_000):
                sock.send(b"MESSAGE=filler\n")
        return ask(journald, smtpd, folder)


def case_stalled_for_nobody(folder, smtpd):
    """The entry takes all the room that our socket has."""
    with Journald(folder) as journald:
        journald.hang()
        return ask(journald, smtpd, folder, b"0123456789abcde\r\n" * 12_800, user=(NOBODY, None))


def case_killed_for_nobody(folder, smtpd):
    """It has not read the entry, which is gone with its socket."""
    def kill():
        time.sleep(1)
        journald.stop()

    with Journald(folder) as journald:
        journald.hang()
        return ask(journald, smtpd, folder, user=(NOBODY, None), meanwhile=kill)


def case_no_storage(folder, smtpd):
    with Journald(folder, "Storage=none") as journald:
        return ask(journald, smtpd, folder)


def case_no_storage_for_a_reader(folder, smtpd):
    with Journald(folder, "Storage=none") as journald:
        return ask(journald, smtpd, folder, user=(NOBODY, group_of_readers()))


def case_dropped_and_no_inotify(folder, smtpd):
    """Nobody can tell us of new files."""
    with Journald(folder, "MaxLevelStore=notice") as journald:
        return ask(journald, smtpd, folder, user=(NOBODY, group_of_readers()), prefix=no_inotify())


def case_too_small(folder, smtpd):
    """No file may be as large as the entry."""
    with Journald(folder, "RuntimeMaxUse=2M", "RuntimeMaxFileSize=1M") as journald:
        verdict = ask(journald, smtpd, folder, INCOMPRESSIBLE)
        assert journald.entries("SMTPD_MAIL_FROM=bad-day@example.org") == []
        return verdict


def case_full_disk(folder, smtpd):
    with Journald(folder, disk=16_000_000) as journald:
        with (contextlib.suppress(OSError),
              open(journald.path("/run/log/journal/filler"), "wb", 0) as file):
            while True:
                file.write(b"\0" * 65536)
        verdict = ask(journald, smtpd, folder, INCOMPRESSIBLE)
        assert journald.entries("SMTPD_MAIL_FROM=bad-day@example.org") == []
        return verdict


WROTE_NOTHING = b"cannot write to the journal: Connection timed out"
MAYBE = (b"duplicate possible: the entry is not in the journal (is its storage full, or "
         b"journald stuck?): Timer expired")
NOT_TAKEN = b"duplicate possible: journald did not confirm the entry: "
BAD_DAYS = {  # how long at most, and what the log says
    case_stopped: (2, None), case_never_there: (2, None), case_stalled: (14, MAYBE),
    case_stalled_for_nobody: (14, NOT_TAKEN + b"Timer expired"),
    case_stalled_and_full: (9, WROTE_NOTHING),
    case_killed_for_nobody: (9, NOT_TAKEN + b"Connection refused"), case_no_storage: (14, MAYBE),
    case_no_storage_for_a_reader: (14, MAYBE), case_dropped_and_no_inotify: (14, MAYBE),
    case_too_small: (14, MAYBE),
    case_full_disk: (14, MAYBE)}  # fmt: skip


@pytest.fixture(scope="module")
def bad_days(tmp_path_factory):
    """They take their time, so all have theirs at once."""
    smtpd = str(BUILDS["release"] / "smtpd")
    with Journald(tmp_path_factory.mktemp("probe")):
        pass  # whether it is possible at all
    with concurrent.futures.ThreadPoolExecutor(len(BAD_DAYS)) as pool:
        yield {case: pool.submit(case, tmp_path_factory.mktemp(case.__name__), smtpd)
               for case in BAD_DAYS}


@pytest.mark.parametrize("case", BAD_DAYS, ids=lambda case: case.__name__.removeprefix("case_"))
def test_no_250_unless_stored(bad_days, case):
    verdict, seconds, log = bad_days[case].result()
    most, why = BAD_DAYS[case]
    assert verdict.startswith(b"451 4.3.0 ") and seconds < most
    assert re.findall(rb'^smtpd: program .* stderr="(.*)"$', log,
                      re.M) == ([why] if why else []), log


def test_entry_is_not_what_was_sent(journald, release, tmp_path):
    """Whatever happened to it on its way."""
    preload = tmp_path / "preload.so"
    subprocess.run([need("cc"), "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", preload,
                    ROOT / "tests/sandbox.d/preload.c"], check=True)
    argv = journald.inside("env", f"LD_PRELOAD={preload}", "LIES=1",
                           *command(release, "--strategy=journal"))
    with Session(argv, tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(b"0123456789abcdef" * 2_000_000
                                    + b"\r\n").startswith(b"451 4.3.0 ")
        assert b"duplicate possible: " in session.err()
        assert session.send_message(SMALL) == STORED and session.end() == 0


def test_journald_comes_back(release, tmp_path):
    """In the same session."""
    with (Journald(tmp_path) as journald,
          Session(journal_command(journald, release), tmp_path) as session):
        session.begin("EHLO")
        assert session.send_message(SMALL) == STORED
        journald.stop()
        assert session.send_message(SMALL).startswith(b"451 4.3.0 ")
        journald.start(journald.process.args[-1])
        assert session.send_message(SMALL) == STORED
        assert session.end() == 0
        assert len(stored(journald, session)) == 2


# --- who we are -----------------------------------------------------------------------------------


def test_unprivileged(journald, readable, tmp_path):
    """It may write to the journal, but not read it: journald's word is all there is."""
    argv = as_user(journald, NOBODY, None, command(readable, "--strategy=journal"))
    with Session(argv, tmp_path, env=environment(TMPDIR="/tmp")) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == b"250 2.0.0 accepted by the journal"
        assert session.end() == 0
        entry, = stored(journald, session)
    assert only(entry, "SMTPD_TEXT") == with_x_peer(SMALL.replace(b"\r\n", b"\n"), "local")


def test_entry_can_be_written_in_part_only(journald, readable, tmp_path):
    """A large one goes to journald as a file in memory. Where that cannot hold all of it nothing is
    sent: nobody would notice, as the journal cannot be read."""
    text = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 100_000
    room = len(text) - text.count(b"\r") + 100  # for the text itself
    argv = as_user(journald, NOBODY, None,
                   [need("prlimit"), f"--fsize={room}", *command(readable, "--strategy=journal")])
    with Session(argv, tmp_path, env=environment(TMPDIR="/tmp")) as session:
        session.begin("EHLO")
        assert session.send_message(text).startswith(
            b"451 4.3.0 the journal did not store the message")
        assert session.send_message(SMALL) == b"250 2.0.0 accepted by the journal"
        assert session.end() == 0
        assert b"cannot write to the journal: File too large" in session.err()
        assert b"duplicate possible" not in session.err()
        entry, = stored(journald, session)
    assert only(entry, "SMTPD_TEXT") == with_x_peer(SMALL.replace(b"\r\n", b"\n"), "local")


@pytest.mark.parametrize("octets, verdict", [
    (31 * 1024 * 1024, b"250 2.0.0 accepted by the journal"),
    (32 * 1024 * 1024, b"552 5.3.4 too big for the journal: at most 32 MiB with the envelope"),
], ids=["31-MiB", "32-MiB"])
def test_large_message_of_nobody(journald, readable, tmp_path, octets, verdict):
    """More is dropped by journald, since version 260, and nobody would notice."""
    text = b"0123456789abcde\n" * (octets // 16)
    argv = as_user(journald, NOBODY, None, command(readable, "--strategy=journal", "--max-size=0"))
    with Session(argv, tmp_path, env=environment(TMPDIR="/tmp")) as session:
        session.deadline += 3 * PATIENCE
        session.begin("EHLO")
        assert session.send_message(text.replace(b"\n", b"\r\n")) == verdict
        assert session.end() == 0
        assert len(stored(journald, session)) == (1 if verdict.startswith(b"250") else 0)


def test_nobody_can_tell_of_new_files(journald, release, tmp_path):
    """All of fs.inotify.max_user_instances are in use."""
    with Session(journald.inside(*no_inotify(), *command(release, "--strategy=journal")),
                 tmp_path) as session:
        session.begin("EHLO")
        for _ in range(5):
            assert session.send_message(SMALL) == STORED
        assert session.end() == 0
        assert len(stored(journald, session)) == 5


@pytest.mark.parametrize("uid", [NOBODY, 1000], ids=["system", "person"])
@pytest.mark.parametrize("storage", ["volatile", "persistent"])
def test_may_read_the_journal(readable, tmp_path, uid, storage):
    """In the journal's group. On disk, what a person's programs write is in a file of that
    person's."""
    if storage == "persistent" and not os.path.isdir("/var/log/journal"):
        missing("there is no /var/log/journal")
    with Journald(tmp_path, f"Storage={storage}") as journald:
        journald.journalctl("--flush")  # from memory to the disk, if it is to be there
        argv = as_user(journald, uid, group_of_readers(), command(readable, "--strategy=journal"))
        with Session(argv, tmp_path, env=environment(TMPDIR="/tmp")) as session:
            session.begin("EHLO")
            assert session.send_message(SMALL) == STORED
            assert session.end() == 0
            assert len(stored(journald, session)) == 1
