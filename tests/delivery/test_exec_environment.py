# SPDX-License-Identifier: MIT
"""Strategy exec: what the program is given beside the message. These are its environment, and the
state that the process is in."""

import os
import re

import pytest
from bad_days import large
from hooks import DELIVERED, SMALL, STATUSES, exec_command, read, script, shell, start_transaction
from hooks import hook, seen  # noqa: F401 (fixtures)
from processes import descriptors, programs
from session import PYTHON, Session, environment, tcp_pair, wait_until

VARIABLES = {"SMTPD_ID", "SMTPD_PEER", "SMTPD_PEER_PORT", "SMTPD_HELO", "SMTPD_PROTOCOL",
             "SMTPD_HOSTNAME", "SMTPD_MAIL_FROM",
             "SMTPD_MAIL_OPTIONS", "SMTPD_RCPT_TO", "SMTPD_RCPT_OPTIONS", "SMTPD_SIZE"}
OF_TLS = {"SMTPD_TLS", "SMTPD_TLS_CIPHER", "SMTPD_TLS_SNI", "SMTPD_TLS_CLIENT_FINGERPRINT",
          "SMTPD_TLS_CLIENT_VERIFY"}
VARIABLES |= OF_TLS | {"SMTPD_AUTH"}


# --- the environment ------------------------------------------------------------------------------


def test_environment_of_a_message(smtpd, tmp_path, hook):
    """All of it, over TCP."""
    ours, theirs = tcp_pair()
    port = str(ours.getsockname()[1]).encode()
    with Session(exec_command(smtpd, hook.command), tmp_path, (ours, theirs)) as session:
        session.expect((None, b"220 "), (b"EHLO client.example.org", b"250-"))
        content = b"Subject: x\r\n\r\n..\r\n..two\r\ntext\r\n"  # stuffed twice
        recipients = [b"<b@example.com>", b"<c@example.com>", b"<d@example.com>"]
        start_transaction(session, b"<a@example.org>  SIZE=99   body=8bitmime", recipients, content)
        hook.find(session)
        found = {name: value for name, value in hook.environ().items() if name.startswith("SMTPD_")}
        log_id = found.pop("SMTPD_ID")
        assert re.fullmatch(rb"[0-9a-f.]{10,47}", log_id)
        assert found == {
            "SMTPD_PEER": b"127.0.0.1",
            "SMTPD_PEER_PORT": port,
            "SMTPD_HELO": b"client.example.org",
            "SMTPD_PROTOCOL": b"ESMTP",
            "SMTPD_HOSTNAME": b"mx.example.com",
            "SMTPD_MAIL_FROM": b"a@example.org",
            "SMTPD_MAIL_OPTIONS": b"SIZE=99 body=8bitmime",
            "SMTPD_RCPT_TO": b"b@example.com\nc@example.com\nd@example.com",
            "SMTPD_RCPT_OPTIONS": b"\n\n",
            "SMTPD_SIZE": b"%d" % (len(content) - 2),
            **{name: b"" for name in OF_TLS | {"SMTPD_AUTH"}},
        }
        hook.let_go()
        assert session.reply() == DELIVERED and session.end() == 0
        assert b"smtpd: message id=" + log_id + b" " in session.err()


def test_environment_of_nearly_nothing(smtpd, tmp_path, hook):
    """All variables are there, and empty where nothing is to be said; nothing of the message
    before."""
    with Session(exec_command(smtpd, hook.command), tmp_path) as session:
        session.expect((None, b"220 "), (b"HELO c", b"250 "))
        ids = set()
        for _ in range(3):
            start_transaction(session, b"<>", [b"<Postmaster>"], b"")
            hook.find(session)
            found = {name: value for name,
                     value in hook.environ().items() if name.startswith("SMTPD_")}
            assert set(found) == VARIABLES
            ids.add(found.pop("SMTPD_ID"))
            assert {value for name, value in found.items() if name in (
                "SMTPD_PEER_PORT", "SMTPD_MAIL_FROM", "SMTPD_MAIL_OPTIONS", "SMTPD_RCPT_OPTIONS",
                *OF_TLS)} == {b""}
            assert found["SMTPD_PEER"] == b"local" and found["SMTPD_PROTOCOL"] == b"SMTP"
            assert found["SMTPD_SIZE"] == b"0"
            assert found["SMTPD_RCPT_TO"] == b"Postmaster" and found["SMTPD_HELO"] == b"c"
            hook.let_go()
            assert session.reply() == DELIVERED
            wait_until(lambda: not programs(session.pid), "the hook's end")
        assert len(ids) == 3
        assert session.end() == 0


@pytest.mark.parametrize("hello, option, utf8, protocol", [
    (b"HELO", "smtp", b"", b"SMTP"), (b"EHLO", "smtp", b"", b"ESMTP"),
    (b"EHLO", "smtp", b" SMTPUTF8", b"UTF8SMTP"),
    (b"LHLO", "lmtp", b"", b"LMTP"), (b"LHLO", "lmtp", b" SMTPUTF8", b"UTF8LMTP")],
                         ids=lambda v: None)
def test_protocol(smtpd, tmp_path, hook, hello, option, utf8, protocol):
    address = "<gr\u00fc\u00df@b\u00fccher.example>".encode() if utf8 else b"<b@example.com>"
    with Session(exec_command(smtpd, hook.command, f"--protocol={option}"), tmp_path) as session:
        session.expect((None, b"220 "), (hello + b" [192.0.2.1]", b"250"))
        start_transaction(session, address + utf8, [address], SMALL)
        hook.find(session)
        found = hook.environ()
        assert found["SMTPD_PROTOCOL"] == protocol and found["SMTPD_HELO"] == b"[192.0.2.1]"
        assert found["SMTPD_MAIL_FROM"] == found["SMTPD_RCPT_TO"] == address[1:-1]
        assert found["SMTPD_MAIL_OPTIONS"] == utf8.strip()
        assert found["SMTPD_SIZE"] == b"%d" % len(SMALL)
        hook.let_go()
        assert session.reply() == DELIVERED and session.end() == 0


def test_what_is_inherited(smtpd, tmp_path, hook):
    """Everything but what is about us; what claims to be from us is not believed."""
    lies = {f"{name}": "lie" for name in VARIABLES} | {"SMTPD_ANYTHING": "lie"}
    about_us = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "x",
                "NOTIFY_SOCKET": "/nowhere",
                "WATCHDOG_PID": "1", "WATCHDOG_USEC": "1", "SSL_PROTOCOL": "TLSv1.3",
                "SSL_CLIENT_S_DN": "CN=x"}
    others = {"EMPTY": "", "ODD": "a=b\nc d\"'$(x)`y`", "SMTPDX": "mine",
              "STATE_DIRECTORY": "/somewhere", "PATH": os.environ["PATH"],
              "SSL_CERT_FILE": "/etc/ssl/cert.pem", "SSL_CERT_DIR": "/etc/ssl/certs"}
    with Session(exec_command(smtpd, hook.command), tmp_path,
                 env=environment(**lies, **about_us, **others)) as session:
        session.begin("EHLO")
        start_transaction(session, b"<>", [b"<b@example.com>"], SMALL)
        hook.find(session)
        found = hook.environ()
        ours = {name: found.pop(name) for name in list(found) if name.startswith("SMTPD_")}
        assert set(ours) == VARIABLES and b"lie" not in ours.values()
        assert {name: value.encode() for name, value in environment(**others).items()} == found
        hook.let_go()
        assert session.reply() == DELIVERED and session.end() == 0


def test_path_is_always_there(smtpd, tmp_path, seen):
    """So a program without a slash is found, and finds others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script(folder, 'echo "$PATH" >"$SEEN/path"\ncat >"$SEEN/text"', "a-hook")
    env = environment(SEEN=str(seen), PATH=f"/no/such:{folder}:/usr/bin:/bin")
    with Session(exec_command(smtpd, "a-hook"), tmp_path, env=env) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == DELIVERED
        assert read(seen / "path") == env["PATH"].encode() + b"\n" and session.end() == 0
    del env["PATH"]
    program = script(tmp_path, 'tr "\\0" "\\n" </proc/$$/environ >"$SEEN/environ"')
    with Session(exec_command(smtpd, program), tmp_path, env=env) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == DELIVERED and session.end() == 0
    found = [line for line in read(seen / "environ").split(b"\n") if line.startswith(b"PATH=")]
    assert len(found) == 1 and b"/usr/bin" in found[0].removeprefix(b"PATH=").split(b":")


def test_every_printable_character(smtpd, tmp_path, hook):
    """In a quoted local part; with those that are special to a shell alone, too. None of it is in
    argv."""
    everything = b'"' + b"".join((b"\\" if c in b'"\\' else b"") + bytes([c])
                                 for c in range(32, 127)) + b'"@example.org'
    each = [b'"%s%c"@example.com' % (b"\\" if c in b'"\\' else b"", c) for c in range(32, 127)]
    each += [b'"\\%c"@example.com' % c for c in range(32, 127) if c not in b'"\\']
    each += [b"-rf@example.com", b"--@example.com",
             b"$(id)@example.com".replace(b"(", b"{").replace(b")", b"}"), b"`id`@example.com",
             b"!#$%&'*+-/=?^_`{|}~@example.com", b"|sh@example.com", b'"; rm -rf /"@example.com',
             b'" a  b "@example.com',
             b'""@example.com', b'"../../x"@example.com']
    with Session(exec_command(smtpd, hook.command, "--max-recipients=1000"), tmp_path) as session:
        session.begin("EHLO")
        start_transaction(session, b"<" + everything + b">", [b"<" + r + b">" for r in each], SMALL)
        hook.find(session)  # whose command line is what was configured
        found = hook.environ()
        assert found["SMTPD_MAIL_FROM"] == everything
        assert found["SMTPD_RCPT_TO"].split(b"\n") == each
        assert found["SMTPD_RCPT_OPTIONS"] == b"\n" * (len(each) - 1)
        hook.let_go()
        assert session.reply() == DELIVERED and session.end() == 0
        assert all(32 <= c < 127 or c == 10 for c in session.err())


def fill(session, n, length):
    """Pipelines n recipients of that length; returns the addresses, and of which the reply was 250.
    The others' is 452."""
    names = [(b"%06d" % i).ljust(length - 12, b"x") + b"@example.com" for i in range(n)]
    session.say(b"".join(b"RCPT TO:<%s>\r\n" % name for name in names))
    accepted = []
    for name in names:
        reply = session.reply()
        assert reply.startswith((b"250 2.1.5 ", b"452 4.5.3 ")), reply
        accepted += [name] if reply.startswith(b"250") else []
    return names, accepted


@pytest.mark.parametrize("length", [20, 1000])
@pytest.mark.parametrize("stack", ["8192", "512", "unlimited"])
def test_recipients_overflow_the_environment(release, tmp_path, seen, length, stack):
    """What was accepted is delivered. (The room for the environment depends on the limit of the
    stack.)"""
    program = script(tmp_path, 'cat >/dev/null\nprintf "%s\\n" "$SMTPD_RCPT_TO" >"$SEEN/$SMTPD_ID"')
    limits = ("--max-recipients=1000000", "--max-commands=1000000")
    argv = shell(f"ulimit -S -s {stack}", exec_command(release, program, *limits))
    with Session(argv, tmp_path, env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        for _ in range(2):  # the second transaction has as much room
            session.expect((b"MAIL FROM:<>", b"250 "))
            names, accepted = fill(session, 150_000 // length, length)
            assert names[: len(accepted)] == accepted and 60_000 < len(accepted) * length < 131_072
            session.expect((b"DATA", b"354 "))
            session.say(SMALL + b".\r\n")
            assert session.reply() == DELIVERED
            files = list(seen.iterdir())
            assert len(files) == 1 and read(files[0]).split() == accepted
            files[0].unlink()
        session.expect((b"MAIL FROM:<>", b"250 "))
        fill(session, 150_000 // length, length)
        session.expect((b"RSET", b"250 "), (b"MAIL FROM:<>", b"250 "),
                       (b"RCPT TO:<b@example.com>", b"250 "))
        assert session.end() == 0


# --- everything else that it is given -------------------------------------------------------------


def look_around(hook, session):
    hook.find(session)
    stat = hook.look("stat").rpartition(b")")[2].split()
    status = dict(line.split(b":\t", 1) for line in hook.look("status").splitlines()
                  if b":\t" in line)
    return {
        "fds": sorted(descriptors(hook.pid)),
        "cwd": os.readlink(f"/proc/{hook.pid}/cwd"),
        "leads a group": int(stat[2]) == hook.pid,
        "session": int(stat[3]),
        "blocked": int(status[b"SigBlk"], 16),
        "ignored": int(status[b"SigIgn"], 16),
        "caught": int(status[b"SigCgt"], 16),
        "pending": int(status[b"SigPnd"], 16) | int(status[b"ShdPnd"], 16),
    }


EXPECTED = {"fds": [0, 1, 2], "cwd": "/", "leads a group": True, "blocked": 0, "ignored": 0,
            "caught": 0, "pending": 0}

# Ignores and blocks all signals that one may, and has descriptors for everybody to inherit.
BAD_PARENT = """import os, signal, sys
for fd in (5, 9, 77):
    os.dup2(2, fd)
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("parent", ["plain", "with-fds", "ignoring", "bad"])
def test_state_of_the_process(smtpd, tmp_path, hook, parent):
    argv = exec_command(smtpd, hook.command)
    argv = {"plain": argv,
            "with-fds": shell("exec 5</dev/null 9</dev/null", argv),
            "ignoring": shell("trap '' HUP PIPE", argv),
            "bad": [PYTHON, "-c", BAD_PARENT, *argv]}[parent]
    with Session(argv, tmp_path, tcp_pair(), cwd=tmp_path) as session:
        session.begin("EHLO")
        for content in (SMALL, large(500_000)):  # in memory, in a file
            start_transaction(session, b"<>", [b"<b@example.com>"], content)
            found = look_around(hook, session)
            assert found.pop("session") == os.getsid(session.pid)
            assert found == EXPECTED
            stdin, stdout, stderr = (descriptors(hook.pid)[n] for n in range(3))
            assert stdout.startswith("pipe:") and stderr.startswith("pipe:") and stdout != stderr
            assert not stdin.startswith("socket:")
            hook.let_go(b"250 2.0.0 all right\n")
            assert session.reply() == b"250 2.0.0 all right"
        assert session.end() == 0


def test_children_ignored_by_our_parent(smtpd, tmp_path):
    """SIGCHLD ignored is inherited through exec, and then the kernel throws exit statuses away. No
    250 comes of that."""
    program = script(tmp_path, "exit ${SMTPD_MAIL_FROM%%@*}")
    with Session(["env", "--ignore-signal=CHLD", *exec_command(smtpd, program)],
                 tmp_path) as session:
        session.begin("EHLO")
        for status in (75, 1, 67, 0) * 5:
            reply = session.send_message(SMALL, sender=b"%d@example.org" % status)
            assert reply.startswith(STATUSES.get(status, "451 4.3.0").encode() + b" "), (status,
                                                                                         reply)
        assert session.end() == 0
