# SPDX-License-Identifier: MIT
"""A session and its broker (src/broker/): what becomes of a message when either ends in the middle,
or when the broker waits; and what the broker has not."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from broker_stand import script
from conftest import everybodys, need_root
from processes import broker_of, children, descriptors, group, is_running
from session import PATIENCE, PYTHON, Session, command, reset, tcp_pair, wait_until
from upstream import Upstream
from world import World

# --- a session and its broker ---------------------------------------------------------------------

LOST_REPLY = b"451 "


@pytest.mark.parametrize("when", ["before", "while"])
def test_broker_dies_at_run(smtpd, tmp_path, when):
    """451, and the log says why; the program does not outlive it."""
    program = script(tmp_path,
                     f"echo $$ >{tmp_path}/pid; cat >{tmp_path}/message; exec sleep "
                     f"{1000 if when == 'while' else 0}")
    with Session(command(smtpd, "--strategy=exec", f"--command={program}"), tmp_path,
                 tcp_pair()) as session:
        session.begin("DATA")
        broker = broker_of(session.pid)
        if when == "before":
            os.kill(broker, signal.SIGKILL)
        session.say(b"Subject: x\r\n\r\ntext\r\n.\r\n")
        if when == "while":
            pid = int(wait_until(lambda: (tmp_path / "pid").exists()
                                 and (tmp_path / "pid").read_text(), "the program"))
            os.kill(broker, signal.SIGKILL)
            wait_until(lambda: not is_running(pid), "the program's end")
        session.expect((None, LOST_REPLY))
        assert session.send_message(b"x\r\n").startswith(LOST_REPLY)
        assert session.end() == 0
        assert re.search(rb"^smtpd: cannot ask the broker, .*: it has ended$", session.err(), re.M)
        assert session.err().count(b"cannot ask the broker") == 1
        assert (tmp_path / "pid").exists() == (when == "while")


def test_broker_dies_at_connect(smtpd, tmp_path):
    with (Upstream() as up,
          Session(command(smtpd, "--strategy=proxy", f"--upstream=127.0.0.1:{up.port}"), tmp_path,
                  tcp_pair()) as session):
        session.begin("greeting")
        wait_until(lambda: broker_of(session.pid), "the broker")
        os.kill(broker_of(session.pid), signal.SIGKILL)
        session.ask(b"EHLO client.example.org")
        session.expect((b"MAIL FROM:<a@example.org>", LOST_REPLY))
        assert session.end() == 0 and up.messages == []
        assert b"cannot ask the broker" in session.err()


def broker_at_work(session):
    """It has let go of all that is the session's: stopped before that, it would hold the client's
    connection."""
    broker = broker_of(session.pid)
    wait_until(lambda: sorted(descriptors(broker)) == [0, 1, 2], "it to let go of the session's")
    return broker


def test_broker_that_hangs(smtpd, tmp_path):
    """The session waits its time, and two seconds; then it leaves it alone."""
    program = script(tmp_path, "exit 0")
    with Session(command(smtpd, "--strategy=exec", f"--command={program}", "--message-timeout=1"),
                 tmp_path, tcp_pair()) as session:
        session.begin("EHLO")
        broker = broker_at_work(session)
        os.kill(broker, signal.SIGSTOP)
        try:
            started = time.monotonic()
            assert session.send_message(b"x\r\n").startswith(LOST_REPLY)
            assert 2.5 < time.monotonic() - started < 8
            assert session.send_message(b"x\r\n").startswith(LOST_REPLY)
            assert time.monotonic() - started < 9
            assert session.end() == 0
            assert re.search(rb"^smtpd: cannot ask the broker, .*: it does not answer$",
                             session.err(), re.M)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(broker, signal.SIGKILL)


@contextlib.contextmanager
def silent_resolver(tmp_path, release):
    """A world whose name server hears all and says nothing. Yields it, and the command line of a
    session in it."""
    with World(tmp_path, release) as world:
        world.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:10 attempts:2\n")
        world.write("/etc/nsswitch.conf", "hosts: files dns\n")
        with world.in_network(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
            server.bind(("127.0.0.1", 53))
            server.settimeout(PATIENCE)
            yield server, world.inside(*command(release, "--strategy=proxy",
                                                "--upstream=mail.example.net",
                                                "--upstream-timeout=1"))


def test_silent_name_server(release, tmp_path):
    """The session waits for its upstream-timeout and two seconds more, then for nobody any more.
    Nothing stays."""
    with (silent_resolver(tmp_path, release) as (_, argv),
          Session(argv, tmp_path, tcp_pair()) as session):
        session.begin("greeting")
        broker = wait_until(lambda: broker_of(session.pid), "the broker")
        started = time.monotonic()
        session.expect((b"EHLO client.example.org", b"250-"))
        assert 2.5 < time.monotonic() - started < 6
        session.expect((b"MAIL FROM:<a@example.org>", b"451 4.4.1 "))
        assert session.end() == 0 and time.monotonic() - started < 7
        wait_until(lambda: not is_running(broker), "the broker's end", 1)
        assert re.search(rb"^smtpd: cannot ask the broker, .*: it does not answer$", session.err(),
                         re.M)


@pytest.mark.parametrize("how", ["stop", "leave", "kill"])
def test_end_while_the_name_server_is_silent(release, tmp_path, how):
    with silent_resolver(tmp_path, release) as (server, argv):
        argv = [one.replace("--upstream-timeout=1", "--upstream-timeout=60") for one in argv]
        with Session(argv, tmp_path, tcp_pair()) as session:
            session.begin("greeting")
            broker = wait_until(lambda: broker_of(session.pid), "the broker")
            session.say(b"EHLO client.example.org\r\n")
            server.recv(512)
            if how == "stop":
                session.process.terminate()
            if how == "leave":
                reset(session.ours)
            if how == "kill":
                session.process.kill()
            assert session.process.wait(5) == (-signal.SIGKILL if how == "kill" else 0)
            wait_until(lambda: not is_running(broker), "the broker's end", 1)


def test_session_is_killed_while_a_program_runs(smtpd, tmp_path):
    """The group and the broker are gone too."""
    text = f"trap '' TERM; sleep 1000 & echo $$ >{tmp_path}/pid; wait; sleep 1000"
    with Session(command(smtpd, "--strategy=exec", f"--command={script(tmp_path, text)}"), tmp_path,
                 tcp_pair()) as session:
        session.begin("DATA")
        broker = broker_of(session.pid)
        session.say(b"x\r\n.\r\n")
        pid = int(wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(),
                             "the program"))
        session.process.kill()
        wait_until(lambda: group(pid) == [] and not is_running(broker), "the end of all")


def test_client_ends_and_nobody_stays(smtpd, tmp_path):
    with Session(command(smtpd, "--strategy=exec", "--command=/bin/true"), tmp_path,
                 tcp_pair()) as session:
        session.begin("EHLO")
        broker = broker_of(session.pid)
        session.ours.close()
        assert session.process.wait(PATIENCE) == 0
        wait_until(lambda: not is_running(broker), "the broker's end", 1)


def test_print_has_none(smtpd, tmp_path):
    with Session(command(smtpd), tmp_path, tcp_pair()) as session:
        session.begin("EHLO")
        assert not children(session.pid)


def test_broker_has_not_the_connection(smtpd, tmp_path):
    """Nor anything else of the session's."""
    with Session(command(smtpd, "--strategy=exec", "--command=/bin/true"), tmp_path,
                 tcp_pair()) as session:
        session.begin("EHLO")
        fds = descriptors(broker_at_work(session))
        assert fds[1] == "/dev/null" and fds[2] == session.err_path
        assert fds[0].startswith("socket:") and fds[0] != os.readlink(f"/proc/{session.pid}/fd/0")


def test_broker_under_inetd_has_not_the_connection(smtpd, tmp_path):
    """Which is standard error there, too."""
    ours, theirs = tcp_pair()
    with Session(command(smtpd, "--strategy=exec", "--command=/bin/true"), tmp_path, (ours, theirs),
                 err=theirs) as session:
        session.begin("EHLO")
        connection = os.readlink(f"/proc/{session.pid}/fd/0")
        broker = broker_of(session.pid)
        wait_until(lambda: connection not in descriptors(broker).values(),
                   "it to let go of the connection")
        assert descriptors(broker)[2] == "/dev/null"
        assert session.end() == 0


# --- other processes of the user ------------------------------------------------------------------

# Sends descriptors to itself, and takes none.
IN_FLIGHT = """
import os, socket, sys
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
for _ in range(10):
    socket.send_fds(ours, [b"x"], [0] * 50)
print("there they are", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("seconds, verdict", [(0.5, b"250 "), (None, b"451 ")],
                         ids=["for a moment", "for long"])
def test_descriptors_in_flight(release, tmp_path, seconds, verdict):
    """The kernel counts those that are on their way through sockets, of all processes of a user
    together. (root may have any.)"""
    need_root()
    other = {"user": 54321, "group": 54321, "extra_groups": []}
    os.chmod(tmp_path, 0o777)
    with everybodys(release) as program, \
            subprocess.Popen([PYTHON, "-c", IN_FLIGHT], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, **other) as holder:
        try:
            assert holder.stdout.readline() == b"there they are\n"
            argv = [program, "--config=/dev/null", "--strategy=exec", "--command=true",
                    "--timeout=4"]
            with Session(argv, tmp_path, **other) as session:
                session.begin("EHLO")
                session.expect((b"MAIL FROM:<a@example.org>", b"250 "),
                               (b"RCPT TO:<b@example.com>", b"250 "), (b"DATA", b"354 "))
                if seconds:
                    threading.Timer(seconds, holder.stdin.close).start()
                session.say(b"x\r\n.\r\n")
                assert session.reply().startswith(verdict)
                assert session.end() == 0
        finally:
            holder.kill()
