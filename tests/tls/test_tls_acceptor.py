# SPDX-License-Identifier: MIT
"""TLS where connections are accepted: one process has the key, and every session asks it. Here a
stand-in takes its place: what is tested is how it is started, kept alive and asked."""

import contextlib
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from acceptor import NOBODY, Acceptor, Client, connect, folder, read_all, start_that_fails
from conftest import need_root
from processes import descriptors, is_running, stat_of
from session import environment, wait_until
from tls_stand import (Door, answer, ask, install, notes, request_socket, send_request,
                       variables_of, wait_for_end)

_ = folder  # a fixture
STAY = ["--user=0"] if os.geteuid() == 0 else []  # who stays root can start another engine
FROM_CHAOS = {signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM}


@pytest.fixture
def program(smtpd, folder):
    return install(smtpd, folder)


@contextlib.contextmanager
def session_of(door):
    """(client, pid) of a session that has greeted."""
    before = set(door.sessions())
    with door.client("greeting") as client:
        wait_until(lambda: set(door.sessions()) - before, "a session")
        yield client, (set(door.sessions()) - before).pop()


def words_of(pid, first):
    """The command line of a session that has been executed, from this word on."""
    def words():
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    wait_until(lambda: any(word.startswith("--peer=") for word in words()), "a session")
    return words()[first:]


def engine_that_answers(door):
    """Its pid, as a session hears it; None if there is none now."""
    with session_of(door) as (client, pid), request_socket(pid) as sock:
        said = ask(sock)
        client.quit()
    answer = re.fullmatch(rb"SSL_PROTOCOL=(\d+)\0\0", said)
    return int(answer[1]) if answer else None


# --- the start ------------------------------------------------------------------------------------


def test_arguments_of_the_engine(program, folder):
    options = ["--tls-minimum=1.3", "--tls-client=ask", "--tls-client-ca=/ca.pem",
               "--tls-key=/a.key", "--timeout=30"]
    with Door(program, folder, *options, *STAY, certificate="/a.pem,/b.pem"):
        (start,) = notes(folder, "start")
    assert start["argv"][1:] == [
        "--certificate=/a.pem", "--certificate=/b.pem", "--key=/a.key", "--key=/b.pem",
        "--minimum=1.3", "--client=ask",
        "--client-ca=/ca.pem", "--hostname=mx.example.com", "--timeout=30", *STAY, "--serve"]


def test_arguments_of_a_self_signed_engine(program, folder):
    with Door(program, folder, *STAY):
        (start,) = notes(folder, "start")
    assert start["argv"][1:] == ["--certificate=self-signed", "--minimum=1.2", "--client=no",
                                 "--hostname=mx.example.com",
                                 "--timeout=300", *STAY, "--serve"]


def test_what_the_engine_inherits(program, folder):
    """Its three descriptors and the log; no signal blocked; nothing that says something of us.
    Ctrl-C is not for it."""
    env = environment(NOTIFY_SOCKET="/nonexistent", LISTEN_FDNAMES="x", SSLCTLFD="77",
                      OPENSSL_CONF="/etc/policy")
    with (open("/dev/null") as other,
          Door(program, folder, env=env, fds={other.fileno(): 50}, signals="blocked") as door):
        (start,) = notes(folder, "start")
        assert start["fds"] == [0, 1, 2, 3] and start["blocked"] == []
        assert not {"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_FDNAMES", "SSLCTLFD",
                    "SMTPD_TLS_FD"} & set(start["environment"])
        assert start["environment"]["OPENSSL_CONF"] == "/etc/policy"
        assert stat_of(door.engine).group == start["group"] != os.getpgid(door.pid)


def test_listening_line_says_it(program, folder):
    with Door(program, folder, "--listen-tls=127.0.0.1:0", "--tls=required", n=2) as door:
        assert [line.rsplit(b" ", 1)[1] for line in door.log("listening")] == [b"tls=required",
                                                                               b"tls=implicit"]
    with Door(program, folder, "--listen-tls=127.0.0.1:0", "--tls=no", n=2) as door:
        assert [line.rsplit(b" ", 1)[1] for line in door.log("listening")] == [b"config=/dev/null",
                                                                               b"tls=implicit"]
    with Acceptor(program, folder) as acceptor:
        assert b"tls=" not in acceptor.err()


@pytest.mark.parametrize("options", [["--tls=no"], ["--tls=no", "--listen=127.0.0.2:0"]],
                         ids=["one", "two"])
def test_no_engine_without_use(program, folder, options):
    with Door(program, folder, *options) as door:
        with session_of(door) as (client, pid):
            assert "SMTPD_TLS_FD" not in variables_of(pid)
            client.quit()
        assert notes(folder, "start") == [] and door.keepers() == []


def test_helper_that_is_not_installed(smtpd, folder):
    """smtpd alone, in a folder of its own."""
    if any(os.path.exists(f"/usr/{name}/smtpd/smtpd-tls") for name in ("libexec", "lib")):
        pytest.skip("smtpd-tls is installed")
    program = install(smtpd, folder)
    os.unlink(folder / "smtpd-tls")
    status, said = start_that_fails(program, folder, "--tls-certificate=self-signed")
    assert status == 78
    assert re.search(rb"tls-certificate: smtpd-tls is not installed \(cannot run /\S+\): build "
                     rb"smtpd with "
                                      rb"libssl-dev and pkg-config installed, or choose tls=no\n",
                     said)


def test_helper_that_cannot_be_run(program, folder):
    (folder / "smtpd-tls").write_text("#!/nonexistent/interpreter\n")
    status, said = start_that_fails(program, folder, "--tls-certificate=self-signed")
    assert status == 75 and b"cannot run %s/smtpd-tls: No such file" % os.fsencode(folder) in said


def test_engine_that_cannot_use_its_key(program, folder):
    """The status is 78, in its own words."""
    (folder / "refuse").write_text("TLS: the key in /a.key does not belong to the certificate")
    status, said = start_that_fails(program, folder, "--tls-certificate=/a.pem")
    assert status == 78 and said == b"TLS: the key in /a.key does not belong to the certificate\n"
    (engine,) = notes(folder, "start")
    wait_for_end(engine["pid"])


def test_engine_that_is_never_ready(program, folder):
    (folder / "hang").write_text("yes")
    before = time.monotonic()
    status, said = start_that_fails(program, folder, "--tls-certificate=/a.pem")
    assert status == 75 and 8 < time.monotonic() - before < 16
    assert b"the TLS engine was not ready within 10 seconds: does the file system of its key hang?" in said
    wait_for_end(notes(folder, "start")[0]["pid"])


def test_start_that_fails_after_the_engine(program, folder):
    """Since the user of the sessions does not exist."""
    need_root()
    status, said = start_that_fails(program, folder, "--tls-certificate=/a.pem",
                                    "--user=nosuchuser", "--tls-user=nobody")
    assert status == 78 and b"user=nosuchuser: no such user" in said
    for note in notes(folder, "start"):
        wait_for_end(note["pid"])


def test_exit_when_idle(program, folder):
    with Door(program, folder, "--exit-idle-time=1") as door:
        engine, keepers = door.engine, door.keepers()
        assert door.status() == 0
        for pid in [engine, *keepers]:
            wait_for_end(pid)


def test_passed_socket_for_tls(program, folder):
    """By its name, which is also how systemd passes it."""
    with (socket.create_server(("127.0.0.1", 0)) as plain,
          socket.create_server(("127.0.0.1", 0)) as tls):
        env = environment(LISTEN_FDS="2", LISTEN_FDNAMES="smtp:tls-465")
        with Door(program, folder, "--tls=no", listen=None, n=2, env=env,
                  fds={plain.fileno(): 3, tls.fileno(): 4}) as door:
            assert [line.rsplit(b" ", 1)[1]
                    for line in door.log("listening")] == [b"config=/dev/null", b"tls=implicit"]


def test_passed_socket_for_tls_without_a_certificate(program, folder):
    with socket.create_server(("127.0.0.1", 0)) as tls:
        env = environment(LISTEN_FDS="1", LISTEN_FDNAMES="tls")
        status, said = start_that_fails(program, folder, listen=None, env=env,
                                        fds={tls.fileno(): 3})
    address = b"%s:%d" % (b"127.0.0.1", tls.getsockname()[1]) if tls.fileno() >= 0 else b"127.0.0.1"
    assert status == 78 and b"cannot offer TLS on 127.0.0.1:" in said
    assert address[:9] == b"127.0.0.1"
    assert b"set tls-certificate=FILE or tls-engine=/SOCKET" in said


@pytest.mark.parametrize("n", range(4, 24, 2))
def test_few_descriptors(release, folder, n):
    """It is started or not, and says so; it never hangs, and leaves nothing behind. A session that
    starts can ask."""
    program = install(release, folder)
    prefix = ["sh", "-c", f'ulimit -n {n} && exec "$@"', "sh"]
    door = Door(program, folder, prefix=prefix, wait=False)
    try:
        wait_until(lambda: door.process.poll() is not None or b"listening" in door.err(),
                   "a decision")
        if door.process.poll() is None:
            with door.client() as client:
                if client.reply().startswith(b"220 "):
                    (pid,) = door.sessions()
                    with request_socket(pid) as sock:
                        assert ask(sock) == b"SSL_PROTOCOL=%d\0\0" % door.engine
        else:
            assert door.process.returncode > 0 and door.err().strip()
    finally:
        door.kill()
    for note in notes(folder, "start"):
        wait_for_end(note["pid"])


# --- what sessions get ----------------------------------------------------------------------------


def test_session_of_a_port_in_clear(program, folder):
    with Door(program, folder) as door, session_of(door) as (client, pid):
        said = variables_of(pid)
        number = int(said["SMTPD_TLS_FD"])
        open_there = descriptors(pid)
        assert open_there[number].startswith("socket:")
        passed = {0, 1, 2, number, int(said["SMTPD_COUNTER_FD"]), int(said["SMTPD_OUTPUT_FD"])}
        kinds = {open_there[fd].split(":")[0] for fd in set(open_there) - passed}
        assert kinds <= {"anon_inode"}, (open_there, said)  # its signals
        client.quit()


def test_session_has_nothing_of_the_certificate(program, folder):
    """Neither its path nor that of the key: it only asks."""
    options = ["--tls-key=/secret/key.pem", "--tls-client=ask", "--tls-client-ca=/secret/ca.pem",
               "--tls-user=nobody"]
    with (Door(program, folder, *options, certificate="/secret/a.pem") as door,
          session_of(door) as (client, pid)):
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            assert b"secret" not in file.read()
        client.quit()


def test_both_ports_at_once(program, folder):
    """On a port that begins with TLS a session is told so, and nothing is said in clear."""
    with Door(program, folder, "--listen-tls=127.0.0.1:0", n=2) as door:
        os.kill(door.engine, signal.SIGSTOP)  # whoever asks it waits
        with session_of(door) as (client, pid), connect(door.addresses[1]):
            wait_until(lambda: len(door.sessions()) == 2, "both sessions")
            (other,) = set(door.sessions()) - {pid}
            assert words_of(pid, 1) and "--tls=implicit" not in words_of(pid, 1)
            assert "--tls=implicit" in words_of(other, 1)
            client.quit()
        os.kill(door.engine, signal.SIGCONT)
        assert door.serve_one() == b"250 2.0.0 printed"


def test_refusal_on_a_port_for_tls_is_silent(program, folder):
    """A TLS client cannot read our 421."""
    with (Door(program, folder, "--listen-tls=127.0.0.1:0", "--max-connections=1", n=2) as door,
          session_of(door) as (client, _pid)):
        with connect(door.addresses[1]) as tls, Client(door.addresses[0]) as plain:
            assert read_all(tls) == b"" and plain.refusal().startswith(b"421 4.7.0 ")
        client.quit()


# --- requests -------------------------------------------------------------------------------------


def test_sessions_ask_the_engine(program, folder):
    with Door(program, folder) as door:
        assert {engine_that_answers(door) for _ in range(5)} == {door.engine}
        assert [note["octets"]
                for note in notes(folder, "request")] == ["Y\0HOSTNAME=mx.example.com\0"] * 5


def test_many_sessions_at_once_in_tls(program, folder):
    with (Door(program, folder, "--max-connections-per-source=100") as door,
          contextlib.ExitStack() as stack):
        for _ in range(30):
            stack.enter_context(door.client("greeting"))
        wait_until(lambda: len(door.sessions()) == 30, "all sessions")
        sockets = [stack.enter_context(request_socket(pid)) for pid in door.sessions()]
        controls = [send_request(sock) for sock in sockets]
        assert {answer(control) for control in controls} == {b"SSL_PROTOCOL=%d\0\0" % door.engine}


@pytest.mark.parametrize("number", sorted(FROM_CHAOS), ids=lambda number: number.name)
def test_engine_killed_between_sessions(program, folder, number):
    with Door(program, folder) as door:
        first = engine_that_answers(door)
        os.kill(first, number)
        second = engine_that_answers(door)
        assert second != first and second == door.engine and not is_running(first)
        assert re.search(rb"the TLS engine \(process %d\) was killed by signal %d \([A-Za-z ]+\): "
                         rb"restarting it" % (first, number), door.err())


def test_requests_wait_for_the_next_engine(program, folder):
    """One that was in the dying one's hands is lost, and its session hears of it."""
    with (Door(program, folder) as door, session_of(door) as (client, pid),
          request_socket(pid) as sock):
        first = door.engine
        os.kill(first, signal.SIGSTOP)
        wait_until(lambda: stat_of(first).state == "T", "the stop")
        controls = [send_request(sock) for _ in range(3)]
        os.kill(first, signal.SIGKILL)
        assert [answer(control)
                for control in controls] == [b"SSL_PROTOCOL=%d\0\0" % door.engine] * 3
        assert door.engine != first
        client.quit()


def test_engine_dies_with_a_request(program, folder):
    with (Door(program, folder) as door, session_of(door) as (client, pid),
          request_socket(pid) as sock):
        (folder / "die").write_text("yes")
        control = send_request(sock)
        assert answer(control) == b""
        (folder / "die").unlink()
        assert ask(sock) == b"SSL_PROTOCOL=%d\0\0" % door.engine
        client.quit()


def test_engine_that_dies_again_and_again(program, folder):
    """It is started once a second, no more; and its sessions all hear that there is no TLS."""
    with (Door(program, folder) as door, session_of(door) as (client, pid),
          request_socket(pid) as sock):
        (folder / "die").write_text("yes")
        begin = time.monotonic()
        while time.monotonic() < begin + 3.5:
            assert ask(sock) == b""
        assert 3 <= len(notes(folder, "start")) <= 5
        client.quit()


def test_engine_that_cannot_be_started_again(program, folder):
    """Nobody waits for it for long; and when it can be, all is well."""
    with (Door(program, folder) as door, session_of(door) as (client, pid),
          request_socket(pid) as sock):
        (folder / "refuse").write_text("TLS: the key is gone")
        first = door.engine
        os.kill(first, signal.SIGKILL)
        wait_for_end(first)
        before = time.monotonic()
        assert ask(sock) == b"" and time.monotonic() - before < 3
        assert b"TLS: the key is gone\n" in door.err()
        (folder / "refuse").unlink()
        assert wait_until(lambda: ask(sock), "an engine") == b"SSL_PROTOCOL=%d\0\0" % door.engine
        client.quit()


def test_empty_requests_hold_nobody_up(program, folder):
    """Somebody who has taken a session over sends them; other sessions hear that there is no
    engine."""
    with (Door(program, folder) as door, session_of(door) as (client, pid),
          request_socket(pid) as sock):
        (folder / "refuse").write_text("TLS: the key is gone")
        os.kill(door.engine, signal.SIGSTOP)
        for _ in range(5):
            sock.sendmsg([b""])
        control = send_request(sock, patience=5)
        os.kill(door.engine, signal.SIGKILL)
        assert answer(control) == b""
        client.quit()


def test_keeper_killed(program, folder):
    with Door(program, folder, *STAY) as door:
        engine_that_answers(door)
        (keeper,) = door.keepers()
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: door.keepers() and door.keepers() != [keeper], "another keeper")
        assert b"the keeper of the TLS engine (process %d) ended" % keeper in door.err()
        wait_until(lambda: len(notes(folder, "start")) == 2, "another engine")
        for pid in {note["pid"] for note in notes(folder, "start")}:
            os.kill(pid, signal.SIGKILL)
        assert engine_that_answers(door) == door.engine


def test_keeper_that_answers_late(program, folder):
    """It is not dead: the next order has an answer of its own."""
    with Door(program, folder) as door:
        first = engine_that_answers(door)
        (keeper,) = door.keepers()
        os.kill(keeper, signal.SIGSTOP)
        door.signal(signal.SIGHUP)
        wait_until(lambda: b"not reloaded" in door.err(), "the acceptor's patience to end")
        os.kill(keeper, signal.SIGCONT)
        wait_until(lambda: engine_that_answers(door) not in (first, None), "the late engine")
        door.reload()
        assert door.keepers() == [keeper] and b"ended" not in door.err()


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_nothing_is_left(program, folder, number):
    with Door(program, folder) as door:
        engine, keepers = engine_that_answers(door), door.keepers()
        door.signal(number)
        assert door.status() == 0
        for pid in [engine, *keepers]:
            assert not is_running(pid)


def test_engine_serves_until_the_last_session_has_ended(program, folder):
    """After SIGTERM sessions with a message under way go on."""
    with Door(program, folder) as door, door.client("MAIL") as client:
        (pid,) = door.sessions()
        with request_socket(pid) as sock:
            door.signal(signal.SIGTERM)
            wait_until(lambda: b"stopping" in door.err(), "the stop")
            assert ask(sock) == b"SSL_PROTOCOL=%d\0\0" % door.engine
        client.expect((b"RSET", b"250 "))
        client.read_to_end()
        assert door.status() == 0 and not is_running(door.engine)


def test_acceptor_killed(program, folder):
    """Its sessions go on, with their engine; after them nothing is left."""
    with Door(program, folder) as door, session_of(door) as (client, pid):
        keepers = door.keepers()
        door.process.kill()
        door.process.wait()
        door.has_ended = True
        for keeper in keepers:
            wait_for_end(keeper)
        with request_socket(pid) as sock:
            assert ask(sock) == b"SSL_PROTOCOL=%d\0\0" % door.engine
        client.quit()
        wait_for_end(door.engine)


# --- another configuration ------------------------------------------------------------------------


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


# --- root's ---------------------------------------------------------------------------------------


def test_engine_of_root(program, folder):
    """It is started before the user is changed, and so are those after it."""
    need_root()
    with Door(program, folder, "--user=nobody") as door:
        (start,) = notes(folder, "start")
        assert start["uid"] == 0 and "--user=nobody" in start["argv"]
        first = engine_that_answers(door)
        assert notes(folder, "request")[-1]["uid"] == 65534
        os.kill(first, signal.SIGKILL)
        engine_that_answers(door)
        door.reload()
        engine_that_answers(door)
        assert [note["uid"] for note in notes(folder, "start")] == [0, 0, 0]


@pytest.mark.parametrize("options, user",
                         [(["--user=nobody"], "nobody"),
                          (["--user=nobody", "--tls-user=daemon"], "daemon")],
                         ids=["user", "tls-user"])
def test_user_of_the_engine(program, folder, options, user):
    need_root()
    with Door(program, folder, *options):
        (start,) = notes(folder, "start")
        assert f"--user={user}" in start["argv"]


def test_no_root_no_user(program, folder):
    need_root()
    with Door(program, folder, "--tls-user=daemon", **NOBODY):
        (start,) = notes(folder, "start")
        assert start["uid"] == 65534
        assert not any(word.startswith("--user") for word in start["argv"])


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
