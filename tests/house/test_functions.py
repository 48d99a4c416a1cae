# SPDX-License-Identifier: MIT
"""Functions of C: how long they are, and that predicates only answer. CONTRIBUTING.md has
the rules."""

import re
import statistics

from conftest import ROOT
from sources import SRC, code_of, sources


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
