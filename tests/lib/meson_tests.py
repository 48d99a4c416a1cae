# SPDX-License-Identifier: MIT
"""The programs that meson knows as tests."""

import json
import subprocess

from conftest import BUILDS


def listed(build):
    """What meson lists; an item that fails where there is no build, since a test that vanishes
    would not be missed."""
    done = subprocess.run(["meson", "introspect", "--tests", str(BUILDS[build])],
                          capture_output=True, text=True)
    try:
        return json.loads(done.stdout)
    except ValueError:
        return [{"name": "nothing-built", "cmd": ["false"], "env": {}, "workdir": None,
                 "timeout": 1}]
