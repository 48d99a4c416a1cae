# SPDX-License-Identifier: MIT
"""The rules of the house that a program can check: what the core may call, who includes whom, how
long functions are, what files say at their top, and what linters make of the rest. CONTRIBUTING.md
has the rules."""

import os
import re
import statistics
import subprocess
from collections import Counter

import pytest
from conftest import BUILDS, ROOT, need

SRC = ROOT / "src"

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


def sources():
    return sorted(p for p in SRC.rglob("*") if p.suffix in (".c", ".h"))


def as_ids(paths):
    return [pytest.param(p, id=str(p.relative_to(ROOT))) for p in paths]


def tool(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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


# --- functions ------------------------------------------------------------------------------------

NO_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|^[ '
                     r'\t]*#(?:[^\n]*\\\n)*[^\n]*', re.DOTALL | re.M)


def code_of(text):
    """C without what is in comments, literals and directives; each character is where it was."""
    return NO_CODE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def definitions(text):
    """Of each function definition in C: (name, lines from the signature to the brace, body)."""
    code = code_of(text)
    found, depth, start, end_of_last = [], 0, 0, 0
    for at, c in enumerate(code):
        if c == "{":
            if depth == 0:
                start = at
            depth += 1
        elif c == "}":
            depth -= 1
            if depth == 0:
                signature = code[end_of_last:start]
                if signature.rstrip().endswith(")"):
                    first = code.count("\n", 0,
                                       end_of_last + len(signature) - len(signature.lstrip()))
                    plain = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", signature, flags=re.DOTALL)
                    name = re.search(r"(\w+)\s*\(", plain)[1]
                    found.append((name, code.count("\n", 0, at) - first + 1, code[start:at]))
        if depth == 0 and c in ";}":
            end_of_last = at + 1
    assert depth == 0
    return found


def functions(text):
    return [(name, n) for name, n, _ in definitions(text)]


def test_functions_are_counted_right():
    """A test of the test."""
    text = """
/* a { comment */
static const int table[] = { 1, 2 };
struct s { int a; };

int one(void) { return '{'; }

static int
two(const char *s)
{
        if (s[0] == '}') {
                return "}"[0]; // {
        }
        return 0;
}
#define M(x) do { \\
        x; } while (0)
__attribute__((format(printf, 1, 2))) void three(int a,
                                                 ...) {
}
"""
    assert functions(text) == [("one", 1), ("two", 8), ("three", 3)]


def test_function_lengths():
    def lengths_of(paths):
        return [(n, f"{p.relative_to(ROOT)}: {name}") for p in paths
                for name, n in functions(p.read_text())]

    lengths = lengths_of(sources())
    of_tests = lengths_of(sorted((ROOT / "tests").rglob("*.c")))
    assert len(lengths) > 100 and len(of_tests) > 100
    assert [entry for entry in lengths + of_tests if entry[0] > 60] == []
    long = [entry for entry in lengths if entry[0] > 35]
    assert len(long) <= len(lengths) / 10, long
    assert statistics.median(n for n, _ in lengths) <= 12


# A predicate is asked in conditions, where nobody expects that something happens.
PREDICATE = re.compile(r"(?:[a-z0-9]+_)*?(?:is|has)_\w+")
EFFECT = re.compile(
    r"(?<=[;{})])\s*(?:"
    r"\*+\w+(?:\[[^\]]*\])?\s*[-+*/%&|^<>]*=(?!=)"  # *p = ...
    r"|\w+(?:->|\[)[^=;(]*?[-+*/%&|^<>]*=(?!=)"  # p->a.b = ..., p[i] = ...
    r"|(?:\+\+|--)?\(?\*?\w+->[^=;(]*?(?:\+\+|--)?\s*;"  # p->n++
    r")|\b(?:log|client|notify)_(?!is_|has_)\w+\s*\(|\breply_(?:set|fix)\s*\("
    r"|\b(?:f?printf|puts|unlink|kill|exit|setsockopt|fd_write\w*|channel_(?!is_|has_)\w+)\s*\(")
OPENS, CLOSES = re.compile(r"\b(?:open|socket)\s*\("), re.compile(r"\bclose\s*\(")


def effects(text):
    """What predicates do, beside answering: assignments through pointers, calls of what acts."""
    for name, _, body in definitions(text):
        if PREDICATE.fullmatch(name):
            yield from (f"{name}: {' '.join(match[0].split())}" for match in EFFECT.finditer(body))
            if CLOSES.search(body) and not OPENS.search(body):  # it may close what it has opened
                yield f"{name}: close("


def test_effects_are_found():
    """A test of the test."""
    with_effect = {
        "*ret = 1;": "*ret =", "c->n++;": "c->n++;", "c->at[2].n += 3;": "c->at[2].n +=",
        "a[1] = 2;": "a[1] =", "if (a) *ret |= 1;": "*ret |=", "if (!x) { c->e = 0; }": "c->e =",
        "for (;;) c->n--;": "c->n--;", "log_say(1);": "log_say(",
        "reply_fix(ret, &a);": "reply_fix(", "return client_look(c) == 0;": "client_look(",
        "close(fd);": "close("}
    function = "static bool %s(int *c) {\n        %s\n}\n"
    for statement, effect in with_effect.items():
        for name in ("is_x", "client_has_x"):
            assert list(effects(function % (name, statement))) == [f"{name}: {effect}"]
        assert not list(effects(function % ("take_x", statement)))
    without = (
        "const char *s = c->s, *name = c->name;", "for (const char *p = c->p; *p; p++) n += *p;",
        "return c->n == 1;", "int a[] = { 1, 2 };", "struct s x = { .n = c->n };", "n = c->n;",
        "return c->n <= 2 || *c != 3;", "fd = open(p, 0); close(fd);", "while (*c != '=') n++;",
        "return c->a && client_is_quiet(c);")
    assert [found for words in without for found in effects(function % ("is_x", words))] == []


def test_predicates_have_no_effect():
    texts = {p.relative_to(SRC): p.read_text() for p in sources()}
    assert any(PREDICATE.fullmatch(name) for text in texts.values() for name, _ in functions(text))
    assert [f"{p}: {effect}" for p, text in texts.items() for effect in effects(text)] == []


# --- files ---------------------------------------------------------------------------------------

LINES_MAX = 400
LICENCE = "SPDX-License-Identifier: MIT"


def too_long(lengths):
    return [f"{name}: {n}" for name, n in lengths if n > LINES_MAX]


def test_file_lengths():
    """The line with the licence does not count."""
    files = [p for p in sources() if p.suffix == ".c"]
    lengths = [(p.relative_to(SRC).as_posix(), p.read_text().count("\n") - 1) for p in files]
    assert len(lengths) > 30 and too_long(lengths) == []
    assert too_long([("a.c", 400), ("b.c", 401)]) == ["b.c: 401"]


def has_licence(name, text):
    """Whether the text begins, after its interpreter, with the line that names the licence. Data
    need none; units/sandbox becomes part of units."""
    is_source = re.fullmatch(r".*\.([ch]|py|build|[1-8])|meson_options\.txt|units/(?!sandbox$).*",
                             name)
    first = re.compile(r'(#!.*\n)?(/\* %s \*/|(#|\.\\") %s)\n' % (LICENCE, LICENCE))
    return bool(first.match(text)) or not (is_source or text.startswith("#!"))


def test_sources_name_their_licence():
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n")
    names = {p.relative_to(ROOT).as_posix(): p for p in repository()}
    assert [name for name, path in names.items() if not name.startswith("tests/fuzz/corpus/")
            and not has_licence(name, text_of(path))] == []
    assert has_licence("run", f"#!/bin/sh\n# {LICENCE}\n") and has_licence("words", "a\n")
    assert has_licence("a.c", f"/* {LICENCE} */\n") and not has_licence("a.c", "/* a.c - b */\n")
    assert not has_licence("run", "#!/bin/sh\n") and not has_licence("a.py", f'"""a {LICENCE}"""')


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


# --- texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", as_ids(sources()))
def test_file_says_what_it_is(path):
    """After its licence comes a comment that begins with its name, after a dash what it is."""
    names = {path.name, path.relative_to(SRC).as_posix()}
    match = re.match(r"/\* SPDX.*\n/\* (\S+) - \S", path.read_text())
    assert match and match[1] in names


@pytest.mark.parametrize("path", as_ids(sorted((SRC).rglob("*.h"))))
def test_header_is_guarded_and_complete(path):
    """It can be included first, alone and twice."""
    assert "#pragma once\n" in path.read_text()
    program = f'#include "{path.relative_to(SRC)}"\n#include "{path.relative_to(SRC)}"\n'
    done = subprocess.run([need("cc"), "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only", f"-I{SRC}",
                           "-x", "c", "-"], input=program,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def repository():
    """The files that are ours: what git has or would take; in an unpacked archive, everything but
    build trees."""
    if (ROOT / ".git").exists():
        listing = tool(need("git"), "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files",
                       "-co", "--exclude-standard", "-z")
        paths = [ROOT / name for name in listing.split("\0") if name]
    else:
        paths = [p for p in ROOT.rglob("*")
                 if not re.match(r"build|.*__pycache__|\.git/", p.relative_to(ROOT).as_posix())]
    return sorted(p for p in paths if p.is_file() and not p.is_symlink())


def text_of(path):
    return path.read_bytes().decode("utf-8", errors="replace")


def test_repository_is_found():
    assert {ROOT / "meson.build", SRC / "main.c", ROOT / "tests/run"} <= set(repository())


def test_no_machine_paths():
    """Nothing in the tree knows where somebody keeps it."""
    pattern = re.compile(r"(?<![\w.])/(?:work|home|root|Users|mnt)/\S*")
    found = [f"{p.relative_to(ROOT)}: {match[0]}" for p in repository()
             for match in pattern.finditer(text_of(p))]
    assert found == []


def test_text_files_are_tidy():
    """No tabs at line ends, no blanks there either, a newline at the end. Transcripts may have
    whatever they test."""
    wrong = []
    for path in repository():
        if path.suffix in (".c", ".h", ".py", ".build", ".options", ".md", ".8", ".5", ".7"):
            text = text_of(path)
            wrong += [str(path)] if re.search(r"[ \t\r]$", text,
                                              re.M) or not text.endswith("\n") else []
    assert wrong == []


MANUALS = sorted(p for p in (ROOT / "man").glob("*.[1-8]*"))


@pytest.mark.parametrize("path", as_ids(MANUALS))
def test_manual_page_lint(path):
    done = subprocess.run([need("mandoc"), "-T", "lint", "-W", "warning", str(path)],
                          capture_output=True, text=True, timeout=60)
    assert done.stdout + done.stderr == "" and done.returncode == 0


def test_manual_describes_every_option():
    text = "".join(p.read_text() for p in MANUALS)
    help_ = tool(str(BUILDS["release"] / "smtpd"), "--help")
    # mdoc may write the dash as \- ; the names themselves are plain, or have \- in them
    plain = text.replace("\\-", "-")
    assert [name for name in re.findall(r"^  --([a-z-]+)", help_, re.M) if name not in plain] == []


def shell_scripts():
    return [p for p in repository()
            if re.match(r"#!\s*/bin/(ba|da)?sh\b|#!\s*/usr/bin/env (ba)?sh\b", text_of(p)[:40])]


def test_shell_scripts_lint():
    scripts = shell_scripts()
    assert ROOT / "tests/run" in scripts
    assert tool(need("shellcheck"), *map(str, scripts)) == ""


def test_scripts_can_be_run():
    assert [str(p) for p in shell_scripts() if not os.access(p, os.X_OK)] == []


def test_names_of_tests():
    """One name, one test; and each is in a folder that the map knows."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    names = Counter(name for path in paths
                    for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M))
    assert [name for name, n in names.items() if n > 1] == []
    folders = set(re.findall(r"^\| `(\w+)/` \|", (ROOT / "tests/README.md").read_text(), re.M))
    assert {path.parent.name for path in paths} <= folders
    assert len({path.name for path in paths}) == len(paths)


def test_package_has_our_version():
    """debian/changelog, and the program."""
    meson = re.search(r"version : '(.*)',", (ROOT / "meson.build").read_text())[1]
    package = re.match(r"smtpd \((.*)-\d+\) ", (ROOT / "debian/changelog").read_text())[1]
    assert package == meson
