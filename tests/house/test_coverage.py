# SPDX-License-Identifier: MIT
"""How many lines of the protocol and of the strategies the tests run: a part of them is enough to
know. tests/coverage has the whole."""

import re
import subprocess

from conftest import NOTES, ROOT, need

PART = ("test_units or test_corners or test_mailman2 or (test_exec and not gigabyte) or "
        "left_behind or (before_the_dot and (EHLO or XCLIENT)) or test_every_field or test_split "
        "or one_reply_too_many or test_auth or (test_show and depth) or (test_maildir and (lmtp or "
        "check_warns)) or helper_is_missing or needs_a_directory or test_filter")


def test_lines():
    need("gcov", "meson")
    run = subprocess.run([ROOT / "tests/coverage", "-k", PART], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         timeout=1800, text=True, check=False)
    found = re.findall(r"^( *([0-9.]+) %.* src/(?:smtp|deliver))$", run.stdout, re.M)
    NOTES.extend(line for line, _ in found)
    assert len(found) == 2 and all(float(percent) >= 95 for _, percent in found), run.stdout[-6000:]
