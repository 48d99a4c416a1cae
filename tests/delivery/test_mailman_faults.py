# SPDX-License-Identifier: MIT
"""Strategy mailman with a scripted list server (tests/lib/upstream.py), for what a real one does
rarely. Beside it an upstream for all other recipients."""

import socket
import time

import pytest
from list_server import (LARGE, LIST, NO_LIST, OTHER, UNHEARD, ask, check_nobody_has_it, lists,
                         logged, mailman, message, play, scripted, send, session, token)
from logs import one
from session import Session
from upstream import Body, Upstream, close, deaf, last, reset, silent

# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [(LIST,), (LIST, OTHER)], ids=["list", "list and other"])
def test_message_larger_than_mailman_takes(release, tmp_path, to):
    """EHLO did not say so: it is refused for now, and nobody has it."""
    with Upstream(lmtp=True, extensions=("SIZE 1000", "8BITMIME")) as mm, Upstream() as up:
        mm.scripts = ({"RCPT": lists(LIST)},)
        verdict, log = play(mailman(release, mm.endpoint, up), tmp_path, message(token()) + LARGE,
                            *to)
        check_nobody_has_it(mm, up)
    assert verdict == (b"452 4.3.4 message too big: the list server accepts at most 1000 octets")
    assert logged(log) == ({}, b"452")


def test_size_larger_than_mailman_takes(release, tmp_path):
    """The client said it at MAIL: Mailman, which would say 552, is not asked."""
    too_big = {"RCPT": lists(LIST), "MAIL": b"552 5.3.4 too big\r\n"}
    with Upstream({"RCPT": lists(LIST)}, too_big, lmtp=True, extensions=("SIZE 100",)) as mm:
        with session(mailman(release, mm.endpoint), tmp_path) as s:
            assert ask(s, b"a@example.org", (LIST,), b" SIZE=1000")[0].startswith(b"250 ")
            assert send(s, message(token())).startswith(b"452 4.3.4 ")


def test_upstream_with_size_but_no_limit(release, tmp_path):
    """RFC 1870 section 4: the number may be missing."""
    with scripted({}) as mm, Upstream(extensions=("SIZE", "8BITMIME")) as up:
        verdict, _ = play(mailman(release, mm.endpoint, up), tmp_path, message(token()), OTHER)
    assert verdict.startswith(b"250 ") and len(up.messages) == 1


# --- what goes wrong, when asked and at the message -----------------------------------------------


# step: an action, and the reply at RCPT to all that might be lists
WHEN_ASKED = {
    "greeting 4xx": ({"greeting": b"421 4.3.2 not now\r\n"}, b"451"),
    "greeting closes": ({"greeting": close}, b"451"),
    "greeting is silent": ({"greeting": silent}, b"451"),
    "greeting is nonsense": ({"greeting": b"hello\r\n"}, b"451"),
    "LHLO 5xx": ({"LHLO": b"500 what\r\n"}, b"451"),
    "LHLO closes": ({"LHLO": close}, b"451"),
    "LHLO is silent": ({"LHLO": silent}, b"451"),
    "MAIL 4xx": ({"MAIL": b"451 4.3.0 not now\r\n"}, b"451"),
    "MAIL 5xx": ({"MAIL": b"550 5.7.1 not you\r\n"}, b"451"),
    "MAIL 421": ({"MAIL": last(b"421 4.3.2 going down\r\n")}, b"451"),
    "MAIL closes": ({"MAIL": close}, b"451"),
    "MAIL is silent": ({"MAIL": silent}, b"451"),
    "RCPT 4xx": ({"RCPT": b"450 4.2.0 not now\r\n"}, b"450"),
    "RCPT 421": ({"RCPT": last(b"421 4.3.2 going down\r\n")}, b"451"),
    "RCPT 3xx": ({"RCPT": b"354 what\r\n"}, b"451"),
    "RCPT closes": ({"RCPT": close}, b"451"),
    "RCPT is silent": ({"RCPT": silent}, b"451"),
    "RCPT is nonsense": ({"RCPT": b"ok\r\n"}, b"451"),
}


@pytest.mark.parametrize("name", WHEN_ASKED)
def test_faults_when_asked(release, tmp_path, name):
    """Never "not a list"; the upstream is not asked."""
    script, expected = WHEN_ASKED[name]
    then = time.monotonic()
    with scripted(script) as mm, Upstream() as up:
        with session(mailman(release, mm.endpoint, up, "--upstream-timeout=1"), tmp_path) as s:
            assert [reply[:3] for reply in ask(s, b"a@example.org", (LIST,))] == [expected]
            assert s.ask(b"DATA").startswith(b"503 ")
        assert time.monotonic() - then < 6
        check_nobody_has_it(mm, up)
        assert not [line for line in up.commands if line.startswith((b"MAIL", b"RCPT"))]


def test_lost_when_idle(smtpd, tmp_path):
    """Mailman hangs up between two messages, or between two recipients: it is asked anew."""
    with (scripted({"RCPT": [last(b"250 Ok\r\n")]}, {"RCPT": [last(b"250 Ok\r\n")]}, {}) as mm,
          Upstream() as up):
        with session(mailman(smtpd, mm.endpoint, up), tmp_path) as s:
            assert [r[:4]
                    for r in ask(s, b"a@example.org",
                                 (LIST, b"my-list@example.com", OTHER))] == [b"250 "] * 3
            assert send(s, message(token())).startswith(b"250 ")
            assert [r[:4] for r in ask(s, b"b@example.org", (OTHER, LIST))] == [b"250 "] * 2
            assert send(s, message(token())).startswith(b"250 ")
        mm.wait_until_over()
        up.wait_until_over()
    assert [m.recipients for m in mm.messages] == [[b"<%s>" % to]
                                                   for to in (LIST, b"my-list@example.com", LIST)]
    assert [m.recipients for m in up.messages] == [[b"<%s>" % OTHER]] * 2


DEAF = Body(1000, deaf)
BEFORE_THE_DOT = {
    "no connection": ({"greeting": close}, b"451"),
    "greeting is silent": ({"greeting": silent}, b"451"),
    "LHLO closes": ({"LHLO": close}, b"451"),
    "MAIL 4xx": ({"MAIL": b"451 4.3.0 not now\r\n"}, b"451"),
    "MAIL 5xx": ({"MAIL": b"550 5.7.1 not you\r\n"}, b"550"),
    "MAIL is silent": ({"MAIL": silent}, b"451"),
    "RCPT 4xx": ({"RCPT": b"450 4.2.0 not now\r\n"}, b"450"),
    "RCPT 5xx": ({"RCPT": NO_LIST}, b"550"),
    "RCPT closes": ({"RCPT": close}, b"451"),
    "DATA 4xx": ({"DATA": b"452 4.3.1 full\r\n"}, b"452"),
    "DATA 5xx": ({"DATA": b"554 5.3.0 no\r\n"}, b"554"),
    "DATA 2xx": ({"DATA": b"250 Ok\r\n"}, b"451"),
    "DATA 421": ({"DATA": last(b"421 4.3.2 going down\r\n")}, b"451"),
    "DATA closes": ({"DATA": close}, b"451"),
    "DATA is silent": ({"DATA": silent}, b"451"),
    "message: closes": ({"body": Body(1000, close)}, b"451"),
    "message: resets": ({"body": Body(1000, reset)}, b"451"),
    "message: answers": ({"body": Body(1000, b"554 5.6.0 enough\r\n")}, b"451"),
    "message: does not read": ({"body": DEAF}, b"451"),
}


@pytest.mark.parametrize("name", BEFORE_THE_DOT)
def test_faults_before_the_first_dot(release, tmp_path, name):
    """One reply for all: if a list refuses, nobody has the message, and the client keeps it."""
    script, expected = BEFORE_THE_DOT[name]
    then = time.monotonic()
    with scripted({}, {}, script) as mm, Upstream() as up:
        content = message(token()) + LARGE * 5
        argv = mailman(release, mm.endpoint, up, "--upstream-timeout=1")
        verdict, log = play(argv, tmp_path, content, LIST, OTHER, b"my-list@example.com")
        assert verdict[:3] == expected and logged(log) == ({}, expected)
        assert time.monotonic() - then < 8
        if script.get("body", up) is not DEAF:  # which does not see that we have gone
            check_nobody_has_it(mm, up)
    assert mm.messages == [] and up.messages == [] and b"duplicate possible" not in log
    assert not any(line == b"DATA" for c in up.connections for line in c.commands)


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_list_server_goes_while_the_upstream_is_sent_its_copy(release, tmp_path, protocol):
    """Which is noticed before the upstream has its dot; in LMTP it gets that all the same."""

    def hang_up(c):
        mm.connections[1].sock.shutdown(socket.SHUT_RDWR)
        c.send(b"354 go on\r\n")

    with scripted({}) as mm, Upstream({"DATA": hang_up}) as up:
        argv = mailman(release, mm.endpoint, up, f"--protocol={protocol}")
        verdict, log = play(argv, tmp_path, message(token()), LIST, OTHER)
        mm.wait_until_over()
        up.wait_until_over()
    assert mm.messages == [] and b"duplicate possible" not in log
    if protocol == "smtp":
        assert verdict.startswith(b"451 4.4.2 ") and up.messages == []
    else:
        assert [one[:3] for one in verdict] == [b"451", b"250"] and len(up.messages) == 1


def test_one_list_refuses_in_lmtp(release, tmp_path):
    """There the others get theirs."""
    with scripted({}, {}, {"DATA": b"452 4.3.1 full\r\n"}) as mm, Upstream() as up:
        argv = mailman(release, mm.endpoint, up, "--protocol=lmtp")
        verdicts, log = play(argv, tmp_path, message(token()), LIST, OTHER, b"my-list@example.com")
        assert [verdict[:3] for verdict in verdicts] == [b"250", b"250", b"452"]
        assert logged(log)[0] == {LIST: b"250", OTHER: b"250", b"my-list@example.com": b"452"}
        mm.wait_until_over()
    assert [m.recipients for m in mm.messages] == [[b"<%s>" % LIST]] and len(up.messages) == 1


AT_THE_DOT = {
    "550, an error of its own": (b"550 Requested action not taken: mailbox unavailable\r\n",
                                 b"451 4.3.0", False),
    "501": (b"501 Message has defects\r\n", b"501", False),
    "552": (b"552 5.3.4 too big\r\n", b"552 5.3.4", False),
    "451": (b"451 not now\r\n", b"451", False),
    "421": (last(b"421 4.3.2 going down\r\n"), b"451", False),
    "3xx": (b"354 more\r\n", b"451 4.5.0", False),
    "closes": (close, b"451 4.4.2", True),
    "is silent": (silent, b"451 4.4.2", True),
    "nonsense": (b"fine\r\n", b"451 4.4.2", True),
    "half a reply": (last(b"250-fine\r\n"), b"451 4.4.2", True),
}


@pytest.mark.parametrize("name", AT_THE_DOT)
def test_faults_at_the_dot(release, tmp_path, name):
    """Behind the upstream's 250 there is no way back: the worst verdict wins, and the log says who
    has it."""
    action, expected, is_possible = AT_THE_DOT[name]
    with scripted({}, {"dot": action}) as mm, Upstream() as up:
        argv = mailman(release, mm.endpoint, up, "--upstream-timeout=1")
        verdict, log = play(argv, tmp_path, message(token()), LIST, OTHER)
    assert verdict.startswith(expected) and len(up.messages) == 1
    assert logged(log) == ({LIST: expected[:3], OTHER: b"250"}, expected[:3])
    assert (UNHEARD in log) == is_possible and (b"message" in log)
    if name.startswith("550"):  # the client does not hear it
        line = one(log, "Mailman")
        assert (line["endpoint"], line["step"]) == (mm.endpoint.encode(), b"final dot")
        assert line["reply"] == action.strip()


@pytest.mark.parametrize("name", AT_THE_DOT)
def test_first_list_refuses_at_the_dot(release, tmp_path, name):
    """Nobody else has the message yet, and nobody gets it: the client will send it to all of them
    again."""
    action, expected, _ = AT_THE_DOT[name]
    known = (LIST, b"my-list@example.com")
    with scripted({}, {"dot": action}, {}) as mm:
        verdict, log = play(mailman(release, mm.endpoint, "--upstream-timeout=1"), tmp_path,
                            message(token()), *known)
        mm.wait_until_over()
    assert verdict.startswith(expected)
    assert [m.recipients for m in mm.messages] == [[b"<%s>" % LIST]]
    assert b"this recipient has the message" not in log


def test_second_list_refuses_at_the_dot(release, tmp_path):
    """The first one has it; so has the third."""
    known = (LIST, b"my-list@example.com", b"their-list@example.com")
    with scripted({}, {}, {"dot": b"451 not now\r\n"}, {}, known=known) as mm:
        verdict, log = play(mailman(release, mm.endpoint), tmp_path, message(token()), *known)
        mm.wait_until_over()
    assert verdict.startswith(b"451") and len(mm.messages) == 3
    assert logged(log)[0] == dict(zip(known, (b"250", b"451", b"250")))


def test_order_of_commitment(smtpd, tmp_path):
    """All have everything but the dot before the first dot comes; the upstream's is the first; then
    each list's."""
    seen = []

    def at_dot(who, reply):
        def act(c):
            time.sleep(0.2)  # who would be next has time to come too early
            seen.append((who,
                         tuple(b"\r\n.\r\n" in other.raw
                               for other in (up.connections[0], *mm.connections[1:])),
                         tuple(b"the end" in other.raw
                               for other in (up.connections[0], *mm.connections[1:]))))
            c.send(reply)

        return act

    with scripted({}, {"dot": at_dot("first", b"250 Ok\r\n")},
                  {"dot": at_dot("second", b"250 Ok\r\n")}) as mm:
        with Upstream({"dot": at_dot("upstream", b"250 2.0.0 ok\r\n")}) as up:
            content = message(token()) + LARGE + b"the end\r\n"
            verdict, _ = play(mailman(smtpd, mm.endpoint, up), tmp_path, content, LIST,
                              b"my-list@example.com", OTHER)
            up.wait_until_over()
            mm.wait_until_over()
    assert verdict.startswith(b"250 ")
    everything = (True, True, True)
    assert seen == [
        ("upstream", (True, False, False), everything),
        ("first", (True, True, False), everything),
        ("second", (True, True, True), everything),
    ]
    assert [line[:4] for c in mm.connections[1:] for line in c.commands] == [
        b"LHLO", b"MAIL", b"RCPT", b"DATA", b"QUIT"] * 2


@pytest.mark.parametrize("where", ["RCPT", "DATA"])
def test_client_vanishes(release, tmp_path, where):
    with scripted({}) as mm, Upstream() as up:
        with Session(mailman(release, mm.endpoint, up), tmp_path) as s:
            s.expect((None, b"220 "), (b"EHLO client.example.org", b"250-"))
            ask(s, b"a@example.org", (LIST, OTHER))
            if where == "DATA":
                s.expect((b"DATA", b"354 "))
                s.say(message(token()) + LARGE)
            s.ours.close()
            assert s.status() == 0
        check_nobody_has_it(mm, up)


CLOSES = b'reason="it closed the connection"'
BUSY = b"421 4.3.2 busy\r\n"


@pytest.mark.parametrize(("script", "n", "words", "said"), [
    ({"greeting": close}, 1, b"step=greeting " + CLOSES, b"451 4.4.1 "),
    ({"greeting": BUSY}, 1, b'step=greeting reply="421 4.3.2 busy"', b"451 4.3.2 busy"),
    ({"MAIL": silent}, 1, b'step=MAIL reason="no answer in time"', b"451 4.4.1 "),
    ({"RCPT": silent}, 1, b'step=RCPT reason="no answer in time"', b"451 4.4.1 "),
    # the first address is asked again
    ({"RCPT": close}, 2, b"step=RCPT " + CLOSES, b"451 4.4.1 "),
    ({"RCPT": BUSY}, 2, b'step=RCPT reply="421 4.3.2 busy"', b"451 4.3.2 busy"),
], ids=["closes", "421", "silent at MAIL", "silent at RCPT", "closes at RCPT", "421 at RCPT"])
def test_mailman_is_left_alone_after_a_failure(release, tmp_path, script, n, words, said):
    """For a while, whatever is asked meanwhile, in this message and the next: it is neither
    connected to nor logged again."""
    with scripted(script) as mm, Upstream() as up:
        with session(mailman(release, mm.endpoint, up, "--upstream-timeout=1"), tmp_path) as s:
            for _ in range(2):
                got = ask(s, b"a@example.org", (LIST, b"my-list@example.com", OTHER))
                assert [reply[: len(said)] for reply in got] == [said] * 3
                s.expect((b"RSET", b"250 "))
        assert len(mm.connections) == n
    log = s.err()
    assert log.count(
        b"smtpd: Mailman ") == log.count(b"smtpd: Mailman endpoint=%s %s\n" % (mm.endpoint.encode(),
                                                                               words)) == n, log


def test_mailman_that_is_down_is_left_alone(release, tmp_path):
    """There is nobody to connect to; and a message with two lists."""
    with session(mailman(release, "127.0.0.1:1"), tmp_path) as s:
        got = ask(s, b"a@example.org", (LIST, b"my-list@example.com", OTHER))
        assert [reply[:10] for reply in got] == [b"451 4.4.1 "] * 3
    assert s.err().count(b"smtpd: Mailman endpoint=127.0.0.1:1 step=connect ") == 1
    with scripted({}, {"greeting": BUSY}) as mm:
        verdict, log = play(mailman(release, mm.endpoint), tmp_path, message(token()), LIST,
                            b"my-list@example.com")
        assert verdict.startswith(b"451 4.3.2 busy") and len(mm.connections) == 2
    assert log.count(b"smtpd: Mailman ") == 1


def test_mailman_is_back(release, tmp_path):
    """After ten seconds it is asked again."""
    with scripted({"greeting": BUSY}, {}) as mm:
        with session(mailman(release, mm.endpoint), tmp_path) as s:
            assert ask(s, b"a@example.org", (LIST,))[0].startswith(b"451 4.3.2 busy")
            time.sleep(10.1)
            assert s.ask(b"RCPT TO:<my-list@example.com>").startswith(b"250 ")
        assert len(mm.connections) == 2
