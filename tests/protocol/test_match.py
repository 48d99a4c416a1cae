# SPDX-License-Identifier: MIT
"""Patterns of reply= and delay=: our matcher against Python's fnmatch, without what that has beyond
"*" and "?"."""

import fnmatch
import random
import re
import subprocess

from conftest import BUILDS
from session import PATIENCE

SIGNS = "ab.@-é€"


def drawn(rng, more, n):
    return "".join(rng.choice(SIGNS + more) for _ in range(rng.randrange(n)))


def is_like(text, pattern):
    """fnmatch in lower case; brackets mean nothing to us."""
    return re.match(fnmatch.translate(pattern.lower().replace("[", "[[]")),
                    text.lower()) is not None


def test_patterns_as_python_has_them():
    rng = random.Random(2026)
    patterns = [drawn(rng, "***???AB[]", 9) for _ in range(400)]
    asked = [(pattern, drawn(rng, "AB[]", 12)) for pattern in patterns for _ in range(25)]
    asked += [("*" + text[2:-3] + "*", text) for _, text in asked[::25]]
    said = subprocess.run([BUILDS["release"] / "tests/unit/test-match", "-"],
                          input="".join(f"{p}\t{t}\n" for p, t in asked),
                          capture_output=True, text=True, timeout=PATIENCE,
                          check=True).stdout.split()
    assert len(said) == len(asked) and {"0", "1"} == set(said)
    assert [pair for pair,
            got in zip(asked, said) if (got == "1") != is_like(pair[1], pair[0])] == []
