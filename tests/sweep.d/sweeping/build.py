# SPDX-License-Identifier: MIT
"""The helpers in C, compiled."""

import fcntl
import os
import subprocess
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1]

HELPERS = {"runner": ["runner.c", "trace.c", "calls.c", "faults.c", "registers.c",
                      "world.c", "client.c", "servers.c"],
           "deliver": ["-static", "deliver.c"],
           "engine": ["engine.c"],
           "failmalloc.so": ["-shared", "-fPIC", "failmalloc.c"]}


def built_helpers():
    """Of all sweeps of this checkout: the first one builds them, others wait for it."""
    folder = SOURCES.parents[1] / "build-test/sweep"
    flags = ["-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror"]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        changed = max(path.stat().st_mtime
                      for path in [Path(__file__), *SOURCES.glob("*.[ch]")])
        for name, words in HELPERS.items():
            if not (folder / name).exists() or (folder / name).stat().st_mtime <= changed:
                subprocess.run(["cc", *flags, "-o", folder / f"{name}.new", *words],
                               cwd=SOURCES, check=True)
                os.rename(folder / f"{name}.new", folder / name)
    return [folder / name for name in HELPERS]
