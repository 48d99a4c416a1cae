# SPDX-License-Identifier: MIT
"""What files say at their top, how long they are, that they are tidy, and what linters make of
manuals and scripts. CONTRIBUTING.md has the rules."""

import os
import re
import subprocess
from collections import Counter

import pytest
from conftest import BUILDS, ROOT, need
from sources import SRC, as_ids, repository, sources, text_of, tool

# --- files ---------------------------------------------------------------------------------------

LINES_MAX = 400
LICENCE = "SPDX-License-Identifier: MIT"


def is_program(name, text):
    """C, Python, or a script of the shell or of Python."""
    script = re.compile(r"#!\s*(/usr)?/bin/(env )?((ba|da)?sh|python3?)\b")
    return name.endswith((".c", ".h", ".py")) or bool(script.match(text))


def too_long(lengths):
    return [f"{name}: {n}" for name, n in lengths if n > LINES_MAX]


def test_file_lengths():
    """Of all programs, tests and all. The line with the licence does not count."""
    texts = {p.relative_to(ROOT).as_posix(): text_of(p) for p in repository()}
    lengths = [(name, text.count("\n") - 1) for name, text in texts.items()
               if is_program(name, text)]
    names = {name for name, _ in lengths}
    assert {"src/main.c", "tests/conftest.py", "tests/run", "tests/sweep"} <= names
    found = too_long(lengths)
    assert found == [], f"more than {LINES_MAX} lines: {', '.join(found)}"
    assert too_long([("a.c", 400), ("b.c", 401)]) == ["b.c: 401"]
    assert is_program("a", "#!/usr/bin/env python3\n") and is_program("a", "#!/bin/sh -e\n")
    assert not is_program("a.md", "# a\n") and not is_program("a", "#!/usr/bin/awk -f\n")


def test_no_test_imports_another():
    """What tests share is in tests/lib."""
    importing = re.compile(r"^\s*(?:from|import) +(test_\w+)", re.M)
    assert [(path.name, found[1]) for path in (ROOT / "tests").glob("*/test_*.py")
            for found in importing.finditer(text_of(path))] == []
    assert importing.search("from test_a import b\n") and not importing.search("import tests\n")


def has_licence(name, text):
    """Whether the text begins, after its interpreter, with the line that names the licence. Data
    need none; units/sandbox becomes part of units."""
    is_source = re.fullmatch(r".*\.([ch]|py|build|[1-8])|meson_options\.txt|units/(?!sandbox$).*",
                             name)
    first = re.compile(r'(#!.*\n)?(/\* %s \*/|(#|\.\\") %s)\n' % (LICENCE, LICENCE))
    return bool(first.match(text)) or not (is_source or text.startswith("#!"))


def test_sources_name_their_licence():
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n")
    names = {p.relative_to(ROOT).as_posix(): p for p in repository()}
    assert [name for name, path in names.items() if not name.startswith("tests/fuzz/corpus/")
            and not has_licence(name, text_of(path))] == []
    assert has_licence("run", f"#!/bin/sh\n# {LICENCE}\n") and has_licence("words", "a\n")
    assert has_licence("a.c", f"/* {LICENCE} */\n") and not has_licence("a.c", "/* a.c - b */\n")
    assert not has_licence("run", "#!/bin/sh\n") and not has_licence("a.py", f'"""a {LICENCE}"""')


# --- texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", as_ids(sources()))
def test_file_says_what_it_is(path):
    """After its licence comes a comment that begins with its name, after a dash what it is."""
    names = {path.name, path.relative_to(SRC).as_posix()}
    match = re.match(r"/\* SPDX.*\n/\* (\S+) - \S", path.read_text())
    assert match and match[1] in names


@pytest.mark.parametrize("path", as_ids(sorted((SRC).rglob("*.h"))))
def test_header_is_guarded_and_complete(path):
    """It can be included first, alone and twice."""
    assert "#pragma once\n" in path.read_text()
    program = f'#include "{path.relative_to(SRC)}"\n#include "{path.relative_to(SRC)}"\n'
    done = subprocess.run([need("cc"), "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only", f"-I{SRC}",
                           "-x", "c", "-"], input=program,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_repository_is_found():
    assert {ROOT / "meson.build", SRC / "main.c", ROOT / "tests/run"} <= set(repository())


def test_no_machine_paths():
    """Nothing in the tree knows where somebody keeps it."""
    pattern = re.compile(r"(?<![\w.])/(?:work|home|root|Users|mnt)/\S*")
    found = [f"{p.relative_to(ROOT)}: {match[0]}" for p in repository()
             for match in pattern.finditer(text_of(p))]
    assert found == []


def test_text_files_are_tidy():
    """No tabs at line ends, no blanks there either, a newline at the end. Transcripts may have
    whatever they test."""
    wrong = []
    for path in repository():
        if path.suffix in (".c", ".h", ".py", ".build", ".options", ".md", ".8", ".5", ".7"):
            text = text_of(path)
            wrong += [str(path)] if re.search(r"[ \t\r]$", text,
                                              re.M) or not text.endswith("\n") else []
    assert wrong == []


MANUALS = sorted(p for p in (ROOT / "man").glob("*.[1-8]*"))


@pytest.mark.parametrize("path", as_ids(MANUALS))
def test_manual_page_lint(path):
    done = subprocess.run([need("mandoc"), "-T", "lint", "-W", "warning", str(path)],
                          capture_output=True, text=True, timeout=60)
    assert done.stdout + done.stderr == "" and done.returncode == 0


def test_manual_describes_every_option():
    text = "".join(p.read_text() for p in MANUALS)
    help_ = tool(str(BUILDS["release"] / "smtpd"), "--help")
    # mdoc may write the dash as \- ; the names themselves are plain, or have \- in them
    plain = text.replace("\\-", "-")
    assert [name for name in re.findall(r"^  --([a-z-]+)", help_, re.M) if name not in plain] == []


def shell_scripts():
    return [p for p in repository()
            if re.match(r"#!\s*/bin/(ba|da)?sh\b|#!\s*/usr/bin/env (ba)?sh\b", text_of(p)[:40])]


def test_shell_scripts_lint():
    scripts = shell_scripts()
    assert ROOT / "tests/run" in scripts
    assert tool(need("shellcheck"), *map(str, scripts)) == ""


def test_scripts_can_be_run():
    assert [str(p) for p in shell_scripts() if not os.access(p, os.X_OK)] == []


def test_names_of_tests():
    """One name, one test; and each is in a folder that the map knows."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    names = Counter(name for path in paths
                    for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M))
    assert [name for name, n in names.items() if n > 1] == []
    folders = set(re.findall(r"^\| `(\w+)/` \|", (ROOT / "tests/README.md").read_text(), re.M))
    assert {path.parent.name for path in paths} <= folders
    assert len({path.name for path in paths}) == len(paths)


def test_package_has_our_version():
    """debian/changelog, and the program."""
    meson = re.search(r"version : '(.*)',", (ROOT / "meson.build").read_text())[1]
    package = re.match(r"smtpd \((.*)-\d+\) ", (ROOT / "debian/changelog").read_text())[1]
    assert package == meson
