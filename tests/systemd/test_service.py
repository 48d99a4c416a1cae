# SPDX-License-Identifier: MIT
"""smtpd.service, which accepts the connections of smtpd.socket itself, under the real systemd: how
it begins, its status, its configuration, and many connections."""

import collections
import contextlib
import re
import subprocess
import time

import pytest
from conftest import ROOT, need
from machine import SHIPPED, UNITS
from metrics_file import figures_in, parse
from service import (ACCEPT_NO, UNIT, configure, failures, forgive, log, machine, main_pid,
                     processes, reload, state, wait_for_status)
from session import PATIENCE
from units import CLIENTS, MESSAGE, STORED, TEXT, deliver, stored

pytest_plugins = ["booted"]  # a fixture, of which there is one for all files
_ = machine  # a fixture

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


# --- configuration --------------------------------------------------------------------------------


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
