# SPDX-License-Identifier: MIT
"""Which processes the sandbox is around (src/sandbox.h), and from when on: sessions on every kind
of connection, transcripts, the acceptor, an old kernel. The build with sanitizers has no sandbox by
default: they need more than it allows."""

import fcntl
import os
import pty
import re
import socket
import subprocess

import pytest
from acceptor import Acceptor, folder
from conftest import BUILDS, need
from processes import children, descriptors, status_of
from sandbox import (CONFINED, FREE, LONG, MESSAGE, STRATEGIES, by, confined, confinement, folders,
                     limits_of_our_own, traced)
from session import (BEGIN, END, PATIENCE, Session, codes, command, environment, printed, run, stop,
                     tcp_pair, wait_until)
from upstream import Upstream

_ = folder, folders, limits_of_our_own  # fixtures


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_session_on_a_connection(release, folders, strategy):
    with confined(release, folders, strategy) as session:
        assert confinement(session.pid) == CONFINED
    with confined(release, folders, strategy, "--sandbox=no") as session:
        assert confinement(session.pid) == FREE


@pytest.mark.parametrize("kind", ["tcp4", "tcp6", "unix"])
def test_every_kind_of_connection(release, tmp_path, kind):
    pair = {"tcp4": lambda: tcp_pair(), "tcp6": lambda: tcp_pair(socket.AF_INET6),
            "unix": socket.socketpair}[kind]()
    with Session(command(release), tmp_path, pair) as session:
        session.begin("EHLO")
        assert confinement(session.pid) == CONFINED
        assert session.send_message(MESSAGE).startswith(b"250 ") and session.end() == 0


def greeted(argv, stdin, env):
    """Starts it, with a pipe to hear it by, and waits for its greeting."""
    process = subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               env=env)
    assert process.stdout.readline().startswith(b"220 ")
    return process


@pytest.mark.parametrize("kind, env", [
    ("pipe", {}),
    ("pipe", {"TCPREMOTEIP": "192.0.2.1"}),
    ("pipe", {"REMOTE_ADDR": "192.0.2.1"}),
    ("terminal", {}),
])
def test_waiting_for_whoever_types_is_confined(release, kind, env):
    """Also the conversation goes on behind it."""
    reader, writer = os.pipe() if kind == "pipe" else reversed(pty.openpty())
    process = greeted(command(release), reader, environment(**env))
    try:
        # comes after the greeting
        wait_until(lambda: confinement(process.pid) == CONFINED, "the sandbox")
        os.write(writer, b"NOOP\nQUIT\n" if kind == "terminal" else b"NOOP\r\nQUIT\r\n")
        assert [process.stdout.readline()[:4] for _ in range(2)] == [b"250 ", b"221 "]
        assert process.wait(PATIENCE) == 0
    finally:
        os.close(reader)
        os.close(writer)
        process.stdout.close()
        stop(process)


@pytest.mark.parametrize("is_cut", [False, True], ids=["whole", "cut"])
@pytest.mark.parametrize("n_before", [1000, 500_000], ids=["in-memory", "in-a-file"])
@pytest.mark.parametrize("strategy", ["print", "proxy-address", "proxy-name"])
def test_transcript_that_stalls(release, folders, strategy, n_before, is_cut):
    """In the middle of a message, of which the beginning stood ready: what then comes is read, and
    all of it delivered, behind the sandbox."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
    dialogue = b"EHLO c\nMAIL FROM:<a@example.org>\nRCPT TO:<b@example.com>\nDATA\n"
    os.write(writer, dialogue + LONG[:n_before])
    with Upstream() as up, open(folders / "err", "wb") as err:
        argv = command(release, "--x-peer=no", "--hostname=mx.example.com", *by(strategy, up))
        process = subprocess.Popen(argv, stdin=reader, stdout=subprocess.PIPE, stderr=err,
                                   env=environment(TMPDIR=str(folders / "spool")))
        try:
            os.close(reader)
            while not (line := process.stdout.readline()).startswith(b"354 "):
                assert line
            wait_until(lambda: confinement(process.pid) == CONFINED, "the sandbox")
            assert any("/spool/" in name
                       for name in descriptors(process.pid).values()) == (n_before > 100_000)
            rest = memoryview(LONG[n_before : len(LONG) // 2] if is_cut
                              else LONG[n_before:] + b".\nQUIT\n")
            while rest:
                rest = rest[os.write(writer, rest) :]
        finally:
            os.close(writer)
            said = process.stdout.read()
            process.stdout.close()
            stop(process)
        up.wait_until_over()
    found = printed((folders / "err").read_bytes()) + [message.text for message in up.messages]
    text = LONG.replace(b"\r\n", b"\n")
    if is_cut:
        assert b"250 " not in said and found == []
    else:
        assert codes(said) == [250, 221] and len(found) == 1 and found[0].endswith(text)


@pytest.mark.parametrize("kind, env, is_confined", [
    ("file", {"TCPREMOTEIP": "192.0.2.1"}, False),
    ("pipe", {}, False),
    ("pipe", {"TCPREMOTEIP": "192.0.2.1"}, True),
])
def test_what_stands_ready(release, tmp_path, kind, env, is_confined):
    """A transcript that is all there is not confined, but from a connection no octet is read
    before. (It is over too soon to be looked at.)"""
    (tmp_path / "session").write_bytes(b"QUIT\n")
    trace = [need("strace"), "-o", str(tmp_path / "trace"), "-e", "trace=prctl,read,exit_group"]
    with open(tmp_path / "session", "rb") as file:
        reader, writer = os.pipe()
        os.write(writer, file.read())
        file.seek(0)
        os.close(writer)
        subprocess.run([*trace, *command(release)], stdin=reader if kind == "pipe" else file,
                       stdout=subprocess.DEVNULL, check=True,
                       timeout=PATIENCE, env=environment(**env))
        os.close(reader)
    trace = (tmp_path / "trace").read_text()
    assert "exit_group" in trace
    assert all((word in trace) == is_confined for word in ("PR_SET_SECCOMP", "NO_NEW_PRIVS"))
    assert not is_confined or trace.index("PR_SET_SECCOMP") < trace.index('"QUIT')


def test_build_with_sanitizers_is_not_confined(tmp_path):
    with Session(command(str(BUILDS["sanitize"] / "smtpd")), tmp_path) as session:
        session.begin("greeting")
        assert confinement(session.pid) == FREE
        assert session.end() == 0


def test_acceptor_is_not_confined_but_its_sessions_are(release, folder):
    with Acceptor(release, folder) as acceptor:
        with acceptor.client("EHLO") as client:
            one, = acceptor.sessions()
            assert confinement(one) == CONFINED and confinement(acceptor.pid) == FREE
            assert client.send_message(MESSAGE) == b"250 2.0.0 printed"
            client.quit()


@pytest.mark.parametrize("strategy", ["print", "proxy-address", "proxy-name"])
@pytest.mark.parametrize("call, error",
                         [("prctl", "EINVAL"), ("prctl", "EPERM"), ("prlimit64", "EPERM")])
def test_old_kernel(release, tmp_path, strategy, call, error):
    """Or a sandbox around us. What cannot be had is left out, and the session's line says so."""
    argv = [*traced(f"-einject={call}:error={error}"), "-e", "signal=none"]
    with (Upstream() as up,
          Session([*argv, *command(release, *by(strategy, up))], tmp_path) as session):
        session.begin("EHLO")
        one, = children(session.pid)
        assert (status_of(one, "Seccomp") == 2) == (call == "prlimit64")
        assert session.send_message(MESSAGE).startswith(b"250 ") and session.end() == 0
        said = re.sub(re.escape(BEGIN) + b".*" + re.escape(END), b"", session.err(), flags=re.S)
    assert re.fullmatch(rb"smtpd: message [^\n]*\nsmtpd: session [^\n]*\n", said)
    assert (b" confined=no " in said) == (call == "prctl")


def test_choice_of_none_is_in_the_log(release, tmp_path):
    """A transcript is its user's own, and has none by itself."""
    with Session(command(release, "--sandbox=no"), tmp_path) as session:
        session.begin("EHLO")
        assert session.end() == 0
        assert b" confined=no " in session.err()
    _, _, err = run(command(release, "--sandbox=no"), b"QUIT\r\n")
    assert b"session " in err and b"confined" not in err
