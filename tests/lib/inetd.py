# SPDX-License-Identifier: MIT
"""Super-servers, each started in a small world with the lines that smtpd(8) has for it."""

import contextlib
import os
import re
import signal
import smtplib
import socket
import subprocess
import time
from pathlib import Path

import pytest
from conftest import need
from manual import literal, literals, section
from processes import running_children
from session import FAILED_BUILD, PATIENCE, stop, wait_until
from unpack import unpack
from world import World

TEXT = b"Subject: try\n\n.dot\nHello.\n"
WIRE = TEXT.replace(b"\n", b"\r\n")  # Python's client adds the dots

# The program of the first example in smtpd.conf(5): keeps what it gets, with how it was started,
# and says something.
ON_MAIL = """#!/bin/sh
[ "$1 $2" = "--verbose an argument" ] || exit 70
cat >"/srv/$SMTPD_ID" || exit
echo "peer=$SMTPD_PEER cwd=$PWD uid=$(id -u) $(grep SigIgn /proc/self/status)" >"/srv/$SMTPD_ID.how"
echo "noise" >&2
"""


def examples(page):
    """Those of smtpd.conf(5)."""
    return [text for _, text in literals(section(page, "EXAMPLES"))]


EXEC_CONF = examples("smtpd.conf.5")[0]
PROXY_CONF = next(text for text in examples("smtpd.conf.5") if "backup.example.org" in text)


class Kind:
    """A super-server. `addresses` are where its line makes it listen."""

    addresses = ("127.0.0.1", "::1")
    is_inetd = True  # its sessions have the client as standard error

    def __init__(self, tag):
        self.text = literal("smtpd.8", "Starting it", tag)
        self.program = None

    def prepare(self, folder):
        """Gets the program; how it is started may need an environment."""
        return {}

    def argv(self, world, text):
        """Its command line, after it was configured with the text."""
        raise NotImplementedError

    def listens_on_both(self, text):
        return text

    def with_script(self, text, path):
        """The text with a script in the place of smtpd."""
        assert text.count("/usr/sbin/smtpd") == 1
        return text.replace("/usr/sbin/smtpd", path)


class Unpacked(Kind):
    """These exclude one another; they are not installed."""

    def __init__(self, tag, package, path, conf, *options):
        super().__init__(tag)
        self.package, self.path, self.conf, self.options = package, path, conf, options

    def prepare(self, folder):
        folder = folder / self.package
        if not self.program:
            self.program, self.env = unpack(folder, self.package, self.path)
        return self.env

    def argv(self, world, text):
        world.write(self.conf, text)
        return [self.program, *self.options, self.conf]


class Gnu(Unpacked):
    def listens_on_both(self, text):
        return text.replace(" tcp ", " tcp6 ")


class CommandLine(Kind):
    is_inetd = False
    addresses = ("127.0.0.1",)

    def prepare(self, folder):
        need(self.text.split()[0])
        return {}

    def argv(self, world, text):
        return ["sh", "-c", "exec " + text]


class Local(CommandLine):
    addresses = ("/run/smtpd.socket",)


KINDS = {
    "openbsd-inetd": Unpacked("inetd 8", "openbsd-inetd", "usr/sbin/inetd", "/etc/inetd.conf",
                              "-i"),
    "inetutils-inetd": Gnu("inetd 8", "inetutils-inetd", "usr/sbin/inetutils-inetd",
                           "/etc/inetd.conf", "-d", "-p"),
    "xinetd": Unpacked("xinetd 8", "xinetd", "usr/sbin/xinetd", "/etc/xinetd.d/smtp", "-dontfork",
                       "-f"),
    "tcpserver": CommandLine("tcpserver 1"),
    "tcpsvd": CommandLine("tcpsvd 8"),
    "s6-ipcserver": Local("s6-ipcserver"),
}
INETDS = [name for name, kind in KINDS.items() if kind.is_inetd]


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    return tmp_path_factory.mktemp("packages")


class Running:
    """A super-server in a world."""

    def __init__(self, world, kind, text, env, options):
        self.world, self.kind, self.text = world, kind, text
        self.err_path = f"{world.folder}.err-{time.monotonic_ns()}"
        with open(self.err_path, "wb") as err:
            self.process = subprocess.Popen(world.inside(*kind.argv(world, text), *options),
                                            stdin=subprocess.DEVNULL, stdout=err,
                                            stderr=err, env=env)

    def connect(self, address="127.0.0.1", port=25):
        """As soon as it listens."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if address.startswith("/"):
                    sock = socket.socket(socket.AF_UNIX)
                    sock.settimeout(PATIENCE)
                    sock.connect(self.world.path(address))
                else:
                    sock = self.world.connect(address, port)
                return Recorder(fileno=sock.detach())
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.err()
                time.sleep(0.02)

    def err(self):
        return Path(self.err_path).read_bytes()

    def log(self, until):
        """The lines of smtpd's log, once one contains `until`. Under inetd all are syslog's, of
        facility mail."""
        if self.kind.is_inetd:
            lines = [line for line in self.world.syslog(until)
                     if re.match(rb"<\d+>\w{3} [ \d]\d [\d:]{8} smtpd\[\d+\]: ", line)]
            assert all(int(re.match(rb"<(\d+)>", line)[1]) >> 3 == 2 for line in lines)
            return lines
        wait_until(lambda: until in self.err(), until)
        return [line for line in self.err().splitlines() if line.startswith(b"smtpd: ")]

    def messages(self):
        """What was delivered: pairs (text, how the program was started)."""
        folder = Path(self.world.path("/srv"))
        texts = [path for path in sorted(folder.iterdir()) if path.suffix != ".how"]
        return [(path.read_bytes(), Path(f"{path}.how").read_text()) for path in texts]

    def stop(self):
        """When all sessions are over."""
        if self.process.poll() is not None:
            return
        try:
            wait_until(lambda: not running_children(self.process.pid), "the end of all sessions")
        finally:
            for pid in running_children(self.process.pid):
                with contextlib.suppress(ProcessLookupError):  # it is just gone
                    # those that did not end; others are waited for by nobody
                    os.kill(pid, signal.SIGKILL)
            self.process.terminate()
            self.process.wait(PATIENCE)


@pytest.fixture
def start(packages, tmp_path):
    """Starts a super-server of that name: with this configuration of smtpd, this program, the line
    of the manual or another."""
    with contextlib.ExitStack() as stack:

        def start(name, smtpd, conf=EXEC_CONF, text=None, files=(), options=(),
                  before=lambda world: None, world=None, variables={}):
            kind = KINDS[name]
            env = kind.prepare(packages)
            helper = Path(smtpd).with_name("smtpd-journal")
            world = world or stack.enter_context(World(tmp_path, smtpd,
                                                       *[helper] * helper.exists()))
            if conf is not None:
                world.write("/etc/smtpd/smtpd.conf", conf)
            world.write("/usr/local/libexec/on-mail", ON_MAIL, 0o755)
            for path, content in files:
                world.write(path, content, 0o755)
            before(world)
            env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **variables,
                   "ASAN_OPTIONS": f"exitcode={FAILED_BUILD}",
                   "UBSAN_OPTIONS": f"halt_on_error=1:exitcode={FAILED_BUILD}"} | env
            running = Running(world, kind, text or kind.text, env, options)
            stack.callback(stop, running.process)
            stack.callback(running.stop)
            return running

        yield start


class Recorder(socket.socket):
    """Keeps every octet that it receives."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.settimeout(PATIENCE)
        self.heard = b""

    def recv_into(self, buffer, *args):
        n = super().recv_into(buffer, *args)
        self.heard += bytes(buffer[:n])
        return n

    def read_to_end(self):
        with contextlib.suppress(ConnectionResetError):
            while chunk := self.recv(1 << 16):
                self.heard += chunk
        return self.heard


class Client(smtplib.SMTP):
    """Python's, on a connection that is there."""

    def __init__(self, sock):
        super().__init__(local_hostname="client.example.org", timeout=PATIENCE)
        self.made = sock
        self.connect("that", 25)

    def _get_socket(self, host, port, timeout):
        return self.made


class LocalClient(Client):
    ehlo_msg = "lhlo"


def deliver(sock):
    """One message. What the client heard, to the last octet."""
    client = (LocalClient if sock.family == socket.AF_UNIX else Client)(sock)
    assert client.sendmail("a@example.org", ["b@example.com"], WIRE) == {}
    client.docmd("QUIT")
    heard = sock.read_to_end()
    client.close()
    return heard
