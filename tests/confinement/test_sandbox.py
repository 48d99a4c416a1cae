# SPDX-License-Identifier: MIT
"""A session on a connection confines itself (src/sandbox.h, smtpd(8) "Sandbox"): what an intruder
in it can still do. The helper tests/sandbox.d/inject.c makes a session perform a system call of our
choice; the calls are in tests/lib/sandbox.py."""

import os
import signal
import subprocess

import pytest
from acceptor import Acceptor, folder
from conftest import ROOT, need
from engine import Engine
from processes import descriptors
from sandbox import (CALLS, MESSAGE, STRATEGIES, confined, folders, inject, limits_of_our_own,
                     perform, tools)
from session import PATIENCE, wait_until

_ = folder, folders, inject, limits_of_our_own, tools  # fixtures


def check(session, folders, inject, call):
    """It dies, or goes on as if nothing had been."""
    got, outcome = perform(inject, session.pid, folders, call)
    assert got in outcome.split()
    if outcome == "dies":
        assert session.process.wait(PATIENCE) == -signal.SIGSYS and session.read_to_end() == b""
    else:
        session.expect((b"NOOP", b"250 "))
        assert session.end() == 0


@pytest.mark.parametrize("call", CALLS)
def test_system_call(release, folders, inject, call):
    with confined(release, folders, "exec") as session:
        check(session, folders, inject, call)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_system_calls_of_all_strategies(release, folders, inject, strategy):
    """The list is the same: what is dangerous is tried with each."""
    for call in ("execve", "fork", "ptrace", "open-proc-mem", "pidfd_getfd", "kill", "socket-inet",
                 "socket-unix", "connect-client",
                 "connect-dissolve", "read-etc", "write-spool", "unlink", "rename",
                 "dup2-onto-client", "dup2-onto-output",
                 "sendto-address", "sendmsg-log", "nameless-spool", "getpid"):
        with confined(release, folders, strategy) as session:
            check(session, folders, inject, call)


# The socket of a TLS engine is shared by all sessions: requests go there, and it stays what and as
# it is.
CALLS_OF_TLS = {
    "sendmsg":        ("46 REQUEST 0 0", "EFAULT"),
    "sendmsg-other":  ("46 0 0 0", "dies"),
    "sendto-address": (f"44 REQUEST =x 1 0 :{'01002f78' + '00' * 12} 16", "dies"),
    "close":          ("3 REQUEST", "dies"),
    "close-other":    ("3 SPARE", "EBADF"),
    "shutdown":       ("48 REQUEST 1", "dies"),
    "dup2-onto-it":   ("33 2 REQUEST", "dies"),
    "dup3-onto-it":   ("292 2 REQUEST 0x80000", "dies"),
    "flags":          ("72 REQUEST 4 0x800", "dies"),
    "owner":          ("72 REQUEST 8 OTHER", "dies"),
    "connect":        (f"42 REQUEST :{'00' * 16} 16", "dies"),
}


@pytest.mark.parametrize("call", CALLS_OF_TLS)
@pytest.mark.parametrize("strategy", ["print", "exec"])
def test_system_call_on_an_engine(release, folders, inject, strategy, call):
    """Where there is a broker, its socket is another one."""
    with (Engine(folders) as engine,
          confined(release, folders, strategy, *engine.options()) as session):
        wait_until(lambda: engine.accepted, "the session")
        words, outcome = CALLS_OF_TLS[call]
        fds = sorted(fd for fd,
                     name in descriptors(session.pid).items() if fd > 2
                     and name.startswith("socket:"))
        assert len(fds) == 1 + (strategy == "exec")  # the engine's comes first
        for name, value in {"REQUEST": fds[0], "OTHER": os.getpid(), "SPARE": 62}.items():
            words = words.replace(name, str(value))
        assert inject(session.pid, *words.split()) == outcome
        if outcome == "dies":
            assert session.process.wait(PATIENCE) == -signal.SIGSYS
        else:
            session.expect((b"NOOP", b"250 "))
            assert session.end() == 0


def test_acceptor_survives_a_session_that_is_killed(release, folder, inject):
    """It says so and goes on; that client hears nothing, and still has its message."""
    with Acceptor(release, folder) as acceptor:
        with acceptor.client("DATA") as client:
            one, = acceptor.sessions()
            other = acceptor.client("EHLO")
            client.say(MESSAGE)
            assert inject(one, 59, "=/bin/sh", 0, 0) == "dies"
            assert client.read_to_end() == b""
        with other:
            assert other.send_message(MESSAGE) == b"250 2.0.0 printed"
            other.quit()
        acceptor.serve_one()
        line, = acceptor.log("the session of process")
        assert b"process %d ended by signal %d " % (one, signal.SIGSYS) in line
        assert len(acceptor.messages()) == 2


def test_build_for_debugging_names_the_call(tmp_path, folders, inject):
    """-Dsandbox-debug=true: for who writes a strategy."""
    build = tmp_path / "build"
    for argv in (["setup", "-Dsandbox-debug=true", build, ROOT], ["compile", "-C", build, "smtpd"]):
        subprocess.run([need("meson"), *argv], stdout=subprocess.DEVNULL, check=True, timeout=300)
    for call, name in (("execve", "execve"), ("unlink", "unlink"), ("dup2-onto-client", "dup2")):
        with confined(build / "smtpd", folders, "print") as session:
            perform(inject, session.pid, folders, call)
            session.ours.close()
            assert session.process.wait(PATIENCE) == -signal.SIGSYS
            assert session.err().endswith(
                b"smtpd: the sandbox stopped the system call %s\n" % name.encode())
