# SPDX-License-Identifier: MIT
"""The time-outs of a run, what happens at a wait, and how long that may take."""

# milliseconds, for a run; no run has a reason to take so long, not even on a busy machine
SLOW = 55000

LONG = 300  # seconds: a wait that only its own time-out ends
TIMEOUTS = ("timeout", "upstream-timeout", "session-timeout", "message-timeout", "stop-timeout")
PACES = [  # the time-outs that are short, by the name that the point has in `value`
    {"session-timeout": 3},
    {"timeout": 2, "upstream-timeout": 2, "message-timeout": 2},
    {"stop-timeout": 2},
    {"message-timeout": 2},
]
USUAL_TIMEOUTS = {"timeout": 5, "upstream-timeout": 4}
SESSION, EACH, STOP, MESSAGE = range(len(PACES))
# From what happens to the end: the short time-out, two seconds for a program that is killed, two
# for the broker; the rest is for a busy machine. Whatever is not ended in time takes LONG.
IN_TIME = (3 + 2 + 2 + 20) * 1000  # milliseconds
# tests/sweep.d/sweep.h
LEAVES, CLOSES, STOPS, STOPS_SOON, IS_MUTE, IS_FROZEN, IS_HUSHED = (1 << n for n in range(7))
AT_WAIT = [
    ("endless", IS_MUTE, SESSION), ("endless, each time-out", IS_MUTE, EACH),
    ("frozen", IS_FROZEN, SESSION), ("frozen, each time-out", IS_FROZEN, EACH),
    ("close", CLOSES, MESSAGE), ("leave", LEAVES, MESSAGE),
    ("leave, endless", LEAVES | IS_MUTE, MESSAGE), ("leave, frozen", LEAVES | IS_FROZEN, MESSAGE),
    ("SIGTERM", STOPS, STOP), ("stop soon", STOPS_SOON, STOP),
    ("SIGTERM, endless", STOPS | IS_MUTE, STOP), ("SIGTERM, frozen", STOPS | IS_FROZEN, STOP),
    ("hushed", IS_HUSHED, SESSION), ("hushed, each time-out", IS_HUSHED, EACH),
    ("stop soon, endless", STOPS_SOON | IS_MUTE, STOP), ("SIGTERM, leave", STOPS | LEAVES, STOP),
]  # fmt: skip


def leaver(bits):
    """Who vanishes at such a wait."""
    return "c" if bits & (LEAVES | CLOSES) else ""
