# SPDX-License-Identifier: MIT
"""What the client says: the messages, and the steps of a session."""

import re
from dataclasses import dataclass, field


@dataclass
class Message:
    text: bytes  # LF lines
    sender: str
    recipients: list

    @property
    def wire(self):
        return re.sub(rb"^\.", b"..", self.text, flags=re.M).replace(b"\n", b"\r\n") + b".\r\n"

    @property
    def chunks(self):
        """In two, of which the first ends between CR and LF."""
        octets = self.text.replace(b"\n", b"\r\n")
        split = octets.index(b"\r\n", len(octets) // 2) + 1
        first, rest = octets[:split], octets[split:]
        return b"BDAT %d\r\n%s" % (split, first), b"BDAT %d LAST\r\n%s" % (len(rest), rest)


HEADER = "From: a@example.org\nDate: Thu, 1 Jan 2026 00:00:00 +0000\nTo: b@example.com\nSubject: %s\n\n"
LINES = "".join(f"{'.' if n % 50 == 3 else ''}line {n}: the quick brown fox jumps over the lazy "
                f"dög\n" for n in range(700))
SHORT = (HEADER % "short").encode() + b".a dot\n\nand the end\n"
SECOND = (HEADER % "second").encode() + b"of two\n"
RICH = (HEADER % "rich" + LINES).encode()
LARGE = b"".join(RICH.splitlines(keepends=True)[:60]) + (b"and so on " * 99 + b"\n") * 230
assert len(RICH) > 34 * 1024  # src/io/spool.h
assert len(LARGE) > 212_992  # net.core.wmem_default: what a socket has room for


def nth(codes, n):
    """A code, or 0."""
    return codes[n] if n < len(codes) else 0


@dataclass
class Session:
    """What the client says: steps for tests/sweep.d/client.c, (octets, codes of the replies when
    all goes well, the class that they must have, the step after that, the step otherwise)."""

    name: str
    messages: list
    is_lmtp: bool = False
    is_tcp: bool = False
    is_pipelined: bool = False
    is_chunked: bool = False
    has_prdr: bool = False
    has_tls: bool = False
    header: bytes = b""  # before the greeting
    has_auth: bool = False
    verdict: int = 250
    steps: list = field(default_factory=list)
    # (message, recipient) -> the step where RCPT is said, which of its replies
    recipients: dict = field(default_factory=dict)
    dots: dict = field(default_factory=dict)  # message -> step

    def __post_init__(self):
        n_steps = (lambda m: 3) if self.is_pipelined else (lambda m: len(m.recipients) + 4)
        hello = b"%s run-@@TOKEN@.example.org\r\n" % (b"LHLO" if self.is_lmtp else b"EHLO")
        before = [self.header, hello] + [b"STARTTLS\r\n", hello] * self.has_tls
        before += [b"AUTH PLAIN\r\n", b"AGEAYg==\r\n"] * self.has_auth
        quit_at = len(before) + sum(map(n_steps, self.messages))
        for line in before:
            code = {self.header: 220, hello: 250, b"STARTTLS\r\n": 220,
                    b"AUTH PLAIN\r\n": 334}.get(line, 235)
            self.add(line, [code], str(code)[0], None, quit_at)
        for i, m in enumerate(self.messages):
            reset = len(self.steps) + n_steps(m) - 1
            prdr = " PRDR" * self.has_prdr
            lines = [f"MAIL FROM:<{m.sender}> BODY=8BITMIME{prdr}\r\n".encode(),
                     *(f"RCPT TO:<{r}>\r\n".encode() for r in m.recipients), b"DATA\r\n"]
            codes = [250] * (len(lines) - 1) + [354]
            end = m.wire
            if self.is_chunked:
                lines[-1], end = m.chunks
                codes[-1] = 250
            for n in range(len(m.recipients)):
                self.recipients[i, n] = (len(self.steps),
                                         n + 1) if self.is_pipelined else (len(self.steps) + n + 1,
                                                                           0)
            if self.is_pipelined:
                self.add(b"".join(lines), codes, "L", None, reset)
            else:
                for line, code in zip(lines, codes):
                    self.add(line, [code], str(code)[0], None, reset)
            self.dots[i] = len(self.steps)
            codes = [self.verdict] * (len(m.recipients) if self.is_lmtp else 1)
            if self.has_prdr and len(m.recipients) > 1:
                codes = [353, *[self.verdict] * len(m.recipients), self.verdict]
            if self.is_pipelined and m is self.messages[-1]:
                self.add(end + b"QUIT\r\n", codes + [221], "2", 999, 999)
            else:
                self.add(end, codes, "2", reset + 1, reset + 1)
            self.add(b"RSET\r\n", [250], "2", None, quit_at)
        assert len(self.steps) == quit_at
        self.add(b"QUIT\r\n", [221], "2", 999, 999)

    def add(self, text, codes, digit, after=None, otherwise=None):
        self.steps.append((text, codes, digit, len(self.steps) + 1 if after is None else after,
                           otherwise))

    def verdict_of(self, heard, i, n):
        """What the client knows of a recipient, of the replies to a message's end. With PRDR it goes by
        their own ones only if the last one, for all, is a yes."""
        if self.is_lmtp:
            return nth(heard, n)
        if nth(heard, 0) != 353:
            return nth(heard, 0)
        last = nth(heard, len(self.messages[i].recipients) + 1)
        return nth(heard, n + 1) if last == 250 else last

    @property
    def file(self):
        return b"".join(b"%d %d %s %d %d\n%s" % (len(t), len(c), d.encode(), a, o, t) for t, c, d,
                        a, o in self.steps)

    def play(self):
        """The steps that are taken when all goes well."""
        at = 0
        while at < len(self.steps):
            yield self.steps[at]
            at = self.steps[at][3]

    @property
    def said(self):
        return [text for text, *_ in self.play()]

    @property
    def codes(self):
        return [code for _, codes, *_ in self.play() for code in codes]

    @property
    def peer(self):
        return "127.0.0.1" if self.is_tcp else "local"
