# SPDX-License-Identifier: MIT
"""smtpd-tls, the engine: its contract on the descriptors, how it is called, and what confines
it."""

import contextlib
import os
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest
from conftest import need
from session import PATIENCE
from tls import NAME, Certificate, Engine, client_context, engine, folder, released
from tls_peer import TLS13, VERSIONS, ours, until_closed

_ = engine, folder, ours, released  # fixtures


@pytest.fixture(scope="module")
def rsa(folder):
    return Certificate(folder, kind="rsa")


def fill(sock):
    """Until nobody takes any more: the octets that went there."""
    n, full_since = 0, None
    sock.setblocking(False)
    while not full_since or time.monotonic() < full_since + 0.5:
        try:
            n += sock.send(b"x" * 65536)
            full_since = None
        except BlockingIOError:
            full_since = full_since or time.monotonic()
            time.sleep(0.05)
    return n


# --- the contract ---------------------------------------------------------------------------------


@VERSIONS
def test_octets_both_ways(engine, ours, version):
    with Engine([engine, *ours.options]) as e:
        peer = e.connect(client_context(**version))
        variables, is_secure = e.answer()
        assert is_secure
        assert variables == {
            "SSL_PROTOCOL": peer.version(), "SSL_CIPHER": peer.cipher()[0], "SSL_TLS_SNI": NAME,
            "SSL_CLIENT_VERIFY": "NONE"}
        e.clear.sendall(b"220 hi\r\n")
        assert peer.recv(100) == b"220 hi\r\n"
        peer.sendall(b"QUIT\r\n")
        assert e.clear.recv(100) == b"QUIT\r\n"
        e.clear.sendall(b"221 bye\r\n")
        e.clear.shutdown(socket.SHUT_WR)
        # a close_notify: without one it is an exception
        assert peer.recv(100) == b"221 bye\r\n" and peer.recv(100) == b""
        peer.unwrap().close()
        assert e.clear.recv(100) == b"" and e.control.recv(100) == b""
        assert e.end() == (0, "")


def test_who_hears_what_first(engine, ours):
    """The answer is there before the peer has said anything, and what is said at once is kept."""
    with Engine([engine, *ours.options]) as e:
        e.clear.sendall(b"220 before anything\r\n")
        peer = e.connect()
        assert peer.recv(100) == b"220 before anything\r\n"
        assert e.answer()[1]


def test_half_closed_by_the_peer(engine, ours):
    """Its close_notify ends what we hear, and not what it hears."""
    with Engine([engine, *ours.options]) as e:
        peer = e.connect(client_context(**TLS13))
        assert e.answer()[1]
        peer.sendall(b"last words")
        peer.setblocking(False)
        with contextlib.suppress(ssl.SSLWantReadError):
            peer.unwrap()
        assert until_closed(e.clear) == b"last words"
        e.clear.sendall(b"x" * 1000)
        e.clear.shutdown(socket.SHUT_WR)
        assert e.end() == (0, "")


def test_peer_ends_without_farewell(engine, ours):
    """A TCP end only: as a close_notify."""
    with Engine([engine, *ours.options]) as e:
        peer = e.connect()
        assert e.answer()[1]
        peer.sendall(b"last words")
        socket.socket(fileno=peer.detach()).close()
        assert until_closed(e.clear) == b"last words"
        e.clear.close()
        assert e.end() == (0, "")


def test_peer_resets(engine, ours):
    with Engine([engine, *ours.options]) as e:
        peer = e.connect()
        assert e.answer()[1]
        raw = socket.socket(fileno=peer.detach())
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
        assert e.end() == (0, "") and until_closed(e.clear) == b""


def test_peer_that_hangs_on(engine, ours):
    """After the end of the session two seconds are enough, for a peer that says nothing, and for
    one that reads nothing."""
    with Engine([engine, *ours.options]) as e:
        e.connect()
        assert e.answer()[1]
        fill(e.clear)
        began = time.monotonic()
        e.clear.close()
        assert e.end() == (0, "") and 1.5 < time.monotonic() - began < 6


@VERSIONS
def test_both_at_once(engine, ours, version):
    """Much, both ways at the same time, and no one waits for the other."""
    n = 8_000_000 if "sanitize" in engine else 60_000_000
    with Engine([engine, *ours.options]) as e:
        peer = e.connect(client_context(**version))
        assert e.answer()[1]
        raw, loop = os.urandom(1 << 20), n // (1 << 20)

        def say(to):
            for _ in range(loop):
                to.sendall(raw)

        def pump():  # one thread for the peer: Python's TLS is not for two
            peer.setblocking(False)
            sent, got, at = 0, 0, memoryview(raw)
            while sent < loop * len(raw) or got < loop * len(raw):
                with contextlib.suppress(ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    sent += peer.send(
                        at[sent % len(raw):][:60_000]) if sent < loop * len(raw) else 0
                with contextlib.suppress(ssl.SSLWantReadError):
                    more = peer.recv(60_000)
                    assert more == (raw + raw)[got % len(raw):][:len(more)]
                    got += len(more)

        threads = [threading.Thread(target=one, args=args) for one,
                   args in ((say, (e.clear,)), (pump, ()))]
        for thread in threads:
            thread.start()
        got = 0
        while got < loop * len(raw):
            more = e.clear.recv(1 << 20)
            assert more == (raw + raw)[got % len(raw):][:len(more)]
            got += len(more)
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_what_the_peer_has_not_taken_is_still_there(engine, ours):
    """Whoever writes to the clear side sees by it what may not have been heard."""
    import fcntl
    import termios

    def outq(sock):
        return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0]

    with Engine([engine, *ours.options]) as e:
        e.wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        e.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        peer = e.connect()
        assert e.answer()[1]
        e.clear.sendall(b"250 ok\r\n")
        assert peer.recv(100) == b"250 ok\r\n"
        deadline = time.monotonic() + PATIENCE
        while outq(e.clear) or outq(e.wire):
            assert time.monotonic() < deadline
        n = fill(e.clear)
        assert outq(e.clear) > 0 and outq(e.wire) > 0
        e.process.kill()
        e.process.wait()
        e.wire.close()
        with contextlib.suppress(ssl.SSLError, ConnectionResetError):
            peer.settimeout(PATIENCE)
            while more := peer.recv(65536):
                n -= len(more)
        assert n > 0


# --- how it is called -----------------------------------------------------------------------------


@pytest.mark.parametrize("argv, said", [
    ([], "--certificate= is missing"),
    (["--certificate=a", "--check", "x"], "options only, no arguments"), (["--nothing"], "--nothing"),
    (["--certificate=a", "--minimum=1.1"], "--minimum=1.1"),
    (["--certificate=a", "--timeout=0"], "--timeout=0"),
    (["--certificate=a", "--timeout=1s"], "--timeout=1s"),
    (["--certificate=a", "--client=yes"], "--client=yes"),
    (["--certificate=a", "--key=b", "--key=c"], "as often as"),
    (["--certificate=self-signed"], "for --serve only"),
    (["--certificate=a", "--client-ca=b"], "--client=ask"),
    (["--certificate=a", "--serve", "--check"], "give --serve or --check"),
    (["--certificate=a"] + 4 * ["--certificate=b"], "--certificate=b")])
def test_usage_of_the_engine(engine, argv, said):
    done = subprocess.run([engine, *argv], capture_output=True, text=True, timeout=PATIENCE,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 64 and said in done.stderr and done.stdout == ""


def test_help(engine):
    done = subprocess.run([engine, "--help"], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0 and "--certificate=FILE" in done.stdout and done.stderr == ""
    assert re.fullmatch(r"smtpd-tls \S+\n",
                        subprocess.run([engine, "--version"], capture_output=True, text=True,
                                       timeout=PATIENCE).stdout)


def test_descriptors_are_missing(engine, ours):
    done = subprocess.run([engine, *ours.options], capture_output=True, text=True, timeout=PATIENCE,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 64 and "descriptors 0, 3 and 4" in done.stderr


def test_certificate_cannot_be_used(engine, ours, rsa, folder):
    """The session hears that there is no TLS, the log hears of the file."""
    for options, said in (([f"--certificate={folder}/none"],
                           f"cannot read the certificate {folder}/none: No such file"),
                          ([f"--certificate={ours.certificate}", f"--key={rsa.key}"],
                           "does not match the first certificate")):
        with Engine([engine, *options]) as e:
            variables, is_secure = e.answer()
            assert not is_secure
            assert variables == {"TLS_ERROR": "certificate or key cannot be used: see the log"}
            status, log = e.end()
            assert status == 78 and said in log


# --- confinement ----------------------------------------------------------------------------------


def test_what_is_left_to_it_of_the_engine(released, ours):
    """While it speaks with a peer: a filter, no privileges to gain, no debugger, its descriptors
    and no other."""
    with Engine([released, *ours.options]) as e:
        e.connect()
        assert e.answer()[1]
        status = dict(re.findall(r"^(\w+):\s+(.*)$",
                                 Path(f"/proc/{e.process.pid}/status").read_text(), re.M))
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
        limits = Path(f"/proc/{e.process.pid}/limits").read_text()
        assert re.search(r"^Max core file size +0 +0 ", limits, re.M)
        assert re.search(r"^Max open files +16 +16 ", limits, re.M)
        assert sorted(os.listdir(f"/proc/{e.process.pid}/fd")) == ["0", "2", "3", "4"]
        assert os.stat(f"/proc/{e.process.pid}").st_uid == 0  # not dumpable


def test_memory(released, ours):
    with Engine([released, *ours.options]) as e:
        peer = e.connect()
        assert e.answer()[1]
        peer.sendall(b"x" * 100_000)
        n = 0
        while n < 100_000:
            n += len(e.clear.recv(100_000))
        rollup = Path(f"/proc/{e.process.pid}/smaps_rollup").read_text()
        own = sum(int(kb)
                  for kb in re.findall(r"^(?:Private_Dirty|Shared_Dirty):\s+(\d+) kB", rollup,
                                       re.M))
        # 1.1 MiB with OpenSSL 3.0, 1.5 with 3.5; the libraries are everybody's
        assert 0 < own <= 1.75 * 1024, rollup


# --- what confines it -----------------------------------------------------------------------------


def test_says_that_it_is_not_confined(released, ours):
    """On a kernel that cannot do it, once for each process that is started."""
    strace = need("strace")
    with Engine([strace, "-o", "/dev/null", "-e", "inject=prctl:error=EINVAL", released,
                 *ours.options]) as engine:
        engine.connect(client_context())
        assert engine.answer()[1]
        engine.peer.close()
        engine.clear.close()
        assert engine.end()[1].startswith("smtpd: TLS: the processes that read from clients are not confined: ")
