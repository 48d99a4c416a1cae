# SPDX-License-Identifier: MIT
"""A disposable machine: the real systemd as process 1, the real journald, and smtpd installed as
`meson install` does it.

It is a container of systemd-nspawn. Its root is an overlay over that of the machine it runs on, so
that the same programs are there; what is written goes to memory. It has name spaces of its own for
processes, mounts, host name, users' IPC and the network, where there is loopback only. All of it
ends with the shell that made it, and that ends with its standard input, that is with the tests,
however these end. It needs root."""

import contextlib
import ctypes
import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from conftest import BUILDS, missing, need, need_root
from journald import values
from processes import GONE, children
from session import PATIENCE, Session, environment, stop
from upstream import Upstream

CLONE_NEWNET = 0x40000000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNITS = "/etc/systemd/system"
SHIPPED = "/usr/lib/systemd/system"

# In a mount name space of its own. $1: a name for the control group; $2: the build to install.
OUTER = """
setpriv --pdeathsig KILL unshare --mount --propagation private --pid --mount-proc --fork --kill-child=KILL -- \\
	sh -c "$3" - "$1" "$2"
unshare --mount --propagation private sh -c '
	mount -t cgroup2 none /sys/fs/cgroup || exit 0
	for i in 1 2 3 4 5 6 7 8 9 10; do # what was killed may still be going
		find "/sys/fs/cgroup/$1" -depth -type d -exec rmdir {} + 2>/dev/null
		[ -d "/sys/fs/cgroup/$1" ] || exit 0
		sleep 0.1
	done' - "$1"
"""

# Also in a process name space of its own, whose first process it is: all others end with it. /run
# is a good place for the overlay: its contents are not wanted in the machine, and nspawn leaves its
# traces there.
INNER = """set -e
mount -t tmpfs -o mode=0755,size=2G none /run
mkdir /run/upper /run/scratch /run/machine
mount -t overlay -o lowerdir=/,upperdir=/run/upper,workdir=/run/scratch none /run/machine
cd /run/machine
rm -rf etc/systemd/system etc/systemd/user etc/systemd/*.conf.d var/log/journal etc/smtpd
mkdir -p etc/systemd/system etc/systemd/system-generators etc/systemd/journald.conf.d etc/tmpfiles.d
tr -d - </proc/sys/kernel/random/uuid >etc/machine-id
: >etc/fstab
echo machine.example >etc/hostname
printf '%s\\n' '127.0.0.1 localhost machine.example' '::1 localhost' >etc/hosts
printf '[Journal]\\nStorage=volatile\\n' >etc/systemd/journald.conf.d/volatile.conf
ln -sf /dev/null etc/tmpfiles.d/tmp.conf
for unit in apt-daily.timer apt-daily-upgrade.timer man-db.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \\
	systemd-tmpfiles-clean.timer systemd-firstboot.service systemd-timesyncd.service; do
	ln -sf /dev/null "etc/systemd/system/$unit"
done
for generator in lib/systemd/system-generators/*; do # what is configured outside is not wanted
	ln -sf /dev/null "etc/systemd/system-generators/${generator##*/}"
done
DESTDIR=/run/machine meson install --no-rebuild --quiet -C "$2"
systemd-sysusers --root=/run/machine /run/machine/usr/lib/sysusers.d/smtpd.conf
cd /

# A control group of our own in the unified hierarchy, which has to be where systemd looks for it.
mount -t cgroup2 none /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$1"
echo 0 >"/sys/fs/cgroup/$1/cgroup.procs"

# No systemd and no D-Bus outside are needed. bpf is for IPAddressDeny=.
SYSTEMD_NSPAWN_TMPFS_TMP=0 systemd-nspawn --quiet --register=no --keep-unit --machine=smtpd-machine --directory=/run/machine \\
	--private-network --link-journal=no --resolv-conf=off --timezone=off --console=pipe --kill-signal=SIGRTMIN+3 \\
	--capability=CAP_BPF --system-call-filter=bpf --boot systemd.unit=basic.target </dev/null &
echo started
exec cat
"""


def processes_below(pid):
    for child in children(pid):
        yield child
        yield from processes_below(child)


def is_first_of_two(pid):
    """Whether it is process 1 of a name space within one within ours."""
    with contextlib.suppress(*GONE):
        numbers = re.search(r"^NSpid:\s+(.*)$", Path(f"/proc/{pid}/status").read_text(),
                            re.M)[1].split()
        return len(numbers) >= 3 and numbers[-1] == "1"
    return False


class Machine:
    """A context manager. `leader` is its process 1, `user` who its services run as."""

    def __init__(self, folder, build=BUILDS["release"]):
        self.log_path = os.path.join(folder, "console")
        self.build = build
        self.leader = None

    # --- beginning and end ---

    def __enter__(self):
        need_root()
        need("systemd-nspawn", "setpriv", "unshare", "nsenter", "meson", "dbus-daemon")
        if not os.path.exists("/lib/systemd/systemd"):
            missing("systemd is not installed")
        with open(self.log_path, "wb") as log:
            group = f"smtpd-test.{os.getpid()}.{time.monotonic_ns()}"
            self.holder = subprocess.Popen(["sh", "-c", OUTER, "sh", group, str(self.build), INNER],
                                           stdin=subprocess.PIPE,
                                           stdout=log, stderr=log,
                                           env=environment(LC_ALL="C.UTF-8"))
        try:
            self.wait_for_boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.holder.stdin.close()
        try:
            self.holder.wait(PATIENCE)
        finally:
            stop(self.holder)

    def console(self):
        return Path(self.log_path).read_text(errors="replace")

    def wait_for_boot(self):
        """`started` in its log, then process 1 with its private socket, then all of
        basic.target."""
        deadline = time.monotonic() + 3 * PATIENCE
        while not (self.leader and os.path.exists(self.path("/run/systemd/private"))):
            if self.holder.poll() is not None:
                missing(f"no machine to be had: {self.console()[-1000:]}")
            assert time.monotonic() < deadline, self.console()
            self.leader = next(filter(is_first_of_two, processes_below(self.holder.pid)), None)
            time.sleep(0.01)
        state = self.run("systemctl", "is-system-running", "--wait", check=False,
                         timeout=3 * PATIENCE).stdout.strip()
        assert state == "running", f"{state}: {self.console()}{self.run('systemctl', '--failed').stdout}"
        self.user = int(self.run("id", "-u", "smtpd").stdout)
        self.sample = self.path("/etc/smtpd/smtpd.conf").read_text()
        self.mark()

    # --- programs and files in it ---

    def inside(self, *argv):
        """The command line of a program that runs there."""
        return [need("nsenter"), f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net",
                "--pid", "--cgroup", "--root",
                "--wd=/", "--", *map(str, argv)]

    def run(self, *argv, check=True, timeout=PATIENCE, said=""):
        done = subprocess.run(self.inside(*argv), input=said, capture_output=True, text=True,
                              errors="replace", timeout=timeout,
                              env={"PATH": PATH, "LC_ALL": "C.UTF-8"})
        assert done.returncode == 0 or not check, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def path(self, path):
        """One there, as seen from here. (Beware of links that begin with a slash.)"""
        return Path(f"/proc/{self.leader}/root{path}")

    def put(self, path, content, mode=0o644):
        """A file there, with the folders it needs."""
        there = self.path(path)
        there.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        there.write_text(content)
        there.chmod(mode)

    # --- systemd ---

    def systemctl(self, *argv, **how):
        return self.run("systemctl", "--no-pager", "--full", *argv, **how)

    def show(self, unit, name):
        return self.systemctl("show", "--value", f"--property={name}", unit).stdout.strip()

    def sessions(self, pattern="smtpd*@*"):
        """Names of the units that serve a client."""
        listing = self.systemctl("list-units", "--all", "--no-legend", "--plain", "--type=service",
                                 pattern).stdout
        return [line.split()[0] for line in listing.splitlines()]

    def wait_until(self, what, why, patience=PATIENCE):
        deadline = time.monotonic() + patience
        while not (got := what()):
            assert time.monotonic() < deadline, why
            time.sleep(0.05)
        return got

    def configure(self, text, *dropins, name=None):
        """The configuration file, and the examples of drop-ins that are used; and the port is open.
        It is that of smtpd.socket, or of smtpd-NAME.socket."""
        unit = f"smtpd-{name}" if name else "smtpd"
        self.put(f"/etc/smtpd/{name or unit}.conf", text)
        for dropin in dropins:
            example = self.path(f"{SHIPPED}/smtpd@.service.d/{dropin}.conf.example").read_text()
            self.put(f"{UNITS}/{unit}@.service.d/{dropin}.conf", example)
        if dropins:
            self.systemctl("daemon-reload")
        self.systemctl("start", f"{unit}.socket")

    def reset(self):
        """As after the installation; no session is left, and no failed unit."""
        self.systemctl("stop", "smtpd*.socket", "smtpd*@*")
        self.wait_until(lambda: not self.sessions(), "a session does not end")
        failed = self.systemctl("--failed", "--no-legend").stdout
        is_changed = any(self.path(UNITS).glob("smtpd*"))
        self.run("sh", "-c",
                 f"rm -rf /etc/smtpd {UNITS}/smtpd* {UNITS}/sockets.target.wants/smtpd*")
        self.put("/etc/smtpd/smtpd.conf", self.sample)
        if is_changed:
            self.systemctl("daemon-reload")
        self.systemctl("reset-failed")
        self.mark()
        assert failed == "", f"failed units: {failed}"

    # --- the journal ---

    def mark(self):
        """What the journal has until now is not looked at any more. (--after-cursor leaves out one
        that matches, too.)"""
        self.run("systemd-cat", "--identifier=mark", "echo", "from here on")
        self.run("journalctl", "--sync")
        last = self.run("journalctl", "--no-pager", "--lines=1", "--output=json",
                        "--identifier=mark").stdout
        self.cursor = json.loads(last)["__CURSOR"]

    def journalctl(self, *options, check=True):
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "--quiet", f"--cursor={self.cursor}", *options,
                        check=check).stdout

    def entries(self, *matches):
        """What is stored: a dictionary of lists of octets for each entry."""
        lines = self.journalctl("-o", "json", "--all", *matches, check=False).splitlines()
        return [{name: values(value) for name, value in json.loads(line).items()} for line in lines]

    # --- the network ---

    def in_network(self, function, *args, **keywords):
        """Calls it where sockets that it makes are the machine's."""
        libc, result = ctypes.CDLL(None, use_errno=True), {}

        def work():
            with open(f"/proc/{self.leader}/ns/net", "rb") as net:
                if libc.setns(net.fileno(), CLONE_NEWNET) != 0: # of this thread only
                    result["error"] = OSError(ctypes.get_errno(), "setns")
                    return
            try:
                result["value"] = function(*args, **keywords)
            except BaseException as error:
                result["error"] = error

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if "error" in result:
            raise result["error"]
        return result["value"]

    def connect(self, address="127.0.0.1", port=25, source=None):
        """A connection within it."""
        return self.in_network(socket.create_connection, (address, port), PATIENCE,
                               source and (source, 0))

    def client(self, address="127.0.0.1", port=25, source=None):
        return Client(self.connect(address, port, source))

    @contextlib.contextmanager
    def upstream(self, *scripts, **how):
        """A server (tests/lib/upstream.py) on a port, or on a socket below /run, of the machine.
        `endpoint` is as seen there."""
        root, before = str(self.path("")), tempfile.tempdir
        tempfile.tempdir = f"{root}/run"
        try:
            server = self.in_network(Upstream, *scripts, **how)
        finally:
            tempfile.tempdir = before
        if server.folder:
            os.chmod(server.folder.name, 0o755)
            os.chmod(server.endpoint, 0o666)
            server.endpoint = server.endpoint.removeprefix(root)
        with server:
            yield server


class Client(Session):
    """A conversation with whoever has the other end; no process of ours."""

    def __init__(self, sock):
        self.ours = sock
        self.deadline = time.monotonic() + PATIENCE
        self.heard = bytearray()
        sock.setblocking(False)

    def __exit__(self, *_):
        self.ours.close()

    def quit(self):
        self.expect((b"QUIT", b"221 "))
        assert self.read_to_end() == b""
