# SPDX-License-Identifier: MIT
"""A name that is no option: the message says which one may have been meant, and takes the value of
a misspelt one for its value."""

import pytest
from session import run


def complaints(smtpd, *words):
    status, _, err = run([smtpd, *words], b"")
    assert status == 64
    return err.decode().splitlines()


def of_command_line(name, guess):
    near = f"; is it {guess}?" if guess else ";"
    return f"smtpd: command line: --{name}: unknown option{near} --help lists them"


NAMES = [("listne", "listen"), ("upstraem", "upstream"), ("max_size", "max-size"),
         ("Max-Size", "max-size"), ("max-siz", "max-size"), ("hepl", None), ("helpp", "help"),
         ("nonsense", None), ("", None), ("l", None), ("x" * 300, None),
         ("max-connections-per-sources", "max-connections-per-source"),
         ("max-connections-per-sourcexyz", None), ("port", "listen"), ("bind", "listen"),
         ("verbose", "trace"), ("ports", None)]


@pytest.mark.parametrize("name, guess", NAMES)
def test_on_the_command_line(smtpd, name, guess):
    assert complaints(smtpd, f"--{name}=1") == [of_command_line(name[:200], guess)]


@pytest.mark.parametrize("name, guess", [*NAMES[:5], ("--max-size", "max-size")])
def test_in_a_file(smtpd, tmp_path, name, guess):
    file = tmp_path / "conf"
    file.write_text(f"# as intended\n{name} = 1\n")
    status, _, err = run([smtpd, f"--config={file}", "--check"], b"")
    assert status == 78
    assert err.decode() == (f"smtpd: {file}:2: {name}: unknown option; is it {guess}? --help lists "
                            "them\n")


def test_its_value_is_no_mistake_of_its_own(smtpd):
    assert complaints(smtpd, "--stratgey", "print", "--listne", "1025") == [
        of_command_line("stratgey", "strategy"), of_command_line("listne", "listen")]
    assert complaints(smtpd, "--nonsense", "--listne", "1025") == [
        of_command_line("nonsense", None), of_command_line("listne", "listen")]


@pytest.mark.parametrize("word", ["1025", "127.0.0.1:1025", "[::1]:1025"])
def test_address_alone(smtpd, word):
    """Of Python's smtpd and of others."""
    assert complaints(smtpd, word) == [
        f"smtpd: command line: {word}: options are written --name=value or --name value, such as "
        f"--listen={word}; see --help"]
    for other in ("nonsense", "/etc/smtpd.conf"):
        assert complaints(smtpd, other) == [
            f"smtpd: command line: {other}: options are written --name=value or --name value; see "
            "--help"]
