# SPDX-License-Identifier: MIT
"""The messages that a destination holds, each read in its own form."""

import re

from session import BEGIN, END
from sweeping.held import Held, address


def kept(octets):
    """What tests/sweep.d/deliver.c wrote: HELO, sender, recipients, an empty line, text."""
    head, _, text = octets.partition(b"\n\n")
    lines = head.decode().split("\n")
    return Held("program", address(lines[1]), lines[2:], text)


def filed(octets, outcome):
    """What smtpd-maildir adds on top: sender, recipients, Received."""
    top = re.match(rb"Return-Path: <(.*)>\n((?:Delivered-To: .*\n)*)", octets)
    if not top:
        return Held("maildir", "", [], octets)
    recipients = [line.removeprefix("Delivered-To: ") for line in top[2].decode().splitlines()]
    return Held("maildir", top[1].decode(), recipients, outcome.strip(octets[top.end() :]))


def printed(log):
    """What is between complete frame lines. There are no recipients in it."""
    parts = [part.split(END)[0] for part in log.split(BEGIN)[1:] if END in part]
    return [Held("print", None, None, text) for text in parts]


SHOWN = re.compile(rb"^---------- MESSAGE ----------\nEnvelope: <([^\n]*)> to ([^\n]*)\nClient: "
                   rb"[^\n]*\n\n(.*?)"
                   rb"-------- END MESSAGE --------\n", re.M | re.DOTALL)


def shown(log):
    """What strategy show made of complete messages."""
    return [Held("show", sender.decode(), [address(to) for to in recipients.decode().split(", ")],
                 text)
            for sender, recipients, text in SHOWN.findall(log)]


def as_shown(text):
    """One of ours: the fields in the order in which they are shown."""
    header, _, body = text.partition(b"\n\n")
    fields = sorted(header.split(b"\n"),
                    key=lambda f: [b"From", b"To", b"Date", b"Subject"].index(f.split(b":")[0]))
    return b"\n".join(fields) + b"\n\n" + body.strip(b"\n") + b"\n"


def stored(entries):
    """From the journal: token -> what it has."""
    found = {}
    for entry in entries:
        if "SMTPD_HELO" in entry and (match := re.match(rb"run-(\d+)\.", entry["SMTPD_HELO"][0])):
            found.setdefault(int(match[1]), []).append(
                Held("journal", entry["SMTPD_MAIL_FROM"][0].decode(),
                     [r.decode() for r in entry["SMTPD_RCPT_TO"]],
                     entry["SMTPD_TEXT"][0]))
    return found
