# SPDX-License-Identifier: MIT
"""smtpd-tls --check: what is wrong with certificates and keys, and what to do. And the same at a
start."""

import os
import shutil
import subprocess

import pytest
from conftest import everybodys, let_everybody_reach, need_root
from session import PATIENCE
from tls import NAME, Certificate, Engine, engine, engine_of, folder, openssl

_ = engine, folder  # fixtures


@pytest.fixture(scope="module")
def issuer(folder):
    return Certificate(folder, "issuer.example", ca=True)


@pytest.fixture(scope="module")
def good(folder, issuer):
    """With what leads to its issuer, as fullchain.pem has it."""
    made = Certificate(folder, issuer=issuer)
    made.certificate.write_bytes(made.certificate.read_bytes() + issuer.certificate.read_bytes())
    return made


def check(engine, *options):
    """(exit status, findings)"""
    done = subprocess.run([engine, "--check", *map(str, options)], capture_output=True, text=True,
                          timeout=PATIENCE, stdin=subprocess.DEVNULL)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert all(line.startswith(("error: ", "warning: ")) for line in lines)
    assert done.returncode == (78 if "error: " in done.stdout else 0)
    return done.returncode, lines


def only(engine, *options):
    status, lines = check(engine, *options)
    assert len(lines) == 1, lines
    return status, lines[0]


def test_nothing_is_wrong(engine, good):
    assert check(engine, *good.options) == (0, [])
    assert check(engine, *good.options, f"--hostname={NAME}", "--minimum=1.3", "--client=ask",
                 f"--client-ca={good.certificate}") == (0, [])


def test_wrong_pair(engine, good, folder):
    other = Certificate(folder, kind="rsa")
    status, said = only(engine, f"--certificate={good.certificate}", f"--key={other.key}")
    assert (status, said) == (78,
                              f"error: the key in {other.key} does not match the first "
                              f"certificate in {good.certificate}: "
                                  "name the file of the matching key")


def test_two_of_a_kind(engine, good, folder):
    second = Certificate(folder, "second.example")
    assert "is the second one for the same kind of key" in check(engine, *good.options,
                                                              *second.options)[1][-1]


@pytest.mark.parametrize("days, said",
                         [((-20, -10), "expired on "), ((10, 20), "is not valid before ")])
def test_dates(engine, folder, days, said):
    """No reason to keep the door shut: most servers deliver all the same."""
    old = Certificate(folder, "old.example", days=days)
    status, lines = check(engine, *old.options)
    assert status == 0 and f"warning: the certificate {old.certificate} {said}" in lines[0]
    assert " GMT" in lines[0]
    with Engine([engine, *old.options]) as e:
        e.connect()
        assert e.answer()[1]


@pytest.mark.parametrize("hostname, is_good",
                         [(NAME, True), (NAME.upper(), True), ("other.example.com", False),
                          ("[127.0.0.1]", False)])
def test_name(engine, good, hostname, is_good):
    status, lines = check(engine, *good.options, f"--hostname={hostname}")
    assert status == 0 and len(lines) == (0 if is_good else 1)
    assert is_good or lines[0].startswith(f"warning: the certificate {good.certificate} is not for "
                                          f"{hostname}: ")


def test_who_vouches(engine, folder, issuer):
    status, said = only(engine, *issuer.options)
    assert status == 0 and "is self-signed" in said
    status, said = only(engine, *Certificate(folder, "alone.example", issuer=issuer).options)
    assert status == 0 and "fullchain.pem" in said
    status, said = only(engine, "--certificate=self-signed")
    assert status == 0 and "for tests only" in said


def test_files_that_are_none(engine, good, tmp_path):
    text, locked = tmp_path / "text", tmp_path / "locked"
    text.write_text("-----BEGIN CERTIFICATE-----\nxyz\n-----END CERTIFICATE-----\n")
    text.chmod(0o600)
    assert f"cannot read the certificate {tmp_path}/none: No such file or directory" in check(
        engine, f"--certificate={tmp_path}/none")[1][0]
    assert f"cannot read the key {tmp_path}/none: " in only(engine,
                                                            f"--certificate={good.certificate}",
                                                            f"--key={tmp_path}/none")[1]
    assert f"no certificate in {text}: it must be in PEM format" in check(
        engine, f"--certificate={text}")[1][0]
    assert f"no readable key in {text}: " in only(
        engine, f"--certificate={good.certificate}", f"--key={text}")[1]
    assert "error: cannot read the issuers" in only(engine, *good.options, "--client=ask",
                                                    f"--client-ca={tmp_path}/none")[1]
    openssl("pkey", "-in", good.key, "-aes128", "-passout", "pass:x", "-out", locked)
    assert "without a passphrase" in only(engine, f"--certificate={good.certificate}",
                                          f"--key={locked}")[1]


def test_key_that_was_not_named(engine, good, tmp_path):
    """The certificate's file is looked at for one, and everybody may read that file."""
    certificate = shutil.copy(good.certificate, tmp_path / "chain")
    os.chmod(certificate, 0o644)
    for options in ([], [f"--key={certificate}"]):  # smtpd names it twice
        assert only(engine, f"--certificate={certificate}", *options) == (
            78, f"error: no readable key in {certificate}: it must be in PEM format, without a "
                f"passphrase; if it is in a file of its own, name that (tls-key)")


@pytest.mark.parametrize("part", [0.3, 0.6, 0.99])
def test_chain_that_is_cut(engine, good, tmp_path, part):
    """It was read while it was written, or was copied in part. Clients could not find out who
    vouches for us."""
    text, cut = good.certificate.read_text(), tmp_path / "cut"
    second = text.index("-----BEGIN CERTIFICATE-----", 1)
    cut.write_text(text[: second + int(part * (len(text) - second))])
    assert only(engine, f"--certificate={cut}", f"--key={good.key}") == (
        78,
        f"error: cannot read the certificate {cut}: number 2 in it is damaged or truncated: "
        f"replace the file")


def cuts_of(text):
    """Where a file may end that is cut off while it is written: some octets of each line with
    dashes, and some others."""
    marks = [text.index(line) for line in set(text.splitlines()) if line.startswith("-----")]
    marks += [text.index("-----BEGIN", 1)] if text.count("-----BEGIN") > 1 else []
    near = [mark + d for mark in marks for d in (-1, 0, 1, 5, 12, 24, 26, 27, 28)]
    return sorted({n for n in (*near, *range(0, len(text), 97)) if 0 <= n < len(text)})


def n_whole(text):
    return text.count("-----END CERTIFICATE-----")


def is_between(text):
    """After the last whole certificate none has begun yet."""
    return "-----BEGIN CERTIFICATE-----" not in text.rpartition("-----END CERTIFICATE-----")[2]


@pytest.mark.parametrize("which", ["certificate", "client-ca"])
def test_certificates_cut_anywhere(engine, good, tmp_path, which):
    """Part of a certificate is refused, whatever part it is; a file of whole ones is a file."""
    text, cut = good.certificate.read_text(), tmp_path / "cut"
    options = {"certificate": [f"--key={good.key}", f"--certificate={cut}"],
               "client-ca": [*good.options, "--client=ask", f"--client-ca={cut}"]}[which]
    verdicts = set()
    for n in cuts_of(text):
        cut.write_text(text[:n])
        is_good = n_whole(text[:n]) > 0 and is_between(text[:n])
        status, lines = check(engine, *options)
        assert status == (0 if is_good else 78), (n, lines)
        assert is_good or any(str(cut) in line for line in lines), (n, lines)
        verdicts.add(status)
    assert verdicts == {0, 78}


def test_key_cut_anywhere(engine, good, tmp_path):
    text, cut = good.key.read_text().rstrip("\n"), tmp_path / "cut"
    cut.touch(0o600)
    for n in cuts_of(text):
        cut.write_text(text[:n])
        assert only(engine, f"--certificate={good.certificate}", f"--key={cut}") == (
            78, f"error: no readable key in {cut}: it must be in PEM format, without a passphrase")


def test_weak_key(engine, folder):
    assert "error: cannot use the certificate" in check(engine,
                                                        *Certificate(folder, "weak.example",
                                                                     kind="weak").options)[1][-1]


@pytest.mark.parametrize("mode, is_good",
                         [(0o400, True), (0o640, True), (0o604, False), (0o602, False),
                          (0o644, False)])
def test_mode_of_the_key(engine, good, tmp_path, mode, is_good):
    key = shutil.copy(good.key, tmp_path / "key")
    os.chmod(key, mode)
    found = check(engine, f"--certificate={good.certificate}", f"--key={key}")
    if is_good:
        assert found == (0, [])
    else:
        assert f"error: everyone on this host can read the key {key}: chmod o= {key}" in found[1][0]


def test_who_reads_it(smtpd, good, folder):
    """As the user that will: he has to be able to."""
    need_root()
    with everybodys(smtpd) as program:
        let_everybody_reach(folder)
        os.chmod(good.certificate, 0o644)
        engine = engine_of(program)
        status, said = only(engine, *good.options, "--user=nobody")
        assert (status, said.split(";")[0]) == (78,
                                                f"error: cannot read the key {good.key}: user "
                                                f"nobody is not permitted to")
        os.chown(good.key, 65534, 65534)
        assert check(engine, *good.options, "--user=nobody") == (0, [])
        assert "no such user" in only(engine, *good.options, "--user=nosuchuser")[1]
        os.chown(good.key, 0, 0)
