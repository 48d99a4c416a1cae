# SPDX-License-Identifier: MIT
"""Strategy proxy before other real mail servers: Exim, aiosmtpd, and smtpd itself. Envelope and
octets are compared with what was sent."""

import re
import subprocess

import pytest
from conftest import missing
from exim import EXIM_CONF, exim_at
from proxy import SMALL, as_sent, play, proxy
from servers import CONTENTS, HANDLER, behind_received, lf_text, server, tcpserver
from servers import folder  # noqa: F401 (a fixture)
from session import STAY, Session, environment, free_port

# --- Exim -----------------------------------------------------------------------------------------


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
