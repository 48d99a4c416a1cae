#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Saves the attachments of a message in a directory, with strategy exec: for scanners that mail.

    command=/path/to/attachments.py DIRECTORY

Nothing in the message can name another directory or replace a file. A message without an attachment
is refused.
"""

import email
import email.policy
import os
import re
import sys


def safe_name(name):
    """The last part of a path, of characters that are the same to every file system, and of 150
    octets at most."""
    name = re.sub(r"[^\w.-]+", "_", re.split(r"[/\\]", name or "")[-1])
    return name.lstrip(".").encode()[-150:].decode(errors="ignore") or "attachment"


def content(part, whole):
    if not part.is_multipart():
        return part.get_payload(decode=True)
    try:  # an attached message
        return b"".join(inner.as_bytes(policy=email.policy.compat32) for inner in part.get_payload())
    except Exception:  # Python cannot write all that it reads
        return whole


def save(folder, name, octets):
    """On disk when it returns, under a name that no other file has."""
    path = os.path.join(folder, name)
    with open(path + ".part", "xb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".part", path)
    directory = os.open(folder, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    print("saved", path, file=sys.stderr)


if len(sys.argv) != 2:
    sys.exit("usage: attachments.py DIRECTORY")
octets = sys.stdin.buffer.read()
message = email.message_from_bytes(octets, policy=email.policy.default)
parts = [part for part in message.walk() if part.get_filename()]
if not parts:
    print("550 5.6.0 there is no attachment in the message")
    sys.exit()
for number, part in enumerate(parts, 1):
    name = f"{os.environ['SMTPD_ID']}-{number}-{safe_name(part.get_filename())}"
    save(sys.argv[1], name, content(part, octets))
print(f"250 2.0.0 {len(parts)} saved")
