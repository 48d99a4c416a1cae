# SPDX-License-Identifier: MIT
"""Strategy exec: which program command= runs, and what is said of one that cannot be run."""

import os
import shlex
import subprocess

import pytest
from conftest import missing, need
from hooks import DELIVERED, SMALL, TRY_AGAIN, exec_command, read, script, shell
from hooks import seen  # noqa: F401 (a fixture)
from processes import programs
from session import Session, environment, run


def test_command_line_is_as_configured(smtpd, tmp_path, seen):
    """Blanks, quotes and what means something to a shell."""
    folder = tmp_path / """a "b' c\t$(x) d"""
    folder.mkdir()
    program = script(folder, 'printf "%s\\0" "$@" >"$SEEN/args"\ncat >/dev/null', "my hook")
    args = ["plain", "two words", "", "it's", 'say "hi"', "$HOME", "`id`", "*", "a;b|c&d>e", "-x",
            "--y=z w", "#no", "~"]
    words = " ".join(map(shlex.quote, [str(program), *args]))
    with Session(exec_command(smtpd, words), tmp_path, env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == DELIVERED and session.end() == 0
    assert read(seen / "args").decode().split("\0")[:-1] == args
    (seen / "args").unlink()
    (tmp_path / "smtpd.conf").write_text(f"strategy = exec\ncommand = {words}\nhostname = "
                                         f"mx.example.com\nuser = {os.geteuid()}\n")
    with Session([smtpd, f"--config={tmp_path}/smtpd.conf"], tmp_path,
                 env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == DELIVERED and session.end() == 0
    assert read(seen / "args").decode().split("\0")[:-1] == args


@pytest.mark.parametrize("name", ["./hook", "sub/hook", "sub/../hook"])
def test_relative_path(smtpd, tmp_path, seen, name):
    """Relative to where smtpd is, not to where the hook is."""
    (tmp_path / "sub").mkdir()
    script(tmp_path / "sub", 'cat >"$SEEN/x"')
    script(tmp_path, 'cat >"$SEEN/x"')
    with Session(exec_command(smtpd, name), tmp_path, env=environment(SEEN=str(seen)),
                 cwd=tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == DELIVERED and session.end() == 0
    assert read(seen / "x") == SMALL.replace(b"\r\n", b"\n")


def test_relative_path_is_not_relative_to_root(smtpd, tmp_path):
    """There is no bin/true here, but there is one in the hook's working directory."""
    for name in ("bin/true", "./bin/true"):
        with Session(exec_command(smtpd, name), tmp_path, cwd=tmp_path) as session:
            session.begin("EHLO")
            assert session.send_message(SMALL) == TRY_AGAIN and session.end() == 0


def test_name_of_a_link(smtpd, tmp_path, seen):
    """Programs that look at their own name (busybox, alternatives for sendmail) get the one that
    was configured."""
    script(tmp_path, 'echo "$0" >"$SEEN/name"', "many-in-one")
    (tmp_path / "link").symlink_to("many-in-one")
    with Session(exec_command(smtpd, tmp_path / "link"), tmp_path,
                 env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == DELIVERED and session.end() == 0
    assert read(seen / "name").decode() == f"{tmp_path}/link\n"


def not_executable(folder):
    path = script(folder, "exit 0")
    path.chmod(0o644)
    return path


def empty(folder):
    path = folder / "empty"
    path.touch()
    path.chmod(0o755)
    return path


def too_big(folder):
    """An ELF header without the rest."""
    path = folder / "cut"
    path.write_bytes(read("/bin/true")[:100])
    path.chmod(0o755)
    return path


def file_of(folder, content, mode=0o755):
    path = folder / "hook"
    path.write_bytes(content)
    path.chmod(mode)
    return path


NO_FILE, NO_ACCESS = "No such file or directory", "Permission denied"
NO_PROGRAM = "Exec format error"
HOME = "/home"
NO_MARK = "there is a byte order mark before its #!"


def interpreted_by(interpreter):
    return lambda folder: script(folder, "exit 0", interpreter=interpreter)


def of(content):
    return lambda folder: file_of(folder, content)


def a_fifo(folder):
    os.mkfifo(folder / "fifo", 0o755)
    return folder / "fifo"


def a_loop(folder):
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


# The hook; the system's word; what is wrong with it and what to do, with {hook} for its path.
CANNOT_RUN = {
    "not-executable": (not_executable, NO_ACCESS, "not executable: chmod +x {hook}"),
    "missing": (lambda folder: folder / "missing", NO_FILE, ""),
    "missing-directory": (lambda folder: folder / "no" / "hook", NO_FILE,
                          "there is no directory {hook.parent}"),
    "shell-s-work": (lambda _: "~/hook", NO_FILE, "no shell expands ~ and $"),
    "missing-in-path": (lambda _: "no-such-program", NO_FILE, "not found in PATH={path}"),
    "directory": (lambda folder: folder, NO_ACCESS, "a directory: name the program in it"),
    "fifo": (a_fifo, NO_ACCESS, "not a regular file"),
    "bad-interpreter": (interpreted_by("/no/such"), NO_FILE,
                        "the interpreter /no/such in its first line does not exist: install it"),
    "bare-interpreter": (interpreted_by("python3"), NO_FILE,
                         "python3 in its first line does not exist: write #!/usr/bin/env python3"),
    "interpreter-not-executable": (interpreted_by("/etc/passwd"), NO_ACCESS,
                                   "interpreter /etc/passwd in its first line is not executable"),
    "interpreter-is-directory": (interpreted_by("/etc"), NO_ACCESS,
                                 "the interpreter /etc in its first line is a directory"),
    "no-interpreter": (of(b"#! \nexit 0\n"), NO_PROGRAM, "no interpreter in its first line"),
    "windows": (of(b"#!/bin/sh\r\nexit 0\r\n"), NO_FILE,
                "its first line ends with CR LF, as on Windows: dos2unix {hook}"),
    "mark": (of(b"\xef\xbb\xbf#!/bin/sh\nexit 0\n"), NO_PROGRAM, NO_MARK),
    "utf-16": (of(b"\xff\xfe" + "#!/bin/sh\n".encode("utf-16-le")), NO_PROGRAM, NO_MARK),
    "no-first-line": (of(b"import sys\nsys.exit(0)\n"), NO_PROGRAM,
                      "its first line does not begin with #!: write #!/bin/sh"),
    "empty-line-first": (of(b"\n#!/bin/sh\n"), NO_PROGRAM, "its first line does not begin with #!"),
    "empty": (empty, NO_PROGRAM, "it is empty"),
    "loop": (a_loop, "Too many levels of symbolic links", ""),
    "below-a-file": (lambda folder: script(folder, "exit 0") / "x", "Not a directory", ""),
}


def check(smtpd, program):
    return [smtpd, "--check", "--config=/dev/null", "--strategy=exec", f"--command={program}"]


def lines_of(err, start):
    return [line for line in err.decode().split("\n") if line.startswith(start)]


@pytest.mark.parametrize("what", CANNOT_RUN)
def test_hook_that_cannot_run(smtpd, tmp_path, what):
    """451, and one line that says why, and what to do. --check warns of it in the same words."""
    make, word, why = CANNOT_RUN[what]
    program = make(tmp_path)
    name = tmp_path / program if program == "~/hook" else program
    why = why.format(hook=program, path=environment()["PATH"])
    with Session(exec_command(smtpd, program), tmp_path, cwd=tmp_path) as session:
        session.begin("EHLO")
        for n in (1, 2):
            assert session.send_message(SMALL) == TRY_AGAIN
            lines = lines_of(session.err(), "smtpd: cannot run ")
            assert len(lines) == n and lines[-1].startswith(f"smtpd: cannot run {name}: {word}")
            assert why in lines[-1], lines
            assert f"{name} not run" in lines_of(session.err(), "smtpd: message ")[-1]
        assert not lines_of(session.err(), "smtpd: program ")
        assert not programs(session.pid) and session.end() == 0
    status, _, err = run(check(smtpd, program), cwd=tmp_path)
    (line,) = lines_of(err, "smtpd: ")
    assert status == 0 and line.startswith(f"smtpd: warning: command: {program}: {word}")
    assert why in line and line.endswith("; until it can be run, every message gets 451")


def bare(argv, setup=""):
    """The command line without root's privilege to go everywhere, in a mount namespace of its own
    where `setup` was done."""
    is_root = os.getuid() == 0
    drop = [need("setpriv"), "--bounding-set=-dac_override,-dac_read_search"] if is_root else []
    if not setup:
        return [*drop, *argv]
    unshare = [need("unshare"), "-m" if is_root else "-rm"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        missing("no mount namespace can be had")
    return [*unshare, *shell(setup, [*drop, *argv])]


def refused_word(smtpd, tmp_path, program, setup=""):
    """What is logged of a hook that may not be executed; --check says the same."""
    with Session(bare(exec_command(smtpd, program), setup), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TRY_AGAIN and session.end() == 0
        (line,) = lines_of(session.err(), "smtpd: cannot run ")
    word = line.removeprefix("smtpd: cannot run ")
    status, _, err = run(bare(check(smtpd, program), setup))
    assert status == 0
    assert err.decode().startswith(f"smtpd: warning: command: {word}; until it can be run"), err
    return word


def test_hook_below_a_locked_directory(release, tmp_path):
    (tmp_path / "locked").mkdir()
    program = script(tmp_path / "locked", "exit 0")
    (tmp_path / "locked").chmod(0)
    try:
        found = refused_word(release, tmp_path, program)
    finally:
        (tmp_path / "locked").chmod(0o700)
    why = f"user {os.getuid()} may not search the directory {tmp_path}/locked: chmod a+x it"
    assert found.startswith(f"{program}: {NO_ACCESS} ({why}") and "ProtectHome" not in found


def test_hook_below_a_home_that_the_unit_hides(release, tmp_path):
    """As ProtectHome=yes does it."""
    setup = "mount -t tmpfs -o mode=000 none /home"
    found = refused_word(release, tmp_path, f"{HOME}/somebody/hook", setup)
    assert "may not search the directory /home" in found and "ProtectHome=" in found


def test_hook_that_a_unit_hides(release, tmp_path):
    """A service is told what its unit may have to do with it; others are told what is missing."""
    argv = exec_command(release, f"{HOME}/no/hook")
    with open(tmp_path / "journal", "wb") as err:
        status = os.fstat(err.fileno())
        env = environment(JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}")
        with Session(argv, tmp_path, err=err, env=env) as session:
            session.begin("EHLO")
            assert session.send_message(SMALL) == TRY_AGAIN and session.end() == 0
    why = f"{NO_FILE} (ProtectHome= and PrivateTmp= in a unit hide such files)"
    assert f"<3>cannot run {HOME}/no/hook: {why}\n".encode() in read(tmp_path / "journal")
    err = run(check(release, f"{HOME}/no/hook"))[2]
    assert f": {NO_FILE} (there is no directory {HOME}/no); until".encode() in err


def test_hook_of_another_user_s_own(release, tmp_path):
    if os.getuid() != 0:
        missing("only root can make a file of another user")
    program = script(tmp_path, "exit 0")
    program.chmod(0o700)
    os.chown(program, 65534, 65534)
    why = f"user 0 may not execute it: chmod a+x {program}"
    assert refused_word(release, tmp_path, program) == f"{program}: {NO_ACCESS} ({why})"


def test_hook_on_a_file_system_without_programs(release, tmp_path):
    (tmp_path / "disk").mkdir()
    setup = f"""mount -t tmpfs -o mode=755,noexec none {tmp_path}/disk
printf '#!/bin/sh\\n' >{tmp_path}/disk/hook
chmod 755 {tmp_path}/disk/hook"""
    program = f"{tmp_path}/disk/hook"
    found = refused_word(release, tmp_path, program, setup)
    assert found.startswith(f"{program}: {NO_ACCESS} (its file system is mounted noexec")


def test_hook_in_path_that_is_not_executable(release, tmp_path):
    """Found, and named; a directory of that name is passed over."""
    for name in ("first/a-hook", "second"):
        (tmp_path / name).mkdir(parents=True)
    path = script(tmp_path / "second", "exit 0", "a-hook")
    path.chmod(0o644)
    env = environment(PATH=f"{tmp_path}/first:{tmp_path}/second:/usr/bin:/bin")
    with Session(exec_command(release, "a-hook"), tmp_path, env=env) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TRY_AGAIN
        why = f"not executable: chmod +x {path}"
        assert f"cannot run a-hook: {NO_ACCESS} ({why})".encode() in session.err()
        path.chmod(0o755)
        assert session.send_message(SMALL) == DELIVERED and session.end() == 0


def test_hook_here_is_not_in_path(release, tmp_path):
    script(tmp_path, "exit 0")
    with Session(exec_command(release, "hook"), tmp_path, cwd=tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TRY_AGAIN
        assert b"; for the file here: ./hook)" in session.err() and session.end() == 0


def test_program_not_in_path_is_not_looked_for_in_root(release, tmp_path):
    """Where execve(2) would look for a name without a slash: hooks run in /."""
    with Session(exec_command(release, "etc"), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TRY_AGAIN
        assert f"cannot run etc: {NO_FILE} (not found in PATH=".encode() in session.err()
        assert session.end() == 0


ENV_HOOKS = {  # the first line; what is found
    "missing": (b"#!/usr/bin/env no-such\n", "no-such in its first line is not in PATH="),
    "windows": (b"#!/usr/bin/env sh\r\n", "its first line ends with CR LF, as on Windows"),
    "arguments": (b"#!/usr/bin/env sh -e\n", "sh -e in its first line is not in PATH="),
    "shell-of-windows": (b"#!/bin/sh -e\r\n", "its first line ends with CR LF, as on Windows"),
    "split": (b"#!/usr/bin/env -S no-such -e\n", "no-such in its first line is not in PATH="),
}


@pytest.mark.parametrize("first, why", ENV_HOOKS.values(), ids=ENV_HOOKS)
def test_hook_whose_interpreter_env_does_not_find(smtpd, tmp_path, first, why):
    """It was started, and only its exit status and standard error tell; but we can see why."""
    program = file_of(tmp_path, first + b"exit 0\n")
    with Session(exec_command(smtpd, program), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TRY_AGAIN
        (line,) = lines_of(session.err(), "smtpd: cannot run ")
        assert why in line and session.end() == 0
    assert why in run(check(smtpd, program))[2].decode()


@pytest.mark.parametrize("first", [b"#!/usr/bin/env sh", b"#! /bin/sh ", b"#!/usr/bin/env -S sh -e",
                                   b"#!/bin/sh -e", b"#!/bin/sh"])
def test_hook_with_nothing_wrong_with_it(smtpd, tmp_path, first):
    """Nothing is found, although it fails."""
    program = file_of(tmp_path, first + b"\nexit 3\n")
    with Session(exec_command(smtpd, program), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TRY_AGAIN and session.end() == 0
        assert b"cannot run" not in session.err()
    assert run(check(smtpd, program))[2] == b""


@pytest.mark.parametrize("make", [empty, too_big], ids=["empty", "cut-off"])
def test_hook_that_is_no_program(smtpd, tmp_path, make):
    """As a full disk leaves it. A shell would find nothing wrong with an empty one."""
    with Session(exec_command(smtpd, make(tmp_path)), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == TRY_AGAIN and session.end() == 0
