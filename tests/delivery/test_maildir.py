# SPDX-License-Identifier: MIT
"""Strategy maildir: the message becomes a file in a Maildir, and 250 means that the disk has it.
Each fault at each system call is in tests/sweep."""

import concurrent.futures
import email
import mailbox
import os
import re
import stat
import subprocess
import time
from pathlib import Path

import pytest
from acceptor import NOBODY, Acceptor, folder
from bad_days import large
from conftest import everybodys, need, need_root
from dovecot import for_this_dovecot, own_mail
from maildirs import with_maildir_on
from session import PATIENCE, Session, command, environment, run

_ = folder  # a fixture
STORED = b"250 2.0.0 stored in the Maildir"
SMALL = b"Subject: small\r\n\r\nsmall\r\n"
TOP = re.compile(rb"Return-Path: <a@example\.org>\nDelivered-To: b@example\.com\n"
                 rb"Received: from client\.example\.org \(local\)\n\tby mx\.example\.com \(smtpd\) "
                 rb"with ESMTP id [0-9a-f.]+\n"
                 rb"\tfor <b@example\.com>;\n\t[^\n]+ \+0000\n")


@pytest.fixture
def maildir(tmp_path):
    path = tmp_path / "a mail dir"
    path.mkdir()
    return path


def storing(smtpd, maildir, *options):
    return command(smtpd, "--strategy=maildir", f"--maildir={maildir}", *options)


def files(maildir):
    """Contents, per folder."""
    return {name: [path.read_bytes() for path in sorted((maildir / name).iterdir())]
            for name in ("tmp", "new", "cur")}


def said(session):
    return re.findall(rb'smtpd: program id=\S+ program=\S+ stderr="?(.*?)"?$', session.err(), re.M)


# --- what is stored -------------------------------------------------------------------------------


@pytest.mark.parametrize("content, stored", [
    (SMALL, b"Subject: small\nX-Peer: local\n\nsmall\n"),
    (b"Subject: no body\r\n", b"Subject: no body\nX-Peer: local\n"),
    (b"", b"X-Peer: local\n"),
    (b"\r\nno header\r\n", b"X-Peer: local\n\nno header\n"),
    (b"no header at all\r\n", b"X-Peer: local\n\nno header at all\n"),
    (b" folded\r\n\r\nx\r\n", b"X-Peer: local\n\n folded\n\nx\n"),
    (b"From a@example.org Thu Jan  1\r\nSubject: mbox\r\n\r\nx\r\n",
     b"X-Mailbox-Line: From a@example.org Thu Jan  1\nSubject: mbox\nX-Peer: local\n\nx\n"),
    (b"A: b\r\nno field\r\nC: d\r\n\r\nx\r\n", b"A: b\nX-Peer: local\n\nno field\nC: d\n\nx\n"),
    (b"A: b\r\n\r\n" + bytes(set(range(256)) - {10, 13}) + b"\r\n",
     b"A: b\nX-Peer: local\n\n" + bytes(set(range(256)) - {10, 13}) + b"\n"),
    (large(3_000_000), b"X-Peer: local\n\n" + large(3_000_000).replace(b"\r\n", b"\n")),
], ids=["usual", "no-body", "empty", "no-header", "no-field", "blank-first", "mbox", "half-header", "octets", "large"])
def test_content(smtpd, tmp_path, maildir, content, stored):
    """Every octet, with what is added on top."""
    with Session(storing(smtpd, maildir), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(content) == STORED
        assert session.end() == 0 and said(session) == []
    found = files(maildir)
    (text,) = found.pop("new")
    assert TOP.match(text) and TOP.sub(b"", text, count=1) == stored
    assert found == {"tmp": [], "cur": []}


def test_maildir_without_x_peer(smtpd, tmp_path, maildir):
    with Session(storing(smtpd, maildir, "--x-peer=no"), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == STORED
        assert session.end() == 0
    assert files(maildir)["new"][0].endswith(b"+0000\nSubject: small\n\nsmall\n")


def test_envelope(smtpd, tmp_path, maildir):
    """A Delivered-To for each recipient, in their order; the null sender."""
    with Session(storing(smtpd, maildir), tmp_path) as session:
        session.begin("EHLO")
        session.expect((b"MAIL FROM:<>", b"250 "), (b"RCPT TO:<b@example.com>", b"250 "),
                       (b'RCPT TO:<"c d"@example.com>', b"250 "),
                       (b"DATA", b"354 "))
        session.say(SMALL + b".\r\n")
        assert session.reply() == STORED
        assert session.end() == 0
    assert files(maildir)["new"][0].startswith(
        b'Return-Path: <>\nDelivered-To: b@example.com\nDelivered-To: "c d"@example.com\nReceived: '
        b'from client.example.org (local)\n')


def test_maildir_files(smtpd, tmp_path, maildir):
    """Names as in maildir(5), nobody else's to read; a slash of the host's name cannot lead
    elsewhere."""
    os.umask(0o022)
    argv = storing(smtpd, maildir, "--hostname=[IPv6:2001:db8::1]")
    with Session(argv, tmp_path) as session:
        session.begin("EHLO")
        for _ in range(3):
            assert session.send_message(SMALL) == STORED
        assert session.end() == 0
    paths = list((maildir / "new").iterdir())
    assert len(paths) == 3
    for path in paths:
        match = re.fullmatch(
            r"(\d+)\.M\d{1,6}P\d+I([0-9a-f]+)\.\[IPv6\\0722001\\072db8\\072\\0721\]", path.name)
        assert match and abs(int(match[1]) - time.time()) < 60
        # so that no file of another message has its name
        assert int(match[2], 16) == path.stat().st_ino
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE((maildir / name).stat().st_mode)
            for name in ("tmp", "new", "cur")} == {0o700}


def test_python_reads_it(smtpd, tmp_path, maildir):
    with Session(storing(smtpd, maildir), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == STORED
        assert session.end() == 0
    (message,) = mailbox.Maildir(maildir, factory=None, create=False)
    assert message["Subject"] == "small" and message.get_payload() == "small\n"
    assert message.get_subdir() == "new"
    assert message["Return-Path"] == "<a@example.org>"
    assert message["Delivered-To"] == "b@example.com"


def test_dovecot_reads_it(release, folder):
    """As the user whose mail it is, who is not root: that Dovecot refuses."""
    doveadm = need("doveadm")
    need_root()
    maildir = folder / "Maildir"
    maildir.mkdir()
    os.chown(maildir, NOBODY["user"], NOBODY["group"])
    with (everybodys(release) as program,
          Session(storing(program, maildir), folder, **NOBODY) as session):
        session.begin("EHLO")
        assert session.send_message(SMALL) == STORED
        assert session.end() == 0
    (folder / "conf").write_text(for_this_dovecot(
        f"mail_location = maildir:{maildir}\nbase_dir = {folder}/run\nstate_dir = {folder}\n"
        f"log_path = /dev/stderr\nmail_uid = {NOBODY['user']}\nmail_gid = {NOBODY['group']}\n"
        "first_valid_uid = 1\nssl = no\nstats_writer_socket_path =\n"))
    done = subprocess.run([doveadm, "-c", folder / "conf", "fetch", *own_mail(), "hdr.subject",
                           "mailbox", "INBOX"], capture_output=True, cwd="/",
                          env=environment(USER="nobody", HOME=str(folder)), timeout=PATIENCE,
                          check=False, **NOBODY)
    assert done.stdout == b"hdr.subject: small\n", done.stderr


def test_mutt_reads_it(release, tmp_path, maildir):
    mutt = need("mutt")
    with Session(storing(release, maildir), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == STORED
        assert session.end() == 0
    (tmp_path / "rc").write_text(f'set quit=yes folder={tmp_path} index_format="%s!"\npush '
                                 f'"<quit>"\n')
    done = subprocess.run([need("script"), "-qec", "stty rows 24 cols 80; "
                           f"{mutt} -n -F {tmp_path}/rc -f '{maildir}'", "/dev/null"], stdin=subprocess.DEVNULL,
                          capture_output=True, env=environment(TERM="xterm", HOME=str(tmp_path)),
                          timeout=PATIENCE, check=False)
    assert b"small!" in done.stdout, done.stdout[-2000:]


def test_relative_directory(smtpd, tmp_path, maildir):
    """From where smtpd was started."""
    with Session(storing(smtpd, maildir.name), tmp_path, cwd=tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == STORED
        assert session.end() == 0
    assert len(files(maildir)["new"]) == 1


def test_maildir_lmtp(smtpd, tmp_path, maildir):
    """One file, and a reply for each."""
    with Session(storing(smtpd, maildir, "--protocol=lmtp"), tmp_path) as session:
        session.expect((None, b"220 "), (b"LHLO c", b"250-"), (b"MAIL FROM:<>", b"250 "),
                       (b"RCPT TO:<b@example.com>", b"250 "),
                       (b"RCPT TO:<c@example.com>", b"250 "), (b"DATA", b"354 "))
        session.say(SMALL + b".\r\n")
        assert [session.reply(), session.reply()] == [STORED, STORED]
        assert session.end() == 0
    assert len(files(maildir)["new"]) == 1


def test_fifty_clients_at_once(release, folder):
    """Each message is there once."""
    maildir = folder / "Maildir"
    maildir.mkdir()
    maildir.chmod(0o777)

    def send(i):
        with acceptor.client() as client:
            client.deadline += 2 * PATIENCE
            client.begin("EHLO")
            verdict = client.send_message(b"Subject: %d\r\n\r\n" % i + b"x" * 900 + b"\r\n")
            client.quit()
            return verdict

    with (everybodys(release) as program,
          Acceptor(program, folder, "--strategy=maildir", f"--maildir={maildir}",
                   "--max-connections-per-source=60") as acceptor):
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            assert set(pool.map(send, range(50))) == {STORED}, acceptor.err()[-3000:]
    found = files(maildir)
    assert sorted(int(email.message_from_bytes(text)["Subject"])
                  for text in found.pop("new")) == list(range(50))
    assert found == {"tmp": [], "cur": []}


def test_order_of_the_calls(release, tmp_path, maildir):
    """The file is on disk before it is in new, and that is before the client hears 250."""
    trace = tmp_path / "trace"
    argv = [need("strace"), "-f", "-qq", "-o", trace, "-e", "trace=fsync,renameat,write,sendto",
            "-s", "40", *storing(release, maildir)]
    with Session(argv, tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == STORED
        assert session.end() == 0
    calls = re.findall(r"(fsync\(\d+\)|renameat\(.*?\)|(?:write|sendto)\(1, \"250 2\.0\.0 stored)",
                       trace.read_text())
    words = [re.match(r"\w+", call)[0] for call in calls]
    assert words[-5:-2] == ["fsync", "renameat", "fsync"] and words[-2] == "write"
    assert words[-1] in ("write", "sendto")
    assert calls[-5] != calls[-3]


# --- what fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options, size, reply, reason", [
    ("ro", 100, b"451 4.3.0 cannot store",
     b"cannot create a file in %s/tmp: Read-only file system: if a unit makes it "
     b"read-only, add ReadWritePaths= there"),
    ("size=300k", 1_000_000, b"452 4.3.1 no space",
     b"cannot write a file in %s/tmp: No space left on device"),
    ("nr_inodes=4", 100, b"452 4.3.1 no space",
     b"cannot create a file in %s/tmp: No space left on device"),
], ids=["read-only", "full", "no-inodes"])
def test_cannot_be_written(smtpd, maildir, options, size, reply, reason):
    """Nothing is left behind, and the log says where it failed."""
    dialogue = (b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n" + large(size)
                + b".\r\nQUIT\r\n")
    status, out, err = run(with_maildir_on(storing(smtpd, maildir), maildir, options), dialogue)
    assert status == 0, err
    assert b"\r\n" + reply in out and reason % str(maildir).encode() in err
    assert err.endswith(f"{maildir}/cur:\n\n{maildir}/new:\n\n{maildir}/tmp:\n".encode())


def test_maildir_largest_file(smtpd, tmp_path, maildir):
    """The message is shorter, the file would be longer."""
    with Session([need("prlimit"), "--fsize=100000", *storing(smtpd, maildir)],
                 tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == STORED
        assert session.send_message(b"Subject: x\r\n\r\n" + b"y" * 99_900
                                    + b"\r\n").startswith(b"452 4.3.1 no space")
        assert session.send_message(SMALL) == STORED
        assert session.end() == 0
        assert said(session) == [f"cannot write a file in {maildir}/tmp: File too large".encode()]
    assert len(files(maildir)["new"]) == 2 and files(maildir)["tmp"] == []


@pytest.mark.parametrize("make, reason", [
    (lambda p: p.rmdir(),
     "cannot open %s/: No such file or directory: create the directory, or correct maildir="),
    (lambda p: (p.rmdir(), p.write_text("")),
     "cannot open %s/: Not a directory: name a directory in maildir="),
    (lambda p: (p / "new").write_text(""),
     "cannot open or create %s/new: Not a directory: name a directory in maildir="),
], ids=["missing", "file", "file-in-it"])
def test_is_none(smtpd, tmp_path, maildir, make, reason):
    make(maildir)
    with Session(storing(smtpd, maildir), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == b"451 4.3.0 cannot store the message, try again later"
        assert session.end() == 0 and said(session) == [(reason % maildir).encode()]


def test_user_may_not_write(release, tmp_path):
    """Started as root: the user that it becomes; --check warns."""
    need_root()
    folder = Path("/tmp") / f"smtpd-maildir.{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        with everybodys(release) as program:
            argv = [program, "--config=/dev/null", "--strategy=maildir", f"--maildir={folder}",
                    "--user=65534"]
            done = subprocess.run([*argv, "--check"], capture_output=True, timeout=PATIENCE,
                                  check=False)
            assert done.returncode == 0
            assert done.stderr == (
                f"smtpd: warning: maildir: user 65534 has no access to {folder}, so every "
                f"message would get 451: "
                "chmod it or the directories above it\n").encode()
            with Session(argv, tmp_path, env=environment(TCPREMOTEIP="192.0.2.1")) as session:
                session.begin("EHLO")
                assert session.send_message(SMALL).startswith(b"451 4.3.0 cannot store")
                os.chown(folder, 65534, 65534)
                assert session.send_message(SMALL) == STORED
                assert session.end() == 0
                assert said(session) == [f"cannot open or create {folder}/tmp: Permission denied: "
                                         f"user 65534 must be able to write "
                                         "there: chown or chmod it".encode()]
            (path,) = (folder / "new").iterdir()
            assert path.stat().st_uid == 65534
    finally:
        subprocess.run(["rm", "-r", folder], check=True)


@pytest.mark.parametrize("call, when", [("fsync", 1), ("renameat", 1), ("fsync", 2)])
def test_disk_fails_late(release, tmp_path, maildir, call, when):
    """An error of the last call before 250, too: nobody is told that the message is there, and it
    is not."""
    for name in ("tmp", "new", "cur"):
        (maildir / name).mkdir()
    argv = [need("strace"), "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e",
            f"inject={call}:error=EIO:when={when}",
            *storing(release, maildir)]
    with Session(argv, tmp_path) as session:
        session.begin("EHLO")
        verdict = session.send_message(SMALL)
        assert session.end() == 0
    assert verdict.startswith(b"451 4.3.0 ") and files(maildir) == {"tmp": [], "new": [], "cur": []}


# --- configuration --------------------------------------------------------------------------------


def test_needs_a_directory(smtpd):
    status, _, err = run([smtpd, "--config=/dev/null", "--strategy=maildir", "--check"])
    assert (status, err) == (64, b"smtpd: command line: strategy=maildir needs maildir=DIR\n")


@pytest.mark.parametrize("path, warning", [
    ("/nonexistent/x",
     "/nonexistent/x: No such file or directory; until it is there, every message gets 451: "
     "mkdir it"),
    ("/etc/passwd", "/etc/passwd is not a directory: name a directory for messages"),
])
def test_check_warns(smtpd, path, warning):
    status, out, err = run([smtpd, "--config=/dev/null", "--strategy=maildir", f"--maildir={path}",
                            "--check"])
    assert status == 0 and err.decode() == f"smtpd: warning: maildir: {warning}\n"
    assert f"\nmaildir={path}\n".encode() in out


def test_maildir_helper_is_missing(release, tmp_path):
    """It says which, and what to do."""
    program = tmp_path / "smtpd"
    program.write_bytes(Path(release).read_bytes())
    program.chmod(0o755)
    if any(os.path.exists(f"/usr/{folder}/smtpd/smtpd-maildir") for folder in ("libexec", "lib")):
        pytest.skip("smtpd-maildir is installed")
    status, _, err = run([program, "--config=/dev/null", "--strategy=maildir",
                          f"--maildir={tmp_path}", "--check"])
    assert status == 78
    assert re.fullmatch(
        rb"smtpd: strategy=maildir: smtpd-maildir is not installed \(cannot run \S+\): "
        rb"reinstall smtpd, or choose another strategy\n", err)
