# SPDX-License-Identifier: MIT
"""What options there are: --help, --version and --check, the defaults, the short ones."""

import os
import re
import shutil
import socket
import subprocess

import pytest
from options import ACTIONS, OPTIONS, check, conf
from session import PATIENCE, command, environment, replies, run

_ = conf  # a fixture


def test_help_lists_every_option(smtpd):
    status, out, err = run([smtpd, "--help"])
    listed = set(re.findall(r"^  --([a-z-]+)", out.decode(), re.M))
    assert (status, err) == (0, b"")
    assert listed >= {"config", *OPTIONS, *ACTIONS}
    assert run([smtpd, "--help", "--nonsense"]) == (
        64, out, b"smtpd: command line: --nonsense: unknown option; --help lists them\n")


def test_help_is_for_a_terminal(release):
    """In groups with headings, of at most 100 columns; each option is in one."""
    said = run([release, "--help"])[1].decode()
    groups = dict(re.findall(r"^([A-Z][^\n]*):\n\n((?:  .*\n)+)", said, re.M))
    assert max(map(len, said.splitlines())) <= 100 and len(groups) > 7
    listed = [re.findall(r"^  --([a-z-]+)", text, re.M) for text in groups.values()]
    assert sorted(sum(listed, [])) == sorted(re.findall(r"^  --([a-z-]+)", said, re.M))
    assert max(map(len, listed)) <= 20
    texts = re.finditer(r"^  --\S+(?: \[\S+\])?(?: +|\n +)(?=\S)", said, re.M)
    assert {len(text[0].rpartition("\n")[2]) for text in texts} == {31}  # all in one column


def test_help_says_what_every_strategy_does(release):
    said = run([release, "--help"])[1].decode()
    names = re.search(r"--strategy=NAME +what to do with messages: (.*) \(default",
                      re.sub(r"\n {30,}", " ", said))[1].replace(" or ", ", ").split(", ")
    summaries = dict(re.findall(r"^  ([a-z]+) {2,}(\S.*)$", said, re.M))
    assert len(names) > 4 and list(summaries) == names and "(null)" not in said


def test_help_is_true_of_every_option(smtpd):
    """Each one that it lists is known on the command line, and in the file unless it is an action
    or names the file."""
    for name, syntax in re.findall(r"^  --([a-z-]+)(=\S+)?", run([smtpd, "--help"])[1].decode(),
                                   re.M):
        _, _, complaints = check(smtpd, f"--{name}={'' if syntax else 'x'}")
        assert complaints and "unknown" not in complaints[0], (name, complaints)
        assert (name in ACTIONS - {"check"}) == ("takes no value" in complaints[0])
        assert (name in ACTIONS) == (not syntax)


def test_version(smtpd):
    said = run([smtpd, "--version"])[1].decode()
    features, *reasons = said.splitlines()
    assert re.fullmatch(r"smtpd \d+(\.\d+)*( [+-](journal|maildir|show|tls|sandbox)){5}", features)
    missing = [word for word in features.split() if word.startswith("-")]
    assert [reason.split(": ", 1)[0] for reason in reasons] == missing, "each has its reason"
    assert ("-sandbox: this build has it off by default" in reasons) == ("sanitize" in smtpd)


def test_version_names_the_helpers_found(smtpd, tmp_path):
    """Each is a package of its own: what was built says nothing about what is here."""
    program = shutil.copy(smtpd, tmp_path)
    for there in (False, True):
        said = run([program, "--version"])[1].decode()
        for name in ("journal", "maildir", "show", "tls"):
            installed = os.access(f"/usr/libexec/smtpd/smtpd-{name}", os.X_OK)
            assert f" {'+' if there or installed else '-'}{name} " in said.replace("\n", " ")
            reason = f"-{name}: cannot run /usr/libexec/smtpd/smtpd-{name}\n"
            assert (reason in said) == (not there and not installed)
            (tmp_path / f"smtpd-{name}").write_text("#!/bin/sh\n")
            (tmp_path / f"smtpd-{name}").chmod(0o755)


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_full_stdout_is_an_error(smtpd, action):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([smtpd, "--config=/dev/null", f"--{action}"], stdout=full,
                              stdin=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, env=environment(), timeout=PATIENCE)
    assert done.returncode == 74


def test_actions_read_no_session(smtpd):
    """--check answers although somebody is connected, and leaves the connection alone."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run([smtpd, "--config=/dev/null", "--check"], stdin=theirs,
                              stdout=subprocess.PIPE, env=environment(),
                              timeout=PATIENCE)
        theirs.close()
        assert (done.returncode, ours.recv(100)) == (0, b"")


def test_defaults(smtpd):
    status, got, complaints = check(smtpd)
    assert (status, complaints) == (0, [])
    assert got.items() >= {name: value for name, (value, *_) in OPTIONS.items() if value}.items()
    assert "peer" not in got


@pytest.mark.parametrize("option, complaint", [
    ("mailman-lists=/x", "mailman-lists needs mailman-wrapper=PROGRAM"),
    ("mailman-wrapper=/x", "mailman-wrapper needs mailman-lists=DIR"),
    ("mailman=127.0.0.1\nmailman-lists=/x\nmailman-wrapper=/x",
     "mailman makes no sense with mailman-wrapper, which is of Mailman 2.1: remove one of the two"),
], ids=["lists", "wrapper", "both versions"])
def test_options_of_one_mailman(smtpd, conf, option, complaint):
    """The place is that of the option, wherever the strategy is chosen."""
    path = conf(f"{option}\n")
    assert check(smtpd, "--strategy=mailman", config=path) == (78, {}, [f"smtpd: {path}:1: {complaint}"])
    argv = [f"--{line}" for line in option.split("\n")]
    path = conf("strategy=mailman\n")
    assert check(smtpd, *argv, config=path) == (64, {}, [f"smtpd: command line: {complaint}"])


def test_short_options(smtpd):
    assert run([smtpd, "-h"]) == run([smtpd, "--help"])
    assert run([smtpd, "-V"]) == run([smtpd, "--version"])
    status, out, err = run(command(smtpd, "-bs"), b"QUIT\r\n")  # as sendmail(8) is called for this
    assert status == 0 and [code for code, _ in replies(out)] == [220, 221] and b"-bs" not in err
