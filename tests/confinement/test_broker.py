# SPDX-License-Identifier: MIT
"""The broker (src/broker/): asked by hand, as a session that was taken over could ask; and what
becomes of a message when it, or its session, ends in the middle. tests/broker.d/stand.c is a broker
alone."""

import array
import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest
from conftest import BUILDS, everybodys, need_root
from processes import broker_of, children, descriptors, group, is_running, programs
from session import PATIENCE, PYTHON, Session, command, reset, stop, tcp_pair, wait_until
from upstream import Upstream
from world import World

RUN, CONNECT, LIST, TLS, CANCEL, PEER = range(1, 7)
LOST, DONE, NONE, UNABLE, FAILED, LATE, CANCELED, SURVIVED = range(8)
PROGRAM, WRAPPER = range(2)
TO_LOOK, TO_RUN = range(2)
NAMES = ["ID", "HELO", "PROTOCOL", "MAIL_FROM", "MAIL_OPTIONS", "SIZE",
         "TLS", "TLS_CIPHER", "TLS_SNI", "TLS_CLIENT_FINGERPRINT", "TLS_CLIENT_VERIFY", "AUTH",
         "RCPT_TO", "RCPT_OPTIONS"]
VARIABLES = b"".join(f"SMTPD_{name}=the {name}\0".encode() for name in NAMES)
REQUEST, ANSWER = "=5I128s", "=IiIII128s1024s"
OUTPUT_MAX = 17 * 1024
MESSAGE = b"Subject: x\n\ntext\n"


def request(kind, index=0, milliseconds=20_000, text=b"", command=0, name=b"", n_text=None):
    return struct.pack(REQUEST, kind, index, milliseconds, len(text) if n_text is None else n_text,
                       command, name) + text


class Stand:
    """A broker, and our end of its socket."""

    def __init__(self, build, folder, program="-", wrapper="-", lists="-", mailman="-", engine="-",
                 upstream=(), **popen):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(PATIENCE)
        self.err_path = folder / "broker-err"
        argv = [BUILDS[build] / "tests/broker.d/broker-stand", str(theirs.fileno()), program,
                wrapper, lists, mailman, engine, *upstream]
        with theirs, open(self.err_path, "wb") as err:
            self.process = subprocess.Popen(argv, pass_fds=[theirs.fileno()],
                                            stdout=subprocess.PIPE, stderr=err, **popen)
        sizes = self.process.stdout.readline().split()
        assert sizes == [b"%d" % struct.calcsize(REQUEST), b"%d" % struct.calcsize(ANSWER)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        stop(self.process)
        self.process.stdout.close()

    def send(self, octets, *fds):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        n = self.socket.sendmsg([octets], rights)
        with contextlib.suppress(BrokenPipeError):  # it may refuse before it has heard all
            self.socket.sendall(octets[n:])

    def receive(self, n):
        octets = b""
        while len(octets) < n and (part := self.socket.recv(n - len(octets))):
            octets += part
        return octets

    def answer(self):
        """(outcome, wait status, output, was it cut, command, list, reason, descriptors)"""
        n = struct.calcsize(ANSWER)
        octets, rights, _, _ = self.socket.recvmsg(n, 4096)
        octets += self.receive(n - len(octets))
        outcome, status, n_text, is_cut, number, name, reason = struct.unpack(ANSWER, octets)
        fds = [fd for level, kind, data in rights for fd in array.array("i", data)]
        said, name, reason = self.receive(n_text), name.split(b"\0")[0], reason.split(b"\0")[0]
        return outcome, status, said, is_cut, number, name, reason, fds

    def ask(self, octets, *fds):
        self.send(octets, *fds)
        return self.answer()

    def run(self, text=VARIABLES, message=None, **more):
        with message or spool() as file:
            return self.ask(request(RUN, text=text, **more), file.fileno())

    def err(self):
        return self.err_path.read_bytes()

    def refuses(self):
        """It ends, and says why."""
        assert self.process.wait(PATIENCE) == 76  # EX_PROTOCOL
        said, = re.findall(rb"^smtpd: broker: ended because of a forbidden request: "
                           rb"(.*)\n", self.err(), re.M)
        return said


@contextlib.contextmanager
def spool(text=MESSAGE):
    """A file without a name, as the session has it."""
    fd = os.memfd_create("message")
    with open(fd, "w+b") as file:
        file.write(text)
        file.flush()
        yield file


def script(folder, text, name="program"):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(params=sorted(BUILDS))
def build(request):
    return request.param


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


@pytest.fixture
def lists(tmp_path):
    for name in ("test", "c++", "x-request"):
        (tmp_path / "lists" / name).mkdir(parents=True)
        (tmp_path / "lists" / name / "config.pck").touch()
    return str(tmp_path / "lists")


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


# --- what it must not be asked --------------------------------------------------------------------

MALFORMED = {
    "kind-0": (request(0), b"no such request"),
    "kind-large": (request(2**32 - 1), b"no such request"),
    "tls": (request(TLS), b"no TLS engine"),
    "tls-text": (request(TLS, text=b"x"), b"too long"),
    "program": (request(RUN, 2, text=VARIABLES), b"no such program"),
    "no-wrapper": (request(RUN, WRAPPER, text=VARIABLES, name=b"test"), b"no such program"),
    "time": (request(RUN, milliseconds=2**31, text=VARIABLES), b"too much time"),
    "long": (request(RUN, n_text=2**20), b"too long"),
    "longest": (request(RUN, n_text=2**32 - 1), b"too long"),
    "no-variables": (request(RUN), b"variables"),
    "other-variable": (request(RUN, text=VARIABLES.replace(b"SMTPD_HELO", b"LD_PRELOAD")),
                       b"variables"),
    "own-variable": (request(RUN, text=VARIABLES.replace(b"SMTPD_HELO", b"SMTPD_PEER")),
                     b"variables"),
    "one-more": (request(RUN, text=VARIABLES + b"SMTPD_PEER=127.0.0.1\0"), b"too many variables"),
    "no-end": (request(RUN, text=VARIABLES[:-1]), b"variables"),
    "endpoint": (request(CONNECT, 1), b"no such endpoint"),
    "endpoint-large": (request(CONNECT, 2**32 - 1), b"no such endpoint"),
    "connect-time": (request(CONNECT, 0, 2**31), b"too much time"),
    "connect-text": (request(CONNECT, text=b"192.0.2.1:25"), b"too long"),
    "no-lists": (request(LIST, text=b"test"), b"no lists are configured"),
    "list-long": (request(LIST, text=b"a" * 4096), b"too long"),
    "cancel-text": (request(CANCEL, text=b"x"), b"too long"),
    "peer": (request(PEER, text=b"127.0.0.1"), b"the peer is already known"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_request(build, tmp_path, name):
    """It ends, and nothing was done."""
    octets, why = MALFORMED[name]
    with (Stand(build, tmp_path, script(tmp_path, f"touch {tmp_path}/ran"),
                upstream=["/nonexistent"]) as broker, spool() as file):
        broker.send(octets, file.fileno())
        assert why in broker.refuses() and not (tmp_path / "ran").exists()


BALANCER = {"PATH": os.environ["PATH"], "BALANCER": "yes"}


@pytest.mark.parametrize("client, peer", [
    (b"127.0.0.1:25", b"unknown ."), (b"192.0.2.7:25", b"192.0.2.7 25."),
    (b"[2001:db8::7]", b"2001:db8::7 ."), (b"", b"unknown .")])
def test_peer_of_a_balancer(build, tmp_path, client, peer):
    """Named once, and before all else; loopback of another host is nobody's."""
    program = script(tmp_path, 'echo "$SMTPD_PEER $SMTPD_PEER_PORT."')
    with Stand(build, tmp_path, program, env=BALANCER) as broker:
        broker.send(request(PEER, text=client))
        assert broker.run()[2] == peer + b"\n"
        broker.send(request(PEER, text=b"192.0.2.8"))
        assert broker.refuses() == b"the peer must be named first, and only once"


@pytest.mark.parametrize("octets, why", [
    (request(RUN, text=VARIABLES), b"named first"), (request(CONNECT), b"named first"),
    (request(CANCEL), b"named first"),
    (request(PEER, text=b"local"), b"no address"), (request(PEER, text=b"unknown"), b"no address"),
    (request(PEER, text=b"192.0.2.7\0"), b"no address"),
    # fmt: skip
    (request(PEER, text=b"192.0.2.7\nX=y"), b"no address"),
    (request(PEER, text=b"1" * 200), b"too long")])
def test_malformed_peer(build, tmp_path, octets, why):
    with (Stand(build, tmp_path, script(tmp_path, f"touch {tmp_path}/ran"),
                upstream=["/nonexistent"], env=BALANCER) as broker, spool() as file):
        broker.send(octets, file.fileno())
        assert why in broker.refuses() and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("number, name, why", [
    (10, b"test", b"no such Mailman command"), (2**32 - 1, b"test", b"no such Mailman command"),
    (0, b"../test", b"name of a list"),
    (0, b"", b"name of a list"), (0, b".", b"name of a list"), (0, b"-x/y", b"name of a list"),
    (0, b"a" * 128, b"name of a list")])
def test_malformed_wrapper(build, tmp_path, lists, number, name, why):
    with (Stand(build, tmp_path, wrapper=script(tmp_path, f"touch {tmp_path}/ran"),
                lists=lists) as broker, spool() as file):
        broker.send(request(RUN, WRAPPER, text=VARIABLES, command=number, name=name), file.fileno())
        assert why in broker.refuses() and not (tmp_path / "ran").exists()


def named_file(folder):
    (folder / "secret").write_bytes(b"secret")
    return open(folder / "secret", "rb")


def one_end(_):
    return socket.socketpair()[0]


@pytest.mark.parametrize("make", [
    named_file, one_end, lambda folder: open("/dev/null", "rb"),
    lambda folder: open(f"/proc/{os.getpid()}/mem", "rb", buffering=0),
    lambda folder: os.fdopen(os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o600), "wb"),
    lambda folder: None,
], ids=["named", "socket", "device", "proc", "write-only", "none"])
def test_message_that_is_none(build, tmp_path, make):
    with Stand(build, tmp_path, script(tmp_path, f"touch {tmp_path}/ran")) as broker:
        file = make(tmp_path)
        with file or contextlib.nullcontext():
            broker.send(request(RUN, text=VARIABLES), *([file.fileno()] if file else []))
            assert b"message" in broker.refuses() and not (tmp_path / "ran").exists()


def fds_of(pid):
    return sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))


def test_descriptors_that_are_not_expected(build, tmp_path):
    """They are closed."""
    with (Stand(build, tmp_path, script(tmp_path, "ls /proc/self/fd | wc -l"),
                upstream=["127.0.0.1:1"]) as broker, spool() as file):
        few = broker.run()[2]
        before = fds_of(broker.process.pid)
        for _ in range(50):
            broker.ask(request(CONNECT), *[file.fileno()] * 100)
            broker.send(request(CANCEL), file.fileno())
            whole = request(RUN, text=VARIABLES)
            broker.send(whole[:20], file.fileno(), file.fileno())
            broker.send(whole[20:200], *[file.fileno()] * 3)
            broker.send(whole[200:], file.fileno())
            assert broker.answer()[:3] == (DONE, 0, few)
        assert fds_of(broker.process.pid) == before


@pytest.mark.parametrize("n", [1, 20, 147, 148, 149, 300])
def test_half_a_request(build, tmp_path, n):
    """The session ends in the middle."""
    with (Stand(build, tmp_path, script(tmp_path, f"touch {tmp_path}/ran")) as broker,
          spool() as file):
        broker.send(request(RUN, text=VARIABLES)[:n], file.fileno())
        broker.socket.close()
        assert broker.process.wait(PATIENCE) == 0 and broker.err() == b""
        assert not (tmp_path / "ran").exists()


def test_octet_by_octet(build, tmp_path):
    with Stand(build, tmp_path, script(tmp_path, "cat")) as broker, spool() as file:
        octets = request(RUN, text=VARIABLES)
        broker.send(octets[:1], file.fileno())
        for i in range(1, len(octets)):
            broker.send(octets[i:i + 1])
        assert broker.answer()[:3] == (DONE, 0, MESSAGE)


# --- a TLS engine ---------------------------------------------------------------------------------


def engine_of(folder, text):
    """One that writes what it is given, and then does `text`."""
    return script(folder,
                  f"cat >&3; echo $0 $* >{folder}/argv; ls /proc/self/fd | tr '\\n' ' ' "
                  f">{folder}/fds; {text}")


@contextlib.contextmanager
def three_pairs():
    pairs = [socket.socketpair() for _ in range(3)]
    try:
        yield [ours for ours, _ in pairs], [theirs.fileno() for _, theirs in pairs]
    finally:
        for one in sum(pairs, ()):
            one.close()


def test_engine(build, tmp_path):
    """It has the connection, the control socket and the plain side as 0, 3 and 4, and the log; and
    it outlives the broker."""
    with (Stand(build, tmp_path,
                engine=engine_of(tmp_path, "echo end >&4; echo log >&2")) as broker,
          three_pairs() as (ours, fds)):
        broker.send(request(TLS), *fds)
        assert broker.answer()[0] == DONE
        ours[0].sendall(b"hello")
        assert ours[1].recv(100) == b"hello"
        broker.socket.close()
        assert broker.process.wait(PATIENCE) == 0
        ours[0].shutdown(socket.SHUT_WR)
        assert ours[2].recv(100) == b"end\n"
        wait_until(lambda: b"log\n" in broker.err(), "its log")
        assert (tmp_path / "argv").read_text().endswith(" --minimum=1.3\n")
        # the last one is of ls
        assert (tmp_path / "fds").read_text().split() == ["0", "1", "2", "3", "4", "5"]


def test_engine_that_cannot_run(build, tmp_path):
    """The broker goes on, and may be asked again."""
    with (Stand(build, tmp_path, script(tmp_path, "exit 0"),
                engine=str(tmp_path / "nothing")) as broker, three_pairs() as (_, fds)):
        for _ in range(2):
            broker.send(request(TLS), *fds)
            outcome, *_, reason, descriptors = broker.answer()
            assert outcome == FAILED and reason.startswith(b"No such file or directory")
            assert descriptors == []
        assert broker.run()[:2] == (DONE, 0)


def test_second_engine(build, tmp_path):
    """There is one connection."""
    with (Stand(build, tmp_path, engine=engine_of(tmp_path, "")) as broker,
          three_pairs() as (_, fds)):
        broker.send(request(TLS), *fds)
        assert broker.answer()[0] == DONE
        broker.send(request(TLS), *fds)
        assert b"was already started" in broker.refuses()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_engine_without_its_descriptors(build, tmp_path, n):
    with (Stand(build, tmp_path, engine=engine_of(tmp_path, f"touch {tmp_path}/ran")) as broker,
          three_pairs() as (_, fds)):
        broker.send(request(TLS), *fds[:n])
        assert b"must be three" in broker.refuses() and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("make", [
    lambda: open("/dev/null", "rb"), lambda: open("/proc/self/mem", "rb", buffering=0),
    lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)[0],
], ids=["device", "proc", "datagrams", "packets"])
def test_engine_on_what_is_no_stream(build, tmp_path, make, at):
    with (Stand(build, tmp_path, engine=engine_of(tmp_path, f"touch {tmp_path}/ran")) as broker,
          three_pairs() as (_, fds), make() as one):
        fds[at] = one.fileno()
        broker.send(request(TLS), *fds)
        assert b"not a stream socket" in broker.refuses() and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("at", range(3))
def test_engine_on_what_others_share(build, tmp_path, at):
    """It would shut the log down that a service has from the journal, with all its sessions."""
    with Stand(build, tmp_path,
               engine=engine_of(
                   tmp_path, f"touch {tmp_path}/ran")) as broker, three_pairs() as (_, fds), \
            socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as log:
        listener.bind(str(tmp_path / "stdout"))
        listener.listen()
        log.connect(listener.getsockname())
        fds[at] = log.fileno()
        broker.send(request(TLS), *fds)
        assert b"is shared with others" in broker.refuses() and not (tmp_path / "ran").exists()


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


# --- a session and its broker ---------------------------------------------------------------------

LOST_REPLY = b"451 "


@pytest.mark.parametrize("when", ["before", "while"])
def test_broker_dies_at_run(smtpd, tmp_path, when):
    """451, and the log says why; the program does not outlive it."""
    program = script(tmp_path,
                     f"echo $$ >{tmp_path}/pid; cat >{tmp_path}/message; exec sleep "
                     f"{1000 if when == 'while' else 0}")
    with Session(command(smtpd, "--strategy=exec", f"--command={program}"), tmp_path,
                 tcp_pair()) as session:
        session.begin("DATA")
        broker = broker_of(session.pid)
        if when == "before":
            os.kill(broker, signal.SIGKILL)
        session.say(b"Subject: x\r\n\r\ntext\r\n.\r\n")
        if when == "while":
            pid = int(wait_until(lambda: (tmp_path / "pid").exists()
                                 and (tmp_path / "pid").read_text(), "the program"))
            os.kill(broker, signal.SIGKILL)
            wait_until(lambda: not is_running(pid), "the program's end")
        session.expect((None, LOST_REPLY))
        assert session.send_message(b"x\r\n").startswith(LOST_REPLY)
        assert session.end() == 0
        assert re.search(rb"^smtpd: cannot ask the broker, .*: it has ended$", session.err(), re.M)
        assert session.err().count(b"cannot ask the broker") == 1
        assert (tmp_path / "pid").exists() == (when == "while")


def test_broker_dies_at_connect(smtpd, tmp_path):
    with (Upstream() as up,
          Session(command(smtpd, "--strategy=proxy", f"--upstream=127.0.0.1:{up.port}"), tmp_path,
                  tcp_pair()) as session):
        session.begin("greeting")
        wait_until(lambda: broker_of(session.pid), "the broker")
        os.kill(broker_of(session.pid), signal.SIGKILL)
        session.ask(b"EHLO client.example.org")
        session.expect((b"MAIL FROM:<a@example.org>", LOST_REPLY))
        assert session.end() == 0 and up.messages == []
        assert b"cannot ask the broker" in session.err()


def broker_at_work(session):
    """It has let go of all that is the session's: stopped before that, it would hold the client's
    connection."""
    broker = broker_of(session.pid)
    wait_until(lambda: sorted(descriptors(broker)) == [0, 1, 2], "it to let go of the session's")
    return broker


def test_broker_that_hangs(smtpd, tmp_path):
    """The session waits its time, and two seconds; then it leaves it alone."""
    program = script(tmp_path, "exit 0")
    with Session(command(smtpd, "--strategy=exec", f"--command={program}", "--message-timeout=1"),
                 tmp_path, tcp_pair()) as session:
        session.begin("EHLO")
        broker = broker_at_work(session)
        os.kill(broker, signal.SIGSTOP)
        try:
            started = time.monotonic()
            assert session.send_message(b"x\r\n").startswith(LOST_REPLY)
            assert 2.5 < time.monotonic() - started < 8
            assert session.send_message(b"x\r\n").startswith(LOST_REPLY)
            assert time.monotonic() - started < 9
            assert session.end() == 0
            assert re.search(rb"^smtpd: cannot ask the broker, .*: it does not answer$",
                             session.err(), re.M)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(broker, signal.SIGKILL)


@contextlib.contextmanager
def silent_resolver(tmp_path, release):
    """A world whose name server hears all and says nothing. Yields it, and the command line of a
    session in it."""
    with World(tmp_path, release) as world:
        world.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:10 attempts:2\n")
        world.write("/etc/nsswitch.conf", "hosts: files dns\n")
        with world.in_network(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
            server.bind(("127.0.0.1", 53))
            server.settimeout(PATIENCE)
            yield server, world.inside(*command(release, "--strategy=proxy",
                                                "--upstream=mail.example.net",
                                                "--upstream-timeout=1"))


def test_silent_name_server(release, tmp_path):
    """The session waits for its upstream-timeout and two seconds more, then for nobody any more.
    Nothing stays."""
    with (silent_resolver(tmp_path, release) as (_, argv),
          Session(argv, tmp_path, tcp_pair()) as session):
        session.begin("greeting")
        broker = wait_until(lambda: broker_of(session.pid), "the broker")
        started = time.monotonic()
        session.expect((b"EHLO client.example.org", b"250-"))
        assert 2.5 < time.monotonic() - started < 6
        session.expect((b"MAIL FROM:<a@example.org>", b"451 4.4.1 "))
        assert session.end() == 0 and time.monotonic() - started < 7
        wait_until(lambda: not is_running(broker), "the broker's end", 1)
        assert re.search(rb"^smtpd: cannot ask the broker, .*: it does not answer$", session.err(),
                         re.M)


@pytest.mark.parametrize("how", ["stop", "leave", "kill"])
def test_end_while_the_name_server_is_silent(release, tmp_path, how):
    with silent_resolver(tmp_path, release) as (server, argv):
        argv = [one.replace("--upstream-timeout=1", "--upstream-timeout=60") for one in argv]
        with Session(argv, tmp_path, tcp_pair()) as session:
            session.begin("greeting")
            broker = wait_until(lambda: broker_of(session.pid), "the broker")
            session.say(b"EHLO client.example.org\r\n")
            server.recv(512)
            if how == "stop":
                session.process.terminate()
            if how == "leave":
                reset(session.ours)
            if how == "kill":
                session.process.kill()
            assert session.process.wait(5) == (-signal.SIGKILL if how == "kill" else 0)
            wait_until(lambda: not is_running(broker), "the broker's end", 1)


def test_session_is_killed_while_a_program_runs(smtpd, tmp_path):
    """The group and the broker are gone too."""
    text = f"trap '' TERM; sleep 1000 & echo $$ >{tmp_path}/pid; wait; sleep 1000"
    with Session(command(smtpd, "--strategy=exec", f"--command={script(tmp_path, text)}"), tmp_path,
                 tcp_pair()) as session:
        session.begin("DATA")
        broker = broker_of(session.pid)
        session.say(b"x\r\n.\r\n")
        pid = int(wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(),
                             "the program"))
        session.process.kill()
        wait_until(lambda: group(pid) == [] and not is_running(broker), "the end of all")


def test_client_ends_and_nobody_stays(smtpd, tmp_path):
    with Session(command(smtpd, "--strategy=exec", "--command=/bin/true"), tmp_path,
                 tcp_pair()) as session:
        session.begin("EHLO")
        broker = broker_of(session.pid)
        session.ours.close()
        assert session.process.wait(PATIENCE) == 0
        wait_until(lambda: not is_running(broker), "the broker's end", 1)


def test_print_has_none(smtpd, tmp_path):
    with Session(command(smtpd), tmp_path, tcp_pair()) as session:
        session.begin("EHLO")
        assert not children(session.pid)


def test_broker_has_not_the_connection(smtpd, tmp_path):
    """Nor anything else of the session's."""
    with Session(command(smtpd, "--strategy=exec", "--command=/bin/true"), tmp_path,
                 tcp_pair()) as session:
        session.begin("EHLO")
        fds = descriptors(broker_at_work(session))
        assert fds[1] == "/dev/null" and fds[2] == session.err_path
        assert fds[0].startswith("socket:") and fds[0] != os.readlink(f"/proc/{session.pid}/fd/0")


def test_broker_under_inetd_has_not_the_connection(smtpd, tmp_path):
    """Which is standard error there, too."""
    ours, theirs = tcp_pair()
    with Session(command(smtpd, "--strategy=exec", "--command=/bin/true"), tmp_path, (ours, theirs),
                 err=theirs) as session:
        session.begin("EHLO")
        connection = os.readlink(f"/proc/{session.pid}/fd/0")
        broker = broker_of(session.pid)
        wait_until(lambda: connection not in descriptors(broker).values(),
                   "it to let go of the connection")
        assert descriptors(broker)[2] == "/dev/null"
        assert session.end() == 0


# --- other processes of the user ------------------------------------------------------------------

# Sends descriptors to itself, and takes none.
IN_FLIGHT = """
import os, socket, sys
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
for _ in range(10):
    socket.send_fds(ours, [b"x"], [0] * 50)
print("there they are", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("seconds, verdict", [(0.5, b"250 "), (None, b"451 ")],
                         ids=["for a moment", "for long"])
def test_descriptors_in_flight(release, tmp_path, seconds, verdict):
    """The kernel counts those that are on their way through sockets, of all processes of a user
    together. (root may have any.)"""
    need_root()
    other = {"user": 54321, "group": 54321, "extra_groups": []}
    os.chmod(tmp_path, 0o777)
    with everybodys(release) as program, \
            subprocess.Popen([PYTHON, "-c", IN_FLIGHT], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, **other) as holder:
        try:
            assert holder.stdout.readline() == b"there they are\n"
            argv = [program, "--config=/dev/null", "--strategy=exec", "--command=true",
                    "--timeout=4"]
            with Session(argv, tmp_path, **other) as session:
                session.begin("EHLO")
                session.expect((b"MAIL FROM:<a@example.org>", b"250 "),
                               (b"RCPT TO:<b@example.com>", b"250 "), (b"DATA", b"354 "))
                if seconds:
                    threading.Timer(seconds, holder.stdin.close).start()
                session.say(b"x\r\n.\r\n")
                assert session.reply().startswith(verdict)
                assert session.end() == 0
        finally:
            holder.kill()
