# SPDX-License-Identifier: MIT
"""Strategy proxy before an upstream that misbehaves in every way at every step
(tests/lib/upstream.py). What is always asked: the client's replies have the right class and come in
time, and the upstream has a complete message only if we said 250, or its own reply was lost (and
then the log says so)."""

import re
import socket
import subprocess
import threading
import time
from dataclasses import dataclass

import pytest
from conftest import missing
from logs import lines, one
from session import (PATIENCE, Session, codes, command, environment, replies, reset as reset_client,
                     run, tcp_pair)
from upstream import EVERYTHING, Body, Upstream, close, deaf, drip, flood, last, reset, silent

HOSTNAME = b"mx.example.com"
SMALL = b"Subject: small\r\n\r\nsmall\r\n"
# 900 kB
LARGE = b"Subject: large\r\n\r\n" + b"the quick brown fox jumps over the lazy dog\r\n" * 20000
HUGE = LARGE + LARGE * 7  # more than the kernel keeps for a receiver that does not read
# extensions that the upstream need not know of
OUR_OWN = {b"PIPELINING", b"CHUNKING", b"LIMITS RCPTMAX=100", b"HELP"}
BARE = OUR_OWN | {b"8BITMIME"}
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


# --- all is well ----------------------------------------------------------------------------------


def test_one_message(smtpd, tmp_path):
    with Upstream() as up:
        outcome = play(proxy(smtpd, up), tmp_path)
        check_honest(outcome, up)
        assert outcome.codes == [250, 250, 250, 354, 250]
        assert outcome.replies["MAIL"] == b"250 2.1.0 sender fine"
        assert outcome.replies["RCPT"] == b"250 2.1.5 recipient fine"
        assert outcome.last == b"250 2.0.0 taken as 1.0"
        check_exact(up.messages[0], SMALL)
        assert up.commands == [b"EHLO " + HOSTNAME, b"MAIL FROM:<a@example.org>",
                               b"RCPT TO:<b@example.com>", b"DATA", b"QUIT"]
        assert b"message " in outcome.log and f"destination={up.endpoint}".encode() in outcome.log


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX],
                         ids=["IPv4", "IPv6", "local"])
def test_kinds_of_endpoints(release, tmp_path, family):
    try:
        up = Upstream(family=family)
    except OSError as error:
        missing(f"{family.name}: {error}")
    with up:
        check_honest(play(proxy(release, up), tmp_path), up)
        check_exact(up.messages[0], SMALL)


MESSAGES = {
    "empty": b"",
    "one line": b"x\r\n",
    "no header": b"just text\r\nand more\r\n\r\nand more\r\n",
    "blank first line": b"\r\nbody\r\n",
    "header only": b"Subject: x\r\n",
    "header and blank line": b"Subject: x\r\n\r\n",
    "dots": b"Subject: dots\r\n\r\n..\r\n...\r\n..a\r\na.\r\n.. \r\n\r\n..\r\n",
    "dot in the header": b"..\r\nSubject: x\r\n\r\n.. \r\n",
    "8 bits": b"Subject: \xc3\xa4\r\n\r\n" + bytes(range(0x80, 0x100)) * 3 + b"\r\n",
    "control characters": b"Subject: x\r\n\r\n" + bytes(set(range(1, 32)) - {10, 13}) + b"\x7f\r\n",
    "long line": b"Subject: x\r\n\r\n" + b"y" * 200_000 + b"\r\n",
    "long header": b"".join(b"X-%d: %s\r\n" % (i, b"h" * 70) for i in range(3000))
    + b"\r\nbody\r\n",
    "folded header": b"Subject: x\r\n y\r\n\tz\r\nTo: a\r\n\r\nbody\r\n",
    "blank lines": b"Subject: x\r\n\r\n\r\n\r\n\r\n",
    "From line": b"From a@b Sat Nov 21\r\nSubject: x\r\n\r\nFrom x\r\n",
    "10 MB": b"Subject: x\r\n\r\n"
    + b"..begins with a dot and goes on for a while, as lines do\r\n\r\nabc\r\n" * 150_000,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_octets_are_exact(smtpd, tmp_path, name):
    content = MESSAGES[name]
    with Upstream(extensions=[e.replace("10485760", "0") for e in EVERYTHING]) as up:
        outcome = play(proxy(smtpd, up, "--max-size=0"), tmp_path, content)
        check_honest(outcome, up)
        assert outcome.codes[-1] == 250
        check_exact(up.messages[0], content)


def test_lengths_around_the_buffers(release, tmp_path):
    """Every length near the boundaries of the spool and of the client's buffer, with the dots where
    they hurt."""
    with Upstream() as up:
        contents = []
        with Session(proxy(release, up, "--max-commands=100000"), tmp_path) as session:
            session.begin("EHLO")
            for n in [*range(65520, 65550), *range(131060, 131080)]:
                line = b"S: x\r\n\r\n" + b"..\r\n" * ((n - 8) // 4)
                contents.append(line + b"z" * (n % 4) + b"\r\n")
                assert session.send_message(contents[-1]).startswith(b"250 ")
            assert session.end() == 0
        up.wait_until_over()
        assert len(up.messages) == len(contents)
        for message, content in zip(up.messages, contents):
            check_exact(message, content)


def test_without_x_peer(smtpd, tmp_path):
    with Upstream() as up:
        check_honest(play(proxy(smtpd, up, "--x-peer=no"), tmp_path), up)
        assert passed_on(up.messages[0])[1] == SMALL.replace(b"\r\n", b"\n")


# --- what we add ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("peer", "shown", "x_peer"), [
    (None, b"local", "local"),
    ("192.0.2.1", b"[192.0.2.1]", "192.0.2.1"),
    ("[2001:DB8:0::1]:25", b"[IPv6:2001:db8::1]", "2001:db8::1"),
    ("::ffff:192.0.2.7", b"[192.0.2.7]", "192.0.2.7"),
])  # fmt: skip
def test_received(smtpd, peer, shown, x_peer):
    options = [f"--peer={peer}"] if peer else []
    said = (b"EHLO client.example.org\nMAIL FROM:<a@example.org>\nRCPT TO:<b@example.com>\nDATA\n"
            + b"Subject: x\n\nbody\n.\nQUIT\n")
    with Upstream() as up:
        status, out, _ = run(proxy(smtpd, up, "--relay-to=example.com", *options), said)
        assert status == 0 and codes(out)[-2:] == [250, 221]
        parts, text = passed_on(up.messages[0])
        assert (parts["helo"], parts["peer"], parts["protocol"],
                parts["to"]) == (b"client.example.org", shown, b"ESMTP", b"b@example.com")
        assert text == b"Subject: x\nX-Peer: %s\n\nbody\n" % x_peer.encode()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_received_from_a_connection(release, tmp_path, family):
    try:
        pair = tcp_pair(family)
    except OSError as error:
        missing(f"{family.name}: {error}")
    with Upstream() as up:
        check_honest(play(proxy(release, up), tmp_path, pair=pair), up)
        address = "127.0.0.1" if family == socket.AF_INET else "::1"
        assert passed_on(up.messages[0])[0]["peer"] == (b"[127.0.0.1]" if address == "127.0.0.1"
                                                        else b"[IPv6:::1]")
        check_exact(up.messages[0], SMALL, peer=address)


@pytest.mark.parametrize(("hello", "protocol"), [(b"HELO x", b"SMTP"), (b"EHLO x", b"ESMTP")])
def test_received_protocol_and_several_recipients(release, hello, protocol):
    said = (hello
            + b"\nMAIL FROM:<>\nRCPT TO:<b@example.com>\nRCPT TO:<c@example.com>\nDATA\n.\nQUIT\n")
    with Upstream() as up:
        assert codes(run(proxy(release, up), said)[1]) == [220, 250, 250, 250, 250, 354, 250, 221]
        parts, text = passed_on(up.messages[0])
        assert parts["protocol"] == protocol and parts["to"] is None and text == b"X-Peer: local\n"
        assert up.messages[0].sender == b"<>"
        assert up.messages[0].recipients == [b"<b@example.com>", b"<c@example.com>"]


HOSTILE_NAMES = [b"x;y", b"a b", b"a(b)c", b"a\\b", b'"quoted"', b"<x@y>", b"x\xff\xc3\xa4",
                 b"=+~!#$%&'*/?^`{|}", b"x, y", b"z" * 255,
                 b"[127.0.0.1]", b"x HELO=y ADDR=127.0.0.1", b"MAIL FROM:<x@y>"]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_helo_is_cleaned_in_received(smtpd, name):
    said = (b"EHLO " + name
            + b"\nMAIL FROM:<a@example.org>\nRCPT TO:<b@example.com>\nDATA\n\nbody\n.\nQUIT\n")
    with Upstream() as up:
        status, out, _ = run(proxy(smtpd, up), said)
        assert status == 0 and codes(out)[-2:] == [250, 221]
        parts, text = passed_on(up.messages[0])
        assert re.fullmatch(rb"[-A-Za-z0-9._:\[\]?]+", parts["helo"])
        assert text == b"X-Peer: local\n\nbody\n"
        assert up.commands[0] == b"EHLO " + HOSTNAME and len(up.commands) == 5


@pytest.mark.parametrize(("hops", "code"), [(99, 250), (100, 250), (101, 554), (5000, 554)])
def test_loops(smtpd, tmp_path, hops, code):
    content = b"".join(b"%s: from x\r\n" % (b"Received" if i % 2 else b"rEcEIVED")
                       for i in range(hops)) + b"Subject: x\r\n\r\nReceived: x\r\n"
    with Upstream() as up:
        outcome = play(proxy(smtpd, up), tmp_path, content)
        check_honest(outcome, up)
        assert outcome.codes[-1] == code
        if code == 554:
            assert outcome.last.startswith(b"554 5.4.6 ") and b"DATA" not in up.commands


@pytest.mark.parametrize("content",
                         [b"Subject: x\0y\r\n\r\nbody\r\n", b"Subject: x\r\n\r\n\0\r\n",
                          LARGE + b"\0\r\n"],
                         ids=["header", "body", "large"])
def test_nul_is_refused(smtpd, tmp_path, content):
    with Upstream() as up:
        outcome = play(proxy(smtpd, up), tmp_path, content)
        check_honest(outcome, up)
        assert outcome.last.startswith(b"554 5.6.0 ") and b"DATA" not in up.commands


# --- the connection goes away ---------------------------------------------------------------------

ENDS = {"close": close, "reset": reset}


def gone_at(step, how):
    """A script that ends the connection at a step."""
    if step == "body":
        return {"body": Body(100_000, how)}
    if step == "body at once":
        return {"body": Body(0, how)}
    return {step: how}


FIRST_WORDS = ["greeting", "EHLO"]
BEFORE_DOT = ["MAIL", "RCPT", "DATA", "body at once", "body"]


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("step", BEFORE_DOT)
def test_gone_once_before_the_dot(smtpd, tmp_path, step, how):
    """It is connected to again and told the envelope, and the message arrives once."""
    with Upstream(gone_at(step, ENDS[how]), {}) as up:
        content = HUGE if step.startswith("body") else SMALL
        outcome = play(proxy(smtpd, up), tmp_path, content)
        check_honest(outcome, up)
        assert outcome.codes == [250, 250, 250, 354, 250] and len(up.connections) == 2
        check_exact(up.messages[0], content)
        assert up.connections[1].commands == [b"EHLO " + HOSTNAME, b"MAIL FROM:<a@example.org>",
                                              b"RCPT TO:<b@example.com>", b"DATA", b"QUIT"]


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("step", FIRST_WORDS + BEFORE_DOT)
def test_gone_always_before_the_dot(smtpd, tmp_path, step, how):
    with Upstream(gone_at(step, ENDS[how])) as up:
        outcome = play(proxy(smtpd, up), tmp_path, HUGE if step.startswith("body") else SMALL)
        check_honest(outcome, up)
        assert outcome.codes[-1] == 451 and up.messages == []
        # it is left out for some seconds
        assert len(up.connections) == (1 if step in FIRST_WORDS else 2)


@pytest.mark.parametrize("how", ENDS)
def test_gone_just_before_the_dot(smtpd, tmp_path, how):
    """The last octet before the dot has been read; whether we notice before the dot leaves is a
    matter of luck."""

    def fill(c):
        while b"\r\nlast line\r\n" not in c.raw:
            c.more()
        ENDS[how](c)

    with Upstream({"body": Body(0, fill)}, {}) as up:
        outcome = play(proxy(smtpd, up), tmp_path, SMALL + b"last line\r\n")
        up.wait_until_over()
        assert outcome.codes[-1] == (250 if up.messages else 451)
        assert len(up.messages) == len(up.connections) - 1
        assert up.messages or b"duplicate possible" in outcome.log


@pytest.mark.parametrize("how", ENDS)
def test_gone_between_the_dot_and_its_reply(smtpd, tmp_path, how):
    with Upstream({"dot": ENDS[how]}, {}) as up:
        outcome = play(proxy(smtpd, up), tmp_path, SMALL)
        check_honest(outcome, up, is_reply_lost=True)
        assert outcome.codes == [250, 250, 250, 354, 451] and len(up.connections) == 1
        assert len(up.messages) == 1
        assert re.search(rb"duplicate possible.*b@example\.com", outcome.log)


@pytest.mark.parametrize("n", [1, 2, 10])
def test_gone_in_a_reply(release, tmp_path, n):
    """A part of a reply is none."""
    for step, default in (("MAIL", b"250 2.1.0 sender fine"), ("RCPT", b"250 2.1.5 recipient"),
                          ("DATA", b"354 go ahead"), ("dot", b"250 2.0.0 OK")):
        with Upstream({step: last(default[:n])}) as up:
            outcome = play(proxy(release, up), tmp_path)
            check_honest(outcome, up, is_reply_lost=step == "dot")
            assert outcome.codes[-1] == 451


def test_gone_while_the_client_uploads(smtpd, tmp_path):
    """The upstream gets tired while the message comes."""
    tired = threading.Event()

    def yawn(c):
        c.send(b"250 fine\r\n")
        tired.wait(10)
        last(b"421 4.4.2 you take too long\r\n")(c)

    with Upstream({"RCPT": yawn}, {}) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("DATA")
        session.say(LARGE)
        tired.set()
        while not up.connections[0].is_over:
            time.sleep(0.002)
        assert session.ask(b".").startswith(b"250 ")
        assert session.end() == 0
        up.wait_until_over()
        check_exact(up.messages[0], LARGE)
        assert len(up.messages) == 1 and b"DATA" not in up.connections[0].commands


def test_replay_has_all_of_the_envelope(smtpd, tmp_path):
    """100 recipients, a refused one among them, and parameters."""
    refused = [None] * 50 + [b"550 5.1.1 no\r\n"] + [None] * 51
    with (Upstream({"RCPT": refused, "DATA": close}, {}) as up,
          Session(proxy(smtpd, up, "--max-recipients=101"), tmp_path) as session):
        session.begin("EHLO")
        session.expect((b"MAIL FROM:<a@example.org> SIZE=1000 BODY=8BITMIME", b"250 "))
        names = [b"user%d@example.com" % i for i in range(101)]
        for i, name in enumerate(names):
            session.expect((b"RCPT TO:<%s>" % name, b"550 5.1.1 " if i == 50 else b"250 "))
        session.expect((b"DATA", b"354 "))
        session.say(SMALL)
        session.expect((b".", b"250 "))
        assert session.end() == 0
        up.wait_until_over()
        assert up.messages[0].sender == b"<a@example.org> SIZE=1000 BODY=8BITMIME"
        assert up.messages[0].recipients == [b"<%s>" % n for n in names[:50] + names[51:]]


@pytest.mark.parametrize("script",
                         [{"MAIL": b"450 4.2.1 not now\r\n"},
                          {"RCPT": b"550 5.1.1 nobody any more\r\n"},
                          {"RCPT": [None, b"450 no\r\n"]}])
def test_replay_in_which_somebody_is_unwelcome(smtpd, tmp_path, script):
    """What the client was told at RCPT holds: all or nobody."""
    with Upstream({"DATA": close}, script) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("RCPT")
        session.expect((b"RCPT TO:<c@example.com>", b"250 "), (b"DATA", b"354 "))
        session.say(SMALL)
        session.expect((b".", b"451 "))
        assert session.end() == 0
        up.wait_until_over()
        assert up.messages == [] and len(up.connections) == 2


def test_second_connection_can_do_less(smtpd, tmp_path):
    """The message came under a promise of 8BITMIME that the second connection does not keep."""
    content = b"Subject: x\r\n\r\n\xc3\xa4\r\n" + HUGE
    with Upstream({"body": Body(100_000, close)}, {"EHLO": b"250-up\r\n250 PIPELINING\r\n"}) as up:
        outcome = play(proxy(smtpd, up), tmp_path, content)
        check_honest(outcome, up)
        assert outcome.last.startswith(b"451 4.6.3 ") and up.messages == [], outcome.last


def test_second_connection_knows_no_ehlo(smtpd, tmp_path):
    """What the first one offered is forgotten."""
    with Upstream({"RCPT": close}, {"EHLO": b"502 5.5.1 what?\r\n"}) as up:
        play(proxy(smtpd, up), tmp_path, mail=b"MAIL FROM:<a@example.org> SIZE=100 BODY=8BITMIME")
        up.wait_until_over()
        assert up.connections[1].commands[:3] == [b"EHLO " + HOSTNAME, b"HELO " + HOSTNAME,
                                                  b"MAIL FROM:<a@example.org>"]


def test_second_connection_has_no_smtputf8(smtpd, tmp_path):
    with Upstream({"MAIL": close}, {"EHLO": b"250-up\r\n250 8BITMIME\r\n"}) as up:
        outcome = play(proxy(smtpd, up), tmp_path,
                       mail="MAIL FROM:<ä@example.org> SMTPUTF8".encode())
        up.wait_until_over()
        assert outcome.last.startswith(b"451 4.6.7 "), outcome.last
        assert not [line for line in up.connections[1].commands if not line.isascii()]


LEFT_OVER = {  # what is said of a message; is it too much
    "a reply": (b"250 2.0.0 one\r\n250 2.0.0 two\r\n", True),
    "a refusal": (b"250 2.0.0 one\r\n554 5.6.0 two\r\n", True),
    "half a reply": (b"250 2.0.0 one\r\n250-2.0.0 tw", True),
    "nonsense": (b"250 2.0.0 one\r\nwell done\r\n", True),
    "a farewell": (last(b"250 2.0.0 one\r\n421 4.3.2 going down\r\n"), False),
    "nothing": (last(b"250 2.0.0 one\r\n"), False),
}


@pytest.mark.parametrize("name", LEFT_OVER)
def test_one_reply_too_many(smtpd, tmp_path, name):
    """Which one was that to the message? The next message goes over another connection."""
    action, is_too_much = LEFT_OVER[name]
    with Upstream({"dot": action}, {}) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("EHLO")
        verdict = session.send_message(SMALL)
        assert verdict == b"250 2.0.0 one" if not is_too_much else verdict.startswith(b"451 4.5.0 ")
        assert session.send_message(SMALL).startswith(b"250 2.0.0 taken")
        assert session.end() == 0
        up.wait_until_over()
    log = session.err()
    assert len(up.messages) == len(up.connections) == 2
    assert log.count(
        b"duplicate possible: one reply too many ") == is_too_much and (
            b"<b@example.com>" in log) and b"Traceback" not in log


@pytest.mark.parametrize("client", ["smtp", "lmtp"])
def test_one_reply_too_many_for_its_recipients(smtpd, tmp_path, client):
    """Whose each is nobody knows, so nobody is told anything."""
    dot = b"250 2.0.0 one\r\n550 5.1.1 two\r\n250 2.0.0 three\r\n"
    with Upstream({"dot": dot}, lmtp=True) as up:
        argv = proxy(smtpd, up, "--upstream-protocol=lmtp", f"--protocol={client}")
        with Session(argv, tmp_path) as session:
            session.expect((None, b"220 "), (b"LHLO c" if client == "lmtp" else b"EHLO c", b"250-"),
                           (b"MAIL FROM:<>", b"250 "))
            session.expect((b"RCPT TO:<b@example.com>", b"250 "),
                           (b"RCPT TO:<c@example.com>", b"250 "), (b"DATA", b"354 "))
            session.say(SMALL + b".\r\n")
            assert all(session.reply().startswith(b"451 4.5.0 ")
                       for _ in range(2 if client == "lmtp" else 1))
            assert session.end() == 0
    log = session.err()
    for to in (b"b@example.com", b"c@example.com"):
        assert re.search(rb"duplicate possible: one reply too many .* to=<%s>" % to,
                         log), log


# --- nonsense -------------------------------------------------------------------------------------

NONSENSE = {
    "half a line": last(b"22"),
    "nothing": close,
    "garbage": b"\x00\x01\x02 what a day\r\n" * 20,
    "text": b"hello there\r\n",
    "TLS": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(160)) + b"\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n",
    "mixed codes": b"250-one\r\n251 two\r\n",
    "mixed classes": b"250-one\r\n550 two\r\n",
    "NUL": b"250 fine\0\r\n",
    "four digits": b"2500 fine\r\n",
    "no digits": b"2x0 fine\r\n",
    "code 000": b"000 fine\r\n",
    "code 650": b"650 fine\r\n",
    "empty line": b"\r\n",
    "endless lines": flood(b"250-and so on\r\n" * 100),
    "1xx": b"150 just a moment\r\n",
}


@pytest.mark.parametrize("step", ["greeting", *STEPS])
@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense(release, tmp_path, name, step):
    with Upstream({step: NONSENSE[name]}) as up:
        outcome = play(proxy(release, up, "--upstream-timeout=1"), tmp_path)
        check_honest(outcome, up, is_reply_lost=step == "dot" and len(up.messages) == 1)
        if step in ("greeting", "EHLO"):
            assert outcome.last.startswith(b"451 4.4.1 ") and outcome.codes == [250, 451]
        else:
            assert outcome.last.startswith(b"451 4.4.2 ")
            assert len(outcome.codes) == {"MAIL": 2, "RCPT": 3}.get(step, 5)
        assert outcome.seconds < 4
        assert b"smtpd: upstream " in outcome.log or (step == "dot"
                                                      and b"duplicate possible" in outcome.log)


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_does_no_harm(smtpd, tmp_path, name):
    """The same for the program with sanitizers, at one step."""
    with Upstream({"RCPT": NONSENSE[name]}) as up:
        outcome = play(proxy(smtpd, up, "--upstream-timeout=1"), tmp_path)
        check_honest(outcome, up)
        assert outcome.codes == [250, 250, 451]


@pytest.mark.parametrize("step", ["greeting", *STEPS])
def test_endless_line_from_an_upstream(release, tmp_path, step):
    """As fast as it goes, and without an end: the deadline of the step holds."""
    with Upstream({step: flood(b"250 " + b"x" * 100_000, 8)}) as up:
        outcome = play(proxy(release, up, "--upstream-timeout=1"), tmp_path)
        check_honest(outcome, up, is_reply_lost=step == "dot")
        assert outcome.codes[-1] == 451
        assert outcome.seconds < 10, outcome.seconds


def test_reply_line_of_a_mebibyte(smtpd, tmp_path):
    long = b" 2.0.0 " + b"x" * (1 << 20) + b"\r\n"
    script = {"greeting": b"220" + long, "EHLO": b"250-up\r\n250" + long, "MAIL": b"250" + long,
              "RCPT": b"250" + long, "DATA": b"354" + long, "dot": b"250" + long}
    with Upstream(script) as up:
        outcome = play(proxy(smtpd, up), tmp_path)
        check_honest(outcome, up)
        assert outcome.codes == [250, 250, 250, 354, 250]
        assert max(map(len, outcome.replies.values())) < 1100


@pytest.mark.parametrize("code",
                         [b"421 4.3.2 going down", b"554 5.3.2 no service here", b"450 later",
                          b"220-half a greeting", b"250 not a greeting", b"354 go"])
def test_greetings(smtpd, tmp_path, code):
    with Upstream({"greeting": code + b"\r\n"}) as up:
        outcome = play(proxy(smtpd, up, "--upstream-timeout=1"), tmp_path)
        check_honest(outcome, up)
        heard = {b"421 4.3.2 going down": b"451 4.3.2 going down",
                 b"554 5.3.2 no service here": b"451 4.3.2 no service here",
                 b"450 later": b"451 later"}.get(code, b"451 4.4.1 ")
        assert outcome.last.startswith(heard) and outcome.seconds < 4
        assert not [line for line in up.commands if not line.startswith(b"QUIT")]


# --- codes that answer another question -----------------------------------------------------------

CODES = [b"200", b"211", b"251", b"252", b"299", b"300", b"334", b"354", b"421", b"450", b"452",
         b"499", b"500", b"503", b"530", b"550", b"599"]


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "dot"])
def test_codes(smtpd, tmp_path, step):
    """2xx is yes (354, to DATA), 4xx and 5xx go through, all else is a mistake of the upstream's:
    451."""
    for code in CODES:
        with Upstream({step: code + b" word\r\n"}) as up:
            outcome = play(proxy(smtpd, up), tmp_path)
            up.wait_until_over()
            yes = code == b"354" if step == "DATA" else code.startswith(b"2")
            if yes:
                assert outcome.codes[-1] == 250, code
                assert len(up.messages) == 1
            elif code[:1] in b"45" and code != b"421":
                assert outcome.last == code + b" word"
            else:
                assert outcome.codes[-1] == 451, (code, outcome.last)
            if not yes and step != "dot":
                assert up.messages == []


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
def test_421_before_the_dot(smtpd, tmp_path, step):
    """It goes away, with a word: connected to again."""
    with Upstream({step: last(b"421 4.3.2 going down\r\n")}, {}) as up:
        outcome = play(proxy(smtpd, up), tmp_path)
        check_honest(outcome, up)
        assert outcome.codes == [250, 250, 250, 354, 250] and len(up.connections) == 2


@pytest.mark.parametrize("step", STEPS)
def test_421_always(smtpd, tmp_path, step):
    """It is a temporary failure of this message; our own session goes on."""
    with Upstream({step: last(b"421 4.3.2 going down\r\n")}) as up:
        outcome = play(proxy(smtpd, up), tmp_path)  # which says QUIT in the end
        check_honest(outcome, up)
        assert outcome.codes[-1] == 451


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "dot"])
@pytest.mark.parametrize("reply", [b"250", b"250 ", b"250\n", b"250-\r\n250"])
def test_reply_without_text(smtpd, tmp_path, step, reply):
    reply = reply.replace(b"250", b"354") if step == "DATA" else reply
    with Upstream({step: reply + (b"" if reply.endswith(b"\n") else b"\r\n")}) as up:
        outcome = play(proxy(smtpd, up), tmp_path)
        check_honest(outcome, up)
        assert outcome.codes == [250, 250, 250, 354, 250]


REPLIES = {  # what the upstream says, and what goes to the client
    b"550 5.1.1 <b@example.com>: no such user\r\n": b"550 5.1.1 <b@example.com>: no such user",
    b"550 no such user\r\n": b"550 no such user",
    b"452-4.2.2 one\r\n452-4.2.2 two\r\n452 4.2.2 three\r\n": b"452-4.2.2 one\r\n452-4.2.2 "
                                                              b"two\r\n452 4.2.2 three",
    b"550-one\r\n550-\r\n550 three\r\n": b"550-one\r\n550-\r\n550 three",
    b"550 5.1.1 a\x07b\x1b[31mc\xc3\xa4\td\r\n": b"550 5.1.1 a?b?[31mc???d",
    b"550 5.7.1 a\rb\r\n": b"550 5.7.1 a?b",
    b"550 2.1.1 wrong class\r\n": b"550 wrong class",
    b"450 4.7.1\r\n": b"450 4.7.1",
}  # fmt: skip


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "dot"])
def test_replies_are_passed_on(smtpd, tmp_path, step):
    for said, expected in REPLIES.items():
        with Upstream({step: said}) as up:
            outcome = play(proxy(smtpd, up), tmp_path)
            check_honest(outcome, up)
            assert outcome.last.rstrip(b" ") == expected, said


def test_many_lines(smtpd, tmp_path):
    """Long texts are cut, and still form a reply."""
    with Upstream({"RCPT": b"".join(b"550-line %d %s\r\n" % (i, b"y" * 30) for i in range(400))
                   + b"550 end\r\n"}) as up:
        outcome = play(proxy(smtpd, up), tmp_path)
        check_honest(outcome, up)
        assert replies(outcome.last + b"\r\n")[0][0] == 550 and 300 < len(outcome.last) < 2048


# --- replies before they are due ------------------------------------------------------------------


PREMATURE = {
    "MAIL": {"EHLO": b"250-up.example\r\n250 8BITMIME\r\n250 2.1.0 sender fine\r\n"},
    "RCPT": {"MAIL": b"250 fine\r\n250 2.1.5 recipient fine\r\n"},
    "DATA": {"RCPT": b"250 fine\r\n354 go on\r\n"},
    "body": {"DATA": b"354 go on\r\n250 2.0.0 taken\r\n"},
    "body later": {"body": Body(100_000, b"250 2.0.0 taken\r\n")},
    "body 4xx": {"body": Body(100_000, b"452 4.3.1 disk full\r\n")},
    "body 5xx": {"body": Body(100_000, b"554 5.6.0 I have heard enough\r\n")},
    "body 5xx and close": {"body": Body(100_000, last(b"554 5.6.0 I have heard enough\r\n"))},
    "body 5xx and deaf": {"body": Body(100_000, last(b"554 5.6.0 I have heard enough\r\n", deaf))},
    "half a reply": {"body": Body(100_000, b"25")},
}


@pytest.mark.parametrize("name", PREMATURE)
def test_premature_replies(smtpd, tmp_path, name):
    with Upstream(PREMATURE[name]) as up:
        outcome = play(proxy(smtpd, up, "--upstream-timeout=1"), tmp_path, HUGE)
        up.wait_until_over()
        assert outcome.codes[-1] == 451, outcome
        assert outcome.seconds < 5 and up.messages == []


@pytest.mark.parametrize("said",
                         [b"250 hello\r\n", b"250-up.example\r\n250 SIZE 5\r\n", b"554 no\r\n"])
def test_premature_reply_to_ehlo(smtpd, tmp_path, said):
    """Nothing that was said before a question is an answer to it."""
    with Upstream({"greeting": b"220 up.example\r\n" + said,
                   "MAIL": b"550 5.7.1 not you\r\n"}) as up:
        outcome = play(proxy(smtpd, up, "--upstream-timeout=1"), tmp_path)
        up.wait_until_over()
        assert up.messages == [] and outcome.codes[-1] in (451, 550)
        assert outcome.codes[1] in (451, 550), "250 to MAIL, although the upstream refuses it"


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["greeting", *STEPS])
@pytest.mark.parametrize("how", [silent, deaf], ids=["silent", "deaf"])
def test_silence(release, tmp_path, step, how):
    with Upstream({step: how}) as up:
        outcome = play(proxy(release, up, "--upstream-timeout=1"), tmp_path)
        check_honest(outcome, up, is_reply_lost=step == "dot")
        assert outcome.codes[-1] == 451 and 0.9 < outcome.seconds < 5
        assert len(up.connections) == 1, "who is silent is not asked again"


def test_deaf_in_the_body(smtpd, tmp_path):
    with Upstream({"DATA": b"354 go on\r\n", "body": Body(0, deaf)}) as up:
        outcome = play(proxy(smtpd, up, "--upstream-timeout=1"), tmp_path, HUGE)
        assert outcome.codes[-1] == 451 and outcome.seconds < 4 and up.messages == []


@pytest.mark.parametrize("step", ["greeting", *STEPS])
def test_drip(release, tmp_path, step):
    """Each octet comes in time, the whole does not."""
    with Upstream({step: drip(b"250 two hundred and fifty octets, or so, of a reply that does not "
                              b"come to an end in time")}) as up:
        outcome = play(proxy(release, up, "--upstream-timeout=1"), tmp_path)
        check_honest(outcome, up, is_reply_lost=step == "dot")
        assert outcome.codes[-1] == 451 and 0.9 < outcome.seconds < 5


def test_drip_in_time(smtpd, tmp_path):
    pause = 0.01
    script = {"greeting": drip(b"220 up\r\n", pause),
              "EHLO": drip(b"250-up\r\n250 PIPELINING\r\n", pause),
              "MAIL": drip(b"250 ok\r\n", pause),
              # fmt: skip
              "RCPT": drip(b"250 ok\r\n", pause), "DATA": drip(b"354 ok\r\n", pause),
              "dot": drip(b"250 ok\r\n", pause)}
    with Upstream(script) as up:
        outcome = play(proxy(smtpd, up, "--upstream-timeout=2"), tmp_path)
        check_honest(outcome, up)
        assert outcome.codes == [250, 250, 250, 354, 250]


# --- which upstream -------------------------------------------------------------------------------


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def test_nobody_listens(smtpd, tmp_path):
    outcome = play(proxy(smtpd, closed_port(), "/nonexistent/socket"), tmp_path)
    assert outcome.codes == [250, 451] and outcome.last.startswith(b"451 4.4.1 ")
    assert outcome.log.count(b"smtpd: upstream ") == 2 and outcome.seconds < 1  # once each


@pytest.mark.parametrize("bad",
                         ["refused", "no socket", "not a socket", "greets 554", "greets 421",
                          "garbage", "closes", "silent", "EHLO refused"])
def test_next_upstream_is_tried(smtpd, tmp_path, bad):
    (tmp_path / "file").write_text("")
    scripts = {"greets 554": b"554 no\r\n", "greets 421": b"421 no\r\n", "garbage": b"\0\0\0\r\n",
               "closes": close, "silent": silent}
    script = {"greeting": scripts[bad]} if bad in scripts else {"EHLO": b"550 no\r\n",
                                                                "HELO": b"550 no\r\n"}
    with Upstream(script) as first, Upstream() as second:
        name = {"refused": closed_port(), "no socket": str(tmp_path / "none"),
                "not a socket": str(tmp_path / "file")}.get(bad, first)
        outcome = play(proxy(smtpd, name, second, "--upstream-timeout=1"), tmp_path)
        check_honest(outcome, second)
        assert outcome.codes == [250, 250, 250, 354, 250] and outcome.seconds < 3
        assert b"smtpd: upstream " in outcome.log
        check_exact(second.messages[0], SMALL)


def test_upstreams_in_order(smtpd, tmp_path):
    with Upstream() as first, Upstream() as second:
        check_honest(play(proxy(smtpd, first, second), tmp_path), first)
        assert second.connections == []
        outcome = play(proxy(smtpd, f"{first.endpoint},{second.endpoint}"), tmp_path)
        assert outcome.codes[-1] == 250 and second.connections == [] and len(first.messages) == 2


LOCALHOST = sorted({info[0]
                    for info in socket.getaddrinfo("localhost", 25, type=socket.SOCK_STREAM)})


@pytest.mark.parametrize("family", LOCALHOST, ids=lambda family: family.name)
def test_name_with_several_addresses(release, tmp_path, family):
    """Only one of them answers. (Where localhost has only one, that is it.)"""
    with Upstream(family=family) as up:
        check_honest(play(proxy(release, f"localhost:{up.port}"), tmp_path), up)
        assert len(up.messages) == 1


def test_name_that_does_not_exist(release, tmp_path):
    with Upstream() as up:
        outcome = play(proxy(release, "-.-", up), tmp_path)
        check_honest(outcome, up)
        assert outcome.codes[-1] == 250 and b"upstream endpoint=-.- step=connect " in outcome.log


def test_full_backlog_of_a_local_socket(release, tmp_path):
    """connect(2) would have to wait for a moment: that is not a refusal."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as busy:
        listener.bind(path)
        listener.listen(0)
        listener.settimeout(1)
        busy.connect(path)
        with Session(proxy(release, path, "--upstream-timeout=5"), tmp_path) as session:
            session.expect((None, b"220 "))
            session.say(b"EHLO x\r\n")
            time.sleep(0.3)
            listener.accept()[0].close()
            try:
                sock, _ = listener.accept()
            except TimeoutError:
                pytest.fail("it gave up at once")
            with sock:
                sock.sendall(b"220 up\r\n")
                sock.recv(1000)
                sock.sendall(b"250-up\r\n250 SIZE 1234\r\n")
                assert b"SIZE 1234" in session.reply()
            assert session.end() == 0


# --- what is offered ------------------------------------------------------------------------------


def offers(argv, folder, hello=b"EHLO client.example.org"):
    with Session(argv, folder) as session:
        session.expect((None, b"220 "))
        lines = [line[4:] for line in session.ask(hello).split(b"\r\n")]
        assert session.end() == 0
    return lines[0], set(lines[1:])


@pytest.mark.parametrize(("theirs", "ours"), [
    (EVERYTHING, {b"SIZE 10485760", b"8BITMIME", b"SMTPUTF8", b"ENHANCEDSTATUSCODES"}),
    ((), {b"SIZE 33554432"}),
    (("ENHANCEDstatusCODES",), {b"SIZE 33554432", b"ENHANCEDSTATUSCODES"}),
    (("8BITMIME",), {b"SIZE 33554432", b"8BITMIME"}),
    (("8bitmime", "smtpUTF8", "Size 1000"), {b"SIZE 1000", b"8BITMIME", b"SMTPUTF8"}),
    (("SIZE", "8BITMIME"), {b"SIZE 33554432", b"8BITMIME"}),
    (("SIZE 0",), {b"SIZE 33554432"}),
    (("SIZE 99999999999999999999999", "8BITMIMEX", "XSMTPUTF8"), {b"SIZE 33554432"}),
    (("SIZE 40000000",), {b"SIZE 33554432"}),
    (("AUTH PLAIN", "STARTTLS", "CHUNKING", "BINARYMIME"), {b"SIZE 33554432"}),
    (("dsn",), {b"SIZE 33554432", b"DSN"}),
])  # fmt: skip
def test_only_what_the_upstream_can_do(smtpd, tmp_path, theirs, ours):
    with Upstream(extensions=theirs) as up:
        assert offers(proxy(smtpd, up), tmp_path) == (HOSTNAME, OUR_OWN | ours)


def test_extensions_of_many_lines(release, tmp_path):
    """Servers of large providers say more than a thousand octets."""
    many = [f"X-EXTENSION-{i} {'y' * 60}" for i in range(30)]
    with Upstream(extensions=[*many, "SIZE 5000", "8BITMIME", "SMTPUTF8"]) as up:
        assert {b"8BITMIME", b"SIZE 5000", b"SMTPUTF8"} <= offers(proxy(release, up), tmp_path)[1]


def test_offers_without_upstream(smtpd, tmp_path):
    assert offers(proxy(smtpd, closed_port()), tmp_path) == (HOSTNAME, BARE | {b"SIZE 33554432"})
    assert offers(proxy(smtpd, closed_port(), "--max-size=0"), tmp_path)[1] == BARE | {b"SIZE 0"}


def test_ehlo_refused_helo_taken(smtpd, tmp_path):
    with Upstream({"EHLO": b"502 5.5.1 what?\r\n"}) as up:
        outcome = play(proxy(smtpd, up), tmp_path)
        check_honest(outcome, up)
        assert outcome.codes[-1] == 250
        assert up.commands[:3] == [b"EHLO " + HOSTNAME, b"HELO " + HOSTNAME,
                                   b"MAIL FROM:<a@example.org>"]
        check_exact(up.messages[0], SMALL)


@pytest.mark.parametrize(("content", "reply"), [
    (SMALL, b"250 "),
    (b"Subject: x\r\n\r\nf\xc3\xbcr\r\n", b"554 5.6.3 "),
    (b"Subject: \xfc\r\n\r\n\r\n", b"554 5.6.3 "),
    (LARGE + b"\x80\r\n", b"554 5.6.3 "),
    (LARGE, b"250 "),
], ids=["7 bits", "body", "header", "at the end", "large, 7 bits"])  # fmt: skip
def test_no_8bitmime(smtpd, tmp_path, content, reply):
    with Upstream(extensions=["PIPELINING"]) as up:
        outcome = play(proxy(smtpd, up), tmp_path, content)
        check_honest(outcome, up)
        assert outcome.last.startswith(reply)
        assert (b"DATA" in up.commands) == (reply == b"250 ")


@pytest.mark.parametrize("mail",
                         [b"MAIL FROM:<a@example.org> SMTPUTF8",
                          "MAIL FROM:<ä@example.org> SMTPUTF8".encode()])
def test_no_smtputf8(smtpd, tmp_path, mail):
    """A client that was not offered it hears 555; one that was (of another connection), 451
    4.6.7."""
    with Upstream(extensions=["8BITMIME"]) as up:
        outcome = play(proxy(smtpd, up), tmp_path, mail=mail)
        assert outcome.codes == [250, 555] and not [c for c in up.commands if c.startswith(b"MAIL")]
    with (Upstream({"MAIL": close}, {"EHLO": b"250 up\r\n"}) as up,
          Session(proxy(smtpd, up), tmp_path) as session):
        session.begin("EHLO")
        session.expect((b"MAIL FROM:<a@example.org>", b"250 "), (b"RSET", b"250 "),
                       (mail, b"451 4.6.7 "))
        assert session.end() == 0


@pytest.mark.parametrize("size", [1000, 5_000_000])
def test_smaller_size(smtpd, tmp_path, size):
    with (Upstream(extensions=[f"SIZE {size}"]) as up,
          Session(proxy(smtpd, up), tmp_path) as session):
        session.begin("EHLO")
        session.expect(
            (b"MAIL FROM:<a@example.org> SIZE=%d" % (size + 1), b"552 5.3.4 "),
            (b"MAIL FROM:<a@example.org> SIZE=%d" % size, b"250 "),
            (b"RCPT TO:<b@example.com>", b"250 "),
            (b"DATA", b"354 "),
        )
        session.say(b"x" * (size - 1) + b"\r\n")
        session.expect((b".", b"552 5.3.4 "))  # one octet too many
        session.expect((b"MAIL FROM:<a@example.org>", b"250 "),
                       (b"RCPT TO:<b@example.com>", b"250 "), (b"DATA", b"354 "))
        session.say(b"x" * (size - 2) + b"\r\n")
        session.expect((b".", b"552 5.3.4 "))  # with what we add
        assert session.send_message(b"x" * (size - 500) + b"\r\n").startswith(b"250 ")
        assert session.end() == 0
        up.wait_until_over()
        assert len(up.messages) == 1 and len(up.messages[0].wire) <= size


@pytest.mark.parametrize("options", [[], ["--x-peer=no"]], ids=["x-peer", "no x-peer"])
@pytest.mark.parametrize("recipients", [1, 2])
def test_size_to_the_octet(release, tmp_path, recipients, options):
    """What the upstream gets fits exactly, or is not sent."""
    size = 2000
    with (Upstream(extensions=[f"SIZE {size}"]) as up,
          Session(proxy(release, up, "--max-commands=10000", *options), tmp_path) as session):
        session.begin("EHLO")
        taken = []
        for n in range(size - 300, size - 50):
            session.expect((b"MAIL FROM:<a@example.org>", b"250 "),
                           *[(b"RCPT TO:<b%d@example.com>" % i, b"250 ")
                             for i in range(recipients)], (b"DATA", b"354 "))
            session.say(b"x" * (n - 2) + b"\r\n")
            reply = session.ask(b".")
            if reply.startswith(b"552 "):
                break
            taken.append(n)
        assert session.end() == 0
        up.wait_until_over()
        assert len(up.messages) == len(taken) > 0
        lengths = [len(m.wire) for m in up.messages]
        assert size - 5 < max(lengths) <= size, "up to the limit, and not beyond it"


def test_size_and_replay(smtpd, tmp_path):
    """After a reconnection the limit is a smaller one."""
    with Upstream({"DATA": close}, {"EHLO": b"250-up\r\n250 SIZE 500\r\n"}) as up:
        outcome = play(proxy(smtpd, up), tmp_path, LARGE)
        up.wait_until_over()
        assert outcome.last.startswith(b"452 4.3.4 ") and up.messages == [], outcome.last


def test_what_was_offered_holds(smtpd, tmp_path):
    """A second upstream that can do less is no fault of the client's; if EHLO comes again it is
    offered less, and the refusal is for good. Before an upstream is there what is offered is a
    guess."""
    less = {"EHLO": b"250-up\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"}
    eight_bits = b"Subject: x\r\n\r\n\xc3\xa4\r\n"
    with Upstream({"MAIL": close}, less) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.expect((None, b"220 "), (b"EHLO c", b"250-"),
                       (b"MAIL FROM:<a@example.org>", b"250 "), (b"RSET", b"250 "))
        session.expect((b"MAIL FROM:<a@example.org> SIZE=5000", b"452 4.3.4 "))
        assert session.send_message(eight_bits).startswith(b"451 4.6.3 ")
        assert session.send_message(b"x" * 998 + b"\r\n" + b"y" * 998
                                    + b"\r\n").startswith(b"452 4.3.4 ")
        session.expect((b"EHLO c", b"250-"),
                       (b"MAIL FROM:<a@example.org> SIZE=5000", b"552 5.3.4 "))
        assert session.send_message(eight_bits).startswith(b"554 5.6.3 ")
        # with what we add
        assert session.send_message(b"x" * 990 + b"\r\n").startswith(b"552 5.3.4 ")
        assert session.send_message(b"Subject: x\r\n\r\ntext\r\n").startswith(b"250 ")
        assert session.end() == 0
    with Upstream({"EHLO": close}, less) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.deadline += 20
        session.begin("EHLO")
        time.sleep(10.2)  # until it is asked again
        session.expect((b"MAIL FROM:<a@example.org> SIZE=5000", b"452 4.3.4 "))
        assert session.send_message(eight_bits).startswith(b"451 4.6.3 ")
        assert session.end() == 0


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("theirs", "expected"), [
    (EVERYTHING, "MAIL FROM:<ä@example.org> SIZE=321 BODY=8BITMIME SMTPUTF8"),
    (("SMTPUTF8", "8BITMIME"), "MAIL FROM:<ä@example.org> BODY=8BITMIME SMTPUTF8"),
])  # fmt: skip
def test_parameters_of_mail(smtpd, tmp_path, theirs, expected):
    with Upstream(extensions=theirs) as up:
        outcome = play(proxy(smtpd, up), tmp_path,
                       mail="MAIL FROM:<ä@example.org> BODY=8BITMIME size=321 smtputf8".encode())
        assert outcome.codes[-1] == 250
        assert up.commands[1] == expected.encode()
        assert passed_on(up.messages[0])[0]["protocol"] == b"UTF8SMTP"


def test_parameters_that_are_not_offered(smtpd, tmp_path):
    with Upstream(extensions=()) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("EHLO")
        session.expect((b"MAIL FROM:<a@example.org> BODY=8BITMIME", b"555 "),
                       (b"MAIL FROM:<a@example.org> SIZE=321", b"250 "))
        session.expect((b"RCPT TO:<b@example.com> NOTIFY=NEVER", b"555 "))
        assert session.end() == 0
        up.wait_until_over()
        assert up.commands == [b"EHLO " + HOSTNAME, b"MAIL FROM:<a@example.org>", b"QUIT"]


# --- several transactions -------------------------------------------------------------------------


@pytest.mark.parametrize("extensions", [EVERYTHING, ()], ids=["pipelined", "plain"])
def test_second_transaction(smtpd, tmp_path, extensions):
    with Upstream(extensions=extensions) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("EHLO")
        session.expect(
            (b"MAIL FROM:<given-up@example.org>", b"250 "), (b"RCPT TO:<x@example.com>", b"250 "),
            (b"RSET", b"250 "),
            (b"MAIL FROM:<again@example.org>", b"250 "), (b"RCPT TO:<y@example.com>", b"250 "),
            (b"EHLO client", b"250-"),
        )  # fmt: skip
        assert session.send_message(SMALL, b"first@example.org").startswith(b"250 ")
        assert session.send_message(LARGE, b"second@example.org").startswith(b"250 ")
        assert session.end() == 0
        up.wait_until_over()
        assert len(up.connections) == 1
        check_exact(up.messages[0], SMALL, b"<first@example.org>")
        check_exact(up.messages[1], LARGE, b"<second@example.org>")
        kept = [c for c in up.commands if not c.startswith((b"RCPT", b"DATA"))]
        assert kept == [b"EHLO " + HOSTNAME, b"MAIL FROM:<given-up@example.org>", b"RSET",
                        b"MAIL FROM:<again@example.org>", b"RSET",
                        # fmt: skip
                        b"MAIL FROM:<first@example.org>", b"MAIL FROM:<second@example.org>",
                        b"QUIT"]


def test_transaction_after_a_refusal(smtpd, tmp_path):
    for step in ("MAIL", "RCPT", "DATA", "dot"):
        with (Upstream({step: [b"550 5.7.1 no\r\n", None]}) as up,
              Session(proxy(smtpd, up), tmp_path) as session):
            session.begin("EHLO")
            for said in (b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.com>", b"DATA",
                         SMALL + b"."):
                if session.ask(said).startswith(b"5"):
                    break
            session.expect((b"RSET", b"250 "))
            assert session.send_message(SMALL, b"c@example.org").startswith(b"250 ")
            assert session.end() == 0
            up.wait_until_over()
            taken = [m for m in up.messages if m.verdict.startswith(b"250")]
            assert len(taken) == 1
            check_exact(taken[0], SMALL, b"<c@example.org>")


def test_transaction_after_a_lost_reply(smtpd, tmp_path):
    with Upstream({"dot": close}, {}) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL).startswith(b"451 ")
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.end() == 0
        assert len(up.connections) == 2


def test_each_transaction_may_reconnect(smtpd, tmp_path):
    """Once in a transaction, not once in a session."""
    with (Upstream({"DATA": close}, {"RCPT": [None, close]}, {}) as up,
          Session(proxy(smtpd, up), tmp_path) as session):
        session.begin("EHLO")
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.end() == 0
        up.wait_until_over()
        assert len(up.messages) == 2 and len(up.connections) == 3


def test_upstream_comes_back_between_transactions(smtpd, tmp_path):
    with (Upstream({"dot": last(b"250 taken\r\n")}, {}) as up,
          Session(proxy(smtpd, up), tmp_path) as session):
        session.begin("EHLO")
        assert session.send_message(SMALL).startswith(b"250 taken")
        up.wait_until_over()
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.end() == 0
        assert len(up.connections) == 2 and len(up.messages) == 2


# --- our client goes away -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["QUIT", "close", "reset", "half close"])
@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
def test_client_leaves_before_the_dot(smtpd, tmp_path, stage, how):
    with Upstream() as up, Session(proxy(smtpd, up), tmp_path, tcp_pair()) as session:
        session.begin(stage)
        if stage == "DATA":
            session.say(LARGE)
        if how == "reset":
            reset_client(session.ours)
        elif how == "close":
            session.ours.close()
        else:
            session.say(b"QUIT\r\n" if how == "QUIT" else b".\r")
            session.ours.shutdown(socket.SHUT_WR)
        assert session.status() == 0
        up.wait_until_over()
        assert up.messages == [] and b"DATA" not in up.commands


def test_bare_lf_leaves_nothing(smtpd, tmp_path):
    """What would be a second message for a server that takes LF for CRLF."""
    with Upstream() as up, Session(proxy(smtpd, up), tmp_path, tcp_pair()) as session:
        session.begin("DATA")
        session.say(b"Subject: x\r\n\r\nx\n.\r\nMAIL FROM:<evil@example.org>\r\n")
        assert session.reply().startswith(b"554 5.5.2 ")
        session.read_to_end()
        assert session.status() == 0
        up.wait_until_over()
        assert up.messages == [] and b"DATA" not in up.commands


# --- nothing of the client's becomes a command ----------------------------------------------------


def test_printable_octets_in_quoted_local_parts(smtpd, tmp_path):
    expected = []
    with (Upstream() as up,
          Session(proxy(smtpd, up, "--max-errors=1000", "--max-commands=10000"),
                  tmp_path) as session):
        session.begin("EHLO")
        for octet in range(32, 127):
            quoted = (b"\\" if octet in b'"\\' else b"") + bytes([octet])
            for text in (b'"%s"' % quoted, b'"a%sb"' % quoted, b'"> %s <x@y> SIZE=1"' % quoted,
                         b'"\\%c"' % octet):
                address = b"<%s@example.com>" % text
                session.expect((b"MAIL FROM:" + address, b"250 "))
                is_route = any(c in b"%!@" for c in text)
                session.expect((b"RCPT TO:" + address, b"550 5.7.1 " if is_route else b"250 "),
                               (b"RSET", b"250 "))
                expected += [b"MAIL FROM:" + address] + [b"RCPT TO:" + address] * (not is_route)
        assert session.end() == 0
        up.wait_until_over()
        assert [c for c in up.commands if c[:4] not in (b"EHLO", b"RSET", b"QUIT")] == expected
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)", bytes(up.connections[0].raw))


@pytest.mark.parametrize("octet", [b"\0", b"\t", b"\x7f", b"\x80", b"\xff", b"\x0b"])
@pytest.mark.parametrize("form",
                         [b'<"a%sb"@example.com>', b"<a%sb@example.com>", b"<ab@exa%smple.com>",
                          b"<ab@example.com%s>"])
def test_other_octets_in_addresses_are_refused(release, tmp_path, octet, form):
    with Upstream() as up, Session(proxy(release, up), tmp_path) as session:
        session.begin("EHLO")
        assert session.ask(b"MAIL FROM:" + form.replace(b"%s", octet)).startswith(b"50")
        session.expect((b"MAIL FROM:<>", b"250 "))
        assert session.ask(b"RCPT TO:" + form.replace(b"%s", octet)).startswith(b"50")
        assert session.end() == 0
        up.wait_until_over()
        assert up.commands == [b"EHLO " + HOSTNAME, b"MAIL FROM:<>", b"QUIT"]


def test_longest_addresses(smtpd, tmp_path):
    local, domain = b"l" * 900, b".".join([b"d" * 60] * 2)
    address = b"<%s@%s>" % (local, domain)
    with Upstream() as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("EHLO")
        session.expect((b"MAIL FROM:" + address + b" SIZE=100 BODY=8BITMIME", b"250 "),
                       (b"RCPT TO:" + address, b"250 "), (b"DATA", b"354 "))
        session.say(SMALL)
        session.expect((b".", b"250 "))
        assert session.end() == 0
        up.wait_until_over()
        assert up.messages[0].sender == address + b" SIZE=100 BODY=8BITMIME"
        assert up.messages[0].recipients == [address]
        assert passed_on(up.messages[0])[0]["to"] == address[1:-1]


# --- XCLIENT --------------------------------------------------------------------------------------

XCLIENT = (*EVERYTHING, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN")


def xtext(s):
    return re.sub(rb"\+([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), s)


@pytest.mark.parametrize(("peer", "expected"), [
    ("192.0.2.1:4321", b"ADDR=192.0.2.1 PORT=4321"),
    ("[2001:db8::1]:25", b"ADDR=IPV6:2001:db8::1 PORT=25"),
    ("192.0.2.1", b"ADDR=192.0.2.1"),
    ("local", None),
])  # fmt: skip
def test_xclient(smtpd, peer, expected):
    said = b"EHLO client.example.org\nMAIL FROM:<a@example.org>\nRCPT TO:<b@example.com>\nDATA\n\nx\n.\nQUIT\n"
    with Upstream(extensions=XCLIENT) as up:
        status, out, _ = run(proxy(smtpd, up, "--xclient=yes", "--relay-to=example.com",
                                   f"--peer={peer}"), said)
        assert status == 0 and codes(out) == [220, 250, 250, 250, 354, 250, 221]
        lines = [c for c in up.commands if c.startswith(b"XCLIENT")]
        assert lines == ([b"XCLIENT " + expected + b" HELO=client.example.org NAME=[UNAVAILABLE]"]
                         if expected else [])
        if expected:
            assert [c.split()[0] for c in up.commands[:4]] == [b"EHLO", b"XCLIENT", b"EHLO",
                                                               b"MAIL"]
            # what Postfix takes for the client's name
            assert up.commands[2] == b"EHLO client.example.org"


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_xclient_with_a_hostile_helo(smtpd, name):
    said = b"EHLO " + name + b"\nMAIL FROM:<a@example.org>\nQUIT\n"
    with Upstream(extensions=XCLIENT) as up:
        assert codes(
            run(proxy(smtpd, up, "--xclient=yes", "--peer=127.0.0.1:1"), said)[1]) == [220, 250,
                                                                                       250, 221]
        words = up.commands[1].split(b" ")
        assert words[:3] == [b"XCLIENT", b"ADDR=127.0.0.1", b"PORT=1"] and len(words) == 5
        assert words[4] == b"NAME=[UNAVAILABLE]"
        assert words[3].startswith(b"HELO=") and xtext(words[3][5:]) == name
        assert re.fullmatch(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+", words[3][5:])
        assert re.fullmatch(rb"EHLO [-A-Za-z0-9._:\[\]]+", up.commands[2])


def test_xclient_only_when_wanted_and_offered(smtpd):
    said = b"EHLO x\nMAIL FROM:<a@example.org>\nQUIT\n"
    for options, extensions in ((["--xclient=yes"], EVERYTHING), ([], XCLIENT),
                                (["--xclient=no"], XCLIENT)):
        with Upstream(extensions=extensions) as up:
            assert codes(
                run(proxy(smtpd, up, "--peer=127.0.0.1:1", *options), said)[1]) == [220, 250, 250,
                                                                                    221]
            assert [c.split()[0] for c in up.commands] == [b"EHLO", b"MAIL", b"QUIT"]


def test_xclient_of_a_connection_and_a_second_name(smtpd, tmp_path):
    """EHLO in the middle tells another name: the upstream is told too."""
    pair = tcp_pair()
    port = pair[0].getsockname()[1]
    with (Upstream(extensions=XCLIENT) as up,
          Session(proxy(smtpd, up, "--xclient=yes"), tmp_path, pair) as session):
        session.expect((None, b"220 "), (b"EHLO one", b"250-"),
                       (b"MAIL FROM:<a@example.org>", b"250 "), (b"EHLO two", b"250-"))
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.end() == 0
        up.wait_until_over()
        assert [c for c in up.commands if c.startswith(b"XCLIENT")] == [
            # fmt: skip
            b"XCLIENT ADDR=127.0.0.1 PORT=%d HELO=%s NAME=[UNAVAILABLE]" % (port, name)
            for name in (b"one", b"two")]


@pytest.mark.parametrize("reply",
                         [b"550 5.7.0 insufficient authorization\r\n", b"421 no\r\n",
                          b"250 fine\r\n", b"501 bad\r\n", b"garbage\r\n"])
def test_xclient_refused(smtpd, tmp_path, reply):
    """Then the upstream would take the client for us, and trust it: no."""
    with Upstream({"XCLIENT": reply}, extensions=XCLIENT) as up, Upstream() as second:
        outcome = play(proxy(smtpd, up, "--xclient=yes"), tmp_path, pair=tcp_pair())
        check_honest(outcome, up)
        heard = {b"4": b"451 no", b"5": b"451 "}.get(reply[:1], b"451 4.4.1 ")
        assert outcome.last.startswith(heard)
        assert not [c for c in up.commands if c.startswith(b"MAIL")]
        outcome = play(proxy(smtpd, up, second, "--xclient=yes"), tmp_path, pair=tcp_pair())
        assert outcome.codes[-1] == 250 and len(second.messages) == 1


def test_xclient_has_only_attributes_that_are_offered(smtpd):
    with Upstream(extensions=("XCLIENT ADDR HELO",)) as up:
        run(proxy(smtpd, up, "--xclient=yes", "--peer=127.0.0.1:1"), b"EHLO x\nQUIT\n")
        assert up.commands[1] == b"XCLIENT ADDR=127.0.0.1 HELO=x"


# --- LMTP -----------------------------------------------------------------------------------------


def converse_lmtp(smtpd, folder, up, recipients, *options, n_replies=1):
    """A message for several: (the replies to the dot, the log)."""
    argv = proxy(smtpd, up, *options, "--upstream-timeout=1")
    with Session(argv, folder) as session:
        session.expect((None, b"220 "),
                       (b"LHLO x" if "--protocol=lmtp" in options else b"EHLO x", b"250-"),
                       (b"MAIL FROM:<a@example.org>", b"250 "))
        for i in range(recipients):
            session.expect((b"RCPT TO:<b%d@example.com>" % i, b"250 "))
        session.expect((b"DATA", b"354 "))
        session.say(SMALL + b".\r\n")
        got = [session.reply() for _ in range(n_replies)]
        assert session.end() == 0
        return got, session.err()


LMTP = "--upstream-protocol=lmtp"


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["IPv4", "local"])
def test_lmtp_to_lmtp(smtpd, tmp_path, family):
    """Each recipient has its own verdict."""
    said = [b"250 2.0.0 one", b"452 4.2.2 full", b"550 5.2.1 off"]
    with Upstream({"dot": b"\r\n".join(said) + b"\r\n"}, lmtp=True, family=family) as up:
        got, log = converse_lmtp(smtpd, tmp_path, up, 3, LMTP, "--protocol=lmtp", n_replies=3)
        assert got == said and b"duplicate possible" not in log
        assert up.commands[0] == b"LHLO " + HOSTNAME and len(up.messages) == 1
        assert passed_on(up.messages[0])[0]["protocol"] == b"LMTP"


@pytest.mark.parametrize(("said", "expected"), [
    (["250 a", "250 b", "250 c"], b"250 "),
    (["250 a", "550 5.1.1 b", "250 c"], b"550 5.1.1 b"),
    (["550 5.1.1 a", "452 4.2.2 b", "250 c"], b"452 4.2.2 b"),
    (["452 4.2.2 a", "550 b", "550 c"], b"452 4.2.2 a"),
    (["250 a", "451 4.3.0 b", "452 4.2.2 c"], b"45"),
    (["550 5.1.1 a", "551 5.1.6 b", "552 5.2.2 c"], b"55"),
    (["250 a", "354 b", "250 c"], b"451 4.5.0 "),
    (["250 a", "250 b", "421 4.3.2 c"], b"451 4.3.2 c"),
])  # fmt: skip
def test_lmtp_to_smtp(smtpd, tmp_path, said, expected):
    """One reply for all: any 4xx, else any 5xx, else 250."""
    with Upstream({"dot": "".join(line + "\r\n" for line in said).encode()}, lmtp=True) as up:
        got, _ = converse_lmtp(smtpd, tmp_path, up, 3, LMTP)
        assert got[0].startswith(expected)


@pytest.mark.parametrize("how", [None, close, reset], ids=["silent", "close", "reset"])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_lmtp_fewer_replies_than_owed(release, tmp_path, n, how):
    said = b"250 2.0.0 taken\r\n" * n
    def leave(c):
        time.sleep(0.1)  # a reset overtakes what was said
        how(c)

    with Upstream({"dot": last(said, leave) if how else said}, lmtp=True) as up:
        then = time.monotonic()
        got, log = converse_lmtp(release, tmp_path, up, 3, LMTP, "--protocol=lmtp", n_replies=3)
        assert [line[:3] for line in got] == [b"250"] * n + [b"451"] * (3 - n)
        assert log.count(b"duplicate possible") == 3 - n and time.monotonic() - then < PATIENCE / 6
        got, _ = converse_lmtp(release, tmp_path, up, 3, LMTP)
        assert got[0].startswith(b"451 ")


def test_lmtp_one_reply_for_all(smtpd, tmp_path):
    """As Mailman does it for a message with defects."""
    with Upstream({"dot": b"501 Message has defects\r\n"}, lmtp=True) as up:
        got, _ = converse_lmtp(smtpd, tmp_path, up, 3, LMTP, "--protocol=lmtp", n_replies=3)
        assert got[0] == b"501 Message has defects"
        assert [line[:3] for line in got[1:]] == [b"451", b"451"]


def test_lmtp_mixed_reception(smtpd, tmp_path):
    """A refused recipient owes no verdict."""
    with Upstream({"RCPT": [None, b"550 5.1.1 no\r\n", None],
                   "dot": b"250 first\r\n450 4.2.0 third\r\n"}, lmtp=True) as up:
        with Session(proxy(smtpd, up, LMTP, "--protocol=lmtp"), tmp_path) as session:
            session.expect((None, b"220 "), (b"LHLO x", b"250-"), (b"MAIL FROM:<>", b"250 "),
                           (b"RCPT TO:<a@x>", b"250 "), (b"RCPT TO:<b@x>", b"550 "),
                           (b"RCPT TO:<c@x>", b"250 "), (b"DATA", b"354 "))  # fmt: skip
            session.expect((b".", b"250 first"), (None, b"450 4.2.0 third"))
            assert session.end() == 0


def test_lmtp_to_an_smtp_upstream(smtpd, tmp_path):
    """One verdict, said to each."""
    with Upstream({"dot": [b"250 2.0.0 taken\r\n"]}) as up:
        got, _ = converse_lmtp(smtpd, tmp_path, up, 3, "--protocol=lmtp", n_replies=3)
        assert got == [b"250 2.0.0 taken"] * 3 and up.commands[0] == b"EHLO " + HOSTNAME
        assert len(up.messages) == 1
    with Upstream({"dot": close}) as up:
        got, log = converse_lmtp(smtpd, tmp_path, up, 3, "--protocol=lmtp", n_replies=3)
        assert [line[:3] for line in got] == [b"451"] * 3 and log.count(b"duplicate possible") == 3


def test_wrong_protocol(smtpd, tmp_path):
    """LHLO to an SMTP server, and EHLO to an LMTP server: neither is an upstream."""
    with Upstream() as smtp, Upstream(lmtp=True) as lmtp:
        assert play(proxy(smtpd, smtp, LMTP), tmp_path).last == b"451 4.5.1 what?"
        lmtp.scripts = ({"HELO": b"500 what?\r\n"},)
        assert play(proxy(smtpd, lmtp), tmp_path).last == b"451 what?"


# --- who may --------------------------------------------------------------------------------------

NO = b"550 5.7.1 "


def ask(smtpd, recipients, *options, env=None):
    """The codes of RCPT for a client through a pipe, and what the upstream heard of them."""
    said = b"EHLO x\r\nMAIL FROM:<a@example.org>\r\n" + b"".join(b"RCPT TO:%s\r\n" % r
                                                                 for r in recipients) + b"QUIT\r\n"
    with Upstream() as up:
        status, out, _ = run(proxy(smtpd, up, "--max-errors=1000", *options), said, env=env)
        found = replies(out)
        assert status == 0 and len(found) == len(recipients) + 4
        yes = [code == 250 for code, _ in found[3:-1]]
        for code, text in found[3:-1]:
            assert code == 250 or (code == 550 and text.startswith(b"5.7.1 "))
        heard = [c.removeprefix(b"RCPT TO:") for c in up.commands if c.startswith(b"RCPT")]
        assert len(heard) == sum(yes), "the upstream hears only of those who are allowed"
        return yes


STRANGER = "--peer=192.0.2.1"
LIST = "--relay-to=example.com,.Example.NET"


@pytest.mark.parametrize(("domain", "is_allowed"), [
    ("example.com", True), ("EXAMPLE.com", True), ("sub.example.com", False), ("example.net", True),
    ("sub.example.net", True),
    ("a.b.EXAMPLE.NET", True), ("badexample.net", False), ("example.net.evil.org", False),
    ("example.org", False), ("com", False),
    ("net", False), ("[127.0.0.1]", False), ("[IPv6:::1]", False), ("example.comm", False),
    ("xexample.com", False), ("localhost", False),
])  # fmt: skip
def test_relay_to(smtpd, domain, is_allowed):
    assert ask(smtpd, [b"<b@%s>" % domain.encode()], STRANGER, LIST) == [is_allowed]


def test_relay_to_does_not_bind_friends(smtpd):
    assert ask(smtpd, [b"<b@example.org>", b"<b@example.com>"], LIST) == [True, True]


@pytest.mark.parametrize(("peer", "is_allowed"), [
    ("127.0.0.1", True), ("127.255.255.254", True), ("::1", True), ("::ffff:127.0.0.1", True),
    ("local", True), ("192.0.2.1", False),
    ("128.0.0.1", False), ("126.255.255.255", False), ("10.0.0.1", False), ("::2", False),
    ("fe80::1", False), ("::", False), ("0.0.0.0", False),
    ("::127.0.0.1", False),
])  # fmt: skip
def test_relay_from_default(smtpd, peer, is_allowed):
    """Without relay-to and relay-from: loopback and local clients, and nobody else."""
    assert ask(smtpd, [b"<b@example.org>", b"<c@example.com>"],
               f"--peer={peer}") == [is_allowed] * 2


def test_peers_of_the_environment(smtpd):
    who = b"<b@example.org>"
    assert ask(smtpd, [who], env=environment(TCPREMOTEIP="192.0.2.1")) == [False]
    assert ask(smtpd, [who], env=environment(REMOTE_ADDR="2001:db8::1")) == [False]
    assert ask(smtpd, [who], env=environment(TCPREMOTEIP="127.0.0.1")) == [True]
    assert ask(smtpd, [who], "--peer=127.0.0.1",
               env=environment(
                   TCPREMOTEIP="192.0.2.1")) == [False], "--peer is only for pipes from nobody"


@pytest.mark.parametrize(("networks", "peer", "is_allowed"), [
    ("192.0.2.0/24", "192.0.2.255", True), ("192.0.2.0/24", "192.0.3.0", False),
    ("192.0.2.0/23", "192.0.3.7", True),
    ("192.0.2.128/25", "192.0.2.127", False), ("192.0.2.128/25", "192.0.2.128", True),
    ("10.32.0.0/11", "10.63.255.255", True),
    ("10.32.0.0/11", "10.64.0.0", False), ("10.32.0.0/11", "10.31.255.255", False),
    ("192.0.2.1/32", "192.0.2.1", True), ("192.0.2.1", "192.0.2.1", True),
    ("192.0.2.1", "192.0.2.2", False), ("192.0.2.0/31", "192.0.2.1", True),
    ("192.0.2.0/31", "192.0.2.2", False), ("0.0.0.0/0", "203.0.113.9", True),
    ("0.0.0.0/0", "2001:db8::1", False), ("::/0", "192.0.2.1", False),
    ("::/0", "2001:db8::1", True), ("2001:db8::/32", "2001:db8:ffff::1", True),
    ("2001:db8::/32", "2001:db9::1", False), ("2001:db8::/33", "2001:db8:7fff::1", True),
    ("2001:db8::/33", "2001:db8:8000::1", False),
    ("2001:db8::/127", "2001:db8::1", True), ("2001:db8::/127", "2001:db8::2", False),
    ("0.0.0.0/1", "127.0.0.1", True), ("128.0.0.0/1", "127.0.0.1", False),
    # it replaces the default
    ("192.0.2.0/24", "127.0.0.1", False), ("192.0.2.0/24", "::1", False),
    ("192.0.2.0/24", "local", False), ("local", "local", True),
    ("local", "127.0.0.1", False), ("127.0.0.1,192.0.2.7", "192.0.2.7", True),
    ("127.0.0.1,192.0.2.7", "local", False),
    ("::ffff:192.0.2.0/120", "192.0.2.1", True), ("192.0.2.77/24", "192.0.2.1", True),
])  # fmt: skip
def test_relay_from(release, networks, peer, is_allowed):
    assert ask(release, [b"<b@example.org>"], f"--relay-from={networks}",
               f"--peer={peer}") == [is_allowed]


def test_postmaster(smtpd):
    """Without a domain it is always welcome; with one, it is an address like others."""
    names = [b"<Postmaster>", b"<POSTMASTER>", b"<postmaster@example.org>",
             b"<postmaster@example.com>"]
    assert ask(smtpd, names, STRANGER, "--relay-to=example.com") == [True, True, False, True]
    assert ask(smtpd, names[:2], STRANGER) == [True, True]


ROUTES = [b"<user%elsewhere.org@example.com>", b"<elsewhere.org!user@example.com>",
          b'<"user@elsewhere.org"@example.com>', b"<@example.com:user@elsewhere.org>",
          b"<@elsewhere.org:user@example.com>", b"<@a.org,@b.org:user@example.com>",
          b'<"a%b"@example.com>', b'<"a!b"@example.com>', b"<%@example.com>", b"<!@example.com>",
          # fmt: skip
          b'<"\\@"@example.com>', b"<a%b%c@example.com>", b"<x!y%z@example.com>",
          b"<@example.com:user@example.com>"]


@pytest.mark.parametrize("options",
                         [["--peer=local"], ["--peer=127.0.0.1"],
                          [STRANGER, "--relay-to=example.com,elsewhere.org"],
                          [STRANGER, "--relay-from=0.0.0.0/0"]])
def test_routing_by_the_sender(smtpd, options):
    assert ask(smtpd, ROUTES, *options) == [False] * len(ROUTES)


def test_routes_of_senders_do_no_harm(smtpd, tmp_path):
    """Only recipients are refused for it."""
    with Upstream() as up:
        outcome = play(proxy(smtpd, up), tmp_path,
                       mail=b"MAIL FROM:<@a.example:bounce%x@example.org>")
        check_honest(outcome, up)
        assert up.commands[1] == b"MAIL FROM:<bounce%x@example.org>"


def test_peer_that_has_already_gone(smtpd, tmp_path):
    """Whoever it was, it is not a local client: its socket has no peer that one could ask for."""
    ours, theirs = tcp_pair()
    ours.sendall(b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT "
                 b"TO:<b@example.org>\r\nDATA\r\n\r\nspam\r\n.\r\nQUIT\r\n")
    reset_client(ours)
    with Upstream() as up, theirs:
        argv = proxy(smtpd, up, "--relay-from=local")
        done = subprocess.run(argv, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE,
                              env=environment(), timeout=10)
        assert done.returncode == 0 and b"left before the session began" in done.stderr
        assert up.connections == []


def test_all_recipients_refused(smtpd, tmp_path):
    """Then there is no DATA, here or there."""
    with Upstream() as up:
        said = b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nQUIT\r\n"
        out = run(proxy(smtpd, up, STRANGER), said)[1]
        assert codes(out)[:5] == [220, 250, 250, 550, 503] and b"DATA" not in up.commands
        assert up.messages == []


# --- replies that do not fit ----------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_any_2xx_to_the_dot_is_a_yes(release, tmp_path, protocol):
    """With which no client has to cope: it hears 250, and the upstream's words."""
    with Upstream({"dot": last(b"221 2.0.0 Bye\r\n")}, lmtp=protocol == "lmtp") as up:
        outcome = play(proxy(release, up, f"--upstream-protocol={protocol}"), tmp_path)
        assert outcome.last == b"250 2.0.0 Bye" and len(up.messages) == 1
    assert not lines(outcome.log, "duplicate possible")


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_3xx_to_the_dot_is_neither_yes_nor_no(release, tmp_path, protocol):
    """Nobody knows who has the message: the log has all that is known."""
    said = b"354 " + b"Start mail input " * 20
    with Upstream({"dot": said + b"\r\n"}, lmtp=protocol == "lmtp") as up:
        outcome = play(proxy(release, up, f"--upstream-protocol={protocol}"), tmp_path)
        assert outcome.last == (b"451 4.5.0 the upstream server sent an unexpected reply, try "
                                b"again later")
        doubt = one(outcome.log, "duplicate possible: unexpected reply to the final dot")
        assert doubt["reply"].strip() == said.strip() and doubt["to"] == b"<b@example.com>"
        assert doubt["destination"] == up.endpoint.encode()
    assert not lines(outcome.log, "upstream")


def half_closed(c):
    """Says no more, and reads the rest."""
    c.sock.shutdown(socket.SHUT_WR)
    silent(c)


@pytest.mark.parametrize("how", [silent, half_closed, deaf, close], ids=lambda f: f.__name__)
def test_reason_that_comes_during_the_message(release, tmp_path, how):
    """It is the upstream's, and final: the log and the client have it."""
    script = {"body": Body(1000, last(b"552 5.2.2 mailbox of b is full\r\n", how))}
    with Upstream(script) as up:
        outcome = play(proxy(release, up), tmp_path, HUGE)
        assert outcome.last == b"451 4.2.2 mailbox of b is full" and len(up.connections) == 1
        assert up.messages == []
    assert one(outcome.log, "upstream")["reply"] == b"552 5.2.2 mailbox of b is full"


@pytest.mark.parametrize("script", [
    {"RCPT": b"450 4.2.1 is greylisted\r\n"},
    {"EHLO": b"250-up\r\n250 PIPELINING\r\n"},
], ids=["refuses", "has no DSN"])  # fmt: skip
def test_refused_when_repeated_is_no_outage(release, tmp_path, script):
    """Who went away once and then does not welcome the same again is asked about the next."""
    first = {"EHLO": b"250-up\r\n250-PIPELINING\r\n250 DSN\r\n", "DATA": close}
    with (Upstream(first, script, {}) as up, Session(proxy(release, up), tmp_path) as session):
        session.begin("EHLO")
        session.expect((b"MAIL FROM:<a@example.org> RET=HDRS", b"250 "),
                       (b"RCPT TO:<b@example.com>", b"250 "), (b"DATA", b"354 "))
        session.say(SMALL)
        session.expect((b".", b"451 "), (b"MAIL FROM:<other@example.org>", b"250 "),
                       (b"RCPT TO:<c@example.com>", b"250 "), (b"DATA", b"354 "))
        session.say(SMALL)
        session.expect((b".", b"250 "))
        assert session.end() == 0
        up.wait_until_over()
        assert len(up.connections) == 3 and len(up.messages) == 1


def test_reason_is_of_this_message(release, tmp_path):
    """What was said of one message is not said to the next, if then nobody can be reached."""
    scripts = ({"DATA": close}, {"RCPT": b"450 4.2.1 is greylisted\r\n"}, {"greeting": close})
    with (Upstream(*scripts) as up,
          Session(proxy(release, up), tmp_path) as session):
        session.begin("DATA")
        session.say(SMALL)
        session.expect((b".", b"451 4.2.1 is greylisted"),
                       (b"MAIL FROM:<other@example.org>", b"451 4.4.1 "))
        assert session.end() == 0


# --- the log --------------------------------------------------------------------------------------

FAILURES = {  # what each connection does; how many there are; the words for it
    "silent at MAIL": ({"MAIL": silent}, 1, b'step=MAIL reason="no answer in time"'),
    "silent at RCPT": ({"RCPT": silent}, 1, b'step=RCPT reason="no answer in time"'),
    "silent at DATA": ({"DATA": silent}, 1, b'step=DATA reason="no answer in time"'),
    "closes at MAIL": ({"MAIL": close}, 2, b'step=MAIL reason="it closed the connection"'),
    "closes at RCPT": ({"RCPT": close}, 2, b'step=RCPT reason="it closed the connection"'),
    "closes at DATA": ({"DATA": close}, 2, b'step=DATA reason="it closed the connection"'),
    "out of step at MAIL": ({"MAIL": b"250 fine\r\n250 too much\r\n"}, 1,
                            b'step="between commands" reply="250 too much"'),
    "out of step at DATA": ({"DATA": b"354 go on\r\n250 too much\r\n"}, 1,
                            b'step="between commands" reply="250 too much"'),
    "nonsense at MAIL": ({"MAIL": b"what?\r\n"}, 2, b'step=MAIL reason="the reply is not SMTP"'),
}


@pytest.mark.parametrize("name", FAILURES)
def test_each_failure_is_logged_once(release, tmp_path, name):
    """However many recipients come after it."""
    script, n, words = FAILURES[name]
    with (Upstream(script) as up,
          Session(proxy(release, up, "--upstream-timeout=1"), tmp_path) as session):
        session.begin("EHLO")
        if session.ask(b"MAIL FROM:<a@example.org>").startswith(b"250 "):
            got = [session.ask(b"RCPT TO:<b%d@example.com>" % i)[:4] for i in range(3)]
            if got[0] == b"250 ":
                session.expect((b"DATA", b"354 "))
                session.say(SMALL)
                session.expect((b".", b"451 4.5.0 " if b"too much" in words else b"451 4.4.2 "))
        assert session.end() == 0
        log = session.err()
    assert log.count(
        b"smtpd: upstream ") == log.count(
            b"smtpd: upstream endpoint=%s %s\n" % (up.endpoint.encode(),
                                                   words)) == n == len(up.connections), log
