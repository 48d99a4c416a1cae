# SPDX-License-Identifier: MIT
"""A real systemd-journald of one's own: it listens in /run of a private mount name space, keeps its
journal there, in memory, and ends with the test. No systemd has to run; without root it needs user
name spaces."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time

from conftest import missing, need, private_mounts
from session import PATIENCE, environment, stop

PROGRAMS = ("/lib/systemd/systemd-journald", "/usr/lib/systemd/systemd-journald")

# The name space lives as long as this shell, which ends when its standard input does. $1: the size
# of the disk.
HOLDER = """set -e
mount -t tmpfs -o mode=0755 none /run
mkdir -p /run/systemd/journald.conf.d /run/systemd/journal /run/log/journal
mount -t tmpfs -o "mode=2755,size=$1" none /run/log/journal
[ ! -d /var/log/journal ] || mount -t tmpfs -o mode=2755 none /var/log/journal
for folder in /run/log/journal /var/log/journal; do
	chgrp systemd-journal "$folder" 2>/dev/null || : # as tmpfiles.d does where systemd runs: the group reads
	chmod g+s "$folder" || :
done
echo ready
exec cat
"""


class Journald:
    """A context manager. `settings` are lines for [Journal] of journald.conf, `disk` the room for
    the journal in octets."""

    def __init__(self, folder, *settings, disk=8_000_000_000):
        self.log_path = os.path.join(folder, f"journald-{time.monotonic_ns()}")
        self.settings = settings
        self.disk = disk
        self.process = None

    def __enter__(self):
        program = next(filter(os.path.exists, PROGRAMS),
                       None) or missing("systemd-journald is not installed")
        need("journalctl")
        if not os.path.exists("/etc/machine-id") or not os.path.getsize("/etc/machine-id"):
            missing("there is no machine id")
        self.holder = subprocess.Popen(
            [*private_mounts(), "--propagation", "private", "sh", "-c", HOLDER, "sh",
             str(self.disk)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = self.holder.stdout.readline()
        if said != b"ready\n":
            stop(self.holder)
            missing(f"no private mount name space to be had: {said!r}")
        try:
            with open(self.path("/run/systemd/journald.conf.d/test.conf"), "w",
                      encoding="ascii") as file:
                file.write("\n".join(["[Journal]", "Storage=volatile", "ReadKMsg=no", "Audit=no",
                                      "ForwardToWall=no",
                                      "RateLimitIntervalSec=0", *self.settings, ""]))
            self.start(program)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process:
            self.go_on()
            stop(self.process)
        self.holder.stdin.close()
        self.holder.stdout.close()
        stop(self.holder)

    def inside(self, *argv):
        """The command line of a program that sees this journal. It is the same process."""
        user = [] if os.getuid() == 0 else ["--user", "--preserve-credentials"]
        return [need("nsenter"), f"--target={self.holder.pid}", *user, "--mount", "--",
                *map(str, argv)]

    def path(self, path):
        """One there, as seen from here."""
        return f"/proc/{self.holder.pid}/root{path}"

    def start(self, program):
        env = environment() | {"SYSTEMD_LOG_TARGET": "console"}
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.inside(need("setpriv"), "--pdeathsig", "KILL",
                                                        program),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=env)
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log_path, errors="replace") as log:
                    missing(f"systemd-journald does not start: {log.read()[-500:]}")
            time.sleep(0.01)

    def answers(self):
        return os.path.exists(
            self.path(
                "/run/systemd/journal/stdout")) and self.journalctl("--sync",
                                                                    check=False).returncode == 0

    def stop(self):
        """It is gone, as after a crash: its sockets stay, and nobody listens."""
        stop(self.process)

    def hang(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)

    def journalctl(self, *options, check=True):
        done = subprocess.run(self.inside("journalctl", "--no-pager", *options),
                              capture_output=True, timeout=PATIENCE,
                              env=environment(LC_ALL="C.UTF-8"))
        assert done.returncode == 0 or not check, done.stderr.decode(errors="replace")
        return done

    def entries(self, *matches):
        """What is stored: a dictionary of lists of octets for each entry."""
        self.journalctl("--sync")
        lines = self.journalctl("-o", "json", "--all", *matches, check=False).stdout.splitlines()
        return [{name: values(value) for name, value in json.loads(line).items()} for line in lines]

    def stream(self, identifier="smtpd"):
        """A socket that is the journal, as standard error of a service is (sd_journal_stream_fd(3),
        with level prefixes), and its $JOURNAL_STREAM."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(self.path("/run/systemd/journal/stdout"))
        sock.shutdown(socket.SHUT_RD)
        sock.sendall(f"{identifier}\n\n6\n1\n0\n0\n0\n".encode())
        stat = os.fstat(sock.fileno())
        return sock, f"{stat.st_dev}:{stat.st_ino}"


def values(value):
    """A field in JSON is text; or, where it is not printable, an array of octets; or an array of
    either where it is repeated."""
    if isinstance(value, list) and not all(isinstance(one, int) for one in value):
        return [octets for one in value for octets in values(one)]
    return [bytes(value) if isinstance(value, list) else value.encode()]
