# SPDX-License-Identifier: MIT
"""A broker alone (tests/broker.d/stand.c), and how to ask it by hand, as a session that was taken
over could."""

import array
import contextlib
import os
import re
import socket
import struct
import subprocess

import pytest
from conftest import BUILDS
from session import PATIENCE, stop

RUN, CONNECT, LIST, TLS, CANCEL, PEER = range(1, 7)
LOST, DONE, NONE, UNABLE, FAILED, LATE, CANCELED, SURVIVED = range(8)
PROGRAM, WRAPPER = range(2)
TO_LOOK, TO_RUN = range(2)
NAMES = ["ID", "HELO", "PROTOCOL", "MAIL_FROM", "MAIL_OPTIONS", "SIZE",
         "TLS", "TLS_CIPHER", "TLS_SNI", "TLS_CLIENT_FINGERPRINT", "TLS_CLIENT_VERIFY", "AUTH",
         "RCPT_TO", "RCPT_OPTIONS"]
VARIABLES = b"".join(f"SMTPD_{name}=the {name}\0".encode() for name in NAMES)
REQUEST, ANSWER = "=5I128s", "=IiIII128s1024s"
OUTPUT_MAX = 17 * 1024
MESSAGE = b"Subject: x\n\ntext\n"


def request(kind, index=0, milliseconds=20_000, text=b"", command=0, name=b"", n_text=None):
    return struct.pack(REQUEST, kind, index, milliseconds, len(text) if n_text is None else n_text,
                       command, name) + text


class Stand:
    """A broker, and our end of its socket."""

    def __init__(self, build, folder, program="-", wrapper="-", lists="-", mailman="-", engine="-",
                 upstream=(), **popen):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(PATIENCE)
        self.err_path = folder / "broker-err"
        argv = [BUILDS[build] / "tests/broker.d/broker-stand", str(theirs.fileno()), program,
                wrapper, lists, mailman, engine, *upstream]
        with theirs, open(self.err_path, "wb") as err:
            self.process = subprocess.Popen(argv, pass_fds=[theirs.fileno()],
                                            stdout=subprocess.PIPE, stderr=err, **popen)
        sizes = self.process.stdout.readline().split()
        assert sizes == [b"%d" % struct.calcsize(REQUEST), b"%d" % struct.calcsize(ANSWER)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        stop(self.process)
        self.process.stdout.close()

    def send(self, octets, *fds):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        n = self.socket.sendmsg([octets], rights)
        with contextlib.suppress(BrokenPipeError):  # it may refuse before it has heard all
            self.socket.sendall(octets[n:])

    def receive(self, n):
        octets = b""
        while len(octets) < n and (part := self.socket.recv(n - len(octets))):
            octets += part
        return octets

    def answer(self):
        """(outcome, wait status, output, was it cut, command, list, reason, descriptors)"""
        n = struct.calcsize(ANSWER)
        octets, rights, _, _ = self.socket.recvmsg(n, 4096)
        octets += self.receive(n - len(octets))
        outcome, status, n_text, is_cut, number, name, reason = struct.unpack(ANSWER, octets)
        fds = [fd for level, kind, data in rights for fd in array.array("i", data)]
        said, name, reason = self.receive(n_text), name.split(b"\0")[0], reason.split(b"\0")[0]
        return outcome, status, said, is_cut, number, name, reason, fds

    def ask(self, octets, *fds):
        self.send(octets, *fds)
        return self.answer()

    def run(self, text=VARIABLES, message=None, **more):
        with message or spool() as file:
            return self.ask(request(RUN, text=text, **more), file.fileno())

    def err(self):
        return self.err_path.read_bytes()

    def refuses(self):
        """It ends, and says why."""
        assert self.process.wait(PATIENCE) == 76  # EX_PROTOCOL
        said, = re.findall(rb"^smtpd: broker: ended because of a forbidden request: "
                           rb"(.*)\n", self.err(), re.M)
        return said


@contextlib.contextmanager
def spool(text=MESSAGE):
    """A file without a name, as the session has it."""
    fd = os.memfd_create("message")
    with open(fd, "w+b") as file:
        file.write(text)
        file.flush()
        yield file


def script(folder, text, name="program"):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(params=sorted(BUILDS))
def build(request):
    return request.param


@pytest.fixture
def lists(tmp_path):
    for name in ("test", "c++", "x-request"):
        (tmp_path / "lists" / name).mkdir(parents=True)
        (tmp_path / "lists" / name / "config.pck").touch()
    return str(tmp_path / "lists")
