# SPDX-License-Identifier: MIT
"""What the sessions of an acceptor get from it, and their programs from them: descriptors, the
environment, signals, an address space."""

import os
import re
import signal
import socket

import pytest
from accepting import SHUTTING_DOWN, signals_of
from acceptor import Acceptor, folder
from conftest import missing
from processes import descriptors
from session import environment

_ = folder  # a fixture


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
