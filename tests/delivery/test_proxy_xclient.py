# SPDX-License-Identifier: MIT
"""Strategy proxy with xclient=yes: the upstream is told by XCLIENT who the client is."""

import re

import pytest
from proxy import HOSTILE_NAMES, SMALL, XCLIENT, check_honest, play, proxy
from session import Session, codes, run, tcp_pair
from upstream import EVERYTHING, Upstream


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
