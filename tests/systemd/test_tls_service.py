# SPDX-License-Identifier: MIT
"""smtpd-tls.socket and smtpd-tls.service, under the real systemd (tests/lib/machine.py): who can
ask for TLS, who can read the key."""

import re
import socket

import pytest
from conftest import BUILDS
from session import PATIENCE
from tls import Asked, engine_of, issued

pytest_plugins = ["booted"]  # a fixture, of which there is one for all files

SERVICE, SOCKET = "smtpd-tls.service", "smtpd-tls.socket"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return [issued(tmp_path_factory.mktemp("certificates")) for _ in range(2)]


@pytest.fixture
def machine(booted, pairs):
    engine_of(BUILDS["release"] / "smtpd")
    put_pair(booted, pairs[0])
    booted.systemctl("start", SOCKET)
    yield booted
    booted.systemctl("stop", SOCKET, SERVICE, check=False)
    booted.run("sh", "-c",
               f"cat /sys/fs/cgroup/system.slice/{SERVICE}/cgroup.procs | xargs -r kill -KILL",
               check=False)
    booted.reset()


def put_pair(machine, pair):
    machine.put("/etc/smtpd/certificate.pem", pair.certificate.read_text())
    machine.put("/etc/smtpd/key.pem", pair.key.read_text(), 0o600)


def ask(machine):
    asker = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    asker.connect(str(machine.path("/run/smtpd/tls")))
    return Asked(b"Y\0HOSTNAME=mx.example.com\0PEER=192.0.2.1:25\0", asker)


def processes(machine):
    return machine.run("sh", "-c",
                       f"cat /sys/fs/cgroup/system.slice/{SERVICE}/cgroup.procs 2>/dev/null || :").stdout.split()


def serial(one):
    return one.peer.getpeercert(binary_form=True)


def test_first_request_starts_it(machine):
    assert machine.show(SERVICE, "ActiveState") == "inactive"
    with ask(machine) as one:
        one.talk()
        assert machine.show(SERVICE, "ActiveState") == "active" and len(processes(machine)) == 2
        status = machine.run("cat", f"/proc/{machine.show(SERVICE, 'MainPID')}/status").stdout
        assert int(re.search(r"^Uid:\t(\d+)", status, re.M)[1]) not in (0, machine.user)
        assert re.search(r"^Groups:\t\d* ?\n", status, re.M), status
    machine.wait_until(lambda: len(processes(machine)) == 1,
                       "the process of a connection does not end")
    log = machine.journalctl("-u", SERVICE, "-o", "cat", "_COMM=smtpd-tls")
    assert log == ""


def test_restart(machine, pairs):
    """With a new certificate: connections go on, and requests wait."""
    with ask(machine) as early:
        early.talk()
        put_pair(machine, pairs[1])
        machine.systemctl("restart", SERVICE)
        with ask(machine) as late:
            late.talk()
            assert serial(late) != serial(early)
        early.clear.sendall(b"still here")
        assert early.peer.recv(100) == b"still here"


def test_child_crashes(machine):
    """The service is started anew at once, and the socket has what came meanwhile."""
    with ask(machine) as one:
        one.talk()
        pid = machine.show(SERVICE, "MainPID")
        child, = set(processes(machine)) - {pid}
        machine.run("sh", "-c", f"kill -SEGV {child}")
        machine.wait_until(lambda: machine.show(SERVICE, "MainPID") not in (pid, "0"),
                           "it is not started anew")
        with ask(machine) as later:
            later.talk()
    assert "was killed by signal 11: restarting" in machine.journalctl("-u", SERVICE, "-o", "cat")


def test_wrong_key(machine, pairs):
    """A start says so; a request is refused, not left waiting."""
    machine.put("/etc/smtpd/key.pem", pairs[1].key.read_text(), 0o600)
    assert machine.systemctl("start", SERVICE, check=False).returncode != 0
    assert "does not match the first certificate" in machine.journalctl("-u", SERVICE, "-o",
                                                                            "cat")
    assert machine.show(SERVICE, "ExecMainStatus") == "78"
    assert machine.show(SERVICE, "ActiveState") == "failed"
    with ask(machine) as one:
        one.control.settimeout(6 * PATIENCE)
        assert one.control.recv(100) == b"" and one.clear.recv(100) == b""
    assert machine.show(SOCKET, "ActiveState") == "failed"
    with pytest.raises(ConnectionRefusedError):
        ask(machine)
    put_pair(machine, pairs[0])
    machine.systemctl("reset-failed", SERVICE, SOCKET)
    machine.systemctl("start", SOCKET)
    with ask(machine) as one:
        one.talk()


def test_who_can_do_what(machine):
    """A session's user can ask, and not read; others cannot ask."""
    with ask(machine) as one:
        one.talk()
        connect = "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect('/run/smtpd/tls')"

        def as_user(user, *argv):
            return machine.run("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups",
                               *argv, check=False)

        assert as_user(machine.user, "python3", "-c", connect).returncode == 0
        assert "Permission denied" in as_user(65534, "python3", "-c", connect).stderr
        # what a unit of another name has to say, and a unit that does not
        for groups, is_good in ("smtpd", True), ("", False):
            done = machine.run("systemd-run", "--wait", "--collect", "-p", "DynamicUser=yes", "-p",
                               f"SupplementaryGroups={groups}", "python3", "-c", connect,
                               check=False)
            assert (done.returncode == 0) == is_good, done.stderr
        credential = f"/run/credentials/{SERVICE}/key"
        assert machine.run("test", "-e", credential).returncode == 0
        for path in (credential, "/etc/smtpd/key.pem",
                     f"/proc/{machine.show(SERVICE, 'MainPID')}/mem"):
            assert "Permission denied" in as_user(machine.user, "cat", path).stderr, path
        inside = machine.run("nsenter", f"--target={machine.show(SERVICE, 'MainPID')}", "--net",
                             "sh", "-c", "grep -c : /proc/net/dev").stdout
        assert int(inside) == 1  # loopback only
