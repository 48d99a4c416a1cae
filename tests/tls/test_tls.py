# SPDX-License-Identifier: MIT
"""TLS, as the session has it (src/tls.c): with each kind of engine, with engines that do wrong, and
with somebody in between. The engine is one of tests/lib/engine.py; smtpd-tls has tests of its
own."""

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest
from engine import Engine, Relay, Secure, make_certificate
from processes import broker_of
from session import PATIENCE, PYTHON, command, environment, reset, tcp_pair, wait_until
from upstream import Upstream

SMALL = b"Subject: x\r\n\r\ntext\r\n"
TRANSACTION = [(b"MAIL FROM:<a@example.org>", b"250 "), (b"RCPT TO:<b@example.com>", b"250 "),
               (b"DATA", b"354 ")]
PROTOCOL = rb'TLSv1\.[23] [A-Z0-9_-]+'


def session_line(session):
    (line,) = re.findall(rb"^smtpd: session .*$", session.err(), re.M)
    return line


def end_of(session):
    return re.search(rb' end="([^"]*)"', session_line(session))[1]


def warnings(session):
    return re.findall(rb"^smtpd: (duplicate possible: [^\n]*)$", session.err(), re.M)


def tls_session(smtpd, tmp_path, engine, *options, mode="starttls", pair=None):
    return Secure(command(smtpd, *engine.options(mode), *options), tmp_path, pair or tcp_pair())


def deliver(session):
    """One message after EHLO, and the end."""
    assert session.send_message(SMALL) == b"250 2.0.0 printed"
    assert session.end() == 0
    (message,) = session.messages()
    assert message.endswith(b"\n\ntext\n")


# --- each kind of engine -------------------------------------------------------------------------


class Shared:
    """tls-engine=/SOCKET"""

    has_broker = False

    def __init__(self, folder):
        self.engine = Engine(folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.engine.__exit__()

    def session(self, smtpd, folder, mode, *options):
        return Secure(command(smtpd, *self.engine.options(mode), *options), folder, tcp_pair())


class Inherited(Shared):
    """$SMTPD_TLS_FD, as the acceptor has it for its sessions"""

    def session(self, smtpd, folder, mode, *options):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as requests:
            requests.connect(str(self.engine.path))
            fd = requests.fileno()
            return Secure(command(smtpd, f"--tls={mode}", *options), folder, tcp_pair(),
                          pass_fds=[fd], env=environment(SMTPD_TLS_FD=str(fd)))


class Ucspi(Shared):
    """A starter: it has the connection too, and speaks TLS on it when it is told "Y"."""

    def __init__(self, folder):
        self.certificate = make_certificate(folder)
        self.engine = Engine(folder)  # for its threads

    def wait_for_order(self, relay):
        if relay.control.recv(1) == b"Y":
            relay.speak()

    def session(self, smtpd, folder, mode, *options):
        ours, theirs = tcp_pair()
        control, plain = socket.socketpair(), socket.socketpair()
        fds = [control[1].fileno(), plain[1].fileno()]
        relay = Relay(self.certificate, theirs.dup(), control[0], plain[0])
        self.engine.start(self.wait_for_order, relay)
        with control[1], plain[1]:
            env = environment(SSLCTLFD=str(fds[0]), SSLREADFD=str(fds[1]), SSLWRITEFD=str(fds[1]),
                              SSL_PROTOCOL="lie")
            return Secure(command(smtpd, f"--tls={mode}", *options), folder, (ours, theirs),
                          pass_fds=fds, env=env)


class UcspiOfTwo(Ucspi):
    """The client's words and ours take two ways."""

    def session(self, smtpd, folder, mode, *options):
        ours, theirs = tcp_pair()
        control, read, write = socket.socketpair(), socket.socketpair(), socket.socketpair()
        fds = [control[1].fileno(), read[1].fileno(), write[1].fileno()]
        relay = Relay(self.certificate, theirs.dup(), control[0], write[0], read[0])
        self.engine.start(self.wait_for_order, relay)
        with control[1], read[1], write[1]:
            env = environment(SSLCTLFD=str(fds[0]), SSLREADFD=str(fds[1]), SSLWRITEFD=str(fds[2]))
            return Secure(command(smtpd, f"--tls={mode}", *options), folder, (ours, theirs),
                          pass_fds=fds, env=env)


class Own(Shared):
    """tls-certificate=FILE: the broker starts smtpd-tls, which is looked for beside smtpd"""

    has_broker = True

    def __init__(self, folder):
        self.certificate = make_certificate(folder)

    def __exit__(self, *_):
        pass

    def session(self, smtpd, folder, mode, *options):
        copy = shutil.copy(smtpd, folder)
        helper = folder / "smtpd-tls"
        here = os.path.dirname(sys.modules[Engine.__module__].__file__)
        helper.write_text(f"#!{PYTHON} -I\nimport sys\nsys.path.insert(0, {here!r})\n"
                          f"import engine\nengine.stand_alone({str(self.certificate)!r})\n")
        helper.chmod(0o755)
        options = [f"--tls={mode}", f"--tls-certificate={self.certificate}", *options]
        return Secure(command(copy, *options), folder, tcp_pair())


ENGINES = [pytest.param(kind, id=kind.__name__.lower())
           for kind in (Shared, Inherited, Ucspi, UcspiOfTwo, Own)]


@pytest.mark.parametrize("kind", ENGINES)
def test_starttls(smtpd, tmp_path, kind):
    with kind(tmp_path) as engine, engine.session(smtpd, tmp_path, "starttls") as session:
        session.expect((None, b"220 "))
        assert b"250-STARTTLS\r\n" in session.ask(b"EHLO client.example.org")
        session.start_tls()
        session.expect((b"MAIL FROM:<a@example.org>", b"503 "))
        assert b"STARTTLS" not in session.ask(b"EHLO client.example.org")
        session.expect((b"STARTTLS", b"503 "))
        assert (broker_of(session.pid) is not None) == engine.has_broker
        deliver(session)
        for line in re.findall(rb"^smtpd: (?:session|message) .*$", session.err(), re.M):
            assert re.search(rb' protocol=ESMTPS tls="' + PROTOCOL + rb'" ', line)
            assert b" sni=mx.example.com " in line
            assert b"client-certificate" not in line
        assert end_of(session) == b"221 goodbye" and warnings(session) == []


@pytest.mark.parametrize("kind", ENGINES)
def test_implicit(smtpd, tmp_path, kind):
    """Nothing is said before TLS."""
    with kind(tmp_path) as engine, engine.session(smtpd, tmp_path, "implicit") as session:
        session.handshake()
        session.expect((None, b"220 mx.example.com ESMTP "))
        assert b"STARTTLS" not in session.ask(b"EHLO client.example.org")
        session.expect((b"STARTTLS", b"503 "))
        deliver(session)
        assert b" protocol=ESMTPS " in session_line(session)


@pytest.mark.parametrize("kind", ENGINES)
def test_required(smtpd, tmp_path, kind):
    with kind(tmp_path) as engine, engine.session(smtpd, tmp_path, "required") as session:
        session.expect((None, b"220 "), (b"MAIL FROM:<a@example.org>", b"530 5.7.0 "),
                       (b"EHLO client.example.org", b"250-"),
                       (b"MAIL FROM:<a@example.org>", b"530 5.7.0 "), (b"VRFY b", b"530 5.7.0 "),
                       (b"NOOP", b"250 "))
        session.start_tls()
        session.expect((b"EHLO client.example.org", b"250-"))
        deliver(session)


@pytest.mark.parametrize("mode", ["starttls", "required", "implicit"])
def test_a_transcript_has_none(release, tmp_path, mode):
    """It is its user's own."""
    with Engine(tmp_path) as engine:
        (tmp_path / "transcript").write_bytes(b"EHLO c\nSTARTTLS\nMAIL FROM:<a@b.example>\nQUIT\n")
        with open(tmp_path / "transcript", "rb") as file:
            done = subprocess.run(command(release, *engine.options(mode)), stdin=file, check=True,
                                  capture_output=True, timeout=PATIENCE, env=environment())
        n_lines = done.stdout.count(b"\n250-") + 1  # of the reply to EHLO
        codes = [b"220"] + [b"250"] * n_lines + [b"502", b"250", b"221"]
        assert re.findall(rb"^\d{3}", done.stdout, re.M) == codes
        assert b"STARTTLS" not in done.stdout and engine.requests == []


def test_request(smtpd, tmp_path):
    """What the engine is told; and all that it is given."""
    with Engine(tmp_path) as engine, tls_session(smtpd, tmp_path, engine) as session:
        port = session.ours.getsockname()[1]
        session.begin("EHLO")
        assert engine.requests == []
        session.start_tls()
        assert engine.requests == [(b"Y\0HOSTNAME=mx.example.com\0PEER=127.0.0.1:%d\0" % port, 3)]


def test_variables(smtpd, tmp_path):
    """Of smtpd-exec(7)."""
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\nenv >{tmp_path}/env\n")
    hook.chmod(0o755)
    answer = (b"SSL_PROTOCOL=TLSv1.3\0SSL_CIPHER=X\x1b[m\xff\0SSL_TLS_SNI=a\nb\0"
              b"SSL_CLIENT_VERIFY=FAILED:too old\0SSL_CLIENT_FINGERPRINT=00ff\0\0")
    options = ["--strategy=exec", f"--command={hook}"]

    def speak(relay):
        relay.answer = lambda: relay.control.sendall(answer)
        relay.speak()

    with Engine(tmp_path, speak) as engine, tls_session(
            smtpd, tmp_path, engine, *options) as session:
        session.begin("EHLO")
        session.start_tls()
        session.expect((b"EHLO client.example.org", b"250-"))
        assert session.send_message(SMALL).startswith(b"250 ") and session.end() == 0
        line = session_line(session)
        assert b' tls="TLSv1.3 X?[m?" client-certificate=sha256:00ff ' in line
        assert b" sni=a?b " in line
    lines = (tmp_path / "env").read_bytes().split(b"\n")
    assert {line for line in lines if line.startswith((b"SMTPD_TLS", b"SMTPD_PROTOCOL"))} == {
        b"SMTPD_PROTOCOL=ESMTPS", b"SMTPD_TLS=TLSv1.3", b"SMTPD_TLS_CIPHER=X?[m?",
        b"SMTPD_TLS_SNI=a?b", b"SMTPD_TLS_CLIENT_FINGERPRINT=00ff",
        b"SMTPD_TLS_CLIENT_VERIFY=FAILED:too old"}


def test_proxy(smtpd, tmp_path):
    """Received says what it came in."""
    with Engine(tmp_path) as engine, Upstream() as up:
        options = ["--strategy=proxy", f"--upstream=127.0.0.1:{up.port}", "--relay-to=example.com"]
        with tls_session(smtpd, tmp_path, engine, *options) as session:
            session.begin("EHLO")
            session.start_tls()
            session.expect((b"EHLO other.example.org", b"250-"))
            assert session.send_message(SMALL).startswith(b"250 ") and session.end() == 0
        (message,) = up.messages
        version = re.search(rb' tls="(TLSv1\.[23]) ', session_line(session))[1]
        received = (rb"Received: from other\.example\.org \(\[127\.0\.0\.1\]\)\n"
                    rb"\tby mx\.example\.com \(smtpd\) with ESMTPS \(%b\) id [0-9a-f.]+\n")
        assert re.match(received % version, message.text)


# --- somebody in between -------------------------------------------------------------------------

INJECTED = b"STARTTLS\r\nEHLO evil.example.org\r\nMAIL FROM:<evil@example.org>\r\n"


@pytest.mark.parametrize("split", range(len(INJECTED) + 1))
def test_octets_after_starttls(release, tmp_path, split):
    """However they come, they are never run: not in clear, and not inside TLS."""
    with Engine(tmp_path) as engine, tls_session(release, tmp_path, engine) as session:
        session.begin("EHLO")
        session.say(INJECTED[:split])
        is_alone = split == len(b"STARTTLS\r\n")
        if is_alone:
            assert session.reply().startswith(b"220 ")
        else:
            time.sleep(0.02)
        session.say(INJECTED[split:])
        assert (session.read_to_end() == b"") or is_alone  # an alert
        assert session.status() == 0
        if is_alone:
            assert re.fullmatch(rb"no TLS: .+", end_of(session))
        else:
            assert end_of(session) == b"octets came behind STARTTLS" and engine.requests == []
        assert b"evil" not in session.err()


def test_octets_after_starttls_with_all_that_comes_before(release, tmp_path):
    """What was asked before is answered."""
    with Engine(tmp_path) as engine, tls_session(release, tmp_path, engine) as session:
        session.begin("greeting")
        session.say(b"EHLO client.example.org\r\nNOOP\r\nSTARTTLS\r\nRSET\r\n")
        said = session.read_to_end()
        assert said.startswith(b"250-mx.example.com\r\n") and said.endswith(b"\r\n250 2.0.0 OK\r\n")
        assert session.status() == 0
        assert end_of(session) == b"octets came behind STARTTLS"


def test_client_closes_after_starttls(release, tmp_path):
    with Engine(tmp_path) as engine, tls_session(release, tmp_path, engine) as session:
        session.begin("EHLO")
        session.process.send_signal(signal.SIGSTOP)
        session.say(b"STARTTLS\r\n")
        session.ours.shutdown(socket.SHUT_WR)
        session.process.send_signal(signal.SIGCONT)
        assert session.read_to_end() == b"" and session.status() == 0
        assert end_of(session) == b"the client closed the connection" and engine.requests == []


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


# --- the end -------------------------------------------------------------------------------------


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
