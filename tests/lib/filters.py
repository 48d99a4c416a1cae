# SPDX-License-Identifier: MIT
"""Filters that are scripts, a message that is sent through one, and what it looks like then."""

import re

import pytest
from proxy import RECEIVED, proxy
from session import Session
from upstream import Upstream

SMALL = b"Subject: small\r\n\r\n.small\r\n"
PASSED = b"Subject: small\nX-Peer: local\n\nsmall\n"  # as it is passed on, below Received
TAKEN = b"250 2.0.0 taken as 1.0"
TRY_AGAIN = b"451 4.3.0 temporary failure, try again later"


@pytest.fixture
def script(tmp_path):
    """Makes a filter of a shell script; what it is as an option."""

    def make(body, name="filter"):
        path = tmp_path / name
        path.write_bytes(b"#!/bin/sh\n" + (body if isinstance(body, bytes) else body.encode())
                         + b"\n")
        path.chmod(0o755)
        return f"--filter={path}"

    return make


def printing(octets, status=0):
    """A script that prints them."""
    return b"printf '%s'; exit %d" % (b"".join(b"\\%03o" % octet for octet in octets), status)


def ask(smtpd, folder, *options, content=SMALL, lmtp=False):
    """A message for one recipient: (verdict, what the upstream has of it, the log)."""
    with Upstream(lmtp=lmtp) as up:
        more = ["--upstream-protocol=lmtp"] if lmtp else []
        with Session(proxy(smtpd, up, *more, *options), folder) as s:
            s.begin("EHLO")
            verdict = s.send_message(content)
            assert s.end() == 0
        up.wait_until_over()
        return verdict, [m.text for m in up.messages], s.err()


def on_top(text):
    """What is above Received."""
    top, received, rest = re.split(rb"(?=^Received: )|(?<=\+0000\n)", text, maxsplit=2, flags=re.M)
    assert RECEIVED.fullmatch(received) and rest == PASSED
    return top
