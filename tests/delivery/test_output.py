# SPDX-License-Identifier: MIT
"""The output, where print shows messages, and the log beside it: whole, one after the other,
whoever else writes there, and whoever does not read."""

import concurrent.futures
import fcntl
import os
import pty
import re
import select
import shutil
import socket
import struct
import tempfile
import threading
import time
import tty

import pytest
from acceptor import NOBODY, Acceptor, Client, copy_of
from conftest import need, need_root, private_mounts
from session import (
    BEGIN, END, PATIENCE, Session, command, environment, printed, stop, tcp_pair, wait_until)

SMALL = b"Subject: small\r\n\r\nsmall\r\n"
ACCEPTED = b"250 2.0.0 printed"
WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def large(n, mark=b"x"):
    """About n octets, every line with its mark."""
    line = mark + b" " + b"0123456789" * 7 + b"\r\n"
    return b"Subject: " + mark + b"\r\n\r\n" + line * (n // len(line))


def without_messages(said):
    return re.sub(re.escape(BEGIN) + b".*?" + re.escape(END), b"", said, flags=re.DOTALL)


def as_printed(message):
    """By a session of ours, without X-Peer."""
    return message.replace(b"\r\n", b"\n")


# --- half a message is no message ----------------------------------------------------------------

HOW_OPEN = {"append": os.O_APPEND, "offset": 0}


def fill(argv, folder, how, before=b"here before\n"):
    """A message that fits, one that does not, and one that does again, into a file that is ours and
    the log's: what is in it then."""
    path = folder / "shown"
    path.write_bytes(before)
    with open(os.open(path, os.O_WRONLY | HOW_OPEN[how]), "wb", 0) as err:
        err.seek(0, os.SEEK_END)
        with Session(argv, folder, err=err) as session:
            session.begin("EHLO")
            assert session.send_message(large(20_000, b"first")) == ACCEPTED
            verdict = session.send_message(large(20_000, b"second"))
            assert verdict.startswith(b"451 4.3.0 cannot print: standard error: ")
            assert session.send_message(SMALL) == ACCEPTED
            assert session.end() == 0
    return path.read_bytes()


def check_filled(said):
    assert said.startswith(b"here before\n" + BEGIN)
    assert printed(said) == [as_printed(large(20_000, b"first")), as_printed(SMALL)]
    assert said.count(BEGIN) == said.count(END) == 2
    assert b"\nsecond" not in said and b"\0" not in said
    log = without_messages(said[len(b"here before\n"):])
    assert re.fullmatch(rb"(?:smtpd: [^\n]+\n)+", log), log


@pytest.mark.parametrize("how", HOW_OPEN)
def test_largest_file(smtpd, tmp_path, how):
    """RLIMIT_FSIZE: as much of the second message as goes is written, and cut off again."""
    argv = [need("prlimit"), "--fsize=30000", *command(smtpd, "--x-peer=no")]
    check_filled(fill(argv, tmp_path, how))


SMALL_DISK = """
mount -t tmpfs -o size=32k none "$1" && echo "here before" >"$1/shown" && shift && exec "$@"
"""
# Runs the rest with its standard error in that file, and copies the file to where it is seen.
INTO_FILE = 'file=$1; to=$2; shift 2; "$@" 2>>"$file"; status=$?; cat "$file" >"$to"; exit $status'


def test_full_disk_under_the_output(smtpd, tmp_path):
    (tmp_path / "disk").mkdir()
    argv = [*private_mounts(), "sh", "-c", SMALL_DISK, "sh", tmp_path / "disk",
            "sh", "-c", INTO_FILE, "sh", tmp_path / "disk/shown", tmp_path / "shown",
            *command(smtpd, "--x-peer=no")]
    with Session(argv, tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(large(20_000, b"first")) == ACCEPTED
        verdict = session.send_message(large(20_000, b"second"))
        assert verdict == b"451 4.3.0 cannot print: standard error: No space left on device"
        assert session.send_message(SMALL) == ACCEPTED
        assert session.end() == 0
    check_filled((tmp_path / "shown").read_bytes())


def test_file_is_cut_only_where_the_message_is_its_end(smtpd, tmp_path):
    """Written over something: that stays as long as it is."""
    path = tmp_path / "shown"
    path.write_bytes(b"." * 40_000)
    with open(path, "r+b", 0) as err:
        argv = [need("prlimit"), "--fsize=10000", *command(smtpd)]
        with Session(argv, tmp_path, err=err) as session:
            session.begin("EHLO")
            assert session.send_message(large(20_000)).startswith(b"451 4.3.0 cannot print: ")
            session.ours.close()
            stop(session.process)
    assert os.path.getsize(path) == 40_000


# --- no two writers mix --------------------------------------------------------------------------


def messages_of(n, size):
    return {b"client-%02d" % i: large(size, b"client-%02d" % i) for i in range(n)}


class Reader(threading.Thread):
    """Reads a pipe to its end, a little at a time."""

    def __init__(self, fd):
        super().__init__()
        self.fd, self.said = fd, b""
        self.start()

    def run(self):
        with open(self.fd, "rb", 0) as file:
            while chunk := file.read(3000):
                self.said += chunk


def check_whole(said, expected):
    """Where messages are shown slowly, a log line waits for a tenth of a second and is written
    between their lines, or in one."""
    messages = re.sub(rb"smtpd: [^\n]+\n", b"", said)
    assert sorted(printed(messages)) == sorted(as_printed(message) for message in expected)
    assert without_messages(messages) == b""


def send_all(connect, messages):
    def send(message):
        with connect() as client:
            client.deadline += 2 * PATIENCE
            client.begin("EHLO")
            verdict = client.send_message(message)
            client.expect((b"QUIT", b"221 "))
            client.read_to_end()
            return verdict

    with concurrent.futures.ThreadPoolExecutor(len(messages)) as pool:
        return list(pool.map(send, messages))


def address_in(said):
    return re.search(rb"listening address=(\S+)", said)


@pytest.mark.parametrize("is_one", [False, True], ids=["apart", "log-too"])
def test_many_clients_of_an_acceptor(smtpd, tmp_path, is_one):
    """Into one pipe, which has room for a part of a message only; the log is there too, or not."""
    messages = list(messages_of(24, 20_000).values())
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    thread = Reader(reader)
    with open(writer, "wb") as shown:
        options = {"err": shown} if is_one else {}
        with Acceptor(smtpd, tmp_path, "--x-peer=no", "--max-connections-per-source=50",
                      wait=False, stdout=shown, **options) as acceptor:
            shown.close()
            wait_until(lambda: address_in(thread.said if is_one else acceptor.err()), "its address")
            address = address_in(thread.said if is_one else acceptor.err())[1].decode()
            assert send_all(lambda: Client(address), messages) == [ACCEPTED] * 24
    thread.join()
    check_whole(thread.said, messages)


@pytest.mark.parametrize("place", ["pipe", "file", "append", "socket"])
def test_sessions_that_share_standard_error(smtpd, tmp_path, place):
    """As under tcpserver: messages and log lines of each."""
    messages = list(messages_of(12, 60_000).values())
    path = tmp_path / "shown"
    thread = None
    if place == "pipe":
        reader, writer = os.pipe()
        thread = Reader(reader)
    elif place == "socket":
        ours, theirs = tcp_pair()
        ours.setblocking(True)
        thread = Reader(ours.detach())
        writer = theirs.detach()
    else:
        writer = os.open(path, os.O_CREAT | os.O_WRONLY | (os.O_APPEND if place == "append" else 0))
    with open(writer, "wb") as shown:
        argv = command(smtpd, "--x-peer=no")
        assert send_all(lambda: Session(argv, tmp_path, err=shown), messages) == [ACCEPTED] * 12
    if thread:
        thread.join()
    check_whole(thread.said if thread else path.read_bytes(), messages)


def test_somebody_else_has_the_lock(smtpd, tmp_path):
    """A message waits as long as for a reader. Log lines wait a tenth of a second, each."""
    with open(tmp_path / "shown", "wb", 0) as shown:
        fcntl.fcntl(shown, fcntl.F_SETLK, WHOLE_FILE)
        with Session(command(smtpd, "--timeout=1"), tmp_path, err=shown) as session:
            then = time.monotonic()
            session.begin("EHLO")
            verdict = session.send_message(SMALL)
            assert verdict == b"451 4.3.0 cannot print: standard error: Device or resource busy"
            assert 0.9 < time.monotonic() - then < 5
            fcntl.fcntl(shown, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_UNLCK, 0, 0, 0, 0))
            assert session.send_message(SMALL) == ACCEPTED
            fcntl.fcntl(shown, fcntl.F_SETLK, WHOLE_FILE)
            then = time.monotonic()
            assert session.end() == 0
            assert 0.1 < time.monotonic() - then < 2
    log = (tmp_path / "shown").read_bytes()
    assert log.count(BEGIN) == 1 and re.search(rb"^smtpd: session ", log, re.M)


def test_acceptor_does_not_wait_for_a_lock(smtpd, tmp_path):
    """Clients would wait with it. It has forty lines to say here."""
    with open(tmp_path / "log", "wb", 0) as log:
        fcntl.fcntl(log, fcntl.F_SETLK, WHOLE_FILE)
        sockets = ",".join(str(tmp_path / f"{i}") for i in range(40))
        then = time.monotonic()
        with Acceptor(smtpd, tmp_path, listen=sockets, wait=False, err=log):
            wait_until(lambda: (tmp_path / "log").read_bytes().count(b"listening ") == 40, "it")
            assert time.monotonic() - then < 3


def test_nobody_locks_the_null_device(release, tmp_path):
    """All the world writes there: a lock would hold up strangers."""
    with open("/dev/null", "wb", 0) as null:
        fcntl.fcntl(null, fcntl.F_SETLK, WHOLE_FILE)
        with Session(command(release, "--timeout=1"), tmp_path, err=null) as session:
            then = time.monotonic()
            session.begin("EHLO")
            assert session.send_message(SMALL) == ACCEPTED
            assert session.end() == 0 and time.monotonic() - then < 1


# --- nobody reads --------------------------------------------------------------------------------


def copy_for_all(smtpd):
    """Of the program, for a user to whom the checkout is closed; in a folder of its own."""
    folder = tempfile.mkdtemp(prefix="smtpd-output.")
    os.chmod(folder, 0o755)
    return copy_of(smtpd, folder)



def end_in_time(sessions):
    def is_over():
        return all(session.process.poll() is not None for session in sessions)

    wait_until(is_over, "their ends", 2 * PATIENCE)
    assert {s.process.returncode for s in sessions} == {0}


def test_many_sessions_on_a_full_pipe(release, tmp_path):
    """A little is read now and then: all are told that there is room, and one has it. Each gives up
    at its deadline, and none hangs."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    is_over = threading.Event()

    def read_a_little():
        while not is_over.wait(0.1):
            if select.select([reader], [], [], 0)[0]:
                os.read(reader, 4096)

    thread = threading.Thread(target=read_a_little)
    thread.start()
    sessions = []
    try:
        with open(writer, "wb") as err:
            for _ in range(30):
                sessions.append(Session(command(release, "--timeout=1"), tmp_path, err=err))
        for session in sessions:
            session.ours.setblocking(True)
            session.ours.sendall(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
        for session in sessions:
            session.ours.sendall(large(20_000) + b".\r\nQUIT\r\n")
        time.sleep(2)
        is_over.set()  # and now nothing at all
        thread.join()
        end_in_time(sessions)
    finally:
        is_over.set()
        thread.join()
        for session in sessions:
            session.__exit__()
        os.close(reader)


SLOW_POLL = ["-qq", "-o", "/dev/null", "-e", "trace=poll,pwritev2",
             "-e", "inject=poll:delay_exit=300000"]
OLD_KERNEL = ["-e", "inject=pwritev2:error=EOPNOTSUPP"]


@pytest.mark.parametrize("whose, kernel", [("ours", []), ("root's", []), ("ours", OLD_KERNEL)],
                         ids=["ours", "root's", "old-kernel"])
def test_many_sessions_log_to_a_full_pipe(release, tmp_path, whose, kernel):
    """Without the lock, which somebody keeps. All are told at once that there is room, which is
    enough for some of their lines. The pipe may be of a user whose files they cannot open: there
    the kernel has to help."""
    if whose != "ours":
        need_root()
        release = copy_for_all(release)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    fcntl.fcntl(writer, fcntl.F_SETLK, WHOLE_FILE)
    os.write(writer, b"x" * 4096)
    user = {} if whose == "ours" else NOBODY
    sessions = []
    try:
        for _ in range(20):
            argv = [need("strace"), *SLOW_POLL, *kernel, *command(release)]
            sessions.append(Session(argv, tmp_path, err=writer, cwd="/", **user))
        for session in sessions:
            session.expect((None, b"220 "), (b"EHLO " + b"long." * 45 + b"example", b"250-"))
        for session in sessions:
            session.ours.shutdown(socket.SHUT_WR)
        time.sleep(1)
        os.read(reader, 4096)
        end_in_time(sessions)
    finally:
        os.close(reader)
        os.close(writer)
        for session in sessions:
            session.__exit__()
        if whose != "ours":
            shutil.rmtree(os.path.dirname(release))


# --- what a terminal is told ---------------------------------------------------------------------

EVIL = (b"Subject: \033[2J\r\n\r\na\x1b]0;title\x07 \xc2\x9b31m \x9b31m \xe2\x80\xaeevil\x7f"
        b" gr\xc3\xbc\xc3\x9f\ttab\r\n")
SHOWN = (b"Subject: ^[[2J\n\na^[]0;title^G <U+009b>31m <9b>31m <U+202e>evil^?"
         b" gr\xc3\xbc\xc3\x9f\ttab\n")


def test_terminal_obeys_nobody(smtpd, tmp_path):
    """Control characters are shown, in messages and in the log. In a file they are as they came."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    try:
        with open(slave, "wb", 0, closefd=False) as err:
            with Session(command(smtpd, "--x-peer=no"), tmp_path, err=err) as session:
                session.expect((None, b"220 "), (b"EHLO c", b"250-"))
                session.ask(b"MAIL FROM:<\033[31m@example.org>")
                session.ask(b"RSET")
                assert session.send_message(EVIL) == ACCEPTED
                assert session.end() == 0
        said = b""
        while select.select([master], [], [], 0.2)[0]:
            said += os.read(master, 65536)
    finally:
        os.close(slave)
        os.close(master)
    assert printed(said) == [SHOWN]
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", said)


def test_file_has_what_came(smtpd, tmp_path):
    with Session(command(smtpd, "--x-peer=no"), tmp_path, env=environment(TERM="xterm")) as session:
        session.begin("EHLO")
        assert session.send_message(EVIL) == ACCEPTED
        assert session.end() == 0
        assert session.messages() == [as_printed(EVIL)]
