# SPDX-License-Identifier: MIT
"""Sessions behind the sandbox (src/sandbox.h), and system calls that they are made to perform, by
the helper tests/sandbox.d/inject.c: what each call is, and what comes of it."""

import contextlib
import errno
import os
import re
import resource
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import BUILDS, ROOT, missing, need
from processes import descriptors, status_of
from session import PATIENCE, Session, command, environment, wait_until

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


def by(strategy, up):
    """Options for an upstream by address or by name."""
    if strategy == "print":
        return []
    return ["--strategy=proxy",
            f"--upstream={up.endpoint if strategy == 'proxy-address' else f'localhost:{up.port}'}"]


def traced(*options):
    return [need("strace"), "-f", "-o", "/dev/null", *options]
