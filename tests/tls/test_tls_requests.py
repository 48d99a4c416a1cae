# SPDX-License-Identifier: MIT
"""TLS where connections are accepted: how sessions ask the engine (a stand-in), how it is kept
alive, and what is left after the end."""

import contextlib
import os
import re
import resource
import signal
import time

import pytest
from acceptor import folder
from processes import is_running, stat_of
from session import STAY, wait_until
from tls_door import engine_that_answers, program, session_of
from tls_stand import Door, answer, ask, notes, request_socket, send_request, wait_for_end

_ = folder, program  # fixtures

FROM_CHAOS = {signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM}

# --- requests -------------------------------------------------------------------------------------


def test_sessions_ask_the_engine(program, folder):
    with Door(program, folder) as door:
        assert {engine_that_answers(door) for _ in range(5)} == {door.engine}
        assert [note["octets"]
                for note in notes(folder, "request")] == ["Y\0HOSTNAME=mx.example.com\0"] * 5


def test_many_sessions_at_once_in_tls(program, folder):
    with (Door(program, folder, "--max-connections-per-source=100") as door,
          contextlib.ExitStack() as stack):
        for _ in range(30):
            stack.enter_context(door.client("greeting"))
        wait_until(lambda: len(door.sessions()) == 30, "all sessions")
        sockets = [stack.enter_context(request_socket(pid)) for pid in door.sessions()]
        controls = [send_request(sock) for sock in sockets]
        assert {answer(control) for control in controls} == {b"SSL_PROTOCOL=%d\0\0" % door.engine}


@pytest.mark.parametrize("number", sorted(FROM_CHAOS), ids=lambda number: number.name)
def test_engine_killed_between_sessions(program, folder, number):
    with Door(program, folder) as door:
        first = engine_that_answers(door)
        os.kill(first, number)
        second = engine_that_answers(door)
        assert second != first and second == door.engine and not is_running(first)
        assert re.search(rb"the TLS engine \(process %d\) was killed by signal %d \([A-Za-z ]+\): "
                         rb"restarting it" % (first, number), door.err())


def test_requests_wait_for_the_next_engine(program, folder):
    """One that was in the dying one's hands is lost, and its session hears of it."""
    with (Door(program, folder) as door, session_of(door) as (client, pid),
          request_socket(pid) as sock):
        first = door.engine
        os.kill(first, signal.SIGSTOP)
        wait_until(lambda: stat_of(first).state == "T", "the stop")
        controls = [send_request(sock) for _ in range(3)]
        os.kill(first, signal.SIGKILL)
        assert [answer(control)
                for control in controls] == [b"SSL_PROTOCOL=%d\0\0" % door.engine] * 3
        assert door.engine != first
        client.quit()


def test_engine_dies_with_a_request(program, folder):
    with (Door(program, folder) as door, session_of(door) as (client, pid),
          request_socket(pid) as sock):
        (folder / "die").write_text("yes")
        control = send_request(sock)
        assert answer(control) == b""
        (folder / "die").unlink()
        assert ask(sock) == b"SSL_PROTOCOL=%d\0\0" % door.engine
        client.quit()


def test_engine_that_dies_again_and_again(program, folder):
    """It is started once a second, no more; and its sessions all hear that there is no TLS."""
    with (Door(program, folder) as door, session_of(door) as (client, pid),
          request_socket(pid) as sock):
        (folder / "die").write_text("yes")
        begin = time.monotonic()
        while time.monotonic() < begin + 3.5:
            assert ask(sock) == b""
        assert 3 <= len(notes(folder, "start")) <= 5
        client.quit()


def test_engine_that_cannot_be_started_again(program, folder):
    """Nobody waits for it for long; and when it can be, all is well."""
    with (Door(program, folder) as door, session_of(door) as (client, pid),
          request_socket(pid) as sock):
        (folder / "refuse").write_text("TLS: the key is gone")
        first = door.engine
        os.kill(first, signal.SIGKILL)
        wait_for_end(first)
        before = time.monotonic()
        assert ask(sock) == b"" and time.monotonic() - before < 3
        assert b"TLS: the key is gone\n" in door.err()
        (folder / "refuse").unlink()
        assert wait_until(lambda: ask(sock), "an engine") == b"SSL_PROTOCOL=%d\0\0" % door.engine
        client.quit()


def test_empty_requests_hold_nobody_up(program, folder):
    """Somebody who has taken a session over sends them; other sessions hear that there is no
    engine."""
    with (Door(program, folder) as door, session_of(door) as (client, pid),
          request_socket(pid) as sock):
        (folder / "refuse").write_text("TLS: the key is gone")
        os.kill(door.engine, signal.SIGSTOP)
        for _ in range(5):
            sock.sendmsg([b""])
        control = send_request(sock, patience=5)
        os.kill(door.engine, signal.SIGKILL)
        assert answer(control) == b""
        client.quit()


def test_keeper_killed(program, folder):
    with Door(program, folder, *STAY) as door:
        engine_that_answers(door)
        (keeper,) = door.keepers()
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: door.keepers() not in ([], [keeper]), "another keeper")
        assert b"the keeper of the TLS engine (process %d) ended" % keeper in door.err()
        wait_until(lambda: len(notes(folder, "start")) == 2, "another engine")
        for pid in {note["pid"] for note in notes(folder, "start")}:
            os.kill(pid, signal.SIGKILL)
        assert engine_that_answers(door) == door.engine


def test_keeper_killed_while_no_engine_can_be_started(program, folder):
    """The next keeper tries again, as the one before would have done; until it has an engine,
    sessions hear that there is none."""
    with Door(program, folder, *STAY) as door:
        first = engine_that_answers(door)
        (keeper,) = door.keepers()
        (folder / "refuse").write_text("TLS: the key is gone")
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: b"TLS: the key is gone\n" in door.err(), "another start")
        assert engine_that_answers(door) == first
        os.kill(first, signal.SIGKILL)
        wait_for_end(first)
        with session_of(door) as (client, pid), request_socket(pid) as sock:
            assert answer(send_request(sock, patience=5)) == b""
            client.quit()
        (folder / "refuse").unlink()
        wait_until(lambda: engine_that_answers(door), "an engine")
        assert len(door.keepers()) == 1


def test_keeper_killed_while_no_other_can_be_started(program, folder):
    """The engine serves on. After its end clients hear that there is none, and do not wait for it;
    a reload starts both."""
    with Door(program, folder, *STAY) as door:
        first = engine_that_answers(door)
        (keeper,) = door.keepers()
        wait_until(lambda: not door.sessions(), "the end of the session")
        limits = resource.prlimit(door.pid, resource.RLIMIT_NOFILE)
        used = {int(name) for name in os.listdir(f"/proc/{door.pid}/fd")}
        first_free = min(set(range(len(used) + 1)) - used)  # poll(2) still works, for those in use
        resource.prlimit(door.pid, resource.RLIMIT_NOFILE, (first_free, limits[1]))
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: b"the TLS engine is not restarted if it ends: reload smtpd" in door.err(),
                   "the line")
        resource.prlimit(door.pid, resource.RLIMIT_NOFILE, limits)
        assert engine_that_answers(door) == first and door.keepers() == []
        os.kill(first, signal.SIGKILL)
        wait_for_end(first)
        with door.client("EHLO") as client:
            client.expect((b"STARTTLS", b"454 4.7.0 "), (b"NOOP", b"250 "))
            client.quit()
        door.reload()
        assert engine_that_answers(door) == door.engine and len(door.keepers()) == 1


def test_keeper_that_answers_late(program, folder):
    """It is not dead: the next order has an answer of its own."""
    with Door(program, folder) as door:
        first = engine_that_answers(door)
        (keeper,) = door.keepers()
        os.kill(keeper, signal.SIGSTOP)
        door.signal(signal.SIGHUP)
        wait_until(lambda: b"not reloaded" in door.err(), "the acceptor's patience to end")
        os.kill(keeper, signal.SIGCONT)
        wait_until(lambda: engine_that_answers(door) not in (first, None), "the late engine")
        door.reload()
        assert door.keepers() == [keeper] and b"ended" not in door.err()


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_nothing_is_left(program, folder, number):
    with Door(program, folder) as door:
        engine, keepers = engine_that_answers(door), door.keepers()
        door.signal(number)
        assert door.status() == 0
        for pid in [engine, *keepers]:
            assert not is_running(pid)


def test_engine_serves_until_the_last_session_has_ended(program, folder):
    """After SIGTERM sessions with a message under way go on."""
    with Door(program, folder) as door, door.client("MAIL") as client:
        (pid,) = door.sessions()
        with request_socket(pid) as sock:
            door.signal(signal.SIGTERM)
            wait_until(lambda: b"stopping" in door.err(), "the stop")
            assert ask(sock) == b"SSL_PROTOCOL=%d\0\0" % door.engine
        client.expect((b"RSET", b"250 "))
        client.read_to_end()
        assert door.status() == 0 and not is_running(door.engine)


def test_acceptor_killed(program, folder):
    """Its sessions go on, with their engine; after them nothing is left."""
    with Door(program, folder) as door, session_of(door) as (client, pid):
        keepers = door.keepers()
        door.process.kill()
        door.process.wait()
        door.has_ended = True
        for keeper in keepers:
            wait_for_end(keeper)
        with request_socket(pid) as sock:
            assert ask(sock) == b"SSL_PROTOCOL=%d\0\0" % door.engine
        client.quit()
        wait_for_end(door.engine)
