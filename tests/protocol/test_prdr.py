# SPDX-License-Identifier: MIT
"""PRDR: a client that asks for it hears a verdict for each recipient, as in LMTP, and then one for
all. There is a draft (draft-hall-prdr) and one client, Exim: what that makes of the replies is the
specification."""

import pytest
from direct import Direct
from exim import Exim
from list_server import LIST, OTHER, mailman, message, scripted
from logs import lines, one
from proxy import SMALL, offers, proxy
from session import Session, command
from upstream import EVERYTHING, Upstream, close

LMTP = "--upstream-protocol=lmtp"
MAIL = b"MAIL FROM:<a@example.org> PRDR"
EACH = b"353 one reply for each recipient, and one for all"
YES, NO, LATER = b"250 2.0.0 yes", b"550 5.1.1 no", b"451 4.2.2 later"


def dot(*verdicts):
    """What an LMTP server says to each recipient's message."""
    return {"dot": b"".join(verdict + b"\r\n" for verdict in verdicts)}


def send(session, *recipients, content=SMALL):
    """A message, with PRDR: what is said after its dot, up to the reply to the next command."""
    session.expect((MAIL, b"250 "), *[(b"RCPT TO:<" + r + b">", b"250 ") for r in recipients],
                   (b"DATA", b"354 "))
    session.say(content + b".\r\nNOOP\r\n")
    said = []
    while (reply := session.reply()) != b"250 2.0.0 OK":
        said.append(reply)
    return said


def test_who_offers_it(release, tmp_path):
    """Who can have different verdicts on a message. LMTP has them anyway."""
    with Upstream() as up, Upstream(lmtp=True) as lmtp:
        assert b"PRDR" not in offers(proxy(release, up), tmp_path)[1]
        assert b"PRDR" in offers(proxy(release, lmtp, LMTP), tmp_path)[1]
        assert b"PRDR" in offers(mailman(release, "127.0.0.1:9", up), tmp_path)[1]
        assert b"PRDR" in offers(mailman(release, "127.0.0.1:9"), tmp_path)[1]
        assert b"PRDR" not in offers(proxy(release, lmtp, LMTP, "--protocol=lmtp"), tmp_path,
                                     b"LHLO x")[1]
    assert b"PRDR" not in offers(command(release), tmp_path)[1]
    with (Upstream(extensions=(*EVERYTHING, "PRDR")) as up,
          Session(proxy(release, up), tmp_path) as session):
        session.begin("EHLO")
        session.expect((MAIL, b"555 5.5.4 "), (MAIL + b"=1", b"555 5.5.4 "))
        assert session.end() == 0


VERDICTS = [((YES, YES), YES), ((YES, NO), YES), ((NO, YES), YES), ((YES, LATER), YES),
            ((LATER, LATER), LATER), ((NO, NO), NO),
            ((NO, LATER), LATER), ((LATER, NO), LATER)]


@pytest.mark.parametrize(("verdicts", "final"), VERDICTS)
def test_verdicts(smtpd, tmp_path, verdicts, final):
    """The final one is success as soon as one is, else a temporary failure rather than a permanent
    one."""
    with (Upstream(dot(*verdicts), lmtp=True) as up,
          Session(proxy(smtpd, up, LMTP), tmp_path) as session):
        session.begin("EHLO")
        assert send(session, b"b@example.com", b"c@example.com") == [EACH, *verdicts, final]
        assert session.end() == 0
        assert up.commands[1] == b"MAIL FROM:<a@example.org>"
    assert one(session.err(), "message")["verdict"] == final


@pytest.mark.parametrize("verdict", [YES, NO, LATER])
def test_one_recipient(smtpd, tmp_path, verdict):
    with (Upstream(dot(verdict), lmtp=True) as up,
          Session(proxy(smtpd, up, LMTP), tmp_path) as session):
        session.begin("EHLO")
        assert send(session, b"b@example.com") == [verdict]
        assert session.end() == 0


def test_without_it_one_reply_is_for_all(smtpd, tmp_path):
    """Also in the next transaction of a client that asked for it once, and if the RCPTs come at
    once with a MAIL that has it."""
    with (Upstream(dot(YES, NO), lmtp=True) as up,
          Session(proxy(smtpd, up, LMTP), tmp_path) as session):
        session.begin("EHLO")
        assert len(send(session, b"b@example.com", b"c@example.com")) == 4
        session.say(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nRCPT "
                    b"TO:<c@example.com>\r\nDATA\r\n" + SMALL + b".\r\n")
        session.expect(*[(None, code) for code in (b"250 ", b"250 ", b"250 ", b"354 ", NO)])
        session.say(MAIL + b"\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n"
                    + SMALL + b".\r\n")
        session.expect(*[(None, code)
                         for code in (b"250 ", b"250 ", b"250 ", b"354 ", EACH, YES, NO, YES)])
        assert session.end() == 0


def test_too_big(smtpd, tmp_path):
    """One reply for all."""
    with (Upstream(lmtp=True) as up,
          Session(proxy(smtpd, up, LMTP, "--max-size=100"), tmp_path) as session):
        session.begin("EHLO")
        (said,) = send(session, b"b@example.com", b"c@example.com",
                       content=b"x" * 98 + b"\r\n" + SMALL)
        assert said.startswith(b"552 5.3.4 ")
        assert session.end() == 0
        up.wait_until_over()
        assert not up.messages


def test_equal_recipients_and_rules(smtpd, tmp_path):
    """Who is named twice hears the same twice; a rule about the message is about its recipient
    only."""
    rule = "--reply=message c@* 550 5.7.1 not to that one"
    with (Upstream(dot(YES), lmtp=True) as up,
          Session(proxy(smtpd, up, LMTP, rule), tmp_path) as session):
        session.begin("EHLO")
        said = send(session, b"b@example.com", b"c@example.com", b"b@example.com")
        assert said == [EACH, YES, b"550 5.7.1 not to that one", YES, YES]
        assert send(session, b"c@example.com") == [b"550 5.7.1 not to that one"]
        assert session.end() == 0
        up.wait_until_over()
        assert [m.recipients for m in up.messages] == [[b"<b@example.com>"]]


def test_prdr_and_lost_upstream(smtpd, tmp_path):
    """After the dot: the first has it, of the other nobody knows."""
    with (Upstream({"dot": lambda c: (c.send(YES + b"\r\n"), close(c))}, lmtp=True) as up,
          Session(proxy(smtpd, up, LMTP), tmp_path) as session):
        session.begin("EHLO")
        each, first, second, final = send(session, b"b@example.com", b"c@example.com")
        assert (each, first, second[:9], final) == (EACH, YES, b"451 4.4.2", YES)
        assert session.end() == 0
    (line,) = lines(session.err(), "duplicate possible: no reply to the final dot")
    assert line["to"] == b"<c@example.com>"


@pytest.mark.parametrize(("theirs", "expected"), [
    ({"dot": NO + b"\r\n"}, (b"250", b"550")), ({"DATA": LATER + b"\r\n"}, (b"250", b"451")),
    ({}, (b"250", b"250"))])
def test_prdr_for_list_and_other(smtpd, tmp_path, theirs, expected):
    """With PRDR the list has the message although the upstream refused it. Without it that would be
    sent to the list again."""
    with (scripted({}) as lists, Upstream(theirs) as up,
          Session(mailman(smtpd, lists.endpoint, up), tmp_path) as session):
        session.begin("EHLO")
        each, *said, final = send(session, LIST, OTHER, content=message(b"prdr"))
        assert (each, tuple(reply[:3] for reply in said), final[:3]) == (EACH, expected, b"250")
        assert session.end() == 0
        lists.wait_until_over()
        assert len(lists.messages) == 1


# --- Exim -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exim(tmp_path_factory):
    return Exim(tmp_path_factory.mktemp("exim"))


@pytest.mark.parametrize(("verdicts", "marks"),
                         [((YES, YES), "=> ->"), ((YES, NO), "=> **"), ((YES, LATER), "=> =="),
                          ((LATER, LATER), "== =="),
                          ((NO, NO), "** **")])
def test_exim_with_prdr(release, tmp_path, exim, verdicts, marks):
    """What it makes of it: delivered (=>, and -> in the same transaction), bounced (**), or to be
    tried again (==)."""
    with Upstream(dot(*verdicts), lmtp=True) as up, open(tmp_path / "err", "ab") as err:
        direct = Direct(proxy(release, up, LMTP), err)
        log = exim.send(direct.listener.getsockname()[1], ["hosts_try_prdr = *"],
                        b"Subject: x\n\nx\n", "b@example.com", "c@example.com", sender="<>")
        direct.stop()
        assert len(up.messages) == 1
    for name, mark in zip("bc", marks.split()):
        assert f" {mark} {name}@example.com" in log, log
    assert log.count(" PRDR ") >= marks.count(">"), log
