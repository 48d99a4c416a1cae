# SPDX-License-Identifier: MIT
"""A thing to go wrong in a session, and how it is written."""

from dataclasses import dataclass

from sweeping.clock import LONG, PACES, TIMEOUTS, leaver

BROKER = 1  # the first child


@dataclass(frozen=True)
class Point:
    """A thing to go wrong in a session. `request` is what the runner is asked for, without the
    token."""

    session: str
    request: str
    call: str = ""  # the name of the system call that is meant
    what: str = ""  # in words
    is_of_loader: bool = False  # before the program's own first instruction
    is_kill: bool = False
    whose: str = ""  # in a cut or at a wait, who vanishes
    how: str = ""

    def __str__(self):
        return f"{self.session} {self.request}"

    @property
    def is_of_memory(self):
        return not self.request.endswith(" -")

    @property
    def is_waiting(self):
        """Whether the program waits for some time to pass: many such runs at once cost nothing."""
        return self.how == "s" or self.call in ("pidfd_open", "wait")

    @property
    def pace(self):
        """Which time-outs it is to have; None: the usual ones."""
        if self.call == "wait":
            return dict.fromkeys(TIMEOUTS, LONG) | PACES[int(self.request.split()[5])]
        return {"timeout": 2, "upstream-timeout": 1} if self.how == "s" else None


def no_fault(session, fault="n", alloc="-"):
    return Point(session, f"{fault} 0 0 0 0 0 - 0 c 0 0 {alloc}")


def parse_point(text):
    session, request = text.split(" ", 1)
    words = request.split()
    whose = "" if words[6] == "-" else words[6]
    if words[0] == "w":
        whose = leaver(int(words[4]))
    is_kill = words[0] == "p" or (words[0] in "kK" and words[1] == "0")
    return Point(session, request, "wait" if words[0] == "w" else "", is_kill=is_kill,
                 whose=whose, how=words[8])
