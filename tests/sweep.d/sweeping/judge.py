# SPDX-License-Identifier: MIT
"""What counts as right."""

import os
import re
from collections import Counter

from session import FAILED_BUILD
from sweeping.clock import IN_TIME, SLOW
from sweeping.sessions import nth

# and 64, as a mistake on the command line, for an option that finds no memory
STATUSES = (0, 75, 78)

REPLY = re.compile(rb"(?:\d{3}-[^\r\n]*\r\n)*\d{3} [^\r\n]*\r\n")


def judge(strategy, session, point, out):
    """Complaints about a run."""
    yield from out.complaints
    is_killed = point.is_kill and out.is_reached
    is_client_cut = point.whose == "c" and out.is_vanished
    if out.is_hung or out.ms > SLOW:
        yield f"it hangs ({out.ms} ms)"
    if out.ms_left > IN_TIME:
        yield f"it ends too late ({out.ms_left} ms)"
    if out.has_leaked:
        yield "it leaves a process behind"
    if os.WIFSIGNALED(out.status):
        if not is_killed and not (point.is_of_loader and out.heard == b""):
            yield f"it died of signal {os.WTERMSIG(out.status)}"
    elif os.WEXITSTATUS(out.status) == FAILED_BUILD or b"runtime error:" in out.log or b"Sanitizer" in out.log:
        yield "a sanitizer complains"
    elif not (os.WEXITSTATUS(out.status) in STATUSES
              or (os.WEXITSTATUS(out.status) == 64 and point.is_of_memory)
              or (point.is_of_loader and out.heard == b"")):
        yield f"exit status {os.WEXITSTATUS(out.status)}"
    rest = REPLY.sub(b"", out.heard)
    if rest and not is_killed and not is_client_cut:
        yield f"that is no SMTP: {rest[:100]!r}"
    yield from judge_order(session, out)
    yield from judge_messages(strategy, session, is_killed, out)


def judge_order(session, out):
    """Each step has no more replies than were asked for, 421 at the end excepted."""
    for step, n in Counter(step for step, code in out.codes if code != 421).items():
        if step >= len(session.steps) or n > len(session.steps[step][1]):
            yield f"a reply that nobody asked for, in step {step}: {out.codes}"
    if any(code == 421 for _, code in out.codes[:-1]):
        yield f"421, and then it went on: {out.codes}"


def is_of(held, strategy, session, message):
    """Whether that message is what is held: all of its octets, and its sender."""
    sender = message.sender
    if strategy.name == "mailman-2.1" and held.where == "mailman":
        sender = ""  # the wrapper is not told
    return held.sender in (sender, None) and held.text == strategy.expected(message.text,
                                                                            session.peer)


def judge_messages(strategy, session, is_killed, out):
    copies = Counter()
    for held in out.held:
        found = [i for i, m in enumerate(session.messages) if is_of(held, strategy, session, m)]
        if not found:
            yield (f"half a message, or another one, at {held.where}: from {held.sender!r}, "
                   f"{len(held.text)} octets: "
                   f"{held.text[:300]!r}")
            continue
        message = session.messages[found[0]]
        for recipient in message.recipients if held.recipients is None else held.recipients:
            if recipient not in message.recipients:
                yield f"{held.where} has it for {recipient}"
            if recipient in strategy.lists and held.where not in ("mailman",):
                yield f"the list {recipient} is at {held.where}"
            copies[found[0], recipient] += 1
    replies = {}
    for step, code in out.codes:
        if code != 421:
            replies.setdefault(step, []).append(code)
    if strategy.is_for_nobody and out.held:
        yield f"the filter refuses it, and {out.held[0].where} has it"
    for i, message in enumerate(session.messages):
        for n, recipient in enumerate(message.recipients):
            step, at = session.recipients[i, n]
            is_accepted = nth(replies.get(step, []), at) == 250
            heard = replies.get(session.dots[i], []) if is_accepted else []
            code = session.verdict_of(heard, i, n)
            yield from judge_recipient(code, copies[i, recipient],
                                       f"message {i + 1} for {recipient}",
                                       is_killed or says_so(out.log, recipient))


def says_so(log, recipient):
    """Whether the log tells that somebody has a message for which the client was not told 250."""
    each = re.findall(
        rb"smtpd: recipient [^\n]* verdict=\"250 [^\n]* to=<%s>\n" % re.escape(recipient.encode()),
        log)
    return b"duplicate possible" in log or bool(each)


def judge_recipient(code, n_copies, what, is_excused):
    if n_copies > 1:
        yield f"{what}: {n_copies} copies"
    elif code // 100 == 2 and n_copies == 0:
        yield f"{what}: it was answered {code} and is LOST"
    elif code // 100 != 2 and n_copies == 1 and not is_excused:
        yield (f"{what}: the client has heard {code or 'nothing'}, it was delivered, and the log "
               f"does not say so")
