# SPDX-License-Identifier: MIT
"""Exim as a client, with what it does whenever we offer it."""

import re
import subprocess

from exim import Exim
from session import command, environment, free_port, stop, wait_until

EXIM_CONF = """\
trusted_users = root
begin acl
begin routers
out:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = out
begin transports
out:
  driver = smtp
  port = {port}
  allow_localhost
  hosts_try_chunking = *
"""
MESSAGE = b"Subject: chunks\n\n.\n..\n.\nMAIL FROM:<mallory@example.org>\n" + b"a line\n" * 40000


def test_exim_says_bdat(release, tmp_path):
    """CHUNKING: BDAT, and its dots arrive."""
    exim, port, err = Exim(tmp_path / "exim"), free_port(), tmp_path / "err"
    exim.configure(EXIM_CONF.format(port=port))
    argv = command(release, "--x-peer=no", f"--listen={port}", "--trace=yes")
    sendmail = exim.argv("-odi", "-oi", "-f", "a@example.org", "b@example.com")
    with open(err, "wb") as file:
        acceptor = subprocess.Popen(argv, stdout=file, stderr=file, env=environment())
    try:
        wait_until(lambda: b"smtpd: listening" in err.read_bytes(), "the acceptor")
        subprocess.run(sendmail, input=MESSAGE, env=environment(**exim.env), check=True)
        wait_until(lambda: b"smtpd: session " in err.read_bytes(), "the session's end")
    finally:
        stop(acceptor)
    said = err.read_bytes()
    assert "=> b@example.com" in exim.log(), exim.log()
    assert re.search(rb"BDAT \d+ LAST", said) and b" 354 " not in said
    assert MESSAGE.partition(b"\n\n")[2] in said
