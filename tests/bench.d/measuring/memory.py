# SPDX-License-Identifier: MIT
"""Measures of the most that a session has in memory."""

import os
import socket
import statistics
import subprocess
import sys

from measuring.frame import DIALOGUE, END, HEADER, LINE, Row, measure
from measuring.sockets import connection, converse


def peak(bench, stdin, *command):
    """KiB at most in memory."""
    read_end, write_end = os.pipe()

    def is_three():
        os.dup2(write_end, 3)

    with subprocess.Popen([bench.tool("peak"), *command], stdin=stdin,
                          stdout=stdin if isinstance(stdin, socket.socket)
                          else subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False,
                          preexec_fn=is_three) as p:
        os.close(write_end)
        if isinstance(stdin, socket.socket):
            yield
            stdin.close()
        p.wait()
    with open(read_end) as f:
        yield int(f.read() or -1)


def peak_of_file(bench, path, *command):
    """The median of some runs: where the loader puts things changes the number of pages a
    little."""
    def once():
        with open(path, "rb") as f:
            return next(peak(bench, f, *command))

    return statistics.median(once() for _ in range(11))


def peak_of_message(bench, octets):
    client, server = connection()
    chunk = LINE * (1024 * 1024 // len(LINE))
    running = peak(bench, server, *bench.smtpd)
    next(running)
    server.close()
    replies = converse(client, DIALOGUE, HEADER, *[chunk] * (octets // len(chunk) + 1), END)
    if b"\n250 2.0.0 " not in replies:
        sys.exit(f"bench: the large message was not accepted:\n{replies.decode()}")
    return next(running)


def memory_row(what, kib, floor):
    return Row(f"peak RSS, {what}; MiB over the floor", f"{kib:.0f} KiB", f"floor {floor:.0f} KiB",
               (kib - floor) / 1024, 1)


@measure("memory")
def memory(bench):
    mib = 256 if bench.is_quick else 1024
    empty = bench.directory / "empty"
    empty.write_bytes(DIALOGUE + END)
    floor = peak_of_file(bench, empty, bench.floor())
    yield memory_row("empty message", peak_of_file(bench, empty, *bench.smtpd), floor)
    large = statistics.median(peak_of_message(bench, mib * 1024 * 1024) for _ in range(3))
    yield memory_row(f"{mib} MiB message", large, floor)
