# SPDX-License-Identifier: MIT
"""A Postfix of our own: its configuration, queue and log are in a folder, and it listens at a port
of 127.0.0.1. It needs root."""

import os
import subprocess

from conftest import need, need_root
from session import PATIENCE, free_port, wait_until

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = postfix.example
mydestination =
inet_interfaces = 127.0.0.1
mynetworks = 127.0.0.0/8
alias_maps =
"""

# All but what takes mail, and what notices of failures go to.
MASTER_CF = """\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 {bounce}
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
MAILBOX_USER = 65534
MAILBOX = f"""\
virtual_mailbox_domains = example.com
virtual_mailbox_base = {{folder}}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{MAILBOX_USER}
virtual_gid_maps = static:{MAILBOX_USER}
virtual_minimum_uid = 1
"""


class Postfix:
    """A context manager. `settings` are more lines of main.cf, in which {folder} is ours; `service`
    is the one of master.cf that takes mail, in which 10025 stands for the port."""

    def __init__(self, folder, settings, service="127.0.0.1:10025 inet n - n - - smtpd\n",
                 bounce="bounce"):
        need_root()
        self.program, self.folder, self.port = need("postfix"), folder, free_port()
        for name in ("config", "queue", "data", "mail"):
            (folder / name).mkdir(parents=True)
        folder.chmod(0o755)
        subprocess.run(["chown", "postfix", folder / "data"], check=True)
        os.chown(folder / "mail", MAILBOX_USER, MAILBOX_USER)
        (folder / "config/main.cf").write_text((MAIN_CF + settings).replace("{folder}",
                                                                            str(folder)))
        (folder / "config/master.cf").write_text(service.replace("10025", str(self.port))
                                                 + MASTER_CF.format(bounce=bounce))
        self.endpoint = f"127.0.0.1:{self.port}"

    def __enter__(self):
        self.run("start")
        return self

    def __exit__(self, *_):
        self.run("stop")

    def run(self, what):
        argv = [self.program, "-c", str(self.folder / "config"), what]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=6 * PATIENCE, check=False)
        assert done.returncode == 0, done.stdout + done.stderr + self.log()

    def log(self):
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def mailbox(self):
        """What is in it, the oldest first."""
        return sorted((self.folder / "mail/all/new").glob("*"),
                      key=lambda path: path.stat().st_mtime_ns)


SETTINGS = MAILBOX + """\
inet_protocols = all
local_header_rewrite_clients =
smtpd_recipient_restrictions = check_recipient_access inline:{nobody@example.com=REJECT, later@example.com=DEFER}, permit
default_transport = error:nothing leaves this host
relay_transport = error:nothing leaves this host
message_size_limit = 2000000
"""


def take(postfix):
    """The next message that comes into the mailbox."""
    path = wait_until(postfix.mailbox, "delivery")[0]
    text = path.read_bytes()
    path.unlink()
    return text
