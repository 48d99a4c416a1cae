# SPDX-License-Identifier: MIT
"""For tests of the engine smtpd-tls: a certificate, TLS of one version, and the end of a
handshake."""

import contextlib
import ssl

import pytest
from tls import Certificate, client_context

TLS12 = {"maximum_version": ssl.TLSVersion.TLSv1_2}
TLS13 = {"minimum_version": ssl.TLSVersion.TLSv1_3}
VERSIONS = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])


@pytest.fixture(scope="module")
def ours(folder):
    return Certificate(folder)


def until_closed(sock):
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := sock.recv(65536):
            data += more
    return data


def refused(engine, log="", **variables):
    """There was no TLS: what was said, after its end."""
    said, is_secure = engine.answer()
    assert not is_secure and set(said) <= {"TLS_ERROR"}
    status, text = engine.end()
    assert status == 0 and text.startswith("smtpd: no TLS peer=127.0.0.1 port=")
    assert text.count("\n") == 1
    assert until_closed(engine.clear) == b""
    return said["TLS_ERROR"]


def hello_of(name):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client_context().wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()
