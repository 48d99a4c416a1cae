# SPDX-License-Identifier: MIT
"""AUTH toward upstreams: upstream-user, upstream-password, upstream-auth. The password is looked
for wherever it must not be."""

import base64
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from acceptor import Acceptor
from conftest import ROOT, everybodys, need, need_root
from logs import lines, one
from processes import running_children
from proxy import SMALL, check_exact, check_honest, play, proxy
from session import Session, command, environment, run, wait_until
from upstream import Upstream, close, silent
from upstream_tls import Account, ehlo, implicit, offers, secure, tls
from upstream_tls import engine, pki  # noqa: F401 (fixtures)

USER, PASSWORD = "relay@example.com", "correct-horse~battery staple"


@pytest.fixture
def password(tmp_path):
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\nwhat follows is a comment\n")
    path.chmod(0o600)
    return path


def login(path, mechanism=None):
    return [f"--upstream-user={USER}", f"--upstream-password={path}",
            *([f"--upstream-auth={mechanism}"] if mechanism else [])]


def clear(account, *words):
    """A script for an upstream on this host, without TLS."""
    return {"EHLO": ehlo("PIPELINING", *words), "LHLO": ehlo("PIPELINING", *words), "AUTH": account}


def forms(secret=PASSWORD):
    """What it looks like."""
    wire = [secret.encode(), base64.b64encode(secret.encode())]
    return [*wire, base64.b64encode(b"\0" + USER.encode() + b"\0" + secret.encode())]


def check_unseen(octets, secret=PASSWORD):
    assert not [form for form in forms(secret) if form in octets], octets


MECHANISMS = {  # what is configured, what is offered, what is used
    "plain": ("plain", "AUTH LOGIN PLAIN", b"PLAIN"),
    "login": ("login", "AUTH PLAIN LOGIN", b"LOGIN"),
    "xoauth2": ("xoauth2", "AUTH PLAIN LOGIN XOAUTH2", b"XOAUTH2"),
    "first": (None, "AUTH LOGIN PLAIN CRAM-MD5", b"PLAIN"),
    "second": (None, "AUTH CRAM-MD5 login", b"LOGIN"),
}


@pytest.mark.parametrize("case", MECHANISMS)
def test_mechanisms(smtpd, tmp_path, password, case):
    configured, offered, used = MECHANISMS[case]
    account = Account(USER, PASSWORD)
    with Upstream(clear(account, offered)) as up:
        outcome = play(proxy(smtpd, up, *login(password, configured)), tmp_path)
        assert outcome.codes == [250, 250, 250, 354, 250], outcome
        check_honest(outcome, up)
        check_exact(up.messages[0], SMALL)
        assert [mechanism for mechanism, _ in account.said] == [used]
    check_unseen(outcome.log)


@pytest.mark.parametrize("mode", ["required", "implicit"])
def test_over_tls(smtpd, tmp_path, pki, password, mode):  # noqa: F811
    account = Account(USER, PASSWORD)
    script = secure(pki["good"], "AUTH PLAIN", AUTH=account) if mode == "required" else {
        "greeting": implicit(pki["good"]), "EHLO": offers("AUTH PLAIN"), "AUTH": account}
    with Upstream(script) as up:
        outcome = play(proxy(smtpd, up, *tls(mode, pki), *login(password)), tmp_path)
        assert outcome.codes == [250, 250, 250, 354, 250], outcome
        check_exact(up.messages[0], SMALL)
        assert account.secure == [True]
        hellos = [line for line in up.commands if line.startswith(b"EHLO")]
        assert len(hellos) == (3 if mode == "required" else 2)
    assert one(outcome.log, "message")["secured"].startswith(b"TLSv1.3 ")
    check_unseen(outcome.log)


def test_login_by_lmtp(release, tmp_path, password):
    account = Account(USER, PASSWORD)
    with Upstream(clear(account, "AUTH PLAIN"), lmtp=True) as up:
        outcome = play(proxy(release, up, "--upstream-protocol=lmtp", *login(password)), tmp_path)
        assert outcome.codes[-1] == 250 and len(account.said) == 1


REFUSED = {
    "535": (clear(Account(USER, "another"), "AUTH PLAIN"), rb"535 5\.7\.8 bad credentials"),
    "login": (clear(Account(USER, "another"), "AUTH LOGIN"), rb"535 5\.7\.8 bad credentials"),
    "not offered": (clear(None, "AUTH CRAM-MD5"),
                    rb"it offers no AUTH mechanism that is configured: CRAM-MD5"),
    "none": (clear(None), rb"it offers no AUTH mechanism that is configured: none"),
    "534": ({"EHLO": ehlo("AUTH PLAIN"), "AUTH": b"534 5.7.9 too weak\r\n"},
            rb"534 5\.7\.9 too weak"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_credentials_are_our_fault(smtpd, tmp_path, password, case):
    """An error in the log, 451 for the client, and never its 5xx."""
    script, reason = REFUSED[case]
    with Upstream(script) as up:
        outcome = play(proxy(smtpd, up, *login(password)), tmp_path)
        assert outcome.last == b"451 4.7.8 the upstream server rejected our credentials, try again later"
        assert up.messages == [] and not any(line.startswith(b"MAIL") for line in up.commands)
    line = lines(outcome.log, "upstream")[0]
    assert line["step"] == b"AUTH"
    assert re.search(reason, b" ".join(value for _, value in line.fields))
    check_unseen(outcome.log)


def test_refused_token(release, tmp_path, password):
    """The challenge that tells why wants an empty answer."""
    account = Account(USER, "another token")
    with Upstream(clear(account, "AUTH XOAUTH2")) as up:
        outcome = play(proxy(release, up, *login(password, "xoauth2")), tmp_path)
        assert outcome.last.startswith(b"451 4.7.8 ") and b"" in up.commands


def test_next_upstream_takes_the_password(release, tmp_path, password):
    with (Upstream(clear(Account(USER, "another"), "AUTH PLAIN")) as first,
          Upstream(clear(Account(USER, PASSWORD), "AUTH PLAIN")) as second):
        outcome = play(proxy(release, first, second, *login(password)), tmp_path)
        assert outcome.codes[-1] == 250 and first.messages == [] and len(second.messages) == 1


def test_temporary_failure_is_the_upstreams_word(release, tmp_path, password):
    with Upstream({"EHLO": ehlo("AUTH PLAIN"),
                   "AUTH": b"454 4.7.0 my directory is away\r\n"}) as up:
        outcome = play(proxy(release, up, *login(password)), tmp_path)
    assert outcome.last == b"451 4.7.0 my directory is away"


ECHOES = {
    "line": lambda c: c.send(b"535 5.7.8 no: " + c.commands[-1] + b"\r\n"),
    "password": lambda c: c.send(b"535 5.7.8 no: "
                                 + base64.b64decode(
                                     c.commands[-1].split(b" ")[2]).replace(b"\0", b"/") + b"\r\n"),
    "temporary": lambda c: c.send(b"454 4.7.8 no: " + c.commands[-1] + b"\r\n"),
}


@pytest.mark.parametrize("how", ECHOES)
def test_upstream_that_repeats_the_password(smtpd, tmp_path, password, how):
    with Upstream({"EHLO": ehlo("AUTH PLAIN"), "AUTH": ECHOES[how]}) as up:
        outcome = play(proxy(smtpd, up, *login(password)), tmp_path)
    assert outcome.codes[-1] in (451, 454)
    check_unseen(outcome.log)
    check_unseen(b"".join(outcome.replies.values()))


@pytest.mark.parametrize("step", [silent, close], ids=["silent", "closed"])
def test_upstream_that_ends_in_auth(release, tmp_path, password, step):
    with Upstream({"EHLO": ehlo("AUTH PLAIN"), "AUTH": step}) as up:
        outcome = play(proxy(release, up, *login(password), "--upstream-timeout=1"), tmp_path)
    assert outcome.codes[-1] == 451 and outcome.seconds < 10
    assert lines(outcome.log, "upstream")[0]["step"] == b"AUTH"
    check_unseen(outcome.log)


# --- the file -------------------------------------------------------------------------------------

FILES = {
    "not there": (None, b"No such file or directory"),
    "empty": (b"", b"its first line is empty"),
    "empty line": (b"\nsecret\n", b"its first line is empty"),
    "NUL": (b"secr\0et\n", b"its first line has a NUL"),
    "too long": (b"x" * 8193, b"its first line is longer than 8192 octets"),
}


@pytest.mark.parametrize("case", FILES)
def test_password_files(release, tmp_path, case):
    octets, reason = FILES[case]
    path = tmp_path / "password"
    if octets is not None:
        path.write_bytes(octets)
    with Upstream(clear(Account(USER, PASSWORD), "AUTH PLAIN")) as up:
        outcome = play(proxy(release, up, *login(path)), tmp_path)
        assert outcome.last.startswith(b"451 4.7.8 ")
        assert not any(line.startswith(b"AUTH") for line in up.commands)
    assert b"cannot read upstream-password=" + str(path).encode() in outcome.log
    assert reason in outcome.log


def test_long_token(release, tmp_path):
    token = "t" * 8192
    path = tmp_path / "token"
    path.write_text(token)
    account = Account(USER, token)
    with Upstream(clear(account, "AUTH XOAUTH2")) as up:
        assert play(proxy(release, up, *login(path, "xoauth2")), tmp_path).codes[-1] == 250


def test_file_is_read_for_each_connection(release, tmp_path, password):
    """A token is refreshed by others."""
    account = Account(USER, PASSWORD)
    with (Upstream(clear(account, "AUTH PLAIN")) as up,
          Session(proxy(release, up, *login(password)), tmp_path) as session):
        session.begin("EHLO")
        assert session.send_message(SMALL).startswith(b"250 ")
        account.password = b"another"
        password.write_text("another\n")
        for c in up.connections:
            c.sock.shutdown(2)
        up.wait_until_over()
        assert session.send_message(SMALL).startswith(b"250 ")
        assert len(account.said) == 2 and session.end() == 0


def test_credential(release, tmp_path, password):
    """A name without a slash is a file in $CREDENTIALS_DIRECTORY."""
    account = Account(USER, PASSWORD)
    env = environment(CREDENTIALS_DIRECTORY=str(tmp_path))
    with (Upstream(clear(account, "AUTH PLAIN")) as up,
          Session(proxy(release, up, *login("password")), tmp_path, env=env) as session):
        session.begin("EHLO")
        assert session.send_message(SMALL).startswith(b"250 ") and session.end() == 0


# --- where it is not ------------------------------------------------------------------------------


def memory_of(pid):
    """All that it has, as root sees it."""
    found = b""
    with (open(f"/proc/{pid}/maps", encoding="utf-8") as maps,
          open(f"/proc/{pid}/mem", "rb") as memory):
        for line in maps:
            start, end = (int(number, 16) for number in line.split(" ")[0].split("-"))
            if " r" not in line[: line.index("p ") + 2] or "[v" in line:
                continue
            try:
                memory.seek(start)
                found += memory.read(end - start)
            except (OSError, ValueError, OverflowError):
                pass
    return found


def check_no_trace(pid):
    check_unseen(Path(f"/proc/{pid}/environ").read_bytes())
    check_unseen(Path(f"/proc/{pid}/cmdline").read_bytes())
    check_unseen(memory_of(pid))


def test_no_process_has_it_when_the_session_begins(release, tmp_path, password):
    """Neither the session nor its broker; and who has logged in is gone."""
    need_root()
    account = Account(USER, PASSWORD)
    with (Upstream(clear(account, "AUTH PLAIN")) as up,
          Session(proxy(release, up, *login(password)), tmp_path) as session):
        session.begin("RCPT")
        assert len(account.said) == 1
        broker = running_children(session.pid)
        assert len(broker) == 1 and running_children(broker[0]) == []
        for pid in (session.pid, *broker):
            assert b"smtpd" in memory_of(pid)
            check_no_trace(pid)
        session.expect((b"RSET", b"250 "))
        assert session.end() == 0


def test_who_logs_in_is_not_to_be_looked_into(release, tmp_path, password):
    """No core, nobody of the same user; confined; and its end is that of its broker."""
    need_root()
    with (Upstream({"EHLO": ehlo("AUTH PLAIN"), "AUTH": silent}) as up,
          Session(proxy(release, up, *login(password)), tmp_path) as session):
        session.expect((None, b"220 "))
        session.say(b"EHLO client.example.org\r\n")
        wait_until(lambda: up.connections
                   and any(line.startswith(b"AUTH") for line in up.connections[0].commands), "AUTH")
        (broker,) = running_children(session.pid)
        (speaker,) = running_children(broker)
        check_unseen(memory_of(broker))
        check_unseen(memory_of(session.pid))
        status = Path(f"/proc/{speaker}/status").read_text()
        assert re.search(r"^Seccomp:\s+2$", status, re.M)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
        assert re.search(r"^Max core file size\s+0\s+0\s",
                         Path(f"/proc/{speaker}/limits").read_text(), re.M)
        os.kill(session.pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{speaker}").exists(), "the end of the process")


# --- the acceptor ---------------------------------------------------------------------------------


def test_acceptor_of_root(release, password):
    """It reads the file before it becomes a user who may not; again at SIGHUP; and keeps what it
    has if it cannot."""
    need_root()
    account = Account(USER, PASSWORD)
    with everybodys(release) as program, Upstream(clear(account, "AUTH PLAIN")) as up:
        folder = Path(program).parent
        options = ["--strategy=proxy", f"--upstream={up.endpoint}", "--user=nobody",
                   *login(password)]
        with Acceptor(program, folder, *options) as door:
            def send():
                with door.client() as client:
                    client.begin("EHLO")
                    verdict = client.send_message(SMALL)
                    client.expect((b"QUIT", b"221 "))
                    return verdict

            assert send().startswith(b"250 ")
            password.write_text("another, which only root can read\n")
            password.chmod(0o600)
            door.reload()
            wait_until(lambda: b"the old one is still used" in door.err(),
                       "the log line")
            assert f"cannot read upstream-password={password}: Permission denied".encode() in door.err()
            assert send().startswith(b"250 ") and len(account.said) == 2
        check_unseen(door.err())


# --- the configuration ----------------------------------------------------------------------------

MISTAKES = {
    "clear": (["--upstream=mail.example.com", "--upstream-user=a", "--upstream-password=/p"],
              "the password would be sent to mail.example.com in plain text: choose upstream-tls=required or "
              "implicit"),
    "opportunistic": (["--upstream=192.0.2.1", "--upstream-tls=opportunistic", "--upstream-user=a",
                       "--upstream-password=/p"],
                      "the password would be sent to 192.0.2.1 in plain text"),
    "one of two": (["--upstream=localhost,mail.example.com", "--upstream-user=a",
                    "--upstream-password=/p"], "would be sent to mail.example.com"),
    "no password": (["--upstream=localhost", "--upstream-user=a"],
                    "upstream-user needs upstream-password=FILE"),
    "no user": (["--upstream=localhost", "--upstream-password=/p"],
                "upstream-password needs upstream-user=NAME"),
    "auth alone": (["--upstream=localhost", "--upstream-auth=plain"],
                   "upstream-auth needs upstream-user=NAME"),
    "mechanism": (["--upstream=localhost", "--upstream-auth=cram-md5"],
                  "use plain, login or xoauth2"),
    "xclient": (["--upstream=localhost", "--xclient=yes", "--upstream-user=a",
                 "--upstream-password=/p"],
                "xclient makes no sense with upstream-user"),
}
FINE = [["--upstream=localhost"], ["--upstream=127.0.0.9:587"], ["--upstream=[::1]:25"],
        ["--upstream=/run/submission"],
        ["--upstream=mail.example.com", "--upstream-tls=required"],
        ["--upstream=mail.example.com", "--upstream-tls=implicit"]]


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_of_a_password(release, case):
    options, complaint = MISTAKES[case]
    status, _, err = run(command(release, "--strategy=proxy", *options, "--check"))
    assert status == 64 and complaint in err.decode(), err


@pytest.mark.parametrize("options", FINE)
def test_no_mistakes(release, password, options):
    status, out, err = run(command(release, "--strategy=proxy", *options, "--upstream-user=a",
                                   f"--upstream-password={password}", "--check"))
    assert status == 0 and b"upstream-user=a\n" in out, err


def test_process_that_stays(release, tmp_path, password):
    """Whoever takes over the process that logs in can have it say that it is done, and stay. Nobody
    waits for it."""
    preload = tmp_path / "preload.so"
    source = ROOT / "tests/sandbox.d/preload.c"
    subprocess.run([need("cc"), "-shared", "-fPIC", "-U_FORTIFY_SOURCE", "-D_GNU_SOURCE", "-o",
                    preload, source], check=True)
    env = environment(LD_PRELOAD=str(preload), STAYS="1")
    with (Upstream(clear(Account(USER, PASSWORD), "AUTH PLAIN")) as up,
          Session(proxy(release, up, *login(password)), tmp_path, env=env) as session):
        session.begin("EHLO")
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.end() == 0
