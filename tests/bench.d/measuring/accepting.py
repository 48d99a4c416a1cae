# SPDX-License-Identifier: MIT
"""Measures of many sessions at once, and of what figures in a file add."""

import contextlib
import os
import pwd
import shutil
import statistics
import subprocess
from pathlib import Path

from measuring.frame import Row, measure, median_ratio
from measuring.processor import processor_of_sessions
from measuring.sockets import ALL_PROGRAMS, MANY, server

AT_ONCE = 10


def servers(bench):
    """Name, command, budget; the last ones where they are installed. All of them as who we are, and
    with room for everybody."""
    me = pwd.getpwuid(os.geteuid()).pw_name
    yield "smtpd --listen", [*bench.smtpd, "--listen={address}", f"--user={me}", *MANY], None
    if shutil.which("tcpserver"):
        yield "smtpd under tcpserver", ["tcpserver", "-HRl0", "-c", "1000", "127.0.0.1", "{port}",
                                        *bench.smtpd], 0.9
    if Path("/usr/lib/python3/dist-packages/aiosmtpd").exists():
        sink_of_python = ["/usr/bin/python3", "-m", "aiosmtpd", "-n", "-c",
                          "aiosmtpd.handlers.Sink", "-l", "{address}"]
        yield "aiosmtpd's sink", sink_of_python, 1
    if shutil.which("smtp-sink", path=ALL_PROGRAMS):
        yield "Postfix's smtp-sink", [shutil.which("smtp-sink", path=ALL_PROGRAMS), "-u", me,
                                      "{address}", "1000"], None


@measure("accept")
def accept(bench):
    """Sessions of one message each, ten clients at once: how many in a second."""
    sessions, rounds = (100, 30) if bench.is_quick else (100, 100)
    load = bench.tool("load")
    with contextlib.ExitStack() as stack:
        table = [(name, stack.enter_context(server(*command)), budget) for name, command,
                 budget in servers(bench)]
        took = {name: [] for name, _, _ in table}
        for n in range(rounds + 1):
            for name, address, _ in table[n % len(table):] + table[: n % len(table)]:
                done = subprocess.run([load, address, str(sessions), str(AT_ONCE)],
                                      stdout=subprocess.PIPE, check=True, text=True)
                took[name].append(int(done.stdout))
    for times in took.values():
        del times[0]  # the first round warms them up
    ours, *_ = took.values()
    rate = {name: f"{sessions / statistics.median(times) * 1e9:.0f}/s" for name,
            times in took.items()}
    for name, _, budget in table[1:]:
        yield Row(f"one-message sessions, {AT_ONCE} at once, smtpd --listen; {name}",
                  rate[table[0][0]], rate[name],
                  median_ratio(took[name], ours), budget, is_floor=True)
    bench.notes.append("one-message sessions: each a connection of its own, waiting for each "
                       "reply; ours and tcpserver's are"
                       " a process each, those of aiosmtpd and smtp-sink share one")


@measure("metrics")
def metrics(bench):
    """What figures in a file add to a session."""
    rounds, sessions = 3 if bench.is_quick else 9, 300
    plain = [*bench.smtpd, "--listen={address}"]
    shapes = [*plain, f"--metrics-file={bench.directory / 'metrics'}"], plain
    took = list(zip(*[[processor_of_sessions(shape, sessions, False) / sessions for shape in shapes]
                      for _ in range(rounds)]))
    shown = [f"{statistics.median(seconds) * 1000:.2f} ms" for seconds in took]
    yield Row("CPU of a one-message session, with a metrics file", shown[0], f"without {shown[1]}",
              median_ratio(*took), 1.05)
