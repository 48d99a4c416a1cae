# SPDX-License-Identifier: MIT
"""Strategy journal with a journald of our own (tests/lib/journald.py): its sessions and entries."""

import os
import re

import pytest
from conftest import BUILDS, missing
from journald import Journald
from session import command

MESSAGE_ID = b"03ee138b80854283b52b6fce238bfc85"
SMALL = b"Subject: small\r\n\r\nsmall\r\n"
STORED = b"250 2.0.0 stored in the journal"


@pytest.fixture(scope="module")
def journald(tmp_path_factory):
    """One for all tests that do it no harm."""
    with Journald(tmp_path_factory.mktemp("journald"), "RuntimeMaxUse=3G",
                  "RuntimeMaxFileSize=500M") as started:
        yield started


@pytest.fixture(autouse=True)
def has_helper():
    if not os.path.exists(BUILDS["release"] / "smtpd-journal"):
        missing("smtpd-journal was not built: libsystemd is missing")


def journal_command(journald, smtpd, *options):
    return journald.inside(*command(smtpd, "--strategy=journal", *options))


def stored(journald, session):
    """The entries of a session's messages, without what journald adds, in their order."""
    ids = re.findall(rb"^smtpd: message id=(\S+) ", session.err(), re.M)
    entries = [entry for one in ids for entry in journald.entries(f"SMTPD_ID={one.decode()}")]
    return [{name: value for name, value in entry.items() if not name.startswith("_")}
            for entry in entries]


def only(entry, name):
    assert len(entry[name]) == 1, name
    return entry[name][0]
