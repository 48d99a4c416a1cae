#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Opens a ticket for each mail, with strategy exec, in a system that accepts JSON over HTTP.

    command=/path/to/ticket.py https://tickets.example/api/tickets

The file $TICKET_TOKEN_FILE has the token, if that is set. The client gets the ticket's number in
the reply. A 404 means that there is no such queue, which is a permanent failure; anything else but
2xx is a temporary one.
"""

import email
import email.policy
import json
import os
import sys
import urllib.error
import urllib.request


def token():
    path = os.environ.get("TICKET_TOKEN_FILE")
    if not path:
        return {}
    with open(path) as file:
        return {"Authorization": "Bearer " + file.read().strip()}


def text_of(part):
    try:
        return part.get_content()
    except LookupError:  # a charset that Python does not know
        return part.get_payload(decode=True).decode(errors="replace")


def ticket(message):
    part = message.get_body(("plain", "html"))
    return {
        "title": str(message["Subject"] or "(no subject)"),
        "from": str(message["From"] or os.environ["SMTPD_MAIL_FROM"]),
        "queues": os.environ["SMTPD_RCPT_TO"].split("\n"),
        # The same one if the mail comes again.
        "message_id": str(message["Message-ID"] or os.environ["SMTPD_ID"]),
        "text": text_of(part) if part else "",
    }


if len(sys.argv) != 2:
    sys.exit("usage: ticket.py URL")
content = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)
body = json.dumps(ticket(content)).encode()
try:
    headers = {"Content-Type": "application/json"} | token()
    request = urllib.request.Request(sys.argv[1], body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        print(f"250 2.0.0 ticket {int(json.load(answer)['id'])}")
except urllib.error.HTTPError as error:
    print("the ticket system says", error, file=sys.stderr)
    print("550 5.1.1 there is no such queue" if error.code == 404
          else "451 4.3.0 no ticket now, try again later")
