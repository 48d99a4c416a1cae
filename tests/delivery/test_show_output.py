# SPDX-License-Identifier: MIT
"""Strategy show: where the message is shown, and what the helper that does it may do. What a
strategy that shows messages has to do with the output (lock, full disk, null device) is in
test_output.py, for print."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess

import pytest
from acceptor import Acceptor
from conftest import everybodys, need
from processes import programs, stat_of, status_of
from sandbox import inject, tools
from session import PATIENCE, Session, run, wait_until
from show import FRAME, SHOWN, showing, shown

_ = inject, tools  # fixtures


# --- where it is shown ----------------------------------------------------------------------------


def test_acceptor_shows_on_standard_output(smtpd, tmp_path):
    """The helper has it as descriptor 3, and the log is elsewhere."""
    path = tmp_path / "shown"
    with (everybodys(smtpd) as program, open(path, "wb") as file,
          Acceptor(program, tmp_path, "--strategy=show", stdout=file) as acceptor):
        for _ in range(2):
            with acceptor.client() as client:
                client.begin("EHLO")
                assert client.send_message(b"Subject: x\r\n\r\nbody\r\n") == SHOWN
                client.quit()
    assert [text for _, _, text in shown(path.read_bytes())] == 2 * ["Subject: x\n\nbody\n"]
    assert FRAME.sub("", path.read_text()) == ""


def test_show_full_disk(smtpd, tmp_path):
    """Half a message is no message."""
    path = tmp_path / "shown"
    with open(path, "wb") as err:
        argv = [need("prlimit"), "--fsize=30000", *showing(smtpd)]
        with Session(argv, tmp_path, err=err) as session:
            session.begin("EHLO")
            assert session.send_message(b"Subject: x\r\n\r\n" + b"y" * 27_000 + b"\r\n") == SHOWN
            verdict = session.send_message(b"Subject: z\r\n\r\n" + b"z" * 27_000 + b"\r\n")
            assert verdict == b"451 4.3.0 cannot write to the output: File too large, try again later"
            session.ours.close()
            session.process.wait(PATIENCE)
    said = path.read_bytes()
    assert len(shown(said)) == 1 and b"zz" not in said


def test_nobody_reads(release, tmp_path):
    """A pipe that is full: 451 after the timeout, by the helper itself."""
    reader, writer = os.pipe()
    try:
        with (open(writer, "wb", 0) as err,
              Session(showing(release, "--timeout=1"), tmp_path, err=err) as session):
            session.begin("EHLO")
            verdict = session.send_message(b"Subject: x\r\n\r\n" + b"y" * 200_000 + b"\r\n")
            assert verdict == b"451 4.3.0 cannot write to the output: Connection timed out, try again later"
            session.ours.close()
    finally:
        os.close(reader)


def test_show_locked_output(release, tmp_path):
    """Another process has it until the deadline: nothing was shown, and no duplicate is possible."""
    path = tmp_path / "shown"
    with open(path, "w+b") as err, Session(showing(release, "--message-timeout=2"), tmp_path,
                                           err=err) as session:
        session.begin("EHLO")
        with open(path, "r+b") as other:
            fcntl.lockf(other, fcntl.LOCK_EX)
            assert session.send_message(b"Subject: x\r\n\r\ny\r\n").startswith(
                b"451 4.3.0 cannot write to the output: ")
        assert session.end() == 0
    said = path.read_text()
    assert "duplicate possible" not in said and "Subject" not in said


def test_show_no_output(smtpd, tmp_path):
    """As with print: nowhere to show it."""
    with Session([*showing(smtpd)], tmp_path, err=subprocess.DEVNULL) as session:
        session.begin("EHLO")
        assert session.send_message(b"x\r\n") == SHOWN  # it was chosen
        assert session.end() == 0
    argv = ["sh", "-c", 'exec "$@" 2>&-', "sh", *showing(smtpd)]
    with Session(argv, tmp_path) as session:
        session.expect((None, b"421 4.3.5 "))


def test_show_helper_is_missing(release, tmp_path):
    if any(os.path.exists(f"/usr/{folder}/smtpd/smtpd-show") for folder in ("libexec", "lib")):
        pytest.skip("smtpd-show is installed")
    program = shutil.copy(release, tmp_path / "smtpd")
    status, _, err = run([program, "--config=/dev/null", "--strategy=show", "--check"])
    assert status == 78
    assert re.fullmatch(
        rb"smtpd: strategy=show: smtpd-show is not installed \(cannot run \S+\): build smtpd with "
        rb"libgmime-3.0-dev and pkg-config "
        rb"installed, or choose another strategy\n", err)


# --- what the helper may do -----------------------------------------------------------------------


@contextlib.contextmanager
def waiting_helper(release, tmp_path):
    """(session, helper) while that waits for the reader of a pipe."""
    reader, writer = os.pipe()
    try:
        with open(writer, "wb", 0) as err, Session(showing(release), tmp_path, err=err) as session:
            session.begin("DATA")
            session.say(b"Content-Type: text/plain; charset=koi8-r\r\n\r\n" + b"y" * 200_000
                        + b"\r\n.\r\n")
            (helper,) = wait_until(lambda: programs(session.pid), "the helper")
            wait_until(lambda: status_of(helper, "Seccomp") == 2 and stat_of(helper).state == "S",
                       "its sandbox")
            yield session, helper
            session.ours.close()
    finally:
        os.close(reader)


def test_helper_is_confined(release, tmp_path):
    """The filter, no new privileges, nothing open but what it needs."""
    with waiting_helper(release, tmp_path) as (session, helper):
        assert status_of(helper, "NoNewPrivs") == 1
        assert sorted(map(int, os.listdir(f"/proc/{helper}/fd"))) == [0, 1, 2, 3, 4]
        os.kill(helper, signal.SIGTERM)
        assert session.reply().startswith(b"451 4.3.0 cannot write to the output: ")


# By number, on x86-64: a file, a socket; a program, another process, a file to write.
@pytest.mark.parametrize("call, outcome", [
    ("257 -100 =/etc/passwd 0", "EPERM"), ("41 2 1 0", "EPERM"), ("59 =/nonexistent 0 0", "dies"),
    ("57", "dies"),
    ("62 1 0", "dies"), ("87 =/nonexistent", "dies"), ("9 0 4096 5 0x22 -1", "dies"), ("39", "ok")],
                         ids=lambda text: text.split()[0])
def test_helper_is_taken_over(release, tmp_path, inject, call, outcome):
    with waiting_helper(release, tmp_path) as (session, helper):
        assert inject(helper, *call.split()) == outcome
        if outcome == "dies":
            assert session.reply().startswith(b"451 4.3.0 ")
