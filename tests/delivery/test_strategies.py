# SPDX-License-Identifier: MIT
"""The strategies as a table: what a row has to say, the template (tests/template), and the places
where each has to appear."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import BUILDS, ROOT
from processes import status_of
from session import PYTHON, STAY, Session, environment, run

MESSAGE = b"Subject: x\r\n\r\none\r\ntwo\r\n"
LONG = b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 5000  # it has to go to a file
DIALOGUE = (b"EHLO c\nMAIL FROM:<a@example.org>\nRCPT TO:<b@example.com>\nRCPT TO:<c@example.com>\n"
            b"DATA\n%s.\nQUIT\n")


@pytest.fixture
def template(smtpd):
    """The program with further strategies."""
    return str(Path(smtpd).parent / "tests/template/smtpd-template")


def command(template, strategy, *options):
    return [template, *STAY, "--config=/dev/null", f"--strategy={strategy}", *options]


# --- the template --------------------------------------------------------------------------------


MESSAGES = pytest.mark.parametrize("message, n_lines", [(MESSAGE, 4), (LONG, 5002)],
                                   ids=["in-memory", "in-a-file"])


@pytest.fixture
def tally(tmp_path):
    """(environment, what the strategy has written: a list of its lines, without the message ids)"""
    path = tmp_path / "tally"
    env = environment(TALLY_FILE=str(path), TMPDIR=str(tmp_path))
    return env, lambda: [line.split(" ", 1)[1] for line in path.read_text().splitlines()]


@MESSAGES
def test_template_over_a_pipe(template, tally, message, n_lines):
    env, lines = tally
    status, out, err = run(command(template, "tally"), DIALOGUE % message.replace(b"\r", b""), env)
    assert status == 0 and b"\r\n250 2.0.0 counted\r\n" in out and b"strategy=tally" in err
    assert lines() == [f"lines={n_lines} recipients=2"]


@MESSAGES
def test_template_over_a_socket(template, tally, tmp_path, message, n_lines):
    """Confined, in the build that can be."""
    env, lines = tally
    with Session(command(template, "tally"), tmp_path, env=env) as session:
        session.begin("EHLO")
        if "release" in template:
            assert status_of(session.pid, "NoNewPrivs") == 1
        for _ in range(2):
            assert session.send_message(message) == b"250 2.0.0 counted"
        assert session.end() == 0
    assert lines() == 2 * [f"lines={n_lines} recipients=1"]


def test_template_that_cannot_open(template, tmp_path):
    said = b"smtpd: cannot open $TALLY_FILE, %s: %s: set it to a file to append to\n"
    for env, path, why in (
            ({}, b"not set", b"Invalid argument"),
            ({"TALLY_FILE": "/nonexistent/x"}, b"/nonexistent/x", b"No such file or directory")):
        with Session(command(template, "tally"), tmp_path, env=environment(**env)) as session:
            session.expect((None, b"421 4.3.5 "))
            session.read_to_end()
            assert session.status() == 78 and session.err() == said % (path, why)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_template_that_cannot_write(template, tmp_path):
    """No 250 before the destination has it."""
    env = environment(TALLY_FILE="/dev/full")
    with Session(command(template, "tally"), tmp_path, env=env) as session:
        session.begin("EHLO")
        verdict = session.send_message(MESSAGE)
        assert verdict == b"451 4.3.0 cannot write the tally: No space left on device"
        assert session.end() == 0


# --- what a row has to say -----------------------------------------------------------------------


def test_strategy_that_says_nothing(template, tmp_path):
    """It accepts nothing."""
    with Session(command(template, "silent"), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(MESSAGE) == b"451 4.3.0 not delivered, try again later"
        assert session.end() == 0


@pytest.mark.parametrize("field", ["open", "process_message", "collect"])
def test_incomplete_row(template, tmp_path, field):
    """It does not start, and says what is missing: over a socket, over a pipe, and with --check."""
    argv = command(template, f"no-{field}")
    said = (f"smtpd: cannot use strategy=no-{field}: its row does not set .{field}: "
            "see struct delivery_ops in deliver/delivery.h\n")
    with Session(argv, tmp_path) as session:
        session.expect((None, b"421 4.3.5 "))
        session.read_to_end()
        assert session.status() == 78 and session.err() == said.encode()
    status, out, err = run(argv, b"QUIT\n")
    assert status == 78 and out.startswith(b"421 4.3.5 ") and err == said.encode()
    assert run([*argv, "--check"]) == (78, b"", said.encode())


# --- where each strategy has to appear -----------------------------------------------------------

STRATEGIES = re.findall(r"&(\w+)_ops\b", (ROOT / "src/deliver/strategies.c").read_text())


def items_of(heading):
    """In a section of a manual page: the names of the items."""
    def find(text):
        body = re.search(rf"^\.Ss {heading}\n(.*?)(?=^\.S[sh] )", text, re.DOTALL | re.M)[1]
        lines = re.findall(r"^\.It Cm (.*)$", body, re.M)
        return {name for line in lines for name in re.findall(r"\b[a-z]+\b", line)}

    return find


def words_of(pattern):
    """In a list of words that the pattern finds: "a b c", or "a, b or c"."""
    return lambda text: set(re.findall(r"[a-z]+", re.search(pattern, text, re.M)[1])) - {"or"}


in_help = words_of(r"^  --strategy=NAME +[a-z ]+: ([a-z, ]+)")
in_sample = words_of(r"^# ([a-z, ]+)\..*\n(?:# .*\n)*#strategy=")


def in_table(text):
    """In README's: the first cells."""
    return set(re.findall(r"^\| `([a-z]+)` \|", text, re.M))


def in_options(text):
    """In command lines or configurations that tests have."""
    return set(re.findall(r"strategy=([a-z]+)", text))


def completion(shell):
    help_ = subprocess.run([BUILDS["release"] / "smtpd", "--help"], capture_output=True, check=True)
    with tempfile.NamedTemporaryFile() as file:
        file.write(help_.stdout)
        file.flush()
        argv = [PYTHON, ROOT / "completion/generate", shell, "smtpd", file.name]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def of_file(name):
    return lambda: (ROOT / name).read_text()


def of_rows(name):
    """Of a test: its table STRATEGIES."""
    table = re.compile(r"^STRATEGIES = [\[{](.*?)^[\]}]", re.DOTALL | re.M)
    return lambda: table.search((ROOT / name).read_text())[1]


SWEPT = "tests/sweep.d/sweeping/strategies.py"

# What is read, and what finds the names of strategies in it.
PLACES = {
    "--help": (lambda: re.sub(r"\n {30,}", " ",
                              run([BUILDS["release"] / "smtpd", "--help"])[1].decode()), in_help),
    "smtpd(8), Strategies": (of_file("man/smtpd.8"), items_of("Strategies")),
    "smtpd(8), Sandbox": (of_file("man/smtpd.8"), items_of("Sandbox")),
    "README.md": (of_file("README.md"), in_table),
    "examples/smtpd.conf": (of_file("examples/smtpd.conf"), in_sample),
    "bash completion": (lambda: completion("bash"), words_of(r"--strategy\) .*-W '([a-z ]+)'")),
    "zsh completion": (lambda: completion("zsh"), words_of(r"--strategy=\[.*:NAME:\(([a-z ]+)\)")),
    "tests/sweep": (of_rows(SWEPT), in_options),
    "tests/lib/sandbox.py": (of_rows("tests/lib/sandbox.py"), in_options),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategy_is_found(place, strategy):
    read, find = PLACES[place]
    assert strategy in find(read())


@pytest.mark.parametrize("place", PLACES)
def test_absent_strategy_is_missed(place):
    """A test of the test: a strategy that is taken out of a place is not found there any more."""
    read, find = PLACES[place]
    text = read()
    for strategy in STRATEGIES:
        without = re.sub(rf"\b{strategy}\b", "absent", text)
        assert find(without) == find(text) - {strategy} | {"absent"}


def test_table_is_found():
    """It is what its rows say."""
    text = "".join(path.read_text() for path in (ROOT / "src/deliver").glob("*.c"))
    rows = re.findall(r'^const struct delivery_ops (\w+)_ops = {\n +\.name = "(.*)",', text, re.M)
    assert len(STRATEGIES) >= 5 and sorted(rows) == sorted((name, name) for name in STRATEGIES)
