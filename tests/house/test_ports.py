# SPDX-License-Identifier: MIT
"""Another compiler, another word size, another C library: smtpd and its unit tests build without a
warning and pass, and sessions work on a pipe and on a connection, where they are confined."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, missing, need
from session import Session, command, environment, printed, run

SESSION = ROOT / "examples/session.txt"
PATIENCE = 300  # seconds, for all of a build

# -O1 takes half the time of -O2.
OPTIONS = ("--werror", "-Djournal=disabled", "-Dshow=disabled", "-Dtls=disabled",
           "-Doptimization=1", "-Ddebug=false")


def multiarch():
    """Where Debian keeps the headers of an architecture."""
    name = subprocess.check_output(["gcc", "-print-multiarch"], text=True).strip()
    return Path("/usr/include", name)


def with_kernel_headers(folder):
    """musl-gcc with the kernel's headers, but without those of the system's own C library."""
    for path in ("/usr/include/linux", "/usr/include/asm-generic", multiarch() / "asm"):
        (folder / Path(path).name).symlink_to(path)
    return f"musl-gcc -idirafter {folder}"


PORTS = {"clang": ("clang", lambda folder: "clang"),
         "i386": ("gcc-multilib", lambda folder: "gcc -m32"),
         "musl": ("musl-tools", with_kernel_headers)}


def output_of(*argv, **more):
    done = subprocess.run(argv, env=environment(**more), capture_output=True, text=True,
                          timeout=PATIENCE)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout


def need_compiler(cc, package, folder):
    source, program = folder / "nothing.c", folder / "nothing"
    source.write_text("#include <stdio.h>\nint main(void) {\n\treturn 0;\n}\n")
    try:
        subprocess.run([*cc.split(), str(source), "-o", str(program)], capture_output=True,
                       check=True)
        subprocess.run([program], check=True)
    except (OSError, subprocess.CalledProcessError):
        missing(f"{cc} makes no programs that run here; {package} is not installed")


def unit_tests(build):
    tests = json.loads(output_of(need("meson"), "introspect", "--tests", str(build)))
    programs = [test["cmd"][0] for test in tests if test["name"].startswith("unit-")]
    assert len(programs) >= 8
    return programs


@pytest.fixture(scope="module", params=PORTS)
def build(request, tmp_path_factory):
    """The directory of a build of the program and of its unit tests."""
    folder = tmp_path_factory.mktemp(request.param)
    package, compiler = PORTS[request.param]
    (folder / "headers").mkdir()
    cc = compiler(folder / "headers")
    need_compiler(cc, package, folder)
    directory = folder / "build"
    output_of(need("meson"), "setup", str(directory), str(ROOT), *OPTIONS, CC=cc)
    targets = [os.path.relpath(program, directory) for program in unit_tests(directory)]
    said = output_of(need("ninja"), "-C", str(directory), "smtpd", *targets)
    assert "warning:" not in said
    return directory


def test_unit_tests_pass(build):
    for program in unit_tests(build):
        output_of(program)


def test_session_on_a_pipe(build):
    status, out, err = run(command(str(build / "smtpd")), SESSION.read_bytes())
    assert status == 0 and b"\r\n250 2.0.0 printed\r\n" in out and len(printed(err)) == 1


def test_confined_session(build, tmp_path):
    """Long enough for a file, whose name is looked up by the C library's own calls."""
    with Session(command(str(build / "smtpd")), tmp_path) as session:
        session.begin("EHLO")
        verdict = session.send_message(b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 200000)
        assert verdict.startswith(b"250 ")
        assert session.end() == 0


def test_program_and_its_descriptors(build):
    """They are closed by a system call for which not every C library has a function."""
    hook = "sh -c 'ls /proc/self/fd | tr \"\\n\" + >&2; exit 0'"
    argv = command(str(build / "smtpd"), "--strategy=exec", f"--command={hook}")
    with open(os.devnull, "rb") as further:
        status, out, err = run(argv, SESSION.read_bytes(), pass_fds=[further.fileno()])
    assert status == 0 and b"\r\n250 2.0.0 " in out
    assert b'"0+1+2+3+"' in err or b"0+1+2+3+\n" in err or b"=0+1+2+3+" in err, err
