# SPDX-License-Identifier: MIT
"""How the command line and the configuration file are written; mistakes in that, each with its
place."""

import re
import subprocess
import time

import pytest
from options import check, conf
from session import PATIENCE, run

_ = conf  # a fixture


@pytest.mark.parametrize("content", [
    b"max-size=7\ntimeout=8\n",
    b"max-size=7\r\ntimeout=8\r\n",
    b"max-size=7\ntimeout=8",
    b"\n\n  \t \n# comment=1\n  # indented\n#\nmax-size=7\n\r\ntimeout=8\n\n",
    b"  max-size = 7 \n\ttimeout\t=\t8\t\n",
    b"max-size=1\nmax-size=7\ntimeout=8\n",
], ids=["plain", "CRLF", "no-newline", "blanks-and-comments", "indented", "twice"])
def test_forms_of_the_file(smtpd, conf, content):
    status, got, complaints = check(smtpd, config=conf(content))
    assert (status, got.get("max-size"), got.get("timeout"), complaints) == (0, "7", "8", [])


@pytest.mark.parametrize("octets",
                         [n + d for n in (4096, 8192, 65536) for d in range(-2, 3)]
                         + [16 * 1024 * 1024 - 1])
@pytest.mark.parametrize("end", [b"", b"\n"], ids=["no-newline", "newline"])
def test_sizes_of_the_file(smtpd, conf, octets, end):
    """Whatever is read at once, every line is there, and has its number."""
    content = b"max-size=7\n" + b"#%s\n" % (b"-" * 98) * (octets // 100 - 2)
    line = content.count(b"\n") + 1
    content += b"timeout=" + b"8".zfill(octets - len(content) - len(b"timeout=") - len(end)) + end
    assert len(content) == octets
    status, got, complaints = check(smtpd, config=conf(content))
    assert (status, got.get("max-size"), got.get("timeout"), complaints) == (0, "7", "8", [])
    status, got, complaints = check(smtpd, config=conf(content.replace(b"timeout", b"timeoat")))
    assert (status, len(complaints)) == (78, 1)
    assert f":{line}: timeoat: unknown option" in complaints[0]


def test_file_that_comes_slowly(smtpd):
    """From a pipe, an octet at a time."""
    with subprocess.Popen([smtpd, "--config=/dev/stdin", "--check"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        for octet in b"max-size=7\ntimeout=8\n":
            process.stdin.write(bytes([octet]))
            process.stdin.flush()
            time.sleep(0.005)
        out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and {b"max-size=7", b"timeout=8"} <= set(out.splitlines())


def test_empty_file(smtpd, conf):
    assert check(smtpd, config=conf(""))[:2] == check(smtpd)[:2]


@pytest.mark.parametrize("line, complaint", [
    (b"nonsense=1", "nonsense: unknown option"),
    (b"max_size=1", "max_size: unknown option"),
    (b"Max-Size=1", "Max-Size: unknown option"),
    (b"--max-size=1", "--max-size: unknown option"),
    (b"=1", ": unknown option"),
    (b"=", ": unknown option"),
    (b"max-size", "max-size needs a value: write max-size=BYTES"),
    (b"max-size 5", "max-size 5: unknown option"),
    (b"max-size=5 # five", "max-size=5 # five: use a line of its own for a comment"),
    (b"x-peer=no\t#", "x-peer=no\\x09#: use a line of its own for a comment"),
    (b"mailman-wrapper=/bin/true # ours",
     "mailman-wrapper=/bin/true # ours: use a line of its own for a comment"),
    (b"user=nobody #", "user=nobody #: use a line of its own for a comment"),
    (b"command=true # comment",
     "command=true # comment: use a line of its own for a comment, or quotes around a word"),
    (b"command=true \"a b\" #c",
     r"command=true \x22a b\x22 #c: use a line of its own for a comment, or quotes"),
    (b"user=\"nobody\"", r"user=\x22nobody\x22: use the value without quotes"),
    (b"hostname='mx.example.org'", "hostname='mx.example.org': use the value without quotes"),
    (b"relay-to=\"example.org\"", r"relay-to=\x22example.org\x22: use the value without quotes"),
    (b"upstream=a.example,\"b.example\"", r"upstream=a.example,\x22b.example\x22: use HOST[:PORT]"),
    (b"max-size=\"", r"max-size=\x22: use the value without quotes"),
    (b"max-size=10MB",
     "max-size=10MB: use a number of octets, or of K, M or G, such as 32M; 0 means no limit"),
    (b"max-size=99999999999999999999",
     "max-size=99999999999999999999: use a number of octets, or of K, M or G, such as 32M"),
    (b"config=/dev/null", "config: allowed on the command line only"),
    (b"config", "config: allowed on the command line only"),
    (b"check", "check: allowed on the command line only"),
    (b"help=1", "help: allowed on the command line only"),
    (b"version", "version: allowed on the command line only"),
    (b"max-size=1\0", "has a NUL octet"),
    (b"\0", "has a NUL octet"),
    (b"# a comment \0", "has a NUL octet"),
    (b"hostname=\xff\xfe\x1b[31m", r"hostname=\xff\xfe\x1b[31m: use "),
    (b"x" * 100_000, "x" * 200 + ": unknown option"),
    (b"hostname=" + b"x" * 100_000, "hostname=" + "x" * 200 + ": use "),
], ids=lambda v: repr(v[:20]) if isinstance(v, bytes) else "")
def test_mistake_in_the_file(smtpd, conf, line, complaint):
    path = conf(b"# first\nmax-errors=5\n" + line + b"\ntimeout=8\n")
    status, got, complaints = check(smtpd, config=path)
    assert (status, got, len(complaints)) == (78, {}, 1), complaints
    assert complaints[0].startswith(f"smtpd: {path}:3: {complaint}"), complaints
    assert complaints[0].isascii() and complaints[0].isprintable()


def test_number_sign_that_is_no_comment(smtpd, conf):
    """In the middle of a word, and in the quotes of a command; it is written so that it can be read
    again."""
    for line, shown in [("command=x a#b", "x a#b"), ("command=x '#b' \"c #d\"", 'x "#b" "c #d"'),
                        ("command='#x'", '"#x"'),
                        ("command=x '#\"'", """x "#"'"'"""), ("command=#x", '"#x"')]:
        status, got, complaints = check(smtpd, config=conf(f"strategy=exec\n{line}\n"))
        assert (status, got["command"]) == (0, shown), complaints
        assert check(smtpd, config=conf(f"strategy=exec\ncommand={got['command']}\n"))[:2] == (0,
                                                                                               got)
    assert check(smtpd,
                 config=conf("strategy=mailman\nmailman=/run/a#b\n"))[1]["mailman"] == "/run/a#b"


@pytest.mark.parametrize("argument, complaint", [
    ("--nonsense", "--nonsense: unknown option"),
    ("--nonsense=1", "--nonsense: unknown option"),
    ("--max-siz=1", "--max-siz: unknown option"),
    ("--max-sizes=1", "--max-sizes: unknown option"),
    ("-x", "-x: options are written --name=value or --name value"),
    ("-hV", "-hV: options are written --name=value"),
    ("-b", "-b: options are written --name=value"),
    ("--", "--: options are written --name=value"),
    ("--=1", "--: unknown option"),
    ("max-size=1", "max-size=1: options are written --name=value"),
    ("", ": options are written --name=value"),
    ("--max-size", "--max-size needs a value: write --max-size=BYTES"),
    ("--config", "--config needs a value: write --config=FILE"),
    ("--config=", "config=: use a file name"),
    ("--check=yes", "check=yes: use network, or no value"),
    ("--version=", "--version takes no value"),
    ("--\x1b[31m", "--\\x1b[31m: unknown option"),
    ("--" + "x" * 100_000, "--" + "x" * 200),
])
def test_mistake_on_the_command_line(smtpd, argument, complaint):
    status, got, complaints = check(smtpd, argument)
    assert (status, got, len(complaints)) == (64, {}, 1), complaints
    assert complaints[0].startswith(f"smtpd: command line: {complaint}"), complaints
    assert complaints[0].isascii() and complaints[0].isprintable()


def test_value_after_a_blank(smtpd, conf):
    """As most programs take it too."""
    path = conf("max-size=5\n")
    argv = [smtpd, "--config", path, "--max-errors", "7", "--strategy", "exec", "--timeout=8",
            "--command", "x --listen", "--check"]
    status, out, _ = run(argv)
    assert status == 0
    assert {b"max-size=5", b"max-errors=7", b"strategy=exec", b"timeout=8",
            b"command=x --listen"} <= set(out.splitlines())


@pytest.mark.parametrize("arguments, complaints", [
    (["--max-size", "--max-errors=1"], ["--max-size needs a value: write --max-size=BYTES"]),
    (["--max-size", "-5"], ["max-size=-5: use "]),
    (["--max-size", ""], ["max-size=: use "]),
    (["--max-size=1", "2"], ["2: options are written "]),
    (["--version", "2"], ["2: options are written "]),
    (["--check", "network"], ["network: options are written "]),
    (["--config", "/no/such/file"], ["/no/such/file: cannot be opened"]),
])
def test_mistake_after_a_blank(smtpd, arguments, complaints):
    status, out, err = run([smtpd, "--config=/dev/null", "--check", *arguments])
    places = [line.removeprefix("smtpd: ").removeprefix("command line: ")
              for line in err.decode().splitlines()]
    assert status in (64, 78) or "--version" in arguments
    assert len(places) == len(complaints) and all(map(str.startswith, places, complaints)), places


def test_all_mistakes_are_reported(smtpd, conf):
    path = conf("max-size=big\n\nnonsense\ntimeout=0\nx-peer=no\nprotocol=uucp\n")
    status, got, complaints = check(smtpd, "--nonsense=1", "--max-errors=0", config=path)
    assert (status, got) == (64, {})  # the command line is what whoever sees this has just typed
    places = [re.match(r"smtpd: (command line|.*?:\d+): ", line)[1] for line in complaints]
    assert sorted(places) == sorted(["command line"] * 2 + [f"{path}:{n}" for n in (1, 3, 4, 6)])
    assert check(smtpd, config=path)[0] == 78


def test_garbage_in_the_file(smtpd, conf):
    garbage = bytes((i * 7919 >> 3) % 256 for i in range(50_000))
    status, got, complaints = check(smtpd, config=conf(garbage))
    assert (status, got) == (78, {}) and complaints
    assert all(line.isascii() and line.isprintable() for line in complaints)
