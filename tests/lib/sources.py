# SPDX-License-Identifier: MIT
"""The files of the repository, for checks of the sources, and C without what is no code."""

import re
import subprocess

import pytest
from conftest import ROOT, need

SRC = ROOT / "src"


def sources():
    return sorted(p for p in SRC.rglob("*") if p.suffix in (".c", ".h"))


def as_ids(paths):
    return [pytest.param(p, id=str(p.relative_to(ROOT))) for p in paths]


def tool(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


NO_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|^[ '
                     r'\t]*#(?:[^\n]*\\\n)*[^\n]*', re.DOTALL | re.M)


def code_of(text):
    """C without what is in comments, literals and directives; each character is where it was."""
    return NO_CODE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def repository():
    """The files that are ours: what git has or would take; in an unpacked archive, everything but
    build trees."""
    if (ROOT / ".git").exists():
        listing = tool(need("git"), "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files",
                       "-co", "--exclude-standard", "-z")
        paths = [ROOT / name for name in listing.split("\0") if name]
    else:
        paths = [p for p in ROOT.rglob("*")
                 if not re.match(r"build|.*__pycache__|\.git/", p.relative_to(ROOT).as_posix())]
    return sorted(p for p in paths if p.is_file() and not p.is_symlink())


def text_of(path):
    return path.read_bytes().decode("utf-8", errors="replace")
