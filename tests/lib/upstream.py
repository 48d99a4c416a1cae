# SPDX-License-Identifier: MIT
"""An upstream SMTP or LMTP server that does what a test tells it to do, and records what it was
told.

    with Upstream({"MAIL": b"550 5.7.1 not you\\r\\n"}) as up:          # each connection does this
    with Upstream({"RCPT": close}, {}) as up:                         # the first does that, all others do well

A script has an action for each step: "greeting", "EHLO", "HELO", "LHLO", "XCLIENT", "AUTH", "MAIL",
"RCPT", "DATA", "body", "dot", "RSET", "QUIT", those of other verbs, or a list of actions, one for
each time (the last one stays; None is to do well). An action is what to send (octets, not
necessarily a reply), or a function that gets the connection; those that are needed often are below.
Where there is none the server does well. "body" is Body(octets, action): it happens once so many
octets of the message have come.

All waits are bounded; leaving the context closes everything."""

import os
import re
import select
import socket
import struct
import tempfile
import threading
import time
from dataclasses import dataclass, field

PATIENCE = int(os.environ.get("TESTS_PATIENCE", "20"))  # seconds
EVERYTHING = ("PIPELINING", "SIZE 10485760", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


class Gone(Exception):
    """The connection is over."""


@dataclass
class Message:
    """A complete one: its final CRLF.CRLF came."""

    sender: bytes  # the arguments of MAIL and RCPT, as they came
    recipients: list
    wire: bytes  # without the final dot
    verdict: bytes = b""  # what was sent after it

    @property
    def text(self):
        """LF lines, without added dots; only where the framing was right."""
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)", self.wire), "a bare CR or LF"
        return re.sub(rb"^\.", b"", self.wire, flags=re.M).replace(b"\r\n", b"\n")


@dataclass
class Body:
    after: int
    action: object


@dataclass
class Connection:
    """One client. What a scripted action works with."""

    sock: socket.socket
    stop: threading.Event
    raw: bytearray = field(default_factory=bytearray)  # all that came
    # lines without CRLF, those of messages not among them
    commands: list = field(default_factory=list)
    sent: bytearray = field(default_factory=bytearray)  # in the step under way
    ehlo: bytes = b""
    at: int = 0  # what of `raw` was taken
    is_over: bool = False

    def send(self, octets):
        self.sent += octets
        try:
            self.sock.sendall(octets)
        except OSError as error:
            raise Gone from error

    def more(self):
        try:
            chunk = self.sock.recv(1 << 18)
        except OSError as error:
            raise Gone from error
        if not chunk:
            raise Gone
        self.raw += chunk

    def line(self):
        while (end := self.raw.find(b"\r\n", self.at)) < 0:
            self.more()
        line = bytes(self.raw[self.at : end])
        self.at = end + 2
        return line

    def body(self, trigger, act):
        """The message up to its final dot."""
        start, seen = self.at, self.at - 2  # the CRLF of DATA may be the first of CRLF.CRLF
        while True:
            if trigger and len(self.raw) - start >= trigger.after:
                act(trigger.action)
                trigger = None
            end = self.raw.find(b"\r\n.\r\n", seen)
            if end >= 0:
                self.at = end + 5
                return bytes(self.raw[start : max(start, end + 2)])
            seen = max(seen, len(self.raw) - 4)
            self.more()


# --- actions --------------------------------------------------------------------------------------


def close(c):
    """Hangs up. (With a reset, as TCP does it, if there is something unread.)"""
    raise Gone


def reset(c):
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise Gone


def silent(c):
    """Says no more, but goes on to read."""
    while True:
        c.more()


def deaf(c):
    """Says no more, and reads no more."""
    # the end of the stream may wait behind octets that nobody reads: it is given up before a test
    # has lost its patience
    poll, end = select.poll(), time.monotonic() + PATIENCE / 2
    poll.register(c.sock, select.POLLRDHUP)
    while time.monotonic() < end and not c.stop.is_set() and not poll.poll(100):
        pass
    raise Gone


def last(octets, how=close):
    """Says something, and then hangs up."""

    def act(c):
        c.send(octets)
        how(c)

    return act


def drip(octets, pause=0.2):
    """An octet now and then."""

    def act(c):
        for octet in octets:
            c.send(bytes([octet]))
            if c.stop.wait(pause):
                raise Gone

    return act


def flood(octets, seconds=PATIENCE):
    """The same again and again, as fast as it goes."""

    def act(c):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not c.stop.is_set():
            c.send(octets)
        raise Gone

    return act


def challenge(text, then):
    """334, and what to do with the response, which is one more command."""

    def act(c):
        c.send(b"334 " + text + b"\r\n")
        c.commands.append(c.line())
        c.sent.clear()
        then(c) if callable(then) else c.send(then)

    return act


# --- the server -----------------------------------------------------------------------------------


class Upstream:
    def __init__(self, *scripts, extensions=EVERYTHING, lmtp=False, family=socket.AF_INET):
        self.scripts = scripts or ({},)
        self.extensions, self.lmtp = extensions, lmtp
        self.connections, self.messages, self.threads = [], [], []
        self.stop, self.lock = threading.Event(), threading.Lock()
        self.folder = None
        self.listener = socket.socket(family)
        if family == socket.AF_UNIX:
            self.folder = tempfile.TemporaryDirectory(prefix="upstream.")
            self.endpoint = os.path.join(self.folder.name, "socket")
            self.listener.bind(self.endpoint)
        else:
            self.listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
            self.port = self.listener.getsockname()[1]
            self.endpoint = (f"[::1]:{self.port}" if family == socket.AF_INET6
                             else f"127.0.0.1:{self.port}")
        # what we do not read is to be felt
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.listener.listen(20)

    def __enter__(self):
        self.start(self.accept)
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        for c in list(self.connections):
            try:
                c.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        self.listener.close()
        if self.folder:
            self.folder.cleanup()

    def start(self, function, *args):
        thread = threading.Thread(target=function, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def accept(self):
        while not self.stop.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:  # it was shut down
                return
            sock.settimeout(PATIENCE)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            c = Connection(sock, self.stop)
            script = self.scripts[min(len(self.connections), len(self.scripts) - 1)]
            self.connections.append(c)
            self.start(self.serve, c, script)

    def serve(self, c, script):
        try:
            self.converse(c,
                          {step: list(a) if isinstance(a, list) else [a] for step,
                           a in script.items()})
        except Gone:
            pass
        finally:
            c.sock.close()  # which TLS may have replaced
        c.is_over = True

    def converse(self, c, script):
        def act(action):
            if callable(action):
                action(c)
            else:
                c.send(action)

        def do(step, default):
            actions = script.get(step, [default])
            action = actions.pop(0) if len(actions) > 1 else actions[0]
            c.sent.clear()
            act(default if action is None else action)

        sender, recipients, n = b"", [], 0
        do("greeting", b"220 up.example %s\r\n" % (b"LMTP" if self.lmtp else b"ESMTP"))
        while True:
            line = c.line()
            c.commands.append(line)
            verb, _, rest = line.partition(b" ")
            verb = verb.upper().decode("latin-1")
            if verb in ("EHLO", "LHLO"):
                c.ehlo, sender, recipients = rest, b"", []
                is_known = (verb == "LHLO") == self.lmtp
                words = ["up.example", *self.extensions]
                reply = "".join(f"250{'-' if i < len(words) - 1 else ' '}{w}\r\n" for i,
                                w in enumerate(words))
                do(verb, reply.encode() if is_known else b"500 5.5.1 what?\r\n")
            elif verb == "HELO":
                sender, recipients = b"", []
                do(verb, b"250 up.example\r\n")
            elif verb == "XCLIENT":
                do(verb, b"220 up.example ESMTP\r\n")
            elif verb == "AUTH":
                do(verb, b"235 2.7.0 welcome\r\n")
            elif verb == "MAIL":
                sender, recipients = rest.partition(b":")[2], []
                do(verb, b"250 2.1.0 sender fine\r\n")
            elif verb == "RCPT":
                do(verb, b"250 2.1.5 recipient fine\r\n")
                if c.sent.startswith(b"2"):
                    recipients.append(rest.partition(b":")[2])
            elif verb == "RSET":
                sender, recipients = b"", []
                do(verb, b"250 2.0.0 forgotten\r\n")
            elif verb == "DATA":
                do(verb, b"354 go on\r\n")
                if not c.sent.startswith(b"354"):
                    continue
                body = script.get("body", [None])
                wire = c.body(body.pop(0) if len(body) > 1 else body[0], act)
                message = Message(sender, recipients, wire)
                with self.lock:
                    self.messages.append(message)
                    n = len(self.messages)
                sender, recipients = b"", []
                verdicts = len(message.recipients) if self.lmtp else 1
                reply = b"".join(b"250 2.0.0 taken as %d.%d\r\n" % (n, i) for i in range(verdicts))
                try:
                    do("dot", reply)
                finally:
                    message.verdict = bytes(c.sent)
            elif verb == "QUIT":
                do(verb, b"221 2.0.0 bye\r\n")
                raise Gone
            else:
                do(verb, b"500 5.5.1 what?\r\n")

    @property
    def commands(self):
        """Of all connections, once they are over."""
        self.wait_until_over()
        return [line for c in self.connections for line in c.commands]

    def wait_until_over(self):
        """Until all clients have gone and what they left was read."""
        end = time.monotonic() + PATIENCE
        while not all(c.is_over for c in self.connections):
            assert time.monotonic() < end, "a connection is still open"
            time.sleep(0.002)
