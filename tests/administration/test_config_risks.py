# SPDX-License-Identifier: MIT
"""Configurations that are allowed, and risky: --check warns of them."""

import os
import pathlib
import tempfile

import pytest
from conftest import missing
from options import check, conf
from session import command, run

_ = conf  # a fixture


def test_root_is_warned_of(smtpd):
    for user in ("root", "0"):
        status, _, (complaint,) = check(smtpd, f"--user={user}", "--listen=25")
        assert status == 0 and complaint.startswith("smtpd: warning: user: sessions run as root")


def test_authorities_that_are_not_there_are_warned_of(smtpd):
    status, _, complaints = check(smtpd, "--strategy=proxy", "--upstream=127.0.0.1",
                                  "--upstream-tls=required", "--upstream-tls-ca=/nonexistent")
    assert status == 0 and complaints == [
        "smtpd: warning: upstream-tls-ca: /nonexistent: No such file or directory; until it is "
        "there, nothing is served"]


def program(path, mode=0o755):
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def exec_of(path):
    return ["--strategy=exec", f"--command={path} argument"]


def proxying(*options):
    return lambda folder: ["--strategy=proxy", "--upstream=[::1]", *options]


RISKS = {
    "nothing": (lambda d: exec_of(program(d / "on-mail")), None),
    "no such program": (lambda d: exec_of(d / "nope"),
                        "command: {d}/nope: No such file or directory; until it can be run"),
    "found in PATH": (lambda d: exec_of("sh"), None),
    "not in PATH": (lambda d: exec_of("no-such-program"),
                    "command: no-such-program: No such file or directory (not found in PATH="),
    "not executable": (lambda d: exec_of(program(d / "on-mail", 0o644)),
                       "command: {d}/on-mail: Permission denied (not executable: chmod +x"),
    "a directory": (lambda d: exec_of(d), "command: {d}: Permission denied (a directory"),
    "writable by others": (lambda d: exec_of(program(d / "on-mail", 0o757)),
                           "command: everyone can write to {d}/on-mail"),
    "in a directory of everybody's": (
        lambda d: d.chmod(0o777) or exec_of(program(d / "on-mail")),
        "command: everyone can replace {d}/on-mail"),
    "in a sticky directory": (lambda d: d.chmod(0o1777) or exec_of(program(d / "on-mail")), None),
    "open relay": (proxying("--relay-from=0.0.0.0/0"),
                   "relay-from: 0.0.0.0/0 may send mail to anyone"),
    "open relay, half": (proxying("--relay-from=::1,128.0.0.0/1"),
                         "relay-from: 128.0.0.0/1 may send"),
    "open relay, mapped": (proxying("--relay-from=::ffff:0:0/96"),
                           "relay-from: ::ffff:0:0/96 may send"),
    "open relay, half, mapped": (proxying("--relay-from=::FFFF:128.0.0.0/97"),
                                 "relay-from: ::FFFF:128.0.0.0/97 may send"),
    "open relay, NAT64": (proxying("--relay-from=64:ff9b::/96"),
                          "relay-from: 64:ff9b::/96 may send"),
    "open relay, NAT64 and more": (proxying("--relay-from=64:ff9b::/48"),
                                   "relay-from: 64:ff9b::/48 may send"),
    "open relay, 6to4": (proxying("--relay-from=2002::/16"), "relay-from: 2002::/16 may send"),
    "open relay, IPv6": (proxying("--relay-from=2000::/3"), "relay-from: 2000::/3 may send"),
    "own networks": (proxying("--relay-from=10.0.0.0/8,2001:db8::/32,local,192.0.2.1"), None),
    "balancers": (proxying("--proxy-from=192.0.2.0/24,local"), None),
    "balancers everywhere": (proxying("--proxy-from=0.0.0.0/0"),
                             "proxy-from: 0.0.0.0/0 can claim to be any client"),
    "TLS at a balancer here": (proxying("--proxy-from=127.0.0.0/8,::1,local", "--proxy-tls=yes"),
                               None),
    "TLS at a balancer": (proxying("--proxy-from=127.0.0.1,192.0.2.9/32", "--proxy-tls=yes"),
                          "proxy-tls: mail that clients sent over TLS comes from 192.0.2.9/32 in plain text"),
    "a whole top-level domain": (proxying("--relay-to=a.example,.org"),
                                 "relay-to: .org means all domains below it"),
    "own domains": (proxying("--relay-to=localhost,.example.org"), None),
    "wrapper": (lambda d: ["--strategy=mailman", f"--mailman-wrapper={d}/w",
                           f"--mailman-lists={d}"], "mailman-wrapper: {d}/w: No such file"),
    "lists": (lambda d: ["--strategy=mailman", f"--mailman-wrapper={program(d / 'w')}",
                         f"--mailman-lists={d}/w"], "mailman-lists: {d}/w is not a directory"),
    "upstream not asked for": (lambda d: ["--strategy=proxy", "--upstream=nonexistent.invalid"],
                               None),
    "upstream": (lambda d: ["--check=network", "--strategy=proxy",
                            "--upstream=[::1],nonexistent.invalid"],
                 "upstream: nonexistent.invalid: "),
    "upstream's socket": (lambda d: ["--check=network", "--strategy=proxy", f"--upstream={d}/s"],
                          "upstream: {d}/s: No such file"),
    "upstream's file": (lambda d: ["--check=network", "--strategy=proxy",
                                   f"--upstream={program(d / 's')}"],
                        "upstream: {d}/s: not a socket"),
    "upstreams by address": (lambda d: ["--check=network", "--strategy=proxy",
                                        "--upstream=[::1]:24,192.0.2.1"], None),
    "Mailman": (lambda d: ["--check=network", "--strategy=mailman",
                           "--mailman=nonexistent.invalid"], "mailman: nonexistent.invalid: "),
}


@pytest.mark.parametrize("options, warning", RISKS.values(), ids=RISKS)
def test_risk_is_warned_of(smtpd, tmp_path, options, warning):
    """The configuration is valid: it is printed, and the exit status is 0."""
    tmp_path.chmod(0o755)
    status, out, complaints = check(smtpd, *options(tmp_path))
    # test_upstream_tls_check.py has that
    complaints = [line for line in complaints if "upstream-tls: mail goes to " not in line]
    assert status == 0 and out["strategy"] in ("exec", "proxy", "mailman")
    assert len(complaints) == (warning is not None), complaints
    assert not warning or complaints[0].startswith("smtpd: warning: "
                                                   + warning.format(d=tmp_path)), complaints


def test_configuration_that_everybody_can_write_is_warned_of(smtpd, conf):
    path = conf("strategy=print\n")
    os.chmod(path, 0o666)
    assert f"smtpd: warning: config: everyone can write to {path}: chmod o-w it" in check(
        smtpd, config=path)[2]


@pytest.fixture
def of_root(release):
    """A folder that everybody can reach, and what is root's in it."""
    if os.getuid() != 0:
        missing("only root can do this")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder)


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o755], ids=oct)
@pytest.mark.parametrize("options", [["--user=nobody"], [], ["--user=nobody", "--listen="]],
                         ids=["user", "default-user", "no-listen"])
def test_program_that_the_user_cannot_run(release, of_root, mode, options):
    """Root can; and a script is read too."""
    path = program(of_root / "on-mail", mode)
    is_named = options[:1] == ["--user=nobody"]  # a single session that root starts becomes it, too
    options = ["--listen=127.0.0.1:1025", *options] if "--listen=" not in options else options[:1]
    status, out, complaints = check(release, *exec_of(path), *options)
    wanted = f"smtpd: warning: command: user nobody has no access to {path}, so every message would get 451: chmod it "
    wanted += "or the directories above it"
    assert status == 0
    assert complaints == ([wanted] if mode != 0o755
                          and (is_named or "--listen=127.0.0.1:1025" in options) else [])


@pytest.mark.parametrize("folder_mode, mode, is_warned_of",
                         [(0o755, 0o600, True), (0o700, 0o644, True), (0o755, 0o644, False)])
def test_configuration_that_the_user_cannot_read(release, of_root, folder_mode, mode, is_warned_of):
    """At --check, and when it is started."""
    (of_root / "d").mkdir()
    path = of_root / "d/smtpd.conf"
    path.write_text("user=nobody\nlisten=127.0.0.1:0\nexit-idle-time=1\nstrategy=print\n")
    path.chmod(mode)
    (of_root / "d").chmod(folder_mode)
    wanted = f"smtpd: warning: config: user nobody has no access to {path}, so it could not be read again at SIGHUP: chmod it "
    wanted += "or the directories above it"
    assert check(release, config=path)[2] == ([wanted] if is_warned_of else [])
    status, _, err = run([release, f"--config={path}"])
    assert status == 0 and (wanted in err.decode()) == is_warned_of


def test_mistakes_come_without_warnings(smtpd):
    status, _, complaints = check(smtpd, "--strategy=proxy", "--upstream=[::1]",
                                  "--relay-from=::/0", "--timeout=0")
    assert status == 64 and len(complaints) == 1 and "timeout=0" in complaints[0]


def test_sessions_have_no_warnings(smtpd, tmp_path):
    """They are for the administrator's --check."""
    _, _, err = run(command(smtpd, "--strategy=proxy", "--upstream=127.0.0.1:1",
                            "--relay-from=0.0.0.0/0"), b"QUIT\r\n")
    assert b"warning" not in err
