# SPDX-License-Identifier: MIT
"""Real mail servers as upstreams: how they are run, what is sent, and what has to arrive."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import need
from proxy import LARGE, RECEIVED, SMALL
from session import environment, stop, wait_until

CONTENTS = {
    "small": SMALL,
    "dots": b"From: a@example.org\r\nSubject: dots\r\n\r\n..\r\n...\r\n..a\r\na.\r\n\r\n..\r\n",
    "8 bits": b"Subject: \xc3\xa4\r\nMIME-Version: 1.0\r\n\r\n"
    + b"f\xc3\xbcr \xff\xfe\x80\r\n" * 50,
    "large": LARGE,
    "blank lines": b"Subject: x\r\n folded\r\n\r\n\r\n\r\nbody  \r\n\t\r\n\r\n",
    "no header": b" no\r\nfield\r\n\r\nbody\r\n",
    "mbox": b"From a@example.org Sat Nov 21\r\nSubject: x\r\n\r\nbody\r\n",
}


def lf_text(content):
    return re.sub(rb"^\.", b"", content, flags=re.M).replace(b"\r\n", b"\n")


def behind_received(text):
    """Our Received's parts, and the LF text behind it."""
    match = RECEIVED.search(text)
    assert match, text[:2000]
    return match.groupdict(), text[match.end() :]


def is_listening(address, process):
    assert process.poll() is None, "the server has ended"
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as sock:
        return sock.connect_ex(address) == 0


@contextlib.contextmanager
def server(log, address, *argv, **popen):
    """A process that listens there, and its log."""
    with open(log, "wb") as file:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                   start_new_session=True, **popen)
    try:
        if address:
            wait_until(lambda: is_listening(address, process), argv[0])
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            # the group is what we have started, and its children
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        stop(process)


@contextlib.contextmanager
def tcpserver(folder, *argv, env=None):
    """A program for each connection; the port."""
    log = folder / "tcpserver.out"
    with server(log, None, need("tcpserver"), "-1HRl0", "127.0.0.1", "0", *argv,
                env=env or environment(), cwd=folder) as process:
        def port():
            assert process.poll() is None
            return re.match(rb"(\d+)\n", log.read_bytes())

        yield int(wait_until(port, "tcpserver")[1])


@pytest.fixture(scope="module")
def folder():
    """One that other users may enter."""
    with tempfile.TemporaryDirectory(prefix="smtpd-upstreams.", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        yield Path(name)


HANDLER = '''\
import os, pathlib

class Raw:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 5.1.1 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        folder = pathlib.Path(os.environ["RAW"])
        (folder / "envelope").write_text(repr([envelope.mail_from, envelope.rcpt_tos]))
        (folder / "new").write_bytes(envelope.original_content)
        (folder / "new").rename(folder / "message")
        return "250 2.0.0 it is in the file"
'''
