#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Sends a push notification for a mail, with strategy exec; for monitoring that can only send mail.

    command=/path/to/notify.py ntfy https://ntfy.sh/TOPIC
    command=/path/to/notify.py slack https://hooks.slack.com/services/...

It sends the subject and the beginning of the text. Mattermost and others accept the slack format
too. If the service does not answer 2xx, the exit status is not 0, and the client keeps the mail.
"""

import email
import email.policy
import json
import sys
import urllib.request

LENGTH = 3000  # characters of the text


def request(kind, url, subject, text):
    if kind == "slack":
        body = json.dumps({"text": f"*{subject}*\n{text}"}).encode()
        return urllib.request.Request(url, body, {"Content-Type": "application/json"})
    title = email.header.Header(subject, "utf-8", maxlinelen=10000).encode()
    return urllib.request.Request(url, text.encode(), {"Title": title})


def text_of(message, text):
    try:
        if not (part := message.get_body(("plain", "html"))):
            return ""
        text = part.get_payload(decode=True)
        return text.decode(part.get_content_charset("utf-8"), "replace")
    except Exception:  # malformed, or in a charset that Python does not know
        return text.decode(errors="replace")


if len(sys.argv) != 3 or sys.argv[1] not in ("ntfy", "slack"):
    sys.exit("usage: notify.py ntfy|slack URL")
octets = sys.stdin.buffer.read()
message = email.message_from_bytes(octets, policy=email.policy.default)
text = text_of(message, octets).strip()[:LENGTH]
subject = " ".join(str(message["Subject"] or "(no subject)").split())
urllib.request.urlopen(request(*sys.argv[1:], subject, text), timeout=60).close()
