# SPDX-License-Identifier: MIT
"""Sockets that somebody else has opened and passed to an acceptor: as systemd does it, and as inetd
does it with wait."""

import contextlib
import os
import re
import signal
import socket
import time

import pytest
from accepting import MESSAGE, PRINTED, PRIVATE_LOG, WHOLE_SESSION, halt
from acceptor import Acceptor, Client, connect, folder, read_all, start_that_fails
from conftest import need, need_root, private_mounts
from session import PATIENCE, codes, environment, free_port, wait_until, with_x_peer

_ = folder  # a fixture


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
