"""The strategies as a table: what a row has to say, the template (tests/template), and the places
where each has to appear."""

import os
from pathlib import Path

import pytest
from processes import status_of
from session import Session, environment, run

MESSAGE = b"Subject: x\r\n\r\none\r\ntwo\r\n"
LONG = b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 5000  # it has to go to a file
DIALOGUE = (b"EHLO c\nMAIL FROM:<a@example.org>\nRCPT TO:<b@example.com>\nRCPT TO:<c@example.com>\n"
            b"DATA\n%s.\nQUIT\n")


@pytest.fixture
def template(smtpd):
    """The program with further strategies."""
    return str(Path(smtpd).parent / "tests/template/smtpd-template")


def command(template, strategy, *options):
    return [template, "--config=/dev/null", f"--strategy={strategy}", *options]


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


@pytest.mark.parametrize("field", ["needs", "open", "process_message", "collect"])
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
