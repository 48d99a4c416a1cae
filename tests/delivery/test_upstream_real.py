# SPDX-License-Identifier: MIT
"""TLS and AUTH toward real mail servers: Postfix (STARTTLS, port 465, Dovecot's SASL), Exim
(GnuTLS), Dovecot's submission server, aiosmtpd."""

import os
import re
import shutil
import subprocess

import pytest
from acceptor import Acceptor
from auth import DOVECOT_CONF, NAME, PASSWORD, SASL_CF, has_secret, say_by_msmtp
from conftest import everybodys, missing, need, need_root
from dovecot import for_this_dovecot
from exim import EXIM_CONF, exim_at
from logs import one
from postfix import SETTINGS, Postfix, take
from proxy import SMALL, as_sent, play, proxy
from servers import HANDLER, behind_received, lf_text, server
from servers import folder  # noqa: F401 (a fixture)
from session import environment, free_port, wait_until
from tls import engine_of
from upstream import Upstream
from upstream_tls import tls
from upstream_tls import pki  # noqa: F401 (a fixture)

TLS_CF = """\
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = encrypt
smtpd_tls_loglevel = 1
smtpd_tls_session_cache_database =
"""


@pytest.fixture(scope="module")
def postfix(folder, pki):  # noqa: F811
    """On one port with STARTTLS, which it demands; on another with TLS from the first octet."""
    settings = SETTINGS + TLS_CF.format(certificate=pki["good"].certificate, key=pki["good"].key)
    implicit = f"127.0.0.1:{free_port()}"
    services = f"127.0.0.1:10025 inet n - n - - smtpd\n{implicit} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n"
    with Postfix(folder / "postfix", settings, services) as it:
        it.implicit = implicit
        yield it


@pytest.mark.parametrize("mode", ["required", "implicit"])
def test_postfix_as_upstream_in_tls(smtpd, tmp_path, postfix, pki, mode):  # noqa: F811
    engine_of(smtpd)
    endpoint = postfix.endpoint if mode == "required" else postfix.implicit
    outcome = play(proxy(smtpd, endpoint, *tls(mode, pki)), tmp_path)
    assert outcome.codes == [250, 250, 250, 354, 250], outcome
    text = take(postfix)
    assert behind_received(text)[1] == as_sent(lf_text(SMALL)) and b"with ESMTPS id " in text
    assert one(outcome.log, "message")["secured"].startswith(b"TLSv1.3 ")


def test_postfix_without_tls(release, tmp_path, postfix):
    """What it says to those who do not start TLS."""
    assert play(proxy(release, postfix),
                tmp_path).last.startswith(b"530 5.7.0 Must issue a STARTTLS command first")


# --- Postfix that asks Dovecot who is who ---------------------------------------------------------


@pytest.fixture
def password(tmp_path):
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return path


def login(path, *more):
    return [f"--upstream-user={NAME}", f"--upstream-password={path}", *more]


@pytest.fixture(scope="module")
def private_postfix(folder, pki):  # noqa: F811
    """It offers AUTH within TLS only, and takes mail of those who have logged in."""
    need_root()
    private, program = folder / "sasl", need("dovecot")
    settings = SETTINGS.replace(", permit\n",
                                ", permit_sasl_authenticated, reject\n") + SASL_CF + "smtpd_tls_auth_only = yes\n"
    it = Postfix(private,
                 settings + TLS_CF.format(certificate=pki["good"].certificate, key=pki["good"].key),
                 bounce="discard")
    (private / "dovecot.conf").write_text(
        for_this_dovecot(DOVECOT_CONF.format(folder=private, password=PASSWORD)))
    with (server(private / "dovecot.out", str(private / "queue/sasl"), program, "-F", "-c",
                 str(private / "dovecot.conf")), it):
        yield it


@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_log_in_to_postfix(smtpd, tmp_path, private_postfix, pki, password, mechanism):  # noqa: F811
    engine_of(smtpd)
    argv = proxy(smtpd, private_postfix, *tls("required", pki),
                 *login(password, f"--upstream-auth={mechanism}"))
    outcome = play(argv, tmp_path)
    assert outcome.codes == [250, 250, 250, 354, 250], outcome
    text = take(private_postfix)
    assert f"(Authenticated sender: {NAME})".encode() in text
    assert re.search(rb"with (ESMTP|UTF8SMTP)SA id ", text)  # a newer msmtp says SMTPUTF8
    assert one(outcome.log, "message")["secured"].startswith(b"TLSv1.3 ")
    assert not has_secret(outcome.log + private_postfix.log().encode())


def test_clients_log_in_to_postfix_in_tls(release, private_postfix, pki):  # noqa: F811
    """What a client says to it goes through our engine, with a mechanism that we do not know."""
    engine_of(release)
    with everybodys(release) as program:
        private = os.path.dirname(program)
        authorities = shutil.copy(pki["ca"].certificate, private)
        options = ["--strategy=proxy", f"--upstream={private_postfix.endpoint}",
                   "--upstream-tls=required", f"--upstream-tls-ca={authorities}",
                   "--upstream-tls-name=up.example", "--auth=upstream", "--relay-from=192.0.2.1"]
        with Acceptor(program, private, *options) as door:
            done = say_by_msmtp(int(door.addresses[0].rpartition(":")[2]), "SCRAM-SHA-256")
            assert done.returncode == 0, (done, door.err())
            text = take(private_postfix)
            wait_until(lambda: b"session " in door.err(), "the session")
            log = door.err()
    assert f"(Authenticated sender: {NAME})".encode() in text
    assert re.search(rb"with (ESMTP|UTF8SMTP)SA id ", text)  # a newer msmtp says SMTPUTF8
    assert one(log, "message")["auth"] == b"SCRAM-SHA-256" and not has_secret(log)


# --- Dovecot's submission server ------------------------------------------------------------------

SUBMISSION_CONF = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = submission
hostname = dovecot.example
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
auth_mechanisms = plain login
default_internal_user = nobody
default_login_user = nobody
default_internal_group = nogroup
mail_location = maildir:{folder}/mail
submission_relay_host = 127.0.0.1
submission_relay_port = {relay}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={folder}/mail
}}
service submission-login {{
  chroot =
  inet_listener submission {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener submissions {{
    address = 127.0.0.1
    port = {implicit}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
  client_limit = 100
}}
"""


@pytest.fixture(scope="module")
def submission(folder, pki):  # noqa: F811
    """It knows who is who, and has a relay that knows what to do: (endpoints, the relay)."""
    need_root()
    program, private = need("dovecot"), folder / "submission"
    if not os.path.exists("/usr/lib/dovecot/submission-login"):
        missing("dovecot-submissiond is not installed")
    for name in ("state", "mail"):
        (private / name).mkdir(parents=True)
        os.chmod(private / name, 0o777)
    ports = {"required": free_port(), "implicit": free_port()}
    with Upstream() as relay:
        (private / "dovecot.conf").write_text(for_this_dovecot(SUBMISSION_CONF.format(
            folder=private, certificate=pki["good"].certificate, key=pki["good"].key,
            relay=relay.endpoint.rpartition(":")[2],
            password=PASSWORD, port=ports["required"], implicit=ports["implicit"])))
        with server(private / "dovecot.out", ("127.0.0.1", ports["required"]), program, "-F", "-c",
                    str(private / "dovecot.conf")):
            yield {mode: f"127.0.0.1:{port}" for mode, port in ports.items()}, relay


@pytest.mark.parametrize("mode", ["required", "implicit"])
def test_dovecot_submission(smtpd, tmp_path, submission, pki, password, mode):  # noqa: F811
    engine_of(smtpd)
    endpoints, relay = submission
    n = len(relay.messages)
    outcome = play(proxy(smtpd, endpoints[mode], *tls(mode, pki), *login(password)), tmp_path)
    assert outcome.codes == [250, 250, 250, 354, 250], outcome
    text = relay.messages[n].text
    assert len(relay.messages) == n + 1 and b"by dovecot.example with ESMTPSA" in text
    assert behind_received(text)[1] == as_sent(lf_text(SMALL))
    assert one(outcome.log, "message")["secured"].startswith(b"TLSv1.3 ")
    assert not has_secret(outcome.log)


def test_dovecot_submission_refuses(release, tmp_path, submission, pki, password):  # noqa: F811
    password.write_text("wrong\n")
    outcome = play(proxy(release, submission[0]["required"], *tls("required", pki),
                         *login(password)), tmp_path)
    assert outcome.last.startswith(b"451 4.7.8 ") and b"535 5.7.8 " in outcome.log


# --- aiosmtpd -------------------------------------------------------------------------------------

ACCOUNTS = """\
import ssl, sys, time
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from raw_handler import Raw

port, certificate, key, name, password = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)

def knows(server, session, envelope, mechanism, data):
    return AuthResult(success=data == LoginPassword(name.encode(), password.encode()))

Controller(Raw(), hostname="127.0.0.1", port=int(port), tls_context=context, require_starttls=True, auth_required=True,
           authenticator=knows).start()
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def aiosmtpd_with_accounts(folder, pki):  # noqa: F811
    python, private, port = "/usr/bin/python3", folder / "accounts", free_port()
    private.mkdir()
    if subprocess.run([python, "-c", "import aiosmtpd"], stderr=subprocess.DEVNULL,
                      check=False).returncode:
        missing("aiosmtpd is not installed")
    (private / "raw_handler.py").write_text(HANDLER)
    (private / "accounts.py").write_text(ACCOUNTS)
    argv = [python, "accounts.py", str(port), pki["good"].certificate, pki["good"].key, NAME,
            PASSWORD]
    env = environment(PYTHONPATH=str(private), RAW=str(private), PYTHONDONTWRITEBYTECODE="1")
    with server(private / "log", ("127.0.0.1", port), *argv, env=env, cwd=private):
        yield f"127.0.0.1:{port}", private


@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_log_in_to_aiosmtpd(smtpd, tmp_path, aiosmtpd_with_accounts, pki, password, mechanism):  # noqa: F811
    engine_of(smtpd)
    endpoint, private = aiosmtpd_with_accounts
    outcome = play(proxy(smtpd, endpoint, *tls("required", pki),
                         *login(password, f"--upstream-auth={mechanism}")), tmp_path)
    assert outcome.codes == [250, 250, 250, 354, 250], outcome
    message = (private / "message").read_bytes().replace(b"\r\n", b"\n")
    assert behind_received(message)[1] == as_sent(lf_text(SMALL))
    assert one(outcome.log, "message")["secured"].startswith(b"TLSv1.3 ")
    assert not has_secret(outcome.log)


# --- Exim -----------------------------------------------------------------------------------------

AUTH_CONF = (
    EXIM_CONF.replace("tls_advertise_hosts =\n",
                      "tls_advertise_hosts = *\ntls_certificate = {folder}/tls.crt\ntls_privatekey "
                      "= {folder}/tls.key\n")
    .replace("  accept\ndata:",
             "  deny !authenticated = *\n       message = log in first\n  accept\ndata:")
    + """\
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_advertise_condition = ${if def:tls_in_cipher}
  server_condition = ${if and{{eq{$auth2}{relay}}{eq{$auth3}{open sesame}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_advertise_condition = ${if def:tls_in_cipher}
  server_condition = ${if and{{eq{$auth1}{relay}}{eq{$auth2}{open sesame}}}}
  server_set_id = $auth1
"""
)


@pytest.fixture(scope="module")
def exim(folder, pki):  # noqa: F811
    private = folder / "exim"
    with exim_at(private, AUTH_CONF.replace("{folder}", str(private))) as endpoint:
        for name, path in (("tls.crt", pki["good"].certificate), ("tls.key", pki["good"].key)):
            shutil.copy(path, private / name)
            shutil.chown(private / name, "mail", "mail")
        yield endpoint


@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_exim_as_upstream_in_tls(smtpd, tmp_path, exim, pki, mechanism):  # noqa: F811
    engine_of(smtpd)
    (tmp_path / "password").write_text("open sesame\n")
    login = ["--upstream-user=relay", f"--upstream-password={tmp_path}/password",
             f"--upstream-auth={mechanism}"]
    outcome = play(proxy(smtpd, exim, *tls("required", pki), *login), tmp_path)
    assert outcome.codes == [250, 250, 250, 354, 250], outcome
    assert re.match(rb"TLSv?1\.[23] ", one(outcome.log, "message")["secured"])


def test_exim_refuses(release, tmp_path, exim, pki):  # noqa: F811
    (tmp_path / "password").write_text("open barley\n")
    login = ["--upstream-user=relay", f"--upstream-password={tmp_path}/password"]
    outcome = play(proxy(release, exim, *tls("required", pki), *login), tmp_path)
    assert outcome.last.startswith(b"451 4.7.8 ")
    assert b"535 Incorrect authentication data" in outcome.log
    assert play(proxy(release, exim, *tls("required", pki)), tmp_path).last == b"550 log in first"
