# SPDX-License-Identifier: MIT
"""Fixtures and the closing line of all tests. See tests/run."""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# see tests/README.md
sys.path[:0] = sorted(str(path) for path in (ROOT / "tests").iterdir() if any(path.glob("*.py")))
BUILDS = {name: ROOT / "build-test" / name for name in ("release", "sanitize")}
if os.environ.get("TESTS_BUILD"):  # another one in the place of both: see tests/coverage
    BUILDS = {"release": Path(os.environ["TESTS_BUILD"])}
NIGHT = os.environ.get("TESTS_NIGHT")  # see tests/run --night
collect_ignore = [] if NIGHT else ["house/test_reproducible.py"]
os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=0")  # see environment() in session.py
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    # by nohup(1), or "&" in a script: not for what we start, which would inherit it
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


@pytest.fixture(params=sorted(BUILDS), ids=lambda name: name)
def smtpd(request):
    """The program under test, as it is installed and with sanitizers; each test that asks for it
    runs on both."""
    return str(BUILDS[request.param] / "smtpd")


@pytest.fixture
def sanitized():
    """The program with sanitizers, for tests of how it treats its memory; where there is one build
    only, that."""
    return str(BUILDS.get("sanitize", BUILDS["release"]) / "smtpd")


@pytest.fixture
def release():
    """The program as it is installed, for tests whose subject the sanitizers would disturb."""
    return str(BUILDS["release"] / "smtpd")


NOTES = []  # what tests have to say beside passed and failed; shown at the end


def pytest_sessionfinish(session):
    # one of several processes that share the tests (pytest-xdist)
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["notes"] = NOTES


# Files that take minutes. Of the first ones the tests share nothing that has to be made first:
# several processes can have them (pytest-xdist).
LONG = [f"test_{name}.py"
        for name in ("sweep", "analysis", "valgrind", "intrusion", "restraint", "proxy_lost",
                     "proxy_replies", "proxy_message", "proxy_offers", "exec_misbehaving",
                     "shortages", "reloading", "deaths", "connection_limits", "many_connections",
                     "notify_acceptor", "stopping", "passed_sockets", "reproducible")]
WHOLE = [f"test_{name}.py"
         for name in ("fuzz", "ports", "patience", "service", "service_ends", "service_strategies",
                      "mailman_real", "mailman_faults", "systemd", "systemd_strategies", "units",
                      "output", "metrics", "batches", "install", "hostile", "program_name",
                      "clients", "tls_server", "tls_server_certificates", "tls_service",
                      "tls_systemd")]


def pytest_collection_modifyitems(items):
    """The longest first, so that nobody waits for them at the end."""
    order = {name: n for n, name in enumerate([*WHOLE[:2], *LONG, *WHOLE[2:]])}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            return nodeid if os.path.basename(file) in LONG else file

    return Scheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    NOTES.extend(getattr(node, "workeroutput", {}).get("notes", []))


def pytest_terminal_summary(terminalreporter):
    for note in NOTES:
        terminalreporter.write_line(note)


def missing(reason):
    """A real component is not there: skip, but in CI fail."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (in CI nothing is skipped)")
    pytest.skip(reason)


EVERYWHERE = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
AS_ROOT = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]

# What not every system lets us do, although the program for it is there: a small example of it.
# Containers forbid tracing and mounting; in a chroot, whose root is no mount point, nothing can be
# mounted either without everybody's seeing it.
EXAMPLES_OF = {
    "strace": ["-o", "/dev/null", "true"],
    "unshare": [*AS_ROOT, "--mount", "mount", "-t", "tmpfs", "none", "/tmp"],
}


@functools.cache
def why_missing(program):
    """In words; None if it is there and does its work."""
    path = shutil.which(program, path=EVERYWHERE)
    if not path:
        return f"{program} is not installed"
    if program in EXAMPLES_OF:
        done = subprocess.run([path, *EXAMPLES_OF[program]], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{program} is not allowed here: {done.stderr.strip()}"
    return None


def need(*programs):
    """Paths of the programs, or the end of the test: all that a test cannot do here, for want of a
    program or of a permission, is found out here."""
    for program in programs:
        if why := why_missing(program):
            missing(why)
    paths = [shutil.which(program, path=EVERYWHERE) for program in programs]
    return paths[0] if len(paths) == 1 else paths


def need_root():
    if os.geteuid() != 0:
        missing("only root can do this")


def private_mounts():
    """The beginning of a command line: what the rest of it mounts, nobody else sees."""
    return [need("unshare"), *AS_ROOT, "--mount"]


@contextlib.contextmanager
def everybodys(smtpd):
    """Copies of the programs, where everybody can read and run them: into the checkout, perhaps,
    nobody else than root can. (Not shutil.copy(): a child that another thread forks meanwhile has
    the file open for writing, so that it cannot be executed: "Text file busy".)"""
    names = ("smtpd", "smtpd-journal", "smtpd-maildir", "smtpd-show", "smtpd-tls")
    there = [path for name in names if (path := Path(smtpd).parent / name).exists()]
    with tempfile.TemporaryDirectory(prefix="smtpd-test.") as folder:
        os.chmod(folder, 0o755)
        subprocess.run(["cp", "-p", *there, folder], check=True)
        yield folder + "/smtpd"


def let_everybody_reach(folder):
    """Others than root may go there, if it is in the folder for temporary files."""
    top = Path(tempfile.gettempdir())
    for place in (folder, *folder.parents):
        if top in place.parents:
            place.chmod(0o755)


def pytest_unconfigure(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter and not hasattr(config, "workeroutput"):
        count = {key: len(reporter.stats.get(key, []))
                 for key in ("passed", "failed", "error", "skipped")}
        skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
        print(f"\n{count['passed']} passed, {count['failed'] + count['error']} failed{skipped}")
