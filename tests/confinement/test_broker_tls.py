# SPDX-License-Identifier: MIT
"""The broker (src/broker/) starts a TLS engine when it is asked, on the descriptors that it is
given, and refuses what no session gives."""

import contextlib
import socket

import pytest
from broker_stand import DONE, FAILED, TLS, Stand, build, request, script
from session import PATIENCE, wait_until

_ = build  # a fixture


def engine_of(folder, text):
    """One that writes what it is given, and then does `text`."""
    return script(folder,
                  f"cat >&3; echo $0 $* >{folder}/argv; ls /proc/self/fd | tr '\\n' ' ' "
                  f">{folder}/fds; {text}")


@contextlib.contextmanager
def three_pairs():
    pairs = [socket.socketpair() for _ in range(3)]
    try:
        yield [ours for ours, _ in pairs], [theirs.fileno() for _, theirs in pairs]
    finally:
        for one in sum(pairs, ()):
            one.close()


def test_engine(build, tmp_path):
    """It has the connection, the control socket and the plain side as 0, 3 and 4, and the log; and
    it outlives the broker."""
    with (Stand(build, tmp_path,
                engine=engine_of(tmp_path, "echo end >&4; echo log >&2")) as broker,
          three_pairs() as (ours, fds)):
        broker.send(request(TLS), *fds)
        assert broker.answer()[0] == DONE
        ours[0].sendall(b"hello")
        assert ours[1].recv(100) == b"hello"
        broker.socket.close()
        assert broker.process.wait(PATIENCE) == 0
        ours[0].shutdown(socket.SHUT_WR)
        assert ours[2].recv(100) == b"end\n"
        wait_until(lambda: b"log\n" in broker.err(), "its log")
        assert (tmp_path / "argv").read_text().endswith(" --minimum=1.3\n")
        # the last one is of ls
        assert (tmp_path / "fds").read_text().split() == ["0", "1", "2", "3", "4", "5"]


def test_engine_that_cannot_run(build, tmp_path):
    """The broker goes on, and may be asked again."""
    with (Stand(build, tmp_path, script(tmp_path, "exit 0"),
                engine=str(tmp_path / "nothing")) as broker, three_pairs() as (_, fds)):
        for _ in range(2):
            broker.send(request(TLS), *fds)
            outcome, *_, reason, descriptors = broker.answer()
            assert outcome == FAILED and reason.startswith(b"No such file or directory")
            assert descriptors == []
        assert broker.run()[:2] == (DONE, 0)


def test_second_engine(build, tmp_path):
    """There is one connection."""
    with (Stand(build, tmp_path, engine=engine_of(tmp_path, "")) as broker,
          three_pairs() as (_, fds)):
        broker.send(request(TLS), *fds)
        assert broker.answer()[0] == DONE
        broker.send(request(TLS), *fds)
        assert b"was already started" in broker.refuses()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_engine_without_its_descriptors(build, tmp_path, n):
    with (Stand(build, tmp_path, engine=engine_of(tmp_path, f"touch {tmp_path}/ran")) as broker,
          three_pairs() as (_, fds)):
        broker.send(request(TLS), *fds[:n])
        assert b"must be three" in broker.refuses() and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("make", [
    lambda: open("/dev/null", "rb"), lambda: open("/proc/self/mem", "rb", buffering=0),
    lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)[0],
], ids=["device", "proc", "datagrams", "packets"])
def test_engine_on_what_is_no_stream(build, tmp_path, make, at):
    with (Stand(build, tmp_path, engine=engine_of(tmp_path, f"touch {tmp_path}/ran")) as broker,
          three_pairs() as (_, fds), make() as one):
        fds[at] = one.fileno()
        broker.send(request(TLS), *fds)
        assert b"not a stream socket" in broker.refuses() and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("at", range(3))
def test_engine_on_what_others_share(build, tmp_path, at):
    """It would shut the log down that a service has from the journal, with all its sessions."""
    with Stand(build, tmp_path,
               engine=engine_of(
                   tmp_path, f"touch {tmp_path}/ran")) as broker, three_pairs() as (_, fds), \
            socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as log:
        listener.bind(str(tmp_path / "stdout"))
        listener.listen()
        log.connect(listener.getsockname())
        fds[at] = log.fileno()
        broker.send(request(TLS), *fds)
        assert b"is shared with others" in broker.refuses() and not (tmp_path / "ran").exists()
