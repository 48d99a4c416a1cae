# SPDX-License-Identifier: MIT
"""Strategy proxy with LMTP on either side: a verdict for each recipient, or one for all."""

import socket
import time

import pytest
from proxy import HOSTNAME, SMALL, passed_on, play, proxy
from session import PATIENCE, Session
from upstream import Upstream, close, last, reset


def converse_lmtp(smtpd, folder, up, recipients, *options, n_replies=1):
    """A message for several: (the replies to the dot, the log)."""
    argv = proxy(smtpd, up, *options, "--upstream-timeout=1")
    with Session(argv, folder) as session:
        session.expect((None, b"220 "),
                       (b"LHLO x" if "--protocol=lmtp" in options else b"EHLO x", b"250-"),
                       (b"MAIL FROM:<a@example.org>", b"250 "))
        for i in range(recipients):
            session.expect((b"RCPT TO:<b%d@example.com>" % i, b"250 "))
        session.expect((b"DATA", b"354 "))
        session.say(SMALL + b".\r\n")
        got = [session.reply() for _ in range(n_replies)]
        assert session.end() == 0
        return got, session.err()


LMTP = "--upstream-protocol=lmtp"


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["IPv4", "local"])
def test_lmtp_to_lmtp(smtpd, tmp_path, family):
    """Each recipient has its own verdict."""
    said = [b"250 2.0.0 one", b"452 4.2.2 full", b"550 5.2.1 off"]
    with Upstream({"dot": b"\r\n".join(said) + b"\r\n"}, lmtp=True, family=family) as up:
        got, log = converse_lmtp(smtpd, tmp_path, up, 3, LMTP, "--protocol=lmtp", n_replies=3)
        assert got == said and b"duplicate possible" not in log
        assert up.commands[0] == b"LHLO " + HOSTNAME and len(up.messages) == 1
        assert passed_on(up.messages[0])[0]["protocol"] == b"LMTP"


@pytest.mark.parametrize(("said", "expected"), [
    (["250 a", "250 b", "250 c"], b"250 "),
    (["250 a", "550 5.1.1 b", "250 c"], b"550 5.1.1 b"),
    (["550 5.1.1 a", "452 4.2.2 b", "250 c"], b"452 4.2.2 b"),
    (["452 4.2.2 a", "550 b", "550 c"], b"452 4.2.2 a"),
    (["250 a", "451 4.3.0 b", "452 4.2.2 c"], b"45"),
    (["550 5.1.1 a", "551 5.1.6 b", "552 5.2.2 c"], b"55"),
    (["250 a", "354 b", "250 c"], b"451 4.5.0 "),
    (["250 a", "250 b", "421 4.3.2 c"], b"451 4.3.2 c"),
])  # fmt: skip
def test_lmtp_to_smtp(smtpd, tmp_path, said, expected):
    """One reply for all: any 4xx, else any 5xx, else 250."""
    with Upstream({"dot": "".join(line + "\r\n" for line in said).encode()}, lmtp=True) as up:
        got, _ = converse_lmtp(smtpd, tmp_path, up, 3, LMTP)
        assert got[0].startswith(expected)


@pytest.mark.parametrize("how", [None, close, reset], ids=["silent", "close", "reset"])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_lmtp_fewer_replies_than_owed(release, tmp_path, n, how):
    said = b"250 2.0.0 taken\r\n" * n
    def leave(c):
        time.sleep(0.1)  # a reset overtakes what was said
        how(c)

    with Upstream({"dot": last(said, leave) if how else said}, lmtp=True) as up:
        then = time.monotonic()
        got, log = converse_lmtp(release, tmp_path, up, 3, LMTP, "--protocol=lmtp", n_replies=3)
        assert [line[:3] for line in got] == [b"250"] * n + [b"451"] * (3 - n)
        assert log.count(b"duplicate possible") == 3 - n and time.monotonic() - then < PATIENCE / 6
        got, _ = converse_lmtp(release, tmp_path, up, 3, LMTP)
        assert got[0].startswith(b"451 ")


def test_lmtp_one_reply_for_all(smtpd, tmp_path):
    """As Mailman does it for a message with defects."""
    with Upstream({"dot": b"501 Message has defects\r\n"}, lmtp=True) as up:
        got, _ = converse_lmtp(smtpd, tmp_path, up, 3, LMTP, "--protocol=lmtp", n_replies=3)
        assert got[0] == b"501 Message has defects"
        assert [line[:3] for line in got[1:]] == [b"451", b"451"]


def test_lmtp_mixed_reception(smtpd, tmp_path):
    """A refused recipient owes no verdict."""
    with Upstream({"RCPT": [None, b"550 5.1.1 no\r\n", None],
                   "dot": b"250 first\r\n450 4.2.0 third\r\n"}, lmtp=True) as up:
        with Session(proxy(smtpd, up, LMTP, "--protocol=lmtp"), tmp_path) as session:
            session.expect((None, b"220 "), (b"LHLO x", b"250-"), (b"MAIL FROM:<>", b"250 "),
                           (b"RCPT TO:<a@x>", b"250 "), (b"RCPT TO:<b@x>", b"550 "),
                           (b"RCPT TO:<c@x>", b"250 "), (b"DATA", b"354 "))  # fmt: skip
            session.expect((b".", b"250 first"), (None, b"450 4.2.0 third"))
            assert session.end() == 0


def test_lmtp_to_an_smtp_upstream(smtpd, tmp_path):
    """One verdict, said to each."""
    with Upstream({"dot": [b"250 2.0.0 taken\r\n"]}) as up:
        got, _ = converse_lmtp(smtpd, tmp_path, up, 3, "--protocol=lmtp", n_replies=3)
        assert got == [b"250 2.0.0 taken"] * 3 and up.commands[0] == b"EHLO " + HOSTNAME
        assert len(up.messages) == 1
    with Upstream({"dot": close}) as up:
        got, log = converse_lmtp(smtpd, tmp_path, up, 3, "--protocol=lmtp", n_replies=3)
        assert [line[:3] for line in got] == [b"451"] * 3 and log.count(b"duplicate possible") == 3


def test_wrong_protocol(smtpd, tmp_path):
    """LHLO to an SMTP server, and EHLO to an LMTP server: neither is an upstream."""
    with Upstream() as smtp, Upstream(lmtp=True) as lmtp:
        assert play(proxy(smtpd, smtp, LMTP), tmp_path).last == b"451 4.5.1 what?"
        lmtp.scripts = ({"HELO": b"500 what?\r\n"},)
        assert play(proxy(smtpd, lmtp), tmp_path).last == b"451 what?"
