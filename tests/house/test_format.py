# SPDX-License-Identifier: MIT
"""The form of the sources: tests/format for C, and lines of at most 100 columns."""

import io
import re
import subprocess
import tokenize

from conftest import ROOT, need

WIDTH = 100


def files(*patterns):
    listed = subprocess.run([need("git"), "ls-files", "-z", *patterns], cwd=ROOT, check=True,
                            capture_output=True, text=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_c():
    need("clang-format-19")
    subprocess.run([ROOT / "tests/format", "--check"], check=True)


def overlong_lines(text):
    """Numbers of the lines whose code is too long. Texts in them do not count: they are more
    readable in one piece."""
    rest = {n: len(line) for n, line in enumerate(text.splitlines(), 1)
            if len(line) > WIDTH and "# noqa" not in line}
    for token in tokenize.generate_tokens(io.StringIO(text).readline) if rest else ():
        (first, start), (last, end) = token.start, token.end
        if "STRING" in tokenize.tok_name[token.type]:
            for n in set(rest) & set(range(first, last + 1)):
                rest[n] -= end - start if first == last else rest[n]
    return sorted(n for n, length in rest.items() if length > WIDTH)


def test_python():
    paths = files("*.py", "tests/bench", "tests/sweep", "tests/coverage", "tests/bare")
    assert len(paths) > 50
    found = {path.relative_to(ROOT): overlong_lines(path.read_text()) for path in paths}
    assert {path: numbers for path, numbers in found.items() if numbers} == {}


def test_finds_overlong_lines():
    """A test of the test."""
    text = 'x = "' + "y" * 200 + '"\n' + "x = y + " * 20 + 'y\n"short"\n'
    assert overlong_lines(text) == [2]


def test_c_has_the_width():
    """What clang-format cannot break."""
    paths = files("src/*.[ch]", "tests/*.[ch]")
    assert len(paths) > 100
    assert [path for path in paths
            if any(len(line) > WIDTH for line in path.read_text().splitlines())] == []


# What cannot be broken: a line of systemd's or fail2ban's that takes no other form.
ONE_LINE = re.compile(r"Exec(Start|StopPost)=|failregex = ")


def test_scripts_have_the_width():
    """Shell, Meson, units, configuration. A tab is one column."""
    paths = [path for path in files(
        "*meson.build", "meson_options.txt", "*.sh", "*.conf*", "*.cfg", "units", "debian/tests",
        ".ci", ".clang-tidy", "tests/*", "examples/filter-*", "completion/generate")
        if path.suffix not in (".c", ".h", ".md", ".py", ".txt") and "corpus" not in path.parts
        and not path.read_text().startswith("#!/usr/bin/python3")]
    assert len(paths) > 50
    assert [f"{path.relative_to(ROOT)}:{n}" for path in paths
            for n, line in enumerate(path.read_text().splitlines(), 1)
            if len(line) > WIDTH and not ONE_LINE.match(line)] == []


def overlong_markdown(text):
    """Numbers of the lines that are too long; tables, commands and links cannot be broken."""
    return [n for n, line in enumerate(text.splitlines(), 1)
            if len(line) > WIDTH and not re.match(r"\||    |.*(?:https?://|\]\()\S*$", line)]


def test_markdown_has_the_width():
    paths = files("*.md", "debian/*.README.Debian")
    assert len(paths) > 5
    found = {path.relative_to(ROOT): overlong_markdown(path.read_text()) for path in paths}
    assert {path: numbers for path, numbers in found.items() if numbers} == {}
    assert overlong_markdown(f"| {'x ' * 60}|\n    {'x ' * 60}\n{'x ' * 60}\n") == [3]
