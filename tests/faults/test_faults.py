# SPDX-License-Identifier: MIT
"""Bad days: clients that vanish, drip, flood or do not listen; signals; full disks; readers of
standard error that are gone or asleep. Each test looks at both sides: what the client was told, and
what was printed."""

import fcntl
import os
import resource
import select
import signal
import socket
import subprocess
import time

import pytest
from conftest import need, private_mounts
from processes import descriptors, stat_of, status_of
from session import (BEGIN, END, PATIENCE, Session, codes, command, environment, replies, reset,
                     run, tcp_pair)

KIB = 1
MIB = 1024  # as /proc/PID/status counts
STAGES = ["greeting", "EHLO", "MAIL", "RCPT", "DATA"]
SMALL = b"Subject: small\r\n\r\nsmall\r\n"
PRINTED_SMALL = b"Subject: small\nX-Peer: local\n\nsmall\n"


def large(n):
    """About n octets of message text, as it goes over the wire."""
    line = b"the quick brown fox jumps over the lazy dog, again and again\r\n"
    return line * (n // len(line))


# --- the client vanishes --------------------------------------------------------------------------

GOLDEN = [  # what is said, and the code of the answer
    (b"EHLO client.example.org\r\n", 250),
    (b"MAIL FROM:<a@example.org> SIZE=50 BODY=8BITMIME\r\n", 250),
    (b"RCPT TO:<b@example.com>\r\n", 250),
    (b"RCPT TO:<c@example.com>\r\n", 250),
    (b"DATA\r\n", 354),
    (b"Subject: golden\r\n\r\n..\r\n.\r\n", 250),
    (b"QUIT\r\n", 221),
]
SCRIPT = b"".join(said for said, _ in GOLDEN)
COMPLETE = SCRIPT.index(b"QUIT")  # so many octets make a message
RECIPIENT_ACCEPTED = SCRIPT.index(b"RCPT TO:<c")


def play_until(session, cut):
    """The client's side, reading each reply, up to so many octets; the replies to whole commands
    are heard if another octet is to follow."""
    session.begin("greeting")
    for said, code in GOLDEN:
        part = said[:cut]
        session.say(part)
        cut -= len(part)
        if cut == 0:
            return
        assert session.reply()[:3] == b"%d" % code


def check_vanished(session, cut, peer, is_uncertain=False):
    """Afterwards: a message was printed if it was complete, and otherwise it is in the log that it
    was not."""
    whole = [b"Subject: golden\nX-Peer: %s\n\n.\n" % peer]
    assert session.status() == 0, cut
    messages, log = session.messages(), session.err()
    if is_uncertain:
        assert messages in ([], whole), cut
    else:
        assert messages == (whole if cut >= COMPLETE else []), cut
    is_abandoned = RECIPIENT_ACCEPTED < cut < COMPLETE
    assert (b"smtpd: abandoned " in log) == is_abandoned or is_uncertain or cut == RECIPIENT_ACCEPTED, (cut, log)
    assert log.count(b"smtpd: session ") == 1, (cut, log)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_vanishes_after_each_octet(release, tmp_path, how):
    for cut in range(len(SCRIPT) + 1):
        with Session(command(release), tmp_path, tcp_pair()) as session:
            play_until(session, cut)
            if how == "reset":
                reset(session.ours)
            else:
                session.ours.close()
            # after the final dot a reset may overtake what it follows
            check_vanished(session, cut, b"127.0.0.1", how == "reset" and cut == COMPLETE)


def test_client_ends_its_side_after_each_octet(release, tmp_path):
    """All at once, without waiting for replies, as from a pipe that ends."""
    expected = [220] + [code for _, code in GOLDEN]
    for cut in range(len(SCRIPT) + 1):
        with Session(command(release), tmp_path) as session:
            session.say(SCRIPT[:cut])
            session.ours.shutdown(socket.SHUT_WR)
            heard = codes(session.read_to_end())
            assert heard == expected[: 1 + SCRIPT[:cut].count(b"\r\n") - 3 * (cut >= COMPLETE)
                                     if cut >= COMPLETE
                                     else 1 + min(5, SCRIPT[:cut].count(b"\r\n"))], cut
            check_vanished(session, cut, b"local")


@pytest.mark.parametrize("how", ["close", "reset", "kill"])
def test_vanishing_in_a_large_message_leaves_nothing(smtpd, tmp_path, how):
    spool = tmp_path / "spool"
    spool.mkdir()
    with Session(command(smtpd), tmp_path, tcp_pair(),
                 env=environment(TMPDIR=str(spool))) as session:
        session.begin("DATA")
        session.say(large(3_000_000))
        if how == "kill":
            os.kill(session.pid, signal.SIGKILL)
            assert session.process.wait(PATIENCE) == -signal.SIGKILL
        else:
            reset(session.ours) if how == "reset" else session.ours.close()
            assert session.status() == 0
            assert b"smtpd: abandoned " in session.err()
        assert session.messages() == []
    assert os.listdir(spool) == []


def test_client_gone_before_the_verdict_is_logged(smtpd, tmp_path):
    """The message is printed, but the client will send it again (RFC 1047): the log says so."""
    with Session(command(smtpd), tmp_path) as session:
        session.begin("DATA")
        session.ours.shutdown(socket.SHUT_RD)  # whoever sends to us from now on gets EPIPE
        session.ours.send(SMALL + b".\r\n")
        assert session.status() == 0 and session.messages() == [PRINTED_SMALL]
        assert b"duplicate possible" in session.err()


def test_connection_lost_with_the_verdict_is_logged(smtpd, tmp_path):
    """The 250 went into the connection, but then that was reset."""
    with Session(command(smtpd), tmp_path, tcp_pair()) as session:
        session.begin("DATA")
        session.ours.send(SMALL + b".\r\n")
        session.wait_for([session.ours], [])  # it is there, and nobody reads it
        reset(session.ours)
        assert session.status() == 0 and len(session.messages()) == 1
        assert b"duplicate possible" in session.err()


# --- signals --------------------------------------------------------------------------------------


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


# --- storage --------------------------------------------------------------------------------------

FULL = b"452 4.3.1 "
PRIVATE_DISK = 'mount -t tmpfs -o size="$1",mode=700 none "$2" && TMPDIR=$2 && export TMPDIR && shift 2 && exec "$@"'


def with_small_disk(argv, folder):
    """The command line with $TMPDIR on a file system of 1 MiB, which only it can see."""
    return [*private_mounts(), "sh", "-c", PRIVATE_DISK, "sh", "1m", str(folder), *argv]


def fill_and_go_on(session, beginning, n_verdicts=1):
    """A message that does not fit, and then some that do."""
    session.begin("EHLO")
    assert session.send_message(large(3_000_000)).startswith(beginning)
    bodies = [SMALL, large(300_000), SMALL]
    for body in bodies:
        assert session.send_message(body).startswith(b"250 ")
    assert session.end() == 0
    assert [len(m)
            for m in session.messages()] == [len(b.replace(b"\r\n", b"\n"))
                                             + len(b"X-Peer: local\n") for b in bodies]
    assert b"cannot store the message: " in session.err()


def test_full_disk(smtpd, tmp_path):
    spool = tmp_path / "spool"
    spool.mkdir()
    with Session(with_small_disk(command(smtpd), spool), tmp_path) as session:
        fill_and_go_on(session, FULL)


def test_full_disk_lmtp(smtpd, tmp_path):
    """Each recipient hears of it."""
    spool = tmp_path / "spool"
    spool.mkdir()
    with Session(with_small_disk(command(smtpd, "--protocol=lmtp"), spool), tmp_path) as session:
        session.expect((None, b"220 "), (b"LHLO c", b"250-"), (b"MAIL FROM:<>", b"250 "))
        session.expect((b"RCPT TO:<b@example.com>", b"250 "), (b"RCPT TO:<c@example.com>", b"250 "),
                       (b"DATA", b"354 "))
        session.say(large(3_000_000) + b".\r\n")
        session.expect((None, FULL), (None, FULL))
        assert session.end() == 0 and session.messages() == []


def test_file_size_limit(smtpd, tmp_path):
    """A limit (ulimit -f, LimitFSIZE=) is no signal, but a full disk. Messages up to it pass."""
    limited = ["sh", "-c", 'ulimit -f 1000 && exec "$@"', "sh", *command(smtpd)]
    with Session(limited, tmp_path) as session:
        fill_and_go_on(session, FULL)


@pytest.mark.parametrize("error, beginning", [
    ("ENOSPC", FULL), ("EDQUOT", FULL), ("EFBIG", FULL), ("EIO", b"451 4.3.0 ")])
def test_failing_write_to_the_spool(release, tmp_path, error, beginning):
    trace = [need("strace"), "-qq", "-o", "/dev/null", "-e", "trace=write", "-e",
             f"inject=write:error={error}:when=1"]
    with Session(trace + command(release), tmp_path) as session:
        fill_and_go_on(session, beginning)


def test_failing_read_from_the_spool(release, tmp_path):
    """What was stored cannot be read back: what is printed of it by then is cut off again, and
    there is no 250."""
    trace = [need("strace"), "-qq", "-o", "/dev/null", "-e", "trace=pread64", "-e",
             "inject=pread64:error=EIO:when=5"]
    with Session(trace + command(release), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(large(1_000_000)).startswith(b"451 4.3.0 ")
        assert session.end() == 0 and BEGIN not in session.err()


def test_no_place_for_the_spool(smtpd, tmp_path):
    """It stays in memory."""
    with Session(command(smtpd), tmp_path, env=environment(TMPDIR="/no/such/directory")) as session:
        session.begin("EHLO")
        assert session.send_message(large(200_000)).startswith(b"250 ")
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.end() == 0 and session.messages()[1:] == [PRINTED_SMALL]


def test_spool_has_no_name(smtpd, tmp_path):
    """Nobody else can open it, and nothing remains."""
    with Session(command(smtpd), tmp_path,
                 env=environment(TMPDIR=str(tmp_path / "spool"))) as session:
        (tmp_path / "spool").mkdir()
        session.begin("DATA")
        session.say(large(1_000_000))
        deadline = time.monotonic() + PATIENCE
        while not any("/spool/" in link for link in descriptors(session.pid).values()):
            assert time.monotonic() < deadline
        assert os.listdir(tmp_path / "spool") == []
        session.say(b".\r\n")
        assert session.reply().startswith(b"250 ")


def test_spool_without_tmpfile(release, tmp_path):
    """A file system that has no O_TMPFILE."""
    spool = tmp_path / "spool"
    spool.mkdir()
    trace = [need("strace"), "-qq", "-o", str(tmp_path / "trace"), "-P", str(spool), "-e",
             "trace=openat",
             "-e", "inject=openat:error=EOPNOTSUPP"]
    with Session(trace + command(release), tmp_path, env=environment(TMPDIR=str(spool))) as session:
        session.begin("EHLO")
        for _ in range(2):
            assert session.send_message(large(1_000_000)).startswith(b"250 ")
            assert os.listdir(spool) == []
        assert session.end() == 0 and len(session.messages()) == 2
    assert (tmp_path / "trace").read_text().count("EOPNOTSUPP") == 2


# --- standard error -------------------------------------------------------------------------------


def test_reader_of_stderr_is_gone(smtpd, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as err, Session(command(smtpd), tmp_path, err=err) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL).startswith(b"451 4.3.0 cannot print")
        assert session.send_message(large(1_000_000)).startswith(b"451 4.3.0 cannot print")
        assert session.end() == 0


def test_stderr_is_full(smtpd, tmp_path):
    with open("/dev/full", "wb") as err, Session(command(smtpd), tmp_path, err=err) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL).startswith(b"451 4.3.0 cannot print")
        assert session.send_message(large(1_000_000)).startswith(b"451 4.3.0 cannot print")
        assert session.end() == 0


def test_reader_of_stderr_sleeps(release, tmp_path):
    """The message waits for it as long as for a client, the log five seconds a line: then the
    client gets its answer."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * 4096)
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb") as err:
        with Session(command(release, "--timeout=1"), tmp_path, err=err) as session:
            then = time.monotonic()
            session.begin("EHLO")
            assert session.send_message(SMALL).startswith(b"451 4.3.0 cannot print")
            assert 0.8 < time.monotonic() - then < 10


def test_slow_reader_of_stderr_gets_everything(smtpd, tmp_path):
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(reader, "rb") as file, os.fdopen(writer, "wb") as err:
        with Session(command(smtpd), tmp_path, err=err) as session:
            err.close()
            session.begin("DATA")
            body = large(300_000)
            session.say(body + b".\r\nQUIT\r\n")
            time.sleep(0.2)
            said = file.read()
            assert session.status() == 0 and codes(session.read_to_end()) == [250, 221]
    assert BEGIN + body.replace(b"\r\n", b"\n") + b"X-Peer: local\n" + END in said


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
