# SPDX-License-Identifier: MIT
"""Where the configuration comes from: the command line beats the file, and a file that cannot be
read, or has mistakes, ends it; what --check prints of it, and what clients hear."""

import os
import pty
import re
import shutil
import subprocess
import tempfile

import pytest
from conftest import private_mounts
from options import NOT_CONFIGURED, OPTIONS, SYSTEM_NAME, check, conf
from session import PATIENCE, Session, command, environment, replies, run

_ = conf  # a fixture


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


# --- a file that cannot be read -------------------------------------------------------------------


@pytest.mark.parametrize("path, complaint", [
    ("/no/such/file", "/no/such/file: cannot be opened: No such file or directory"),
    ("/", "/: cannot be read: Is a directory"),
    ("/dev/null/x", "/dev/null/x: cannot be opened: Not a directory"),
    ("/proc/self/mem", "/proc/self/mem: cannot be read: Input/output error"),
    ("/dev/zero", "/dev/zero: cannot be read: it must be smaller than 16 MiB"),
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
                                  f"smtpd: {path}: cannot be opened: Permission denied: let "
                                  f"the user that smtpd runs as read it\n".encode())


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


def test_hostname_is_in_the_greeting(smtpd):
    assert run(command(smtpd, "--hostname=a.example"))[1].startswith(b"220 a.example ESMTP")
    assert run([smtpd, "--config=/dev/null",
                "--strategy=print"])[1].startswith(f"220 {SYSTEM_NAME} ESMTP".encode())
