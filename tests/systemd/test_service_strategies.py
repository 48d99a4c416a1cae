# SPDX-License-Identifier: MIT
"""Every strategy in the sandbox of smtpd.service, under the real systemd."""

import os
import re
import socket

import pytest
from service import UNIT, configure, machine, main_pid
from units import (EXCEPT, LOGIN, PROBE, SANDBOX, deliver, install_mailman2, password_file, prints,
                   probed, stores_large)

pytest_plugins = ["booted"]  # a fixture, of which there is one for all files
_ = machine  # a fixture


def test_print_in_the_service(machine):
    configure(machine, "strategy=print\n")
    prints(machine, UNIT)


def test_journal_stores_large_messages_in_the_service(machine):
    stores_large(machine)


def test_exec_in_the_service(machine):
    command = "/usr/share/doc/smtpd/examples/maildir.sh /var/lib/smtpd/Service"
    configure(machine, f"strategy=exec\ncommand={command}\n", "exec")
    assert deliver(machine).startswith(b"250 ") and deliver(machine).startswith(b"250 ")
    files = list(machine.path("/var/lib/private/smtpd/Service/new").iterdir())
    assert len(files) == 2
    assert all(file.stat().st_uid == machine.user and file.stat().st_mode & 0o77 == 0
               for file in files)


def test_proxy_by_tcp_in_the_service(machine):
    """Only with its drop-in."""
    with machine.upstream() as upstream:
        text = f"strategy=proxy\nupstream=127.0.0.1:{upstream.port}\n"
        configure(machine, text)
        with machine.client() as client:
            client.begin("EHLO")
            client.expect((b"MAIL FROM:<a@example.org>", b"451 4.4.1 "))
            client.quit()
        assert upstream.connections == []
        configure(machine, text, "proxy")
        machine.systemctl("restart", UNIT)
        assert deliver(machine) == b"250 2.0.0 taken as 1.0"


def test_password_is_a_credential_in_the_service(machine):
    with machine.upstream(password_file(machine)) as upstream:
        configure(machine, LOGIN.format(port=upstream.port), "proxy", "password")
        assert deliver(machine) == b"250 2.0.0 taken as 1.0"
    assert "open sesame" not in machine.journalctl("-o", "cat")


def test_proxy_to_a_local_socket_in_the_service(machine):
    with machine.upstream(family=socket.AF_UNIX) as upstream:
        configure(machine, f"strategy=proxy\nupstream={upstream.endpoint}\n")
        assert deliver(machine) == b"250 2.0.0 taken as 1.0"
        message, = upstream.messages
    assert message.text.endswith(b"Subject: greetings\nX-Peer: 127.0.0.1\n\ntext\n")


@pytest.mark.parametrize("dropin", EXCEPT, ids=lambda name: name or "none")
def test_sandbox_is_in_force_in_the_service(machine, dropin, tmp_path):
    """For sessions: a program within can do what is expected, and nothing else of what it tries.
    And for the acceptor: it is in the same name spaces, and has as few rights."""
    machine.put("/usr/local/libexec/probe", PROBE)
    if dropin == "mailman2":
        install_mailman2(machine, tmp_path)
    configure(machine, "strategy=exec\ncommand=/usr/bin/python3 -I /usr/local/libexec/probe\n",
              *filter(None, [dropin]))
    assert deliver(machine).startswith(b"250 ")
    found = probed(machine, UNIT)
    expected = SANDBOX | EXCEPT[dropin]
    assert {name: found.get(name) for name in expected} == expected
    pid = main_pid(machine)
    status = dict(re.findall(r"^(\w+):\s*(\w+)", machine.run("cat", f"/proc/{pid}/status").stdout,
                             re.M))
    for name in ("NoNewPrivs", "Seccomp", "CapEff", "CapBnd"):
        assert status[name] == expected[name], name
    assert status["CapPrm"] == status["CapInh"] == status["CapAmb"] == "0" * 16
    assert int(status["Uid"]) == machine.user
    for name in ("net", "user", "mnt"):
        assert found[f"namespace:{name}"] == machine.run("readlink",
                                                         f"/proc/{pid}/ns/{name}").stdout.strip()
        is_shared = found[f"namespace:{name}"] == os.readlink(f"/proc/{machine.leader}/ns/{name}")
        assert is_shared == (name == "net" and dropin == "proxy"), name
