# SPDX-License-Identifier: MIT
"""Measures of one process with one session: its start, and what each strategy adds to it."""

import resource
import statistics
import subprocess
import sys
import tempfile
import time

from measuring.frame import Row, measure, median_ratio
from measuring.sockets import free_port


@measure("start")
def start(bench):
    pairs = 500 if bench.is_quick else 2000
    ours, floor = bench.turns(bench.tool("spawn"), pairs, bench.session(), " ".join(bench.smtpd),
                              bench.floor())
    yield Row("one-message session, exec to exit", f"{statistics.median(ours) / 1000:.0f} us",
              f"floor {statistics.median(floor) / 1000:.0f} us", median_ratio(ours, floor), 1.25)


@measure("faults")
def faults(bench):
    """Each page that a process touches for the first time costs as much as several system calls:
    most of a start, and it can be counted. The median of some runs: where the loader puts things
    changes the number a little."""
    def once(*command):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
        with open(session, "rb") as f:
            subprocess.run(command, stdin=f, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           check=True)
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before

    session = bench.session()
    ours, floor = (statistics.median(once(*command) for _ in range(25))
                   for command in (bench.smtpd, [bench.floor()]))
    yield Row("page faults, one-message session; over the floor", f"{ours:.0f}",
              f"floor {floor:.0f}", ours - floor, 20)


@measure("exec")
def exec_session(bench):
    """What strategy exec adds to a session is a program that does nothing, which is the reference,
    and the fork of the broker."""
    rounds = 500 if bench.is_quick else 2000
    ours = " ".join([*bench.smtpd, "--strategy=exec", "--command=/bin/true"])
    took = bench.turns(bench.tool("spawn"), rounds, bench.session(), ours, " ".join(bench.smtpd),
                       "/bin/true", bench.helper("fork"),
                       bench.floor())
    with_exec, with_print, spawn, with_fork, floor = (statistics.median(t) / 1000 for t in took)
    ratio = statistics.median((e - p - (f - fl)) / s for e, p, s, f, fl in zip(*took))
    yield Row("session with exec of /bin/true, over print's and a fork; spawns of it",
              f"{with_exec:.0f} - {with_print:.0f} - {with_fork - floor:.0f} us",
              f"spawn {spawn:.0f} us", ratio, 1.3)


@measure("maildir")
def maildir(bench):
    """In memory, where fsync(2) costs nothing: what is left is the helper, against a program that
    does nothing."""
    rounds = 500 if bench.is_quick else 2000
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        ours = bench.beside_helpers("--strategy=maildir", f"--maildir={folder}")
        other = bench.beside_helpers("--strategy=exec", "--command=/bin/true")
        took = bench.turns(bench.tool("spawn"), rounds, bench.session(), ours, other)
    filed, nothing = (statistics.median(t) / 1000 for t in took)
    yield Row("session with maildir, in memory", f"{filed:.0f} us",
              f"exec of /bin/true {nothing:.0f} us", median_ratio(*took), 1.3)


# milliseconds: from the final dot to the screen; from a developer's first command to "listening"
SHOW_BUDGET, LISTEN_BUDGET = 20, 30


@measure("show")
def show(bench):
    """A process with a library for MIME is started for each message. The quickest of many counts:
    what others take is not ours."""
    if not (bench.build / "smtpd-show").exists():
        bench.notes.append("show: not measured: smtpd-show is not there")
        return
    rounds = 100 if bench.is_quick else 400
    took = bench.turns(bench.tool("spawn"), rounds, bench.session(),
                       bench.beside_helpers("--strategy=show"), bench.beside_helpers())
    shown, printed = (min(t) / 1e6 for t in took)
    yield Row("session with show, the quickest; budget of its message",
              f"{shown:.1f} - {printed:.1f} ms", f"{SHOW_BUDGET} ms",
              (shown - printed) / SHOW_BUDGET, 1)


@measure("listen")
def listen(bench):
    """README's first command, to its last word before clients can come. The quickest of many counts
    here too."""
    def once():
        began = time.monotonic()
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE) as p:
            while b"listening address=" not in (line := p.stderr.readline()):
                if not line:
                    sys.exit(f"bench: {' '.join(argv)} does not listen")
            took = time.monotonic() - began
            p.terminate()
        return took

    argv = [*bench.smtpd, f"--listen={free_port()}"]
    took = min(once() for _ in range(20 if bench.is_quick else 100)) * 1000
    yield Row('--listen, from its start to "listening", the quickest', f"{took:.1f} ms",
              f"{LISTEN_BUDGET} ms", took / LISTEN_BUDGET, 1)


@measure("sandbox")
def sandbox(bench):
    """A pipe with a peer is a connection, and a session on one confines itself: what that adds, by
    strategy."""
    rounds = 500 if bench.is_quick else 2000
    connection_of = "TCPREMOTEIP=192.0.2.1 " + " ".join(bench.smtpd)
    # nobody is there, and the name is in /etc/hosts
    by_name = " --strategy=proxy --upstream=localhost:1"
    by_address = by_name.replace("localhost", "127.0.0.1")
    programs = [connection_of + options + sandbox for options in ("", by_address, by_name)
                for sandbox in ("", " --sandbox=no")]
    took = bench.turns(bench.tool("spawn"), rounds, bench.session(), *programs, bench.floor())
    floor = statistics.median(took[-1]) / 1000
    for i, what in ((0, "print"), (2, "proxy by address, nobody there"),
                    (4, "proxy by name, nobody there")):
        confined, free = (statistics.median(t) / 1000 for t in took[i : i + 2])
        yield Row(f"one-message session on a connection, {what}: confined", f"{confined:.0f} us",
                  f"--sandbox=no {free:.0f} us",
                  median_ratio(took[i], took[i + 1]))
        if i == 0:
            yield Row("the same, over the floor", f"{confined:.0f} us", f"floor {floor:.0f} us",
                      median_ratio(took[i], took[-1]))
