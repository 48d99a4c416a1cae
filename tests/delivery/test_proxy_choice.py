# SPDX-License-Identifier: MIT
"""Strategy proxy: which upstream is asked, of several and of a name's several addresses."""

import socket
import time

import pytest
from proxy import SMALL, check_exact, check_honest, closed_port, play, proxy
from session import Session
from upstream import Upstream, close, silent


def test_nobody_listens(smtpd, tmp_path):
    outcome = play(proxy(smtpd, closed_port(), "/nonexistent/socket"), tmp_path)
    assert outcome.codes == [250, 451] and outcome.last.startswith(b"451 4.4.1 ")
    assert outcome.log.count(b"smtpd: upstream ") == 2 and outcome.seconds < 1  # once each


@pytest.mark.parametrize("bad",
                         ["refused", "no socket", "not a socket", "greets 554", "greets 421",
                          "garbage", "closes", "silent", "EHLO refused"])
def test_next_upstream_is_tried(smtpd, tmp_path, bad):
    (tmp_path / "file").write_text("")
    scripts = {"greets 554": b"554 no\r\n", "greets 421": b"421 no\r\n", "garbage": b"\0\0\0\r\n",
               "closes": close, "silent": silent}
    script = {"greeting": scripts[bad]} if bad in scripts else {"EHLO": b"550 no\r\n",
                                                                "HELO": b"550 no\r\n"}
    with Upstream(script) as first, Upstream() as second:
        name = {"refused": closed_port(), "no socket": str(tmp_path / "none"),
                "not a socket": str(tmp_path / "file")}.get(bad, first)
        outcome = play(proxy(smtpd, name, second, "--upstream-timeout=1"), tmp_path)
        check_honest(outcome, second)
        assert outcome.codes == [250, 250, 250, 354, 250] and outcome.seconds < 3
        assert b"smtpd: upstream " in outcome.log
        check_exact(second.messages[0], SMALL)


def test_upstreams_in_order(smtpd, tmp_path):
    with Upstream() as first, Upstream() as second:
        check_honest(play(proxy(smtpd, first, second), tmp_path), first)
        assert second.connections == []
        outcome = play(proxy(smtpd, f"{first.endpoint},{second.endpoint}"), tmp_path)
        assert outcome.codes[-1] == 250 and second.connections == [] and len(first.messages) == 2


LOCALHOST = sorted({info[0]
                    for info in socket.getaddrinfo("localhost", 25, type=socket.SOCK_STREAM)})


@pytest.mark.parametrize("family", LOCALHOST, ids=lambda family: family.name)
def test_name_with_several_addresses(release, tmp_path, family):
    """Only one of them answers. (Where localhost has only one, that is it.)"""
    with Upstream(family=family) as up:
        check_honest(play(proxy(release, f"localhost:{up.port}"), tmp_path), up)
        assert len(up.messages) == 1


def test_name_that_does_not_exist(release, tmp_path):
    with Upstream() as up:
        outcome = play(proxy(release, "-.-", up), tmp_path)
        check_honest(outcome, up)
        assert outcome.codes[-1] == 250 and b"upstream endpoint=-.- step=connect " in outcome.log


def test_full_backlog_of_a_local_socket(release, tmp_path):
    """connect(2) would have to wait for a moment: that is not a refusal."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as busy:
        listener.bind(path)
        listener.listen(0)
        listener.settimeout(1)
        busy.connect(path)
        with Session(proxy(release, path, "--upstream-timeout=5"), tmp_path) as session:
            session.expect((None, b"220 "))
            session.say(b"EHLO x\r\n")
            time.sleep(0.3)
            listener.accept()[0].close()
            try:
                sock, _ = listener.accept()
            except TimeoutError:
                pytest.fail("it gave up at once")
            with sock:
                sock.sendall(b"220 up\r\n")
                sock.recv(1000)
                sock.sendall(b"250-up\r\n250 SIZE 1234\r\n")
                assert b"SIZE 1234" in session.reply()
            assert session.end() == 0
