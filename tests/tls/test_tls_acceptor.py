# SPDX-License-Identifier: MIT
"""TLS where connections are accepted: one process has the key, and every session asks it. Here a
stand-in takes its place: what is tested is how it is started, and what it and sessions get."""

import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from acceptor import NOBODY, Acceptor, Client, connect, folder, read_all, start_that_fails
from conftest import need_root
from processes import descriptors, stat_of
from session import STAY, environment, wait_until
from tls_door import engine_that_answers, program, session_of
from tls_stand import Door, ask, install, notes, request_socket, variables_of, wait_for_end

_ = folder, program  # fixtures


def words_of(pid, first):
    """The command line of a session that has been executed, from this word on."""
    def words():
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    wait_until(lambda: any(word.startswith("--peer=") for word in words()), "a session")
    return words()[first:]


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


def test_keeper_of_root_is_killed(program, folder):
    """Nobody can be root any more, to start another one. When its engine has ended too, clients
    hear that there is no TLS, and do not wait for it."""
    need_root()
    with Door(program, folder, "--user=nobody") as door:
        (keeper,) = door.keepers()
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: b"the TLS engine is not restarted if it ends" in door.err(), "the line")
        assert engine_that_answers(door) == door.engine
        os.kill(door.engine, signal.SIGKILL)
        wait_for_end(door.engine)
        with door.client("EHLO") as client:
            client.expect((b"STARTTLS", b"454 4.7.0 "), (b"NOOP", b"250 "))
            client.quit()


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
