# SPDX-License-Identifier: MIT
"""Words of a client in the log: they are values, in lines that any program can read, whatever they
are."""

import pytest
from logged import HELLO, RECIPIENT, play
from logs import lines, one
from proxy import SMALL, proxy
from session import Session, command
from upstream import Upstream, close

FAKE = b'x> from=<root> status=sent verdict=250 peer=10.0.0.1 y'
NASTY = {  # local parts of recipients, and names for EHLO
    "fields": b'"%s"' % FAKE,
    "a quote": rb'"x\" verdict=\"250 2.0.0 fine"',
    "a backslash": rb'"x\\"',
    "a message": b'"x smtpd: message id=1 verdict=250"',
    "long": b"v" * 900,
    "long, of four each": b'"' + b'\\"' * 400 + b'"',
    "equals signs": b"from=to=x",
}


def cut(value):
    """As the log has it: a value that is too long as it is written ends with dots."""
    def places(octet):
        return 1 if 32 <= octet < 127 and octet not in b'"\\' else 4
    is_bare = all(places(octet) == 1 and octet != 32 for octet in value)
    n = sum(map(places, value))
    if n + (0 if is_bare else 2) <= 256:
        return value
    room, kept = 256 - 2 - 3, b""
    for octet in value:
        room -= places(octet)
        if room < 0:
            break
        kept += bytes([octet])
    return kept + b"..."


@pytest.mark.parametrize("name", NASTY)
def test_words_of_a_client_are_values(smtpd, tmp_path, name):
    """In every line that has them they are the value of their field, and all fields of ours stand
    before them."""
    local = NASTY[name]
    address = b"<%s@example.org>" % local
    with Session(command(smtpd), tmp_path) as session:
        session.expect((None, b"220 "), (b"EHLO " + local[:200], b"250-"))
        for end in (b"DATA", b"RSET"):
            session.expect((b"MAIL FROM:" + address, b"250 "), (b"RCPT TO:" + address, b"250 "))
            session.expect((end, b"354 " if end == b"DATA" else b"250 "))
            if end == b"DATA":
                session.say(SMALL)
                session.expect((b".", b"250 "))
        assert session.end() == 0
        log = session.err()
    assert [line.what for line in lines(log)] == ["message", "abandoned", "session"]
    message, abandoned, end = lines(log)
    for line in (message, abandoned):
        assert line["from"] == line["to"] == cut(address) and line["helo"] == cut(local[:200])
    assert message["verdict"] == b"250 2.0.0 printed"
    assert message.keys() == ["id", "peer", "uid", "verdict", "strategy", "duration", "protocol",
                              "size", "recipients",
                              "helo", "from", "to"]
    assert abandoned.keys() == ["id", "peer", "uid", "reason", "protocol", "size", "recipients",
                                "helo", "from", "to"]
    of_this_build = {"confined"}  # a build with sanitizers has no sandbox, and says so
    assert [key for key in end.keys() if key not in of_this_build] == [
        "peer", "uid", "protocol", "commands", "errors", "messages", "accepted", "end", "duration",
        "helo"
    ]
    assert end["helo"] == cut(local[:200]) and end["end"] == b"221 goodbye"


def test_a_long_sender_hides_nobody(smtpd, tmp_path):
    """UTF-8 is written with four octets for each of its own."""
    sender = "<" + "\u00fc" * 500 + "@example.org>"
    with Session(command(smtpd), tmp_path) as session:
        session.expect((None, b"220 "), (b"EHLO x", b"250-"),
                       (f"MAIL FROM:{sender} SMTPUTF8".encode(), b"250 "))
        session.expect((b"RCPT TO:<b@example.com>", b"250 "), (b"DATA", b"354 "))
        session.say(SMALL)
        session.expect((b".", b"250 "))
        assert session.end() == 0
        message = one(session.err(), "message")
    assert message["to"] == b"<b@example.com>" and message["from"] == cut(sender.encode())


@pytest.mark.parametrize("name", NASTY)
def test_refused_words_of_a_client_are_values(smtpd, tmp_path, name):
    address = b"<%s@example.org>" % NASTY[name]
    with Upstream({"RCPT": b"550 " + FAKE + b' "\\\r\n',
                   "MAIL": [b"550 " + FAKE + b"\r\n", None]}) as up:
        log = play(proxy(smtpd, up), tmp_path, HELLO, (b"MAIL FROM:" + address, b"550 "),
                   (b"MAIL FROM:" + address, b"250 "),
                   (b"RCPT TO:" + address, b"550 "))
    sender, recipient = lines(log, "rejected")
    assert sender["from"] == recipient["from"] == recipient["to"] == cut(address)
    assert sender["verdict"] == b"550 " + FAKE
    assert recipient["verdict"] == b"550 " + FAKE + b' "\\'
    assert sender.keys() == recipient.keys()[:-1] == ["id", "peer", "uid", "verdict", "by", "helo",
                                                      "from"]


@pytest.mark.parametrize("name", NASTY)
def test_lost_words_of_a_client_are_values(smtpd, tmp_path, name):
    """The connection to the upstream is lost at the dot, or the client's before it hears the
    250."""
    address = b"<%s@example.org>" % NASTY[name]
    with Upstream({"dot": close}) as up:
        with Session(proxy(smtpd, up), tmp_path) as session:
            session.expect((None, b"220 "), HELLO, (b"MAIL FROM:" + address, b"250 "),
                           (b"RCPT TO:" + address, b"250 "), (b"DATA", b"354 "))
            session.say(SMALL)
            session.expect((b".", b"451 "))
            assert session.end() == 0
            lost = one(session.err(), "duplicate possible")
    assert lost.keys() == ["id", "destination", "reason", "to"] and lost["to"] == cut(address)
    with Session(command(smtpd), tmp_path) as session:
        session.expect((None, b"220 "), HELLO, (b"MAIL FROM:" + address, b"250 "),
                       (b"RCPT TO:" + address, b"250 "), RECIPIENT,
                       (b"DATA", b"354 "))
        session.say(SMALL + b".\r\n")
        session.wait_for([session.ours], [])
        session.ours.close()
        assert session.status() == 0
        unheard = one(session.err(), "duplicate possible")
    assert unheard.keys() == ["id", "peer", "uid", "recipients", "to", "to"]
    assert unheard.all("to") == [cut(address), b"<b@example.com>"] and unheard["recipients"] == b"2"
