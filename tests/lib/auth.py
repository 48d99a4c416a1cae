# SPDX-License-Identifier: MIT
"""A name with its password, sessions that offer AUTH, clients that use it, Dovecot behind them."""

import base64
import smtplib
import subprocess

from conftest import need
from proxy import SMALL, proxy
from session import PATIENCE, command
from upstream import EVERYTHING

NAME, PASSWORD = "alice@example.org", "s3cret-Correct.horse"
OFFER = (*EVERYTHING, "AUTH PLAIN LOGIN SCRAM-SHA-256")


def plain(name=NAME, password=PASSWORD):
    return base64.b64encode(f"\0{name}\0{password}".encode())


def b64(text):
    return base64.b64encode(text.encode())


# in all forms that it has on its way
SECRETS = [PASSWORD.encode(), b64(PASSWORD), plain(), plain()[4:-4]]


def has_secret(octets):
    return any(secret in octets for secret in SECRETS)


def passing(smtpd, *upstreams_and_options):
    return proxy(smtpd, *upstreams_and_options, "--auth=upstream")


def any_(smtpd, *options):
    return command(smtpd, "--auth=any", *options)


def extensions(session):
    """What EHLO offers."""
    return {line[4:] for line in session.ask(b"EHLO client.example.org").split(b"\r\n")[1:]}


def login(port, kind="", password=PASSWORD):
    with smtplib.SMTP("127.0.0.1", port, "client.example.org", PATIENCE) as client:
        client.ehlo()
        if kind:
            client.auth(kind, getattr(client, f"auth_{kind.lower()}"),
                        initial_response_ok=kind != "LOGIN")
        else:
            client.login(NAME, password)
        client.sendmail("a@example.org", ["b@example.com"], SMALL)


def say_by_curl(port, kind):
    argv = [need("curl"), "--silent", "--show-error", "--url",
            f"smtp://127.0.0.1:{port}/client.example.org", "--user", f"{NAME}:{PASSWORD}",
            "--login-options", f"AUTH={kind}", "--mail-from", "a@example.org", "--mail-rcpt",
            "b@example.com", "--upload-file", "-"]
    return subprocess.run(argv, input=SMALL, capture_output=True, timeout=2 * PATIENCE, check=False)


def say_by_msmtp(port, kind):
    argv = [need("msmtp"), "-C", "/dev/null", "--host=127.0.0.1", f"--port={port}", "--timeout=20",
            f"--auth={kind.lower()}", f"--user={NAME}",
            f"--passwordeval=echo {PASSWORD}", "--tls=off", "--domain=client.example.org",
            "--from=a@example.org", "--", "b@example.com"]
    return subprocess.run(argv, input=SMALL, capture_output=True, timeout=2 * PATIENCE, check=False)


def say_by_swaks(port, kind):
    argv = [need("swaks"), "--server", f"127.0.0.1:{port}", "--helo", "client.example.org",
            "--from", "a@example.org", "--to", "b@example.com",
            "--auth", kind, "--auth-user", NAME, "--auth-password", PASSWORD, "--timeout", "20"]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=2 * PATIENCE,
                          check=False)


CLIENTS = [(say_by_curl, "PLAIN"), (say_by_curl, "LOGIN"), (say_by_msmtp, "PLAIN"),
           (say_by_msmtp, "LOGIN"), (say_by_swaks, "PLAIN"),
           (say_by_swaks, "LOGIN")]

DOVECOT_CONF = """\
base_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login scram-sha-256
default_internal_user = nobody
default_login_user = nobody
default_internal_group = nogroup
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}}
service auth {{
  unix_listener {folder}/queue/sasl {{
    mode = 0666
  }}
}}
service stats {{
  chroot =
  client_limit = 100
}}
"""
SASL_CF = """\
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = sasl
smtpd_sasl_security_options = noanonymous
smtpd_sasl_authenticated_header = yes
"""
