# SPDX-License-Identifier: MIT
"""The transcripts, played through the program: with a client that waits for each reply, with one
that sends everything at once, and with one that sends single octets. transcripts/README.md
describes them."""

import os
import re
import select
import socket
import subprocess
import time

import pytest
from conftest import ROOT
from session import ABOUT_PEERS

FOLDER = ROOT / "tests/transcripts"
PATIENCE = int(os.environ.get("TESTS_PATIENCE", "20"))  # seconds
BEGIN = b"---------- MESSAGE FOLLOWS ----------\n"
END = b"------------ END MESSAGE ------------\n"
ESCAPE = re.compile(rb"\\(?:([rn0t\\])|x([0-9a-fA-F]{2})|\{(\d+)\*([^}]*)\})")
NAMES = {b"r": b"\r", b"n": b"\n", b"0": b"\0", b"t": b"\t", b"\\": b"\\"}


def unescape(text):
    def octets(match):
        name, octet, times, piece = match.groups()
        if name:
            return NAMES[name]
        return bytes([int(octet, 16)]) if octet else int(times) * unescape(piece)

    return ESCAPE.sub(octets, text)


class Session:
    """What a client says (`bursts`), and what it must hear after each: `answers` has one list more
    than `bursts`, the first for the greeting. An answer is a reply line, or b"X:"."""

    def __init__(self, name):
        self.name = name
        self.options = []
        self.is_lf = False
        self.bursts, self.answers, self.messages = [], [[]], []
        self.is_talking = False

    def say(self, octets):
        if not self.is_talking:
            self.bursts.append(b"")
            self.answers.append([])
        self.is_talking = True
        self.bursts[-1] += octets

    def hear(self, answer):
        self.is_talking = False
        self.answers[-1].append(answer)

    def deliver(self, mark, text):
        self.is_talking = False
        if mark == b"D!":
            # the number of answers that come before: a client that is closed early has delivered
            # less
            self.messages.append([sum(map(len, self.answers)), b""])
        elif mark == b"D:":
            self.messages[-1][1] += text + b"\n"

    def take(self, line):
        mark, text = line[:2], line[2:].removeprefix(b" ")
        if mark == b"! ":
            if text == b"lf":
                self.is_lf = True
            else:
                self.options.append("--" + text.decode())
        elif mark == b"C:":
            self.say(unescape(text) + (b"\n" if self.is_lf else b"\r\n"))
        elif mark == b"C-":
            self.say(unescape(text))
        elif mark == b"S:":
            self.hear(unescape(text))
        elif mark == b"X:":
            self.hear(mark)
        elif mark in (b"D!", b"D>", b"D:"):
            self.deliver(mark, unescape(text))

    def in_one_burst(self):
        """The same, with everything sent at once."""
        once = Session(self.name)
        once.options, once.is_lf = self.options, self.is_lf
        once.say(b"".join(self.bursts))
        once.answers = [[], sum(self.answers, [])]
        once.messages = self.messages
        return once


def read_sessions():
    for path in sorted(FOLDER.glob("*.txt")):
        session = None
        for n, line in enumerate(path.read_bytes().split(b"\n"), 1):
            if line.startswith(b"== "):
                if session:
                    yield session
                session = Session(f"{path.name}:{n} {line[3:].decode()}")
            elif session:
                session.take(line)
        if session:
            yield session


SESSIONS = list(read_sessions())


def is_expected(expected, got):
    """Code, dash and enhanced code must be equal; the text, too, where one is expected."""
    form = re.compile(rb"(\d{3}[ -])(\d\.\d{1,3}\.\d{1,3}(?: |$))?(.*)", re.DOTALL)
    want, have = form.fullmatch(expected if len(expected) > 3
                                else expected + b" "), form.fullmatch(got)
    if expected == got or not (want and have):
        return expected == got
    return want[1] == have[1] and (want[2] or b"").strip() == (have[2]
                                                               or b"").strip() and want[3] == b""


class Program:
    """smtpd with a session, and the other end of it."""

    def __init__(self, smtpd, session, err):
        arguments = [smtpd, "--config=/dev/null", "--strategy=print", "--hostname=mx.example.com",
                     *session.options]
        environment = {name: value for name,
                       value in os.environ.items() if not name.startswith(ABOUT_PEERS)}
        if session.is_lf:
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=err,
                                            env=environment)
            self.out, self.into = self.process.stdin.fileno(), self.process.stdout.fileno()
        else:
            self.socket, theirs = socket.socketpair()
            self.process = subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=err,
                                            env=environment)
            theirs.close()
            self.out = self.into = self.socket.fileno()
        self.is_lf = session.is_lf
        self.deadline = time.monotonic() + PATIENCE
        self.heard = b""
        self.is_eof = False
        os.set_blocking(self.out, False)

    def hear(self):
        chunk = os.read(self.into, 65536)
        self.heard += chunk
        self.is_eof = not chunk

    def wait(self, has_output):
        readers = [] if self.is_eof else [self.into]
        ready = select.select(readers, [self.out] if has_output else [], [],
                              self.deadline - time.monotonic())
        assert ready[0] or ready[1], f"nothing happens; heard so far: {self.heard[-200:]}"
        return ready

    def say(self, octets):
        """Sends, and hears what is said meanwhile, so that nobody waits for the other."""
        while octets and not self.is_eof:
            readable, writable, _ = self.wait(True)
            if readable:
                self.hear_or_end()
            if writable:
                try:
                    octets = octets[os.write(self.out, octets) :]
                except (BrokenPipeError, ConnectionResetError):
                    return

    def hear_or_end(self):
        try:
            self.hear()
        except ConnectionResetError:
            self.is_eof = True

    def line(self):
        """The next reply line without its CRLF; None at the end."""
        while b"\r\n" not in self.heard and not self.is_eof:
            self.wait(False)
            self.hear_or_end()
        if b"\r\n" not in self.heard:
            assert not self.heard
            return None
        line, self.heard = self.heard.split(b"\r\n", 1)
        return line

    def leave(self):
        if self.is_lf:
            self.process.stdin.close()
        else:
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def end(self):
        self.leave()
        assert self.line() is None, "a reply that nobody expects"
        status = self.process.wait(max(0, self.deadline - time.monotonic()))
        if not self.is_lf:
            self.socket.close()
        else:
            self.process.stdout.close()
        return status


def hear_answers(program, answers):
    for expected in answers:
        if expected == b"X:":
            assert program.line() is None, "the server should have closed"
        else:
            got = program.line()
            assert got is not None and is_expected(expected,
                                                   got), f"expected {expected!r}, got {got!r}"


def with_x_peer(message):
    """Where strategy print puts X-Peer: at the end of the header section."""
    n = 0 if message.startswith(b"\n") else message.find(b"\n\n") + 1 or len(message)
    return message[:n] + b"X-Peer: local\n" + message[n:]


def printed_messages(err):
    """Printed blocks; log lines stand between them. A message could hold a line like END: none of
    ours does."""
    return [part.split(END)[0] for part in err.split(BEGIN)[1:]]


def play(smtpd, session, tmp_path, piece=None):
    with open(tmp_path / "err", "wb+") as err:
        program = Program(smtpd, session, err)
        try:
            hear_answers(program, session.answers[0])
            for burst, answers in zip(session.bursts, session.answers[1:]):
                size = piece or max(1, len(burst))
                for i in range(0, len(burst), size):
                    program.say(burst[i : i + size])
                hear_answers(program, answers)
            assert program.end() == 0
        finally:
            program.process.kill()
            program.process.wait()
        err.seek(0)
        said = err.read()
    assert printed_messages(said) == [with_x_peer(text) for _, text in session.messages]
    assert said.count(b"\n") >= 1 and b"runtime error" not in said and b"Sanitizer" not in said


def named(sessions):
    return [pytest.param(s, id=s.name) for s in sessions]


@pytest.mark.parametrize("session", named(SESSIONS))
def test_client_waits(smtpd, session, tmp_path):
    play(smtpd, session, tmp_path)


@pytest.mark.parametrize("session", named(SESSIONS))
def test_client_sends_all_at_once(sanitized, session, tmp_path):
    """Buffers are as full as they get."""
    play(sanitized, session.in_one_burst(), tmp_path)


SHORT = [s for s in SESSIONS if sum(map(len, s.bursts)) < 3000]


@pytest.mark.parametrize("session", named(SHORT))
def test_client_sends_single_octets(release, session, tmp_path):
    """The core is given them with sanitizers, in the units."""
    play(release, session, tmp_path, piece=1)
