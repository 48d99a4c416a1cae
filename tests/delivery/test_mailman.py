# SPDX-License-Identifier: MIT
"""Strategy mailman with GNU Mailman 3: a real one (tests/lib/mailman3.py), asked afterwards what it
holds and what it sent; and a scripted one (tests/lib/upstream.py) for what a real one does rarely.
Beside it an upstream for all other recipients."""

import contextlib
import itertools
import re
import socket
import time

import pytest
from logs import lines
from mailman3 import Mailman
from session import PATIENCE, Session, command
from upstream import Body, Upstream, close, deaf, last, reset, silent

HOSTNAME = b"mx.example.com"
LARGE = b"the quick brown fox jumps over the lazy dog\r\n" * 20000  # 900 kB
LIST, OTHER, THIRD = b"test@example.com", b"other@example.com", b"third@example.com"
UNHEARD = b"duplicate possible: no reply to the final dot "
NO_LIST = b"550 Requested action not taken: mailbox unavailable\r\n"
count = itertools.count(1)


def token():
    """What a message is known by."""
    return b"token-%d-of-%d" % (next(count), time.monotonic_ns())


def message(text, *header, to=LIST):
    return b"\r\n".join((b"From: a@example.org", b"To: " + to, b"Subject: " + text, *header, b"",
                         b"text", b""))


def mailman(smtpd, endpoint, *upstreams_and_options):
    """The command line, for Mailman, Upstreams and options."""
    argv = command(smtpd, "--strategy=mailman", f"--mailman={endpoint}")
    return argv + [f"--upstream={one.endpoint}" if isinstance(one, Upstream) else one
                   for one in upstreams_and_options]


def ask(session, sender, recipients, mail_options=b""):
    """Up to the recipients: their replies."""
    session.expect((b"MAIL FROM:<%s>%s" % (sender, mail_options), b"250 "))
    return [session.ask(b"RCPT TO:<%s>" % recipient) for recipient in recipients]


def send(session, content, verdicts=1):
    """DATA and the message: its reply, or as many as there are."""
    session.expect((b"DATA", b"354 "))
    session.say(content + (b"" if content.endswith(b"\r\n") else b"\r\n") + b".\r\n")
    said = [session.reply() for _ in range(verdicts)]
    return said[0] if verdicts == 1 else said


@contextlib.contextmanager
def session(argv, folder):
    """From EHLO to a good end."""
    with Session(argv, folder) as s:
        s.expect((None, b"220 "),
                 (b"%s client.example.org" % (b"LHLO" if "--protocol=lmtp" in argv else b"EHLO"),
                  b"250-"))
        yield s
        assert s.end() == 0


def play(argv, folder, content, *recipients, sender=b"a@example.org"):
    """A whole session of one message for recipients that are all welcome: (the verdict, or one each
    in LMTP; the log)."""
    with session(argv, folder) as s:
        assert all(reply.startswith(b"250 ") for reply in ask(s, sender, recipients))
        verdict = send(s, content, len(recipients) if "--protocol=lmtp" in argv else 1)
    return verdict, s.err()


def logged(log):
    """Of the last message: the verdict for each recipient if they differ, the verdict for all."""
    message = lines(log, "message")[-1]
    each = {line["to"][1:-1]: line["verdict"][:3] for line in lines(log, "recipient")
            if line["id"] == message["id"]}
    return each, message["verdict"][:3]


def stripped(wire):
    """Only the text that a client sent."""
    return wire[wire.index(b"From: a@example.org") :]


# --- a real one -----------------------------------------------------------------------------------


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


@pytest.mark.parametrize("to", [(LIST,), (LIST, OTHER)], ids=["list", "list and other"])
def test_message_larger_than_mailman_takes(release, tmp_path, to):
    """EHLO did not say so: it is refused for now, and nobody has it."""
    with Upstream(lmtp=True, extensions=("SIZE 1000", "8BITMIME")) as mm, Upstream() as up:
        mm.scripts = ({"RCPT": lists(LIST)},)
        verdict, log = play(mailman(release, mm.endpoint, up), tmp_path, message(token()) + LARGE,
                            *to)
        check_nobody_has_it(mm, up)
    assert verdict == (b"452 4.3.4 message too big: the list server accepts at most 1000 octets")
    assert logged(log) == ({}, b"452")


def test_size_larger_than_mailman_takes(release, tmp_path):
    """The client said it at MAIL: Mailman, which would say 552, is not asked."""
    too_big = {"RCPT": lists(LIST), "MAIL": b"552 5.3.4 too big\r\n"}
    with Upstream({"RCPT": lists(LIST)}, too_big, lmtp=True, extensions=("SIZE 100",)) as mm:
        with session(mailman(release, mm.endpoint), tmp_path) as s:
            assert ask(s, b"a@example.org", (LIST,), b" SIZE=1000")[0].startswith(b"250 ")
            assert send(s, message(token())).startswith(b"452 4.3.4 ")


def test_upstream_with_size_but_no_limit(release, tmp_path):
    """RFC 1870 section 4: the number may be missing."""
    with scripted({}) as mm, Upstream(extensions=("SIZE", "8BITMIME")) as up:
        verdict, _ = play(mailman(release, mm.endpoint, up), tmp_path, message(token()), OTHER)
    assert verdict.startswith(b"250 ") and len(up.messages) == 1


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


# --- a scripted one -------------------------------------------------------------------------------

ONLY = ("SIZE 33554432", "8BITMIME")  # what Mailman offers


def lists(*names):
    """To RCPT: which are lists."""

    def act(c):
        c.send(b"250 Ok\r\n" if any(b"<%s>" % name in c.commands[-1] for name in names)
               else NO_LIST)

    return act


def scripted(*scripts, known=(LIST, b"my-list@example.com")):
    """The first connection asks what is a list; each copy has one of its own."""
    return Upstream(*({"RCPT": lists(*known)} | script for script in scripts), lmtp=True,
                    extensions=ONLY)


def check_nobody_has_it(mm, up):
    mm.wait_until_over()
    up.wait_until_over()
    assert mm.messages == [] and up.messages == []


# step: an action, and the reply at RCPT to all that might be lists
WHEN_ASKED = {
    "greeting 4xx": ({"greeting": b"421 4.3.2 not now\r\n"}, b"451"),
    "greeting closes": ({"greeting": close}, b"451"),
    "greeting is silent": ({"greeting": silent}, b"451"),
    "greeting is nonsense": ({"greeting": b"hello\r\n"}, b"451"),
    "LHLO 5xx": ({"LHLO": b"500 what\r\n"}, b"451"),
    "LHLO closes": ({"LHLO": close}, b"451"),
    "LHLO is silent": ({"LHLO": silent}, b"451"),
    "MAIL 4xx": ({"MAIL": b"451 4.3.0 not now\r\n"}, b"451"),
    "MAIL 5xx": ({"MAIL": b"550 5.7.1 not you\r\n"}, b"451"),
    "MAIL 421": ({"MAIL": last(b"421 4.3.2 going down\r\n")}, b"451"),
    "MAIL closes": ({"MAIL": close}, b"451"),
    "MAIL is silent": ({"MAIL": silent}, b"451"),
    "RCPT 4xx": ({"RCPT": b"450 4.2.0 not now\r\n"}, b"450"),
    "RCPT 421": ({"RCPT": last(b"421 4.3.2 going down\r\n")}, b"451"),
    "RCPT 3xx": ({"RCPT": b"354 what\r\n"}, b"451"),
    "RCPT closes": ({"RCPT": close}, b"451"),
    "RCPT is silent": ({"RCPT": silent}, b"451"),
    "RCPT is nonsense": ({"RCPT": b"ok\r\n"}, b"451"),
}


@pytest.mark.parametrize("name", WHEN_ASKED)
def test_faults_when_asked(release, tmp_path, name):
    """Never "not a list"; the upstream is not asked."""
    script, expected = WHEN_ASKED[name]
    then = time.monotonic()
    with scripted(script) as mm, Upstream() as up:
        with session(mailman(release, mm.endpoint, up, "--upstream-timeout=1"), tmp_path) as s:
            assert [reply[:3] for reply in ask(s, b"a@example.org", (LIST,))] == [expected]
            assert s.ask(b"DATA").startswith(b"503 ")
        assert time.monotonic() - then < 6
        check_nobody_has_it(mm, up)
        assert not [line for line in up.commands if line.startswith((b"MAIL", b"RCPT"))]


def test_lost_when_idle(smtpd, tmp_path):
    """Mailman hangs up between two messages, or between two recipients: it is asked anew."""
    with (scripted({"RCPT": [last(b"250 Ok\r\n")]}, {"RCPT": [last(b"250 Ok\r\n")]}, {}) as mm,
          Upstream() as up):
        with session(mailman(smtpd, mm.endpoint, up), tmp_path) as s:
            assert [r[:4]
                    for r in ask(s, b"a@example.org",
                                 (LIST, b"my-list@example.com", OTHER))] == [b"250 "] * 3
            assert send(s, message(token())).startswith(b"250 ")
            assert [r[:4] for r in ask(s, b"b@example.org", (OTHER, LIST))] == [b"250 "] * 2
            assert send(s, message(token())).startswith(b"250 ")
        mm.wait_until_over()
        up.wait_until_over()
    assert [m.recipients for m in mm.messages] == [[b"<%s>" % to]
                                                   for to in (LIST, b"my-list@example.com", LIST)]
    assert [m.recipients for m in up.messages] == [[b"<%s>" % OTHER]] * 2


DEAF = Body(1000, deaf)
BEFORE_THE_DOT = {
    "no connection": ({"greeting": close}, b"451"),
    "greeting is silent": ({"greeting": silent}, b"451"),
    "LHLO closes": ({"LHLO": close}, b"451"),
    "MAIL 4xx": ({"MAIL": b"451 4.3.0 not now\r\n"}, b"451"),
    "MAIL 5xx": ({"MAIL": b"550 5.7.1 not you\r\n"}, b"550"),
    "MAIL is silent": ({"MAIL": silent}, b"451"),
    "RCPT 4xx": ({"RCPT": b"450 4.2.0 not now\r\n"}, b"450"),
    "RCPT 5xx": ({"RCPT": NO_LIST}, b"550"),
    "RCPT closes": ({"RCPT": close}, b"451"),
    "DATA 4xx": ({"DATA": b"452 4.3.1 full\r\n"}, b"452"),
    "DATA 5xx": ({"DATA": b"554 5.3.0 no\r\n"}, b"554"),
    "DATA 2xx": ({"DATA": b"250 Ok\r\n"}, b"451"),
    "DATA 421": ({"DATA": last(b"421 4.3.2 going down\r\n")}, b"451"),
    "DATA closes": ({"DATA": close}, b"451"),
    "DATA is silent": ({"DATA": silent}, b"451"),
    "message: closes": ({"body": Body(1000, close)}, b"451"),
    "message: resets": ({"body": Body(1000, reset)}, b"451"),
    "message: answers": ({"body": Body(1000, b"554 5.6.0 enough\r\n")}, b"451"),
    "message: does not read": ({"body": DEAF}, b"451"),
}


@pytest.mark.parametrize("name", BEFORE_THE_DOT)
def test_faults_before_the_first_dot(release, tmp_path, name):
    """One reply for all: if a list refuses, nobody has the message, and the client keeps it."""
    script, expected = BEFORE_THE_DOT[name]
    then = time.monotonic()
    with scripted({}, {}, script) as mm, Upstream() as up:
        content = message(token()) + LARGE * 5
        argv = mailman(release, mm.endpoint, up, "--upstream-timeout=1")
        verdict, log = play(argv, tmp_path, content, LIST, OTHER, b"my-list@example.com")
        assert verdict[:3] == expected and logged(log) == ({}, expected)
        assert time.monotonic() - then < 8
        if script.get("body", up) is not DEAF:  # which does not see that we have gone
            check_nobody_has_it(mm, up)
    assert mm.messages == [] and up.messages == [] and b"duplicate possible" not in log
    assert not any(line == b"DATA" for c in up.connections for line in c.commands)


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_list_server_goes_while_the_upstream_is_sent_its_copy(release, tmp_path, protocol):
    """Which is noticed before the upstream has its dot; in LMTP it gets that all the same."""

    def hang_up(c):
        mm.connections[1].sock.shutdown(socket.SHUT_RDWR)
        c.send(b"354 go on\r\n")

    with scripted({}) as mm, Upstream({"DATA": hang_up}) as up:
        argv = mailman(release, mm.endpoint, up, f"--protocol={protocol}")
        verdict, log = play(argv, tmp_path, message(token()), LIST, OTHER)
        mm.wait_until_over()
        up.wait_until_over()
    assert mm.messages == [] and b"duplicate possible" not in log
    if protocol == "smtp":
        assert verdict.startswith(b"451 4.4.2 ") and up.messages == []
    else:
        assert [one[:3] for one in verdict] == [b"451", b"250"] and len(up.messages) == 1


def test_one_list_refuses_in_lmtp(release, tmp_path):
    """There the others get theirs."""
    with scripted({}, {}, {"DATA": b"452 4.3.1 full\r\n"}) as mm, Upstream() as up:
        argv = mailman(release, mm.endpoint, up, "--protocol=lmtp")
        verdicts, log = play(argv, tmp_path, message(token()), LIST, OTHER, b"my-list@example.com")
        assert [verdict[:3] for verdict in verdicts] == [b"250", b"250", b"452"]
        assert logged(log)[0] == {LIST: b"250", OTHER: b"250", b"my-list@example.com": b"452"}
        mm.wait_until_over()
    assert [m.recipients for m in mm.messages] == [[b"<%s>" % LIST]] and len(up.messages) == 1


AT_THE_DOT = {
    "550, an error of its own": (b"550 Requested action not taken: mailbox unavailable\r\n",
                                 b"451 4.3.0", False),
    "501": (b"501 Message has defects\r\n", b"501", False),
    "552": (b"552 5.3.4 too big\r\n", b"552 5.3.4", False),
    "451": (b"451 not now\r\n", b"451", False),
    "421": (last(b"421 4.3.2 going down\r\n"), b"451", False),
    "3xx": (b"354 more\r\n", b"451 4.5.0", False),
    "closes": (close, b"451 4.4.2", True),
    "is silent": (silent, b"451 4.4.2", True),
    "nonsense": (b"fine\r\n", b"451 4.4.2", True),
    "half a reply": (last(b"250-fine\r\n"), b"451 4.4.2", True),
}


@pytest.mark.parametrize("name", AT_THE_DOT)
def test_faults_at_the_dot(release, tmp_path, name):
    """Behind the upstream's 250 there is no way back: the worst verdict wins, and the log says who
    has it."""
    action, expected, is_possible = AT_THE_DOT[name]
    with scripted({}, {"dot": action}) as mm, Upstream() as up:
        argv = mailman(release, mm.endpoint, up, "--upstream-timeout=1")
        verdict, log = play(argv, tmp_path, message(token()), LIST, OTHER)
    assert verdict.startswith(expected) and len(up.messages) == 1
    assert logged(log) == ({LIST: expected[:3], OTHER: b"250"}, expected[:3])
    assert (UNHEARD in log) == is_possible and (b"message" in log)


@pytest.mark.parametrize("name", AT_THE_DOT)
def test_first_list_refuses_at_the_dot(release, tmp_path, name):
    """Nobody else has the message yet, and nobody gets it: the client will send it to all of them
    again."""
    action, expected, _ = AT_THE_DOT[name]
    known = (LIST, b"my-list@example.com")
    with scripted({}, {"dot": action}, {}) as mm:
        verdict, log = play(mailman(release, mm.endpoint, "--upstream-timeout=1"), tmp_path,
                            message(token()), *known)
        mm.wait_until_over()
    assert verdict.startswith(expected)
    assert [m.recipients for m in mm.messages] == [[b"<%s>" % LIST]]
    assert b"this recipient has the message" not in log


def test_second_list_refuses_at_the_dot(release, tmp_path):
    """The first one has it; so has the third."""
    known = (LIST, b"my-list@example.com", b"their-list@example.com")
    with scripted({}, {}, {"dot": b"451 not now\r\n"}, {}, known=known) as mm:
        verdict, log = play(mailman(release, mm.endpoint), tmp_path, message(token()), *known)
        mm.wait_until_over()
    assert verdict.startswith(b"451") and len(mm.messages) == 3
    assert logged(log)[0] == dict(zip(known, (b"250", b"451", b"250")))


def test_order_of_commitment(smtpd, tmp_path):
    """All have everything but the dot before the first dot comes; the upstream's is the first; then
    each list's."""
    seen = []

    def at_dot(who, reply):
        def act(c):
            time.sleep(0.2)  # who would be next has time to come too early
            seen.append((who,
                         tuple(b"\r\n.\r\n" in other.raw
                               for other in (up.connections[0], *mm.connections[1:])),
                         tuple(b"the end" in other.raw
                               for other in (up.connections[0], *mm.connections[1:]))))
            c.send(reply)

        return act

    with scripted({}, {"dot": at_dot("first", b"250 Ok\r\n")},
                  {"dot": at_dot("second", b"250 Ok\r\n")}) as mm:
        with Upstream({"dot": at_dot("upstream", b"250 2.0.0 ok\r\n")}) as up:
            content = message(token()) + LARGE + b"the end\r\n"
            verdict, _ = play(mailman(smtpd, mm.endpoint, up), tmp_path, content, LIST,
                              b"my-list@example.com", OTHER)
            up.wait_until_over()
            mm.wait_until_over()
    assert verdict.startswith(b"250 ")
    everything = (True, True, True)
    assert seen == [
        ("upstream", (True, False, False), everything),
        ("first", (True, True, False), everything),
        ("second", (True, True, True), everything),
    ]
    assert [line[:4] for c in mm.connections[1:] for line in c.commands] == [
        b"LHLO", b"MAIL", b"RCPT", b"DATA", b"QUIT"] * 2


@pytest.mark.parametrize("where", ["RCPT", "DATA"])
def test_client_vanishes(release, tmp_path, where):
    with scripted({}) as mm, Upstream() as up:
        with Session(mailman(release, mm.endpoint, up), tmp_path) as s:
            s.expect((None, b"220 "), (b"EHLO client.example.org", b"250-"))
            ask(s, b"a@example.org", (LIST, OTHER))
            if where == "DATA":
                s.expect((b"DATA", b"354 "))
                s.say(message(token()) + LARGE)
            s.ours.close()
            assert s.status() == 0
        check_nobody_has_it(mm, up)


CLOSES = b'reason="it closed the connection"'
BUSY = b"421 4.3.2 busy\r\n"


@pytest.mark.parametrize(("script", "n", "words", "said"), [
    ({"greeting": close}, 1, b"step=greeting " + CLOSES, b"451 4.4.1 "),
    ({"greeting": BUSY}, 1, b'step=greeting reply="421 4.3.2 busy"', b"451 4.3.2 busy"),
    ({"MAIL": silent}, 1, b'step=MAIL reason="no answer in time"', b"451 4.4.1 "),
    ({"RCPT": silent}, 1, b'step=RCPT reason="no answer in time"', b"451 4.4.1 "),
    # the first address is asked again
    ({"RCPT": close}, 2, b"step=RCPT " + CLOSES, b"451 4.4.1 "),
    ({"RCPT": BUSY}, 2, b'step=RCPT reply="421 4.3.2 busy"', b"451 4.3.2 busy"),
], ids=["closes", "421", "silent at MAIL", "silent at RCPT", "closes at RCPT", "421 at RCPT"])
def test_mailman_is_left_alone_after_a_failure(release, tmp_path, script, n, words, said):
    """For a while, whatever is asked meanwhile, in this message and the next: it is neither
    connected to nor logged again."""
    with scripted(script) as mm, Upstream() as up:
        with session(mailman(release, mm.endpoint, up, "--upstream-timeout=1"), tmp_path) as s:
            for _ in range(2):
                got = ask(s, b"a@example.org", (LIST, b"my-list@example.com", OTHER))
                assert [reply[: len(said)] for reply in got] == [said] * 3
                s.expect((b"RSET", b"250 "))
        assert len(mm.connections) == n
    log = s.err()
    assert log.count(
        b"smtpd: Mailman ") == log.count(b"smtpd: Mailman endpoint=%s %s\n" % (mm.endpoint.encode(),
                                                                               words)) == n, log


def test_mailman_that_is_down_is_left_alone(release, tmp_path):
    """There is nobody to connect to; and a message with two lists."""
    with session(mailman(release, "127.0.0.1:1"), tmp_path) as s:
        got = ask(s, b"a@example.org", (LIST, b"my-list@example.com", OTHER))
        assert [reply[:10] for reply in got] == [b"451 4.4.1 "] * 3
    assert s.err().count(b"smtpd: Mailman endpoint=127.0.0.1:1 step=connect ") == 1
    with scripted({}, {"greeting": BUSY}) as mm:
        verdict, log = play(mailman(release, mm.endpoint), tmp_path, message(token()), LIST,
                            b"my-list@example.com")
        assert verdict.startswith(b"451 4.3.2 busy") and len(mm.connections) == 2
    assert log.count(b"smtpd: Mailman ") == 1


def test_mailman_is_back(release, tmp_path):
    """After ten seconds it is asked again."""
    with scripted({"greeting": BUSY}, {}) as mm:
        with session(mailman(release, mm.endpoint), tmp_path) as s:
            assert ask(s, b"a@example.org", (LIST,))[0].startswith(b"451 4.3.2 busy")
            time.sleep(10.1)
            assert s.ask(b"RCPT TO:<my-list@example.com>").startswith(b"250 ")
        assert len(mm.connections) == 2
