# SPDX-License-Identifier: MIT
"""Sessions behind a balancer: what is said to them, and what they say."""

from balancer import LOCAL, PROXY, octets
from session import Session, codes, tcp_pair

SAID = b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: x\r\n\r\ntext\r\n.\r\nQUIT\r\n"
REPLIES = [220, 250, 250, 250, 354, 250, 221]
FROM = "--proxy-from=127.0.0.1"
UNNAMED = {"v1": b"PROXY UNKNOWN\r\n", "LOCAL": octets(LOCAL, 0), "UNSPEC": octets(PROXY, 0),
           "unix": octets(PROXY, 0x31, bytes(216))}


def talk(argv, tmp_path, said, pair=None):
    """All at once: (the codes of the replies, the log)."""
    with Session(argv, tmp_path, pair or tcp_pair()) as session:
        session.say(said)
        heard = session.read_to_end()
        assert session.status() == 0
        return codes(heard), session.err()
