# SPDX-License-Identifier: MIT
"""Sessions whose log tests look at."""

from session import Session, command

SMALL = b"Subject: small\r\n\r\nsmall\r\n"
FULL = b"421 4.7.0 too many connections from you\r\n"


def proxy(smtpd, *upstreams_and_options):
    names = [getattr(one, "endpoint", one) for one in upstreams_and_options]
    return command(smtpd, "--strategy=proxy",
                   *[n if n.startswith("--") else f"--upstream={n}" for n in names])


def play(argv, folder, *dialogue, pair=None):
    """Pairs of what to say and how the reply begins, after the greeting: the log."""
    with Session(argv, folder, pair=pair) as session:
        session.expect((None, b"220 "), *dialogue)
        assert session.end() == 0
        return session.err()


HELLO, SENDER, RECIPIENT = (b"EHLO x", b"250-"), (b"MAIL FROM:<a@example.org>",
                                                  b"250 "), (b"RCPT TO:<b@example.com>", b"250 ")
