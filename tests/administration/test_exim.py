# SPDX-License-Identifier: MIT
"""Exim as a client, with what it does whenever we offer it."""

import re
import subprocess

from exim import Exim
from session import command, environment, free_port, stop, wait_until

MESSAGE = b"Subject: chunks\n\n.\n..\n.\nMAIL FROM:<mallory@example.org>\n" + b"a line\n" * 40000


def test_exim_says_bdat(release, tmp_path):
    """CHUNKING: BDAT, and its dots arrive."""
    exim, port, err = Exim(tmp_path / "exim"), free_port(), tmp_path / "err"
    argv = command(release, "--x-peer=no", f"--listen={port}", "--trace=yes")
    with open(err, "wb") as file:
        acceptor = subprocess.Popen(argv, stdout=file, stderr=file, env=environment())
    try:
        wait_until(lambda: b"smtpd: listening" in err.read_bytes(), "the acceptor")
        log = exim.send(port, ["hosts_try_chunking = *"], MESSAGE, "b@example.com")
        wait_until(lambda: b"smtpd: session " in err.read_bytes(), "the session's end")
    finally:
        stop(acceptor)
    said = err.read_bytes()
    assert "=> b@example.com" in log, log
    assert re.search(rb"BDAT \d+ LAST", said) and b" 354 " not in said
    assert MESSAGE.partition(b"\n\n")[2] in said
