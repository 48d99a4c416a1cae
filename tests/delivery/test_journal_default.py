# SPDX-License-Identifier: MIT
"""Strategy journal as the default where standard error is the journal, and the log's priorities
there. And what has to be installed for it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, missing, private_mounts
from journal import MESSAGE_ID, SMALL, STORED, journal_command, only, stored
from journal import has_helper, journald  # noqa: F401 (fixtures)
from processes import broker_of
from session import PATIENCE, STAY, Session, command, environment, replies, with_x_peer

# --- the default, and the log ---------------------------------------------------------------------


def by_itself(smtpd, *options):
    """Without a strategy."""
    return [smtpd, *STAY, "--config=/dev/null", "--hostname=mx.example.com", *options]


def test_default_is_the_journal(journald, smtpd, tmp_path):
    """Where standard error is the journal; and the log has its priorities there."""
    stream, name = journald.stream()
    with (stream,
          Session(journald.inside(*by_itself(smtpd)), tmp_path, err=stream,
                  env=environment(JOURNAL_STREAM=name)) as session):
        pid = session.pid
        session.begin("EHLO")
        assert session.send_message(SMALL) == STORED
        assert session.end() == 0
    log = journald.entries(f"_PID={pid}")
    assert [(re.match(rb"\w+", only(entry, "MESSAGE"))[0], entry["PRIORITY"]) for entry in log] == [
        (b"message", [b"6"]), (b"session", [b"6"])]
    assert b"strategy=journal" in only(log[0], "MESSAGE")
    assert log[0]["SYSLOG_IDENTIFIER"] == [b"smtpd"]
    id_ = re.search(rb" id=(\S+) ", only(log[0], "MESSAGE"))[1].decode()
    assert len(journald.entries(f"SMTPD_ID={id_}")) == 1


def test_priorities_in_the_log(journald, smtpd, tmp_path):
    """Of what is refused, what a hook has to say, and what is wrong."""
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\necho '<0>panic' >&2\nexit 75\n")
    hook.chmod(0o755)
    stream, name = journald.stream("smtpd-test")
    argv = journald.inside(*command(smtpd, "--strategy=exec", f"--command={hook}"))
    with (stream,
          Session(argv, tmp_path, err=stream, env=environment(JOURNAL_STREAM=name)) as session):
        session.begin("EHLO")
        pids = session.pid, broker_of(session.pid)
        assert session.send_message(SMALL).startswith(b"451 ")
        hook.unlink()
        assert session.send_message(SMALL).startswith(b"451 ")
        session.expect((b"MAIL FROM:<>", b"250 "), (b"RCPT TO:<b@example.com>", b"250 "))
        assert session.end() == 0
    log = [(only(entry, "MESSAGE"), only(entry, "PRIORITY"))
           for entry in journald.entries(*[f"_PID={pid}" for pid in pids])]
    kinds = [(re.match(rb"\w+", message)[0], priority) for message, priority in log]
    assert kinds == [(b"program", b"5"), (b"message", b"4"), (b"cannot", b"3"), (b"message", b"4"),
                     (b"abandoned", b"5"), (b"session", b"6")]
    assert b'stderr=<0>panic' in log[0][0]


def test_default_by_systemd_cat(journald, smtpd, tmp_path):
    """It may or may not set $JOURNAL_STREAM; either way nothing is lost."""
    name = journald.inside("sh", "-c",
                           'systemd-cat -t by-cat sh -c \'echo "x$JOURNAL_STREAM" >"$0"\' "$1"',
                           "sh", tmp_path / "stream")
    subprocess.run(name, check=True, timeout=PATIENCE)
    is_set = (tmp_path / "stream").read_bytes() != b"x\n"
    (tmp_path / "session.txt").write_bytes(b"EHLO c\nMAIL FROM:<cat@example.org>\nRCPT "
                                           b"TO:<b@example.com>\nDATA\nby cat\n.\nQUIT\n")
    argv = journald.inside("systemd-cat", "-t", "by-cat", "sh", "-c", 'exec "$@" <"$0" >"$0.out"',
                           tmp_path / "session.txt", *by_itself(smtpd))
    subprocess.run(argv, check=True, timeout=PATIENCE, env=environment())
    out = (tmp_path / "session.txt.out").read_bytes()
    if is_set:
        assert STORED in out and journald.entries("SMTPD_MAIL_FROM=cat@example.org")
    else:
        assert b"\r\n250 2.0.0 " in out
        assert any(only(entry, "MESSAGE") == b"by cat"
                   for entry in journald.entries("SYSLOG_IDENTIFIER=by-cat"))


@pytest.mark.parametrize("stream", [None, "0:0", "garbage", ""], ids=str)
def test_default_is_print(smtpd, tmp_path, stream):
    """Where standard error is a file, whatever a parent's $JOURNAL_STREAM says."""
    env = environment() if stream is None else environment(JOURNAL_STREAM=stream)
    with Session(by_itself(smtpd), tmp_path, env=env) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL).startswith(b"250 2.0.0 ") and session.end() == 0
        assert session.messages() == [with_x_peer(SMALL.replace(b"\r\n", b"\n"), "local")]
        assert b"strategy=print" in session.err() and not session.err().startswith(b"<")


# --- what is installed ----------------------------------------------------------------------------


def test_helper_is_missing(smtpd, tmp_path):
    """No session: the administrator has to install it."""
    if any(Path("/usr", folder, "smtpd/smtpd-journal").exists() for folder in ("libexec", "lib")):
        pytest.skip("it is installed")
    shutil.copy(smtpd, tmp_path / "smtpd")
    with Session(command(tmp_path / "smtpd", "--strategy=journal"), tmp_path) as session:
        assert replies(session.read_to_end()) == [(421,
                                                   b"4.3.5 this server is not configured "
                                                   b"correctly, try again later")]
        assert session.status() == 78 and b"smtpd-journal is not installed" in session.err()


def test_catalog(journald, release, tmp_path):
    """It compiles without complaint, and journalctl -x shows our text with the entry's fields in
    it."""
    catalog = tmp_path / "usr/lib/systemd/catalog"
    catalog.mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    shutil.copy(Path(release).parent / "units_smtpd_catalog", catalog / "smtpd.catalog")
    done = journald.journalctl(f"--root={tmp_path}", "--update-catalog")
    assert done.stdout + done.stderr == b""
    dump = journald.journalctl(f"--root={tmp_path}", "--dump-catalog").stdout
    assert dump.count(MESSAGE_ID) == 1 and b"Subject: " in dump and b"Defined-By: smtpd" in dump
    with Session(journal_command(journald, release), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL, sender=b"catalog@example.org") == STORED
        assert session.end() == 0
        entry, = stored(journald, session)
    journald.journalctl("--sync")
    folder = "/var/lib/systemd/catalog"
    if not os.path.isdir(folder):
        missing("no place for a message catalog")
    show = journald.inside(
        *private_mounts(), "sh", "-c",
        f'mount --bind "$0"{folder} {folder} && exec journalctl -x --no-pager "$1"',
        tmp_path, "SMTPD_ID=" + only(entry, "SMTPD_ID").decode())
    text = subprocess.run(show, capture_output=True, check=True, timeout=PATIENCE).stdout
    assert b"smtpd received a mail from <catalog@example.org> by ESMTP" in text
    assert b"journalctl SMTPD_ID=" + only(entry, "SMTPD_ID") in text and b"@SMTPD" not in text


def test_message_id_is_the_same_everywhere():
    assert f"message_id = '{MESSAGE_ID.decode()}'" in (ROOT / "meson.build").read_text()
