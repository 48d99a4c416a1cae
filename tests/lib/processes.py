# SPDX-License-Identifier: MIT
"""What proc(5) says of processes that may end at any moment, also between two looks at them.

Who reads a file of a process that is over, gets one of the errors GONE. Functions that look at many
processes, or that a test calls to see whether one still runs, take that as an answer. The others
are for processes that a test keeps alive."""

import os
from typing import NamedTuple

GONE = (FileNotFoundError, ProcessLookupError)


class Status(NamedTuple):
    """Of the fields of /proc/PID/stat, those behind the name, which may contain anything."""
    state: str
    parent: int
    group: int

    @property
    def is_over(self):
        """A zombie is."""
        return self.state in "ZX"


def stat_of(pid):
    """None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            state, parent, group = file.read().rpartition(")")[2].split()[:3]
    except GONE:
        return None
    return Status(state, int(parent), int(group))


def processes():
    """Every process there is, zombies included: number to status."""
    every = ((int(name), stat_of(name)) for name in os.listdir("/proc") if name.isdecimal())
    return {pid: status for pid, status in every if status}


def is_running(pid):
    status = stat_of(pid)
    return status is not None and not status.is_over


def children(pid):
    """Of any state: one that is over is a zombie until it has been waited for. Number to status."""
    return {child: status for child, status in processes().items() if status.parent == pid}


def command_line(pid):
    """Its words; none of a zombie, or if there is no such process."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")[:-1]
    except GONE:
        return []


def broker_of(session):
    """The process that runs programs and connects for a session; None if it has none (any more)."""
    return next((child for child, status in children(session).items() if not status.is_over), None)


def programs(session):
    """Those that a session's broker runs, and those that it has not waited for: number to
    status."""
    broker = broker_of(session)
    return children(broker) if broker else {}


def running_children(pid):
    return sorted(child for child, status in children(pid).items() if not status.is_over)


def zombies(pid):
    return sorted(child for child, status in children(pid).items() if status.is_over)


def group(pgid):
    """The processes of a process group that are not over."""
    return sorted(pid for pid,
                  status in processes().items() if status.group == pgid and not status.is_over)


def descriptors(pid):
    """What is open at each number."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except GONE:  # it was closed meanwhile
            pass
    return found


def status_of(pid, key):
    """The first number in a line of /proc/PID/status; of memory, in KiB. None of a process that is
    over: a zombie has no memory."""
    try:
        with open(f"/proc/{pid}/status") as lines:
            return next((int(line.split()[1]) for line in lines if line.startswith(key + ":")),
                        None)
    except GONE:
        return None
