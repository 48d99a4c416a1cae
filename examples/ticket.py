#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Opens a ticket for each mail, with strategy exec, in a system that accepts JSON over HTTP.

    command=/path/to/ticket.py https://tickets.example/api/tickets

The file $TICKET_TOKEN_FILE, if that is set, has the token. The reply tells the client the ticket's
number. 404 (no such queue) is a permanent failure, any other status except 2xx a temporary one.
"""

import email.policy
import json
import os
import sys
import urllib.error
import urllib.request


def header(message, name, default):
    try:
        return str(message[name] or default)
    except Exception:  # Python's parser fails on some malformed ones
        return default


def text_of(message, text):
    try:
        if not (part := message.get_body(("plain", "html"))):
            return ""
        text = part.get_payload(decode=True)
        return text.decode(part.get_content_charset("utf-8"), "replace")
    except Exception:  # malformed, or in a charset that Python does not know
        return text.decode(errors="replace")


def ticket(octets):
    message = email.message_from_bytes(octets, policy=email.policy.default)
    return {
        "title": header(message, "Subject", "(no subject)"),
        "from": header(message, "From", os.environ["SMTPD_MAIL_FROM"]),
        "queues": os.environ["SMTPD_RCPT_TO"].split("\n"),
        "message_id": header(message, "Message-ID", os.environ["SMTPD_ID"]),  # the same in a retry
        "text": text_of(message, octets),
    }


if len(sys.argv) != 2:
    sys.exit("usage: ticket.py URL")
body = json.dumps(ticket(sys.stdin.buffer.read())).encode()
headers = {"Content-Type": "application/json"}
if path := os.environ.get("TICKET_TOKEN_FILE"):
    headers["Authorization"] = "Bearer " + open(path).read().strip()
try:
    request = urllib.request.Request(sys.argv[1], body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        print(f"250 2.0.0 ticket {int(json.load(answer)['id'])}")
except urllib.error.HTTPError as error:
    print("the ticket system says", error, file=sys.stderr)
    print("550 5.1.1 there is no such queue" if error.code == 404
          else "451 4.3.0 no ticket now, try again later")
