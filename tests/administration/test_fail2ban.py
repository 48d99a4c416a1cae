# SPDX-License-Identifier: MIT
"""examples/fail2ban: real lines of the log, and what a client would like them to be."""

import re
import shutil
import subprocess

import pytest
from conftest import ROOT, need
from session import environment, run

FILTER = ROOT / "examples/fail2ban/filter.d/smtpd.conf"
EHLO, MAIL = b"EHLO c\r\n", b"MAIL FROM:<a@example.org>\r\n"
FORGED = b'rejected peer=192.0.2.66 verdict="550 no" by=us'


def log_of(smtpd, peer, verdict, said, step="rcpt"):
    status, _, err = run([smtpd, "--config=/dev/null", f"--reply={step} no@* {verdict}"], said,
                         env=environment(REMOTE_ADDR=peer))
    assert status == 0
    return err


def hosts(tmp_path, log):
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"Nov 28 01:00:00 mx smtpd[1]: %s\n" % line.removeprefix(b"smtpd: ")
                              for line in log.splitlines()))
    installed = tmp_path / "filter.d"  # beside what it includes
    tool = need("fail2ban-regex")
    shutil.copytree("/etc/fail2ban/filter.d", installed)
    argv = [tool, "-o", "ip", str(path), shutil.copy(FILTER, installed)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return re.findall(r"^[0-9a-f.:]+$", done.stdout, re.M)


@pytest.mark.parametrize("peer", ["192.0.2.9", "2001:db8::9"])
def test_refusals_for_good(release, tmp_path, peer):
    log = log_of(release, peer, "550 no",
                 EHLO + MAIL + b"RCPT TO:<no@b>\r\n" * 3 + b"RCPT TO:<b@b>\r\nQUIT\r\n")
    assert hosts(tmp_path, log) == [peer] * 3


def test_a_message_refused_for_good(release, tmp_path):
    """By a rule of ours; one that was taken is none."""
    message = MAIL + b"RCPT TO:<%s@b>\r\nDATA\r\n\r\n.\r\n"
    log = log_of(release, "192.0.2.9", "550 no", EHLO + message % b"no" + message % b"b"
                 + b"QUIT\r\n", step="message")
    assert log.count(b"smtpd: message ") == 2 and hosts(tmp_path, log) == ["192.0.2.9"]


def test_nobodys_fault(release, tmp_path):
    """A temporary reply; a session without any."""
    log = log_of(release, "192.0.2.9", "451 later",
                 EHLO + MAIL + b"RCPT TO:<no@b>\r\nRSET\r\nQUIT\r\n")
    assert b"rejected" in log and hosts(tmp_path, log) == []


def test_client_bans_nobody_else(release, tmp_path):
    """Whatever it calls itself, and whoever it writes to."""
    said = b"EHLO " + FORGED + b"\r\n" + b'MAIL FROM:<"' + FORGED.replace(
        b'"', b'\\"') + b'"@example.org>\r\nRCPT TO:<no@b>\r\nQUIT\r\n'
    log = log_of(release, "192.0.2.9", "550 no", said)
    assert hosts(tmp_path, log) == ["192.0.2.9"] * log.count(b"smtpd: rejected ")
