# SPDX-License-Identifier: MIT
"""Descriptors that nobody told smtpd of are closed; those that the environment or the command line
names stay."""

import os
import subprocess

import pytest
from session import PATIENCE, Session, command, environment

LEAKED = 77
OPENER = """
import os, sys
for number in eval(sys.argv[1]):
    os.dup2(int(sys.argv[2]), number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[3], sys.argv[3:])
"""


def open_ones(pid):
    return {int(n): os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}


@pytest.mark.parametrize("env, numbers, kept", [
    ({}, [3, 7, LEAKED], []),
    ({"LISTEN_FDS": "1"}, [3, 4, LEAKED], [3]),
    ({"SMTPD_OUTPUT_FD": str(LEAKED)}, [3, 9, LEAKED], [LEAKED]),
    ({"SMTPD_OUTPUT_FD": "5", "SMTPD_COUNTER_FD": "8"}, [3, 5, 6, 8, 9], [5, 8]),
], ids=["none", "listen", "output", "both"])
def test_other_descriptors_are_closed(smtpd, tmp_path, env, numbers, kept):
    with open(tmp_path / "leaked", "w") as leaked:
        starter = ["/usr/bin/python3", "-c", OPENER, repr(numbers), str(leaked.fileno())]
        with Session([*starter, *command(smtpd)], tmp_path, env=environment(**env),
                     pass_fds=[leaked.fileno()]) as session:
            session.begin("EHLO")
            found = open_ones(session.pid)
    assert [n for n, what in sorted(found.items()) if what == str(tmp_path / "leaked")] == kept


@pytest.mark.parametrize("name", ["/dev/fd/%d", "/proc/self/fd/%d"])
def test_configuration_in_a_descriptor_stays(smtpd, tmp_path, name):
    """A shell's <(...) is one."""
    reading, writing = os.pipe()
    os.write(writing, b"hostname=passed.example\n")
    os.close(writing)
    argv = [smtpd, f"--config={name % reading}", "--strategy=print"]
    done = subprocess.run(argv, input=b"QUIT\r\n", capture_output=True, pass_fds=[reading],
                          env=environment(), timeout=PATIENCE)
    os.close(reading)
    assert done.stdout.startswith(b"220 passed.example ")
