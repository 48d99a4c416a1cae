# SPDX-License-Identifier: MIT
"""TLS toward upstreams: mistakes in its options, what --check warns of, and what --check=network
sees."""

import re

import pytest
from session import command, run
from upstream import Upstream
from upstream_tls import HOST, implicit, secure, tls
from upstream_tls import engine, pki  # noqa: F401 (fixtures)

# --- the configuration ----------------------------------------------------------------------------

MISTAKES = {
    "tls without upstream": (["--strategy=mailman", "--upstream-tls=required"],
                             "upstream-tls needs upstream=HOST[:PORT]"),
    "verify without tls": (["--upstream=h", "--upstream-tls-verify=ca"],
                           "upstream-tls-verify needs upstream-tls=required"),
    "ca not used": (["--upstream=h", "--upstream-tls=required", "--upstream-tls-verify=no",
                     "--upstream-tls-ca=/x"],
                    "upstream-tls-ca needs upstream-tls-verify=ca"),
    "name not used": (["--upstream=h", "--upstream-tls=opportunistic", "--upstream-tls-name=x"],
                      "upstream-tls-name needs upstream-tls-verify=ca"),
    "two words": (["--upstream=h", "--upstream-tls=required", "--upstream-tls-verify=ca,no"],
                  "ca and no must be the only value"),
    "word and pin": (["--upstream=h", "--upstream-tls=required",
                      "--upstream-tls-verify=ca,sha256:" + "a" * 64], "ca and no must be the only value"),
    "short pin": (["--upstream=h", "--upstream-tls=required", "--upstream-tls-verify=sha256:abc"],
                  "64 hexadecimal digits"),
    "no pin": (["--upstream=h", "--upstream-tls=required",
                "--upstream-tls-verify=sha256:" + "g" * 64], "64 hexadecimal digits"),
    "socket": (["--upstream=/run/x", "--upstream-tls=required"], "add upstream-tls-name=NAME"),
    "mode": (["--upstream=h", "--upstream-tls=yes"], "use no, opportunistic, required or implicit"),
    "strategy": (["--strategy=print", "--upstream-tls=required"],
                 "makes no sense with strategy=print"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_of_tls(release, case):
    options, complaint = MISTAKES[case]
    status, _, err = run(command(release, "--strategy=proxy", *options, "--check"))
    assert status == 64 and complaint in err.decode(), err


# --- --check --------------------------------------------------------------------------------------


def check(release, *options, network=False):
    status, out, err = run(command(release, "--strategy=proxy", *options,
                                   "--check=network" if network else "--check"))
    assert status == 0, err
    return out.decode(), err.decode()


WARNINGS = {
    "clear": (["--upstream=mail.example.com"],
              "upstream-tls: mail goes to mail.example.com in plain text"),
    "opportunistic": (["--upstream=192.0.2.1:25", "--upstream-tls=opportunistic"],
                      "an attacker between us and 192.0.2.1:25"),
    "not verified": (["--upstream=h", "--upstream-tls=required", "--upstream-tls-verify=no"],
                     "upstream-tls-verify: an impostor of the upstream"),
    "here": (["--upstream=127.0.0.1,[::1],localhost,/run/socket"], None),
    "required": (["--upstream=mail.example.com", "--upstream-tls=required"], None),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_check_warns_of_tls(release, case):
    options, warning = WARNINGS[case]
    err = check(release, *options)[1]
    assert warning in err if warning else "upstream-tls" not in err, err


@pytest.mark.parametrize("mode", ["required", "implicit"])
def test_check_network_says_what_it_sees(smtpd, pki, mode):
    script = secure(pki["good"]) if mode == "required" else {"greeting": implicit(pki["good"])}
    with Upstream(script) as up:
        out, err = check(smtpd, f"--upstream={up.endpoint}", *tls(mode, pki), network=True)
    assert f"# upstream {up.endpoint}: TLSv1.3 TLS_" in out and f"#   certificate for {HOST} (CN={HOST})\n" in out, out
    assert f"#   sha256:{pki['good'].fingerprint.replace(':', '').lower()}\n" in out
    assert ": SUCCESS\n" in out
    assert "upstream-tls" not in err


FAULTS = {
    "self-signed": ("self", [],
                    r"its certificate cannot be verified \(.+\); until that changes, mail for it "
                    r"gets 451"),
    "other name": ("other", [], r"its certificate cannot be verified \(hostname mismatch\)"),
    "pin": ("self", ["--upstream-tls-verify=sha256:" + "0" * 64],
            "its certificate is not the one in upstream-tls-verify"),
    "stripped": (None, [], "it does not offer STARTTLS"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_check_network_says_what_is_wrong(release, pki, case):
    which, options, warning = FAULTS[case]
    options = options or tls("required", pki)[1:]
    with Upstream(secure(pki[which]) if which else {}) as up:
        out, err = check(release, f"--upstream={up.endpoint}", "--upstream-tls=required", *options,
                         network=True)
    assert re.search(warning, err), err
    assert (": TLSv1.3 " in out) == (which is not None)


def test_check_network_with_the_right_pin(release, pki):
    with Upstream(secure(pki["self"])) as up:
        _, err = check(release, f"--upstream={up.endpoint}", "--upstream-tls=required",
                       f"--upstream-tls-verify=sha256:{'0' * 64},sha256:{pki['self'].fingerprint}",
                       network=True)
    assert "upstream-tls" not in err
