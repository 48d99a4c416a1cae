# SPDX-License-Identifier: MIT
"""Measures of TLS, of clients and toward an upstream."""

import concurrent.futures
import contextlib
import ctypes
import shutil
import socket
import statistics
import subprocess
import threading
import time
from pathlib import Path

from measuring.frame import Row, measure, median_ratio
from measuring.processor import processor_of_sessions, send_messages
from measuring.sockets import ALL_PROGRAMS, MANY, server


def processor_time(pid):
    """Seconds of all its threads."""
    return sum(int(path.read_text().split()[0])
               for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def through_tls(peer, clear, pid, octets):
    """(seconds, seconds of the processor) from the first octet that a client says until all of them
    are there in clear."""
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    piece, room = bytes(1 << 20), bytearray(1 << 20)
    with context.wrap_socket(peer) as secure:
        secure.sendall(b"x")
        clear().recv_into(room, 1)
        began, spent = time.monotonic(), processor_time(pid)
        writer = threading.Thread(target=lambda: [secure.sendall(piece)
                                                  for _ in range(octets // len(piece))])
        writer.start()
        n = 0
        while n < octets // len(piece) * len(piece):
            n += clear().recv_into(room)
        took = time.monotonic() - began, processor_time(pid) - spent
        writer.join()
    return took


def through_engine(bench, octets, pair):
    from tls import Engine, engine_of
    with Engine([engine_of(bench.build / "smtpd"), *pair.options]) as engine:
        return through_tls(engine.peer, lambda: engine.clear, engine.process.pid, octets)


def through_stunnel(bench, octets, pair):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as sink_:
        path = bench.directory / "stunnel.conf"
        path.write_text(f"foreground = yes\ndebug = 3\npid =\nsyslog = no\ncert = "
                        f"{pair.certificate}\nkey = {pair.key}\n"
                        f"[s]\naccept = 127.0.0.1:{port}\nconnect = "
                        f"127.0.0.1:{sink_.getsockname()[1]}\n")
        process = subprocess.Popen([shutil.which("stunnel", path=ALL_PROGRAMS), path],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        accepted = []

        def clear():
            if not accepted:
                accepted.append(sink_.accept()[0])
            return accepted[0]

        try:
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    return through_tls(socket.create_connection(("127.0.0.1", port)), clear,
                                       process.pid, octets)
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()


@measure("tls-relay")
def tls_relay(bench):
    """What comes in cipher, and is there in clear: with the engine that is executed for a
    connection, and with stunnel."""
    from tls import Certificate

    if not shutil.which("stunnel", path=ALL_PROGRAMS) or not (bench.build / "smtpd-tls").exists():
        bench.notes.append("tls-relay: not measured: stunnel or smtpd-tls is not there")
        return
    octets, rounds, pair = 200_000_000, 3 if bench.is_quick else 9, Certificate(bench.directory)
    ours, theirs = zip(*[(through_engine(bench, octets, pair), through_stunnel(bench, octets, pair))
                         for _ in range(rounds)])
    rates = [[octets / 1e6 / took for took, _ in one] for one in (ours, theirs)]
    yield Row("TLS, 200 MB", f"{statistics.median(rates[0]):.0f} MB/s",
              f"stunnel {statistics.median(rates[1]):.0f} MB/s",
              median_ratio(*rates), 1, is_floor=True)
    spent = [[seconds for _, seconds in one] for one in (ours, theirs)]
    yield Row("TLS, 200 MB, processor", f"{statistics.median(spent[0]):.2f} s",
              f"stunnel {statistics.median(spent[1]):.2f} s",
              median_ratio(*spent))


def with_tls(bench):
    """(the program beside its engine, options for a certificate)"""
    from tls import Certificate

    pair = Certificate(bench.directory)
    return [str(bench.build / "smtpd"), *bench.smtpd[1:]], [f"--tls-certificate={pair.certificate}",
                                                            f"--tls-key={pair.key}"]


@measure("tls")
def tls(bench):
    """What TLS adds to a session: the acceptor's engine has key and libraries ready, one that is
    executed for a session has not."""
    if not (bench.build / "smtpd-tls").exists():
        bench.notes.append("tls: not measured: smtpd-tls is not there")
        return
    # PR_SET_CHILD_SUBREAPER: the engine ends after the acceptor
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    rounds = 3 if bench.is_quick else 9
    smtpd, files = with_tls(bench)
    listening = [*smtpd, "--listen={address}"]
    # many: the engine's start is not the same each time, and is taken off
    shapes = [(listening, 300, False), ([*listening, *files], 300, False),
              ([*listening, *files], 100, True)]
    if shutil.which("tcpserver"):
        each = ["tcpserver", "-HRl0", "-c", "1000", "127.0.0.1", "{port}", *smtpd]
        shapes += [(each, 50, False), ([*each, *files], 50, True)]
    took = list(zip(*[[processor_of_sessions(*shape) / shape[1] for shape in shapes]
                      for _ in range(rounds)]))
    shown = [f"{statistics.median(seconds) * 1000:.1f} ms" for seconds in took]
    yield Row("CPU of a one-message session, TLS configured, not used", shown[1],
              f"without TLS {shown[0]}", median_ratio(took[1], took[0]), 1.05)
    yield Row("CPU of a one-message session, STARTTLS, P-256", shown[2], f"without TLS {shown[0]}",
              median_ratio(took[2], took[0]), 3.5)
    if len(shapes) > 3:
        yield Row("the same, under tcpserver: an engine for each session", shown[4],
                  f"without TLS {shown[3]}", median_ratio(took[4], took[3]), 9)


@measure("tls-rate")
def tls_rate(bench):
    """Sessions with STARTTLS, four clients at once: how many in a second. aiosmtpd is one process,
    and its sink keeps nothing."""
    if not (bench.build / "smtpd-tls").exists() or not Path(
            "/usr/lib/python3/dist-packages/aiosmtpd").exists():
        bench.notes.append("tls-rate: not measured: smtpd-tls or aiosmtpd is not there")
        return
    clients, each, rounds = 4, 25, 5 if bench.is_quick else 15
    smtpd, (certificate, key) = with_tls(bench)
    python = ["/usr/bin/python3", "-m", "aiosmtpd", "-n", "-c", "aiosmtpd.handlers.Sink", "-l",
              "{address}"]
    took = [[], []]
    with contextlib.ExitStack() as stack:
        addresses = [stack.enter_context(server(*command)) for command in (
            [*smtpd, "--listen={address}", *MANY, certificate, key],
            [*python, certificate.replace("-certificate", "cert"), key.replace("-key", "key")])]
        for _ in range(rounds + 1):
            for address, times in zip(addresses, took):
                began = time.monotonic()
                with concurrent.futures.ThreadPoolExecutor(clients) as pool:
                    list(pool.map(lambda _, address=address: send_messages(address, each, True),
                                  range(clients)))
                times.append(time.monotonic() - began)
    ours, theirs = (times[1:] for times in took)  # the first round warms them up
    shown = [f"{clients * each / statistics.median(times):.0f}/s" for times in (ours, theirs)]
    yield Row(f"one-message sessions with STARTTLS, {clients} at once, smtpd --listen; aiosmtpd's "
              f"sink", *shown, median_ratio(theirs, ours), 0.8, is_floor=True)


@measure("upstream-tls")
def upstream_tls(bench):
    """What TLS toward an upstream adds to a session: the acceptor's engine for upstreams is ready.
    Of the upstream's own processor nothing counts: it is one process that began before."""
    from tls import Certificate
    from upstream_tls import Upstream, secure

    if not (bench.build / "smtpd-tls").exists():
        bench.notes.append("upstream-tls: not measured: smtpd-tls is not there")
        return
    # PR_SET_CHILD_SUBREAPER: the engine ends after the acceptor
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    pair, n, rounds = Certificate(bench.directory), 100, 3 if bench.is_quick else 9
    with Upstream(secure(pair)) as up:
        proxied = [str(bench.build / "smtpd"), *bench.smtpd[1:], "--listen={address}",
                   "--strategy=proxy", f"--upstream={up.endpoint}"]
        shapes = proxied, [*proxied, "--upstream-tls=required",
                           f"--upstream-tls-verify=sha256:{pair.fingerprint}"]
        took = [[processor_of_sessions(shape, n, False) / n for shape in shapes]
                for _ in range(rounds)]
    plain, secured = zip(*took)
    shown = [f"{statistics.median(seconds) * 1000:.1f} ms" for seconds in (secured, plain)]
    yield Row("CPU of a proxied one-message session, upstream by STARTTLS, P-256", shown[0],
              f"in clear {shown[1]}",
              median_ratio(secured, plain), 2.0)
