# SPDX-License-Identifier: MIT
"""reply=: what the configuration says to a step of the session before anybody else is asked, with
every strategy, in batches and in LMTP; what the log says of it; mistakes in rules, also of
delay=."""

import smtplib
import subprocess
import time

import pytest
from acceptor import Acceptor
from conftest import need
from logs import lines, one
from rules import DIALOGUE, EHLO, HEADER, MAIL, STEPS, rcpt, rules
from session import PATIENCE, Session, codes, command, printed, run, tcp_pair
from upstream import Upstream

PLAIN = ("SIZE", "8BITMIME")


# --- each step ------------------------------------------------------------------------------------


def strategies(folder):
    """(options, what they have delivered) of strategies that have no network."""
    program = folder / "program"
    program.write_text(f'#!/bin/sh\n(echo "$SMTPD_RCPT_TO"; cat) >>{folder}/got\n')
    program.chmod(0o755)
    return {"print": [], "exec": ["--strategy=exec", f"--command={program}"]}


@pytest.mark.parametrize("strategy", ["print", "exec"])
@pytest.mark.parametrize("step", STEPS)
def test_reply_at_each_step(smtpd, tmp_path, step, strategy):
    rule, line = STEPS[step]
    said = rule.split(" ", 2)[2].encode()
    said = said if said[4:6] in (b"5.", b"4.") else said[:4] + said[:1] + b".7.1 " + said[4:]
    options = strategies(tmp_path)[strategy]
    with Session(command(smtpd, *options, *rules("rcpt nobody@* 550 x", rule)),
                 tmp_path) as session:
        session.expect((None, b"220 "))
        for asked in DIALOGUE[: DIALOGUE.index(line)]:
            assert session.ask(asked)[:1] in b"23"
        assert session.ask(line) == said
        assert session.ask(b"NOOP").startswith(b"250 ") and session.end() == 0
        assert not session.messages() and not (tmp_path / "got").exists()
        if step == "message":
            line = one(session.err(), "message")
        else:
            line = one(session.err(), "rejected")
        assert (line["verdict"], line["by"]) == (said, b"rule")
        assert not lines(session.err(), "abandoned") or step in ("rcpt",)


def test_another_spelling_of_the_same_address(smtpd):
    """Quotes and backslashes that mean nothing (RFC 5321 section 4.1.2) are no way round a rule."""
    names = [b'"bob"@example.com', b'"b\\ob"@example.com', b"@r.example:bob@example.com",
             b"bob@example.com.", b'"bob "@example.com']
    script = b"".join(b"%s\r\n" % line
                      for line in [EHLO[0], b'MAIL FROM:<"a"@example.org>', *rcpt(*names), b"QUIT"])
    argv = command(smtpd, "--peer=192.0.2.7")
    _, said, _ = run([*argv, *rules("rcpt bob@example.com 550 no")], script)
    assert codes(said)[2:-1] == [250, 550, 550, 550, 550, 250]
    _, said, _ = run([*argv, *rules("mail a@example.org 450 no")], script)
    assert codes(said)[2] == 450


def test_reply_in_place_of_the_greeting(smtpd):
    status, said, err = run(command(smtpd, "--peer=192.0.2.7",
                                    *rules("connect 192.0.2.* 554 5.7.1 not from there")),
                            b"NOOP\r\n")
    assert (status, said) == (0, b"554 5.7.1 not from there\r\n")
    assert (one(err, "rejected")["peer"], one(err, "rejected")["by"]) == (b"192.0.2.7", b"rule")
    assert one(err, "session")["end"] == b"554 not from there"
    status, said, err = run(command(smtpd, "--peer=192.0.2.7", *rules("connect 192.0.3.* 554 no")),
                            b"QUIT\r\n")
    assert codes(said) == [220, 221] and not lines(err, "rejected")


def test_connection_is_refused_and_closed(smtpd, tmp_path):
    with Session(command(smtpd, *rules("connect 127.0.0.? 421 4.3.2 later")), tmp_path,
                 pair=tcp_pair()) as session:
        assert session.read_to_end() == b"421 4.3.2 later\r\n" and session.status() == 0


def test_refused_name_changes_nothing(smtpd, tmp_path):
    """RFC 5321 section 4.1.4: the state is that before it."""
    with Session(command(smtpd, *rules("helo bad* 550 no")), tmp_path) as session:
        session.expect((None, b"220 "), (b"EHLO bad.example", b"550 5.7.1 no"), (MAIL[0], b"503 "),
                       EHLO, MAIL,
                       (b"EHLO bad.example", b"550 "), (rcpt(b"b@c.example")[0], b"250 "),
                       (b"DATA", b"354 "))
        session.say(HEADER)
        session.expect((b".", b"250 "))
        assert session.end() == 0 and one(session.err(), "message")["helo"] == b"client.example.org"
        assert [line["helo"] for line in lines(session.err(), "rejected")] == [b"bad.example"] * 2


@pytest.mark.parametrize("step", STEPS)
def test_421_closes(smtpd, tmp_path, step):
    line = STEPS[step][1]
    with Session(command(smtpd, *rules(f"{step} * 421 4.3.2 away")), tmp_path) as session:
        session.expect((None, b"220 "))
        for asked in DIALOGUE[: DIALOGUE.index(line)]:
            session.ask(asked)
        session.say(line + b"\r\nNOOP\r\n")
        assert session.read_to_end() == b"421 4.3.2 away\r\n" and session.status() == 0


def test_first_rule_that_matches(smtpd, tmp_path):
    given = rules("mail * 450 not this step", "rcpt bob@* 551 first",
                  "rcpt *@example.com 552 second", "rcpt bob@* 553 third")
    with Session(command(smtpd, *given[1:]), tmp_path) as session:
        session.begin("MAIL")
        got = [session.ask(line)
               for line in rcpt(b"Bob@Example.Com", b"eve@example.com", b"eve@example.org")]
        assert [reply[:9] for reply in got] == [b"551 5.7.1", b"552 5.7.1", b"250 2.1.5"]


def test_null_sender_and_syntax(smtpd, tmp_path):
    """Rules come after syntax, and <> is the null sender."""
    with Session(command(smtpd, *rules("mail <> 550 no bounces", "rcpt * 550 nobody")),
                 tmp_path) as session:
        session.expect((None, b"220 "), EHLO, (b"MAIL FROM:<>", b"550 5.7.1 no bounces"),
                       (b"MAIL FROM:<a b>", b"501 "), MAIL,
                       (b"RCPT TO:<", b"501 "), (rcpt(b"b@c")[0], b"550 5.7.1 nobody"))
        assert session.end() == 0


def test_data_and_message_look_at_any_recipient(smtpd, tmp_path):
    options = rules("data x@* 450 x", "message y@* 451 y")
    with Session(command(smtpd, *options), tmp_path) as session:
        session.begin("EHLO")
        for names, replies_ in (([b"a@b", b"x@b"], [b"450 "]),
                                ([b"a@b", b"y@b", b"b@b"], [b"354 ", b"451 "]),
                                ([b"a@b"], [b"354 ", b"250 "])):
            session.expect(MAIL, *((line, b"250 ") for line in rcpt(*names)),
                           (b"DATA", replies_[0]))
            for reply in replies_[1:]:
                session.say(HEADER)
                session.expect((b".", reply))
        assert session.end() == 0 and len(session.messages()) == 1
        refused = lines(session.err(), "rejected")
        assert [line.all("to") for line in refused] == [[b"<a@b>", b"<x@b>"]]
        assert not lines(session.err(), "abandoned")
        assert lines(session.err(), "session")[0]["accepted"] == b"1"


def test_refused_recipients_are_errors(smtpd, tmp_path):
    with Session(command(smtpd, "--max-errors=2", *rules("mail * 550 no")), tmp_path) as session:
        session.begin("EHLO")
        session.say(b"MAIL FROM:<a@b>\r\n" * 3)
        assert codes(session.read_to_end()) == [550, 550, 421]


# --- where rules stand ----------------------------------------------------------------------------


def proxy(smtpd, up, *options):
    return command(smtpd, "--strategy=proxy", f"--upstream={up.endpoint}",
                   *(["--upstream-protocol=lmtp"] if up.lmtp else []), *options)


def test_before_the_relay_rules_and_the_upstream(smtpd, tmp_path):
    """The upstream is not asked, and relaying is not denied in the rule's place."""
    with Upstream() as up:
        options = ["--relay-from=192.0.2.1", "--relay-to=example.com",
                   *rules("rcpt x@* 553 5.1.3 x", "mail no@* 550 no", "message z@* 451 z")]
        with Session(proxy(smtpd, up, *options), tmp_path, pair=tcp_pair()) as session:
            session.expect((None, b"220 "), EHLO, (b"MAIL FROM:<no@b>", b"550 "), MAIL,
                           (b"RCPT TO:<x@elsewhere.example>", b"553 5.1.3 x"),
                           (b"RCPT TO:<y@elsewhere.example>", b"550 5.7.1 relaying"),
                           (b"RCPT TO:<z@example.com>", b"250 "), (b"DATA", b"354 "))
            session.say(HEADER)
            session.expect((b".", b"451 4.7.1 z"), MAIL, (b"RCPT TO:<b@example.com>", b"250 "),
                           (b"DATA", b"354 "))
            session.say(HEADER)
            session.expect((b".", b"250 "))
            assert session.end() == 0
        said = [line for line in up.commands
                if line.startswith((b"MAIL", b"RCPT", b"DATA", b"RSET"))]
        assert said == [b"MAIL FROM:<a@example.org>", b"RCPT TO:<z@example.com>", b"RSET",
                        b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.com>",
                        b"DATA"]
        assert len(up.messages) == 1


@pytest.mark.parametrize("how", ["reply", "delay"])
def test_in_a_batch(smtpd, tmp_path, how):
    """Replies stay in their places, whoever gives them; and what was asked before a delay is
    answered before it."""
    names = [b"%s%d@example.com" % (b"x" if i % 3 == 1 else b"b", i) for i in range(9)]
    rule = rules("rcpt x* 553 5.1.3 x") if how == "reply" else ["--delay=rcpt x4* 1"]
    with Upstream({"RCPT": [b"250 2.1.5 1\r\n", b"550 5.1.1 2\r\n", b"251 2.1.5 3\r\n"]}) as up:
        with Session(proxy(smtpd, up, *rule), tmp_path) as session:
            session.begin("EHLO")
            started = time.monotonic()
            session.say(b"\r\n".join([MAIL[0], *rcpt(*names), b"DATA", b""]))
            got, times = [], []
            for _ in range(len(names) + 2):
                got.append(session.reply())
                times.append(time.monotonic() - started)
            session.say(HEADER)
            session.expect((b".", b"250 "))
            assert session.end() == 0
        asked = [name for name in names if how == "delay" or not name.startswith(b"x")]
        assert [line for line in up.commands if line.startswith(b"RCPT")] == rcpt(*asked)
        expected = {name: reply for name,
                    reply in zip(asked, [b"250 2.1.5 1", b"550 5.1.1 2"] + [b"251 2.1.5 3"] * 9)}
        assert got[1:-1] == [expected.get(name, b"553 5.1.3 x") for name in names]
        accepted = [name for name in asked if not expected[name].startswith(b"5")]
        assert up.messages[0].recipients == [b"<%s>" % name for name in accepted]
        if how == "delay":
            assert times[4] < 1 <= times[5], "the wait is before x4, and those before it hear at once"


def lmtp(argv, folder, names, end=True):
    """(answers to RCPT, verdicts, log)"""
    with Session([*argv, "--protocol=lmtp"], folder) as session:
        session.expect((None, b"220 "), (b"LHLO client.example.org", b"250-"), MAIL)
        answers = [session.ask(line) for line in rcpt(*names)]
        session.expect((b"DATA", b"354 "))
        session.say(HEADER + b".\r\n")
        verdicts = [session.reply() for answer in answers if answer.startswith(b"250")]
        if end:
            assert session.end() == 0
        else:
            assert session.read_to_end() == b"" and session.status() == 0
        return [answer[:3] for answer in answers], verdicts, session.err()


@pytest.mark.parametrize("strategy", ["print", "exec", "proxy", "proxy to lmtp"])
def test_lmtp_has_the_matching_ones_only(smtpd, tmp_path, strategy):
    """Nobody who is refused gets the message, and nobody else misses it."""
    names = [b"x1@b", b"good@b", b"y@b", b"x2@b", b"other@b"]
    rule = rules("message X* 550 5.1.1 x", "message y@b 451 4.2.1 y")
    with Upstream(extensions=PLAIN, lmtp=strategy == "proxy to lmtp") as up:
        argv = proxy(
            smtpd, up, *rule) if strategy.startswith("proxy") else command(
                smtpd, *strategies(tmp_path)[strategy], *rule)
        answers, verdicts, err = lmtp(argv, tmp_path, names)
        assert answers == [b"250"] * 5
        assert [verdict[:9] for verdict in verdicts] == [b"550 5.1.1", b"250 2.0.0", b"451 4.2.1",
                                                         b"550 5.1.1", b"250 2.0.0"]
        held = [line for line in lines(err, "recipient") if line["by"] == b"rule"]
        assert len(held) == 3 and not any("destination" in line.keys() for line in held)
        if strategy == "exec":
            assert (tmp_path / "got").read_bytes().startswith(b"good@b\nother@b\n")
        elif strategy == "print":
            assert len(printed(err)) == 1
        else:
            assert [message.recipients for message in up.messages] == [[b"<good@b>", b"<other@b>"]]


def test_lmtp_if_all_are_refused(smtpd, tmp_path):
    with Upstream(extensions=PLAIN) as up:
        answers, verdicts, err = lmtp(proxy(smtpd, up, *rules("message * 550 no")), tmp_path,
                                      [b"a@b", b"b@b"])
        assert (answers, verdicts) == ([b"250"] * 2, [b"550 5.7.1 no"] * 2)
        assert not up.messages and one(err, "message")["by"] == b"rule"


def test_lmtp_closes_after_the_last_verdict(smtpd, tmp_path):
    """A 421 for one is no reason not to tell the others, who may have the message."""
    answers, verdicts, err = lmtp(command(smtpd, *rules("message x@* 421 4.3.2 away")), tmp_path,
                                  [b"x@b", b"good@b"], end=False)
    assert [verdict[:3] for verdict in verdicts] == [b"421", b"250"] and len(printed(err)) == 1
    assert not lines(err, "duplicate possible")


def test_inside_tls(smtpd, tmp_path):
    options = ["--tls-certificate=self-signed", *rules("rcpt x@* 550 5.1.1 x", "message y@* 451 y")]
    with Acceptor(smtpd, tmp_path, *options) as acceptor:
        host, port = acceptor.address.rsplit(":", 1)
        with smtplib.SMTP(host, int(port), timeout=PATIENCE) as client:
            client.starttls()
            with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
                client.sendmail("a@example.org", ["x@b.example"], "Subject: x\n\nx\n")
            assert refused.value.recipients == {"x@b.example": (550, b"5.1.1 x")}
            with pytest.raises(smtplib.SMTPDataError) as failed:
                client.sendmail("a@example.org", ["y@b.example"], "Subject: x\n\nx\n")
            assert failed.value.args == (451, b"4.7.1 y")


def test_swaks_hears_it(smtpd, tmp_path):
    swaks = need("swaks")
    with Acceptor(smtpd, tmp_path, *rules("rcpt gone@* 551 5.1.6 moved away")) as acceptor:
        done = subprocess.run([swaks, "--server", acceptor.address, "--from", "a@example.org",
                               "--to", "gone@b.example,here@b.example"],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert "551 5.1.6 moved away" in done.stdout and len(acceptor.messages()) == 1


# --- the configuration ----------------------------------------------------------------------------


def test_in_the_file_and_on_the_command_line(smtpd, tmp_path):
    """A line each, commas and all; the command line's rules take the place of the file's."""
    config = tmp_path / "smtpd.conf"
    config.write_text("reply = rcpt a,b@* 550 one, two\nreply=mail * 451 4.0.0 three\ndelay=rcpt * "
                      "5\n")
    status, out, err = run([smtpd, f"--config={config}", "--check"])
    assert (status, err) == (0, b"")
    assert b"\nreply=rcpt a,b@* 550 one, two\nreply=mail * 451 4.0.0 three\ndelay=rcpt * 5\n" in out
    status, out, err = run([smtpd, f"--config={config}", "--check", "--reply=data * 450 four",
                            "--reply", "helo * 450 five"])
    assert (status, err) == (0, b"")
    assert b"\nreply=data * 450 four\nreply=helo * 450 five\ndelay=rcpt * 5\n" in out


WRONG = ["", "rcpt", "rcpt * 250 yes", "rcpt * 550", "rcpt * 550 4.1.1 x", "end * 550 x",
         "rcpt * 550 é", "rcpt * 550 " + "x" * 600]
WRONG_DELAYS = ["", "rcpt", "rcpt *", "rcpt * 0", "rcpt * x", "rcpt * 1 2", "rcpt * 99999999999",
                "end * 1"]


@pytest.mark.parametrize("option, value",
                         [("reply", rule) for rule in WRONG]
                         + [("delay", rule) for rule in WRONG_DELAYS])
def test_mistakes_of_rules(release, tmp_path, option, value):
    status, _, err = run([release, "--config=/dev/null", "--check", f"--{option}={value}"])
    assert status == 64 and b"smtpd: command line: %s=" % option.encode() in err
    assert b": use STEP PATTERN " in err
    if option == "reply":  # all that can be wrong with one
        assert b", NNN of 4xx or 5xx, x.y.z of the same class, and TEXT in ASCII; " in err
    config = tmp_path / "smtpd.conf"
    config.write_text(f"\n{option}={value}\n")
    status, _, err = run([release, f"--config={config}", "--check"])
    assert status == 78 and b"smtpd.conf:2: %s=" % option.encode() in err


def test_sessions_of_an_acceptor_have_them(smtpd, tmp_path):
    with (Acceptor(smtpd, tmp_path, *rules("rcpt a,b@* 550 x", "rcpt c@* 551 y")) as acceptor,
          acceptor.client("MAIL") as client):
        assert [client.ask(line)[:3] for line in rcpt(b"a,b@c", b"c@c", b"d@c")] == [b"501", b"551",
                                                                                     b"250"]
        client.quit()
