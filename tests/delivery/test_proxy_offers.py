# SPDX-License-Identifier: MIT
"""Strategy proxy: the client is offered what the upstream can do, and no more. These are
extensions, the size, and parameters of MAIL and RCPT."""

import time

import pytest
from proxy import (HOSTNAME, LARGE, SMALL, check_exact, check_honest, closed_port, offers,
                   passed_on, play, proxy)
from session import Session
from upstream import EVERYTHING, Upstream, close

# extensions that the upstream need not know of
OUR_OWN = {b"PIPELINING", b"CHUNKING", b"LIMITS RCPTMAX=100", b"HELP"}
BARE = OUR_OWN | {b"8BITMIME"}


# --- what is offered ------------------------------------------------------------------------------


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
