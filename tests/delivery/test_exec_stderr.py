# SPDX-License-Identifier: MIT
"""Strategy exec: what the program says on standard error is in the log, line by line."""

import re

import pytest
from hooks import DELIVERED, SMALL, exec_command, script
from session import Session


def logged(err):
    """What the log has of the hook's lines."""
    lines = [line for line in err.split(b"\n") if line.startswith(b"smtpd: program ")]
    return [re.fullmatch(rb'smtpd: program id=\S+ program=\S+ '
                         rb'stderr=(?:"([^"]*)("?)|(\S*))(?:\.\.\.)?', line) for line in lines]


def say_on_stderr(smtpd, tmp_path, octets):
    (tmp_path / "words").write_bytes(octets)
    program = script(tmp_path, f"cat {tmp_path}/words >&2")
    with Session(exec_command(smtpd, program), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL) == DELIVERED and session.end() == 0
        err = session.err()
    assert all(32 <= c < 127 or c == 10 for c in err)
    assert all(len(line) < 4096 for line in err.split(b"\n"))
    matches = logged(err)
    assert all(matches), err[:1000]
    return [match[3] if match[1] is None else match[1] for match in matches], err


def test_standard_error_is_logged(smtpd, tmp_path):
    octets = b"one\ntwo words\n\n  blanks  \nsmtpd: message id=x verdict=\"250 fake\"\nback\\slash\nCR\r\n\x1b[31mred\n" \
             + "gr\u00fc\u00df\n".encode() + b"<3>not a priority\nno line end"
    lines, err = say_on_stderr(smtpd, tmp_path, octets)
    assert lines == [b"one", b"two words", b"", b"  blanks  ",
                     b"smtpd: message id=x verdict=\\x22250 fake\\x22", b"back\\x5cslash",
                     b"CR\\x0d", b"\\x1b[31mred", b"gr\\xc3\\xbc\\xc3\\x9f", b"<3>not a priority",
                     b"no line end"]
    message = re.search(rb"^smtpd: message id=(\S+) ", err, re.M)
    assert err.count(b"smtpd: program id=" + message[1] + b" ") == len(lines)
    assert err.count(b"\nsmtpd: message ") + err.startswith(b"smtpd: message ") == 1


def test_every_octet_on_standard_error(smtpd, tmp_path):
    lines, _ = say_on_stderr(smtpd, tmp_path,
                             b"".join(b"<%c>\n" % c for c in set(range(1, 256)) - {10}))
    plain = set(range(32, 127)) - set(b'"\\')
    assert lines == [b"<%c>" % c if c in plain else b"<\\x%02x>" % c
                     for c in sorted(set(range(1, 256)) - {10})]


def test_nul_on_standard_error(smtpd, tmp_path):
    """It hides nothing of what stands behind it."""
    lines, _ = say_on_stderr(smtpd, tmp_path, b"before\0behind\nnext\n")
    assert len(lines) == 2 and lines[0].startswith(b"before") and lines[0].endswith(b"behind")
    assert lines[1] == b"next"


def test_long_lines_on_standard_error(smtpd, tmp_path):
    lines, _ = say_on_stderr(smtpd, tmp_path,
                             b"x" * 999 + b"\n" + b"y" * 1000 + b"\n" + b"z" * 1_000_000 + b"\n"
                             + b"\xff" * 5000 + b"\nend\n")
    assert lines[:2] == [b"x" * 999, b"y" * 1000] and lines[2][:1000] == b"z" * 1000
    assert len(lines[2]) <= 1003
    assert lines[3].startswith(b"\\xff" * 900) and lines[4:] == [b"end"]


@pytest.mark.parametrize("n", [999, 1001, 20000])
def test_many_lines_on_standard_error(smtpd, tmp_path, n):
    lines, _ = say_on_stderr(smtpd, tmp_path, b"".join(b"line %d\n" % i for i in range(n)))
    assert len(lines) <= 1001 and lines[:999] == [b"line %d" % i for i in range(999)]
    if n > 1000:
        assert b"further lines are not logged" in lines[-1]
