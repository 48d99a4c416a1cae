# SPDX-License-Identifier: MIT
"""The filters in examples/, with the real clamd and spamd, and with stand-ins for the clients of
daemons."""

import os
import re

import pytest
from conftest import ROOT
from filters import SMALL, TAKEN, TRY_AGAIN, ask, on_top
from proxy import proxy
from scanners import EICAR, GTUBE, Clamd, Spamd
from session import Session, environment
from upstream import Upstream

EXAMPLES = ROOT / "examples"


CLEAN = b"From: a@example.org\r\nSubject: lunch\r\n\r\nShall we have lunch?\r\n"
LARGE = CLEAN + b"The quick brown fox jumps over the lazy dog.\r\n" * 50_000
BROKEN = b"Content-Type: multipart/mixed; boundary=\"x\r\n\r\n--x\r\n\xff!\r\n--x\r\n"
SPAM, VIRUS = b"550 5.7.1 this looks like spam", b"550 5.7.1 there is a virus in the message"
IS_CLEAN, SCORE = rb"X-Virus-Status: Clean\n", rb"X-Spam-Score: -?[0-9.]+/5\.0\n"


@pytest.mark.parametrize("scanner, name, table", [
    (Clamd, "clamdscan", [(CLEAN, TAKEN, IS_CLEAN), (BROKEN, TAKEN, IS_CLEAN),
                          (b"", TAKEN, IS_CLEAN), (CLEAN + EICAR + b"\r\n", VIRUS, None),
                          (LARGE, VIRUS, None)]),
    (Spamd, "spamc", [(CLEAN, TAKEN, SCORE), (BROKEN, TAKEN, SCORE), (b"", TAKEN, SCORE),
                      (CLEAN + GTUBE + b"\r\n", SPAM, None), (LARGE, TAKEN, SCORE)]),
], ids=["clamdscan", "spamc"])  # fmt: skip
def test_examples_with_real_daemons(release, tmp_path, scanner, name, table):
    """Their word is obeyed. While they do not answer, and when they are gone, the message waits."""
    (tmp_path / "daemon").mkdir()
    with scanner(tmp_path / "daemon") as daemon:
        option = f"--filter={EXAMPLES}/filter-{name} {daemon.options}"
        for content, verdict, top in table:
            said, texts, log = ask(release, tmp_path, option, content=content)
            assert said == verdict, log
            assert [bool(re.match(top + b"Received: ", text)) for text in texts] == [True] * bool(
                top)
        daemon.hang()
        said, texts, _ = ask(release, tmp_path, option, "--timeout=1")
        assert said == b"451 4.3.0 the filter took too long, try again later" and texts == []
    said, texts, _ = ask(release, tmp_path, option)
    assert said == TRY_AGAIN and texts == []


def test_what_spamassassin_learns_of_the_client(release, tmp_path):
    """From the fields on top, which it reads as those of a mail server."""
    (tmp_path / "daemon").mkdir()
    rules = [r"header BLOCKED X-Spam-Relays-External =~ /ip=192\.0\.2\.7 .*helo=client\.example\.org/",
             "score BLOCKED 50"]
    with Spamd(tmp_path / "daemon", rules) as daemon, Upstream() as up:
        argv = proxy(release, up, f"--filter={EXAMPLES}/filter-spamc {daemon.options}",
                     "--relay-to=example.com")
        for peer, verdict in (("192.0.2.7", SPAM), ("192.0.2.8", TAKEN)):
            with Session(argv, tmp_path, env=environment(REMOTE_ADDR=peer)) as s:
                s.begin("EHLO")
                assert s.send_message(CLEAN) == verdict and s.end() == 0


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Makes a stand-in for the client of a daemon, which keeps its arguments and its standard
    input."""

    def make(name, body):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{tmp_path}/args\ncat "
                        f">{tmp_path}/text\nenv >{tmp_path}/environ\n{body}\n")
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return make


def rspamc(action, score="0.10 / 15.00"):
    """What it prints."""
    return (f"printf 'Results for file: stdin (0.1 seconds)\\n[Metric: default]\\nAction: {action}"
            f"\\nSpam: false\\nScore: {score}\\nMessage-ID: 1@example.org\\n'")


@pytest.mark.parametrize("name, program, body, verdict, top", [
    ("spamc", "spamc", "echo 14.9/5.0; exit 1", TAKEN, b"X-Spam-Score: 14.9/5.0\n"),
    ("spamc", "spamc", "echo 15.0/5.0; exit 1", SPAM, None),
    ("spamc 3", "spamc", "echo 4/5.0", SPAM, None),
    ("spamc 3 -d 192.0.2.1", "spamc", '[ "$4 $5" = "-d 192.0.2.1" ] && echo 2.9/5.0', TAKEN,
     b"X-Spam-Score: 2.9/5.0\n"),
    ("spamc", "spamc", "echo 0/0; exit 70", TRY_AGAIN, None),
    ("spamc", "spamc", "echo what", TRY_AGAIN, None),
    ("clamdscan", "clamdscan", "echo no daemon >&2; exit 2", TRY_AGAIN, None),
    ("rspamc", "rspamc", rspamc("no action"), TAKEN,
     b"X-Spam-Action: no action\nX-Spam-Score: 0.10 / 15.00\n"),
    ("rspamc", "rspamc", rspamc("add header", "-1.00 / 15.00"), TAKEN,
     b"X-Spam-Action: add header\nX-Spam-Score: -1.00 / 15.00\n"),
    ("rspamc", "rspamc", rspamc("quarantine"), TAKEN,
     b"X-Spam-Action: quarantine\nX-Spam-Score: 0.10 / 15.00\n"),
    ("rspamc", "rspamc", rspamc("reject"), SPAM, None),
    ("rspamc", "rspamc", rspamc("discard"), SPAM, None),
    ("rspamc", "rspamc", rspamc("soft reject"), b"451 4.7.1 try again later", None),
    ("rspamc", "rspamc", rspamc("greylist"), b"451 4.7.1 try again later", None),
    ("rspamc", "rspamc", rspamc("no action") + "; exit 1", TRY_AGAIN, None),
    ("rspamc", "rspamc", "echo 'IO write error: Connection refused'", TRY_AGAIN, None),
])  # fmt: skip
def test_examples_that_ask_a_daemon(release, tmp_path, client, name, program, body, verdict, top):
    """Its word is obeyed; if it does not answer the message waits."""
    client(program, body)
    said, texts, _ = ask(release, tmp_path, f"--filter={EXAMPLES}/filter-{name}")
    assert said == verdict and [on_top(text) for text in texts] == ([] if top is None else [top])
    assert (tmp_path / "text").read_bytes().endswith(b"Subject: small\n\nsmall\n")


@pytest.mark.parametrize("peer, address", [
    ("192.0.2.7", b"[192.0.2.7]"), ("2001:db8::7", b"[IPv6:2001:db8::7]"),
    ("no address", b"[unknown]")])
def test_what_the_daemons_are_told(release, tmp_path, client, peer, address):
    """Who sends what to whom from where. rspamc would look up what is no address, and takes UTF-8 only
    if it is told so; spamd reads it from the message."""
    for name, body in (("spamc", "echo 1/5.0"), ("rspamc", rspamc("no action"))):
        client(name, body)
        with Upstream() as up:
            argv = proxy(release, up, f"--filter={EXAMPLES}/filter-{name}",
                         "--relay-to=example.com")
            with Session(argv, tmp_path, env=environment(REMOTE_ADDR=peer)) as s:
                s.expect((None, b"220 "), (b"EHLO x(y)@[z.example", b"250-"),
                         ("MAIL FROM:<ä@example.org> SMTPUTF8".encode(), b"250 "),
                         (b'RCPT TO:<"b c"@example.com>', b"250 "),
                         ("RCPT TO:<ö@example.com>".encode(), b"250 "), (b"DATA", b"354 "))
                s.say(SMALL + b".\r\n")
                assert s.reply() == TAKEN and s.end() == 0
        if name == "spamc":
            assert re.fullmatch(
                rb"Received: from x\?y\?\?\[z\.example \(%s\)\n\tby mx\.example\.com \(smtpd\) with UTF8SMTP "
                rb"id [0-9a-f.]+;\n\t\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\nReturn-Path: "
                rb"<\xc3\xa4@example\.org>\nSubject: small\n\nsmall\n" % re.escape(address),
                (tmp_path / "text").read_bytes())
        else:
            args = (tmp_path / "args").read_text().split("\n")
            ip = [] if peer == "no address" else [f"--ip={peer}"]
            assert args == ["--connect=localhost:11333", "--helo=x(y)@[z.example",
                            "--from=ä@example.org", '--rcpt="b c"@example.com',
                            "--rcpt=ö@example.com", *ip, "symbols", ""]
            assert "CHARSET=UTF-8\n" in (tmp_path / "environ").read_text()


def test_example_domains(release, tmp_path):
    with (Upstream() as up,
          Session(proxy(release, up, f"--filter={EXAMPLES}/filter-domains example.org b.example"),
                  tmp_path) as s):
        s.begin("EHLO")
        for sender, code in ((b"a@example.org", b"250"), (b"a@EXAMPLE.ORG", b"250"),
                             (b"a@b.example", b"250"), (b"", b"250"),
                             (b"a@c.example", b"550"), (b"a@notexample.org", b"550"),
                             (b'"@example.org"@c.example', b"550")):
            assert s.send_message(SMALL, sender=sender)[:3] == code
        assert s.end() == 0 and len(up.messages) == 4
