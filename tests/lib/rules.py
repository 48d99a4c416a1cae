# SPDX-License-Identifier: MIT
"""Rules for each step of a session, and the steps."""

EHLO = (b"EHLO client.example.org", b"250-")
MAIL = (b"MAIL FROM:<a@example.org>", b"250 ")
HEADER = b"Subject: x\r\n\r\ntext\r\n"


def rules(*words):
    return [f"--reply={rule}" for rule in words]


def rcpt(*names):
    return [b"RCPT TO:<%s>" % name for name in names]


STEPS = {
    "helo": ("helo client.* 550 5.7.0 not you", b"EHLO client.example.org"),
    "mail": ("mail A@*.org 451 4.7.0 later", b"MAIL FROM:<a@example.org>"),
    "rcpt": ("rcpt b@example.com 550 moved", b"RCPT TO:<b@example.com>"),
    "data": ("data b@* 452 4.3.1 full", b"DATA"),
    "message": ("message *@example.com 554 5.6.0 no", b"."),
}
DIALOGUE = [b"EHLO client.example.org", b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.com>",
            b"DATA", b"."]
