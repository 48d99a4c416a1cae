# SPDX-License-Identifier: MIT
"""TLS toward upstreams: upstream-tls and its companions, with scripted upstreams
(tests/lib/upstream_tls.py) and real ones."""

import os
import re
import signal
from pathlib import Path

import pytest
from acceptor import Acceptor, copy_of, start_that_fails
from conftest import everybodys, need_root
from logs import lines, one
from processes import command_line, running_children
from proxy import SMALL, check_exact, check_honest, play, proxy
from session import command, run, wait_until
from tls import Certificate, engine_of, openssl
from upstream import Upstream, close, silent
from upstream_tls import implicit, offers, secure, start_tls

HOST = "up.example"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """Certificates of our own authority, and others."""
    folder = tmp_path_factory.mktemp("pki")
    it = {"ca": Certificate(folder, "authority", ca=True), "folder": folder}
    it["good"] = Certificate(folder, HOST, issuer=it["ca"])
    it["other"] = Certificate(folder, "elsewhere.example", issuer=it["ca"])
    it["self"] = Certificate(folder, "self.example")
    it["expired"] = Certificate(folder, "expired.example", days=(-10, -1), ca=True)
    return it


@pytest.fixture(autouse=True)
def engine(request):
    for name in ("smtpd", "release"):
        if name in request.fixturenames:
            engine_of(request.getfixturevalue(name))


def tls(mode, pki=None, name=HOST, **more):
    options = [f"--upstream-tls={mode}"]
    if pki:
        options += [f"--upstream-tls-ca={pki['ca'].certificate}", f"--upstream-tls-name={name}"]
    return options + [f"--upstream-{key.replace('_', '-')}={value}" for key, value in more.items()]


def check_refused(outcome, up, reason):
    assert outcome.last.startswith(
        b"451 4.7.5 the upstream server cannot be reached over TLS"), outcome.replies
    line = lines(outcome.log, "upstream")[0]
    assert re.search(reason.encode(), b" ".join(value for _, value in line.fields)), outcome.log
    assert up.messages == [] and not any(b"MAIL" in c.raw for c in up.connections)


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
    assert len(lines(outcome.log, "no TLS with the upstream")) == n_connections - 1
    assert "secured" not in one(outcome.log, "message").keys()


def test_opportunistic_takes_no_injection(smtpd, tmp_path, pki):
    with Upstream(injected(pki)) as up:
        outcome = play(proxy(smtpd, up, "--upstream-tls=opportunistic"), tmp_path)
        check_refused(outcome, up, "octets follow its 220")


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


# --- the engine that all sessions of an acceptor share --------------------------------------------


def engine_processes(door):
    """Of the acceptor's keepers: their engines, with their command lines."""
    engines = [engine for keeper in running_children(door.pid)
               for engine in running_children(keeper)]
    return {pid: words for pid in engines if b"--connect" in (words := command_line(pid))}


def send_one(door):
    with door.client() as client:
        client.begin("EHLO")
        verdict = client.send_message(SMALL)
        client.expect((b"QUIT", b"221 "))
        return verdict


@pytest.fixture
def shared(smtpd, pki):
    """An acceptor with an upstream, and that."""
    with everybodys(smtpd) as program, Upstream(secure(pki["good"])) as up:
        folder = Path(program).parent
        ca = folder / "ca.pem"
        ca.write_bytes(pki["ca"].certificate.read_bytes())
        options = ["--strategy=proxy", f"--upstream={up.endpoint}", "--upstream-tls=required",
                   f"--upstream-tls-ca={ca}", f"--upstream-tls-name={HOST}"]
        with Acceptor(program, folder, *options) as door:
            yield door, up


def test_shared_engine(shared):
    door, up = shared
    ((pid, argv),) = engine_processes(door).items()
    assert b"--serve" in argv
    assert not any(word.startswith((b"--key", b"--certificate")) for word in argv)
    for _ in range(3):
        assert send_one(door).startswith(b"250 ")
    assert list(engine_processes(door)) == [pid] and len(up.messages) == 3
    assert len([line for line in lines(door.err(), "message")
                if line["secured"].startswith(b"TLSv1.3 ")]) == 3


def test_authorities_cut_while_an_engine_reads_them(smtpd, pki):
    """A directory is read at each handshake: what has become of a file is nobody's certificate, and
    once it is whole again it is."""
    with everybodys(smtpd) as program, Upstream(secure(pki["good"])) as up:
        folder = Path(program).parent / "certs"
        folder.mkdir()
        ca, whole = folder / "ca.pem", pki["ca"].certificate.read_bytes()
        ca.write_bytes(whole)
        openssl("rehash", folder)
        options = ["--strategy=proxy", f"--upstream={up.endpoint}", "--upstream-tls=required",
                   f"--upstream-tls-ca={folder}", f"--upstream-tls-name={HOST}"]
        with Acceptor(program, folder.parent, *options) as door:
            for n, answer in ((len(whole), b"250 "), (len(whole) // 2, b"451 4.7.5 "),
                              (0, b"451 4.7.5 "), (len(whole), b"250 ")):
                ca.write_bytes(whole[:n])
                with door.client() as client:
                    client.begin("EHLO")
                    client.expect((b"MAIL FROM:<a@example.org>", answer), (b"QUIT", b"221 "))
            reasons = [line["reason"] for line in lines(door.err(), "upstream")]
            assert [b"cannot be verified" in reason for reason in reasons] == [True, True]
            assert b"ended by" not in door.err()


def test_shared_engine_verifies(smtpd, pki):
    """Each request says whom: two upstreams of one configuration."""
    with (everybodys(smtpd) as program, Upstream(secure(pki["self"])) as first,
          Upstream(secure(pki["other"])) as second):
        folder = Path(program).parent
        pins = f"sha256:{pki['other'].fingerprint},sha256:{pki['good'].fingerprint}"
        options = ["--strategy=proxy", f"--upstream={first.endpoint},{second.endpoint}",
                   "--upstream-tls=required", f"--upstream-tls-verify={pins}"]
        with Acceptor(program, folder, *options) as door:
            assert send_one(door).startswith(b"250 ")
            assert first.messages == [] and len(second.messages) == 1
        assert b"not a pinned one" in door.err()


def test_shared_engine_is_started_anew(shared):
    door, _ = shared
    (pid,) = engine_processes(door)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: engine_processes(door) and pid not in engine_processes(door),
               "another engine")
    assert send_one(door).startswith(b"250 ")


def test_session_cannot_ask_the_engine_for_upstreams(shared):
    """Nor read the password: it has closed both before it reads the first octet; its broker has the
    socket."""
    need_root()
    door, _ = shared
    with door.client() as client:
        client.begin("EHLO")
        keepers = {keeper for keeper in running_children(door.pid) if running_children(keeper)
                   and any(
            b"--connect" in command_line(pid) for pid in running_children(keeper))}
        (session,) = set(running_children(door.pid)) - keepers
        (broker,) = running_children(session)
        number = re.search(rb"SMTPD_UPSTREAM_TLS_FD=(\d+)",
                           Path(f"/proc/{session}/environ").read_bytes())[1].decode()
        assert os.path.exists(f"/proc/{broker}/fd/{number}")
        assert not os.path.exists(f"/proc/{session}/fd/{number}")
        client.expect((b"QUIT", b"221 "))


def test_acceptor_without_smtpd_tls(release, tmp_path):
    """It says so at the start."""
    program = copy_of(release, tmp_path)
    status, err = start_that_fails(program, tmp_path, "--strategy=proxy", "--upstream=127.0.0.1:1",
                                   "--upstream-tls=required")
    assert status == 78 and b"upstream-tls: smtpd-tls is not installed" in err
