# SPDX-License-Identifier: MIT
"""smtpd accepting connections, and clients of it. All waits are bounded, and nothing is left
running."""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from conftest import missing, need
from processes import running_children
from session import PATIENCE, PYTHON, STAY, Session, command, environment, printed, stop, wait_until

LISTENING = re.compile(rb"^smtpd: listening address=(\S+)(?: name=(\S+))? strategy=\S+ config=.+$",
                       re.M)
NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}

# What a program is started with that a shell cannot arrange: descriptors at given numbers,
# variables, signals.
STARTER = """
import os, signal, sys
fds, signals, argv = eval(sys.argv[1]), sys.argv[2], sys.argv[3:]
for fd, number in fds.items():
    os.dup2(fd, number)
if "LISTEN_FDS" in os.environ:
    os.environ["LISTEN_PID"] = str(os.getpid())
if signals == "blocked":
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM) if signals == "ignored" else ():
    signal.signal(number, signal.SIG_IGN)
os.execv(argv[0], argv)
"""


@pytest.fixture
def folder():
    """For files of users without privileges, who cannot reach into tmp_path."""
    with tempfile.TemporaryDirectory(prefix="smtpd-acceptor.") as name:
        os.chmod(name, 0o1777)
        yield Path(name)


@contextlib.contextmanager
def network():
    """Within it this process, and what it starts, is in a network of its own, with loopback
    only."""
    libc = ctypes.CDLL(None, use_errno=True)
    clone_newnet = 0x40000000
    ip = need("ip")
    with open("/proc/self/ns/net") as before:
        if libc.unshare(clone_newnet) != 0:
            missing(f"a network namespace cannot be had: {os.strerror(ctypes.get_errno())}")
        try:
            subprocess.run([ip, "link", "set", "lo", "up"], check=True)
            yield lambda address: subprocess.run([ip, "address", "add", address, "dev", "lo",
                                                  "nodad"], check=True)
        finally:
            assert libc.setns(before.fileno(), clone_newnet) == 0


@contextlib.contextmanager
def effective_user(uid):
    """Connections to local sockets are made as this user."""
    before = os.geteuid()
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(before)


def connect(address, source=None):
    """To what the log says: 127.0.0.1:25, [::1]:25 or /socket."""
    if address.startswith("/"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(address)
        return sock
    host, port = address.rsplit(":", 1)
    sock = socket.create_connection((host.strip("[]"), int(port)), PATIENCE, source and (source, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def is_refused(address):
    try:
        connect(address).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    return False


def read_all(sock):
    """Up to the end of the connection; a reset is a failure."""
    sock.settimeout(PATIENCE)
    said = b""
    while chunk := sock.recv(65536):
        said += chunk
    return said


class Client(Session):
    """One that comes by itself."""

    def __init__(self, address, source=None):
        self.ours = connect(address, source)
        self.ours.setblocking(False)
        self.deadline = time.monotonic() + PATIENCE
        self.heard = bytearray()

    def __exit__(self, *_):
        self.ours.close()

    def quit(self):
        self.expect((b"QUIT", b"221 "))
        assert self.read_to_end() == b""
        self.ours.close()

    def refusal(self):
        """The only thing that is said to it."""
        said = self.read_to_end()
        self.ours.close()
        return said


class Acceptor:
    """smtpd with --listen. As a context manager it is stopped at the end, and has to end well."""

    def __init__(self, smtpd, folder, *options, listen="127.0.0.1:0", n=None, prefix=(), env=None,
                 fds=None, signals="",
                 err=None, wait=True, **popen):
        listening = [f"--listen={listen}"] if listen else []
        self.n = n or (listen or "").count(",") + 1
        # into the checkout nobody else may see
        smtpd = copy_of(smtpd, folder) if "user" in popen else smtpd
        argv = [*prefix,
                *(word for word in command(smtpd, *listening, *options) if word not in STAY
                  or word in options)]
        if fds or signals:
            argv = [PYTHON, "-c", STARTER, repr(fds or {}), signals, *argv]
            popen["pass_fds"] = tuple(fds or ())
        self.err_path = Path(folder) / f"err-{time.monotonic_ns()}"
        self.out_path = Path(folder) / f"out-{time.monotonic_ns()}"
        self.shown_path = self.out_path if listen else self.err_path
        with open(self.err_path, "ab") as file, open(self.out_path, "ab") as out:
            streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err or file} | popen
            self.process = subprocess.Popen(argv, env=env or environment(leaks=True),
                                            start_new_session=True, **streams)
        self.has_ended = False
        if wait:
            try:
                self.wait_until_listening()
            except BaseException:
                self.kill()
                raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.kill()
        elif not self.has_ended:
            self.stop()
            assert self.status() == 0, self.err().decode(errors="replace")

    @property
    def pid(self):
        return self.process.pid

    def err(self):
        said = self.err_path.read_bytes()
        assert b"runtime error" not in said and b"Sanitizer" not in said, said[-5000:].decode(
            errors="replace")
        return said

    def log(self, word):
        """Lines of the log that begin with it."""
        return re.findall(rb"^smtpd: (%s[^\n]*)\n" % word.encode(), self.err(), re.M)

    def wait_until_listening(self):
        wait_until(lambda: len(LISTENING.findall(self.err())) >= self.n
                   or self.process.poll() is not None, "it to listen")
        assert self.process.poll() is None, self.err().decode(errors="replace")

    @property
    def addresses(self):
        return [address.decode() for address, _ in LISTENING.findall(self.err())]

    @property
    def address(self):
        return self.addresses[0]

    def client(self, stage=None, source=None):
        client = Client(self.address, source)
        if stage:
            client.begin(stage)
        return client

    def serve_one(self, content=b"Subject: one\r\n\r\n"):
        """A whole session with a message."""
        with self.client("EHLO") as client:
            verdict = client.send_message(content)
            client.quit()
            return verdict

    def messages(self):
        """On standard output, or on standard error if sockets were passed."""
        return printed(self.shown_path.read_bytes())

    def sessions(self):
        return running_children(self.pid)

    def wait_for_sessions(self, n):
        wait_until(lambda: len(self.sessions()) == n, f"{n} sessions")

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """Twice: without waiting for sessions. The second one has to come after the first has been
        taken."""
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
            self.signal(signal.SIGTERM)

    def status(self):
        status = self.process.wait(PATIENCE)
        self.has_ended = True
        self.err()
        return status

    def kill(self):
        """With its sessions."""
        self.has_ended = True
        for pid in running_children(self.pid) + [self.pid] if self.process.poll() is None else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        stop(self.process)

    def reload(self, expected=b"reloaded"):
        """SIGHUP, and its end."""
        def n():
            return len(re.findall(rb"^smtpd: (?:not )?reloaded: ", self.err(), re.M))
        before = n()
        self.signal(signal.SIGHUP)
        wait_until(lambda: n() > before, "the configuration to be read again")
        assert re.findall(rb"^smtpd: ((?:not )?reloaded): ", self.err(), re.M)[-1] == expected


def copy_of(smtpd, folder):
    """The program at another place, which a test may change."""
    copy = Path(folder) / "smtpd"
    return smtpd if str(copy) == smtpd else shutil.copy(smtpd, copy)


def start_that_fails(smtpd, folder, *options, **given):
    """(status, what it said) of an acceptor that does not come about."""
    acceptor = Acceptor(smtpd, folder, *options, wait=False, **given)
    try:
        wait_until(lambda: acceptor.process.poll() is not None or LISTENING.search(acceptor.err()),
                   "a decision")
    finally:
        acceptor.kill()
    said = acceptor.err()
    assert b"listening" not in said
    return acceptor.process.returncode, said
