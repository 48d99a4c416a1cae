# SPDX-License-Identifier: MIT
"""The configuration of an acceptor: mistakes at its start, and what happens when it is read again
(SIGHUP)."""

import contextlib
import os
import signal
import subprocess
import time

import pytest
from accepting import TOO_MANY, config, start_with_file, without_options
from acceptor import Acceptor, folder, start_that_fails
from conftest import missing, need, need_root, private_mounts
from processes import descriptors, status_of, zombies
from session import PATIENCE, PYTHON, wait_until

_ = config, folder  # fixtures


@pytest.mark.parametrize("options, file, status, said", [
    (["--strategy=exec"], "", 64, b"strategy=exec needs command="),
    (["--strategy=nonsense"], "", 64, b"command line: strategy=nonsense: "),
    ([], "timeout=1\nmax-connections=none\n", 78, b"{file}:2: max-connections=none: "),
    ([], "listen=nowhere\n", 78, b"{file}:1: listen=nowhere: "),
    ([], None, 78, b"{file}: cannot be opened: "),
], ids=["option", "value", "file", "file-listen", "no-file"])
def test_mistakes_end_it_at_the_start(smtpd, folder, options, file, status, said):
    path = folder / "smtpd.conf"
    if file is not None:
        path.write_text(file)
    given, heard = start_that_fails(smtpd, folder, f"--config={path}", *options)
    assert given == status and said.replace(b"{file}", str(path).encode()) in heard


def greeting(acceptor):
    with acceptor.client() as client:
        name = client.reply().split()[1].decode()
        client.quit()
    return name


def test_new_sessions_have_the_new_configuration(smtpd, folder, config):
    with start_with_file(smtpd, folder, config) as acceptor, acceptor.client("greeting") as old:
        config.write_text("hostname=two.example\nmax-size=1000\nstrategy=print\n")
        assert greeting(acceptor) == "one.example", "nobody has said to read it again"
        acceptor.reload()
        assert greeting(acceptor) == "two.example"
        assert b"SIZE 33554432" in old.ask(b"EHLO x")
        old.quit()


@pytest.mark.parametrize("text, said", [
    ("hostname=two.example\nnonsense=1\n", b"{file}:2: nonsense: unknown option"),
    ("hostname=two.example\nstrategy=exec\n", b"strategy=exec needs command="),
    (None, b"{file}: cannot be opened: No such file"),
], ids=["unknown", "incomplete", "gone"])
def test_configuration_with_mistakes_is_not_taken(smtpd, folder, config, text, said):
    with start_with_file(smtpd, folder, config) as acceptor:
        if text is None:
            config.unlink()
        else:
            config.write_text(text)
        assert greeting(acceptor) == "one.example"
        acceptor.reload(b"not reloaded")
        assert said.replace(b"{file}", str(config).encode()) in acceptor.err()
        assert greeting(acceptor) == "one.example"
        config.write_text("hostname=three.example\n")
        config.chmod(0o644)
        acceptor.reload()
        assert greeting(acceptor) == "three.example"


def test_command_line_still_beats_the_file(smtpd, folder, config):
    with start_with_file(smtpd, folder, config, "--hostname=line.example",
                         "--max-connections=2") as acceptor:
        config.write_text("hostname=two.example\nmax-connections=1\nmax-size=5000\n")
        acceptor.reload()
        with acceptor.client() as a, acceptor.client("EHLO"):
            assert a.reply().split()[1] == b"line.example"
            assert b"SIZE 5000" in a.ask(b"EHLO x")
            with acceptor.client() as c:
                assert c.refusal() == TOO_MANY


def test_file_that_the_user_cannot_read_is_not_taken(smtpd, folder, config):
    need_root()
    config.chmod(0o600)
    with start_with_file(smtpd, folder, config) as acceptor:
        acceptor.reload(b"not reloaded")
        assert b"%s: cannot be opened: Permission denied: let the user that smtpd runs as read it" \
               b"\n" % str(config).encode() in acceptor.err()
        assert greeting(acceptor) == "one.example"


ONCE = b"a pipe or a descriptor can be read only once: name a file"


def test_configuration_that_became_a_fifo(smtpd, folder, config):
    """Nobody writes to it, and whoever opened it would wait for that."""
    with start_with_file(smtpd, folder, config) as acceptor:
        config.unlink()
        os.mkfifo(config)
        config.chmod(0o644)
        acceptor.reload(b"not reloaded")
        assert b"%s: cannot be opened: %s" % (bytes(config), ONCE) in acceptor.err()
        assert greeting(acceptor) == "one.example"


@pytest.mark.parametrize("name", ["/dev/stdin", "/dev/fd/9"])
def test_configuration_from_a_pipe(smtpd, folder, name):
    """As `<(...)` of a shell makes it: good for the beginning. Read again it would be empty, or
    another descriptor."""
    reader, writer = os.pipe()
    with open(reader, "rb") as source:
        os.write(writer, b"hostname=one.example\nstrategy=print\n")
        os.close(writer)
        with Acceptor(smtpd, folder, f"--config={name}", stdin=source,
                      prefix=without_options("9<&0")) as acceptor:
            assert greeting(acceptor) == "one.example"
            acceptor.reload(b"not reloaded")
            # it is root's
            why = ONCE if name == "/dev/fd/9" or os.geteuid() != 0 else b"Permission denied"
            assert b"%s: cannot be opened: %s" % (name.encode(), why) in acceptor.err()
            assert greeting(acceptor) == "one.example"


# A file system that says nothing, not even to the kernel's first question, until its standard input
# ends.
SILENT = """
import ctypes, os, sys
fuse = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
if ctypes.CDLL(None, use_errno=True).mount(b"silent", sys.argv[1].encode(), b"fuse", 0, options):
    sys.exit(os.strerror(ctypes.get_errno()))
print("mounted", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def silent_file_system(acceptor, folder):
    """Over a folder, as the acceptor sees it."""
    if not os.access("/dev/fuse", os.W_OK):
        missing("/dev/fuse is not there")
    argv = [need("nsenter"), f"--mount=/proc/{acceptor.pid}/ns/mnt", PYTHON, "-c", SILENT,
            str(folder)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        if process.stdout.readline() != b"mounted\n":
            missing(f"there can be no such file system: {process.stderr.read()}")
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(PATIENCE)


def test_configuration_on_a_file_system_that_hangs(smtpd, folder):
    """Sessions go on meanwhile, and after ten seconds new ones too."""
    need_root()
    there = folder / "etc"
    there.mkdir(mode=0o755)
    config = there / "smtpd.conf"
    config.write_text("hostname=one.example\n")
    config.chmod(0o644)
    with Acceptor(smtpd, folder, f"--config={config}",
                  prefix=[*private_mounts(), *without_options()]) as acceptor:
        with acceptor.client("DATA") as client, silent_file_system(acceptor, there):
            then = time.monotonic()
            acceptor.signal(signal.SIGHUP)
            client.say(b"\r\n")
            client.expect((b".", b"250 2.0.0 printed"))
            client.quit()
            assert time.monotonic() - then < 9
            wait_until(lambda: acceptor.log("not reloaded"), "an end of the wait")
            assert 9 < time.monotonic() - then < 15
            assert b"not read within 10 seconds: does its file system hang?" in acceptor.err()
            assert greeting(acceptor) == "one.example"
        wait_until(lambda: zombies(acceptor.pid) == [], "its process to be reaped")


def test_limits_change_while_there_are_more_sessions(smtpd, folder, config):
    with start_with_file(smtpd, folder, config) as acceptor, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(acceptor.client("EHLO")) for _ in range(5)]
        for n, limit in enumerate((2, 30, 1)):
            config.write_text(f"max-connections={limit}\nmax-connections-per-source={limit}\n")
            acceptor.reload()
            with acceptor.client() as client:
                assert client.reply()[:3] == (b"220" if limit == 30 else b"421"), n
            wait_until(lambda: len(acceptor.sessions()) == 5, "the end of the sixth")
        for client in clients:
            client.quit()
        acceptor.wait_for_sessions(0)
        acceptor.serve_one()


def test_reloading_leaks_nothing(smtpd, folder, config):
    """Memory is counted for the program as installed; the sanitizer's leak check is the other half,
    at the end."""
    text = "relay-to=" + ",".join(f"d{i}.example"
                                  for i in range(500)) + "\nstrategy=proxy\nupstream=127.0.0.1:1\n"
    with start_with_file(smtpd, folder, config) as acceptor:
        def reload_often(n):
            for i in range(n):
                config.write_text(text + ("nonsense\n" if i % 3 == 0 else ""))
                acceptor.reload(b"not reloaded" if i % 3 == 0 else b"reloaded")
            return len(descriptors(acceptor.pid)), status_of(acceptor.pid, "VmRSS")

        fds, before = reload_often(20)
        fds_later, after = reload_often(180)
        assert fds == fds_later
        if "release" in smtpd:
            assert after - before < 1536
