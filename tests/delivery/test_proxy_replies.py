# SPDX-License-Identifier: MIT
"""Strategy proxy before an upstream whose replies are nonsense, answer another question, come too
early or do not fit: what the client hears instead."""

import socket

import pytest
from logs import lines, one
from proxy import HUGE, SMALL, STEPS, check_honest, play, proxy
from session import Session, replies
from upstream import Body, Upstream, close, deaf, flood, last, silent

# --- nonsense -------------------------------------------------------------------------------------

NONSENSE = {
    "half a line": last(b"22"),
    "nothing": close,
    "garbage": b"\x00\x01\x02 what a day\r\n" * 20,
    "text": b"hello there\r\n",
    "TLS": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(160)) + b"\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n",
    "mixed codes": b"250-one\r\n251 two\r\n",
    "mixed classes": b"250-one\r\n550 two\r\n",
    "NUL": b"250 fine\0\r\n",
    "four digits": b"2500 fine\r\n",
    "no digits": b"2x0 fine\r\n",
    "code 000": b"000 fine\r\n",
    "code 650": b"650 fine\r\n",
    "empty line": b"\r\n",
    "endless lines": flood(b"250-and so on\r\n" * 100),
    "1xx": b"150 just a moment\r\n",
}


@pytest.mark.parametrize("step", ["greeting", *STEPS])
@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense(release, tmp_path, name, step):
    with Upstream({step: NONSENSE[name]}) as up:
        outcome = play(proxy(release, up, "--upstream-timeout=1"), tmp_path)
        check_honest(outcome, up, is_reply_lost=step == "dot" and len(up.messages) == 1)
        if step in ("greeting", "EHLO"):
            assert outcome.last.startswith(b"451 4.4.1 ") and outcome.codes == [250, 451]
        else:
            assert outcome.last.startswith(b"451 4.4.2 ")
            assert len(outcome.codes) == {"MAIL": 2, "RCPT": 3}.get(step, 5)
        assert outcome.seconds < 4
        assert b"smtpd: upstream " in outcome.log or (step == "dot"
                                                      and b"duplicate possible" in outcome.log)


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_does_no_harm(smtpd, tmp_path, name):
    """The same for the program with sanitizers, at one step."""
    with Upstream({"RCPT": NONSENSE[name]}) as up:
        outcome = play(proxy(smtpd, up, "--upstream-timeout=1"), tmp_path)
        check_honest(outcome, up)
        assert outcome.codes == [250, 250, 451]


@pytest.mark.parametrize("step", ["greeting", *STEPS])
def test_endless_line_from_an_upstream(release, tmp_path, step):
    """As fast as it goes, and without an end: the deadline of the step holds."""
    with Upstream({step: flood(b"250 " + b"x" * 100_000, 8)}) as up:
        outcome = play(proxy(release, up, "--upstream-timeout=1"), tmp_path)
        check_honest(outcome, up, is_reply_lost=step == "dot")
        assert outcome.codes[-1] == 451
        assert outcome.seconds < 10, outcome.seconds


def test_reply_line_of_a_mebibyte(smtpd, tmp_path):
    long = b" 2.0.0 " + b"x" * (1 << 20) + b"\r\n"
    script = {"greeting": b"220" + long, "EHLO": b"250-up\r\n250" + long, "MAIL": b"250" + long,
              "RCPT": b"250" + long, "DATA": b"354" + long, "dot": b"250" + long}
    with Upstream(script) as up:
        outcome = play(proxy(smtpd, up), tmp_path)
        check_honest(outcome, up)
        assert outcome.codes == [250, 250, 250, 354, 250]
        assert max(map(len, outcome.replies.values())) < 1100


@pytest.mark.parametrize("code",
                         [b"421 4.3.2 going down", b"554 5.3.2 no service here", b"450 later",
                          b"220-half a greeting", b"250 not a greeting", b"354 go"])
def test_greetings(smtpd, tmp_path, code):
    with Upstream({"greeting": code + b"\r\n"}) as up:
        outcome = play(proxy(smtpd, up, "--upstream-timeout=1"), tmp_path)
        check_honest(outcome, up)
        heard = {b"421 4.3.2 going down": b"451 4.3.2 going down",
                 b"554 5.3.2 no service here": b"451 4.3.2 no service here",
                 b"450 later": b"451 later"}.get(code, b"451 4.4.1 ")
        assert outcome.last.startswith(heard) and outcome.seconds < 4
        assert not [line for line in up.commands if not line.startswith(b"QUIT")]


# --- codes that answer another question -----------------------------------------------------------

CODES = [b"200", b"211", b"251", b"252", b"299", b"300", b"334", b"354", b"421", b"450", b"452",
         b"499", b"500", b"503", b"530", b"550", b"599"]


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "dot"])
def test_codes(smtpd, tmp_path, step):
    """2xx is yes (354, to DATA), 4xx and 5xx go through, all else is a mistake of the upstream's:
    451."""
    for code in CODES:
        with Upstream({step: code + b" word\r\n"}) as up:
            outcome = play(proxy(smtpd, up), tmp_path)
            up.wait_until_over()
            yes = code == b"354" if step == "DATA" else code.startswith(b"2")
            if yes:
                assert outcome.codes[-1] == 250, code
                assert len(up.messages) == 1
            elif code[:1] in b"45" and code != b"421":
                assert outcome.last == code + b" word"
            else:
                assert outcome.codes[-1] == 451, (code, outcome.last)
            if not yes and step != "dot":
                assert up.messages == []


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
def test_421_before_the_dot(smtpd, tmp_path, step):
    """It goes away, with a word: connected to again."""
    with Upstream({step: last(b"421 4.3.2 going down\r\n")}, {}) as up:
        outcome = play(proxy(smtpd, up), tmp_path)
        check_honest(outcome, up)
        assert outcome.codes == [250, 250, 250, 354, 250] and len(up.connections) == 2


@pytest.mark.parametrize("step", STEPS)
def test_421_always(smtpd, tmp_path, step):
    """It is a temporary failure of this message; our own session goes on."""
    with Upstream({step: last(b"421 4.3.2 going down\r\n")}) as up:
        outcome = play(proxy(smtpd, up), tmp_path)  # which says QUIT in the end
        check_honest(outcome, up)
        assert outcome.codes[-1] == 451


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "dot"])
@pytest.mark.parametrize("reply", [b"250", b"250 ", b"250\n", b"250-\r\n250"])
def test_reply_without_text(smtpd, tmp_path, step, reply):
    reply = reply.replace(b"250", b"354") if step == "DATA" else reply
    with Upstream({step: reply + (b"" if reply.endswith(b"\n") else b"\r\n")}) as up:
        outcome = play(proxy(smtpd, up), tmp_path)
        check_honest(outcome, up)
        assert outcome.codes == [250, 250, 250, 354, 250]


REPLIES = {  # what the upstream says, and what goes to the client
    b"550 5.1.1 <b@example.com>: no such user\r\n": b"550 5.1.1 <b@example.com>: no such user",
    b"550 no such user\r\n": b"550 no such user",
    b"452-4.2.2 one\r\n452-4.2.2 two\r\n452 4.2.2 three\r\n": b"452-4.2.2 one\r\n452-4.2.2 "
                                                              b"two\r\n452 4.2.2 three",
    b"550-one\r\n550-\r\n550 three\r\n": b"550-one\r\n550-\r\n550 three",
    b"550 5.1.1 a\x07b\x1b[31mc\xc3\xa4\td\r\n": b"550 5.1.1 a?b?[31mc???d",
    b"550 5.7.1 a\rb\r\n": b"550 5.7.1 a?b",
    b"550 2.1.1 wrong class\r\n": b"550 wrong class",
    b"450 4.7.1\r\n": b"450 4.7.1",
}  # fmt: skip


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "dot"])
def test_replies_are_passed_on(smtpd, tmp_path, step):
    for said, expected in REPLIES.items():
        with Upstream({step: said}) as up:
            outcome = play(proxy(smtpd, up), tmp_path)
            check_honest(outcome, up)
            assert outcome.last.rstrip(b" ") == expected, said


def test_many_lines(smtpd, tmp_path):
    """Long texts are cut, and still form a reply."""
    with Upstream({"RCPT": b"".join(b"550-line %d %s\r\n" % (i, b"y" * 30) for i in range(400))
                   + b"550 end\r\n"}) as up:
        outcome = play(proxy(smtpd, up), tmp_path)
        check_honest(outcome, up)
        assert replies(outcome.last + b"\r\n")[0][0] == 550 and 300 < len(outcome.last) < 2048


# --- replies before they are due ------------------------------------------------------------------


PREMATURE = {
    "MAIL": {"EHLO": b"250-up.example\r\n250 8BITMIME\r\n250 2.1.0 sender fine\r\n"},
    "RCPT": {"MAIL": b"250 fine\r\n250 2.1.5 recipient fine\r\n"},
    "DATA": {"RCPT": b"250 fine\r\n354 go on\r\n"},
    "body": {"DATA": b"354 go on\r\n250 2.0.0 taken\r\n"},
    "body later": {"body": Body(100_000, b"250 2.0.0 taken\r\n")},
    "body 4xx": {"body": Body(100_000, b"452 4.3.1 disk full\r\n")},
    "body 5xx": {"body": Body(100_000, b"554 5.6.0 I have heard enough\r\n")},
    "body 5xx and close": {"body": Body(100_000, last(b"554 5.6.0 I have heard enough\r\n"))},
    "body 5xx and deaf": {"body": Body(100_000, last(b"554 5.6.0 I have heard enough\r\n", deaf))},
    "half a reply": {"body": Body(100_000, b"25")},
}


@pytest.mark.parametrize("name", PREMATURE)
def test_premature_replies(smtpd, tmp_path, name):
    with Upstream(PREMATURE[name]) as up:
        outcome = play(proxy(smtpd, up, "--upstream-timeout=1"), tmp_path, HUGE)
        up.wait_until_over()
        assert outcome.codes[-1] == 451, outcome
        assert outcome.seconds < 5 and up.messages == []


@pytest.mark.parametrize("said",
                         [b"250 hello\r\n", b"250-up.example\r\n250 SIZE 5\r\n", b"554 no\r\n"])
def test_premature_reply_to_ehlo(smtpd, tmp_path, said):
    """Nothing that was said before a question is an answer to it."""
    with Upstream({"greeting": b"220 up.example\r\n" + said,
                   "MAIL": b"550 5.7.1 not you\r\n"}) as up:
        outcome = play(proxy(smtpd, up, "--upstream-timeout=1"), tmp_path)
        up.wait_until_over()
        assert up.messages == [] and outcome.codes[-1] in (451, 550)
        assert outcome.codes[1] in (451, 550), "250 to MAIL, although the upstream refuses it"


# --- replies that do not fit ----------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_any_2xx_to_the_dot_is_a_yes(release, tmp_path, protocol):
    """With which no client has to cope: it hears 250, and the upstream's words."""
    with Upstream({"dot": last(b"221 2.0.0 Bye\r\n")}, lmtp=protocol == "lmtp") as up:
        outcome = play(proxy(release, up, f"--upstream-protocol={protocol}"), tmp_path)
        assert outcome.last == b"250 2.0.0 Bye" and len(up.messages) == 1
    assert not lines(outcome.log, "duplicate possible")


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_3xx_to_the_dot_is_neither_yes_nor_no(release, tmp_path, protocol):
    """Nobody knows who has the message: the log has all that is known."""
    said = b"354 " + b"Start mail input " * 20
    with Upstream({"dot": said + b"\r\n"}, lmtp=protocol == "lmtp") as up:
        outcome = play(proxy(release, up, f"--upstream-protocol={protocol}"), tmp_path)
        assert outcome.last == (b"451 4.5.0 the upstream server sent an unexpected reply, try "
                                b"again later")
        doubt = one(outcome.log, "duplicate possible: unexpected reply to the final dot")
        assert doubt["reply"].strip() == said.strip() and doubt["to"] == b"<b@example.com>"
        assert doubt["destination"] == up.endpoint.encode()
    assert not lines(outcome.log, "upstream")


def half_closed(c):
    """Says no more, and reads the rest."""
    c.sock.shutdown(socket.SHUT_WR)
    silent(c)


@pytest.mark.parametrize("how", [silent, half_closed, deaf, close], ids=lambda f: f.__name__)
def test_reason_that_comes_during_the_message(release, tmp_path, how):
    """It is the upstream's, and final: the log and the client have it."""
    script = {"body": Body(1000, last(b"552 5.2.2 mailbox of b is full\r\n", how))}
    with Upstream(script) as up:
        outcome = play(proxy(release, up), tmp_path, HUGE)
        assert outcome.last == b"451 4.2.2 mailbox of b is full" and len(up.connections) == 1
        assert up.messages == []
    assert one(outcome.log, "upstream")["reply"] == b"552 5.2.2 mailbox of b is full"


@pytest.mark.parametrize("script", [
    {"RCPT": b"450 4.2.1 is greylisted\r\n"},
    {"EHLO": b"250-up\r\n250 PIPELINING\r\n"},
], ids=["refuses", "has no DSN"])  # fmt: skip
def test_refused_when_repeated_is_no_outage(release, tmp_path, script):
    """Who went away once and then does not welcome the same again is asked about the next."""
    first = {"EHLO": b"250-up\r\n250-PIPELINING\r\n250 DSN\r\n", "DATA": close}
    with (Upstream(first, script, {}) as up, Session(proxy(release, up), tmp_path) as session):
        session.begin("EHLO")
        session.expect((b"MAIL FROM:<a@example.org> RET=HDRS", b"250 "),
                       (b"RCPT TO:<b@example.com>", b"250 "), (b"DATA", b"354 "))
        session.say(SMALL)
        session.expect((b".", b"451 "), (b"MAIL FROM:<other@example.org>", b"250 "),
                       (b"RCPT TO:<c@example.com>", b"250 "), (b"DATA", b"354 "))
        session.say(SMALL)
        session.expect((b".", b"250 "))
        assert session.end() == 0
        up.wait_until_over()
        assert len(up.connections) == 3 and len(up.messages) == 1


def test_reason_is_of_this_message(release, tmp_path):
    """What was said of one message is not said to the next, if then nobody can be reached."""
    scripts = ({"DATA": close}, {"RCPT": b"450 4.2.1 is greylisted\r\n"}, {"greeting": close})
    with (Upstream(*scripts) as up,
          Session(proxy(release, up), tmp_path) as session):
        session.begin("DATA")
        session.say(SMALL)
        session.expect((b".", b"451 4.2.1 is greylisted"),
                       (b"MAIL FROM:<other@example.org>", b"451 4.4.1 "))
        assert session.end() == 0
