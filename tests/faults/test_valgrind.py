# SPDX-License-Identifier: MIT
"""Sessions under valgrind: the release build, as it is installed, reads nothing that was never
written, frees what it takes, and each process of it ends as it would otherwise. (The sanitizers,
which run over the whole suite, see another build; no values that were never set; and leaks only of
acceptors, units and fuzz targets, which is why those of sessions are looked for here.)"""

import re
import subprocess
import time

import pytest
from conftest import ROOT, need
from journald import Journald
from processes import is_running, running_children
from session import PYTHON, Session, command, environment, wait_until
from tls import Server, engine_of, issued
from upstream import Upstream, close
from upstream_tls import secure

FOUND = 9
OPTIONS = ("--quiet", f"--error-exitcode={FOUND}", "--leak-check=full",
           "--errors-for-leak-kinds=definite,indirect,possible")
PATIENCE = 120  # seconds: a session is 20 times as slow here
CONNECT, LEFT_ALONE = 30, 11  # seconds: for a connection to an upstream, and after it failed
ATTEMPTS = 5

SMALL = b"Subject: one\r\n\r\n..\r\nhello\r\n"
# more than the spool keeps in memory
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n..\r\n") * 20_000


@pytest.fixture
def checked(release):
    """The words before the options of smtpd."""
    return [need("valgrind"), *OPTIONS, release]


def open_session(argv, folder, **more):
    session = Session(argv, folder, **more)
    session.deadline = time.monotonic() + PATIENCE
    return session


def options(*more):
    """Without the sandbox: valgrind's own system calls are not those of the program."""
    return command("smtpd", "--sandbox=no", *more)[1:]


def ended(session):
    """The session is over: by itself, and without a finding, in a child before its execve(2) or in
    the helper neither."""
    session.read_to_end()
    status, err = session.status(), session.err()
    assert status == 0 and not re.search(rb"==\d+== ", err), err[-3000:].decode(errors="replace")


def begin(session):
    session.begin("EHLO")


def begin_with_patience(session):
    """What a broker gives a connection is too short for valgrind on a busy machine: the client asks
    again."""
    begin(session)
    session.deadline += ATTEMPTS * (CONNECT + LEFT_ALONE)
    for _ in range(ATTEMPTS):
        if not session.ask(b"MAIL FROM:<>").startswith((b"451 4.4.1 ", b"451 4.7.5 ")):
            break
        time.sleep(LEFT_ALONE)
    session.expect((b"RSET", b"250 "))


def deliver(argv, folder, content, verdict, begin=begin, **more):
    """One message, a second one that is given up, and QUIT."""
    with open_session(argv, folder, **more) as session:
        begin(session)
        assert session.send_message(content).startswith(verdict)
        session.expect((b"MAIL FROM:<>", b"250 "), (b"RSET", b"250 "), (b"NOOP", b"250 "),
                       (b"QUIT", b"221 "))
        ended(session)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_print_under_valgrind(checked, tmp_path, content):
    deliver([*checked, *options()], tmp_path, content, b"250 ")


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_proxy_under_valgrind(checked, tmp_path, content):
    with Upstream() as up:
        deliver([*checked, *options("--strategy=proxy", f"--upstream={up.endpoint}")], tmp_path,
                content, b"250 ")
        assert [m.text.count(b"\n") > 4 for m in up.messages] == [True]


def test_exec_under_valgrind(checked, tmp_path):
    program = f"--command={PYTHON} -c 'import sys; sys.stdin.read(); print(\"250 2.0.0 mine\")'"
    deliver([*checked, *options("--strategy=exec", program)], tmp_path, SMALL, b"250 2.0.0 mine")


def test_mailman_under_valgrind(checked, tmp_path):
    with Upstream(lmtp=True) as mailman, Upstream() as up:
        argv = [*checked,
                *options("--strategy=mailman", f"--mailman={mailman.endpoint}",
                         f"--upstream={up.endpoint}")]
        deliver(argv, tmp_path, SMALL, b"250 ")
        assert len(mailman.messages) == 1


def test_journal(checked, tmp_path):
    """The helper too."""
    with Journald(tmp_path) as journald:
        argv = [*checked[:-1], "--trace-children=yes", checked[-1], *options("--strategy=journal")]
        deliver(journald.inside(*argv), tmp_path, SMALL, b"250 ")
        assert len(journald.entries("SMTPD_MAIL_FROM=a@example.org")) == 1


def without_filters(folder):
    """An environment: the engine has no --sandbox=no, so it finds a kernel without filters, and
    says so."""
    preload = folder / "preload.so"
    subprocess.run([need("cc"), "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", preload,
                    ROOT / "tests/sandbox.d/preload.c"], check=True)
    return environment(LD_PRELOAD=str(preload), NO_FILTER="1")


def test_engine_under_valgrind(release, tmp_path):
    """With the process of a connection."""
    argv = [need("valgrind"), *OPTIONS, "--trace-children=yes", engine_of(release),
            *issued(tmp_path).options]
    with Server(argv, env=without_filters(tmp_path), patience=PATIENCE) as server:
        server.wait_until_ready()
        with server.ask() as one:
            one.talk()
        wait_until(lambda: not running_children(server.process.pid),
                   "the end of the connection's process", PATIENCE)
        server.process.terminate()
        status, said = server.end()
        assert status == 0 and said.count("\n") == 1
        assert "are not confined: the kernel, or a sandbox around us, has no seccomp" in said


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_upstream_tls_under_valgrind(checked, tmp_path, content):
    """The session, its broker, the process that says STARTTLS, and an engine of their own: each has
    a file for what is found."""
    engine_of(checked[-1])
    pair = issued(tmp_path)
    with Upstream(secure(pair)) as up:
        argv = [*checked[:-1], "--trace-children=yes", f"--log-file={tmp_path}/found.%p",
                checked[-1], *options("--strategy=proxy", f"--upstream={up.endpoint}",
                                      "--upstream-tls=required",
                                      f"--upstream-tls-verify=sha256:{pair.fingerprint}")]
        deliver(argv, tmp_path, content, b"250 ", begin_with_patience,
                env=without_filters(tmp_path))
        assert len(up.messages) == 1
    found = list(tmp_path.glob("found.*"))
    wait_until(lambda: not any(is_running(int(path.suffix[1:])) for path in found),
               "the end of all", PATIENCE)
    assert {path.read_text() for path in found} == {""} and len(found) >= 4
    (said,) = tmp_path.glob("err-*")
    assert b"are not confined: the kernel, or a sandbox around us, has no seccomp" in said.read_bytes()


def test_upstream_that_hangs_up(checked, tmp_path):
    """After our final dot: no retry, and a temporary failure."""
    with Upstream({"dot": close}) as up:
        deliver([*checked, *options("--strategy=proxy", f"--upstream={up.endpoint}")], tmp_path,
                SMALL, b"4")


def test_program_that_fails(checked, tmp_path):
    deliver([*checked, *options("--strategy=exec", "--command=/bin/false")], tmp_path, SMALL,
            b"451 ")


@pytest.mark.parametrize("end", [b"a\nb\r\n", b"half", b""],
                         ids=["bare-lf", "vanishes-in-data", "vanishes-at-once"])
def test_client_at_fault(checked, tmp_path, end):
    with open_session([*checked, *options()], tmp_path) as session:
        session.begin("DATA")
        session.say(end)
        session.ours.shutdown(1)
        ended(session)
        assert session.messages() == []


def test_commands_at_fault(checked, tmp_path):
    with open_session([*checked, *options()], tmp_path) as session:
        session.begin("EHLO")
        session.expect((b"x" * 70_000, b"500 "), (b"MAIL FROM:<a@b", b"501 "),
                       (b"MAIL FROM:<a@b> SIZE=x", b"501 "),
                       (b"RCPT TO:<a@b>", b"503 "), (b"QUIT", b"221 "))
        ended(session)


def test_configuration_at_fault(checked, tmp_path):
    path = tmp_path / "smtpd.conf"
    path.write_text("strategy=proxy\nupstream=[::1\nmax-size=7X\nnothing=1\n")
    done = subprocess.run([*checked, f"--config={path}", "--check"], capture_output=True,
                          timeout=PATIENCE, env=environment())
    assert done.returncode == 78 and done.stderr.count(b"\n") >= 3, done.stderr


@pytest.mark.parametrize("defect", ["if (p[argc]) puts(p);", "p = NULL; return p != NULL;"],
                         ids=["never-set", "leak"])
def test_finds_what_is_planted_under_valgrind(tmp_path, defect):
    """A test of the test."""
    source, program = tmp_path / "planted.c", tmp_path / "planted"
    source.write_text("#include <stdio.h>\n#include <stdlib.h>\n\nint main(int argc, char **argv) "
                      "{\n\tchar *volatile p = malloc(100);\n"
                      f"\n\t(void) argc, (void) argv;\n\t{defect}\n\tfree(p);\n\treturn 0;\n}}\n")
    subprocess.run([need("cc"), "-g", "-o", program, source], check=True, timeout=PATIENCE)
    assert subprocess.run([need("valgrind"), *OPTIONS, program], capture_output=True,
                          timeout=PATIENCE).returncode == FOUND
