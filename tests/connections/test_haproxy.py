# SPDX-License-Identifier: MIT
"""smtpd behind real balancers: HAProxy with each kind of header, TLS and passwords through it,
nginx; and swaks, which says the header itself."""

import contextlib
import subprocess

import pytest
from acceptor import Acceptor, Client, folder, network
from conftest import need, need_root
from engine import Secure
from haproxy import DEFAULTS, NGINX_STREAM, Haproxy, Nginx, deliver, messages, one_server, port_of
from logs import lines, one
from session import PATIENCE, free_port, wait_until
from tls import Certificate, engine_of
from upstream import EVERYTHING, Upstream

_ = folder  # a fixture


@pytest.mark.parametrize("server",
                         ["send-proxy", "send-proxy-v2",
                          "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority",
                          "send-proxy-v2 check check-send-proxy inter 200ms"])
def test_header(release, folder, server):
    with Acceptor(release, folder, "--proxy-from=127.0.0.1") as acceptor:
        haproxy, address = one_server(folder, acceptor, server)
        with haproxy, Client(address, source="127.0.0.77") as client:
            client.begin("EHLO")
            port = client.ours.getsockname()[1]
            deliver(client)
            wait_until(lambda: messages(acceptor), "its line")
            line = one(acceptor.err(), "message")
            assert (line["peer"], line["port"], line["via"]) == (b"127.0.0.77", b"%d" % port,
                                                                 b"127.0.0.1")


def test_client_at_a_local_socket_of_the_balancer(release, folder):
    """HAProxy says LOCAL of it, as of itself."""
    path = folder / "balancer"
    with Acceptor(release, folder, "--proxy-from=127.0.0.1") as acceptor:
        text = f"{DEFAULTS}listen smtp\n    bind unix@{path}\n    server mx 127.0.0.1:{port_of(acceptor)} send-proxy-v2\n"
        with Haproxy(folder, text):
            wait_until(path.exists, "HAProxy's socket")
            with Client(str(path)) as client:
                client.begin("EHLO")
                deliver(client)
            wait_until(lambda: messages(acceptor), "its line")
            assert one(acceptor.err(), "message")["peer"] == b"unknown"


def test_without_a_header_nothing_is_served(release, folder):
    """A balancer that forgets it: no client of it is taken for this host."""
    with Acceptor(release, folder, "--proxy-from=127.0.0.1") as acceptor:
        haproxy, address = one_server(folder, acceptor, "")
        with haproxy, Client(address) as client:
            client.say(b"EHLO c\r\n")
            assert client.read_to_end() == b""
        assert not messages(acceptor)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("certificate"))


class SecureClient(Secure):
    quit = Client.quit

    def __init__(self, address, source=None):
        Client.__init__(self, address, source)

    def __exit__(self, *_):
        self.ours.close()


@contextlib.contextmanager
def secured(release, folder, certificate, where, *options, source="127.0.0.77"):
    """(acceptor, a client whose EHLO was answered in TLS), which HAProxy ends, or passes on."""
    engine_of(release)
    (folder / "both.pem").write_bytes(certificate.certificate.read_bytes()
                                      + certificate.key.read_bytes())
    tls = [f"--tls-certificate={certificate.certificate}", f"--tls-key={certificate.key}",
           "--listen-tls=127.0.0.1:0"]
    bind, server = (f"ssl crt {folder}/both.pem",
                    "send-proxy-v2 proxy-v2-options ssl,ssl-cipher") if where == "balancer" else (
                        "", "send-proxy-v2")
    options = [*options, *([] if where == "balancer" else tls)]
    with Acceptor(release, folder, "--proxy-from=127.0.0.1", "--user=0", *options,
                  n=1 if where == "balancer" else 2) as acceptor:
        haproxy, address = one_server(folder, acceptor, server, bind,
                                      i=1 if where == "implicit" else 0)
        with haproxy, SecureClient(address, source) as client:
            if where == "starttls":
                client.begin("EHLO")
                client.start_tls()
                client.expect((b"EHLO c", b"250-"))
            else:
                client.handshake()
                client.begin("EHLO")
            yield acceptor, client


WHERE = ["starttls", "implicit", "balancer"]


@pytest.mark.parametrize("where", WHERE)
def test_tls(release, folder, certificate, where):
    """Behind the header, or ended by HAProxy, which tells of it."""
    with secured(release, folder, certificate, where,
                 *(["--proxy-tls=yes"] if where == "balancer" else [])) as (acceptor, client):
        deliver(client)
        wait_until(lambda: messages(acceptor), "its line")
        line = one(acceptor.err(), "message")
        assert (line["peer"], line["protocol"]) == (b"127.0.0.77", b"ESMTPS")
        assert line["tls"].startswith(b"TLSv1.3 TLS_")
        assert line["tls"].endswith(b" (at the balancer)") == (where == "balancer")


STRANGER = "192.0.2.9"
LOGIN = b"AUTH PLAIN AGFsaWNlAHNlc2FtZQ=="  # alice, sesame


@pytest.mark.parametrize("where", [*WHERE, "balancer, not told"])
def test_password_for_the_upstream(release, folder, certificate, where):
    """It may come from within TLS. Whether HAProxy's counts is for proxy-tls to say: others could
    listen behind it."""
    need_root()
    options = ["--proxy-tls=yes"] if where == "balancer" else []
    with network() as add_address:
        add_address(f"{STRANGER}/32")
        with Upstream(extensions=(*EVERYTHING, "AUTH PLAIN")) as up:
            options += ["--strategy=proxy", f"--upstream={up.endpoint}", "--auth=upstream"]
            with secured(release, folder, certificate, where.split(",")[0], *options,
                         source=STRANGER) as (acceptor, client):
                is_offered = b"AUTH PLAIN" in client.ask(b"EHLO c")
                assert is_offered == (where != "balancer, not told")
                client.expect((LOGIN, b"235 " if is_offered else b"538 5.7.11 "))
                client.expect((b"MAIL FROM:<a@example.org>", b"250 "),
                              (b"RCPT TO:<b@example.com>",
                               b"250 " if is_offered else b"550 5.7.1 relaying denied"))
                client.quit()
                (line,) = wait_until(lambda: [line for line in lines(acceptor.err(), "session")
                                              if line["peer"] == STRANGER.encode()], "its line")
            assert (LOGIN in up.commands) == is_offered
        assert line["protocol"] == (b"ESMTPSA" if is_offered else b"ESMTP")
        assert line.all("auth") == ([b"PLAIN"] if is_offered else [])
        assert LOGIN[11:] not in acceptor.err()


@pytest.mark.parametrize("where", WHERE)
def test_everybodys_password(release, folder, certificate, where):
    """auth=any asks nobody, and notes who it was, and whether it was in TLS."""
    options = ["--auth=any", *(["--proxy-tls=yes"] if where == "balancer" else [])]
    with secured(release, folder, certificate, where, *options) as (acceptor, client):
        assert b"AUTH PLAIN LOGIN" in client.ask(b"EHLO c")
        client.expect((LOGIN, b"235 "))
        deliver(client)
        wait_until(lambda: messages(acceptor), "its line")
        line = one(acceptor.err(), "message")
        assert (line["peer"], line["protocol"], line["auth"]) == (b"127.0.0.77", b"ESMTPSA",
                                                                  b"PLAIN")
        assert LOGIN[11:] not in acceptor.err()


NGINX = """\
load_module {module};
daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{ }}
stream {{
    server {{
        listen 127.0.0.1:{port};
        proxy_pass 127.0.0.1:{to};
        proxy_protocol on;
    }}
}}
"""


def test_nginx(release, folder, certificate):
    """Its stream module says the header of version 1. TLS is ours to end."""
    engine_of(release)
    port = free_port()
    tls = [f"--tls-certificate={certificate.certificate}", f"--tls-key={certificate.key}"]
    with Acceptor(release, folder, "--proxy-from=127.0.0.1", "--user=0", *tls) as acceptor:
        text = NGINX.format(module=NGINX_STREAM, folder=folder, port=port, to=port_of(acceptor))
        with Nginx(folder, text, port), SecureClient(f"127.0.0.1:{port}", "127.0.0.77") as client:
            client.begin("EHLO")
            client_port = client.ours.getsockname()[1]
            client.start_tls()
            client.expect((b"EHLO c", b"250-"))
            deliver(client)
            wait_until(lambda: messages(acceptor), "its line")
            line = one(acceptor.err(), "message")
            assert (line["peer"], line["port"], line["via"]) == (b"127.0.0.77", b"%d" % client_port,
                                                                 b"127.0.0.1")
            assert line["protocol"] == b"ESMTPS" and b"balancer" not in line["tls"]


def test_swaks_by_itself(release, folder):
    """swaks can say the header of either version."""
    swaks = need("swaks")
    with Acceptor(release, folder, "--proxy-from=127.0.0.1") as acceptor:
        for version in ("1", "2"):
            subprocess.run([swaks, "--server", "127.0.0.1", "--port", str(port_of(acceptor)),
                            "--to", "b@example.com", "--from", "a@example.org",
                            "--proxy-version", version, "--proxy-family",
                            "TCP4" if version == "1" else "AF_INET", "--proxy-source", "192.0.2.1",
                            "--proxy-source-port", "4711",
                            "--proxy-dest", "192.0.2.2", "--proxy-dest-port", "25",
                            *(["--proxy-protocol", "STREAM", "--proxy-command", "PROXY"]
                              if version == "2" else [])],
                           check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
        wait_until(lambda: len(messages(acceptor)) == 2, "both lines")
        assert [(line["peer"], line["port"])
                for line in messages(acceptor)] == [(b"192.0.2.1", b"4711")] * 2
