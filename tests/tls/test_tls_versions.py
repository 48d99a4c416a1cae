# SPDX-License-Identifier: MIT
"""smtpd-tls, the engine: versions, protocols, algorithms and the certificate that it shows, with
the TLS of Python and of openssl(1) at the other end."""

import os
import socket
import ssl
import subprocess
import time

import pytest
from conftest import need
from session import PATIENCE
from tls import NAME, Certificate, Engine, client_context, engine, folder
from tls_peer import TLS12, TLS13, VERSIONS, ours, refused

_ = engine, folder, ours  # fixtures


@pytest.fixture(scope="module")
def rsa(folder):
    return Certificate(folder, kind="rsa")


class SClient:
    """An engine with openssl s_client at its other end."""

    def __init__(self, argv, *options):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            self.client = subprocess.Popen([need("openssl"), "s_client", "-connect",
                                            f"127.0.0.1:{port}", *options],
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                           stderr=subprocess.STDOUT)
            wire = listener.accept()[0]
        self.engine = Engine(argv, wire=wire)

    def __enter__(self):
        self.engine.__enter__()
        return self.client, self.engine

    def __exit__(self, *_):
        self.client.kill()
        self.client.communicate()
        self.engine.__exit__()


@pytest.mark.parametrize("option, version", [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_s_client(engine, ours, option, version):
    with SClient([engine, *ours.options], option, "-quiet", "-servername", NAME) as (client, e):
        assert e.answer()[0]["SSL_PROTOCOL"] == version
        e.clear.sendall(b"220 hi\r\n")
        client.stdin.write(b"QUIT\n")
        client.stdin.flush()
        assert e.clear.recv(100) == b"QUIT\n"
        e.clear.close()
        assert b"220 hi\r\n" in client.communicate(timeout=PATIENCE)[0]
        assert e.end() == (0, "")


def test_keys_are_updated(engine, ours):
    """K: new keys for both directions, in the middle of what is said."""
    with SClient([engine, *ours.options], "-tls1_3", "-servername", NAME) as (client, e):
        assert e.answer()[1]
        for n in range(3):
            client.stdin.write(b"K\n")
            client.stdin.flush()
            time.sleep(0.2)
            client.stdin.write(b"line %d\n" % n)
            client.stdin.flush()
            assert e.clear.recv(100) == b"line %d\n" % n
            e.clear.sendall(b"reply %d\r\n" % n)
        time.sleep(0.2)
        client.stdin.write(b"end\n")
        client.stdin.flush()
        assert e.clear.recv(100) == b"end\n"
        e.clear.close()
        out = client.communicate(timeout=PATIENCE)[0]
        assert all(b"reply %d\r\n" % n in out for n in range(3)) and out.count(b"KEYUPDATE") == 3
        assert e.end() == (0, "")


def test_renegotiation_is_refused(engine, ours):
    with SClient([engine, *ours.options], "-tls1_2", "-servername", NAME) as (client, e):
        assert e.answer()[1]
        client.stdin.write(b"R\n")
        client.stdin.flush()
        assert b"no renegotiation" in client.communicate(timeout=PATIENCE)[0]
        e.clear.close()
        assert e.end()[0] == 0


OLD = "unsupported protocol"


@pytest.mark.parametrize("minimum, version, reason", [
    ("1.2", "TLSv1", OLD), ("1.2", "TLSv1_1", OLD), ("1.3", "TLSv1_2", OLD),
    ("1.2", "TLSv1_2", None), ("1.3", "TLSv1_3", None)])
@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_minimum(engine, ours, minimum, version, reason):
    context = client_context(minimum_version=getattr(ssl.TLSVersion, version),
                             maximum_version=getattr(ssl.TLSVersion, version))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with Engine([engine, f"--minimum={minimum}", *ours.options]) as e:
        if reason:
            with pytest.raises(ssl.SSLError, match="alert protocol version"):
                e.connect(context)
            assert refused(e) == reason
        else:
            e.connect(context)
            assert e.answer()[1]


@pytest.mark.parametrize("offered, chosen",
                         [([], None), (["smtp"], "smtp"), (["http/1.1", "smtp"], "smtp")])
def test_protocol_is_smtp(engine, ours, offered, chosen):
    context = client_context()
    if offered:
        context.set_alpn_protocols(offered)
    with Engine([engine, *ours.options]) as e:
        assert e.connect(context).selected_alpn_protocol() == chosen
        assert e.answer()[1]


@VERSIONS
@pytest.mark.parametrize("offered",
                         [["http/1.1"], ["h2", "http/1.1"], ["smt"], ["smtps"], ["acme-tls/1"]])
def test_another_protocol_is_refused(engine, ours, offered, version):
    """By an alert: so nobody can make a browser take our replies for a web server's."""
    context = client_context(**version)
    context.set_alpn_protocols(offered)
    with Engine([engine, *ours.options]) as e:
        with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
            e.connect(context)
        assert refused(e) == "no application protocol"


def test_no_tickets_no_compression(engine, ours):
    """A process of its own for each connection: nothing could be resumed."""
    with SClient([engine, *ours.options], "-tls1_3", "-servername", NAME) as (client, e):
        assert e.answer()[1]
        e.clear.sendall(b"x\r\n")
        time.sleep(0.5)
        e.clear.close()
        out = client.communicate(timeout=PATIENCE)[0]
        assert b"Session Ticket" not in out and b"Compression: NONE" in out
        assert b"Early data was not sent" in out
    context = client_context(**TLS12)
    with Engine([engine, *ours.options]) as e:
        assert not e.connect(context).session.has_ticket


def test_two_certificates(engine, ours, rsa):
    """The client's algorithms choose."""
    for ciphers, name in (("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA"),
                          ("ECDHE-RSA-AES128-GCM-SHA256", "RSA")):
        context = client_context(**TLS12)
        context.set_ciphers(ciphers)
        with Engine([engine, *ours.options, *rsa.options]) as e:
            assert name in e.connect(context).cipher()[0]
            assert e.answer()[0]["SSL_CIPHER"] == ciphers


def test_chain_is_sent(engine, folder):
    root = Certificate(folder, "root.example", ca=True)
    between = Certificate(folder, "between.example", issuer=root, ca=True)
    leaf = Certificate(folder, "leaf.example", issuer=between)
    bundle = folder / "bundle.pem"
    bundle.write_bytes(b"".join(path.read_bytes()
                                for path in (leaf.certificate, between.certificate, leaf.key)))
    context = ssl.create_default_context(cafile=str(root.certificate))
    # more than the openssl(1) of each system writes
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with Engine([engine, f"--certificate={bundle}"]) as e:
        e.connect(context, name="leaf.example")
        assert e.answer()[1]


@pytest.mark.parametrize("policy, version", [("MinProtocol = TLSv1.3", "TLSv1.2"), ("", "TLSv1.3")])
def test_policy_of_the_system(engine, ours, tmp_path, policy, version):
    """Whoever sets it may be stricter than we are."""
    path = tmp_path / "openssl.cnf"
    path.write_text(
        f"openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n{policy}\n")
    context = client_context(**(TLS12 if version == "TLSv1.2" else TLS13))
    with Engine([engine, *ours.options], env=os.environ | {"OPENSSL_CONF": str(path)}) as e:
        if policy:
            with pytest.raises(ssl.SSLError):
                e.connect(context)
            assert refused(e) == OLD
        else:
            e.connect(context)
            assert e.answer()[1]


def test_no_policy(engine, ours, tmp_path):
    with Engine([engine, *ours.options],
                env=os.environ | {"OPENSSL_CONF": str(tmp_path / "none")}) as e:
        e.connect()
        assert e.answer()[1]
