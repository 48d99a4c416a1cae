# SPDX-License-Identifier: MIT
"""Measures with systemd: the shapes of its units, and the journal."""

import contextlib
import os
import statistics
import subprocess
import time
from pathlib import Path

from measuring.frame import HEADER, LINE, Row, measure, median_ratio


def sessions_per_second(bench, machine, port, n):
    """With a message each, of ten clients at once."""
    argv = [bench.tool("load"), f"127.0.0.1:{port}", str(n), "10"]
    return n * 1e9 / int(machine.in_network(subprocess.run, argv, stdout=subprocess.PIPE,
                                            check=True, text=True).stdout)


@measure("systemd")
def systemd(bench):
    """Both shapes with their installed units, and so with the same sandbox, side by side in a
    machine of their own (which needs root): the service on port 2525, an instance of the template
    for each connection on port 25."""
    import pytest
    from machine import UNITS, Machine

    rounds = 3 if bench.is_quick else 9
    with contextlib.ExitStack() as stack:
        try:
            machine = stack.enter_context(Machine(bench.directory, bench.build))
        except pytest.skip.Exception as reason:
            bench.notes.append(f"systemd: not measured: {reason}")
            return
        machine.put(f"{UNITS}/smtpd.socket.d/limits.conf",
                    "[Socket]\nMaxConnections=1000\nMaxConnectionsPerSource=0\n")
        machine.put(f"{UNITS}/smtpd-fast.socket",
                    "[Socket]\nListenStream=127.0.0.1:2525\nService=smtpd.service\n")
        machine.put(f"{UNITS}/smtpd-fast.socket.d/shape.conf", "[Socket]\nAccept=no\n")
        machine.systemctl("daemon-reload")
        for strategy, budget in (("print", 20), ("journal", None)):
            machine.put("/etc/smtpd/smtpd.conf",
                        f"strategy={strategy}\nmax-connections=1000\nmax-connections-per-source=1000\n")
            machine.systemctl("start", "smtpd.socket", "smtpd-fast.socket")
            machine.systemctl("restart", "smtpd.service")
            ports = ((2525, 1000), (25, 50))
            ours, template = zip(*[[sessions_per_second(bench, machine, *port) for port in ports]
                                   for _ in range(rounds)])
            yield Row(f"one-message sessions per second, {strategy}, smtpd.service",
                      f"{statistics.median(ours):.0f}/s",
                      f"smtpd@.service {statistics.median(template):.0f}/s",
                      median_ratio(ours, template), budget, is_floor=True)


def dot_to_reply(session, content):
    """Seconds from the final dot to its 250."""
    session.expect((b"MAIL FROM:<a@b.example>", b"250 "), (b"RCPT TO:<c@d.example>", b"250 "),
                   (b"DATA", b"354 "))
    session.say(content)
    then = time.monotonic()
    session.expect((b".", b"250 2.0.0 stored"))
    return time.monotonic() - then


@measure("journal")
def journal(bench):
    """The entry is read back before the 250, with all that the journal has already. Two journals of
    our own, in memory."""
    import pytest
    from journald import Journald
    from session import Session

    settings = ("Compress=no", "RuntimeMaxUse=4G", "RuntimeMaxFileSize=12M", "RuntimeMaxFiles=100")
    rounds = 50 if bench.is_quick else 300
    with contextlib.ExitStack() as stack:
        try:
            journals = [stack.enter_context(Journald(str(bench.directory), *settings))
                        for _ in range(2)]
        except pytest.skip.Exception as reason:
            bench.notes.append(f"journal: not measured: {reason}")
            return
        argv = [str(bench.build / "smtpd"), "--config=/dev/null", f"--user={os.geteuid()}",
                "--strategy=journal", "--max-size=0"]
        full, empty = (stack.enter_context(Session(journald.inside(*argv), bench.directory))
                       for journald in journals)
        for session in (full, empty):
            session.deadline += 3600
            session.begin("EHLO")
        for n in range(50):  # what is equal is stored once
            dot_to_reply(full, b"Subject: %d\r\n\r\n" % n + LINE * 128_000)
        n_files = len(list(Path(journals[0].path("/run/log/journal")).glob("*/*.journal")))
        took = [(dot_to_reply(full, HEADER), dot_to_reply(empty, HEADER)) for _ in range(rounds)]
        for session in (full, empty):
            session.end()
    with_full, with_empty = zip(*took)
    yield Row(f"journal, dot to 250, 500 MB in {n_files} files there already",
              f"{statistics.median(with_full) * 1e6:.0f} us",
              f"empty {statistics.median(with_empty) * 1e6:.0f} us",
              median_ratio(with_full, with_empty), 2)
