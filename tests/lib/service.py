# SPDX-License-Identifier: MIT
"""smtpd.service, which accepts the connections of smtpd.socket itself (Accept=no), under the real
systemd (tests/lib/machine.py). Whatever a test does, the service has not failed unless the test
says so, and no process of it is left."""

import re

import pytest
from conftest import ROOT
from machine import SHIPPED, UNITS

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


def reload(machine, word):
    machine.mark()
    machine.systemctl("reload", UNIT)
    machine.wait_until(lambda: re.search(rf"^{word}: ", log(machine), re.M),
                       f"the log does not say {word}")
