# SPDX-License-Identifier: MIT
"""The promise under every fault: tests/sweep, in the part of it that has each kind of system call
with each of its errors, and of that a third. The two builds share the points: one has the sandbox,
the other sees wrong uses of memory. tests/sweep alone has all points for each."""

import re
import subprocess

import pytest
from conftest import ROOT, missing, need

STRATEGIES = ["print", "print-tls", "show", "exec", "exec-balancer", "exec-refusing", "journal",
              "maildir"]
STRATEGIES += ["proxy", "proxy-chunked", "proxy-filter", "proxy-login", "proxy-tls",
               "proxy-refusing", "proxy-auth", "proxy-lmtp", "proxy-prdr"]
STRATEGIES += ["mailman", "mailman-prdr", "mailman-lmtp", "mailman-filter", "mailman-refusing",
               "mailman-2.1"]
SECONDS = 900  # on a busy machine


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_sweep(smtpd, strategy):
    """Whatever one call fails, whoever vanishes: 250 is a message at its destination, and half a
    message is none."""
    need("cc")
    part = "1/6" if "/release/" in smtpd else "4/6"
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


def test_each_strategy_is_swept():
    """What tests/sweep has."""
    rows = (ROOT / "tests/sweep.d/sweeping/strategies.py").read_text()
    assert re.findall(r'^ +Strategy\("([a-z0-9.-]+)"', rows, re.M) == STRATEGIES
