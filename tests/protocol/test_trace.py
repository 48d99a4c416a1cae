# SPDX-License-Identifier: MIT
"""trace=yes: each command and each line of a reply is in the log, but no secret."""

import base64

import pytest
from logs import lines
from session import Session, command, tcp_pair

SECRET = base64.b64encode(b"\0alice\0open sesame")
TOKEN = base64.b64encode(b"open sesame")


def traced(err):
    """In their order: "C: ..." and "S: ..."."""
    found = []
    for line in lines(err, "trace"):
        found += [b"C: " + line["command"]] if "command" in line.keys() else [b"S: "
                                                                              + line["reply"]]
    return found


def test_dialogue(smtpd, tmp_path):
    with Session(command(smtpd, "--trace=yes"), tmp_path, pair=tcp_pair()) as session:
        session.begin("EHLO")
        session.expect((b"NOOP  \x01\xff ", b"250 "), (b"", b"500 "))
        session.send_message(b"Subject: not a command\r\n\r\nRSET\r\n")
        session.end()
        said = traced(session.err())
        assert [lines(session.err(), "trace")[0][key]
                for key in ("peer", "reply")] == [b"127.0.0.1", b"220 mx.example.com ESMTP smtpd"]
    assert said[1] == b"C: EHLO client.example.org" and said[2] == b"S: 250-mx.example.com"
    assert b"S: 250 HELP" in said
    assert said[said.index(b"S: 250 HELP") + 1:] == [
        b"C: NOOP  \x01\xff", b"S: 250 2.0.0 OK", b"C: ", b"S: 500 5.5.2 command not recognized",
        b"C: MAIL FROM:<a@example.org>",
        b"S: 250 2.1.0 sender OK", b"C: RCPT TO:<b@example.com>", b"S: 250 2.1.5 recipient OK",
        b"C: DATA",
        b"S: 354 end the message with <CRLF>.<CRLF>", b"S: 250 2.0.0 printed", b"C: QUIT",
        b"S: 221 2.0.0 goodbye"]


def test_nothing_without_it(smtpd, tmp_path):
    with Session(command(smtpd), tmp_path) as session:
        session.begin("EHLO")
        session.end()
        assert not lines(session.err(), "trace")


@pytest.mark.parametrize("said", [
    b"AUTH PLAIN " + SECRET, b"AUTH  PLAIN   " + SECRET, b"AUTH\tPLAIN " + SECRET,
    b" AUTH PLAIN " + SECRET, b"AUTHPLAIN " + SECRET])
def test_no_secret(smtpd, tmp_path, said):
    """Of AUTH that is refused."""
    with Session(command(smtpd, "--trace=yes"), tmp_path) as session:
        session.begin("EHLO")
        session.expect((said, b"50"), (b"NOOP visible", b"250 "), (b"XYZZY", b"500 "))
        session.end()
        assert SECRET not in session.err()
        assert {b"C: NOOP visible", b"C: XYZZY"} <= set(traced(session.err()))


@pytest.mark.parametrize("said", [b"auth plain", b" AUTH LOGIN", b"AUTH\tLOGIN"])
def test_no_secret_after_it(smtpd, tmp_path, said):
    """A client that does not listen goes on with its password."""
    with Session(command(smtpd, "--trace=yes"), tmp_path) as session:
        session.begin("EHLO")
        session.expect((said, b"50"),
                       (SECRET, b"554 5.5.1 the exchange went on although AUTH was refused"))
        session.read_to_end()
        session.status()
        assert SECRET not in session.err() and b"C: " in traced(session.err())


@pytest.mark.parametrize(("said", "shown"), [
    ([b"AUTH  plain   " + SECRET], [b"C: AUTH PLAIN"]),
    ([b"AUTH PLAIN", SECRET], [b"C: AUTH PLAIN", b"S: 334 ", b"C: "]),
    ([b"auth login", TOKEN, TOKEN], [b"C: AUTH LOGIN", b"S: 334 ", b"C: ", b"S: 334 ", b"C: "])])
def test_no_secret_of_exchange(smtpd, tmp_path, said, shown):
    """Nor of an exchange that ends well: its lines are empty, and challenges are left out."""
    with Session(command(smtpd, "--trace=yes", "--auth=any"), tmp_path) as session:
        session.begin("EHLO")
        replies = [session.ask(line)[:4] for line in said]
        session.expect((b"NOOP visible", b"250 "), (b"XYZZY", b"500 "))
        session.end()
        trace = traced(session.err())
    begin, end = trace.index(shown[0]), trace.index(b"C: NOOP visible")
    assert replies == [b"334 "] * (len(said) - 1) + [b"235 "] and trace[begin:end - 1] == shown
    assert b"C: XYZZY" in trace and SECRET not in session.err() and TOKEN not in session.err()


def test_long_and_many(smtpd, tmp_path):
    """A line of the log for each, within its bounds (logs.py looks)."""
    with Session(command(smtpd, "--trace=yes"), tmp_path) as session:
        session.begin("EHLO")
        session.say(b"".join(b"NOOP %d %s\r\n" % (i, b"x" * 1500) for i in range(50))
                    + b"MAIL FROM:<" + b"y" * 5000 + b">\r\n")
        assert [session.reply()[:3] for _ in range(51)] == [b"250"] * 50 + [b"500"]
        session.end()
        said = traced(session.err())
        assert sum(line.startswith(b"C: NOOP") for line in said) == 50
        assert sum(line.startswith(b"C: MAIL") for line in said) == 1
