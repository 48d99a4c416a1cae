# SPDX-License-Identifier: MIT
"""Command line and configuration file: one vocabulary, the same mistakes found in both, and each
with its place."""

import os
import pathlib
import pty
import re
import shutil
import socket
import subprocess
import tempfile
import time

import pytest
from conftest import missing, private_mounts
from session import PATIENCE, Session, command, environment, replies, run

NOT_CONFIGURED = (421, b"4.3.5 this server is not configured correctly, try again later")
SYSTEM_NAME = os.uname().nodename
ACTIONS = {"check", "help", "version"}

# Of each option: its default, then values that are fine, as they are written and as --check prints
# them.
OPTIONS = {
    "strategy": ("print", ("print", "print")),
    "hostname": (
        SYSTEM_NAME, ("mx.example.org", "mx.example.org"), ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:db8::1]",) * 2,
        ("x" * 255,) * 2,
    ),
    "protocol": ("smtp", ("lmtp", "lmtp"), ("smtp", "smtp")),
    "auth": ("no", ("any", "any"), ("no", "no")),
    "max-size": (
        "33554432", ("0", "0"), ("1", "1"), ("10K", "10240"), ("10k", "10240"), ("2M", "2097152"),
        ("3G", "3221225472"),
        ("4611686018427387904",) * 2, ("4294967296G", "4611686018427387904"),
    ),
    "max-recipients": ("100", ("1", "1"), ("1000000", "1000000"), ("007", "7")),
    "max-commands": ("1000", ("1", "1"), ("1000000", "1000000")),
    "max-errors": ("20", ("1", "1"), ("1000000", "1000000")),
    "timeout": ("300", ("1", "1"), ("31536000", "31536000")),
    "session-timeout": ("3600", ("1", "1"), ("31536000", "31536000")),
    "message-timeout": ("540", ("1", "1"), ("31536000", "31536000")),
    "reply": (None, ("rcpt a,b@* 550 5.1.1 no, no",) * 2, ("connect  192.0.2.*\t421 x",) * 2),
    "delay": (None, ("message * 5",) * 2, ("helo x 31536000",) * 2),
    "qualify": (None, ("example.org",) * 2, ("[192.0.2.1]",) * 2),
    "bare-lf-from": (None, ("192.0.2.1", "192.0.2.1"),
                     ("local, 2001:db8::/32", "local,2001:db8::/32")),
    "trace": ("no", ("yes", "yes"), ("no", "no")),
    "x-peer": ("yes", ("no", "no"), ("yes", "yes")),
    "sandbox": (None, ("no", "no"), ("yes", "yes")),
    "listen": (
        None, ("127.0.0.1:1025",) * 2, ("1025", "1025"), ("0,smtp", "0,smtp"),
        ("[::1]:1025,localhost:smtp, /run/smtpd/socket",
         "[::1]:1025,localhost:smtp,/run/smtpd/socket"),
    ),
    "user": (None, ("nobody", "nobody"), ("65534", "65534")),
    "max-connections": ("100", ("1", "1"), ("1000000", "1000000")),
    "max-connections-per-source": ("20", ("1", "1"), ("1000000", "1000000")),
    "stop-timeout": ("10", ("1", "1"), ("31536000", "31536000")),
    "exit-idle-time": (None, ("1", "1"), ("31536000", "31536000")),
    "count": (None, ("1", "1"), ("1000000", "1000000")),
    "peer": (
        None, ("192.0.2.1", "192.0.2.1"), ("192.0.2.1:4000", "192.0.2.1:4000"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"), ("[2001:db8::1]:25", "[2001:db8::1]:25"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("local", "local"),
    ),
}

NUMBERS = ["", "0", "-1", "+5", "ten", "1x", "0x10", "1.5", "5 5", "99999999999999999999"]
# some would pass as 25, modulo
NO_PORTS = ["abc", "-1", "+25", "0x10", "65536", "99999", "4294967321", "25:25", "2 5"]
MISTAKES = {
    "strategy": ["", "Print", "print ", "nonsense", "print,print"],
    "hostname": ["", ".", ".a", "a..b", "a b", "m\u00fcller.example", "a\tb", "<script>", "x" * 256],
    "protocol": ["", "esmtp", "LMTP", "smtp "],
    "auth": ["", "yes", "Any", "plain", "any "],
    "max-size": ["", "-1", "+5", "M", "1T", "1KB", "1.5M", "1 M", "lots", "4611686018427387905",
                 "4294967297G",
                 "18446744073709551615G", "18446744073709551616", "99999999999999999999"],
    "max-recipients": [*NUMBERS, "1000001"],
    "max-commands": [*NUMBERS, "1000001"],
    "max-errors": [*NUMBERS, "1000001"],
    "timeout": [*NUMBERS, "31536001", "1h"],
    "session-timeout": [*NUMBERS, "31536001", "1h"],
    "message-timeout": [*NUMBERS, "31536001", "1h"],
    "x-peer": ["", "maybe", "Yes", "1", "true"],
    "sandbox": ["", "maybe"],
    "listen": [*NO_PORTS[:-2], *(f"127.0.0.1:{port}" for port in NO_PORTS),
               *(f"localhost:{port}" for port in NO_PORTS), "", "127.0.0.1", "[::1]", "::1:25",
               "/" + "x" * 200, "127.0.0.1:", ":25", "[::1]:25,", "a b:25"],
    "user": ["", "a b", "root:root", "/bin"],
    "max-connections": [*NUMBERS, "1000001"],
    "max-connections-per-source": [*NUMBERS, "1000001"],
    "stop-timeout": [*NUMBERS, "31536001"],
    "exit-idle-time": [*NUMBERS, "31536001"],
    "count": [*NUMBERS, "1000001"],
    "bare-lf-from": ["", "x", "192.0.2.1/33", "192.0.2.1,"],
    "trace": ["", "maybe"],
    "peer": [*(f"192.0.2.1:{port}" for port in ("0", *NO_PORTS)), "", "nonsense", "192.0.2.256",
             "192.0.2.1:", "192.0.2.1:70000", "192.0.2.1:x", "[::1", "::1]", "[]", "[", ":25",
             "[::1]25", "[::1]:", "[::1]:2:3", "example.org:25", "x" * 5000],
}


def check(smtpd, *options, config="/dev/null"):
    """(exit status, what --check prints as a dictionary, complaints)"""
    status, out, err = run([smtpd, f"--config={config}", "--check", *options])
    lines = out.decode().splitlines()
    return status, dict(line.split("=", 1) for line in lines
                        if not line.startswith("#")), err.decode(errors="replace").splitlines()


@pytest.fixture
def conf(tmp_path):
    """Writes a configuration file and gives its name."""

    def write(content):
        path = tmp_path / "smtpd.conf"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def values():
    return [pytest.param(name, *value, id=f"{name}={value[0][:30]}") for name,
            (_, *rest) in OPTIONS.items() for value in rest]


def mistakes():
    """Blanks at the ends mean nothing in a file: those values are no mistakes there."""
    return [pytest.param(name, value, id=f"{name}={value[:30]!a}") for name,
            all in MISTAKES.items() for value in all]


# --- what there is --------------------------------------------------------------------------------


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


@pytest.mark.parametrize("option", ["user", "tls-user"])
def test_user_has_to_exist(smtpd, option):
    status, out, complaints = check(smtpd, f"--{option}=_nobody-of-this-name", "--listen=0",
                                    "--tls-certificate=self-signed")
    assert (status, out) == (78, {})
    assert f"smtpd: {option}=_nobody-of-this-name: no such user; name one that exists" in complaints


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


def test_limit_that_is_none_can_be_said(smtpd):
    for option, none in (("exit-idle-time", "never"), ("count", "no limit")):
        assert check(smtpd, "--listen=25", f"--{option}={none}")[0] == 0


@pytest.mark.parametrize("domain", ["ok.example.", ".ok.example.", "a..b", ".", ".."])
def test_domain_that_no_address_has(smtpd, domain):
    status, _, (complaint,) = check(smtpd, "--strategy=proxy", "--upstream=127.0.0.1",
                                    f"--relay-to={domain}")
    assert status == 64 and f"relay-to={domain}: use DOMAIN" in complaint


def test_delay_of_nothing(smtpd):
    status, _, (complaint,) = check(smtpd, "--delay=rcpt * 0")
    assert status == 64 and complaint.endswith("SECONDS between 1 and 31536000")


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


# --- the default strategy -------------------------------------------------------------------------

BY_MANAGER = ["sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$@"', "sh"]  # as the service manager does it


def test_default_strategy_of_a_service(smtpd):
    """journal, whatever standard error is: it is /dev/null if journald could not be reached when
    the service was started."""
    if not os.path.exists(os.path.join(os.path.dirname(smtpd), "smtpd-journal")):
        missing("smtpd-journal was not built: libsystemd is missing")
    argv = [smtpd, "--config=/dev/null", "--check"]
    for prefix, env, strategy in ((BY_MANAGER, {}, b"journal"),
                                  ([], {"SYSTEMD_EXEC_PID": "1"}, b"print"),
                                  ([], {"SYSTEMD_EXEC_PID": ""}, b"print")):
        status, out, err = run([*prefix, *argv], env=environment(**env))
        assert (status, err) == (0, b"") and b"strategy=%s\n" % strategy in out


@pytest.fixture
def without_helper(smtpd, tmp_path):
    """smtpd, as it is where smtpd-journal was not built."""
    if any(os.path.exists(f"/usr/{folder}/smtpd/smtpd-journal") for folder in ("libexec", "lib")):
        pytest.skip("smtpd-journal is installed")
    return shutil.copy(smtpd, tmp_path / "smtpd")


@pytest.mark.parametrize("prefix, options", [([], ["--strategy=journal"]), (BY_MANAGER, [])],
                         ids=["chosen", "default"])
def test_strategy_that_is_not_installed(without_helper, tmp_path, prefix, options):
    """--check says so, and so does the start."""
    argv = [*prefix, without_helper, "--config=/dev/null", *options]
    status, out, err = run([*argv, "--check"])
    assert (status, out) == (78, b"")
    assert err.startswith(b"smtpd: strategy=journal: smtpd-journal is not installed")
    with Session(argv, tmp_path) as session:
        assert replies(session.read_to_end()) == [NOT_CONFIGURED]
        assert session.status() == 78 and session.err() == err
    done = subprocess.run([*argv, "--listen=127.0.0.1:0"], capture_output=True, env=environment(),
                          timeout=PATIENCE)
    assert done.returncode == 78 and err in done.stderr and b"listening" not in done.stderr


@pytest.mark.parametrize("how", ["by default", "by command line", "by file"])
def test_messages_are_not_printed_to_nowhere(smtpd, tmp_path, conf, how):
    """Unless somebody has chosen that."""
    argv = [smtpd, f"--config={conf('strategy=print' if how == 'by file' else '')}"]
    argv += ["--strategy=print"] if how == "by command line" else []
    with Session(argv, tmp_path, err=subprocess.DEVNULL) as session:
        if how == "by default":
            assert replies(session.read_to_end()) == [NOT_CONFIGURED] and session.status() == 78
        else:
            session.begin("EHLO")
            assert session.send_message(b"x\r\n").startswith(b"250 ") and session.end() == 0


@pytest.mark.parametrize("nowhere, options, status", [
    ("stdout", [], 78), ("stdout", ["--strategy=print"], 0), ("stderr", [], 0)])
def test_nobody_accepts_for_nowhere(smtpd, nowhere, options, status):
    """Messages go to standard output there. Whoever has chosen to lose them is served, and whoever
    wants no log."""
    argv = [smtpd, "--config=/dev/null", "--listen=127.0.0.1:0", "--exit-idle-time=1", *options]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    streams[nowhere] = subprocess.DEVNULL
    done = subprocess.run(argv, **streams, env=environment(), timeout=PATIENCE)
    assert done.returncode == status
    assert (b"cannot print: standard output is /dev/null" in (done.stderr or b"")) == (status == 78)


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, written, effective", values())
def test_good_value(smtpd, conf, name, written, effective):
    status, got, complaints = check(smtpd, f"--{name}={written}")
    assert (status, got[name], complaints) == (0, effective, [])
    status, got, complaints = check(smtpd, config=conf(f"{name}={written}\n"))
    assert (status, got[name], complaints) == (0, effective, [])


@pytest.mark.parametrize("name, value", mistakes())
def test_bad_value_on_the_command_line(release, name, value):
    status, got, complaints = check(release, f"--{name}={value}")
    assert (status, got, len(complaints)) == (64, {}, 1)
    assert complaints[0].startswith(
        f"smtpd: command line: {name}=") and ": use " in complaints[0] or "needs" in complaints[0]


@pytest.mark.parametrize("name, value",
                         [p for p in mistakes() if p.values[1] == p.values[1].strip()])
def test_bad_value_in_the_file(release, conf, name, value):
    path = conf(f"# a comment\n\n{name} = {value}\n")
    status, got, complaints = check(release, config=path)
    assert (status, got, len(complaints)) == (78, {}, 1)
    assert complaints[0].startswith(f"smtpd: {path}:3: {name}")


@pytest.mark.parametrize("port", ["", "0", *NO_PORTS])
@pytest.mark.parametrize("place",
                         ["upstream=192.0.2.1", "upstream=[::1]", "upstream=mail.example.org",
                          "mailman=127.0.0.1", "mailman=localhost"])
def test_port_that_is_none(release, place, port):
    """getaddrinfo(3) would take many of them."""
    status, _, complaints = check(release, "--strategy=mailman", f"--{place}:{port}")
    assert status == 64
    assert complaints == [
        f"smtpd: command line: {place}:{port}: use HOST[:PORT], [IPV6]:PORT or /SOCKET, with a "
        f"PORT from 1 to 65535"]


@pytest.mark.parametrize("port", ["1", "25", "65535", "00025", "smtp", "submission"])
def test_port(release, port):
    status, got, complaints = check(release, "--strategy=proxy", "--upstream-tls=required",
                                    f"--upstream=mail.example.org:{port},[::1]:{port}")
    assert (status, complaints, got["upstream"]) == (0, [], f"mail.example.org:{port},[::1]:{port}")


def test_bad_values_are_clean_with_sanitizers(smtpd, conf):
    """All of the mistakes at once, and every one is found."""
    everything = [(name, value) for name,
                  all in MISTAKES.items() for value in all if value == value.strip()]
    status, _, complaints = check(smtpd, *[f"--{name}={value}" for name, value in everything])
    assert (status, len(complaints)) == (64, len(everything))
    status, _, complaints = check(smtpd,
                                  config=conf("".join(f"{name}={value}\n" for name,
                                                      value in everything)))
    assert (status, len(complaints)) == (78, len(everything))


# --- who wins -------------------------------------------------------------------------------------


def test_sandbox_is_the_default_where_there_are_no_sanitizers(smtpd):
    assert check(smtpd)[1]["sandbox"] == ("no" if "sanitize" in smtpd else "yes")


@pytest.mark.parametrize("name", [name for name, all in OPTIONS.items() if len(all) > 2])
def test_command_line_beats_file(smtpd, conf, name):
    (in_file, shown_in_file), (in_line, shown_in_line) = OPTIONS[name][1:3]
    path = conf(f"{name}={in_file}\n")
    assert check(smtpd, config=path)[1][name] == shown_in_file
    assert check(smtpd, f"--{name}={in_line}", config=path)[1][name] == shown_in_line
    # in whatever order
    status, out, _ = run([smtpd, f"--{name}={in_line}", "--check", f"--config={path}"])
    assert status == 0 and f"\n{name}={shown_in_line}\n" in "\n" + out.decode()


def test_last_one_counts(smtpd, conf):
    assert check(smtpd, "--max-size=1", "--max-size=2",
                 config=conf("max-size=3\n"))[1]["max-size"] == "2"
    assert check(smtpd, config=conf("max-size=3\nmax-size=4\n"))[1]["max-size"] == "4"


def test_options_take_effect_in_a_session(smtpd, tmp_path, conf):
    path = conf(
        "hostname=file.example.org\nmax-size=5000\nprotocol=lmtp\nx-peer=no\nmax-errors=2\n")
    with Session([smtpd, f"--config={path}", "--protocol=smtp", "--strategy=print"],
                 tmp_path) as session:
        session.expect((None, b"220 file.example.org ESMTP"), (b"EHLO c", b"250-file.example.org"))
        assert session.send_message(b"x\r\n").startswith(b"250 ")
        assert session.messages() == [b"x\n"]
        assert session.ask(b"MAIL FROM:<> SIZE=5001").startswith(b"552 ")
        assert session.ask(b"BAD")[:3] + session.ask(b"BAD")[:3] == b"500421"


def with_default_file(release, content):
    """A prefix for commands: the system's file exists, for these processes alone."""
    name = re.search(r"default: (/\S+),\s+if it\s+exists", run([release, "--help"])[1].decode())[1]
    folder = os.path.dirname(name)
    top = os.path.dirname(folder)
    script = 'mount -t tmpfs none "$1" && mkdir "$2" && printf "%s\n" "$4" >"$3" && shift 4 && exec "$@"'
    return name, [*private_mounts(), "sh", "-c", script, "sh", top, folder, name, content]


def test_default_file(release):
    """It is read if it exists."""
    def see(content):
        name, prefix = with_default_file(release, content)
        return name, run([*prefix, release, "--check"],
                         env=environment(PATH="/usr/sbin:/usr/bin:/sbin:/bin"))
    assert b"\nmax-size=12345\n" in see("max-size=12345")[1][1]
    name, (status, out, err) = see("max-size=big")
    assert (status, out) == (78, b"")
    assert err.startswith(f"smtpd: {name}:1: max-size=big: ".encode())


@pytest.mark.parametrize("arguments, is_read", [
    (["--listen=127.0.0.1:1025"], False),
    (["--listen", "127.0.0.1:1025"], False),
    (["--listen=1025"], False),
    (["--listen=[::1]:1025,127.1.2.3:1025, localhost:1025", "--listen=smtp"], False),
    (["--listen=0.0.0.0:1025"], True),
    (["--listen=[::]:1025"], True),
    (["--listen=127.0.0.1:1025,192.0.2.1:1025"], True),
    (["--listen=127.0.0.1:1025", "--listen=mail.example.org:1025"], True),
    (["--listen=128.0.0.1:1025"], True),
    (["--listen=/run/smtpd.socket"], True),
    ([], True),
])
def test_no_default_file_for_who_tries_something_out(release, arguments, is_read):
    """With --listen on loopback only: what the system's service does is not asked for. A file that
    is named is read."""
    name, prefix = with_default_file(release, "max-size=12345")
    env = environment(PATH="/usr/sbin:/usr/bin:/sbin:/bin")
    assert (b"\nmax-size=12345\n" in run([*prefix, release, "--check", *arguments],
                                         env=env)[1]) == is_read
    assert b"\nmax-size=12345\n" in run([*prefix, release, "--check", f"--config={name}",
                                         *arguments], env=env)[1]


@pytest.mark.parametrize("options", [
    [], ["--protocol=lmtp", "--x-peer=no", "--hostname=[IPv6:2001:db8::1]"],
    ["--max-size=0", "--max-commands=1000000"],
    ["--peer=[2001:db8::1]:25"], ["--peer=192.0.2.1"],
    ["--peer=local", "--timeout=31536000", "--max-size=4G"],
])
def test_check_is_its_own_input(smtpd, conf, options):
    status, out, err = run([smtpd, "--config=/dev/null", "--check", *options])
    assert (status, err) == (0, b"") and out.startswith(b"# configuration file: /dev/null\n")
    path = conf(out)
    assert run([smtpd, f"--config={path}", "--check"]) == (0,
                                                           out.replace(b"/dev/null", path.encode(),
                                                                       1), b"")


def comments(out):
    return [line for line in out.decode().splitlines() if line.startswith("#")]


def test_check_says_ok(smtpd, conf):
    """And which file it has read, and how many warnings there are."""
    name = conf("strategy=proxy\nupstream=[::1]\n")
    for options, last in (([], "# ok"), (["--relay-from=::/0"], "# ok, with 1 warning"),
                          (["--relay-from=::/0", "--relay-to=.org"], "# ok, with 2 warnings")):
        status, out, _ = run([smtpd, f"--config={name}", "--check", *options])
        assert status == 0 and comments(out)[0] == f"# configuration file: {name}"
        assert comments(out)[-1] == last
    assert comments(run([smtpd, "--listen=1025", "--check"])[1])[0] == "# configuration file: none"


def test_check_shows_defaults(smtpd):
    """Those that are no value of their option, too; and what has none."""
    said = comments(run([smtpd, "--config=/dev/null", "--check", "--strategy=mailman"])[1])
    assert {"#relay-from=127.0.0.0/8,::1,local (default)", "#mailman=127.0.0.1:8024 (default)",
            "#user=smtpd if there is such a user, else nobody (default)",
            "#upstream-timeout=300, 540 after the final dot (default)",
            "#exit-idle-time=never (default)",
            "#upstream=HOST[:PORT]|/SOCKET (not set)"} <= set(said)


# --- how it is written ----------------------------------------------------------------------------


@pytest.mark.parametrize("content", [
    b"max-size=7\ntimeout=8\n",
    b"max-size=7\r\ntimeout=8\r\n",
    b"max-size=7\ntimeout=8",
    b"\n\n  \t \n# comment=1\n  # indented\n#\nmax-size=7\n\r\ntimeout=8\n\n",
    b"  max-size = 7 \n\ttimeout\t=\t8\t\n",
    b"max-size=1\nmax-size=7\ntimeout=8\n",
], ids=["plain", "CRLF", "no-newline", "blanks-and-comments", "indented", "twice"])
def test_forms_of_the_file(smtpd, conf, content):
    status, got, complaints = check(smtpd, config=conf(content))
    assert (status, got.get("max-size"), got.get("timeout"), complaints) == (0, "7", "8", [])


@pytest.mark.parametrize("octets",
                         [n + d for n in (4096, 8192, 65536) for d in range(-2, 3)]
                         + [16 * 1024 * 1024 - 1])
@pytest.mark.parametrize("end", [b"", b"\n"], ids=["no-newline", "newline"])
def test_sizes_of_the_file(smtpd, conf, octets, end):
    """Whatever is read at once, every line is there, and has its number."""
    content = b"max-size=7\n" + b"#%s\n" % (b"-" * 98) * (octets // 100 - 2)
    line = content.count(b"\n") + 1
    content += b"timeout=" + b"8".zfill(octets - len(content) - len(b"timeout=") - len(end)) + end
    assert len(content) == octets
    status, got, complaints = check(smtpd, config=conf(content))
    assert (status, got.get("max-size"), got.get("timeout"), complaints) == (0, "7", "8", [])
    status, got, complaints = check(smtpd, config=conf(content.replace(b"timeout", b"timeoat")))
    assert (status, len(complaints)) == (78, 1)
    assert f":{line}: timeoat: unknown option" in complaints[0]


def test_file_that_comes_slowly(smtpd):
    """From a pipe, an octet at a time."""
    with subprocess.Popen([smtpd, "--config=/dev/stdin", "--check"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        for octet in b"max-size=7\ntimeout=8\n":
            process.stdin.write(bytes([octet]))
            process.stdin.flush()
            time.sleep(0.005)
        out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and {b"max-size=7", b"timeout=8"} <= set(out.splitlines())


def test_empty_file(smtpd, conf):
    assert check(smtpd, config=conf(""))[:2] == check(smtpd)[:2]


@pytest.mark.parametrize("line, complaint", [
    (b"nonsense=1", "nonsense: unknown option"),
    (b"max_size=1", "max_size: unknown option"),
    (b"Max-Size=1", "Max-Size: unknown option"),
    (b"--max-size=1", "--max-size: unknown option"),
    (b"=1", ": unknown option"),
    (b"=", ": unknown option"),
    (b"max-size", "max-size needs a value: write max-size=BYTES"),
    (b"max-size 5", "max-size 5: unknown option"),
    (b"max-size=5 # five", "max-size=5 # five: use a line of its own for a comment"),
    (b"x-peer=no\t#", "x-peer=no\\x09#: use a line of its own for a comment"),
    (b"mailman-wrapper=/bin/true # ours",
     "mailman-wrapper=/bin/true # ours: use a line of its own for a comment"),
    (b"user=nobody #", "user=nobody #: use a line of its own for a comment"),
    (b"command=true # comment",
     "command=true # comment: use a line of its own for a comment, or quotes around a word"),
    (b"command=true \"a b\" #c",
     r"command=true \x22a b\x22 #c: use a line of its own for a comment, or quotes"),
    (b"user=\"nobody\"", r"user=\x22nobody\x22: use the value without quotes"),
    (b"hostname='mx.example.org'", "hostname='mx.example.org': use the value without quotes"),
    (b"relay-to=\"example.org\"", r"relay-to=\x22example.org\x22: use the value without quotes"),
    (b"upstream=a.example,\"b.example\"", r"upstream=a.example,\x22b.example\x22: use HOST[:PORT]"),
    (b"max-size=\"", r"max-size=\x22: use the value without quotes"),
    (b"max-size=10MB",
     "max-size=10MB: use a number of octets, or of K, M or G, such as 32M; 0 means no limit"),
    (b"max-size=99999999999999999999",
     "max-size=99999999999999999999: use a number of octets, or of K, M or G, such as 32M"),
    (b"config=/dev/null", "config: allowed on the command line only"),
    (b"config", "config: allowed on the command line only"),
    (b"check", "check: allowed on the command line only"),
    (b"help=1", "help: allowed on the command line only"),
    (b"version", "version: allowed on the command line only"),
    (b"max-size=1\0", "has a NUL octet"),
    (b"\0", "has a NUL octet"),
    (b"# a comment \0", "has a NUL octet"),
    (b"hostname=\xff\xfe\x1b[31m", r"hostname=\xff\xfe\x1b[31m: use "),
    (b"x" * 100_000, "x" * 200 + ": unknown option"),
    (b"hostname=" + b"x" * 100_000, "hostname=" + "x" * 200 + ": use "),
], ids=lambda v: repr(v[:20]) if isinstance(v, bytes) else "")
def test_mistake_in_the_file(smtpd, conf, line, complaint):
    path = conf(b"# first\nmax-errors=5\n" + line + b"\ntimeout=8\n")
    status, got, complaints = check(smtpd, config=path)
    assert (status, got, len(complaints)) == (78, {}, 1), complaints
    assert complaints[0].startswith(f"smtpd: {path}:3: {complaint}"), complaints
    assert complaints[0].isascii() and complaints[0].isprintable()


def test_number_sign_that_is_no_comment(smtpd, conf):
    """In the middle of a word, and in the quotes of a command; it is written so that it can be read
    again."""
    for line, shown in [("command=x a#b", "x a#b"), ("command=x '#b' \"c #d\"", 'x "#b" "c #d"'),
                        ("command='#x'", '"#x"'),
                        ("command=x '#\"'", """x "#"'"'"""), ("command=#x", '"#x"')]:
        status, got, complaints = check(smtpd, config=conf(f"strategy=exec\n{line}\n"))
        assert (status, got["command"]) == (0, shown), complaints
        assert check(smtpd, config=conf(f"strategy=exec\ncommand={got['command']}\n"))[:2] == (0,
                                                                                               got)
    assert check(smtpd,
                 config=conf("strategy=mailman\nmailman=/run/a#b\n"))[1]["mailman"] == "/run/a#b"


@pytest.mark.parametrize("argument, complaint", [
    ("--nonsense", "--nonsense: unknown option"),
    ("--nonsense=1", "--nonsense: unknown option"),
    ("--max-siz=1", "--max-siz: unknown option"),
    ("--max-sizes=1", "--max-sizes: unknown option"),
    ("-x", "-x: options are written --name=value or --name value"),
    ("-hV", "-hV: options are written --name=value"),
    ("-b", "-b: options are written --name=value"),
    ("--", "--: options are written --name=value"),
    ("--=1", "--: unknown option"),
    ("max-size=1", "max-size=1: options are written --name=value"),
    ("", ": options are written --name=value"),
    ("--max-size", "--max-size needs a value: write --max-size=BYTES"),
    ("--config", "--config needs a value: write --config=FILE"),
    ("--config=", "config=: use a file name"),
    ("--check=yes", "check=yes: use network, or no value"),
    ("--version=", "--version takes no value"),
    ("--\x1b[31m", "--\\x1b[31m: unknown option"),
    ("--" + "x" * 100_000, "--" + "x" * 200),
])
def test_mistake_on_the_command_line(smtpd, argument, complaint):
    status, got, complaints = check(smtpd, argument)
    assert (status, got, len(complaints)) == (64, {}, 1), complaints
    assert complaints[0].startswith(f"smtpd: command line: {complaint}"), complaints
    assert complaints[0].isascii() and complaints[0].isprintable()


def test_value_after_a_blank(smtpd, conf):
    """As most programs take it too."""
    path = conf("max-size=5\n")
    argv = [smtpd, "--config", path, "--max-errors", "7", "--strategy", "exec", "--timeout=8",
            "--command", "x --listen", "--check"]
    status, out, _ = run(argv)
    assert status == 0
    assert {b"max-size=5", b"max-errors=7", b"strategy=exec", b"timeout=8",
            b"command=x --listen"} <= set(out.splitlines())


@pytest.mark.parametrize("arguments, complaints", [
    (["--max-size", "--max-errors=1"], ["--max-size needs a value: write --max-size=BYTES"]),
    (["--max-size", "-5"], ["max-size=-5: use "]),
    (["--max-size", ""], ["max-size=: use "]),
    (["--max-size=1", "2"], ["2: options are written "]),
    (["--version", "2"], ["2: options are written "]),
    (["--check", "network"], ["network: options are written "]),
    (["--config", "/no/such/file"], ["/no/such/file: cannot be opened"]),
])
def test_mistake_after_a_blank(smtpd, arguments, complaints):
    status, out, err = run([smtpd, "--config=/dev/null", "--check", *arguments])
    places = [line.removeprefix("smtpd: ").removeprefix("command line: ")
              for line in err.decode().splitlines()]
    assert status in (64, 78) or "--version" in arguments
    assert len(places) == len(complaints) and all(map(str.startswith, places, complaints)), places


def test_short_options(smtpd):
    assert run([smtpd, "-h"]) == run([smtpd, "--help"])
    assert run([smtpd, "-V"]) == run([smtpd, "--version"])
    status, out, err = run(command(smtpd, "-bs"), b"QUIT\r\n")  # as sendmail(8) is called for this
    assert status == 0 and [code for code, _ in replies(out)] == [220, 221] and b"-bs" not in err


@pytest.mark.parametrize("stdin, stdout",
                         [("terminal", "terminal"), ("terminal", "pipe"), ("nothing", "terminal")])
def test_nobody_at_a_terminal_hears_421(smtpd, stdin, stdout):
    """Who sees the mistake is no client."""
    master, slave = pty.openpty()
    try:
        done = subprocess.run(
            [smtpd, "--nonsense"], stdin=slave if stdin == "terminal" else subprocess.DEVNULL,
            stdout=slave if stdout == "terminal" else subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(), timeout=PATIENCE)
        os.set_blocking(master, False)
        with pytest.raises(BlockingIOError):
            os.read(master, 100)
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == 64 and not done.stdout
    assert done.stderr.startswith(b"smtpd: command line: --nonsense: unknown option")


def test_all_mistakes_are_reported(smtpd, conf):
    path = conf("max-size=big\n\nnonsense\ntimeout=0\nx-peer=no\nprotocol=uucp\n")
    status, got, complaints = check(smtpd, "--nonsense=1", "--max-errors=0", config=path)
    assert (status, got) == (64, {})  # the command line is what whoever sees this has just typed
    places = [re.match(r"smtpd: (command line|.*?:\d+): ", line)[1] for line in complaints]
    assert sorted(places) == sorted(["command line"] * 2 + [f"{path}:{n}" for n in (1, 3, 4, 6)])
    assert check(smtpd, config=path)[0] == 78


def test_garbage_in_the_file(smtpd, conf):
    garbage = bytes((i * 7919 >> 3) % 256 for i in range(50_000))
    status, got, complaints = check(smtpd, config=conf(garbage))
    assert (status, got) == (78, {}) and complaints
    assert all(line.isascii() and line.isprintable() for line in complaints)


# --- a file that cannot be read -------------------------------------------------------------------


@pytest.mark.parametrize("path, complaint", [
    ("/no/such/file", "/no/such/file: cannot be opened: No such file or directory"),
    ("/", "/: cannot be read: Is a directory"),
    ("/dev/null/x", "/dev/null/x: cannot be opened: Not a directory"),
    ("/proc/self/mem", "/proc/self/mem: cannot be read: Input/output error"),
    ("/dev/zero", "/dev/zero: cannot be read: File too large"),
])
def test_unreadable_file(smtpd, path, complaint):
    assert check(smtpd, config=path) == (78, {}, [f"smtpd: {complaint}"])


def test_file_without_permission(release):
    """Also when a super-user runs the tests: as nobody, then."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program, path = shutil.copy(release, folder), os.path.join(folder, "smtpd.conf")
        with open(path, "w"):
            os.chmod(path, 0)
        nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
        status, out, err = run([program, "--check", f"--config={path}"], **nobody)
    assert (status, out, err) == (78, b"",
                                  f"smtpd: {path}: cannot be opened: Permission denied\n".encode())


# --- when a session is to be served ---------------------------------------------------------------


@pytest.mark.parametrize("options, content, status", [
    (["--nonsense"], "", 64),
    (["--max-size=big"], "", 64),
    ([], "nonsense\n", 78),
    ([], "max-size=big\n", 78),
    (["--nonsense"], "nonsense\n", 64),
])
def test_client_hears_of_mistakes(smtpd, tmp_path, conf, options, content, status):
    with Session([smtpd, f"--config={conf(content)}", *options], tmp_path) as session:
        session.say(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nx\r\n.\r\n")
        assert replies(session.read_to_end()) == [NOT_CONFIGURED]
        assert session.status() == status and session.messages() == []
        assert session.err().startswith(b"smtpd: ")


def test_missing_file_is_a_mistake_too(smtpd, tmp_path):
    with Session([smtpd, "--config=/no/such/file"], tmp_path) as session:
        assert replies(session.read_to_end()) == [NOT_CONFIGURED]
        assert session.status() == 78


def test_client_that_is_gone_does_not_change_the_status(smtpd, tmp_path):
    with Session([smtpd, "--nonsense"], tmp_path) as session:
        session.ours.close()
        assert session.status() == 64


def test_hostname_is_in_the_greeting(smtpd):
    assert run(command(smtpd, "--hostname=a.example"))[1].startswith(b"220 a.example ESMTP")
    assert run([smtpd, "--config=/dev/null",
                "--strategy=print"])[1].startswith(f"220 {SYSTEM_NAME} ESMTP".encode())


# --- what is allowed, and risky -------------------------------------------------------------------


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
