# SPDX-License-Identifier: MIT
"""What smtpd may be started with: every kind of standard input, output and error, and closed ones
too."""

import contextlib
import itertools
import os
import pty
import re
import select
import socket
import subprocess
import time
import tty

import pytest
from peers import CONNECTIONS, DIALOGUE, REPLIES, message
from session import (PATIENCE, PYTHON, Session, codes, command, environment, printed, replies, run,
                     stop, tcp_pair)

GREETING = (220, b"mx.example.com ESMTP smtpd")
NOT_CONFIGURED = (421, b"4.3.5 this server is not configured correctly, try again later")


# --- kinds of standard input ----------------------------------------------------------------------


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("out", ["file", "pipe"])
def test_regular_file(smtpd, tmp_path, out, line_end):
    (tmp_path / "session.txt").write_bytes(DIALOGUE.replace(b"\r\n", line_end))
    with open(tmp_path / "session.txt", "rb") as stdin, open(tmp_path / "out", "wb+") as file:
        done = subprocess.run(
            command(smtpd), stdin=stdin, stdout=file if out == "file" else subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(), timeout=PATIENCE,
        )
        file.seek(0)
        assert codes(file.read() if out == "file" else done.stdout) == REPLIES
    assert done.returncode == 0 and printed(done.stderr) == [message("local")]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_pipe_is_a_transcript(smtpd, line_end):
    status, out, err = run(command(smtpd), DIALOGUE.replace(b"\r\n", line_end))
    assert status == 0 and codes(out) == REPLIES and printed(err) == [message("local")]


def test_pipe_with_a_peer_is_strict(smtpd):
    env = environment(TCPREMOTEIP="192.0.2.7", TCPREMOTEPORT="4000")
    status, out, err = run(command(smtpd), DIALOGUE, env)
    assert status == 0 and codes(out) == REPLIES and printed(err) == [message("192.0.2.7")]
    status, out, err = run(command(smtpd), DIALOGUE.replace(b"\r\n", b"\n"), env)
    assert status == 0 and codes(out) == [220, 554] and printed(err) == []
    status, out, err = run(command(smtpd), DIALOGUE.replace(b"text\r\n", b"text\n"), env)
    assert status == 0 and codes(out) == [220, 250, 250, 250, 354, 554] and printed(err) == []


def test_stdin_is_dev_null(smtpd):
    done = subprocess.run(
        command(smtpd), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(), timeout=PATIENCE
    )
    assert (done.returncode, codes(done.stdout)) == (0, [220])
    assert b'end="the client closed the connection"' in done.stderr


def read_terminal(master, until):
    """What comes out of a terminal, up to `until`."""
    said, deadline = b"", time.monotonic() + PATIENCE
    while until not in said:
        assert select.select([master], [], [], max(0, deadline - time.monotonic()))[0], said
        try:
            said += os.read(master, 65536)
        except OSError:  # EIO: all have closed it
            break
    return said


@pytest.mark.parametrize("is_stderr_terminal", [False, True],
                         ids=["stderr-file", "stderr-terminal"])
def test_terminal(smtpd, tmp_path, is_stderr_terminal):
    """A person types: LF ends lines. Printing to the same terminal is what that person wants."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    with open(tmp_path / "err", "wb") as err:
        process = subprocess.Popen(
            command(smtpd), stdin=slave, stdout=slave, stderr=slave if is_stderr_terminal else err,
            env=environment()
        )
    try:
        said = read_terminal(master, b"smtpd\r\n")
        for line in DIALOGUE.split(b"\r\n")[:-1]:
            os.write(master, line + b"\n")
        said += read_terminal(master, b"221 2.0.0 goodbye\r\n")
        assert process.wait(PATIENCE) == 0
    finally:
        stop(process)
        os.close(slave)
        if is_stderr_terminal:
            said += read_terminal(master, b"smtpd: session ")
        os.close(master)
    err = (tmp_path / "err").read_bytes()
    if is_stderr_terminal:
        assert err == b"" and printed(said.replace(b"354 end", b"354 END")) == [message("local")]
    else:
        assert codes(said) == REPLIES and printed(err) == [message("local")]


@pytest.mark.parametrize("kind", CONNECTIONS)
def test_socket_is_strict(smtpd, tmp_path, kind):
    with Session(command(smtpd), tmp_path, CONNECTIONS[kind][0]()) as session:
        session.begin("greeting")
        assert session.ask(b"NOOP\n").startswith(b"554 5.5.2 bare LF")
        assert session.read_to_end() == b"" and session.status() == 0


@pytest.mark.parametrize("part", [b"DATA\r\n", b"text\r\n", b"\r\n.\r\n"])
def test_transcript_that_ends_too_soon(smtpd, tmp_path, part):
    """Cut before the final dot is complete: half a message is no message, whether from a file or a
    pipe."""
    cut = DIALOGUE[: DIALOGUE.index(part) + len(part) - (1 if b"." in part else 0)]
    (tmp_path / "session.txt").write_bytes(cut)
    status, out, err = run(command(smtpd), cut)
    assert (status, codes(out), printed(err)) == (0, [220, 250, 250, 250, 354], [])
    with open(tmp_path / "session.txt", "rb") as stdin:
        done = subprocess.run(
            command(smtpd), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(), timeout=PATIENCE
        )
    assert (done.returncode, codes(done.stdout), printed(done.stderr)) == (
        0, [220, 250, 250, 250, 354], [])


def test_descriptors_that_do_not_block(smtpd, tmp_path):
    """Whoever starts us may have left O_NONBLOCK on what we get: that costs nobody a message."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    body = b"".join(b"%06d\r\n" % n for n in range(50000))
    with os.fdopen(reader, "rb") as file, os.fdopen(writer, "wb") as err:
        with Session(command(smtpd), tmp_path, (ours, theirs), err=err) as session:
            err.close()
            session.begin("DATA")
            session.say(body + b".\r\nQUIT\r\n")
            time.sleep(0.1)
            said = file.read()
            assert codes(session.read_to_end()) == [250, 221] and session.status() == 0
    assert printed(said) == [body.replace(b"\r\n", b"\n") + b"X-Peer: local\n"]


# --- sockets passed by systemd --------------------------------------------------------------------

STARTER = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=sys.argv[2] or str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[3], sys.argv[3:])
"""


class Passed:
    """smtpd with fd 3 as $LISTEN_FDS says, and some other standard input and output."""

    def __init__(self, smtpd, tmp_path, pair, stdin=subprocess.DEVNULL, listen_pid=""):
        self.ours, theirs = pair
        self.err_path = tmp_path / "err"
        with open(self.err_path, "wb") as err, theirs:
            self.process = subprocess.Popen(
                [PYTHON, "-c", STARTER, str(theirs.fileno()), listen_pid, *command(smtpd)],
                stdin=stdin, stdout=subprocess.PIPE, stderr=err, pass_fds=[theirs.fileno()],
                env=environment(),
            )
        self.ours.settimeout(PATIENCE)

    def converse(self):
        said = b""
        try:
            self.ours.sendall(DIALOGUE)
            while chunk := self.ours.recv(65536):
                said += chunk
        except ConnectionError:
            pass
        finally:
            self.ours.close()
        on_stdout = self.process.communicate(timeout=PATIENCE)[0]
        return self.process.returncode, said, on_stdout, printed(self.err_path.read_bytes())


@pytest.mark.parametrize("kind", CONNECTIONS)
def test_passed_socket(smtpd, tmp_path, kind):
    make, peer = CONNECTIONS[kind]
    status, said, on_stdout, messages = Passed(smtpd, tmp_path, make()).converse()
    assert (status, codes(said), on_stdout, messages) == (0, REPLIES, b"", [message(peer)])


def test_passed_socket_of_another_process_is_left_alone(smtpd, tmp_path):
    """$LISTEN_PID is not ours: standard input counts, and it is empty."""
    status, said, on_stdout, messages = Passed(smtpd, tmp_path, tcp_pair(),
                                               listen_pid="1").converse()
    assert (status, said, replies(on_stdout), messages) == (0, b"", [GREETING], [])


def test_passed_socket_yields_to_a_socket_on_stdin(smtpd, tmp_path):
    other, stdin = tcp_pair()
    with other, stdin:
        passed = Passed(smtpd, tmp_path, tcp_pair(), stdin=stdin)
        stdin.close()
        other.sendall(DIALOGUE)
        other.shutdown(socket.SHUT_WR)
        status, said, on_stdout, messages = passed.converse()
    assert (status, said, codes(on_stdout), messages) == (0, b"", REPLIES, [message("127.0.0.1")])


# --- standard error is the client -----------------------------------------------------------------


@pytest.mark.parametrize("kind", CONNECTIONS)
def test_inetd_has_nowhere_to_print(smtpd, tmp_path, kind):
    """All three descriptors are the connection: print is a mistake then, and the client sees
    nothing but SMTP."""
    ours, theirs = CONNECTIONS[kind][0]()
    with Session(command(smtpd), tmp_path, (ours, theirs), err=theirs) as session:
        assert replies(session.read_to_end()) == [NOT_CONFIGURED]
        assert session.status() == 78


@pytest.mark.parametrize("option, status",
                         [("--no-such-option", 64), ("--config=/no/such/file", 78)])
def test_inetd_complaints_do_not_reach_the_client(smtpd, tmp_path, option, status):
    ours, theirs = tcp_pair()
    with Session(command(smtpd, option), tmp_path, (ours, theirs), err=theirs) as session:
        assert replies(session.read_to_end()) == [NOT_CONFIGURED]
        assert session.status() == status


def test_stderr_is_the_client_although_stdout_is_not(smtpd, tmp_path):
    ours, theirs = tcp_pair()
    with open(tmp_path / "out", "wb") as out:
        with Session(command(smtpd), tmp_path, (ours, theirs), err=theirs, stdout=out) as session:
            session.ours.shutdown(socket.SHUT_WR)
            assert session.read_to_end() == b"" and session.status() == 78
    assert replies((tmp_path / "out").read_bytes()) == [NOT_CONFIGURED]


def test_stderr_is_the_client_s_pipe(smtpd):
    done = subprocess.run(
        command(smtpd), input=DIALOGUE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        env=environment(TCPREMOTEIP="192.0.2.7"),
    )
    assert (done.returncode, replies(done.stdout)) == (78, [NOT_CONFIGURED])


def test_one_pipe_without_a_peer_shows_everything(smtpd):
    """`smtpd <session.txt 2>&1 | less`: nobody is fooled, and the reader wants to see it."""
    done = subprocess.run(
        command(smtpd), input=DIALOGUE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=PATIENCE, env=environment()
    )
    assert done.returncode == 0 and printed(done.stdout) == [message("local")]


SECOND = DIALOGUE[DIALOGUE.index(b"MAIL ") :].replace(b"x\r\n", b"y\r\n")
TWO_MESSAGES = DIALOGUE.replace(b"QUIT\r\n", SECOND)


def play_to_one(argv, folder, place):
    """A transcript, with standard output and error going to the same place: what is there then."""
    (folder / "session.txt").write_bytes(TWO_MESSAGES)
    with open(folder / "session.txt", "rb") as stdin, open(folder / "shown", "wb+") as shown:
        master, slave = pty.openpty() if place == "terminal" else (None, None)
        out = {"file": shown, "pipe": subprocess.PIPE, "terminal": slave}[place]
        streams = {"stdin": stdin, "stdout": out, "stderr": subprocess.STDOUT}
        done = subprocess.run(argv, **streams, timeout=PATIENCE, env=environment())
        assert done.returncode == 0
        shown.seek(0)
        if place != "terminal":
            return done.stdout or shown.read()
        os.close(slave)
        said = read_terminal(master, b' end="221 goodbye"').replace(b"\r\n", b"\n")
        os.close(master)
        return said


@pytest.mark.parametrize("place", ["file", "pipe", "terminal"])
def test_transcript_is_shown_in_order(smtpd, tmp_path, place):
    """Each message stands after the replies that were given before it, and before its own."""
    shown = play_to_one(command(smtpd), tmp_path, place)
    steps = [b"220 "]
    for subject, before in ((b"x", b"250 HELP"), (b"y", rb"250 2\.1\.0 ")):
        begin = rb"-+ MESSAGE FOLLOWS -+\nSubject: " + subject
        steps += [before, b"354 ", begin, rb"-+ END MESSAGE -+\n", rb"250 2\.0\.0 "]
    steps += [b"221 ", b"smtpd: session "]
    assert re.search(b"^" + b"(?:.*\n)*".join(steps), shown, re.M), shown.decode()


def test_transcript_that_nobody_watches_any_more(smtpd):
    """Who reads the replies is gone before the message is delivered: nobody has it."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command(smtpd), **pipes, env=environment()) as process:
        assert process.stdout.readline().startswith(b"220 ")
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # it has ended before it read that
            process.stdin.write(DIALOGUE)
            process.stdin.close()
        err = process.stderr.read()
        assert process.wait(PATIENCE) == 0 and printed(err) == []
    assert b' messages=0 accepted=0 end="the client is gone" ' in err


def test_log_to_the_journal_has_priorities(smtpd, tmp_path):
    """$JOURNAL_STREAM names standard error's device and inode."""
    ours, journal = socket.socketpair()
    stat = os.fstat(journal.fileno())
    with ours, journal, Session(
        command(smtpd), tmp_path, err=journal,
        env=environment(JOURNAL_STREAM=f"{stat.st_dev}:{stat.st_ino}")
    ) as session:
        session.begin("EHLO")
        assert session.end() == 0
        journal.close()
        ours.settimeout(PATIENCE)
        assert ours.recv(65536).startswith(b"<6>session peer=local ")


# --- closed descriptors ---------------------------------------------------------------------------

# Exit status and replies for each set of closed ones. There is no session without 0 and 1, no
# printing without 2.
CLOSED = {
    closed: (75, []) if closed & {0, 1} else (78, [NOT_CONFIGURED])
    for n in (1, 2, 3)
    for closed in map(frozenset, itertools.combinations(range(3), n))
}


@pytest.mark.parametrize("kind", ["tcp4", "unix", "pipe"])
@pytest.mark.parametrize("closed", CLOSED, ids=lambda c: "closed-" + "".join(map(str, sorted(c))))
def test_closed_descriptors(smtpd, tmp_path, closed, kind):
    shell = "exec \"$@\" " + " ".join(f"{fd}>&-" for fd in sorted(closed))
    argv = ["sh", "-c", shell, "sh", *command(smtpd)]
    log = environment()["ASAN_OPTIONS"] + f":log_path={tmp_path}/sanitizer"
    env = environment(ASAN_OPTIONS=log, UBSAN_OPTIONS="halt_on_error=1:" + log)
    if kind == "pipe":
        status, said, _ = run(argv, DIALOGUE, env)
    else:
        with Session(argv, tmp_path, CONNECTIONS[kind][0](), env=env) as session:
            session.say(DIALOGUE)
            with contextlib.suppress(OSError):  # it is over already, and the connection reset
                session.ours.shutdown(socket.SHUT_WR)
            said, status = session.read_to_end(), session.status()
    assert (status, replies(said)) == CLOSED[closed]
    assert not list(tmp_path.glob("sanitizer*"))


def test_stdin_is_write_only(smtpd, tmp_path):
    with open(tmp_path / "in", "wb") as stdin:
        done = subprocess.run(command(smtpd), stdin=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=PATIENCE)
    assert done.returncode == 0 and codes(done.stdout) == [220]
    assert b'end="the connection was lost"' in done.stderr


def test_stdout_is_full(smtpd):
    with open("/dev/full", "wb") as stdout:
        done = subprocess.run(
            command(smtpd), input=DIALOGUE, stdout=stdout, stderr=subprocess.PIPE, timeout=PATIENCE,
            env=environment()
        )
    assert done.returncode == 0 and b'end="the client is gone"' in done.stderr
