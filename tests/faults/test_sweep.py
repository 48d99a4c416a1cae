# SPDX-License-Identifier: MIT
"""The promise under every fault: tests/sweep, in the part of it that has each kind of system call
with each of its errors, and of that a quarter. The two builds share the points: one has the
sandbox, the other sees wrong uses of memory. tests/sweep alone has all points for each."""

import re
import subprocess

import pytest
from conftest import ROOT, missing, need

ROWS = (ROOT / "tests/sweep.d/sweeping/strategies.py").read_text()
STRATEGIES = re.findall(r'^ +Strategy\("([a-z0-9.-]+)"', ROWS, re.M)
SECONDS = 900  # on a busy machine


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_sweep(smtpd, strategy):
    """Whatever one call fails, whoever vanishes: 250 is a message at its destination, and half a
    message is none."""
    need("cc")
    part = "1/8" if "/release/" in smtpd else "5/8"
    run = subprocess.run(
        [ROOT / "tests/sweep", "--subset", "--part", part, "--jobs", "3", "--smtpd", smtpd,
         "--only", strategy],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        check=False,
    )
    said = run.stdout.decode(errors="replace")
    if run.returncode == 77:
        missing(said.strip())
    assert run.returncode == 0, said[-6000:]
