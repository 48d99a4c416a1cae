# SPDX-License-Identifier: MIT
"""The recipes for TLS of smtpd.socket(8), as they stand there, under the real systemd
(tests/lib/machine.py)."""

import re

import pytest
from conftest import BUILDS, need
from machine import UNITS
from manual import literals, section
from service import ACCEPT_NO
from tls import engine_of, issued

pytest_plugins = ["booted"]  # a fixture, of which there is one for all files

FOLDER = "/etc/letsencrypt/live/mx.example.org"
STARTTLS, IMPLICIT = ["--port", "25", "--tls"], ["--port", "465", "--tls-on-connect"]


def recipes():
    """Each block of the manual: pairs of what the comment on top of a part names, and the rest of
    the part."""
    return [re.findall(r"^# (.+)\n((?:(?!# ).*\n)*)", text, re.M) for _,
            text in literals(section("smtpd.socket.8", "TLS"))]


ENGINE, HOOK, CREDENTIALS, PORT_465, SOCKET_465 = recipes()


@pytest.fixture
def machine(booted, tmp_path):
    engine_of(BUILDS["release"] / "smtpd")
    need("swaks")
    put_pair(booted, tmp_path / "first")
    yield booted
    booted.systemctl("stop", "smtps.socket", "smtpd-tls.socket", "smtpd-tls.service", check=False)
    booted.run("sh", "-c", f"rm -rf {UNITS}/smtps.socket /etc/letsencrypt")
    booted.reset()


def put_pair(machine, folder):
    folder.mkdir()
    pair = issued(folder, "mx.example.org")
    machine.put(f"{FOLDER}/fullchain.pem", pair.certificate.read_text())
    machine.put(f"{FOLDER}/privkey.pem", pair.key.read_text(), 0o600)
    machine.path("/etc/letsencrypt/live").chmod(0o700)


def follow(machine, recipe):
    """Does what it says; its files are those of this machine."""
    for name, text in recipe:
        if name.startswith("systemctl edit "):
            machine.put(f"{UNITS}/{name.split()[2]}.d/override.conf", text)
        elif name.startswith("/"):
            machine.put(name.removesuffix(", executable"), text,
                        0o755 if "executable" in name else 0o644)
        if name.startswith(("systemctl edit ", UNITS)):
            machine.systemctl("daemon-reload")
        if name.startswith("systemctl enable "):
            machine.run("sh", "-ec", name)


def deliver(machine, options, recipient="bob@example.net"):
    machine.run("swaks", "--server", "127.0.0.1", *options, "--from", "alice@example.org", "--to",
                recipient)
    (entry,) = machine.entries(f"SMTPD_RCPT_TO={recipient}")
    assert entry["SMTPD_PROTOCOL"] == [b"ESMTPS"] and entry["SMTPD_TLS"][0].startswith(b"TLSv1.")


def shown(machine):
    """The certificate on port 25."""
    said = machine.run("sh", "-c",
                       "openssl s_client -starttls smtp -connect 127.0.0.1:25 </dev/null "
                       "2>/dev/null | openssl x509 -noout -serial")
    return said.stdout


def test_recipes_are_found():
    assert [[name for name, _ in recipe]
            for recipe in (ENGINE, CREDENTIALS, PORT_465, SOCKET_465)] == [
        ["systemctl edit smtpd-tls.service", "/etc/smtpd/smtpd.conf",
         "systemctl enable --now smtpd-tls.socket"],
        ["/etc/smtpd/smtpd.conf"],
        ["/etc/systemd/system/smtpd-465.socket", "/etc/systemd/system/smtpd-465@.service"],
        ["/etc/systemd/system/smtps.socket"]]


def test_engine_of_its_own(machine, tmp_path):
    """And a renewal by the hook of the manual."""
    follow(machine, ENGINE)
    machine.systemctl("start", "smtpd.socket")
    deliver(machine, STARTTLS)
    before = shown(machine)
    put_pair(machine, tmp_path / "second")
    follow(machine, HOOK)
    machine.run(HOOK[0][0].removesuffix(", executable"))
    assert before and shown(machine) not in ("", before)


def test_credentials_of_each_session(machine, tmp_path):
    """A renewal needs nothing."""
    (_, lines), = ENGINE[:1]
    machine.put(f"{UNITS}/smtpd@.service.d/override.conf", lines)
    machine.systemctl("daemon-reload")
    follow(machine, CREDENTIALS)
    machine.systemctl("start", "smtpd.socket")
    deliver(machine, STARTTLS)
    before = shown(machine)
    put_pair(machine, tmp_path / "second")
    assert before and shown(machine) not in ("", before)


def test_port_465(machine):
    follow(machine, ENGINE)
    follow(machine, PORT_465)
    machine.systemctl("start", "smtpd.socket", "smtpd-465.socket")
    deliver(machine, STARTTLS, "first@example.net")
    deliver(machine, IMPLICIT, "second@example.net")


def test_port_465_of_the_service(machine):
    follow(machine, ENGINE)
    follow(machine, SOCKET_465)
    machine.put(f"{UNITS}/smtpd.socket.d/accept-no.conf", ACCEPT_NO)
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "smtpd.socket", "smtps.socket")
    try:
        deliver(machine, STARTTLS, "first@example.net")
        deliver(machine, IMPLICIT, "second@example.net")
        log = machine.journalctl("-u", "smtpd.service", "-o", "cat")
        assert re.search(r"^listening address=\S+:465 name=tls .* tls=implicit$", log, re.M), log
    finally:
        machine.systemctl("stop", "smtpd.service", check=False)
