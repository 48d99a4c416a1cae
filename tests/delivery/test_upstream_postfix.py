# SPDX-License-Identifier: MIT
"""Strategy proxy before a real Postfix: its test sink, and a private instance. Envelope and octets
are compared with what was sent."""

import contextlib
import re
import subprocess

import pytest
from conftest import need, need_root
from manual import readme_block
from postfix import SETTINGS, Postfix, take
from proxy import HUGE, RECEIVED, SMALL, as_sent, play, proxy
from servers import CONTENTS, behind_received, lf_text, server, tcpserver
from servers import folder  # noqa: F401 (a fixture)
from session import PATIENCE, Session, environment, tcp_pair, wait_until, with_x_peer

# --- smtp-sink ------------------------------------------------------------------------------------


@contextlib.contextmanager
def smtp_sink(tmp_path, *options):
    need_root()
    path = str(tmp_path / "sink")
    argv = [need("smtp-sink"), "-u", "root", "-d", str(tmp_path / "dump."), *options,
            f"unix:{path}", "10"]
    with server(tmp_path / "sink.log", path, *argv):
        yield path


def dumps(tmp_path):
    """Non-empty ones: a message that was given up leaves an empty file, or none."""
    return [p.read_bytes() for p in sorted(tmp_path.glob("dump.*")) if p.stat().st_size]


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("options", [[], ["-p"], ["-e"], ["-L"]],
                         ids=["ESMTP", "no pipelining", "SMTP", "LMTP"])
def test_smtp_sink(smtpd, tmp_path, name, options):
    content = CONTENTS[name]
    with smtp_sink(tmp_path, *options) as path:
        outcome = play(proxy(smtpd, path,
                             *(["--upstream-protocol=lmtp"] if "-L" in options else [])), tmp_path,
                       content)
        if name == "8 bits" and options == ["-e"]:
            assert outcome.last.startswith(b"554 5.6.3 ")
            return
        assert outcome.codes == [250, 250, 250, 354, 250]
        (dump,) = wait_until(lambda: dumps(tmp_path), "the dump")
    assert b"X-Mail-Args: <a@example.org>\n" in dump
    assert dump.count(b"X-Rcpt-Args: <b@example.com>\n") == 1
    assert b"X-Helo-Args: mx.example.com\n" in dump
    assert behind_received(dump)[1] == as_sent(lf_text(content)) + b"\n"


# what the switch does to a command, and the code that ends the session with us; 250: none does
REJECTS = {
    "-f": {"CONNECT": 451, "EHLO": 250, "EHLO,HELO": 451, "MAIL": 500, "RCPT": 500, "DATA": 500,
           ".": 500},
    "-r": {"CONNECT": 451, "EHLO": 451, "MAIL": 450, "RCPT": 450, "DATA": 450, ".": 450},
    "-q": {"CONNECT": 451, "EHLO": 451, "MAIL": 451, "RCPT": 451, "DATA": 451, ".": 451,
           "QUIT": 250},
    "-Q": {"CONNECT": 451, "EHLO": 451, "MAIL": 451, "RCPT": 451, "DATA": 451, ".": 451,
           "QUIT": 250},
}


@pytest.mark.parametrize(("switch", "command", "code"),
                         [(s, c, code) for s, cs in REJECTS.items() for c, code in cs.items()])
def test_smtp_sink_rejects(smtpd, tmp_path, switch, command, code):
    with smtp_sink(tmp_path, switch, command) as path:
        outcome = play(proxy(smtpd, path, "--upstream-timeout=5"), tmp_path)
    assert outcome.codes[-1] == code and outcome.seconds < 2
    if command in ("MAIL", "RCPT", "DATA", ".") and switch in "-f-r":
        assert len(outcome.codes) == {"MAIL": 2, "RCPT": 3, "DATA": 5, ".": 5}[command]
        assert outcome.last.endswith(b".3.0 Error: command failed")
    assert (b"duplicate possible" in outcome.log) == (switch == "-q" and command == ".")


def test_smtp_sink_aborts_in_the_body(smtpd, tmp_path):
    """550 after DATA, and it reads no more."""
    with smtp_sink(tmp_path, "-A", "0") as path:
        outcome = play(proxy(smtpd, path, "--upstream-timeout=2"), tmp_path, HUGE)
    assert outcome.codes[-1] == 451 and outcome.seconds < 5


def test_many_messages_from_smtp_source(release, tmp_path):
    """Postfix's load pair, with us between them."""
    with smtp_sink(tmp_path) as path, tcpserver(tmp_path, *proxy(release, path)) as port:
        source = [need("smtp-source"), "-m", "200", "-s", "5", "-r", "3", "-l", "20000",
                  f"127.0.0.1:{port}"]
        subprocess.run(source, check=True, timeout=60)
        assert len(wait_until(lambda: len(d := dumps(tmp_path)) >= 200 and d,
                              "200 messages")) == 200
    assert all(d.count(b"X-Rcpt-Args: ") == 3 for d in dumps(tmp_path))


# --- Postfix --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postfix(folder):
    """Its service allows XCLIENT."""
    with Postfix(folder / "postfix", SETTINGS, readme_block("127.0.0.1:10025 "),
                 bounce="discard") as it:
        yield it


@pytest.mark.parametrize("name", CONTENTS)
def test_postfix(smtpd, tmp_path, postfix, name):
    outcome = play(proxy(smtpd, postfix), tmp_path, CONTENTS[name])
    assert outcome.codes == [250, 250, 250, 354, 250]
    queue_id = re.fullmatch(rb"250 2\.0\.0 Ok: queued as ([0-9A-F]+)", outcome.last)[1]
    text = take(postfix)
    assert text.startswith(b"Return-Path: <a@example.org>\nX-Original-To: "
                           b"b@example.com\nDelivered-To: b@example.com\n")
    assert queue_id in text and queue_id in outcome.log
    assert behind_received(text)[1] == as_sent(lf_text(CONTENTS[name]))


def test_postfix_refuses_live(smtpd, tmp_path, postfix):
    """At RCPT, by its own rules and in its own words; and the others get theirs."""
    with Session(proxy(smtpd, postfix), tmp_path) as session:
        session.begin("EHLO")
        session.expect(
            (b"MAIL FROM:<a@example.org> SIZE=3000000", b"552 5.3.4 "),
            (b"MAIL FROM:<a@example.org>", b"250 2.1.0 Ok"),
            (b"RCPT TO:<nobody@example.com>",
             b"554 5.7.1 <nobody@example.com>: Recipient address rejected: Access denied"),
            (b"RCPT TO:<later@example.com>",
             b"450 4.7.1 <later@example.com>: Recipient address rejected: "),
            (b"RCPT TO:<b@example.com>", b"250 2.1.5 Ok"),
            (b"DATA", b"354 "),
        )
        session.say(SMALL)
        session.expect((b".", b"250 2.0.0 Ok: queued as "))
        assert session.end() == 0
    assert behind_received(take(postfix))[1] == with_x_peer(lf_text(SMALL), "local")


@pytest.mark.parametrize(("peer", "shown"),
                         [("192.0.2.55:4242", "[192.0.2.55]:4242"),
                          ("[2001:db8::55]:4343", "[2001:db8::55]:4343")])
def test_postfix_is_told_the_client(smtpd, postfix, peer, shown):
    """XCLIENT: our client is Postfix's client, in its log and its Received."""
    said = (b"EHLO teller.example.org\r\nMAIL FROM:<x@example.org>\r\nRCPT "
            b"TO:<b@example.com>\r\nDATA\r\n" + SMALL + b".\r\nQUIT\r\n")
    argv = proxy(smtpd, postfix, "--xclient=yes", "--relay-to=example.com", f"--peer={peer}")
    done = subprocess.run(argv, input=said, capture_output=True, timeout=PATIENCE,
                          env=environment())
    assert done.returncode == 0 and b"\n250 2.0.0 Ok: queued" in done.stdout, done
    text = take(postfix)
    address = shown[1 : shown.index("]")]
    literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    top = text[: RECEIVED.search(text).start()].decode()
    # and not (localhost ...)
    assert re.search(rf"\nReceived: from \S+ \(unknown {re.escape(literal)}\)", top), top
    assert "\nReceived: from teller.example.org (" in top, top
    wait_until(lambda: f"client=unknown[{address}]" in postfix.log(), "the log line")


def test_postfix_is_not_told_without_xclient(release, tmp_path, postfix):
    assert play(proxy(release, postfix), tmp_path, pair=tcp_pair()).codes[-1] == 250
    text = take(postfix)
    assert b"from mx.example.com (" in text[: RECEIVED.search(text).start()]


def test_postfix_with_utf8_addresses(smtpd, tmp_path, postfix):
    """Whatever this Postfix can do, we offer the same."""
    with Session(proxy(smtpd, postfix), tmp_path) as session:
        session.expect((None, b"220 "))
        has_utf8 = b"SMTPUTF8" in session.ask(b"EHLO x")
        got = session.ask("MAIL FROM:<ä@example.org> SMTPUTF8".encode())
        assert got.startswith(b"250 " if has_utf8 else b"555 ")
        assert session.end() == 0
