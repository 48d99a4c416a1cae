# SPDX-License-Identifier: MIT
"""A stand-in for smtpd-tls: the command line and the contract of the real one, without any TLS.
What it does is up to files beside it, which a test writes; what it was started with is in
others."""

import array
import ctypes
import json
import os
import shutil
import socket
from pathlib import Path

from acceptor import Acceptor
from processes import is_running, running_children, stat_of
from session import PYTHON, wait_until

SCRIPT = """#!%s
import json, os, pwd, signal, socket, sys, time
folder = os.path.dirname(os.path.realpath(sys.argv[0]))
def note(what, **more):
    with open(f"{folder}/notes", "a") as file:
        file.write(json.dumps({"what": what, "pid": os.getpid(), **more}) + "\\n")
def said(name):
    try:
        with open(f"{folder}/{name}") as file:
            return file.read()
    except FileNotFoundError:
        return ""
note("start", argv=sys.argv, uid=os.getuid(), environment=dict(os.environ), cwd=os.getcwd(), group=os.getpgid(0),
     fds=sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")),
     blocked=sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
if "--check" in sys.argv:
    print(said("findings"), end="")
    sys.exit(int(said("status") or 0))
if said("refuse"):
    print(said("refuse"), file=sys.stderr)
    sys.exit(78)
if said("hang"):
    time.sleep(60)
user = [word.split("=")[1] for word in sys.argv if word.startswith("--user=")]
if user and os.getuid() == 0 and user[-1] not in ("0", "root"):
    os.setgid(65534)
    os.setuid(pwd.getpwnam(user[-1]).pw_uid)
requests = socket.socket(fileno=0)
os.write(3, b"ready\\n")
os.close(3)
while True:
    octets, fds, flags, _ = socket.recv_fds(requests, 2048, 3)
    if not octets:
        break
    note("request", octets=octets.decode(errors="replace"), n=len(fds), uid=os.getuid())
    if said("die"):
        os.kill(os.getpid(), signal.SIGSEGV)
    os.write(fds[1], b"SSL_PROTOCOL=%%d\\0\\0" %% os.getpid())
    for fd in fds:
        os.close(fd)
"""


def install(smtpd, folder):
    """A copy of the program with the stand-in beside it."""
    program = shutil.copy(smtpd, Path(folder) / "smtpd")
    stand = Path(folder) / "smtpd-tls"
    stand.write_text(SCRIPT % PYTHON)
    stand.chmod(0o755)
    notes = Path(folder) / "notes"
    notes.touch()
    notes.chmod(0o666)
    return str(program)


def notes(folder, what):
    """All that it has noted of this kind."""
    found = [json.loads(line) for line in (Path(folder) / "notes").read_text().splitlines()]
    return [note for note in found if note["what"] == what]


class Door(Acceptor):
    """An acceptor with a certificate, which the stand-in does not read."""

    def __init__(self, program, folder, *options, certificate="self-signed", **given):
        self.folder = folder
        super().__init__(program, folder, f"--tls-certificate={certificate}", *options, **given)

    def keepers(self):
        """Children with an engine for a child."""
        return [pid for pid in running_children(self.pid) if is_keeper(pid)]

    def sessions(self):
        return [pid for pid in running_children(self.pid) if not is_keeper(pid)]

    @property
    def engine(self):
        """Of the last start."""
        return notes(self.folder, "start")[-1]["pid"]


def is_keeper(pid):
    """It is in a process group of its own; sessions are in the acceptor's."""
    status = stat_of(pid)
    return status is not None and status.group == pid


def wait_for_end(pid):
    wait_until(lambda: not is_running(pid), f"the end of process {pid}")


def descriptor_of(pid, fd):
    """A copy of a process's descriptor: pidfd_getfd(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    of = os.pidfd_open(pid)
    try:
        copy = libc.syscall(438, of, fd, 0)
        assert copy >= 0, os.strerror(ctypes.get_errno())
        return copy
    finally:
        os.close(of)


def variables_of(pid):
    octets = Path(f"/proc/{pid}/environ").read_bytes()
    return dict(word.split("=", 1) for word in octets.decode().split("\0") if "=" in word)


def request_socket(pid):
    """That of a session."""
    return socket.socket(fileno=descriptor_of(pid, int(variables_of(pid)["SMTPD_TLS_FD"])))


def send_request(sock, patience=20):
    """Asks for TLS, as a session does: our end of the control socket."""
    ours, control = socket.socketpair()
    wire, clear = socket.socketpair()
    rights = array.array("i", [wire.fileno(), control.fileno(), clear.fileno()])
    sock.sendmsg([b"Y\0HOSTNAME=mx.example.com\0"],
                 [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    for end in (control, wire, clear):
        end.close()
    ours.settimeout(patience)
    return ours


def answer(control):
    """What comes until the engine closes it."""
    with control:
        said = b""
        while chunk := control.recv(4096):
            said += chunk
        return said


def ask(sock):
    return answer(send_request(sock))
