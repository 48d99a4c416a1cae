# SPDX-License-Identifier: MIT
"""A small world: /dev, /etc, /run, /srv, /usr/local, /usr/sbin, /var/log and a loopback of one's
own, in private name spaces of mounts and of the network, so that servers run with the very lines of
their manuals: on port 25, as user nobody, logging to /dev/log. Nothing of it is seen outside, and
it ends with the context."""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading
import time

from conftest import missing, need, need_root
from session import PATIENCE, stop

# Lives as long as its standard input. $1: a folder; other arguments: programs that go to /usr/sbin.
HOLDER = """set -e
world=$1
shift
mount -t tmpfs -o mode=755 none "$world"
mkdir "$world/etc" "$world/dev" "$world/sbin"
[ ! -e /etc/ld.so.cache ] || cp /etc/ld.so.cache "$world/etc"
mkdir "$world/etc/smtpd"
cp "$@" "$world/sbin"
cd "$world/etc"
printf '%s\\n' root:x:0:0:root:/:/bin/sh mail:x:8:8:mail:/:/bin/sh nobody:x:65534:65534:nobody:/:/bin/sh >passwd
printf '%s\\n' root:x:0: mail:x:8: nogroup:x:65534: >group
printf '%s\\n' 'tcp 6 TCP' 'udp 17 UDP' >protocols
echo 'smtp 25/tcp' >services
printf '%s\\n' '127.0.0.1 localhost' '::1 localhost' >hosts
echo 'hosts: files' >nsswitch.conf
for device in null zero full random urandom log; do touch "$world/dev/$device"; done
for device in null zero full random urandom; do mount --bind "/dev/$device" "$world/dev/$device"; done
mount --bind "$world.log" "$world/dev/log"
mount --rbind "$world/dev" /dev
mount --bind "$world/sbin" /usr/sbin
for folder in /run /usr/local /var/log; do mount -t tmpfs -o mode=755 none "$folder"; done
mount -t tmpfs -o mode=1777 none /srv
mount --bind "$world/etc" /etc
cd /
echo ready
exec cat
"""

OURS = ("/etc/", "/run/", "/srv/", "/usr/local/", "/usr/sbin/", "/var/log/")
CLONE_NEWNET, SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x40000000, 0x8913, 0x8914, 1


class World:
    """A context manager. `programs` are copied to /usr/sbin there."""

    def __init__(self, folder, *programs):
        self.folder = os.path.join(folder, "world")
        self.programs = list(map(str, programs))
        self.listener = None
        self.logged, self.news = [], threading.Condition()

    def __enter__(self):
        need_root()
        os.mkdir(self.folder)
        self.log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.log.bind(self.folder + ".log")
        os.chmod(self.folder + ".log", 0o666)
        unshare = [need("unshare"), "--mount", "--net", "--propagation", "private"]
        self.holder = subprocess.Popen(
            [*unshare, "sh", "-c", HOLDER, "sh", self.folder, *self.programs],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = self.holder.stdout.readline()
        if said != b"ready\n":
            self.__exit__()
            missing(f"no private name spaces to be had: {said!r}")
        self.raise_loopback()
        self.listener = threading.Thread(target=self.listen)
        self.listener.start()
        return self

    def __exit__(self, *_):
        self.holder.stdin.close()
        self.holder.stdout.close()
        stop(self.holder)
        self.log.shutdown(socket.SHUT_RDWR)
        if self.listener:
            self.listener.join()
        self.log.close()

    def inside(self, *argv):
        """The command line of a program that runs there. It is the same process."""
        return [need("nsenter"), f"--target={self.holder.pid}", "--mount", "--net", "--wd=/", "--",
                *map(str, argv)]

    def path(self, path):
        """One there, as seen from here."""
        return f"/proc/{self.holder.pid}/root{path}"

    def write(self, path, text, mode=0o644, owner=0):
        assert path.startswith(OURS), "that is not ours alone"
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        with open(self.path(path), "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(self.path(path), mode)
        os.chown(self.path(path), owner, owner)

    def read(self, path):
        with open(self.path(path), "rb") as file:
            return file.read()

    def in_network(self, function):
        """What the function returns, called by a thread that is in that network: sockets stay where
        they are made."""
        outcome = []

        def call():
            with open(f"/proc/{self.holder.pid}/ns/net", "rb") as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(namespace.fileno(), CLONE_NEWNET) < 0:
                    outcome.append(OSError(ctypes.get_errno(), "setns"))
                    return
            try:
                outcome.append(function())
            except OSError as error:
                outcome.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        if isinstance(outcome[0], OSError):
            raise outcome[0]
        return outcome[0]

    def raise_loopback(self):
        def ifup():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                flags = struct.unpack("16xh22x",
                                      fcntl.ioctl(any_socket, SIOCGIFFLAGS,
                                                  struct.pack("16s24x", b"lo")))[0]
                fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))

        self.in_network(ifup)

    def connect(self, address, port):
        """A connected socket; OSError where nobody listens."""
        return self.in_network(lambda: socket.create_connection((address, port), PATIENCE))

    def listen(self):
        """What nobody reads holds up those who log: only some ten datagrams wait."""
        while datagram := self.log.recv(1 << 16):
            with self.news:
                self.logged.append(datagram)
                self.news.notify_all()

    def syslog(self, until=None):
        """The datagrams that came to /dev/log so far; waits until one contains `until`."""
        mark = b"mark %d" % time.monotonic_ns()  # behind all that was sent before
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as us:
            us.sendto(mark, self.folder + ".log")
        with self.news:
            found = self.news.wait_for(
                lambda: mark in self.logged
                and (until is None or any(until in line for line in self.logged)), PATIENCE)
            assert found, f"{until!r} is not in {self.logged}"
            return [line for line in self.logged if not line.startswith(b"mark ")]
