# SPDX-License-Identifier: MIT
"""Hostile clients by the hundred: honest ones are served meanwhile, memory and processes stay
within their bounds, every session ends in bounded time, and nothing is delivered that no client has
completed.

The hostile come from 127.0.0.1 and the honest from 127.0.0.2. Both are in this process: neither
needs much of a processor."""

import contextlib
import random
import re
import resource
import signal
import socket
import time

import pytest
from acceptor import folder
from conftest import missing
from processes import children
from session import codes, replies, reset, wait_until
from siege import SLACK, Honest, connect, siege

_ = folder  # a fixture

DEAF = b"the client does not read our replies"
ENVELOPE = b"EHLO hostile\r\nMAIL FROM:<hostile@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
MILLION = 1_000_000
TCP_REPAIR = 19  # linux/tcp.h

PROGRAM = """
case $SMTPD_MAIL_FROM in
hostile*) exec sleep 600 ;;
esac
cat >"{folder}/new.$SMTPD_ID" && mv "{folder}/new.$SMTPD_ID" "{folder}/message.$SMTPD_ID"
"""


@pytest.fixture(autouse=True)
def room_for_descriptors():
    """Thousands of connections need more of them than a login has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(hard, 8192)
    if wanted < 4096:
        missing("this needs 4,096 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def vanish(sock):
    """As if the cable had been cut: the other side is not told. (What it says later meets
    nobody.)"""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    except OSError as error:
        missing(f"a connection cannot be left half-open: {error}")
    sock.close()


# --- slow and silent ------------------------------------------------------------------------------


def test_an_octet_each_second(release, folder):
    """500 that never come to the end of a line, half of them in a message: only the time for a
    whole session ends them."""
    with siege(release, folder) as s:
        s.add(250, b"NOOP ")
        s.add(250, ENVELOPE)
        s.hold_until_all_are_over(4, drip=b"x")
        assert s.n_peak >= 250
        for peer in s.hostile:
            assert b"\r\n421 4.4.2 " in peer.heard and replies(peer.heard)[-1][0] == 421


def test_replies_are_never_read(release, folder):
    """500 that go on asking."""
    with siege(release, folder, "--max-commands=1000000") as s:
        s.add(250, b"EHLO deaf\r\n", endless=b"NOOP\r\n" * 2000, is_deaf=True)
        s.add(250, b"EHLO deaf\r\n", endless=b"EHLO deaf\r\n" * 1000, is_deaf=True)
        s.hold_until_alone(4)

        def lines():
            return [line for line in s.acceptor.log("session") if line.endswith(b" helo=deaf")]

        # the one left may have been of them
        wait_until(lambda: len(lines()) >= 500, "the last one")
        ends = [re.search(rb' end="([^"]*)"', line)[1] for line in lines()]
        assert len(ends) == 500
        assert set(ends) <= {DEAF, b"421 the session took too long, closing connection"}
        assert ends.count(DEAF) >= 400


def test_replies_wait_in_bounded_memory(release, folder):
    """The kernel's memory, too: it keeps some replies for a client that does not read them, and not
    megabytes."""
    with (siege(release, folder, "--max-commands=1000000") as s,
          connect(s.address, "127.0.0.1") as sock):
        sock.settimeout(0.5)
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(b"NOOP\r\n" * 10_000)
        (line,) = wait_until(lambda: [line for line in s.acceptor.log("session") if DEAF in line],
                             "its end")
        n_answered = int(re.search(rb" commands=(\d+)", line)[1])
        assert n_answered * len(b"250 2.0.0 OK\r\n") < MILLION


def test_silent_and_vanished(release, folder):
    """They say nothing; they stop in the middle of everything; some are cut off without a word."""
    parts = [b"", b"EH", b"EHLO silent\r\n", ENVELOPE, ENVELOPE + b"Subject: half\r\n\r\nhalf",
             ENVELOPE + b"all of it, but\r\n."]
    with siege(release, folder) as s:
        s.add(300, lambda i: parts[i % len(parts)])
        for i in range(60):
            sock = connect(s.address, "127.0.0.1")
            sock.sendall(parts[i % len(parts)])
            vanish(sock)
        s.hold_until_all_are_over(2)
        for peer in s.hostile:
            assert b"421 4.4.2 timeout" in peer.heard and replies(peer.heard)[-1][0] == 421
        s.hold_until_alone(2)


def test_gone_at_once(release, folder):
    """With a reset, with an end, before or after half a message."""
    half = ENVELOPE + b"half a message\r\n"
    with siege(release, folder, "--timeout=10", "--session-timeout=20") as s:
        for i in range(400):
            sock = connect(s.address, "127.0.0.1")
            if i % 4 < 2:
                sock.sendall(half)
            # that is a reset too, where something is left unread
            reset(sock) if i % 2 else sock.close()
            if i % 20 == 0:
                s.hold(0.02)
        crowd = s.add(100, half)
        assert s.hold(SLACK, lambda: all(b"\r\n354 " in peer.heard for peer in crowd))
        for peer in crowd:
            peer.sock.shutdown(socket.SHUT_WR)
        s.hold_until_all_are_over(0)
        assert all(replies(peer.heard)[-1][0] == 354 for peer in crowd)
        s.hold_until_alone(2)


# --- floods ---------------------------------------------------------------------------------------


def test_ten_thousand_commands_at_once(release, folder):
    """The commands that count are answered, and then it is enough."""
    with siege(release, folder) as s:
        patient = s.add(25, b"NOOP\r\n" * 10_000)
        wrong = s.add(25, b"FROB\r\n" * 10_000)
        s.hold_until_all_are_over(4)
        for crowd, expected in ((patient, [220] + [250] * 1000 + [421]),
                                (wrong, [220] + [500] * 20 + [421])):
            for peer in crowd:
                assert codes(peer.heard) == expected and b"\r\n421 4.7.0 too many " in peer.heard


def test_hundred_thousand_recipients_from_a_hostile_client(release, folder):
    """One message for the first hundred of them."""
    n = 100_000
    with siege(release, folder, "--max-commands=200000", "--timeout=20",
               "--session-timeout=60") as s:
        recipients = b"".join(b"RCPT TO:<r%d@example.com>\r\n" % i for i in range(n))
        (peer,) = s.add(1,
                        ENVELOPE.split(b"RCPT")[0] + recipients
                        + b"DATA\r\nSubject: many\r\n\r\n.\r\nNOOP\r\n")
        assert s.hold(20, lambda: peer.heard.endswith(b"\r\n250 2.0.0 OK\r\n"))
        s.look()  # while it is there
        assert codes(peer.heard) == [220] + [250] * 102 + [452] * (n - 100) + [354, 250, 250]
        assert peer.heard.count(b"\r\n452 4.5.3 ") == n - 100
        s.n_more_messages = 1
        assert [line for line in s.acceptor.log("message") if b" recipients=100 " in line]
        s.say(peer, b"QUIT\r\n")
        s.hold_until_all_are_over(2)


ENDLESS = {
    "command": (b"EHLO endless\r\n", b"NOOP " + b"x" * MILLION, 100, b"\r\n",
                b"500 5.5.2 line too long"),
    "header-line": (ENVELOPE, b"x" * MILLION, 100, b"\r\n.\r\n", None),
    "header-lines": (ENVELOPE, b"X-Endless: yes\r\n" * 10_000, 100, b".\r\n", None),
    "dots": (ENVELOPE, b"..\r\n" * 100_000, 10, b".\r\n", None),
}


@pytest.mark.parametrize("max_size, verdict",
                         [("200M", b"250 2.0.0 printed"), ("1M", b"552 5.3.4 ")],
                         ids=["within", "beyond"])
def test_endless(release, folder, max_size, verdict):
    """A line of 100 MB, a million lines: memory is that of an idle session, whether the message is
    taken or not."""
    with siege(release, folder, f"--max-size={max_size}", "--timeout=20",
               "--session-timeout=60") as s:
        for name, (before, part, n, end, own_verdict) in ENDLESS.items():
            with connect(s.address, "127.0.0.1") as sock:
                sock.sendall(before)
                for _ in range(n):
                    sock.sendall(part)
                sock.sendall(end + b"NOOP\r\n")
                heard = b""
                while not heard.endswith(b"\r\n250 2.0.0 OK\r\n"):
                    assert (chunk := sock.recv(1 << 16)), (name, heard)
                    heard += chunk
                s.look()  # its peak: it is still there
                assert (own_verdict or verdict) in heard, (name, heard)
                s.n_more_messages += not own_verdict and verdict.startswith(b"250")


# --- no SMTP --------------------------------------------------------------------------------------


NO_SMTP = {
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,
            b"554 5.5.1 this is SMTP without TLS"),
    "HTTP": (b"POST / HTTP/1.1\r\nHost: mx\r\n\r\n" + ENVELOPE + b"smuggled\r\n.\r\n",
             b"554 5.5.1 this is SMTP, not HTTP"),
    "NUL": (b"\0" * MILLION + b"\r\n", b"500 5.5.2 "),
    "NULs": (b"\0\r\n" * 1000, b"421 4.7.0 too many errors"),
    "LF": (b"\n" * MILLION, b"554 5.5.2 bare LF"),
    "CR": (b"\r" * MILLION, b"554 5.5.2 bare CR"),
    "LF-in-DATA": (ENVELOPE + b"\n" * MILLION, b"554 5.5.2 bare LF"),
    "smuggling": (ENVELOPE + b"one\n.\n" + ENVELOPE + b"two\r\n.\r\n", b"554 5.5.2 bare LF"),
    "BDAT": (ENVELOPE[:-6] + b"BDAT -1\r\n" + ENVELOPE + b"two\r\n.\r\n",
             b"501 5.5.4 syntax: BDAT"),
}


def test_no_smtp(release, folder):
    """What others speak, noise, and octets that have no place: a refusal arrives, and nothing of it
    runs."""
    noise = random.Random(1)
    with siege(release, folder) as s:
        crowds = [(s.add(20, says), verdict) for says, verdict in NO_SMTP.values()]
        s.add(50, lambda _: noise.randbytes(200_000))
        s.hold_until_all_are_over(4)
        for crowd, verdict in crowds:
            for peer in crowd:
                assert b"\r\n" + verdict in peer.heard, (verdict, peer.heard[-300:])
                replies(peer.heard)
        for peer in s.hostile:
            assert b" 354 " not in peer.heard[-300:] and replies(peer.heard)[0][0] == 220


def test_endless_noise_after_the_end(release, folder):
    """Those that never read, and go on sending after their session is over, are heard out for a
    bounded time."""
    floods = [b"\n" * 65536, b"\0" * 65536, b"GET / HTTP/1.1\r\n" * 4096, b"QUIT\r\n" * 10_000,
              b"x" * 65536]
    with siege(release, folder) as s:
        for flood in floods:
            s.add(8, endless=flood, is_deaf=True)
            s.add(8, endless=flood)
        s.hold_until_all_are_over(4 + 2)
        s.hold_until_alone(4 + 2)


# --- too many -------------------------------------------------------------------------------------


def test_connections_beyond_the_limit_of_a_source(release, folder):
    """1,500 from one address are its own loss."""
    with siege(release, folder, "--max-connections-per-source=100") as s:
        s.add(1500, ENVELOPE)
        s.hold_until_all_are_over(4)
        refused = [peer for peer in s.hostile
                   if peer.heard.startswith(b"421 4.7.0 too many connections from you")]
        assert len(refused) >= 1000 and s.n_peak <= 100 + 1
        for peer in s.hostile:
            assert peer in refused or b"\r\n421 4.4.2 " in peer.heard, peer.heard


def test_connections_beyond_the_limit(release, folder):
    """They have all that there is; those after them are told so at once, and in time there is room
    again."""
    with siege(release, folder, "--max-connections=100") as s:
        s.honest.stop()  # it would be refused, too
        wait_until(lambda: not children(s.acceptor.pid), "the end of its session")
        begun = time.monotonic()
        s.add(400)
        assert s.hold(SLACK, lambda: sum(peer.is_over for peer in s.hostile) >= 300)
        refused = [peer for peer in s.hostile
                   if peer.heard.startswith(b"421 4.7.0 too many connections, ")]
        assert len(refused) == 300 or time.monotonic() - begun > 2
        s.hold_until_all_are_over(2)
        assert s.n_peak <= 100
        s.hold_until_alone(2)
        done, s.honest = s.honest, Honest(s.address)
        s.honest.messages += done.messages
        s.honest.start()
        assert s.hold(SLACK,
                      lambda: len(s.honest.messages) >= len(done.messages) + 3 or s.honest.failure)


def test_stop_among_them(release, folder):
    """They do not keep it from ending, neither those that flood nor those that do not listen; those
    that do hear why."""
    with siege(release, folder, "--stop-timeout=1", "--timeout=20", "--session-timeout=60",
               "--max-commands=1000000") as s:
        quiet = s.add(100, ENVELOPE + b"half")
        assert s.hold(SLACK, lambda: len(s.honest.messages) >= 3)
        s.honest.stop()
        s.add(20, endless=b"NOOP\r\n" * 1000)
        s.add(20, ENVELOPE, endless=b"x" * 100 + b"\r\n")
        s.add(100, endless=b"EHLO deaf\r\n" * 1000, is_deaf=True)
        assert s.hold(SLACK, lambda: all(b"\r\n354 " in peer.heard for peer in quiet))
        s.acceptor.signal(signal.SIGTERM)
        assert s.hold(1 + 2 + SLACK, lambda: s.acceptor.process.poll() is not None,
                      is_look_wanted=False), "it does not end"
        assert s.acceptor.status() == 0
        assert s.hold(SLACK, lambda: all(peer.is_over for peer in quiet), is_look_wanted=False)
        for peer in quiet:
            assert b"\r\n421 4.3.2 " in peer.heard


# --- programs -------------------------------------------------------------------------------------


def test_programs_that_take_their_time(release, folder):
    """As many run as one source has connections, and no longer than the timeout."""
    (folder / "program").write_text(PROGRAM.format(folder=folder))
    options = ["--strategy=exec", f"--command=/bin/sh {folder}/program",
               "--max-connections-per-source=60", "--session-timeout=8"]
    with siege(release, folder, *options, mailbox=folder) as s:
        s.add(300, ENVELOPE + b"Subject: slow\r\n\r\n.\r\nNOOP\r\n")
        deadline = time.monotonic() + 8 + SLACK
        while not all(peer.is_over for peer in s.hostile):
            assert time.monotonic() < deadline, "some sessions do not end"
            s.hold(0.2)
            s.look_at_programs()
        assert 30 <= s.n_programs <= 60 + 1 and s.n_peak <= 60 + 1
        served = [peer for peer in s.hostile if b"\r\n354 " in peer.heard]
        assert len(served) >= 60
        for peer in s.hostile:
            assert (b"\r\n451 4.3.0 " if peer in served
                    else b"421 4.7.0 too many connections from you") in peer.heard, peer.heard


def test_no_program_is_run_for_the_hostile(release, folder):
    """All of them together: nobody completes a message."""
    (folder / "program").write_text(PROGRAM.format(folder=folder))
    options = ["--strategy=exec", f"--command=/bin/sh {folder}/program"]
    with siege(release, folder, *options, mailbox=folder) as s:
        s.add(100, ENVELOPE + b"drip")
        s.add(100, endless=b"EHLO deaf\r\n" * 100, is_deaf=True)
        for says, _ in NO_SMTP.values():
            s.add(10, says)
        s.hold_until_all_are_over(4, drip=b"x")
        s.hold_until_alone(4)
        assert not [line for line in s.acceptor.log("message") if b"hostile" in line]
