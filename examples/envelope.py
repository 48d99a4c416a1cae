#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A program for strategy exec: the example class in the manual of Python's smtpd.py.

    smtpd --strategy=exec --command=examples/envelope.py <examples/session.txt

What it prints on standard error appears in the log of smtpd. To refuse a message, print a reply
such as "550 5.7.1 not here" on standard output, or exit with one of the statuses in smtpd-exec(7).
"""

import os
import sys


def process_message(peer, mailfrom, rcpttos, data):
    print("Receiving message from:", peer, file=sys.stderr)
    print("Message addressed from:", mailfrom, file=sys.stderr)
    print("Message addressed to  :", rcpttos, file=sys.stderr)
    print("Message length        :", len(data), file=sys.stderr)


process_message(
    (os.environ["SMTPD_PEER"], os.environ["SMTPD_PEER_PORT"]),
    os.environ["SMTPD_MAIL_FROM"],
    os.environ["SMTPD_RCPT_TO"].split("\n"),
    sys.stdin.buffer.read(),
)
