# SPDX-License-Identifier: MIT
"""The hooks in examples/, run by smtpd with examples/session.txt as their first lines say, and with
what the world may send."""

import email.message
import email.policy
import http.server
import json
import os
import re
import shlex
import socket
import subprocess
import threading
import time
from email.header import decode_header, make_header

import pytest
from conftest import ROOT, need
from session import PATIENCE, Session, command, environment, run
from test_faults import large
from test_maildir import with_maildir_on

EXAMPLES = ROOT / "examples"
TEXT = b"""From: Alice <alice@example.org>
To: Bob <bob@example.net>
Subject: Lunch

Shall we have lunch at noon?
"""
DELIVERED = b"\r\n250 2.0.0 delivered\r\n"


def exec_command(smtpd, *words):
    return command(smtpd, "--strategy=exec",
                   "--command=" + " ".join(shlex.quote(str(word)) for word in words))


def play(argv, env=None):
    """The session of examples/session.txt: what the client hears, and the log."""
    status, out, err = run(argv, (EXAMPLES / "session.txt").read_bytes(), env, cwd=ROOT)
    assert status == 0
    return out, err.decode()


def said(err):
    """What a hook wrote to standard error, from the log."""
    lines = re.findall(r'^smtpd: program id=\S+ program=\S+ stderr=(?:"([^"]*)"|(\S*))$', err, re.M)
    return [re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), quoted or plain) for quoted,
            plain in lines]


def deliver(session, sender, recipients, content):
    session.expect((b"MAIL FROM:" + sender, b"250 "),
                   *[(b"RCPT TO:" + r, b"250 ") for r in recipients], (b"DATA", b"354 "))
    session.say(content + b".\r\n")
    return session.reply()


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


# --- programs that ask others by HTTP -------------------------------------------------------------


class Web:
    """A server that keeps what it is sent, and answers with a status and a body."""

    def __init__(self):
        self.requests, self.status, self.answer = [], 200, b"{}"
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                web.requests.append((self.command, self.path, self.headers, body))
                self.send_response(web.status)
                self.send_header("Content-Length", str(len(web.answer)))
                self.end_headers()
                self.wfile.write(web.answer)

            do_PUT = do_POST

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,)).start()


@pytest.fixture
def web():
    web = Web()
    yield web
    web.server.shutdown()
    web.server.server_close()


MAIL = ("From: Alice <alice@example.org>\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: "
        "<1@example.org>\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\nschöner Gruß\r\n").encode()


def send(smtpd, tmp_path, argv, recipients=(b"<bob@example.net>",), content=MAIL, **env):
    """What the client hears, and what the program wrote to standard error."""
    with Session(exec_command(smtpd, *argv), tmp_path, env=environment(**env)) as session:
        session.begin("EHLO")
        reply = deliver(session, b"<alice@example.org>", recipients, content)
        assert session.end() == 0
        return reply, said(session.err().decode())


def test_webhook(release, tmp_path, web):
    need("curl")
    argv = [EXAMPLES / "webhook.sh", web.url + "/incoming"]
    reply, err = send(release, tmp_path, argv, [b"<bob@example.net>", b'<"c, d"@example.net>'])
    assert (reply, err) == (b"250 2.0.0 delivered", [])
    ((method, path, headers, body),) = web.requests
    assert (method, path, body) == ("POST", "/incoming", MAIL.replace(b"\r\n", b"\n"))
    assert headers["X-Mail-From"] == "<alice@example.org>"
    assert headers["X-Rcpt-To"] == '<bob@example.net>,<"c, d"@example.net>'
    assert headers["Content-Type"] == "message/rfc822" and headers["X-Mail-Client"] == "local"


@pytest.mark.parametrize("status", [401, 404, 503])
def test_webhook_says_no(release, tmp_path, web, status):
    """Whatever curl's exit status is, it is temporary."""
    web.status = status
    reply, err = send(release, tmp_path, [EXAMPLES / "webhook.sh", web.url])
    assert reply.startswith(b"451 4.3.0 ") and str(status) in err[0]


@pytest.mark.parametrize("words",
                         [["webhook.sh"], ["s3.sh"], ["attachments.py"], ["notify.py", "ntfy"],
                          ["ticket.py"]], ids=lambda w: w[0])
def test_usage(release, tmp_path, words):
    """A mistake of the administrator does not bounce mail."""
    reply, err = send(release, tmp_path, [EXAMPLES / words[0], *words[1:]])
    assert reply.startswith(b"451 4.3.0 ") and f"usage: {words[0]}" in err[0]


def test_webhook_is_nowhere(release, tmp_path):
    reply, err = send(release, tmp_path, [EXAMPLES / "webhook.sh", "http://127.0.0.1:1/"])
    assert reply.startswith(b"451 4.3.0 ") and "curl: (7)" in err[0]


def test_s3(release, tmp_path, web):
    """Signed, and the key in no command line."""
    need("curl")
    keys = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret/+x"}
    reply, err = send(release, tmp_path, [EXAMPLES / "s3.sh", web.url + "/bucket", "eu-central-1"],
                      **keys)
    assert (reply, err) == (b"250 2.0.0 delivered", [])
    ((method, path, headers, body),) = web.requests
    assert method == "PUT" and re.fullmatch(r"/bucket/[0-9a-f.]+\.eml", path)
    assert body == MAIL.replace(b"\r\n", b"\n")
    assert re.match(r"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/\d+/eu-central-1/s3/aws4_request",
                    headers["Authorization"])
    web.status = 403
    assert send(release, tmp_path, [EXAMPLES / "s3.sh", web.url, "x"],
                **keys)[0].startswith(b"451 4.3.0 ")


def test_notify(release, tmp_path, web):
    for kind in ("ntfy", "slack"):
        assert send(release, tmp_path,
                    [EXAMPLES / "notify.py", kind, web.url]) == (b"250 2.0.0 delivered", [])
    (_, _, headers, text), (_, _, _, body) = web.requests
    assert text == "schöner Gruß".encode()
    assert str(make_header(decode_header(headers["Title"]))) == "Grüße"
    assert json.loads(body) == {"text": "*Grüße*\nschöner Gruß"}
    web.status = 500
    assert send(release, tmp_path,
                [EXAMPLES / "notify.py", "ntfy", web.url])[0].startswith(b"451 4.3.0 ")


def test_ticket(release, tmp_path, web):
    web.answer = b'{"id": 17}'
    (tmp_path / "token").write_text("abc\n")
    reply, err = send(release, tmp_path, [EXAMPLES / "ticket.py", web.url],
                      TICKET_TOKEN_FILE=str(tmp_path / "token"))
    assert (reply, err) == (b"250 2.0.0 ticket 17", [])
    ((_, _, headers, body),) = web.requests
    assert headers["Authorization"] == "Bearer abc"
    assert json.loads(body) == {
        "title": "Grüße", "from": "Alice <alice@example.org>", "queues": ["bob@example.net"],
        "message_id": "<1@example.org>",
        "text": "schöner Gruß\n"}


@pytest.mark.parametrize("status, answer, reply",
                         [(404, b"", b"550 5.1.1 there is no such queue"),
                          (500, b"", b"451 4.3.0 no ticket now"),
                          (200, b"no json", b"451 4.3.0 ")])
def test_no_ticket(release, tmp_path, web, status, answer, reply):
    web.status, web.answer = status, answer
    assert send(release, tmp_path, [EXAMPLES / "ticket.py", web.url])[0].startswith(reply)


# --- attachments.py -------------------------------------------------------------------------------


def test_attachments(release, tmp_path):
    """Whatever they are called, they are in the directory, under names of their own."""
    folder = tmp_path / "scans"
    folder.mkdir()
    message = email.message.EmailMessage()
    message.set_content("two scans")
    names = ["scan 1.pdf", "../../etc/passwd", "C:\\scan.pdf", ".bashrc", "übersicht.txt"]
    for i, name in enumerate(names):
        message.add_attachment(bytes([i]) * 1000, maintype="application", subtype="pdf",
                               filename=name)
    message.add_attachment("text ü\n", filename="notes.txt")
    inner = email.message.EmailMessage()
    inner.set_content("inner")
    message.add_attachment(inner, filename="mail.eml")
    content = message.as_bytes(policy=email.policy.SMTP)
    reply, err = send(release, tmp_path, [EXAMPLES / "attachments.py", folder], content=content)
    assert reply == b"250 2.0.0 7 saved" and len(err) == 7
    found = {re.sub(r"^[0-9a-f.]+-", "", path.name): path.read_bytes() for path in folder.iterdir()}
    assert found.pop("7-mail.eml").endswith(b"\n\ninner\n")
    saved = ["1-scan_1.pdf", "2-passwd", "3-scan.pdf", "4-bashrc", "5-übersicht.txt"]
    assert found == {name: bytes([i]) * 1000 for i,
                     name in enumerate(saved)} | {"6-notes.txt": "text ü\n".encode()}


def test_no_attachments(release, tmp_path):
    reply, _ = send(release, tmp_path, [EXAMPLES / "attachments.py", tmp_path])
    assert reply == b"550 5.6.0 there is no attachment in the message"
    content = b"Content-Disposition: attachment; filename=x\r\n\r\nx\r\n"
    reply, err = send(release, tmp_path, [EXAMPLES / "attachments.py", tmp_path / "nowhere"],
                      content=content)
    assert reply.startswith(b"451 4.3.0 ") and "No such file or directory" in err[-1]


# --- msmtp.sh -------------------------------------------------------------------------------------


@pytest.mark.parametrize("step, answer, reply", [
    (None, b"", b"250 2.0.0 delivered"),
    (b"RCPT", b"550-5.1.1 nobody of\r\n550 5.1.1 that name", b"550 5.1.1 nobody of"),
    (b"DATA", b"554 5.7.1 no", b"554 5.7.1 no"),
    (b"MAIL", b"451 4.7.1 later", b"451 4.7.1 later"),
])
def test_msmtp_script(release, tmp_path, step, answer, reply):
    """The server's own words."""
    need("msmtp")
    heard = []

    def serve(listener):
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb", 0) as stream:
            stream.write(b"220 upstream\r\n")
            in_data = False
            for line in stream:
                heard.append(line)
                if in_data and line != b".\r\n":
                    continue
                in_data = line.startswith(b"DATA") and step != b"DATA"
                stream.write((answer if step and line.startswith(step) else b"354 go" if in_data
                              else b"250 ok") + b"\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        config = tmp_path / ".msmtprc"
        config.write_text(f"account default\nhost 127.0.0.1\nport "
                          f"{listener.getsockname()[1]}\nauth off\ntls off\ntimeout 20\n")
        config.chmod(0o600)
        said_by, err = send(release, tmp_path, [EXAMPLES / "msmtp.sh"], HOME=str(tmp_path))
        thread.join(PATIENCE)
    assert said_by == reply and (not step) == (not err)
    if not step:
        assert b"RCPT TO:<bob@example.net>\r\n" in heard
        assert b"MAIL FROM:<alice@example.org>\r\n" in heard


# --- tests that wait for a mail -------------------------------------------------------------------


def test_fixture_of_pytest(release, tmp_path):
    done = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider",
                           "--basetemp", tmp_path / "run",
                           EXAMPLES / "test_mail.py"], capture_output=True, text=True,
                          env=environment(SMTPD=release, PYTHONDONTWRITEBYTECODE="1"),
                          cwd=tmp_path, timeout=PATIENCE, check=False)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("command, status", [
    ("printf 'Subject: x\\r\\n\\r\\nbody\\r\\n' | curl -sS smtp://127.0.0.1:$MAIL_PORT --mail-rcpt "
     "bob@example.net -T -", 0), ("exit 3", 3)])
def test_wait_in_the_shell(release, tmp_path, command, status):
    need("curl")
    done = subprocess.run([EXAMPLES / "test-mail.sh", "sh", "-c", command], capture_output=True,
                          text=True, stdin=subprocess.DEVNULL,
                          env=environment(SMTPD=release, TMPDIR=str(tmp_path)), timeout=PATIENCE,
                          check=False)
    assert done.returncode == status, done.stderr
    assert ("\nDelivered-To: bob@example.net\n" in done.stdout
            and done.stdout.endswith("\n\nbody\n")) == (status == 0)
    assert list(tmp_path.iterdir()) == []


def test_examples_use_nothing_but_posix():
    """And a linter has nothing to say."""
    for path in EXAMPLES.glob("*.sh"):
        assert path.read_text().startswith("#!/bin/sh\n")
        subprocess.run(["sh", "-n", str(path)], check=True, timeout=PATIENCE)
