# SPDX-License-Identifier: MIT
"""What tests of both kinds of units (tests/systemd) share: mail through them, the journal, programs
within them."""

import re
import subprocess

from conftest import ROOT, need
from upstream_tls import Account, ehlo

MESSAGE = b"Subject: greetings\r\n\r\ntext\r\n"
MESSAGE_ID = "03ee138b80854283b52b6fce238bfc85"
STORED = b"250 2.0.0 stored in the journal"


def deliver(machine, content=MESSAGE, recipient=b"bob@example.net", port=25):
    """A session with one message: the verdict."""
    with machine.client(port=port) as client:
        client.begin("EHLO")
        verdict = client.send_message(content, recipient=recipient)
        client.quit()
    return verdict


def stored(machine, recipient="bob@example.net"):
    """The entries of strategy journal for somebody."""
    return machine.entries(f"SMTPD_RCPT_TO={recipient}")


def prints(machine, units):
    """Strategy print, in the journal, which has no empty lines."""
    assert deliver(machine).startswith(b"250 ")
    log = machine.journalctl("-u", units, "-t", "smtpd", "-o", "cat").splitlines()
    at = log.index("---------- MESSAGE FOLLOWS ----------")
    assert log[at + 1 : at + 5] == ["Subject: greetings", "X-Peer: 127.0.0.1", "text",
                                    "------------ END MESSAGE ------------"]


def stores_large(machine):
    """Strategy journal, by a file without a name in a place that the sandbox lets us write to."""
    content = b"Subject: large\r\n\r\n" + b"0123456789\r\n" * 100_000
    assert deliver(machine, content) == STORED
    entry, = stored(machine)
    assert entry["SMTPD_TEXT"] == [
        content.replace(b"\r\n", b"\n").replace(b"large\n", b"large\nX-Peer: 127.0.0.1\n")]


TEXT = "From: alice@example.org\r\nSubject: greetings\r\n\r\nhow are you?\r\n"
CLIENTS = {
    "127.0.0.1": ["swaks", "--server", "127.0.0.1", "--from", "alice@example.org", "--to",
                  "bob@example.net",
                  "--ehlo", "client.example.org", "--data", "-"],
    "::1": ["curl", "--silent", "--show-error", "smtp://[::1]/client.example.org", "--mail-from",
            "alice@example.org",
            "--mail-rcpt", "bob@example.net", "--upload-file", "-"],
}
LOGIN = "strategy=proxy\nupstream=127.0.0.1:{port}\nupstream-user=relay@example.org\nupstream-password=upstream-password\n"


def password_file(machine):
    """As the drop-in names it: for root alone."""
    machine.put("/etc/smtpd/upstream-password", "open sesame\n", 0o600)
    return {"EHLO": ehlo("AUTH PLAIN"), "AUTH": Account("relay@example.org", "open sesame")}


# mail-wrapper.c of Mailman 2.1, as far as it is about who may do what: the calling group is
# compared with the one that was compiled in (2), the real group becomes the effective one (3), the
# script is executed (4).
WRAPPER = r"""
#define _GNU_SOURCE
#include <grp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv) {
	struct group *g = getgrnam("list");
	if (argc < 3)
		return 5;
	if (!g)
		return 8;
	if (getgid() != g->gr_gid)
		return 2;
	if (setregid(getegid(), -1) < 0)
		return 3;
	umask(07);
	setenv("WRAPPER_VAR", "/var/lib/mailman", 1);
	execv("/usr/lib/mailman/scripts/driver", argv);
	return 4;
}
"""


def install_mailman2(machine, tmp_path):
    (tmp_path / "wrapper.c").write_text(WRAPPER)
    subprocess.run([need("cc"), "-o", tmp_path / "wrapper", tmp_path / "wrapper.c"], check=True,
                   timeout=60)
    machine.put("/usr/lib/mailman/scripts/driver", (ROOT / "tests/mailman2-wrapper").read_text(),
                0o755)
    machine.put("/usr/lib/mailman/mail/mailman", "")
    machine.path("/usr/lib/mailman/mail/mailman").write_bytes((tmp_path / "wrapper").read_bytes())
    machine.run("sh", "-ec", """
        getent group list >/dev/null || groupadd --system list
        chgrp list /usr/lib/mailman/mail/mailman; chmod 2755 /usr/lib/mailman/mail/mailman
        umask 007; rm -rf /var/lib/mailman
        mkdir -p /var/lib/mailman/lists/friends /var/lib/mailman/qfiles/in; touch /var/lib/mailman/lists/friends/config.pck
        chgrp -R list /var/lib/mailman; find /var/lib/mailman -type d -exec chmod 2770 {} +""")


PROBE = r"""
import mmap, os, pwd, re, socket, sys, tempfile

def attempt(name, function):
    try:
        function()
        print(name, "OK", file=sys.stderr)
    except OSError as error:
        print(name, os.strerror(error.errno).replace(" ", "-"), file=sys.stderr)

for folder in ("/etc", "/usr", "/var/lib", "/run", "/boot", "/var/lib/smtpd", "/var/lib/mailman/qfiles", "/tmp", "/var/tmp"):
    attempt("write:" + folder, lambda: open(folder + "/probe", "w"))
attempt("read:/etc/shadow", lambda: open("/etc/shadow"))
attempt("list:/home", lambda: os.listdir("/home"))
attempt("read:journal", lambda: open("/run/log/journal/" + open("/etc/machine-id").read().strip() + "/system.journal"))
attempt("process:1", lambda: os.stat("/proc/1"))
for name in ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"):
    attempt(name, lambda: socket.socket(getattr(socket, name), socket.SOCK_DGRAM))
attempt("write-and-execute", lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))
with tempfile.NamedTemporaryFile() as file:
    attempt("setuid", lambda: os.chmod(file.name, 0o4755))
attempt("chroot", lambda: os.chroot("/"))
attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, 5))
status = open("/proc/self/status").read()
for name in ("NoNewPrivs", "Seccomp", "CapEff", "CapBnd"):
    print(name, re.search(name + r":\s*(\w+)", status)[1], file=sys.stderr)
for name in ("net", "user", "mnt"):
    print("namespace:" + name, os.readlink("/proc/self/ns/" + name), file=sys.stderr)
print("user", "dynamic" if 61184 <= os.getuid() <= 65519 else pwd.getpwuid(os.getuid()).pw_name, file=sys.stderr)
"""

READ_ONLY, DENIED, NOT_PERMITTED = "Read-only-file-system", "Permission-denied", "Operation-not-permitted"
NO_FILE, NO_FAMILY = "No-such-file-or-directory", "Address-family-not-supported-by-protocol"
SANDBOX = {
    "write:/etc": READ_ONLY, "write:/usr": READ_ONLY, "write:/var/lib": READ_ONLY,
    "write:/run": DENIED, "write:/boot": READ_ONLY,
    "write:/tmp": "OK", "write:/var/tmp": "OK", "read:/etc/shadow": DENIED, "list:/home": DENIED,
    "process:1": NO_FILE,
    "read:journal": "OK",  # strategy journal does that
    "AF_UNIX": "OK", "AF_INET": NO_FAMILY, "AF_INET6": NO_FAMILY, "AF_NETLINK": NO_FAMILY,
    "AF_PACKET": NO_FAMILY,
    "write-and-execute": NOT_PERMITTED, "setuid": NOT_PERMITTED, "chroot": NOT_PERMITTED,
    "nice": NOT_PERMITTED,
    "NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0000000000000000", "CapBnd": "0000000000000000",
    "user": "smtpd",
}
EXCEPT = {
    "": {},
    "exec": {"write:/var/lib/smtpd": "OK", "write-and-execute": "OK", "read:journal": DENIED},
    "proxy": {"AF_INET": "OK", "AF_INET6": "OK", "read:journal": DENIED},
    "mailman2": {"write:/var/lib/mailman/qfiles": "OK", "read:journal": DENIED},
}


def probed(machine, pattern):
    """What the program said: a dictionary."""
    log = machine.journalctl("-u", pattern, "-o", "cat")
    found = dict(re.findall(r'^program .* stderr="(\S+) (\S+)"$', log, re.M))
    if found["write-and-execute"] == DENIED:  # since systemd 257
        found["write-and-execute"] = NOT_PERMITTED
    return found


def restart_journald(machine, signal=None):
    # five restarts in ten seconds would be one too many
    machine.systemctl("reset-failed", "systemd-journald.service")
    if signal:
        gone = ("0", machine.show("systemd-journald", "MainPID"))
        machine.systemctl("kill", f"--signal={signal}", "--kill-who=main", "systemd-journald")
        machine.wait_until(lambda: machine.show("systemd-journald", "MainPID") not in gone,
                           "journald does not come back")
    else:
        machine.systemctl("restart", "systemd-journald")
