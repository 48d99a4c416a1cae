# SPDX-License-Identifier: MIT
"""Static analysis of src, with the flags of the release build: none of the analysers finds
anything. Each finds things that the others do not, and a test of the test shows one: what it is
here for.

    gcc -fanalyzer     memory that may not be there, descriptors of stdio, double free
    clang --analyze    values that were never set, null pointers, along paths through several functions
    clang-tidy         .clang-tidy says for what
    cppcheck           resources, redundant conditions, portability

Where a finding is wrong, the source says why beside it; kinds of findings that are wrong here are
left out below."""

import json
import os
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import BUILDS, NIGHT, ROOT, missing, need

SRC = ROOT / "src"
PATIENCE = 300  # seconds, for one file

# What says where to write, and what the analysers must not see: FORTIFY hides the functions of libc
# that they know, and initialized variables hide those that were never set. Clang's own warnings are
# not asked for.
DROPPED = re.compile(
    r"-MD|-c|-O\d|-Werror|-fdiagnostics-color=.*|-ftrivial-auto-var-init=.*|-[UD]_FORTIFY_SOURCE.*"
                     r"|-mno-direct-extern-access")  # this one is gcc's
DROPPED_WITH_VALUE = ("-MQ", "-MF", "-o")

CLANG = (
    "--analyze", "--analyzer-output", "text", "-fno-color-diagnostics", "-Xclang",
    "-analyzer-werror",
    # the default, 225000, takes four times as long and finds the same
    "-Xclang", "-analyzer-config", "-Xclang", "max-nodes=40000",
    # what the two children call between vfork(2) and execve(2) is written for it, and says so
    "-Xclang", "-analyzer-disable-checker", "-Xclang", "security.insecureAPI.vfork,unix.Vfork",
    # takes memory for lost that is stored at an index which it does not know; gcc looks for that
    "-Xclang", "-analyzer-disable-checker", "-Xclang", "unix.Malloc",
)

# A kind that only a newer gcc knows is no mistake for an older one, if it is switched off.
GCC = (
    "-Wno-analyzer-fd-leak",  # in gcc 14: takes dup2(2) to the standard descriptors for a leak
    "-fanalyzer", "-Werror",
    "-Wno-analyzer-overlapping-buffers",  # knows nothing of distances that were measured
)

CPPCHECK = (
    "--quiet", "--enable=warning,performance,portability,style", "--inline-suppr",
    "--error-exitcode=1", "--template=gcc",
    "--suppress=varFuncNullUB",  # our NULL is a pointer
    "--suppress=variableScope",  # the house declares at the top of a function
    "--suppress=shadowVariable",  # -Wshadow knows what was declared before, and what after
    # since release 2.11: what could be const, also where the type of a callback says that it is
    # not; and that there was much to do
    "--suppress=constParameterPointer", "--suppress=constParameterCallback",
    "--suppress=constVariablePointer",
    "--suppress=normalCheckLevelMaxBranches",
)


def flags(command):
    """Those of a compiler command that the analysers are to have; its last word is the file."""
    words, kept = iter(shlex.split(command)[1:-1]), []
    for word in words:
        if word in DROPPED_WITH_VALUE:
            next(words)
        elif not DROPPED.fullmatch(word):
            kept.append(word)
    return kept


def sources():
    """Of src, as they go into the programs: (path, flags)."""
    build = BUILDS["release"]
    if not (build / "compile_commands.json").exists():
        missing("there is no release build")
    found = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
        if path.startswith(f"{SRC}/") and not entry["output"].startswith("tests/"):
            words = flags(entry["command"])
            found[path] = [re.sub(r"^-I(?!/)", f"-I{entry['directory']}/", word) for word in words]
    assert set(found) <= set(map(str, SRC.rglob("*.c"))) and len(found) > 25
    return sorted(found.items())


def run(argv, folder):
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    return ("" if done.returncode == 0 else done.stdout + done.stderr
            or f"{argv[0]} ends with {done.returncode}")


def each(argv_of, files, folder):
    """Runs a tool for each file, as many at a time as there are processors. What it finds."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return "".join(pool.map(lambda file: run(argv_of(*file), folder), files))


def gcc(files, folder):
    compiler = need("gcc")
    return each(lambda path, words: [compiler, *words, *GCC, "-c", path, "-o", "/dev/null"], files,
                folder)


def clang(files, folder):
    compiler = need("clang")
    return each(lambda path, words: [compiler, *words, *CLANG, path], files, folder)


def clang_tidy(files, folder):
    program = need("clang-tidy")
    config = f"--config-file={ROOT / '.clang-tidy'}"
    return each(lambda path, words: [program, "--quiet", config, path, "--", *words], files, folder)


def cppcheck(files, folder):
    """All in one run. Of the ways to quote, 2.10 and 2.17 both understand the backslash only."""
    def quoted(word):
        return re.sub(r"""([\\"' ])""", r"\\\1", word)

    database = folder / "compile_commands.json"
    entries = [{"directory": str(folder), "file": path,
                "command": " ".join(map(quoted, ["cc", *words, "-c", path]))}
               for path, words in files]
    database.write_text(json.dumps(entries))
    return run([need("cppcheck"), *CPPCHECK, f"-j{len(os.sched_getaffinity(0))}",
                f"--project={database}"], folder)


PLANTED = {
    gcc: ("possible-null-dereference",
          "char *f(size_t n);\nchar *f(size_t n) {\n\tchar *p = malloc(n);\n\n\t*p = 0;\n\treturn "
          "p;\n}\n"),
    clang: ("garbage value",
            "int f(int a);\nint f(int a) {\n\tint b;\n\n\tif (a > 3)\n\t\tb = 4;\n\treturn b + "
            "a;\n}\n"),
    clang_tidy: ("bugprone-sizeof-expression",
                 "int f(const char *s);\nint f(const char *s) {\n\treturn memcmp(s, \"abcd\", "
                 "sizeof(sizeof(s)));\n}\n"),
    cppcheck: ("resourceLeak",
               "int f(const char *s);\nint f(const char *s) {\n\tFILE *file = fopen(s, "
               "\"r\");\n\n\tif (!file)\n"
               "\t\treturn 1;\n\tif (fgetc(file) == 3)\n\t\treturn 2;\n\tfclose(file);\n\treturn "
               "0;\n}\n"),
}
# The one that takes as long as all others together looks at night.
TOOLS = pytest.mark.parametrize("tool", [tool for tool in PLANTED if NIGHT or tool is not clang],
                                ids=lambda tool: tool.__name__)


@TOOLS
def test_finds_nothing(tool, tmp_path):
    findings = tool(sources(), tmp_path)
    assert not findings, findings


@TOOLS
def test_finds_what_is_planted(tool, tmp_path):
    """A test of the test: a file with one defect, with the flags of a file of src."""
    kind, defect = PLANTED[tool]
    path = tmp_path / "planted.c"
    path.write_text(f"#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\n{defect}")
    assert kind in tool([(str(path), sources()[0][1])], tmp_path)
