# SPDX-License-Identifier: MIT
"""Each fuzz target for a short time, beginning with the transcripts and the corpus, and with the
same random numbers each time: what is found comes of what was changed. tests/fuzz/run takes as long
as one likes, and others. That everything in the corpus is replayed with sanitizers, without a
fuzzer, is among the programs of test_units.py."""

import os
import re
import subprocess

import pytest
from conftest import ROOT, missing
from meson_tests import listed

SECONDS = 5
TARGETS = ["session", "config", "server", "broker", "address", "reply", "match", "tls", "proxy"]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """What is said of all targets, which run side by side."""
    run = subprocess.run(
        [ROOT / "tests/fuzz/run", str(SECONDS), *TARGETS],
        env={**os.environ, "OUT": str(tmp_path_factory.mktemp("fuzz")), "SEED": "1", "JOBS": "2"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS * 100,
        check=False,
    )
    said = run.stdout.decode(errors="replace")
    if run.returncode == 77:
        missing(said.strip())
    return run.returncode, said


@pytest.mark.parametrize("target", TARGETS)
def test_fuzz(outcome, target):
    status, said = outcome
    assert f"{target}: FAILED" not in said, said[-4000:]
    assert re.search(rf"^{target}: stat::number_of_executed_units: [1-9]", said, re.M), said[-4000:]
    assert status == 0 or "FAILED" in said, said[-4000:]


def test_corpora_are_replayed():
    assert {f"fuzz-{target}" for target in TARGETS} <= {test["name"] for test in listed("sanitize")}
