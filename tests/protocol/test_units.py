# SPDX-License-Identifier: MIT
"""The unit tests written in C, and the transcripts played to the core: each program that meson
knows as a test, in both builds."""

import os
import subprocess

import pytest
from conftest import BUILDS, ROOT
from meson_tests import listed
from session import environment


def items():
    return [pytest.param(test, id=f"{build}-{test['name']}") for build in sorted(BUILDS)
            for test in listed(build)]


@pytest.mark.parametrize("test", items())
def test_program(test):
    done = subprocess.run(
        test["cmd"], env=environment(leaks=True, **test["env"]),
        cwd=test["workdir"] or os.path.dirname(test["cmd"][0]) or None,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=test["timeout"],
    )
    assert done.returncode == 0, done.stdout[-5000:].decode(errors="replace")


@pytest.mark.parametrize("build", sorted(BUILDS))
def test_transcripts_are_among_them(build):
    """All of them."""
    (played,) = (test["cmd"][1:] for test in listed(build) if test["name"] == "transcripts")
    there = (ROOT / "tests/transcripts").rglob("*.txt")
    assert sorted(map(os.path.realpath, played)) == sorted(map(os.path.realpath, there))
