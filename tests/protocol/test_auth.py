# SPDX-License-Identifier: MIT
"""AUTH, passed through to the upstream, which alone knows who is who (auth=upstream): what it says,
how it fails, TLS on both sides, and what the configuration does not allow."""

import smtplib
import time

import pytest
from acceptor import folder
from auth import NAME, OFFER, PASSWORD, any_, b64, extensions, has_secret, passing, plain
from logs import lines, one
from proxy import RECEIVED, SMALL
from session import PATIENCE, Session, command, environment, run, tcp_pair, wait_until
from tls import Certificate, client_context, engine_of
from tls_real_door import RealDoor
from upstream import EVERYTHING, Upstream, challenge, close
from upstream_tls import Account, implicit, offers, secure

_ = folder  # a fixture


# --- passed through -------------------------------------------------------------------------------


def test_upstream(smtpd, tmp_path):
    """Its mechanisms, its words; whom it knows may send to anywhere, and is named in Received."""
    words = (*EVERYTHING, "AUTH PLAIN SCRAM-SHA-1-PLUS EXTERNAL GSSAPI NTLM X_OWN " + "Y" * 21,
             "AUTH=PLAIN LOGIN")
    with Upstream({"AUTH": b"235 2.7.0 hello, alice\r\n"}, extensions=words) as up:
        with Session(passing(smtpd, up, "--relay-from=192.0.2.1"), tmp_path) as session:
            session.begin("greeting")
            assert [line for line in extensions(session)
                    if line.startswith(b"AUTH")] == [b"AUTH PLAIN X_OWN"]
            session.expect((b"MAIL FROM:<a@example.org> AUTH=<>", b"250 "),
                           (b"RCPT TO:<b@example.com>", b"550 5.7.1 relaying denied"),
                           (b"RSET", b"250 "),
                           (b"auth  plain  " + plain(), b"235 2.7.0 hello, alice"),
                           (b"MAIL FROM:<a@example.org> SIZE=99 auth=b+3D@example.org", b"250 "),
                           (b"RCPT TO:<b%example.com@example.org>", b"550 5.7.1 sender-specified"),
                           (b"RCPT TO:<b@example.com>", b"250 "), (b"DATA", b"354 "))
            session.say(SMALL)
            session.expect((b".", b"250 2.0.0 "))
            assert session.end() == 0
            log = session.err()
        assert up.commands[1:-1] == [b"MAIL FROM:<a@example.org>", b"RSET",
                                     b"AUTH PLAIN " + plain(),
                                     b"MAIL FROM:<a@example.org> SIZE=99 auth=b+3D@example.org",
                                     b"RCPT TO:<b@example.com>", b"DATA"]
        (message,) = up.messages
    assert RECEIVED.search(message.text)["protocol"] == b"ESMTPA"
    assert one(log, "message")["auth"] == b"PLAIN"
    assert one(log, "authentication").keys()[-1] != "user" and not has_secret(log)


def test_exchange_line_by_line(smtpd, tmp_path):
    """Challenges and responses of any length; a refusal is the upstream's word."""
    long = b"A" * 12280
    script = {"AUTH": [challenge(long, challenge(b"", b"535-5.7.8 no\r\n535 5.7.8 not you\r\n")),
                       challenge(b"AAAA", b"501 5.0.0 as you like\r\n"), None]}
    with Upstream(script, extensions=OFFER) as up:
        with Session(passing(smtpd, up), tmp_path) as session:
            session.begin("EHLO")
            session.expect((b"AUTH SCRAM-SHA-256 " + long[80:], b"334 " + long),
                           (long + b"AAAA", b"334 "), (b"", b"535-5.7.8 no\r\n535 5.7.8 not you"),
                           (b"AUTH LOGIN", b"334 AAAA"), (b"*", b"501 5.0.0 as you like"),
                           (b"AUTH PLAIN " + plain(), b"235 2.7.0 "))
            assert session.end() == 0
            log = session.err()
        assert up.commands[1:] == [b"AUTH SCRAM-SHA-256 " + long[80:], long + b"AAAA", b"",
                                   b"AUTH LOGIN", b"*", b"AUTH PLAIN " + plain(), b"QUIT"]
    assert [line["verdict"][:3] for line in lines(log, "authentication")] == [b"535", b"501",
                                                                              b"235"]
    assert long not in log
    assert [line["by"] for line in lines(log, "authentication")[:2]] == [b"upstream"] * 2


def test_third_refusal(smtpd, tmp_path):
    with (Upstream({"AUTH": b"535 5.7.8 wrong\r\n"}, extensions=OFFER) as up,
          Session(passing(smtpd, up), tmp_path) as session):
        session.begin("EHLO")
        session.expect(*[(b"AUTH PLAIN " + plain(password="wrong"), b"535 5.7.8 wrong")] * 3,
                       (None, b"421 4.7.0 too many failed authentications"))
        assert session.read_to_end() == b""


FAILURES = {
    "lost": [close], "421": [b"421 4.3.2 going down\r\n"], "nonsense": [b"hello\r\n"],
    "no answer": [b"250 2.0.0 OK\r\n"],
    "too long": [challenge(b"A" * 20000, b"")], "no text": [challenge(b"\x01", b"")],
    "two lines": [b"334-a\r\n334 b\r\n"],
    "lost in the exchange": [challenge(b"", close)],
    "more after the end": [challenge(b"", challenge(b"", b""))],
}


@pytest.mark.parametrize("name", FAILURES)
def test_upstream_fails(smtpd, tmp_path, name):
    """The client may try again, and does so with a new connection."""
    with (Upstream({"AUTH": FAILURES[name]}, {}, extensions=OFFER) as up,
          Session(passing(smtpd, up, "--timeout=20"), tmp_path) as session):
        session.begin("EHLO")
        if name.endswith(("exchange", "end")):
            session.expect((b"AUTH LOGIN", b"334 "))
            got = session.ask(b"*" if name.endswith("end") else plain())
        else:
            got = session.ask(b"AUTH PLAIN " + plain())
        assert got.startswith(b"454 4.") and has_secret(got) is False, got
        session.expect((b"AUTH PLAIN " + plain(), b"235 "))
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.end() == 0 and one(session.err(), "upstream")["step"] == b"AUTH"


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "between"])
def test_upstream_is_lost(smtpd, tmp_path, step):
    """Nobody can log in again but the client: 451 now, and 421 for its next message."""
    with (Upstream({step: close} if step != "between" else {}, {}, extensions=OFFER) as up,
          Session(passing(smtpd, up), tmp_path) as session):
        session.begin("EHLO")
        session.expect((b"AUTH PLAIN " + plain(), b"235 "))
        dialogue = {"MAIL": b"MAIL FROM:<a@example.org>", "RCPT": b"RCPT TO:<b@example.com>",
                    "DATA": b"DATA"}
        for name, line in dialogue.items() if step != "between" else ():
            got = session.ask(line)
            if name == "DATA":
                session.say(SMALL)
                got = session.ask(b".")
            if name == step:
                break
            assert got.startswith(b"250 ")
        if step == "between":
            up.connections[0].sock.shutdown(2)
            wait_until(lambda: up.connections[0].is_over, "the end of the connection")
        else:
            assert got.startswith(b"451 4.4.2 "), got
        session.expect((b"NOOP", b"250 "), (b"RSET", b"250 "),
                       (b"MAIL FROM:<a@example.org>",
                        b"421 4.4.2 lost the connection to the upstream server: log in again"))
        assert session.read_to_end() == b"" and len(up.connections) == 1


def test_upstream_takes_no_more(smtpd, tmp_path):
    """By its own limit (RFC 9422): as if it was lost."""
    with (Upstream(extensions=(*OFFER, "LIMITS MAILMAX=1")) as up,
          Session(passing(smtpd, up), tmp_path) as session):
        session.begin("EHLO")
        session.expect((b"AUTH PLAIN " + plain(), b"235 "))
        assert session.send_message(SMALL).startswith(b"250 ")
        session.expect((b"MAIL FROM:<a@example.org>", b"421 4.4.2 "))
        assert session.read_to_end() == b"" and len(up.connections) == 1


def test_auth_with_mailman(smtpd, tmp_path):
    """Who is no list is the upstream's, and so is AUTH; here it is asked for each recipient."""
    (tmp_path / "lists").mkdir()
    options = ["--strategy=mailman", "--mailman-wrapper=/bin/true",
               f"--mailman-lists={tmp_path}/lists", "--relay-from=192.0.2.1"]
    with (Upstream({"dot": [None, close]}, {}, extensions=OFFER) as up,
          Session(passing(smtpd, up, *options), tmp_path) as session):
        session.begin("greeting")
        assert b"AUTH PLAIN LOGIN SCRAM-SHA-256" in extensions(session)
        session.expect((b"AUTH PLAIN " + plain(), b"235 "))
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.send_message(SMALL).startswith(b"451 4.4.2 ")
        session.expect((b"MAIL FROM:<a@example.org>", b"250 "),
                       (b"RCPT TO:<b@example.com>",
                        b"421 4.4.2 lost the connection to the upstream server: log in again"))
        assert session.read_to_end() == b"" and len(up.connections) == 1


def test_idle_client_stays_who_it_is(release, tmp_path):
    """An upstream that knows our client is kept, unlike others."""
    with Upstream(extensions=OFFER) as up, Session(passing(release, up), tmp_path) as session:
        session.begin("EHLO")
        session.expect((b"AUTH PLAIN " + plain(), b"235 "))
        time.sleep(11)
        assert session.send_message(SMALL).startswith(b"250 ")
        assert len(up.connections) == 1


def test_without_an_upstream(smtpd, tmp_path):
    """Nothing is offered, and nothing taken."""
    with Session(passing(smtpd, "127.0.0.1:1"), tmp_path) as session:
        session.begin("greeting")
        assert not any(line.startswith(b"AUTH") for line in extensions(session))
        session.expect((b"AUTH PLAIN " + plain(), b"504 5.5.4 "))


def test_not_in_clear(smtpd, tmp_path):
    """Others could listen."""
    env = environment(REMOTE_ADDR="192.0.2.1")
    with (Upstream(extensions=OFFER) as up,
          Session(passing(smtpd, up), tmp_path, pair=tcp_pair(), env=env) as session):
        session.begin("greeting")
        assert not any(line.startswith(b"AUTH") for line in extensions(session))
        session.expect((b"AUTH PLAIN " + plain(), b"538 5.7.11 "), (b"QUIT", b"221 "))
        session.read_to_end()
        assert not has_secret(session.err()) and b"AUTH" not in b"".join(up.commands)


def test_pipelined_secrets_are_no_commands(smtpd, tmp_path):
    """What comes behind a refused AUTH could be anything."""
    with Upstream(extensions=OFFER) as up, Session(passing(smtpd, up), tmp_path) as session:
        session.begin("EHLO")
        session.say(b"AUTH CRAM-MD5\r\n" + plain() + b"\r\nMAIL FROM:<a@example.org>\r\n")
        session.expect((None, b"504 5.5.4 "), (None, b"554 5.5.1 the exchange went on"))
        assert session.read_to_end() == b"" and not has_secret(session.err())
        assert [line.split()[0] for line in up.commands] == [b"EHLO", b"QUIT"]


@pytest.mark.parametrize("cut", [1, 12, 30])
def test_gone_in_the_exchange(smtpd, tmp_path, cut):
    """The upstream hears no half of a line, and no QUIT in its place."""
    with Upstream({"AUTH": challenge(b"", b"235 2.7.0 yes\r\n")}, extensions=OFFER) as up:
        with Session(passing(smtpd, up), tmp_path) as session:
            session.begin("EHLO")
            session.expect((b"AUTH PLAIN", b"334 "))
            session.say(plain()[:cut])
            session.ours.shutdown(1)
            session.read_to_end()
            assert session.status() == 0
        assert up.commands[1:] == [b"AUTH PLAIN"]


# --- TLS ------------------------------------------------------------------------------------------


def test_with_tls(release, folder):
    """ESMTPSA. TLS makes the client a stranger, to its upstream too."""
    engine_of(release)
    with Upstream(extensions=OFFER) as up:
        options = ["--strategy=proxy", f"--upstream={up.endpoint}", "--auth=upstream",
                   "--relay-from=192.0.2.1"]
        with RealDoor(release, folder, Certificate(folder), *options) as door:
            port = int(door.addresses[0].rpartition(":")[2])
            with smtplib.SMTP("127.0.0.1", port, "client.example.org", PATIENCE) as client:
                client.login(NAME, PASSWORD)
                client.starttls(context=client_context())
                with pytest.raises(smtplib.SMTPRecipientsRefused):
                    client.sendmail("a@example.org", ["b@example.com"], SMALL)
                client.login(NAME, PASSWORD)
                client.sendmail("a@example.org", ["b@example.com"], SMALL)
            wait_until(lambda: lines(door.err(), "session"), "the session")
            log = door.err()
        assert [[line.split()[0] for line in c.commands
                 if line.startswith((b"AUTH", b"MAIL", b"DATA"))] for c in up.connections] == [
            [b"AUTH"], [b"MAIL", b"AUTH", b"MAIL", b"DATA"]]
        assert RECEIVED.sub(b"", up.messages[0].text) != SMALL
        assert b" with ESMTPSA (TLSv1." in up.messages[0].text
    assert one(log, "message")["protocol"] == b"ESMTPSA" and not has_secret(log)


# --- the configuration ----------------------------------------------------------------------------

MISTAKES = {
    "auth=upstream makes no sense with strategy=print, which has no upstream: use auth=any": [
        "--auth=upstream"],
    "auth=any makes no sense with strategy=proxy: anyone could send mail anywhere; use "
    "auth=upstream": [
        "--strategy=proxy", "--upstream=127.0.0.1", "--auth=any"],
    "auth=any makes no sense with strategy=mailman": ["--strategy=mailman", "--auth=any"],
    "auth=upstream needs upstream=HOST[:PORT]": ["--strategy=mailman", "--auth=upstream"],
    "auth=upstream makes no sense with upstream-protocol=lmtp": [
        "--strategy=proxy", "--upstream=/socket", "--upstream-protocol=lmtp", "--auth=upstream"],
    "auth=upstream makes no sense with xclient=yes": ["--strategy=proxy", "--upstream=[::1]:587",
                                                      "--xclient=yes", "--auth=upstream"],
    "auth=upstream makes no sense with upstream-user": [
        "--strategy=proxy", "--upstream=[::1]:587", "--upstream-user=a", "--upstream-password=/p",
        "--auth=upstream"],
    "passwords would be sent to 192.0.2.2 in plain text: choose upstream-tls=required": [
        "--strategy=proxy", "--upstream=192.0.2.2", "--upstream-tls=opportunistic",
        "--auth=upstream"],
    "passwords would be sent to 192.0.2.1 in plain text": [
        "--strategy=proxy", "--upstream=localhost,192.0.2.1", "--auth=upstream"],
    "passwords would be sent to mail.example.org:587 in plain text": [
        "--strategy=proxy", "--upstream=mail.example.org:587", "--auth=upstream"],
}


@pytest.mark.parametrize("complaint", MISTAKES)
def test_mistakes_of_auth(release, complaint):
    status, _, err = run(command(release, *MISTAKES[complaint], "--check"))
    assert status == 64 and complaint.encode() in err, err


@pytest.mark.parametrize("mode", ["required", "implicit"])
def test_upstream_in_tls_is_private(release, mode):
    status, _, err = run([*passing(release, "192.0.2.1:587"), f"--upstream-tls={mode}",
                          "--upstream-tls-verify=no", "--check"])
    assert status == 0 and b"passwords" not in err, err


def test_warning_without_tls(release):
    """Clients of a network are offered nothing."""
    status, _, err = run([*passing(release, "127.0.0.1:587"), "--check"])
    assert status == 0 and b"warning: auth: " in err
    status, _, err = run([*any_(release), "--check"])
    assert status == 0 and b"warning: auth: " not in err


@pytest.mark.parametrize("mode", ["required", "implicit"])
def test_through_tls_of_the_upstream(smtpd, tmp_path, mode):
    """Another process prepares the connection, and what is offered inside TLS counts."""
    engine_of(smtpd)
    account, it = Account(NAME, PASSWORD), Certificate(tmp_path, "up.example")
    script = secure(it, OFFER[-1]) if mode == "required" else {"greeting": implicit(it),
                                                               "EHLO": offers(OFFER[-1])}
    with Upstream(script | {"AUTH": account}) as up:
        argv = passing(smtpd, up, f"--upstream-tls={mode}", "--upstream-tls-verify=no")
        with Session(argv, tmp_path) as session:
            session.begin("greeting")
            assert OFFER[-1].encode() in extensions(session)
            session.expect((b"AUTH PLAIN " + plain(password="wrong"), b"535 5.7.8 "),
                           (b"AUTH LOGIN", b"334 "))
            session.expect((b64(NAME), b"334 "), (b64(PASSWORD), b"235 "))
            assert session.send_message(SMALL)[:4] == b"250 "
            session.end()
            log = session.err()
    assert account.secure == [True, True] and len(up.connections) == 1 and not has_secret(log)
    assert one(log, "message")["auth"] == b"LOGIN"
    assert one(log, "message")["secured"].startswith(b"TLSv1.3 ")
