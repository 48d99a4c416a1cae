# SPDX-License-Identifier: MIT
"""The hooks in examples/ that ask others, by HTTP or by SMTP, or look into attachments; and those
that help tests to wait for a mail."""

import email.message
import email.policy
import json
import re
import socket
import subprocess
import threading
from email.header import decode_header, make_header

import pytest
from conftest import need
from examples import EXAMPLES, deliver, exec_command, said
from session import PATIENCE, Session, environment
from web_server import web  # noqa: F401 (a fixture)

# --- programs that ask others by HTTP -------------------------------------------------------------


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


@pytest.mark.parametrize("argv, field", [(["notify.py", "slack"], "text"), (["ticket.py"], "text")],
                         ids=["notify", "ticket"])
def test_charset_that_python_does_not_know(release, tmp_path, web, argv, field):
    """The client would try for ever."""
    web.answer = b'{"id": 17}'
    content = b"Content-Type: text/plain; charset=x-nobody\r\n\r\nAt noon, Gr\xc3\xbc\xc3\x9fe \xff\r\n"
    reply, err = send(release, tmp_path, [EXAMPLES / argv[0], *argv[1:], web.url], content=content)
    assert reply.startswith(b"250 2.0.0 ") and err == []
    ((_, _, _, body),) = web.requests
    assert json.loads(body)[field].rstrip("\n").endswith("At noon, Grüße \ufffd")


NOON = b"At noon?\r\n"
MALFORMED = {
    "Message-ID": b"Message-ID: <>\r\nSubject: Lunch\r\n\r\n" + NOON,
    "Message-ID, literal": b"Message-ID: <a@[\r\nSubject: Lunch\r\n\r\n" + NOON,
    "From, quote": b"Subject: Lunch\r\nFrom: \"\r\n\r\n" + NOON,
    "From, bracket": b"Subject: Lunch\r\nFrom: Alice <\r\n\r\n" + NOON,
    "From, literal": b"Subject: Lunch\r\nFrom: alice@[192.0.2.1\r\n\r\n" + NOON,
    "charset": b"Subject: Lunch\r\nContent-Type: text/plain; charset=undefined\r\n\r\n" + NOON,
    "alternative": b"Subject: Lunch\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
                   b"--b\r\nContent-Type: multipart/related; boundary=c\r\n\r\n" + NOON + b"--b--\r\n",
}


@pytest.mark.parametrize("argv", [["notify.py", "slack"], ["ticket.py"]], ids=["notify", "ticket"])
@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_mail(release, tmp_path, web, argv, what):
    """Python's parser raises exceptions of all kinds; the client would try for ever."""
    web.answer = b'{"id": 17}'
    reply, err = send(release, tmp_path, [EXAMPLES / argv[0], *argv[1:], web.url],
                      content=MALFORMED[what])
    assert reply.startswith(b"250 2.0.0 ") and err == []
    ((_, _, _, body),) = web.requests
    said = json.loads(body)
    assert "Lunch" in said.get("title", said["text"]) and "At noon?" in said["text"]


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


def test_attachment_with_a_long_name(release, tmp_path):
    """What a file system has room for are octets; the end of the name is what tells the type."""
    message = email.message.EmailMessage()
    message.add_attachment(b"x", maintype="application", subtype="pdf",
                           filename="日" * 200 + ".pdf")
    content = message.as_bytes(policy=email.policy.SMTP)
    folder = tmp_path / "scans"
    folder.mkdir()
    reply, _ = send(release, tmp_path, [EXAMPLES / "attachments.py", folder], content=content)
    assert reply == b"250 2.0.0 1 saved"
    (path,) = folder.iterdir()
    assert re.fullmatch(r"[0-9a-f.]+-1-日{30,}\.pdf", path.name)


def test_attached_message_that_python_cannot_write(release, tmp_path):
    """Nothing is lost: the whole message is kept in its place."""
    content = (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
               b"Content-Type: message/rfc822; name=a.eml\r\n\r\n"
               b"Content-Type: multipart/mixed; boundary=c\r\n\r\nno part \xff\r\n--b--\r\n")
    reply, _ = send(release, tmp_path, [EXAMPLES / "attachments.py", tmp_path], content=content)
    assert reply == b"250 2.0.0 1 saved"
    (path,) = tmp_path.glob("*-1-a.eml")
    assert b"no part \xff" in path.read_bytes()


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


@pytest.mark.parametrize("n", [1, 200])
def test_fixture_of_pytest(release, tmp_path, n):
    """The log of many mails, too, is more than a pipe has room for: nobody waits for it. (Each mail
    is on disk before its 250, and a disk may be busy; timeout(1) ends the server as well.)"""
    text = (EXAMPLES / "test_mail.py").read_text()
    text = text.replace("    with smtplib", f"    for _ in range({n}):\n     with smtplib")
    text = text.replace("(mail,) = mails.wait()", f"mail, *_ = mails.wait({n})")
    (tmp_path / "test_mail.py").write_text(text)
    done = subprocess.run(["timeout", str(6 * PATIENCE), "/usr/bin/python3", "-m", "pytest", "-q",
                           "-p", "no:cacheprovider", "--basetemp", tmp_path / "run",
                           tmp_path / "test_mail.py"], capture_output=True, text=True,
                          env=environment(SMTPD=release, PYTHONDONTWRITEBYTECODE="1"),
                          cwd=tmp_path, check=False)
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
    assert (done.returncode, done.stderr) == (status, "")
    assert ("\nDelivered-To: bob@example.net\n" in done.stdout
            and done.stdout.endswith("\n\nbody\n")) == (status == 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("server, said", [
    ("/nowhere/smtpd", r".*/nowhere/smtpd: (No such file|not found).*\n"),
    ("""#!/bin/sh
sleep 0.2; echo 'smtpd: cannot' >&2; exit 75""", r"smtpd: cannot\n")])
def test_shell_test_without_a_server(tmp_path, server, said):
    """Its reason is all that is said."""
    if server.startswith("#!"):
        (tmp_path / "smtpd").write_text(server)
        (tmp_path / "smtpd").chmod(0o755)
        server = str(tmp_path / "smtpd")
    done = subprocess.run([EXAMPLES / "test-mail.sh", "true"], capture_output=True, text=True,
                          env=environment(SMTPD=server), timeout=PATIENCE, check=False)
    assert done.returncode == 1 and re.fullmatch(said, done.stderr), done.stderr


def test_examples_use_nothing_but_posix():
    """And a linter has nothing to say."""
    for path in EXAMPLES.glob("*.sh"):
        assert path.read_text().startswith("#!/bin/sh\n")
        subprocess.run(["sh", "-n", str(path)], check=True, timeout=PATIENCE)
