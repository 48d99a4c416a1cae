# SPDX-License-Identifier: MIT
"""Where connections are accepted, the real smtpd-tls has the key: certificates that cannot be used
at the start and later, those that change, and who can read the key."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess

import pytest
from acceptor import NOBODY, folder, start_that_fails
from conftest import need_root
from processes import is_running
from session import PATIENCE, PYTHON, tcp_pair, wait_until
from tls import (NAME, Certificate, client_context, read_variables,
                 send_request_of_a_session)
from tls_door import session_of
from tls_real_door import RealDoor, installed, options_of
from tls_stand import request_socket, wait_for_end

_ = folder  # a fixture
STAY = ["--user=0"] if os.geteuid() == 0 else []


@pytest.fixture
def program(smtpd, folder):
    return installed(smtpd, folder)


@pytest.fixture
def pair(folder):
    return Certificate(folder)


def speak_tls(sock):
    """A request of a session's, and a client of it: (the certificate that it was shown, what the
    engine says)."""
    (peer, wire), (ours, control), (clear,
                                    theirs) = tcp_pair(), socket.socketpair(), socket.socketpair()
    for one in (peer, ours, clear):
        one.settimeout(PATIENCE)
    send_request_of_a_session(sock, b"Y\0HOSTNAME=mx.example.com\0", wire, control, theirs)
    for one in (wire, control, theirs):
        one.close()
    with (contextlib.closing(ours), contextlib.closing(clear),
          client_context().wrap_socket(peer, server_hostname=NAME) as client):
        clear.sendall(b"220 hello\r\n")
        assert client.recv(100) == b"220 hello\r\n"
        client.sendall(b"EHLO\r\n")
        assert clear.recv(100) == b"EHLO\r\n"
        clear.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
        return client.getpeercert(binary_form=True), read_variables(ours)[0]


def shown(door):
    with session_of(door) as (client, pid), request_socket(pid) as sock:
        certificate, _variables = speak_tls(sock)
        client.quit()
    return certificate


def in_der(pair):
    return ssl.PEM_cert_to_DER_cert(
        pair.certificate.read_text().split("-----END CERTIFICATE-----")[0]
        + "-----END CERTIFICATE-----\n")


# --- a certificate --------------------------------------------------------------------------------


def test_tls_of_a_session(program, folder, pair):
    with (RealDoor(program, folder, pair) as door, session_of(door) as (client, pid),
          request_socket(pid) as sock):
        certificate, variables = speak_tls(sock)
        assert certificate == in_der(pair) and variables["SSL_PROTOCOL"] == "TLSv1.3"
        client.quit()


def test_self_signed(program, folder):
    """For the name that we have, and another one at each start."""
    found = set()
    for _ in range(2):
        with RealDoor(program, folder, None, f"--hostname={NAME}") as door:
            found.add(shown(door))
    assert len(found) == 2
    for certificate in found:
        said = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-checkhost", NAME],
                              input=certificate, capture_output=True, check=True)
        assert b"does match certificate" in said.stdout


def break_key(pair, folder):
    pair.key.write_text("nothing")
    return b"no readable key in "


def take_key_of_another(pair, folder):
    shutil.copy(Certificate(folder, name="other.example").key, pair.key)
    return b"does not match the first certificate in "


def remove_key(pair, folder):
    pair.key.unlink()
    return b"cannot read the key "


def break_certificate(pair, folder):
    pair.certificate.write_text("nothing")
    return b"no certificate in "


def remove_certificate(pair, folder):
    pair.certificate.unlink()
    return b"cannot read the certificate "


FAULTS = [break_key, take_key_of_another, remove_key, break_certificate, remove_certificate]


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda f: f.__name__)
def test_files_that_cannot_be_used(program, folder, pair, spoil):
    """The start ends with 78, and says what is wrong. At SIGHUP the engine before goes on; when all
    is well again, another."""
    before = in_der(pair)
    with RealDoor(program, folder, pair) as door:
        first = door.engine
        complaint = spoil(pair, folder)
        door.reload(b"not reloaded")
        assert complaint in door.err() and shown(door) == before and door.engine == first
        new = Certificate(folder)  # the same names
        door.reload()
        assert shown(door) == in_der(new) != before
    complaint = spoil(pair, folder)
    status, said = start_that_fails(program, folder, *options_of(pair))
    assert status == 78 and complaint in said


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda f: f.__name__)
def test_check_says_the_same(program, folder, pair, spoil):
    complaint = spoil(pair, folder)
    done = subprocess.run([program, "--config=/dev/null", "--check", *options_of(pair)],
                          capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 78 and done.stdout == b""
    assert b"smtpd: tls-certificate: " in done.stderr and complaint in done.stderr


def test_key_that_only_root_can_read(program, folder, pair):
    need_root()
    status, said = start_that_fails(program, folder, *options_of(pair), **NOBODY)
    assert status == 78 and b"cannot read the key " in said and b"user nobody is not permitted" in said


def test_certificate_changed_between_sessions(program, folder, pair):
    """It is noticed without a signal, where who has the key may read it again."""
    with RealDoor(program, folder, pair, *STAY) as door:
        first, engine = shown(door), door.engine
        new = Certificate(folder)
        wait_until(lambda: shown(door) == in_der(new) != first, "the new certificate")
        wait_for_end(engine)


def put(source, path):
    """As who renews it does: a file of another inode."""
    os.rename(shutil.copy(source, f"{path}.new"), path)


def test_key_that_comes_after_its_certificate(program, folder, pair):
    """Until then they do not belong together, and TLS goes on with those that do."""
    (other := folder / "other").mkdir()
    new = Certificate(other)
    with RealDoor(program, folder, pair, *STAY) as door:
        first = shown(door)
        put(new.certificate, pair.certificate)
        wait_until(lambda: shown(door) == first
                   and b" does not match the first certificate in " in door.err(), "the reason")
        for _ in range(3):
            assert shown(door) == first
        put(new.key, pair.key)
        wait_until(lambda: shown(door) == in_der(new), "the new certificate")


def test_engine_of_a_dead_keeper_leaves_a_new_certificate_to_others(program, folder, pair):
    """The next keeper has an engine of its own at the same socket: the one before goes on beside
    it, but not with an old certificate."""
    with RealDoor(program, folder, pair, *STAY) as door:
        first, engine, (keeper,) = shown(door), door.engine, door.keepers()
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: door.keepers() not in ([], [keeper]), "the next keeper")
        assert door.engine != engine
        assert is_running(engine) and shown(door) == first
        new = Certificate(folder)
        wait_until(lambda: shown(door) in (first, in_der(new)) and not is_running(engine),
                   "the end of the old engine")
        wait_until(lambda: shown(door) == in_der(new), "the new certificate")
        assert {shown(door) for _ in range(5)} == {in_der(new)}


def test_connections_outlive_a_renewal(program, folder, pair):
    with (RealDoor(program, folder, pair) as door, session_of(door) as (client, pid),
          request_socket(pid) as sock):
        (peer, wire), (ours, control) = tcp_pair(), socket.socketpair()
        clear, theirs = socket.socketpair()
        socket.send_fds(sock, [b"Y\0"], [one.fileno() for one in (wire, control, theirs)])
        for one in (wire, control, theirs):
            one.close()
        peer.settimeout(PATIENCE)
        with client_context().wrap_socket(peer, server_hostname=NAME) as tls, ours, clear:
            for spoil in (door.reload, lambda: os.kill(door.engine, signal.SIGKILL)):
                spoil()
                clear.sendall(b"250 still here\r\n")
                assert tls.recv(100) == b"250 still here\r\n"
        client.quit()


# --- who can read the key -------------------------------------------------------------------------

# As another process of the sessions' user tries it: what it could do is said.
THIEF = """
import ctypes, os, signal, sys
engine, keeper, acceptor, key = [*map(int, sys.argv[1:4]), sys.argv[4]]
libc = ctypes.CDLL(None, use_errno=True)
def attempt(what, act):
    try:
        if act() not in (None, -1):
            print(what)
    except OSError:
        pass
def look(path): # what this user may not read cannot be opened
    open(path, "rb").close()
    return True
attempt("the file", lambda: look(key))
for name, pid in (("engine", engine), ("keeper", keeper), ("acceptor", acceptor)):
    for file in ("mem", "environ", "maps", "auxv"):
        attempt(f"{file} of the {name}", lambda: look(f"/proc/{pid}/{file}"))
    attempt(f"descriptors of the {name}", lambda: os.listdir(f"/proc/{pid}/fd"))
    attempt(f"folder of the {name}", lambda: os.listdir(f"/proc/{pid}/cwd"))
    attempt(f"a descriptor of the {name}", lambda: libc.syscall(438, os.pidfd_open(pid), 0, 0))
    attempt(f"tracing the {name}", lambda: libc.ptrace(0x4206, pid, None, None)) # PTRACE_SEIZE
attempt("a signal for the keeper", lambda: os.kill(keeper, 0) or True)
print("over")
"""


@pytest.mark.parametrize("user", ["nobody", "daemon"])
def test_key_of_root_is_not_for_sessions(release, folder, user):
    """The file is root's. Sessions and their programs are nobody; so is the engine, unless it has a
    user of its own."""
    need_root()
    program, pair = installed(release, folder), Certificate(folder)
    with RealDoor(program, folder, pair, "--user=nobody", f"--tls-user={user}") as door:
        engine, (keeper,) = door.engine, door.keepers()
        argv = [PYTHON, "-c", THIEF, *map(str, (engine, keeper, door.pid)), str(pair.key)]
        done = subprocess.run(argv, capture_output=True, timeout=PATIENCE, text=True, check=False,
                              **NOBODY)
        assert (done.stdout, done.stderr) == ("over\n", "")
        assert is_running(engine) and shown(door) == in_der(pair)
        # a test of the test: root could
        done = subprocess.run(argv, capture_output=True, timeout=PATIENCE, text=True, check=False)
        assert {"the file", "mem of the engine", "descriptors of the engine",
                "a descriptor of the keeper"} <= set(done.stdout.splitlines())


def test_session_does_not_have_the_key(release, folder):
    """Neither its memory nor its descriptors, nor those of the acceptor and the keeper."""
    need_root()
    program, pair = installed(release, folder), Certificate(folder)
    secret = pair.key.read_text().splitlines()[1].encode()
    with (RealDoor(program, folder, pair, "--user=nobody") as door,
          session_of(door) as (client, pid)):
        for process in (pid, door.pid, *door.keepers()):
            assert not memory_has(process, secret) and str(pair.key) not in names_open(process)
        client.quit()


def names_open(pid):
    return {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}


def memory_has(pid, octets):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            begin, end = (int(word, 16) for word in line.split()[0].split("-"))
            if "r" in line.split()[1] and "[v" not in line:
                memory.seek(begin)
                with contextlib.suppress(OSError):
                    if octets in memory.read(end - begin):
                        return True
    return False
