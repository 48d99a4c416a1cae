# SPDX-License-Identifier: MIT
"""Strategy mailman with a real GNU Mailman 3 (tests/lib/mailman3.py), asked afterwards what it
holds and what it sent. Beside it an upstream for all other recipients."""

import re
import time

import pytest
from list_server import (LARGE, LIST, OTHER, THIRD, UNHEARD, ask, logged, mailman, message, play,
                         send, session, token)
from mailman3 import Mailman
from session import PATIENCE
from upstream import Body, Upstream, close, reset


def stripped(wire):
    """Only the text that a client sent."""
    return wire[wire.index(b"From: a@example.org") :]


@pytest.fixture(scope="module")
def real():
    with Mailman() as m:
        m.create("test", "member@example.net")
        m.create("my-list", "member@example.net")
        m.create("x-request", "member@example.net")
        yield m


def test_posts(smtpd, real, tmp_path):
    """A list, one with a hyphen, one with a name like another's command; any letter case. They are
    archived and sent on."""
    for to, name in ((b"test", "test"), (b"my-list", "my-list"), (b"x-request", "x-request"),
                     (b"MY-List", "my-list")):
        text = token()
        verdict, log = play(mailman(smtpd, real.endpoint), tmp_path, message(text),
                            to + b"@example.com")
        assert verdict.startswith(b"250 ") and logged(log) == ({}, b"250")
        assert [len(real.archived(text, name)), len(real.archived(text))] == [1, 1]
        (sent,) = real.sent(text)
        assert sent.recipients == [b"<member@example.net>"]
        assert sent.sender.startswith(f"<{name}-bounces@".encode())


def test_what_mailman_gets(release, real, tmp_path):
    """Received is on top and X-Peer the last of the headers; the envelope's sender arrives, the
    null one too."""
    text = token()
    for sender in (b"somebody@example.org", b""):
        play(mailman(release, real.endpoint), tmp_path, message(text, b"X-Last: 1"), LIST,
             sender=sender)
    first, second = sorted(real.archived(text),
                           key=lambda octets: b"X-MailFrom: somebody@example.org\n" not in octets)
    for octets in (first, second):
        assert octets.startswith(b"Received: from client.example.org (local)\n\tby mx.example.com "
                                 b"(smtpd) with ESMTP id ")
        assert b"\n\tfor <test@example.com>;\n" in octets
        assert b"\nX-Last: 1\nX-Peer: local\n" in octets
    assert b"X-MailFrom: somebody@example.org\n" in first and b"somebody" not in second


def test_subscription(release, real, tmp_path):
    """-join; Mailman asks back; -confirm+TOKEN."""
    argv, text = mailman(release, real.endpoint), token()
    address = text + b"@example.net"
    join, confirm = b"my-list-join@example.com", b"my-list-confirm+%s@example.com"
    said = lambda to: b"From: %s\r\nTo: %s\r\nSubject: x\r\n\r\n" % (address, to)
    verdict, _ = play(argv, tmp_path, said(join), join, sender=address)
    assert verdict.startswith(b"250 ")
    (question,) = real.sent(b"To: " + address)
    assert question.recipients == [b"<" + address + b">"]
    assert real.member("my-list", address.decode()) is False
    confirm %= re.search(rb"^From: my-list-confirm\+([0-9a-f]+)@example\.com", question.wire,
                         re.M)[1]
    verdict, _ = play(argv, tmp_path, said(confirm), confirm, sender=address)
    real.settle()
    assert verdict.startswith(b"250 ")
    assert real.member("my-list", address.decode())["email"] == address.decode()


def test_a_list_that_is_named_three_times(smtpd, real, tmp_path):
    """It gets one copy: Mailman would post each of them."""
    text = token()
    verdict, _ = play(mailman(smtpd, real.endpoint), tmp_path, message(text), LIST,
                      b"Test@example.com", b"TEST@EXAMPLE.COM")
    assert verdict.startswith(b"250 ") and len(real.archived(text)) == 1


DSN = b"""From: MAILER-DAEMON@example.net
To: my-list-bounces+bouncing=example.net@example.com
Subject: failed
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

It failed.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; example.net

Final-Recipient: rfc822; bouncing@example.net
Action: failed
Status: 5.1.1

--b--
""".replace(b"\n", b"\r\n")


def test_bounce(release, real, tmp_path):
    real.rest("POST", "members", list_id="my-list.example.com", subscriber="bouncing@example.net",
              pre_verified="true",
              pre_confirmed="true", pre_approved="true", send_welcome_message="false")
    to = b"my-list-bounces+bouncing=example.net@example.com"
    verdict, _ = play(mailman(release, real.endpoint), tmp_path, DSN, to, sender=b"")
    assert verdict.startswith(b"250 ")
    real.settle()
    end = time.monotonic() + 10
    while real.member("my-list", "bouncing@example.net")["bounce_score"] != 1:
        assert time.monotonic() < end, real.logs()
        time.sleep(0.1)


def test_addresses_of_lists(release, real, tmp_path):
    """All that a list has; and what it has not. Nothing is sent, so nothing is held."""
    commands = (b"bounces", b"confirm", b"join", b"leave", b"owner", b"request", b"subscribe",
                b"unsubscribe")
    known = [name + b"-" + c for name in (b"test", b"my-list", b"x-request") for c in commands]
    known += [b"test+anything", b"test-confirm+0123", b"my-list-bounces+user=example.net",
              b'"test"', b"TEST-Request"]
    unknown = [b"unknown", b"my", b"x", b"test-admin", b"test-", b"my-list-unknown",
               b"unknown-request"]
    with session(mailman(release, real.endpoint, "--max-errors=100"), tmp_path) as s:
        got = ask(s, b"a@example.org", [local + b"@example.com" for local in known + unknown])
        elsewhere = s.ask(b"RCPT TO:<test@example.net>")
    assert [reply[:4] for reply in got[: len(known)]] == [b"250 "] * len(known)
    assert {reply[:10] for reply in got[len(known) :]} == {b"550 5.1.1 "}
    assert elsewhere.startswith(b"550 5.1.1 ")


def test_others_go_upstream(smtpd, real, tmp_path):
    text = token()
    with Upstream({"RCPT": [None, b"550 5.1.1 no such user\r\n"]}) as up:
        with session(mailman(smtpd, real.endpoint, up), tmp_path) as s:
            replies = ask(s, b"a@example.org",
                          (b"unknown@example.com", b"gone@example.com", LIST, b"postmaster"))
            assert [reply[:9] for reply in replies] == [b"250 2.1.5", b"550 5.1.1", b"250 Ok",
                                                        b"550 5.1.1"]
            assert send(s, message(text)).startswith(b"250 ")
        up.wait_until_over()
    assert [m.recipients for m in up.messages] == [[b"<unknown@example.com>"]]
    assert stripped(up.messages[0].text).replace(b"X-Peer: local\n",
                                                 b"") == message(text).replace(b"\r\n", b"\n")
    assert len(real.archived(text)) == 1 and logged(s.err())[1] == b"250"
    assert b" destination=\"Mailman 127.0.0.1:" in s.err() and up.endpoint.encode() in s.err()


def test_several_lists(smtpd, real, tmp_path):
    """Each has a transaction of its own, and the others one; twice in a session."""
    texts = [token(), token()]
    with Upstream() as up:
        with session(mailman(smtpd, real.endpoint, up), tmp_path) as s:
            for text in texts:
                ask(s, b"a@example.org",
                    (LIST, OTHER, b"my-list@example.com", THIRD, b"x-request@example.com"))
                assert send(s, message(text)).startswith(b"250 ")
        up.wait_until_over()
    assert [m.recipients for m in up.messages] == [[b"<%s>" % OTHER, b"<%s>" % THIRD]] * 2
    for text in texts:
        assert [len(
            real.archived(text, name)) for name in ("test", "my-list", "x-request")] == [1, 1, 1]


@pytest.mark.parametrize("beginning",
                         [b"no header at all\r\n", b" a blank\r\n",
                          b"From a@example.org Sat Nov 21\r\nSubject: x\r\n\r\n"])
def test_no_defect(release, real, tmp_path, beginning):
    """What is no header field comes after ours, with an empty line between them, or as a field:
    Mailman takes it."""
    assert play(mailman(release, real.endpoint), tmp_path, beginning + token() + b"\r\n",
                LIST)[0] == b"250 Ok"


def test_defects(release, real, tmp_path):
    """Mailman says a single 501, whatever the number of recipients: nobody waits for more."""
    text, then = token(), time.monotonic()
    content = message(text, b"Content-Type: multipart/mixed")
    verdict, log = play(mailman(release, real.endpoint), tmp_path, content, LIST,
                        b"my-list@example.com")
    assert verdict == b"501 Message has defects" and logged(log) == ({}, b"501")
    assert time.monotonic() - then < 10
    assert real.archived(text) == [] and real.sent(text) == []


def test_defect_after_the_upstream_took_it(release, real, tmp_path):
    """The window that is left: the log says who has it."""
    text = token()
    with Upstream() as up:
        argv = mailman(release, real.endpoint, up)
        verdict, log = play(argv, tmp_path, message(text, b"Content-Type: multipart/mixed"), LIST,
                            OTHER)
    assert verdict.startswith(b"501 ") and logged(log) == ({LIST: b"501", OTHER: b"250"}, b"501")
    assert len(up.messages) == 1 and real.archived(text) == []


REFUSALS = {
    "at RCPT": ({"RCPT": b"550 5.1.1 nobody\r\n"}, None, 0),
    "at DATA, 4xx": ({"DATA": b"451 4.3.0 not now\r\n"}, b"451 4.3.0 not now", 0),
    "at DATA, 5xx": ({"DATA": b"554 5.7.1 not you\r\n"}, b"554 5.7.1 not you", 0),
    "at the dot, 4xx": ({"dot": b"452 4.3.1 disk full\r\n"}, b"452 4.3.1 disk full", 1),
    "at the dot, 5xx": ({"dot": b"554 5.6.0 spam\r\n"}, b"554 5.6.0 spam", 1),
    "lost after the dot": ({"dot": close}, b"451 4.4.2", 1),
    "lost in the message": ({"body": Body(1000, reset)}, b"451 4.4.2", 0),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusing_upstream(release, real, tmp_path, name):
    """One reply for all: who is not told 250 sends it again to all, so the list must not have
    it."""
    script, expected, n_bodies = REFUSALS[name]
    text = token()
    with Upstream(script) as up:
        with session(mailman(release, real.endpoint, up), tmp_path) as s:
            replies = ask(s, b"a@example.org", (LIST, OTHER))
            assert replies[1].startswith(b"250 " if expected else b"550 5.1.1 nobody")
            verdict = send(s, message(text) + LARGE * 5)
        up.wait_until_over()
    assert verdict.startswith(expected or b"250 ") and logged(s.err()) == ({}, verdict[:3])
    assert len(up.messages) == n_bodies and len(real.archived(text)) == (0 if expected else 1)
    assert UNHEARD in s.err() or name != "lost after the dot"


def test_upstream_is_down(release, real, tmp_path):
    """Lists get theirs all the same."""
    text = token()
    with session(mailman(release, real.endpoint, "--upstream=127.0.0.1:1"), tmp_path) as s:
        replies = ask(s, b"a@example.org", (OTHER, LIST))
        assert replies[0].startswith(b"451 4.4.1 ") and replies[1].startswith(b"250 ")
        assert send(s, message(text)).startswith(b"250 ")
    assert len(real.archived(text)) == 1


def test_lmtp_of_mailman_3(smtpd, real, tmp_path):
    """Each recipient has its own verdict, and nobody's refusal is another's."""
    for script, header, expected in (
        ({}, (), (b"250", b"250", b"250")),
        ({"DATA": b"554 5.7.1 not you\r\n"}, (), (b"250", b"554", b"250")),
        ({"dot": b"452 4.3.1 full\r\n"}, (), (b"250", b"452", b"250")),
        ({}, (b"Content-Type: multipart/mixed",), (b"501", b"250", b"501")),
    ):
        text, to = token(), (LIST, OTHER, b"my-list@example.com")
        with Upstream(script) as up:
            argv = mailman(smtpd, real.endpoint, up, "--protocol=lmtp")
            verdicts, log = play(argv, tmp_path, message(text, *header), *to)
        assert tuple(verdict[:3] for verdict in verdicts) == expected
        assert logged(log)[0] == dict(zip(to, expected))
        assert len(real.archived(text)) == 2 * (expected[0] == b"250")


def test_list_is_removed_before_the_message(release, real, tmp_path):
    text = token()
    real.create("shortlived")
    with session(mailman(release, real.endpoint), tmp_path) as s:
        assert ask(s, b"a@example.org", (b"shortlived@example.com", LIST))[0].startswith(b"250 ")
        real.remove("shortlived")
        assert send(s, message(text)).startswith(b"550 ")
    assert logged(s.err()) == ({}, b"550") and real.archived(text) == []


def test_smtputf8(release, real, tmp_path):
    """Mailman does not know it; the upstream may. It was offered: so a refusal is for now."""
    with Upstream() as up:
        with session(mailman(release, real.endpoint, up), tmp_path) as s:
            got = ask(s, b"a@example.org", (LIST, OTHER, "jürgen@example.com".encode()),
                      b" SMTPUTF8")
            assert [reply[:9] for reply in got] == [b"451 4.6.7", b"250 2.1.5", b"250 2.1.5"]
            assert send(s, message(token())).startswith(b"250 ")
        up.wait_until_over()
    assert len(up.messages) == 1
    with session(mailman(release, real.endpoint), tmp_path) as s:
        s.expect((b"MAIL FROM:<a@example.org> SMTPUTF8", b"555 "))


def test_smtputf8_sender(release, real, tmp_path):
    """It is no reason to refuse recipients that are not Mailman's."""
    with Upstream() as up:
        with session(mailman(release, real.endpoint, up), tmp_path) as s:
            got = ask(s, "jürgen@example.org".encode(), (OTHER, LIST), b" SMTPUTF8")
            assert [reply[:9] for reply in got] == [b"250 2.1.5", b"451 4.6.7"]


def test_larger_than_mailman_takes(release, real, tmp_path):
    """Neither is its size."""
    with Upstream(extensions=("SIZE 100000000", "8BITMIME")) as up:
        with session(mailman(release, real.endpoint, up, "--max-size=100M"), tmp_path) as s:
            got = ask(s, b"a@example.org", (OTHER, LIST), b" SIZE=40000000")
            assert got[0].startswith(b"250 ") and got[1][:3] in (b"250", b"552")


def test_relaying_is_judged_first(release, real, tmp_path):
    argv = mailman(release, real.endpoint, "--relay-from=192.0.2.1", "--relay-to=example.com")
    with session(argv, tmp_path) as s:
        got = ask(s, b"a@example.org",
                  (LIST, b"test@example.net", b"test%example.com@example.com",
                   b"@x.example:test@example.com"))
    assert [reply[:9] for reply in got] == [b"250 Ok", b"550 5.7.1", b"550 5.7.1", b"550 5.7.1"]


def test_mailman_is_stopped(release, real, tmp_path):
    """While it is down, nobody knows what is a list: 451 for all. Back before the message comes, it
    was never missed."""
    text, lost = token(), token()
    with Upstream() as up:
        argv = mailman(release, real.endpoint, up)
        with session(argv, tmp_path) as patient, session(argv, tmp_path) as hasty:
            for s in (patient, hasty):
                assert {reply[:4] for reply in ask(s, b"a@example.org", (LIST, OTHER))} == {b"250 "}
            for s in (patient, hasty):
                s.deadline += 3 * PATIENCE
            real.stop_lmtp()
            try:
                assert send(hasty, message(lost)).startswith(b"451 4.4.1 ")
                with session(argv, tmp_path) as s:
                    got = ask(s, b"a@example.org",
                              (LIST, OTHER, b"test-request@example.com", b"unknown@example.com",
                               b"postmaster"))
                    assert [reply[:9] for reply in got] == [b"451 4.4.1"] * 4 + [b"250 2.1.5"]
            finally:
                real.start_lmtp()
            assert send(patient, message(text)).startswith(b"250 ")
            assert patient.ask(b"RSET").startswith(b"250 ")
            assert ask(patient, b"a@example.org",
                       (LIST, b"unknown@example.com"))[0].startswith(b"250 ")
        up.wait_until_over()
    assert logged(hasty.err()) == ({}, b"451")
    assert logged(patient.err()) == ({LIST: b"250", OTHER: b"250"}, b"250")
    assert [text in m.wire for m in up.messages] == [True]
    assert len(real.archived(text)) == 1 and real.archived(lost) == []
