# SPDX-License-Identifier: MIT
"""Strategy proxy before an upstream that goes away, or is silent, at every step. The message is
sent again where that is safe, the client waits for a bounded time, and the log has each failure
once."""

import re
import threading
import time

import pytest
from proxy import HOSTNAME, HUGE, LARGE, SMALL, STEPS, check_exact, check_honest, play, proxy
from session import Session
from upstream import Body, Upstream, close, deaf, drip, last, reset, silent

# --- the connection goes away ---------------------------------------------------------------------

ENDS = {"close": close, "reset": reset}


def gone_at(step, how):
    """A script that ends the connection at a step."""
    if step == "body":
        return {"body": Body(100_000, how)}
    if step == "body at once":
        return {"body": Body(0, how)}
    return {step: how}


FIRST_WORDS = ["greeting", "EHLO"]
BEFORE_DOT = ["MAIL", "RCPT", "DATA", "body at once", "body"]


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("step", BEFORE_DOT)
def test_gone_once_before_the_dot(smtpd, tmp_path, step, how):
    """It is connected to again and told the envelope, and the message arrives once."""
    with Upstream(gone_at(step, ENDS[how]), {}) as up:
        content = HUGE if step.startswith("body") else SMALL
        outcome = play(proxy(smtpd, up), tmp_path, content)
        check_honest(outcome, up)
        assert outcome.codes == [250, 250, 250, 354, 250] and len(up.connections) == 2
        check_exact(up.messages[0], content)
        assert up.connections[1].commands == [b"EHLO " + HOSTNAME, b"MAIL FROM:<a@example.org>",
                                              b"RCPT TO:<b@example.com>", b"DATA", b"QUIT"]


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("step", FIRST_WORDS + BEFORE_DOT)
def test_gone_always_before_the_dot(smtpd, tmp_path, step, how):
    with Upstream(gone_at(step, ENDS[how])) as up:
        outcome = play(proxy(smtpd, up), tmp_path, HUGE if step.startswith("body") else SMALL)
        check_honest(outcome, up)
        assert outcome.codes[-1] == 451 and up.messages == []
        # it is left out for some seconds
        assert len(up.connections) == (1 if step in FIRST_WORDS else 2)


@pytest.mark.parametrize("how", ENDS)
def test_gone_just_before_the_dot(smtpd, tmp_path, how):
    """The last octet before the dot has been read; whether we notice before the dot leaves is a
    matter of luck."""

    def fill(c):
        while b"\r\nlast line\r\n" not in c.raw:
            c.more()
        ENDS[how](c)

    with Upstream({"body": Body(0, fill)}, {}) as up:
        outcome = play(proxy(smtpd, up), tmp_path, SMALL + b"last line\r\n")
        up.wait_until_over()
        assert outcome.codes[-1] == (250 if up.messages else 451)
        assert len(up.messages) == len(up.connections) - 1
        assert up.messages or b"duplicate possible" in outcome.log


@pytest.mark.parametrize("how", ENDS)
def test_gone_between_the_dot_and_its_reply(smtpd, tmp_path, how):
    with Upstream({"dot": ENDS[how]}, {}) as up:
        outcome = play(proxy(smtpd, up), tmp_path, SMALL)
        check_honest(outcome, up, is_reply_lost=True)
        assert outcome.codes == [250, 250, 250, 354, 451] and len(up.connections) == 1
        assert len(up.messages) == 1
        assert re.search(rb"duplicate possible.*b@example\.com", outcome.log)


@pytest.mark.parametrize("n", [1, 2, 10])
def test_gone_in_a_reply(release, tmp_path, n):
    """A part of a reply is none."""
    for step, default in (("MAIL", b"250 2.1.0 sender fine"), ("RCPT", b"250 2.1.5 recipient"),
                          ("DATA", b"354 go ahead"), ("dot", b"250 2.0.0 OK")):
        with Upstream({step: last(default[:n])}) as up:
            outcome = play(proxy(release, up), tmp_path)
            check_honest(outcome, up, is_reply_lost=step == "dot")
            assert outcome.codes[-1] == 451


def test_gone_while_the_client_uploads(smtpd, tmp_path):
    """The upstream gets tired while the message comes."""
    tired = threading.Event()

    def yawn(c):
        c.send(b"250 fine\r\n")
        tired.wait(10)
        last(b"421 4.4.2 you take too long\r\n")(c)

    with Upstream({"RCPT": yawn}, {}) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("DATA")
        session.say(LARGE)
        tired.set()
        while not up.connections[0].is_over:
            time.sleep(0.002)
        assert session.ask(b".").startswith(b"250 ")
        assert session.end() == 0
        up.wait_until_over()
        check_exact(up.messages[0], LARGE)
        assert len(up.messages) == 1 and b"DATA" not in up.connections[0].commands


def test_replay_has_all_of_the_envelope(smtpd, tmp_path):
    """100 recipients, a refused one among them, and parameters."""
    refused = [None] * 50 + [b"550 5.1.1 no\r\n"] + [None] * 51
    with (Upstream({"RCPT": refused, "DATA": close}, {}) as up,
          Session(proxy(smtpd, up, "--max-recipients=101"), tmp_path) as session):
        session.begin("EHLO")
        session.expect((b"MAIL FROM:<a@example.org> SIZE=1000 BODY=8BITMIME", b"250 "))
        names = [b"user%d@example.com" % i for i in range(101)]
        for i, name in enumerate(names):
            session.expect((b"RCPT TO:<%s>" % name, b"550 5.1.1 " if i == 50 else b"250 "))
        session.expect((b"DATA", b"354 "))
        session.say(SMALL)
        session.expect((b".", b"250 "))
        assert session.end() == 0
        up.wait_until_over()
        assert up.messages[0].sender == b"<a@example.org> SIZE=1000 BODY=8BITMIME"
        assert up.messages[0].recipients == [b"<%s>" % n for n in names[:50] + names[51:]]


@pytest.mark.parametrize("script",
                         [{"MAIL": b"450 4.2.1 not now\r\n"},
                          {"RCPT": b"550 5.1.1 nobody any more\r\n"},
                          {"RCPT": [None, b"450 no\r\n"]}])
def test_replay_in_which_somebody_is_unwelcome(smtpd, tmp_path, script):
    """What the client was told at RCPT holds: all or nobody."""
    with Upstream({"DATA": close}, script) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("RCPT")
        session.expect((b"RCPT TO:<c@example.com>", b"250 "), (b"DATA", b"354 "))
        session.say(SMALL)
        session.expect((b".", b"451 "))
        assert session.end() == 0
        up.wait_until_over()
        assert up.messages == [] and len(up.connections) == 2


def test_second_connection_can_do_less(smtpd, tmp_path):
    """The message came under a promise of 8BITMIME that the second connection does not keep."""
    content = b"Subject: x\r\n\r\n\xc3\xa4\r\n" + HUGE
    with Upstream({"body": Body(100_000, close)}, {"EHLO": b"250-up\r\n250 PIPELINING\r\n"}) as up:
        outcome = play(proxy(smtpd, up), tmp_path, content)
        check_honest(outcome, up)
        assert outcome.last.startswith(b"451 4.6.3 ") and up.messages == [], outcome.last


def test_second_connection_knows_no_ehlo(smtpd, tmp_path):
    """What the first one offered is forgotten."""
    with Upstream({"RCPT": close}, {"EHLO": b"502 5.5.1 what?\r\n"}) as up:
        play(proxy(smtpd, up), tmp_path, mail=b"MAIL FROM:<a@example.org> SIZE=100 BODY=8BITMIME")
        up.wait_until_over()
        assert up.connections[1].commands[:3] == [b"EHLO " + HOSTNAME, b"HELO " + HOSTNAME,
                                                  b"MAIL FROM:<a@example.org>"]


def test_second_connection_has_no_smtputf8(smtpd, tmp_path):
    with Upstream({"MAIL": close}, {"EHLO": b"250-up\r\n250 8BITMIME\r\n"}) as up:
        outcome = play(proxy(smtpd, up), tmp_path,
                       mail="MAIL FROM:<ä@example.org> SMTPUTF8".encode())
        up.wait_until_over()
        assert outcome.last.startswith(b"451 4.6.7 "), outcome.last
        assert not [line for line in up.connections[1].commands if not line.isascii()]


LEFT_OVER = {  # what is said of a message; is it too much
    "a reply": (b"250 2.0.0 one\r\n250 2.0.0 two\r\n", True),
    "a refusal": (b"250 2.0.0 one\r\n554 5.6.0 two\r\n", True),
    "half a reply": (b"250 2.0.0 one\r\n250-2.0.0 tw", True),
    "nonsense": (b"250 2.0.0 one\r\nwell done\r\n", True),
    "a farewell": (last(b"250 2.0.0 one\r\n421 4.3.2 going down\r\n"), False),
    "nothing": (last(b"250 2.0.0 one\r\n"), False),
}


@pytest.mark.parametrize("name", LEFT_OVER)
def test_one_reply_too_many(smtpd, tmp_path, name):
    """Which one was that to the message? The next message goes over another connection."""
    action, is_too_much = LEFT_OVER[name]
    with Upstream({"dot": action}, {}) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("EHLO")
        verdict = session.send_message(SMALL)
        assert verdict == b"250 2.0.0 one" if not is_too_much else verdict.startswith(b"451 4.5.0 ")
        assert session.send_message(SMALL).startswith(b"250 2.0.0 taken")
        assert session.end() == 0
        up.wait_until_over()
    log = session.err()
    assert len(up.messages) == len(up.connections) == 2
    assert log.count(
        b"duplicate possible: one reply too many ") == is_too_much and (
            b"<b@example.com>" in log) and b"Traceback" not in log


@pytest.mark.parametrize("client", ["smtp", "lmtp"])
def test_one_reply_too_many_for_its_recipients(smtpd, tmp_path, client):
    """Whose each is nobody knows, so nobody is told anything."""
    dot = b"250 2.0.0 one\r\n550 5.1.1 two\r\n250 2.0.0 three\r\n"
    with Upstream({"dot": dot}, lmtp=True) as up:
        argv = proxy(smtpd, up, "--upstream-protocol=lmtp", f"--protocol={client}")
        with Session(argv, tmp_path) as session:
            session.expect((None, b"220 "), (b"LHLO c" if client == "lmtp" else b"EHLO c", b"250-"),
                           (b"MAIL FROM:<>", b"250 "))
            session.expect((b"RCPT TO:<b@example.com>", b"250 "),
                           (b"RCPT TO:<c@example.com>", b"250 "), (b"DATA", b"354 "))
            session.say(SMALL + b".\r\n")
            assert all(session.reply().startswith(b"451 4.5.0 ")
                       for _ in range(2 if client == "lmtp" else 1))
            assert session.end() == 0
    log = session.err()
    for to in (b"b@example.com", b"c@example.com"):
        assert re.search(rb"duplicate possible: one reply too many .* to=<%s>" % to,
                         log), log


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["greeting", *STEPS])
@pytest.mark.parametrize("how", [silent, deaf], ids=["silent", "deaf"])
def test_silence(release, tmp_path, step, how):
    with Upstream({step: how}) as up:
        outcome = play(proxy(release, up, "--upstream-timeout=1"), tmp_path)
        check_honest(outcome, up, is_reply_lost=step == "dot")
        assert outcome.codes[-1] == 451 and 0.9 < outcome.seconds < 5
        assert len(up.connections) == 1, "who is silent is not asked again"


def test_deaf_in_the_body(smtpd, tmp_path):
    with Upstream({"DATA": b"354 go on\r\n", "body": Body(0, deaf)}) as up:
        outcome = play(proxy(smtpd, up, "--upstream-timeout=1"), tmp_path, HUGE)
        assert outcome.codes[-1] == 451 and outcome.seconds < 4 and up.messages == []


@pytest.mark.parametrize("step", ["greeting", *STEPS])
def test_drip(release, tmp_path, step):
    """Each octet comes in time, the whole does not."""
    with Upstream({step: drip(b"250 two hundred and fifty octets, or so, of a reply that does not "
                              b"come to an end in time")}) as up:
        outcome = play(proxy(release, up, "--upstream-timeout=1"), tmp_path)
        check_honest(outcome, up, is_reply_lost=step == "dot")
        assert outcome.codes[-1] == 451 and 0.9 < outcome.seconds < 5


def test_drip_in_time(smtpd, tmp_path):
    pause = 0.01
    script = {"greeting": drip(b"220 up\r\n", pause),
              "EHLO": drip(b"250-up\r\n250 PIPELINING\r\n", pause),
              "MAIL": drip(b"250 ok\r\n", pause),
              # fmt: skip
              "RCPT": drip(b"250 ok\r\n", pause), "DATA": drip(b"354 ok\r\n", pause),
              "dot": drip(b"250 ok\r\n", pause)}
    with Upstream(script) as up:
        outcome = play(proxy(smtpd, up, "--upstream-timeout=2"), tmp_path)
        check_honest(outcome, up)
        assert outcome.codes == [250, 250, 250, 354, 250]


# --- the log --------------------------------------------------------------------------------------

FAILURES = {  # what each connection does; how many there are; the words for it
    "silent at MAIL": ({"MAIL": silent}, 1, b'step=MAIL reason="no answer in time"'),
    "silent at RCPT": ({"RCPT": silent}, 1, b'step=RCPT reason="no answer in time"'),
    "silent at DATA": ({"DATA": silent}, 1, b'step=DATA reason="no answer in time"'),
    "closes at MAIL": ({"MAIL": close}, 2, b'step=MAIL reason="it closed the connection"'),
    "closes at RCPT": ({"RCPT": close}, 2, b'step=RCPT reason="it closed the connection"'),
    "closes at DATA": ({"DATA": close}, 2, b'step=DATA reason="it closed the connection"'),
    "out of step at MAIL": ({"MAIL": b"250 fine\r\n250 too much\r\n"}, 1,
                            b'step="between commands" reply="250 too much"'),
    "out of step at DATA": ({"DATA": b"354 go on\r\n250 too much\r\n"}, 1,
                            b'step="between commands" reply="250 too much"'),
    "nonsense at MAIL": ({"MAIL": b"what?\r\n"}, 2, b'step=MAIL reason="the reply is not SMTP"'),
}


@pytest.mark.parametrize("name", FAILURES)
def test_each_failure_is_logged_once(release, tmp_path, name):
    """However many recipients come after it."""
    script, n, words = FAILURES[name]
    with (Upstream(script) as up,
          Session(proxy(release, up, "--upstream-timeout=1"), tmp_path) as session):
        session.begin("EHLO")
        if session.ask(b"MAIL FROM:<a@example.org>").startswith(b"250 "):
            got = [session.ask(b"RCPT TO:<b%d@example.com>" % i)[:4] for i in range(3)]
            if got[0] == b"250 ":
                session.expect((b"DATA", b"354 "))
                session.say(SMALL)
                session.expect((b".", b"451 4.5.0 " if b"too much" in words else b"451 4.4.2 "))
        assert session.end() == 0
        log = session.err()
    assert log.count(
        b"smtpd: upstream ") == log.count(
            b"smtpd: upstream endpoint=%s %s\n" % (up.endpoint.encode(),
                                                   words)) == n == len(up.connections), log
