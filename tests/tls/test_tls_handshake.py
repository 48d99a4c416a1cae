# SPDX-License-Identifier: MIT
"""smtpd-tls, the engine: clients that show a certificate, and handshakes that fail."""

import contextlib
import re
import signal
import socket
import ssl
import struct
import time

import pytest
from session import PATIENCE
from tls import NAME, Certificate, Engine, client_context, engine, folder, openssl, released
from tls_peer import VERSIONS, hello_of, ours, refused, until_closed

_ = engine, folder, ours, released  # fixtures

# --- clients' certificates ------------------------------------------------------------------------


def verified(engine, ours, client, *options, **version):
    context = client_context(**version)
    if client:
        context.load_cert_chain(client.certificate, client.key)
    with Engine([engine, *ours.options, *options]) as e:
        e.connect(context)
        variables, is_secure = e.answer()
        assert is_secure
        e.clear.sendall(b"220 \r\n")
        assert e.peer.recv(100) == b"220 \r\n"
    return {name: value for name, value in variables.items() if name.startswith("SSL_CLIENT")}


@VERSIONS
def test_client_certificates(engine, ours, folder, version):
    issuer, stranger = Certificate(
        folder, "issuer.example", ca=True), Certificate(folder, "stranger.example")
    known = Certificate(folder, "known.example", issuer=issuer)
    ask = ["--client=ask", f"--client-ca={issuer.certificate}"]
    assert verified(engine, ours, known, *ask, **version) == {
        "SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_S_DN": "CN=known.example",
        "SSL_CLIENT_FINGERPRINT": fingerprint(known)}
    found = verified(engine, ours, stranger, *ask, **version)
    assert found["SSL_CLIENT_VERIFY"].startswith("FAILED:self")
    assert found["SSL_CLIENT_FINGERPRINT"] == fingerprint(stranger)
    assert verified(engine, ours, known, "--client=ask",
                    **version)["SSL_CLIENT_VERIFY"].startswith("FAILED:unable to ")
    assert verified(engine, ours, None, *ask, **version) == {"SSL_CLIENT_VERIFY": "NONE"}
    assert verified(engine, ours, known, **version) == {"SSL_CLIENT_VERIFY": "NONE"}


def fingerprint(certificate):
    return openssl("x509", "-in", certificate.certificate, "-noout", "-fingerprint",
                   "-sha256").decode().strip().split("=")[1].replace(":", "").lower()


def test_names_of_strangers_are_cleaned(engine, ours, folder):
    """No NUL, no line end, no other variable comes out of them."""
    odd = Certificate(folder, "odd.example",
                      subject="/CN=a\nSSL_CLIENT_VERIFY=SUCCESS\r\u00fc\x1b[31m/O=" + "x" * 60)
    found = verified(engine, ours, odd, "--client=ask")
    assert found["SSL_CLIENT_VERIFY"].startswith("FAILED:")
    assert re.fullmatch(r"[ -~]*", found["SSL_CLIENT_S_DN"])
    with Engine([engine, *ours.options]) as e:
        hello = bytearray(hello_of("a" * 40))
        at = hello.index(b"a" * 40)
        hello[at:at + 6] = b"\r\n\x1b\xff\x01="
        e.peer.sendall(hello)
        time.sleep(0.2)
        e.peer.close()
        assert set(e.answer()[0]) == {"TLS_ERROR"}


# --- handshakes that fail -------------------------------------------------------------------------


@pytest.mark.parametrize("data, reason", [
    (b"EHLO client.example\r\n", "the client speaks plain text, not TLS"),
    (b"GET / HTTP/1.1\r\n\r\n", "the client speaks plain text, not TLS"),
    (b"\r\n", "the client speaks plain text, not TLS"),
    (b"\x16\x03\x01\xff\xff" + b"\0" * 20000, None), (b"\0" * 100, None),
    (b"\x80\x2e\x01\x03\x01" + b"\0" * 50, None),
    (b"\x16\x03\x01\x00\x05" + b"\xff" * 5, None), (bytes(range(256)) * 300, None)], ids=[
        "smtp", "http", "line-end", "long-record", "zeros", "ssl2", "ones", "counting"])
def test_garbage(engine, ours, data, reason):
    with Engine([engine, *ours.options]) as e:
        e.peer.sendall(data)
        with contextlib.suppress(OSError):
            e.peer.shutdown(socket.SHUT_WR)
        assert refused(e) == reason or reason is None


def test_silent_client(engine, ours):
    with Engine([engine, "--timeout=1", *ours.options]) as e:
        began = time.monotonic()
        assert refused(e) == "the client took too long for the handshake"
        assert 0.9 < time.monotonic() - began < 10


def test_slow_client(engine, ours):
    """An octet now and then does not buy time."""
    with Engine([engine, "--timeout=1", *ours.options]) as e:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for one in hello_of(NAME)[:100]:
                e.peer.sendall(bytes([one]))
                time.sleep(0.1)
        assert refused(e) == "the client took too long for the handshake"
        assert time.monotonic() - began < 13


@VERSIONS
@pytest.mark.parametrize("is_reset", [False, True], ids=["end", "reset"])
def test_client_leaves_in_the_handshake(released, ours, version, is_reset):
    """After each of its flights, and in the middle of each."""
    def flights(keep):
        """Those that it sends, up to `keep` octets."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context(**version).wrap_bio(incoming, outgoing, server_hostname=NAME)
        with Engine([released, *ours.options]) as e:
            e.peer.settimeout(PATIENCE)
            sent, is_done = 0, False
            while sent < keep and not is_done:
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.do_handshake()
                    is_done = True
                data = outgoing.read()
                e.peer.sendall(data[:keep - sent])
                sent += len(data[:keep - sent])
                if not is_done and sent < keep:
                    incoming.write(e.peer.recv(65536))
            if is_reset:
                e.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            e.peer.close()
            said, is_secure = e.answer()
            e.clear.close()
            assert is_secure or said["TLS_ERROR"] == "the client closed the connection during the handshake"
            assert e.end()[0] == 0 and (is_secure or e.log)
            return sent, is_secure

    total, is_secure = flights(1 << 20)
    assert is_secure or is_reset
    for keep in {0, 1, 5, 100, total // 2, total - 40, total - 1}:
        assert not flights(keep)[1]


def test_asker_leaves_in_the_handshake(engine, ours):
    with Engine([engine, *ours.options]) as e:
        e.control.close()
        e.clear.close()
        status, log = e.end()
        assert status == 0 and 'reason="nobody is waiting for the handshake any more"' in log


def test_asker_does_not_take_the_answer(engine, ours):
    with Engine([engine, *ours.options]) as e:
        e.connect()
        e.control.close()
        e.clear.close()
        assert e.end()[0] == 0


def test_damaged_record(engine, ours):
    """The session sees an end, the log says why."""
    with Engine([engine, *ours.options]) as e:
        peer = e.connect()
        assert e.answer()[1]
        raw = socket.socket(fileno=peer.detach())
        raw.sendall(b"\x17\x03\x03\x00\x40" + b"x" * 64)
        assert until_closed(e.clear) == b""
        status, log = e.end()
        assert status == 0 and "smtpd: no TLS peer=127.0.0.1" in log and "bad record mac" in log
        raw.close()


def test_engine_is_killed(engine, ours):
    """What it did not pass on is lost, and the session hears of the end."""
    with Engine([engine, *ours.options]) as e:
        peer = e.connect()
        assert e.answer()[1]
        e.process.send_signal(signal.SIGKILL)
        assert until_closed(e.clear) == b"" and e.control.recv(1) == b""
        e.wire.close()
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            peer.recv(1)
