# SPDX-License-Identifier: MIT
"""smtpd as it is installed, under the real systemd, with its units as they are shipped
(tests/lib/machine.py): the first mail, load, sessions that end badly, journald, another port.
Whatever a test does, it leaves no session and no failed unit: the fixture looks after that."""

import contextlib
import re
import socket
import subprocess
import threading

import pytest
from conftest import ROOT, need
from machine import UNITS
from manual import literals, readme_block, section
from processes import is_running
from session import PATIENCE, PYTHON, environment, reset
from units import (CLIENTS, MESSAGE, MESSAGE_ID, PROBE, SANDBOX, STORED, TEXT, deliver, probed,
                   restart_journald, stored)

pytest_plugins = ["booted"]  # a fixture, of which there is one for all files


@pytest.fixture
def machine(booted):
    yield booted
    booted.reset()


# --- after the installation -----------------------------------------------------------------------


def test_installation_starts_nothing(machine):
    assert machine.systemctl("is-enabled", "smtpd.socket", check=False).stdout == "disabled\n"
    assert machine.systemctl("is-active", "smtpd.socket", check=False).stdout == "inactive\n"
    with pytest.raises(ConnectionRefusedError):
        machine.connect()


@pytest.mark.parametrize("address", CLIENTS)
def test_mail_of_a_real_client(machine, address):
    """Enabled, and nothing else done: the mail is in the journal, and found there by unit and by
    recipient."""
    need(CLIENTS[address][0])
    machine.systemctl("enable", "--now", "smtpd.socket")
    assert machine.systemctl("is-enabled", "smtpd.socket").stdout.startswith("enabled\n")
    machine.run(*CLIENTS[address], said=TEXT)
    entry, = stored(machine)
    assert entry["SMTPD_PEER"] == [address.encode()]
    assert entry["SMTPD_HELO"] == [b"client.example.org"]
    assert entry["SMTPD_MAIL_FROM"] == [b"alice@example.org"]
    assert entry["SMTPD_PROTOCOL"] == [b"ESMTP"]
    text = TEXT.replace("\r\n", "\n").replace("\n\n", f"\nX-Peer: {address}\n\n")
    assert entry["SMTPD_TEXT"][0].decode().rstrip() == text.rstrip()  # swaks adds an empty line
    log = machine.journalctl("-u", "smtpd@*", "-o", "cat")
    assert "mail from <alice@example.org> to <bob@example.net>" in log
    assert re.search(rf"^message id={entry['SMTPD_ID'][0].decode()} peer={address} .* "
                     rf"verdict=\"250 ", log, re.M)
    machine.run("journalctl", "--update-catalog")
    assert "A mail was received" in machine.journalctl("-x", "SMTPD_RCPT_TO=bob@example.net")


def test_readme(machine):
    """From the installation to the mail itself, as README says it."""
    need("curl")
    build, enable, *rest = readme_block("systemctl enable").splitlines()[1:]
    assert "meson install" in build and enable.startswith("systemctl enable")
    text = "\n".join([enable, *rest]).replace("bob@example.net", "reader@example.net")
    done = machine.run("sh", "-ec", text)
    assert done.stdout == "Subject: Lunch\nX-Peer: 127.0.0.1\n\nAt noon?\n\n"


def test_mail_is_read_back_as_it_was(machine):
    """By the manual's command: long, and with octets that are no text."""
    machine.systemctl("start", "smtpd.socket")
    lines = b"0123456789\r\n" * 20_000
    assert deliver(machine, b"Subject: \xe9\x1b[1m\r\n\r\n" + lines, b"long@example.net") == STORED
    (line,) = [text for _, text in literals(section("smtpd.8", "EXAMPLES")) if "journalctl" in text]
    line = line.removeprefix("$ ").strip().replace("bob@", "long@")
    shown = machine.run("sh", "-c", f"{line} >/run/shown; cat -v /run/shown").stdout
    head, text = shown.split("\n\n", 1)
    assert head == "Subject: M-i^[[1m\nX-Peer: 127.0.0.1" and text == "0123456789\n" * 20_000 + "\n"


def test_status_says_what_the_session_does(machine):
    machine.systemctl("start", "smtpd.socket")
    with machine.client() as client:
        client.begin("EHLO")
        unit, = machine.wait_until(machine.sessions, "no session")

        def says(*words):
            status = machine.systemctl("status", unit).stdout
            line = re.search(r"^ *Status: \"(.*)\"$", status, re.M)
            return line and all(word in line[1] for word in words)

        machine.wait_until(lambda: says("127.0.0.1", "waiting", "accepted: 0"),
                           "the status says nothing before DATA", 5)
        client.expect((b"MAIL FROM:<a@example.org>", b"250 "),
                      (b"RCPT TO:<b@example.com>", b"250 "), (b"DATA", b"354 "))
        machine.wait_until(lambda: says("127.0.0.1", "receiving", "a@example.org"),
                           "the status says nothing in DATA", 5)
        client.say(b".\r\n")
        assert client.reply() == STORED
        machine.wait_until(lambda: says("127.0.0.1", "waiting", "accepted: 1"),
                           "the status says nothing after the message", 5)
        client.quit()


# --- load -----------------------------------------------------------------------------------------


def greeting(sock):
    """What a connection is told first: b"" if it is closed."""
    with contextlib.suppress(ConnectionResetError):
        return sock.recv(100)
    return b""


def deliver_when_possible(machine):
    """As a client does: again and again, until it has a session."""
    return machine.wait_until(lambda: attempt(machine), "nobody is served any more")


def attempt(machine):
    with contextlib.suppress(AssertionError, ConnectionResetError, BrokenPipeError):
        return deliver(machine)


@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["close", "reset"])
def test_thousand_connections_at_once(machine, end):
    """By default 200 in two seconds are the end of a socket unit."""
    machine.systemctl("start", "smtpd.socket")

    def storm():
        for _ in range(1000):
            end(socket.create_connection(("127.0.0.1", 25), PATIENCE))

    machine.in_network(storm)
    assert deliver_when_possible(machine) == STORED
    assert machine.show("smtpd.socket", "ActiveState") == "active"
    assert machine.show("smtpd.socket", "Result") == "success"


def test_one_client_does_not_get_everything(machine):
    """A hundred connections of one address: sixteen sessions; and another address is served
    meanwhile."""
    machine.systemctl("start", "smtpd.socket")
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(machine.connect(source="127.0.0.2")) for _ in range(100)]
        said = [greeting(sock) for sock in many]
        assert sorted(text[:4] for text in said) == [b""] * 84 + [b"220 "] * 16
        assert deliver(machine) == STORED
    machine.wait_until(lambda: not machine.sessions(), "the sessions do not end")
    with machine.client(source="127.0.0.2") as client:
        client.begin("EHLO")
        client.quit()


# --- sessions that end badly ----------------------------------------------------------------------


def test_stopped_in_data(machine):
    """421, and half a message is no message."""
    machine.systemctl("start", "smtpd.socket")
    with machine.client() as client:
        client.begin("DATA")
        client.say(b"Subject: half\r\n")
        machine.systemctl("stop", "--no-block", "smtpd@*")
        assert client.read_to_end().startswith(b"421 4.3.2 ")
    machine.wait_until(lambda: not machine.sessions(), "the session does not end")
    assert stored(machine, "b@example.com") == []
    assert deliver(machine) == STORED


@pytest.mark.parametrize("stage", ["greeting", "RCPT", "DATA"])
def test_client_that_resets(machine, stage):
    machine.systemctl("start", "smtpd.socket")
    with machine.client() as client:
        client.begin(stage)
        reset(client.ours)
    machine.wait_until(lambda: not machine.sessions(), "the session does not end")
    assert stored(machine, "b@example.com") == []


def test_mistake_in_the_configuration(machine):
    """The client is told to come again, and the log says where the mistake is."""
    machine.configure("strategy=journal\nstratgy=print\n")
    with machine.client() as client:
        assert client.read_to_end().startswith(b"421 4.3.5 ")
    machine.wait_until(lambda: not machine.sessions(), "the session does not end")
    ended, = machine.entries("EXIT_STATUS=78")
    assert ended["UNIT"][0].startswith(b"smtpd@")
    assert re.search(r"/etc/smtpd/smtpd\.conf:2: .*stratgy",
                     machine.journalctl("-u", "smtpd@*", "-p", "err", "-o", "cat"))
    machine.configure("strategy=journal\n")  # which counts from the next connection on
    assert deliver(machine) == STORED


def test_message_that_is_too_long(machine):
    machine.configure("max-size=1K\n")
    with machine.client() as client:
        client.begin("EHLO")
        client.expect((b"MAIL FROM:<a@example.org> SIZE=1025", b"552 5.3.4 "))
        assert client.send_message(b"0123456789\r\n" * 1000).startswith(b"552 5.3.4 ")
        assert client.send_message(MESSAGE, recipient=b"bob@example.net") == STORED
        client.quit()
    assert len(stored(machine)) == 1 and stored(machine, "b@example.com") == []


# --- journald comes and goes ----------------------------------------------------------------------


@pytest.mark.parametrize("signal", [None, "KILL"], ids=["restart", "kill"])
def test_journald_restarts_between_and_in_sessions(machine, signal):
    """Standard error is broken then; the replies are honest, and later mail is stored."""
    machine.systemctl("start", "smtpd.socket")
    assert deliver(machine) == STORED
    restart_journald(machine, signal)
    assert deliver(machine) == STORED
    with machine.client() as client:
        client.begin("DATA")
        restart_journald(machine, signal)
        client.say(b"Subject: during\r\n\r\n.\r\n")
        verdict = client.reply()
        client.quit()
    assert verdict == STORED or verdict.startswith(b"451 ")
    assert len(stored(machine, "b@example.com")) == (verdict == STORED)
    assert deliver(machine) == STORED
    assert len(stored(machine)) == 3


def test_every_250_is_an_entry_while_journald_restarts(machine):
    """Messages all the time, among which it is restarted and killed."""
    machine.systemctl("start", "smtpd.socket")
    verdicts, over = {}, threading.Event()

    def send():
        while not over.is_set():
            recipient = f"r{len(verdicts)}@example.net"
            verdicts[recipient] = deliver(machine, recipient=recipient.encode())

    thread = threading.Thread(target=send)
    thread.start()
    try:
        for signal in (None, "KILL", None, "KILL"):
            n = len(verdicts)
            machine.wait_until(lambda: len(verdicts) > n + 2, "no more mail goes through")
            restart_journald(machine, signal)
    finally:
        over.set()
        thread.join(PATIENCE)
    assert set(v[:4] for v in verdicts.values()) <= {b"250 ", b"451 "}
    accepted = {recipient for recipient, verdict in verdicts.items() if verdict == STORED}
    found = {entry["SMTPD_RCPT_TO"][0].decode()
             for entry in machine.entries(f"MESSAGE_ID={MESSAGE_ID}")}
    assert accepted and accepted <= found
    assert deliver(machine) == STORED


# --- another port ---------------------------------------------------------------------------------


def write_second_port(machine):
    """All that an administrator writes."""
    machine.put(f"{UNITS}/smtpd-submission.socket",
                "[Socket]\nListenStream=587\n[Install]\nWantedBy=sockets.target\n")
    start = "/usr/sbin/smtpd --config=/etc/smtpd/submission.conf"
    machine.put(f"{UNITS}/smtpd-submission@.service", f"[Service]\nExecStart={start}\n")


def test_second_port_with_its_own_configuration(machine):
    """Sandbox and limits come by the drop-ins for smtpd-*."""
    write_second_port(machine)
    machine.put("/etc/smtpd/submission.conf",
                "strategy=exec\ncommand=/usr/bin/python3 -I /usr/local/libexec/probe\n")
    machine.put("/usr/local/libexec/probe", PROBE)
    machine.systemctl("daemon-reload")
    machine.systemctl("enable", "--now", "smtpd.socket", "smtpd-submission.socket")
    assert deliver(machine, port=587) == b"250 2.0.0 delivered"
    assert deliver(machine) == STORED
    found = probed(machine, "smtpd-submission@*")
    assert {name: found.get(name) for name in SANDBOX} == SANDBOX | {"user": "dynamic"}
    with machine.client("::1", 587) as six, machine.client("127.0.0.1", 587) as four:
        for client in (six, four):
            client.begin("EHLO")
        for unit in machine.sessions("smtpd-submission@*"):
            assert machine.show(unit, "StatusText").startswith(("127.0.0.1: ", "::1: "))
            assert machine.show(unit, "Description").startswith("SMTP session of smtpd-submission")
            assert machine.show(unit, "CollectMode") == "inactive-or-failed"
            assert machine.show(unit, "StandardError") == "journal"
    for setting in ("TriggerLimitIntervalUSec", "MaxConnections", "MaxConnectionsPerSource"):
        assert machine.show("smtpd-submission.socket", setting) == machine.show("smtpd.socket",
                                                                                setting)
    machine.put("/etc/smtpd/submission.conf", "stratgy=print\n")
    with machine.client(port=587) as client:
        assert client.read_to_end().startswith(b"421 4.3.5 ")


def test_dropin_changes_a_second_port(machine):
    """The shipped examples fit there too."""
    with machine.upstream() as upstream:
        write_second_port(machine)
        machine.configure(f"strategy=proxy\nupstream=127.0.0.1:{upstream.port}\n", "proxy",
                          name="submission")
        assert deliver(machine, port=587) == b"250 2.0.0 taken as 1.0"


# --- the machine itself ---------------------------------------------------------------------------

KILLED = """
import os, sys
from machine import Machine, processes_below
with Machine(sys.argv[1]) as m:
    m.systemctl("start", "smtpd.socket")
    with m.client() as client:
        client.begin("DATA")
        print(*processes_below(m.holder.pid), flush=True)
        os.kill(os.getpid(), 9)
"""


def test_machine_ends_with_the_tests(booted, tmp_path):
    """Also when they are killed in the middle of something."""
    argv = [PYTHON, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=4 * PATIENCE,
                          env=environment(PYTHONPATH=f"{ROOT}/tests:{ROOT}/tests/lib"))
    pids = done.stdout.split()
    # shell, unshare, nspawn, systemd, journald, dbus, smtpd
    assert done.returncode == -9 and len(pids) >= 5, done.stderr
    booted.wait_until(lambda: not any(map(is_running, pids)), "something is left")
