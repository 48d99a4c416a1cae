# SPDX-License-Identifier: MIT
"""TLS behind a balancer (proxy-from): STARTTLS, TLS from the first octet behind a header, and the
balancer's own, which its header tells of."""

import ssl
import subprocess

import pytest
from balanced import FROM, REPLIES, SAID, talk
from balancer import tls, v1, v2, value
from engine import Secure
from logs import one
from session import PATIENCE, Session, codes, command, replies, tcp_pair
from tls import Certificate, engine_of


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("certificate"))


def with_tls(smtpd, certificate, *options):
    engine_of(smtpd)
    return command(smtpd, FROM, f"--tls-certificate={certificate.certificate}",
                   f"--tls-key={certificate.key}", *options)


def deliver(session):
    assert session.send_message(b"Subject: x\r\n\r\ntext\r\n") == b"250 2.0.0 printed"
    assert session.end() == 0


def test_starttls_behind_it(release, tmp_path, certificate):
    with Secure(with_tls(release, certificate), tmp_path, tcp_pair()) as session:
        session.say(v2(values=tls(b"TLSv1.2")))
        session.begin("EHLO")
        session.start_tls()
        session.expect((b"EHLO c", b"250-"))
        deliver(session)
        line = one(session.err(), "message")
        assert (line["peer"], line["via"], line["protocol"]) == (b"192.0.2.1", b"127.0.0.1",
                                                                 b"ESMTPS")
        assert line["tls"].startswith(b"TLSv1.3 ") and b"balancer" not in line["tls"]


@pytest.mark.parametrize("pieces", ["at once", "octets"])
def test_tls_from_the_first_octet(release, tmp_path, certificate, pieces):
    """Of what comes in one segment with the header not an octet is missing for the engine."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    tls_ = context.wrap_bio(incoming, outgoing)
    with Session(with_tls(release, certificate, "--tls=implicit"), tmp_path, tcp_pair()) as session:
        sock, said, heard = session.ours, v2(), b""
        sock.settimeout(PATIENCE)

        def step(function):
            """With what the other side says meanwhile."""
            nonlocal said
            while True:
                try:
                    return function()
                except ssl.SSLWantReadError:
                    said += outgoing.read()
                    for part in [said] if pieces == "at once" else [said[i : i + 1]
                                                                    for i in range(len(said))]:
                        sock.sendall(part)
                    said = b""
                    octets_ = sock.recv(65536)
                    incoming.write(octets_) if octets_ else incoming.write_eof()

        step(tls_.do_handshake)
        while not heard.endswith(b"smtpd\r\n"):
            heard += step(lambda: tls_.read(65536))
        tls_.write(SAID)
        while chunk := step(lambda: tls_.read(65536)):
            heard += chunk
            if b"\r\n221 " in heard:
                break
        assert codes(heard) == REPLIES
        said += outgoing.read()
        session.ours.close()
        session.status()
        assert one(session.err(), "message")["peer"] == b"192.0.2.1"


@pytest.mark.parametrize("header", [v2(values=tls()), v2(), v1(), v2(values=tls(flags=0))],
                         ids=["tls", "v2", "v1", "no tls"])
@pytest.mark.parametrize("counts", ["yes", "no"])
def test_tls_of_the_balancer(release, tmp_path, certificate, header, counts):
    """It is told; it counts if proxy-tls says so."""
    is_told = header == v2(values=tls())
    said, log = talk(with_tls(release, certificate, "--tls=required", f"--proxy-tls={counts}"),
                     tmp_path, header + SAID)
    is_secure = is_told and counts == "yes"
    assert said[:3] == [220, 250, 250 if is_secure else 530]
    line = one(log, "session")
    assert line.all("tls") == ([b"TLSv1.3 TLS_AES_256_GCM_SHA384 (at the balancer)"] if is_told
                               else [])
    assert line["protocol"] == (b"ESMTPS" if is_secure else b"ESMTP")


def test_tls_of_the_balancer_is_passed_on(release, tmp_path):
    (tmp_path / "program").write_text('#!/bin/sh\necho "250 $SMTPD_PROTOCOL $SMTPD_TLS '
                                      '$SMTPD_TLS_CIPHER $SMTPD_TLS_SNI $SMTPD_TLS_CLIENT_VERIFY"\n')
    (tmp_path / "program").chmod(0o755)
    argv = command(release, FROM, "--proxy-tls=yes", "--strategy=exec",
                   f"--command={tmp_path}/program")
    with Session(argv, tmp_path, tcp_pair()) as session:
        session.say(v2(values=value(2, b"mx\n.example") + tls()) + SAID)
        assert replies(session.read_to_end())[5] == (250,
                                                     b"ESMTPS TLSv1.3 TLS_AES_256_GCM_SHA384 "
                                                     b"mx?.example NONE")
        assert one(session.err(), "message")["sni"] == b"mx?.example"


def test_tls_of_which_balancer(release):
    done = subprocess.run(command(release, "--proxy-tls=yes", "--check"), capture_output=True,
                          timeout=PATIENCE)
    assert done.returncode == 64
    assert done.stderr == b"smtpd: command line: proxy-tls makes no sense without proxy-from=ADDRESS, the balancer\n"
