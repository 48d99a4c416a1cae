# SPDX-License-Identifier: MIT
"""The machine (tests/lib/machine.py) that tests under systemd share, of all files that one process
runs: to set it up is dear. So it is not imported: their files name it in pytest_plugins."""

import pytest
from conftest import missing
from machine import Machine


@pytest.fixture(scope="session")
def booted(tmp_path_factory):
    with Machine(tmp_path_factory.mktemp("machine")) as started:
        if not started.path("/usr/libexec/smtpd/smtpd-journal").exists():
            missing("smtpd-journal was not built: libsystemd is missing")
        yield started
