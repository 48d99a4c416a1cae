# SPDX-License-Identifier: MIT
"""Values of options: good ones and mistakes, on the command line and in the file."""

import pytest
from options import MISTAKES, NO_PORTS, OPTIONS, check, conf

_ = conf  # a fixture


def values():
    return [pytest.param(name, *value, id=f"{name}={value[0][:30]}") for name,
            (_, *rest) in OPTIONS.items() for value in rest]


def mistakes():
    """Blanks at the ends mean nothing in a file: those values are no mistakes there."""
    return [pytest.param(name, value, id=f"{name}={value[:30]!a}") for name,
            all in MISTAKES.items() for value in all]


@pytest.mark.parametrize("option", ["user", "tls-user"])
def test_user_has_to_exist(smtpd, option):
    status, out, complaints = check(smtpd, f"--{option}=_nobody-of-this-name", "--listen=0",
                                    "--tls-certificate=self-signed")
    assert (status, out) == (78, {})
    assert f"smtpd: {option}=_nobody-of-this-name: no such user; name one that exists" in complaints


def test_limit_that_is_none_can_be_said(smtpd):
    for option, none in (("exit-idle-time", "never"), ("count", "no limit")):
        assert check(smtpd, "--listen=25", f"--{option}={none}")[0] == 0


@pytest.mark.parametrize("domain", ["ok.example.", ".ok.example.", "a..b", ".", ".."])
def test_domain_that_no_address_has(smtpd, domain):
    status, _, (complaint,) = check(smtpd, "--strategy=proxy", "--upstream=127.0.0.1",
                                    f"--relay-to={domain}")
    assert status == 64 and f"relay-to={domain}: use DOMAIN" in complaint


def test_delay_of_nothing(smtpd):
    status, _, (complaint,) = check(smtpd, "--delay=rcpt * 0")
    assert status == 64 and complaint.endswith("SECONDS between 1 and 31536000")


def test_rule_that_is_too_long(smtpd):
    """What is sent of it has to fit into a line, with a code that we add."""
    assert check(smtpd, f"--reply=rcpt * 550 {'x' * 500}")[0] == 0
    for reply in ("550 " + "x" * 501, "550  x", "550 5.1.1  x"):
        status, _, (complaint,) = check(smtpd, f"--reply=rcpt * {reply}")
        assert status == 64
        assert complaint.endswith("at most 504 octets from NNN on, with single blanks before TEXT")


@pytest.mark.parametrize("name, written, effective", values())
def test_good_value(smtpd, conf, name, written, effective):
    status, got, complaints = check(smtpd, f"--{name}={written}")
    assert (status, got[name], complaints) == (0, effective, [])
    status, got, complaints = check(smtpd, config=conf(f"{name}={written}\n"))
    assert (status, got[name], complaints) == (0, effective, [])


@pytest.mark.parametrize("name, value", mistakes())
def test_bad_value_on_the_command_line(release, name, value):
    status, got, complaints = check(release, f"--{name}={value}")
    assert (status, got, len(complaints)) == (64, {}, 1)
    assert complaints[0].startswith(
        f"smtpd: command line: {name}=") and ": use " in complaints[0] or "needs" in complaints[0]


@pytest.mark.parametrize("name, value",
                         [p for p in mistakes() if p.values[1] == p.values[1].strip()])
def test_bad_value_in_the_file(release, conf, name, value):
    path = conf(f"# a comment\n\n{name} = {value}\n")
    status, got, complaints = check(release, config=path)
    assert (status, got, len(complaints)) == (78, {}, 1)
    assert complaints[0].startswith(f"smtpd: {path}:3: {name}")


@pytest.mark.parametrize("port", ["", "0", *NO_PORTS])
@pytest.mark.parametrize("place",
                         ["upstream=192.0.2.1", "upstream=[::1]", "upstream=mail.example.org",
                          "mailman=127.0.0.1", "mailman=localhost"])
def test_port_that_is_none(release, place, port):
    """getaddrinfo(3) would take many of them."""
    status, _, complaints = check(release, "--strategy=mailman", f"--{place}:{port}")
    assert status == 64
    assert complaints == [
        f"smtpd: command line: {place}:{port}: use HOST[:PORT], [IPV6]:PORT or /SOCKET, with a "
        f"PORT from 1 to 65535"]


@pytest.mark.parametrize("port", ["1", "25", "65535", "00025", "smtp", "submission"])
def test_port(release, port):
    status, got, complaints = check(release, "--strategy=proxy", "--upstream-tls=required",
                                    f"--upstream=mail.example.org:{port},[::1]:{port}")
    assert (status, complaints, got["upstream"]) == (0, [], f"mail.example.org:{port},[::1]:{port}")


def test_bad_values_are_clean_with_sanitizers(smtpd, conf):
    """All of the mistakes at once, and every one is found."""
    everything = [(name, value) for name,
                  all in MISTAKES.items() for value in all if value == value.strip()]
    status, _, complaints = check(smtpd, *[f"--{name}={value}" for name, value in everything])
    assert (status, len(complaints)) == (64, len(everything))
    status, _, complaints = check(smtpd,
                                  config=conf("".join(f"{name}={value}\n" for name,
                                                      value in everything)))
    assert (status, len(complaints)) == (78, len(everything))
