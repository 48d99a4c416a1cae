"""Each fuzz target for a short time, beginning with the transcripts; tests/fuzz/run takes as long as one likes."""

import os
import subprocess

import pytest
from conftest import ROOT, missing

SECONDS = 20


@pytest.mark.parametrize("target", ["server", "address", "reply"])
def test_fuzz(target, tmp_path):
    run = subprocess.run(
        [ROOT / "tests/fuzz/run", str(SECONDS), target],
        env={**os.environ, "OUT": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS * 10,
        check=False,
    )
    said = run.stdout.decode(errors="replace")
    if run.returncode == 77:
        missing(said.strip())
    assert run.returncode == 0, said[-4000:]
