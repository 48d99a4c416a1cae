# SPDX-License-Identifier: MIT
"""A session behind its sandbox (src/sandbox.h) lacks nothing: long messages, upstreams, names, the
log, little memory. In all other tests of the release build sessions on sockets are confined too:
here is what is not tested there, or was near to fail. The helper of strategy journal is in
test_journal.py."""

import contextlib
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest
from conftest import need
from processes import children, descriptors, status_of
from sandbox import (CONFINED, LONG, MESSAGE, STRATEGIES, by, confinement, folders,
                     limits_of_our_own, tools, traced)
from session import PATIENCE, Session, command, environment, stop, tcp_pair, wait_until
from upstream import Upstream, close
from world import World

_ = folders, limits_of_our_own, tools  # fixtures


@pytest.mark.parametrize("strategy", ["print", "proxy-address", "proxy-name"])
@pytest.mark.parametrize("spool", ["TMPDIR", "usual", "no-O_TMPFILE"])
def test_long_message(release, folders, tools, strategy, spool):
    """What does not fit into memory goes to a file, and stays there if the file system has no
    nameless ones."""
    env = environment(TMPDIR=str(folders / "spool"))
    if spool == "usual":
        del env["TMPDIR"]
    if spool == "no-O_TMPFILE":
        env |= {"LD_PRELOAD": str(tools / "preload.so"), "NO_TMPFILE": "1"}
    with (Upstream() as up,
          Session(command(release, "--x-peer=no", *by(strategy, up)), folders, env=env) as session):
        session.begin("DATA")
        assert confinement(session.pid) == CONFINED
        session.say(LONG)
        name = {"TMPDIR": f"{folders}/spool/#", "usual": ("/var/tmp/#", "/memfd:"),
                "no-O_TMPFILE": "/memfd:"}[spool]
        wait_until(lambda: any(one.startswith(name) for one in descriptors(session.pid).values()),
                   "the file")
        session.say(b".\r\n")
        assert session.reply().startswith(b"250 ") and session.end() == 0
        found = session.messages() + [message.text for message in up.messages]
    text = LONG.replace(b"\r\n", b"\n")
    assert len(found) == 1 and found[0].endswith(text)
    assert os.listdir(folders / "spool") == ["file"]


@pytest.mark.parametrize("strategy", ["print", "proxy-name"])
def test_longest_message(release, tmp_path, strategy):
    """32 MiB, and an octet more."""
    longest = 32 << 20
    with (Upstream(extensions=[]) as up,
          Session(command(release, *by(strategy, up)), tmp_path) as session):
        session.begin("EHLO")
        for more, verdict in ((0, b"250 "), (1, b"552 5.3.4 ")):
            line = b"x" * 1022 + b"\r\n"
            message = line * (longest // len(line) - 1) + b"x" * (1022 + more) + b"\r\n"
            assert session.send_message(message).startswith(verdict)
        assert session.end() == 0


@pytest.mark.parametrize("strategy", ["proxy-address", "proxy-name"])
def test_upstream_that_is_lost(release, tmp_path, strategy):
    """The first one cannot be reached, the next hangs up in the middle, and is connected to again;
    it is told of the client."""
    with Upstream({"DATA": close}, {}, extensions=("PIPELINING", "XCLIENT ADDR PORT NAME")) as up:
        nobody = {"proxy-address": "127.0.0.1:1", "proxy-name": "localhost:1"}[strategy]
        argv = command(release, *by(strategy, up), "--xclient=yes")
        argv[-2] = argv[-2].replace("=", f"={nobody},", 1)
        with Session(argv, tmp_path, tcp_pair()) as session:
            session.begin("EHLO")
            assert session.send_message(MESSAGE).startswith(b"250 ") and session.end() == 0
        up.wait_until_over()
        assert len(up.connections) == 2 and len(up.messages) == 1
        assert all(any(line.startswith(b"XCLIENT ADDR=127.0.0.1") for line in c.commands)
                   for c in up.connections)


def test_upstream_with_ipv6(release, tmp_path):
    with (Upstream(family=socket.AF_INET6) as up,
          Session(command(release, *by("proxy-address", up)), tmp_path) as session):
        session.begin("EHLO")
        assert session.send_message(MESSAGE).startswith(b"250 ") and session.end() == 0


def test_upstream_with_an_interface(release, tmp_path):
    """A link-local address: nobody has it here, and that is all."""
    with Session(command(release, "--strategy=proxy", "--upstream=[fe80::1%lo]:1"),
                 tmp_path) as session:
        session.begin("EHLO")
        session.expect((b"MAIL FROM:<a@example.org>", b"451 4.4.1"))
        assert session.end() == 0


class NameServer:
    """DNS at 127.0.0.1, port 53, of a World: every name has that address, and no IPv6 one.
    Remembers what it was asked."""

    def __init__(self, world):
        self.socket = world.in_network(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.socket.bind(("127.0.0.1", 53))
        self.asked = []
        self.thread = threading.Thread(target=self.serve)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.sendto(b"", self.socket.getsockname())  # ends it
        self.thread.join()
        self.socket.close()

    def serve(self):
        while True:
            with contextlib.suppress(OSError):
                query, client = self.socket.recvfrom(4096)
                if not query:
                    return
                end = query.index(b"\0", 12) + 5
                name, (kind,) = query[12 : end - 4], struct.unpack("!H", query[end - 4 : end - 2])
                self.asked.append(name)
                answer = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60,
                                                   4) + bytes([127, 0, 0, 1]) if kind == 1 else b""
                header = query[:2] + struct.pack("!HHHHH", 0x8580, 1, 1 if answer else 0, 0, 0)
                self.socket.sendto(header + query[12:end] + answer, client)


@pytest.mark.parametrize("servers", ["127.0.0.1", "fe80::1%lo 127.0.0.1"],
                         ids=["one", "link-local"])
def test_upstream_by_a_name_of_dns(release, tmp_path, servers):
    """A router may be one of the name servers: of its address the interface is a part, for which
    the kernel is asked."""
    with World(tmp_path, release) as world:
        lines = [f"nameserver {server}\n" for server in servers.split()]
        world.write("/etc/resolv.conf", "".join(lines) + "options attempts:1 timeout:1\n")
        world.write("/etc/nsswitch.conf", "hosts: files dns\n")
        with NameServer(world) as dns, world.in_network(Upstream) as up:
            argv = world.inside(*command(release, "--strategy=proxy",
                                         f"--upstream=mail.example.net:{up.port}"))
            with Session(argv, tmp_path) as session:
                session.begin("EHLO")
                assert confinement(session.pid) == CONFINED
                assert session.send_message(MESSAGE).startswith(b"250 ") and session.end() == 0
            assert len(up.messages) == 1
        assert b"\4mail\7example\3net\0" in dns.asked


@pytest.mark.parametrize("zone", ["/etc/localtime", "/etc/zone"], ids=["usual", "TZ"])
@pytest.mark.parametrize("strategy", ["proxy-address", "proxy-name"])
def test_log_to_syslog(release, tmp_path, strategy, zone):
    """Under inetd: standard error is the client. The log has the local time; a session survives the
    end of syslogd."""
    with World(tmp_path, release) as world, world.in_network(Upstream) as up:
        with open(world.path(zone), "wb") as file:
            file.write(tz_file(9 * 3600))
        argv, (ours, theirs) = world.inside(*command(release, *by(strategy, up))), tcp_pair()
        env = environment(**({"TZ": ":/etc/zone"} if zone == "/etc/zone" else {}))
        before = time.time()
        with Session(argv, tmp_path, (ours, theirs), err=theirs, env=env) as session:
            session.begin("EHLO")
            assert confinement(session.pid) == CONFINED
            assert session.send_message(MESSAGE).startswith(b"250 ")
            line, = (line for line in world.syslog(b"smtpd[%d]: message " % session.pid)
                     if b": message " in line)
            hours = [time.strftime("%b %e %H", time.gmtime(t + 9 * 3600)).encode()
                     for t in (before, time.time())]
            assert re.match(rb"<22>(.*?):", line)[1] in hours
            # syslogd ends: no session makes a socket to the next one
            os.unlink(world.path("/dev/log"))
            world.log.shutdown(socket.SHUT_RDWR)
            world.listener.join()
            assert session.send_message(MESSAGE).startswith(b"250 ") and session.end() == 0


def tz_file(offset):
    """A time zone that is so many seconds east, always: tzfile(5)."""
    def part(long):
        return struct.pack(
            "!4sc15x6l", b"TZif", b"2", 0, 0, 0, 0, 1, 4) + struct.pack("!lBB", offset, 0,
                                                                        0) + b"XST\0"
    return part(4) + part(8) + b"\n<XST>-%d\n" % (offset // 3600)


def test_status_for_systemd(release, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        with Session(command(release), tmp_path,
                     env=environment(NOTIFY_SOCKET=str(tmp_path / "notify"))) as session:
            session.begin("EHLO")
            assert confinement(session.pid) == CONFINED
            assert session.send_message(MESSAGE).startswith(b"250 ") and session.end() == 0
        said = [manager.recv(4096) for _ in range(5)]
        assert [word for line in said for word in (b"waiting", b"receiving", b"delivering")
                if word in line] == [
            b"waiting", b"waiting", b"receiving", b"delivering", b"waiting"]


@pytest.mark.parametrize("strategy", ["proxy-address", "proxy-name"])
def test_no_memory(release, tmp_path, strategy):
    """What is short is answered as ever, not taken for an attack."""
    with Upstream() as up, Session(command(release, *by(strategy, up)), tmp_path) as session:
        session.begin("greeting")
        now = status_of(session.pid, "VmSize") * 1024
        resource.prlimit(session.pid, resource.RLIMIT_AS, (now, now))
        resource.prlimit(session.pid, resource.RLIMIT_DATA, (0, 0))
        assert session.ask(b"EHLO client.example.org").startswith(b"250-")
        assert session.ask(b"MAIL FROM:<a@example.org>")[:3] in (b"250", b"451")
        session.expect((b"RSET", b"250 "))
        assert session.end() == 0


@pytest.mark.parametrize("strategy", ["print", "proxy-address", "proxy-name"])
def test_assertion_that_fails(release, folders, tools, strategy):
    """It says what failed, and ends by abort(3), as such things do."""
    env = environment(LD_PRELOAD=str(tools / "preload.so"), FAILS="1")
    with Session(command(release, *STRATEGIES[strategy]), folders, env=env) as session:
        assert session.read_to_end().startswith(b"220 ")
        assert session.process.wait(PATIENCE) == -signal.SIGABRT
        assert b"Assertion `" in session.err()


def test_under_strace(release, tmp_path):
    with Session([*traced(), *command(release)], tmp_path) as session:
        session.begin("EHLO")
        assert confinement(*children(session.pid))
        assert session.send_message(MESSAGE) == b"250 2.0.0 printed" and session.end() == 0


def test_strace_comes_later(release, tmp_path):
    with Session(command(release), tmp_path) as session:
        session.begin("EHLO")
        tracer = subprocess.Popen([need("strace"), "-o", "/dev/null", "-p", str(session.pid)],
                                  stdin=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: status_of(session.pid, "TracerPid") == tracer.pid, "strace")
            assert session.send_message(MESSAGE) == b"250 2.0.0 printed" and session.end() == 0
            assert tracer.wait(PATIENCE) == 0
        finally:
            stop(tracer)
