# SPDX-License-Identifier: MIT
"""smtpd-tls --serve: it holds the key, and forks for each connection."""

import contextlib
import functools
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from conftest import need, need_root
from processes import children
from session import PATIENCE, PYTHON
from tls import Server, engine, folder, released, send_request, tcp_pair
from tls_server import SHAPES, ours, path_of

_ = engine, folder, ours, released  # fixtures

REQUEST = b"Y\0HOSTNAME=mx.example.com\0PEER=192.0.2.1:25\0"


def wait_until(is_true, what="it does not come to pass"):
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@SHAPES
def test_many_on_one_socket(engine, ours, tmp_path, shape):
    with Server([engine, *ours.options], path_of(shape, tmp_path)) as server:
        server.wait_until_ready()
        asker = server.asker_of()
        for _ in range(3):
            with server.ask(asker=asker.dup()) as one, server.ask(asker=asker.dup()) as other:
                assert one.talk()["SSL_PROTOCOL"] == "TLSv1.3"
                assert other.talk(name="other.example")["SSL_TLS_SNI"] == "other.example"
            wait_until(lambda: not list(children(server.process.pid)), "children are left")
        asker.close()
        if shape == "listening":
            server.process.terminate()
        else:
            server.asker.close()  # nobody can ask any more
        assert server.end() == (0, "")


def test_requests_queue(engine, ours):
    """What is asked before it is there is served."""
    with Server([engine, *ours.options]) as server, server.ask() as one, server.ask() as other:
        one.talk()
        other.talk()


def test_peer_of_the_request_is_logged(engine, ours):
    with Server([engine, *ours.options]) as server:
        for data, peer in ((REQUEST, "peer=192.0.2.1 port=25"),
                           (b"Y\0PEER=[2001:db8::1]:2525\0", "peer=2001:db8::1 port=2525"),
                           (b"Y\0", "peer=127.0.0.1 port="), (b"Y\0PEER=x y\0", "peer=unknown"),
                           (b"Y\0OTHER=1\0PEER=local\0", "peer=local")):
            with server.ask(data) as one:
                one.peer.sendall(b"EHLO x\r\n")
                assert one.answer() == ({"TLS_ERROR": "the client speaks plain text, not TLS"},
                                        False), data
                line = server.process.stderr.readline().decode()
                assert line.startswith(f"smtpd: no TLS {peer}")
                assert 'reason="the client speaks plain text, not TLS"\n' in line


@SHAPES
def test_an_asker_has_two_connections(engine, ours, tmp_path, shape):
    """Where all ask on one socket, a process; where each connects, a connection. Others have as
    many."""
    refused = "smtpd: TLS: a request was dropped: the requester already has two connections\n"
    with (Server([engine, *ours.options], path_of(shape, tmp_path)) as server,
          contextlib.ExitStack() as stack):
        server.wait_until_ready()
        asker = stack.enter_context(server.asker_of())
        ask = functools.partial(server.ask, send=send_request)
        first, second = (stack.enter_context(ask(asker=asker.dup())) for _ in range(2))
        first.talk()
        second.talk()
        with ask(asker=asker.dup()) as third:
            assert third.answer() == ({}, False) and third.clear.recv(1) == b""
            assert server.process.stderr.readline().decode() == refused
        for _ in range(3):
            stack.enter_context(server.ask()).talk()
        first.__exit__()
        wait_until(lambda: len(list(children(server.process.pid))) == 4,
                   "the first one does not end")
        stack.enter_context(ask(asker=asker.dup())).talk()


def test_askers_of_another_name_space(released, ours):
    """Nobody can tell which process it was: none is refused for another one's sake."""
    need_root()
    apart = [need("unshare"), "--pid", "--fork", "--kill-child"]
    with Server([*apart, released, *ours.options]) as server, contextlib.ExitStack() as stack:
        # and not its end: who has started it has that socket, too
        assert os.read(server.ready_fd, 100) == b"ready\n"
        for _ in range(3):
            stack.enter_context(server.ask(send=send_request)).talk()


WRONG = {
    "nothing": b"", "client": b"C\0", "no-nul": b"Y", "other": b"X\0",
    "not-ended": b"Y\0HOSTNAME=a", "no-sign": b"Y\0HOSTNAME\0",
    "no-name": b"Y\0=a\0", "lower-case": b"Y\0hostname=a\0", "empty": b"Y\0\0",
    "long": b"Y\0A=" + b"x" * 1020 + b"\0", "longer": b"Y\0A=" + b"x" * 60000 + b"\0"}


@SHAPES
@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_wrong_requests_are_dropped(engine, ours, tmp_path, data, shape):
    """Their descriptors too; and it goes on."""
    with Server([engine, *ours.options], path_of(shape, tmp_path)) as server:
        server.wait_until_ready()
        asker = server.asker_of()
        with server.ask(data, asker=asker.dup()) as one:
            assert one.answer() == ({}, False) and one.clear.recv(1) == b""
        assert server.process.stderr.readline().decode() == "smtpd: TLS: a request was dropped: not a request as in smtpd-tls(8)\n"
        with server.ask(asker=asker) as one:
            one.talk()


def test_wrong_descriptors_are_dropped(released, ours):
    with Server([released, *ours.options]) as server, contextlib.ExitStack() as stack:
        server.wait_until_ready()
        wire, peer = tcp_pair()
        a, b = socket.socketpair()
        datagrams = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener = socket.create_server(("127.0.0.1", 0))
        pipe = os.fdopen(os.pipe()[0])
        for one in (wire, peer, a, b, *datagrams, listener, pipe):
            stack.enter_context(one)
        for fds in ((), (wire,), (wire, a), (wire, a, b, a), (wire, a, b) * 10, (wire, wire, a),
                    (wire, a, wire), (pipe, a, b), (wire, pipe, b),
                    (datagrams[0], a, b), (wire, datagrams[0], b), (listener, a, b)):
            send_request(server.asker, REQUEST, *fds)
        with server.ask() as one:
            one.talk()
            names = os.listdir(f"/proc/{server.process.pid}/fd")
        assert len(names) <= 4, names
        assert server.process.stderr.readline().decode().count("dropped") == 1


@contextlib.contextmanager
def journal():
    """(a connection as those are which services have for standard error, its other end)"""
    with (tempfile.TemporaryDirectory(prefix="smtpd-journal.") as folder,
          socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as log):
        listener.bind(f"{folder}/stdout")
        listener.listen()
        log.connect(listener.getsockname())
        with listener.accept()[0] as reader:
            yield log, reader


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("kind", ["of a service", "of the engine"])
def test_log_is_not_ended(released, ours, at, kind):
    """A session that was taken over has it, and so have others."""
    with (journal() as (log, reader),
          Server([released, *ours.options, "--timeout=1"], stderr=log) as server,
          contextlib.ExitStack() as stack):
        server.wait_until_ready()
        with journal() if kind == "of a service" else contextlib.nullcontext(
                (log, reader)) as (given, its_reader):
            pairs = [socket.socketpair() for _ in range(3)]
            for one in sum(pairs, ()):
                stack.enter_context(one)
            sockets = [theirs for _, theirs in pairs]
            sockets[at] = given
            send_request(server.asker, REQUEST, *sockets)
            reader.settimeout(PATIENCE)
            assert reader.recv(1000).endswith(b"a request was dropped: not a request as in "
                                              b"smtpd-tls(8)\n")
            given.sendall(b"a line\n")
            assert its_reader.recv(1000) == b"a line\n"
        with server.ask() as one:
            one.talk()


# Requests that are over at once, without a pause.
FLOOD = """
import socket
asker, (wire, peer), (control, _), (clear, _) = socket.socket(fileno=0), *(socket.socketpair() for _ in range(3))
peer.close()
while True:
    socket.send_fds(asker, [b"Y\\0"], [wire.fileno(), control.fileno(), clear.fileno()])
"""


def test_requests_without_end(released, ours):
    """It hears signals, and of the end of its children, all the same."""
    with Server([released, *ours.options]) as server, contextlib.ExitStack() as stack:
        server.wait_until_ready()
        server.process.stderr.close()  # there is a line of each
        for _ in range(2):
            flood = subprocess.Popen([PYTHON, "-c", FLOOD], stdin=server.asker)
            stack.callback(flood.wait)
            stack.callback(flood.kill)
        pid = server.process.pid
        wait_until(lambda: len(list(children(pid))) > 0, "it is not asked")
        time.sleep(1)
        server.process.terminate()
        assert server.process.wait(3) == 0


@SHAPES
def test_sigterm_of_the_server(engine, ours, tmp_path, shape):
    """It ends, its children go on."""
    with Server([engine, *ours.options], path_of(shape, tmp_path)) as server:
        with server.ask() as one:
            one.talk()
            server.process.terminate()
            assert server.end() == (0, "")
            one.clear.sendall(b"221 bye\r\n")
            assert one.peer.recv(100) == b"221 bye\r\n"
            one.clear.close()
            assert one.peer.recv(100) == b""


def test_who_is_connected_is_served_to_the_end(engine, ours, tmp_path):
    """Its successor has the socket; a session that has connected before may ask it for TLS
    later."""
    with Server([engine, *ours.options], tmp_path / "tls") as server:
        server.wait_until_ready()
        early = server.asker_of()
        with server.ask() as one:  # so that `early` has been accepted
            one.talk()
        server.process.terminate()
        assert server.end()[0] == 0
        with server.ask(asker=early) as one:
            one.talk()
        server.process.stderr.close()
        server.start()
        server.wait_until_ready()
        with server.ask() as one:
            one.talk()


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGKILL, signal.SIGSYS])
def test_child_that_crashes(engine, ours, number):
    """The server ends, within a second, and says why; a TERM is nothing to a child."""
    with Server([engine, *ours.options]) as server:
        with server.ask() as one, server.ask() as other:
            one.talk()
            other.talk()
            first, second = sorted(children(server.process.pid))
            os.kill(second, signal.SIGTERM)
            os.kill(second, signal.SIGINT)
            os.kill(first, number)
            status, log = server.end()
            assert status == 75
            assert f"smtpd: TLS: the process of a connection was killed by signal {number.value}: restarting" in log
            other.clear.sendall(b"221 bye\r\n")  # it goes on
            assert other.peer.recv(100) == b"221 bye\r\n"


def test_crashes_are_at_most_one_a_second(released, ours):
    with Server([released, *ours.options]) as server:
        began = time.monotonic()
        maps = []
        for _ in range(3):
            server.wait_until_ready()
            with server.ask() as one:
                one.talk()
                child, = children(server.process.pid)
                maps.append(Path(f"/proc/{child}/maps").read_text().split("\n")[0])
                os.kill(child, signal.SIGSEGV)
                assert server.end()[0] == 75
            server.process.stderr.close()
            server.start()
        assert time.monotonic() - began > 2.5
        assert len(set(maps)) == 3, "the layout of memory is the same"


def test_descriptor_0_is_no_request_socket(engine, ours):
    for kind in (subprocess.DEVNULL, socket.socketpair()[0]):
        done = subprocess.run([engine, *ours.options, "--serve"], stdin=kind, capture_output=True,
                              text=True, timeout=PATIENCE)
        assert done.returncode == 64 and "SOCK_SEQPACKET" in done.stderr


def test_what_is_left_to_it_of_the_server(released, ours):
    with Server([released, *ours.options]) as server, server.ask() as one:
        one.talk()
        child, = children(server.process.pid)
        for pid, fds in ((server.process.pid, 2), (child, 4)):
            status = dict(re.findall(r"^(\w+):\s+(.*)$", Path(f"/proc/{pid}/status").read_text(),
                                     re.M))
            assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
            assert re.search(r"^Max core file size +0 +0 ", Path(f"/proc/{pid}/limits").read_text(),
                             re.M)
            assert len(os.listdir(f"/proc/{pid}/fd")) == fds
            assert os.stat(f"/proc/{pid}").st_uid == 0
        assert status["Seccomp_filters"] == "2"


def test_memory_of_a_connection(released, ours):
    """Beside the session, and beside what all of them share: the tenth connection to the
    twentieth."""
    def total(pid):
        rollups = [Path(f"/proc/{one}/smaps_rollup").read_text() for one in (pid, *children(pid))]
        return sum(int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.M)[1]) for rollup in rollups)

    with Server([released, *ours.options]) as server, contextlib.ExitStack() as stack:
        totals = []
        for _ in range(2):
            for _ in range(10):
                stack.enter_context(server.ask()).talk()
            totals.append(total(server.process.pid))
        assert len(list(children(server.process.pid))) == 20
        assert 0 < (totals[1] - totals[0]) / 10 <= 640, totals


def test_first_reply_is_not_held_back(released, ours):
    """Behind the ticket of TLS 1.3, which nobody acknowledges at once: with Nagle's algorithm that
    takes 40 ms."""
    took = []
    with Server([released, *ours.options]) as server:
        for _ in range(20):
            with server.ask() as one:
                one.connect()
                one.answer()
                began = time.monotonic()
                one.clear.sendall(b"220 hi\r\n")
                assert one.peer.recv(100) == b"220 hi\r\n"
                one.clear.sendall(b"250 ok\r\n")
                assert one.peer.recv(100) == b"250 ok\r\n"
                took.append(time.monotonic() - began)
    assert sorted(took)[5] < 0.03, took
