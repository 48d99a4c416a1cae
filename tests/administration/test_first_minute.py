# SPDX-License-Identifier: MIT
"""A developer's first minute: each command of README's section, and of the examples in smtpd(8), is
typed as it stands there, and mail is sent to it; then what applications are written with sends mail
to the first of them."""

import contextlib
import os
import pty
import re
import signal
import smtplib
import ssl
import subprocess
import time
import urllib.parse
from email.message import EmailMessage

import pytest
from conftest import BUILDS, ROOT, missing, need
from manual import literals, readme_block, readme_blocks, section
from session import PATIENCE, STAY, environment, free_port, printed, stop, wait_until
from web_server import web  # noqa: F401 (a fixture)

README = (ROOT / "README.md").read_text()
PORTS = "1025", "1465", "8080"


def in_readme():
    """Commands that listen until they are told to stop."""
    for block in readme_blocks():
        yield from (line for line in block.splitlines() if "smtpd --listen=1025" in line
                    and not line.endswith("&"))


def in_manual():
    yield from (text[2:].rstrip() for _,
                text in literals(section("smtpd.8", "EXAMPLES")) if "smtpd --listen=1025" in text)


def test_manual_begins_as_readme_does():
    """The same commands in the same order; the manual's are typed where the programs are installed,
    and `mails` is there."""
    in_order = [
        re.sub("^mkdir -p mails && |build/(?=smtpd)", "", line).replace("='examples/", "='./")
        for line in in_readme()]
    assert len(in_order) >= 7 and in_order == list(in_manual())
    assert literals(section("smtpd.8", "DESCRIPTION"))[0] == ("", f"$ {in_order[0]}\n")


# --- a command, and a mail to it ------------------------------------------------------------------


def mail(text="At noon?\n", **more):
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "Müller's <shop@example.org>", "Bob <bob@example.net>", "Ihre Bestellung"
    made.set_content(text, **more)
    return made


class Typed:
    """A command line in a shell, in a folder with what it names. Ports are others than it says:
    `ports` has them."""

    def __init__(self, smtpd, folder, line, ports=()):
        self.folder, self.ports = folder, {port: str(free_port()) for port in PORTS} | dict(ports)
        (folder / "build").symlink_to(os.path.dirname(smtpd))
        (folder / "examples").symlink_to(ROOT / "examples")
        (folder / "webhook.sh").symlink_to(ROOT / "examples/webhook.sh")
        (folder / "mails").mkdir()
        line = re.sub("|".join(PORTS), lambda m: self.ports[m[0]], line).replace("* 30'", "* 1'")
        line = line.replace("smtpd --listen", " ".join(["smtpd", *STAY, "--listen"]), 1)
        env = environment(PATH=os.path.dirname(smtpd) + ":" + os.environ["PATH"])
        script = re.sub("(?:.* && )?", r"\g<0>exec ", line, count=1)
        with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
            self.process = subprocess.Popen(["sh", "-c", script], cwd=folder, env=env,
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        n = 4 if "--listen-tls=" in line else 2  # of 127.0.0.1 and ::1

        def is_listening():
            assert self.process.poll() is None, self.err().decode()
            return self.err().count(b"smtpd: listening ") == n
        try:
            wait_until(is_listening, "it to listen")
        except BaseException:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.kill()
        elif self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            assert self.process.wait(PATIENCE) == 0, self.err().decode()

    def kill(self):
        stop(self.process)

    def err(self):
        return (self.folder / "err").read_bytes()

    def out(self):
        return (self.folder / "out").read_bytes()

    def send(self, message=None, to="bob@example.net", port="1025", kind=smtplib.SMTP, tls=None,
             **more):
        with kind("localhost", int(self.ports[port]), "app.example", timeout=PATIENCE,
                  **more) as client:
            if tls:
                client.starttls(context=tls)
            client.send_message(message or mail(), to_addrs=[to])


def prints(server):
    server.send()
    (message,) = printed(server.out())
    assert b"\nTo: Bob <bob@example.net>\n" in message and message.endswith(b"\n\nAt noon?\n")
    assert server.err().count(b" config=none\n") == 2
    assert b' verdict="250 2.0.0 printed"' in server.err()


def shows(server):
    """The screen that README has."""
    message = mail("Vielen Dank! Ihre Rechnung: <https://shop.example.org/r/17>\n",
                   charset="iso-8859-1", cte="base64")
    message.add_attachment(bytes(48213), maintype="application", subtype="pdf",
                           filename="Rechnung.pdf")
    server.send(message)
    screen = re.search(r"^    -+ MESSAGE -+\n(?s:.*?)END MESSAGE -+\n", README, re.M)[0]
    assert server.out().decode().replace("::1", "127.0.0.1") == re.sub("^    ", "", screen,
                                                                       flags=re.M)


def keeps(server):
    server.send()
    (file,) = (server.folder / "mails/new").iterdir()
    assert file.read_bytes().endswith(b"\n\nAt noon?\n")


def logs_in(server):
    with smtplib.SMTP("localhost", int(server.ports["1025"]), "app.example",
                      timeout=PATIENCE) as client:
        client.login("alice", "open sesame")
        client.send_message(mail(), to_addrs=["bob@example.net"])
    assert len(printed(server.out())) == 1
    assert b" user=alice\n" in server.err() and b"sesame" not in server.err() + server.out()


def waits(server):
    server.send()
    assert server.process.wait(PATIENCE) == 0  # by itself
    assert len(printed((server.folder / "mail.txt").read_bytes())) == 1


def fails(server):
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        server.send()
    assert refused.value.recipients == {"bob@example.net": (550, b"5.1.1 unknown")}
    begin = time.monotonic()
    server.send(to="eve@example.net")
    assert time.monotonic() - begin >= 1 and len(printed(server.out())) == 1


def speaks_tls(server):
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    server.send(tls=trusting)
    server.send(port="1465", kind=smtplib.SMTP_SSL, context=trusting)
    server.send()
    assert len(printed(server.out())) == 3 and server.err().count(b" protocol=ESMTPS ") == 4


def posts(server):
    server.send()
    ((_, path, headers, body),) = server.web.requests
    assert (path, headers["X-Rcpt-To"]) == ("/mail", "<bob@example.net>")
    assert body.endswith(b"\n\nAt noon?\n")


CHECKS = {"--strategy=show": shows, "--strategy=maildir": keeps, "--count=": waits,
          "--reply=": fails, "--tls-certificate=": speaks_tls,
          "--auth=": logs_in, "--strategy=exec": posts}


@pytest.mark.parametrize("line", sorted({*in_readme(), *in_manual()}))
def test_command(release, tmp_path, web, line):  # noqa: F811
    for option, helper in (("--strategy=show", "smtpd-show"), ("--tls", "smtpd-tls")):
        if option in line and not (BUILDS["release"] / helper).exists():
            missing(f"smtpd was built without {helper}")
    need(*{"curl"} if "webhook" in line else ["sh"], "timeout")
    check, = [check for option, check in CHECKS.items() if option in line] or [prints]
    with Typed(release, tmp_path, line, {"8080": web.url.rpartition(":")[2]}) as server:
        server.web = web
        check(server)


FIRST = next(in_readme())


def test_first_command(smtpd, tmp_path):
    with Typed(smtpd, tmp_path, FIRST) as server:
        prints(server)


# --- on a terminal --------------------------------------------------------------------------------


class Terminal:
    """The command as a person types it, at a terminal of its own."""

    def __init__(self, smtpd, *options):
        self.said = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                os.execve(smtpd, [smtpd, *STAY, *options], environment())
            finally:
                os._exit(127)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)

    def read(self, pattern):
        """Until it has been said."""
        os.set_blocking(self.master, False)

        def more():
            with contextlib.suppress(OSError):  # EAGAIN; EIO: all have closed it
                self.said += os.read(self.master, 65536)
            return re.search(pattern, self.said)
        return wait_until(more, pattern)

    def status(self):
        """Its exit status."""
        _, status = wait_until(lambda: (ended := os.waitpid(self.pid, os.WNOHANG))[0] and ended,
                               "its end")
        return os.waitstatus_to_exitcode(status)


def test_a_person_at_a_terminal(smtpd):
    """The log and the mail are on it; ^C is the end of it, and of no mail."""
    port = free_port()
    with Terminal(smtpd, f"--listen={port}") as terminal:
        terminal.read(rb"listening address=\[::1\]:.*\r\n")
        with smtplib.SMTP("localhost", port, timeout=PATIENCE) as client:
            client.send_message(mail())
        terminal.read(rb"\r\n\r\nAt noon\?\r\n-+ END MESSAGE -+\r\n(?s:.*)smtpd: session .*\r\n")
        os.write(terminal.master, b"\x03")
        assert terminal.status() == 0 and not re.search(rb"(?m)^421", terminal.said)


def test_person_types(smtpd):
    """A session without any option, by hand; what is wrong is said, and nobody is turned away for
    it."""
    with Terminal(smtpd, "--config=/dev/null") as terminal:
        for said, heard in ((b"", rb"220 .*"), (b"HELLO\n", rb"500 .*"), (b"HELO me\n", rb"250 .*"),
                            (b"MAIL FROM:<a@example.org>\n", rb"250 2.1.0 .*"),
                            (b"RCPT TO:<b@example.net>\n", rb"250 2.1.5 .*"),
                            (b"DATA\n", rb"354 .*"),
                            (b"\nHi!\n.\n", rb"Hi!\r\n-+ END .*\r\n(?s:.*)250 2.0.0 .*")):
            os.write(terminal.master, said)
            terminal.read(heard + rb"\r\n")
        os.write(terminal.master, b"\x03")
        terminal.read(rb"421 4.3.2 .*\r\n")
        assert terminal.status() == 0 and b"421 4.3.5" not in terminal.said


# --- what applications are written with -----------------------------------------------------------

NODEMAILER = """
require("nodemailer").createTransport({ host: "localhost", port: process.argv[2] }).sendMail(
    { from: "shop@example.org", to: "bob@example.net", subject: "Grüße", text: ".At noon?\\n" }).catch(e => { console.error(e); process.exit(1); });
"""
PHPMAILER = """<?php
require "libphp-phpmailer/autoload.php";
$mail = new PHPMailer\\PHPMailer\\PHPMailer(true);
$mail->isSMTP();
[$mail->Host, $mail->Port, $mail->CharSet, $mail->Subject, $mail->Body] = ["localhost", $argv[1], "UTF-8", "Grüße", ".At noon?"];
$mail->setFrom("shop@example.org");
$mail->addAddress("bob@example.net");
$mail->send();
"""
SYMFONY = """<?php
require "Symfony/Component/Mailer/autoload.php";
$mail = (new Symfony\\Component\\Mime\\Email())->from("shop@example.org")->to("bob@example.net")->subject("Grüße")->text(".At noon?");
(new Symfony\\Component\\Mailer\\Mailer(Symfony\\Component\\Mailer\\Transport::fromDsn($argv[1])))->send($mail);
"""
PHP_MAIL = """<?php
exit(mail("bob@example.net", "Gruesse", ".At noon?", ["From" => "shop@example.org"]) ? 0 : 1);
"""


def has_mail(message):
    """None of it is lost or changed on its way."""
    return re.search(rb"^Subject: \S", message,
                     re.M) and message.rstrip(b"\n").endswith(b"\n\n.At noon?")


def php(folder, program, *argv):
    """Its exit status tells: false of mail(), an exception of the others."""
    (folder / "send.php").write_text(program)
    done = subprocess.run([need("php"), *argv[:-1], str(folder / "send.php"), argv[-1]],
                          capture_output=True, text=True, timeout=PATIENCE,
                          env=environment(HOME=str(folder)))
    if "Failed opening required" in done.stdout + done.stderr:
        missing("the packages of tests/packages for PHP are not installed")
    assert done.returncode == 0, done.stdout + done.stderr


def by_nodemailer(folder, port):
    (folder / "send.js").write_text(NODEMAILER)
    env = environment(NODE_PATH="/usr/share/nodejs")  # where Debian's packages are
    done = subprocess.run([need("node"), str(folder / "send.js"), port], capture_output=True,
                          text=True, timeout=PATIENCE, env=env)
    if "Cannot find module" in done.stderr:
        missing("nodemailer is not installed")
    assert done.returncode == 0, done.stderr


def by_mail_of_php(folder, port):
    """The line for php.ini; what PHP calls then needs a configuration file only if there is one."""
    need("msmtp")
    (folder / "php.ini").write_text(readme_block("sendmail_path = ").replace("1025", port))
    php(folder, PHP_MAIL, "-c", str(folder / "php.ini"), port)


APPLICATIONS = {
    "nodemailer": by_nodemailer,
    "PHPMailer": lambda folder, port: php(folder, PHPMAILER, port),
    "Symfony": lambda folder, port: php(folder, SYMFONY, f"smtp://localhost:{port}"),
    "PHP's mail()": by_mail_of_php,
}


def test_applications(release, tmp_path):
    with Typed(release, tmp_path, FIRST) as server:
        for n, (name, send) in enumerate(APPLICATIONS.items()):
            send(tmp_path, server.ports["1025"])
            assert len(
                printed(server.out())) == n + 1 and has_mail(
                    printed(server.out())[-1]), (name, server.err())


def test_symfony_calls_sendmail(release, tmp_path):
    """By the line that README has for it: it says sendmail -bs, and no mail is on a standard error
    that nobody reads."""
    line = re.search(r"`(smtpd -bs [^`]*)`", README)[1]
    (tmp_path / "mails").mkdir()
    command = line.replace(
        "DIR", str(tmp_path / "mails")).replace("smtpd -bs", f"{release} -bs --config=/dev/null", 1)
    php(tmp_path, SYMFONY, "sendmail://default?command=" + urllib.parse.quote(command))
    (file,) = (tmp_path / "mails/new").iterdir()
    assert has_mail(file.read_bytes())
