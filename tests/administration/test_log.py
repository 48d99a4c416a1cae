# SPDX-License-Identifier: MIT
"""What the log says: lines that any program can read, whatever a client, an upstream or a program
says; who has a message, who has not, and whose word it was."""

import socket

import pytest
from logs import lines, one
from session import Session, command
from upstream import Upstream, close, last

SMALL = b"Subject: small\r\n\r\nsmall\r\n"
FAKE = b'x> from=<root> status=sent verdict=250 peer=10.0.0.1 y'
NASTY = {  # local parts of recipients, and names for EHLO
    "fields": b'"%s"' % FAKE,
    "a quote": rb'"x\" verdict=\"250 2.0.0 fine"',
    "a backslash": rb'"x\\"',
    "a message": b'"x smtpd: message id=1 verdict=250"',
    "long": b"v" * 900,
    "long, of four each": b'"' + b'\\"' * 400 + b'"',
    "equals signs": b"from=to=x",
}


def proxy(smtpd, *upstreams_and_options):
    names = [getattr(one, "endpoint", one) for one in upstreams_and_options]
    return command(smtpd, "--strategy=proxy",
                   *[n if n.startswith("--") else f"--upstream={n}" for n in names])


def cut(value):
    """As the log has it: a value that is too long as it is written ends with dots."""
    def places(octet):
        return 1 if 32 <= octet < 127 and octet not in b'"\\' else 4
    is_bare = all(places(octet) == 1 and octet != 32 for octet in value)
    n = sum(map(places, value))
    if n + (0 if is_bare else 2) <= 256:
        return value
    room, kept = 256 - 2 - 3, b""
    for octet in value:
        room -= places(octet)
        if room < 0:
            break
        kept += bytes([octet])
    return kept + b"..."


@pytest.mark.parametrize(("said", "reason"), [
    (b"RSET", b"the client started over"),
    (b"EHLO again", b"the client started over"),
    (b"QUIT", b"221 goodbye"),
    (b"BDAT x", b"501 syntax: BDAT size [LAST], closing connection"),
    (b"", b"the client closed the connection"),
])  # fmt: skip
def test_why_a_transaction_was_abandoned(smtpd, tmp_path, said, reason):
    """A 250 is no reason."""
    with Session(command(smtpd), tmp_path) as session:
        session.begin("RCPT")
        if said:
            session.ask(said)
        session.ours.shutdown(socket.SHUT_WR)
        session.read_to_end()
        assert session.status() == 0
        assert one(session.err(), "abandoned")["reason"] == reason


@pytest.mark.parametrize("name", NASTY)
def test_words_of_a_client_are_values(smtpd, tmp_path, name):
    """In every line that has them they are the value of their field, and all fields of ours stand
    before them."""
    local = NASTY[name]
    address = b"<%s@example.org>" % local
    with Session(command(smtpd), tmp_path) as session:
        session.expect((None, b"220 "), (b"EHLO " + local[:200], b"250-"))
        for end in (b"DATA", b"RSET"):
            session.expect((b"MAIL FROM:" + address, b"250 "), (b"RCPT TO:" + address, b"250 "))
            session.expect((end, b"354 " if end == b"DATA" else b"250 "))
            if end == b"DATA":
                session.say(SMALL)
                session.expect((b".", b"250 "))
        assert session.end() == 0
        log = session.err()
    assert [line.what for line in lines(log)] == ["message", "abandoned", "session"]
    message, abandoned, end = lines(log)
    for line in (message, abandoned):
        assert line["from"] == line["to"] == cut(address) and line["helo"] == cut(local[:200])
    assert message["verdict"] == b"250 2.0.0 printed"
    assert message.keys() == ["id", "peer", "uid", "verdict", "strategy", "duration", "protocol",
                              "size", "recipients",
                              "helo", "from", "to"]
    assert abandoned.keys() == ["id", "peer", "uid", "reason", "protocol", "size", "recipients",
                                "helo", "from", "to"]
    of_this_build = {"confined"}  # a build with sanitizers has no sandbox, and says so
    assert [key for key in end.keys() if key not in of_this_build] == [
        "peer", "uid", "protocol", "commands", "errors", "messages", "accepted", "end", "duration",
        "helo"
    ]
    assert end["helo"] == cut(local[:200]) and end["end"] == b"221 goodbye"


def test_a_long_sender_hides_nobody(smtpd, tmp_path):
    """UTF-8 is written with four octets for each of its own."""
    sender = "<" + "\u00fc" * 500 + "@example.org>"
    with Session(command(smtpd), tmp_path) as session:
        session.expect((None, b"220 "), (b"EHLO x", b"250-"),
                       (f"MAIL FROM:{sender} SMTPUTF8".encode(), b"250 "))
        session.expect((b"RCPT TO:<b@example.com>", b"250 "), (b"DATA", b"354 "))
        session.say(SMALL)
        session.expect((b".", b"250 "))
        assert session.end() == 0
        message = one(session.err(), "message")
    assert message["to"] == b"<b@example.com>" and message["from"] == cut(sender.encode())


def test_many_recipients_in_one_line(smtpd, tmp_path):
    """As many as the line has room for, each of them whole."""
    with Session(command(smtpd), tmp_path) as session:
        session.begin("MAIL")
        for i in range(100):
            session.expect((b"RCPT TO:<%s%d@example.com>" % (b"r" * 200, i), b"250 "))
        session.expect((b"DATA", b"354 "))
        session.say(SMALL)
        session.expect((b".", b"250 "))
        assert session.end() == 0
        message = one(session.err(), "message")
    assert message["recipients"] == b"100" and 12 < len(message.all("to")) < 20
    assert all(to == b"<%s%d@example.com>" % (b"r" * 200, i) for i,
               to in enumerate(message.all("to")))


# --- who has it -----------------------------------------------------------------------------------


def deliver_to_three(smtpd, folder, said, *options):
    """A message for three by an LMTP upstream: (replies, the log, the upstream's endpoint)."""
    with Upstream({"dot": said}, lmtp=True) as up:
        with Session(proxy(smtpd, up, "--upstream-protocol=lmtp", *options), folder) as session:
            is_lmtp = "--protocol=lmtp" in options
            session.expect((None, b"220 "), (b"LHLO x" if is_lmtp else b"EHLO x", b"250-"),
                           (b"MAIL FROM:<a@example.org>", b"250 "))
            for i in range(3):
                session.expect((b"RCPT TO:<b%d@example.com>" % i, b"250 "))
            session.expect((b"DATA", b"354 "))
            session.say(SMALL + b".\r\n")
            got = [session.reply() for _ in range(3 if is_lmtp else 1)]
            assert session.end() == 0
            return got, session.err(), up.endpoint.encode()


VERDICTS = [b"250 2.0.0 one", b"452 4.2.2 full", b"550 5.2.1 off"]


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_a_line_for_each_recipient_if_they_differ(smtpd, tmp_path, protocol):
    """And who has it although the client heard a refusal gets it again, but in LMTP nobody does."""
    got, log, endpoint = deliver_to_three(smtpd, tmp_path, b"\r\n".join(VERDICTS) + b"\r\n",
                                          f"--protocol={protocol}")
    assert got == (VERDICTS if protocol == "lmtp" else [VERDICTS[1]])
    message = one(log, "message")
    assert message["verdict"] == VERDICTS[0 if protocol == "lmtp" else 1]
    assert message["recipients"] == b"3"
    assert message.all("by") == ([] if protocol == "lmtp" else [b"upstream"])
    assert message.all("to") == []
    each = lines(log, "recipient")
    assert [line["verdict"] for line in each] == VERDICTS
    assert [line["to"] for line in each] == [b"<b%d@example.com>" % i for i in range(3)]
    assert all(line.keys() == ["id", "verdict", "by", "destination", "to"] for line in each)
    assert {(line["id"], line["by"], line["destination"])
            for line in each} == {(message["id"], b"upstream", endpoint)}
    twice = lines(log, "duplicate possible")
    assert [(line["id"], line["destination"], line["to"]) for line in twice] == (
        [] if protocol == "lmtp" else [(message["id"], endpoint, b"<b0@example.com>")])


@pytest.mark.parametrize("said", [
    b"250 2.0.0 fine\r\n" * 3, b"550 5.7.1 no\r\n" * 3,
    b"550 5.7.1 no\r\n452 4.2.2 full\r\n550 5.7.1 no\r\n",
], ids=["all", "none", "none, differently"])
def test_no_false_alarm(smtpd, tmp_path, said):
    _, log, _ = deliver_to_three(smtpd, tmp_path, said)
    assert lines(log, "duplicate possible") == [] and len(lines(log, "message")) == 1
    assert len(lines(log, "recipient")) == (3 if b"452" in said else 0)


def test_who_may_have_it(smtpd, tmp_path):
    """The upstream hung up without a word about two of three."""
    def act(c):
        c.send(b"250 2.0.0 one\r\n")
        close(c)

    got, log, endpoint = deliver_to_three(smtpd, tmp_path, act)
    assert got[0].startswith(b"451 4.4.2 ")
    message = one(log, "message")
    assert [line["verdict"][:3] for line in lines(log, "recipient")] == [b"250", b"451", b"451"]
    assert [line["by"] for line in lines(log, "recipient")] == [b"upstream", b"us", b"us"]
    assert message["by"] == b"us"
    twice = lines(log, "duplicate possible")
    assert sorted(line["to"] for line in twice) == [b"<b%d@example.com>" % i for i in range(3)]
    assert {(line["id"], line["destination"]) for line in twice} == {(message["id"], endpoint)}


# --- whose word it was ----------------------------------------------------------------------------

FULL = b"421 4.7.0 too many connections from you\r\n"
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


# --- what was refused -----------------------------------------------------------------------------


def play(argv, folder, *dialogue, pair=None):
    """Pairs of what to say and how the reply begins, after the greeting: the log."""
    with Session(argv, folder, pair=pair) as session:
        session.expect((None, b"220 "), *dialogue)
        assert session.end() == 0
        return session.err()


HELLO, SENDER, RECIPIENT = (b"EHLO x", b"250-"), (b"MAIL FROM:<a@example.org>",
                                                  b"250 "), (b"RCPT TO:<b@example.com>", b"250 ")
OUR_REFUSALS = {  # what comes after EHLO; the options; the verdict; from, to
    "too big": ([(b"MAIL FROM:<a@b> SIZE=11", b"552 ")], ["--max-size=10"], b"552 5.3.4", b"<a@b>",
                []),
    "a parameter": ([(b"MAIL FROM:<a@b> X=Y", b"555 ")], [], b"555 5.5.4", b"<a@b>", []),
    "no SMTPUTF8": ([(b"MAIL FROM:<\xc3\xbc@b>", b"553 ")], [], b"553 5.6.7", b"<\xc3\xbc@b>", []),
    "recipient's parameter": ([SENDER, (b"RCPT TO:<c@d> X=Y", b"555 ")], [], b"555 5.5.4",
                              b"<a@example.org>", [b"<c@d>"]),
    "null recipient": ([SENDER, (b"RCPT TO:<>", b"501 ")], [], b"501 5.1.3", b"<a@example.org>",
                       [b"<>"]),
    "too many": ([SENDER, RECIPIENT, (b"RCPT TO:<c@d>", b"452 ")], ["--max-recipients=1"],
                 b"452 4.5.3", b"<a@example.org>", [b"<c@d>"]),
}


@pytest.mark.parametrize("name", OUR_REFUSALS)
def test_our_own_refusals(smtpd, tmp_path, name):
    dialogue, options, verdict, sender, recipients = OUR_REFUSALS[name]
    log = play(command(smtpd, *options), tmp_path, HELLO, *dialogue)
    rejected = one(log, "rejected")
    assert rejected["verdict"].startswith(verdict + b" ") and rejected["by"] == b"us"
    assert rejected["id"]
    assert rejected["helo"] == b"x" and rejected["from"] == sender
    assert rejected.all("to") == recipients
    assert rejected.keys()[:5] == ["id", "peer", "uid", "verdict", "by"]
    assert [line["id"] for line in lines(log, "abandoned")] == ([rejected["id"]]
                                                                if name == "too many" else [])


@pytest.mark.parametrize("line", [
    b"MAIL FROM:<a@b", b"MAIL TO:<a@b>", b"MAIL", b"MAIL FROM:<\x01@b>", b"RCPT TO:<a@b>", b"DATA",
    b"NONSENSE", b"VRFY", b"STARTTLS",
])  # fmt: skip
def test_nobody_was_refused(release, tmp_path, line):
    """A mistake of syntax or order refuses a command."""
    log = play(command(release), tmp_path, HELLO, (line, b"50"))
    assert lines(log, "rejected") == [] and one(log, "session")["errors"] == b"1"


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_a_message_that_is_too_big(smtpd, tmp_path, protocol):
    """One line, with its recipients: it was not abandoned."""
    hello = (b"LHLO x", b"250-") if protocol == "lmtp" else HELLO
    with Session(command(smtpd, "--max-size=10", f"--protocol={protocol}"), tmp_path) as session:
        session.expect((None, b"220 "), hello, SENDER, RECIPIENT,
                       (b"RCPT TO:<c@example.com>", b"250 "), (b"DATA", b"354 "))
        session.say(SMALL)
        session.expect((b".", b"552 "), *[(None, b"552 ")] * (protocol == "lmtp"))
        assert session.end() == 0
        log = session.err()
    assert [line.what for line in lines(log)] == ["rejected", "session"]
    rejected = one(log, "rejected")
    assert (rejected["verdict"],
            rejected["by"]) == (b"552 5.3.4 message too big: at most 10 octets", b"us")
    assert rejected["from"] == b"<a@example.org>"
    assert rejected.all("to") == [b"<b@example.com>", b"<c@example.com>"]


BATCHED = [(), ("PIPELINING",)]


@pytest.mark.parametrize("extensions", BATCHED, ids=["one by one", "at once"])
@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_refusals_of_an_upstream(smtpd, tmp_path, protocol, extensions):
    """Of those that it refused, each with its own words, asked one by one or all at once; ours
    among them."""
    no, later = b"550-5.1.1 nobody\r\n550 5.1.1 of that name\r\n", b"450 4.2.1 busy\r\n"
    names = [b"a", b"b", b"c", b"d%e", b"f", b"g", b"h"]
    with Upstream({"RCPT": [None, no, later, None, FULL, None]}, {"RCPT": [None, no, None]},
                  extensions=extensions) as up:
        argv = proxy(smtpd, up, f"--protocol={protocol}", "--max-recipients=6")
        with Session(argv, tmp_path) as session:
            session.expect((None, b"220 "),
                           (b"LHLO x" if protocol == "lmtp" else b"EHLO x", b"250-"))
            session.say(b"MAIL FROM:<s@example.org>\r\n"
                        + b"".join(b"RCPT TO:<%s@example.com>\r\n" % n for n in names)
                        + b"NOOP\r\n")
            got = [session.reply() for _ in range(len(names) + 2)]
            assert session.end() == 0
            log = session.err()
    assert [reply[:3] for reply in got[:4]] == [b"250", b"250", b"550", b"450"]
    assert got[4][:9] == b"550 5.7.1" and got[7][:3] == b"452"
    by_name = {line["to"]: (line["verdict"], line["by"]) for line in lines(log, "rejected")}
    refused = [n for n, reply in zip(names, got[1:]) if reply[:1] != b"2"]
    assert list(by_name) == [b"<%s@example.com>" % n for n in refused]
    assert len(lines(log, "rejected")) == len(refused)
    assert by_name[b"<b@example.com>"] == (b"550 5.1.1 nobody\nof that name", b"upstream")
    assert by_name[b"<c@example.com>"] == (b"450 4.2.1 busy", b"upstream")
    assert by_name[b"<d%e@example.com>"] == (b"550 5.7.1 sender-specified routing is not allowed",
                                             b"us")
    assert by_name[b"<h@example.com>"][1] == b"us"
    assert {line["id"] for line in lines(log, "rejected")} == {one(log, "abandoned")["id"]}
    assert {line["from"] for line in lines(log, "rejected")} == {b"<s@example.org>"}


@pytest.mark.parametrize("extensions", BATCHED, ids=["one by one", "at once"])
def test_a_sender_that_an_upstream_refuses(smtpd, tmp_path, extensions):
    """What came with it was out of order then, and not refused."""
    with Upstream({"MAIL": b"550 5.7.1 not you\r\n"}, extensions=extensions) as up:
        with Session(proxy(smtpd, up, "--max-recipients=2"), tmp_path) as session:
            session.expect((None, b"220 "), HELLO)
            session.say(b"MAIL FROM:<a@example.org>\r\n"
                        + b"".join(b"RCPT TO:<b%d@b>\r\n" % i for i in range(4)))
            assert [session.reply()[:3] for _ in range(5)] == [b"550"] + [b"503"] * 4
            assert session.end() == 0
            log = session.err()
    rejected = one(log, "rejected")
    assert (rejected["verdict"], rejected["by"]) == (b"550 5.7.1 not you", b"upstream")
    assert rejected["from"] == b"<a@example.org>" and rejected.all("to") == []


def test_relaying_denied(smtpd, tmp_path):
    with Upstream() as up:
        log = play(proxy(smtpd, up, "--relay-from=192.0.2.1"), tmp_path, HELLO, SENDER,
                   (b"RCPT TO:<b@example.com>", b"550 "))
    assert (one(log, "rejected")["verdict"],
            one(log, "rejected")["by"]) == (b"550 5.7.1 relaying denied", b"us")


def test_no_upstream(release, tmp_path):
    log = play(proxy(release, "127.0.0.1:1"), tmp_path, HELLO,
               (b"MAIL FROM:<a@example.org>", b"451 4.4.1 "))
    assert one(log, "rejected")["by"] == b"us"


@pytest.mark.parametrize(("reply", "code", "by"), [
    (b"550 no such list\r\n", b"550", b"mailman"), (b"450 4.2.0 later\r\n", b"450", b"mailman"),
    (last(FULL), b"451", b"mailman"),
    (b"299 what?\r\n", b"250", None), (b"554 5.3.0 broken\r\n", b"451", b"mailman"),
    (close, b"451", b"us"),
], ids=["no list", "later", "421", "yes", "broken", "closes"])  # fmt: skip
def test_refusals_of_a_list_server(release, tmp_path, reply, code, by):
    with Upstream({"RCPT": reply}, lmtp=True) as mailman:
        argv = command(release, "--strategy=mailman", f"--mailman={mailman.endpoint}")
        with Session(argv, tmp_path) as session:
            session.begin("MAIL")
            assert session.ask(b"RCPT TO:<l@example.com>")[:1] == code[:1]
            assert session.end() == 0
            rejected = lines(session.err(), "rejected")
    assert [(line["verdict"][:3], line["by"]) for line in rejected] == ([(code, by)] if by else [])


@pytest.mark.parametrize("n", [0, 2, 3, 4, 50])
def test_refusals_are_bounded(release, tmp_path, n):
    """After max-errors lines there is a number at the end."""
    with Upstream({"RCPT": [None, b"450 4.2.0 no\r\n"]}) as up:
        with Session(proxy(release, up, "--max-errors=3"), tmp_path) as session:
            session.begin("RCPT")
            for i in range(n):
                session.expect((b"RCPT TO:<%d@example.com>" % i, b"450 "))
            assert session.end() == 0
            log = session.err()
    *each, end = lines(log)
    rejected = [line for line in each if line.what == "rejected"]
    assert end.what == "session" and len(rejected) == min(n, 4)
    assert [line["more"] for line in rejected if "more" in line.keys()] == ([b"%d" % (n - 3)]
                                                                            if n > 3 else [])
    assert n <= 3 or rejected[-1].keys() == ["peer", "uid", "more", "helo"]


@pytest.mark.parametrize("name", NASTY)
def test_refused_words_of_a_client_are_values(smtpd, tmp_path, name):
    address = b"<%s@example.org>" % NASTY[name]
    with Upstream({"RCPT": b"550 " + FAKE + b' "\\\r\n',
                   "MAIL": [b"550 " + FAKE + b"\r\n", None]}) as up:
        log = play(proxy(smtpd, up), tmp_path, HELLO, (b"MAIL FROM:" + address, b"550 "),
                   (b"MAIL FROM:" + address, b"250 "),
                   (b"RCPT TO:" + address, b"550 "))
    sender, recipient = lines(log, "rejected")
    assert sender["from"] == recipient["from"] == recipient["to"] == cut(address)
    assert sender["verdict"] == b"550 " + FAKE
    assert recipient["verdict"] == b"550 " + FAKE + b' "\\'
    assert sender.keys() == recipient.keys()[:-1] == ["id", "peer", "uid", "verdict", "by", "helo",
                                                      "from"]


@pytest.mark.parametrize("name", NASTY)
def test_lost_words_of_a_client_are_values(smtpd, tmp_path, name):
    """The connection to the upstream is lost at the dot, or the client's before it hears the
    250."""
    address = b"<%s@example.org>" % NASTY[name]
    with Upstream({"dot": close}) as up:
        with Session(proxy(smtpd, up), tmp_path) as session:
            session.expect((None, b"220 "), HELLO, (b"MAIL FROM:" + address, b"250 "),
                           (b"RCPT TO:" + address, b"250 "), (b"DATA", b"354 "))
            session.say(SMALL)
            session.expect((b".", b"451 "))
            assert session.end() == 0
            lost = one(session.err(), "duplicate possible")
    assert lost.keys() == ["id", "destination", "reason", "to"] and lost["to"] == cut(address)
    with Session(command(smtpd), tmp_path) as session:
        session.expect((None, b"220 "), HELLO, (b"MAIL FROM:" + address, b"250 "),
                       (b"RCPT TO:" + address, b"250 "), RECIPIENT,
                       (b"DATA", b"354 "))
        session.say(SMALL + b".\r\n")
        session.wait_for([session.ours], [])
        session.ours.close()
        assert session.status() == 0
        unheard = one(session.err(), "duplicate possible")
    assert unheard.keys() == ["id", "peer", "uid", "recipients", "to", "to"]
    assert unheard.all("to") == [cut(address), b"<b@example.com>"] and unheard["recipients"] == b"2"
