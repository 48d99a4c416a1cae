# SPDX-License-Identifier: MIT
"""A syslogd of the test's own at /dev/log, and a session as inetd starts it."""

import contextlib
import os
import socket

from conftest import need_root, private_mounts
from session import PATIENCE, Session, tcp_pair

# A /dev of its own, with a socket of ours as /dev/log. $1: the folder for it, $2: the socket
PRIVATE_LOG = """
mount -t tmpfs none "$1" && touch "$1/null" "$1/log" && mount --bind /dev/null "$1/null" &&
mount --bind "$2" "$1/log" && mount --rbind "$1" /dev && shift 2 && exec "$@"
"""


@contextlib.contextmanager
def syslogd(folder, kind=socket.SOCK_DGRAM):
    """Its socket, and what a command begins with so that it logs there."""
    need_root()
    (folder / "dev").mkdir()
    with socket.socket(socket.AF_UNIX, kind) as log:
        log.bind(str(folder / "log"))
        os.chmod(folder / "log", 0o666)
        log.settimeout(PATIENCE)
        places = [str(folder / "dev"), str(folder / "log")]
        yield log, [*private_mounts(), "sh", "-c", PRIVATE_LOG, "sh", *places]


def inetd_session(argv, folder, **popen):
    ours, theirs = tcp_pair()
    return Session(argv, folder, (ours, theirs), err=theirs, **popen)
