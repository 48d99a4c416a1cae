# SPDX-License-Identifier: MIT
"""Clients that vanish: what is printed then, and what the log says. Each test looks at both sides:
what the client was told, and what was printed."""

import os
import signal
import socket

import pytest
from bad_days import PRINTED_SMALL, SMALL, large
from session import PATIENCE, Session, codes, command, environment, reset, tcp_pair

GOLDEN = [  # what is said, and the code of the answer
    (b"EHLO client.example.org\r\n", 250),
    (b"MAIL FROM:<a@example.org> SIZE=50 BODY=8BITMIME\r\n", 250),
    (b"RCPT TO:<b@example.com>\r\n", 250),
    (b"RCPT TO:<c@example.com>\r\n", 250),
    (b"DATA\r\n", 354),
    (b"Subject: golden\r\n\r\n..\r\n.\r\n", 250),
    (b"QUIT\r\n", 221),
]
SCRIPT = b"".join(said for said, _ in GOLDEN)
COMPLETE = SCRIPT.index(b"QUIT")  # so many octets make a message
RECIPIENT_ACCEPTED = SCRIPT.index(b"RCPT TO:<c")


def play_until(session, cut):
    """The client's side, reading each reply, up to so many octets; the replies to whole commands
    are heard if another octet is to follow."""
    session.begin("greeting")
    for said, code in GOLDEN:
        part = said[:cut]
        session.say(part)
        cut -= len(part)
        if cut == 0:
            return
        assert session.reply()[:3] == b"%d" % code


def check_vanished(session, cut, peer, is_uncertain=False):
    """Afterwards: a message was printed if it was complete, and otherwise it is in the log that it
    was not."""
    whole = [b"Subject: golden\nX-Peer: %s\n\n.\n" % peer]
    assert session.status() == 0, cut
    messages, log = session.messages(), session.err()
    if is_uncertain:
        assert messages in ([], whole), cut
    else:
        assert messages == (whole if cut >= COMPLETE else []), cut
    is_abandoned = RECIPIENT_ACCEPTED < cut < COMPLETE
    assert (b"smtpd: abandoned " in log) == is_abandoned or is_uncertain or cut == RECIPIENT_ACCEPTED, (cut, log)
    assert log.count(b"smtpd: session ") == 1, (cut, log)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_vanishes_after_each_octet(release, tmp_path, how):
    for cut in range(len(SCRIPT) + 1):
        with Session(command(release), tmp_path, tcp_pair()) as session:
            play_until(session, cut)
            if how == "reset":
                reset(session.ours)
            else:
                session.ours.close()
            # after the final dot a reset may overtake what it follows
            check_vanished(session, cut, b"127.0.0.1", how == "reset" and cut == COMPLETE)


def test_client_ends_its_side_after_each_octet(release, tmp_path):
    """All at once, without waiting for replies, as from a pipe that ends."""
    expected = [220] + [code for _, code in GOLDEN]
    for cut in range(len(SCRIPT) + 1):
        with Session(command(release), tmp_path) as session:
            session.say(SCRIPT[:cut])
            session.ours.shutdown(socket.SHUT_WR)
            heard = codes(session.read_to_end())
            assert heard == expected[: 1 + SCRIPT[:cut].count(b"\r\n") - 3 * (cut >= COMPLETE)
                                     if cut >= COMPLETE
                                     else 1 + min(5, SCRIPT[:cut].count(b"\r\n"))], cut
            check_vanished(session, cut, b"local")


@pytest.mark.parametrize("how", ["close", "reset", "kill"])
def test_vanishing_in_a_large_message_leaves_nothing(smtpd, tmp_path, how):
    spool = tmp_path / "spool"
    spool.mkdir()
    with Session(command(smtpd), tmp_path, tcp_pair(),
                 env=environment(TMPDIR=str(spool))) as session:
        session.begin("DATA")
        session.say(large(3_000_000))
        if how == "kill":
            os.kill(session.pid, signal.SIGKILL)
            assert session.process.wait(PATIENCE) == -signal.SIGKILL
        else:
            reset(session.ours) if how == "reset" else session.ours.close()
            assert session.status() == 0
            assert b"smtpd: abandoned " in session.err()
        assert session.messages() == []
    assert os.listdir(spool) == []


def test_client_gone_before_the_verdict_is_logged(smtpd, tmp_path):
    """The message is printed, but the client will send it again (RFC 1047): the log says so."""
    with Session(command(smtpd), tmp_path) as session:
        session.begin("DATA")
        session.ours.shutdown(socket.SHUT_RD)  # whoever sends to us from now on gets EPIPE
        session.ours.send(SMALL + b".\r\n")
        assert session.status() == 0 and session.messages() == [PRINTED_SMALL]
        assert b"duplicate possible" in session.err()


def test_connection_lost_with_the_verdict_is_logged(smtpd, tmp_path):
    """The 250 went into the connection, but then that was reset."""
    with Session(command(smtpd), tmp_path, tcp_pair()) as session:
        session.begin("DATA")
        session.ours.send(SMALL + b".\r\n")
        session.wait_for([session.ours], [])  # it is there, and nobody reads it
        reset(session.ours)
        assert session.status() == 0 and len(session.messages()) == 1
        assert b"duplicate possible" in session.err()
