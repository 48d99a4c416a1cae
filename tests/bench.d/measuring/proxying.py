# SPDX-License-Identifier: MIT
"""Measures of strategy proxy: rate, memory, processor, filters, a far upstream."""

import contextlib
import socket
import statistics
import subprocess
import sys
import time

from delay import Delay
from measuring.frame import DIALOGUE, END, HEADER, LINE, Row, measure, median_ratio, spool_directory
from measuring.memory import memory_row, peak, peak_of_file
from measuring.sockets import connection, converse


@contextlib.contextmanager
def sink(bench, dialect):
    """A server that takes everything: its endpoint."""
    with subprocess.Popen([bench.tool("sink"), dialect], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as p:
        yield f"127.0.0.1:{int(p.stdout.readline())}"
        p.stdin.close()  # it ends then


def proxy_command(bench, endpoint):
    return [*bench.smtpd, "--strategy=proxy", f"--upstream={endpoint}"]


@measure("proxy")
def proxy(bench):
    octets, rounds = (200_000_000, 5) if bench.is_quick else (200_000_000, 11)
    with sink(bench, "smtp") as upstream, sink(bench, "raw") as receiver:
        programs = [" ".join(["session", *proxy_command(bench, upstream)]),
                    f"raw socat STDIO TCP:{receiver}"]
        ours, socat = bench.turns(bench.tool("relay"), spool_directory(), octets, rounds, *programs)
    rate = [f"{octets / statistics.median(t) * 1000:.0f} MB/s" for t in (ours, socat)]
    yield Row(f"proxy, {octets // 1000000} MB", rate[0], f"socat {rate[1]}",
              median_ratio(socat, ours), 0.5, is_floor=True)
    bench.notes.append("proxy: from the message's first octet until the 250 for it has come back; "
                       "the message rests in a nameless"
                       f" file in {spool_directory()} in between")


@measure("proxy-memory")
def proxy_memory(bench):
    mib = 200 if bench.is_quick else 1024
    empty = bench.directory / "empty"
    empty.write_bytes(DIALOGUE + END)
    floor = peak_of_file(bench, empty, bench.floor())

    def once():
        client, server = connection()
        running = peak(bench, server, *proxy_command(bench, upstream))
        next(running)
        server.close()
        chunk = LINE * (1024 * 1024 // len(LINE))
        replies = converse(client, DIALOGUE, HEADER,
                           *[chunk] * (mib * 1024 * 1024 // len(chunk) + 1), END)
        if b"\n250 2.0.0 taken" not in replies:
            sys.exit(f"bench: the message was not passed on:\n{replies.decode()}")
        return next(running)

    with sink(bench, "smtp") as upstream:
        yield memory_row("empty message, proxy",
                         peak_of_file(bench, empty, *proxy_command(bench, upstream)), floor)
        yield memory_row(f"{mib} MiB message, proxy", statistics.median(once() for _ in range(3)),
                         floor)


@measure("proxy-cpu")
def proxy_cpu(bench):
    """What proxy adds to a session: a name to connect to, a dialogue, and the message once more."""
    rounds = 500 if bench.is_quick else 2000
    with sink(bench, "smtp") as upstream:
        programs = [" ".join(proxy_command(bench, upstream)), " ".join(bench.smtpd)]
        took = bench.turns(bench.tool("cpu"), rounds, bench.session(), *programs)
    # the clock of some kernels ticks: only sums are right
    ours, with_print = (statistics.mean(t) / 1000 for t in took)
    yield Row("CPU of a one-message session, proxy over print; prints",
              f"{ours:.0f} - {with_print:.0f} us",
              f"print {with_print:.0f} us", (ours - with_print) / with_print, 1.5)


@measure("filter")
def filter_session(bench):
    """What a filter adds to a proxied session is a program that does nothing, which is the
    reference."""
    rounds = 500 if bench.is_quick else 2000
    with sink(bench, "smtp") as upstream:
        without = " ".join(proxy_command(bench, upstream))
        took = bench.turns(bench.tool("spawn"), rounds, bench.session(),
                           f"{without} --filter=/bin/true", without, "/bin/true")
    ours, free, spawn = (statistics.median(t) / 1000 for t in took)
    yield Row("proxied session with a filter of /bin/true, over one without; spawns of it",
              f"{ours:.0f} - {free:.0f} us", f"spawn {spawn:.0f} us",
              statistics.median((o - f) / s for o, f, s in zip(*took)), 1.3)


def send_batch(sock, n):
    """A session of one message for n recipients, pipelined as RFC 2920 allows; seconds, from its
    greeting to its goodbye."""
    replies = sock.makefile("rb")

    def hear(code, times=1):
        for _ in range(times):
            while (line := replies.readline())[3:4] == b"-":
                pass
            if not line.startswith(code):
                sys.exit(f"bench: not {code.decode()}: {line.decode()}")

    begin = time.monotonic()
    hear(b"220")
    sock.sendall(b"EHLO bench\r\n")
    hear(b"250")
    recipients = b"".join(b"RCPT TO:<c%d@d.example>\r\n" % i for i in range(n))
    sock.sendall(b"MAIL FROM:<a@b.example>\r\n" + recipients + b"DATA\r\n")
    hear(b"250", 1 + n)
    hear(b"354")
    sock.sendall(HEADER + b".\r\n")
    hear(b"250")
    sock.sendall(b"QUIT\r\n")
    hear(b"221")
    return time.monotonic() - begin


def proxied_batch(bench, endpoint, n):
    client, server = connection()
    with (subprocess.Popen(proxy_command(bench, endpoint), stdin=server, stdout=server,
                           stderr=subprocess.DEVNULL) as p, client):
        server.close()
        took = send_batch(client, n)
        p.wait()
    return took


@measure("batch")
def batch(bench):
    """Recipients that are sent at once, to an upstream far away: as if it were the client's own
    server."""
    rounds = 7 if bench.is_quick else 21
    with sink(bench, "smtp") as upstream:
        host, port = upstream.split(":")
        with Delay((host, int(port)), 0.025) as far:
            for n, budget in ((1, None), (10, None), (100, 1.25)):
                took = []
                for _ in range(rounds):
                    with socket.create_connection(far.address) as direct:
                        reference = send_batch(direct, n)
                    took.append((proxied_batch(bench, "%s:%d" % far.address, n), reference))
                ours, direct = zip(*took)
                yield Row(f"session with {n} pipelined recipients, upstream 50 ms away; direct",
                          f"{statistics.median(ours) * 1000:.0f} ms",
                          f"{statistics.median(direct) * 1000:.0f} ms", median_ratio(ours, direct),
                          budget)
