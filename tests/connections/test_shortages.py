# SPDX-License-Identifier: MIT
"""An acceptor that is short of something: descriptors, processes, memory, its program, /proc.
Clients are told, and it goes on when it has it again."""

import os
import socket
import time

import pytest
from accepting import MESSAGE, check_refused_for_shortage, limit, lowest_free, traced
from acceptor import Acceptor, copy_of, folder, start_that_fails
from conftest import need_root, private_mounts
from processes import descriptors, status_of
from session import environment, wait_until

_ = folder  # a fixture


def without_proc():
    return [*private_mounts(), "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]


def test_without_proc(release, folder):
    """Said once, and not to each client."""
    status, said = start_that_fails(release, folder, prefix=without_proc())
    assert status == 75
    assert (said == b"smtpd: cannot accept connections: /proc is not mounted, but sessions are "
                    b"started through it: mount -t proc proc /proc\n")


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
