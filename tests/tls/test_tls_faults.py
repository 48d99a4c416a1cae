# SPDX-License-Identifier: MIT
"""smtpd-tls, of which one system call fails after the other: a client hears each reply once, and
what it hears 250 for was delivered whole."""

import contextlib
import re
import shlex
import shutil

import pytest
from conftest import need
from engine import Secure
from session import PATIENCE, command, tcp_pair
from tls import Certificate, engine_of, folder
from tls_session import TRANSACTION

_ = folder  # a fixture
LINE = b"a line of a message that is longer than a piece of the relay\r\n"
N_LINES = 1500
FAULTS = {"sendto": ["EINTR", "ENOBUFS", "ECONNRESET"], "recvfrom": ["EINTR", "ENOMEM"],
          "poll": ["EINTR", "ENOMEM"], "shutdown": ["ENOTCONN"]}


class Faulty:
    """smtpd, whose smtpd-tls is traced."""

    def __init__(self, smtpd, folder):
        strace, pair = need("strace"), Certificate(folder)
        self.folder = folder
        self.smtpd = shutil.copy(smtpd, folder)
        engine = shutil.copy(engine_of(smtpd), folder / "engine")
        self.words = shlex.join([strace, "-f", "-qq", "-o", f"{folder}/trace", "-e",
                                 f"trace={','.join(FAULTS)}"]), shlex.quote(str(engine))
        self.options = ["--tls=implicit", "--timeout=20", f"--tls-certificate={pair.certificate}",
                        f"--tls-key={pair.key}"]

    def deliver(self, fault=""):
        """(codes that the client has heard, messages, log)"""
        strace, engine = self.words
        helper = self.folder / "smtpd-tls"
        helper.write_text(f'#!/bin/sh\nexec {strace} {fault} {engine} "$@"\n')
        helper.chmod(0o755)
        codes = []
        with Secure(command(self.smtpd, *self.options), self.folder, tcp_pair()) as session:
            with contextlib.suppress(OSError, EOFError):
                session.handshake()
                self.say_all(session, codes)
            session.ours.close()
            assert session.process.wait(PATIENCE) == 0, session.err()
            return codes, session.messages(), session.err()

    def say_all(self, session, codes):
        def hear():
            if not (reply := session.reply()):
                raise EOFError
            codes.append(reply[:3])

        hear()
        for said in (b"EHLO c\r\n", *(line + b"\r\n" for line, _ in TRANSACTION),
                     b"Subject: x\r\n\r\n" + LINE * N_LINES + b".\r\n", b"QUIT\r\n"):
            session.say(said)
            hear()
        assert session.read_to_end() == b""
        codes.append(b"end")


ALL = [b"220", b"250", b"250", b"250", b"354", b"250", b"221", b"end"]


@pytest.fixture
def faulty(release, folder, tmp_path):
    return Faulty(release, tmp_path)


@pytest.mark.parametrize("call, error", [(call, error) for call in FAULTS for error in FAULTS[call]])
def test_system_call_of_the_engine_fails(faulty, call, error):
    codes, messages, _ = faulty.deliver()
    assert codes == ALL and len(messages) == 1
    trace = (faulty.folder / "trace").read_text()
    n_calls = len(re.findall(rf"^\d+ +{call}\(", trace, re.M))
    assert n_calls > 0
    for n in range(1, n_calls + 1):
        codes, messages, log = faulty.deliver(f"-e inject={call}:error={error}:when={n}")
        assert codes == ALL[:len(codes)], (n, codes, log)
        # a farewell that fails is one
        assert len(messages) <= 1 and (len(messages) == 1 or len(codes) < 6), (n, codes, log)
        assert all(message.count(LINE[:-2]) == N_LINES for message in messages), (n, codes, log)
        if error == "EINTR":
            assert codes == ALL, (n, codes, log)
