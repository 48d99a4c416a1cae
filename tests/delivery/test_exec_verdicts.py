# SPDX-License-Identifier: MIT
"""Strategy exec: what the client is told. It follows from the program's exit status, and from the
reply on its standard output, as smtpd-exec(7) says."""

import re
import signal

import pytest
from conftest import ROOT
from hooks import DELIVERED, SMALL, STATUSES, TOO_LATE, TRY_AGAIN, exec_command, read, script, shell
from hooks import seen  # noqa: F401 (a fixture)
from processes import programs
from session import PATIENCE, Session, environment

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
