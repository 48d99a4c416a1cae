# SPDX-License-Identifier: MIT
"""A session on a connection confines itself (src/sandbox.h, smtpd(8) "Sandbox"): what an intruder
in it can still do, and that the session itself lacks nothing. The helper tests/sandbox.d/inject.c
makes a session perform a system call of our choice. The build with sanitizers has no sandbox by
default: they need more than it allows."""

import contextlib
import errno
import fcntl
import os
import pty
import re
import resource
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest
from acceptor import Acceptor, folder
from conftest import BUILDS, ROOT, missing, need
from engine import Engine
from processes import children, descriptors, status_of
from session import (BEGIN, END, PATIENCE, Session, codes, command, environment, printed, run, stop,
                     tcp_pair, wait_until)
from upstream import Upstream, close
from world import World

_ = folder  # a fixture

MESSAGE = b"Subject: x\r\n\r\ntext\r\n"
LONG = b"Subject: x\r\n\r\n" + b"0123456789abcdef" * 4 * 50_000 + b"\r\n"  # it has to go to a file


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """The compiled helpers."""
    folder = tmp_path_factory.mktemp("sandbox")
    source = ROOT / "tests/sandbox.d"
    subprocess.run([need("cc"), "-O1", "-D_GNU_SOURCE", "-o", folder / "inject",
                    source / "inject.c"], check=True)
    subprocess.run([need("cc"), "-shared", "-fPIC", "-U_FORTIFY_SOURCE", "-D_GNU_SOURCE", "-o",
                    folder / "preload.so",
                    source / "preload.c"], check=True)
    return folder


class Injector:
    def __init__(self, program):
        self.program = program

    def __call__(self, pid, *words):
        """What came of a system call in that process: "dies", "ok", or the name of an errno."""
        done = subprocess.run([self.program, str(pid), *map(str, words)], capture_output=True,
                              timeout=PATIENCE, check=False)
        if done.returncode == 77:
            missing(f"no system call can be injected: {done.stderr.decode()}")
        assert done.returncode == 0, done.stderr
        how, number = done.stdout.split()
        number = int(number)
        if how == b"killed":
            assert number == signal.SIGSYS
            return "dies"
        return "ok" if number >= 0 or number < -4095 else errno.errorcode[-number]


@pytest.fixture
def inject(tools):
    return Injector(tools / "inject")


# --- the specification ----------------------------------------------------------------------------

STRATEGIES = {  # the options; all have the same sandbox
    "print": ["--strategy=print"],
    "show": ["--strategy=show"],
    "proxy-address": ["--strategy=proxy", "--upstream=127.0.0.1:1,[::1]:1,/nonexistent"],
    "proxy-name": ["--strategy=proxy", "--upstream=127.0.0.1:1,localhost:1"],
    "mailman-3": ["--strategy=mailman", "--upstream=127.0.0.1:1"],
    "mailman-3-name": ["--strategy=mailman", "--mailman=localhost:1"],
    "journal": ["--strategy=journal"],
    "maildir": ["--strategy=maildir", "--maildir=/tmp"],
    "exec": ["--strategy=exec", "--command=/bin/true"],
    "mailman-2.1": ["--strategy=mailman", "--mailman-wrapper=/bin/true", "--mailman-lists=/"],
}

READ, WRITE, RDWR = 0, 1, 2
CREAT, EXCL, TRUNC, TMPFILE, CLOEXEC = 0o100, 0o200, 0o1000, 0o20200000, 0o2000000
HERE = -100  # AT_FDCWD

# The numbers are those of x86-64. After "=" is a string, after ":" are octets. SPOOL is the folder
# for long messages, ELSEWHERE another one; both have a file. Processes: PID is the session, OTHER
# is not. Descriptors: REQUEST is the socket to the broker, SPARE is not open. Second is what comes
# of it: "dies", or the results of a call that is allowed, or refused.
CALLS = {
    "execve":             ("59 =/nonexistent 0 0", "dies"),
    "execveat":           (f"322 {HERE} =/nonexistent", "dies"),
    "fork":               ("57", "dies"),
    "vfork":              ("58", "dies"),
    "clone":              ("56 17", "dies"),
    "clone-thread":       ("56 0x10000", "dies"),
    "clone3":             ("435 0 0", "dies"),
    "mmap-code":          ("9 0 4096 5 0x22 -1", "dies"),
    "mmap":               ("9 0 4096 3 0x22 -1", "ok"),
    "mprotect-code":      ("10 0 0 5", "dies"),
    "mprotect":           ("10 0 0 3", "ok"),

    "open":               ("2 =/etc/passwd 0", "dies"),
    "creat":              ("85 =SPOOL/creat 0x180", "dies"),
    "openat2":            (f"437 {HERE} =/etc/passwd :{'00' * 24} 24", "dies"),
    "read-etc":           (f"257 {HERE} =/etc/passwd 0", "dies"),
    "read-elsewhere":     (f"257 {HERE} =ELSEWHERE/file 0", "dies"),
    "list-elsewhere":     (f"257 {HERE} =ELSEWHERE 0x10000", "dies"),
    "read-spool":         (f"257 {HERE} =SPOOL/file 0", "dies"),
    "write-spool":        (f"257 {HERE} =SPOOL/file {WRITE}", "dies"),
    "write-elsewhere":    (f"257 {HERE} =ELSEWHERE/file {RDWR}", "dies"),
    "open-odd-mode":      (f"257 {HERE} =SPOOL/file 3", "dies"),
    "open-or-create":     (f"257 {HERE} =SPOOL/file {RDWR | CREAT} 0x180", "dies"),
    "truncate-open":      (f"257 {HERE} =SPOOL/file {TRUNC}", "dies"),
    "nameless-spool":     (f"257 {HERE} =SPOOL {RDWR | TMPFILE | CLOEXEC} 0x180", "ok"),
    "nameless-elsewhere": (f"257 {HERE} =ELSEWHERE {RDWR | TMPFILE | CLOEXEC} 0x180", "ok"),
    "new-spool":          (f"257 {HERE} =SPOOL/new {RDWR | CREAT | EXCL} 0x180", "dies"),
    "new-elsewhere":      (f"257 {HERE} =ELSEWHERE/new {RDWR | CREAT | EXCL} 0x180", "dies"),
    "new-existing":       (f"257 {HERE} =SPOOL/file {RDWR | CREAT | EXCL} 0x180", "dies"),
    "memfd_create":       ("319 =x 0", "ok"),

    "truncate":           ("76 =SPOOL/file 0", "dies"),
    "rename":             ("82 =ELSEWHERE/file =ELSEWHERE/file2", "dies"),
    "link":               ("86 =ELSEWHERE/file =ELSEWHERE/file2", "dies"),
    "symlink":            ("88 =x =ELSEWHERE/link", "dies"),
    "mkdir":              ("83 =ELSEWHERE/new 0x1c0", "dies"),
    "unlink":             ("87 =ELSEWHERE/file", "dies"),
    "chmod":              ("90 =SPOOL/file 0x180", "dies"),
    "fchmodat":           (f"268 {HERE} =SPOOL/file 0x180", "dies"),
    "chown":              ("92 =SPOOL/file -1 -1", "dies"),
    "utimensat":          (f"280 {HERE} =SPOOL/file 0 0", "dies"),
    "setxattr":           ("188 =SPOOL/file =user.x 0 0 0", "dies"),
    "open_by_handle_at":  ("304 -1 0 0", "dies"),

    "socket-inet":        ("41 2 1 0", "EPERM"),
    "socket-inet6":       ("41 10 1 0", "EPERM"),
    "socket-unix":        ("41 1 1 0", "EPERM"),
    "socket-netlink":     ("41 16 3 0", "EPERM"),
    "socket-packet":      ("41 17 3 0", "EPERM"),
    "connect":            (f"42 -1 :{'00' * 16} 16", "dies"),
    "connect-client":     (f"42 0 :{'00' * 16} 16", "dies"),
    "bind":               (f"49 -1 :{'00' * 16} 16", "dies"),
    "listen":             ("50 -1 1", "dies"),

    "ptrace":             ("101 2 0", "dies"),
    "kill":               ("62 0 0", "dies"),
    "tkill":              ("200 PID 0", "dies"),
    "tgkill":             ("234 PID PID 0", "ok"),
    "tgkill-other":       ("234 OTHER OTHER 0", "dies"),
    "rt_sigqueueinfo":    ("129 PID 0 0", "dies"),
    "pidfd_send_signal":  ("424 -1 0 0 0", "dies"),
    "pidfd_getfd":        ("438 -1 0 0", "dies"),
    "fcntl-owner":        ("72 0 8 OTHER", "dies"),
    "fcntl-signal":       ("72 0 10 9", "dies"),
    "fcntl-owner-ex":     ("72 0 15 :0100000001000000", "dies"),
    "fcntl-flags":        ("72 0 3", "ok"),
    "ioctl-owner":        ("16 0 0x8901 0", "dies"),
    "ioctl-type":         ("16 2 0x5412 =x", "dies"),
    "process_vm_readv":   ("310 0", "dies"),
    "process_vm_writev":  ("311 0", "dies"),
    "io_uring_setup":     ("425 0 0", "dies"),
    "mount":              ("165 =none =/nonexistent =tmpfs", "dies"),
    "bpf":                ("321 -1 0 0", "dies"),
    "setuid":             (f"105 {os.getuid()}", "dies"),
    "setresuid":          ("117 -1 -1 -1", "dies"),
    "unshare":            ("272 0", "dies"),
    "setns":              ("308 -1 0", "dies"),

    "getpid":             ("39", "ok"),
    "gettid":             ("186", "ok"),  # abort(3) asks
    "getpid-32-bit":      ("int80 20", "dies"),
    "getpid-x32":         ("x32 39", "dies"),
    "no-such-call":       ("511", "dies"),
    "fcntl-set-flags":    ("72 0 4 0x800", "dies"),
    "fcntl-descriptor":   ("72 0 1030 0", "dies"),
    "dup":                ("32 2", "dies"),
    "dup2-onto-client":   ("33 2 0", "dies"),
    "dup2-onto-output":   ("33 2 1", "dies"),
    "dup3-onto-client":   ("292 2 0 0", "dies"),
    "dup2-onto-request":  ("33 2 REQUEST", "dies"),
    "close-request":      ("3 REQUEST", "dies"),
    "close-other":        ("3 SPARE", "EBADF"),
    "close_range":        ("436 0 100 0", "dies"),
    "accept":             ("43 0 0 0", "dies"),
    "accept4":            ("288 0 0 0 0", "dies"),
    "socketpair":         ("53 1 1 0 0", "dies"),
    "socketpair-stream":  ("53 1 0x80001 0 0", "EFAULT"),
    "socketpair-dgram":   ("53 1 0x80002 0 0", "dies"),
    "socketpair-packet":  ("53 1 0x80005 0 0", "dies"),
    "socketpair-inet":    ("53 2 0x80001 0 0", "dies"),
    "socketpair-tipc":    ("53 30 0x80001 0 0", "dies"),
    "connect-dissolve":   (f"42 1 :{'00' * 16} 16", "dies"),
    "sendto-address":     (f"44 2 =x 1 0 :{'01002f78' + '00' * 12} 16", "dies"),
    "sendto-no-address":  ("44 SPARE =x 1 0x4000 0 0", "EBADF"),
    "sendmsg":            ("46 0 0 0", "dies"),
    "sendmsg-log":        ("46 2 0 0", "dies"),
    "sendmmsg":           ("307 0 0 0 0", "dies"),
    "shutdown-log":       ("48 2 2", "dies"),
    "shutdown-client":    ("48 0 9", "EINVAL"),
    "setsockopt":         ("54 0 1 9 0 0", "dies"),
    "open-path":          (f"257 {HERE} =ELSEWHERE {0o10000000 | TMPFILE | RDWR | CLOEXEC}",
                           "dies"),
    "open-proc-mem":      (f"257 {HERE} =/proc/OTHER/mem {RDWR}", "dies"),
    "link-to-name":       (f"265 3 = {HERE} =SPOOL/name 0x1000", "dies"),
    "renameat":           (f"264 {HERE} =SPOOL/file {HERE} =SPOOL/file2", "dies"),
    "unlinkat":           (f"263 {HERE} =SPOOL/file 0", "dies"),
    "pidfd_open":         ("434 OTHER 0", "dies"),
    "prctl":              ("157 4 1 0 0 0", "dies"),
    "prlimit64":          ("302 0 7 0 0", "dies"),
    "seccomp":            ("317 0 0 0", "dies"),
    "waitid":             ("247 0 0 0 4 0", "dies"),
}


@pytest.fixture
def folders(tmp_path):
    for name in ("spool", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("precious")
    return tmp_path


def has_helper(options):
    for name, library in (("journal", "libsystemd"), ("show", "GMime")):
        if f"--strategy={name}" in options and not (BUILDS["release"] / f"smtpd-{name}").exists():
            missing(f"smtpd-{name} was not built: {library} is missing")


@contextlib.contextmanager
def confined(release, folders, strategy, *more, **given):
    """A session that waits for its client's first word."""
    options = STRATEGIES[strategy]
    has_helper(options)
    with Session(command(release, *options, *more), folders,
                 env=environment(TMPDIR=str(folders / "spool")), **given) as session:
        session.begin("greeting")
        wait_until(lambda: "--sandbox=no" in more or confinement(session.pid) == CONFINED,
                   "the sandbox")
        yield session


def request_socket(pid):
    """The number of the socket to the broker: the only one with a number above those of standard
    streams. A number that is not open, without a broker."""
    return max((fd for fd,
                name in descriptors(pid).items() if fd > 2 and name.startswith("socket:")),
               default=63)


def perform(inject, pid, folders, call):
    """Has that process make the call: what came of it, and what has to."""
    words, outcome = CALLS[call]
    for name, value in {"SPOOL": folders / "spool", "ELSEWHERE": folders / "elsewhere", "PID": pid,
                        "OTHER": os.getpid(),
                        "REQUEST": request_socket(pid), "SPARE": 62}.items():
        words = words.replace(name, str(value))
    return inject(pid, *words.split()), outcome


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


# --- who is confined ------------------------------------------------------------------------------


def confinement(pid):
    """(new privileges are impossible, system calls are filtered, there are no core files, and few
    descriptors)"""
    limits = Path(f"/proc/{pid}/limits").read_text()
    names = "Max core file size", "Max open files"
    core, files = (re.search(rf"^{name} +(\S+) +(\S+)", limits, re.M).groups() for name in names)
    return status_of(
        pid, "NoNewPrivs") == 1, status_of(pid, "Seccomp") == 2, core == ("0", "0"), files in FEW


# with an upstream or Mailman one more for each of 100 recipients
FEW = ("64", "64"), ("164", "164")
CONFINED, FREE = (True,) * 4, (False,) * 4


@pytest.fixture(autouse=True)
def limits_of_our_own():
    """What a session gives up must be there before."""
    core = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if status_of(os.getpid(), "NoNewPrivs") or status_of(os.getpid(), "Seccomp") or core == 0:
        missing("these tests are confined themselves")


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


# --- it lacks nothing -----------------------------------------------------------------------------

# In all other tests of the release build sessions on sockets are confined too: here is what is not
# tested there, or was near to fail. The helper of strategy journal is in test_journal_*.py.


def by(strategy, up):
    """Options for an upstream by address or by name."""
    if strategy == "print":
        return []
    return ["--strategy=proxy",
            f"--upstream={up.endpoint if strategy == 'proxy-address' else f'localhost:{up.port}'}"]


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


def traced(*options):
    return [need("strace"), "-f", "-o", "/dev/null", *options]


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


# --- what the kernel has not ----------------------------------------------------------------------


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
