# SPDX-License-Identifier: MIT
"""What a run leaves: the messages that are held somewhere, and what the world saw."""

import re
from collections import Counter
from dataclasses import dataclass, field

RECEIVED = re.compile(rb"\AReceived: from [^\n]*\n(?:[ \t][^\n]*\n)*")


@dataclass
class Held:
    """A message at a destination."""

    where: str
    sender: str
    recipients: list
    text: bytes  # LF lines, without Received on top


@dataclass
class Outcome:
    is_reached: bool
    is_hung: bool
    has_leaked: bool
    status: int  # of wait(2)
    ms: int
    world: bytes
    log: bytes
    calls: bytes
    token: int = 0
    heard: bytes = b""
    codes: list = field(default_factory=list)  # (step, code)
    held: list = field(default_factory=list)
    complaints: list = field(default_factory=list)
    # what the upstream and Mailman said
    streams: dict = field(default_factory=lambda: {"U": b"", "L": b""})
    ms_left: int = 0  # from what happened at a wait to the end
    allocations: int = 0
    is_vanished: bool = False
    waits: Counter = field(default_factory=Counter)
    fields: bytes = b""  # of a filter: they are above Received

    def parse(self):
        """What the world saw."""
        at, is_over = 0, False
        while at < len(self.world):
            end = self.world.index(b"\n", at)
            kind, *words = self.world[at:end].decode(errors="replace").split(" ")
            at = end + 1
            if kind in "HUL":
                octets = self.world[at : at + int(words[0])]
                at += len(octets)
                if kind == "H":
                    self.heard += octets
                else:
                    self.streams[kind] += octets
            elif kind == "M":
                n_sender, n_to, n = map(int, words[1:])
                sender, to = self.world[at : at + n_sender], self.world[at + n_sender : at
                                                                        + n_sender + n_to]
                at += n_sender + n_to
                self.take_wire(words[0], sender.decode(), to.decode(), self.world[at : at + n])
                at += n
            elif kind == "C":
                self.codes.append((int(words[0]), int(words[1]) if words[1].isdigit() else 0))
            elif kind == "X":
                self.complaints.append("world: " + " ".join(words))
            elif kind == "V":
                self.is_vanished = True
            is_over = kind == "Z"
        if not is_over:
            self.complaints.append("the world broke down")

    def take_wire(self, who, sender, to, wire):
        if re.search(rb"(?<!\r)\n|\r(?!\n)", wire):
            self.complaints.append("a bare CR or LF was sent on")
        text = re.sub(rb"^\.", b"", wire, flags=re.M).replace(b"\r\n", b"\n")
        self.held.append(Held({"u": "upstream", "m": "mailman"}[who], address(sender),
                              [address(r) for r in to.split()],
                              self.strip(text)))

    def strip(self, text):
        if not text.startswith(self.fields):
            self.complaints.append("a message was passed on without the filter's fields")
        text = text.removeprefix(self.fields)
        if not RECEIVED.match(text):
            self.complaints.append("a message was passed on without Received")
        return RECEIVED.sub(b"", text)


def address(path):
    return path[path.index("<") + 1 : path.index(">")]
