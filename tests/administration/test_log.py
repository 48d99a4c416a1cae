# SPDX-License-Identifier: MIT
"""What the log says of messages: who has one, who has not, who may have it; and why a transaction
ended without one."""

import socket

import pytest
from logs import lines, one
from proxy import SMALL, proxy
from session import Session, command
from upstream import Upstream, close


@pytest.mark.parametrize(("said", "reason"), [
    (b"RSET", b"the client started over"),
    (b"EHLO again", b"the client started over"),
    (b"QUIT", b"221 goodbye"),
    (b"BDAT x", b"501 syntax: BDAT size [LAST], closing connection"),
    (b"", b"the client closed the connection"),
])  # fmt: skip
def test_why_a_transaction_was_abandoned(smtpd, tmp_path, said, reason):
    """A 250 is no reason."""
    with Session(command(smtpd), tmp_path) as session:
        session.begin("RCPT")
        if said:
            session.ask(said)
        session.ours.shutdown(socket.SHUT_WR)
        session.read_to_end()
        assert session.status() == 0
        assert one(session.err(), "abandoned")["reason"] == reason


def test_many_recipients_in_one_line(smtpd, tmp_path):
    """As many as the line has room for, each of them whole."""
    with Session(command(smtpd), tmp_path) as session:
        session.begin("MAIL")
        for i in range(100):
            session.expect((b"RCPT TO:<%s%d@example.com>" % (b"r" * 200, i), b"250 "))
        session.expect((b"DATA", b"354 "))
        session.say(SMALL)
        session.expect((b".", b"250 "))
        assert session.end() == 0
        message = one(session.err(), "message")
    assert message["recipients"] == b"100" and 12 < len(message.all("to")) < 20
    assert all(to == b"<%s%d@example.com>" % (b"r" * 200, i) for i,
               to in enumerate(message.all("to")))


def deliver_to_three(smtpd, folder, said, *options):
    """A message for three by an LMTP upstream: (replies, the log, the upstream's endpoint)."""
    with Upstream({"dot": said}, lmtp=True) as up:
        with Session(proxy(smtpd, up, "--upstream-protocol=lmtp", *options), folder) as session:
            is_lmtp = "--protocol=lmtp" in options
            session.expect((None, b"220 "), (b"LHLO x" if is_lmtp else b"EHLO x", b"250-"),
                           (b"MAIL FROM:<a@example.org>", b"250 "))
            for i in range(3):
                session.expect((b"RCPT TO:<b%d@example.com>" % i, b"250 "))
            session.expect((b"DATA", b"354 "))
            session.say(SMALL + b".\r\n")
            got = [session.reply() for _ in range(3 if is_lmtp else 1)]
            assert session.end() == 0
            return got, session.err(), up.endpoint.encode()


VERDICTS = [b"250 2.0.0 one", b"452 4.2.2 full", b"550 5.2.1 off"]


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_a_line_for_each_recipient_if_they_differ(smtpd, tmp_path, protocol):
    """And who has it although the client heard a refusal gets it again, but in LMTP nobody does."""
    got, log, endpoint = deliver_to_three(smtpd, tmp_path, b"\r\n".join(VERDICTS) + b"\r\n",
                                          f"--protocol={protocol}")
    assert got == (VERDICTS if protocol == "lmtp" else [VERDICTS[1]])
    message = one(log, "message")
    assert message["verdict"] == VERDICTS[0 if protocol == "lmtp" else 1]
    assert message["recipients"] == b"3"
    assert message.all("by") == ([] if protocol == "lmtp" else [b"upstream"])
    assert message.all("to") == []
    each = lines(log, "recipient")
    assert [line["verdict"] for line in each] == VERDICTS
    assert [line["to"] for line in each] == [b"<b%d@example.com>" % i for i in range(3)]
    assert all(line.keys() == ["id", "verdict", "by", "destination", "to"] for line in each)
    assert {(line["id"], line["by"], line["destination"])
            for line in each} == {(message["id"], b"upstream", endpoint)}
    twice = lines(log, "duplicate possible")
    assert [(line["id"], line["destination"], line["to"]) for line in twice] == (
        [] if protocol == "lmtp" else [(message["id"], endpoint, b"<b0@example.com>")])


@pytest.mark.parametrize("said", [
    b"250 2.0.0 fine\r\n" * 3, b"550 5.7.1 no\r\n" * 3,
    b"550 5.7.1 no\r\n452 4.2.2 full\r\n550 5.7.1 no\r\n",
], ids=["all", "none", "none, differently"])
def test_no_false_alarm(smtpd, tmp_path, said):
    _, log, _ = deliver_to_three(smtpd, tmp_path, said)
    assert lines(log, "duplicate possible") == [] and len(lines(log, "message")) == 1
    assert len(lines(log, "recipient")) == (3 if b"452" in said else 0)


def test_who_may_have_it(smtpd, tmp_path):
    """The upstream hung up without a word about two of three."""
    def act(c):
        c.send(b"250 2.0.0 one\r\n")
        close(c)

    got, log, endpoint = deliver_to_three(smtpd, tmp_path, act)
    assert got[0].startswith(b"451 4.4.2 ")
    message = one(log, "message")
    assert [line["verdict"][:3] for line in lines(log, "recipient")] == [b"250", b"451", b"451"]
    assert [line["by"] for line in lines(log, "recipient")] == [b"upstream", b"us", b"us"]
    assert message["by"] == b"us"
    twice = lines(log, "duplicate possible")
    assert sorted(line["to"] for line in twice) == [b"<b%d@example.com>" % i for i in range(3)]
    assert {(line["id"], line["destination"]) for line in twice} == {(message["id"], endpoint)}
