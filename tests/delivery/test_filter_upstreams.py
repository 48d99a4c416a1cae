# SPDX-License-Identifier: MIT
"""filter=PROGRAM and those who get the message behind it: an upstream, by LMTP too, or lists and
others."""

import pytest
from filters import SMALL, TAKEN, ask, on_top
from filters import script  # noqa: F401 (a fixture)
from list_server import LIST, OTHER, mailman, play, session
from logs import lines, one
from proxy import proxy
from session import Session, command, wait_until
from upstream import Upstream, close, last

# --- the upstream ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [close, last(b"421 4.4.2 you are slow\r\n")], ids=["closes", "421"])
def test_an_upstream_that_hangs_up_meanwhile(smtpd, tmp_path, script, how):
    """The envelope is said once more, to a new connection; and once only."""
    for second, verdict, n in (({}, TAKEN, 1), ({"RCPT": b"550 5.1.1 who?\r\n"}, b"451 ", 0),
                               ({"DATA": close}, b"451 ", 0)):
        hung_up = tmp_path / f"hung-up-{n}-{len(second)}"

        def leave(c):
            c.send(b"250 2.1.5 recipient fine\r\n")
            wait_until((tmp_path / "running").exists, "the filter")
            try:
                how(c)
            finally:
                hung_up.touch()
                c.sock.close()

        (tmp_path / "running").unlink(missing_ok=True)
        with Upstream({"RCPT": leave}, second) as up:
            body = script(f"touch {tmp_path}/running; while ! [ -e {hung_up} ]; do sleep 0.02; "
                          f"done; sleep 0.1; echo X-A: 1")
            with Session(proxy(smtpd, up, body), tmp_path) as s:
                s.begin("EHLO")
                assert s.send_message(SMALL).startswith(verdict) and s.end() == 0
            up.wait_until_over()
            assert len(up.messages) == n and len(up.connections) == 2
            assert up.connections[1].commands[1:3] == [b"MAIL FROM:<a@example.org>",
                                                       b"RCPT TO:<b@example.com>"]


def test_what_the_upstream_cannot_take(release, tmp_path, script):
    """Fields count: toward SIZE, and as 8-bit text. We had promised what it says no to, so it is
    for now."""
    for extensions, body, code in ((("SIZE 400",), b"yes X-A: 1 | head -c 700", b"552"),
                                   (("SIZE 1000",), b"echo X-A: 1", b"250"),
                                   ((), "echo X-A: ä", b"554"),
                                   (("8BITMIME",), "echo X-A: ä", b"250")):
        with Upstream(extensions=extensions) as up:
            with Session(proxy(release, up, script(body)), tmp_path) as s:
                s.begin("EHLO")
                assert s.send_message(SMALL)[:3] == code and s.end() == 0
            assert len(up.messages) == (code == b"250")


def test_upstream_by_lmtp(smtpd, tmp_path, script):
    verdict, (text,), _ = ask(smtpd, tmp_path, script("echo X-A: 1"), lmtp=True)
    assert verdict.startswith(b"250 ") and on_top(text) == b"X-A: 1\n"
    verdict, texts, _ = ask(smtpd, tmp_path, script("exit 77"), lmtp=True)
    assert verdict.startswith(b"550 5.7.1 ") and texts == []


def test_clients_by_lmtp(smtpd, tmp_path, script):
    """One question for the message; its no is each recipient's."""
    for body, code, n in ((f"echo ran >>{tmp_path}/ran", b"250 ", 1),
                          (f"echo ran >>{tmp_path}/ran; exit 77", b"550 ", 0)):
        with Upstream(lmtp=True) as up:
            argv = proxy(smtpd, up, "--upstream-protocol=lmtp", "--protocol=lmtp", script(body))
            with session(argv, tmp_path) as s:
                s.expect((b"MAIL FROM:<a@example.org>", b"250 "),
                         (b"RCPT TO:<b@example.com>", b"250 "))
                s.expect((b"RCPT TO:<c@example.com>", b"250 "), (b"DATA", b"354 "))
                s.say(SMALL + b".\r\n")
                assert all(s.reply().startswith(code) for _ in range(2))
            assert len(up.messages) == n
    assert (tmp_path / "ran").read_text() == "ran\n" * 2


# --- mailman --------------------------------------------------------------------------------------


@pytest.fixture
def both():
    """A scripted Mailman that has one list, and an upstream."""
    is_list = lambda c: c.send(b"250 ok\r\n" if c.commands[-1].lower() == b"rcpt to:<%s>" % LIST
                               else b"550 no\r\n")
    with Upstream({"RCPT": is_list}, lmtp=True, extensions=()) as lists, Upstream() as up:
        yield lists, up


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_list_and_other(smtpd, tmp_path, script, both, protocol):
    """Both destinations have the fields, or nobody has the message."""
    lists, up = both
    for body, code, n in (("exit 77", b"550", 0), ("echo X-A: 1; kill -9 $$", b"451", 0),
                          ("echo X-A: 1", b"250", 1)):
        argv = mailman(smtpd, lists.endpoint, up, f"--protocol={protocol}",
                       script(f"echo ran >>{tmp_path}/ran; {body}"))
        verdict, log = play(argv, tmp_path, SMALL, LIST, OTHER)
        verdicts = [verdict] if protocol == "smtp" else verdict
        assert all(said.startswith(code) for said in verdicts)
        assert (len(lists.messages), len(up.messages)) == (n, n)
        if n == 0:
            assert one(log, "message")["by"] == b"filter" and lines(log, "recipient") == []
    for m in lists.messages + up.messages:
        assert on_top(m.text) == b"X-A: 1\n"
    assert (tmp_path / "ran").read_text() == "ran\n" * 3


def test_mailman_2(smtpd, tmp_path, script):
    """Its wrapper is a program too, and has the fields above Received."""
    (tmp_path / "lists/test").mkdir(parents=True)
    (tmp_path / "lists/test/config.pck").touch()
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f"#!/bin/sh\ncat >>{tmp_path}/got\n")
    wrapper.chmod(0o755)
    argv = command(smtpd, "--strategy=mailman", f"--mailman-wrapper={wrapper}",
                   f"--mailman-lists={tmp_path}/lists")
    for body, code in (("exit 77", b"550"), ("echo X-A: 1", b"250")):
        verdict, _ = play([*argv, script(body)], tmp_path, SMALL, LIST)
        assert verdict.startswith(code) and (tmp_path / "got").exists() == (code == b"250")
    got = (tmp_path / "got").read_bytes()
    assert got.startswith(b"X-A: 1\nReceived: from client.example.org (local)\n")
    assert got.count(b"X-A: ") == 1
