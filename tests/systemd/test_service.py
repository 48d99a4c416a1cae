# SPDX-License-Identifier: MIT
"""smtpd.service, which accepts the connections of smtpd.socket itself (Accept=no), under the real
systemd (tests/lib/machine.py). Whatever a test does, the service has not failed unless the test
says so, and no process of it is left."""

import collections
import contextlib
import os
import re
import socket
import subprocess
import threading
import time

import pytest
from conftest import ROOT, need
from machine import SHIPPED, UNITS
from session import PATIENCE
from test_metrics import figures_in, parse
from test_systemd import (CLIENTS, EXCEPT, LOGIN, MESSAGE, PROBE, SANDBOX, STORED, TEXT, booted,
                          deliver, install_mailman2, password_file, prints, probed,
                          restart_journald, stored, stores_large)

UNIT = "smtpd.service"
FAILED = "MESSAGE_ID=d9b373ed55a64feb8242e02dbe79a49c"  # systemd's, of a unit that failed
ACCEPT_NO = (ROOT / "units/smtpd.socket.d/accept-no.conf.example").read_text()


@pytest.fixture
def machine(booted):
    booted.put(f"{UNITS}/smtpd.socket.d/accept-no.conf", ACCEPT_NO)
    booted.systemctl("daemon-reload")
    booted.systemctl("start", "smtpd.socket")
    yield booted
    booted.systemctl("stop", "smtpd*.socket", "smtpd*.service", check=False)
    left, failed = processes(booted), failures(booted)
    booted.reset()
    assert left == [] and failed == []


def processes(machine, unit=UNIT):
    """Of the unit, with their numbers there."""
    return machine.run("sh", "-c",
                       f"cat /sys/fs/cgroup/system.slice/{unit}/cgroup.procs 2>/dev/null || :").stdout.split()


def failures(machine, unit=UNIT):
    """What systemd says of each time it failed."""
    return [entry["UNIT_RESULT"][0] for entry in machine.entries(FAILED, f"UNIT={unit}")]


def forgive(machine, *results):
    """These were the failures, and they were meant to be."""
    assert failures(machine) == list(results)
    machine.mark()


def log(machine, unit=UNIT):
    return machine.journalctl("-u", unit, "-o", "cat")


def configure(machine, text, *dropins, more=""):
    """The configuration, and the drop-ins that are used; the service is not running."""
    machine.put("/etc/smtpd/smtpd.conf", text)
    for name in dropins:
        machine.put(f"{UNITS}/{UNIT}.d/{name}.conf",
                    machine.path(f"{SHIPPED}/smtpd@.service.d/{name}.conf.example").read_text())
    if more:
        machine.put(f"{UNITS}/{UNIT}.d/more.conf", more)
    machine.systemctl("daemon-reload")


def state(machine, unit=UNIT):
    return machine.show(unit, "ActiveState")


def main_pid(machine):
    return int(machine.show(UNIT, "MainPID"))


def says(machine, status):
    """Whether `systemctl status` does."""
    return f'Status: "{status}; so far ' in machine.systemctl("status", UNIT, check=False).stdout


def wait_for_status(machine, status):
    machine.wait_until(lambda: says(machine, status), f"no status: {status}")


# --- beginning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", CLIENTS)
def test_first_connection_starts_it(machine, address):
    """The mail of a real client is found by unit and by recipient; the log names the sockets."""
    need(CLIENTS[address][0])
    assert state(machine) == "inactive"
    machine.run(*CLIENTS[address], said=TEXT)
    entry, = stored(machine)
    assert entry["SMTPD_PEER"] == [address.encode()]
    assert entry["SMTPD_HELO"] == [b"client.example.org"]
    assert entry["SMTPD_MAIL_FROM"] == [b"alice@example.org"]
    assert entry["SMTPD_PROTOCOL"] == [b"ESMTP"]
    text = TEXT.replace("\r\n", "\n").replace("\n\n", f"\nX-Peer: {address}\n\n")
    assert entry["SMTPD_TEXT"][0].decode().rstrip() == text.rstrip()
    said = log(machine)
    assert "mail from <alice@example.org> to <bob@example.net>" in said
    assert re.search(rf"^message id={entry['SMTPD_ID'][0].decode()} peer={address} .* "
                     rf"verdict=\"250 ", said, re.M)
    assert "listening address=127.0.0.1:25 name=smtpd.socket strategy=journal config=/etc/smtpd/smtpd.conf\n" in said
    assert "listening address=[::1]:25 name=smtpd.socket strategy=journal config=/etc/smtpd/smtpd.conf\n" in said
    assert state(machine) == "active"
    wait_for_status(machine, "0 sessions, 1 message")


def test_log_goes_to_the_journal_itself(machine):
    """Not by syslog: with its stream, by which systemd knows the unit also of a process that has
    gone."""
    assert deliver(machine) == STORED
    entries = machine.entries(f"_SYSTEMD_UNIT={UNIT}")
    lines = [entry for entry in entries
             if entry["MESSAGE"][0].startswith((b"message ", b"session "))]
    assert [(entry["_TRANSPORT"], entry["PRIORITY"])
            for entry in lines] == [([b"stdout"], [b"6"])] * 2


def test_status_counts_in_the_service(machine):
    with machine.client() as first, machine.client(), machine.client("::1"):
        first.begin("EHLO")
        for _ in range(2):
            assert first.send_message(MESSAGE) == STORED
        wait_for_status(machine, "3 sessions, 2 messages")
        first.quit()
        wait_for_status(machine, "2 sessions, 2 messages")
    assert deliver(machine) == STORED
    wait_for_status(machine, "0 sessions, 3 messages")


def test_figures_for_prometheus(machine):
    """As the drop-in has it: written in the sandbox, read by anybody, and the same as in the
    status."""
    file = "/run/smtpd-metrics/smtpd.prom"
    example = machine.path(f"{SHIPPED}/{UNIT}.d/metrics.conf.example").read_text()
    configure(machine, f"strategy=print\nmetrics-file={file}\n",
              more=example + "[Service]\nRuntimeDirectoryPreserve=yes\n")
    assert deliver(machine) == b"250 2.0.0 printed"
    wait_for_status(machine, "0 sessions, 1 message")
    read = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", file]
    assert "smtpd_sessions_total" in parse(machine.run(*read).stdout)  # as old as ten seconds
    machine.systemctl("stop", UNIT)
    assert figures_in(machine.run(*read).stdout) == {"sessions_total": 1, "messages 2xx": 1}
    machine.run("rm", "-r", "/run/smtpd-metrics")


def test_start_returns_when_it_is_ready(machine):
    """It is not, as long as its configuration has not come."""
    path = "/etc/smtpd/smtpd.conf"
    machine.path(path).unlink()
    machine.run("mkfifo", "-m", "644", path)
    with subprocess.Popen(machine.inside("systemctl", "start", UNIT)) as start:
        try:
            machine.wait_until(lambda: processes(machine), "it is not started")
            with pytest.raises(subprocess.TimeoutExpired):
                start.wait(0.3)
            assert state(machine) == "activating"
            machine.run("sh", "-c", f"echo strategy=journal >{path}")
            assert start.wait(PATIENCE) == 0
        finally:
            start.kill()
    assert state(machine) == "active" and "listening " in log(machine)
    machine.path(path).unlink()  # as we read it only at the start


def test_both_shapes_side_by_side(machine):
    """The template on one port, the service on another: the same mail gives the same entry."""
    machine.path(f"{UNITS}/smtpd.socket.d/accept-no.conf").unlink()
    machine.put(f"{UNITS}/smtpd-fast.socket",
                "[Socket]\nListenStream=127.0.0.1:2525\nService=smtpd.service\n")
    machine.put(f"{UNITS}/smtpd-fast.socket.d/accept-no.conf", ACCEPT_NO)
    machine.systemctl("daemon-reload")
    machine.systemctl("stop", "smtpd.socket")
    machine.systemctl("start", "smtpd.socket", "smtpd-fast.socket")
    content = b"Subject: =?utf-8?q?x?=\r\n\r\n" + "grüße\r\n..\r\n\r\n".encode()
    for port in (25, 2525, 25, 2525):
        assert deliver(machine, content, port=port) == STORED
    assert "listening address=127.0.0.1:2525 name=smtpd-fast.socket strategy=journal config=" in log(machine)
    entries = stored(machine)
    ids = ("SMTPD_ID", "SMTPD_PEER_PORT", "SYSLOG_PID")
    ours = [{k: v for k, v in e.items() if not k.startswith("_") and k not in ids} for e in entries]
    # of short-lived senders it is not always known
    units = [e["_SYSTEMD_UNIT"][0] for e in entries if "_SYSTEMD_UNIT" in e]
    assert len(ours) == 4 and all(entry == ours[0] for entry in ours)
    assert all(unit.startswith(b"smtpd@") or unit == UNIT.encode() for unit in units)
    lines = [re.sub(r"\b(id|port|duration)=\S+", "", line)
             for line in (log(machine, "smtpd@*") + log(machine)).splitlines()
             if line.startswith(("message ", "session "))]
    assert sorted(collections.Counter(lines).values()) == [4, 4]


# --- every strategy in the sandbox ----------------------------------------------------------------


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


# --- configuration --------------------------------------------------------------------------------


def reload(machine, word):
    machine.mark()
    machine.systemctl("reload", UNIT)
    machine.wait_until(lambda: re.search(rf"^{word}: ", log(machine), re.M),
                       f"the log does not say {word}")


def test_reload(machine):
    """Sessions keep the configuration they began with; one with mistakes is not taken, and the log
    says why."""
    configure(machine, "hostname=old.example\n")
    with machine.client() as client:
        client.begin("greeting")
        pid = main_pid(machine)
        machine.put("/etc/smtpd/smtpd.conf", "hostname=new.example\n")
        reload(machine, "reloaded")
        client.expect((b"EHLO client.example.org", b"250-old.example\r\n"))
        assert client.send_message(MESSAGE) == STORED
        with machine.client() as later:
            later.expect((None, b"220 new.example "))
            machine.put("/etc/smtpd/smtpd.conf", "hostname=newer.example\nstratgy=print\n")
            reload(machine, "not reloaded")
            assert re.search(r"^/etc/smtpd/smtpd\.conf:2: .*stratgy", log(machine), re.M)
            later.expect((b"EHLO client.example.org", b"250-new.example\r\n"))
            later.quit()
        client.quit()
    with machine.client() as client:
        client.expect((None, b"220 new.example "))
    assert machine.systemctl("is-active", UNIT).stdout == "active\n" and main_pid(machine) == pid
    machine.put("/etc/smtpd/smtpd.conf", "hostname=newer.example\n")
    reload(machine, "reloaded")
    with machine.client() as client:
        client.expect((None, b"220 newer.example "))
    assert state(machine) == "active" and main_pid(machine) == pid


def test_mistake_in_the_configuration_in_the_service(machine):
    """Whoever comes is told to come again, and the log says where the mistake is. The port survives
    that, and once the mistake is gone it serves by itself."""
    configure(machine, "stratgy=print\n")
    for _ in range(3):
        with machine.client() as client:
            assert client.read_to_end().startswith(b"421 4.3.5 ")
    assert re.search(r"^/etc/smtpd/smtpd\.conf:1: .*stratgy",
                     machine.journalctl("-u", UNIT, "-p", "err", "-o", "cat"), re.M)
    machine.put("/etc/smtpd/smtpd.conf", "strategy=journal\n")
    machine.wait_until(lambda: state(machine) == "failed", "it goes on turning clients away")
    forgive(machine, *[b"exit-code"] * len(failures(machine)))  # one, if all three came in time
    assert deliver(machine) == STORED


def test_start_with_a_mistake_fails(machine):
    """And a restart after it is gone does not."""
    configure(machine, "stratgy=print\n")
    done = machine.systemctl("start", UNIT, check=False)
    assert done.returncode != 0 and state(machine, "smtpd.socket") == "active"
    assert re.search(r"^/etc/smtpd/smtpd\.conf:1: .*stratgy", log(machine), re.M)
    machine.put("/etc/smtpd/smtpd.conf", "strategy=journal\n")
    machine.systemctl("start", UNIT)
    forgive(machine, b"exit-code")
    assert deliver(machine) == STORED


def test_program_that_cannot_start(machine):
    """It is tried again, but not all the time; who waits is served when it can be."""
    configure(machine, "", more="[Service]\nExecStart=\nExecStart=/bin/false\n")
    began = time.monotonic()
    with machine.client() as client:
        machine.wait_until(lambda: len(failures(machine)) >= 2, "it is not tried again")
        assert 1 <= int(machine.show(UNIT, "NRestarts")) <= time.monotonic() - began
        machine.path(f"{UNITS}/{UNIT}.d/more.conf").unlink()
        machine.systemctl("daemon-reload")
        client.begin("EHLO")
        client.quit()
    forgive(machine, *[b"exit-code"] * len(failures(machine)))


def test_many_starts(machine):
    """By default more than five in ten seconds are the end of the service, and of its socket."""
    for _ in range(8):
        machine.systemctl("stop", UNIT)
        with machine.client() as client:
            client.begin("greeting")
    assert state(machine, "smtpd.socket") == "active"
    assert log(machine).count("name=smtpd.socket") == 16


# --- ends -----------------------------------------------------------------------------------------


def end_of(machine):
    machine.wait_until(lambda: state(machine) == "inactive", "it does not end")


def test_exits_when_idle(machine):
    """Not failed; the socket listens, and the next connection starts it again."""
    configure(machine, "exit-idle-time=1\n")
    with machine.client() as client:
        client.begin("EHLO")
        pid = main_pid(machine)
        time.sleep(1.2)  # longer than the time, but not idle
        client.expect((b"NOOP", b"250 "))
        assert main_pid(machine) == pid
    end_of(machine)
    assert state(machine, "smtpd.socket") == "active"
    assert "idle for 1 second: exiting\n" in log(machine)
    with machine.client() as client:
        client.begin("EHLO")
        assert main_pid(machine) not in (0, pid)  # it is not idle now


PORTS, ROUNDS = range(2500, 2510), 3


def test_connection_at_the_moment_of_its_exit(machine):
    """Around that moment, on some ports of their own: nobody is lost, and no start is one too
    many."""
    machine.put("/etc/smtpd/idle.conf", "exit-idle-time=1\n")
    service = machine.path(f"{SHIPPED}/{UNIT}").read_text()
    program, ours = "=/usr/sbin/smtpd\n", "=/usr/sbin/smtpd --config=/etc/smtpd/idle.conf\n"
    assert program in service
    service = service.replace("smtpd.socket", "%N.socket").replace(program, ours)
    for port in PORTS:
        machine.put(f"{UNITS}/smtpd-idle{port}.socket",
                    f"[Socket]\nListenStream=127.0.0.1:{port}\n")
        machine.put(f"{UNITS}/smtpd-idle{port}.socket.d/accept-no.conf", ACCEPT_NO)
        machine.put(f"{UNITS}/smtpd-idle{port}.service", service)
    machine.systemctl("daemon-reload")
    machine.systemctl("start", *[f"smtpd-idle{port}.socket" for port in PORTS])
    served, began = [], threading.Barrier(len(PORTS))

    def come_again(port, offset):
        began.wait(PATIENCE)
        for n in range(ROUNDS + 1):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
                assert sock.recv(100).startswith(b"220 ")
                sock.sendall(b"QUIT\r\n")
                while sock.recv(100):
                    pass
            served.append(port)
            if n < ROUNDS:
                # the moment is about a second after the last end
                time.sleep(0.99 + offset + 0.02 * n)

    def come():
        threads = [threading.Thread(target=come_again, args=(port, 0.005 * i)) for i,
                   port in enumerate(PORTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * PATIENCE)

    machine.in_network(come)
    exits = log(machine, "smtpd-idle*").count("idle for 1 second: exiting\n")
    assert len(served) == len(PORTS) * (ROUNDS + 1) and exits > 0
    for unit in (f"smtpd-idle{port}" for port in PORTS):
        machine.wait_until(lambda: state(machine, f"{unit}.service") == "inactive",
                           "one does not end")
        assert state(machine, f"{unit}.socket") == "active"
        assert failures(machine, f"{unit}.service") == []


def test_stop_lets_sessions_end(machine):
    """What is under way may be finished; no new connection is served before; exit status 0."""
    configure(machine, "stop-timeout=5\n")
    with machine.client() as client:
        client.begin("DATA")
        machine.systemctl("stop", "--no-block", UNIT)
        machine.wait_until(lambda: "stopping: 1 session has 5 seconds to end\n" in log(machine),
                           "it does not stop")
        with machine.client() as waiting:
            client.say(b"Subject: last\r\n\r\n.\r\n")
            assert client.reply() == STORED and client.read_to_end().startswith(b"421 4.3.2 ")
            waiting.begin("EHLO")  # the socket has started it again
            waiting.quit()
    assert len(stored(machine, "b@example.com")) == 1
    assert "smtpd.service: Deactivated successfully." in machine.journalctl("-o", "cat",
                                                                            f"UNIT={UNIT}")
    assert "No such process" not in log(machine)  # of those that were over meanwhile


def test_stop_ends_what_does_not_end(machine):
    """421 after stop-timeout, and half a message is no message; exit status 0."""
    configure(machine, "stop-timeout=1\n")
    with machine.client() as in_data, machine.client() as idle:
        in_data.begin("DATA")
        in_data.say(b"Subject: half\r\n")
        idle.begin("EHLO")
        began = time.monotonic()
        machine.systemctl("stop", "smtpd.socket", "--no-block")  # which takes the service with it
        assert in_data.read_to_end().startswith(b"421 4.3.2 ")
        assert idle.read_to_end().startswith(b"421 4.3.2 ")
        assert time.monotonic() - began > 0.9
    end_of(machine)
    assert stored(machine, "b@example.com") == [] and processes(machine) == []
    assert "smtpd.service: Deactivated successfully." in machine.journalctl("-o", "cat",
                                                                            f"UNIT={UNIT}")


def test_nothing_is_left_after_the_time_for_a_stop(machine):
    """A delivery that does not end is killed with its program, and then there is no 250."""
    machine.put("/usr/local/libexec/stays",
                "#!/bin/sh\ntrap '' TERM HUP INT\nsleep 300 & wait; sleep 300\n", 0o755)
    configure(machine, "strategy=exec\ncommand=/usr/local/libexec/stays\nstop-timeout=60\n",
              more="[Service]\nTimeoutStopSec=2\n")
    with machine.client() as client:
        client.begin("DATA")
        client.say(b".\r\n")
        machine.wait_until(lambda: len(processes(machine)) >= 4, "the program is not started")
        machine.systemctl("stop", UNIT)
        machine.wait_until(lambda: processes(machine) == [], "something is left")
        assert client.read_to_end() == b""
    forgive(machine, b"timeout")


def test_acceptor_is_killed(machine):
    """Sessions go on to their end, and new ones are served by another; a stop then ends both
    kinds."""
    configure(machine, "stop-timeout=1\n")
    large = b"Subject: large\r\n\r\n" + b"0123456789\r\n" * 10_000
    with machine.client() as in_data, machine.client() as idle:
        in_data.begin("DATA")
        idle.begin("EHLO")
        pid = main_pid(machine)
        machine.run("sh", "-c", f"kill -KILL {pid}")
        with machine.client() as later:
            later.begin("EHLO")
            assert main_pid(machine) not in (0, pid)
            # to a file in a private /var/tmp, which was removed meanwhile
            in_data.say(large + b".\r\n")
            assert in_data.reply() == STORED
            assert idle.send_message(MESSAGE) == STORED and later.send_message(MESSAGE) == STORED
            in_data.quit()
            forgive(machine, b"signal")
            machine.systemctl("stop", "--no-block", UNIT)
            assert idle.read_to_end().startswith(b"421 4.3.2 ")
            assert later.read_to_end().startswith(b"421 4.3.2 ")
    machine.wait_until(lambda: processes(machine) == [], "something is left")
    assert deliver(machine) == STORED


def test_stop_spares_others_of_the_same_user(machine):
    """With a user that others are, too."""
    configure(machine, "strategy=print\n", more="[Service]\nDynamicUser=no\nUser=nobody\n")
    machine.run("systemd-run", "--unit=other", "--uid=nobody", "sleep", "300")
    try:
        assert deliver(machine).startswith(b"250 ")
        machine.systemctl("stop", UNIT)
        assert state(machine, "other.service") == "active"
    finally:
        machine.systemctl("stop", "other.service", check=False)


@pytest.mark.parametrize("signal", [None, "KILL"], ids=["restart", "kill"])
def test_journald_restarts(machine, signal):
    """The one standard error of the service outlives that: later sessions have it too, and their
    mail is stored."""
    with machine.client() as client:
        client.begin("EHLO")
        restart_journald(machine, signal)
        assert client.send_message(MESSAGE) == STORED
        client.quit()
    assert deliver(machine) == STORED
    assert len(stored(machine)) == 1 and len(stored(machine, "b@example.com")) == 1
    machine.wait_until(lambda: len(re.findall("^session ", log(machine), re.M)) == 2,
                       "the log is lost")


# --- load -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    program = tmp_path_factory.mktemp("load") / "load"
    source = ROOT / "tests/bench.d/load.c"
    subprocess.run([need("cc"), "-O2", "-D_GNU_SOURCE", "-o", program, source], check=True,
                   timeout=60)
    return program


def test_five_thousand_connections(machine, load):
    """Ten at once, a message each; all are served, and nothing is left of them. So many lines are
    no reason for journald to take no more from us."""
    # processes that are just ending count too
    configure(machine, "strategy=print\nmax-connections-per-source=100\n")
    argv = [load, "127.0.0.1:25", "5000", "10"]
    machine.in_network(subprocess.run, argv, stdout=subprocess.DEVNULL, check=True,
                       timeout=6 * PATIENCE)
    wait_for_status(machine, "0 sessions, 5000 messages")
    assert processes(machine) == [str(main_pid(machine))]
    assert state(machine, "smtpd.socket") == "active"
    assert machine.systemctl("--failed", "--no-legend").stdout == ""
    machine.put("/etc/smtpd/smtpd.conf", "strategy=journal\n")
    reload(machine, "reloaded")
    assert deliver(machine) == STORED


def test_limits(machine):
    """Clients that only wait take no more than they may have. Then there is a word for each other
    one, at once."""
    configure(machine, "max-connections=5\nmax-connections-per-source=3\n")
    with contextlib.ExitStack() as stack:
        def client(source):
            return stack.enter_context(machine.client(source=source))

        slow = [client("127.0.0.2") for _ in range(3)]
        for each in slow:
            each.begin("greeting")
        assert client("127.0.0.2").read_to_end() == b"421 4.7.0 too many connections from you, try again later\r\n"
        slow += [client("127.0.0.3") for _ in range(2)]
        for each in slow[3:]:
            each.begin("greeting")
        for source in ("127.0.0.4", "127.0.0.1"):
            assert client(source).read_to_end() == b"421 4.7.0 too many connections, try again later\r\n"
        slow[0].expect((b"QUIT", b"221 "))
        slow[0].read_to_end()
        wait_for_status(machine, "4 sessions, 0 messages")
        assert deliver(machine) == STORED
    assert "refused address=127.0.0.1:25 reason=max-connections-per-source sessions=3 clients=1 peer=127.0.0.2 port=" in log(machine)
    machine.wait_until(
        lambda: "refused address=127.0.0.1:25 reason=max-connections sessions=" in log(machine),
        "the log is silent")


def test_it_is_the_user_of_sysusers(machine):
    """Installed, the user smtpd exists: the same one each time, and for each process."""
    with machine.client() as client:
        client.begin("EHLO")
        pids = processes(machine)
        users = machine.run("stat", "-c", "%u", *(f"/proc/{pid}" for pid in pids)).stdout.split()
        assert len(pids) >= 2 and set(users) == {str(machine.user)}
        client.quit()


@pytest.mark.parametrize("unit, n_sessions", [(UNIT, 100), ("smtpd@x.service", 1)])
def test_resources_are_bounded(machine, unit, n_sessions):
    """Four processes for each session there can be, by default; and a program's own."""
    assert 4 * n_sessions < int(machine.show(unit, "TasksMax")) < 20_000
    assert int(machine.show(unit, "LimitFSIZE")) == 1 << 30
    assert 0 < int(machine.show(unit, "MemoryMax")) < 1 << 44  # else it is "infinity"


def test_spool_has_a_limit_too(machine):
    """The largest file there may be: nobody is served worse for the message of one."""
    configure(machine, "max-size=0\n", more="[Service]\nLimitFSIZE=1M\n")
    assert deliver(machine,
                   b"x" * 70 + b"\r\n" + 30_000 * (b"y" * 70 + b"\r\n")).startswith(b"452 4.3.1 ")
    assert deliver(machine) == STORED and main_pid(machine) > 0


@pytest.mark.parametrize("strategy", ["journal", "print"])
def test_log_of_its_own(machine, strategy):
    """The journal of the host has nothing of what clients do, and the unit's has all."""
    configure(machine, f"strategy={strategy}\n", "log")
    verdict = deliver(machine)
    assert verdict == STORED if strategy == "journal" else verdict.startswith(b"250 ")
    machine.systemctl("stop", UNIT)
    own = machine.run("journalctl", "--namespace=smtpd", "--no-pager", "-u", UNIT, "-o",
                      "cat").stdout
    assert f" strategy={strategy} " in own and re.search(r'^message id=.* verdict="250 ', own, re.M)
    assert re.search(r"^(message|session|listening) ", log(machine), re.M) is None
    if strategy == "journal":
        assert stored(machine) == []
        assert "SMTPD_TEXT" in machine.run("journalctl", "--namespace=smtpd", "--no-pager", "-o",
                                           "json", "SMTPD_RCPT_TO=bob@example.net").stdout
