# SPDX-License-Identifier: MIT
"""What tests do if something is missing or not allowed; and of tests/bare what can be tested
without making a system."""

import importlib.machinery
import importlib.util
import re

import conftest
import pytest
from conftest import ROOT, missing, need, need_root, private_mounts


@pytest.fixture
def forbidden(tmp_path, monkeypatch):
    """A system on which some programs are there and get nothing done."""
    for name in conftest.EXAMPLES_OF:
        (tmp_path / name).write_text("#!/bin/sh\necho $0: Operation not permitted >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(conftest, "EVERYWHERE", str(tmp_path))
    monkeypatch.setattr(conftest.os, "geteuid", lambda: 1000)
    conftest.why_missing.cache_clear()
    yield
    conftest.why_missing.cache_clear()


def outcome_of(function, *args):
    with pytest.raises((pytest.skip.Exception, pytest.fail.Exception)) as outcome:
        function(*args)
    return outcome.type, str(outcome.value)


@pytest.mark.parametrize("is_ci", [False, True], ids=["skipped", "CI"])
def test_what_cannot_be_done(forbidden, monkeypatch, is_ci):
    """It is skipped with the reason; in CI it fails."""
    kind = pytest.fail.Exception if is_ci else pytest.skip.Exception
    monkeypatch.setenv("CI", "true" if is_ci else "")
    for function, args, reason in (
            (missing, ["no bananas"], "no bananas"),
            (need, ["no-such-program"], "no-such-program is not installed"),
            (need, ["strace"], "strace is not allowed here: .*/strace: Operation not permitted"),
            (private_mounts, [],
             "unshare is not allowed here: .*/unshare: Operation not permitted"),
            (need_root, [], "only root can do this")):
        got, said = outcome_of(function, *args)
        assert got is kind and re.match(reason, said)


def test_it_is_found_out_in_one_way():
    """Whoever needs a program that not every system lets us use, says need()."""
    word, wrong = re.compile(rf'[\[(]"({"|".join(conftest.EXAMPLES_OF)})"'), []
    no_tests = {ROOT / "tests/conftest.py", ROOT / "tests/house/test_bare.py",
                *(ROOT / "tests/bench.d").rglob("*.py")}
    for path in set((ROOT / "tests").rglob("*.py")) - no_tests:
        lines = path.read_text().splitlines()
        wrong += [f"{path.name}: {line}" for line in lines if word.search(line)
                  and "need(" not in line]
    assert wrong == []


@pytest.fixture(scope="module")
def bare():
    loader = importlib.machinery.SourceFileLoader("bare", str(ROOT / "tests/bare"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bare", loader))
    loader.exec_module(module)
    return module


def test_readme_has_two_commands(bare):
    first, second = bare.commands()
    assert first.endswith("build/smtpd <examples/session.txt")
    assert second.endswith("tests/run --full")


def test_fetched(bare):
    """Of what apt-get says; the rest could be anything."""
    said = "Get:1 x [15 MB]\nFetched 15.8 MB in 7s (2239 kB/s)\nFetched 241 kB in 1s (416 kB/s)\nFetched 1,024 B in 0s\n"
    assert bare.fetched([said]) == 15.8e6 + 241e3 + 1024 and bare.fetched(["nothing\n"]) == 0


def test_package_sources(bare):
    """This system's, for another suite."""
    need("apt-get")
    if bare.platform.freedesktop_os_release().get("ID") != "debian":
        missing("this is no Debian")
    sources = bare.package_sources("forky").splitlines()
    assert sources and all(re.fullmatch(r"deb \S+ forky(-\S+)? \S+", line) for line in sources)
    assert any(" forky main" in line for line in sources)
