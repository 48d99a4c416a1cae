# SPDX-License-Identifier: MIT
"""smtpd-tls, the engine: its contract on the descriptors, with the TLS of Python and of openssl(1)
at the other end."""

import contextlib
import os
import re
import signal
import smtplib
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest
from conftest import need
from session import PATIENCE
from tls import (NAME, Certificate, Engine, client_context, engine, folder, openssl, released,
                 tcp_pair)

_ = engine, folder, released  # fixtures

TLS12 = {"maximum_version": ssl.TLSVersion.TLSv1_2}
TLS13 = {"minimum_version": ssl.TLSVersion.TLSv1_3}
VERSIONS = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])


@pytest.fixture(scope="module")
def ours(folder):
    return Certificate(folder)


@pytest.fixture(scope="module")
def rsa(folder):
    return Certificate(folder, kind="rsa")


def until_closed(sock):
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := sock.recv(65536):
            data += more
    return data


def fill(sock):
    """Until nobody takes any more: the octets that went there."""
    n, full_since = 0, None
    sock.setblocking(False)
    while not full_since or time.monotonic() < full_since + 0.5:
        try:
            n += sock.send(b"x" * 65536)
            full_since = None
        except BlockingIOError:
            full_since = full_since or time.monotonic()
            time.sleep(0.05)
    return n


def refused(engine, log="", **variables):
    """There was no TLS: what was said, after its end."""
    said, is_secure = engine.answer()
    assert not is_secure and set(said) <= {"TLS_ERROR"}
    status, text = engine.end()
    assert status == 0 and text.startswith("smtpd: no TLS peer=127.0.0.1 port=")
    assert text.count("\n") == 1
    assert until_closed(engine.clear) == b""
    return said["TLS_ERROR"]


# --- the contract ---------------------------------------------------------------------------------


@VERSIONS
def test_octets_both_ways(engine, ours, version):
    with Engine([engine, *ours.options]) as e:
        peer = e.connect(client_context(**version))
        variables, is_secure = e.answer()
        assert is_secure
        assert variables == {
            "SSL_PROTOCOL": peer.version(), "SSL_CIPHER": peer.cipher()[0], "SSL_TLS_SNI": NAME,
            "SSL_CLIENT_VERIFY": "NONE"}
        e.clear.sendall(b"220 hi\r\n")
        assert peer.recv(100) == b"220 hi\r\n"
        peer.sendall(b"QUIT\r\n")
        assert e.clear.recv(100) == b"QUIT\r\n"
        e.clear.sendall(b"221 bye\r\n")
        e.clear.shutdown(socket.SHUT_WR)
        # a close_notify: without one it is an exception
        assert peer.recv(100) == b"221 bye\r\n" and peer.recv(100) == b""
        peer.unwrap().close()
        assert e.clear.recv(100) == b"" and e.control.recv(100) == b""
        assert e.end() == (0, "")


def test_who_hears_what_first(engine, ours):
    """The answer is there before the peer has said anything, and what is said at once is kept."""
    with Engine([engine, *ours.options]) as e:
        e.clear.sendall(b"220 before anything\r\n")
        peer = e.connect()
        assert peer.recv(100) == b"220 before anything\r\n"
        assert e.answer()[1]


def test_half_closed_by_the_peer(engine, ours):
    """Its close_notify ends what we hear, and not what it hears."""
    with Engine([engine, *ours.options]) as e:
        peer = e.connect(client_context(**TLS13))
        assert e.answer()[1]
        peer.sendall(b"last words")
        peer.setblocking(False)
        with contextlib.suppress(ssl.SSLWantReadError):
            peer.unwrap()
        assert until_closed(e.clear) == b"last words"
        e.clear.sendall(b"x" * 1000)
        e.clear.shutdown(socket.SHUT_WR)
        assert e.end() == (0, "")


def test_peer_ends_without_farewell(engine, ours):
    """A TCP end only: as a close_notify."""
    with Engine([engine, *ours.options]) as e:
        peer = e.connect()
        assert e.answer()[1]
        peer.sendall(b"last words")
        socket.socket(fileno=peer.detach()).close()
        assert until_closed(e.clear) == b"last words"
        e.clear.close()
        assert e.end() == (0, "")


def test_peer_resets(engine, ours):
    with Engine([engine, *ours.options]) as e:
        peer = e.connect()
        assert e.answer()[1]
        raw = socket.socket(fileno=peer.detach())
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
        assert e.end() == (0, "") and until_closed(e.clear) == b""


def test_peer_that_hangs_on(engine, ours):
    """After the end of the session two seconds are enough, for a peer that says nothing, and for
    one that reads nothing."""
    with Engine([engine, *ours.options]) as e:
        e.connect()
        assert e.answer()[1]
        fill(e.clear)
        began = time.monotonic()
        e.clear.close()
        assert e.end() == (0, "") and 1.5 < time.monotonic() - began < 6


@VERSIONS
def test_both_at_once(engine, ours, version):
    """Much, both ways at the same time, and no one waits for the other."""
    n = 8_000_000 if "sanitize" in engine else 60_000_000
    with Engine([engine, *ours.options]) as e:
        peer = e.connect(client_context(**version))
        assert e.answer()[1]
        raw, loop = os.urandom(1 << 20), n // (1 << 20)

        def say(to):
            for _ in range(loop):
                to.sendall(raw)

        def pump():  # one thread for the peer: Python's TLS is not for two
            peer.setblocking(False)
            sent, got, at = 0, 0, memoryview(raw)
            while sent < loop * len(raw) or got < loop * len(raw):
                with contextlib.suppress(ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    sent += peer.send(
                        at[sent % len(raw):][:60_000]) if sent < loop * len(raw) else 0
                with contextlib.suppress(ssl.SSLWantReadError):
                    more = peer.recv(60_000)
                    assert more == (raw + raw)[got % len(raw):][:len(more)]
                    got += len(more)

        threads = [threading.Thread(target=one, args=args) for one,
                   args in ((say, (e.clear,)), (pump, ()))]
        for thread in threads:
            thread.start()
        got = 0
        while got < loop * len(raw):
            more = e.clear.recv(1 << 20)
            assert more == (raw + raw)[got % len(raw):][:len(more)]
            got += len(more)
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_what_the_peer_has_not_taken_is_still_there(engine, ours):
    """Whoever writes to the clear side sees by it what may not have been heard."""
    import fcntl
    import termios

    def outq(sock):
        return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0]

    with Engine([engine, *ours.options]) as e:
        e.wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        e.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        peer = e.connect()
        assert e.answer()[1]
        e.clear.sendall(b"250 ok\r\n")
        assert peer.recv(100) == b"250 ok\r\n"
        deadline = time.monotonic() + PATIENCE
        while outq(e.clear) or outq(e.wire):
            assert time.monotonic() < deadline
        n = fill(e.clear)
        assert outq(e.clear) > 0 and outq(e.wire) > 0
        e.process.kill()
        e.process.wait()
        e.wire.close()
        with contextlib.suppress(ssl.SSLError, ConnectionResetError):
            peer.settimeout(PATIENCE)
            while more := peer.recv(65536):
                n -= len(more)
        assert n > 0


# --- versions, protocols, algorithms --------------------------------------------------------------


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


def hello_of(name):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client_context().wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


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


# --- how it is called -----------------------------------------------------------------------------


@pytest.mark.parametrize("argv, said", [
    ([], "--certificate= is missing"),
    (["--certificate=a", "--check", "x"], "options only, no arguments"), (["--nothing"], "--nothing"),
    (["--certificate=a", "--minimum=1.1"], "--minimum=1.1"),
    (["--certificate=a", "--timeout=0"], "--timeout=0"),
    (["--certificate=a", "--timeout=1s"], "--timeout=1s"),
    (["--certificate=a", "--client=yes"], "--client=yes"),
    (["--certificate=a", "--key=b", "--key=c"], "as often as"),
    (["--certificate=self-signed"], "for --serve only"),
    (["--certificate=a", "--client-ca=b"], "--client=ask"),
    (["--certificate=a", "--serve", "--check"], "give --serve or --check"),
    (["--certificate=a"] + 4 * ["--certificate=b"], "--certificate=b")])
def test_usage_of_the_engine(engine, argv, said):
    done = subprocess.run([engine, *argv], capture_output=True, text=True, timeout=PATIENCE,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 64 and said in done.stderr and done.stdout == ""


def test_help(engine):
    done = subprocess.run([engine, "--help"], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0 and "--certificate=FILE" in done.stdout and done.stderr == ""
    assert re.fullmatch(r"smtpd-tls \S+\n",
                        subprocess.run([engine, "--version"], capture_output=True, text=True,
                                       timeout=PATIENCE).stdout)


def test_descriptors_are_missing(engine, ours):
    done = subprocess.run([engine, *ours.options], capture_output=True, text=True, timeout=PATIENCE,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 64 and "descriptors 0, 3 and 4" in done.stderr


def test_certificate_cannot_be_used(engine, ours, rsa, folder):
    """The session hears that there is no TLS, the log hears of the file."""
    for options, said in (([f"--certificate={folder}/none"],
                           f"cannot read the certificate {folder}/none: No such file"),
                          ([f"--certificate={ours.certificate}", f"--key={rsa.key}"],
                           "does not match the first certificate")):
        with Engine([engine, *options]) as e:
            variables, is_secure = e.answer()
            assert not is_secure
            assert variables == {"TLS_ERROR": "certificate or key cannot be used: see the log"}
            status, log = e.end()
            assert status == 78 and said in log


# --- confinement ----------------------------------------------------------------------------------


def test_what_is_left_to_it_of_the_engine(released, ours):
    """While it speaks with a peer: a filter, no privileges to gain, no debugger, its descriptors
    and no other."""
    with Engine([released, *ours.options]) as e:
        e.connect()
        assert e.answer()[1]
        status = dict(re.findall(r"^(\w+):\s+(.*)$",
                                 Path(f"/proc/{e.process.pid}/status").read_text(), re.M))
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
        limits = Path(f"/proc/{e.process.pid}/limits").read_text()
        assert re.search(r"^Max core file size +0 +0 ", limits, re.M)
        assert re.search(r"^Max open files +16 +16 ", limits, re.M)
        assert sorted(os.listdir(f"/proc/{e.process.pid}/fd")) == ["0", "2", "3", "4"]
        assert os.stat(f"/proc/{e.process.pid}").st_uid == 0  # not dumpable


def test_memory(released, ours):
    with Engine([released, *ours.options]) as e:
        peer = e.connect()
        assert e.answer()[1]
        peer.sendall(b"x" * 100_000)
        n = 0
        while n < 100_000:
            n += len(e.clear.recv(100_000))
        rollup = Path(f"/proc/{e.process.pid}/smaps_rollup").read_text()
        own = sum(int(kb)
                  for kb in re.findall(r"^(?:Private_Dirty|Shared_Dirty):\s+(\d+) kB", rollup,
                                       re.M))
        # 1.1 MiB with OpenSSL 3.0, 1.5 with 3.5; the libraries are everybody's
        assert 0 < own <= 1.75 * 1024, rollup


# --- programs that ask for TLS by themselves: UCSPI-TLS -------------------------------------------


ASKER = """
import os, socket, sys
control, clear = (socket.socket(fileno=int(os.environ[name])) for name in ("SSLCTLFD", "SSLREADFD"))
assert os.environ["SSLWRITEFD"] == os.environ["SSLREADFD"]
wire = socket.socket(fileno=os.dup(0))
wire.sendall(b"220 clear\\r\\n")
if wire.recv(100) != b"STARTTLS\\r\\n":
    sys.exit(7)
control.sendall(b"Y")
wire.sendall(b"220 go on\\r\\n")
data = b""
while not data.endswith(b"\\0\\0"):
    data += control.recv(4096)
assert b"SSL_PROTOCOL=TLSv1.3\\0" in data
clear.sendall(b"220 secure\\r\\n")
assert clear.recv(100) == b"QUIT\\r\\n"
"""


@contextlib.contextmanager
def started(engine, ours, *argv, log=subprocess.PIPE):
    """(what was started, the client's socket)"""
    wire, peer = tcp_pair()
    process = subprocess.Popen([engine, *ours.options, *argv], stdin=wire, stdout=wire, stderr=log,
                               env=os.environ
                               | {"PROTO": "TCP", "TCPREMOTEIP": "127.0.0.1", "TCPLOCALHOST": NAME})
    wire.close()
    try:
        yield process, peer
    finally:
        peer.close()
        process.kill()
        process.communicate()


def test_program_asks_for_it(engine, ours):
    with started(engine, ours, "python3", "-c", ASKER) as (process, peer):
        assert peer.recv(100) == b"220 clear\r\n"
        peer.sendall(b"STARTTLS\r\n")
        assert peer.recv(100) == b"220 go on\r\n"
        with client_context().wrap_socket(peer, server_hostname=NAME,
                                          suppress_ragged_eofs=False) as secure:
            assert secure.recv(100) == b"220 secure\r\n"
            secure.sendall(b"QUIT\r\n")
            assert secure.recv(100) == b""
        assert process.communicate(timeout=PATIENCE)[1] == b"" and process.returncode == 0


def test_program_does_not_ask(engine, ours):
    """Its exit status is that of the whole, and nothing is left."""
    with started(engine, ours, "python3", "-c", ASKER) as (process, peer):
        assert peer.recv(100) == b"220 clear\r\n"
        peer.sendall(b"QUIT\r\n")
        assert process.communicate(timeout=PATIENCE)[1] == b"" and process.returncode == 7
        assert until_closed(peer) == b""


def test_program_is_missing(engine, ours):
    with started(engine, ours, "/nonexistent/program") as (process, peer):
        assert b"cannot run /nonexistent/program: No such file" in process.communicate(
            timeout=PATIENCE)[1]
        assert process.returncode == 75


def test_mailfront(engine, ours):
    """A whole mail by STARTTLS, to another server that knows nothing of us."""
    program = need("mailfront")
    with started(engine, ours, program, "smtp", "echo", "starttls-ucspi", "accept",
                 log=subprocess.DEVNULL) as (_, peer):
        peer.settimeout(PATIENCE)
        client = smtplib.SMTP(local_hostname="client.example.org", timeout=PATIENCE)
        client.sock = peer
        assert client.getreply()[0] == 220
        assert client.ehlo()[0] == 250 and client.has_extn("starttls")
        client._host = NAME
        assert client.starttls(context=client_context())[0] == 220
        assert client.sock.version() == "TLSv1.3"
        assert client.sendmail("alice@example.org", ["bob@example.net"],
                               "Subject: x\r\n\r\n" + "x" * 70_000 + "\r\n") == {}
        assert client.quit()[0] == 221


# --- what confines it -----------------------------------------------------------------------------


def test_says_that_it_is_not_confined(released, ours):
    """On a kernel that cannot do it, once for each process that is started."""
    strace = need("strace")
    with Engine([strace, "-o", "/dev/null", "-e", "inject=prctl:error=EINVAL", released,
                 *ours.options]) as engine:
        engine.connect(client_context())
        assert engine.answer()[1]
        engine.peer.close()
        engine.clear.close()
        assert engine.end()[1].startswith("smtpd: TLS: the processes that read from clients are not confined: ")
