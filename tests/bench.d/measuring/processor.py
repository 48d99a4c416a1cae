# SPDX-License-Identifier: MIT
"""The processor that whole sessions take, of everybody on our side."""

import contextlib
import os
import resource

from measuring.frame import HEADER, LINE
from measuring.sockets import server


def wait_for_all():
    """Until no process of ours is left, nor one that lost its parent: prctl(2) has made those
    ours."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def send_messages(address, n, is_secure):
    """In sessions of one message each."""
    import smtplib

    from tls import client_context

    for _ in range(n):
        with smtplib.SMTP(*address.split(":"), local_hostname="bench") as client:
            if is_secure:
                client.starttls(context=client_context())
            client.sendmail("a@b.example", "c@d.example", HEADER + LINE)


def processor_of_sessions(command, n, is_secure):
    """Seconds of processor that n sessions take of everybody on our side, without what the start of
    all takes."""
    spent = []
    for count in (n, 0):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with server(*command) as address:
            send_messages(address, count, is_secure)
        wait_for_all()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(sum(getattr(after, key) - getattr(before, key)
                         for key in ("ru_utime", "ru_stime")))
    return spent[0] - spent[1]
