# SPDX-License-Identifier: MIT
"""Whatever dies, the others live on: a session, the acceptor, the file of the program, whoever
reads the log."""

import contextlib
import os
import signal
import socket

import pytest
from accepting import MESSAGE, PRINTED, SHUTTING_DOWN, traced
from acceptor import Acceptor, Client, copy_of, folder, is_refused
from session import environment, wait_until, with_x_peer

_ = folder  # a fixture


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_death_of_a_session_is_its_own(release, folder, number):
    with Acceptor(release, folder) as acceptor, acceptor.client("DATA") as victim:
        (pid,) = acceptor.sessions()
        with acceptor.client("DATA") as neighbour:
            victim.say(MESSAGE)
            os.kill(pid, number)
            assert victim.read_to_end() == b""
            wait_until(lambda: acceptor.log("the session of process"), "it in the log")
            (line,) = acceptor.log("the session of process")
            assert line.startswith(b"the session of process %d ended by signal %d (" % (pid,
                                                                                        number))
            neighbour.say(MESSAGE + b".\r\n")
            assert neighbour.reply().startswith(b"250 ")
        acceptor.serve_one()
        assert len(acceptor.messages()) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_to_a_session_that_has_just_begun(release, folder, number):
    """At its first instruction: the client is told, as later."""
    strace = traced("execve:delay_exit=400000")
    with (Acceptor(release, folder, prefix=[strace[0], "-f", *strace[1:]]) as acceptor,
          acceptor.client() as client):
        def executed():
            lines = {pid: open(f"/proc/{pid}/cmdline", "rb").read() for pid in acceptor.sessions()}
            return [pid for pid, line in lines.items() if b"/dev/fd/" in line]

        os.kill(wait_until(executed, "the session")[0], number)
        # behind the greeting, or in its place
        assert client.reply() == SHUTTING_DOWN or client.reply() == SHUTTING_DOWN
        client.ours.close()
        acceptor.wait_for_sessions(0)
        assert b"ended by signal" not in acceptor.err()


def test_sessions_outlive_the_acceptor(smtpd, folder):
    """And are not in the way of another one."""
    with (Acceptor(smtpd, folder) as acceptor, acceptor.client("DATA") as client,
          acceptor.client("EHLO") as other):
        pids = acceptor.sessions()
        address = acceptor.address
        os.kill(acceptor.pid, signal.SIGKILL)
        assert acceptor.status() == -signal.SIGKILL
        assert is_refused(address)
        with Acceptor(smtpd, folder, listen=address) as another:
            another.serve_one()
        client.say(MESSAGE + b".\r\n")
        assert client.reply() == b"250 2.0.0 printed"
        assert other.send_message(MESSAGE) == b"250 2.0.0 printed"
        client.quit()
        other.quit()
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in pids),
                   "the end of the sessions")
        assert acceptor.messages() == [with_x_peer(PRINTED, "127.0.0.1")] * 2


def test_program_is_replaced(smtpd, folder):
    """By another one, and by none: those that run have it still."""
    program = copy_of(smtpd, folder)
    with Acceptor(program, folder) as acceptor, acceptor.client("DATA") as old:
        (folder / "new").mkdir()
        os.replace(copy_of(smtpd, folder / "new"), program)
        acceptor.serve_one()
        os.unlink(program)
        acceptor.serve_one()
        old.say(MESSAGE + b".\r\n")
        assert old.reply().startswith(b"250 ")
        old.quit()


def fill(pipe):
    """As if its reader were asleep."""
    fd = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, b"x" * 4096)
    os.close(fd)


@pytest.mark.parametrize("what", ["gone", "asleep"])
def test_nobody_reads_the_log(release, folder, what):
    """Clients are served."""
    reading, writing = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as passed, open(writing, "wb") as err:
        address = "127.0.0.1:%d" % passed.getsockname()[1]
        acceptor = Acceptor(release, folder, "--strategy=exec", "--command=/bin/true", err=err,
                            listen=None, wait=False,
                            env=environment(LISTEN_FDS="1"), fds={passed.fileno(): 3})
    with acceptor:
        assert b"listening" in os.read(reading, 4096)
        if what == "gone":
            os.close(reading)
        else:
            fill(reading)
        with Client(address) as client:
            client.begin("EHLO")
            assert client.send_message(MESSAGE).startswith(b"250 ")
    if what == "asleep":
        os.close(reading)
