# SPDX-License-Identifier: MIT
"""Full disks, and readers of standard error that are gone or asleep. Each test looks at both sides:
what the client was told, and what was printed."""

import fcntl
import os
import time

import pytest
from bad_days import PRINTED_SMALL, SMALL, large, with_small_disk
from conftest import need
from processes import descriptors
from session import BEGIN, END, PATIENCE, Session, codes, command, environment

# --- storage --------------------------------------------------------------------------------------

FULL = b"452 4.3.1 "


def fill_and_go_on(session, beginning, n_verdicts=1):
    """A message that does not fit, and then some that do."""
    session.begin("EHLO")
    assert session.send_message(large(3_000_000)).startswith(beginning)
    bodies = [SMALL, large(300_000), SMALL]
    for body in bodies:
        assert session.send_message(body).startswith(b"250 ")
    assert session.end() == 0
    assert [len(m)
            for m in session.messages()] == [len(b.replace(b"\r\n", b"\n"))
                                             + len(b"X-Peer: local\n") for b in bodies]
    assert b"cannot store the message: " in session.err()


def test_full_disk(smtpd, tmp_path):
    spool = tmp_path / "spool"
    spool.mkdir()
    with Session(with_small_disk(command(smtpd), spool), tmp_path) as session:
        fill_and_go_on(session, FULL)


def test_full_disk_lmtp(smtpd, tmp_path):
    """Each recipient hears of it."""
    spool = tmp_path / "spool"
    spool.mkdir()
    with Session(with_small_disk(command(smtpd, "--protocol=lmtp"), spool), tmp_path) as session:
        session.expect((None, b"220 "), (b"LHLO c", b"250-"), (b"MAIL FROM:<>", b"250 "))
        session.expect((b"RCPT TO:<b@example.com>", b"250 "), (b"RCPT TO:<c@example.com>", b"250 "),
                       (b"DATA", b"354 "))
        session.say(large(3_000_000) + b".\r\n")
        session.expect((None, FULL), (None, FULL))
        assert session.end() == 0 and session.messages() == []


def test_file_size_limit(smtpd, tmp_path):
    """A limit (ulimit -f, LimitFSIZE=) is no signal, but a full disk. Messages up to it pass."""
    limited = ["sh", "-c", 'ulimit -f 1000 && exec "$@"', "sh", *command(smtpd)]
    with Session(limited, tmp_path) as session:
        fill_and_go_on(session, FULL)


@pytest.mark.parametrize("error, beginning", [
    ("ENOSPC", FULL), ("EDQUOT", FULL), ("EFBIG", FULL), ("EIO", b"451 4.3.0 ")])
def test_failing_write_to_the_spool(release, tmp_path, error, beginning):
    trace = [need("strace"), "-qq", "-o", "/dev/null", "-e", "trace=write", "-e",
             f"inject=write:error={error}:when=1"]
    with Session(trace + command(release), tmp_path) as session:
        fill_and_go_on(session, beginning)


def test_failing_read_from_the_spool(release, tmp_path):
    """What was stored cannot be read back: what is printed of it by then is cut off again, and
    there is no 250."""
    trace = [need("strace"), "-qq", "-o", "/dev/null", "-e", "trace=pread64", "-e",
             "inject=pread64:error=EIO:when=5"]
    with Session(trace + command(release), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(large(1_000_000)).startswith(b"451 4.3.0 ")
        assert session.end() == 0 and BEGIN not in session.err()


def test_no_place_for_the_spool(smtpd, tmp_path):
    """It stays in memory."""
    with Session(command(smtpd), tmp_path, env=environment(TMPDIR="/no/such/directory")) as session:
        session.begin("EHLO")
        assert session.send_message(large(200_000)).startswith(b"250 ")
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.end() == 0 and session.messages()[1:] == [PRINTED_SMALL]


def test_spool_has_no_name(smtpd, tmp_path):
    """Nobody else can open it, and nothing remains."""
    with Session(command(smtpd), tmp_path,
                 env=environment(TMPDIR=str(tmp_path / "spool"))) as session:
        (tmp_path / "spool").mkdir()
        session.begin("DATA")
        session.say(large(1_000_000))
        deadline = time.monotonic() + PATIENCE
        while not any("/spool/" in link for link in descriptors(session.pid).values()):
            assert time.monotonic() < deadline
        assert os.listdir(tmp_path / "spool") == []
        session.say(b".\r\n")
        assert session.reply().startswith(b"250 ")


def test_spool_without_tmpfile(release, tmp_path):
    """A file system that has no O_TMPFILE."""
    spool = tmp_path / "spool"
    spool.mkdir()
    trace = [need("strace"), "-qq", "-o", str(tmp_path / "trace"), "-P", str(spool), "-e",
             "trace=openat",
             "-e", "inject=openat:error=EOPNOTSUPP"]
    with Session(trace + command(release), tmp_path, env=environment(TMPDIR=str(spool))) as session:
        session.begin("EHLO")
        for _ in range(2):
            assert session.send_message(large(1_000_000)).startswith(b"250 ")
            assert os.listdir(spool) == []
        assert session.end() == 0 and len(session.messages()) == 2
    assert (tmp_path / "trace").read_text().count("EOPNOTSUPP") == 2


# --- standard error -------------------------------------------------------------------------------


def test_reader_of_stderr_is_gone(smtpd, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as err, Session(command(smtpd), tmp_path, err=err) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL).startswith(b"451 4.3.0 cannot print")
        assert session.send_message(large(1_000_000)).startswith(b"451 4.3.0 cannot print")
        assert session.end() == 0


def test_stderr_is_full(smtpd, tmp_path):
    with open("/dev/full", "wb") as err, Session(command(smtpd), tmp_path, err=err) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL).startswith(b"451 4.3.0 cannot print")
        assert session.send_message(large(1_000_000)).startswith(b"451 4.3.0 cannot print")
        assert session.end() == 0


def test_reader_of_stderr_sleeps(release, tmp_path):
    """The message waits for it as long as for a client, the log five seconds a line: then the
    client gets its answer."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * 4096)
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb") as err:
        with Session(command(release, "--timeout=1"), tmp_path, err=err) as session:
            then = time.monotonic()
            session.begin("EHLO")
            assert session.send_message(SMALL).startswith(b"451 4.3.0 cannot print")
            assert 0.8 < time.monotonic() - then < 10


def test_slow_reader_of_stderr_gets_everything(smtpd, tmp_path):
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(reader, "rb") as file, os.fdopen(writer, "wb") as err:
        with Session(command(smtpd), tmp_path, err=err) as session:
            err.close()
            session.begin("DATA")
            body = large(300_000)
            session.say(body + b".\r\nQUIT\r\n")
            time.sleep(0.2)
            said = file.read()
            assert session.status() == 0 and codes(session.read_to_end()) == [250, 221]
    assert BEGIN + body.replace(b"\r\n", b"\n") + b"X-Peer: local\n" + END in said
