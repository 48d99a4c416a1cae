# SPDX-License-Identifier: MIT
"""Addresses without a domain: completed by qualify=, as they came, or refused by those who pass
mail on. What the protocol does with them is in transcripts/addresses.txt and
transcripts/core/domains.txt."""

import pytest
from logs import one
from session import Session, command, run, tcp_pair
from upstream import Upstream

HEADER = b"Subject: x\r\n\r\ntext\r\n"


def dialogue(argv, folder, sender=b"alice", recipients=(b"bob", b"Postmaster")):
    """Answers to MAIL and each RCPT, and the log."""
    with Session(argv, folder, pair=tcp_pair()) as session:
        session.begin("EHLO")
        answers = [session.ask(b"MAIL FROM:<%s>" % sender)[:9]]
        answers += [session.ask(b"RCPT TO:<%s>" % recipient)[:9] for recipient in recipients]
        if session.ask(b"DATA").startswith(b"354 "):
            session.say(HEADER)
            session.expect((b".", b"250 "))
        assert session.end() == 0
        return answers, session.err()


@pytest.mark.parametrize("domain", [None, "example.org"])
def test_programs_get_them(smtpd, tmp_path, domain):
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$SMTPD_MAIL_FROM" "$SMTPD_RCPT_TO" >{tmp_path}/got\n')
    program.chmod(0o755)
    options = ["--strategy=exec", f"--command={program}",
               *([f"--qualify={domain}"] if domain else [])]
    answers, err = dialogue(command(smtpd, *options), tmp_path)
    end = f"@{domain}" if domain else ""
    assert answers == [b"250 2.1.0", b"250 2.1.5", b"250 2.1.5"]
    assert (tmp_path / "got").read_text() == f"alice{end} bob{end}\nPostmaster{end}\n"
    assert one(err, "message")["from"] == f"<alice{end}>".encode()


@pytest.mark.parametrize("strategy", ["proxy", "mailman"])
def test_those_who_pass_mail_on_refuse_them(smtpd, tmp_path, strategy):
    with Upstream() as up, Upstream({"RCPT": b"550 no list\r\n"}, lmtp=True) as lists:
        options = [f"--strategy={strategy}", f"--upstream={up.endpoint}",
                   *([f"--mailman={lists.endpoint}"] if strategy == "mailman" else [])]
        assert dialogue(command(smtpd, *options), tmp_path)[0] == [b"501 5.1.7", b"503 5.5.1",
                                                                   b"503 5.5.1"]
        answers, err = dialogue(command(smtpd, *options), tmp_path, b"")
        assert answers == [b"250 2.1.0", b"501 5.1.3", b"250 2.1.5"]
        assert up.messages[0].recipients == [b"<Postmaster>"]
        assert one(err, "rejected")["by"] == b"us"
        answers, err = dialogue(command(smtpd, *options, "--qualify=example.org"), tmp_path)
        assert answers == [b"250 2.1.0", b"250 2.1.5", b"250 2.1.5"]
        assert up.messages[1].recipients == [b"<bob@example.org>", b"<Postmaster@example.org>"]


def test_before_relay_rules_and_rules(smtpd, tmp_path):
    """What is completed is judged as it is then."""
    with Upstream() as up:
        options = ["--strategy=proxy", f"--upstream={up.endpoint}", "--relay-from=192.0.2.1",
                   "--qualify=example.org"]
        assert dialogue(command(smtpd, *options), tmp_path)[0][1] == b"550 5.7.1"
        assert dialogue(command(smtpd, *options, "--relay-to=example.org"),
                        tmp_path)[0][1] == b"250 2.1.5"
    assert dialogue(command(smtpd, "--qualify=example.org",
                            "--reply=rcpt bob@example.org 553 5.1.1 no"),
                    tmp_path)[0][1] == b"553 5.1.1"


@pytest.mark.parametrize("value",
                         ["", "@example.org", "a b", ".example.org", "example.org.",
                          "b\u00fccher.example", "x>", "[192.0.2.1",
                          "-x", "x" * 256, "a,b", "example.org SIZE=1"])
def test_no_domains(release, value):
    status, _, err = run([release, "--config=/dev/null", "--check", f"--qualify={value}"])
    assert status == 64 and err.startswith(b"smtpd: command line: qualify=") and b": use " in err


@pytest.mark.parametrize("value",
                         ["example.org", "localhost", "[192.0.2.1]", "a_b.example", "x" * 63])
def test_domains(release, value):
    status, out, err = run([release, "--config=/dev/null", "--check", f"--qualify={value}"])
    assert (status, err) == (0, b"") and f"\nqualify={value}\n".encode() in out
