# SPDX-License-Identifier: MIT
"""smtpd accepts connections itself: where it listens, who it becomes, what sessions get, limits,
shortages, signals."""

import concurrent.futures
import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import time

import pytest
from acceptor import (NOBODY, Acceptor, Client, connect, copy_of, effective_user, folder,
                      is_refused, network,
                      read_all, start_that_fails)
from conftest import missing, need, need_root, private_mounts
from logs import lines
from processes import descriptors, stat_of, status_of, zombies
from session import (BEGIN, END, PATIENCE, PYTHON, codes, environment, free_port, reset, wait_until,
                     with_x_peer)

_ = folder  # a fixture

MESSAGE = b"Subject: try\r\n\r\ntext\r\n"
PRINTED = b"Subject: try\n\ntext\n"
ENVELOPE = b"EHLO early.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
WHOLE_SESSION = ENVELOPE + MESSAGE + b".\r\nQUIT\r\n"
TOO_MANY = b"421 4.7.0 too many connections, try again later\r\n"
TOO_MANY_FROM_YOU = b"421 4.7.0 too many connections from you, try again later\r\n"
SHORTAGE = b"421 4.3.2 this server is short of resources, try again later\r\n"
SHUTTING_DOWN = b"421 4.3.2 service is shutting down, closing connection"


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
    assert status == 75 and b"cannot listen on /socket: Permission denied" in said
    assert b"ports" not in said


# --- from root to a user --------------------------------------------------------------------------


def privileges(pid):
    with open(f"/proc/{pid}/status") as lines:
        return {k: v.split() for k, v in (line.rstrip("\n").split(":", 1) for line in lines)
                if k in ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb")}


NONE = {"Uid": ["65534"] * 4, "Gid": ["65534"] * 4, "Groups": [],
        **{f"Cap{k}": ["0" * 16] for k in ("Inh", "Prm", "Eff", "Amb")}}


@pytest.mark.parametrize("options", [[], ["--user=nobody"]], ids=["default", "nobody"])
@pytest.mark.parametrize("prefix",
                         [[],
                          ["setpriv", "--inh-caps=+net_admin,+kill",
                           "--ambient-caps=+net_admin,+kill"],
                          ["setpriv", "--securebits=+no_setuid_fixup"]],
                         ids=["root", "ambient-capabilities", "capabilities-that-stay"])
def test_root_is_given_up(smtpd, folder, options, prefix):
    """Once the sockets are open, whatever is kept by whoever started us."""
    need_root()
    with network(), Acceptor(smtpd, folder, *options, listen="127.0.0.1:25",
                             prefix=prefix and [need("setpriv"), *prefix[1:]],
                             extra_groups=[4, 24,
                                           27]) as acceptor, acceptor.client("EHLO") as client:
        (session,) = acceptor.sessions()
        assert privileges(acceptor.pid) == privileges(session) == NONE
        assert client.send_message(MESSAGE).startswith(b"250 ")


def test_no_capability_is_left_to_a_user(release, folder):
    """Started as somebody with a capability for the port: sessions do without."""
    need_root()
    prefix = [need("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups",
              "--inh-caps=+net_bind_service",
              "--ambient-caps=+net_bind_service"]
    with (network(),
          Acceptor(copy_of(release, folder), folder, listen="127.0.0.1:25",
                   prefix=prefix) as acceptor, acceptor.client("EHLO")):
        (session,) = acceptor.sessions()
        assert privileges(session) == NONE


def test_unknown_user_of_an_acceptor(smtpd, folder):
    need_root()
    status, said = start_that_fails(smtpd, folder, "--user=no-such-user")
    assert status == 78
    assert b"user=no-such-user: no such user; name one that exists" in said


def test_user_is_not_for_others_than_root(release, folder):
    need_root()
    with Acceptor(release, folder, "--user=daemon", **NOBODY) as acceptor:
        assert privileges(acceptor.pid) == NONE


def test_program_where_the_user_cannot_reach_it(release, folder):
    """Either sessions can be started, or that they cannot is found out at the start."""
    need_root()
    (folder / "private").mkdir(mode=0o700)
    acceptor = Acceptor(copy_of(release, folder / "private"), folder, wait=False)
    with acceptor:
        wait_until(lambda: acceptor.process.poll() is not None or b"listening" in acceptor.err(),
                   "a decision")
        if acceptor.process.poll() is None:
            assert acceptor.serve_one() == b"250 2.0.0 printed"
        else:
            assert acceptor.status() in (75, 78)


# --- sockets that were passed ---------------------------------------------------------------------


def test_passed_sockets_and_their_names(smtpd, folder):
    """As systemd does it; ours and those of the configuration work together."""
    with contextlib.ExitStack() as stack:
        passed = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        local = stack.enter_context(socket.socket(socket.AF_UNIX))
        local.bind(str(folder / "socket"))
        local.listen()
        os.chmod(folder / "socket", 0o666)
        fds = {s.fileno(): 3 + i for i, s in enumerate([*passed, local])}
        env = environment(LISTEN_FDS="3", LISTEN_FDNAMES="smtp:submission:a\"b")
        acceptor = stack.enter_context(Acceptor(smtpd, folder, env=env, fds=fds, n=4))
        lines = acceptor.log("listening")
        assert [re.search(rb"name=(\S+)", line) and re.search(rb"name=(\S+)", line)[1]
                for line in lines] == [
            b"smtp", b"submission", rb'"a\x22b"', None]
        for address in re.findall(r"address=(\S+)", acceptor.err().decode()):
            with Client(address) as client:
                client.begin("greeting")
                client.quit()


def test_twenty_passed_sockets(smtpd, folder):
    """More than there are numbers before those that we move them to."""
    with contextlib.ExitStack() as stack:
        passed = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(20)]
        fds = {os.dup2(s.fileno(), 200 + i): 3 + i for i, s in enumerate(passed)}
        try:
            acceptor = stack.enter_context(Acceptor(smtpd, folder, env=environment(LISTEN_FDS="20"),
                                                    fds=fds, n=20, listen=None))
        finally:
            for fd in fds:
                os.close(fd)
        assert acceptor.addresses == ["127.0.0.1:%d" % s.getsockname()[1] for s in passed]
        for address in acceptor.addresses:
            with Client(address) as client:
                client.begin("greeting")
                client.quit()


def test_socket_activate(smtpd, folder):
    """It waits for the first client, and then executes us in its place."""
    program = need("systemd-socket-activate")
    address = f"127.0.0.1:{free_port()}"
    env = environment()
    prefix = [program, "-l", address, "--fdname=smtp",
              *[f"-E{k}={env[k]}" for k in ("ASAN_OPTIONS", "UBSAN_OPTIONS")]]
    acceptor = Acceptor(smtpd, folder, listen=None, prefix=prefix, wait=False)
    with acceptor:
        wait_until(lambda: b"Listening on" in acceptor.err(), "systemd-socket-activate")
        with Client(address) as client:
            client.begin("EHLO")
            assert client.send_message(MESSAGE).startswith(b"250 ")
            client.quit()
        assert acceptor.log("listening") == [b"listening address=%s name=smtp strategy=print "
                                             b"config=/dev/null" % address.encode()]
        assert acceptor.messages() == [with_x_peer(PRINTED, "127.0.0.1")]


# A /dev of its own, with a socket of ours as /dev/log.
PRIVATE_LOG = """
mount -t tmpfs none "$1" && touch "$1/null" "$1/log" && mount --bind /dev/null "$1/null" && mount --bind "$2" "$1/log" &&
mount --rbind "$1" /dev && shift 2 && exec "$@"
"""


def test_listening_socket_as_standard_input(smtpd, folder):
    """As inetd does it with wait. Standard error is the socket too, so the log is syslog's; clients
    hear nothing but SMTP."""
    need_root()
    (folder / "dev").mkdir()
    (folder / "deliver").write_text("#!/bin/sh\ncat >&2\n")
    os.chmod(folder / "deliver", 0o755)
    with (socket.create_server(("127.0.0.1", 0)) as listener,
          socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log):
        log.bind(str(folder / "log"))
        os.chmod(folder / "log", 0o666)
        log.settimeout(PATIENCE)
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        prefix = [*private_mounts(), "sh", "-c", PRIVATE_LOG, "sh", str(folder / "dev"),
                  str(folder / "log")]
        acceptor = Acceptor(smtpd, folder, "--strategy=exec", f"--command={folder}/deliver",
                            listen=None, prefix=prefix,
                            wait=False, stdin=listener, stdout=listener, err=listener)
        with acceptor:
            assert b"listening address=%s strategy=exec config=/dev/null" % address.encode() in log.recv(65536)
            for _ in range(2):
                with connect(address) as client:
                    client.sendall(WHOLE_SESSION)
                    assert codes(read_all(client)) == [220, 250, 250, 250, 354, 250, 221]
            heard = []
            while sum(b"]: message id=" in line for line in heard) < 2:
                heard.append(log.recv(65536))
            assert sum(b' stderr="Subject: try"' in line for line in heard) == 2


def test_printing_has_to_have_somewhere_to_print_to(smtpd, folder):
    """Found at the start."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert start_that_fails(smtpd, folder, listen=None, stdin=listener, stdout=listener,
                                err=listener)[0] == 78
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()


# --- what sessions get ----------------------------------------------------------------------------


def test_each_session_has_an_address_space_of_its_own(release, folder):
    with open("/proc/sys/kernel/randomize_va_space") as setting:
        if int(setting.read()) == 0:
            missing("the kernel does not randomize addresses")
    with Acceptor(release, folder) as acceptor, acceptor.client("EHLO"), acceptor.client("EHLO"):
        def starts(pid):
            with open(f"/proc/{pid}/maps") as maps:
                return {line.split()[-1]: line.split("-")[0] for line in reversed(maps.readlines())
                        if len(line.split()) == 6}

        a, b = map(starts, acceptor.sessions())
        own = starts(acceptor.pid)
        for what in (release, "[stack]", next(name for name in a if "libc" in name)):
            assert len({a[what], b[what], own[what]}) == 3


LEAKED = 77


def test_sessions_inherit_no_descriptor(smtpd, folder):
    """They have the connection, standard error, the output, the counter, and what they open; not
    what our parent has left open, nor sockets that listen, nor each other's connections."""
    with open(folder / "leaked", "w") as leaked, socket.create_server(("127.0.0.1", 0)) as passed:
        fds = {passed.fileno(): 3, leaked.fileno(): LEAKED}
        with Acceptor(smtpd, folder, env=environment(LISTEN_FDS="1"), fds=fds, n=2) as acceptor:
            with acceptor.client("EHLO"), acceptor.client("EHLO"):
                connections = set()
                for pid in acceptor.sessions():
                    found = descriptors(pid)
                    connections.add(found[0])
                    assert found[0] == found[1] and found[0].startswith("socket:")
                    assert found[2] == str(acceptor.err_path)
                    others = sorted(re.sub(r"\[\d+\]", "", v) for k, v in found.items() if k > 2)
                    output = str(acceptor.out_path)
                    assert others == [output, "anon_inode:[signalfd]", "anon_inode:[signalfd]",
                                      "pipe:"], found
                assert len(connections) == 2


def test_sessions_environment(smtpd, folder):
    with (socket.create_server(("127.0.0.1", 0)) as passed,
          socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager):
        manager.bind(str(folder / "notify"))
        env = environment(LISTEN_FDS="1", LISTEN_FDNAMES="smtp",
                          NOTIFY_SOCKET=str(folder / "notify"), WATCHDOG_USEC="1",
                          WATCHDOG_PID="1", KEPT="kept")
        with (Acceptor(smtpd, folder, env=env, fds={passed.fileno(): 3}, listen=None) as acceptor,
              acceptor.client("EHLO")):
            (session,) = acceptor.sessions()
            with open(f"/proc/{session}/environ") as file:
                found = dict(v.split("=", 1) for v in file.read().split("\0") if v)
    assert found["KEPT"] == "kept"
    assert not [name for name in found if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_"))]


def signals_of(pid):
    with open(f"/proc/{pid}/status") as lines:
        return {k: {n + 1 for n in range(64) if int(v, 16) >> n & 1} for k, v in
                (line.split(":") for line in lines if line.startswith(("SigBlk", "SigIgn")))}


@pytest.mark.parametrize("signals", ["", "blocked"], ids=["normal", "all-blocked"])
def test_sessions_signals(release, folder, signals):
    """A session blocks those that it takes as input and ignores what would kill it for a closed
    pipe; and nothing else."""
    with Acceptor(release, folder, signals=signals) as acceptor, acceptor.client("EHLO"):
        (session,) = acceptor.sessions()
        found = signals_of(session)
    assert found["SigBlk"] == {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
    assert found["SigIgn"] == {signal.SIGPIPE, signal.SIGXFSZ}


@pytest.mark.parametrize("signals", ["blocked", "ignored"])
def test_signals_work_however_it_was_started(smtpd, folder, signals):
    """Their disposition is inherited: from nohup(1), say, or a parent that wants no zombies."""
    with Acceptor(smtpd, folder, "--max-connections=1", "--strategy=exec", "--command=/bin/false",
                  signals=signals) as acceptor:
        for _ in range(3):
            assert acceptor.serve_one().startswith(b"451 ")
            acceptor.wait_for_sessions(0)
        acceptor.reload()
        with acceptor.client("EHLO") as client:
            os.kill(acceptor.sessions()[0], signal.SIGTERM)
            assert client.reply() == SHUTTING_DOWN


def test_programs_get_none_of_it(smtpd, folder):
    script = folder / "deliver"
    looks = {"environment": "env", "descriptors": "ls -l /proc/self/fd",
             "status": "cat /proc/self/status"}
    script.write_text("#!/bin/sh\n"
                      + "".join(f"{command} >{folder}/{name}\n" for name, command in looks.items()))
    script.chmod(0o755)
    with open(folder / "leaked", "w") as leaked:
        env = environment(NOTIFY_SOCKET=str(folder / "nobody"))
        options = ["--strategy=exec", f"--command={script}"]
        with Acceptor(smtpd, folder, *options, env=env, fds={leaked.fileno(): LEAKED}) as acceptor:
            assert acceptor.serve_one() == b"250 2.0.0 delivered"
    names = {line.split("=")[0] for line in (folder / "environment").read_text().splitlines()}
    of_ours = {"SMTPD_COUNTER_FD", "SMTPD_OUTPUT_FD", "NOTIFY_SOCKET"}
    assert "SMTPD_PEER" in names and not names & of_ours
    found = dict(re.findall(r" (\d+) -> (\S+)", (folder / "descriptors").read_text()))
    # 3 is the directory that ls reads
    assert set(found) == {"0", "1", "2", "3"} and found["3"].startswith("/proc/"), found
    status = (folder / "status").read_text()
    assert re.search(r"SigBlk:\s+0+$", status, re.M) and re.search(r"SigIgn:\s+0+$", status, re.M)


# --- configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize("options, file, status, said", [
    (["--strategy=exec"], "", 64, b"strategy=exec needs command="),
    (["--strategy=nonsense"], "", 64, b"command line: strategy=nonsense: "),
    ([], "timeout=1\nmax-connections=none\n", 78, b"{file}:2: max-connections=none: "),
    ([], "listen=nowhere\n", 78, b"{file}:1: listen=nowhere: "),
    ([], None, 78, b"{file}: cannot be opened: "),
], ids=["option", "value", "file", "file-listen", "no-file"])
def test_mistakes_end_it_at_the_start(smtpd, folder, options, file, status, said):
    path = folder / "smtpd.conf"
    if file is not None:
        path.write_text(file)
    given, heard = start_that_fails(smtpd, folder, f"--config={path}", *options)
    assert given == status and said.replace(b"{file}", str(path).encode()) in heard


@pytest.fixture
def config(folder):
    path = folder / "smtpd.conf"
    path.write_text("hostname=one.example\n")
    path.chmod(0o644)
    return path


def greeting(acceptor):
    with acceptor.client() as client:
        name = client.reply().split()[1].decode()
        client.quit()
    return name


def start_with_file(smtpd, folder, config, *options, **given):
    """Without the options of session.command(), which would beat the file."""
    return Acceptor(smtpd, folder, f"--config={config}", *options, prefix=without_options(),
                    **given)


def without_options(redirections=""):
    return ["sh", "-c", 'program=$1; shift 4; exec "$program" "$@" ' + redirections, "sh"]


def test_new_sessions_have_the_new_configuration(smtpd, folder, config):
    with start_with_file(smtpd, folder, config) as acceptor, acceptor.client("greeting") as old:
        config.write_text("hostname=two.example\nmax-size=1000\nstrategy=print\n")
        assert greeting(acceptor) == "one.example", "nobody has said to read it again"
        acceptor.reload()
        assert greeting(acceptor) == "two.example"
        assert b"SIZE 33554432" in old.ask(b"EHLO x")
        old.quit()


@pytest.mark.parametrize("text, said", [
    ("hostname=two.example\nnonsense=1\n", b"{file}:2: nonsense: unknown option"),
    ("hostname=two.example\nstrategy=exec\n", b"strategy=exec needs command="),
    (None, b"{file}: cannot be opened: No such file"),
], ids=["unknown", "incomplete", "gone"])
def test_configuration_with_mistakes_is_not_taken(smtpd, folder, config, text, said):
    with start_with_file(smtpd, folder, config) as acceptor:
        if text is None:
            config.unlink()
        else:
            config.write_text(text)
        assert greeting(acceptor) == "one.example"
        acceptor.reload(b"not reloaded")
        assert said.replace(b"{file}", str(config).encode()) in acceptor.err()
        assert greeting(acceptor) == "one.example"
        config.write_text("hostname=three.example\n")
        config.chmod(0o644)
        acceptor.reload()
        assert greeting(acceptor) == "three.example"


def test_command_line_still_beats_the_file(smtpd, folder, config):
    with start_with_file(smtpd, folder, config, "--hostname=line.example",
                         "--max-connections=2") as acceptor:
        config.write_text("hostname=two.example\nmax-connections=1\nmax-size=5000\n")
        acceptor.reload()
        with acceptor.client() as a, acceptor.client("EHLO"):
            assert a.reply().split()[1] == b"line.example"
            assert b"SIZE 5000" in a.ask(b"EHLO x")
            with acceptor.client() as c:
                assert c.refusal() == TOO_MANY


def test_file_that_the_user_cannot_read_is_not_taken(smtpd, folder, config):
    need_root()
    config.chmod(0o600)
    with start_with_file(smtpd, folder, config) as acceptor:
        acceptor.reload(b"not reloaded")
        assert b"%s: cannot be opened: Permission denied" % str(config).encode() in acceptor.err()
        assert greeting(acceptor) == "one.example"


ONCE = b"a pipe or a descriptor can be read only once: name a file"


def test_configuration_that_became_a_fifo(smtpd, folder, config):
    """Nobody writes to it, and whoever opened it would wait for that."""
    with start_with_file(smtpd, folder, config) as acceptor:
        config.unlink()
        os.mkfifo(config)
        config.chmod(0o644)
        acceptor.reload(b"not reloaded")
        assert b"%s: cannot be opened: %s" % (bytes(config), ONCE) in acceptor.err()
        assert greeting(acceptor) == "one.example"


@pytest.mark.parametrize("name", ["/dev/stdin", "/dev/fd/9"])
def test_configuration_from_a_pipe(smtpd, folder, name):
    """As `<(...)` of a shell makes it: good for the beginning. Read again it would be empty, or
    another descriptor."""
    reader, writer = os.pipe()
    with open(reader, "rb") as source:
        os.write(writer, b"hostname=one.example\nstrategy=print\n")
        os.close(writer)
        with Acceptor(smtpd, folder, f"--config={name}", stdin=source,
                      prefix=without_options("9<&0")) as acceptor:
            assert greeting(acceptor) == "one.example"
            acceptor.reload(b"not reloaded")
            # it is root's
            why = ONCE if name == "/dev/fd/9" or os.geteuid() != 0 else b"Permission denied"
            assert b"%s: cannot be opened: %s" % (name.encode(), why) in acceptor.err()
            assert greeting(acceptor) == "one.example"


# A file system that says nothing, not even to the kernel's first question, until its standard input
# ends.
SILENT = """
import ctypes, os, sys
fuse = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
if ctypes.CDLL(None, use_errno=True).mount(b"silent", sys.argv[1].encode(), b"fuse", 0, options):
    sys.exit(os.strerror(ctypes.get_errno()))
print("mounted", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def silent_file_system(acceptor, folder):
    """Over a folder, as the acceptor sees it."""
    if not os.access("/dev/fuse", os.W_OK):
        missing("/dev/fuse is not there")
    argv = [need("nsenter"), f"--mount=/proc/{acceptor.pid}/ns/mnt", PYTHON, "-c", SILENT,
            str(folder)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        if process.stdout.readline() != b"mounted\n":
            missing(f"there can be no such file system: {process.stderr.read()}")
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(PATIENCE)


def test_configuration_on_a_file_system_that_hangs(smtpd, folder):
    """Sessions go on meanwhile, and after ten seconds new ones too."""
    need_root()
    there = folder / "etc"
    there.mkdir(mode=0o755)
    config = there / "smtpd.conf"
    config.write_text("hostname=one.example\n")
    config.chmod(0o644)
    with Acceptor(smtpd, folder, f"--config={config}",
                  prefix=[*private_mounts(), *without_options()]) as acceptor:
        with acceptor.client("DATA") as client, silent_file_system(acceptor, there):
            then = time.monotonic()
            acceptor.signal(signal.SIGHUP)
            client.say(b"\r\n")
            client.expect((b".", b"250 2.0.0 printed"))
            client.quit()
            assert time.monotonic() - then < 9
            wait_until(lambda: acceptor.log("not reloaded"), "an end of the wait")
            assert 9 < time.monotonic() - then < 15
            assert b"not read within 10 seconds: does its file system hang?" in acceptor.err()
            assert greeting(acceptor) == "one.example"
        wait_until(lambda: zombies(acceptor.pid) == [], "its process to be reaped")


def without_proc():
    return [*private_mounts(), "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]


def test_without_proc(release, folder):
    """Said once, and not to each client."""
    status, said = start_that_fails(release, folder, prefix=without_proc())
    assert status == 75
    assert (said == b"smtpd: cannot accept connections: /proc is not mounted, but sessions are "
                    b"started through it: mount -t proc proc /proc\n")


def test_limits_change_while_there_are_more_sessions(smtpd, folder, config):
    with start_with_file(smtpd, folder, config) as acceptor, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(acceptor.client("EHLO")) for _ in range(5)]
        for n, limit in enumerate((2, 30, 1)):
            config.write_text(f"max-connections={limit}\nmax-connections-per-source={limit}\n")
            acceptor.reload()
            with acceptor.client() as client:
                assert client.reply()[:3] == (b"220" if limit == 30 else b"421"), n
            wait_until(lambda: len(acceptor.sessions()) == 5, "the end of the sixth")
        for client in clients:
            client.quit()
        acceptor.wait_for_sessions(0)
        acceptor.serve_one()


def test_reloading_leaks_nothing(smtpd, folder, config):
    """Memory is counted for the program as installed; the sanitizer's leak check is the other half,
    at the end."""
    text = "relay-to=" + ",".join(f"d{i}.example"
                                  for i in range(500)) + "\nstrategy=proxy\nupstream=127.0.0.1:1\n"
    with start_with_file(smtpd, folder, config) as acceptor:
        def reload_often(n):
            for i in range(n):
                config.write_text(text + ("nonsense\n" if i % 3 == 0 else ""))
                acceptor.reload(b"not reloaded" if i % 3 == 0 else b"reloaded")
            return len(descriptors(acceptor.pid)), status_of(acceptor.pid, "VmRSS")

        fds, before = reload_often(20)
        fds_later, after = reload_often(180)
        assert fds == fds_later
        if "release" in smtpd:
            assert after - before < 1536


# --- the output ---------------------------------------------------------------------------------


def test_messages_and_the_log_are_apart(smtpd, folder):
    """What is shown on standard output is messages, and nothing else."""
    with Acceptor(smtpd, folder) as acceptor:
        for _ in range(2):
            acceptor.serve_one(MESSAGE)
        wait_until(lambda: len(acceptor.log("session")) == 2, "the sessions' ends")
    shown = BEGIN + with_x_peer(PRINTED, "127.0.0.1") + END
    assert acceptor.out_path.read_bytes() == 2 * shown
    assert len(acceptor.log("message")) == 2 and BEGIN not in acceptor.err()


def shown_by_a_session(acceptor):
    """Whether it has the output; and what SMTPD_OUTPUT_FD says then."""
    with acceptor.client("greeting"):
        (pid,) = acceptor.sessions()
        open_ones = descriptors(pid)
        variables = dict(v.split(b"=", 1) for v in
                         open(f"/proc/{pid}/environ", "rb").read().split(b"\0") if b"=" in v)
    acceptor.wait_for_sessions(0)
    told = variables.get(b"SMTPD_OUTPUT_FD")
    has_it = [n for n, what in open_ones.items() if what == str(acceptor.out_path)]
    assert has_it == ([int(told)] if told else [])
    return bool(has_it)


def test_output_is_for_those_who_print(smtpd, folder, config):
    """Also after the configuration was read again."""
    with start_with_file(smtpd, folder, config) as acceptor:
        assert shown_by_a_session(acceptor)
        config.write_text("strategy=exec\ncommand=/bin/true\n")
        acceptor.reload()
        assert not shown_by_a_session(acceptor)
        config.write_text("strategy=print\n")
        acceptor.reload()
        assert shown_by_a_session(acceptor)
        assert acceptor.serve_one(MESSAGE) == b"250 2.0.0 printed"
        assert acceptor.messages() == [with_x_peer(PRINTED, "127.0.0.1")]


def test_output_of_passed_sockets_is_standard_error(smtpd, folder):
    with socket.create_server(("127.0.0.1", 0)) as passed:
        with Acceptor(smtpd, folder, listen=None, n=1, env=environment(LISTEN_FDS="1"),
                      fds={passed.fileno(): 3}) as acceptor:
            assert not shown_by_a_session(acceptor)
            assert acceptor.serve_one(MESSAGE) == b"250 2.0.0 printed"
        assert acceptor.out_path.read_bytes() == b""
        assert acceptor.messages() == [with_x_peer(PRINTED, "127.0.0.1")]


def test_standard_error_is_not_needed_to_print(smtpd, folder):
    """The log is syslog's then."""
    need_root()
    (folder / "dev").mkdir()
    address = f"127.0.0.1:{free_port()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(folder / "log"))
        os.chmod(folder / "log", 0o666)
        log.settimeout(PATIENCE)
        private = [need("unshare"), "-m", "sh", "-c", PRIVATE_LOG, "sh", folder / "dev",
                   folder / "log"]
        closed = ["sh", "-c", 'exec "$@" 2>&-', "sh"]
        with Acceptor(smtpd, folder, listen=address, wait=False,
                      prefix=[*private, *closed]) as acceptor:
            assert b"]: listening address=" in log.recv(65536)
            with Client(address) as client:
                client.begin("EHLO")
                assert client.send_message(MESSAGE) == b"250 2.0.0 printed"
                client.quit()
            assert b"]: message id=" in log.recv(65536) and b"]: session peer=" in log.recv(65536)
            assert acceptor.messages() == [with_x_peer(PRINTED, "127.0.0.1")]


@pytest.mark.parametrize("how", ["closed", "the listening socket"])
def test_no_output(smtpd, folder, how):
    """Found at the start; those who do not print do not need it."""
    closed = ["sh", "-c", 'exec "$@" >&-', "sh"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        given = {"prefix": closed} if how == "closed" else {"stdin": listener, "stdout": listener}
        status, said = start_that_fails(smtpd, folder, **given)
        assert status == 78 and b"strategy=print has nowhere to print: standard output is " in said
        with Acceptor(smtpd, folder, "--strategy=exec", "--command=/bin/true", **given) as acceptor:
            address = acceptor.addresses[-1]
            with Client(address) as client:
                client.begin("EHLO")
                assert client.send_message(MESSAGE) == b"250 2.0.0 delivered"
                client.quit()


@pytest.mark.parametrize("how, why", [("full", b"No space left on device"),
                                      ("gone", b"Broken pipe")])
def test_output_takes_nothing(smtpd, folder, how, why):
    """A temporary failure, and the acceptor goes on."""
    reader, writer = os.pipe()
    os.close(reader)
    verdict = b"451 4.3.0 cannot print: standard output: " + why
    with open(writer, "wb") as gone, open("/dev/full", "wb") as full:
        with Acceptor(smtpd, folder, stdout=full if how == "full" else gone) as acceptor:
            assert [acceptor.serve_one(MESSAGE) for _ in range(2)] == [verdict] * 2


# --- limits ---------------------------------------------------------------------------------------


def test_max_connections(smtpd, folder):
    with (Acceptor(smtpd, folder, "--max-connections=3") as acceptor,
          contextlib.ExitStack() as stack):
        slow = [stack.enter_context(acceptor.client("greeting", f"127.0.0.{n}")) for n in (2, 3, 4)]
        before = acceptor.sessions()
        for _ in range(10):
            with acceptor.client() as client:
                assert client.refusal() == TOO_MANY
        assert acceptor.sessions() == before and len(before) == 3 and not zombies(acceptor.pid)
        slow[1].quit()
        acceptor.wait_for_sessions(2)
        with acceptor.client("EHLO") as client:
            assert client.send_message(MESSAGE).startswith(b"250 ")
            with acceptor.client() as another:
                assert another.refusal() == TOO_MANY
        reset(slow[0].ours)
        slow[2].ours.close()
        acceptor.wait_for_sessions(0)
        acceptor.serve_one()


@pytest.mark.parametrize("n", [1, 25], ids=["session", "25-sessions"])
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "{folder}/socket"], ids=["IPv4", "local"])
def test_refused_client_that_talks_at_once_hears_why(smtpd, folder, listen, n):
    """What it has sent is there before it is refused: left unread it would reset the connection,
    and our words with it."""
    listen = listen.format(folder=folder)
    with (Acceptor(smtpd, folder, "--max-connections=1", listen=listen) as acceptor,
          acceptor.client("EHLO")):
        acceptor.signal(signal.SIGSTOP)
        with contextlib.ExitStack() as stack:
            early = [stack.enter_context(connect(acceptor.address)) for _ in range(20)]
            for client in early:
                client.sendall(WHOLE_SESSION * n)
            acceptor.signal(signal.SIGCONT)
            assert [read_all(client) for client in early] == [TOO_MANY] * 20


def test_max_connections_per_source(smtpd, folder):
    with Acceptor(smtpd, folder, "--max-connections-per-source=2") as acceptor:
        with acceptor.client("EHLO", "127.0.0.2") as one, acceptor.client("EHLO", "127.0.0.2"):
            with acceptor.client(None, "127.0.0.2") as third:
                assert third.refusal() == TOO_MANY_FROM_YOU
            with acceptor.client("EHLO", "127.0.0.1"), acceptor.client("EHLO", "127.0.0.3"):
                assert len(acceptor.sessions()) == 4
            acceptor.wait_for_sessions(2)
            one.quit()
            acceptor.wait_for_sessions(1)
            with acceptor.client("EHLO", "127.0.0.2"):
                pass


def refused_peers(acceptor, n):
    """Who was turned away, as the log names them."""
    wait_until(lambda: len(acceptor.log("refused ")) == n, "the log")
    return [{k: v for k, v in line.fields if k in ("peer", "port", "uid")}
            for line in lines(acceptor.err(), "refused")]


def test_who_was_turned_away(smtpd, folder):
    with Acceptor(smtpd, folder, "--max-connections-per-source=1") as acceptor:
        with acceptor.client("EHLO", "127.0.0.2"), acceptor.client(None, "127.0.0.2") as second:
            port = b"%d" % second.ours.getsockname()[1]
            assert second.refusal() == TOO_MANY_FROM_YOU
        assert refused_peers(acceptor, 1) == [{"peer": b"127.0.0.2", "port": port}]
    with Acceptor(smtpd, folder, "--max-connections-per-source=1",
                  listen=str(folder / "socket")) as acceptor:
        with acceptor.client("EHLO"), acceptor.client() as second:
            assert second.refusal() == TOO_MANY_FROM_YOU
        assert refused_peers(acceptor, 1) == [{"peer": b"local", "uid": b"%d" % os.getuid()}]


TIMEOUT = b"421 4.4.2 timeout: no input from you, closing connection"
FIVE_SOURCES = [f"127.0.0.{n}" for n in range(2, 7)]


def test_silent_clients_do_not_keep_others_out(release, folder):
    """Five addresses can have all sessions there are. Those that come late have to be quick, and
    come again; somebody else gets in all the same, and has all the time that a session needs."""
    with Acceptor(release, folder) as acceptor, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(acceptor.client("greeting", source))
                  for source in FIVE_SOURCES for _ in range(20)]
        with acceptor.client() as client:
            assert client.refusal() == TOO_MANY
        began = time.monotonic()
        late = silent[67:]
        assert [client.reply() for client in late] == [TIMEOUT] * len(late)
        assert 5 < time.monotonic() - began < 15
        for client in late:
            client.ours.close()
        with acceptor.client("EHLO") as client:
            assert client.send_message(MESSAGE) == b"250 2.0.0 printed"
            client.quit()
        assert len(acceptor.sessions()) in (67, 68)


@pytest.mark.parametrize("options, n_patient, timeout, n_errors", [
    (["--max-connections=3"], 2, 10, 5),
    (["--max-connections=4", "--timeout=1", "--max-errors=2"], 3, 1, 2),
    (["--max-connections=1"], 1, 300, 20),
], ids=["three", "less-anyway", "one"])
def test_sessions_under_load(release, folder, options, n_patient, timeout, n_errors):
    """From two thirds on; what the configuration says less of, stays."""
    def options_of(pid):
        with open(f"/proc/{pid}/cmdline") as file:
            return [word for word in file.read().split("\0")
                    if word.startswith(("--timeout", "--max-errors"))]

    hurried = [f"--timeout={timeout}", f"--max-errors={n_errors}"]
    with Acceptor(release, folder, *options) as acceptor, contextlib.ExitStack() as stack:
        seen = []
        for _ in range(int(options[0][-1])):
            client = stack.enter_context(acceptor.client("greeting"))
            (pid,) = set(acceptor.sessions()) - set(seen)
            assert options_of(pid) == (hurried if len(seen) >= n_patient else [])
            seen.append(pid)
        assert [client.ask(b"NONSENSE")[:3]
                for _ in range(n_errors + 1)] == [b"500"] * n_errors + [b"421"]


def test_source_of_ipv6_is_a_network(release, folder):
    """Of 64 bits: whoever has one address has the others of it too."""
    need_root()
    with network() as add_address:
        for address in ("2001:db8:0:1::1/128", "2001:db8:0:1:ffff::2/128", "2001:db8:0:2::1/128"):
            add_address(address)
        with Acceptor(release, folder, "--max-connections-per-source=1",
                      listen="[::]:0") as acceptor:
            port = acceptor.address.rsplit(":", 1)[1]
            with Client(f"[2001:db8:0:2::1]:{port}", "2001:db8:0:1::1") as one:
                one.begin("EHLO")
                with Client(f"[2001:db8:0:2::1]:{port}", "2001:db8:0:1:ffff::2") as neighbour:
                    assert neighbour.refusal() == TOO_MANY_FROM_YOU
                with Client(f"[2001:db8:0:2::1]:{port}", "2001:db8:0:2::1") as other:
                    other.begin("EHLO")


def test_mapped_address_is_the_ipv4_address(release, folder):
    """A passed socket may be of both families."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as passed:
        env = environment(LISTEN_FDS="1")
        with Acceptor(release, folder, "--max-connections-per-source=1", env=env,
                      fds={passed.fileno(): 3}, n=2) as acceptor:
            dual, v4 = "127.0.0.1:%d" % passed.getsockname()[1], acceptor.addresses[1]
            with Client(dual, "127.0.0.1") as one:
                one.begin("EHLO")
                with Client(v4, "127.0.0.1") as two, Client(dual, "127.0.0.2") as three:
                    assert two.refusal() == TOO_MANY_FROM_YOU
                    three.begin("EHLO")


def test_source_of_a_local_socket_is_a_user(release, folder):
    need_root()
    with Acceptor(release, folder, "--max-connections-per-source=1",
                  listen=str(folder / "socket"),
                  prefix=["sh", "-c", 'umask 0; exec "$@"', "sh"]) as acceptor:
        with acceptor.client("EHLO"):
            with acceptor.client() as again:
                assert again.refusal() == TOO_MANY_FROM_YOU
            with effective_user(65533):
                other = acceptor.client("EHLO")
            with other, effective_user(65533), acceptor.client() as again:
                assert again.refusal() == TOO_MANY_FROM_YOU


def refusals(acceptor):
    """(reason, clients) of each line of the log."""
    line = re.compile(rb"refused address=\S+ reason=(\S+|\"[^\"]*\") sessions=\d+ clients=(\d+)")
    return [(m[1].decode(), int(m[2])) for m in line.finditer(acceptor.err())]


def test_flood_of_refusals_is_a_line_each_second(smtpd, folder):
    with Acceptor(smtpd, folder, "--max-connections=1") as acceptor, acceptor.client("EHLO"):
        then = time.monotonic()
        for _ in range(500):
            with connect(acceptor.address) as client:
                assert read_all(client) == TOO_MANY
        took = time.monotonic() - then
        wait_until(lambda: sum(n for _, n in refusals(acceptor)) == 500, "all 500 in the log", 5)
        assert 1 <= len(refusals(acceptor)) <= took + 3
        assert {reason for reason, _ in refusals(acceptor)} == {"max-connections"}


def test_refusals_are_in_the_log_at_the_end(release, folder):
    """Those that would have had a line a second later, too."""
    with Acceptor(release, folder, "--max-connections=1") as acceptor, acceptor.client("EHLO"):
        for _ in range(5):
            with connect(acceptor.address) as client:
                assert read_all(client) == TOO_MANY
        acceptor.signal(signal.SIGTERM)
        acceptor.process.wait(PATIENCE)
        acceptor.has_ended = True
        assert sum(n for reason, n in refusals(acceptor) if reason == "max-connections") == 5


# --- shortages ------------------------------------------------------------------------------------

N_FAILURES = 300


def limit(pid, **limits):
    """Soft limits of a process. Whoever changes them has to be its user, even root."""
    uid, gid = (status_of(pid, key) for key in ("Uid", "Gid"))
    who = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
    options = [f"--{name}={value}:" for name, value in limits.items()]
    subprocess.run([need("prlimit"), f"--pid={pid}", *options], check=True, **who)


def lowest_free(pid):
    taken = descriptors(pid)
    return next(n for n in range(1000) if n not in taken)


def check_refused_for_shortage(acceptor, n=N_FAILURES):
    """So many clients get to know it, nothing is left behind, and the log stays short."""
    before, then = descriptors(acceptor.pid), time.monotonic()
    for _ in range(n):
        with connect(acceptor.address) as client:
            assert read_all(client) == SHORTAGE
        assert time.monotonic() - then < PATIENCE
    wait_until(lambda: set(descriptors(acceptor.pid)) == set(before) and not zombies(acceptor.pid),
               "nothing to be left behind")
    assert len(acceptor.log("refused")) <= time.monotonic() - then + 2


@pytest.mark.parametrize("more", [0, 1], ids=["accept", "after"])
@pytest.mark.parametrize("notify", [False, True], ids=["", "notify"])
def test_no_descriptors(smtpd, folder, more, notify):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        os.chmod(folder / "notify", 0o666)
        env = environment(NOTIFY_SOCKET=str(folder / "notify")) if notify else None
        with Acceptor(smtpd, folder, env=env) as acceptor:
            idle = set(descriptors(acceptor.pid))
            neighbour = acceptor.client("EHLO")
            wait_until(lambda: set(descriptors(acceptor.pid)) == idle,
                       "the neighbour to be its session's only")
            limit(acceptor.pid, nofile=lowest_free(acceptor.pid) + more)
            check_refused_for_shortage(acceptor)
            limit(acceptor.pid, nofile=1024)
            acceptor.serve_one()
            assert neighbour.send_message(MESSAGE).startswith(b"250 ")


def test_no_processes(smtpd, folder):
    """The limit counts those of a user, so this is one whom nobody else is."""
    need_root()
    who = {"user": 1953719, "group": 1953719, "extra_groups": []}
    with Acceptor(smtpd, folder, **who) as acceptor, acceptor.client("EHLO") as neighbour:
        limit(acceptor.pid, nproc=2)
        check_refused_for_shortage(acceptor)
        limit(acceptor.pid, nproc=1024)
        acceptor.serve_one()
        assert neighbour.send_message(MESSAGE).startswith(b"250 ")


def test_program_cannot_be_executed(smtpd, folder):
    program = copy_of(smtpd, folder)
    with Acceptor(program, folder) as acceptor:
        os.chmod(program, 0o644)
        check_refused_for_shortage(acceptor)
        os.chmod(program, 0o755)
        acceptor.serve_one()


def traced(*injections):
    """strace beside the program, which keeps its process id."""
    return [need("strace"), "-D", "-qq", "-o", "/dev/null",
            *[x for i in injections for x in ("-e", f"inject={i}")]]


@pytest.mark.parametrize("call, error", [
    ("memfd_create", "ENOMEM"), ("pwrite64", "ENOSPC"), ("vfork", "EAGAIN"), ("vfork", "ENOMEM"),
])
def test_system_call_fails(release, folder, call, error):
    with Acceptor(release, folder, prefix=traced(f"{call}:error={error}:when=1..100")) as acceptor:
        check_refused_for_shortage(acceptor, 100)
        acceptor.serve_one()


@pytest.mark.parametrize("error", ["ENOMEM", "ENOBUFS", "ENFILE", "EMFILE"])
def test_accepting_fails_for_a_while(release, folder, error):
    """It tries again, and not as fast as it can."""
    with Acceptor(release, folder, prefix=traced(f"accept4:error={error}:when=1..6")) as acceptor:
        acceptor.serve_one()


@pytest.mark.parametrize("error", ["ENOMEM", "ENFILE"])
def test_accepting_fails(release, folder, error):
    """While it cannot accept it waits: no processor time, and no flood in the log."""
    with Acceptor(release, folder, prefix=traced(f"accept4:error={error}")) as acceptor:
        with acceptor.client():
            def switches():
                return status_of(
                    acceptor.pid, "voluntary_ctxt_switches") + status_of(
                        acceptor.pid, "nonvoluntary_ctxt_switches")

            before = switches()
            time.sleep(1)
            assert switches() - before < 500  # with strace every call is some
            assert len(acceptor.err().splitlines()) < 20


@pytest.mark.parametrize("error", ["ECONNABORTED", "EPROTO", "EPERM", "ENETDOWN", "EINTR"])
def test_connection_that_is_gone_before_it_is_accepted(release, folder, error):
    with Acceptor(release, folder, prefix=traced(f"accept4:error={error}:when=1+2")) as acceptor:
        for _ in range(5):
            acceptor.serve_one()


# --- deaths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_death_of_a_session_is_its_own(release, folder, number):
    with Acceptor(release, folder) as acceptor, acceptor.client("DATA") as victim:
        (pid,) = acceptor.sessions()
        with acceptor.client("DATA") as neighbour:
            victim.say(MESSAGE)
            os.kill(pid, number)
            assert victim.read_to_end() == b""
            wait_until(lambda: acceptor.log("the session of process"), "it in the log")
            (line,) = acceptor.log("the session of process")
            assert line.startswith(b"the session of process %d ended by signal %d (" % (pid,
                                                                                        number))
            neighbour.say(MESSAGE + b".\r\n")
            assert neighbour.reply().startswith(b"250 ")
        acceptor.serve_one()
        assert len(acceptor.messages()) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_to_a_session_that_has_just_begun(release, folder, number):
    """At its first instruction: the client is told, as later."""
    strace = traced("execve:delay_exit=400000")
    with (Acceptor(release, folder, prefix=[strace[0], "-f", *strace[1:]]) as acceptor,
          acceptor.client() as client):
        def executed():
            lines = {pid: open(f"/proc/{pid}/cmdline", "rb").read() for pid in acceptor.sessions()}
            return [pid for pid, line in lines.items() if b"/dev/fd/" in line]

        os.kill(wait_until(executed, "the session")[0], number)
        # behind the greeting, or in its place
        assert client.reply() == SHUTTING_DOWN or client.reply() == SHUTTING_DOWN
        client.ours.close()
        acceptor.wait_for_sessions(0)
        assert b"ended by signal" not in acceptor.err()


def test_sessions_outlive_the_acceptor(smtpd, folder):
    """And are not in the way of another one."""
    with (Acceptor(smtpd, folder) as acceptor, acceptor.client("DATA") as client,
          acceptor.client("EHLO") as other):
        pids = acceptor.sessions()
        address = acceptor.address
        os.kill(acceptor.pid, signal.SIGKILL)
        assert acceptor.status() == -signal.SIGKILL
        assert is_refused(address)
        with Acceptor(smtpd, folder, listen=address) as another:
            another.serve_one()
        client.say(MESSAGE + b".\r\n")
        assert client.reply() == b"250 2.0.0 printed"
        assert other.send_message(MESSAGE) == b"250 2.0.0 printed"
        client.quit()
        other.quit()
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in pids),
                   "the end of the sessions")
        assert acceptor.messages() == [with_x_peer(PRINTED, "127.0.0.1")] * 2


def test_program_is_replaced(smtpd, folder):
    """By another one, and by none: those that run have it still."""
    program = copy_of(smtpd, folder)
    with Acceptor(program, folder) as acceptor, acceptor.client("DATA") as old:
        (folder / "new").mkdir()
        os.replace(copy_of(smtpd, folder / "new"), program)
        acceptor.serve_one()
        os.unlink(program)
        acceptor.serve_one()
        old.say(MESSAGE + b".\r\n")
        assert old.reply().startswith(b"250 ")
        old.quit()


def fill(pipe):
    """As if its reader were asleep."""
    fd = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, b"x" * 4096)
    os.close(fd)


@pytest.mark.parametrize("what", ["gone", "asleep"])
def test_nobody_reads_the_log(release, folder, what):
    """Clients are served."""
    reading, writing = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as passed, open(writing, "wb") as err:
        address = "127.0.0.1:%d" % passed.getsockname()[1]
        acceptor = Acceptor(release, folder, "--strategy=exec", "--command=/bin/true", err=err,
                            listen=None, wait=False,
                            env=environment(LISTEN_FDS="1"), fds={passed.fileno(): 3})
    with acceptor:
        assert b"listening" in os.read(reading, 4096)
        if what == "gone":
            os.close(reading)
        else:
            fill(reading)
        with Client(address) as client:
            client.begin("EHLO")
            assert client.send_message(MESSAGE).startswith(b"250 ")
    if what == "asleep":
        os.close(reading)


# --- the end --------------------------------------------------------------------------------------


def test_interrupt_from_the_terminal(smtpd, folder):
    """Ctrl-C is for the whole process group."""
    with Acceptor(smtpd, folder) as acceptor, acceptor.client("EHLO") as client:
        os.killpg(acceptor.pid, signal.SIGINT)
        assert client.reply() == SHUTTING_DOWN
        client.ours.close()
        assert acceptor.status() == 0


def test_interrupt_from_the_terminal_leaves_a_message_its_time(smtpd, folder):
    """As SIGTERM to the acceptor does; another Ctrl-C ends it."""
    with (Acceptor(smtpd, folder, "--stop-timeout=300") as acceptor,
          acceptor.client("DATA") as client, acceptor.client("DATA") as slow):
        os.killpg(acceptor.pid, signal.SIGINT)
        wait_until(lambda: acceptor.log("stopping"), "it to stop")
        client.say(MESSAGE + b".\r\n")
        assert client.reply() == b"250 2.0.0 printed"
        client.quit()
        os.killpg(acceptor.pid, signal.SIGINT)
        assert slow.reply() == SHUTTING_DOWN
        slow.ours.close()
        assert acceptor.status() == 0 and len(acceptor.messages()) == 1


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "{folder}/socket"], ids=["IPv4", "local"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_clients_do_not_hold_it_up(release, folder, listen, number):
    """One that keeps its connection open, and does not even read, has heard 421 at once. The
    quickest of some tries counts."""
    took = []
    while min(took, default=2) >= 1 and len(took) < 4:
        with (Acceptor(release, folder, listen=listen.format(folder=folder)) as acceptor,
              acceptor.client("EHLO") as client):
            then = time.monotonic()
            os.killpg(acceptor.pid, number)
            assert acceptor.status() == 0
            took.append(time.monotonic() - then)
            assert client.read_to_end() == SHUTTING_DOWN + b"\r\n"
    assert min(took) < 1


def test_goodbye_after_a_message_is_heard(release, folder):
    """A client that was told the verdict when the order to stop came is about to say QUIT. It may
    not begin another message."""
    with (Acceptor(release, folder) as acceptor, acceptor.client("EHLO") as polite,
          acceptor.client("EHLO") as greedy):
        for client in (polite, greedy):
            assert client.send_message(MESSAGE).startswith(b"250 ")
        acceptor.signal(signal.SIGTERM)
        wait_until(lambda: acceptor.log("stopping"), "it to stop")
        polite.quit()
        greedy.expect((b"RSET", b"250 "), (b"MAIL FROM:<a@example.org>", SHUTTING_DOWN))
        assert greedy.read_to_end() == b""
        assert acceptor.status() == 0 and len(acceptor.messages()) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_acceptor_ends_at_once(smtpd, folder, number):
    with Acceptor(smtpd, folder) as acceptor:
        then = time.monotonic()
        acceptor.signal(number)
        assert acceptor.status() == 0 and time.monotonic() - then < 5


def test_sessions_may_go_on_for_a_while(smtpd, folder):
    """Nobody new is accepted, and the last one's end is the end."""
    with (Acceptor(smtpd, folder, "--stop-timeout=300") as acceptor,
          acceptor.client("DATA") as client):
        acceptor.signal(signal.SIGTERM)
        wait_until(lambda: acceptor.log("stopping"), "it to stop")
        assert is_refused(acceptor.address)
        assert acceptor.log("stopping") == [b"stopping: 1 session has 300 seconds to end"]
        client.say(MESSAGE + b".\r\n")
        assert client.reply() == b"250 2.0.0 printed"
        assert client.reply() == SHUTTING_DOWN
        client.ours.close()
        assert acceptor.status() == 0
        assert acceptor.messages() == [with_x_peer(PRINTED, "127.0.0.1")]


def halt(acceptor):
    """It accepts nobody until SIGCONT. One that was stopped while it accepted would go on with that
    then."""
    wait_until(lambda: stat_of(acceptor.pid).state == "S", "it to wait")
    acceptor.signal(signal.SIGSTOP)
    wait_until(lambda: stat_of(acceptor.pid).state == "T", "it to stand still")


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "{folder}/socket"], ids=["IPv4", "local"])
def test_clients_in_the_queue_are_told(smtpd, folder, listen):
    """Whoever has connected and not been accepted when we stop; also one that has said all it has
    to say already."""
    with Acceptor(smtpd, folder, listen=listen.format(folder=folder)) as acceptor:
        halt(acceptor)
        with contextlib.ExitStack() as stack:
            waiting = [stack.enter_context(connect(acceptor.address)) for _ in range(30)]
            for client in waiting[::2]:
                client.sendall(WHOLE_SESSION)
            acceptor.signal(signal.SIGTERM)
            acceptor.signal(signal.SIGCONT)
            told = b"421 4.3.2 service is shutting down, try again later\r\n"
            assert [read_all(client) for client in waiting] == [told] * 30
        assert acceptor.status() == 0 and acceptor.messages() == []
        assert sum(n for reason, n in refusals(acceptor) if reason == "stopping") >= 1


def test_stop_timeout(smtpd, folder):
    with Acceptor(smtpd, folder, "--stop-timeout=1") as acceptor, acceptor.client("DATA") as client:
        then = time.monotonic()
        acceptor.signal(signal.SIGTERM)
        assert client.reply() == SHUTTING_DOWN
        assert 0.9 < time.monotonic() - then < 6
        client.ours.close()
        assert acceptor.status() == 0 and acceptor.messages() == []


def test_second_signal_hurries(smtpd, folder):
    with (Acceptor(smtpd, folder, "--stop-timeout=300") as acceptor,
          acceptor.client("DATA") as client):
        acceptor.signal(signal.SIGTERM)
        wait_until(lambda: acceptor.log("stopping"), "it to stop")
        acceptor.signal(signal.SIGTERM)
        assert client.reply() == SHUTTING_DOWN
        client.ours.close()
        assert acceptor.status() == 0


def test_message_in_delivery_has_its_verdict(smtpd, folder):
    """Whatever signals come meanwhile, within stop-timeout."""
    os.mkfifo(folder / "fifo")
    os.chmod(folder / "fifo", 0o666)
    script = folder / "deliver"
    script.write_text(f"#!/bin/sh\ncat >/dev/null; : >{folder}/started; cat {folder}/fifo\n")
    script.chmod(0o755)
    with Acceptor(smtpd, folder, "--strategy=exec", f"--command={script}",
                  "--stop-timeout=30") as acceptor:
        with acceptor.client("DATA") as client:
            client.say(MESSAGE + b".\r\n")
            wait_until((folder / "started").exists, "the program")
            for _ in range(3):
                acceptor.signal(signal.SIGTERM)
                time.sleep(0.5)
            assert acceptor.process.poll() is None
            # fails if the program is gone
            fifo = os.open(folder / "fifo", os.O_WRONLY | os.O_NONBLOCK)
            os.write(fifo, b"250 2.0.0 in the end\n")
            os.close(fifo)
            assert client.reply() == b"250 2.0.0 in the end"
            assert client.reply() == SHUTTING_DOWN
            client.ours.close()
            assert acceptor.status() == 0


def test_signal_before_it_listens(smtpd, folder):
    """At whatever moment it comes, that is no accident."""
    for delay in range(10):
        with Acceptor(smtpd, folder, wait=False) as acceptor:
            wait_until(lambda: signal.SIGTERM in signals_of(acceptor.pid)["SigBlk"],
                       "it to take signals")
            time.sleep(delay / 1000)
            acceptor.signal(signal.SIGTERM)
            assert acceptor.status() == 0


def test_passed_socket_keeps_its_clients_when_we_stop(release, folder):
    """It is somebody else's too, who will start another one of us."""
    with socket.create_server(("127.0.0.1", 0)) as passed:
        address = "127.0.0.1:%d" % passed.getsockname()[1]
        with Acceptor(release, folder, env=environment(LISTEN_FDS="1"), fds={passed.fileno(): 3},
                      listen=None):
            pass
        with Client(address) as client:
            with Acceptor(release, folder, env=environment(LISTEN_FDS="1"),
                          fds={passed.fileno(): 3}, listen=None) as acceptor:
                client.begin("EHLO")
                halt(acceptor)
                with Client(address) as waiting:
                    acceptor.signal(signal.SIGTERM)
                    acceptor.signal(signal.SIGCONT)
                    assert client.reply().startswith(b"421 4.3.2 ") and acceptor.status() == 0
                    with Acceptor(release, folder, env=environment(LISTEN_FDS="1"),
                                  fds={passed.fileno(): 3}, listen=None):
                        waiting.begin("EHLO")


def test_passed_socket_that_listens_no_more(release, folder):
    """Somebody else has shut it down: that is no reason to be busy."""
    with socket.create_server(("127.0.0.1", 0)) as passed:
        with Acceptor(release, folder, env=environment(LISTEN_FDS="1"), fds={passed.fileno(): 3},
                      n=2) as acceptor:
            acceptor.serve_one()
            passed.shutdown(socket.SHUT_RDWR)
            before = cpu_ticks(acceptor.pid)
            time.sleep(1)
            assert cpu_ticks(acceptor.pid) - before < 10
            address = acceptor.addresses[0].encode()
            assert b"smtpd: cannot accept on %s: Invalid argument\n" % address in acceptor.err()
            with Client(acceptor.addresses[1]) as client:
                client.begin("EHLO")


def cpu_ticks(pid):
    """Hundredths of a second that it has had."""
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rsplit(")", 1)[1].split()[11:13]
    return int(user) + int(system)


def test_exit_idle_time(smtpd, folder):
    """It counts from the last session's end."""
    with Acceptor(smtpd, folder, "--exit-idle-time=1") as acceptor:
        with acceptor.client("EHLO") as client:
            time.sleep(1.5)
            assert client.send_message(MESSAGE).startswith(b"250 ")
            then = time.monotonic()
            client.quit()
        assert acceptor.status() == 0 and 0.5 < time.monotonic() - then < 6
        assert b"idle for 1 second: exiting" in acceptor.err()


# --- the service manager --------------------------------------------------------------------------


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


# --- many -----------------------------------------------------------------------------------------


def one_session(address):
    """What became of it: served or refused."""
    with connect(address) as client:
        client.sendall(WHOLE_SESSION)
        said = read_all(client)
    if said.startswith(b"421 "):
        assert said in (TOO_MANY, TOO_MANY_FROM_YOU)
        return "refused"
    assert codes(said) == [220, 250, 250, 250, 354, 250, 221], said
    return "served"


def check_many(acceptor, n, n_at_once):
    acceptor.serve_one()
    acceptor.wait_for_sessions(0)
    before = descriptors(acceptor.pid)
    with concurrent.futures.ThreadPoolExecutor(n_at_once) as pool:
        results = list(pool.map(one_session, [acceptor.address] * n))
    wait_until(lambda: not acceptor.sessions() and not zombies(acceptor.pid),
               "the end of all sessions")
    wait_until(lambda: descriptors(acceptor.pid) == before, "nothing to be left open")
    assert len(acceptor.messages()) == results.count("served") + 1
    return results


def test_thousands_of_connections(smtpd, folder):
    """All are served if there is room for those whose session has not ended yet, although its
    client has gone."""
    n = 5000 if "release" in smtpd else 100
    with Acceptor(smtpd, folder, "--max-connections=1000",
                  "--max-connections-per-source=1000") as acceptor:
        assert check_many(acceptor, n, 10) == ["served"] * n


def test_more_clients_than_there_is_room_for(smtpd, folder):
    with Acceptor(smtpd, folder, "--max-connections=3") as acceptor:
        results = check_many(acceptor, 500 if "release" in smtpd else 100, 20)
        assert {"served", "refused"} == set(results)


def test_clients_that_are_gone_at_once(smtpd, folder):
    """Before they are accepted, or before their session has begun."""
    with Acceptor(smtpd, folder, "--max-connections=200",
                  "--max-connections-per-source=200") as acceptor:
        before = descriptors(acceptor.pid)
        for is_stopped in (True, False):
            if is_stopped:
                acceptor.signal(signal.SIGSTOP)
            for n in range(50):
                client = connect(acceptor.address)
                client.close() if n % 2 else reset(client)
            acceptor.signal(signal.SIGCONT)
        acceptor.serve_one()  # behind all of them
        wait_until(lambda: not acceptor.sessions() and not zombies(acceptor.pid),
                   "the end of all sessions")
        wait_until(lambda: descriptors(acceptor.pid) == before, "nothing to be left open")


def test_reloading_among_clients(smtpd, folder, config):
    """SIGHUP now and then costs nobody a message."""
    n = 400 if "release" in smtpd else 60
    with (start_with_file(smtpd, folder, config) as acceptor,
          concurrent.futures.ThreadPoolExecutor(5) as pool):
        results = [pool.submit(one_session, acceptor.address) for _ in range(n)]
        while not all(r.done() for r in results):
            acceptor.signal(signal.SIGHUP)
            time.sleep(0.01)
        assert [r.result() for r in results].count("served") == n
        wait_until(lambda: not acceptor.sessions(), "the end of all sessions")
        assert len(acceptor.messages()) == n
