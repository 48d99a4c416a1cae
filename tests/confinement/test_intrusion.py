# SPDX-License-Identifier: MIT
"""A session that is taken over gets nothing, however smtpd was started, and with every strategy: a
running session is made to perform the system calls of an intruder (tests/sandbox.d/inject.c). Under
systemd the unit's own filter is there as well; here ours is what ends the process. What each call
is, and all others, is in tests/lib/sandbox.py."""

import contextlib
import os
import shutil

import pytest
from acceptor import NOBODY, Acceptor, folder
from conftest import need_root
from inetd import packages, start
from machine import SHIPPED, UNITS, Client
from processes import GONE, broker_of, children, is_running, running_children, status_of
from sandbox import STRATEGIES, has_helper, inject, perform, tools
from session import Session, command, environment, wait_until

pytest_plugins = ["booted"]  # a fixture, of which there is one for all files
_ = folder, inject, packages, start, tools  # fixtures

# What an intruder wants: another program, process, file; the memory, descriptors and signals of
# others; a connection, by a new socket or by the client's; the standard descriptors of others who
# share them; journald's, syslogd's or systemd's ear.
ACTIONS = ["execve", "fork", "ptrace", "process_vm_readv", "open-proc-mem", "pidfd_getfd", "kill",
           "socket-inet", "socket-inet6",
           "socket-unix", "socket-netlink", "socket-packet", "connect-client", "connect-dissolve",
           "read-etc", "write-spool",
           "unlink", "rename", "dup2-onto-client", "dup2-onto-output", "sendto-address",
           "sendmsg-log", "accept",
           "socketpair-dgram", "socketpair-inet"]


def filters(pid):
    """How many there are around that process."""
    return status_of(pid, "Seccomp_filters")


def config_of(strategy):
    return "".join(option.removeprefix("--") + "\n" for option in STRATEGIES[strategy])


# Each shape is a context manager: a context manager that connects (a client who was greeted, and
# the number of the process that serves it), and how many filters a session has from those who
# started it.

# --- systemd --------------------------------------------------------------------------------------


def host_pid(machine, number):
    """Of a process that has this number in the machine."""
    def look(pid):
        for child in children(pid):
            with contextlib.suppress(*GONE):
                with open(f"/proc/{child}/status") as file:
                    names = next(line.split()[1:] for line in file if line.startswith("NSpid:"))
                if names[-1] == str(number):
                    return child
            if found := look(child):
                return found
        return None
    return look(machine.leader)


def main_pid(machine, unit):
    number = machine.wait_until(lambda: int(machine.show(unit, "MainPID")), f"{unit} does not run")
    return host_pid(machine, number)


# What the example drop-ins are for, and the folder of lists, which is the root here.
DROPINS = {"exec": ["exec"], "proxy-address": ["proxy"], "proxy-name": ["proxy"],
           "mailman-3": ["proxy"], "mailman-3-name": ["proxy"],
           "mailman-2.1": ["mailman2"]}


def install(machine, config, strategy, unit):
    machine.put("/etc/smtpd/smtpd.conf", config)
    for name in DROPINS.get(strategy, []):
        text = machine.path(f"{SHIPPED}/smtpd@.service.d/{name}.conf.example").read_text()
        machine.put(f"{UNITS}/{unit}.d/{name}.conf", text)
    if strategy == "mailman-2.1":
        machine.run("sh", "-ec",
                    "getent group list >/dev/null || groupadd --system list; mkdir -p "
                    "/var/lib/mailman/qfiles")
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "smtpd.socket")


def connecting(machine, find_session, sessions):
    """What makes a connection: the client, and the number of its session."""
    @contextlib.contextmanager
    def connect():
        with machine.client() as client:
            client.begin("greeting")
            yield client, find_session()
        machine.wait_until(lambda: not sessions(), "the session does not end")
    return connect


@contextlib.contextmanager
def unit_accept_yes(request, strategy):
    machine = request.getfixturevalue("booted")
    sessions = lambda: machine.sessions("smtpd@*")

    def find_session():
        (unit,) = machine.wait_until(sessions, "no session")
        return main_pid(machine, unit)

    connect = connecting(machine, find_session, sessions)
    install(machine, "sandbox=no\n" + config_of(strategy), strategy, "smtpd@.service")
    with connect() as (_, pid):
        n_filters = filters(pid)
    machine.put("/etc/smtpd/smtpd.conf", config_of(strategy))
    yield connect, n_filters
    machine.reset()


@contextlib.contextmanager
def unit_accept_no(request, strategy):
    machine = request.getfixturevalue("booted")
    machine.put(f"{UNITS}/smtpd.socket.d/accept-no.conf", "[Socket]\nAccept=no\n")
    install(machine, config_of(strategy), strategy, "smtpd.service")
    with machine.client() as client:
        client.begin("greeting")
        acceptor = main_pid(machine, "smtpd.service")
        client.quit()
    sessions = lambda: running_children(acceptor)

    def find_session():
        (session,) = sessions()
        return session

    machine.wait_until(lambda: not sessions(), "the session does not end")
    yield connecting(machine, find_session, sessions), filters(acceptor)
    machine.systemctl("stop", "smtpd.socket", "smtpd.service")
    machine.reset()


# --- others ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def listening(request, strategy, **who):
    folder, release = request.getfixturevalue("folder"), request.getfixturevalue("release")
    # nobody may look into the checkout
    program = release if who else shutil.copy(release, folder / "smtpd")
    for name in ("smtpd-journal", "smtpd-show"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(os.path.join(os.path.dirname(release), name), folder / name)

    @contextlib.contextmanager
    def connect():
        with acceptor.client("greeting") as client:
            (session,) = acceptor.sessions()
            yield client, session
        acceptor.wait_for_sessions(0)

    with Acceptor(program, folder, *STRATEGIES[strategy], **who) as acceptor:
        yield connect, 0


def listen_as_root(request, strategy):
    need_root()
    return listening(request, strategy)


def listen_as_user(request, strategy):
    need_root()
    return listening(request, strategy, **NOBODY)


@contextlib.contextmanager
def inetd(request, strategy):
    """Standard error is the client; the log goes to syslog, over a socket."""
    start, release = request.getfixturevalue("start"), request.getfixturevalue("release")
    server = start("openbsd-inetd", release, conf=config_of(strategy))

    @contextlib.contextmanager
    def connect():
        with server.connect() as sock:
            client = Client(sock)
            client.begin("greeting")
            (session,) = running_children(server.process.pid)
            yield client, session
        wait_until(lambda: not running_children(server.process.pid), "the session's end")

    yield connect, 0


@contextlib.contextmanager
def pipe_with_a_peer(request, strategy):
    tmp_path, release = request.getfixturevalue("tmp_path"), request.getfixturevalue("release")

    @contextlib.contextmanager
    def connect():
        with Session(command(release, *STRATEGIES[strategy]), tmp_path,
                     env=environment(TCPREMOTEIP="192.0.2.1")) as session:
            session.begin("greeting")
            yield session, session.pid

    yield connect, 0


SHAPES = [unit_accept_yes, unit_accept_no, listen_as_root, listen_as_user, inetd, pipe_with_a_peer]
SHAPES_WITHOUT_OUTPUT = [inetd]  # strategies print and show have nowhere to print there
LIKE_EXEC = ["maildir"]  # a program is run, and nothing else differs: test_sandbox.py has it


@pytest.mark.parametrize(("how", "strategy"),
                         [(how, strategy) for how in SHAPES for strategy in STRATEGIES
                          if strategy not in LIKE_EXEC
                          and (strategy not in ("print", "show")
                               or how not in SHAPES_WITHOUT_OUTPUT)])
def test_intruder(request, inject, how, strategy):
    has_helper(STRATEGIES[strategy])
    tmp_path = request.getfixturevalue("tmp_path")
    with how(request, strategy) as (connect, n_filters):
        for action in ACTIONS:
            with connect() as (client, pid):
                wait_until(lambda: filters(pid) == n_filters + 1, "the sandbox")
                broker = broker_of(pid)
                got, outcome = perform(inject, pid, tmp_path, action)
                assert got in outcome.split() + ["EAFNOSUPPORT"] * (outcome == "EPERM"), action
                if outcome == "dies":
                    assert client.read_to_end() == b"", action
                    wait_until(lambda: not broker or not is_running(broker), "the broker's end")
                else:
                    client.expect((b"NOOP", b"250 "), (b"QUIT", b"221 "))
