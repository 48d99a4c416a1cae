# SPDX-License-Identifier: MIT
"""TLS where connections are accepted: another certificate, or another configuration, while it
runs."""

import pytest
from acceptor import Acceptor, folder
from conftest import need_root
from session import STAY
from tls_door import engine_that_answers, program, session_of
from tls_stand import Door, ask, notes, request_socket, variables_of, wait_for_end

_ = folder, program  # fixtures


@pytest.fixture
def conf(folder):
    def write(text):
        path = folder / "smtpd.conf"
        path.write_text(text)
        path.chmod(0o644)
        return f"--config={path}"

    return write


def test_reload_renews_the_certificate(program, folder):
    """Another engine is started, which reads it; the one before ends when that is ready. Sessions
    notice nothing."""
    with (Door(program, folder, certificate="/a.pem") as door, session_of(door) as (client, pid),
          request_socket(pid) as sock):
        first = door.engine
        door.reload()
        assert door.engine != first
        assert ask(sock) == b"SSL_PROTOCOL=%d\0\0" % door.engine
        wait_for_end(first)
        assert b"ended" not in door.err()
        client.quit()


def test_reload_with_a_bad_certificate(program, folder):
    """The configuration is not taken, and the engine goes on."""
    with Door(program, folder, certificate="/a.pem") as door:
        first = door.engine
        (folder / "refuse").write_text("TLS: there is no certificate in /a.pem")
        door.reload(b"not reloaded")
        assert b"TLS: there is no certificate in /a.pem\n" in door.err()
        assert engine_that_answers(door) == first


def test_reload_with_another_certificate(program, folder, conf):
    """The same sockets: sessions that run can ask."""
    option = conf("tls-certificate=/a.pem\n")
    with (DoorOfFile(program, folder, option, *STAY) as door, session_of(door) as (client, pid),
          request_socket(pid) as sock):
        first, keepers = door.engine, door.keepers()
        conf("tls-certificate=/b.pem\ntls-minimum=1.3\n")
        door.reload()
        start = notes(folder, "start")[-1]
        assert {"--certificate=/b.pem", "--minimum=1.3"} <= set(start["argv"])
        wait_for_end(first)
        assert door.keepers() != keepers and len(door.keepers()) == 1
        assert ask(sock) == b"SSL_PROTOCOL=%d\0\0" % door.engine == b"SSL_PROTOCOL=%d\0\0" % engine_that_answers(door)
        client.quit()


def test_reload_to_another_certificate_that_is_bad(program, folder, conf):
    option = conf("tls-certificate=/a.pem\n")
    with DoorOfFile(program, folder, option, *STAY) as door:
        first, keepers = door.engine, door.keepers()
        conf("tls-certificate=/b.pem\n")
        (folder / "refuse").write_text("TLS: there is no certificate in /b.pem")
        door.reload(b"not reloaded")
        assert engine_that_answers(door) == first and door.keepers() == keepers


def test_reload_begins_and_ends_tls(program, folder, conf):
    option = conf("")
    with DoorOfFile(program, folder, option, *STAY) as door:
        assert door.keepers() == []
        conf("tls-certificate=/a.pem\n")
        door.reload()
        engine = engine_that_answers(door)
        with session_of(door) as (client, pid), request_socket(pid) as sock:
            conf("")
            door.reload()
            assert ask(sock) == b"SSL_PROTOCOL=%d\0\0" % engine  # it was told that there is TLS
            client.quit()
        wait_for_end(engine)
        with session_of(door) as (client, pid):
            assert "SMTPD_TLS_FD" not in variables_of(pid)
            client.quit()


class DoorOfFile(Door):
    """The configuration file has the certificate."""

    def __init__(self, program, folder, *options, **given):
        self.folder = folder
        Acceptor.__init__(self, program, folder, *options, **given)


def test_certificate_of_root_that_changes_its_name(program, folder, conf):
    """Nobody is root any more who could take orders of that kind."""
    need_root()
    option = conf("tls-certificate=/a.pem\n")
    with DoorOfFile(program, folder, option, "--user=nobody") as door:
        keepers = door.keepers()
        conf("tls-certificate=/b.pem\n")
        door.reload()
        assert (b"TLS is unchanged: the changed options of certificate and key need a "
                b"restart" in door.err())
        assert "--certificate=/a.pem" in notes(folder, "start")[-1]["argv"]
        assert door.keepers() == keepers
