# SPDX-License-Identifier: MIT
"""The broker (src/broker/), asked by hand for what it does: programs, connections, lists; and how
it ends."""

import os
import signal
import socket
import time

import pytest
from broker_stand import (CANCEL, CANCELED, CONNECT, DONE, FAILED, LATE, LIST, MESSAGE, NAMES, NONE,
                          OUTPUT_MAX, RUN, TO_LOOK, TO_RUN, UNABLE, VARIABLES, WRAPPER, Stand,
                          build, lists, request, script, spool)
from processes import group
from session import PATIENCE, wait_until

_ = build, lists  # fixtures

# --- what it does ---------------------------------------------------------------------------------


def test_run(build, tmp_path):
    program = script(tmp_path, "cat; echo some words >&2; env | grep ^SMTPD_; pwd; exit 3")
    with Stand(build, tmp_path, program,
               env={"PATH": os.environ["PATH"], "SMTPD_OUTPUT_FD": "7",
                    "NOTIFY_SOCKET": "/x"}) as broker:
        outcome, status, out, is_cut, _, _, reason, fds = broker.run()
        assert (outcome, os.waitstatus_to_exitcode(status), is_cut, reason, fds) == (DONE, 3, 0,
                                                                                     b"", [])
        assert out.startswith(MESSAGE) and out.endswith(b"\n/\n")
        variables = dict(line.split(b"=", 1)
                         for line in out.removeprefix(MESSAGE).splitlines()[:-1])
        own = {b"SMTPD_PEER": b"192.0.2.1", b"SMTPD_PEER_PORT": b"1024",
               b"SMTPD_HOSTNAME": b"mx.example.com"}
        assert variables == {f"SMTPD_{name}".encode(): f"the {name}".encode()
                             for name in NAMES} | own
        assert broker.err() == f'smtpd: program id="the ID" program={program} stderr="some words"\n'.encode()
        assert broker.run()[:2] == (DONE, status)  # and again


def test_message_is_read_only_and_has_its_own_offset(build, tmp_path):
    program = script(tmp_path,
                     "read line; echo \"$line\"; grep ^flags /proc/self/fdinfo/0; (echo x >&0) "
                     "2>/dev/null || echo cannot write")
    with Stand(build, tmp_path, program) as broker, spool() as file:
        file.seek(3)
        out = broker.ask(request(RUN, text=VARIABLES), file.fileno())[2].split(b"\n")
        assert out[0] == b"Subject: x" and int(out[1].split()[1], 8) & os.O_ACCMODE == os.O_RDONLY
        assert out[2] == b"cannot write"
        assert file.tell() == 3


def test_output_that_is_long(build, tmp_path):
    with Stand(build, tmp_path, script(tmp_path, "yes | head -c 50000")) as broker:
        outcome, status, out, is_cut, *_ = broker.run()
        assert (outcome, status, len(out), is_cut) == (DONE, 0, OUTPUT_MAX, 1)


@pytest.mark.parametrize("text, reason", [
    (None, b"No such file or directory"),
    ("#!/nonexistent/interpreter\n", b"/nonexistent/interpreter"), ("", b"Exec format error")])
def test_program_that_cannot_run(build, tmp_path, text, reason):
    program = tmp_path / "program"
    if text is not None:
        program.write_text(text)
        program.chmod(0o755)
    with Stand(build, tmp_path, str(program)) as broker:
        outcome, *_, said, _ = broker.run()
        assert outcome == FAILED and reason in said


@pytest.mark.parametrize("body, least",
                         [("sleep 1000", 0.3),
                          ("trap '' TERM; sleep 1000 & wait; sleep 1000", 1.3)])
def test_program_that_is_late(build, tmp_path, body, least):
    """It is killed with its group."""
    with Stand(build, tmp_path, script(tmp_path, f"echo $$ >{tmp_path}/pid\n{body}")) as broker:
        started = time.monotonic()
        assert broker.run(milliseconds=300)[0] == LATE
        assert least - 0.1 < time.monotonic() - started < least + 5
        wait_until(lambda: group(int((tmp_path / "pid").read_text())) == [], "the end of the group")


@pytest.mark.parametrize("body", ["sleep 1000", "trap '' TERM; sleep 1000 & wait; sleep 1000"])
def test_cancel(build, tmp_path, body):
    """The answer comes within two seconds; then it goes on."""
    with (Stand(build, tmp_path, script(tmp_path, f"echo $$ >{tmp_path}/pid\n{body}")) as broker,
          spool() as file):
        broker.send(request(RUN, text=VARIABLES), file.fileno())
        pid = int(wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(),
                             "the program"))
        started = time.monotonic()
        assert broker.ask(request(CANCEL))[0] == CANCELED
        assert time.monotonic() - started < 2
        wait_until(lambda: group(pid) == [], "the end of the group", 1)
        script(tmp_path, "exit 7")
        outcome, status, *_ = broker.run()
        assert outcome == DONE and os.waitstatus_to_exitcode(status) == 7


def test_cancel_of_nothing(build, tmp_path):
    """It was answered meanwhile."""
    with Stand(build, tmp_path, script(tmp_path, "exit 0")) as broker:
        broker.send(request(CANCEL))
        assert broker.run()[:2] == (DONE, 0)


@pytest.mark.parametrize("kind", ["ip", "local", "second"])
def test_connect(build, tmp_path, kind):
    path = str(tmp_path / "socket")
    with socket.create_server(("127.0.0.1", 0)) as ip, socket.socket(socket.AF_UNIX) as local:
        local.bind(path)
        local.listen()
        address = f"127.0.0.1:{ip.getsockname()[1]}"
        upstream, index = {"ip": ([address], 0), "local": ([path], 0),
                           "second": (["127.0.0.1:1", address], 1)}[kind]
        with Stand(build, tmp_path, upstream=upstream) as broker:
            outcome, *_, fds = broker.ask(request(CONNECT, index))
            assert outcome == DONE and len(fds) == 1 and not os.get_blocking(fds[0])
            with (socket.socket(fileno=fds[0]) as ours,
                  (local if kind == "local" else ip).accept()[0] as theirs):
                theirs.sendall(b"220 ")
                ours.settimeout(PATIENCE)
                assert ours.recv(4) == b"220 "


def test_connect_in_vain(build, tmp_path):
    with Stand(build, tmp_path, upstream=["127.0.0.1:1", "/nonexistent/socket"]) as broker:
        assert broker.ask(request(CONNECT, 0))[0:7:6] == (FAILED, b"Connection refused")
        assert broker.ask(request(CONNECT, 1))[0:7:6] == (FAILED, b"No such file or directory")


@pytest.mark.parametrize("local, found", [
    (b"test", (DONE, 0, b"test")), (b"TEST", (DONE, 0, b"test")), (b'"test"', (DONE, 0, b"test")),
    (b"test-bounces+a=b", (DONE, 2, b"test")),
    (b"c++", (DONE, 0, b"c++")), (b"x-request", (DONE, 0, b"x-request")),
    (b"x-request-request", (DONE, 7, b"x-request")),
    (b"nobody", (NONE, 0, b"nobody")), (b"../lists/test", (NONE, 0, b"")),
    (b"test/", (NONE, 0, b"")), (b"te\0st", (NONE, 0, b"")), (b"", (NONE, 0, b"")),
])
def test_list(build, tmp_path, lists, local, found):
    with Stand(build, tmp_path, wrapper="/bin/true", lists=lists) as broker:
        outcome, _, _, _, number, name, *_ = broker.ask(request(LIST, text=local))
        assert outcome == found[0] and (outcome != DONE or (number, name) == found[1:])


def test_list_whose_wrapper_cannot_run(build, tmp_path, lists):
    """Who only asks whether it is a list is not told."""
    with Stand(build, tmp_path, wrapper="/nonexistent/wrapper", lists=lists) as broker:
        assert broker.ask(request(LIST, TO_LOOK, text=b"test"))[0] == DONE
        outcome, *_, reason, _ = broker.ask(request(LIST, TO_RUN, text=b"test"))
        assert outcome == UNABLE and reason.startswith(b"No such file or directory")
        assert broker.ask(request(LIST, TO_RUN, text=b"nobody"))[0] == NONE
        broker.send(request(LIST, 2, text=b"test"))
        assert b"no such purpose" in broker.refuses()


def test_lists_that_cannot_be_looked_at(build, tmp_path):
    with Stand(build, tmp_path, wrapper="/bin/true", lists="/nonexistent") as broker:
        assert broker.ask(request(LIST, text=b"test"))[0:7:6] == (FAILED,
                                                                  b"No such file or directory")


def test_wrapper(build, tmp_path, lists):
    with Stand(build, tmp_path, wrapper=script(tmp_path, 'echo "$#:$1:$2"'), lists=lists) as broker:
        assert broker.run(index=WRAPPER, command=3, name=b"test")[:3] == (DONE, 0,
                                                                          b"2:confirm:test\n")
        outcome, *_, reason, _ = broker.run(index=WRAPPER, name=b"nobody")
        assert (outcome, reason) == (FAILED, b"no such list")


# --- how it ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_ignored(build, tmp_path, number):
    with Stand(build, tmp_path, script(tmp_path, "exit 0")) as broker:
        broker.run()
        broker.process.send_signal(number)
        assert broker.run()[:2] == (DONE, 0)
        broker.socket.close()
        assert broker.process.wait(PATIENCE) == 0


def test_session_ends_while_a_program_runs(build, tmp_path):
    """All of its group is killed."""
    text = f"trap '' TERM; sleep 1000 & echo $$ >{tmp_path}/pid; wait; sleep 1000"
    with Stand(build, tmp_path, script(tmp_path, text)) as broker, spool() as file:
        broker.send(request(RUN, text=VARIABLES), file.fileno())
        pid = int(wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(),
                             "the program"))
        broker.socket.close()
        assert broker.process.wait(PATIENCE) == 75
        wait_until(lambda: group(pid) == [], "the end of the group")
