"""trace=yes: each command and each line of a reply is in the log, but no secret."""

import base64

import pytest
from logs import lines
from session import Session, command, tcp_pair

SECRET = base64.b64encode(b"\0alice\0open sesame")


def traced(err):
    """In their order: "C: ..." and "S: ..."."""
    found = []
    for line in lines(err, "trace"):
        found += [b"C: " + line["command"]] if "command" in line.keys() else [b"S: " + line["reply"]]
    return found


def test_dialogue(smtpd, tmp_path):
    with Session(command(smtpd, "--trace=yes"), tmp_path, pair=tcp_pair()) as session:
        session.begin("EHLO")
        session.expect((b"NOOP  \x01\xff ", b"250 "), (b"", b"500 "))
        session.send_message(b"Subject: not a command\r\n\r\nRSET\r\n")
        session.end()
        said = traced(session.err())
        assert [lines(session.err(), "trace")[0][key] for key in ("peer", "reply")] == [b"127.0.0.1", b"220 mx.example.com ESMTP smtpd"]
    assert said[1] == b"C: EHLO client.example.org" and said[2] == b"S: 250-mx.example.com" and b"S: 250 HELP" in said
    assert said[said.index(b"S: 250 HELP") + 1:] == [
        b"C: NOOP  \x01\xff", b"S: 250 2.0.0 OK", b"C: ", b"S: 500 5.5.2 command not recognized", b"C: MAIL FROM:<a@example.org>",
        b"S: 250 2.1.0 sender OK", b"C: RCPT TO:<b@example.com>", b"S: 250 2.1.5 recipient OK", b"C: DATA",
        b"S: 354 end the message with <CRLF>.<CRLF>", b"S: 250 2.0.0 printed", b"C: QUIT", b"S: 221 2.0.0 goodbye"]


def test_nothing_without_it(smtpd, tmp_path):
    with Session(command(smtpd), tmp_path) as session:
        session.begin("EHLO")
        session.end()
        assert not lines(session.err(), "trace")


@pytest.mark.parametrize("said", [
    [b"AUTH PLAIN " + SECRET], [b"auth plain", SECRET], [b"AUTH LOGIN", SECRET, SECRET], [b"AUTH  PLAIN   " + SECRET], [b"AUTH\tPLAIN " + SECRET],
    [b" AUTH PLAIN " + SECRET], [b"AUTH PLAIN", b"*", SECRET], [b"AUTHPLAIN " + SECRET]])
def test_no_secret(smtpd, tmp_path, said):
    """Whatever we answer to AUTH: a client that does not listen goes on with its password."""
    with Session(command(smtpd, "--trace=yes", "--max-errors=9"), tmp_path) as session:
        session.begin("EHLO")
        for line in said:
            session.ask(line)
        session.expect((b"NOOP visible", b"250 "), (b"XYZZY", b"500 "))
        session.end()
        assert SECRET not in session.err() and {b"C: NOOP visible", b"C: XYZZY"} <= set(traced(session.err()))


def test_long_and_many(smtpd, tmp_path):
    """A line of the log for each, within its bounds (logs.py looks)."""
    with Session(command(smtpd, "--trace=yes"), tmp_path) as session:
        session.begin("EHLO")
        session.say(b"".join(b"NOOP %d %s\r\n" % (i, b"x" * 1500) for i in range(50)) + b"MAIL FROM:<" + b"y" * 5000 + b">\r\n")
        assert [session.reply()[:3] for _ in range(51)] == [b"250"] * 50 + [b"500"]
        session.end()
        said = traced(session.err())
        assert sum(line.startswith(b"C: NOOP") for line in said) == 50 and sum(line.startswith(b"C: MAIL") for line in said) == 1
