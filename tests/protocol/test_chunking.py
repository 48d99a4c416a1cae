# SPDX-License-Identifier: MIT
"""BDAT (RFC 3030): what is delivered is what a second decoder makes of the chunks, or nothing,
however they and the stream are cut. What is in them never runs, here or at an upstream."""

import fcntl
import random
import re
import socket
import struct
import termios

import pytest
from proxy import proxy
from session import Session, command, replies, reset, tcp_pair, wait_until
from upstream import Upstream

ENVELOPE = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n"
SMUGGLED = (
    b"MAIL FROM:<mallory@example.org>\r\nRCPT TO:<victim@example.com>\r\n"
    b"DATA\r\nSubject: two\r\n\r\n.\r\nQUIT\r\n"
)


def bdat(*chunks, last=True):
    """The commands with their chunks; the last one ends the message."""
    ends = [b""] * (len(chunks) - 1) + [b" LAST" if last else b""]
    return b"".join(b"BDAT %d%s\r\n%s" % (len(c), end, c) for c, end in zip(chunks, ends))


def decode(chunks):
    """A message as LF lines; None: it is refused."""
    wire = b"".join(chunks)
    if re.search(rb"\r(?!\n)|(?<!\r)\n", wire):
        return None
    return (wire + (b"" if wire.endswith(b"\r\n") or not wire else b"\r\n")).replace(b"\r\n", b"\n")


def printing(smtpd, *options):
    return command(smtpd, "--x-peer=no", *options)


# --- against the decoder -------------------------------------------------------------------------


PIECES = [b"text", b".", b"..", b"\r\n", b"\r\n", b"\r\n.\r\n", b"QUIT\r\n", b"BDAT 3 LAST\r\n"]
PIECES += [b"\0", b"\xff", SMUGGLED, b"a line\r\n" * 90]  # of many lines blocks are taken


def cut(chance, octets, n):
    """In n pieces, some of nothing."""
    at = sorted(chance.choices(range(len(octets) + 1), k=n - 1))
    return [octets[a:b] for a, b in zip([0, *at], [*at, len(octets)])]


@pytest.mark.parametrize("seed", range(3))
def test_random_chunks(smtpd, tmp_path, seed):
    """Many messages in a session, one in six with a bare CR or LF, in pieces of their own."""
    chance, said, expected = random.Random(seed), b"", []
    for _ in range(150):
        pieces = chance.choices(PIECES, k=chance.randrange(40))
        if chance.random() < 1 / 6:
            pieces.insert(chance.randrange(len(pieces) + 1), chance.choice([b"\r", b"\n"]))
        chunks = cut(chance, b"".join(pieces), chance.randrange(1, 6))
        said += ENVELOPE + bdat(*chunks)
        expected.append(decode(chunks))
    with Session(printing(smtpd, "--max-errors=1000"), tmp_path) as session:
        session.begin("EHLO")
        for piece in cut(chance, said, 500):
            session.say(piece)
        session.say(b"QUIT\r\n")
        heard = [code for code, _ in replies(session.read_to_end())]
        assert session.status() == 0
        assert session.messages() == [text for text in expected if text is not None]
    assert heard.count(554) == expected.count(None) > 0 and heard[-1] == 221
    assert set(heard) == {250, 554, 503, 221}


def is_taken(sock):
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0] == 0


def test_every_split(smtpd, tmp_path):
    """Two reads for a transaction, cut after each of its octets."""
    chunks = [b".\r\nMAIL\r", b"\n\r\n.\r\nRSET\r\n", b"", b"."]
    said = ENVELOPE + bdat(*chunks)
    with Session(printing(smtpd), tmp_path) as session:
        session.begin("EHLO")
        for split in range(1, len(said)):
            session.say(said[:split])
            wait_until(lambda: is_taken(session.ours), "the first part")
            session.say(said[split:])
            assert [session.reply()[:4] for _ in range(6)] == [b"250 "] * 6
        assert session.end() == 0
        assert session.messages() == [decode(chunks)] * (len(said) - 1)
        assert session.err().count(b' line-end=added ') == len(said) - 1


# --- what is in a chunk never runs ---------------------------------------------------------------


@pytest.mark.parametrize("edge", [b"\r\n.\r\n", b"\r\n..\r\n", b".\r\n", b"\r\n.\r\n\r\n.\r\n"])
@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
def test_no_smuggling(smtpd, tmp_path, edge, lmtp):
    """What would end the message at an upstream is text, wherever in it a chunk ends."""
    octets = b"Subject: one\r\n\r\none" + edge + SMUGGLED
    where = octets.index(edge)
    options = ["--x-peer=no", f"--upstream-protocol={'lmtp' if lmtp else 'smtp'}"]
    with Upstream(lmtp=lmtp) as up, Session(proxy(smtpd, up, *options), tmp_path) as session:
        session.begin("EHLO")
        for split in range(where, where + len(edge) + 1):
            session.say(ENVELOPE + bdat(octets[:split], octets[split:]))
            assert [session.reply()[:4] for _ in range(4)] == [b"250 "] * 4
        assert session.end() == 0
    assert len(up.messages) == len(edge) + 1
    for message in up.messages:
        assert message.text.endswith(b"\n" + decode([octets])), message
        assert not any(b"mallory" in line for c in up.connections for line in c.commands)


EDGES = [b"\n.\r\n", b"\r\n.\n", b"\n.\n", b"\r.\r", b"\r\n.\r", b"\n\r.\r\n"]


@pytest.mark.parametrize("edge", EDGES)
def test_bare_line_ends(release, tmp_path, edge):
    """The upstream sees nothing of the message, and the session goes on."""
    octets = b"Subject: one\r\n\r\none" + edge + SMUGGLED
    with Upstream() as up, Session(proxy(release, up), tmp_path) as session:
        session.begin("EHLO")
        for chunks in ([octets], [octets[:30], octets[30:]], [octets, b""]):
            session.say(ENVELOPE + bdat(*chunks) + b"RSET\r\n")
            heard = [session.reply()[:9] for _ in range(3 + len(chunks))]
            assert b"554 5.6.0" in heard and heard[-1] == b"250 2.0.0", heard
        session.say(ENVELOPE + bdat(b"Subject: two\r\n"))
        assert [session.reply()[:4] for _ in range(3)] == [b"250 "] * 3
        assert session.end() == 0
        assert session.err().count(b'rejected id=') == 3
    assert [re.search(rb"Subject: (\w+)", m.wire)[1] for m in up.messages] == [b"two"]


def test_the_batch_goes_on(release, tmp_path):
    """The upstream has the envelope at once, and DATA when the last chunk is here."""
    with Upstream() as up, Session(proxy(release, up, "--x-peer=no"), tmp_path) as session:
        session.begin("EHLO")
        session.say(ENVELOPE + bdat(b"Subject: ", last=False))
        assert [session.reply()[:4] for _ in range(3)] == [b"250 "] * 3
        assert [line[:4] for line in up.connections[-1].commands[-2:]] == [b"MAIL", b"RCPT"]
        assert session.ask(b"BDAT 5 LAST\r\none").startswith(b"250 2.0.0 ")
        assert up.connections[-1].commands[-1] == b"DATA"
        assert session.end() == 0
    assert up.messages[0].text.endswith(b"Subject: one\n")


def test_refused_recipients(release, tmp_path):
    script = {"RCPT": b"550 5.1.1 nobody\r\n"}
    with Upstream(script) as up, Session(proxy(release, up), tmp_path) as session:
        session.begin("EHLO")
        session.say(ENVELOPE + bdat(b"QUIT\r\n", SMUGGLED))
        assert [session.reply()[:4] for _ in range(4)] == [b"250 ", b"550 ", b"503 ", b"503 "]
        assert session.end() == 0
    assert not up.messages and b"DATA" not in up.connections[-1].commands


def test_rule(release, tmp_path):
    """reply=data holds for the first chunk, which is lost, and so is what follows it."""
    argv = printing(release, "--reply=data *@example.com 554 5.7.1 not today")
    with Session(argv, tmp_path) as session:
        session.begin("EHLO")
        session.say(ENVELOPE + b"BDAT 6\r\nQU")
        assert [session.reply()[:4] for _ in range(2)] == [b"250 "] * 2
        session.say(b"IT\r\n" + bdat(SMUGGLED))
        assert session.reply() == b"554 5.7.1 not today" and session.reply().startswith(b"503 ")
        assert session.end() == 0
        assert session.messages() == [] and session.err().count(b"smtpd: rejected ") == 1


# --- clients that leave --------------------------------------------------------------------------


@pytest.mark.parametrize("leave", ["close", "reset", "silence"])
@pytest.mark.parametrize("said", [
    b"BDAT 60 LAST\r\nSubject: half\r\n\r\n",
    b"BDAT 15\r\nSubject: half\r\n",
], ids=["in", "between"])  # fmt: skip
def test_gone(release, tmp_path, said, leave):
    """In a chunk, or between two: nothing is delivered."""
    argv = printing(release, *["--timeout=1"] * (leave == "silence"))
    with Session(argv, tmp_path, pair=tcp_pair()) as session:
        session.begin("RCPT")
        session.say(said)
        wait_until(lambda: is_taken(session.ours), "the chunk")
        if leave == "close":
            session.ours.shutdown(socket.SHUT_WR)
        if leave == "reset":
            reset(session.ours)
        else:
            said = session.read_to_end()
            assert said.endswith(b"closing connection\r\n") == (leave == "silence")
        assert session.status() == 0
        assert session.messages() == [] and b"smtpd: abandoned " in session.err()
