# SPDX-License-Identifier: MIT
"""Strategy proxy before real mail servers: Postfix (its test sink, and a private instance), Exim,
aiosmtpd, and smtpd itself. Envelope and octets are compared with what was sent."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import missing, need, need_root
from exim import Exim
from manual import readme_block
from postfix import MAILBOX, Postfix
from proxy import HUGE, LARGE, RECEIVED, SMALL, as_sent, play, proxy
from session import (PATIENCE, STAY, Session, environment, free_port, stop, tcp_pair, wait_until,
                     with_x_peer)

CONTENTS = {
    "small": SMALL,
    "dots": b"From: a@example.org\r\nSubject: dots\r\n\r\n..\r\n...\r\n..a\r\na.\r\n\r\n..\r\n",
    "8 bits": b"Subject: \xc3\xa4\r\nMIME-Version: 1.0\r\n\r\n"
    + b"f\xc3\xbcr \xff\xfe\x80\r\n" * 50,
    "large": LARGE,
    "blank lines": b"Subject: x\r\n folded\r\n\r\n\r\n\r\nbody  \r\n\t\r\n\r\n",
    "no header": b" no\r\nfield\r\n\r\nbody\r\n",
    "mbox": b"From a@example.org Sat Nov 21\r\nSubject: x\r\n\r\nbody\r\n",
}


def lf_text(content):
    return re.sub(rb"^\.", b"", content, flags=re.M).replace(b"\r\n", b"\n")


def behind_received(text):
    """Our Received's parts, and the LF text behind it."""
    match = RECEIVED.search(text)
    assert match, text[:2000]
    return match.groupdict(), text[match.end() :]


def is_listening(address, process):
    assert process.poll() is None, "the server has ended"
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as sock:
        return sock.connect_ex(address) == 0


@contextlib.contextmanager
def server(log, address, *argv, **popen):
    """A process that listens there, and its log."""
    with open(log, "wb") as file:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                   start_new_session=True, **popen)
    try:
        if address:
            wait_until(lambda: is_listening(address, process), argv[0])
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            # the group is what we have started, and its children
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        stop(process)


@contextlib.contextmanager
def tcpserver(folder, *argv, env=None):
    """A program for each connection; the port."""
    log = folder / "tcpserver.out"
    with server(log, None, need("tcpserver"), "-1HRl0", "127.0.0.1", "0", *argv,
                env=env or environment(), cwd=folder) as process:
        def port():
            assert process.poll() is None
            return re.match(rb"(\d+)\n", log.read_bytes())

        yield int(wait_until(port, "tcpserver")[1])


@pytest.fixture(scope="module")
def folder():
    """One that other users may enter."""
    with tempfile.TemporaryDirectory(prefix="smtpd-upstreams.", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        yield Path(name)


# --- smtp-sink ------------------------------------------------------------------------------------


@contextlib.contextmanager
def smtp_sink(tmp_path, *options):
    need_root()
    path = str(tmp_path / "sink")
    argv = [need("smtp-sink"), "-u", "root", "-d", str(tmp_path / "dump."), *options,
            f"unix:{path}", "10"]
    with server(tmp_path / "sink.log", path, *argv):
        yield path


def dumps(tmp_path):
    """Non-empty ones: a message that was given up leaves an empty file, or none."""
    return [p.read_bytes() for p in sorted(tmp_path.glob("dump.*")) if p.stat().st_size]


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("options", [[], ["-p"], ["-e"], ["-L"]],
                         ids=["ESMTP", "no pipelining", "SMTP", "LMTP"])
def test_smtp_sink(smtpd, tmp_path, name, options):
    content = CONTENTS[name]
    with smtp_sink(tmp_path, *options) as path:
        outcome = play(proxy(smtpd, path,
                             *(["--upstream-protocol=lmtp"] if "-L" in options else [])), tmp_path,
                       content)
        if name == "8 bits" and options == ["-e"]:
            assert outcome.last.startswith(b"554 5.6.3 ")
            return
        assert outcome.codes == [250, 250, 250, 354, 250]
        (dump,) = wait_until(lambda: dumps(tmp_path), "the dump")
    assert b"X-Mail-Args: <a@example.org>\n" in dump
    assert dump.count(b"X-Rcpt-Args: <b@example.com>\n") == 1
    assert b"X-Helo-Args: mx.example.com\n" in dump
    assert behind_received(dump)[1] == as_sent(lf_text(content)) + b"\n"


# what the switch does to a command, and the code that ends the session with us; 250: none does
REJECTS = {
    "-f": {"CONNECT": 451, "EHLO": 250, "EHLO,HELO": 451, "MAIL": 500, "RCPT": 500, "DATA": 500,
           ".": 500},
    "-r": {"CONNECT": 451, "EHLO": 451, "MAIL": 450, "RCPT": 450, "DATA": 450, ".": 450},
    "-q": {"CONNECT": 451, "EHLO": 451, "MAIL": 451, "RCPT": 451, "DATA": 451, ".": 451,
           "QUIT": 250},
    "-Q": {"CONNECT": 451, "EHLO": 451, "MAIL": 451, "RCPT": 451, "DATA": 451, ".": 451,
           "QUIT": 250},
}


@pytest.mark.parametrize(("switch", "command", "code"),
                         [(s, c, code) for s, cs in REJECTS.items() for c, code in cs.items()])
def test_smtp_sink_rejects(smtpd, tmp_path, switch, command, code):
    with smtp_sink(tmp_path, switch, command) as path:
        outcome = play(proxy(smtpd, path, "--upstream-timeout=5"), tmp_path)
    assert outcome.codes[-1] == code and outcome.seconds < 2
    if command in ("MAIL", "RCPT", "DATA", ".") and switch in "-f-r":
        assert len(outcome.codes) == {"MAIL": 2, "RCPT": 3, "DATA": 5, ".": 5}[command]
        assert outcome.last.endswith(b".3.0 Error: command failed")
    assert (b"duplicate possible" in outcome.log) == (switch == "-q" and command == ".")


def test_smtp_sink_aborts_in_the_body(smtpd, tmp_path):
    """550 after DATA, and it reads no more."""
    with smtp_sink(tmp_path, "-A", "0") as path:
        outcome = play(proxy(smtpd, path, "--upstream-timeout=2"), tmp_path, HUGE)
    assert outcome.codes[-1] == 451 and outcome.seconds < 5


def test_many_messages_from_smtp_source(release, tmp_path):
    """Postfix's load pair, with us between them."""
    with smtp_sink(tmp_path) as path, tcpserver(tmp_path, *proxy(release, path)) as port:
        source = [need("smtp-source"), "-m", "200", "-s", "5", "-r", "3", "-l", "20000",
                  f"127.0.0.1:{port}"]
        subprocess.run(source, check=True, timeout=60)
        assert len(wait_until(lambda: len(d := dumps(tmp_path)) >= 200 and d,
                              "200 messages")) == 200
    assert all(d.count(b"X-Rcpt-Args: ") == 3 for d in dumps(tmp_path))


# --- Postfix --------------------------------------------------------------------------------------

SETTINGS = MAILBOX + """\
inet_protocols = all
local_header_rewrite_clients =
smtpd_recipient_restrictions = check_recipient_access inline:{nobody@example.com=REJECT, later@example.com=DEFER}, permit
default_transport = error:nothing leaves this host
relay_transport = error:nothing leaves this host
message_size_limit = 2000000
"""


def take(postfix):
    """The next message that comes into the mailbox."""
    path = wait_until(postfix.mailbox, "delivery")[0]
    text = path.read_bytes()
    path.unlink()
    return text


@pytest.fixture(scope="module")
def postfix(folder):
    """Its service allows XCLIENT."""
    with Postfix(folder / "postfix", SETTINGS, readme_block("127.0.0.1:10025 "),
                 bounce="discard") as it:
        yield it


@pytest.mark.parametrize("name", CONTENTS)
def test_postfix(smtpd, tmp_path, postfix, name):
    outcome = play(proxy(smtpd, postfix), tmp_path, CONTENTS[name])
    assert outcome.codes == [250, 250, 250, 354, 250]
    queue_id = re.fullmatch(rb"250 2\.0\.0 Ok: queued as ([0-9A-F]+)", outcome.last)[1]
    text = take(postfix)
    assert text.startswith(b"Return-Path: <a@example.org>\nX-Original-To: "
                           b"b@example.com\nDelivered-To: b@example.com\n")
    assert queue_id in text and queue_id in outcome.log
    assert behind_received(text)[1] == as_sent(lf_text(CONTENTS[name]))


def test_postfix_refuses_live(smtpd, tmp_path, postfix):
    """At RCPT, by its own rules and in its own words; and the others get theirs."""
    with Session(proxy(smtpd, postfix), tmp_path) as session:
        session.begin("EHLO")
        session.expect(
            (b"MAIL FROM:<a@example.org> SIZE=3000000", b"552 5.3.4 "),
            (b"MAIL FROM:<a@example.org>", b"250 2.1.0 Ok"),
            (b"RCPT TO:<nobody@example.com>",
             b"554 5.7.1 <nobody@example.com>: Recipient address rejected: Access denied"),
            (b"RCPT TO:<later@example.com>",
             b"450 4.7.1 <later@example.com>: Recipient address rejected: "),
            (b"RCPT TO:<b@example.com>", b"250 2.1.5 Ok"),
            (b"DATA", b"354 "),
        )
        session.say(SMALL)
        session.expect((b".", b"250 2.0.0 Ok: queued as "))
        assert session.end() == 0
    assert behind_received(take(postfix))[1] == with_x_peer(lf_text(SMALL), "local")


@pytest.mark.parametrize(("peer", "shown"),
                         [("192.0.2.55:4242", "[192.0.2.55]:4242"),
                          ("[2001:db8::55]:4343", "[2001:db8::55]:4343")])
def test_postfix_is_told_the_client(smtpd, postfix, peer, shown):
    """XCLIENT: our client is Postfix's client, in its log and its Received."""
    said = (b"EHLO teller.example.org\r\nMAIL FROM:<x@example.org>\r\nRCPT "
            b"TO:<b@example.com>\r\nDATA\r\n" + SMALL + b".\r\nQUIT\r\n")
    argv = proxy(smtpd, postfix, "--xclient=yes", "--relay-to=example.com", f"--peer={peer}")
    done = subprocess.run(argv, input=said, capture_output=True, timeout=PATIENCE,
                          env=environment())
    assert done.returncode == 0 and b"\n250 2.0.0 Ok: queued" in done.stdout, done
    text = take(postfix)
    address = shown[1 : shown.index("]")]
    literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    top = text[: RECEIVED.search(text).start()].decode()
    # and not (localhost ...)
    assert re.search(rf"\nReceived: from \S+ \(unknown {re.escape(literal)}\)", top), top
    assert "\nReceived: from teller.example.org (" in top, top
    wait_until(lambda: f"client=unknown[{address}]" in postfix.log(), "the log line")


def test_postfix_is_not_told_without_xclient(release, tmp_path, postfix):
    assert play(proxy(release, postfix), tmp_path, pair=tcp_pair()).codes[-1] == 250
    text = take(postfix)
    assert b"from mx.example.com (" in text[: RECEIVED.search(text).start()]


def test_postfix_with_utf8_addresses(smtpd, tmp_path, postfix):
    """Whatever this Postfix can do, we offer the same."""
    with Session(proxy(smtpd, postfix), tmp_path) as session:
        session.expect((None, b"220 "))
        has_utf8 = b"SMTPUTF8" in session.ask(b"EHLO x")
        got = session.ask("MAIL FROM:<ä@example.org> SMTPUTF8".encode())
        assert got.startswith(b"250 " if has_utf8 else b"555 ")
        assert session.end() == 0


# --- Exim -----------------------------------------------------------------------------------------

EXIM_CONF = """\
tls_advertise_hosts =
smtputf8_advertise_hosts =
queue_only
acl_smtp_rcpt = rcpt
acl_smtp_data = data
begin acl
rcpt:
  deny local_parts = nobody
       message = no such user here
  defer local_parts = later
       message = come again
  accept
data:
  deny condition = ${if match{$h_Subject:}{refused}}
       message = I do not like it
  accept
begin routers
begin transports
"""


@contextlib.contextmanager
def exim_at(private, conf):
    """A server with this configuration (see exim.CONF for its beginning): its endpoint."""
    need("tcpserver")
    private.mkdir()
    it = Exim(private)
    it.configure(conf)
    with tcpserver(private, *it.argv("-bs"), env=environment(**it.env)) as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def exim(folder):
    with exim_at(folder / "exim", EXIM_CONF) as endpoint:
        yield endpoint, folder / "exim/spool/input"


def exim_message(spool, queue_id):
    """(the envelope's file, the message) from its spool."""
    head, body = (spool / f"{queue_id}-{part}" for part in "HD")
    header, envelope = head.read_bytes(), []
    for line in header.split(b"\n\n")[0].splitlines():
        envelope.append(line)
    at = header.index(b"\n\n") + 2
    fields = []
    while at < len(header):
        match = re.match(rb"(\d{3,})(.) ", header[at:])
        assert match, header[at : at + 100]
        start, n = at + match.end(), int(match[1])
        if match[2] != b"*":  # those are deleted
            fields.append(header[start : start + n])
        at = start + n
    return envelope, b"".join(fields) + b"\n" + body.read_bytes().split(b"\n", 1)[1]


@pytest.mark.parametrize("name", CONTENTS)
def test_exim(smtpd, tmp_path, exim, name):
    endpoint, spool = exim
    outcome = play(proxy(smtpd, endpoint), tmp_path, CONTENTS[name])
    assert outcome.codes == [250, 250, 250, 354, 250]
    queue_id = re.search(rb"id=([-0-9A-Za-z]+)", outcome.last)[1].decode()
    envelope, text = exim_message(spool, queue_id)
    assert b"<a@example.org>" in envelope and b"b@example.com" in envelope
    parts, rest = behind_received(text)
    # Exim adds them
    rest = re.sub(rb"(\nX-Peer: local\n)(?:(?:Message-Id|Date|From|Sender): [^\n]*\n)+", rb"\1",
                  rest, count=1)
    assert parts["helo"] == b"client.example.org"
    assert rest == as_sent(lf_text(CONTENTS[name]))


def test_exim_refuses_live(smtpd, tmp_path, exim):
    with Session(proxy(smtpd, exim[0]), tmp_path) as session:
        session.begin("EHLO")
        session.expect(
            (b"MAIL FROM:<a@example.org>", b"250 OK"),
            (b"RCPT TO:<nobody@example.com>", b"550 no such user here"),
            (b"RCPT TO:<later@example.com>", b"451 come again"),
            (b"RCPT TO:<b@example.com>", b"250 Accepted"),
            (b"DATA", b"354 "),
        )
        session.say(b"Subject: to be refused\r\n\r\nbody\r\n")
        session.expect((b".", b"550 I do not like it"))
        assert session.send_message(SMALL).startswith(b"250 OK id=")
        assert session.end() == 0


# --- aiosmtpd -------------------------------------------------------------------------------------

HANDLER = '''\
import os, pathlib

class Raw:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 5.1.1 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        folder = pathlib.Path(os.environ["RAW"])
        (folder / "envelope").write_text(repr([envelope.mail_from, envelope.rcpt_tos]))
        (folder / "new").write_bytes(envelope.original_content)
        (folder / "new").rename(folder / "message")
        return "250 2.0.0 it is in the file"
'''


@pytest.fixture(scope="module")
def aiosmtpd(folder):
    python, private = "/usr/bin/python3", folder / "aiosmtpd"
    private.mkdir()
    if subprocess.run([python, "-c", "import aiosmtpd"], stderr=subprocess.DEVNULL).returncode:
        missing("aiosmtpd is not installed")
    (private / "raw_handler.py").write_text(HANDLER)
    port = free_port()
    argv = [python, "-m", "aiosmtpd", "-n", "-u", "-c", "raw_handler.Raw", "-l",
            f"127.0.0.1:{port}"]
    env = environment(PYTHONPATH=str(private), RAW=str(private), PYTHONDONTWRITEBYTECODE="1")
    with server(private / "log", ("127.0.0.1", port), *argv, env=env, cwd=private):
        yield f"127.0.0.1:{port}", private


@pytest.mark.parametrize("name", CONTENTS)
def test_aiosmtpd(smtpd, tmp_path, aiosmtpd, name):
    endpoint, private = aiosmtpd
    outcome = play(proxy(smtpd, endpoint), tmp_path, CONTENTS[name])
    assert outcome.codes == [250, 250, 250, 354, 250]
    assert outcome.last == b"250 2.0.0 it is in the file"
    message = (private / "message").read_bytes()
    assert b"\n" not in message.replace(b"\r\n", b"")
    assert behind_received(message.replace(b"\r\n", b"\n"))[1] == as_sent(lf_text(CONTENTS[name]))
    assert (private / "envelope").read_text() == "['a@example.org', ['b@example.com']]"


def test_aiosmtpd_envelope(smtpd, tmp_path, aiosmtpd):
    endpoint, private = aiosmtpd
    with Session(proxy(smtpd, endpoint), tmp_path) as session:
        session.begin("EHLO")
        session.expect(
            ("MAIL FROM:<ä@example.org> SMTPUTF8 BODY=8BITMIME".encode(), b"250 "),
            (b"RCPT TO:<nobody@example.com>", b"550 5.1.1 no such user here"),
            ("RCPT TO:<ü@example.com>".encode(), b"250 2.1.5 OK"),
            (b'RCPT TO:<"a b\\">"@example.com>', b"250 2.1.5 OK"),
            (b"DATA", b"354 "),
        )
        session.say(SMALL)
        session.expect((b".", b"250 2.0.0 it is in the file"))
        assert session.end() == 0
    sender, recipients = eval((private / "envelope").read_text())
    assert sender == "ä@example.org" and recipients == ["ü@example.com", '"a b\\">"@example.com']


# --- ourselves ------------------------------------------------------------------------------------

SCRIPT = """\
case $SMTPD_RCPT_TO in *full*) echo "452 4.2.2 mailbox full"; exit 75;; *off*) exit 67;; esac
printf '%s|%s' "$SMTPD_MAIL_FROM" "$SMTPD_RCPT_TO" >"$OUT/envelope"
cat >"$OUT/message"
echo "250 2.0.0 filed"
"""


@pytest.fixture
def ourselves(smtpd, tmp_path):
    """The same program as LMTP server, with a program for each message."""
    script = tmp_path / "script"
    script.write_text(SCRIPT)
    argv = [smtpd, *STAY, "--config=/dev/null", "--hostname=inner.example.com", "--protocol=lmtp",
            "--strategy=exec", f"--command=/bin/sh {script}"]
    with tcpserver(tmp_path, *argv, env=environment(OUT=str(tmp_path))) as port:
        yield f"127.0.0.1:{port}"


@pytest.mark.parametrize("name", CONTENTS)
def test_ourselves(smtpd, tmp_path, ourselves, name):
    outcome = play(proxy(smtpd, ourselves, "--upstream-protocol=lmtp"), tmp_path, CONTENTS[name])
    assert outcome.codes == [250, 250, 250, 354, 250] and outcome.last == b"250 2.0.0 filed"
    assert behind_received(
        (tmp_path / "message").read_bytes())[1] == as_sent(lf_text(CONTENTS[name]))
    assert (tmp_path / "envelope").read_text() == "a@example.org|b@example.com"


@pytest.mark.parametrize(("recipient", "verdict"),
                         [(b"full@example.com", b"452 4.2.2 mailbox full"),
                          (b"off@example.com", b"5")])
def test_ourselves_refusing(smtpd, tmp_path, ourselves, recipient, verdict):
    with Session(proxy(smtpd, ourselves, "--upstream-protocol=lmtp", "--protocol=lmtp"),
                 tmp_path) as session:
        session.expect((None, b"220 "), (b"LHLO x", b"250-"),
                       (b"MAIL FROM:<a@example.org>", b"250 "),
                       (b"RCPT TO:<%s>" % recipient, b"250 "),
                       (b"RCPT TO:<b@example.com>", b"250 "), (b"DATA", b"354 "))  # fmt: skip
        session.say(SMALL)
        session.expect((b".", verdict), (None, verdict))
        assert session.end() == 0
    assert not (tmp_path / "message").exists()
