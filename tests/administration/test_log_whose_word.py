# SPDX-License-Identifier: MIT
"""Whose word a verdict was, by the log: the upstream's, a list server's, a program's, or ours."""

import pytest
from logged import FULL
from logs import lines, one
from proxy import SMALL, proxy
from session import Session, command
from upstream import Upstream, close, last

LONG = b"554 5.7.1 " + b"x" * 490 + b" the end\r\n"
STEPS = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "dot"]


def relay(argv, folder, n_recipients=1):
    """A message as far as it comes: (the last reply, the log)."""
    with Session(argv, folder) as session:
        session.expect((None, b"220 "))
        reply = session.ask(b"EHLO x")
        for line in (b"MAIL FROM:<a@example.org>",
                     *[b"RCPT TO:<b%d@example.com>" % i for i in range(n_recipients)], b"DATA"):
            if reply[:1] == b"2":
                reply = session.ask(line)
        if reply[:1] == b"3":
            session.say(SMALL)
            reply = session.ask(b".")
        assert session.end() == 0
        return reply, session.err()


def reply_of(text):
    """As it stands in a field."""
    return text.rstrip(b"\r\n")


@pytest.mark.parametrize("step", STEPS)
def test_an_upstream_that_hangs_up_with_a_reason(smtpd, tmp_path, step):
    """The client hears it, as a failure for now and not as the end of its session; the log has it
    as it was said."""
    with Upstream({step: last(FULL)}) as up:
        reply, log = relay(proxy(smtpd, up), tmp_path)
    assert reply == b"451 4.7.0 too many connections from you"
    said = lines(log, "upstream")
    assert {(line["endpoint"], line["step"], line["reply"]) for line in said} == (
        {(up.endpoint.encode(), step.encode(), reply_of(FULL))} if step != "dot" else set())
    assert len(said) == len(up.connections) - (step == "dot")  # each of them once
    if step in ("DATA", "dot"):
        message = one(log, "message")
        assert (message["verdict"], message["by"], message["destination"]) == (reply, b"upstream",
                                                                               up.endpoint.encode())


@pytest.mark.parametrize(("said", "heard"), [
    (b"554 5.7.1 no mail from you\r\n", b"451 4.7.1 no mail from you"),
    (b"421 busy\r\n", b"451 busy"),
    (b"554-go\r\n554 away\r\n", b"451-go\r\n451 away"),
    (LONG, b"451 4.7.1 " + b"x" * 490 + b" the end"),
])  # fmt: skip
def test_a_greeting_that_refuses(release, tmp_path, said, heard):
    """It may be another's next time: so for now."""
    with Upstream({"greeting": last(said)}) as up:
        reply, log = relay(proxy(release, up), tmp_path)
    assert reply == heard
    whole = reply_of(said).replace(b"\r\n554 ", b"\n").replace(b"554-", b"554 ")
    # at EHLO; at MAIL it is remembered
    assert [line["reply"] for line in lines(log, "upstream")] == [whole]


def test_the_last_upstream_with_a_reason_speaks_for_all(release, tmp_path):
    with (Upstream({"greeting": last(b"421 4.3.2 one\r\n")}) as first,
          Upstream({"EHLO": last(FULL)}) as second):
        reply, log = relay(proxy(release, first, second, "127.0.0.1:1"), tmp_path)
    assert reply == b"451 4.7.0 too many connections from you"
    assert [line.all("reply") for line in lines(log, "upstream")] == [[b"421 4.3.2 one"],
                                                                      [reply_of(FULL)], []]


def test_an_envelope_that_is_refused_the_second_time(release, tmp_path):
    """The upstream went away, and has another opinion when it is back."""
    with Upstream({"DATA": close}, {"RCPT": b"550 5.1.1 no longer\r\n"}) as up:
        reply, log = relay(proxy(release, up), tmp_path)
    assert reply == b"451 4.1.1 no longer"
    assert [line.all("reply") for line in lines(log, "upstream")] == [[], [b"550 5.1.1 no longer"]]


@pytest.mark.parametrize("step", ["greeting", "LHLO", "MAIL", "RCPT"])
def test_a_list_server_that_hangs_up_with_a_reason(smtpd, tmp_path, step):
    """One that has answered already is asked once more."""
    n_tries = 1 if step in ("greeting", "LHLO") else 2
    with Upstream({step: last(FULL)}, lmtp=True) as mailman:
        reply, log = relay(command(smtpd, "--strategy=mailman", f"--mailman={mailman.endpoint}"),
                           tmp_path)
    assert reply == b"451 4.7.0 too many connections from you"
    assert [(line["step"], line["reply"])
            for line in lines(log, "Mailman")] == [(step.encode(), reply_of(FULL))] * n_tries


@pytest.mark.parametrize("step", ["greeting", "LHLO", "MAIL", "RCPT", "DATA", "dot"])
def test_a_list_server_that_hangs_up_on_the_message(release, tmp_path, step):
    with Upstream({}, {step: last(FULL)}, lmtp=True) as mailman:
        reply, log = relay(command(release, "--strategy=mailman", f"--mailman={mailman.endpoint}"),
                           tmp_path)
    assert reply == b"451 4.7.0 too many connections from you"
    message = one(log, "message")
    assert (message["verdict"], message["by"]) == (reply, b"mailman")
    assert lines(log, "duplicate possible") == []


@pytest.mark.parametrize(("said", "by"),
                         [(b"554 5.7.1 no\r\n", b"upstream"), (LONG, b"upstream"), (close, b"us")])
def test_verdicts_are_whole(smtpd, tmp_path, said, by):
    with Upstream({"dot": said}) as up:
        _, log = relay(proxy(smtpd, up), tmp_path)
    message = one(log, "message")
    assert message["by"] == by and (said == close or message["verdict"] == reply_of(said))


def test_a_program_has_the_word(smtpd, tmp_path):
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\necho 554 5.7.1 I do not like it\n")
    hook.chmod(0o755)
    _, log = relay(command(smtpd, "--strategy=exec", f"--command={hook}"), tmp_path)
    message = one(log, "message")
    assert (message["verdict"], message["by"]) == (b"554 5.7.1 I do not like it", b"program")


def test_a_program_that_may_have_delivered(release, tmp_path):
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\nkill -9 $$\n")
    hook.chmod(0o755)
    _, log = relay(command(release, "--strategy=exec", f"--command={hook}"), tmp_path, 2)
    twice = one(log, "duplicate possible")
    assert twice["id"] == one(log, "message")["id"] and twice["program"] == str(hook).encode()
    assert twice.all("to") == [b"<b0@example.com>", b"<b1@example.com>"]
