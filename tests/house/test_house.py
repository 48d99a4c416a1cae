# SPDX-License-Identifier: MIT
"""The walls between modules, as far as a program can check them: what the core may call, who
includes whom, what the rows of strategies have. CONTRIBUTING.md has the rules."""

import os
import re

import pytest
from conftest import BUILDS, ROOT, need
from sources import SRC, code_of, sources, tool

# Functions of libc without memory of their own, descriptors, clocks or surprises; and what
# compilers put in.
PURE = re.compile(r"mem(chr|rchr|cmp|cpy|move|set|mem)|memrchr|rawmemchr|mempcpy|stp(n?cpy)"
                  r"|str(n?len|chr|rchr|chrnul|n?cmp|n?casecmp|n?cpy|n?cat|c?spn|pbrk|str|casestr|to(u?l|u?ll|[iu]max))"
                  r"|v?snprintf|is(alnum|alpha|ascii|blank|cntrl|digit|graph|lower|print|punct|space|upper|xdigit)|to(upper|lower)|inet_(pton|ntop)|__ctype_(b|tolower|toupper)_loc"
                  r"|__(v?snprintf|mem[a-z]+|st[rp][a-z]+|explicit_bzero)_chk|__isoc(99|23)_strto[a-z]+|__rawmemchr|explicit_bzero"
                  r"|__stack_chk_fail|__assert_fail|__fortify_fail|_GLOBAL_OFFSET_TABLE_")

# Which folders of src each folder's files may include; "" is src itself.
MAY_INCLUDE = {
    "base": {"base"}, "smtp": {"base", "smtp"}, "io": {"base", "io"},
    "config": {"base", "io", "config"},
    "broker": {"base", "smtp", "io", "broker"},
    "deliver": {"base", "smtp", "io", "broker", "deliver"},
    "accept": {"base", "io", "deliver", "accept"},
    "helpers": {"base", "smtp", "io", "helpers"},
    "": {"base", "smtp", "io", "config", "broker", "deliver", "accept", ""}}
CORE = ("base", "smtp")  # the pure part
# Two folders know each other by one header of declarations: a strategy's row, and what is
# configured.
MAY_INCLUDE_FILES = {
    "deliver": {"config/config.h"},
    "config": {"deliver/delivery.h", "smtp/address.h", "smtp/match.h"},
    "broker": {"config/config.h"}, "accept": {"config/config.h", "risks.h", "sandbox.h", "user.h"},
    "helpers": {"filter.h", "user.h"}}
MAY_CALL_NOTHING_OF = {"config": "deliver"}
IMPURE_HEADERS = {"unistd.h", "fcntl.h", "time.h", "stdlib.h", "syslog.h", "poll.h", "signal.h",
                  "pthread.h", "dirent.h", "errno.h"}

# --- purity ---------------------------------------------------------------------------------------


def core_objects(build):
    objects = sorted((BUILDS[build] / "libsmtp.a.p").glob("*.o"))
    files = [path for folder in CORE for path in (SRC / folder).glob("*.c")]
    assert len(objects) == len(files), "each file of src/base and src/smtp is in the core, and nothing else"
    return map(str, objects)


def test_list_of_pure_functions():
    """A test of the test."""
    assert all(PURE.fullmatch(name)
               for name in ("memcpy", "strcasecmp", "__vsnprintf_chk", "__stack_chk_fail",
                            "strtoul"))
    impure = ("malloc", "strdup", "isatty", "read", "time", "getenv", "printf", "fprintf",
              "__printf_chk", "__errno_location", "rand")
    assert not any(PURE.fullmatch(name) for name in impure)


def test_core_calls_only_pure_functions():
    listing = [line.split() for line in tool(need("nm"), *core_objects("release")).splitlines()]
    undefined = {words[-1] for words in listing if len(words) == 2 and words[0] in "Uw"}
    defined = {words[-1] for words in listing if len(words) == 3 and words[1] in "TtRrDdBb"}
    assert "memchr" in undefined and "server_step" in defined  # the listing is what we think it is
    assert {name for name in undefined - defined if not PURE.fullmatch(name)} == set()


def test_core_has_no_variables():
    """What it remembers is in the structures that it is given."""
    listing = [line.split() for line in tool(need("nm"), *core_objects("release")).splitlines()]
    # relocated constants (tables of pointers) are in .data.rel.ro: "d" to nm, but const in the
    # source
    writable = {words[-1] for words in listing if len(words) == 3 and words[1] in "BbC"}
    assert writable == set()
    for path in (path for folder in CORE for path in (SRC / folder).glob("*.c")):
        assert not re.findall(r"^\s*static (?!const\b|inline\b)[^(;{]*(?:;|=)", path.read_text(),
                              re.M), path


def test_program_links_only_libc():
    listing = tool(need("readelf"), "-d", "-W", str(BUILDS["release"] / "smtpd"))
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", listing)
    assert [name for name in needed if not name.startswith("ld-linux")] == ["libc.so.6"]


def test_program_is_hardened():
    """Position-independent, read-only after relocation, no executable stack. (Only what every
    supported linker can do.)"""
    headers = tool(need("readelf"), "-l", "-d", "-h", "-W", str(BUILDS["release"] / "smtpd"))
    assert re.search(r"Type:\s+DYN", headers) and "GNU_RELRO" in headers
    assert re.search(r"\bNOW\b", headers)
    assert re.search(r"GNU_STACK.*\sRW\s", headers) and not re.search(r"LOAD.*\sRWE\s", headers)


# --- who includes whom ----------------------------------------------------------------------------


def test_include_directions():
    wrong = []
    for path in sources():
        folder = path.parent.relative_to(SRC).as_posix().removeprefix(".")
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.M):
            assert (SRC / name).is_file(), f"{path}: {name} is not written from src on"
            may = (os.path.dirname(name) in MAY_INCLUDE[folder]
                   or name in MAY_INCLUDE_FILES.get(folder, set()))
            wrong += [] if may else [f"{path.relative_to(SRC)} includes {name}"]
    assert wrong == []


def test_map_has_every_module():
    """CONTRIBUTING's table, Layout: the folders of src, and the files that are in none."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = "\n".join(re.findall(r"^\| `.*", text, re.M))
    wanted = {f"{p.name}/" if p.is_dir() else p.name for p in SRC.iterdir()
              if p.is_dir() or p.suffix == ".c"}
    assert "smtp/" in wanted and "main.c" in wanted
    assert [name for name in wanted if f"`src/{name}`" not in rows] == []


@pytest.mark.parametrize("folder,other", MAY_CALL_NOTHING_OF.items())
def test_folder_calls_nothing_of(folder, other):
    """Not even what a header that it may include declares: the caller hands over what is needed."""
    objects = BUILDS["release"] / "smtpd.p"

    def names(of, kinds):
        paths = [objects / f"src_{of}_{path.stem}.c.o" for path in sorted((SRC / of).glob("*.c"))]
        assert paths, f"src/{of} has sources"
        listing = [line.split() for line in tool(need("nm"), *map(str, paths)).splitlines()]
        return {words[-1] for words in listing if len(words) >= 2 and words[-2] in kinds}

    assert "config_load" in names("config", "T") and "print_ops" in names("deliver", "Dd")
    assert names(folder, "U") & names(other, "TtRrDdBb") == set()


def test_files_of_the_configuration_are_short():
    lengths = {path.name: path.read_text().count("\n") for path in (SRC / "config").glob("*.[ch]")}
    assert "options.c" in lengths and [name for name, n in lengths.items() if n > 250] == []


ROWS = dict(re.findall(r"^const struct delivery_ops (\w+)_ops = \{\n(.*?)^\};", "".join(
    p.read_text() for p in sorted((SRC / "deliver").glob("*.c"))), re.DOTALL | re.M))


def test_options_in_the_rows_of_strategies_exist():
    """A name that no option has would do nothing."""
    headers = "".join(p.read_text().replace("\\\n", "") for p in (SRC / "deliver").glob("*.h"))
    macros = {name: re.sub(r'"\s*"', "", texts).strip().strip('"') for name,
              texts in re.findall(r'#define (\w+_OPTIONS)((?:\s*"[^"]+")+)', headers)}
    options = set(re.findall(r"^  --([a-z-]+)", tool(str(BUILDS["release"] / "smtpd"), "--help"),
                             re.M))
    named = {}
    for strategy, row in ROWS.items():
        for value in re.findall(r"^\s*\.options = ([^,]*),$", row, re.M):
            text = re.sub(r"\w+_OPTIONS", lambda macro: f'"{macros[macro[0]]}"', value)
            named[strategy] = "".join(re.findall(r'"([^"]*)"', text)).split(" ")
    assert named["exec"][0] == "command" and len(named["mailman"]) > len(named["proxy"]) > 3
    assert [(strategy, name) for strategy,
            names in named.items() for name in names if name not in options] == []


def test_only_its_row_names_a_strategy():
    """The configuration finds each in the table that it is given: it compares with no name in
    particular."""
    names = [re.search(r'\.name = "(\w+)"', row)[1] for row in ROWS.values()]
    assert {"print", "exec", "mailman"} <= set(names)
    sources_of_config = [p for p in sources() if p.parent.name == "config"
                         or p.name.startswith("config.")]
    compared = re.findall(r'strcmp\(([^()]*"\w+")\)',
                          "".join(p.read_text() for p in sources_of_config))
    assert sources_of_config and [text for text in compared if text.split('"')[1] in names] == []


def test_core_includes_no_system_headers():
    wrong = []
    for path in sorted(path for folder in CORE for path in (SRC / folder).glob("*.[ch]")):
        names = set(re.findall(r"^\s*#\s*include\s+<([^>]+)>", path.read_text(), re.M))
        wrong += [f"{path.name}: {name}" for name in names if name in IMPURE_HEADERS
                  or name.startswith("sys/")]
    assert wrong == []


def test_sessions_use_no_stdio():
    """printf(3) is a quarter of the C library in the memory of each session; text_format() does
    what they need."""
    paths = [p for p in sources() if p.parent.name in ("base", "smtp", "io", "deliver")
             or p.name.startswith(("session", "mail"))]
    assert len(paths) > 60
    assert [str(p) for p in paths if "\n#include <stdio.h>" in p.read_text()] == []


def test_start_chooses_no_clock():
    """Among the variants of time(2) and gettimeofday(2) the loader chooses at each start, which
    reads the kernel's own library."""
    symbols = tool(need("nm"), "-D", "-u", str(BUILDS["release"] / "smtpd"))
    assert "clock_gettime" in symbols
    assert not re.search(r"\b(time|gettimeofday)(@|$)", symbols, re.M)


# --- rows ----------------------------------------------------------------------------------------

ROW = re.compile(r"^(?:static )?const struct delivery_ops (\w+) = \{(.*?)^\};", re.DOTALL | re.M)


def unnamed_fields(text):
    """Of the rows of strategies: parts that begin with no field's name, and missing fields."""
    for name, row in ROW.findall(code_of(text)):
        parts = [part.split() for part in row.split(",") if part.strip()]
        yield from (f"{name}: {' '.join(p)}" for p in parts if not re.fullmatch(r"\.\w+", p[0]))
        missing = {".name", ".open"} - {p[0] for p in parts}
        yield from (f"{name}: no {field}" for field in sorted(missing))


def test_rows_of_strategies_have_named_fields():
    rows = [p for p in sources() if ROW.search(p.read_text())]
    assert len(rows) > 3
    assert [found for p in rows for found in unnamed_fields(p.read_text())] == []
    row = "const struct delivery_ops x_ops = {\n        .name = \"x\", /* a, b */\n        %s\n};\n"
    assert list(unnamed_fields(row % ".open = x_open,")) == []
    assert list(unnamed_fields(row % ".reset = x_reset,")) == ["x_ops: no .open"]
    assert list(unnamed_fields(row % ".open = x_open, x_reset,")) == ["x_ops: x_reset"]
