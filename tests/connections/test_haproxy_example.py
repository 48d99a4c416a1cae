# SPDX-License-Identifier: MIT
"""Two hosts behind HAProxy, with examples/haproxy.cfg as it stands, but for the addresses: nothing
is lost when one goes, and one can be drained."""

import contextlib
import re
import signal
import smtplib
import subprocess
import threading
import time

from acceptor import Acceptor, Client, folder
from conftest import ROOT, need
from haproxy import Haproxy, deliver
from logs import lines
from session import PATIENCE, free_port, printed, wait_until

_ = folder  # a fixture

EXAMPLE = ROOT / "examples/haproxy.cfg"
LONG = 90  # seconds, for what waits for checks or for many messages on a busy machine


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
