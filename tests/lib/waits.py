# SPDX-License-Identifier: MIT
"""Sessions that wait without an end: for an upstream, a list server, a program, a filter."""

import contextlib
import socket
import threading
import time

from session import Session, command, tcp_pair, wait_until
from upstream import Body, Upstream, deaf, silent

GROUP = (
    b"EHLO client.example.org\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n%sDATA\r\n"
    b"Subject: x\r\n\r\n%s\r\n.\r\n"
)
ONE = GROUP % (b"", b"text")
TWO_RECIPIENTS = GROUP % (b"RCPT TO:<c@example.com>\r\n", b"text")
LARGE = GROUP % (b"", b"\r\n".join([b"x" * 900] * 20000))
PEER = "127.0.0.1"


class Wait:
    """A session that waits for something without end."""

    def __init__(self, said=ONE, options=(), has_come=None, messages=lambda: 0):
        self.said, self.options, self.has_come, self.messages = said, options, has_come, messages


@contextlib.contextmanager
def full_queue(_folder):
    """A server that accepts nobody: connect(2) does not return."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        time.sleep(0.2)
        port = listener.getsockname()[1]
        syn_sent = f":{port:04X} 02 "
        mine = open("/proc/self/net/tcp", encoding="ascii").read().count(syn_sent)
        yield Wait(
            options=["--strategy=proxy", f"--upstream=127.0.0.1:{port}"],
            has_come=lambda: open("/proc/self/net/tcp",
                                  encoding="ascii").read().count(syn_sent) > mine,
        )


def upstream(step, said=ONE, action=silent, lmtp=False, count=None, options=()):
    @contextlib.contextmanager
    def make(_folder):
        with Upstream({step: action}, lmtp=lmtp,
                      extensions=("SIZE", "8BITMIME", "XCLIENT ADDR")) as up:

            def has_come():
                c = up.connections[0] if up.connections else None
                if not c:
                    return False
                if count:
                    return len(up.messages) == count
                verb = b"DATA" if step == "body" else step.encode()
                return step == "greeting" or any(line.upper().startswith(verb)
                                                 for line in c.commands)

            kind = ["--upstream-protocol=lmtp"] if lmtp else []
            yield Wait(
                said,
                ["--strategy=proxy", f"--upstream={up.endpoint}", *kind, *options],
                has_come,
                lambda: len(up.messages),
            )

    return make


def mailman(step, count=None):
    @contextlib.contextmanager
    def make(_folder):
        times = [None, silent] if step in ("RCPT", "LHLO", "MAIL") and count is None else silent
        with Upstream({step: times} if count is None else {step: silent}, lmtp=True,
                      extensions=()) as up:

            def has_come():
                if count:
                    return len(up.messages) == count
                return sum(line.upper().startswith(step.encode()) for c in up.connections
                           for line in c.commands) > (
                    times is not silent
                )

            yield Wait(
                TWO_RECIPIENTS if step in ("RCPT",) else ONE,
                ["--strategy=mailman", f"--mailman={up.endpoint}"],
                has_come,
                lambda: len(up.messages),
            )

    return make


def program(script):
    @contextlib.contextmanager
    def make(folder):
        path = folder / "program"
        path.write_text(f"#!/bin/sh\necho $$ >>{folder}/started\n{script}\n")
        path.chmod(0o755)
        yield Wait(
            options=["--strategy=exec", f"--command={path}"],
            has_come=(folder / "started").exists,
            messages=lambda: 1,
        )

    return make


@contextlib.contextmanager
def filtering(folder):
    """A filter that does not end: nobody has the message."""
    path = folder / "filter"
    path.write_text(f"#!/bin/sh\necho $$ >>{folder}/started\nexec sleep 60\n")
    path.chmod(0o755)
    with Upstream() as up:
        options = ["--strategy=proxy", f"--upstream={up.endpoint}", f"--filter={path}"]
        yield Wait(options=options, has_come=(folder / "started").exists,
                   messages=lambda: len(up.messages))


BEFORE = {
    "connect": full_queue,
    "greeting": upstream("greeting"),
    "EHLO": upstream("EHLO"),
    "XCLIENT": upstream("XCLIENT", options=["--xclient=yes"]),
    "MAIL": upstream("MAIL"),
    "RCPT": upstream("RCPT"),
    "DATA": upstream("DATA"),
    "body": upstream("body", LARGE, Body(1, deaf)),
    "Mailman RCPT": mailman("RCPT"),
    "Mailman DATA": mailman("DATA"),
    "filter": filtering,
}
AFTER = {
    "dot": upstream("dot", count=1),
    "second verdict": upstream(
        "dot", TWO_RECIPIENTS, lambda c: (c.send(b"250 2.0.0 the first\r\n"), silent(c)), lmtp=True,
        count=1
    ),
    "Mailman dot": mailman("dot", count=1),
    "program": program("exec sleep 60"),
    "program that ignores SIGTERM": program("trap '' TERM; while :; do sleep 1; done"),
}


@contextlib.contextmanager
def waiting(smtpd, folder, make, *options):
    """The session at its wait, and that; the clock began when the session did."""
    with make(folder) as wait:
        argv = command(smtpd, f"--peer={PEER}", *wait.options, *options)
        with Session(argv, folder, tcp_pair()) as session:
            session.began = time.monotonic()
            session.deadline += 20
            talk = threading.Thread(target=say_all, args=(session.ours, wait.said))
            talk.start()
            wait_until(wait.has_come, "the wait")
            talk.join(5)
            yield session, wait


def say_all(sock, octets):
    sock.setblocking(True)
    with contextlib.suppress(OSError):
        sock.sendall(octets)
    sock.setblocking(False)
