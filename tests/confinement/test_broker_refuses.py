# SPDX-License-Identifier: MIT
"""What the broker (src/broker/) must not be asked: requests that no session makes, as one that was
taken over could."""

import contextlib
import os
import socket

import pytest
from broker_stand import (CANCEL, CONNECT, DONE, LIST, MESSAGE, PEER, RUN, TLS, VARIABLES, WRAPPER,
                          Stand, build, lists, request, script, spool)
from session import PATIENCE

_ = build, lists  # fixtures

MALFORMED = {
    "kind-0": (request(0), b"no such request"),
    "kind-large": (request(2**32 - 1), b"no such request"),
    "tls": (request(TLS), b"no TLS engine"),
    "tls-text": (request(TLS, text=b"x"), b"too long"),
    "program": (request(RUN, 2, text=VARIABLES), b"no such program"),
    "no-wrapper": (request(RUN, WRAPPER, text=VARIABLES, name=b"test"), b"no such program"),
    "time": (request(RUN, milliseconds=2**31, text=VARIABLES), b"too much time"),
    "long": (request(RUN, n_text=2**20), b"too long"),
    "longest": (request(RUN, n_text=2**32 - 1), b"too long"),
    "no-variables": (request(RUN), b"variables"),
    "other-variable": (request(RUN, text=VARIABLES.replace(b"SMTPD_HELO", b"LD_PRELOAD")),
                       b"variables"),
    "own-variable": (request(RUN, text=VARIABLES.replace(b"SMTPD_HELO", b"SMTPD_PEER")),
                     b"variables"),
    "one-more": (request(RUN, text=VARIABLES + b"SMTPD_PEER=127.0.0.1\0"), b"too many variables"),
    "no-end": (request(RUN, text=VARIABLES[:-1]), b"variables"),
    "endpoint": (request(CONNECT, 1), b"no such endpoint"),
    "endpoint-large": (request(CONNECT, 2**32 - 1), b"no such endpoint"),
    "connect-time": (request(CONNECT, 0, 2**31), b"too much time"),
    "connect-text": (request(CONNECT, text=b"192.0.2.1:25"), b"too long"),
    "no-lists": (request(LIST, text=b"test"), b"no lists are configured"),
    "list-long": (request(LIST, text=b"a" * 4096), b"too long"),
    "cancel-text": (request(CANCEL, text=b"x"), b"too long"),
    "peer": (request(PEER, text=b"127.0.0.1"), b"the peer is already known"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_request(build, tmp_path, name):
    """It ends, and nothing was done."""
    octets, why = MALFORMED[name]
    with (Stand(build, tmp_path, script(tmp_path, f"touch {tmp_path}/ran"),
                upstream=["/nonexistent"]) as broker, spool() as file):
        broker.send(octets, file.fileno())
        assert why in broker.refuses() and not (tmp_path / "ran").exists()


BALANCER = {"PATH": os.environ["PATH"], "BALANCER": "yes"}


@pytest.mark.parametrize("client, peer", [
    (b"127.0.0.1:25", b"unknown ."), (b"192.0.2.7:25", b"192.0.2.7 25."),
    (b"[2001:db8::7]", b"2001:db8::7 ."), (b"", b"unknown .")])
def test_peer_of_a_balancer(build, tmp_path, client, peer):
    """Named once, and before all else; loopback of another host is nobody's."""
    program = script(tmp_path, 'echo "$SMTPD_PEER $SMTPD_PEER_PORT."')
    with Stand(build, tmp_path, program, env=BALANCER) as broker:
        broker.send(request(PEER, text=client))
        assert broker.run()[2] == peer + b"\n"
        broker.send(request(PEER, text=b"192.0.2.8"))
        assert broker.refuses() == b"the peer must be named first, and only once"


@pytest.mark.parametrize("octets, why", [
    (request(RUN, text=VARIABLES), b"named first"), (request(CONNECT), b"named first"),
    (request(CANCEL), b"named first"),
    (request(PEER, text=b"local"), b"no address"), (request(PEER, text=b"unknown"), b"no address"),
    (request(PEER, text=b"192.0.2.7\0"), b"no address"),
    # fmt: skip
    (request(PEER, text=b"192.0.2.7\nX=y"), b"no address"),
    (request(PEER, text=b"1" * 200), b"too long")])
def test_malformed_peer(build, tmp_path, octets, why):
    with (Stand(build, tmp_path, script(tmp_path, f"touch {tmp_path}/ran"),
                upstream=["/nonexistent"], env=BALANCER) as broker, spool() as file):
        broker.send(octets, file.fileno())
        assert why in broker.refuses() and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("number, name, why", [
    (10, b"test", b"no such Mailman command"), (2**32 - 1, b"test", b"no such Mailman command"),
    (0, b"../test", b"name of a list"),
    (0, b"", b"name of a list"), (0, b".", b"name of a list"), (0, b"-x/y", b"name of a list"),
    (0, b"a" * 128, b"name of a list")])
def test_malformed_wrapper(build, tmp_path, lists, number, name, why):
    with (Stand(build, tmp_path, wrapper=script(tmp_path, f"touch {tmp_path}/ran"),
                lists=lists) as broker, spool() as file):
        broker.send(request(RUN, WRAPPER, text=VARIABLES, command=number, name=name), file.fileno())
        assert why in broker.refuses() and not (tmp_path / "ran").exists()


def named_file(folder):
    (folder / "secret").write_bytes(b"secret")
    return open(folder / "secret", "rb")


def one_end(_):
    return socket.socketpair()[0]


@pytest.mark.parametrize("make", [
    named_file, one_end, lambda folder: open("/dev/null", "rb"),
    lambda folder: open(f"/proc/{os.getpid()}/mem", "rb", buffering=0),
    lambda folder: os.fdopen(os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o600), "wb"),
    lambda folder: None,
], ids=["named", "socket", "device", "proc", "write-only", "none"])
def test_message_that_is_none(build, tmp_path, make):
    with Stand(build, tmp_path, script(tmp_path, f"touch {tmp_path}/ran")) as broker:
        file = make(tmp_path)
        with file or contextlib.nullcontext():
            broker.send(request(RUN, text=VARIABLES), *([file.fileno()] if file else []))
            assert b"message" in broker.refuses() and not (tmp_path / "ran").exists()


def fds_of(pid):
    return sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))


def test_descriptors_that_are_not_expected(build, tmp_path):
    """They are closed."""
    with (Stand(build, tmp_path, script(tmp_path, "ls /proc/self/fd | wc -l"),
                upstream=["127.0.0.1:1"]) as broker, spool() as file):
        few = broker.run()[2]
        before = fds_of(broker.process.pid)
        for _ in range(50):
            broker.ask(request(CONNECT), *[file.fileno()] * 100)
            broker.send(request(CANCEL), file.fileno())
            whole = request(RUN, text=VARIABLES)
            broker.send(whole[:20], file.fileno(), file.fileno())
            broker.send(whole[20:200], *[file.fileno()] * 3)
            broker.send(whole[200:], file.fileno())
            assert broker.answer()[:3] == (DONE, 0, few)
        assert fds_of(broker.process.pid) == before


@pytest.mark.parametrize("n", [1, 20, 147, 148, 149, 300])
def test_half_a_request(build, tmp_path, n):
    """The session ends in the middle."""
    with (Stand(build, tmp_path, script(tmp_path, f"touch {tmp_path}/ran")) as broker,
          spool() as file):
        broker.send(request(RUN, text=VARIABLES)[:n], file.fileno())
        broker.socket.close()
        assert broker.process.wait(PATIENCE) == 0 and broker.err() == b""
        assert not (tmp_path / "ran").exists()


def test_octet_by_octet(build, tmp_path):
    with Stand(build, tmp_path, script(tmp_path, "cat")) as broker, spool() as file:
        octets = request(RUN, text=VARIABLES)
        broker.send(octets[:1], file.fileno())
        for i in range(1, len(octets)):
            broker.send(octets[i:i + 1])
        assert broker.answer()[:3] == (DONE, 0, MESSAGE)
