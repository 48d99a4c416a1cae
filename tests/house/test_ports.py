# SPDX-License-Identifier: MIT
"""Another compiler, another C library, another word size, byte order and processor: smtpd and its
unit tests build without a warning and pass, and sessions work on a pipe and on a connection, where
they are confined if that is possible. Programs of other processors run in an emulator, at night."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import NIGHT, ROOT, missing, need
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
    headers = folder / "headers"
    headers.mkdir()
    for path in ("/usr/include/linux", "/usr/include/asm-generic", multiarch() / "asm"):
        (headers / Path(path).name).symlink_to(path)
    return f"musl-gcc -idirafter {headers}"


def native(package, compiler, unconfined=None):
    """`unconfined` is what --version says of the sandbox, where there is none."""
    return package, lambda folder: ([], {"CC": compiler(folder)}, []), unconfined


def emulated(processor, package, endian, unconfined):
    cross = f"{processor}-linux-gnu"
    emulator = [f"qemu-{processor}", "-L", f"/usr/{cross}"]
    lines = ["[binaries]", f"c = '{cross}-gcc'", f"ar = '{cross}-ar'", f"strip = '{cross}-strip'",
             f"exe_wrapper = {emulator}", "[host_machine]", "system = 'linux'",
             f"cpu_family = '{processor}'", f"cpu = '{processor}'", f"endian = '{endian}'"]

    def prepare(folder):
        (folder / "cross").write_text("\n".join([*lines, ""]))
        return [f"--cross-file={folder / 'cross'}"], {}, emulator

    return f"qemu-user, gcc-{cross} or {package}", prepare, unconfined


ARCHITECTURE = "this architecture's system calls are not known here"
PORTS = {
    "clang": native("clang", lambda _: "clang"),
    # gcc-multilib, which would bring the kernel's headers, cannot be beside other compilers
    "i386": native("libc6-dev-i386", lambda _: f"gcc -m32 -idirafter {multiarch()}", ARCHITECTURE),
    "musl": native("musl-tools", with_kernel_headers,
                   "this C library's system calls are not known here: build with glibc")}
if NIGHT:
    PORTS |= {
        "aarch64": emulated("aarch64", "libc6-dev-arm64-cross", "little",
                            "the kernel, or a sandbox around us, has no seccomp filters"),
        "s390x": emulated("s390x", "libc6-dev-s390x-cross", "big", ARCHITECTURE)}


class Build(NamedTuple):
    directory: Path
    emulator: list  # what a command begins with
    configured: str  # what was said then
    unconfined: str | None

    def command(self, *options):
        return [*self.emulator, *command(str(self.directory / "smtpd"), *options)]


def output_of(*argv, **more):
    done = subprocess.run(argv, env=environment(**more), capture_output=True, text=True,
                          timeout=PATIENCE)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout


def need_compiler(cc, emulator, package, folder):
    source, program = folder / "nothing.c", folder / "nothing"
    source.write_text("#include <stdio.h>\nint main(void) {\n\treturn 0;\n}\n")
    try:
        subprocess.run([*cc.split(), str(source), "-o", str(program)], capture_output=True,
                       check=True)
        subprocess.run([*emulator, program], check=True)
    except (OSError, subprocess.CalledProcessError):
        missing(f"{cc} makes no programs that run here; {package} is not installed")


def unit_tests(directory):
    tests = json.loads(output_of(need("meson"), "introspect", "--tests", str(directory)))
    programs = [test["cmd"][-1] for test in tests if test["name"].startswith("unit-")]
    assert len(programs) >= 8
    return programs


@pytest.fixture(scope="module", params=PORTS)
def build(request, tmp_path_factory):
    """The program and its unit tests."""
    folder = tmp_path_factory.mktemp(request.param)
    package, prepare, unconfined = PORTS[request.param]
    options, env, emulator = prepare(folder)
    need_compiler(env.get("CC", f"{request.param}-linux-gnu-gcc"), emulator, package, folder)
    directory = folder / "build"
    configured = output_of(need("meson"), "setup", str(directory), str(ROOT), *OPTIONS, *options,
                           **env)
    targets = [os.path.relpath(program, directory) for program in unit_tests(directory)]
    said = output_of(need("ninja"), "-C", str(directory), "smtpd", *targets)
    assert "warning:" not in said
    return Build(directory, emulator, configured, unconfined)


def test_unit_tests_pass(build):
    """In an emulator those that try everything there is would take a minute."""
    step = "11" if build.emulator else "1"
    for program in unit_tests(build.directory):
        output_of(*build.emulator, program, UNIT_STEP=step)


def test_says_whether_it_can_confine(build):
    """When it is configured, and by --version; an emulator has no seccomp(2), which only the second
    can know."""
    _, out, _ = run([*build.emulator, str(build.directory / "smtpd"), "--version"])
    reason, = re.findall(r"^-sandbox: (.*)", out.decode(), re.M) or [None]
    assert reason == build.unconfined and ("-sandbox" if reason else "+sandbox") in out.decode()
    configured, = re.findall(r"^ +sandbox *: (\w+)", build.configured, re.M)
    is_known = reason is None or reason.startswith("the kernel")
    assert configured == ("YES" if is_known else "NO")


def test_session_on_a_pipe(build):
    status, out, err = run(build.command(), SESSION.read_bytes())
    assert status == 0 and b"\r\n250 2.0.0 printed\r\n" in out and len(printed(err)) == 1


def test_confined_session(build, tmp_path):
    """Long enough for a file, whose name is looked up by the C library's own calls."""
    with Session(build.command(), tmp_path) as session:
        session.begin("EHLO")
        verdict = session.send_message(b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 200000)
        assert verdict.startswith(b"250 ")
        assert session.end() == 0


def test_program_and_its_descriptors(build):
    """They are closed by a system call for which not every C library has a function."""
    hook = "sh -c 'ls /proc/self/fd | tr \"\\n\" + >&2; exit 0'"
    argv = build.command("--strategy=exec", f"--command={hook}")
    with open(os.devnull, "rb") as further:
        status, out, err = run(argv, SESSION.read_bytes(), pass_fds=[further.fileno()])
    assert status == 0 and b"\r\n250 2.0.0 " in out
    assert b'"0+1+2+3+"' in err or b"0+1+2+3+\n" in err or b"=0+1+2+3+" in err, err
