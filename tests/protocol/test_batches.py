# SPDX-License-Identifier: MIT
"""Batches (RFC 2920) through strategy proxy: what a client sends at once is asked at once, each
answer finds its recipient, and whatever happens to the upstream in the middle, nobody who was
refused gets the message and nobody who was welcome misses it."""

import itertools
import re
import threading
import time

import pytest
from proxy import SMALL, check_exact, proxy
from session import Session, tcp_pair
from upstream import EVERYTHING, Gone, Upstream, last, silent

N = 8
NAMES = [b"b%d@example.com" % i for i in range(N)]


def batch(session, names, mail=b"MAIL FROM:<a@example.org>", end=b"DATA"):
    """MAIL, the RCPTs and what follows them, in one write: the replies, each as (code, text)."""
    lines = [mail, *(b"RCPT TO:<%s>" % name for name in names), end]
    session.say(b"".join(line + b"\r\n" for line in lines))
    return [session.reply() for _ in lines]


def codes_of(replies):
    return [int(reply[:3]) for reply in replies]


def read_batch(c, name=NAMES[-1]):
    """Until the last recipient has come, so that nothing is unread when the connection ends."""
    while b"RCPT TO:<%s>\r\n" % name not in c.raw:
        c.more()


def die(c):
    read_batch(c)
    raise Gone


def finish(session, verdict=b"250 "):
    session.say(SMALL)
    session.expect((b".", verdict))


# --- at once --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, N, 100])
def test_all_is_asked_at_once(smtpd, tmp_path, n):
    """The upstream says nothing before all of it is there."""
    names = [b"b%d@example.com" % i for i in range(n)]

    def patient(c):
        read_batch(c, names[-1])
        c.send(b"250 2.1.0 sender fine\r\n")

    with (Upstream({"MAIL": patient}) as up,
          Session(proxy(smtpd, up, "--max-recipients=200"), tmp_path) as session):
        session.begin("EHLO")
        for _ in range(2):  # the second follows a RSET
            replies = batch(session, names)
            assert codes_of(replies) == [250] + [250] * n + [354]
            finish(session)
            assert codes_of(batch(session, names, end=b"RSET")) == [250] + [250] * n + [250]
        assert session.end() == 0
        up.wait_until_over()
        assert [m.recipients for m in up.messages] == [[b"<%s>" % name for name in names]] * 2
        assert len(up.connections) == 1


def test_what_is_known_does_not_wait(smtpd, tmp_path):
    """The answer to MAIL is passed on while the upstream still thinks about the recipient."""

    gate = threading.Event()

    def slow(c):
        assert gate.wait(20)
        c.send(b"250 2.1.5 recipient fine\r\n")

    with Upstream({"RCPT": slow}) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("EHLO")
        session.say(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
        assert session.reply().startswith(b"250 ")  # it came although the gate is closed
        gate.set()
        assert session.reply().startswith(b"250 ") and session.reply().startswith(b"354 ")
        finish(session)
        assert session.end() == 0


def test_long_batch(release, tmp_path):
    """More than the buffer of the connection to the upstream takes."""
    names = [b"%s%d@example.com" % (b"b" * 900, i) for i in range(300)]
    with (Upstream() as up,
          Session(proxy(release, up, "--max-recipients=1000"), tmp_path) as session):
        session.begin("EHLO")
        assert codes_of(batch(session, names)) == [250] + [250] * 300 + [354]
        finish(session)
        assert session.end() == 0
        up.wait_until_over()
        assert up.messages[0].recipients == [b"<%s>" % name for name in names]


def test_without_pipelining(smtpd, tmp_path):
    """Such an upstream is asked one thing at a time."""

    def alone(reply):
        def act(c):
            c.sock.settimeout(0.02)
            with pytest.raises(Gone):
                c.more()
            c.sock.settimeout(20)
            assert c.at == len(c.raw)
            c.send(reply)

        return act

    script = {"MAIL": alone(b"250 2.1.0 sender fine\r\n"),
              "RCPT": alone(b"250 2.1.5 recipient fine\r\n"), "RSET": alone(b"250 fine\r\n")}
    with (Upstream(script, extensions=[e for e in EVERYTHING if e != "PIPELINING"]) as up,
          Session(proxy(smtpd, up), tmp_path) as session):
        session.begin("EHLO")
        assert codes_of(batch(session, NAMES, end=b"RSET")) == [250] + [250] * N + [250]
        assert codes_of(batch(session, NAMES)) == [250] + [250] * N + [354]
        finish(session)
        assert session.end() == 0
        up.wait_until_over()
        assert up.messages[0].recipients == [b"<%s>" % name for name in NAMES]


# --- whose answer is whose ------------------------------------------------------------------------

KINDS = {b"yes": b"250 2.1.5 ", b"no": b"550 5.1.1 ", b"later": b"450 4.2.1 ",
         b"here": b"550 5.7.1 "}


def by_name(c):
    """What the recipient is called; with its address in the answer."""
    address = c.commands[-1].partition(b":")[2]
    c.send(KINDS[address[1:].partition(b".")[0]] + address + b"\r\n")


def mixes():
    """All of the four kinds for the first half of eight, those again from behind; all of each two
    kinds for eight."""
    for half in itertools.product(KINDS, repeat=N // 2):
        yield half + half[::-1]
    for kind in (b"here", b"no", b"later"):
        yield from itertools.product((b"yes", kind), repeat=N)


def test_every_mix(smtpd, tmp_path):
    expected = []
    with (Upstream({"RCPT": by_name}) as up,
          Session(proxy(smtpd, up, "--max-errors=100000", "--max-commands=1000000"),
                  tmp_path) as session):
        session.deadline += 100
        session.begin("EHLO")
        for number, mix in enumerate(mixes()):
            # who is refused here wants to be relayed by way of another
            names = [b"%s.%d%s@example.com" % (kind, i, b"%x" if kind == b"here" else b"") for i,
                     kind in enumerate(mix)]
            welcome = [b"<%s>" % name for name in names if name.startswith(b"yes")]
            replies = batch(session, names, b"MAIL FROM:<a%d@example.org>" % number)
            assert codes_of(replies[:1]) == [250]
            for kind, name, reply in zip(mix, names, replies[1:-1]):
                assert reply.startswith(KINDS[kind]) and (kind == b"here"
                                                          or reply.endswith(
                                                              b"<%s>" % name)), (mix, replies)
            assert codes_of(replies[-1:]) == [354 if welcome else 503]
            if welcome:
                finish(session)
                expected.append((b"<a%d@example.org>" % number, welcome))
            else:
                session.expect((b"RSET", b"250 "))
        assert session.end() == 0
        up.wait_until_over()
        assert [(m.sender, m.recipients) for m in up.messages] == expected
        assert not [line for line in up.commands if b"here" in line] and len(up.connections) == 1


def test_strangers(smtpd, tmp_path):
    """For whom most is refused here."""
    names = [b"b@example.org", b"b@example.com", b"c@example.org", b"c@example.com",
             b"d@example.com"]
    with (Upstream() as up,
          Session(proxy(smtpd, up, "--relay-from=192.0.2.1", "--relay-to=example.com"),
                  tmp_path) as session):
        session.begin("EHLO")
        assert codes_of(batch(session, names)) == [250, 550, 250, 550, 250, 250, 354]
        finish(session)
        assert session.end() == 0
        up.wait_until_over()
        assert up.messages[0].recipients == [b"<b@example.com>", b"<c@example.com>",
                                             b"<d@example.com>"]


@pytest.mark.parametrize("answer",
                         [b"503 5.5.1 MAIL first\r\n", b"250 2.1.5 fine\r\n",
                          b"421 4.7.0 enough\r\n"])
def test_refused_sender(smtpd, tmp_path, answer):
    """Nobody is welcome then, whatever the upstream says of the recipients, and the next message is
    another one's."""
    with Upstream({"MAIL": [b"550 5.7.1 not you\r\n", None], "RCPT": [answer] * N + [None]},
                  {}) as up:
        with Session(proxy(smtpd, up), tmp_path) as session:
            session.begin("EHLO")
            replies = batch(session, NAMES)
            assert replies[0] == b"550 5.7.1 not you"
            assert all(reply.startswith(b"503 5.5.1 ") for reply in replies[1:])
            assert codes_of(batch(session, NAMES[:3])) == [250, 250, 250, 250, 354]
            finish(session)
            assert session.end() == 0
        up.wait_until_over()
        assert len(up.messages) == 1
        check_exact(up.messages[0], SMALL, recipients=[b"<%s>" % name for name in NAMES[:3]])


# --- the upstream goes away -----------------------------------------------------------------------


@pytest.mark.parametrize("how", [die, last(b"421 4.3.2 going down\r\n", die)],
                         ids=["closes", "says 421"])
@pytest.mark.parametrize("k", range(-1, N))
def test_some_answers_and_the_end(smtpd, tmp_path, k, how):
    """It answers MAIL and k RCPTs, or nothing (-1): what it said is real, the rest is asked again,
    and all of it is delivered once."""
    first = {"MAIL": how} if k < 0 else {"RCPT": [b"250 2.1.5 first\r\n"] * k + [how]}
    with Upstream(first, {}) as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.begin("EHLO")
        replies = batch(session, NAMES)
        assert codes_of(replies) == [250] + [250] * N + [354]
        assert [reply == b"250 2.1.5 first" for reply in replies[1:-1]] == [i < k for i in range(N)]
        finish(session)
        assert session.end() == 0
        up.wait_until_over()
        assert len(up.connections) == 2 and len(up.messages) == 1
        check_exact(up.messages[0], SMALL, recipients=[b"<%s>" % name for name in NAMES])


@pytest.mark.parametrize("k", range(-1, N))
def test_some_answers_and_the_end_always(smtpd, tmp_path, k):
    """451 for the rest, once; nobody gets the message."""
    script = {"MAIL": die} if k < 0 else {"RCPT": [None] * k + [die]}
    with (Upstream(script) as up,
          Session(proxy(smtpd, up, "--upstream-timeout=2"), tmp_path) as session):
        session.begin("EHLO")
        replies = batch(session, NAMES)
        if k < 0:
            assert codes_of(replies) == [451] + [503] * N + [503]
        else:
            assert codes_of(replies) == [250] + [250] * k + [451] * (N - k) + [354 if k else 503]
        if k > 0:
            finish(session, b"451 ")
        assert session.end() == 0
        up.wait_until_over()
        assert up.messages == [] and len(up.connections) == 2
        assert session.err().count(b"smtpd: upstream ") == 2


def test_the_next_connection_knows_no_pipelining(smtpd, tmp_path):
    with (Upstream({"RCPT": [None, None, die]}, {"EHLO": b"250-up\r\n250 8BITMIME\r\n"}) as up,
          Session(proxy(smtpd, up), tmp_path) as session):
        session.begin("EHLO")
        assert codes_of(batch(session, NAMES)) == [250] + [250] * N + [354]
        finish(session)
        assert session.end() == 0
        up.wait_until_over()
        check_exact(up.messages[0], SMALL, recipients=[b"<%s>" % name for name in NAMES])


def test_silence_in_a_batch(release, tmp_path):
    """It is waited for once for each connection, not for each recipient."""
    with (Upstream({"RCPT": [None, None, silent]}) as up,
          Session(proxy(release, up, "--upstream-timeout=1"), tmp_path) as session):
        session.begin("EHLO")
        assert codes_of(batch(session, NAMES)) == [250, 250, 250] + [451] * (N - 2) + [354]
        finish(session, b"451 ")
        assert session.end() == 0
        assert up.messages == [] and len(up.connections) <= 2


@pytest.mark.parametrize("at", [0, 3, N - 1], ids=["first", "in the middle", "last"])
@pytest.mark.parametrize("more", [b"250 2.1.5 one more\r\n", b"550 5.1.1 one more\r\n"])
def test_more_answers_than_questions(smtpd, tmp_path, at, more):
    """Which of them are whose cannot be told: nobody gets the message, and the session goes on."""
    with (Upstream({"RCPT": [None] * at + [b"250 fine\r\n" + more, None]}, {}) as up,
          Session(proxy(smtpd, up), tmp_path) as session):
        session.begin("EHLO")
        replies = batch(session, NAMES)
        assert codes_of(replies)[0] == 250 and codes_of(replies)[-1] == 354
        finish(session, b"451 ")
        up_to_now = len(up.messages)
        assert codes_of(batch(session, NAMES)) == [250] + [250] * N + [354]
        finish(session)
        assert session.end() == 0
        up.wait_until_over()
        assert up_to_now == 0 and len(up.messages) == 1
        assert re.search(rb'"between commands" reply=|this reply does not fit', session.err())


@pytest.mark.parametrize(("late", "verdict"),
                         [(b"250 2.1.5 fine\r\n", b"451 4.5.0 "),
                          (b"450 4.2.1 not now\r\n", b"450 4.2.1 ")])
def test_an_answer_too_many_comes_late(smtpd, tmp_path, late, verdict):
    """It is taken for the answer to DATA, and 354 comes when nobody waits for it: what follows must
    not become a message."""

    def data(c):
        c.send(late)
        time.sleep(0.5)
        c.send(b"354 go on\r\n")

    with (Upstream({"DATA": data}, {}) as up,
          Session(proxy(smtpd, up, "--upstream-timeout=5"), tmp_path) as session):
        session.begin("EHLO")
        batch(session, NAMES)
        finish(session, verdict)
        if late.startswith(b"4"):
            assert session.ask(b"MAIL FROM:<a@example.org>").startswith(b"451 4.5.0 ")
        assert codes_of(batch(session, NAMES)) == [250] + [250] * N + [354]
        finish(session)
        assert session.end() == 0
        up.wait_until_over()
        assert len(up.messages) == 1 and len(up.connections) == 2
        assert b'reason="this reply does not fit the command"\n' in session.err()


# --- the session ends in the middle ---------------------------------------------------------------


def test_refused_recipients_of_a_batch(smtpd, tmp_path):
    """They are mistakes if the transaction ends without a recipient."""
    with (Upstream({"RCPT": b"550 5.1.1 nobody\r\n"}) as up,
          Session(proxy(smtpd, up, "--max-errors=2"), tmp_path, tcp_pair()) as session):
        session.begin("EHLO")
        assert codes_of(batch(session, NAMES)) == [250] + [550] * N + [503]
        session.expect((b"RSET", b"250 "), (b"NOOP", b"421 4.7.0 too many errors"))
        assert session.status() == 0
        up.wait_until_over()
        assert up.messages == []


def test_the_client_leaves_behind_its_batch(smtpd, tmp_path):
    with Upstream() as up, Session(proxy(smtpd, up), tmp_path, tcp_pair()) as session:
        session.begin("EHLO")
        session.say(b"MAIL FROM:<a@example.org>\r\n"
                    + b"".join(b"RCPT TO:<%s>\r\n" % name for name in NAMES)
                    + b"DATA\r\nSubject: x\r\n")
        session.ours.close()
        assert session.status() == 0
        up.wait_until_over()
        assert up.messages == [] and not re.search(rb"\r\nDATA\r\n", bytes(up.connections[0].raw))
