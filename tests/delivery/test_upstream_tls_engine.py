# SPDX-License-Identifier: MIT
"""TLS toward upstreams: the engine (smtpd-tls) that all sessions of an acceptor share."""

import os
import re
import signal
from pathlib import Path

import pytest
from acceptor import Acceptor, copy_of, start_that_fails
from conftest import everybodys, need_root
from logs import lines
from processes import command_line, running_children
from proxy import SMALL
from session import wait_until
from tls import openssl
from upstream import Upstream
from upstream_tls import HOST, secure
from upstream_tls import engine, pki  # noqa: F401 (fixtures)


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
