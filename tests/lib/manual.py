# SPDX-License-Identifier: MIT
"""What the manual pages and README say, taken out of their source: sections, and the lines that a
reader would type or copy."""

import re

from conftest import ROOT


def page(name):
    return (ROOT / "man" / name).read_text()


def section(name, title):
    """The lines of a section (.Sh) or subsection (.Ss), with its subsections; in any letter case."""
    lines = page(name).splitlines()
    heading = re.compile(rf"\.S[hs] {re.escape(title)}", re.I)
    (start,) = [n for n, line in enumerate(lines) if heading.fullmatch(line)]
    ends = r"\.Sh " if lines[start].startswith(".Sh") else r"\.S[hs] "
    end = next((n for n in range(start + 1, len(lines)) if re.match(ends, lines[n])), len(lines))
    return lines[start + 1 : end]


def plain(text):
    """A text line as it is shown."""
    return text.replace("\\&", "").replace("\\-", "-").replace("\\e", "\\")


def literals(lines):
    """What stands there to be copied, as pairs (tag of the list item it is in, text): .Bd -literal,
    and .Dl."""
    found, tag, block = [], "", None
    for line in lines:
        if line.startswith(".Ed"):
            found.append((tag, "".join(block)))
            block = None
        elif block is not None:
            block.append(plain(line) + "\n")
        elif line.startswith(".Bd -literal"):
            block = []
        elif line.startswith(".Dl "):
            found.append((tag, plain(line[4:]) + "\n"))
        elif line.startswith(".It "):
            tag = " ".join(line.split()[2:])
        elif line == ".El":
            tag = ""
    return found


def literal(name, title, tag):
    """The only one of a tag in a section."""
    (text,) = [text for its_tag, text in literals(section(name, title)) if its_tag == tag]
    return text


def readme_blocks():
    """The indented blocks of README, without the indent."""
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"(?:^    .*\n)+", text, re.M)
    return [re.sub(r"^    ", "", block, flags=re.M) for block in blocks]


def readme_block(start):
    """The only block with a line that begins so."""
    (found,) = [text for text in readme_blocks() if re.search(rf"^{re.escape(start)}", text, re.M)]
    return found
