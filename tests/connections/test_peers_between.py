# SPDX-License-Identifier: MIT
"""Who the client is, by those who stand between: real socat, ncat, tcpserver and stunnel."""

import contextlib
import os
import socket
import subprocess
import time

import pytest
from conftest import need
from peers import DIALOGUE, REPLIES, UNKNOWN, message
from processes import running_children
from session import PATIENCE, codes, command, environment, free_port, printed, stop, wait_until


@contextlib.contextmanager
def running(*argv):
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=environment(),
                               start_new_session=True)
    try:
        yield process
    finally:
        for pid in running_children(process.pid) if process.poll() is None else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        stop(process)


def connect_when_it_listens(address, port, source=None):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection((address, port), PATIENCE, source and (source, 0))
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def hear(sock):
    """A session over it: the code of each reply."""
    with sock:
        sock.sendall(DIALOGUE)
        said = b""
        while chunk := sock.recv(65536):
            said += chunk
    return codes(said)



def script(smtpd, tmp_path, *options):
    """A program to be started by others: its standard error is a file."""
    path, log = tmp_path / "session.sh", tmp_path / "log"
    log.touch()
    path.write_text(f'#!/bin/sh\nexec {" ".join(command(smtpd, *options))} 2>>{log}\n')
    path.chmod(0o755)
    return path, log


def expect_message(log, peer):
    wait_until(lambda: b"smtpd: session " in log.read_bytes(), "the end of the session")
    assert printed(log.read_bytes()) == [message(peer)]


ADDRESSES = {"IPv4": ("127.0.0.1", "127.0.0.9", "127.0.0.9"), "IPv6": ("::1", None, "::1")}


@pytest.mark.parametrize("how", ["EXEC:{}", "EXEC:{},nofork", "EXEC:{},pipes"])
@pytest.mark.parametrize("family", ADDRESSES)
def test_socat(release, tmp_path, family, how):
    need("socat")
    address, source, peer = ADDRESSES[family]
    program, log = script(release, tmp_path)
    port = free_port()
    listen = (f"TCP4-LISTEN:{port},bind={address}" if family == "IPv4"
              else f"TCP6-LISTEN:{port},bind=[{address}]")
    with running("socat", f"{listen},reuseaddr", how.format(program)):
        assert hear(connect_when_it_listens(address, port, source)) == REPLIES
        expect_message(log, peer)


def test_socat_at_a_local_socket(release, tmp_path):
    """It says <anon>, which could be anybody."""
    need("socat")
    program, log = script(release, tmp_path)
    with (running("socat", f"UNIX-LISTEN:{tmp_path}/socket", f"EXEC:{program}"),
          socket.socket(socket.AF_UNIX) as sock):
        # the file is there before it listens
        wait_until(lambda: sock.connect_ex(str(tmp_path / "socket")) == 0, "socat")
        sock.settimeout(PATIENCE)
        assert hear(sock) == REPLIES
        expect_message(log, UNKNOWN)


@pytest.mark.parametrize("family", ADDRESSES)
def test_ncat(release, tmp_path, family):
    """It gives us pipes."""
    address, source, peer = ADDRESSES[family]
    program, log = script(release, tmp_path)
    port = free_port()
    with running(need("ncat"), "-l", address, str(port), "--keep-open", "--exec", str(program)):
        assert hear(connect_when_it_listens(address, port, source)) == REPLIES
        expect_message(log, peer)


@pytest.mark.parametrize("family", ["IPv4"])
def test_tcpserver(release, tmp_path, family):
    address, source, peer = ADDRESSES[family]
    program, log = script(release, tmp_path)
    port = free_port()
    with running(need("tcpserver"), "-HRl0", address, str(port), program):
        assert hear(connect_when_it_listens(address, port, source)) == REPLIES
        expect_message(log, peer)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run([need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-keyout", path, "-out", f"{path}.crt"], check=True,
                   capture_output=True, timeout=60)
    with open(path, "ab") as file, open(f"{path}.crt", "rb") as crt:
        file.write(crt.read())
    return path


@pytest.mark.parametrize("family", ADDRESSES)
def test_stunnel(release, tmp_path, certificate, family):
    """exec= gives us its own loopback pair, and REMOTE_HOST."""
    import ssl

    address, source, peer = ADDRESSES[family]
    program, log = script(release, tmp_path)
    port = free_port()
    conf = tmp_path / "stunnel.conf"
    conf.write_text(f"foreground = yes\npid =\n[smtps]\naccept = {address}:{port}\ncert = "
                    f"{certificate}\nexec = {program}\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with running(need("stunnel4"), conf):
        assert hear(context.wrap_socket(connect_when_it_listens(address, port, source))) == REPLIES
        expect_message(log, peer)
