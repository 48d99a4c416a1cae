# SPDX-License-Identifier: MIT
"""Strategy exec, the contract of smtpd-exec(7), from both sides: what the client is told, and what
the program was given.

Most hooks here are a few lines of sh. One that shall be looked at while it runs waits at a FIFO
(class Hook): nothing of its own disturbs what /proc then says about it."""

import concurrent.futures
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import time

import pytest
from conftest import ROOT, missing, need, private_mounts
from processes import GONE, descriptors, group, is_running, programs, status_of
from session import (PATIENCE, PYTHON, Session, command, environment, replies, reset, run, tcp_pair,
                     wait_until)
from test_faults import large, with_small_disk

SMALL = b"Subject: small\r\n\r\nsmall\r\n"
TRY_AGAIN = b"451 4.3.0 temporary failure, try again later"
TOO_LATE = b"451 4.3.0 the delivery program took too long, try again later"
VARIABLES = {"SMTPD_ID", "SMTPD_PEER", "SMTPD_PEER_PORT", "SMTPD_HELO", "SMTPD_PROTOCOL",
             "SMTPD_HOSTNAME", "SMTPD_MAIL_FROM",
             "SMTPD_MAIL_OPTIONS", "SMTPD_RCPT_TO", "SMTPD_RCPT_OPTIONS", "SMTPD_SIZE"}
OF_TLS = {"SMTPD_TLS", "SMTPD_TLS_CIPHER", "SMTPD_TLS_SNI", "SMTPD_TLS_CLIENT_FINGERPRINT",
          "SMTPD_TLS_CLIENT_VERIFY"}
VARIABLES |= OF_TLS | {"SMTPD_AUTH"}

# --- hooks ----------------------------------------------------------------------------------------


def script(folder, body, name="hook", interpreter="/bin/sh"):
    """An executable file; its path."""
    path = folder / name
    path.write_bytes(b"#!%s\n%s\n" % (interpreter.encode(),
                                      body if isinstance(body, bytes) else body.encode()))
    path.chmod(0o755)
    return path


def exec_command(smtpd, program, *options):
    return command(smtpd, "--strategy=exec", f"--command={program}", *options)


def shell(text, argv):
    """A command line that first does something in a shell."""
    return ["sh", "-c", text + '\nexec "$@"', "sh", *argv]


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Hook:
    """A program that waits until a test lets it go: `cat FIFO`. What is written there is what it
    says."""

    def __init__(self, folder):
        self.fifo = folder / "fifo"
        os.mkfifo(self.fifo)
        self.command = f"cat {self.fifo}"
        self.pid = None

    def find(self, session):
        """Waits until it runs, and stands at the FIFO."""
        def look():
            for pid, status in programs(session.pid).items():
                with contextlib.suppress(*GONE):
                    if status.state == "S" and read(
                            f"/proc/{pid}/cmdline") == f"cat\0{self.fifo}\0".encode():
                        return pid
            return None

        self.pid = wait_until(look, "the hook")
        return self.pid

    def look(self, what):
        return read(f"/proc/{self.pid}/{what}")

    def environ(self):
        """Every variable is there once."""
        pairs = [pair.partition(b"=") for pair in self.look("environ").split(b"\0")[:-1]]
        assert len({name for name, _, _ in pairs}) == len(pairs)
        return {name.decode(): value for name, _, value in pairs}

    def let_go(self, says=b""):
        def opened():
            try:
                return os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # ENXIO: it has not opened its end
                return None

        fd = wait_until(opened, "the hook to open its end")
        os.write(fd, says)
        os.close(fd)


@pytest.fixture
def hook(tmp_path):
    return Hook(tmp_path)


@pytest.fixture
def seen(tmp_path):
    """The folder $SEEN, where hooks write down what they saw."""
    folder = tmp_path / "seen"
    folder.mkdir()
    return folder


def transaction(session, sender, recipients, content):
    """Returns the verdict."""
    session.expect((b"MAIL FROM:" + sender, b"250 "),
                   *[(b"RCPT TO:" + r, b"250 ") for r in recipients], (b"DATA", b"354 "))
    session.say(content + b".\r\n")
    return session.reply()


def start_transaction(session, sender, recipients, content):
    """The same, but nobody waits for the verdict."""
    session.expect((b"MAIL FROM:" + sender, b"250 "),
                   *[(b"RCPT TO:" + r, b"250 ") for r in recipients], (b"DATA", b"354 "))
    session.say(content + b".\r\n")


# --- verdicts -------------------------------------------------------------------------------------

STATUSES = {
    0: "250 2.0.0",
    64: "554 5.3.0",
    65: "554 5.6.0",
    67: "550 5.1.1",
    68: "550 5.1.2",
    70: "554 5.3.0",
    76: "554 5.5.0",
    77: "550 5.7.1",
    100: "554 5.0.0",
}
# the sender's local part says what to do
RECORD = 'cat >"$SEEN/$SMTPD_MAIL_FROM"\nn=${SMTPD_MAIL_FROM%%@*}\n'


def test_table_is_the_manual_s():
    text = (ROOT / "man/smtpd-exec.7").read_text()
    rows = re.findall(r"^\.It (\d+)(?: Pq EX_\w+)? Ta (\d{3} \d\.\d+\.\d+) Ta", text, re.M)
    assert {int(status): reply for status, reply in rows} == STATUSES
    assert re.search(r"^\.It all others, signals Ta 451 4\.3\.0 Ta", text, re.M)


def test_every_exit_status(smtpd, tmp_path, seen):
    program = script(tmp_path, RECORD + "exit $n")
    with Session(exec_command(smtpd, program), tmp_path,
                 env=environment(SEEN=str(seen))) as session:
        session.deadline += PATIENCE
        session.begin("EHLO")
        for status in range(256):
            reply = session.send_message(b"status %d\r\n" % status,
                                         sender=b"%d@example.org" % status)
            expected = STATUSES.get(status, "451 4.3.0").encode() + b" "
            assert reply.startswith(expected), (status, reply)
            assert read(seen / f"{status}@example.org") == b"status %d\n" % status
        assert session.end() == 0
        assert session.err().count(b"smtpd: message ") == 256


STOPS = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
IGNORED = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}  # by default


def test_every_signal(smtpd, tmp_path, seen):
    """Signals that do not end a program do not change what it says either."""
    program = script(tmp_path, RECORD + "kill -$n $$\nexit 77")
    argv = shell("ulimit -c 0", exec_command(smtpd, program))
    with Session(argv, tmp_path, env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        n_killed = 0
        for number in sorted(set(range(1, 65)) - STOPS):
            reply = session.send_message(b"signal %d\r\n" % number,
                                         sender=b"%d@example.org" % number)
            assert reply.startswith(
                b"550 5.7.1 ") if number in IGNORED else reply == TRY_AGAIN, (number, reply)
            assert read(seen / f"{number}@example.org") == b"signal %d\n" % number
            n_killed += number not in IGNORED
            if number not in IGNORED:
                assert session.err().count(b"signal %d\"" % number) == 1  # the log says which
            assert session.err().count(b"duplicate possible: ") == n_killed  # it had the message
        assert session.end() == 0


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP],
                         ids=lambda n: signal.Signals(n).name)
def test_stopped_hook(release, tmp_path, number):
    """It does not end, and would not take SIGTERM."""
    program = script(tmp_path, f"kill -{int(number)} $$")
    with Session(exec_command(release, program, "--timeout=1"), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TOO_LATE
        assert not programs(session.pid) and session.end() == 0


DELIVERED = b"250 2.0.0 delivered"
REPLIES = [  # standard output, exit status, reply
    (b"250 2.1.5 thanks\n", 0, b"250 2.1.5 thanks"),
    (b"250 thanks\n", 0, b"250 thanks"),
    (b"250\n", 0, b"250 "),
    (b"299 2.0.0 odd\n", 0, b"299 2.0.0 odd"),
    (b"250 2.1.5 no line end", 0, b"250 2.1.5 no line end"),
    (b"250 2.1.5 thanks\r\n", 0, b"250 2.1.5 thanks"),
    (b"250 2.1.5 thanks\r", 0, b"250 2.1.5 thanks"),
    (b"", 0, DELIVERED),
    (b"", 3, TRY_AGAIN),
    # 2xx needs exit status 0
    (b"250 2.1.5 thanks\n", 1, TRY_AGAIN),
    (b"250 2.1.5 thanks\n", 75, TRY_AGAIN),
    (b"250 2.1.5 thanks\n", 255, TRY_AGAIN),
    (b"250 2.1.5 thanks\n", 100, b"554 5.0.0 the message was refused"),
    # 4xx and 5xx do not
    (b"450 4.7.1 greylisted\n", 0, b"450 4.7.1 greylisted"),
    (b"450 4.7.1 greylisted\n", 1, b"450 4.7.1 greylisted"),
    (b"450 4.7.1 greylisted\n", 77, b"450 4.7.1 greylisted"),
    (b"550 5.1.1 nobody\n", 0, b"550 5.1.1 nobody"),
    (b"550 5.1.1 nobody\n", 75, b"550 5.1.1 nobody"),
    (b"550 5.1.1 nobody\n", 255, b"550 5.1.1 nobody"),
    (b"599 whatever\n", 0, b"599 whatever"),
    # 421 would announce that we close the session
    (b"421 4.3.2 not now\n", 0, b"451 4.3.2 not now"),
    (b"421 4.3.2 not now\n", 1, b"451 4.3.2 not now"),
    # a first line of three digits and more claims to be a reply: what is none must not become a 250
    (b"354 go ahead\n", 0, TRY_AGAIN),
    (b"354 go ahead\n", 67, TRY_AGAIN),
    (b"199 odd\n", 0, TRY_AGAIN),
    (b"100 odd\n", 0, TRY_AGAIN),
    (b"600 odd\n", 0, TRY_AGAIN),
    (b"000\n", 0, TRY_AGAIN),
    (b"5500 odd\n", 0, TRY_AGAIN),
    (b"550_5.1.1 odd\n", 0, TRY_AGAIN),
    (b"550\t5.1.1 odd\n", 0, TRY_AGAIN),
    (b"550: odd\n", 0, TRY_AGAIN),
    (b"2026-11-27 stored\n", 0, TRY_AGAIN),
    (b"550-first\n550 second\n", 0, TRY_AGAIN),
    (b"550-first\n550 second\n", 75, TRY_AGAIN),
    (b"550-5.7.1 first\r\n550 5.7.1 second\r\n", 0, TRY_AGAIN),
    (b"550-5.7.1 first and last\n", 0, TRY_AGAIN),
    (b"250-first\n250 second\n", 0, TRY_AGAIN),
    (b"250-first\n250 second\n", 77, TRY_AGAIN),
    (b"\xef\xbb\xbf550 5.1.1 nobody\n", 0, TRY_AGAIN),
    (b"\xef\xbb\xbf250 2.0.0 fine\r\n", 0, TRY_AGAIN),
    # these claim nothing: the exit status counts
    (b"55\n", 0, DELIVERED),
    (b"5x0 odd\n", 0, DELIVERED),
    (b"5x0 odd\n", 67, b"550 5.1.1 no such recipient"),
    (b" 550 5.1.1 nobody\n", 0, DELIVERED),
    (b"\xef\xbb\xbfgarbage\n", 0, DELIVERED),
    (b"garbage\n550 5.1.1 nobody\n", 0, DELIVERED),
    (b"garbage\n250 2.0.0 fine\n", 1, TRY_AGAIN),
    (b"\n550 5.1.1 nobody\n", 0, DELIVERED),
    (b"\r\n550 5.1.1 nobody\n", 0, DELIVERED),
    # only the first line counts
    (b"550 5.1.1 nobody\n250 2.0.0 fine\n", 0, b"550 5.1.1 nobody"),
    (b"250 2.0.0 fine\n550 5.1.1 nobody\n", 0, b"250 2.0.0 fine"),
    (b"450 4.0.0 a\r\n250 2.0.0 b\r\n550 5.0.0 c\r\n", 0, b"450 4.0.0 a"),
    # nothing in it is a second reply, or no text
    (b"550 5.1.1 gr\xc3\xbc\xc3\x9f dich\x1b[0m\t\x07\n", 0, b"550 5.1.1 gr???? dich?[0m??"),
    (b"550 5.1.1 a\r250 2.0.0 b\n", 0, b"550 5.1.1 a"),
    # long ones are cut: a line of a reply has 512 octets with its CR and LF (RFC 5321, 4.5.3.1.5)
    (b"550 5.1.1 " + b"x" * 500 + b"\n", 0, b"550 5.1.1 " + b"x" * 500),
    (b"550 5.1.1 " + b"x" * 501 + b"\r\n", 0, b"550 5.1.1 " + b"x" * 500),
    (b"250 " + b"x" * 600 + b"\n", 0, b"250 " + b"x" * 506),
    (b"550 5.1.1 " + b"x" * 1_000_000 + b"\n", 0, b"550 5.1.1 " + b"x" * 500),
    (b"x" * 1_000_000 + b"\n550 5.1.1 nobody\n", 0, DELIVERED),
    (b"x" * 1_000_000, 0, DELIVERED),
    (b"550 5.1.1 nobody\n" + b"250 2.0.0 fine\n" * 100_000, 0, b"550 5.1.1 nobody"),
]


def test_reply_on_standard_output(smtpd, tmp_path, seen):
    program = script(tmp_path, RECORD + 'cat "$SEEN/$n.out"\nexit "$(cat "$SEEN/$n.status")"')
    wrong = []
    with Session(exec_command(smtpd, program), tmp_path,
                 env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        for n, (says, status, expected) in enumerate(REPLIES):
            (seen / f"{n}.out").write_bytes(says)
            (seen / f"{n}.status").write_text(str(status))
            reply = session.send_message(b"case %d\r\n" % n, sender=b"%d@example.org" % n)
            wrong += [] if reply == expected else [(says[:80], status, reply[:200])]
            assert read(seen / f"{n}@example.org") == b"case %d\n" % n
        assert session.end() == 0  # and every reply was one reply
    assert wrong == []


def test_nul_in_the_reply(smtpd, tmp_path):
    """Never in what the client gets."""
    program = script(tmp_path, r"printf '550 5.1.1 no\000body\n'")
    with Session(exec_command(smtpd, program), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == b"550 5.1.1 no?body"
        assert session.end() == 0


NO_REPLY = "the first line is not a reply, so the exit status counts"
IGNORED_OUTPUT = {  # standard output, exit status; what is logged of it (None: nothing), and why
    "nothing": (b"", 0, None, ""),
    "a reply": (b"250 2.0.0 fine\n", 0, None, ""),
    "a reply of Windows": (b"550 5.1.1 nobody\r\n", 0, None, ""),
    "a reply without a line end": (b"550 5.1.1 nobody", 0, None, ""),
    "a reply and empty lines": (b"550 5.1.1 nobody\n\n \r\n", 0, None, ""),
    "empty lines": (b"\n\r\n", 0, None, ""),
    "a banner": (b"hook 1.0\n550 no\n", 0, r"hook 1.0\x0a550 no", NO_REPLY),
    "a blank first": (b" 550 5.1.1 nobody\n", 0, " 550 5.1.1 nobody", NO_REPLY),
    "an empty line first": (b"\n550 nobody\n", 0, r"\x0a550 nobody", NO_REPLY),
    "more lines": (b"550 no\r\n250 fine\r\nx\n", 0, r"250 fine\x0d\x0ax", "only the first line"),
    "a CR": (b"550 5.1.1 a\r250 2.0.0 b\n", 0, "250 2.0.0 b", "only the first line"),
    "2xx and a failure": (b"250 2.0.0 fine\n", 75, "250 2.0.0 fine", "only with exit status 0"),
    "2xx and a signal": (b"250 2.0.0 fine\n", -9, "250 2.0.0 fine", "only with exit status 0"),
    "several lines": (b"550-5.7.1 a\n550 5.7.1 b\n", 0, r"550-5.7.1 a\x0a550 5.7.1 b", "one line"),
    "no reply": (b"354 go ahead\n", 0, "354 go ahead", "not a valid reply, so 451"),
    "a date": (b"2026-11-27 stored\n", 0, "2026-11-27 stored", "print to standard error if it is none"),
    "a mark": (b"\xef\xbb\xbf550 no\n", 0, r"\xef\xbb\xbf550 no", "print no byte order mark"),
    "a long reply": (b"550 5.1.1 " + b"x " * 300 + b"\n", 0, "x " * 50, "at most 512 octets"),
    "much": (b"y\n" * 100_000, 0, r"y\x0a" * 128 + "...", NO_REPLY),
    "a quote": (b'x" y="250\nsmtpd: \0\n', 0, r"x\x22 y=\x22250\x0asmtpd: ?", NO_REPLY),
}
PROGRAM_LINE = re.compile(r'smtpd: program id=(\S+) program=\S+ ignored="([^"]*)" reason="([^"]*)"')


@pytest.mark.parametrize("what", IGNORED_OUTPUT)
def test_ignored_output_is_logged_once(smtpd, tmp_path, what):
    says, status, ignored, reason = IGNORED_OUTPUT[what]
    (tmp_path / "words").write_bytes(says)
    end = f"exit {status}" if status >= 0 else f"kill {status} $$"
    program = script(tmp_path, f"cat {tmp_path}/words\n{end}")
    with Session(exec_command(smtpd, program), tmp_path) as session:
        session.begin("EHLO")
        session.send_message(SMALL)
        assert session.end() == 0
        log = session.err().decode()
    lines = [line for line in log.split("\n") if line.startswith("smtpd: program ")]
    assert len(lines) == (ignored is not None), lines
    for line in lines:
        found = PROGRAM_LINE.fullmatch(line)
        assert found and f"smtpd: message id={found[1]} " in log, line
        assert found[2] == ignored and reason in found[3] and len(line) < 1500


def test_ignored_output_of_a_hook_that_hangs(release, tmp_path):
    program = script(tmp_path, "echo 550 5.0.0 not yet\nexec sleep 60")
    with Session(exec_command(release, program, "--timeout=1"), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TOO_LATE
        assert b' ignored="550 5.0.0 not yet" reason="' in session.err() and session.end() == 0


def test_lmtp_of_hooks(smtpd, tmp_path):
    """One verdict, for each recipient."""
    program = script(tmp_path, 'echo "$SMTPD_PROTOCOL $SMTPD_RCPT_TO" >&2\nexit 67')
    with Session(exec_command(smtpd, program, "--protocol=lmtp"), tmp_path) as session:
        session.expect((None, b"220 "), (b"LHLO c", b"250-"), (b"MAIL FROM:<>", b"250 "))
        session.expect((b"RCPT TO:<b@example.com>", b"250 "), (b"RCPT TO:<c@example.com>", b"250 "),
                       (b"DATA", b"354 "))
        session.say(SMALL + b".\r\n")
        session.expect((None, b"550 5.1.1 "), (None, b"550 5.1.1 "))
        assert session.end() == 0
        assert b'stderr="LMTP b@example.com"' in session.err()
        assert b"stderr=c@example.com" in session.err()


# --- the environment ------------------------------------------------------------------------------


def test_environment_of_a_message(smtpd, tmp_path, hook):
    """All of it, over TCP."""
    ours, theirs = tcp_pair()
    port = str(ours.getsockname()[1]).encode()
    with Session(exec_command(smtpd, hook.command), tmp_path, (ours, theirs)) as session:
        session.expect((None, b"220 "), (b"EHLO client.example.org", b"250-"))
        content = b"Subject: x\r\n\r\n..\r\n..two\r\ntext\r\n"  # stuffed twice
        recipients = [b"<b@example.com>", b"<c@example.com>", b"<d@example.com>"]
        start_transaction(session, b"<a@example.org>  SIZE=99   body=8bitmime", recipients, content)
        hook.find(session)
        found = {name: value for name, value in hook.environ().items() if name.startswith("SMTPD_")}
        log_id = found.pop("SMTPD_ID")
        assert re.fullmatch(rb"[0-9a-f.]{10,47}", log_id)
        assert found == {
            "SMTPD_PEER": b"127.0.0.1",
            "SMTPD_PEER_PORT": port,
            "SMTPD_HELO": b"client.example.org",
            "SMTPD_PROTOCOL": b"ESMTP",
            "SMTPD_HOSTNAME": b"mx.example.com",
            "SMTPD_MAIL_FROM": b"a@example.org",
            "SMTPD_MAIL_OPTIONS": b"SIZE=99 body=8bitmime",
            "SMTPD_RCPT_TO": b"b@example.com\nc@example.com\nd@example.com",
            "SMTPD_RCPT_OPTIONS": b"\n\n",
            "SMTPD_SIZE": b"%d" % (len(content) - 2),
            **{name: b"" for name in OF_TLS | {"SMTPD_AUTH"}},
        }
        hook.let_go()
        assert session.reply() == DELIVERED and session.end() == 0
        assert b"smtpd: message id=" + log_id + b" " in session.err()


def test_environment_of_nearly_nothing(smtpd, tmp_path, hook):
    """All variables are there, and empty where nothing is to be said; nothing of the message
    before."""
    with Session(exec_command(smtpd, hook.command), tmp_path) as session:
        session.expect((None, b"220 "), (b"HELO c", b"250 "))
        ids = set()
        for _ in range(3):
            start_transaction(session, b"<>", [b"<Postmaster>"], b"")
            hook.find(session)
            found = {name: value for name,
                     value in hook.environ().items() if name.startswith("SMTPD_")}
            assert set(found) == VARIABLES
            ids.add(found.pop("SMTPD_ID"))
            assert {value for name, value in found.items() if name in (
                "SMTPD_PEER_PORT", "SMTPD_MAIL_FROM", "SMTPD_MAIL_OPTIONS", "SMTPD_RCPT_OPTIONS",
                *OF_TLS)} == {b""}
            assert found["SMTPD_PEER"] == b"local" and found["SMTPD_PROTOCOL"] == b"SMTP"
            assert found["SMTPD_SIZE"] == b"0"
            assert found["SMTPD_RCPT_TO"] == b"Postmaster" and found["SMTPD_HELO"] == b"c"
            hook.let_go()
            assert session.reply() == DELIVERED
            wait_until(lambda: not programs(session.pid), "the hook's end")
        assert len(ids) == 3
        assert session.end() == 0


@pytest.mark.parametrize("hello, option, utf8, protocol", [
    (b"HELO", "smtp", b"", b"SMTP"), (b"EHLO", "smtp", b"", b"ESMTP"),
    (b"EHLO", "smtp", b" SMTPUTF8", b"UTF8SMTP"),
    (b"LHLO", "lmtp", b"", b"LMTP"), (b"LHLO", "lmtp", b" SMTPUTF8", b"UTF8LMTP")],
                         ids=lambda v: None)
def test_protocol(smtpd, tmp_path, hook, hello, option, utf8, protocol):
    address = "<gr\u00fc\u00df@b\u00fccher.example>".encode() if utf8 else b"<b@example.com>"
    with Session(exec_command(smtpd, hook.command, f"--protocol={option}"), tmp_path) as session:
        session.expect((None, b"220 "), (hello + b" [192.0.2.1]", b"250"))
        start_transaction(session, address + utf8, [address], SMALL)
        hook.find(session)
        found = hook.environ()
        assert found["SMTPD_PROTOCOL"] == protocol and found["SMTPD_HELO"] == b"[192.0.2.1]"
        assert found["SMTPD_MAIL_FROM"] == found["SMTPD_RCPT_TO"] == address[1:-1]
        assert found["SMTPD_MAIL_OPTIONS"] == utf8.strip()
        assert found["SMTPD_SIZE"] == b"%d" % len(SMALL)
        hook.let_go()
        assert session.reply() == DELIVERED and session.end() == 0


def test_what_is_inherited(smtpd, tmp_path, hook):
    """Everything but what is about us; what claims to be from us is not believed."""
    lies = {f"{name}": "lie" for name in VARIABLES} | {"SMTPD_ANYTHING": "lie"}
    about_us = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "x",
                "NOTIFY_SOCKET": "/nowhere",
                "WATCHDOG_PID": "1", "WATCHDOG_USEC": "1", "SSL_PROTOCOL": "TLSv1.3",
                "SSL_CLIENT_S_DN": "CN=x"}
    others = {"EMPTY": "", "ODD": "a=b\nc d\"'$(x)`y`", "SMTPDX": "mine",
              "STATE_DIRECTORY": "/somewhere", "PATH": os.environ["PATH"],
              "SSL_CERT_FILE": "/etc/ssl/cert.pem", "SSL_CERT_DIR": "/etc/ssl/certs"}
    with Session(exec_command(smtpd, hook.command), tmp_path,
                 env=environment(**lies, **about_us, **others)) as session:
        session.begin("EHLO")
        start_transaction(session, b"<>", [b"<b@example.com>"], SMALL)
        hook.find(session)
        found = hook.environ()
        ours = {name: found.pop(name) for name in list(found) if name.startswith("SMTPD_")}
        assert set(ours) == VARIABLES and b"lie" not in ours.values()
        assert {name: value.encode() for name, value in environment(**others).items()} == found
        hook.let_go()
        assert session.reply() == DELIVERED and session.end() == 0


def test_path_is_always_there(smtpd, tmp_path, seen):
    """So a program without a slash is found, and finds others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script(folder, 'echo "$PATH" >"$SEEN/path"\ncat >"$SEEN/text"', "a-hook")
    env = environment(SEEN=str(seen), PATH=f"/no/such:{folder}:/usr/bin:/bin")
    with Session(exec_command(smtpd, "a-hook"), tmp_path, env=env) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == DELIVERED
        assert read(seen / "path") == env["PATH"].encode() + b"\n" and session.end() == 0
    del env["PATH"]
    program = script(tmp_path, 'tr "\\0" "\\n" </proc/$$/environ >"$SEEN/environ"')
    with Session(exec_command(smtpd, program), tmp_path, env=env) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == DELIVERED and session.end() == 0
    found = [line for line in read(seen / "environ").split(b"\n") if line.startswith(b"PATH=")]
    assert len(found) == 1 and b"/usr/bin" in found[0].removeprefix(b"PATH=").split(b":")


def test_every_printable_character(smtpd, tmp_path, hook):
    """In a quoted local part; with those that are special to a shell alone, too. None of it is in
    argv."""
    everything = b'"' + b"".join((b"\\" if c in b'"\\' else b"") + bytes([c])
                                 for c in range(32, 127)) + b'"@example.org'
    each = [b'"%s%c"@example.com' % (b"\\" if c in b'"\\' else b"", c) for c in range(32, 127)]
    each += [b'"\\%c"@example.com' % c for c in range(32, 127) if c not in b'"\\']
    each += [b"-rf@example.com", b"--@example.com",
             b"$(id)@example.com".replace(b"(", b"{").replace(b")", b"}"), b"`id`@example.com",
             b"!#$%&'*+-/=?^_`{|}~@example.com", b"|sh@example.com", b'"; rm -rf /"@example.com',
             b'" a  b "@example.com',
             b'""@example.com', b'"../../x"@example.com']
    with Session(exec_command(smtpd, hook.command, "--max-recipients=1000"), tmp_path) as session:
        session.begin("EHLO")
        start_transaction(session, b"<" + everything + b">", [b"<" + r + b">" for r in each], SMALL)
        hook.find(session)  # whose command line is what was configured
        found = hook.environ()
        assert found["SMTPD_MAIL_FROM"] == everything
        assert found["SMTPD_RCPT_TO"].split(b"\n") == each
        assert found["SMTPD_RCPT_OPTIONS"] == b"\n" * (len(each) - 1)
        hook.let_go()
        assert session.reply() == DELIVERED and session.end() == 0
        assert all(32 <= c < 127 or c == 10 for c in session.err())


def fill(session, n, length):
    """Pipelines n recipients of that length; returns the addresses, and of which the reply was 250.
    The others' is 452."""
    names = [(b"%06d" % i).ljust(length - 12, b"x") + b"@example.com" for i in range(n)]
    session.say(b"".join(b"RCPT TO:<%s>\r\n" % name for name in names))
    accepted = []
    for name in names:
        reply = session.reply()
        assert reply.startswith((b"250 2.1.5 ", b"452 4.5.3 ")), reply
        accepted += [name] if reply.startswith(b"250") else []
    return names, accepted


@pytest.mark.parametrize("length", [20, 1000])
@pytest.mark.parametrize("stack", ["8192", "512", "unlimited"])
def test_recipients_overflow_the_environment(release, tmp_path, seen, length, stack):
    """What was accepted is delivered. (The room for the environment depends on the limit of the
    stack.)"""
    program = script(tmp_path, 'cat >/dev/null\nprintf "%s\\n" "$SMTPD_RCPT_TO" >"$SEEN/$SMTPD_ID"')
    limits = ("--max-recipients=1000000", "--max-commands=1000000")
    argv = shell(f"ulimit -S -s {stack}", exec_command(release, program, *limits))
    with Session(argv, tmp_path, env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        for _ in range(2):  # the second transaction has as much room
            session.expect((b"MAIL FROM:<>", b"250 "))
            names, accepted = fill(session, 150_000 // length, length)
            assert names[: len(accepted)] == accepted and 60_000 < len(accepted) * length < 131_072
            session.expect((b"DATA", b"354 "))
            session.say(SMALL + b".\r\n")
            assert session.reply() == DELIVERED
            files = list(seen.iterdir())
            assert len(files) == 1 and read(files[0]).split() == accepted
            files[0].unlink()
        session.expect((b"MAIL FROM:<>", b"250 "))
        fill(session, 150_000 // length, length)
        session.expect((b"RSET", b"250 "), (b"MAIL FROM:<>", b"250 "),
                       (b"RCPT TO:<b@example.com>", b"250 "))
        assert session.end() == 0


# --- standard input -------------------------------------------------------------------------------

READER = """import hashlib, json, os, sys
at_start = os.lseek(0, 0, os.SEEK_CUR)
first = sys.stdin.buffer.read()
os.lseek(0, 0, os.SEEK_SET)
second = b"".join(iter(lambda: os.read(0, 1 << 20), b""))
os.lseek(0, len(first) // 2, os.SEEK_SET)
half = os.read(0, 10)
with open(os.environ["SEEN"] + "/" + os.environ["SMTPD_MAIL_FROM"], "w") as file:
    json.dump([at_start, len(first), hashlib.sha256(first).hexdigest(), first == second,
               half == first[len(first) // 2 :][:10], os.environ["SMTPD_SIZE"]], file)"""


def text_of(n):
    """n octets in LF lines, some of which need a dot, with a line end at the end."""
    lines, size = [], 0
    patterns = [b"." * 3, b".", b"", bytes(range(32, 127)), bytes(range(128, 256)) * 3,
                b"\x01\x02\x7f\t x", b".x" * 300]
    block = b"".join(pattern + b"\n" for pattern in patterns)
    while size + len(block) < n:
        lines.append(block)
        size += len(block)
    rest = n - size
    return b"".join(lines) + (b"y" * (rest - 1) + b"\n" if rest else b"")


def on_the_wire(text):
    wire = text.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")
    return b"." + wire if wire.startswith(b".") else wire


def test_standard_input(smtpd, tmp_path, seen):
    """The message's octets, from its beginning, as often as one likes. In one session, small ones
    after large ones."""
    program = script(tmp_path, READER, interpreter=PYTHON)
    sizes = [1, 0, 700, 65535, 65536, 65537, 131071, 131072, 131073, 30_000_000, 700]
    with Session(exec_command(smtpd, program), tmp_path,
                 env=environment(SEEN=str(seen))) as session:
        session.deadline += PATIENCE
        session.begin("EHLO")
        for n, size in enumerate(sizes):
            text = text_of(size)
            assert len(text) == size
            assert session.send_message(on_the_wire(text),
                                        sender=b"%d@example.org" % n) == DELIVERED
            with open(seen / f"{n}@example.org") as file:
                found = json.load(file)
            assert found == [0, size, hashlib.sha256(text).hexdigest(), True, True,
                             str(size + text.count(b"\n"))]
        assert session.end() == 0


@pytest.mark.parametrize("body",
                         ["exit 0", "exec 0<&-; exit 0", "exec 0<&- 1>&- 2>&-; exit 0",
                          "head -c 1 >/dev/null", ": >&0"],
                         ids=["reads-nothing", "closes-stdin", "closes-all", "reads-one-octet",
                              "writes-to-stdin"])
@pytest.mark.parametrize("size", [100, 3_000_000])
def test_hook_that_does_not_read(smtpd, tmp_path, body, size):
    with Session(exec_command(smtpd, script(tmp_path, body)), tmp_path) as session:
        session.begin("EHLO")
        for _ in range(3):
            assert session.send_message(large(size)) == DELIVERED
        assert session.end() == 0


# Uses standard input as no hook should, in whatever ways the system lets it; and then as it may.
VANDAL = """import contextlib, fcntl, os
for spoil in (lambda: os.write(0, b"spoilt"), lambda: os.ftruncate(0, 0), lambda: os.truncate("/proc/self/fd/0", 3),
              lambda: os.pwrite(os.open("/proc/self/fd/0", os.O_RDWR), b"spoilt", 0),
              lambda: os.posix_fallocate(0, 0, 1 << 20), lambda: fcntl.fcntl(0, fcntl.F_SETFL, os.O_RDWR)):
    with contextlib.suppress(OSError):
        spoil()
os.lseek(0, 7, os.SEEK_SET)
with open(os.environ["SEEN"] + "/modes", "a") as file:
    print(fcntl.fcntl(0, fcntl.F_GETFL) & os.O_ACCMODE, file=file)"""


def test_standard_input_is_read_only(smtpd, tmp_path, seen):
    """It is a message in memory; a large one, in a file, belongs to the user that the hook runs
    as."""
    program = script(tmp_path, VANDAL, interpreter=PYTHON)
    with Session(exec_command(smtpd, program), tmp_path,
                 env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        for size in (100, 300_000):
            assert session.send_message(on_the_wire(text_of(size))) == DELIVERED
        assert session.end() == 0
    assert (seen / "modes").read_text().split() == ["0", "0"]


@pytest.mark.parametrize("size", [100, 300_000])
def test_no_proc(release, tmp_path, seen, size):
    """Without /proc the hook gets a copy."""
    program = script(tmp_path, READER, interpreter=PYTHON)
    argv = [*private_mounts(), "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh",
            *exec_command(release, program)]
    with Session(argv, tmp_path, env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        text = text_of(size)
        for n in (1, 2):
            assert session.send_message(on_the_wire(text), sender=b"%d@x.example" % n) == DELIVERED
            with open(seen / f"{n}@x.example") as file:
                assert json.load(file)[:5] == [0, size, hashlib.sha256(text).hexdigest(), True,
                                               True]
        assert session.end() == 0


# --- everything else that it is given -------------------------------------------------------------


def look_around(hook, session):
    hook.find(session)
    stat = hook.look("stat").rpartition(b")")[2].split()
    status = dict(line.split(b":\t", 1) for line in hook.look("status").splitlines()
                  if b":\t" in line)
    return {
        "fds": sorted(descriptors(hook.pid)),
        "cwd": os.readlink(f"/proc/{hook.pid}/cwd"),
        "leads a group": int(stat[2]) == hook.pid,
        "session": int(stat[3]),
        "blocked": int(status[b"SigBlk"], 16),
        "ignored": int(status[b"SigIgn"], 16),
        "caught": int(status[b"SigCgt"], 16),
        "pending": int(status[b"SigPnd"], 16) | int(status[b"ShdPnd"], 16),
    }


EXPECTED = {"fds": [0, 1, 2], "cwd": "/", "leads a group": True, "blocked": 0, "ignored": 0,
            "caught": 0, "pending": 0}

# Ignores and blocks all signals that one may, and has descriptors for everybody to inherit.
BAD_PARENT = """import os, signal, sys
for fd in (5, 9, 77):
    os.dup2(2, fd)
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("parent", ["plain", "with-fds", "ignoring", "bad"])
def test_state_of_the_process(smtpd, tmp_path, hook, parent):
    argv = exec_command(smtpd, hook.command)
    argv = {"plain": argv,
            "with-fds": shell("exec 5</dev/null 9</dev/null", argv),
            "ignoring": shell("trap '' HUP PIPE", argv),
            "bad": [PYTHON, "-c", BAD_PARENT, *argv]}[parent]
    with Session(argv, tmp_path, tcp_pair(), cwd=tmp_path) as session:
        session.begin("EHLO")
        for content in (SMALL, large(500_000)):  # in memory, in a file
            start_transaction(session, b"<>", [b"<b@example.com>"], content)
            found = look_around(hook, session)
            assert found.pop("session") == os.getsid(session.pid)
            assert found == EXPECTED
            stdin, stdout, stderr = (descriptors(hook.pid)[n] for n in range(3))
            assert stdout.startswith("pipe:") and stderr.startswith("pipe:") and stdout != stderr
            assert not stdin.startswith("socket:")
            hook.let_go(b"250 2.0.0 all right\n")
            assert session.reply() == b"250 2.0.0 all right"
        assert session.end() == 0


def test_children_ignored_by_our_parent(smtpd, tmp_path):
    """SIGCHLD ignored is inherited through exec, and then the kernel throws exit statuses away. No
    250 comes of that."""
    program = script(tmp_path, "exit ${SMTPD_MAIL_FROM%%@*}")
    with Session(["env", "--ignore-signal=CHLD", *exec_command(smtpd, program)],
                 tmp_path) as session:
        session.begin("EHLO")
        for status in (75, 1, 67, 0) * 5:
            reply = session.send_message(SMALL, sender=b"%d@example.org" % status)
            assert reply.startswith(STATUSES.get(status, "451 4.3.0").encode() + b" "), (status,
                                                                                         reply)
        assert session.end() == 0


# --- command= -------------------------------------------------------------------------------------


def test_command_line_is_as_configured(smtpd, tmp_path, seen):
    """Blanks, quotes and what means something to a shell."""
    folder = tmp_path / """a "b' c\t$(x) d"""
    folder.mkdir()
    program = script(folder, 'printf "%s\\0" "$@" >"$SEEN/args"\ncat >/dev/null', "my hook")
    args = ["plain", "two words", "", "it's", 'say "hi"', "$HOME", "`id`", "*", "a;b|c&d>e", "-x",
            "--y=z w", "#no", "~"]
    words = " ".join(map(shlex.quote, [str(program), *args]))
    with Session(exec_command(smtpd, words), tmp_path, env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == DELIVERED and session.end() == 0
    assert read(seen / "args").decode().split("\0")[:-1] == args
    (seen / "args").unlink()
    (tmp_path / "smtpd.conf").write_text(f"strategy = exec\ncommand = {words}\nhostname = "
                                         f"mx.example.com\nuser = {os.geteuid()}\n")
    with Session([smtpd, f"--config={tmp_path}/smtpd.conf"], tmp_path,
                 env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == DELIVERED and session.end() == 0
    assert read(seen / "args").decode().split("\0")[:-1] == args


@pytest.mark.parametrize("name", ["./hook", "sub/hook", "sub/../hook"])
def test_relative_path(smtpd, tmp_path, seen, name):
    """Relative to where smtpd is, not to where the hook is."""
    (tmp_path / "sub").mkdir()
    script(tmp_path / "sub", 'cat >"$SEEN/x"')
    script(tmp_path, 'cat >"$SEEN/x"')
    with Session(exec_command(smtpd, name), tmp_path, env=environment(SEEN=str(seen)),
                 cwd=tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == DELIVERED and session.end() == 0
    assert read(seen / "x") == SMALL.replace(b"\r\n", b"\n")


def test_relative_path_is_not_relative_to_root(smtpd, tmp_path):
    """There is no bin/true here, but there is one in the hook's working directory."""
    for name in ("bin/true", "./bin/true"):
        with Session(exec_command(smtpd, name), tmp_path, cwd=tmp_path) as session:
            session.begin("EHLO")
            assert session.send_message(SMALL) == TRY_AGAIN and session.end() == 0


def test_name_of_a_link(smtpd, tmp_path, seen):
    """Programs that look at their own name (busybox, alternatives for sendmail) get the one that
    was configured."""
    script(tmp_path, 'echo "$0" >"$SEEN/name"', "many-in-one")
    (tmp_path / "link").symlink_to("many-in-one")
    with Session(exec_command(smtpd, tmp_path / "link"), tmp_path,
                 env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == DELIVERED and session.end() == 0
    assert read(seen / "name").decode() == f"{tmp_path}/link\n"


def not_executable(folder):
    path = script(folder, "exit 0")
    path.chmod(0o644)
    return path


def empty(folder):
    path = folder / "empty"
    path.touch()
    path.chmod(0o755)
    return path


def too_big(folder):
    """An ELF header without the rest."""
    path = folder / "cut"
    path.write_bytes(read("/bin/true")[:100])
    path.chmod(0o755)
    return path


def file_of(folder, content, mode=0o755):
    path = folder / "hook"
    path.write_bytes(content)
    path.chmod(mode)
    return path


NO_FILE, NO_ACCESS = "No such file or directory", "Permission denied"
NO_PROGRAM = "Exec format error"
HOME = "/home"
NO_MARK = "there is a byte order mark before its #!"


def interpreted_by(interpreter):
    return lambda folder: script(folder, "exit 0", interpreter=interpreter)


def of(content):
    return lambda folder: file_of(folder, content)


def a_fifo(folder):
    os.mkfifo(folder / "fifo", 0o755)
    return folder / "fifo"


def a_loop(folder):
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


# The hook; the system's word; what is wrong with it and what to do, with {hook} for its path.
CANNOT_RUN = {
    "not-executable": (not_executable, NO_ACCESS, "not executable: chmod +x {hook}"),
    "missing": (lambda folder: folder / "missing", NO_FILE, ""),
    "missing-directory": (lambda folder: folder / "no" / "hook", NO_FILE,
                          "there is no directory {hook.parent}"),
    "shell-s-work": (lambda _: "~/hook", NO_FILE, "no shell expands ~ and $"),
    "missing-in-path": (lambda _: "no-such-program", NO_FILE, "not found in PATH={path}"),
    "directory": (lambda folder: folder, NO_ACCESS, "a directory: name the program in it"),
    "fifo": (a_fifo, NO_ACCESS, "not a regular file"),
    "bad-interpreter": (interpreted_by("/no/such"), NO_FILE,
                        "the interpreter /no/such in its first line does not exist: install it"),
    "bare-interpreter": (interpreted_by("python3"), NO_FILE,
                         "python3 in its first line does not exist: write #!/usr/bin/env python3"),
    "interpreter-not-executable": (interpreted_by("/etc/passwd"), NO_ACCESS,
                                   "interpreter /etc/passwd in its first line is not executable"),
    "interpreter-is-directory": (interpreted_by("/etc"), NO_ACCESS,
                                 "the interpreter /etc in its first line is a directory"),
    "no-interpreter": (of(b"#! \nexit 0\n"), NO_PROGRAM, "no interpreter in its first line"),
    "windows": (of(b"#!/bin/sh\r\nexit 0\r\n"), NO_FILE,
                "its first line ends with CR LF, as on Windows: dos2unix {hook}"),
    "mark": (of(b"\xef\xbb\xbf#!/bin/sh\nexit 0\n"), NO_PROGRAM, NO_MARK),
    "utf-16": (of(b"\xff\xfe" + "#!/bin/sh\n".encode("utf-16-le")), NO_PROGRAM, NO_MARK),
    "no-first-line": (of(b"import sys\nsys.exit(0)\n"), NO_PROGRAM,
                      "its first line does not begin with #!: write #!/bin/sh"),
    "empty-line-first": (of(b"\n#!/bin/sh\n"), NO_PROGRAM, "its first line does not begin with #!"),
    "empty": (empty, NO_PROGRAM, "it is empty"),
    "loop": (a_loop, "Too many levels of symbolic links", ""),
    "below-a-file": (lambda folder: script(folder, "exit 0") / "x", "Not a directory", ""),
}


def check(smtpd, program):
    return [smtpd, "--check", "--config=/dev/null", "--strategy=exec", f"--command={program}"]


def lines_of(err, start):
    return [line for line in err.decode().split("\n") if line.startswith(start)]


@pytest.mark.parametrize("what", CANNOT_RUN)
def test_hook_that_cannot_run(smtpd, tmp_path, what):
    """451, and one line that says why, and what to do. --check warns of it in the same words."""
    make, word, why = CANNOT_RUN[what]
    program = make(tmp_path)
    name = tmp_path / program if program == "~/hook" else program
    why = why.format(hook=program, path=environment()["PATH"])
    with Session(exec_command(smtpd, program), tmp_path, cwd=tmp_path) as session:
        session.begin("EHLO")
        for n in (1, 2):
            assert session.send_message(SMALL) == TRY_AGAIN
            lines = lines_of(session.err(), "smtpd: cannot run ")
            assert len(lines) == n and lines[-1].startswith(f"smtpd: cannot run {name}: {word}")
            assert why in lines[-1], lines
            assert f"{name} not run" in lines_of(session.err(), "smtpd: message ")[-1]
        assert not lines_of(session.err(), "smtpd: program ")
        assert not programs(session.pid) and session.end() == 0
    status, _, err = run(check(smtpd, program), cwd=tmp_path)
    (line,) = lines_of(err, "smtpd: ")
    assert status == 0 and line.startswith(f"smtpd: warning: command: {program}: {word}")
    assert why in line and line.endswith("; until it can be run, every message gets 451")


def bare(argv, setup=""):
    """The command line without root's privilege to go everywhere, in a mount namespace of its own
    where `setup` was done."""
    is_root = os.getuid() == 0
    drop = [need("setpriv"), "--bounding-set=-dac_override,-dac_read_search"] if is_root else []
    if not setup:
        return [*drop, *argv]
    unshare = [need("unshare"), "-m" if is_root else "-rm"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        missing("no mount namespace can be had")
    return [*unshare, *shell(setup, [*drop, *argv])]


def refused_word(smtpd, tmp_path, program, setup=""):
    """What is logged of a hook that may not be executed; --check says the same."""
    with Session(bare(exec_command(smtpd, program), setup), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TRY_AGAIN and session.end() == 0
        (line,) = lines_of(session.err(), "smtpd: cannot run ")
    word = line.removeprefix("smtpd: cannot run ")
    status, _, err = run(bare(check(smtpd, program), setup))
    assert status == 0
    assert err.decode().startswith(f"smtpd: warning: command: {word}; until it can be run"), err
    return word


def test_hook_below_a_locked_directory(release, tmp_path):
    (tmp_path / "locked").mkdir()
    program = script(tmp_path / "locked", "exit 0")
    (tmp_path / "locked").chmod(0)
    try:
        found = refused_word(release, tmp_path, program)
    finally:
        (tmp_path / "locked").chmod(0o700)
    why = f"user {os.getuid()} may not search the directory {tmp_path}/locked: chmod a+x it"
    assert found.startswith(f"{program}: {NO_ACCESS} ({why}") and "ProtectHome" not in found


def test_hook_below_a_home_that_the_unit_hides(release, tmp_path):
    """As ProtectHome=yes does it."""
    setup = "mount -t tmpfs -o mode=000 none /home"
    found = refused_word(release, tmp_path, f"{HOME}/somebody/hook", setup)
    assert "may not search the directory /home" in found and "ProtectHome=" in found


def test_hook_that_a_unit_hides(release, tmp_path):
    """A service is told what its unit may have to do with it; others are told what is missing."""
    argv = exec_command(release, f"{HOME}/no/hook")
    with open(tmp_path / "journal", "wb") as err:
        status = os.fstat(err.fileno())
        env = environment(JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}")
        with Session(argv, tmp_path, err=err, env=env) as session:
            session.begin("EHLO")
            assert session.send_message(SMALL) == TRY_AGAIN and session.end() == 0
    why = f"{NO_FILE} (ProtectHome= and PrivateTmp= in a unit hide such files)"
    assert f"<3>cannot run {HOME}/no/hook: {why}\n".encode() in read(tmp_path / "journal")
    err = run(check(release, f"{HOME}/no/hook"))[2]
    assert f": {NO_FILE} (there is no directory {HOME}/no); until".encode() in err


def test_hook_of_another_user_s_own(release, tmp_path):
    if os.getuid() != 0:
        missing("only root can make a file of another user")
    program = script(tmp_path, "exit 0")
    program.chmod(0o700)
    os.chown(program, 65534, 65534)
    why = f"user 0 may not execute it: chmod a+x {program}"
    assert refused_word(release, tmp_path, program) == f"{program}: {NO_ACCESS} ({why})"


def test_hook_on_a_file_system_without_programs(release, tmp_path):
    (tmp_path / "disk").mkdir()
    setup = f"""mount -t tmpfs -o mode=755,noexec none {tmp_path}/disk
printf '#!/bin/sh\\n' >{tmp_path}/disk/hook
chmod 755 {tmp_path}/disk/hook"""
    program = f"{tmp_path}/disk/hook"
    found = refused_word(release, tmp_path, program, setup)
    assert found.startswith(f"{program}: {NO_ACCESS} (its file system is mounted noexec")


def test_hook_in_path_that_is_not_executable(release, tmp_path):
    """Found, and named; a directory of that name is passed over."""
    for name in ("first/a-hook", "second"):
        (tmp_path / name).mkdir(parents=True)
    path = script(tmp_path / "second", "exit 0", "a-hook")
    path.chmod(0o644)
    env = environment(PATH=f"{tmp_path}/first:{tmp_path}/second:/usr/bin:/bin")
    with Session(exec_command(release, "a-hook"), tmp_path, env=env) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TRY_AGAIN
        why = f"not executable: chmod +x {path}"
        assert f"cannot run a-hook: {NO_ACCESS} ({why})".encode() in session.err()
        path.chmod(0o755)
        assert session.send_message(SMALL) == DELIVERED and session.end() == 0


def test_hook_here_is_not_in_path(release, tmp_path):
    script(tmp_path, "exit 0")
    with Session(exec_command(release, "hook"), tmp_path, cwd=tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TRY_AGAIN
        assert b"; for the file here: ./hook)" in session.err() and session.end() == 0


def test_program_not_in_path_is_not_looked_for_in_root(release, tmp_path):
    """Where execve(2) would look for a name without a slash: hooks run in /."""
    with Session(exec_command(release, "etc"), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TRY_AGAIN
        assert f"cannot run etc: {NO_FILE} (not found in PATH=".encode() in session.err()
        assert session.end() == 0


ENV_HOOKS = {  # the first line; what is found
    "missing": (b"#!/usr/bin/env no-such\n", "no-such in its first line is not in PATH="),
    "windows": (b"#!/usr/bin/env sh\r\n", "its first line ends with CR LF, as on Windows"),
    "arguments": (b"#!/usr/bin/env sh -e\n", "sh -e in its first line is not in PATH="),
    "shell-of-windows": (b"#!/bin/sh -e\r\n", "its first line ends with CR LF, as on Windows"),
    "split": (b"#!/usr/bin/env -S no-such -e\n", "no-such in its first line is not in PATH="),
}


@pytest.mark.parametrize("first, why", ENV_HOOKS.values(), ids=ENV_HOOKS)
def test_hook_whose_interpreter_env_does_not_find(smtpd, tmp_path, first, why):
    """It was started, and only its exit status and standard error tell; but we can see why."""
    program = file_of(tmp_path, first + b"exit 0\n")
    with Session(exec_command(smtpd, program), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TRY_AGAIN
        (line,) = lines_of(session.err(), "smtpd: cannot run ")
        assert why in line and session.end() == 0
    assert why in run(check(smtpd, program))[2].decode()


@pytest.mark.parametrize("first", [b"#!/usr/bin/env sh", b"#! /bin/sh ", b"#!/usr/bin/env -S sh -e",
                                   b"#!/bin/sh -e", b"#!/bin/sh"])
def test_hook_with_nothing_wrong_with_it(smtpd, tmp_path, first):
    """Nothing is found, although it fails."""
    program = file_of(tmp_path, first + b"\nexit 3\n")
    with Session(exec_command(smtpd, program), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TRY_AGAIN and session.end() == 0
        assert b"cannot run" not in session.err()
    assert run(check(smtpd, program))[2] == b""


@pytest.mark.parametrize("make", [empty, too_big], ids=["empty", "cut-off"])
def test_hook_that_is_no_program(smtpd, tmp_path, make):
    """As a full disk leaves it. A shell would find nothing wrong with an empty one."""
    with Session(exec_command(smtpd, make(tmp_path)), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TRY_AGAIN and session.end() == 0


# --- hooks that behave badly ----------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["1", "2"], ids=["stdout", "stderr"])
@pytest.mark.parametrize("what", ["yes", "cat /dev/zero"], ids=["lines", "one-line"])
def test_gigabyte(release, tmp_path, what, stream):
    """Bounded time, memory and log. (With sanitizers those are others; a megabyte of output is
    given to both builds above.)"""
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


# --- standard error -------------------------------------------------------------------------------


def logged(err):
    """What the log has of the hook's lines."""
    lines = [line for line in err.split(b"\n") if line.startswith(b"smtpd: program ")]
    return [re.fullmatch(rb'smtpd: program id=\S+ program=\S+ '
                         rb'stderr=(?:"([^"]*)("?)|(\S*))(?:\.\.\.)?', line) for line in lines]


def say_on_stderr(smtpd, tmp_path, octets):
    (tmp_path / "words").write_bytes(octets)
    program = script(tmp_path, f"cat {tmp_path}/words >&2")
    with Session(exec_command(smtpd, program), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == DELIVERED and session.end() == 0
        err = session.err()
    assert all(32 <= c < 127 or c == 10 for c in err)
    assert all(len(line) < 4096 for line in err.split(b"\n"))
    matches = logged(err)
    assert all(matches), err[:1000]
    return [match[3] if match[1] is None else match[1] for match in matches], err


def test_standard_error_is_logged(smtpd, tmp_path):
    octets = b"one\ntwo words\n\n  blanks  \nsmtpd: message id=x verdict=\"250 fake\"\nback\\slash\nCR\r\n\x1b[31mred\n" \
             + "gr\u00fc\u00df\n".encode() + b"<3>not a priority\nno line end"
    lines, err = say_on_stderr(smtpd, tmp_path, octets)
    assert lines == [b"one", b"two words", b"", b"  blanks  ",
                     b"smtpd: message id=x verdict=\\x22250 fake\\x22", b"back\\x5cslash",
                     b"CR\\x0d", b"\\x1b[31mred", b"gr\\xc3\\xbc\\xc3\\x9f", b"<3>not a priority",
                     b"no line end"]
    message = re.search(rb"^smtpd: message id=(\S+) ", err, re.M)
    assert err.count(b"smtpd: program id=" + message[1] + b" ") == len(lines)
    assert err.count(b"\nsmtpd: message ") + err.startswith(b"smtpd: message ") == 1


def test_every_octet_on_standard_error(smtpd, tmp_path):
    lines, _ = say_on_stderr(smtpd, tmp_path,
                             b"".join(b"<%c>\n" % c for c in set(range(1, 256)) - {10}))
    plain = set(range(32, 127)) - set(b'"\\')
    assert lines == [b"<%c>" % c if c in plain else b"<\\x%02x>" % c
                     for c in sorted(set(range(1, 256)) - {10})]


def test_nul_on_standard_error(smtpd, tmp_path):
    """It hides nothing of what stands behind it."""
    lines, _ = say_on_stderr(smtpd, tmp_path, b"before\0behind\nnext\n")
    assert len(lines) == 2 and lines[0].startswith(b"before") and lines[0].endswith(b"behind")
    assert lines[1] == b"next"


def test_long_lines_on_standard_error(smtpd, tmp_path):
    lines, _ = say_on_stderr(smtpd, tmp_path,
                             b"x" * 999 + b"\n" + b"y" * 1000 + b"\n" + b"z" * 1_000_000 + b"\n"
                             + b"\xff" * 5000 + b"\nend\n")
    assert lines[:2] == [b"x" * 999, b"y" * 1000] and lines[2][:1000] == b"z" * 1000
    assert len(lines[2]) <= 1003
    assert lines[3].startswith(b"\\xff" * 900) and lines[4:] == [b"end"]


@pytest.mark.parametrize("n", [999, 1001, 20000])
def test_many_lines_on_standard_error(smtpd, tmp_path, n):
    lines, _ = say_on_stderr(smtpd, tmp_path, b"".join(b"line %d\n" % i for i in range(n)))
    assert len(lines) <= 1001 and lines[:999] == [b"line %d" % i for i in range(999)]
    if n > 1000:
        assert b"further lines are not logged" in lines[-1]


# --- the client, and we, vanish -------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("text",
                         [b"", b"Subject: half\r\n", b"Subject: nearly\r\n\r\ntext\r\n.\r",
                          large(1_000_000)],
                         ids=["none", "some", "all-but-LF", "large"])
def test_client_gone_before_the_final_dot(smtpd, tmp_path, seen, how, text):
    program = script(tmp_path, 'cat >"$SEEN/$SMTPD_ID"')
    with Session(exec_command(smtpd, program), tmp_path, tcp_pair(),
                 env=environment(SEEN=str(seen))) as session:
        session.begin("DATA")
        session.say(text)
        reset(session.ours) if how == "reset" else session.ours.close()
        assert session.status() == 0
        assert b"smtpd: abandoned " in session.err() and b"smtpd: message " not in session.err()
    assert list(seen.iterdir()) == []


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_gone_after_the_final_dot(smtpd, tmp_path, seen, how, hook):
    """The message is complete: the hook runs to its end, once."""
    program = script(tmp_path, f'echo x >>"$SEEN/runs"\nread line <{hook.fifo}\ncat >"$SEEN/text"')
    with Session(exec_command(smtpd, program), tmp_path, tcp_pair(),
                 env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        start_transaction(session, b"<>", [b"<b@example.com>"], SMALL)
        wait_until((seen / "runs").exists, "the hook")
        reset(session.ours) if how == "reset" else session.ours.close()
        time.sleep(0.05)
        hook.let_go(b"go\n")
        assert session.status() == 0
        err = session.err()
    assert read(seen / "runs") == b"x\n" and read(seen / "text") == SMALL.replace(b"\r\n", b"\n")
    assert err.count(b"smtpd: message ") == 1
    if how == "reset":
        assert b"duplicate possible" in err


def test_client_resets_behind_the_verdict(smtpd, tmp_path, seen):
    program = script(tmp_path, 'echo x >>"$SEEN/runs"')
    with Session(exec_command(smtpd, program), tmp_path, tcp_pair(),
                 env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        start_transaction(session, b"<>", [b"<b@example.com>"], SMALL)
        session.wait_for([session.ours], [])  # it is there, and nobody reads it
        reset(session.ours)
        assert session.status() == 0
        assert b"duplicate possible" in session.err()
    assert read(seen / "runs") == b"x\n"


def test_we_are_killed_while_the_hook_runs(smtpd, tmp_path, seen, hook):
    """Nobody will say 250, so the hook must not go on. The client hears nothing."""
    program = script(tmp_path,
                     f'echo $$ >"$SEEN/pid"\nread line <{hook.fifo}\necho x >"$SEEN/delivered"')
    with Session(exec_command(smtpd, program), tmp_path,
                 env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        start_transaction(session, b"<>", [b"<b@example.com>"], SMALL)
        pid = int(wait_until(lambda: (seen / "pid").exists() and read(seen / "pid"), "the hook"))
        assert list(programs(session.pid)) == [pid]
        session.process.kill()
        assert session.process.wait(PATIENCE) == -signal.SIGKILL
        wait_until(lambda: not is_running(pid), "the hook's end", 5)
        wait_until(lambda: group(pid) == [], "the end of its group", 5)
        assert session.read_to_end() == b""
    assert not (seen / "delivered").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_we_are_asked_to_end_while_the_hook_runs(smtpd, tmp_path, hook, number):
    """The verdict first."""
    with Session(exec_command(smtpd, hook.command), tmp_path) as session:
        session.begin("EHLO")
        start_transaction(session, b"<>", [b"<b@example.com>"], SMALL)
        hook.find(session)
        session.process.send_signal(number)
        time.sleep(0.05)
        assert session.process.poll() is None and is_running(hook.pid)
        hook.let_go(b"250 2.0.0 done\n")
        heard = replies(session.read_to_end())
        assert heard == [(250, b"2.0.0 done"),
                         (421, b"4.3.2 service is shutting down, closing connection")]
        assert session.status() == 0 and b"duplicate possible" not in session.err()


def test_nothing_is_left_behind(smtpd, tmp_path):
    """Fifty messages of all kinds in a session: no descriptor, no zombie."""
    bodies = ["exit 0", "exit 75", "echo 550 5.0.0 no", "kill -9 $$", "exec 0<&- 1>&- 2>&-",
              "echo x >&2"]
    program = script(tmp_path, "n=${SMTPD_MAIL_FROM%%@*}\ncase $n in\n"
                     + "".join(f"{n}) {body} ;;\n" for n, body in enumerate(bodies)) + "esac")
    with Session(exec_command(smtpd, program), tmp_path) as session:
        session.begin("EHLO")
        before = descriptors(session.pid)
        for n in range(50):
            content = SMALL if n % 3 else large(200_000)
            session.send_message(content, sender=b"%d@example.org" % (n % len(bodies)))
            assert not programs(session.pid)
        assert descriptors(session.pid) == before
        assert session.end() == 0 and session.err().count(b"smtpd: message ") == 50


def test_many_sessions_at_once_of_hooks(smtpd, tmp_path, seen):
    program = script(tmp_path, 'cat >"$SEEN/$SMTPD_ID"')
    dialogue = b"EHLO c\nMAIL FROM:<>\nRCPT TO:<b@example.com>\nDATA\ntext %d\n.\nQUIT\n"

    def one(n):
        return run(exec_command(smtpd, program), dialogue % n, environment(SEEN=str(seen)))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for status, out, _ in pool.map(one, range(40)):
            assert status == 0 and b"\r\n250 2.0.0 delivered\r\n" in out
    assert sorted(map(read, seen.iterdir())) == sorted(b"text %d\n" % n for n in range(40))


# --- no room, no processes, no descriptors --------------------------------------------------------


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
    with Session(argv, tmp_path, env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        text = text_of(size)
        for n in (1, 2):
            assert session.send_message(on_the_wire(text), sender=b"%d@x.example" % n) == DELIVERED
            with open(seen / f"{n}@x.example") as file:
                assert json.load(file)[:5] == [0, size, hashlib.sha256(text).hexdigest(), True,
                                               True]
        assert session.end() == 0


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
