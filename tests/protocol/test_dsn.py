# SPDX-License-Identifier: MIT
"""DSN (RFC 3461), mirrored: `proxy` offers it if the upstream does, and passes its parameters on as
they came."""

import subprocess

import pytest
from conftest import need
from direct import Direct
from list_server import mailman
from postfix import MAILBOX, Postfix
from proxy import SMALL, offers, play, proxy
from servers import folder  # noqa: F401 (a fixture)
from session import PATIENCE, Session, wait_until
from upstream import EVERYTHING, Upstream, close

ALL = (*EVERYTHING, "DSN")
MAIL = b"MAIL FROM:<a@example.org> RET=hdrs ENVID=id+2B1"
RCPT = b"RCPT TO:<b@example.com> NOTIFY=SUCCESS,failure ORCPT=rfc822;Bob+40example.net"
WITHOUT = {"EHLO": b"250-up\r\n250 PIPELINING\r\n"}


@pytest.mark.parametrize("lmtp", [False, True], ids=["SMTP", "LMTP"])
def test_parameters(smtpd, tmp_path, lmtp):
    """Also in a batch, which is passed on as one."""
    hook = tmp_path / "hook"
    hook.write_text('#!/bin/sh\necho "X-Options: $SMTPD_MAIL_OPTIONS; $SMTPD_RCPT_OPTIONS"\n')
    hook.chmod(0o755)
    options = [f"--filter={hook}", *(["--upstream-protocol=lmtp"] if lmtp else [])]
    with (Upstream(extensions=ALL, lmtp=lmtp) as up,
          Session(proxy(smtpd, up, *options), tmp_path) as session):
        session.expect((None, b"220 "))
        assert b"\r\n250-DSN\r\n" in session.ask(b"EHLO client.example.org")
        session.expect((MAIL, b"250 "), (RCPT, b"250 "), (b"RCPT TO:<c@example.com>", b"250 "),
                       (b"DATA", b"354 "))
        session.expect((SMALL + b".", b"250 "))
        session.say(MAIL + b"\r\n" + RCPT + b"\r\nRCPT TO:<b@example.com> NOTIFY=MAYBE\r\nRSET\r\n")
        assert [session.reply()[:9] for _ in range(4)] == [b"250 2.1.0", b"250 2.1.5", b"501 5.5.4",
                                                           b"250 2.0.0"]
        assert session.end() == 0
        assert up.commands[1:4] == [MAIL, RCPT, b"RCPT TO:<c@example.com>"]
        assert up.commands.count(MAIL) == up.commands.count(RCPT) == 2
        assert b"X-Options: RET=hdrs ENVID=id+2B1; NOTIFY=SUCCESS,failure" in up.messages[0].text


def test_who_ends_the_way_offers_none(smtpd, tmp_path):
    """Nobody sends a notice then. A list server does not, either."""
    with Upstream(extensions=ALL) as up:
        assert b"DSN" in offers(proxy(smtpd, up), tmp_path)[1]
        assert b"DSN" not in offers(mailman(smtpd, "127.0.0.1:9", up), tmp_path)[1]
    with Upstream() as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("EHLO")
        session.expect((MAIL, b"555 5.5.4"), (b"MAIL FROM:<a@example.org>", b"250 "),
                       (RCPT, b"555 5.5.4"))
        assert session.end() == 0


def test_equal_recipients_with_other_notices(smtpd, tmp_path):
    """Who is named twice is passed on twice if other notices are asked for."""
    plain, other = b"RCPT TO:<b@example.com>", b"RCPT TO:<b@EXAMPLE.com> NOTIFY=NEVER"
    with Upstream(extensions=ALL) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("MAIL")
        for line in (plain, other, plain, other):
            session.expect((line, b"250 "))
        assert session.end() == 0
        assert up.commands[2:-1] == [plain, other]


def test_envelope_said_again(smtpd, tmp_path):
    with (Upstream({"DATA": close}, {}, extensions=ALL) as up,
          Session(proxy(smtpd, up), tmp_path) as session):
        session.begin("EHLO")
        session.expect((MAIL, b"250 "), (RCPT, b"250 "), (b"DATA", b"354 "),
                       (SMALL + b".", b"250 "))
        assert session.end() == 0
        up.wait_until_over()
        assert [c.commands[1:3] for c in up.connections] == [[MAIL, RCPT]] * 2


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "at once"])
def test_upstream_that_does_not_keep_the_promise(smtpd, tmp_path, together):
    """What the next connection does not offer is refused for now, not left out."""
    again = [(b"RSET", b"250 "), (b"MAIL FROM:<a@example.org>", b"250 ")]
    dialogue = [(b"MAIL FROM:<a@example.org>", b"250 "), (b"RSET", b"250 "), (MAIL, b"451 4.3.3 "),
                *again[1:],
                (RCPT, b"451 4.3.3 "), (b"RCPT TO:<c@example.com>", b"250 ")]
    with (Upstream({"MAIL": close}, WITHOUT, extensions=ALL) as up,
          Session(proxy(smtpd, up), tmp_path) as session):
        session.begin("EHLO")
        if together:
            session.say(b"".join(line + b"\r\n" for line, _ in dialogue))
        for line, code in dialogue:
            session.expect((None if together else line, code))
        assert session.end() == 0
        assert not [c for c in up.commands if b"=" in c]


def test_envelope_that_the_next_upstream_does_not_take(smtpd, tmp_path):
    with (Upstream({"DATA": close}, WITHOUT, extensions=ALL) as up,
          Session(proxy(smtpd, up), tmp_path) as session):
        session.begin("MAIL")
        session.expect((RCPT, b"250 "), (b"DATA", b"354 "), (SMALL + b".", b"451 "))
        assert session.end() == 0
        assert not up.messages


# --- Postfix on both sides ------------------------------------------------------------------------

FRONT = """\
relay_domains = example.com
relay_transport = smtp:[127.0.0.1]:{port}
default_transport = error:nothing leaves this host
virtual_mailbox_domains = front.example
virtual_mailbox_base = {{folder}}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
"""
BACK = MAILBOX.replace("example.com", "example.com, front.example") + "{discard}"
PICKUP = "pickup unix n - n 60 1 pickup\n"


def sendmail(postfix, *arguments):
    argv = [need("sendmail"), "-C", str(postfix.folder / "config"), *arguments]
    subprocess.run(argv, input=b"Subject: notices\n\nbody\n", check=True, timeout=PATIENCE)


def mails(postfix, n):
    wait_until(lambda: len(postfix.mailbox()) >= n, f"{n} mails")
    return [path.read_text() for path in postfix.mailbox()]


@pytest.mark.parametrize("discard", ["", "smtpd_discard_ehlo_keywords = dsn\n"],
                         ids=["offered", "not offered"])
def test_postfix_on_both_sides(release, folder, discard):  # noqa: F811
    """`sendmail -N` to one, we in the middle, another one that delivers. If that offers DSN it has
    the last word; if it does not, the first one says that it passed the message on to somebody who
    gives no notices."""
    name = f"dsn-{bool(discard)}"
    with (Postfix(folder / f"{name}-back", BACK.replace("{discard}", discard)) as back,
          open(folder / f"{name}.err", "ab") as err):
        middle = Direct(proxy(release, back), err)
        settings = FRONT.format(port=middle.listener.getsockname()[1])
        with Postfix(folder / f"{name}-front", settings,
                     "127.0.0.1:10025 inet n - n - - smtpd\n" + PICKUP) as front:
            sendmail(front, "-f", "s@front.example", "-N", "success,delay", "-V", "an+id",
                     "b@example.com")
            notices = mails(back if not discard else front, 2 if not discard else 1)
            (notice,) = [text for text in notices
                         if "Subject: Successful Mail Delivery Report" in text]
            said = front.log()
        middle.stop()
    assert "status=sent (250 2.0.0 Ok: queued as" in said, said
    assert "Original-Envelope-Id: an+id\n" in notice and "Original-Recipient: rfc822;b@example.com\n" in notice, notice
    assert f"Action: {'relayed' if discard else 'delivered'}\n" in notice, notice
