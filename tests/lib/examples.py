# SPDX-License-Identifier: MIT
"""The hooks in examples/: command lines that run them, messages for them, and what they say."""

import re
import shlex

from conftest import ROOT
from session import command

EXAMPLES = ROOT / "examples"


def exec_command(smtpd, *words):
    return command(smtpd, "--strategy=exec",
                   "--command=" + " ".join(shlex.quote(str(word)) for word in words))


def said(err):
    """What a hook wrote to standard error, from the log."""
    lines = re.findall(r'^smtpd: program id=\S+ program=\S+ stderr=(?:"([^"]*)"|(\S*))$', err, re.M)
    return [re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), quoted or plain) for quoted,
            plain in lines]


def deliver(session, sender, recipients, content):
    session.expect((b"MAIL FROM:" + sender, b"250 "),
                   *[(b"RCPT TO:" + r, b"250 ") for r in recipients], (b"DATA", b"354 "))
    session.say(content + b".\r\n")
    return session.reply()
