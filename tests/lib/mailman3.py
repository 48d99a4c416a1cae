# SPDX-License-Identifier: MIT
"""A real GNU Mailman 3 of a test's own: Debian's package `mailman3`, with its configuration,
SQLite, queues and archives in a temporary folder, its ports on 127.0.0.1, and a sink
(tests/lib/upstream.py) for what it sends. The LMTP runner is a process beside the others, so that a
test can stop it and start it again. Lists and members are made and asked for by REST."""

import base64
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from conftest import missing
from session import free_port
from upstream import Upstream

BIN = Path("/usr/lib/mailman3/bin")
PATIENCE = 60  # seconds: a dozen Python programs on a busy machine
DOMAIN = "example.com"
# as messages go through them
QUEUES = ("in", "command", "bounces", "virgin", "pipeline", "archive", "out")
NOT_STARTED = ("digest", "lmtp", "nntp", "retry", "task")

CONFIGURATION = """\
[mailman]
site_owner: postmaster@{domain}
layout: own
[paths.own]
var_dir: {folder}/var
queue_dir: $var_dir/queue
bin_dir: {bin}
list_data_dir: $var_dir/lists
log_dir: $var_dir/log
lock_dir: $var_dir/locks
data_dir: $var_dir/data
cache_dir: $var_dir/cache
etc_dir: $var_dir/etc
ext_dir: $var_dir/ext
messages_dir: $var_dir/messages
archive_dir: $var_dir/archives
template_dir: $var_dir/templates
pid_file: $var_dir/master.pid
lock_file: $lock_dir/master.lck
[database]
class: mailman.database.sqlite.SQLiteDatabase
url: sqlite:///{folder}/var/mailman.db
[webservice]
hostname: 127.0.0.1
port: {rest}
admin_user: tests
admin_pass: {password}
workers: 1
[mta]
incoming: mailman.mta.postfix.LMTP
outgoing: mailman.mta.deliver.deliver
smtp_host: 127.0.0.1
smtp_port: {sink}
max_sessions_per_connection: 1
lmtp_host: 127.0.0.1
lmtp_port: {lmtp}
configuration: {folder}/postfix.cfg
[archiver.prototype]
enable: yes
"""
# The maps for Postfix are written at each change of a list; regular expressions need no postmap.
POSTFIX = "[postfix]\ntransport_file_type: regex\npostmap_command: true\n"


class Mailman:
    def __init__(self):
        if not (BIN / "master").exists():
            missing("mailman3 is not installed")
        self.sink = Upstream()
        self.lmtp_port, self.rest_port = free_port(), free_port()
        self.endpoint = f"127.0.0.1:{self.lmtp_port}"
        self.password = secrets.token_hex(8)
        self.processes = {}

    # --- its processes
    # ---------------------------------------------------------------------------------------------

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="mailman3.")
        try:
            self.sink.__enter__()
            self.write_configuration()
            # it makes folders and database; two at once would be in each other's way
            self.start_lmtp()
            self.start("master", "master")
            self.wait_for_port(self.rest_port)
            self.rest("POST", "domains", mail_host=DOMAIN)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in list(self.processes):
            self.stop(name)
        self.sink.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    def write_configuration(self):
        os.chmod(self.folder, 0o755)
        (Path(self.folder) / "var").mkdir()
        runners = "".join(f"[runner.{q}]\nsleep_time: 0.1s\n" for q in QUEUES)
        runners += "".join(f"[runner.{name}]\nstart: no\n" for name in NOT_STARTED)
        text = CONFIGURATION.format(
            domain=DOMAIN, folder=self.folder, bin=BIN, rest=self.rest_port, password=self.password,
            sink=self.sink.port,
            lmtp=self.lmtp_port,
        )
        (Path(self.folder) / "mailman.cfg").write_text(text + runners)
        (Path(self.folder) / "postfix.cfg").write_text(POSTFIX)
        if os.geteuid() == 0:
            for path in (Path(self.folder), *Path(self.folder).iterdir()):
                shutil.chown(path, "list", "list")

    def start(self, name, program, *arguments):
        """As the package's user, since Mailman refuses root; and not without us."""
        user = ["--reuid=list", "--regid=list", "--init-groups"] if os.geteuid() == 0 else []
        argv = ["setpriv", *user, "--pdeathsig=TERM", str(BIN / program), "-C",
                f"{self.folder}/mailman.cfg", *arguments]
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": self.folder, "LANG": "C.UTF-8"}
        with open(f"{self.folder}/{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                argv, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True
            )

    def stop(self, name):
        """The master stops its runners; what it should leave is in its session, and is ours."""
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()

    def stop_lmtp(self):
        self.stop("lmtp")

    def start_lmtp(self):
        self.start("lmtp", "runner", "--runner=lmtp:0:1")
        self.wait_for_port(self.lmtp_port)

    def wait_for_port(self, port):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                alive = all(p.poll() is None for p in self.processes.values())
                assert alive and time.monotonic() < end, self.logs()
                time.sleep(0.05)

    def logs(self):
        paths = [*Path(self.folder).glob("*.log"), *Path(self.folder).glob("var/log/*.log")]
        return "\n".join(f"{p.name}: {p.read_text(errors='replace')[-2000:]}" for p in paths)

    # --- what it holds
    # ---------------------------------------------------------------------------------------------

    def rest(self, method, path, **fields):
        """The answer as Python values; None where there is none, False if there is no such
        thing."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest_port}/3.1/{path}",
                                         method=method)
        credentials = base64.b64encode(f"tests:{self.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {credentials}")
        data = urllib.parse.urlencode(fields).encode() if fields else None
        try:
            with urllib.request.urlopen(request, data, PATIENCE) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            raise AssertionError(f"{method} {path}: {error.code} {error.read()!r}") from error
        return json.loads(text) if text else None

    def create(self, name, *members):
        """A list to which everybody may post."""
        self.rest("POST", "lists", fqdn_listname=f"{name}@{DOMAIN}")
        self.rest("PATCH", f"lists/{name}@{DOMAIN}/config", default_nonmember_action="accept")
        # Who first asks for its archivers makes their rows; if two ask at once, both do, and posts
        # get lost.
        self.rest("GET", f"lists/{name}@{DOMAIN}/archivers")
        for member in members:
            self.rest("POST", "members", list_id=f"{name}.{DOMAIN}", subscriber=member,
                      pre_verified="true",
                      pre_confirmed="true", pre_approved="true", send_welcome_message="false")

    def remove(self, name):
        self.rest("DELETE", f"lists/{name}@{DOMAIN}")

    def member(self, name, address):
        return self.rest("GET", f"lists/{name}@{DOMAIN}/member/{address}")

    def settle(self):
        """Until all that it accepted went through."""
        end, n_empty = time.monotonic() + PATIENCE, 0
        while n_empty < 2:
            assert time.monotonic() < end, self.logs()
            busy = any(any(Path(self.folder, "var/queue", queue).glob("*")) for queue in QUEUES)
            n_empty = 0 if busy else n_empty + 1
            time.sleep(0.02)
        assert not list(Path(self.folder, "var/queue/shunt").glob("*")), self.logs()

    def archived(self, text, name=None):
        """The archived posts (octets) with this text in them, of all lists or of one."""
        self.settle()
        pattern = f"var/archives/prototype/{name + '@' + DOMAIN if name else '*'}/new/*"
        return [octets for p in Path(self.folder).glob(pattern)
                if text in (octets := p.read_bytes())]

    def sent(self, text):
        """What it sent with this text in it: complete messages in the sink."""
        self.settle()
        with self.sink.lock:
            return [m for m in self.sink.messages if text in m.wire]
