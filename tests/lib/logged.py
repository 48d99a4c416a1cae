# SPDX-License-Identifier: MIT
"""Sessions whose log tests look at."""

from session import Session

FULL = b"421 4.7.0 too many connections from you\r\n"


def play(argv, folder, *dialogue, pair=None):
    """Pairs of what to say and how the reply begins, after the greeting: the log."""
    with Session(argv, folder, pair=pair) as session:
        session.expect((None, b"220 "), *dialogue)
        assert session.end() == 0
        return session.err()


HELLO, SENDER, RECIPIENT = (b"EHLO x", b"250-"), (b"MAIL FROM:<a@example.org>",
                                                  b"250 "), (b"RCPT TO:<b@example.com>", b"250 ")
