#!/usr/bin/env -S python3 -m pytest
# SPDX-License-Identifier: MIT
"""A pytest fixture: a mail server that waits for the mails of the application under test.

It listens on port `mails.port` of 127.0.0.1. What is above the line of "=" belongs in conftest.py.
"""

import mailbox
import os
import re
import smtplib
import subprocess
import threading
import time

import pytest


class Mails:
    """The messages received so far, as email.message.Message; smtpd adds the envelope to them."""

    def __init__(self, folder):
        argv = [os.environ.get("SMTPD", "smtpd"), "--listen=127.0.0.1:0"]
        argv += ["--strategy=maildir", f"--maildir={folder}"]
        argv += [f"--user={os.geteuid()}"] * (os.geteuid() == 0)
        self.folder = folder
        self.process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        said = self.process.stderr.readline()
        assert (match := re.search(r"listening address=127\.0\.0\.1:(\d+)", said)), said
        self.port = int(match[1])
        # The log: if nobody read it, smtpd would wait once the pipe is full.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def all(self):
        return list(mailbox.Maildir(self.folder)) if os.path.isdir(self.folder / "new") else []

    def wait(self, n=1, seconds=10):  # for the first n
        deadline = time.monotonic() + seconds
        while len(found := self.all()) < n:
            assert time.monotonic() < deadline, f"{len(found)} of {n} mails in {seconds} s"
            time.sleep(0.02)
        return found[:n]


@pytest.fixture
def mails(tmp_path_factory):
    mails = Mails(tmp_path_factory.mktemp("mails"))
    yield mails
    mails.process.terminate()
    mails.process.wait()


# ==================================================================================================


def test_it(mails):
    with smtplib.SMTP("127.0.0.1", mails.port) as client:
        client.sendmail("shop@example.org", ["bob@example.net"], "Subject: Your order\n\nThanks!\n")
    (mail,) = mails.wait()
    assert mail["Subject"] == "Your order" and mail["Delivered-To"] == "bob@example.net"
