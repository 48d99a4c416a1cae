# SPDX-License-Identifier: MIT
"""How a session with TLS ends, and what the log says of a 250 that was on its way."""

import socket
import time

import pytest
from engine import Engine, Secure
from session import PATIENCE, command, reset, tcp_pair, wait_until
from tls_session import SMALL, TRANSACTION, end_of, tls_session, warnings


def secured(smtpd, tmp_path, engine, *options, pair=None):
    session = tls_session(smtpd, tmp_path, engine, *options, pair=pair)
    session.begin("EHLO")
    session.start_tls()
    session.expect((b"EHLO client.example.org", b"250-"))
    return session


def test_stop(smtpd, tmp_path):
    """421 through TLS, and its farewell."""
    with Engine(tmp_path) as engine, secured(smtpd, tmp_path, engine) as session:
        session.process.terminate()
        assert session.reply().startswith(b"421 4.3.2 ")
        assert session.read_to_end() == b"" and session.status() == 0
        assert end_of(session).startswith(b"421 ")


def test_client_closes(smtpd, tmp_path):
    """By TLS's rules, or only the connection: both have closed it."""
    for is_polite in (True, False):
        folder = tmp_path / str(is_polite)
        folder.mkdir()
        with Engine(folder) as engine, secured(smtpd, folder, engine) as session:
            if is_polite:
                session.ours.settimeout(PATIENCE)
                session.ours.unwrap().close()
            else:
                session.ours.close()
            assert session.status() == 0 and end_of(session) == b"the client closed the connection"


@pytest.mark.parametrize("stage", ["EHLO", "DATA", "content"])
def test_engine_dies(smtpd, tmp_path, stage):
    """As if the connection had been lost: nothing is delivered."""
    with Engine(tmp_path) as engine, tls_session(smtpd, tmp_path, engine) as session:
        session.begin("EHLO")
        session.start_tls()
        session.expect((b"EHLO client.example.org", b"250-"))
        if stage != "EHLO":
            session.expect(*TRANSACTION)
        if stage == "content":
            session.say(b"Subject: x\r\n\r\nhalf")
            time.sleep(0.1)
        engine.relays[0].clear_in.shutdown(socket.SHUT_RDWR)
        engine.relays[0].close()
        assert session.status() == 0 and end_of(session) == b"the connection was lost"
        assert session.messages() == [] and warnings(session) == []


def test_engine_dies_with_a_250(smtpd, tmp_path):
    """Which the client has not heard: it may send the message again."""
    with Engine(tmp_path) as engine, secured(smtpd, tmp_path, engine) as session:
        session.expect(*TRANSACTION)
        relay = engine.relays[0]
        relay.is_stuck = True
        session.say(SMALL + b".\r\n")
        wait_until(lambda: b"smtpd: message " in session.err(), "the message")
        relay.clear_in.shutdown(socket.SHUT_RDWR)
        relay.close()
        assert session.status() == 0 and end_of(session) == b"the connection was lost"
        (warning,) = warnings(session)
        assert b" recipients=1 to=<b@example.com>" in warning and len(session.messages()) == 1


def test_client_hears_the_250(smtpd, tmp_path):
    """And leaves without a word."""
    with Engine(tmp_path) as engine, secured(smtpd, tmp_path, engine) as session:
        assert session.send_message(SMALL).startswith(b"250 ")
        session.ours.close()
        assert session.status() == 0 and warnings(session) == []


def narrow_pair():
    """The client's kernel takes little."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        ours = socket.socket()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ours.connect(listener.getsockname())
        return ours, listener.accept()[0]


@pytest.mark.parametrize("n", [0, 3000])
def test_client_stops_reading_and_resets(smtpd, tmp_path, n):
    """Its kernel has the 250, or not even that: nobody knows, and the message may come again."""
    options = ["--max-commands=1000000"]
    with Engine(tmp_path) as engine, secured(
            smtpd, tmp_path, engine, *options, pair=narrow_pair()) as session:
        transaction = b"".join(line + b"\r\n" for line, _ in TRANSACTION)
        session.ours.settimeout(PATIENCE)
        session.ours.sendall(b"NOOP\r\n" * n + transaction + SMALL + b".\r\n")
        wait_until(lambda: b"smtpd: message " in session.err(), "the message")
        time.sleep(0.1)
        reset(session.ours)
        assert session.status() == 0
        assert end_of(session) in (b"the connection was lost", b"the client is gone")
        (warning,) = warnings(session)
        assert b" recipients=1 to=<b@example.com>" in warning


@pytest.mark.parametrize("where", ["engine", "client", "nowhere"])
def test_stop_with_a_250_on_its_way(smtpd, tmp_path, where):
    """Before the engine, which takes nothing; or after it, before a client that reads nothing."""
    n = 3000 if where == "client" else 0
    options = ["--max-commands=1000000"]
    transaction = b"".join(line + b"\r\n" for line, _ in TRANSACTION)
    with Engine(tmp_path) as engine, secured(
            smtpd, tmp_path, engine, *options, pair=narrow_pair()) as session:
        session.ours.settimeout(PATIENCE)
        session.ours.sendall(b"NOOP\r\n" * n + transaction)
        if where == "engine":
            session.expect((None, b"250 "), (None, b"250 "), (None, b"354 "))
            engine.relays[0].is_stuck = True
            time.sleep(0.2)
        session.ours.sendall(SMALL + b".\r\n")
        wait_until(lambda: b"smtpd: message " in session.err(), "the message")
        time.sleep(0.1)
        session.process.terminate()
        if where == "nowhere":
            session.ours.setblocking(False)
            session.read_to_end()
        assert session.status() == 0
        assert len(warnings(session)) == (where != "nowhere") and len(session.messages()) == 1


def test_end_does_not_wait_for_an_engine_that_hangs(smtpd, tmp_path):
    """But two seconds."""
    def hangs(relay):
        relay.farewell = lambda: time.sleep(6)
        relay.speak()

    with Engine(tmp_path, hangs) as engine, tls_session(smtpd, tmp_path, engine) as session:
        session.begin("EHLO")
        session.start_tls()
        session.expect((b"EHLO client.example.org", b"250-"), (b"QUIT", b"221 "))
        started = time.monotonic()
        assert session.status() == 0
        assert 1.5 < time.monotonic() - started < 5


def test_implicit_hears_nothing_in_clear(smtpd, tmp_path):
    """Of a server that cannot serve: 421 would be noise to a client that waits for TLS."""
    argv = [*command(smtpd), "--tls=implicit", f"--tls-engine={tmp_path}/engine", "--max-size=much"]
    with Secure(argv, tmp_path, tcp_pair()) as session:
        assert session.read_to_end() == b""
        assert session.process.wait(PATIENCE) == 64
