# SPDX-License-Identifier: MIT
"""TLS, as the session has it (src/tls.c), without an engine, and with engines and clients that do
wrong."""

import re
import shutil
import subprocess
import time

import pytest
from engine import Engine, Secure, make_certificate
from session import PATIENCE, command, environment, reset, tcp_pair, wait_until
from tls_session import deliver, end_of, session_line, tls_session

# --- there is no engine --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["starttls", "required"])
def test_no_engine(smtpd, tmp_path, mode):
    """454, and the session goes on in clear."""
    options = [f"--tls={mode}", "--tls-engine=/nonexistent/engine"]
    with Secure(command(smtpd, *options), tmp_path, tcp_pair()) as session:
        session.begin("EHLO")
        for _ in range(2):
            session.expect((b"STARTTLS", b"454 4.7.0 TLS is not available, try again later"))
        why = b"cannot connect to tls-engine=/nonexistent/engine: No such file or directory"
        assert session.err() == 2 * (b"smtpd: cannot start TLS: " + why + b"\n")
        if mode == "required":
            session.expect((b"MAIL FROM:<a@example.org>", b"530 "))
            assert session.end() == 0
        else:
            deliver(session)


def test_no_engine_from_the_first_octet_on(smtpd, tmp_path):
    options = ["--tls=implicit", "--tls-engine=/nonexistent/engine"]
    with Secure(command(smtpd, *options), tmp_path, tcp_pair()) as session:
        assert session.read_to_end() == b"" and session.status() == 0
        assert end_of(session) == b"no TLS: there is no engine"


def test_engine_that_has_ended(smtpd, tmp_path):
    """Between the beginning of the session and STARTTLS."""
    with Engine(tmp_path) as engine:
        engine.serve = lambda requests: requests.close()
        with tls_session(smtpd, tmp_path, engine) as session:
            session.begin("EHLO")
            wait_until(lambda: engine.accepted, "the session")
            time.sleep(0.1)
            session.expect((b"STARTTLS", b"454 4.7.0 "), (b"STARTTLS", b"454 4.7.0 "))
            assert session.err() == (b"smtpd: cannot ask the TLS engine: Broken pipe\n"
                                     b"smtpd: cannot start TLS: it failed before\n")
            deliver(session)


def test_no_helper(release, tmp_path):
    """That the broker could start."""
    copy, certificate = shutil.copy(release, tmp_path), make_certificate(tmp_path)
    (tmp_path / "smtpd-tls").write_text("no program")
    (tmp_path / "smtpd-tls").chmod(0o755)
    with Secure(command(copy, f"--tls-certificate={certificate}"), tmp_path, tcp_pair()) as session:
        session.begin("EHLO")
        for _ in range(2):
            session.expect((b"STARTTLS", b"454 4.7.0 "))
        assert re.match(rb"smtpd: cannot run \S+/smtpd-tls: Exec format error ", session.err())
        deliver(session)


def test_a_pipe_is_no_connection(smtpd, tmp_path):
    streams = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.PIPE)
    env = environment(REMOTE_ADDR="192.0.2.1")
    with Engine(tmp_path) as engine, subprocess.Popen(
            command(smtpd, *engine.options()), env=env, **streams) as process:
        process.stdin.write(b"EHLO c\r\nSTARTTLS\r\n")
        process.stdin.flush()
        while not (line := process.stdout.readline()).startswith(b"454 4.7.0 "):
            assert line
        out, err = process.communicate(b"QUIT\r\n", PATIENCE)
        assert out.startswith(b"221 ") and b"cannot start TLS: the connection is not a socket\n" in err


# --- engines that do wrong -----------------------------------------------------------------------


def dies_at_once(relay):
    relay.close()


def dies_after_handshake(relay):
    relay.handshake()
    relay.close()


def says_half(relay):
    relay.handshake()
    relay.control.sendall(b"SSL_PROTOCOL=TLSv1.3\0SSL_CIPHER=x\0")
    relay.close()


def says_too_much(relay):
    relay.handshake()
    relay.control.sendall(b"X" * 4096)
    relay.clear_in.recv(1)
    relay.close()


def says_far_too_much(relay):
    relay.handshake()
    try:
        while True:
            relay.control.sendall(b"A=B\0" * 1000)
    except OSError:
        relay.close()


def says_why(relay):
    relay.connection.recv(1)
    relay.control.sendall(b"TLS_ERROR=the \xfframpart \n is lost\0")
    relay.close()


def is_silent(relay):
    relay.handshake()
    relay.clear_in.recv(1)
    relay.close()


BAD = {
    "dies-at-once": (dies_at_once, b"the handshake failed"),
    "dies-after-the-handshake": (dies_after_handshake, b"the handshake failed"),
    "says-half": (says_half, b"the handshake failed"),
    "says-too-much": (says_too_much, b"the engine's answer is too long"),
    "says-far-too-much": (says_far_too_much, b"the engine's answer is too long"),
    "says-why": (says_why, b"the ?rampart ? is lost"),
    "is-silent": (is_silent, b"the handshake took too long"),
}


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
@pytest.mark.parametrize("name", BAD)
def test_bad_engine(smtpd, tmp_path, name, mode):
    """The session ends, and says why; nothing more is said to the client."""
    speak, why = BAD[name]
    with Engine(tmp_path, speak) as engine, tls_session(
            smtpd, tmp_path, engine, "--timeout=1", mode=mode) as session:
        if mode == "starttls":
            session.begin("EHLO")
            session.expect((b"STARTTLS", b"220 "))
        try:
            session.handshake()
            assert session.read_to_end() == b""
        except OSError:  # it is not there any more
            session.ours.close()
        assert session.status() == 0 and end_of(session) == b"no TLS: " + why


@pytest.mark.parametrize("answer", [
    b"\0", b"\0\0", b"A=B\0\0", b"A=B\0\0and more", b"A=" + b"B" * 4091 + b"\0\0",
], ids=["nul", "two", "little", "more", "4095"])
def test_strange_answers(smtpd, tmp_path, answer):
    """Engines of others need not say much."""
    def speak(relay):
        relay.answer = lambda: relay.control.sendall(answer)
        relay.speak()

    with Engine(tmp_path, speak) as engine, tls_session(smtpd, tmp_path, engine) as session:
        session.begin("EHLO")
        session.start_tls()
        session.expect((b"EHLO client.example.org", b"250-"))
        deliver(session)
        assert b" protocol=ESMTPS tls=TLS " in session_line(session)


@pytest.mark.parametrize("how", [
    "leaves", "resets", "says-nothing", "says-nonsense", "speaks-smtp"])
def test_client_in_the_handshake(smtpd, tmp_path, how):
    with Engine(tmp_path) as engine, tls_session(smtpd, tmp_path, engine, "--timeout=1") as session:
        session.begin("EHLO")
        session.expect((b"STARTTLS", b"220 "))
        if how == "resets":
            reset(session.ours)
        elif how == "says-nonsense":
            session.say(b"\x16\x03\x01\xff\xff" + b"x" * 1000)
        elif how == "speaks-smtp":
            session.say(b"EHLO client.example.org\r\nMAIL FROM:<a@example.org>\r\n")
        elif how == "leaves":
            session.ours.close()
        assert session.status() == 0 and end_of(session).startswith(b"no TLS: ")
        assert b" messages=0 " in session_line(session)


def test_stop_in_the_handshake(smtpd, tmp_path):
    with Engine(tmp_path, is_silent) as engine, tls_session(smtpd, tmp_path, engine) as session:
        session.begin("EHLO")
        session.start_tls()
        session.process.terminate()
        assert session.status() == 0 and end_of(session) == b"no TLS: shutting down"
