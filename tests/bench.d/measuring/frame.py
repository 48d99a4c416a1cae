# SPDX-License-Identifier: MIT
"""The frame of all measures: rows and their table, and the programs that run in turns."""

import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1]
DIALOGUE = b"EHLO bench\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"
HEADER = b"From: a@b.example\r\nTo: c@d.example\r\nSubject: hello\r\n\r\n"
END = b".\r\nQUIT\r\n"
LINE = b"x" + b"abcdefghijklmno" * 5 + b"\r\n"  # 78 octets

measures = {}
only_when_named = set()


def measure(name, is_named_only=False):
    def register(function):
        measures[name] = function
        if is_named_only:
            only_when_named.add(name)
        return function
    return register


@dataclass
class Row:
    what: str
    ours: str
    reference: str
    ratio: float
    budget: float | None = None  # None: for information
    is_floor: bool = False  # the ratio is to be at least the budget; else at most

    @property
    def ok(self):
        if self.budget is None:
            return True
        return self.ratio >= self.budget if self.is_floor else self.ratio <= self.budget

    def cells(self):
        sign = ">=" if self.is_floor else "<="
        budget = "" if self.budget is None else f"{sign} {self.budget:.2f}"
        verdict = "" if self.budget is None else "ok" if self.ok else "MISSED"
        return [self.what, self.ours, self.reference, f"{self.ratio:.2f}", budget, verdict]


class Bench:
    def __init__(self, smtpd, is_quick, directory):
        self.smtpd = [smtpd, f"--user={os.geteuid()}", "--strategy=print", "--max-size=0"]
        self.is_quick = is_quick
        self.directory = directory
        self.notes = []

    def helper(self, name, *flags):
        """Compiles tests/bench.d/NAME.c and returns the program."""
        program = self.directory / name
        if not program.exists():
            subprocess.run(["cc", *flags, "-o", program, SOURCES / f"{name}.c"],
                           check=True)
        return str(program)

    def tool(self, name):
        return self.helper(name, "-O2", "-D_GNU_SOURCE")

    def floor(self):
        return self.helper("floor")  # as the compiler does it by itself

    def beside_helpers(self, *options):
        """The program where it was built: it looks for its helpers there."""
        return " ".join([str(self.build / "smtpd"), "--config=/dev/null", *self.smtpd[1:],
                         *options])

    def session(self):
        """The file with a session of one short message."""
        path = self.directory / "session"
        path.write_bytes(DIALOGUE + HEADER + LINE * 5 + END)
        done = subprocess.run(self.smtpd, stdin=path.open("rb"), capture_output=True, check=True)
        if b"\n250 2.0.0 " not in done.stdout or LINE[:-2] not in done.stderr:
            sys.exit(f"bench: {self.smtpd[0]} did not print the message:\n{done.stdout.decode()}")
        return str(path)

    def turns(self, *command):
        """What a helper prints: a line per round, a number per program. Returns a list per
        program."""
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True,
                              text=True)
        return list(zip(*(map(int, line.split()) for line in done.stdout.splitlines())))


def median_ratio(ours, reference):
    return statistics.median(a / b for a, b in zip(ours, reference))


def spool_directory():
    return os.environ.get("TMPDIR", "/var/tmp")


def print_table(rows):
    table = [["what", "ours", "reference", "ratio", "budget", "ok?"],
             *(row.cells() for row in rows)]
    widths = [max(len(cells[i]) for cells in table) for i in range(len(table[0]))]
    for cells in table:
        print(" | ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip())
