# SPDX-License-Identifier: MIT
"""What tests of an acceptor share: its words, a configuration to be read again, shortages."""

import os
import re
import signal
import subprocess
import time

import pytest
from acceptor import Acceptor, connect, read_all
from conftest import need
from processes import descriptors, stat_of, status_of, zombies
from session import PATIENCE, wait_until

MESSAGE = b"Subject: try\r\n\r\ntext\r\n"
PRINTED = b"Subject: try\n\ntext\n"
ENVELOPE = b"EHLO early.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
WHOLE_SESSION = ENVELOPE + MESSAGE + b".\r\nQUIT\r\n"
TOO_MANY = b"421 4.7.0 too many connections, try again later\r\n"
TOO_MANY_FROM_YOU = b"421 4.7.0 too many connections from you, try again later\r\n"
SHORTAGE = b"421 4.3.2 this server is short of resources, try again later\r\n"
SHUTTING_DOWN = b"421 4.3.2 service is shutting down, closing connection"

# A /dev of its own, with a socket of ours as /dev/log.
PRIVATE_LOG = """
mount -t tmpfs none "$1" && touch "$1/null" "$1/log" && mount --bind /dev/null "$1/null" && mount --bind "$2" "$1/log" &&
mount --rbind "$1" /dev && shift 2 && exec "$@"
"""


def signals_of(pid):
    with open(f"/proc/{pid}/status") as lines:
        return {k: {n + 1 for n in range(64) if int(v, 16) >> n & 1} for k, v in
                (line.split(":") for line in lines if line.startswith(("SigBlk", "SigIgn")))}


@pytest.fixture
def config(folder):
    path = folder / "smtpd.conf"
    path.write_text("hostname=one.example\n")
    path.chmod(0o644)
    return path


def start_with_file(smtpd, folder, config, *options, **given):
    """Without the options of session.command(), which would beat the file."""
    return Acceptor(smtpd, folder, f"--config={config}", *options, prefix=without_options(),
                    **given)


def without_options(redirections=""):
    return ["sh", "-c", 'program=$1; shift 4; exec "$program" "$@" ' + redirections, "sh"]


def refusals(acceptor):
    """(reason, clients) of each line of the log."""
    line = re.compile(rb"refused address=\S+ reason=(\S+|\"[^\"]*\") sessions=\d+ clients=(\d+)")
    return [(m[1].decode(), int(m[2])) for m in line.finditer(acceptor.err())]


N_FAILURES = 300


def limit(pid, **limits):
    """Soft limits of a process. Whoever changes them has to be its user, even root."""
    uid, gid = (status_of(pid, key) for key in ("Uid", "Gid"))
    who = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
    options = [f"--{name}={value}:" for name, value in limits.items()]
    subprocess.run([need("prlimit"), f"--pid={pid}", *options], check=True, **who)


def lowest_free(pid):
    taken = descriptors(pid)
    return next(n for n in range(1000) if n not in taken)


def check_refused_for_shortage(acceptor, n=N_FAILURES):
    """So many clients get to know it, nothing is left behind, and the log stays short."""
    before, then = descriptors(acceptor.pid), time.monotonic()
    for _ in range(n):
        with connect(acceptor.address) as client:
            assert read_all(client) == SHORTAGE
        assert time.monotonic() - then < PATIENCE
    wait_until(lambda: set(descriptors(acceptor.pid)) == set(before) and not zombies(acceptor.pid),
               "nothing to be left behind")
    assert len(acceptor.log("refused")) <= time.monotonic() - then + 2


def traced(*injections):
    """strace beside the program, which keeps its process id."""
    return [need("strace"), "-D", "-qq", "-o", "/dev/null",
            *[x for i in injections for x in ("-e", f"inject={i}")]]


def halt(acceptor):
    """It accepts nobody until SIGCONT. One that was stopped while it accepted would go on with that
    then."""
    wait_until(lambda: stat_of(acceptor.pid).state == "S", "it to wait")
    acceptor.signal(signal.SIGSTOP)
    wait_until(lambda: stat_of(acceptor.pid).state == "T", "it to stand still")
