# SPDX-License-Identifier: MIT
"""Strategy proxy: what a client may do in its session. It sends several messages, it leaves, and
nothing that it says becomes a command for the upstream."""

import re
import socket

import pytest
from proxy import HOSTNAME, LARGE, SMALL, check_exact, passed_on, proxy
from session import Session, reset as reset_client, tcp_pair
from upstream import EVERYTHING, Upstream, close, last

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
