# SPDX-License-Identifier: MIT
"""Crowds of hostile clients around an acceptor, an honest one among them, and what it costs."""

import contextlib
import selectors
import socket
import statistics
import threading
import time
from pathlib import Path

from acceptor import Acceptor
from processes import children, command_line, descriptors, is_running, processes, status_of, zombies
from session import BEGIN, END, wait_until, with_x_peer

# seconds that an honest session may take; a single one, on a machine that is busy with other
# things, BOUND + SLACK
BOUND = 5
SLACK = 10  # seconds that a busy machine may add to a timeout
ROOM = 1024  # KiB that a session may use more than an idle one


def connect(address, source, is_far=False):
    """A far one has the segments of a network, and room for few: over loopback megabytes are on
    their way otherwise."""
    host, port = address.rsplit(":", 1)
    sock = socket.socket()
    if is_far:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    sock.bind((source, 0))
    sock.settimeout(BOUND + SLACK)
    sock.connect((host, int(port)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


# --- honest clients -------------------------------------------------------------------------------


class Honest(threading.Thread):
    """One session with a message after the other, a reply at a time."""

    def __init__(self, address):
        super().__init__()
        self.address = address
        self.is_stopped = threading.Event()
        self.messages, self.durations, self.failure = [], [], None

    def run(self):
        while not self.is_stopped.is_set() and not self.failure:
            begun = time.monotonic()
            try:
                self.one_session()
            except (AssertionError, OSError) as failure:
                self.failure = f"{failure!r} after {time.monotonic() - begun:.1f} s"
            self.durations.append(time.monotonic() - begun)
            self.is_stopped.wait(0.1)

    def one_session(self):
        lines = [b"honest line %d of message %d" % (n, len(self.messages)) for n in range(100)]
        with connect(self.address, "127.0.0.2") as sock, sock.makefile("rb") as file:
            for said, code in [
                (b"", b"220 "), (b"EHLO honest\r\n", b"250 "),
                (b"MAIL FROM:<a@example.org>\r\n", b"250 "),
                (b"RCPT TO:<b@example.com>\r\n", b"250 "), (b"DATA\r\n", b"354 "),
                (b"Subject: honest\r\n\r\n" + b"\r\n".join(lines) + b"\r\n.\r\n", b"250 "),
                (b"QUIT\r\n", b"221 "),
            ]:
                sock.sendall(said)
                while (line := file.readline())[3:4] == b"-":
                    pass
                assert line.startswith(code), f"to {said[:30]!r}: {line!r}"
                if said.startswith(b"Subject"):
                    self.messages.append(b"Subject: honest\n\n" + b"\n".join(lines) + b"\n")
            assert file.read() == b""

    def stop(self):
        self.is_stopped.set()
        self.join()

    def check(self):
        """All were served, and in time."""
        assert not self.failure, f"after {len(self.messages)} messages: {self.failure}"
        assert len(self.messages) >= 3, self.durations
        assert statistics.median(
            self.durations) < BOUND and max(self.durations) < BOUND + SLACK, self.durations


# --- hostile clients ------------------------------------------------------------------------------


class Hostile:
    """It sends what it has, then `endless` again and again; it hears everything or nothing."""

    def __init__(self, sock, says=b"", endless=b"", is_deaf=False):
        self.sock, self.left, self.endless, self.is_deaf = sock, memoryview(says), endless, is_deaf
        self.heard = bytearray()
        self.is_over = False
        sock.setblocking(False)

    def wants(self):
        return (0 if self.is_deaf else selectors.EVENT_READ) | (selectors.EVENT_WRITE if self.left
                                                                or self.endless else 0)

    def send(self):
        self.left = self.left or memoryview(self.endless)
        try:
            self.left = self.left[self.sock.send(self.left) :]
        except BlockingIOError:
            pass
        except OSError:  # what it has to say to us comes first
            self.left, self.endless = memoryview(b""), b""
            self.is_over |= self.is_deaf

    def hear(self):
        try:
            part = self.sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        self.heard += part
        self.is_over = not part


def is_executed(session):
    """Up to its execve(2) a session is a thread of the acceptor in all but name, and has its
    memory."""
    return any(word.startswith(b"--config=/dev/fd/") for word in command_line(session))


class Siege:
    """An acceptor with the limits of a large one, an honest client, and whatever crowd a test
    adds."""

    def __init__(self, acceptor, mailbox=None):
        self.acceptor, self.mailbox = acceptor, mailbox
        self.address = acceptor.address
        self.hostile, self.n_more_messages = [], 0
        self.selector = selectors.DefaultSelector()
        self.peak = self.n_peak = self.n_programs = 0
        self.sessions, self.programs = set(), set()
        self.honest = Honest(self.address)

    # --- what it costs

    def measure_idle(self):
        with connect(self.address, "127.0.0.1") as sock:
            assert sock.recv(100).startswith(b"220 ")
            self.idle = status_of(self.acceptor.sessions()[0], "VmHWM")
        # only then is the acceptor done with it
        wait_until(lambda: not children(self.acceptor.pid), "the session to be reaped")
        self.before = descriptors(self.acceptor.pid), status_of(self.acceptor.pid, "VmHWM")

    def look(self):
        """Notes the sessions' memory and number, the acceptor's memory and descriptors. Returns how
        many sessions there are."""
        sessions = self.acceptor.sessions()
        self.sessions.update(sessions)
        for pid in filter(is_executed, sessions):
            self.peak = max(self.peak, status_of(pid, "VmHWM") or 0)
        self.n_peak = max(self.n_peak, len(sessions))
        assert self.peak <= self.idle + ROOM, f"{self.peak} KiB in a session; an idle one has {self.idle}"
        assert len(descriptors(self.acceptor.pid)) <= len(self.before[0]) + 4
        assert status_of(self.acceptor.pid, "VmHWM") <= self.before[1] + ROOM
        return len(sessions)

    def look_at_programs(self):
        """Notes those that sessions run, and how many there are."""
        sessions = self.acceptor.sessions()
        programs = [pid for pid,
                    status in processes().items() if status.parent in sessions
                    and not status.is_over]
        self.n_programs = max(self.n_programs, len(programs))
        self.programs.update(programs)

    # --- who comes

    def add(self, n, says=b"", endless=b"", is_deaf=False):
        """A crowd of n; each says its own if `says` is a function of its number."""
        crowd = []
        for i in range(n):
            sock = connect(self.address, "127.0.0.1", is_far=is_deaf)
            crowd.append(Hostile(sock, says(i) if callable(says) else says, endless, is_deaf))
            if crowd[-1].wants():
                self.selector.register(sock, crowd[-1].wants(), crowd[-1])
            if i % 100 == 99:
                self.turn(0)
        self.hostile += crowd
        return crowd

    def turn(self, seconds):
        """Whoever can, says and hears something."""
        for key, events in self.selector.select(seconds):
            peer = key.data
            if events & selectors.EVENT_READ:
                peer.hear()
            if events & selectors.EVENT_WRITE and not peer.is_over:
                peer.send()
            if peer.is_over or not peer.wants():
                self.selector.unregister(key.fileobj)
            elif peer.wants() != key.events:
                self.selector.modify(key.fileobj, peer.wants(), peer)
            if peer.is_over:
                peer.sock.close()

    def say(self, peer, octets):
        peer.left = memoryview(octets)
        self.selector.modify(peer.sock, peer.wants(), peer)

    def drip(self, octet):
        for peer in self.hostile:
            # it is over, or so far behind that nothing more fits
            with contextlib.suppress(OSError):
                if not peer.is_over:
                    peer.sock.send(octet)

    def hold(self, seconds, condition=lambda: False, drip=None, is_look_wanted=True):
        """Goes on for so long, or until the condition holds. Returns whether it does."""
        deadline = time.monotonic() + seconds
        next_look = next_drip = 0
        while (now := time.monotonic()) < deadline:
            self.turn(0.02)
            if drip and now >= next_drip:
                self.drip(drip)
                next_drip = now + 0.7
            if is_look_wanted and now >= next_look:
                self.look()
                next_look = time.monotonic() + 0.3
            if condition():
                return True
        return condition()

    def hold_until_all_are_over(self, seconds, **more):
        """By what they hear, those that hear."""
        crowd = [peer for peer in self.hostile if not peer.is_deaf]
        assert self.hold(seconds + SLACK, lambda: all(peer.is_over for peer in crowd),
                         **more), "some sessions do not end"

    def hold_until_alone(self, seconds):
        """The honest client's session is all that is left."""
        assert self.hold(seconds + SLACK,
                         lambda: len(self.acceptor.sessions()) <= 1), "some sessions do not end"

    # --- what came of it

    def delivered(self):
        return sorted(path.read_bytes() for path in Path(self.mailbox).glob("message.*"))

    def check_messages(self):
        if self.mailbox:
            assert self.delivered() == sorted(self.honest.messages)
            return
        said = self.acceptor.shown_path.read_bytes()
        assert said.count(BEGIN) == said.count(END) == len(
            self.honest.messages) + self.n_more_messages
        at = 0
        for message in self.honest.messages:  # in their order
            whole = BEGIN + with_x_peer(message, "127.0.0.2") + END
            at = said.find(whole, at) + len(whole)
            assert at >= len(whole), message

    def check_that_nothing_is_left(self):
        wait_until(lambda: not any(map(is_running, self.sessions | self.programs)),
                   "the end of all processes")
        if not self.acceptor.has_ended:
            wait_until(lambda: not self.acceptor.sessions() and not zombies(self.acceptor.pid),
                       "the end of all sessions")
            wait_until(lambda: descriptors(self.acceptor.pid) == self.before[0],
                       "nothing to be left open")
        assert b" ended by signal " not in self.acceptor.err()

    def close(self):
        for peer in self.hostile:
            peer.sock.close()
        self.selector.close()


@contextlib.contextmanager
def siege(release, folder, *options, mailbox=None):
    limits = ["--max-connections=2000", "--max-connections-per-source=1500", "--timeout=2",
              "--session-timeout=4"]
    with Acceptor(release, folder, *limits, *options) as acceptor:
        s = Siege(acceptor, mailbox)
        try:
            s.measure_idle()
            s.honest.start()
            yield s
            if not acceptor.has_ended:
                s.hold(SLACK, lambda: len(s.honest.messages) >= 3 or s.honest.failure)
            s.honest.stop()
            s.honest.check()
            s.check_that_nothing_is_left()
            s.check_messages()
        finally:
            s.honest.stop()
            s.close()
