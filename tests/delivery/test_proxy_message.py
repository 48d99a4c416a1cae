# SPDX-License-Identifier: MIT
"""Strategy proxy: which message the upstream gets. The client's octets are exact, what we add is on
top, and what must not go on is refused."""

import re
import socket

import pytest
from conftest import missing
from proxy import (HOSTILE_NAMES, HOSTNAME, LARGE, SMALL, check_exact, check_honest, passed_on,
                   play, proxy)
from session import Session, codes, run, tcp_pair
from upstream import EVERYTHING, Upstream

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
