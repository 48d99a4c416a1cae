# SPDX-License-Identifier: MIT
"""Daemons that look into messages, of our own: their configuration is in a folder, they listen there or
at a port of 127.0.0.1, and ask no network.

    with Clamd(folder) as scanner:      # or Spamd(folder)
        scanner.options                 # of their clients, for examples/filter-...
        scanner.hang()                  # it answers no more"""

import os
import signal
import socket
import subprocess

from conftest import let_everybody_reach, need
from session import PATIENCE, environment, free_port, wait_until

# In two parts, so that nobody's scanner finds them here.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*" + b"GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


class Scanner:
    """The daemon leads a process group."""

    def __init__(self, folder, argv, address):
        self.folder, self.argv, self.address = folder, argv, address

    def __enter__(self):
        with open(self.folder / "daemon.log", "wb") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=environment(), start_new_session=True)
        wait_until(self.is_there, self.argv[0], 3 * PATIENCE)
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def is_there(self):
        assert self.process.poll() is None, (self.folder / "daemon.log").read_text()
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        with socket.socket(family) as sock:
            return sock.connect_ex(self.address) == 0

    def hang(self):
        os.killpg(self.process.pid, signal.SIGSTOP)


class Clamd(Scanner):
    """ClamAV, with one signature."""

    def __init__(self, folder):
        clamd, _ = need("clamd", "clamdscan")
        (folder / "db").mkdir()
        (folder / "db/test.ndb").write_text(f"Eicar:0:*:{EICAR.hex()}\n")
        (folder / "clamd.conf").write_text(
            f"Foreground yes\nDatabaseDirectory {folder}/db\nLocalSocket {folder}/socket\n"
            f"TemporaryDirectory {folder}\nMaxFileSize 2M\nAlertExceedsMax yes\n")
        self.options = f"--config-file={folder}/clamd.conf"
        super().__init__(folder, [clamd, f"--config-file={folder}/clamd.conf"], f"{folder}/socket")


class Spamd(Scanner):
    """SpamAssassin, with its own rules, and of its plug-ins the one without which nothing works."""

    def __init__(self, folder, rules=()):
        spamd, _ = need("spamd", "spamc")
        port = free_port()
        (folder / "site").mkdir()
        (folder / "site/init.pre").write_text("loadplugin Mail::SpamAssassin::Plugin::Check\n")
        let_everybody_reach(folder)
        user = ["--username=nobody"] if os.geteuid() == 0 else []
        argv = [spamd, *user, "--local", "--nouser-config", "--max-children=1", "--syslog=stderr",
                f"--siteconfigpath={folder}/site", "--cf=use_bayes 0",
                *[f"--cf={rule}" for rule in rules], f"--listen=127.0.0.1:{port}",
                f"--pidfile={folder}/pid"]
        self.options = f"15 -d 127.0.0.1 -p {port}"
        super().__init__(folder, argv, ("127.0.0.1", port))
