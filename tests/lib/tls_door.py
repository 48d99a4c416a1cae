# SPDX-License-Identifier: MIT
"""An acceptor with TLS, of which the engine is a stand-in (tests/lib/tls_stand.py): its sessions,
and what they hear."""

import contextlib
import re

import pytest
from session import wait_until
from tls_stand import ask, install, request_socket


@pytest.fixture
def program(smtpd, folder):
    return install(smtpd, folder)


@contextlib.contextmanager
def session_of(door):
    """(client, pid) of a session that has greeted."""
    before = set(door.sessions())
    with door.client("greeting") as client:
        wait_until(lambda: set(door.sessions()) - before, "a session")
        yield client, (set(door.sessions()) - before).pop()


def engine_that_answers(door):
    """Its pid, as a session hears it; None if there is none now."""
    with session_of(door) as (client, pid), request_socket(pid) as sock:
        said = ask(sock)
        client.quit()
    answer = re.fullmatch(rb"SSL_PROTOCOL=(\d+)\0\0", said)
    return int(answer[1]) if answer else None
