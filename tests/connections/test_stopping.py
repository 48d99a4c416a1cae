# SPDX-License-Identifier: MIT
"""How an acceptor ends: told to by a signal, with clients in each state, or because it was idle."""

import contextlib
import os
import signal
import time

import pytest
from accepting import MESSAGE, PRINTED, SHUTTING_DOWN, WHOLE_SESSION, halt, refusals, signals_of
from acceptor import Acceptor, connect, folder, is_refused, read_all
from session import wait_until, with_x_peer

_ = folder  # a fixture


def test_interrupt_from_the_terminal(smtpd, folder):
    """Ctrl-C is for the whole process group."""
    with Acceptor(smtpd, folder) as acceptor, acceptor.client("EHLO") as client:
        os.killpg(acceptor.pid, signal.SIGINT)
        assert client.reply() == SHUTTING_DOWN
        client.ours.close()
        assert acceptor.status() == 0


def test_interrupt_from_the_terminal_leaves_a_message_its_time(smtpd, folder):
    """As SIGTERM to the acceptor does; another Ctrl-C ends it."""
    with (Acceptor(smtpd, folder, "--stop-timeout=300") as acceptor,
          acceptor.client("DATA") as client, acceptor.client("DATA") as slow):
        os.killpg(acceptor.pid, signal.SIGINT)
        wait_until(lambda: acceptor.log("stopping"), "it to stop")
        client.say(MESSAGE + b".\r\n")
        assert client.reply() == b"250 2.0.0 printed"
        client.quit()
        os.killpg(acceptor.pid, signal.SIGINT)
        assert slow.reply() == SHUTTING_DOWN
        slow.ours.close()
        assert acceptor.status() == 0 and len(acceptor.messages()) == 1


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "{folder}/socket"], ids=["IPv4", "local"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_clients_do_not_hold_it_up(release, folder, listen, number):
    """One that keeps its connection open, and does not even read, has heard 421 at once. The
    quickest of some tries counts."""
    took = []
    while min(took, default=2) >= 1 and len(took) < 4:
        with (Acceptor(release, folder, listen=listen.format(folder=folder)) as acceptor,
              acceptor.client("EHLO") as client):
            then = time.monotonic()
            os.killpg(acceptor.pid, number)
            assert acceptor.status() == 0
            took.append(time.monotonic() - then)
            assert client.read_to_end() == SHUTTING_DOWN + b"\r\n"
    assert min(took) < 1


def test_goodbye_after_a_message_is_heard(release, folder):
    """A client that was told the verdict when the order to stop came is about to say QUIT. It may
    not begin another message."""
    with (Acceptor(release, folder) as acceptor, acceptor.client("EHLO") as polite,
          acceptor.client("EHLO") as greedy):
        for client in (polite, greedy):
            assert client.send_message(MESSAGE).startswith(b"250 ")
        acceptor.signal(signal.SIGTERM)
        wait_until(lambda: acceptor.log("stopping"), "it to stop")
        polite.quit()
        greedy.expect((b"RSET", b"250 "), (b"MAIL FROM:<a@example.org>", SHUTTING_DOWN))
        assert greedy.read_to_end() == b""
        assert acceptor.status() == 0 and len(acceptor.messages()) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_acceptor_ends_at_once(smtpd, folder, number):
    with Acceptor(smtpd, folder) as acceptor:
        then = time.monotonic()
        acceptor.signal(number)
        assert acceptor.status() == 0 and time.monotonic() - then < 5


def test_sessions_may_go_on_for_a_while(smtpd, folder):
    """Nobody new is accepted, and the last one's end is the end."""
    with (Acceptor(smtpd, folder, "--stop-timeout=300") as acceptor,
          acceptor.client("DATA") as client):
        acceptor.signal(signal.SIGTERM)
        wait_until(lambda: acceptor.log("stopping"), "it to stop")
        assert is_refused(acceptor.address)
        assert acceptor.log("stopping") == [b"stopping: 1 session has 300 seconds to end"]
        client.say(MESSAGE + b".\r\n")
        assert client.reply() == b"250 2.0.0 printed"
        assert client.reply() == SHUTTING_DOWN
        client.ours.close()
        assert acceptor.status() == 0
        assert acceptor.messages() == [with_x_peer(PRINTED, "127.0.0.1")]


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "{folder}/socket"], ids=["IPv4", "local"])
def test_clients_in_the_queue_are_told(smtpd, folder, listen):
    """Whoever has connected and not been accepted when we stop; also one that has said all it has
    to say already."""
    with Acceptor(smtpd, folder, listen=listen.format(folder=folder)) as acceptor:
        halt(acceptor)
        with contextlib.ExitStack() as stack:
            waiting = [stack.enter_context(connect(acceptor.address)) for _ in range(30)]
            for client in waiting[::2]:
                client.sendall(WHOLE_SESSION)
            acceptor.signal(signal.SIGTERM)
            acceptor.signal(signal.SIGCONT)
            told = b"421 4.3.2 service is shutting down, try again later\r\n"
            assert [read_all(client) for client in waiting] == [told] * 30
        assert acceptor.status() == 0 and acceptor.messages() == []
        assert sum(n for reason, n in refusals(acceptor) if reason == "stopping") >= 1


def test_stop_timeout(smtpd, folder):
    with Acceptor(smtpd, folder, "--stop-timeout=1") as acceptor, acceptor.client("DATA") as client:
        then = time.monotonic()
        acceptor.signal(signal.SIGTERM)
        assert client.reply() == SHUTTING_DOWN
        assert 0.9 < time.monotonic() - then < 6
        client.ours.close()
        assert acceptor.status() == 0 and acceptor.messages() == []


def test_second_signal_hurries(smtpd, folder):
    with (Acceptor(smtpd, folder, "--stop-timeout=300") as acceptor,
          acceptor.client("DATA") as client):
        acceptor.signal(signal.SIGTERM)
        wait_until(lambda: acceptor.log("stopping"), "it to stop")
        acceptor.signal(signal.SIGTERM)
        assert client.reply() == SHUTTING_DOWN
        client.ours.close()
        assert acceptor.status() == 0


def test_message_in_delivery_has_its_verdict(smtpd, folder):
    """Whatever signals come meanwhile, within stop-timeout."""
    os.mkfifo(folder / "fifo")
    os.chmod(folder / "fifo", 0o666)
    script = folder / "deliver"
    script.write_text(f"#!/bin/sh\ncat >/dev/null; : >{folder}/started; cat {folder}/fifo\n")
    script.chmod(0o755)
    with Acceptor(smtpd, folder, "--strategy=exec", f"--command={script}",
                  "--stop-timeout=30") as acceptor:
        with acceptor.client("DATA") as client:
            client.say(MESSAGE + b".\r\n")
            wait_until((folder / "started").exists, "the program")
            for _ in range(3):
                acceptor.signal(signal.SIGTERM)
                time.sleep(0.5)
            assert acceptor.process.poll() is None
            # fails if the program is gone
            fifo = os.open(folder / "fifo", os.O_WRONLY | os.O_NONBLOCK)
            os.write(fifo, b"250 2.0.0 in the end\n")
            os.close(fifo)
            assert client.reply() == b"250 2.0.0 in the end"
            assert client.reply() == SHUTTING_DOWN
            client.ours.close()
            assert acceptor.status() == 0


def test_signal_before_it_listens(smtpd, folder):
    """At whatever moment it comes, that is no accident."""
    for delay in range(10):
        with Acceptor(smtpd, folder, wait=False) as acceptor:
            wait_until(lambda: signal.SIGTERM in signals_of(acceptor.pid)["SigBlk"],
                       "it to take signals")
            time.sleep(delay / 1000)
            acceptor.signal(signal.SIGTERM)
            assert acceptor.status() == 0


def test_exit_idle_time(smtpd, folder):
    """It counts from the last session's end."""
    with Acceptor(smtpd, folder, "--exit-idle-time=1") as acceptor:
        with acceptor.client("EHLO") as client:
            time.sleep(1.5)
            assert client.send_message(MESSAGE).startswith(b"250 ")
            then = time.monotonic()
            client.quit()
        assert acceptor.status() == 0 and 0.5 < time.monotonic() - then < 6
        assert b"idle for 1 second: exiting" in acceptor.err()
