# SPDX-License-Identifier: MIT
"""Strategy journal: what is in the journal after a message, with a real journald of our own
(tests/lib/journald.py)."""

import concurrent.futures
import random
import signal
import subprocess
import threading
import time

import pytest
from conftest import need
from journal import MESSAGE_ID, SMALL, STORED, journal_command, only, stored
from journal import has_helper, journald  # noqa: F401 (fixtures)
from journald import Journald
from session import PATIENCE, Session, command, run, tcp_pair, with_x_peer

FIELDS = {"MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER", "SYSLOG_FACILITY", "SMTPD_ID",
          "SMTPD_PEER", "SMTPD_PEER_PORT",
          "SMTPD_HELO", "SMTPD_PROTOCOL", "SMTPD_HOSTNAME", "SMTPD_MAIL_FROM", "SMTPD_MAIL_OPTIONS",
          "SMTPD_SIZE",
          "SMTPD_RECIPIENTS", "SMTPD_RCPT_TO", "SMTPD_TEXT"}
FIELDS_OF_TLS = {"SMTPD_TLS", "SMTPD_TLS_CIPHER", "SMTPD_TLS_SNI",
                 "SMTPD_TLS_CLIENT_FINGERPRINT", "SMTPD_TLS_CLIENT_VERIFY", "SMTPD_AUTH"}
FIELDS |= FIELDS_OF_TLS


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
