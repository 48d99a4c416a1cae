# SPDX-License-Identifier: MIT
"""A Mailman 2.1 of a test's own, behind a stand-in for its wrapper, and sessions for its lists."""

from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT
from session import Session, command, environment
from upstream import Upstream

CONTENT = b"From: a@example.org\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nSubject: x\r\n\r\n.text\r\n"


@dataclass
class Taken:
    argv: list
    text: bytes


class Mailman2:
    """Its var folder."""

    def __init__(self, folder):
        self.var = Path(folder) / "mailman"
        (self.var / "qfiles/in").mkdir(parents=True)
        self.create("test")

    def create(self, name, file="config.pck"):
        (self.var / "lists" / name).mkdir(parents=True, exist_ok=True)
        (self.var / "lists" / name / file).touch()

    def command(self, smtpd, *upstreams_and_options):
        argv = command(smtpd, "--strategy=mailman",
                       f"--mailman-wrapper={ROOT}/tests/mailman2-wrapper",
                       f"--mailman-lists={self.var}/lists")
        return argv + [f"--upstream={one.endpoint}" if isinstance(one, Upstream) else one
                       for one in upstreams_and_options]

    def taken(self):
        paths = sorted(self.var.glob("qfiles/in/*.msg"))
        return [Taken(p.with_suffix(".argv").read_text().splitlines(), p.read_bytes())
                for p in paths]


class Client:
    """A session, to its good end."""

    def __init__(self, mm, argv):
        self.session = Session(argv, mm.var, env=environment(WRAPPER_VAR=str(mm.var)))
        self.hello = b"LHLO" if "--protocol=lmtp" in argv else b"EHLO"

    def __enter__(self):
        self.session.expect((None, b"220 "), (self.hello + b" client.example.org", b"250-"))
        return self

    def __exit__(self, kind, *_):
        with self.session:
            if not kind:
                assert self.session.end() == 0

    def ask(self, *recipients, sender=b"a@example.org"):
        self.session.expect((b"MAIL FROM:<%s>" % sender, b"250 "))
        return [self.session.ask(b"RCPT TO:<%s>" % recipient) for recipient in recipients]

    def send(self, content=CONTENT, verdicts=1):
        self.session.expect((b"DATA", b"354 "))
        self.session.say(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        said = [self.session.reply() for _ in range(verdicts)]
        return said[0] if verdicts == 1 else said


DATE = rb"Date: (?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000\n"
