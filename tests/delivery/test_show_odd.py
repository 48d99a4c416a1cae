# SPDX-License-Identifier: MIT
"""Strategy show and MIME as nobody should write it. Whatever is wrong with a message: each text in
it is on the page, or a part that has it is listed."""

import base64
import quopri
import random
import re

import pytest
from session import PATIENCE, Session, command
from show import SHOWN, shown

SEEDS = range(200)


class Writer:
    """Makes a message. Each text has a word of its own, each part that can be listed a type or a
    name of its own; `words` says of each word in which of those it is."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.words, self.within, self.n = {}, [], 0

    def chance(self, percent):
        return self.random.randrange(100) < percent

    def number(self):
        self.n += 1
        return self.n

    def word(self):
        word = f"word-{self.number()}."
        self.words[word] = list(self.within)
        return word

    def text(self):
        """Lines that are no fields, and no base64."""
        rest = self.random.choice(["", " and more", "\nand more", "\n\nand: more", " \0 more",
                                   " --b1", "\n-- \nmore", " =C3=BC =", " =zz =4", " grü",
                                   "\n--b1x\n--\n----", " =?utf-8?Q?x?="])
        return self.random.choice(["", "", "\n", "- "]) + self.word() + rest

    def part(self, depth):
        """With its header; what a message can be, too."""
        kinds = [self.leaf, self.leaf, self.without_empty_line, self.without_header,
                 self.attached]
        if depth > 0:
            kinds += 4 * [self.multipart] + 2 * [self.message]
        return self.random.choice(kinds)(depth - 1)

    # --- parts that have none in them -----------------------------------------------------------

    def encoding(self, text):
        """A field, and the text as it says, or nearly."""
        octets = text.encode()
        name = self.random.choice(["7bit", "8bit", "binary", "nonsense", "x-uuencode", "", "base64",
                                   "base64", "quoted-printable", "QUOTED-PRINTABLE"])
        kind = self.random.choice(["right", "right", "not", "then"])
        encode = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring}.get(
            name.lower(), lambda octets: octets)
        if kind == "right":
            text = encode(octets).decode()
        elif kind == "then":
            text = (encode(octets).decode().rstrip("\n") + "\n" + self.random.choice(["", "\n"])
                    + self.text())
        return f"Content-Transfer-Encoding: {name}\n", text

    def leaf(self, _=0):
        charset = self.random.choice(["", "; charset=utf-8", "; charset=x-nobody", "; charset=",
                                      "; charset=\"us-ascii\"", "; charset=latin1", "; charset",
                                      "; charset=iso-2022-jp", ";;", "; charset=utf-8; charset=x"])
        kind = self.random.choice(["text/plain", "text/html", "TEXT/Plain", "text", "text/x-y",
                                   ";", ""])
        field, text = self.encoding(self.text())
        return f"Content-Type: {kind}{charset}\n{field}\n{text}"

    def without_empty_line(self, _=0):
        field = self.random.choice(["Content-Type: text/plain\n", "Content-ID: <x>\n",
                                    "Content-Type: text/html;\n charset=utf-8\n"])
        return field + self.word() + self.random.choice(["", "\n", "\n\nmore", "\nTo: x\n\ny"])

    def without_header(self, _=0):
        return self.random.choice(["\n", "", " ", "To you: ", "Note: ", "From here ", ":", "\t",
                                   "From here on\n\n", "X-Y: z\n"]) + self.word()

    def attached(self, _=0):
        """One that is listed."""
        mark = f"x-listed-{self.number()}"
        self.within.append(mark)
        field, text = self.encoding(self.text())
        header = self.random.choice([
            f"Content-Type: application/{mark}\n", f"Content-Type: text/plain; name={mark}\n",
            f"Content-Type: message/partial; name={mark}\n",
            f"Content-Type: text/plain\nContent-Disposition: attachment; filename=\"{mark}\"\n",
            f"Content-Type: application/octet-stream; name={mark}\n"])
        self.within.pop()
        return header + field + "\n" + text

    # --- and that have --------------------------------------------------------------------------

    def message(self, depth):
        field = self.random.choice(["", "", "MIME-Version: 1.0\n", "Content-Transfer-Encoding: "
                                    "7bit\n"])
        top = self.random.choice(["Subject: x\n", "", "", "From: a@example.org\nTo: b\n"])
        return f"Content-Type: message/rfc822\n{field}\n" + self.whole(top, depth)

    def whole(self, top, depth):
        """A message. After other fields "Note: " is one as well, and no text."""
        part = self.part(depth)
        return top + "\n" * (top != "" and part.startswith("Note: ")) + part

    def boundary(self):
        """As it is said, and as it is written."""
        n = self.number()
        kind = self.random.choice(["token", "quoted", "blanks", "like another"])
        name = f"b{n}=_({n})" if kind == "quoted" else "b1" if kind == "like another" else f"b{n}"
        after = self.random.choice([" ", "\t", "  "]) if kind == "blanks" else ""
        said = f'"{name}{after}"' if kind in ("quoted", "blanks") else name
        return said, name + after

    def multipart(self, depth):
        if self.chance(25):
            return self.multipart_without_parts()
        said, written = self.boundary()
        subtype = self.random.choice(["mixed", "mixed", "alternative", "digest", "x-y", "related",
                                      "signed"])
        parts = []
        for _ in range(self.random.randrange(1, 4)):
            if subtype == "alternative":
                parts.append(self.choice())
            else:
                parts.append(self.part(depth) if self.chance(85) else "")
        before = self.random.choice(["", "", "ignored\n", "\n\n"])
        end = self.random.choice(["--\n", "--\n", "--", "", "-- \n", "--\nignored\n"])
        return (f"Content-Type: multipart/{subtype}; boundary={said}\n\n{before}"
                + "".join(f"--{written}\n{part}\n" for part in parts) + f"--{written}{end}"
                * (end != ""))

    def choice(self):
        """One of the parts that say the same."""
        mark = f"x-choice-{self.number()}"
        self.within.append(mark)
        field, text = self.encoding(self.text())
        self.within.pop()
        return f"Content-Type: text/{mark}\n{field}\n{text}"

    def multipart_without_parts(self):
        parameter = self.random.choice(["", "; boundary=", '; boundary=""', "; boundary",
                                        "; boundary=never", '; boundary="   "', "; boundary=b c"])
        text = "\n".join([self.text(), self.random.choice(["", "--", "--x", "--never-", "--neve",
                                                           "----", "-- "]), self.text()])
        return f"Content-Type: multipart/mixed{parameter}\n\n{text}"


def lost(words, page):
    listed = re.findall(r"^(?:Attachment|Alternative): (.*)$", page, re.M)
    return [word for word, marks in words.items()
            if word not in page and not any(mark in line for line in listed for mark in marks)]


def pages(smtpd, folder, messages):
    """What is shown of each, in one session."""
    with Session(command(smtpd, "--strategy=show", "--max-commands=100000"), folder) as session:
        session.deadline += 10 * PATIENCE
        session.begin("EHLO")
        for message in messages:
            wire = re.sub(rb"^\.", b"..", message.encode(), flags=re.M).replace(b"\n", b"\r\n")
            assert session.send_message(wire + b"\r\n") == SHOWN, message
        assert session.end() == 0
        return [page for _, _, page in shown(session.err())]


def test_odd_messages(smtpd, tmp_path):
    """No text is lost."""
    writers = [Writer(seed) for seed in SEEDS]
    messages = [writer.whole(writer.random.choice(["Subject: x\n", ""]), 3) for writer in writers]
    said = pages(smtpd, tmp_path, messages)
    assert len(said) == len(messages)
    for writer, message, page in zip(writers, messages, said, strict=True):
        assert not lost(writer.words, page), f"{message}\n\n=====> {page}"


@pytest.mark.parametrize("kind", ["multipart", "message"])
def test_odd_depth(release, tmp_path, kind):
    """At the limit the text is shown; past it, what has it is listed."""
    messages = []
    for n in range(28, 36):
        if kind == "message":
            inner = "Content-Type: message/rfc822; name=m\n\n" * n
        else:
            inner = "".join(f"Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n"
                            for i in range(n))
        messages.append(f"{inner}Content-Type: text/plain\n\nword-1.")
    said = pages(release, tmp_path, messages)
    assert len(said) == len(messages)
    for page in said:
        assert ("word-1." in page) != ("Attachment: " in page)
    assert "word-1." in said[0] and "word-1." not in said[-1]
