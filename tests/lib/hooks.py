# SPDX-License-Identifier: MIT
"""Programs for strategy exec, command lines that run them, and messages for them.

Most are a few lines of sh. One that shall be looked at while it runs waits at a FIFO (class Hook):
nothing of its own disturbs what /proc then says about it."""

import contextlib
import hashlib
import json
import os

import pytest
from processes import GONE, programs
from session import Session, command, environment, wait_until

SMALL = b"Subject: small\r\n\r\nsmall\r\n"
TRY_AGAIN = b"451 4.3.0 temporary failure, try again later"
TOO_LATE = b"451 4.3.0 the delivery program took too long, try again later"


def script(folder, body, name="hook", interpreter="/bin/sh"):
    """An executable file; its path."""
    path = folder / name
    path.write_bytes(b"#!%s\n%s\n" % (interpreter.encode(),
                                      body if isinstance(body, bytes) else body.encode()))
    path.chmod(0o755)
    return path


def exec_command(smtpd, program, *options):
    return command(smtpd, "--strategy=exec", f"--command={program}", *options)


def shell(text, argv):
    """A command line that first does something in a shell."""
    return ["sh", "-c", text + '\nexec "$@"', "sh", *argv]


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Hook:
    """A program that waits until a test lets it go: `cat FIFO`. What is written there is what it
    says."""

    def __init__(self, folder):
        self.fifo = folder / "fifo"
        os.mkfifo(self.fifo)
        self.command = f"cat {self.fifo}"
        self.pid = None

    def find(self, session):
        """Waits until it runs, and stands at the FIFO."""
        def look():
            for pid, status in programs(session.pid).items():
                with contextlib.suppress(*GONE):
                    if status.state == "S" and read(
                            f"/proc/{pid}/cmdline") == f"cat\0{self.fifo}\0".encode():
                        return pid
            return None

        self.pid = wait_until(look, "the hook")
        return self.pid

    def look(self, what):
        return read(f"/proc/{self.pid}/{what}")

    def environ(self):
        """Every variable is there once."""
        pairs = [pair.partition(b"=") for pair in self.look("environ").split(b"\0")[:-1]]
        assert len({name for name, _, _ in pairs}) == len(pairs)
        return {name.decode(): value for name, _, value in pairs}

    def let_go(self, says=b""):
        def opened():
            try:
                return os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # ENXIO: it has not opened its end
                return None

        fd = wait_until(opened, "the hook to open its end")
        os.write(fd, says)
        os.close(fd)


@pytest.fixture
def hook(tmp_path):
    return Hook(tmp_path)


@pytest.fixture
def seen(tmp_path):
    """The folder $SEEN, where hooks write down what they saw."""
    folder = tmp_path / "seen"
    folder.mkdir()
    return folder


def start_transaction(session, sender, recipients, content):
    """Up to the message's end; nobody waits for the verdict."""
    session.expect((b"MAIL FROM:" + sender, b"250 "),
                   *[(b"RCPT TO:" + r, b"250 ") for r in recipients], (b"DATA", b"354 "))
    session.say(content + b".\r\n")


STATUSES = {
    0: "250 2.0.0",
    64: "554 5.3.0",
    65: "554 5.6.0",
    67: "550 5.1.1",
    68: "550 5.1.2",
    70: "554 5.3.0",
    76: "554 5.5.0",
    77: "550 5.7.1",
    100: "554 5.0.0",
}

DELIVERED = b"250 2.0.0 delivered"

READER = """import hashlib, json, os, sys
at_start = os.lseek(0, 0, os.SEEK_CUR)
first = sys.stdin.buffer.read()
os.lseek(0, 0, os.SEEK_SET)
second = b"".join(iter(lambda: os.read(0, 1 << 20), b""))
os.lseek(0, len(first) // 2, os.SEEK_SET)
half = os.read(0, 10)
with open(os.environ["SEEN"] + "/" + os.environ["SMTPD_MAIL_FROM"], "w") as file:
    json.dump([at_start, len(first), hashlib.sha256(first).hexdigest(), first == second,
               half == first[len(first) // 2 :][:10], os.environ["SMTPD_SIZE"]], file)"""


def text_of(n):
    """n octets in LF lines, some of which need a dot, with a line end at the end."""
    lines, size = [], 0
    patterns = [b"." * 3, b".", b"", bytes(range(32, 127)), bytes(range(128, 256)) * 3,
                b"\x01\x02\x7f\t x", b".x" * 300]
    block = b"".join(pattern + b"\n" for pattern in patterns)
    while size + len(block) < n:
        lines.append(block)
        size += len(block)
    rest = n - size
    return b"".join(lines) + (b"y" * (rest - 1) + b"\n" if rest else b"")


def on_the_wire(text):
    wire = text.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")
    return b"." + wire if wire.startswith(b".") else wire


def read_two(argv, folder, seen, size):
    """Two messages of that size for READER, which reads each of them whole."""
    with Session(argv, folder, env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        text = text_of(size)
        for n in (1, 2):
            assert session.send_message(on_the_wire(text), sender=b"%d@x.example" % n) == DELIVERED
            with open(seen / f"{n}@x.example") as file:
                assert json.load(file)[:5] == [0, size, hashlib.sha256(text).hexdigest(), True,
                                               True]
        assert session.end() == 0
