# SPDX-License-Identifier: MIT
"""smtpd behind real balancers: HAProxy with each kind of header, and with examples/haproxy.cfg as
it stands, but for the addresses; nginx."""

import contextlib
import os
import re
import signal
import smtplib
import socket
import subprocess
import threading
import time

import pytest
from acceptor import Acceptor, Client, folder, network
from conftest import ROOT, missing, need, need_root
from engine import Secure
from logs import lines, one
from session import PATIENCE, environment, free_port, printed, stop, wait_until
from tls import Certificate, engine_of
from upstream import EVERYTHING, Upstream

_ = folder  # a fixture
EXAMPLE = ROOT / "examples/haproxy.cfg"
DEFAULTS = "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n"
NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"
LONG = 90  # seconds, for what waits for checks or for many messages on a busy machine


class Balancer:
    """A context manager. It listens when it has begun."""

    def __init__(self, folder, text, *ports):
        self.log_path = folder / "balancer.log"
        (folder / "balancer.cfg").write_text(text)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.argv(folder / "balancer.cfg"),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=environment())
        try:
            for port in ports:
                wait_until(lambda port=port: self.has_begun(port), "the balancer to listen")
        except BaseException:
            stop(self.process)
            raise

    def has_begun(self, port):
        assert self.process.poll() is None, self.log()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        stop(self.process)

    def log(self):
        return self.log_path.read_text(errors="replace")


class Haproxy(Balancer):
    def argv(self, configuration):
        return [need("haproxy"), "-db", "-f", configuration]


class Nginx(Balancer):
    def argv(self, configuration):
        program = need("nginx")
        if not os.path.exists(NGINX_STREAM):
            missing("nginx's module for TCP is not installed")
        return [program, "-c", configuration, "-e", "stderr"]


def port_of(acceptor, i=0):
    return int(acceptor.addresses[i].rsplit(":", 1)[1])


def one_server(folder, acceptor, server, bind="", more="", i=0):
    port = free_port()
    text = f"{DEFAULTS}listen smtp\n    bind 127.0.0.1:{port} {bind}\n{more}    server mx 127.0.0.1:{port_of(acceptor, i)} {server}\n"
    return Haproxy(folder, text, port), f"127.0.0.1:{port}"


def messages(acceptor):
    return [line for line in lines(acceptor.err(), "message")]


def deliver(client):
    assert client.send_message(b"Subject: x\r\n\r\ntext\r\n") == b"250 2.0.0 printed"
    client.quit()


# --- each kind of header -------------------------------------------------------------------------


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


# --- examples/haproxy.cfg ------------------------------------------------------------------------


class Host:
    """One of the two, which can be started again at the same address."""

    def __init__(self, smtpd, folder, hostname):
        self.smtpd, self.folder, self.hostname = smtpd, folder, hostname
        self.listen = f"127.0.0.1:{free_port()}"
        self.configuration = folder / f"smtpd-{self.listen}.conf"
        self.configuration.write_text("proxy-from=127.0.0.1\nstrategy=print\n")
        self.lives = []
        self.start()

    def start(self):
        self.lives.append(Acceptor(self.smtpd, self.folder, f"--config={self.configuration}",
                                   f"--hostname={self.hostname}", listen=self.listen))

    @property
    def acceptor(self):
        return self.lives[-1]

    def log(self):
        return b"".join(life.err() for life in self.lives)

    def messages(self):
        return [message for life in self.lives for message in printed(life.shown_path.read_bytes())]

    def end(self):
        for life in self.lives:
            life.kill()
        wait_until(lambda: not self.acceptor.sessions(), "its sessions to end")


@contextlib.contextmanager
def two_hosts(smtpd, folder):
    """(both of them, HAProxy, its address), by the example."""
    with contextlib.ExitStack() as stack:
        hosts = [Host(smtpd, folder, f"mx{n}.example.com") for n in (1, 2)]
        for host in hosts:
            stack.callback(host.end)
        text, ports = EXAMPLE.read_text(), {"25": free_port(), "465": free_port()}
        for number, host in enumerate(hosts, 11):
            assert f"192.0.2.{number}:25\n" in text
            text = re.sub(rf"192\.0\.2\.{number}:(25|465)\b", host.listen, text)
        text, n = re.subn(r"^    bind :(25|465)$", lambda m: f"    bind 127.0.0.1:{ports[m[1]]}",
                          text, flags=re.M)
        assert n == 2
        haproxy = stack.enter_context(Haproxy(folder, text, ports["25"]))
        yield hosts, haproxy, ("127.0.0.1", ports["25"])


def test_example_is_as_it_stands():
    subprocess.run([need("haproxy"), "-c", "-f", EXAMPLE], check=True, capture_output=True,
                   timeout=PATIENCE)


class Sender(threading.Thread):
    """Sends its messages, each again until somebody says 250."""

    def __init__(self, address, numbers):
        super().__init__()
        self.address, self.numbers = address, numbers
        self.n_tries, self.accepted = 0, []

    def run(self):
        for number in self.numbers:
            deadline = time.monotonic() + LONG  # for each: a busy machine takes its time for all
            while time.monotonic() < deadline and not self.has_sent(number):
                time.sleep(0.02)

    def has_sent(self, number):
        self.n_tries += 1
        try:
            with smtplib.SMTP(*self.address, timeout=LONG) as smtp:
                smtp.sendmail(f"m{number}@example.org", ["b@example.com"],
                              f"Subject: message {number}\r\n\r\ntext\r\n")
        except (smtplib.SMTPException, OSError):
            return False
        self.accepted.append(number)
        return True


def doubled_by_the_log(log):
    """Numbers of the messages of which it says that they may come twice."""
    ids = {line["id"] for line in lines(log) if line.what.startswith("duplicate possible")
           and line.all("id")}
    return {int(re.fullmatch(rb"<m(\d+)@example.org>", line["from"])[1])
            for line in lines(log, "message") if line["id"] in ids}


def test_nothing_is_lost(release, folder):
    """500 messages; in the middle one host is killed, and started again, and the other one is
    reloaded."""
    total, n_senders = 500, 8
    with two_hosts(release, folder) as (hosts, haproxy, address):
        senders = [Sender(address, range(i, total, n_senders)) for i in range(n_senders)]
        for sender in senders:
            sender.start()

        def n_accepted():
            return sum(len(sender.accepted) for sender in senders)

        def wait_for(n):
            wait_until(lambda: n_accepted() >= n, f"{n} messages", LONG)

        wait_for(total // 5)
        hosts[0].acceptor.process.kill()  # its sessions go on
        hosts[0].acceptor.has_ended = True
        wait_for(2 * total // 5)
        hosts[0].start()
        wait_for(3 * total // 5)
        hosts[1].configuration.write_text(hosts[1].configuration.read_text() + "max-errors=19\n")
        hosts[1].acceptor.reload()
        wait_until(lambda: not any(sender.is_alive() for sender in senders), "all to be sent",
                   10 * LONG)
        wait_until(lambda: not any(host.acceptor.sessions() for host in hosts),
                   "the sessions to end", LONG)
        assert n_accepted() == total
        copies = {n: 0 for n in range(total)}
        for message in (message for host in hosts for message in host.messages()):
            copies[int(re.search(rb"^Subject: message (\d+)$", message, re.M)[1])] += 1
        log = b"".join(host.log() for host in hosts)
        assert [n for n, k in copies.items() if k == 0] == []
        assert {n for n, k in copies.items() if k > 1} <= doubled_by_the_log(log)
        assert all(host.messages() for host in hosts)
        assert {line["peer"] for line in lines(log, "message")} == {b"127.0.0.1"}
        assert all(line["via"] == b"127.0.0.1" for line in lines(log, "message"))


def test_draining(release, folder):
    """SIGTERM: a client between messages hears 421, and comes to the other host when it tries
    again."""
    with two_hosts(release, folder) as (hosts, haproxy, address), contextlib.ExitStack() as stack:
        # by the host that greeted it: the balancer counts connections of other kinds, too
        clients = {}
        for _ in range(20):
            client = stack.enter_context(Client("%s:%d" % address))
            greeting = client.reply()
            clients.setdefault(greeting.split()[1].decode(), client)
            client.expect((b"EHLO client.example.org", b"250-"))
            if len(clients) == len(hosts):
                break
        hosts[0].acceptor.signal(signal.SIGTERM)
        assert hosts[0].acceptor.status() == 0
        for _ in range(4):  # before a check has noticed, too
            with Client("%s:%d" % address) as client:
                client.begin("EHLO")
                deliver(client)
        assert [clients[host.hostname].ask(b"NOOP")[:3] for host in hosts] == [b"421", b"250"]
        wait_until(lambda: "DOWN" in haproxy.log(), "the check to notice", LONG)
        hosts[0].start()
        wait_until(lambda: "mx1 is UP" in haproxy.log(), "the check to notice that it is back",
                   LONG)
        assert len(hosts[1].messages()) == 4
