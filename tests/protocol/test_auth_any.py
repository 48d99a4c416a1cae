# SPDX-License-Identifier: MIT
"""AUTH where everybody is believed (auth=any): names are in the log, passwords nowhere."""

import re

import pytest
from acceptor import Acceptor, folder
from auth import (CLIENTS, NAME, PASSWORD, any_, b64, extensions, has_secret, login, plain,
                  say_by_curl)
from logs import lines, one
from proxy import SMALL
from session import Session, run, tcp_pair, wait_until

_ = folder  # a fixture


@pytest.mark.parametrize("steps", [
    [(b"AUTH PLAIN " + plain(), b"235 2.7.0 ")],
    [(b"AUTH PLAIN", b"334 "), (plain(), b"235 2.7.0 ")],
    [(b"AUTH LOGIN", b"334 VXNlcm5hbWU6"), (b64(NAME), b"334 UGFzc3dvcmQ6"),
     (b64(PASSWORD), b"235 2.7.0 ")],
], ids=["initial response", "PLAIN", "LOGIN"])
def test_any(smtpd, tmp_path, steps):
    """The name is in the log, and how; the password is nowhere."""
    with Session(any_(smtpd), tmp_path, pair=tcp_pair()) as session:
        session.begin("greeting")
        assert b"AUTH PLAIN LOGIN" in extensions(session)
        session.expect(*steps)
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.end() == 0
        log = session.err()
    mechanism = steps[0][0].split()[1].decode()
    line = one(log, "authentication")
    assert line["auth"] == mechanism.encode() and line["user"] == NAME.encode()
    assert line["verdict"].startswith(b"235 ")
    for what in ("message", "session"):
        assert one(log, what)["auth"] == mechanism.encode()
        assert one(log, what)["protocol"] == b"ESMTPA"
    assert not has_secret(log)


def test_any_for_programs(smtpd, tmp_path):
    """$SMTPD_AUTH is how the client has authenticated; empty if it has not."""
    argv = any_(smtpd, "--strategy=exec", f"--command=/bin/sh -c 'env >>{tmp_path}/env'")
    mail = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n" + SMALL + b".\r\n"
    status, said, err = run(argv,
                            b"EHLO c\r\n" + mail + b"AUTH PLAIN " + plain() + b"\r\n" + mail
                            + b"QUIT\r\n")
    assert status == 0 and said.count(b"\n250 2.0.0 ") == 2, said
    variables = (tmp_path / "env").read_bytes()
    assert re.findall(rb"^SMTPD_AUTH=(.*)$", variables, re.M) == [b"", b"PLAIN"]
    assert re.findall(rb"^SMTPD_PROTOCOL=(.*)$", variables, re.M) == [b"ESMTP", b"ESMTPA"]
    assert not has_secret(variables + err)


def test_hostile_names_in_the_log(smtpd):
    name = 'a" verdict="250 \r\n<6>' + "\x1b[m\u00e4" + "x" * 200
    said = b"EHLO c\r\nAUTH PLAIN " + plain(name) + b"\r\nQUIT\r\n"
    _, _, err = run(any_(smtpd), said)
    # logs.py looks at the line
    assert one(err, "authentication")["user"].startswith(name[:30].encode())
    _, said, err = run(any_(smtpd), b"EHLO c\r\nAUTH PLAIN " + plain("x" * 256) + b"\r\nQUIT\r\n")
    assert b"\n501 5.5.2 " in said and "user" not in one(err, "authentication").keys()


def test_clients_with_any(release, folder):
    with Acceptor(release, folder, "--auth=any") as door:
        port = int(door.addresses[0].rpartition(":")[2])
        for client, kind in CLIENTS:
            if kind == "LOGIN" or client is say_by_curl:
                done = client(port, kind)
                assert done.returncode == 0, (client, kind, done)
        login(port)
        wait_until(lambda: len(lines(door.err(), "session")) == 5, "the sessions")
        log = door.err()
    assert {line["auth"] for line in lines(log, "message")} == {b"PLAIN", b"LOGIN"}
    assert {line["user"] for line in lines(log, "authentication")} == {NAME.encode()}
    assert not has_secret(log)
