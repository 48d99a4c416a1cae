# SPDX-License-Identifier: MIT
"""Strategy proxy: its command line, a session of one message, and what is always asked of it.

The client's replies have the right class and come in time, and the upstream has a complete message
only if we said 250, or its own reply was lost (and then the log says so)."""

import re
import socket
import time
from dataclasses import dataclass

from session import Session, command
from upstream import EVERYTHING

HOSTNAME = b"mx.example.com"
SMALL = b"Subject: small\r\n\r\nsmall\r\n"
# 900 kB
LARGE = b"Subject: large\r\n\r\n" + b"the quick brown fox jumps over the lazy dog\r\n" * 20000
HUGE = LARGE + LARGE * 7  # more than the kernel keeps for a receiver that does not read
STEPS = ["EHLO", "MAIL", "RCPT", "DATA", "dot"]
RECEIVED = re.compile(
    rb"Received: from (?P<helo>[^\s()<>;]+) \((?P<peer>local|\[[0-9A-Za-z.:]+\])\)\n"
    rb"\tby mx\.example\.com \(smtpd\) with (?P<protocol>[A-Z0-9]+) id (?P<id>[0-9a-f.]+)"
    rb"(?:\n\tfor <(?P<to>[^\n]*)>)?;\n"
    rb"\t(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [1-3]?\d "
    rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} "
    rb"\d\d:\d\d:\d\d \+0000\n"
)


def proxy(smtpd, *upstreams_and_options):
    """The command line, for Upstreams (or their names) and options."""
    argv = command(smtpd, "--strategy=proxy")
    for one in upstreams_and_options:
        name = getattr(one, "endpoint", one)
        argv.append(name if name.startswith("--") else f"--upstream={name}")
    return argv


@dataclass
class Outcome:
    replies: dict  # by step, as far as it went
    log: bytes
    seconds: float  # the longest wait for a reply

    @property
    def codes(self):
        return [int(self.replies[step][:3]) for step in STEPS if step in self.replies]

    @property
    def last(self):
        return self.replies[max(self.replies, key=STEPS.index)]


def play(argv, folder, content=SMALL, mail=b"MAIL FROM:<a@example.org>", pair=None, verdicts=1):
    """A session of one message, until something is refused."""
    said = {
        "EHLO": b"EHLO client.example.org\r\n",
        "MAIL": mail + b"\r\n",
        "RCPT": b"RCPT TO:<b@example.com>\r\n",
        "DATA": b"DATA\r\n",
        "dot": content + b".\r\n",
    }
    if "--protocol=lmtp" in argv:
        said["EHLO"] = said["EHLO"].replace(b"EHLO", b"LHLO")
    got, longest = {}, 0.0
    with Session(argv, folder, pair=pair) as session:
        session.expect((None, b"220 "))
        for step in STEPS:
            then = time.monotonic()
            session.say(said[step])
            got[step] = session.reply()
            longest = max(longest, time.monotonic() - then)
            if got[step][:1] not in (b"2", b"3"):
                break
        assert session.end() == 0
        return Outcome(got, session.err(), longest)


FIELDS = re.compile(rb"(?:From [^\n]*\n(?:[ \t][^\n]*\n)*)?(?:[!-9;-~]+[ \t]*:[^\n]*\n(?:[ "
                    rb"\t][^\n]*\n)*)*")


def as_sent(text, peer="local"):
    """LF lines as they are passed on, behind Received: what is no header field comes after an empty
    line."""
    fields = FIELDS.match(text)[0]
    label = b"X-Mailbox-Line: " if re.match(rb"From (?![ \t]*:)", fields) else b""
    rest = text[len(fields) :]
    return label + fields + b"X-Peer: " + peer.encode() + b"\n" + (
        b"\n" if rest and not rest.startswith(b"\n") else b"") + rest


def passed_on(message):
    """What an upstream got: (Received's parts, the LF text behind it)."""
    match = RECEIVED.match(message.text)
    assert match, message.text[:500]
    return match.groupdict(), message.text[match.end() :]


def check_honest(outcome, up, is_reply_lost=False):
    """The invariant of every fault."""
    up.wait_until_over()
    taken = [m for m in up.messages if not m.verdict or m.verdict.startswith(b"2")]
    if outcome.codes[-1] == 250:
        assert len(outcome.codes) == len(STEPS) and len(taken) == 1, "250 is the upstream's word"
        assert taken[0].verdict.startswith(b"250")
        return
    assert outcome.codes[-1] in range(400, 600)
    assert len(taken) <= is_reply_lost, "the upstream has a message that we did not answer for"
    if is_reply_lost:
        assert b"duplicate possible" in outcome.log


def check_exact(message, content, sender=b"<a@example.org>", recipients=(b"<b@example.com>",),
                peer="local"):
    assert message.sender.split(b" ")[0] == sender and message.recipients == list(recipients)
    assert passed_on(message)[1] == as_sent(re.sub(rb"^\.", b"", content,
                                                   flags=re.M).replace(b"\r\n", b"\n"), peer)


HOSTILE_NAMES = [b"x;y", b"a b", b"a(b)c", b"a\\b", b'"quoted"', b"<x@y>", b"x\xff\xc3\xa4",
                 b"=+~!#$%&'*/?^`{|}", b"x, y", b"z" * 255,
                 b"[127.0.0.1]", b"x HELO=y ADDR=127.0.0.1", b"MAIL FROM:<x@y>"]  # fmt: skip


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def offers(argv, folder, hello=b"EHLO client.example.org"):
    with Session(argv, folder) as session:
        session.expect((None, b"220 "))
        lines = [line[4:] for line in session.ask(hello).split(b"\r\n")]
        assert session.end() == 0
    return lines[0], set(lines[1:])


XCLIENT = (*EVERYTHING, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN")
