# SPDX-License-Identifier: MIT
"""smtpd.service, under the real systemd: it exits when it is idle, is stopped or killed, and
journald restarts."""

import re
import socket
import threading
import time

import pytest
from machine import SHIPPED, UNITS
from service import (ACCEPT_NO, UNIT, configure, failures, forgive, log, machine, main_pid,
                     processes, state)
from session import PATIENCE
from units import MESSAGE, STORED, deliver, restart_journald, stored

pytest_plugins = ["booted"]  # a fixture, of which there is one for all files
_ = machine  # a fixture


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
