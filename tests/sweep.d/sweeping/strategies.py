# SPDX-License-Identifier: MIT
"""The strategies: what is run, and where its messages go."""

import os
from dataclasses import dataclass
from pathlib import Path

from balancer import v2
from session import with_x_peer
from sweeping.destinations import as_shown
from sweeping.sessions import LARGE, RICH, SECOND, SHORT, Message, Session

TESTS = Path(__file__).resolve().parents[2]
HOSTNAME = "mx.example.com"


@dataclass
class Strategy:
    """What is run, and where its messages go."""

    name: str
    options: list
    upstream: str = "smtp"
    is_lmtp: bool = False  # we serve
    servers: str = ""  # of the world, that take part: "u", "m"
    lists: tuple = ()  # recipients that are lists
    verdict: int = 250  # of the destination
    large: bytes = RICH
    has_balancer: bool = False  # in front of it
    is_chunked: bool = False  # clients say BDAT
    has_prdr: bool = False  # clients want a verdict for each recipient
    is_as_exec: bool = False  # but for its program: only that is in the subset
    has_tls: bool = False  # of an engine that passes on what it is given: tests/sweep.d/engine.c
    has_upstream_tls: bool = False  # of the same, toward the upstream
    has_auth: bool = False  # the client authenticates with the upstream
    fields: bytes = b""  # of a filter: each message that goes on has them on top
    is_for_nobody: bool = False  # a filter refuses each message

    def sessions(self):
        lists = list(self.lists)
        short = [Message(SHORT, "a@example.org", [*lists, "b@example.com"]),
                 Message(SECOND, "a2@example.org", lists or ["c@example.com"])]
        rich = [Message(self.large, "a@example.org", [*lists, "b@example.com", "c@example.com"]),
                Message(SECOND, "", ["d@example.com"])]
        tls = self.has_tls
        auth = self.has_auth
        if self.has_balancer:  # its header, and what comes of it
            return {"short": Session("short", short, is_tcp=True, header=v2(),
                                     verdict=self.verdict)}
        if self.is_chunked:
            return {"rich": Session("rich", rich, is_chunked=True)}
        more = {"has_tls": tls, "has_auth": auth, "has_prdr": self.has_prdr,
                "verdict": self.verdict}
        sessions = [Session("rich", rich, self.is_lmtp, **more),
                    Session("short", short, self.is_lmtp, is_tcp=True, **more)]
        if not self.is_lmtp:
            sessions.append(Session("pipelined", short, is_tcp=True, is_pipelined=True, **more))
        return {s.name: s for s in sessions}

    def configuration(self, folder, session, timeouts):
        relay = ["relay-to=example.com,.example.net", "relay-to=example.org",
                 "relay-from=127.0.0.0/8,::1,local"]
        timeouts = [f"{n}={t}" for n,
                    t in timeouts.items() if self.servers or n != "upstream-timeout"]
        lines = [f"user={os.geteuid()}", f"hostname={HOSTNAME}", *timeouts, *self.options,
                 *(relay if self.servers else []), f"protocol={'lmtp' if self.is_lmtp else 'smtp'}",
                 *(["max-recipients=150"] if session == "rich" else [])]
        return "".join(line.replace("FOLDER", folder).replace("TESTS", str(TESTS)) + "\n"
                       for line in lines)

    def expected(self, text, peer):
        """What the destination must have got of a message."""
        if self.name == "show":
            return as_shown(text)
        return text if self.name.startswith("exec") else with_x_peer(text, peer)


FIELD = b"X-Filter: passed\n"
FILTER = "filter=/bin/echo '%s'" % FIELD.decode().rstrip()

STRATEGIES = [
    Strategy("print", ["strategy=print"]),
    Strategy("print-tls", ["strategy=print", "tls=starttls", "tls-engine=FOLDER/engine"],
             has_tls=True),
    Strategy("show", ["strategy=show"], is_as_exec=True),
    Strategy("exec", ["strategy=exec", "command=FOLDER/../../deliver 'FOLDER/kept'"]),
    Strategy("exec-balancer",
             ["strategy=exec", "command=FOLDER/../../deliver 'FOLDER/kept'",
              "proxy-from=127.0.0.1"], has_balancer=True),
    Strategy("exec-refusing", ["strategy=exec", "command=FOLDER/../../deliver FOLDER/kept refuse"],
             verdict=451),
    Strategy("journal", ["strategy=journal"], large=LARGE),
    Strategy("maildir", ["strategy=maildir", "maildir=FOLDER/maildir"], is_as_exec=True),
    Strategy("proxy", ["strategy=proxy"], servers="u"),
    Strategy("proxy-chunked", ["strategy=proxy"], servers="u", is_chunked=True),
    Strategy("proxy-filter", ["strategy=proxy", FILTER], servers="u", fields=FIELD),
    Strategy("proxy-login",
             ["strategy=proxy", "upstream-user=relay", "upstream-password=FOLDER/password"],
             servers="u"),
    Strategy("proxy-tls", ["strategy=proxy", "upstream-tls=required"], servers="u",
             has_upstream_tls=True),
    Strategy("proxy-refusing", ["strategy=proxy"], upstream="SMTP", servers="u", verdict=451),
    Strategy("proxy-auth", ["strategy=proxy", "auth=upstream"], servers="u", has_auth=True),
    Strategy("proxy-lmtp", ["strategy=proxy", "upstream-protocol=lmtp"], upstream="lmtp",
             is_lmtp=True, servers="u"),
    Strategy("proxy-prdr", ["strategy=proxy", "upstream-protocol=lmtp"], upstream="lmtp",
             has_prdr=True, servers="u"),
    Strategy("mailman", ["strategy=mailman"], servers="um", lists=("list@example.com",)),
    Strategy("mailman-prdr", ["strategy=mailman"], has_prdr=True, servers="um",
             lists=("list@example.com",)),
    Strategy("mailman-lmtp", ["strategy=mailman"], is_lmtp=True, servers="um",
             lists=("list@example.com", "list2@example.com")),
    Strategy("mailman-filter", ["strategy=mailman", FILTER], servers="um",
             lists=("list@example.com", "list2@example.com"), fields=FIELD),
    Strategy("mailman-refusing", ["strategy=mailman", "filter=/bin/false"], servers="um",
             lists=("list@example.com",), verdict=451,
             is_for_nobody=True),
    Strategy("mailman-2.1",
             ["strategy=mailman", "mailman-wrapper=TESTS/mailman2-wrapper",
              "mailman-lists=FOLDER/lists"],
             servers="u", lists=("list@example.com", "list2@example.com")),
]  # fmt: skip
