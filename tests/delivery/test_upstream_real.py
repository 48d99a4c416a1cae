"""TLS and AUTH toward real mail servers: Postfix (STARTTLS, port 465) and Exim (GnuTLS, AUTH)."""

import re
import shutil

import pytest
from logs import one
from postfix import Postfix
from session import free_port
from test_proxy import SMALL, as_sent, play, proxy
from test_upstream_tls import pki, tls  # noqa: F401 (fixtures)
from test_upstreams import EXIM_CONF, SETTINGS, behind_received, exim_at, folder, lf_text, take  # noqa: F401 (fixtures)
from tls import engine_of

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
    assert play(proxy(release, postfix), tmp_path).last.startswith(b"530 5.7.0 Must issue a STARTTLS command first")


AUTH_CONF = (
    EXIM_CONF.replace("tls_advertise_hosts =\n", "tls_advertise_hosts = *\ntls_certificate = {folder}/tls.crt\ntls_privatekey = {folder}/tls.key\n")
    .replace("  accept\ndata:", "  deny !authenticated = *\n       message = log in first\n  accept\ndata:")
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
    login = ["--upstream-user=relay", f"--upstream-password={tmp_path}/password", f"--upstream-auth={mechanism}"]
    outcome = play(proxy(smtpd, exim, *tls("required", pki), *login), tmp_path)
    assert outcome.codes == [250, 250, 250, 354, 250], outcome
    assert re.match(rb"TLSv?1\.[23] ", one(outcome.log, "message")["secured"])


def test_exim_refuses(release, tmp_path, exim, pki):  # noqa: F811
    (tmp_path / "password").write_text("open barley\n")
    login = ["--upstream-user=relay", f"--upstream-password={tmp_path}/password"]
    outcome = play(proxy(release, exim, *tls("required", pki), *login), tmp_path)
    assert outcome.last.startswith(b"451 4.7.8 ") and b"535 Incorrect authentication data" in outcome.log
    assert play(proxy(release, exim, *tls("required", pki)), tmp_path).last == b"550 log in first"
