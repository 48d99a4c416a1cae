# SPDX-License-Identifier: MIT
"""A session with smtpd, held by hand: the program with a socket (or whatever a test gives it) as
standard input and output and a file as standard error, and what to make of the bytes that come out
of it. All waits are bounded."""

import os
import random
import re
import select
import socket
import struct
import subprocess
import sys
import time

PATIENCE = int(os.environ.get("TESTS_PATIENCE", "20"))  # seconds
BEGIN = b"---------- MESSAGE FOLLOWS ----------\n"
END = b"------------ END MESSAGE ------------\n"
REPLY_LINE = re.compile(rb"(\d{3})([ -])([^\r\n]*)\r\n")
given_out = set()  # ports
FAILED_BUILD = 99  # how a program with sanitizers ends when they find something

# Variables that say what smtpd was started with, or by whom: a test sets them itself.
ABOUT_PEERS = ("REMOTE_", "TCPREMOTE", "TCP6REMOTE", "SOCAT_", "NCAT_", "LISTEN_", "JOURNAL_",
               "NOTIFY_", "SYSTEMD_")


def environment(leaks=False, **more):
    """This process's, without anything about peers and sockets, and with `more`. A program with
    sanitizers looks for leaks if it is to: that takes it longer than most sessions do."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(ABOUT_PEERS)}
    env["ASAN_OPTIONS"] = f"exitcode={FAILED_BUILD}:detect_leaks={leaks:d}"
    env["UBSAN_OPTIONS"] = f"halt_on_error=1:exitcode={FAILED_BUILD}"
    return env | more


# A session on a connection, started as root, would become another user: one that sees little of a
# test's files.
STAY = ["--user=0"] if os.geteuid() == 0 else []


def command(smtpd, *options):
    """The command line of a session that prints. Options come last, and the last one counts."""
    return [smtpd, *STAY, "--config=/dev/null", "--strategy=print", "--hostname=mx.example.com",
            *options]


def printed(err):
    """The messages that strategy print has put among the log lines. (A body can imitate the frame:
    not in our tests.)"""
    return [part.split(END)[0] for part in err.split(BEGIN)[1:]]


def with_x_peer(message, address):
    """A message (LF lines) as it is printed: X-Peer is the last of its headers."""
    n = 0 if message.startswith(b"\n") else message.find(b"\n\n") + 1 or len(message)
    return message[:n] + b"X-Peer: " + address.encode() + b"\n" + message[n:]


def replies(octets):
    """Reply codes with their lines, from everything that came over the wire; it fails on anything
    that is no reply."""
    found, lines, at = [], [], 0
    while at < len(octets):
        match = REPLY_LINE.match(octets, at)
        assert match, f"that is no SMTP: {octets[at:at + 200]!r}"
        lines.append(match[3])
        if match[2] == b" ":
            found.append((int(match[1]), b"\n".join(lines)))
            lines = []
        at = match.end()
    assert not lines, "the last reply is not complete"
    return found


def codes(octets):
    return [code for code, _ in replies(octets)]


def tcp_pair(family=socket.AF_INET, address=None):
    """Both ends of a connection over loopback: (ours, theirs)."""
    address = address or ("127.0.0.1" if family == socket.AF_INET else "::1")
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        listener.listen(1)
        ours = socket.create_connection((address, listener.getsockname()[1]), PATIENCE)
        theirs, _ = listener.accept()
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs


def reset(sock):
    """Closes a TCP connection with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def wait_until(condition, what, patience=PATIENCE):
    """Until it is true: what it returned then."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)
    return found


def free_port():
    """One on 127.0.0.1 that is nobody's, below those that the kernel gives to clients, and not
    given out before."""
    while True:
        port = random.randrange(20000, 32000)
        if port in given_out:
            continue
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        given_out.add(port)
        return port


def stop(process):
    """Ends a process that a test started, if it still runs."""
    if process.poll() is None:
        process.kill()
    process.wait()


class Session:
    """smtpd and a client. As a context manager it leaves no process behind."""

    def __init__(self, argv, folder, pair=None, env=None, err=None, **popen):
        self.ours, theirs = pair or socket.socketpair()
        self.err_path = os.path.join(folder, f"err-{time.monotonic_ns()}")
        self.deadline = time.monotonic() + PATIENCE
        self.heard = bytearray()
        with open(self.err_path, "wb") as file, theirs:
            streams = {"stdin": theirs, "stdout": theirs, "stderr": err or file} | popen
            self.process = subprocess.Popen(argv, env=env or environment(), **streams)
        self.ours.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ours.close()
        stop(self.process)

    @property
    def pid(self):
        return self.process.pid

    def wait_for(self, readers, writers):
        ready = select.select(readers, writers, [], max(0, self.deadline - time.monotonic()))
        assert any(ready), f"nothing happens; the last that was heard: {self.heard[-300:]!r}"
        return ready

    def take(self):
        """What is there to hear; False at the end."""
        try:
            chunk = self.ours.recv(1 << 20)
        except (ConnectionResetError, BrokenPipeError):
            chunk = b""
        self.heard.extend(chunk)
        return bool(chunk)

    def say(self, octets):
        """Sends, and listens meanwhile. Returns how many octets the other side let us send."""
        view, sent = memoryview(octets), 0
        while sent < len(view):
            readable, writable, _ = self.wait_for([self.ours], [self.ours])
            if readable and not self.take():
                break
            if writable:
                try:
                    sent += self.ours.send(view[sent : sent + (1 << 20)])
                except (BrokenPipeError, ConnectionResetError):
                    break
        return sent

    def reply(self):
        """The next reply, without its last CRLF; b"" when the other side has closed."""
        while True:
            match = re.match(rb"(?:\d{3}-[^\r\n]*\r\n)*\d{3} [^\r\n]*\r\n", self.heard)
            if match:
                reply = bytes(match[0][:-2])
                match = None  # it holds the buffer
                del self.heard[: len(reply) + 2]
                return reply
            self.wait_for([self.ours], [])
            if not self.take():
                assert self.heard == b"", f"half a reply: {self.heard!r}"
                return b""

    def ask(self, octets):
        """Sends a line (the CRLF is added), and returns the reply to it."""
        self.say(octets + b"\r\n")
        return self.reply()

    def expect(self, *dialogue):
        """Pairs of what to say (None: nothing) and how the reply must begin."""
        for line, beginning in dialogue:
            got = self.reply() if line is None else self.ask(line)
            assert got.startswith(beginning), (f"to {line!r}: expected {beginning!r}, got {got!r}; "
                                               f"log: {self.end_of_log()!r}")

    def begin(self, stage="DATA"):
        """Goes to a stage of the first transaction: "greeting", "EHLO", "MAIL", "RCPT" or
        "DATA"."""
        steps = {
            "greeting": (None, b"220 "),
            "EHLO": (b"EHLO client.example.org", b"250-"),
            "MAIL": (b"MAIL FROM:<a@example.org>", b"250 "),
            "RCPT": (b"RCPT TO:<b@example.com>", b"250 "),
            "DATA": (b"DATA", b"354 "),
        }
        names = list(steps)
        self.expect(*[steps[name] for name in names[: names.index(stage) + 1]])

    def send_message(self, content, sender=b"a@example.org", recipient=b"b@example.com"):
        """One transaction after EHLO; content as it goes over the wire, without the final dot.
        Returns the verdict."""
        self.expect(
            (b"MAIL FROM:<%s>" % sender, b"250 "), (b"RCPT TO:<%s>" % recipient, b"250 "),
            (b"DATA", b"354 ")
        )
        self.say(content)
        self.say(b".\r\n")
        return self.reply()

    def read_to_end(self):
        """All that is still said until the other side closes."""
        while True:
            self.wait_for([self.ours], [])
            if not self.take():
                break
        try:
            # smtpd may be waiting for this, so that its last words arrive
            self.ours.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        said = bytes(self.heard)
        self.heard.clear()
        return said

    def status(self):
        """The exit status, when it comes. A sanitizer's finding is in standard error."""
        status = self.process.wait(max(0.1, self.deadline - time.monotonic()))
        assert status not in (
            FAILED_BUILD,) and status >= 0, self.err()[-3000:].decode(errors="replace")
        return status

    def end(self):
        """QUIT, and the exit status."""
        self.expect((b"QUIT", b"221 "))
        assert self.read_to_end() == b""
        return self.status()

    def err(self):
        with open(self.err_path, "rb") as file:
            return file.read()

    def end_of_log(self):
        """For a message; b"" if the log is somebody else's."""
        return self.err()[-1000:] if hasattr(self, "err_path") else b""

    def messages(self):
        return printed(self.err())


def run(argv, said=b"", env=None, **popen):
    """A whole session through pipes: (exit status, what it said, its standard error)."""
    done = subprocess.run(
        argv, input=said, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env or environment(),
        timeout=PATIENCE, **popen
    )
    assert done.returncode >= 0 and done.returncode != FAILED_BUILD, done.stderr[-3000:].decode(
        errors="replace")
    return done.returncode, done.stdout, done.stderr


PYTHON = sys.executable or "/usr/bin/python3"
