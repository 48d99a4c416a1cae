# SPDX-License-Identifier: MIT
"""Exim, unpacked: it cannot be installed beside Postfix. It needs root. It sends, or listens."""

import contextlib
import subprocess
from pathlib import Path

from conftest import let_everybody_reach, need, need_root, private_mounts
from servers import tcpserver
from session import PATIENCE, environment
from unpack import unpack

CONF = """\
exim_path = {program}
exim_user = mail
exim_group = mail
never_users =
spool_directory = {folder}/spool
log_file_path = {folder}/log.%s
pid_file_path = {folder}/pid
keep_environment = LD_LIBRARY_PATH
primary_hostname = exim.example
"""
SENDING = """\
trusted_users = root
begin acl
begin routers
out:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = out
begin transports
out:
  driver = smtp
  port = {port}
  allow_localhost
"""


class Exim:
    """With a configuration of its own, which begins as CONF does."""

    def __init__(self, folder):
        need_root()
        self.folder = Path(folder)
        self.program, self.env = unpack(self.folder / "packages", "exim4-daemon-light",
                                        "usr/sbin/exim4")
        (self.folder / "spool").mkdir()
        let_everybody_reach(self.folder)
        subprocess.run(["chown", "mail:mail", self.folder, self.folder / "spool"], check=True)
        for name, line in (("passwd", "Debian-exim:x:8:8::/nonexistent:/usr/sbin/nologin\n"),
                           ("group", "Debian-exim:x:8:\n")):
            (self.folder / name).write_text(Path("/etc", name).read_text() + line)

    def configure(self, text):
        (self.folder / "conf").write_text(CONF.format(program=self.program, folder=self.folder)
                                          + text)

    def argv(self, *arguments):
        """It insists on the user that its package makes: it gets one, in an /etc/passwd of its
        own."""
        mounts = " && ".join(f"mount --bind {self.folder}/{name} /etc/{name}"
                             for name in ("passwd", "group"))
        return [*private_mounts(), "sh", "-c", f'{mounts} && exec "$@"', "sh", self.program, "-C",
                str(self.folder / "conf"), *arguments]

    def send(self, port, options, message, *recipients, sender="a@example.org"):
        """To that port of 127.0.0.1, with more options of its transport. Returns what the log says
        of it."""
        self.configure(SENDING.format(port=port)
                       + "".join(f"  {option}\n" for option in options))
        before = self.log()
        subprocess.run(self.argv("-odi", "-oi", "-f", sender, *recipients), input=message,
                       env=environment(**self.env), check=True, timeout=PATIENCE)
        return self.log().removeprefix(before)

    def log(self):
        return "".join(path.read_text() for path in self.folder.glob("log.*"))


EXIM_CONF = """\
tls_advertise_hosts =
smtputf8_advertise_hosts =
queue_only
acl_smtp_rcpt = rcpt
acl_smtp_data = data
begin acl
rcpt:
  deny local_parts = nobody
       message = no such user here
  defer local_parts = later
       message = come again
  accept
data:
  deny condition = ${if match{$h_Subject:}{refused}}
       message = I do not like it
  accept
begin routers
begin transports
"""


@contextlib.contextmanager
def exim_at(private, conf):
    """A server with this configuration (see exim.CONF for its beginning): its endpoint."""
    need("tcpserver")
    private.mkdir()
    it = Exim(private)
    it.configure(conf)
    with tcpserver(private, *it.argv("-bs"), env=environment(**it.env)) as port:
        yield f"127.0.0.1:{port}"
