# SPDX-License-Identifier: MIT
"""Messages for tests of bad days, and a disk that is soon full."""

from conftest import private_mounts

STAGES = ["greeting", "EHLO", "MAIL", "RCPT", "DATA"]
SMALL = b"Subject: small\r\n\r\nsmall\r\n"
PRINTED_SMALL = b"Subject: small\nX-Peer: local\n\nsmall\n"


def large(n):
    """About n octets of message text, as it goes over the wire."""
    line = b"the quick brown fox jumps over the lazy dog, again and again\r\n"
    return line * (n // len(line))


PRIVATE_DISK = 'mount -t tmpfs -o size="$1",mode=700 none "$2" && TMPDIR=$2 && export TMPDIR && shift 2 && exec "$@"'


def with_small_disk(argv, folder):
    """The command line with $TMPDIR on a file system of 1 MiB, which only it can see."""
    return [*private_mounts(), "sh", "-c", PRIVATE_DISK, "sh", "1m", str(folder), *argv]
