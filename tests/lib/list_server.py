# SPDX-License-Identifier: MIT
"""Strategy mailman: its command line, sessions of messages to lists, and a scripted list server."""

import contextlib
import itertools
import time

from logs import lines
from session import Session, command
from upstream import Upstream

LARGE = b"the quick brown fox jumps over the lazy dog\r\n" * 20000  # 900 kB
LIST, OTHER, THIRD = b"test@example.com", b"other@example.com", b"third@example.com"
UNHEARD = b"duplicate possible: no reply to the final dot "
NO_LIST = b"550 Requested action not taken: mailbox unavailable\r\n"
count = itertools.count(1)


def token():
    """What a message is known by."""
    return b"token-%d-of-%d" % (next(count), time.monotonic_ns())


def message(text, *header, to=LIST):
    return b"\r\n".join((b"From: a@example.org", b"To: " + to, b"Subject: " + text, *header, b"",
                         b"text", b""))


def mailman(smtpd, endpoint, *upstreams_and_options):
    """The command line, for Mailman, Upstreams and options."""
    argv = command(smtpd, "--strategy=mailman", f"--mailman={endpoint}")
    return argv + [f"--upstream={one.endpoint}" if isinstance(one, Upstream) else one
                   for one in upstreams_and_options]


def ask(session, sender, recipients, mail_options=b""):
    """Up to the recipients: their replies."""
    session.expect((b"MAIL FROM:<%s>%s" % (sender, mail_options), b"250 "))
    return [session.ask(b"RCPT TO:<%s>" % recipient) for recipient in recipients]


def send(session, content, verdicts=1):
    """DATA and the message: its reply, or as many as there are."""
    session.expect((b"DATA", b"354 "))
    session.say(content + (b"" if content.endswith(b"\r\n") else b"\r\n") + b".\r\n")
    said = [session.reply() for _ in range(verdicts)]
    return said[0] if verdicts == 1 else said


@contextlib.contextmanager
def session(argv, folder):
    """From EHLO to a good end."""
    with Session(argv, folder) as s:
        s.expect((None, b"220 "),
                 (b"%s client.example.org" % (b"LHLO" if "--protocol=lmtp" in argv else b"EHLO"),
                  b"250-"))
        yield s
        assert s.end() == 0


def play(argv, folder, content, *recipients, sender=b"a@example.org"):
    """A whole session of one message for recipients that are all welcome: (the verdict, or one each
    in LMTP; the log)."""
    with session(argv, folder) as s:
        assert all(reply.startswith(b"250 ") for reply in ask(s, sender, recipients))
        verdict = send(s, content, len(recipients) if "--protocol=lmtp" in argv else 1)
    return verdict, s.err()


def logged(log):
    """Of the last message: the verdict for each recipient if they differ, the verdict for all."""
    message = lines(log, "message")[-1]
    each = {line["to"][1:-1]: line["verdict"][:3] for line in lines(log, "recipient")
            if line["id"] == message["id"]}
    return each, message["verdict"][:3]


ONLY = ("SIZE 33554432", "8BITMIME")  # what Mailman offers


def lists(*names):
    """To RCPT: which are lists."""

    def act(c):
        c.send(b"250 Ok\r\n" if any(b"<%s>" % name in c.commands[-1] for name in names)
               else NO_LIST)

    return act


def scripted(*scripts, known=(LIST, b"my-list@example.com")):
    """The first connection asks what is a list; each copy has one of its own."""
    return Upstream(*({"RCPT": lists(*known)} | script for script in scripts), lmtp=True,
                    extensions=ONLY)


def check_nobody_has_it(mm, up):
    mm.wait_until_over()
    up.wait_until_over()
    assert mm.messages == [] and up.messages == []
