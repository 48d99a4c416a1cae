# SPDX-License-Identifier: MIT
"""Lines of the log, read as anybody's program reads them: words, then fields key=value or
key="value"."""

import re
from dataclasses import dataclass

FIELD = re.compile(r' ([a-z]+)=(?:"([^"\\]*(?:\\x[0-9a-f]{2}[^"\\]*)*)"|([^ "\\]+))')
PREFIX = "smtpd: "
# octets, of a line with its end, of values with their quotes
LINE_MAX, CHOSEN_MAX, SAID_MAX = 4096, 256, 512
CHOSEN = {"helo", "from", "to", "command", "user"}


@dataclass
class Line:
    what: str
    fields: list  # (key, value as octets)
    written: list  # (key, value as it stands there)

    def __getitem__(self, key):
        """The value of the only field of that name."""
        (value,) = self.all(key)
        return value

    def all(self, key):
        return [value for k, value in self.fields if k == key]

    def keys(self):
        return [key for key, _ in self.fields]


def unescaped(text):
    return re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), text.encode())


def parse(line):
    """Of a line without its end and its prefix. All of it is words and fields, or it fails."""
    first = FIELD.search(line)
    at = first.start() if first else len(line)
    fields, written = [], []
    what = line[:at]
    while at < len(line):
        match = FIELD.match(line, at)
        assert match, f"no field at {line[at:at + 100]!r} of {line!r}"
        value = match[2] if match[3] is None else match[3]
        fields.append((match[1], unescaped(value)))
        written.append((match[1], match[0].partition("=")[2]))
        at = match.end()
    return Line(what, fields, written)


def lines(log, what=None):
    """The lines of a log (octets) that begin with these words, or all of them. Each has to be as
    the manual says."""
    found = []
    for octets in log.split(b"\n"):
        if not octets.startswith(PREFIX.encode()):
            continue
        assert len(octets) < LINE_MAX and all(32 <= c < 127 for c in octets), octets
        line = parse(octets.decode()[len(PREFIX):])
        for key, value in line.written:
            limit = CHOSEN_MAX if key in CHOSEN else SAID_MAX if key in ("verdict",
                                                                         "reply") else LINE_MAX
            assert len(value) <= limit, (key, len(value), octets)
        keys = [key in CHOSEN for key in line.keys()]
        assert keys == sorted(keys), f"a client's words come last: {octets!r}"
        if what is None or line.what == what or line.what.startswith(what + ": "):
            found.append(line)
    return found


def one(log, what):
    (line,) = lines(log, what)
    return line
