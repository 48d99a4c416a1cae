# SPDX-License-Identifier: MIT
"""LIMITS (RFC 9422): how many recipients a transaction can have, said in the reply to EHLO, and
heard from upstreams. Exim from 4.98 on speaks it; the upstream here stands in for it, and for
others."""

import pytest
from list_server import mailman
from proxy import SMALL, closed_port, proxy
from session import Session, command
from upstream import EVERYTHING, Upstream, close

TWO = (*EVERYTHING, "LIMITS MAILMAX=9 RCPTMAX=2 RCPTDOMAINMAX=1")
TOO_MANY = b"452 4.5.3 "


def limit(argv, folder, hello=b"EHLO x"):
    with Session(argv, folder) as session:
        session.expect((None, b"220 "))
        words = [line[4:] for line in session.ask(hello).split(b"\r\n")
                 if line[4:].startswith(b"LIMITS")]
        assert session.end() == 0
    return b", ".join(words)


@pytest.mark.parametrize(("options", "said"),
                         [([], 100), (["--max-recipients=7"], 7),
                          (["--max-recipients=1000000"], 999999)])
def test_what_is_offered(release, tmp_path, options, said):
    assert limit(command(release, *options), tmp_path) == b"LIMITS RCPTMAX=%d" % said
    assert limit(command(release, "--protocol=lmtp", *options), tmp_path,
                 b"LHLO x") == b"LIMITS RCPTMAX=%d" % said
    assert limit(command(release, *options), tmp_path, b"HELO x") == b""


@pytest.mark.parametrize(("theirs", "said"), [
    (["LIMITS RCPTMAX=2"], 2), (["limits rcptmax=3 X=1"], 3), (["LIMITS RCPTMAX=500"], 100),
    (["LIMITS"], 100), (["LIMITSX RCPTMAX=2"], 100),
    (["LIMITS MAILMAX=2"], 100), (["LIMITS RCPTMAX=0"], 100), (["LIMITS RCPTMAX="], 100),
    (["LIMITS RCPTMAX=2x"], 100),
    (["LIMITS RCPTMAX=1000000"], 100), (["LIMITS XRCPTMAX=2"], 100), (["LIMITS RCPTMAX"], 100),
])  # fmt: skip
def test_the_upstream_knows_less(release, tmp_path, theirs, said):
    with Upstream(extensions=theirs) as up:
        assert limit(proxy(release, up), tmp_path) == b"LIMITS RCPTMAX=%d" % said


def test_strategy_mailman(release, tmp_path):
    with Upstream(extensions=TWO) as up:
        assert limit(mailman(release, "127.0.0.1:9", up), tmp_path) == b"LIMITS RCPTMAX=2"
    assert limit(mailman(release, "127.0.0.1:9"), tmp_path) == b"LIMITS RCPTMAX=100"
    assert limit(proxy(release, closed_port()), tmp_path) == b"LIMITS RCPTMAX=100"


@pytest.mark.parametrize(("options", "said"), [
    (["--upstream-protocol=lmtp", "--split=yes"], 1), (["--upstream-protocol=lmtp"], 100),
    (["--split=yes"], 100),
])  # fmt: skip
def test_one_destination_for_a_transaction(release, tmp_path, options, said):
    """If each recipient is one, clients hear that further ones will be sent away."""
    with Upstream(lmtp="--upstream-protocol=lmtp" in options) as up:
        assert limit(proxy(release, up, *options), tmp_path) == b"LIMITS RCPTMAX=%d" % said
        assert limit(mailman(release, "127.0.0.1:9", up, *options),
                     tmp_path) == b"LIMITS RCPTMAX=%d" % said
    assert limit(mailman(release, "127.0.0.1:9", "--split=yes"),
                 tmp_path) == b"LIMITS RCPTMAX=1"


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "at once"])
@pytest.mark.parametrize(("limits", "each"), [
    ("LIMITS MAILMAX=2", [2, 2, 1]), ("limits rcptmax=9 mailmax=1", [1] * 5),
    ("LIMITS MAILMAX=5", [5]), ("LIMITS MAILMAX=0", [5]), ("LIMITS RCPTMAX=2", [5]),
])  # fmt: skip
def test_messages_of_a_connection(smtpd, tmp_path, together, limits, each):
    """No more than the upstream said; the next one goes over a new connection. A transaction that
    ended without a message counts."""
    with (Upstream({"DATA": [None, b"451 4.3.0 later\r\n", None]},
                   extensions=(*EVERYTHING, limits)) as up,
          Session(proxy(smtpd, up), tmp_path) as session):
        session.begin("EHLO")
        for _ in range(5):
            lines = [b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.com>"]
            if together:
                session.say(b"\r\n".join(lines) + b"\r\n")
            session.expect(*[(None if together else line, b"250 ") for line in lines],
                           (b"RSET", b"250 ") if _ == 3 else (b"DATA", b"354 "))
            if _ != 3:
                session.say(SMALL + b".\r\n")
                assert session.reply()[:3] in (b"250", b"451")
        assert session.end() == 0
        up.wait_until_over()
        assert [sum(line.startswith(b"MAIL") for line in c.commands) for c in up.connections] == each
        assert all(c.commands[-1] == b"QUIT" for c in up.connections)
    assert b"lost" not in session.err()


def rcpts(*names):
    return [b"RCPT TO:<%s@example.com>" % name for name in names]


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "at once"])
def test_what_was_offered_is_kept(smtpd, tmp_path, together):
    """By us: the upstream is not asked about more. Who was refused counts, in the next transaction
    nobody does."""
    dialogue = [(line, code) for line,
                code in zip(rcpts(b"b", b"c", b"d"), (b"250 ", b"550 ", TOO_MANY))]
    with (Upstream({"RCPT": [None, b"550 5.1.1 no\r\n", None]}, extensions=TWO) as up,
          Session(proxy(smtpd, up), tmp_path) as session):
        session.begin("MAIL")
        if together:
            session.say(b"".join(line + b"\r\n" for line, _ in dialogue))
        session.expect(*[(None if together else line, code) for line, code in dialogue],
                       (b"DATA", b"354 "), (SMALL + b".", b"250 "))
        session.expect((b"MAIL FROM:<a@example.org>", b"250 "),
                       (b"RCPT TO:<d@example.com>", b"250 "))
        assert session.end() == 0
        assert [c for c in up.commands if c.startswith(b"RCPT")] == rcpts(b"b", b"c", b"d")
    assert b'verdict="452 4.5.3 ' in session.err() and b" by=us " in session.err()


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "at once"])
def test_the_next_upstream_takes_fewer(smtpd, tmp_path, together):
    """More than that was offered: each further recipient is told to come again, and the upstream is
    not asked."""
    lines = rcpts(b"b", b"c", b"d", b"e")
    limited = {"EHLO": b"250-up\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=2\r\n"}
    with Upstream({"MAIL": close}, limited) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("MAIL")
        if together:
            session.say(b"".join(line + b"\r\n" for line in lines))
        session.expect(*[(None if together else line, code) for line,
                         code in zip(lines, (b"250 ", b"250 ", TOO_MANY, TOO_MANY))])
        session.expect((b"DATA", b"354 "), (SMALL + b".", b"250 "))
        assert session.end() == 0
        up.wait_until_over()
        assert [c for c in up.connections[1].commands if c.startswith(b"RCPT")] == lines[:2]


@pytest.mark.parametrize("words", [b"250-PIPELINING\r\n", b""], ids=["at once", "one by one"])
def test_envelope_too_long_for_the_next_upstream(smtpd, tmp_path, words):
    """It is not said there beyond the limit, and nobody has the message."""
    limited = {"EHLO": b"250-up\r\n" + words + b"250 LIMITS RCPTMAX=2\r\n"}
    lines = rcpts(b"b", b"c", b"d")
    with Upstream({"DATA": close}, limited) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("MAIL")
        session.expect(*[(line, b"250 ") for line in lines], (b"DATA", b"354 "),
                       (SMALL + b".", b"451 4.5.3 "))
        assert session.end() == 0
        up.wait_until_over()
        assert lines[2] not in up.connections[1].commands and not up.messages
