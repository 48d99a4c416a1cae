# SPDX-License-Identifier: MIT
"""Strategy journal, with a real journald of our own (tests/lib/journald.py): what the client is
told, and what is in the journal."""

import concurrent.futures
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from conftest import BUILDS, ROOT, everybodys, missing, need, need_root, private_mounts
from journald import Journald
from processes import broker_of
from session import (PATIENCE, STAY, Session, command, environment, replies, run, tcp_pair,
                     with_x_peer)

MESSAGE_ID = b"03ee138b80854283b52b6fce238bfc85"
SMALL = b"Subject: small\r\n\r\nsmall\r\n"
STORED = b"250 2.0.0 stored in the journal"
FIELDS = {"MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER", "SYSLOG_FACILITY", "SMTPD_ID",
          "SMTPD_PEER", "SMTPD_PEER_PORT",
          "SMTPD_HELO", "SMTPD_PROTOCOL", "SMTPD_HOSTNAME", "SMTPD_MAIL_FROM", "SMTPD_MAIL_OPTIONS",
          "SMTPD_SIZE",
          "SMTPD_RECIPIENTS", "SMTPD_RCPT_TO", "SMTPD_TEXT"}
FIELDS_OF_TLS = {"SMTPD_TLS", "SMTPD_TLS_CIPHER", "SMTPD_TLS_SNI",
                 "SMTPD_TLS_CLIENT_FINGERPRINT", "SMTPD_TLS_CLIENT_VERIFY", "SMTPD_AUTH"}
FIELDS |= FIELDS_OF_TLS


@pytest.fixture(scope="module")
def journald(tmp_path_factory):
    """One for all tests that do it no harm."""
    with Journald(tmp_path_factory.mktemp("journald"), "RuntimeMaxUse=3G",
                  "RuntimeMaxFileSize=500M") as started:
        yield started


@pytest.fixture(autouse=True)
def has_helper():
    if not os.path.exists(BUILDS["release"] / "smtpd-journal"):
        missing("smtpd-journal was not built: libsystemd is missing")


def journal_command(journald, smtpd, *options):
    return journald.inside(*command(smtpd, "--strategy=journal", *options))


def stored(journald, session):
    """The entries of a session's messages, without what journald adds, in their order."""
    ids = re.findall(rb"^smtpd: message id=(\S+) ", session.err(), re.M)
    entries = [entry for one in ids for entry in journald.entries(f"SMTPD_ID={one.decode()}")]
    return [{name: value for name, value in entry.items() if not name.startswith("_")}
            for entry in entries]


def only(entry, name):
    assert len(entry[name]) == 1, name
    return entry[name][0]


# --- what is in the entry -------------------------------------------------------------------------


def test_every_field(journald, smtpd, tmp_path):
    ours, theirs = tcp_pair()
    port = b"%d" % ours.getsockname()[1]
    with Session(journal_command(journald, smtpd), tmp_path, (ours, theirs)) as session:
        session.expect((None, b"220 "), (b"EHLO client.example.org", b"250-"),
                       (b"MAIL FROM:<a@example.org> SIZE=30  BODY=8BITMIME", b"250 "))
        session.expect((b"RCPT TO:<b@example.com>", b"250 "),
                       (b"RCPT TO:<\"c d\"@example.com>", b"250 "), (b"DATA", b"354 "))
        session.say(b"Subject: x\r\n\r\n..\r\nend\r\n.\r\n")
        assert session.reply() == STORED and session.end() == 0
        log = session.err()
        entry, = stored(journald, session)
    assert set(entry) == FIELDS
    assert {name: value for name,
            value in entry.items() if name not in ("MESSAGE", "SMTPD_ID")} == {
        "MESSAGE_ID": [MESSAGE_ID],
        "PRIORITY": [b"6"],
        "SYSLOG_IDENTIFIER": [b"smtpd"],
        "SYSLOG_FACILITY": [b"2"],
        "SMTPD_PEER": [b"127.0.0.1"],
        "SMTPD_PEER_PORT": [port],
        "SMTPD_HELO": [b"client.example.org"],
        "SMTPD_PROTOCOL": [b"ESMTP"],
        "SMTPD_HOSTNAME": [b"mx.example.com"],
        "SMTPD_MAIL_FROM": [b"a@example.org"],
        "SMTPD_MAIL_OPTIONS": [b"SIZE=30 BODY=8BITMIME"],
        "SMTPD_SIZE": [b"22"],
        **{name: [b""] for name in FIELDS_OF_TLS},
        "SMTPD_RECIPIENTS": [b"2"],
        "SMTPD_RCPT_TO": [b"b@example.com", b'"c d"@example.com'],
        "SMTPD_TEXT": [b"Subject: x\nX-Peer: 127.0.0.1\n\n.\nend\n"],
    }
    assert b"smtpd: message id=" + only(entry, "SMTPD_ID") + b" " in log
    summary = only(entry, "MESSAGE")
    assert b"\n" not in summary and b"a@example.org" in summary and b"b@example.com" in summary


def test_empty_fields(journald, smtpd, tmp_path):
    """They are there, as empty as what they tell of."""
    with Session(journal_command(journald, smtpd, "--x-peer=no"), tmp_path) as session:
        session.expect((None, b"220 "), (b"HELO c", b"250 "), (b"MAIL FROM:<>", b"250 "),
                       (b"RCPT TO:<Postmaster>", b"250 "),
                       (b"DATA", b"354 "), (b".", STORED))
        assert session.end() == 0
        entry, = stored(journald, session)
    assert set(entry) == FIELDS
    assert {name for name, value in entry.items() if value == [b""]} == {
        "SMTPD_PEER_PORT", "SMTPD_MAIL_FROM", "SMTPD_MAIL_OPTIONS", "SMTPD_TEXT"} | FIELDS_OF_TLS
    assert entry["SMTPD_PEER"] == [b"local"] and entry["SMTPD_PROTOCOL"] == [b"SMTP"]
    assert entry["SMTPD_SIZE"] == [b"0"]


TEXTS = {
    "plain": b"Subject: x\n\ntext\n",
    "no-header": b"\ntext\n",
    "header-only": b"Subject: x\n",
    "utf-8": "Subject: gr\u00fc\u00df\n\n\u2603 \U0001f600\n".encode(),
    "every-octet": b"Subject: x\n\n" + bytes(set(range(256)) - {10, 13}) + b"\n"
    + bytes(range(128, 256)) * 40 + b"\n",
    "nul": b"Subject: x\n\nbefore\0behind\n\0\0\0\n",
    "nul-first": b"\0\n",
    "injection": b"MESSAGE=fake\nPRIORITY=0\n\nMESSAGE\n\x04\0\0\0\0\0\0\0fake\n\nSMTPD_ID=1\n",
    "long-line": b"Subject: x\n\n" + b"0123456789" * 100_000 + b"\n",
    "empty": b"",
}


@pytest.mark.parametrize("x_peer", ["yes", "no"])
def test_text_is_kept(journald, smtpd, tmp_path, x_peer):
    """Every octet of it, and X-Peer as its last header."""
    with Session(journal_command(journald, smtpd, f"--x-peer={x_peer}"), tmp_path) as session:
        session.begin("EHLO")
        for text in TEXTS.values():
            assert session.send_message(text.replace(b"\n", b"\r\n")) == STORED
        assert session.end() == 0
        entries = stored(journald, session)
    assert len(entries) == len(TEXTS)
    for name, entry in zip(TEXTS, entries):
        text = TEXTS[name]
        assert only(entry,
                    "SMTPD_TEXT") == (with_x_peer(text, "local") if x_peer == "yes" else text), name
        assert entry["PRIORITY"] == [b"6"]
        assert only(entry, "SMTPD_SIZE") == b"%d" % (len(text) + text.count(b"\n"))


def test_odd_addresses(journald, smtpd, tmp_path):
    everything = b'"' + b"".join((b"\\" if c in b'"\\' else b"") + bytes([c])
                                 for c in range(32, 127)) + b'"@example.org'
    utf8 = "gr\u00fc\u00df@b\u00fccher.example".encode()
    with Session(journal_command(journald, smtpd), tmp_path) as session:
        session.begin("EHLO")
        session.expect((b"MAIL FROM:<" + everything + b"> SMTPUTF8", b"250 "),
                       (b"RCPT TO:<" + everything + b">", b"250 "),
                       (b"RCPT TO:<" + utf8 + b">", b"250 "),
                       (b"RCPT TO:<" + b"x" * 900 + b"@example.com>", b"250 "), (b"DATA", b"354 "))
        session.say(SMALL + b".\r\n")
        assert session.reply() == STORED and session.end() == 0
        entry, = stored(journald, session)
    assert entry["SMTPD_MAIL_FROM"] == [everything] and entry["SMTPD_PROTOCOL"] == [b"UTF8SMTP"]
    assert entry["SMTPD_RCPT_TO"] == [everything, utf8, b"x" * 900 + b"@example.com"]


@pytest.mark.parametrize("n", [1, 100, 255, 256, 257, 300])
def test_many_recipients_of_one_entry(journald, smtpd, tmp_path, n):
    """256 have a field of their own; the others share one."""
    names = [b"recipient-%d@example.com" % i for i in range(n)]
    with Session(journal_command(journald, smtpd, "--max-recipients=300"), tmp_path) as session:
        session.begin("MAIL")
        session.expect(*[(b"RCPT TO:<" + name + b">", b"250 ") for name in names],
                       (b"DATA", b"354 "))
        session.say(b"text\r\n" * 10 + b".\r\n")
        assert session.reply() == STORED and session.end() == 0
        entry, = stored(journald, session)
    assert entry["SMTPD_RECIPIENTS"] == [b"%d" % n]
    assert entry["SMTPD_RCPT_TO"] == names[:256]
    more = entry.get("SMTPD_RCPT_TO_MORE", [b""])
    assert len(more) == 1 and more[0].split() == names[256:]
    assert ("SMTPD_RCPT_TO_MORE" in entry) == (n > 256)


@pytest.mark.parametrize("octets", [30_000_000, 64 * 1024 * 1024], ids=["30-MB", "64-MiB"])
def test_large_message(journald, release, tmp_path, octets):
    """64 MiB are the most that it takes."""
    lines = b"".join(b"%09d the quick brown fox jumps over the lazy dog\n" % i
                     for i in range(octets // 54))
    text = b"Subject: large\n\n" + lines
    text += b"x" * (octets - len(text) - 1) + b"\n" if len(text) < octets else b""
    text = text[: octets - 1] + b"\n"
    with Session(journal_command(journald, release, "--max-size=0", "--x-peer=no"),
                 tmp_path) as session:
        session.deadline += 3 * PATIENCE
        session.begin("EHLO")
        assert session.send_message(text.replace(b"\n", b"\r\n")) == STORED
        assert session.end() == 0
        entry, = stored(journald, session)
    assert only(entry, "SMTPD_TEXT") == text


def test_too_large_a_message(journald, smtpd, tmp_path):
    text = b"Subject: too large\r\n\r\n" + b"0123456789abcdef" * 4 * 1024 * 1024 + b"\r\n"
    with Session(journal_command(journald, smtpd, "--max-size=0"), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(text).startswith(b"552 5.3.4 ")
        assert session.send_message(SMALL) == STORED
        assert session.end() == 0
        assert [only(entry, "SMTPD_SIZE")
                for entry in stored(journald, session)] == [b"%d" % len(SMALL)]


def test_many_sessions_at_once_to_one_journal(journald, release):
    dialogue = b"EHLO c\nMAIL FROM:<many-%d@example.org>\nRCPT TO:<b@example.com>\nDATA\ntext %d\n.\nQUIT\n"
    argv = journal_command(journald, release, "--x-peer=no")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for status, out, _ in pool.map(lambda n: run(argv, dialogue % (n, n)), range(40)):
            assert status == 0 and STORED in out
    for n in range(40):
        entry, = journald.entries(f"SMTPD_MAIL_FROM=many-{n}@example.org")
        assert entry["SMTPD_TEXT"] == [b"text %d\n" % n]


def test_rotation_and_vacuum_lose_nothing_new(release, tmp_path):
    """Small files: journald begins new ones all the time, and deletes old ones. The entry is in one
    of them."""
    with Journald(tmp_path, "RuntimeMaxUse=8M", "RuntimeMaxFileSize=512K",
                  "Compress=no") as journald:
        with Session(journal_command(journald, release), tmp_path) as session:
            session.deadline += 3 * PATIENCE
            session.begin("EHLO")
            for n in range(60):
                content = (b"Subject: %d\r\n\r\n" % n
                           + random.Random(n).randbytes(50_000).hex().encode() + b"\r\n")
                assert session.send_message(content) == STORED
                assert len(stored(journald, session)) >= 1 if n % 20 == 0 else True
            assert session.end() == 0
            assert b"Subject: 59\n" in only(stored(journald, session)[-1], "SMTPD_TEXT")


# Links to one file of another name space. $1: how many, $2: where the journals are
MANY_FILES = """
set -e; cd "$2"; id=$(cat /etc/machine-id); mkdir "$id.other"
cp "$id/system.journal" "$id.other/first"
for i in $(seq 1 "$1"); do ln "$id.other/first" "$id.other/$(printf 'system@%032x-%016x-%016x.journal' 1 "$i" "$i")"; done
"""


@pytest.mark.parametrize("limits", ["1024:4096", "200:200"], ids=["usual", "fewer"])
def test_many_files(smtpd, tmp_path, limits):
    """More than a process may open: those that journald writes to are enough."""
    with Journald(tmp_path) as journald:
        subprocess.run(journald.inside("sh", "-c", MANY_FILES, "sh", "1100", "/run/log/journal"),
                       check=True, timeout=PATIENCE)
        argv = journald.inside(need("prlimit"), f"--nofile={limits}",
                               *command(smtpd, "--strategy=journal"))
        with Session(argv, tmp_path) as session:
            session.begin("EHLO")
            then = time.monotonic()
            for _ in range(5):
                assert session.send_message(SMALL) == STORED
            assert time.monotonic() - then < 5 and session.end() == 0


def test_rotation_while_it_is_read_back(release, tmp_path):
    """All the time: each entry is in a file that has just got another name, or soon has."""
    with Journald(tmp_path, "RuntimeMaxUse=4G", "RuntimeMaxFileSize=512K",
                  "RuntimeMaxFiles=5000") as journald:
        is_over = threading.Event()

        def rotate():
            while not is_over.wait(0.03):
                journald.process.send_signal(signal.SIGUSR2)

        thread = threading.Thread(target=rotate)
        thread.start()
        try:
            with Session(journal_command(journald, release), tmp_path) as session:
                session.deadline += 3 * PATIENCE
                session.begin("EHLO")
                for _ in range(40):
                    assert session.send_message(SMALL) == STORED
                assert session.end() == 0
        finally:
            is_over.set()
            thread.join()
        assert len(stored(journald, session)) == 40


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


# --- the default, and the log ---------------------------------------------------------------------


def by_itself(smtpd, *options):
    """Without a strategy."""
    return [smtpd, *STAY, "--config=/dev/null", "--hostname=mx.example.com", *options]


def test_default_is_the_journal(journald, smtpd, tmp_path):
    """Where standard error is the journal; and the log has its priorities there."""
    stream, name = journald.stream()
    with (stream,
          Session(journald.inside(*by_itself(smtpd)), tmp_path, err=stream,
                  env=environment(JOURNAL_STREAM=name)) as session):
        pid = session.pid
        session.begin("EHLO")
        assert session.send_message(SMALL) == STORED
        assert session.end() == 0
    log = journald.entries(f"_PID={pid}")
    assert [(re.match(rb"\w+", only(entry, "MESSAGE"))[0], entry["PRIORITY"]) for entry in log] == [
        (b"message", [b"6"]), (b"session", [b"6"])]
    assert b"strategy=journal" in only(log[0], "MESSAGE")
    assert log[0]["SYSLOG_IDENTIFIER"] == [b"smtpd"]
    id_ = re.search(rb" id=(\S+) ", only(log[0], "MESSAGE"))[1].decode()
    assert len(journald.entries(f"SMTPD_ID={id_}")) == 1


def test_priorities_in_the_log(journald, smtpd, tmp_path):
    """Of what is refused, what a hook has to say, and what is wrong."""
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\necho '<0>panic' >&2\nexit 75\n")
    hook.chmod(0o755)
    stream, name = journald.stream("smtpd-test")
    argv = journald.inside(*command(smtpd, "--strategy=exec", f"--command={hook}"))
    with (stream,
          Session(argv, tmp_path, err=stream, env=environment(JOURNAL_STREAM=name)) as session):
        session.begin("EHLO")
        pids = session.pid, broker_of(session.pid)
        assert session.send_message(SMALL).startswith(b"451 ")
        hook.unlink()
        assert session.send_message(SMALL).startswith(b"451 ")
        session.expect((b"MAIL FROM:<>", b"250 "), (b"RCPT TO:<b@example.com>", b"250 "))
        assert session.end() == 0
    log = [(only(entry, "MESSAGE"), only(entry, "PRIORITY"))
           for entry in journald.entries(*[f"_PID={pid}" for pid in pids])]
    kinds = [(re.match(rb"\w+", message)[0], priority) for message, priority in log]
    assert kinds == [(b"program", b"5"), (b"message", b"4"), (b"cannot", b"3"), (b"message", b"4"),
                     (b"abandoned", b"5"), (b"session", b"6")]
    assert b'stderr=<0>panic' in log[0][0]


def test_default_by_systemd_cat(journald, smtpd, tmp_path):
    """It may or may not set $JOURNAL_STREAM; either way nothing is lost."""
    name = journald.inside("sh", "-c",
                           'systemd-cat -t by-cat sh -c \'echo "x$JOURNAL_STREAM" >"$0"\' "$1"',
                           "sh", tmp_path / "stream")
    subprocess.run(name, check=True, timeout=PATIENCE)
    is_set = (tmp_path / "stream").read_bytes() != b"x\n"
    (tmp_path / "session.txt").write_bytes(b"EHLO c\nMAIL FROM:<cat@example.org>\nRCPT "
                                           b"TO:<b@example.com>\nDATA\nby cat\n.\nQUIT\n")
    argv = journald.inside("systemd-cat", "-t", "by-cat", "sh", "-c", 'exec "$@" <"$0" >"$0.out"',
                           tmp_path / "session.txt", *by_itself(smtpd))
    subprocess.run(argv, check=True, timeout=PATIENCE, env=environment())
    out = (tmp_path / "session.txt.out").read_bytes()
    if is_set:
        assert STORED in out and journald.entries("SMTPD_MAIL_FROM=cat@example.org")
    else:
        assert b"\r\n250 2.0.0 " in out
        assert any(only(entry, "MESSAGE") == b"by cat"
                   for entry in journald.entries("SYSLOG_IDENTIFIER=by-cat"))


@pytest.mark.parametrize("stream", [None, "0:0", "garbage", ""], ids=str)
def test_default_is_print(smtpd, tmp_path, stream):
    """Where standard error is a file, whatever a parent's $JOURNAL_STREAM says."""
    env = environment() if stream is None else environment(JOURNAL_STREAM=stream)
    with Session(by_itself(smtpd), tmp_path, env=env) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL).startswith(b"250 2.0.0 ") and session.end() == 0
        assert session.messages() == [with_x_peer(SMALL.replace(b"\r\n", b"\n"), "local")]
        assert b"strategy=print" in session.err() and not session.err().startswith(b"<")


# --- what is installed ----------------------------------------------------------------------------


def test_helper_is_missing(smtpd, tmp_path):
    """No session: the administrator has to install it."""
    if any(Path("/usr", folder, "smtpd/smtpd-journal").exists() for folder in ("libexec", "lib")):
        pytest.skip("it is installed")
    shutil.copy(smtpd, tmp_path / "smtpd")
    with Session(command(tmp_path / "smtpd", "--strategy=journal"), tmp_path) as session:
        assert replies(session.read_to_end()) == [(421,
                                                   b"4.3.5 this server is not configured "
                                                   b"correctly, try again later")]
        assert session.status() == 78 and b"smtpd-journal is not installed" in session.err()


def test_catalog(journald, release, tmp_path):
    """It compiles without complaint, and journalctl -x shows our text with the entry's fields in
    it."""
    catalog = tmp_path / "usr/lib/systemd/catalog"
    catalog.mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    shutil.copy(Path(release).parent / "units_smtpd_catalog", catalog / "smtpd.catalog")
    done = journald.journalctl(f"--root={tmp_path}", "--update-catalog")
    assert done.stdout + done.stderr == b""
    dump = journald.journalctl(f"--root={tmp_path}", "--dump-catalog").stdout
    assert dump.count(MESSAGE_ID) == 1 and b"Subject: " in dump and b"Defined-By: smtpd" in dump
    with Session(journal_command(journald, release), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL, sender=b"catalog@example.org") == STORED
        assert session.end() == 0
        entry, = stored(journald, session)
    journald.journalctl("--sync")
    folder = "/var/lib/systemd/catalog"
    if not os.path.isdir(folder):
        missing("no place for a message catalog")
    show = journald.inside(
        *private_mounts(), "sh", "-c",
        f'mount --bind "$0"{folder} {folder} && exec journalctl -x --no-pager "$1"',
        tmp_path, "SMTPD_ID=" + only(entry, "SMTPD_ID").decode())
    text = subprocess.run(show, capture_output=True, check=True, timeout=PATIENCE).stdout
    assert b"smtpd received a mail from <catalog@example.org> by ESMTP" in text
    assert b"journalctl SMTPD_ID=" + only(entry, "SMTPD_ID") in text and b"@SMTPD" not in text


def test_message_id_is_the_same_everywhere():
    assert f"message_id = '{MESSAGE_ID.decode()}'" in (ROOT / "meson.build").read_text()
