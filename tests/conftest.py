"""Fixtures and the closing line of all tests. See tests/run."""

import os
import shutil
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILDS = {name: ROOT / "build-test" / name for name in ("release", "sanitize")}
if os.environ.get("TESTS_BUILD"):  # another one in the place of both: see tests/coverage
    BUILDS = {"release": Path(os.environ["TESTS_BUILD"])}
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) == signal.SIG_IGN:  # by nohup(1), or "&" in a script: not for what we start, which would inherit it
        signal.signal(number, lambda *_: None)


@pytest.fixture(params=sorted(BUILDS), ids=lambda name: name)
def smtpd(request):
    """The program under test, as it is installed and with sanitizers; each test that asks for it runs on both."""
    return str(BUILDS[request.param] / "smtpd")


@pytest.fixture
def release():
    """The program as it is installed, for tests whose subject the sanitizers would disturb."""
    return str(BUILDS["release"] / "smtpd")


NOTES = []  # what tests have to say beside passed and failed; shown at the end


def pytest_terminal_summary(terminalreporter):
    for note in NOTES:
        terminalreporter.write_line(note)


def missing(reason):
    """A real component is not there: skip, but in CI fail."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (in CI nothing is skipped)")
    pytest.skip(reason)


def need(*programs):
    """Paths of the programs, or the end of the test."""
    paths = []
    for program in programs:
        path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if not path:
            missing(f"{program} is not installed")
        paths.append(path)
    return paths[0] if len(paths) == 1 else paths


def pytest_unconfigure(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter:
        count = {key: len(reporter.stats.get(key, [])) for key in ("passed", "failed", "error", "skipped")}
        skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
        print(f"\n{count['passed']} passed, {count['failed'] + count['error']} failed{skipped}")
