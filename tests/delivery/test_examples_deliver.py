# SPDX-License-Identifier: MIT
"""The hooks in examples/ that put a message somewhere: they show it, give it to sendmail, or keep
it in a maildir. They are run by smtpd with examples/session.txt as their first lines say, and with
what the world may send. And that no example lacks tests and documentation."""

import os
import re
import time

import pytest
from bad_days import large
from conftest import ROOT
from examples import EXAMPLES, deliver, exec_command, said
from maildirs import with_maildir_on
from session import Session, environment, run

TEXT = b"""From: Alice <alice@example.org>
To: Bob <bob@example.net>
Subject: Lunch

Shall we have lunch at noon?
"""
DELIVERED = b"\r\n250 2.0.0 delivered\r\n"


def play(argv, env=None):
    """The session of examples/session.txt: what the client hears, and the log."""
    status, out, err = run(argv, (EXAMPLES / "session.txt").read_bytes(), env, cwd=ROOT)
    assert status == 0
    return out, err.decode()


def test_session_works_by_itself(smtpd):
    """With no strategy either."""
    out, err = play([smtpd, "--config=/dev/null"])
    assert b"\r\n250 2.0.0 " in out and "Shall we have lunch at noon?" in err


def test_every_example_is_tested_and_documented():
    hooks = {
        path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"session.txt", "smtpd.conf",
                                                                       "haproxy.cfg"}
    assert hooks == {"envelope.py", "envelope.sh", "sendmail.sh", "maildir.sh", "webhook.sh",
                     "s3.sh", "msmtp.sh", "attachments.py",
                     "notify.py", "ticket.py", "test_mail.py", "test-mail.sh", "filter-domains",
                     "filter-clamdscan", "filter-rspamc",
                     "filter-spamc"}
    assert all(len((EXAMPLES / name).read_text().splitlines()) <= 60 for name in hooks)
    manual = (ROOT / "man/smtpd-exec.7").read_text()
    assert all(re.search(rf"^\.(?:It )?Pa (?:.* )?{re.escape(name)}\b", manual, re.M)
               and os.access(EXAMPLES / name, os.X_OK) for name in hooks)


# --- envelope -------------------------------------------------------------------------------------


def test_envelope_py(smtpd):
    """The words of the class in the manual of Python's smtpd module. (A relative path, as its first
    lines say.)"""
    out, err = play(exec_command(smtpd, "examples/envelope.py"))
    assert DELIVERED in out
    assert said(err) == [
        "Receiving message from: ('local', '')",
        "Message addressed from: alice@example.org",
        "Message addressed to  : ['bob@example.net']",
        f"Message length        : {len(TEXT)}",
    ]


def test_envelope_sh(smtpd):
    out, err = play(exec_command(smtpd, "examples/envelope.sh"))
    assert DELIVERED in out
    assert said(err) == [
        "Receiving message from: local ",
        "Message addressed from: alice@example.org",
        "Message addressed to  : bob@example.net",
        f"Message length        : {len(TEXT)}",
    ]


ODD = [b'"a  b"@example.com', b"-n@example.com", b'"\\\\c\\n"@example.com', b"$HOME@example.com",
       b"*@example.com", b"`id`@example.com"]


@pytest.mark.parametrize("name", ["envelope.py", "envelope.sh"])
def test_envelope_with_odd_addresses(smtpd, tmp_path, name):
    with Session(exec_command(smtpd, EXAMPLES / name), tmp_path) as session:
        session.begin("EHLO")
        assert deliver(session, b"<>", [b"<" + r + b">" for r in ODD],
                       b"\xff\r\n").startswith(b"250 ")
        assert session.end() == 0
        lines = said(session.err().decode())
    names = [r.decode() for r in ODD]
    if name == "envelope.py":
        assert lines[1:3] == ["Message addressed from: ", f"Message addressed to  : {names}"]
    else:
        assert lines[1:-1] == ["Message addressed from: ",
                               *(f"Message addressed to  : {n}" for n in names)]
    assert lines[-1] == "Message length        : 2"


# --- sendmail.sh ----------------------------------------------------------------------------------

STAND_IN = """#!/bin/sh
printf '%s\\0' "$@" >"$SEEN/args"
cat >"$SEEN/text"
exit "$(cat "$SEEN/status")"
"""


@pytest.fixture
def sendmail(tmp_path):
    """A program that writes down its arguments and standard input."""
    (tmp_path / "seen").mkdir()
    (tmp_path / "seen/status").write_text("0")
    path = tmp_path / "send mail"
    path.write_text(STAND_IN)
    path.chmod(0o755)
    return path


def sendmail_session(smtpd, tmp_path, sendmail):
    return Session(exec_command(smtpd, EXAMPLES / "sendmail.sh", sendmail), tmp_path,
                   env=environment(SEEN=str(tmp_path / "seen")))


def args(tmp_path):
    return (tmp_path / "seen/args").read_bytes().split(b"\0")[:-1]


def test_sendmail(smtpd, tmp_path, sendmail):
    out, err = play(exec_command(smtpd, EXAMPLES / "sendmail.sh", sendmail),
                    environment(SEEN=str(tmp_path / "seen")))
    assert DELIVERED in out and said(err) == []
    assert args(tmp_path) == [b"-i", b"-f", b"alice@example.org", b"--", b"bob@example.net"]
    assert (tmp_path / "seen/text").read_bytes() == TEXT


@pytest.mark.parametrize("sender, arg", [
    (b"<>", b"<>"), (b"<-bd@example.org>", b"-bd@example.org"),
    (b'<"a b;$(id)"@example.org>', b'"a b;$(id)"@example.org')])
def test_sendmail_arguments(smtpd, tmp_path, sendmail, sender, arg):
    """Whatever is in an address, it is one argument, and no option."""
    recipients = [*ODD, b"-bs@example.com", b"-t@example.com", b"--@example.com",
                  b'" "@example.com', b'"; rm -rf /"@example.com',
                  b'"a\\"b"@example.com', b"{ab}~!#%^&|?@example.com", b"Postmaster"]
    with sendmail_session(smtpd, tmp_path, sendmail) as session:
        session.begin("EHLO")
        assert deliver(session, sender, [b"<" + r + b">" for r in recipients],
                       b"..\r\nlast\r\n").startswith(b"250 2.0.0 ")
        assert session.end() == 0 and said(session.err().decode()) == []
    assert args(tmp_path) == [b"-i", b"-f", arg, b"--", *recipients]
    assert (tmp_path / "seen/text").read_bytes() == b".\nlast\n"


def test_sendmail_status(smtpd, tmp_path, sendmail):
    """It is passed on. One that cannot be run is a temporary failure."""
    with sendmail_session(smtpd, tmp_path, sendmail) as session:
        session.begin("EHLO")
        for status, expected in ((0, b"250 2.0.0 "), (75, b"451 4.3.0 "), (67, b"550 5.1.1 "),
                                 (68, b"550 5.1.2 "), (77, b"550 5.7.1 "),
                                 (69, b"451 4.3.0 "), (1, b"451 4.3.0 "), (127, b"451 4.3.0 ")):
            (tmp_path / "seen/status").write_text(str(status))
            assert deliver(session, b"<>", [b"<b@example.com>"],
                           b"x\r\n").startswith(expected), status
        sendmail.unlink()
        assert deliver(session, b"<>", [b"<b@example.com>"], b"x\r\n").startswith(b"451 4.3.0 ")
        sendmail.mkdir()
        assert deliver(session, b"<>", [b"<b@example.com>"], b"x\r\n").startswith(b"451 4.3.0 ")
        assert session.end() == 0


def test_sendmail_for_many(smtpd, tmp_path, sendmail):
    names = [b"recipient-%d@example.com" % n for n in range(100)]
    with sendmail_session(smtpd, tmp_path, sendmail) as session:
        session.begin("EHLO")
        content = large(1_000_000)
        assert deliver(session, b"<a@example.org>", [b"<" + name + b">" for name in names],
                       content).startswith(b"250 ")
        assert session.end() == 0
    assert args(tmp_path)[4:] == names
    assert (tmp_path / "seen/text").read_bytes() == content.replace(b"\r\n", b"\n")


# --- maildir.sh -----------------------------------------------------------------------------------


def files(maildir):
    """Contents, per folder."""
    return {name: [path.read_bytes() for path in sorted((maildir / name).iterdir())]
            for name in ("tmp", "new", "cur")}


def test_maildir_script(smtpd, tmp_path):
    maildir = tmp_path / "a mail dir"
    out, err = play(exec_command(smtpd, EXAMPLES / "maildir.sh", maildir))
    assert DELIVERED in out and said(err) == []
    assert files(maildir) == {"tmp": [], "cur": [],
                              "new": [b"Return-Path: <alice@example.org>\n" + TEXT]}
    path, = (maildir / "new").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert (maildir / "new").stat().st_mode & 0o777 == 0o700
    assert re.fullmatch(r"\d+\.[0-9a-f.]+\.mx\.example\.com", path.name)
    assert abs(int(path.name.split(".")[0]) - time.time()) < 60


def test_maildir_contents(smtpd, tmp_path):
    """Each message is a file, with every octet."""
    maildir = tmp_path / "Maildir"
    contents = [b"", b"\r\n", b"no header\r\n", bytes(set(range(256)) - {10, 13}) + b"\r\n",
                large(2_000_000), b"..\r\n"]
    with Session(exec_command(smtpd, EXAMPLES / "maildir.sh", maildir), tmp_path) as session:
        session.begin("EHLO")
        for content in contents:
            assert deliver(session, b'<"a \\"%s$(id)`id`"@example.org>', [b"<b@example.com>"],
                           content) == b"250 2.0.0 delivered"
        assert session.end() == 0
    path = b'Return-Path: <"a \\"%s$(id)`id`"@example.org>\n'
    expected = [path + content.replace(b"\r\n", b"\n").replace(b"..\n", b".\n")
                for content in contents]
    found = files(maildir)
    assert sorted(found.pop("new")) == sorted(expected) and found == {"tmp": [], "cur": []}


@pytest.mark.parametrize("options, size",
                         [("ro", 100), ("size=300k", 1_000_000), ("nr_inodes=4", 100)],
                         ids=["read-only", "full", "no-inodes"])
def test_maildir_cannot_be_written(smtpd, tmp_path, options, size):
    """A temporary failure that leaves nothing behind."""
    maildir = tmp_path / "Maildir"
    maildir.mkdir()
    argv = with_maildir_on(exec_command(smtpd, EXAMPLES / "maildir.sh", maildir), maildir, options)
    dialogue = (b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n" + large(size)
                + b".\r\nQUIT\r\n")
    status, out, err = run(argv, dialogue)
    if status == 99:
        pytest.fail(err.decode())
    assert status == 0 and b"\r\n451 4.3.0 " in out
    assert err.endswith(f"{maildir}/cur:\n\n{maildir}/new:\n\n{maildir}/tmp:\n".encode())


@pytest.mark.parametrize("make",
                         [lambda p: p.write_bytes(b""),
                          lambda p: p.symlink_to("/no/such/place/at/all")],
                         ids=["file", "dangling"])
def test_maildir_is_none(smtpd, tmp_path, make):
    maildir = tmp_path / "Maildir"
    make(maildir)
    out, err = play(exec_command(smtpd, EXAMPLES / "maildir.sh", maildir))
    assert b"\r\n451 4.3.0 " in out and said(err) != []


def test_maildir_without_an_argument(smtpd):
    """A mistake of the administrator does not bounce mail."""
    out, err = play(exec_command(smtpd, EXAMPLES / "maildir.sh"))
    assert b"\r\n451 4.3.0 " in out and any("usage: maildir.sh" in line for line in said(err))


def test_maildir_and_odd_hostname(smtpd, tmp_path):
    """The name of the file comes from nobody but us; it works with any name that smtpd may have."""
    maildir = tmp_path / "Maildir"
    argv = [*exec_command(smtpd, EXAMPLES / "maildir.sh", maildir), "--hostname=[192.0.2.1]"]
    out, _ = play(argv)
    assert DELIVERED in out and len(files(maildir)["new"]) == 1
