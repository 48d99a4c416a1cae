# SPDX-License-Identifier: MIT
"""Every strategy in the sandbox of the units as they are shipped, under the real systemd
(tests/lib/machine.py): with its drop-ins, and what a program within can do."""

import os
import re
import socket

import pytest
from machine import UNITS
from manual import readme_block
from units import (EXCEPT, LOGIN, PROBE, SANDBOX, deliver, install_mailman2, password_file, prints,
                   probed, stores_large)

pytest_plugins = ["booted"]  # a fixture, of which there is one for all files


@pytest.fixture
def machine(booted):
    yield booted
    booted.reset()


# --- every strategy in its sandbox ----------------------------------------------------------------


def test_print(machine):
    machine.configure("strategy=print\n")
    prints(machine, "smtpd@*")


def test_journal_stores_large_messages(machine):
    machine.configure("strategy=journal\n")
    stores_large(machine)


def test_show(machine):
    """In the journal, with nothing but what the unit lets it do."""
    machine.configure("strategy=show\n")
    assert deliver(machine, b"Subject: =?utf-8?Q?=C3=BC?=\r\n\r\ntext\r\n") == b"250 2.0.0 shown"
    log = machine.journalctl("-u", "smtpd@*", "-o", "cat").splitlines()
    at = log.index("---------- MESSAGE ----------")
    assert log[at + 3 : at + 6] == ["Subject: ü", "text", "-------- END MESSAGE --------"]


def test_maildir(machine):
    """In the folder that the drop-in gives. Without it nothing is delivered."""
    config = "strategy=maildir\nmaildir=/var/lib/smtpd\n"
    machine.configure(config)
    assert deliver(machine).startswith(b"451 ")
    machine.configure(config, "maildir")
    assert deliver(machine) == b"250 2.0.0 stored in the Maildir"
    file, = machine.path("/var/lib/private/smtpd/new").iterdir()
    assert file.read_bytes().endswith(b"\nSubject: greetings\nX-Peer: 127.0.0.1\n\ntext\n")
    assert file.stat().st_uid == machine.user and file.stat().st_mode & 0o77 == 0


def test_exec(machine):
    """The shipped example of a program, into the folder that the drop-in gives."""
    machine.configure("strategy=exec\ncommand=/usr/share/doc/smtpd/examples/maildir.sh "
                      "/var/lib/smtpd/Maildir\n", "exec")
    assert deliver(machine).startswith(b"250 ")
    file, = machine.path("/var/lib/private/smtpd/Maildir/new").iterdir()
    assert file.read_bytes() == b"Return-Path: <a@example.org>\nSubject: greetings\n\ntext\n"
    assert file.stat().st_uid == machine.user and file.stat().st_mode & 0o77 == 0


def test_exec_without_its_dropin_delivers_nothing(machine):
    machine.configure("strategy=exec\ncommand=/usr/share/doc/smtpd/examples/maildir.sh "
                      "/var/lib/elsewhere/Maildir\n")
    assert deliver(machine).startswith(b"451 ")
    assert not machine.path("/var/lib/elsewhere").exists()


def test_readme_dropins(machine):
    """As README copies them: that for proxy, and by the same commands that for exec."""
    text = readme_block("install -D ")
    assert text.endswith("systemctl daemon-reload\n")
    with machine.upstream() as upstream:
        machine.run("sh", "-ec", text)
        machine.configure(f"strategy=proxy\nupstream=127.0.0.1:{upstream.port}\n")
        assert deliver(machine) == b"250 2.0.0 taken as 1.0"
    machine.run("sh", "-ec", text.replace("proxy.conf", "exec.conf"))
    program = "/usr/share/doc/smtpd/examples/maildir.sh /var/lib/smtpd/Maildir"
    machine.configure(f"strategy=exec\ncommand={program}\n")
    assert deliver(machine).startswith(b"250 ")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_proxy_by_tcp(machine, host):
    with machine.upstream() as upstream:
        machine.configure(f"strategy=proxy\nupstream={host}:{upstream.port}\n", "proxy")
        assert deliver(machine) == b"250 2.0.0 taken as 1.0"
        message, = upstream.messages
    assert message.text.endswith(b"Subject: greetings\nX-Peer: 127.0.0.1\n\ntext\n")
    assert message.recipients == [b"<bob@example.net>"]


def test_proxy_by_tcp_needs_its_dropin(machine):
    with machine.upstream() as upstream:
        machine.configure(f"strategy=proxy\nupstream=127.0.0.1:{upstream.port}\n")
        with machine.client() as client:
            client.begin("EHLO")
            client.expect((b"MAIL FROM:<a@example.org>", b"451 4.4.1 "))
            client.quit()
        assert upstream.connections == []


def test_proxy_reaches_only_the_addresses_that_are_given(machine):
    """As the drop-in proposes."""
    with machine.upstream() as upstream:
        machine.configure(
            f"strategy=proxy\nupstream=127.0.0.1:{upstream.port}\nupstream-timeout=1\n", "proxy")
        path = machine.path(f"{UNITS}/smtpd@.service.d/proxy.conf")
        text = path.read_text()
        for allowed, verdict in (("127.0.0.9", b"451 4.4.1 "), ("127.0.0.9 localhost", b"250 ")):
            changed, n = re.subn(r"^IPAddressAllow=any$", f"IPAddressAllow={allowed}", text,
                                 flags=re.M)
            assert n == 1
            path.write_text(changed)
            machine.systemctl("daemon-reload")
            with machine.client() as client:
                client.begin("EHLO")
                client.expect((b"MAIL FROM:<a@example.org>", verdict))
                client.quit()


def test_password_is_a_credential(machine):
    with machine.upstream(password_file(machine)) as upstream:
        text = LOGIN.format(port=upstream.port)
        machine.configure(text.replace("upstream-password\n", "/etc/smtpd/upstream-password\n"), "proxy")
        with machine.client() as client:
            client.begin("EHLO")
            client.expect((b"MAIL FROM:<a@example.org>", b"451 4.7.8 "))
            client.quit()
        machine.configure(text, "password")
        assert deliver(machine) == b"250 2.0.0 taken as 1.0"
    assert "open sesame" not in machine.journalctl("-o", "cat")


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_proxy_to_a_local_socket(machine, protocol):
    """With no drop-in: no network is needed."""
    with machine.upstream(family=socket.AF_UNIX, lmtp=protocol == "lmtp") as upstream:
        machine.configure(
            f"strategy=proxy\nupstream={upstream.endpoint}\nupstream-protocol={protocol}\n")
        assert deliver(machine) == b"250 2.0.0 taken as 1.0"
        message, = upstream.messages
    assert message.text.endswith(b"Subject: greetings\nX-Peer: 127.0.0.1\n\ntext\n")


def test_mailman3(machine):
    """Its LMTP server knows the list; the upstream gets the rest."""
    unknown = b"550 Requested action not taken: mailbox unavailable\r\n"
    with machine.upstream(lmtp=True) as lists, machine.upstream({}) as upstream:
        machine.configure(
            f"strategy=mailman\nmailman=127.0.0.1:{lists.port}\nupstream=127.0.0.1:{upstream.port}\n", "proxy")
        assert deliver(machine, recipient=b"list@example.com").startswith(b"250 ")
        lists.scripts = ({"RCPT": unknown},)
        assert deliver(machine).startswith(b"250 ")
        assert [m.recipients for m in lists.messages] == [[b"<list@example.com>"]]
        assert [m.recipients for m in upstream.messages] == [[b"<bob@example.net>"]]


MAILMAN2 = "strategy=mailman\nmailman-wrapper=/usr/lib/mailman/mail/mailman\nmailman-lists=/var/lib/mailman/lists\n"


def test_mailman2(machine, tmp_path):
    """The wrapper is called by its group, finds the lists and fills the queue; it can write nowhere
    else."""
    install_mailman2(machine, tmp_path)
    machine.configure(MAILMAN2, "mailman2")
    assert deliver(machine, recipient=b"friends@example.com").startswith(b"250 ")
    queue = machine.path("/var/lib/mailman/qfiles/in")
    file, = queue.glob("*.msg")
    assert b"Subject: greetings\n" in file.read_bytes()
    assert file.stat().st_gid == queue.stat().st_gid
    assert file.with_suffix(".argv").read_text() == "post\nfriends\n"
    # where the stand-in tries to keep it too
    assert not machine.path("/var/lib/mailman/argv").exists()
    with machine.client() as client:
        client.begin("MAIL")
        client.expect((b"RCPT TO:<nobody@example.com>", b"550 5.1.1 "))
        client.quit()


def test_mailman2_and_an_upstream(machine, tmp_path):
    """Both drop-ins."""
    install_mailman2(machine, tmp_path)
    with machine.upstream() as upstream:
        machine.configure(f"{MAILMAN2}upstream=127.0.0.1:{upstream.port}\n", "mailman2", "proxy")
        assert deliver(machine, recipient=b"friends@example.com").startswith(b"250 ")
        assert deliver(machine).startswith(b"250 ")
        assert len(upstream.messages) == 1
        assert len(list(machine.path("/var/lib/mailman/qfiles/in").glob("*.msg"))) == 1


# --- the sandbox ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dropin", EXCEPT, ids=lambda name: name or "none")
def test_sandbox_is_in_force(machine, dropin, tmp_path):
    """A program within it can do what is expected, and nothing else of what it tries."""
    machine.put("/usr/local/libexec/probe", PROBE)
    if dropin == "mailman2":
        install_mailman2(machine, tmp_path)
    machine.configure("strategy=exec\ncommand=/usr/bin/python3 -I /usr/local/libexec/probe\n",
                      *filter(None, [dropin]))
    assert deliver(machine).startswith(b"250 ")
    found = probed(machine, "smtpd@*")
    expected = SANDBOX | EXCEPT[dropin]
    assert {name: found.get(name) for name in expected} == expected
    for path, name in (("/var/lib/smtpd", "exec"), ("/var/lib/mailman/qfiles", "mailman2")):
        assert dropin == name or found[f"write:{path}"] != "OK"
    for name in ("net", "user", "mnt"):
        is_shared = found[f"namespace:{name}"] == os.readlink(f"/proc/{machine.leader}/ns/{name}")
        assert is_shared == (name == "net" and dropin == "proxy"), name
