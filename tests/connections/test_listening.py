# SPDX-License-Identifier: MIT
"""Where smtpd listens: addresses, names and ports, sockets in the file system, and what is there
already."""

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess

import pytest
from accepting import MESSAGE, PRINTED
from acceptor import NOBODY, Acceptor, Client, connect, folder, network, start_that_fails
from conftest import need, need_root, private_mounts
from session import free_port, wait_until, with_x_peer

_ = folder  # a fixture


# --- where it listens -----------------------------------------------------------------------------


@pytest.mark.parametrize("listen, peer",
                         [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"),
                          ("{folder}/socket", "local")],
                         ids=["IPv4", "IPv6", "local"])
def test_message_arrives(smtpd, folder, listen, peer):
    with Acceptor(smtpd, folder, listen=listen.format(folder=folder)) as acceptor:
        assert acceptor.serve_one(MESSAGE) == b"250 2.0.0 printed"
        assert acceptor.messages() == [with_x_peer(PRINTED, peer)]


def test_several_addresses(smtpd, folder):
    more = [f"--listen={folder}/socket", "--listen=127.0.0.2:0"]
    with Acceptor(smtpd, folder, *more, listen="127.0.0.1:0,[::1]:0", n=4) as acceptor:
        assert [re.sub(
            r"\d+$", "", a) for a in acceptor.addresses] == ["127.0.0.1:", "[::1]:",
                                                             f"{folder}/socket", "127.0.0.2:"]
        for address in acceptor.addresses:
            with Client(address) as client:
                client.begin("EHLO")
                client.send_message(MESSAGE)
                client.quit()
        assert acceptor.messages() == [with_x_peer(PRINTED, peer)
                                       for peer in ("127.0.0.1", "::1", "local", "127.0.0.1")]


def with_name(folder, name):
    """For a program: it finds both addresses of loopback under this name."""
    need_root()
    (folder / "hosts").write_text(f"127.0.0.1 {name}\n::1 {name}\n")
    return [*private_mounts(), "sh", "-c", 'mount --bind "$1" /etc/hosts && shift && exec "$@"',
            "sh", str(folder / "hosts")]


def test_all_addresses_of_a_name(smtpd, folder):
    """And IPv6 is IPv6 only: IPv4 has a socket of its own."""
    with Acceptor(smtpd, folder, listen="both.example:0", n=2,
                  prefix=with_name(folder, "both.example")) as acceptor:
        assert {a.rsplit(":", 1)[0] for a in acceptor.addresses} == {"127.0.0.1", "[::1]"}
        for address in acceptor.addresses:
            with Client(address) as client:
                client.begin("greeting")
                client.quit()


@pytest.mark.parametrize("family, address",
                         [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")],
                         ids=["IPv4", "IPv6"])
def test_name_of_which_an_address_is_in_use(release, folder, family, address):
    """Clients would reach somebody else there."""
    with socket.create_server((address, 0), family=family) as other:
        endpoint = "both.example:%d" % other.getsockname()[1]
        status, said = start_that_fails(release, folder, listen=endpoint,
                                        prefix=with_name(folder, "both.example"))
    assert status == 75
    assert b"cannot listen on %s: Address already in use" % endpoint.encode() in said


def test_localhost(smtpd, folder):
    """Whatever that is here."""
    n = len({info[4][0] for info in socket.getaddrinfo("localhost", 25, type=socket.SOCK_STREAM)})
    with Acceptor(smtpd, folder, listen="localhost:0", n=n) as acceptor:
        acceptor.serve_one()


def test_port_in_use(smtpd, folder):
    with socket.create_server(("127.0.0.1", 0)) as other:
        endpoint = "127.0.0.1:%d" % other.getsockname()[1]
        status, said = start_that_fails(smtpd, folder, listen=endpoint)
    assert status == 75
    assert b"cannot listen on %s: Address already in use; another program uses it: stop it" % endpoint.encode() in said


def test_port_can_be_had_again_at_once(release, folder):
    """Connections of the one before are still in TIME_WAIT on our side."""
    with Acceptor(release, folder) as acceptor:
        with acceptor.client("EHLO") as client:
            acceptor.signal(signal.SIGTERM)
            acceptor.stop()
            assert client.reply().startswith(b"421 ")
        address = acceptor.address
    with Acceptor(release, folder, listen=address) as acceptor:
        acceptor.serve_one()


def test_privileged_port_is_root_s(release, folder):
    need_root()
    with network():
        status, said = start_that_fails(release, folder, listen="127.0.0.1:25", **NOBODY)
    assert status == 75 and b"cannot listen on 127.0.0.1:25: Permission denied" in said
    assert b"root" in said


def test_address_of_somebody_else(release, folder):
    status, said = start_that_fails(release, folder, listen="192.0.2.1:0")
    assert status == 75 and b"cannot listen on 192.0.2.1:0: not an address of this host; " in said


def test_every_address_that_cannot_be_had_is_named(release, folder):
    """Not one in each run."""
    status, said = start_that_fails(release, folder,
                                    listen="192.0.2.1:0,127.0.0.1:0,[2001:db8::1]:0,/no/such/socket")
    lines = [line for line in said.splitlines() if b"cannot listen on" in line]
    assert status == 75
    assert [line.split()[4].rstrip(b":") for line in lines] == [b"192.0.2.1:0", b"[2001:db8::1]:0",
                                                                b"/no/such/socket"]


def test_port_alone_is_of_loopback(smtpd, folder):
    """Of both protocols, as far as there are both; a free one is the same for both."""
    for port in (free_port(), 0):
        with Acceptor(smtpd, folder, listen=str(port), n=2) as acceptor:
            (v4, n), (v6, n6) = (address.rsplit(":", 1) for address in acceptor.addresses)
            assert (v4, v6) == ("127.0.0.1", "[::1]") and n == n6 and int(n) == (port or int(n))
            acceptor.serve_one()


def test_port_alone_that_is_in_use(release, folder):
    """With one of both protocols clients would reach somebody else."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.create_server((address, 0), family=family) as other:
            port = b"%d" % other.getsockname()[1]
            status, said = start_that_fails(release, folder, listen=port.decode())
        assert status == 75
        assert b"cannot listen on %s: Address already in use; another program uses it" % port in said


def test_port_alone_without_ipv6(release, folder):
    need_root()
    with network():
        subprocess.run([need("ip"), "-6", "address", "flush", "dev", "lo"], check=True)
        with Acceptor(release, folder, listen="1025") as acceptor:
            assert acceptor.addresses == ["127.0.0.1:1025"]
            acceptor.serve_one()


def test_listening_says_which_configuration(release, folder):
    (folder / "a file").write_text("strategy=print\n")
    with Acceptor(release, folder, f"--config={folder}/a file") as acceptor:
        assert acceptor.log("listening") == [
            b"listening address=%s strategy=print config=\"%s/a file\"" % (
                acceptor.address.encode(), str(folder).encode())]


@pytest.mark.parametrize("option", [
    "listen=65536", "listen=-1", "listen=127.0.0.1", "listen=relative/socket", "listen=",
    "listen=/" + "x" * 200, "listen=127.0.0.1:25,",
    "max-connections=0", "max-connections=many", "max-connections-per-source=-1", "stop-timeout=0",
    "exit-idle-time=0",
    "user=", "user=a b",
])
def test_wrong_value(release, folder, option):
    status, said = start_that_fails(release, folder, f"--{option}")
    assert status == 64 and b"command line: %s" % option[:50].encode() in said


# --- local sockets --------------------------------------------------------------------------------


@pytest.mark.parametrize("umask, mode", [("0", 0o777), ("022", 0o755), ("0117", 0o660)])
def test_local_socket_is_for_whom_the_umask_leaves_and_goes_with_us(smtpd, folder, umask, mode):
    path = folder / "socket"
    with Acceptor(smtpd, folder, listen=str(path),
                  prefix=["sh", "-c", f'umask {umask}; exec "$@"', "sh"],
                  **(NOBODY if os.geteuid() == 0 else {})) as acceptor:
        assert stat.S_IMODE(path.stat().st_mode) == mode
        acceptor.serve_one()
    assert not path.exists() and not (folder / "socket.lock").exists()


def test_stale_local_socket_is_taken_over(smtpd, folder):
    acceptor = Acceptor(smtpd, folder, listen=str(folder / "socket"))
    acceptor.kill()
    assert (folder / "socket").exists()
    with Acceptor(smtpd, folder, listen=str(folder / "socket")) as acceptor:
        acceptor.serve_one()


def test_stale_local_socket_of_others_is_left_alone(smtpd, folder):
    """That nobody listens there now does not make it ours."""
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        for is_closed in (False, True):  # about to listen, perhaps; and left behind
            before = path.lstat().st_ino
            status, said = start_that_fails(smtpd, folder, listen=str(path))
            assert status == 75
            assert b"cannot listen on %s: Address already in use; another program uses it" % str(path).encode() in said
            assert path.lstat().st_ino == before and not (folder / "socket.lock").exists()
            other.close()


def test_local_socket_that_took_the_place_of_ours_stays(smtpd, folder):
    path = folder / "socket"
    who = NOBODY if os.geteuid() == 0 else {}
    with (Acceptor(smtpd, folder, listen=str(path), **who) as acceptor,
          socket.socket(socket.AF_UNIX) as other):
        path.unlink()
        other.bind(str(path))
        other.listen()
        before = path.lstat().st_ino
        acceptor.stop()
        assert acceptor.status() == 0 and path.lstat().st_ino == before
        assert not (folder / "socket.lock").exists()
        connect(str(path)).close()


def test_starts_at_once_do_not_race(release, folder):
    """One of them listens, and can be reached; and what a killed one left behind is in nobody's
    way."""
    path = folder / "socket"
    for _ in range(3):
        acceptors = [Acceptor(release, folder, listen=str(path), wait=False) for _ in range(6)]
        try:
            def n_over():
                return sum(acceptor.process.poll() is not None for acceptor in acceptors)

            wait_until(lambda: n_over() == 5, "five of six to give up")
            (winner,) = [acceptor for acceptor in acceptors if acceptor.process.poll() is None]
            winner.wait_until_listening()
            assert winner.serve_one() == b"250 2.0.0 printed"
            assert all(acceptor.process.poll() == 75 for acceptor in acceptors
                       if acceptor is not winner)
        finally:
            for acceptor in acceptors:
                acceptor.kill()
        assert path.exists()


@pytest.mark.parametrize("text", ["precious", "smtpd 12\n", "smtpd 12 12x\n", None])
def test_file_that_is_no_lock_of_ours_is_left_alone(smtpd, folder, text):
    lock = folder / "socket.lock"
    os.mkfifo(lock) if text is None else lock.write_text(text)
    status, said = start_that_fails(smtpd, folder, listen=f"{folder}/socket")
    assert status == 75
    assert b"cannot listen on %s/socket: another user has a file" % str(folder).encode() in said
    assert lock.is_fifo() if text is None else lock.read_text() == text


@pytest.mark.parametrize("is_full", [False, True], ids=["idle", "full"])
def test_live_local_socket_is_not(smtpd, folder, is_full):
    """Also one whose queue is full, so that connecting to it does not succeed at once."""
    path = str(folder / "socket")
    with socket.socket(socket.AF_UNIX) as other, contextlib.ExitStack() as clients:
        other.bind(path)
        other.listen(0 if is_full else 5)
        if is_full:
            clients.enter_context(connect(path))
        status, said = start_that_fails(smtpd, folder, listen=path)
        assert status == 75
        assert b"cannot listen on %s: Address already in use; another program uses it" % path.encode() in said
        if is_full:
            other.accept()[0].close()
        clients.enter_context(connect(path))  # it is there, and the other one's


@pytest.mark.parametrize("kind",
                         ["file", "link-to-file", "link-to-nothing", "directory", "fifo",
                          "datagram"])
def test_what_is_no_stale_socket_is_left_alone(smtpd, folder, kind):
    path, precious = folder / "there", folder / "precious"
    precious.write_text("precious")
    if kind == "file":
        path.write_text("precious")
    elif kind.startswith("link"):
        path.symlink_to(precious if kind == "link-to-file" else folder / "nothing")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        datagrams.bind(str(path))
    before = path.lstat()
    acceptor = Acceptor(smtpd, folder, listen=str(path), wait=False)
    wait_until(lambda: acceptor.process.poll() is not None or b"listening" in acceptor.err(),
               "a decision")
    acceptor.kill()
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert acceptor.process.returncode == 75
    assert b"cannot listen on %s: " % str(path).encode() in acceptor.err()
    assert precious.read_text() == "precious"


def test_directory_that_we_cannot_write_to(release, folder):
    os.chmod(folder, 0o755)
    who = NOBODY if os.geteuid() == 0 else {}
    status, said = start_that_fails(release, folder, listen="/socket", **who)
    assert status == 75
    assert b"cannot listen on /socket: Permission denied; let this user write to its directory\n" in said


def test_directory_that_is_not_there(release, folder):
    status, said = start_that_fails(release, folder, listen=f"{folder}/not/socket")
    assert status == 75
    assert b"%s/not/socket: No such file or directory; create its directory\n" % str(folder).encode() in said


def test_too_many_addresses(release, folder):
    status, said = start_that_fails(release, folder, listen=",".join(["127.0.0.1:0"] * 65))
    assert status == 78
    assert said == b"smtpd: cannot listen on 127.0.0.1:0: too many addresses; at most 64 are possible\n"
