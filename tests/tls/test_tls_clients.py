# SPDX-License-Identifier: MIT
"""TLS from a client's first octet to the message, with real clients: STARTTLS and TLS from the
first octet, each at its port of one acceptor with the real engine."""

import concurrent.futures
import contextlib
import os
import re
import signal
import smtplib
import subprocess
import time
import xml.etree.ElementTree

import pytest
from acceptor import folder
from conftest import missing, need
from exim import Exim
from postfix import Postfix
from processes import is_running
from session import PATIENCE, environment, wait_until, with_x_peer
from tls import NAME, Certificate, client_context, engine_of
from tls_real_door import RealDoor

_ = folder  # a fixture
MESSAGE = b"Subject: TLS\n\n" + b".a line\n" * 3
WIRE = MESSAGE.replace(b"\n", b"\r\n")
KINDS = ("starttls", "implicit")


class Ports(RealDoor):
    def __init__(self, smtpd, folder, pair, *options):
        engine_of(smtpd)
        super().__init__(smtpd, folder, pair, "--tls=required", "--listen-tls=127.0.0.1:0",
                         *options, n=2)

    def port(self, kind):
        return int(self.addresses[KINDS.index(kind)].rpartition(":")[2])


@contextlib.contextmanager
def opened(smtpd, folder):
    with Ports(smtpd, folder, Certificate(folder)) as it:
        it.certificate = str(folder / f"{NAME}.ecdsa.crt")
        yield it


@pytest.fixture
def door(release, folder):
    """Clients differ in what they say to OpenSSL, which has no sanitizers in either build."""
    with opened(release, folder) as it:
        yield it


def has_message(door, *fields):
    """It came whole, and inside TLS."""
    (message,) = door.messages()
    (line,) = wait_until(lambda: door.log("message "), "the log")
    assert re.search(rb" protocol=(ESMTPS|UTF8SMTPS) ",
                     line) and re.search(rb' tls="TLSv1\.[23] [A-Z0-9_-]+" ', line), line
    assert all(field in line for field in fields), line
    return message


def run(argv, **given):
    done = subprocess.run(argv, stdin=None if "input" in given else subprocess.DEVNULL,
                          capture_output=True, timeout=2 * PATIENCE, check=False,
                          **given)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:].decode(errors="replace")
    return done.stdout


# --- each client ----------------------------------------------------------------------------------


@contextlib.contextmanager
def smtplib_session(door, kind, context=None):
    if context is None:
        context = client_context()
        context.load_verify_locations(door.certificate)
        context.verify_mode, context.check_hostname = 2, True
    client = smtplib.SMTP(local_hostname="client.example.org", timeout=PATIENCE)
    if kind == "implicit":
        client = smtplib.SMTP_SSL(local_hostname="client.example.org", timeout=PATIENCE,
                                  context=context)
    client._host = NAME  # what it verifies
    with client:
        client.connect(
            "127.0.0.1", door.port(kind)) if kind == "starttls" else connect_to(
                client, door.port(kind), context)
        if kind == "starttls":
            client._host = NAME
            client.starttls(context=context)
        yield client


def connect_to(client, port, context):
    """smtplib has one name for where it connects and for whom it expects there."""
    client._get_socket = lambda host, port, timeout: context.wrap_socket(
        smtplib.SMTP._get_socket(client, host, port, timeout), server_hostname=NAME)
    client.connect("127.0.0.1", port)


@pytest.mark.parametrize("kind", KINDS)
def test_smtplib(smtpd, folder, kind):
    """It verifies the certificate, and the name in it."""
    with opened(smtpd, folder) as door:
        with smtplib_session(door, kind) as client:
            assert client.sendmail("a@example.org", ["b@example.com"], WIRE) == {}
            assert client.sock.version() == "TLSv1.3"
        assert has_message(door) == with_x_peer(MESSAGE, "127.0.0.1")


@pytest.mark.parametrize("kind", KINDS)
def test_tls_swaks(door, kind):
    run([need("swaks"), "--server", "127.0.0.1", "--port", str(door.port(kind)),
         "--tls" if kind == "starttls" else "--tls-on-connect",
         "--from", "a@example.org", "--to", "b@example.com", "--timeout", str(PATIENCE)],
        env=environment(HOME="/nonexistent"))
    assert b"This is a test mailing" in has_message(door)


@pytest.mark.parametrize("kind", KINDS)
def test_tls_curl(door, folder, kind):
    (folder / "mail").write_bytes(WIRE)
    scheme = "smtp" if kind == "starttls" else "smtps"
    port = door.port(kind)
    run([need("curl"), "-q", "--noproxy", "*", "-sS", "--max-time", str(PATIENCE), "--ssl-reqd",
         "--cacert", door.certificate,
         "--connect-to", f"{NAME}:{port}:127.0.0.1:{port}",
         f"{scheme}://{NAME}:{port}/client.example.org", "--mail-from", "a@example.org",
         "--mail-rcpt", "b@example.com", "--upload-file", str(folder / "mail")])
    assert has_message(door, f" sni={NAME} ".encode()) == with_x_peer(MESSAGE, "127.0.0.1")


@pytest.mark.parametrize("kind", KINDS)
def test_tls_msmtp(door, kind):
    run([need("msmtp"), "-C", "/dev/null", "--host=127.0.0.1", f"--port={door.port(kind)}",
         "--timeout=20", "--auth=off", "--tls=on",
         f"--tls-starttls={'on' if kind == 'starttls' else 'off'}", "--tls-certcheck=off",
         "--domain=client.example.org",
         "--from=a@example.org", "--set-from-header=off", "--set-date-header=off",
         "--set-msgid-header=off", "--", "b@example.com"],
        input=MESSAGE)
    assert has_message(door) == with_x_peer(MESSAGE, "127.0.0.1")


NODEMAILER = """
const [port, kind, certificate] = process.argv.slice(2);
const transport = require("nodemailer").createTransport({
    host: "127.0.0.1", port, secure: kind === "implicit", requireTLS: true, name: "client.example.org",
    tls: { ca: require("fs").readFileSync(certificate), servername: "%s" } });
transport.sendMail({ from: "a@example.org", to: "b@example.com", subject: "TLS", text: ".a line" }).then(
    sent => console.log(sent.response), error => { console.error(error); process.exit(1); });
""" % NAME


@pytest.mark.parametrize("kind", KINDS)
def test_nodemailer(door, folder, kind):
    node = need("node")
    env = environment(NODE_PATH="/usr/share/nodejs")  # where Debian's packages are
    if subprocess.run([node, "-e", "require('nodemailer')"], env=env, stderr=subprocess.DEVNULL,
                      check=False).returncode:
        missing("nodemailer is not installed")
    (folder / "send.js").write_text(NODEMAILER)
    said = run([node, str(folder / "send.js"), str(door.port(kind)), kind, door.certificate],
               env=env)
    assert said == b"250 2.0.0 printed\n"
    message = has_message(door, f" sni={NAME} ".encode())
    assert b"Subject: TLS\n" in message and message.endswith(b"\n.a line\n")


S_CLIENT = [(b"EHLO client.example.org", b"250 "), (b"MAIL FROM:<a@example.org>", b"250 "),
            (b"rCPT TO:<b@example.com>", b"250 "), (b"DATA", b"354 "), (b"Subject: TLS\n\n.", b"250 ")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_tls_s_client(door, version, kind):
    """ALPN, new keys before each line, and an end without close_notify. (It takes a line that
    begins with R for an order to renegotiate.)"""
    argv = [need("openssl"), "s_client", "-connect", f"127.0.0.1:{door.port(kind)}", "-crlf",
            "-alpn", "smtp", version, *(["-starttls", "smtp"] if kind == "starttls" else [])]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, bufsize=0) as client:
        said = read_until(client, b"220 " if kind == "implicit" else b"250 ")
        assert b"ALPN protocol: smtp" in said
        for line, reply in S_CLIENT:
            if version == "-tls1_3":
                client.stdin.write(b"K\n")
                read_until(client, b"KEYUPDATE")
            client.stdin.write(line + b"\n")
            read_until(client, reply)
        client.kill()
    wait_until(lambda: door.log("session "), "the end")
    assert has_message(door) == with_x_peer(b"Subject: TLS\n\n", "127.0.0.1")
    assert b"duplicate possible" not in door.err()


def read_until(client, word):
    """A line that begins with it."""
    lines = []
    while not lines or not lines[-1].startswith(word):
        assert (line := client.stdout.readline()), lines
        lines.append(line)
    return b"".join(lines)


# --- other mail servers ---------------------------------------------------------------------------

POSTFIX = """\
transport_maps = inline:{{starttls.example=smtp:[127.0.0.1]:{starttls}, implicit.example=smtps:[127.0.0.1]:{implicit}}}
smtp_tls_security_level = encrypt
smtp_tls_loglevel = 1
"""
SERVICES = """\
127.0.0.1:10025 inet n - n - - smtpd
smtps unix - - n - - smtp -o smtp_tls_wrappermode=yes
"""


def test_tls_postfix(door, folder):
    settings = POSTFIX.format(starttls=door.port("starttls"), implicit=door.port("implicit"))
    with Postfix(folder / "postfix", settings, SERVICES) as postfix:
        with smtplib.SMTP("127.0.0.1", postfix.port, "client.example.org", PATIENCE) as client:
            for kind in KINDS:
                client.sendmail("a@example.org", [f"b@{kind}.example"], WIRE)
        wait_until(lambda: postfix.log().count("status=") == 2, "the deliveries")
        said = postfix.log()
    assert said.count("status=sent (250 2.0.0 printed)") == 2, said
    assert all(
        f"TLS connection established to 127.0.0.1[127.0.0.1]:{door.port(kind)}: TLSv1" in said
        for kind in KINDS), said
    assert [b"Subject: TLS\n" in message for message in door.messages()] == [True, True]


@pytest.fixture(scope="module")
def exim(tmp_path_factory):
    return Exim(tmp_path_factory.mktemp("exim"))


@pytest.mark.parametrize("kind", KINDS)
def test_tls_exim(door, exim, kind):
    """GnuTLS."""
    options = ["hosts_require_tls = *", f"tls_verify_certificates = {door.certificate}",
               "tls_verify_cert_hostnames =",
               f"protocol = {'smtps' if kind == 'implicit' else 'smtp'}"]
    log = exim.send(door.port(kind), options, MESSAGE, "b@example.com")
    assert "=> b@example.com" in log, log
    assert b"Subject: TLS\n" in has_message(door)


# --- what a scanner says --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_sslscan(door, folder, kind):
    out = folder / "scan.xml"
    run([need("sslscan"), "--no-colour", f"--xml={out}",
         *(["--starttls-smtp"] if kind == "starttls" else []), f"127.0.0.1:{door.port(kind)}"])
    test = xml.etree.ElementTree.parse(out).getroot().find("ssltest")
    versions = {(p.get("type"), p.get("version")): p.get("enabled") for p in test.iter("protocol")}
    assert {name for name, enabled in versions.items() if enabled == "1"} == {("tls", "1.2"),
                                                                              ("tls", "1.3")}
    assert len(versions) >= 5
    assert test.find("renegotiation").get("supported") == "0"
    # if its library knows it
    assert {it.get("supported") for it in test.iter("compression")} <= {"0"}
    assert {it.get("supported") for it in test.iter("fallback")} <= {"1"}
    assert {it.get("vulnerable") for it in test.iter("heartbleed")} == {"0"}
    ciphers = {c.get("cipher") for c in test.iter("cipher")}
    assert ciphers and not [name for name in ciphers
                            if re.search("RC4|3DES|NULL|EXP|anon|MD5|CBC3", name)], ciphers


# --- a client that is in a hurry ------------------------------------------------------------------


def test_client_that_leaves_at_once(release, folder):
    """It has sent QUIT with its message, reads both replies, and closes: our farewell finds nobody.
    It has heard all the same."""
    with Ports(release, folder, None) as door:
        for n in range(1, 6):
            with smtplib_session(door, "starttls", client_context()) as client:
                client.ehlo()
                for line in ("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.com>", "DATA"):
                    code, _ = client.docmd(line)
                assert code == 354
                client.send(b"Subject: x\r\n\r\n.\r\nQUIT\r\n")
                assert client.getreply()[0] == 250 and client.getreply()[0] == 221
                begin = time.monotonic()
                client.close()
            wait_until(lambda n=n: len(door.log("session ")) == n, "its end")
            assert time.monotonic() - begin < 1
        assert b"duplicate possible" not in door.err()


# --- many, and the end ----------------------------------------------------------------------------


def test_tls_many_clients_at_once(release, folder):
    with Ports(release, folder, None, "--max-connections-per-source=100") as door:
        def deliver(i):
            with smtplib_session(door, KINDS[i % 2], client_context()) as client:
                client.sendmail("a@example.org", ["b@example.com"], b"Subject: %d\r\n\r\n" % i)
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            list(pool.map(deliver, range(120)))
        assert sorted(int(re.match(rb"Subject: (\d+)\n", message)[1])
                      for message in door.messages()) == list(range(120))


def test_engine_killed_while_clients_come(release, folder):
    """A client whose request was in its hands is sent away; those with TLS go on, and others wait
    for the next engine."""
    with Ports(release, folder, None, "--max-connections-per-source=100") as door:
        with smtplib_session(door, "starttls", client_context()) as early:
            failed = 0
            for i in range(12):
                if i % 4 == 1:
                    os.kill(door.engine, signal.SIGKILL)
                try:
                    with smtplib_session(door, KINDS[i % 2], client_context()) as client:
                        client.sendmail("a@example.org", ["b@example.com"],
                                        b"Subject: %d\r\n\r\n" % i)
                except (OSError, smtplib.SMTPException):
                    failed += 1
            assert failed <= 3
            early.sendmail("a@example.org", ["b@example.com"], WIRE)
        assert len(door.messages()) == 13 - failed


@pytest.mark.parametrize("kind", KINDS)
def test_stop_through_a_real_client(release, folder, kind):
    """421 through TLS, and nothing is left."""
    with Ports(release, folder, None) as door:
        with smtplib_session(door, kind, client_context()) as client:
            client.ehlo()
            keepers, engine = door.keepers(), door.engine
            door.signal(signal.SIGTERM)
            assert client.getreply()[0] == 421
            assert client.sock.recv(1) == b""  # close_notify
            client.sock = None
        assert door.status() == 0
        assert not [pid for pid in [engine, *keepers] if is_running(pid)]


def test_mail_needs_tls(door):
    with smtplib.SMTP("127.0.0.1", door.port("starttls"), timeout=PATIENCE) as client:
        client.ehlo()
        assert client.mail("a@example.org")[0] == 530
