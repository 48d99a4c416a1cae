# SPDX-License-Identifier: MIT
"""What the service manager is told of an acceptor, at $NOTIFY_SOCKET: that it is ready, reads its
configuration again or stops, and how many sessions and messages there were."""

import os
import re
import signal
import socket
import time

import pytest
from accepting import MESSAGE, check_refused_for_shortage, limit, lowest_free
from acceptor import Acceptor, Client, folder
from session import PATIENCE, environment, free_port

_ = folder  # a fixture


class Manager:
    """What a service manager hears."""

    def __init__(self, folder):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path = str(folder / "notify")
        self.socket.bind(self.path)
        os.chmod(self.path, 0o666)
        self.socket.settimeout(PATIENCE)
        self.heard = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def wait_for(self, text):
        """Returns the message that has it, and forgets those before."""
        while True:
            self.heard.append(self.socket.recv(4096).decode())
            if text in self.heard[-1]:
                return self.heard[-1]


@pytest.fixture
def manager(folder):
    with Manager(folder) as made:
        yield made


def start_for(manager, smtpd, folder, *options, **given):
    return Acceptor(smtpd, folder, *options, env=environment(NOTIFY_SOCKET=manager.path), **given)


def test_ready_when_it_listens(smtpd, folder, manager):
    address = f"127.0.0.1:{free_port()}"
    with start_for(manager, smtpd, folder, listen=address, wait=False) as acceptor:
        assert manager.wait_for("READY=1") == "READY=1" and len(manager.heard) == 1
        with Client(address) as client:
            client.begin("EHLO")
        acceptor.signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        assert acceptor.status() == 0


def test_not_ready_where_it_cannot_listen(smtpd, folder, manager):
    with socket.create_server(("127.0.0.1", 0)) as other:
        with start_for(manager, smtpd, folder, listen="127.0.0.1:%d" % other.getsockname()[1],
                       wait=False) as acceptor:
            assert acceptor.status() == 75
    manager.socket.settimeout(0)
    with pytest.raises(BlockingIOError):
        manager.socket.recv(4096)


def test_status_counts(smtpd, folder, manager):
    with start_for(manager, smtpd, folder) as acceptor:
        with acceptor.client("EHLO") as one, acceptor.client("EHLO") as two:
            manager.wait_for("STATUS=2 sessions, 0 messages")
            for client in (one, two, one):
                assert client.send_message(MESSAGE).startswith(b"250 ")
            manager.wait_for("STATUS=2 sessions, 3 messages")
            one.quit()
            manager.wait_for("STATUS=1 session, 3 messages")
            two.expect((b"MAIL FROM:<a@example.org>", b"250 "))
            acceptor.signal(signal.SIGTERM)
            manager.wait_for("STOPPING=1")
            manager.wait_for("STATUS=stopping: 1 session, 3 messages")
            two.quit()
            assert acceptor.status() == 0


def test_only_accepted_messages_count(smtpd, folder, manager):
    with start_for(manager, smtpd, folder, "--strategy=exec", "--command=/bin/false") as acceptor:
        with acceptor.client("EHLO") as client:
            assert client.send_message(MESSAGE).startswith(b"451 ")
            client.quit()
        manager.wait_for("STATUS=0 sessions, 0 messages")


def test_status_is_said_once_a_second_at_most(release, folder, manager):
    with start_for(manager, release, folder) as acceptor:
        then = time.monotonic()
        for _ in range(50):
            acceptor.serve_one()
        manager.wait_for("0 sessions, 50 messages")
        assert sum(text.startswith("STATUS=")
                   for text in manager.heard) <= time.monotonic() - then + 2


def test_reloading_is_announced(smtpd, folder, manager):
    """Also one that fails; and the time is that of the signal or later."""
    with start_for(manager, smtpd, folder) as acceptor:
        manager.wait_for("READY=1")
        for _ in range(2):
            before = time.monotonic_ns() // 1000
            acceptor.reload()
            said = manager.wait_for("RELOADING=1")
            (usec,) = re.findall(r"^RELOADING=1\nMONOTONIC_USEC=(\d+)$", said)
            assert before <= int(usec) <= time.monotonic_ns() // 1000
            assert manager.wait_for("READY=1") == "READY=1"


def test_reloading_is_announced_after_a_shortage(smtpd, folder, manager):
    """Descriptors that ran out were not that of the service manager's socket."""
    with start_for(manager, smtpd, folder) as acceptor:
        manager.wait_for("READY=1")
        limit(acceptor.pid, nofile=lowest_free(acceptor.pid))
        check_refused_for_shortage(acceptor, 3)
        limit(acceptor.pid, nofile=1024)
        manager.socket.settimeout(5)
        acceptor.reload()
        manager.wait_for("READY=1")
