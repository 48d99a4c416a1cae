# SPDX-License-Identifier: MIT
"""What was refused is in the log, once and bounded, whether we refused it, an upstream or a list
server."""

import pytest
from logged import FULL, HELLO, RECIPIENT, SENDER, play
from logs import lines, one
from proxy import SMALL, proxy
from session import Session, command
from upstream import Upstream, close, last

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
