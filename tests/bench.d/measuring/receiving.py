# SPDX-License-Identifier: MIT
"""Measures of receiving a large message: its rate, and instructions for each octet."""

import re
import statistics
import subprocess
import sys

from measuring.frame import DIALOGUE, END, HEADER, LINE, Row, measure, median_ratio, spool_directory
from measuring.sockets import connection, converse


@measure("intake")
def intake(bench):
    octets, rounds = (200_000_000, 7) if bench.is_quick else (400_000_000, 15)
    programs = [" ".join([how, *bench.smtpd]) for how in ("session", "chunks")] + ["raw cat"]
    for lines, what, budget in (("fixed", "lines of 78 octets", 0.7),
                                ("mixed", "lines of 2 to 1000 octets, dots", None)):
        arguments = (spool_directory(), octets, lines, rounds, *programs)
        ours, chunks, cat = bench.turns(bench.tool("intake"), *arguments)
        rate = [f"{octets / statistics.median(t) * 1000:.0f} MB/s" for t in (ours, chunks, cat)]
        for name, reference, ratio, floor in (
            (f"DATA intake, {what}", f"cat {rate[2]}", median_ratio(cat, ours), budget),
            (f"BDAT intake, {what}", f"DATA {rate[0]}", median_ratio(ours, chunks), 0.95),
        ):
            yield Row(name, rate[name.startswith("BDAT")], reference, ratio, floor, is_floor=True)
    bench.notes.append("intake: from the body's first octet until the receiver has read its last, "
                       "into a nameless file in"
                       f" {spool_directory()}; the final dot is not sent, so no delivery is in it")


def instructions(bench, body, end):
    """Those of a session over a socket that receives the body. Its filter would stop valgrind,
    which is in the same process."""
    client, server = connection()
    tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
            f"--log-file={bench.directory}/callgrind"]
    with subprocess.Popen([*tool, *bench.smtpd, "--sandbox=no"], stdin=server, stdout=server,
                          stderr=subprocess.DEVNULL) as p:
        server.close()
        converse(client, DIALOGUE, HEADER, body, end)
        if p.wait() != 0:
            sys.exit(f"bench: smtpd under valgrind ended with status {p.returncode}")
    return int(re.search(r"Collected : (\d+)", (bench.directory / "callgrind").read_text())[1])


@measure("instructions")
def instructions_per_octet(bench):
    body = LINE * (10_000_000 // len(LINE))
    for end, what, budget in ((b"", "receiving only", 2), (END, "with print to /dev/null", None)):
        n = instructions(bench, body, end) - instructions(bench, b"", end)
        yield Row(f"instructions per body octet, {what}", f"{n / 1e6:.1f} M",
                  f"{len(body) / 1e6:.1f} MB", n / len(body), budget)
