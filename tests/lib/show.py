# SPDX-License-Identifier: MIT
"""Strategy show: its command line, and the messages that were shown."""

import re

from session import command

SHOWN = b"250 2.0.0 shown"
FRAME = re.compile(r"^---------- MESSAGE ----------\nEnvelope: ([^\n]*)\nClient: "
                   r"([^\n]*)\n\n(.*?)-------- END MESSAGE --------\n", re.M | re.DOTALL)


def showing(smtpd, *options):
    return command(smtpd, "--strategy=show", *options)


def shown(said):
    """Envelope, client, and the rest of each message."""
    return FRAME.findall(said.decode())
