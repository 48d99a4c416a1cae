# SPDX-License-Identifier: MIT
"""What a client makes us cost others: connections to upstreams, and the time that they are held
open."""

import time

import pytest
from acceptor import Acceptor, folder  # noqa: F401
from proxy import SMALL, XCLIENT, proxy
from session import PATIENCE, Session, free_port, tcp_pair, wait_until
from upstream import EVERYTHING, Upstream, close, last, silent


def test_the_same_name_again(smtpd, tmp_path):
    """What the upstream was told by XCLIENT is still true."""
    with (Upstream(extensions=XCLIENT) as up,
          Session(proxy(smtpd, up, "--xclient=yes"), tmp_path, tcp_pair()) as session):
        session.expect((None, b"220 "))
        session.say(b"EHLO one\r\n" * 200)
        session.expect(*[(None, b"250-")] * 200)
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.end() == 0
        assert len(up.connections) == 1 and len(up.messages) == 1


def test_many_names(smtpd, tmp_path):
    with Upstream(extensions=XCLIENT) as up:
        with Session(proxy(smtpd, up, "--xclient=yes", "--max-commands=1000"), tmp_path,
                     tcp_pair()) as session:
            session.expect((None, b"220 "))
            for i in range(5):
                session.expect((b"EHLO name%d" % i, b"250-"))
            session.expect((b"MAIL FROM:<a@example.org>", b"250 "), (b"RSET", b"250 "))
            for i in range(5, 100):
                session.expect((b"EHLO name%d" % i, b"250-"))
            session.expect((b"MAIL FROM:<a@example.org>", b"451 4.7.0 "))
            assert session.end() == 0
        assert len(up.connections) == 5 and b"EHLO name4" in up.commands
        assert b"EHLO name5" not in up.commands


def test_names_without_xclient_cost_nothing(smtpd, tmp_path):
    with Upstream() as up, Session(proxy(smtpd, up), tmp_path) as session:
        session.expect((None, b"220 "))
        for i in range(50):
            session.expect((b"EHLO name%d" % i, b"250-"))
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.end() == 0 and len(up.connections) == 1


def test_a_dead_upstream_is_left_alone(smtpd, tmp_path):
    """For some seconds; and it is in the log once."""
    with (Upstream({"greeting": b"421 4.3.2 busy\r\n"}) as dead,
          Upstream({"MAIL": [None, b"421 4.3.2 bye\r\n"]}, {}) as up):
        with Session(proxy(smtpd, dead, up), tmp_path) as session:
            session.begin("EHLO")
            assert session.send_message(SMALL).startswith(b"250 ")
            assert session.send_message(SMALL).startswith(b"250 ")
            assert session.end() == 0
            log = session.err()
        assert len(dead.connections) == 1 and len(up.connections) == 2
        assert log.count(dead.endpoint.encode() + b" step=greeting") == 1, log


def test_all_are_dead(smtpd, tmp_path):
    """The client hears the reason each time, and they hear nothing."""
    with (Upstream({"greeting": b"421 4.3.2 busy\r\n"}) as first,
          Upstream({"greeting": b"554 5.3.2 not today\r\n"}) as second):
        with Session(proxy(smtpd, first, second), tmp_path) as session:
            session.begin("EHLO")
            for _ in range(20):
                session.expect((b"MAIL FROM:<a@example.org>", b"451 4.3.2 not today"),
                               (b"EHLO again", b"250-"))
            assert session.end() == 0
            assert session.err().count(b" step=greeting") == 2
        assert len(first.connections) == len(second.connections) == 1


def test_a_dead_upstream_comes_back(release, tmp_path):
    with (Upstream({"greeting": b"421 4.3.2 busy\r\n"}, {}) as up,
          Session(proxy(release, up), tmp_path) as session):
        session.begin("EHLO")
        session.deadline += 30
        for i in range(15):
            verdict = session.ask(b"MAIL FROM:<a@example.org>")
            if verdict.startswith(b"250 "):
                break
            time.sleep(1)
        assert i >= 5 and verdict.startswith(b"250 ")
        assert len(up.connections) == 2 and session.end() == 0


MAIL_ALONE = b"MAIL FROM:<a@example.org>\r\n"
NO_MESSAGE = MAIL_ALONE + b"RCPT TO:<b@example.com>\r\nRSET\r\n"
A_MESSAGE = MAIL_ALONE + b"RCPT TO:<b@example.com>\r\nDATA\r\n" + SMALL + b".\r\n"


@pytest.mark.parametrize(("step", "said"),
                         [("MAIL", MAIL_ALONE), ("RCPT", NO_MESSAGE), ("DATA", A_MESSAGE)])
@pytest.mark.parametrize("extensions", [EVERYTHING, ("SIZE", "8BITMIME")],
                         ids=["at once", "one by one"])
def test_who_goes_away_again_and_again_is_left_out(smtpd, tmp_path, step, said, extensions):
    """For some seconds: a client that does not give up costs no connection and no log line each
    time."""
    with Upstream({step: last(b"421 4.3.2 not now\r\n")}, extensions=extensions) as up:
        with Session(proxy(smtpd, up), tmp_path) as session:
            session.begin("EHLO")
            session.say(said)
            session.say((MAIL_ALONE + b"RSET\r\n") * 30 + b"QUIT\r\n")
            heard = session.read_to_end()
            assert session.status() == 0
        assert heard.count(b"451 4.3.2 not now\r\n") == 31
        assert len(up.connections) == 2
        assert session.err().count(b"smtpd: upstream ") == 2


def test_the_next_upstream_has_its_turn_after_that(smtpd, tmp_path):
    with Upstream({"MAIL": close}) as bad, Upstream({}) as good:
        with Session(proxy(smtpd, bad, good), tmp_path) as session:
            session.begin("EHLO")
            session.expect((b"MAIL FROM:<a@example.org>", b"451 "))
            assert session.send_message(SMALL).startswith(b"250 ")
            assert session.end() == 0
        assert len(bad.connections) == 2 and len(good.messages) == 1


def test_an_idle_upstream_is_let_go(release, tmp_path):
    """Where there is no transaction; and it is back for the next one."""
    with Upstream() as up, Session(proxy(release, up), tmp_path) as session:
        session.deadline += 60
        session.begin("EHLO")
        assert not up.connections[0].is_over
        wait_until(lambda: up.connections[0].is_over, "the end of the connection", 30)
        assert up.commands[-1] == b"QUIT"
        assert session.send_message(SMALL).startswith(b"250 ")
        session.expect((b"MAIL FROM:<a@example.org>", b"250 "))
        time.sleep(12)
        assert not up.connections[1].is_over
        assert session.end() == 0 and len(up.connections) == 2 and b" 4.4" not in session.err()


@pytest.mark.parametrize("options", [[], ["--timeout=5"]], ids=["", "short timeout"])
@pytest.mark.parametrize("said", [b"NOOP\r\n", b"N"], ids=["commands", "octets"])
def test_small_talk_does_not_hold_an_upstream(release, tmp_path, said, options):
    with Upstream() as up, Session(proxy(release, up, *options), tmp_path) as session:
        session.deadline += 60
        session.begin("EHLO")
        end = time.monotonic() + 10 + PATIENCE / 4
        while not up.connections[0].is_over and time.monotonic() < end:
            session.say(said)
            time.sleep(1)
        assert up.connections[0].commands[-1] == b"QUIT"
        session.say(b"\r\nQUIT\r\n")
        session.read_to_end()
        assert session.status() == 0


def test_a_client_may_be_silent_as_long_as_ever(release, tmp_path):
    with Upstream() as up, Session(proxy(release, up, "--timeout=12"), tmp_path) as session:
        session.begin("EHLO")
        then = time.monotonic()
        session.expect((None, b"421 4.4.2 "))
        assert 11 <= time.monotonic() - then <= 12 + PATIENCE / 4


def test_silence_at_rcpt_is_waited_for_once(smtpd, tmp_path):
    """Whoever does not answer is not asked again in this transaction."""
    with Upstream({"RCPT": silent}, {"RCPT": silent}, {"RCPT": silent}, {}) as up:
        with Session(proxy(smtpd, up, "--upstream-timeout=1"), tmp_path) as session:
            session.begin("MAIL")
            then = time.monotonic()
            for i in range(5):
                session.expect((b"RCPT TO:<%d@example.com>" % i, b"451 4.4.2 "))
            assert time.monotonic() - then < 3
            session.expect((b"RSET", b"250 "))
            assert session.end() == 0
        assert len(up.connections) == 1


@pytest.mark.parametrize("family", ["127.0.0.1", "[::1]", "localhost", "socket", "any"])
def test_a_loop(smtpd, folder, family):
    """An upstream that is this server: that is seen at once, not when all connections are taken."""
    port = free_port()
    where = f"{folder}/socket" if family == "socket" else f"{family}:{port}".replace("any",
                                                                                     "127.0.0.1")
    listen = {"any": f"0.0.0.0:{port}", "localhost": f"127.0.0.1:{port},[::1]:{port}"}.get(family,
                                                                                           where)
    with Acceptor(smtpd, folder, "--strategy=proxy", f"--upstream={where}", listen=listen,
                  prefix=["sh", "-c", 'umask 0; exec "$@"', "sh"]) as acceptor:
        with acceptor.client("EHLO") as client:
            client.expect((b"MAIL FROM:<a@example.org>", b"451 4.4.1 "), (b"QUIT", b"221 "))
        wait_until(lambda: acceptor.log("session") and not acceptor.sessions(),
                   "the end of the session")
        # by another address of ours it is seen the next time
        assert len(acceptor.log("session")) <= 4
        assert b'step=connect reason="a loop: it leads back to this server"' in acceptor.err()


def test_no_loop_through_another(smtpd, folder):
    """Two of us, one after the other, on one host under one name."""
    with Acceptor(smtpd, folder, "--strategy=print") as last:
        with (Acceptor(smtpd, folder, "--strategy=proxy", f"--upstream={last.address}") as first,
              first.client("EHLO") as client):
            assert client.send_message(SMALL).startswith(b"250 ")


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "RSET"])
def test_an_upstream_that_waits_for_a_message(smtpd, tmp_path, step):
    """354 to anything but DATA: what is said next may be taken for text. Nothing more is said over
    that connection."""
    with (Upstream({step: b"354 go on\r\n"}, extensions=["SIZE"]) as up,
          Session(proxy(smtpd, up), tmp_path) as session):
        session.begin("EHLO")
        first = session.ask(b"MAIL FROM:<a@example.org>")
        if step == "RCPT":
            first = session.ask(b"RCPT TO:<b@example.com>")
        if step == "RSET":
            session.expect((b"RCPT TO:<b@example.com>", b"250 "), (b"RSET", b"250 "))
            first = session.ask(b"MAIL FROM:<a@example.org>")
        assert first.startswith(b"451 4.5.0 " if step != "RSET" else b"451 "), first
        assert b"this reply does not fit the command" in session.err()
        wait_until(lambda: up.connections[0].is_over, "the end of that connection")
        assert up.connections[0].commands[-1].startswith(step.encode())
        assert session.end() == 0
