# SPDX-License-Identifier: MIT
"""The log where standard error is the client: /dev/log, as inetd's services have it. A syslogd of
our own is there, or hangs, or is gone."""

import contextlib
import os
import re
import socket
import time

import pytest
from acceptor import Acceptor, Client
from session import command, environment, wait_until
from syslogd import inetd_session, syslogd

LINE = rb"<(\d+)>(\w{3} [ \d]\d \d\d:\d\d:\d\d) smtpd\[(\d+)\]: (.*)"


def fill(folder):
    """Nobody reads: its queue is full."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as us:
        us.connect(str(folder / "log"))
        us.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                us.send(b"full")


KINDS = {"datagrams": socket.SOCK_DGRAM, "stream": socket.SOCK_STREAM}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_format(smtpd, tmp_path, kind):
    """That of RFC 3164 and syslog(3). In a stream a NUL ends each."""
    with syslogd(tmp_path, kind) as (log, prefix):
        if kind == socket.SOCK_STREAM:
            log.listen()
        before = time.time()
        argv = [*prefix, *command(smtpd, "--strategy=exec", "--command=/bin/true")]
        with inetd_session(argv, tmp_path, env=environment(TZ="UTC-3")) as session:
            session.begin("EHLO")
            assert session.send_message(b"text\r\n").startswith(b"250 ") and session.end() == 0
            pid = session.pid
        if kind == socket.SOCK_STREAM:
            stream, _ = log.accept()
            with stream, stream.makefile("rb") as file:
                said = file.read()
            assert said.endswith(b"\0")
            lines = said[:-1].split(b"\0")
        else:
            lines = [log.recv(1 << 16) for _ in range(2)]
    found = [re.fullmatch(LINE, line).groups() for line in lines]
    assert [(priority, int(number), text.split()[0]) for priority, _, number, text in found] == [
        (b"22", pid, b"message"), (b"22", pid, b"session")]
    times = {time.strftime("%b %e %H:%M", time.gmtime(t + 3 * 3600)).encode()
             for t in (before, time.time())}
    assert {when[:-3] for _, when, _, _ in found} <= times


def test_hung_syslogd(smtpd, tmp_path):
    """It costs a session some seconds, once, and no client waits for ever."""
    with syslogd(tmp_path) as (log, prefix):
        fill(tmp_path)
        argv = [*prefix, *command(smtpd, "--strategy=exec", "--command=/bin/true")]
        with inetd_session(argv, tmp_path) as session:
            session.begin("EHLO")
            then = time.monotonic()
            for _ in range(3):
                assert session.send_message(b"text\r\n").startswith(b"250 ")
            assert session.end() == 0 and time.monotonic() - then < 10
        log.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                assert log.recv(1 << 16) == b"full"


def test_hung_syslogd_and_the_acceptor(smtpd, tmp_path):
    """Its log is what is full; it serves, and stops."""
    with syslogd(tmp_path) as (_, prefix), open(tmp_path / "shown", "wb") as shown:
        fill(tmp_path)
        prefix = [*prefix, "sh", "-c", 'exec "$@" 2>&-', "sh"]
        address = str(tmp_path / "socket")
        with Acceptor(smtpd, tmp_path, listen=address, prefix=prefix, wait=False,
                      stdout=shown) as acceptor:
            wait_until(lambda: os.path.exists(address), "the socket")
            wait_until(lambda: serves(address), "a session")
            then = time.monotonic()
            acceptor.stop()
            assert acceptor.status() == 0 and time.monotonic() - then < 10


def test_stream_that_nobody_accepts(smtpd, tmp_path):
    """connect(2) itself would wait there without end."""
    with syslogd(tmp_path, socket.SOCK_STREAM) as (log, prefix), contextlib.ExitStack() as stack:
        log.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX,
                                                            socket.SOCK_STREAM
                                                            | socket.SOCK_NONBLOCK))
                waiting.connect(str(tmp_path / "log"))
        argv = [*prefix, *command(smtpd, "--strategy=exec", "--command=/bin/true")]
        with inetd_session(argv, tmp_path) as session:
            then = time.monotonic()
            session.begin("EHLO")
            assert session.send_message(b"text\r\n").startswith(b"250 ")
            assert session.end() == 0 and time.monotonic() - then < 10


def serves(address):
    try:
        client = Client(address)
    except ConnectionRefusedError:
        return False
    with client:
        client.begin("EHLO")
        client.quit()
    return True


def test_syslogd_goes_away(smtpd, tmp_path):
    """That takes no time at all."""
    with syslogd(tmp_path) as (log, prefix):
        argv = [*prefix, *command(smtpd, "--strategy=exec", "--command=/bin/true")]
        with inetd_session(argv, tmp_path) as session:
            session.begin("EHLO")
            assert session.send_message(b"text\r\n").startswith(b"250 ")
            assert b": message " in log.recv(1 << 16)
            log.close()
            then = time.monotonic()
            assert session.send_message(b"text\r\n").startswith(b"250 ")
            assert session.end() == 0 and time.monotonic() - then < 5
