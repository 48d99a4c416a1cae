# SPDX-License-Identifier: MIT
"""TLS toward upstreams, with scripted ones (tests/lib/upstream_tls.py): what is sent over it, whom
we believe, what goes wrong, and what upstream-tls=opportunistic makes of that."""

import re

import pytest
from logs import lines, one
from proxy import SMALL, check_exact, check_honest, play, proxy
from session import command
from tls import openssl
from upstream import Upstream, close, silent
from upstream_tls import HOST, check_refused, implicit, offers, secure, start_tls, tls
from upstream_tls import engine, pki  # noqa: F401 (fixtures)

# --- all is well ----------------------------------------------------------------------------------


@pytest.mark.parametrize("lmtp", [False, True], ids=["SMTP", "LMTP"])
def test_upstream_has_starttls(smtpd, tmp_path, pki, lmtp):
    with Upstream(secure(pki["good"]), lmtp=lmtp) as up:
        outcome = play(proxy(smtpd, up, *tls("required", pki),
                             *(["--upstream-protocol=lmtp"] if lmtp else [])), tmp_path)
        assert outcome.codes == [250, 250, 250, 354, 250], outcome
        check_honest(outcome, up)
        check_exact(up.messages[0], SMALL)
        hello = (b"LHLO " if lmtp else b"EHLO ") + b"mx.example.com"
        assert up.commands == [hello, b"STARTTLS", hello, b"MAIL FROM:<a@example.org>",
                               b"RCPT TO:<b@example.com>", b"DATA", b"QUIT"]
    assert re.fullmatch(rb"TLSv1\.3 TLS_\w+", one(outcome.log, "message")["secured"])


def test_upstream_has_implicit_tls(smtpd, tmp_path, pki):
    with Upstream({"greeting": implicit(pki["good"])}) as up:
        outcome = play(proxy(smtpd, up, *tls("implicit", pki)), tmp_path)
        assert outcome.codes == [250, 250, 250, 354, 250], outcome
        check_exact(up.messages[0], SMALL)
        assert up.commands[0] == b"EHLO mx.example.com" and b"STARTTLS" not in up.commands
    assert one(outcome.log, "message")["secured"].startswith(b"TLSv1.3 ")


def test_large_message_to_an_upstream_in_tls(release, tmp_path, pki):
    content = b"Subject: x\r\n\r\n" + b"the quick brown fox\r\n" * 100000
    with Upstream(secure(pki["good"])) as up:
        assert play(proxy(release, up, *tls("required", pki)), tmp_path, content).codes[-1] == 250
        check_exact(up.messages[0], content)


def test_without_tls_the_log_says_nothing_of_it(release, tmp_path):
    with Upstream() as up:
        outcome = play(proxy(release, up), tmp_path)
    assert "secured" not in one(outcome.log, "message").keys()


def test_mailman_has_it_too(release, tmp_path, pki):
    """For the upstream; the list server is asked in clear."""
    no_list = {"RCPT": b"550 5.1.1 no such list\r\n"}
    with Upstream(secure(pki["good"])) as up, Upstream(no_list, lmtp=True) as lists:
        argv = command(release, "--strategy=mailman", f"--mailman={lists.endpoint}",
                       f"--upstream={up.endpoint}", *tls("required", pki))
        outcome = play(argv, tmp_path)
        assert outcome.codes == [250, 250, 250, 354, 250], outcome
        check_exact(up.messages[0], SMALL)
        assert b"STARTTLS" in up.commands and b"STARTTLS" not in lists.commands


def test_a_lost_connection_is_made_again(release, tmp_path, pki):
    """With TLS, before the envelope is said again."""
    with Upstream(secure(pki["good"], RCPT=close), secure(pki["good"])) as up:
        outcome = play(proxy(release, up, *tls("required", pki)), tmp_path)
        assert outcome.codes == [250, 250, 250, 354, 250], outcome
        check_honest(outcome, up)
        assert up.commands.count(b"STARTTLS") == 2


# --- who it is ------------------------------------------------------------------------------------

TRUST = {
    # name: (certificate, options of upstream-tls-verify and so on, what the log says; None: all is
    # well)
    "ca": ("good", {}, None),
    "other name": ("other", {}, "cannot be verified: hostname mismatch"),
    "self-signed": ("self", {"tls_name": "self.example"},
                    "cannot be verified: self.signed certificate"),
    "expired": ("expired", {"tls_name": "expired.example"},
                "cannot be verified: (self.signed certificate|certificate has expired)"),
    "not verified": ("self", {"tls_verify": "no"}, None),
    "pinned": ("self", {"tls_verify": "sha256:{self}"}, None),
    "pinned, expired": ("expired", {"tls_verify": "sha256:{expired}"}, None),
    "one of two pins": ("self", {"tls_verify": "sha256:{good},sha256:{self}"}, None),
    "another pin": ("self", {"tls_verify": "sha256:{good}"},
                    "not a pinned one: sha256:[0-9a-f]{64}"),
}


@pytest.mark.parametrize("mode", ["required", "implicit"])
@pytest.mark.parametrize("case", TRUST)
def test_trust(release, tmp_path, pki, case, mode):
    which, more, reason = TRUST[case]
    options = [f"--upstream-tls={mode}"]
    pins = {name: pki[name].fingerprint for name in ("good", "self", "expired")}
    if "tls_verify" in more:
        options.append(f"--upstream-tls-verify={more['tls_verify'].format(**pins)}")
    else:
        options += [f"--upstream-tls-ca={pki['ca'].certificate}",
                    f"--upstream-tls-name={more.get('tls_name', HOST)}"]
    script = secure(pki[which]) if mode == "required" else {"greeting": implicit(pki[which])}
    with Upstream(script) as up:
        outcome = play(proxy(release, up, *options), tmp_path)
        if reason:
            check_refused(outcome, up, reason)
        else:
            assert outcome.codes[-1] == 250, outcome


def test_authorities_of_a_directory(smtpd, tmp_path, pki):
    """As /etc/ssl/certs is: files whose names are hashes, which are read while the engine is
    confined."""
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(pki["ca"].certificate.read_bytes())
    openssl("rehash", folder)
    options = ["--upstream-tls=required", f"--upstream-tls-ca={folder}",
               f"--upstream-tls-name={HOST}"]
    with Upstream(secure(pki["good"])) as up:
        assert play(proxy(smtpd, up, *options), tmp_path).codes[-1] == 250
    with Upstream(secure(pki["self"])) as up:
        check_refused(play(proxy(smtpd, up, *options), tmp_path), up, "cannot be verified")


@pytest.mark.parametrize("part", [0, 0.03, 0.5, 0.99])
def test_authorities_that_are_cut(smtpd, tmp_path, pki, part):
    text, cut = pki["ca"].certificate.read_text(), tmp_path / "ca.pem"
    cut.write_text(text[: int(part * len(text))])
    options = ["--upstream-tls=required", f"--upstream-tls-ca={cut}", f"--upstream-tls-name={HOST}"]
    with Upstream(secure(pki["good"])) as up:
        outcome = play(proxy(smtpd, up, *options), tmp_path)
        check_refused(outcome, up, "the authorities cannot be read: see the log")
    assert f"cannot read the authorities {cut}: ".encode() in outcome.log


def test_an_address_has_to_be_in_the_certificate(release, tmp_path, pki):
    """Without upstream-tls-name the host of the upstream counts, here 127.0.0.1."""
    options = ["--upstream-tls=required", f"--upstream-tls-ca={pki['ca'].certificate}"]
    with Upstream(secure(pki["good"])) as up:
        check_refused(play(proxy(release, up, *options), tmp_path), up, "IP address mismatch")


def test_default_authorities(release, tmp_path, pki):
    with Upstream(secure(pki["good"])) as up:
        outcome = play(proxy(release, up, "--upstream-tls=required", f"--upstream-tls-name={HOST}"),
                       tmp_path)
        check_refused(outcome, up, "cannot be verified: unable to ")


def test_next_upstream(smtpd, tmp_path, pki):
    """One that cannot be trusted is left out."""
    with Upstream(secure(pki["self"])) as first, Upstream(secure(pki["good"])) as second:
        outcome = play(proxy(smtpd, first, second, *tls("required", pki)), tmp_path)
        assert outcome.codes[-1] == 250
        assert first.messages == [] and len(second.messages) == 1
    assert one(outcome.log, "upstream")["step"] == b"TLS"


# --- what goes wrong ------------------------------------------------------------------------------


def injected(pki):
    return {"EHLO": offers(), "STARTTLS": start_tls(pki["good"], behind=b"250 2.0.0 injected\r\n")}


WRONG = {
    "stripped": (lambda pki: {}, "does not offer STARTTLS"),
    "refused": (lambda pki: secure(pki["good"], STARTTLS=b"454 4.7.0 not now\r\n"),
                "454 4.7.0 not now"),
    "octets behind the 220": (injected, "octets follow its 220"),
    "no TLS behind the 220": (lambda pki: secure(pki["good"],
                                                 STARTTLS=[
                                                     lambda c: (c.send(b"220 go\r\n"), c.more(),
                                                                c.send(b"what?\r\n"))]),
                              "speaks plain text"),
    "closed behind the 220": (lambda pki: secure(pki["good"],
                                                 STARTTLS=lambda c: (c.send(b"220 go\r\n"),
                                                                     c.more(), close(c))),
                              "closed the connection during the handshake|reset|failed"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong(smtpd, tmp_path, pki, case):
    script, reason = WRONG[case]
    with Upstream(script(pki)) as up:
        check_refused(play(proxy(smtpd, up, *tls("required", pki)), tmp_path), up, reason)


def test_implicit_toward_plain(smtpd, tmp_path, pki):
    with Upstream() as up:
        check_refused(play(proxy(smtpd, up, *tls("implicit", pki)), tmp_path), up,
                      "the server speaks plain text, not TLS")


@pytest.mark.parametrize("step", ["greeting", "EHLO", "STARTTLS", "handshake"])
def test_silence_ends_in_time(release, tmp_path, pki, step):
    script = secure(pki["good"], **{step: silent}) if step != "handshake" else secure(
        pki["good"], STARTTLS=lambda c: (c.send(b"220 go\r\n"), silent(c)))
    with Upstream(script) as up:
        outcome = play(proxy(release, up, *tls("required", pki), "--upstream-timeout=1"), tmp_path)
    assert outcome.codes[-1] == 451 and outcome.seconds < 10
    line = lines(outcome.log, "upstream")[0]
    assert line["step"] == {"handshake": b"TLS"}.get(step,
                                                     step.encode()) and b"too long" in line["reason"] or b"in time" in line["reason"]


def test_refused_greeting_is_the_upstreams_word(smtpd, tmp_path, pki):
    with Upstream({"greeting": b"554 5.7.1 not you\r\n"}) as up:
        outcome = play(proxy(smtpd, up, *tls("required", pki)), tmp_path)
    assert outcome.last == b"451 4.7.1 not you"


def test_engine_that_is_not_there(release, tmp_path, pki):
    program = tmp_path / "smtpd"
    program.write_bytes(open(release, "rb").read())
    program.chmod(0o755)
    with Upstream(secure(pki["good"])) as up:
        outcome = play(proxy(str(program), up, *tls("required", pki)), tmp_path)
        check_refused(outcome, up, "cannot run .*smtpd-tls: No such file")


# --- opportunistic --------------------------------------------------------------------------------


def test_opportunistic_takes_what_there_is(smtpd, tmp_path, pki):
    with Upstream(secure(pki["self"])) as up:
        outcome = play(proxy(smtpd, up, "--upstream-tls=opportunistic"), tmp_path)
        assert outcome.codes[-1] == 250 and b"STARTTLS" in up.commands
    assert one(outcome.log, "message")["secured"].startswith(b"TLSv1.3")


@pytest.mark.parametrize(("case", "n_connections"),
                         [("stripped", 1), ("refused", 2), ("no TLS behind the 220", 2),
                          ("closed behind the 220", 2)])
def test_opportunistic_goes_on_in_clear(smtpd, tmp_path, pki, case, n_connections):
    with Upstream(WRONG[case][0](pki)) as up:
        outcome = play(proxy(smtpd, up, "--upstream-tls=opportunistic"), tmp_path)
        assert outcome.codes[-1] == 250, outcome
        check_exact(up.messages[0], SMALL)
        assert len(up.connections) == n_connections
    said = lines(outcome.log, "no TLS with the upstream")
    assert len(said) == n_connections - 1
    for line in said:
        why = "reply" if case == "refused" else "reason"
        assert line.keys() == ["endpoint", why] and line[why]
    assert "secured" not in one(outcome.log, "message").keys()


def test_opportunistic_takes_no_injection(smtpd, tmp_path, pki):
    with Upstream(injected(pki)) as up:
        outcome = play(proxy(smtpd, up, "--upstream-tls=opportunistic"), tmp_path)
        check_refused(outcome, up, "octets follow its 220")
