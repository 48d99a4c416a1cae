# SPDX-License-Identifier: MIT
"""A process that runs points one after the other, and what it finds afterwards."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from session import environment
from sweeping.clock import USUAL_TIMEOUTS
from sweeping.destinations import filed, kept, printed, shown
from sweeping.held import Held, Outcome


class Runner:
    """A process of tests/sweep.d/runner.c with its folder."""

    def __init__(self, sweep, strategy, session, timeouts=None):
        self.strategy, self.session = strategy, session
        self.folder = tempfile.mkdtemp(dir=sweep.folder / "runs")
        for name in ("spool", "kept", "qfiles/in", "lists/list", "lists/list2", "maildir"):
            os.makedirs(os.path.join(self.folder, name))
        for name in ("list", "list2"):
            self.write(f"lists/{name}/config.pck", b"")
        self.write("session", session.file)
        self.write("password", b"secret\n")
        self.write("conf",
                   strategy.configuration(self.folder, session.name,
                                          timeouts or USUAL_TIMEOUTS).encode())
        self.engine, requests, served = None, *socket.socketpair(type=socket.SOCK_SEQPACKET)
        if strategy.has_tls or strategy.has_upstream_tls:
            name = "-" if strategy.has_upstream_tls else f"{self.folder}/engine"
            self.engine = subprocess.Popen([sweep.folder / "engine", name], stdin=served,
                                           stdout=subprocess.PIPE)
            assert self.engine.stdout.readline() == b"ready\n"
        argv = [sweep.folder / "runner", self.folder, "tcp" if session.is_tcp else "local",
                strategy.upstream,
                sweep.smtpd, f"--config={self.folder}/conf",
                *(["--upstream=@UPSTREAM@"] if "u" in strategy.servers else []),
                *(["--mailman=@MAILMAN@"] if "m" in strategy.servers else [])]
        if sweep.journald:
            argv = sweep.journald.inside(*argv)
        env = environment(WRAPPER_VAR=self.folder,
                          FAILMALLOC_SO=str(sweep.folder / "failmalloc.so"), LC_ALL="C")
        if strategy.has_upstream_tls:
            env["SMTPD_UPSTREAM_TLS_FD"] = str(requests.fileno())
        self.process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env=env,
                                        pass_fds=[requests.fileno()])
        requests.close()
        served.close()

    def write(self, name, octets):
        with open(os.path.join(self.folder, name), "wb") as file:
            file.write(octets)

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)
        if self.engine:
            self.engine.kill()
            self.engine.stdout.close()
            self.engine.wait()
        shutil.rmtree(self.folder)

    def run(self, point, token):
        self.process.stdin.write(f"{token} {point.request}\n".encode())
        self.process.stdin.flush()
        out = self.process.stdout
        reached, hung, leaked, status, ms, ms_left = map(int, out.readline().split())
        sizes = list(map(int, out.readline().split()))
        outcome = Outcome(bool(reached), bool(hung), bool(leaked), status, ms,
                          *(out.read(n) for n in sizes), token=token,
                          ms_left=ms_left, fields=self.strategy.fields)
        outcome.parse()
        self.look(outcome)
        if point.is_of_memory:
            with (contextlib.suppress(FileNotFoundError),
                  open(os.path.join(self.folder, "allocations"), "rb") as file):
                outcome.allocations = int.from_bytes(file.read(8), sys.byteorder)
        return outcome

    def look(self, outcome):
        """At the destinations that are no servers; what they hold is taken away."""
        if self.strategy.name.startswith("print"):
            outcome.held += printed(outcome.log)
        if self.strategy.name == "show":
            outcome.held += shown(outcome.log)
        for path in sorted(Path(self.folder, "kept").iterdir()):
            if path.name.startswith("message."):
                outcome.held.append(kept(path.read_bytes()))
            path.unlink()
        for path in Path(self.folder, "maildir").glob("*/*"):
            if path.parent.name == "new":
                outcome.held.append(filed(path.read_bytes(), outcome))
            path.unlink()
        for path in sorted(Path(self.folder, "qfiles/in").iterdir()):
            if path.suffix == ".msg":
                argv = path.with_suffix(".argv").read_text().split()
                outcome.held.append(Held("mailman", "", [f"{argv[1]}@example.com"],
                                         outcome.strip(path.read_bytes())))
        for path in Path(self.folder, "qfiles/in").iterdir():
            path.unlink()
        for path in Path(self.folder, "spool").iterdir():
            path.unlink()
