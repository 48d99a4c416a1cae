# SPDX-License-Identifier: MIT
"""No octet of a client becomes part of a header field that we vouch for: Received and X-Peer are
what we have written, whatever the text begins with, and nothing of the text is lost. Two readers
say so: Python's email parser, which Mailman uses, and a strict one below."""

import email
import email.policy
import itertools
import re

import pytest
from list_server import mailman
from mailman2 import DATE, Client, Mailman2
from proxy import RECEIVED, proxy
from session import Session
from upstream import Upstream, last

LINES = [b"", b" x", b"\tx", b" \t", b"From a@b Sat Nov 21", b"From \t: a@b", b">From x",
         b"from here on", b"Subject: x", b"X-Peer: 192.0.2.66",
         # fmt: skip
         b"Received: from elsewhere", b"no field", b": x", b"S\xc3\xbc: x", b"Subject : x"]
STARTS = [b"\n".join(lines) + b"\n" for n in (1, 2) for lines in itertools.product(LINES, repeat=n)]
STARTS += [b"Subject: x\n%s\nTo: y\n" % line for line in LINES]
TEXTS = [start + rest for start in STARTS for rest in (b"", b"\nTo: body\n\nbody\n")]
FEW = [line + rest for line in LINES for rest in (b"\n", b"\nTo: y\n\nbody\n")]
FIELD = re.compile(rb"[!-9;-~]+[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*")
ADDED = re.compile(rb"From: a@example\.org\n|" + DATE)
LABEL = b"X-Mailbox-Line: "


def split(text):
    """The strict reader: (the fields of the header section, what comes after the empty line, None
    if there is none)."""
    fields = []
    while match := FIELD.match(text):
        fields.append(match[0])
        text = text[match.end() :]
    assert text == b"" or text.startswith(b"\n"), f"neither a field nor an empty line: {text[:60]!r}"
    return fields, text[1:] if text else None


def check(text, sent):
    fields, body = split(text)
    received, *theirs, x_peer = fields
    while theirs and ADDED.fullmatch(theirs[0]):  # for Mailman 2.1
        theirs = theirs[1:]
    theirs = b"".join(theirs)
    assert RECEIVED.fullmatch(received) and x_peer == b"X-Peer: local\n"
    if sent.startswith(b"From ") and not FIELD.match(sent):
        assert theirs.startswith(LABEL)
        theirs = theirs[len(LABEL) :]
    assert LABEL not in theirs and sent.startswith(theirs)
    rest = sent[len(theirs) :]
    assert body == (rest.removeprefix(b"\n") if rest else None), "something was lost, or added"
    check_as_python_sees_it(text, received)


def check_as_python_sees_it(text, received):
    ours = email.message_from_bytes(received).items()
    assert email.message_from_bytes(text).items()[:1] == ours
    value = str(email.message_from_bytes(text, policy=email.policy.default)["Received"])
    assert "".join(value.split()) == "".join(ours[0][1].split())


def wire(text):
    return text.replace(b"\n", b"\r\n")


def test_for_an_upstream(smtpd, tmp_path):
    with Upstream() as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("EHLO")
        for text in TEXTS:
            assert session.send_message(wire(text)).startswith(b"250 "), text
        assert session.end() == 0
        up.wait_until_over()
        assert len(up.messages) == len(TEXTS)
        for message, text in zip(up.messages, TEXTS):
            check(message.text, text)


def test_for_mailman_3(release, tmp_path):
    with Upstream(lmtp=True) as up, Session(mailman(release, up.endpoint), tmp_path) as session:
        session.begin("EHLO")
        for text in FEW:
            assert session.send_message(wire(text)).startswith(b"250 "), text
        assert session.end() == 0
        up.wait_until_over()
        assert len(up.messages) == len(FEW)
        for message, text in zip(up.messages, FEW):
            check(message.text, text)


def test_for_mailman_2(release, tmp_path):
    mm = Mailman2(tmp_path)
    with Client(mm, mm.command(release)) as client:
        for text in FEW:
            assert client.ask(b"test@example.com")[0].startswith(b"250 ")
            assert client.send(wire(text)).startswith(b"250 "), text
    taken = [t.text for t in mm.taken()]
    assert len(taken) == len(FEW)
    for text in FEW:  # they have no order
        assert any(is_it(t, text) for t in taken), text


def is_it(text, sent):
    try:
        check(text, sent)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("text",
                         [b"Subject: x\n\nbody\n", b" x\n", b"From x\n", b"From x\ny\n",
                          b"no field\n", b"", b"A: b\nno field\n\nbody\n"])
def test_its_size_is_what_is_sent(smtpd, tmp_path, text):
    """The second upstream takes exactly as many octets, the third one less."""

    def limit(less):
        return lambda c: c.send(
            b"250-up.example\r\n250 SIZE %d\r\n" % (len(up.messages[0].wire) - less))

    scripts = [{"dot": last(b"250 2.0.0 yes\r\n")},
               {"EHLO": limit(0), "dot": last(b"250 2.0.0 yes\r\n")}, {"EHLO": limit(1)}]
    with Upstream(*scripts) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("EHLO")
        for verdict in (b"250 ", b"250 "):
            assert session.send_message(wire(text)).startswith(verdict)
        assert session.send_message(wire(text))[:1] in b"45"
        assert session.end() == 0
        up.wait_until_over()
        assert len(up.messages) == 2 and len(up.messages[0].wire) == len(up.messages[1].wire)
