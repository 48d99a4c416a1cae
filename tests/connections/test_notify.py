# SPDX-License-Identifier: MIT
"""What the service manager is told, at $NOTIFY_SOCKET: sd_notify(3)."""

import socket

import pytest
from session import PATIENCE, Session, command, environment


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(PATIENCE)
        yield sock


def statuses_until(manager, word):
    heard = []
    while not heard or word not in heard[-1]:
        heard.append(manager.recv(4096).decode())
    return heard


def test_status_says_what_a_session_does(smtpd, manager, tmp_path):
    env = environment(NOTIFY_SOCKET=manager.getsockname())
    with Session(command(smtpd, "--peer=192.0.2.1"), tmp_path, env=env) as session:
        assert statuses_until(manager,
                              "waiting")[-1] == "STATUS=local: waiting for a command; messages accepted: 0"
        session.say(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
        assert statuses_until(manager,
                              "receiving")[-1] == "STATUS=local: receiving a message from <a@b.example>; recipients: 1"
        session.say(b"Subject: x\r\n\r\n.\r\n")
        assert "from <a@b.example>; recipients: 1" in statuses_until(manager, "delivering")[-1]
        assert statuses_until(manager,
                              "waiting")[-1] == "STATUS=local: waiting for a command; messages accepted: 1"


def test_refused_message_leaves_no_status_behind(smtpd, manager, tmp_path):
    env = environment(NOTIFY_SOCKET=manager.getsockname())
    with Session(command(smtpd, "--max-size=10"), tmp_path, env=env) as session:
        session.say(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nlonger "
                    b"than that\r\n.\r\n")
        statuses_until(manager, "receiving")
        assert statuses_until(manager, "waiting")[-1].endswith("messages accepted: 0")


def test_address_cannot_say_anything_else(smtpd, manager, tmp_path):
    env = environment(NOTIFY_SOCKET=manager.getsockname())
    with Session(command(smtpd), tmp_path, env=env) as session:
        session.say("EHLO x\r\nMAIL FROM:<\u00fc\u20ac@b.example> SMTPUTF8\r\nRCPT "
                    "TO:<c@d.example>\r\nDATA\r\n".encode())
        said = statuses_until(manager, "receiving")[-1]
        assert said == "STATUS=local: receiving a message from <?????@b.example>; recipients: 1"


@pytest.mark.parametrize("name",
                         ["", "/nonexistent/notify", "relative", "@no-such-abstract-socket",
                          "/" + "x" * 300],
                         ids=["empty", "nobody", "relative", "abstract", "long"])
def test_session_does_not_need_a_manager(smtpd, tmp_path, name):
    with Session(command(smtpd), tmp_path, env=environment(NOTIFY_SOCKET=name)) as session:
        session.begin("RCPT")
        assert session.end() == 0


def test_programs_are_not_given_the_socket(smtpd, manager, tmp_path):
    env = environment(NOTIFY_SOCKET=manager.getsockname())
    script = "/bin/sh -c 'echo 250 2.0.0 \"[$NOTIFY_SOCKET]\"'"
    with Session(command(smtpd, "--strategy=exec", f"--command={script}"), tmp_path,
                 env=env) as session:
        session.begin("EHLO")
        assert session.send_message(b"Subject: x\r\n\r\n") == b"250 2.0.0 []"
        assert session.end() == 0
