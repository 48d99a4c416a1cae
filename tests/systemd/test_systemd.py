# SPDX-License-Identifier: MIT
"""smtpd as it is installed, under the real systemd, with its units as they are shipped
(tests/lib/machine.py). Whatever a test does, it leaves no session and no failed unit: the fixture
looks after that."""

import contextlib
import os
import re
import socket
import subprocess
import threading

import pytest
from conftest import ROOT, missing, need
from machine import UNITS, Machine
from manual import literals, readme_block, section
from processes import is_running
from session import PATIENCE, PYTHON, environment, reset
from upstream_tls import Account, ehlo

MESSAGE = b"Subject: greetings\r\n\r\ntext\r\n"
MESSAGE_ID = "03ee138b80854283b52b6fce238bfc85"
STORED = b"250 2.0.0 stored in the journal"


@pytest.fixture(scope="module")
def booted(tmp_path_factory):
    with Machine(tmp_path_factory.mktemp("machine")) as started:
        if not started.path("/usr/libexec/smtpd/smtpd-journal").exists():
            missing("smtpd-journal was not built: libsystemd is missing")
        yield started


@pytest.fixture
def machine(booted):
    yield booted
    booted.reset()


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


# --- after the installation -----------------------------------------------------------------------


def test_installation_starts_nothing(machine):
    assert machine.systemctl("is-enabled", "smtpd.socket", check=False).stdout == "disabled\n"
    assert machine.systemctl("is-active", "smtpd.socket", check=False).stdout == "inactive\n"
    with pytest.raises(ConnectionRefusedError):
        machine.connect()


TEXT = "From: alice@example.org\r\nSubject: greetings\r\n\r\nhow are you?\r\n"
CLIENTS = {
    "127.0.0.1": ["swaks", "--server", "127.0.0.1", "--from", "alice@example.org", "--to",
                  "bob@example.net",
                  "--ehlo", "client.example.org", "--data", "-"],
    "::1": ["curl", "--silent", "--show-error", "smtp://[::1]/client.example.org", "--mail-from",
            "alice@example.org",
            "--mail-rcpt", "bob@example.net", "--upload-file", "-"],
}


@pytest.mark.parametrize("address", CLIENTS)
def test_mail_of_a_real_client(machine, address):
    """Enabled, and nothing else done: the mail is in the journal, and found there by unit and by
    recipient."""
    need(CLIENTS[address][0])
    machine.systemctl("enable", "--now", "smtpd.socket")
    assert machine.systemctl("is-enabled", "smtpd.socket").stdout.startswith("enabled\n")
    machine.run(*CLIENTS[address], said=TEXT)
    entry, = stored(machine)
    assert entry["SMTPD_PEER"] == [address.encode()]
    assert entry["SMTPD_HELO"] == [b"client.example.org"]
    assert entry["SMTPD_MAIL_FROM"] == [b"alice@example.org"]
    assert entry["SMTPD_PROTOCOL"] == [b"ESMTP"]
    text = TEXT.replace("\r\n", "\n").replace("\n\n", f"\nX-Peer: {address}\n\n")
    assert entry["SMTPD_TEXT"][0].decode().rstrip() == text.rstrip()  # swaks adds an empty line
    log = machine.journalctl("-u", "smtpd@*", "-o", "cat")
    assert "mail from <alice@example.org> to <bob@example.net>" in log
    assert re.search(rf"^message id={entry['SMTPD_ID'][0].decode()} peer={address} .* "
                     rf"verdict=\"250 ", log, re.M)
    machine.run("journalctl", "--update-catalog")
    assert "A mail was received" in machine.journalctl("-x", "SMTPD_RCPT_TO=bob@example.net")


def test_readme(machine):
    """From the installation to the mail itself, as README says it."""
    need("curl")
    build, enable, *rest = readme_block("systemctl enable").splitlines()[1:]
    assert "meson install" in build and enable.startswith("systemctl enable")
    text = "\n".join([enable, *rest]).replace("bob@example.net", "reader@example.net")
    done = machine.run("sh", "-ec", text)
    assert done.stdout == "Subject: Lunch\nX-Peer: 127.0.0.1\n\nAt noon?\n\n"


def test_mail_is_read_back_as_it_was(machine):
    """By the manual's command: long, and with octets that are no text."""
    machine.systemctl("start", "smtpd.socket")
    lines = b"0123456789\r\n" * 20_000
    assert deliver(machine, b"Subject: \xe9\x1b[1m\r\n\r\n" + lines, b"long@example.net") == STORED
    (line,) = [text for _, text in literals(section("smtpd.8", "EXAMPLES")) if "journalctl" in text]
    line = line.removeprefix("$ ").strip().replace("bob@", "long@")
    shown = machine.run("sh", "-c", f"{line} >/run/shown; cat -v /run/shown").stdout
    head, text = shown.split("\n\n", 1)
    assert head == "Subject: M-i^[[1m\nX-Peer: 127.0.0.1" and text == "0123456789\n" * 20_000 + "\n"


def test_status_says_what_the_session_does(machine):
    machine.systemctl("start", "smtpd.socket")
    with machine.client() as client:
        client.begin("EHLO")
        unit, = machine.wait_until(machine.sessions, "no session")

        def says(*words):
            status = machine.systemctl("status", unit).stdout
            line = re.search(r"^ *Status: \"(.*)\"$", status, re.M)
            return line and all(word in line[1] for word in words)

        machine.wait_until(lambda: says("127.0.0.1", "waiting", "accepted: 0"),
                           "the status says nothing before DATA", 5)
        client.expect((b"MAIL FROM:<a@example.org>", b"250 "),
                      (b"RCPT TO:<b@example.com>", b"250 "), (b"DATA", b"354 "))
        machine.wait_until(lambda: says("127.0.0.1", "receiving", "a@example.org"),
                           "the status says nothing in DATA", 5)
        client.say(b".\r\n")
        assert client.reply() == STORED
        machine.wait_until(lambda: says("127.0.0.1", "waiting", "accepted: 1"),
                           "the status says nothing after the message", 5)
        client.quit()


# --- every strategy in its sandbox ----------------------------------------------------------------


def test_print(machine):
    machine.configure("strategy=print\n")
    prints(machine, "smtpd@*")


def test_journal_stores_large_messages(machine):
    machine.configure("strategy=journal\n")
    stores_large(machine)


def test_show(machine):
    """In the journal, with nothing but what the unit lets it do."""
    machine.configure("strategy=show\n")
    assert deliver(machine, b"Subject: =?utf-8?Q?=C3=BC?=\r\n\r\ntext\r\n") == b"250 2.0.0 shown"
    log = machine.journalctl("-u", "smtpd@*", "-o", "cat").splitlines()
    at = log.index("---------- MESSAGE ----------")
    assert log[at + 3 : at + 6] == ["Subject: ü", "text", "-------- END MESSAGE --------"]


def test_maildir(machine):
    """In the folder that the drop-in gives. Without it nothing is delivered."""
    config = "strategy=maildir\nmaildir=/var/lib/smtpd\n"
    machine.configure(config)
    assert deliver(machine).startswith(b"451 ")
    machine.configure(config, "maildir")
    assert deliver(machine) == b"250 2.0.0 stored in the Maildir"
    file, = machine.path("/var/lib/private/smtpd/new").iterdir()
    assert file.read_bytes().endswith(b"\nSubject: greetings\nX-Peer: 127.0.0.1\n\ntext\n")
    assert file.stat().st_uid == machine.user and file.stat().st_mode & 0o77 == 0


def test_exec(machine):
    """The shipped example of a program, into the folder that the drop-in gives."""
    machine.configure("strategy=exec\ncommand=/usr/share/doc/smtpd/examples/maildir.sh "
                      "/var/lib/smtpd/Maildir\n", "exec")
    assert deliver(machine).startswith(b"250 ")
    file, = machine.path("/var/lib/private/smtpd/Maildir/new").iterdir()
    assert file.read_bytes() == b"Return-Path: <a@example.org>\nSubject: greetings\n\ntext\n"
    assert file.stat().st_uid == machine.user and file.stat().st_mode & 0o77 == 0


def test_exec_without_its_dropin_delivers_nothing(machine):
    machine.configure("strategy=exec\ncommand=/usr/share/doc/smtpd/examples/maildir.sh "
                      "/var/lib/elsewhere/Maildir\n")
    assert deliver(machine).startswith(b"451 ")
    assert not machine.path("/var/lib/elsewhere").exists()


def test_readme_dropins(machine):
    """As README copies them: that for proxy, and by the same commands that for exec."""
    text = readme_block("install -D ")
    assert text.endswith("systemctl daemon-reload\n")
    with machine.upstream() as upstream:
        machine.run("sh", "-ec", text)
        machine.configure(f"strategy=proxy\nupstream=127.0.0.1:{upstream.port}\n")
        assert deliver(machine) == b"250 2.0.0 taken as 1.0"
    machine.run("sh", "-ec", text.replace("proxy.conf", "exec.conf"))
    program = "/usr/share/doc/smtpd/examples/maildir.sh /var/lib/smtpd/Maildir"
    machine.configure(f"strategy=exec\ncommand={program}\n")
    assert deliver(machine).startswith(b"250 ")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_proxy_by_tcp(machine, host):
    with machine.upstream() as upstream:
        machine.configure(f"strategy=proxy\nupstream={host}:{upstream.port}\n", "proxy")
        assert deliver(machine) == b"250 2.0.0 taken as 1.0"
        message, = upstream.messages
    assert message.text.endswith(b"Subject: greetings\nX-Peer: 127.0.0.1\n\ntext\n")
    assert message.recipients == [b"<bob@example.net>"]


def test_proxy_by_tcp_needs_its_dropin(machine):
    with machine.upstream() as upstream:
        machine.configure(f"strategy=proxy\nupstream=127.0.0.1:{upstream.port}\n")
        with machine.client() as client:
            client.begin("EHLO")
            client.expect((b"MAIL FROM:<a@example.org>", b"451 4.4.1 "))
            client.quit()
        assert upstream.connections == []


def test_proxy_reaches_only_the_addresses_that_are_given(machine):
    """As the drop-in proposes."""
    with machine.upstream() as upstream:
        machine.configure(
            f"strategy=proxy\nupstream=127.0.0.1:{upstream.port}\nupstream-timeout=1\n", "proxy")
        path = machine.path(f"{UNITS}/smtpd@.service.d/proxy.conf")
        text = path.read_text()
        for allowed, verdict in (("127.0.0.9", b"451 4.4.1 "), ("127.0.0.9 localhost", b"250 ")):
            changed, n = re.subn(r"^IPAddressAllow=any$", f"IPAddressAllow={allowed}", text,
                                 flags=re.M)
            assert n == 1
            path.write_text(changed)
            machine.systemctl("daemon-reload")
            with machine.client() as client:
                client.begin("EHLO")
                client.expect((b"MAIL FROM:<a@example.org>", verdict))
                client.quit()


LOGIN = "strategy=proxy\nupstream=127.0.0.1:{port}\nupstream-user=relay@example.org\nupstream-password=upstream-password\n"


def password_file(machine):
    """As the drop-in names it: for root alone."""
    machine.put("/etc/smtpd/upstream-password", "open sesame\n", 0o600)
    return {"EHLO": ehlo("AUTH PLAIN"), "AUTH": Account("relay@example.org", "open sesame")}


def test_password_is_a_credential(machine):
    with machine.upstream(password_file(machine)) as upstream:
        text = LOGIN.format(port=upstream.port)
        machine.configure(text.replace("upstream-password\n", "/etc/smtpd/upstream-password\n"), "proxy")
        with machine.client() as client:
            client.begin("EHLO")
            client.expect((b"MAIL FROM:<a@example.org>", b"451 4.7.8 "))
            client.quit()
        machine.configure(text, "password")
        assert deliver(machine) == b"250 2.0.0 taken as 1.0"
    assert "open sesame" not in machine.journalctl("-o", "cat")


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_proxy_to_a_local_socket(machine, protocol):
    """With no drop-in: no network is needed."""
    with machine.upstream(family=socket.AF_UNIX, lmtp=protocol == "lmtp") as upstream:
        machine.configure(
            f"strategy=proxy\nupstream={upstream.endpoint}\nupstream-protocol={protocol}\n")
        assert deliver(machine) == b"250 2.0.0 taken as 1.0"
        message, = upstream.messages
    assert message.text.endswith(b"Subject: greetings\nX-Peer: 127.0.0.1\n\ntext\n")


def test_mailman3(machine):
    """Its LMTP server knows the list; the upstream gets the rest."""
    unknown = b"550 Requested action not taken: mailbox unavailable\r\n"
    with machine.upstream(lmtp=True) as lists, machine.upstream({}) as upstream:
        machine.configure(
            f"strategy=mailman\nmailman=127.0.0.1:{lists.port}\nupstream=127.0.0.1:{upstream.port}\n", "proxy")
        assert deliver(machine, recipient=b"list@example.com").startswith(b"250 ")
        lists.scripts = ({"RCPT": unknown},)
        assert deliver(machine).startswith(b"250 ")
        assert [m.recipients for m in lists.messages] == [[b"<list@example.com>"]]
        assert [m.recipients for m in upstream.messages] == [[b"<bob@example.net>"]]


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


MAILMAN2 = "strategy=mailman\nmailman-wrapper=/usr/lib/mailman/mail/mailman\nmailman-lists=/var/lib/mailman/lists\n"


def test_mailman2(machine, tmp_path):
    """The wrapper is called by its group, finds the lists and fills the queue; it can write nowhere
    else."""
    install_mailman2(machine, tmp_path)
    machine.configure(MAILMAN2, "mailman2")
    assert deliver(machine, recipient=b"friends@example.com").startswith(b"250 ")
    queue = machine.path("/var/lib/mailman/qfiles/in")
    file, = queue.glob("*.msg")
    assert b"Subject: greetings\n" in file.read_bytes()
    assert file.stat().st_gid == queue.stat().st_gid
    assert file.with_suffix(".argv").read_text() == "post\nfriends\n"
    # where the stand-in tries to keep it too
    assert not machine.path("/var/lib/mailman/argv").exists()
    with machine.client() as client:
        client.begin("MAIL")
        client.expect((b"RCPT TO:<nobody@example.com>", b"550 5.1.1 "))
        client.quit()


def test_mailman2_and_an_upstream(machine, tmp_path):
    """Both drop-ins."""
    install_mailman2(machine, tmp_path)
    with machine.upstream() as upstream:
        machine.configure(f"{MAILMAN2}upstream=127.0.0.1:{upstream.port}\n", "mailman2", "proxy")
        assert deliver(machine, recipient=b"friends@example.com").startswith(b"250 ")
        assert deliver(machine).startswith(b"250 ")
        assert len(upstream.messages) == 1
        assert len(list(machine.path("/var/lib/mailman/qfiles/in").glob("*.msg"))) == 1


# --- the sandbox ----------------------------------------------------------------------------------

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


@pytest.mark.parametrize("dropin", EXCEPT, ids=lambda name: name or "none")
def test_sandbox_is_in_force(machine, dropin, tmp_path):
    """A program within it can do what is expected, and nothing else of what it tries."""
    machine.put("/usr/local/libexec/probe", PROBE)
    if dropin == "mailman2":
        install_mailman2(machine, tmp_path)
    machine.configure("strategy=exec\ncommand=/usr/bin/python3 -I /usr/local/libexec/probe\n",
                      *filter(None, [dropin]))
    assert deliver(machine).startswith(b"250 ")
    found = probed(machine, "smtpd@*")
    expected = SANDBOX | EXCEPT[dropin]
    assert {name: found.get(name) for name in expected} == expected
    for path, name in (("/var/lib/smtpd", "exec"), ("/var/lib/mailman/qfiles", "mailman2")):
        assert dropin == name or found[f"write:{path}"] != "OK"
    for name in ("net", "user", "mnt"):
        is_shared = found[f"namespace:{name}"] == os.readlink(f"/proc/{machine.leader}/ns/{name}")
        assert is_shared == (name == "net" and dropin == "proxy"), name


# --- load -----------------------------------------------------------------------------------------


def greeting(sock):
    """What a connection is told first: b"" if it is closed."""
    with contextlib.suppress(ConnectionResetError):
        return sock.recv(100)
    return b""


def deliver_when_possible(machine):
    """As a client does: again and again, until it has a session."""
    return machine.wait_until(lambda: attempt(machine), "nobody is served any more")


def attempt(machine):
    with contextlib.suppress(AssertionError, ConnectionResetError, BrokenPipeError):
        return deliver(machine)


@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["close", "reset"])
def test_thousand_connections_at_once(machine, end):
    """By default 200 in two seconds are the end of a socket unit."""
    machine.systemctl("start", "smtpd.socket")

    def storm():
        for _ in range(1000):
            end(socket.create_connection(("127.0.0.1", 25), PATIENCE))

    machine.in_network(storm)
    assert deliver_when_possible(machine) == STORED
    assert machine.show("smtpd.socket", "ActiveState") == "active"
    assert machine.show("smtpd.socket", "Result") == "success"


def test_one_client_does_not_get_everything(machine):
    """A hundred connections of one address: sixteen sessions; and another address is served
    meanwhile."""
    machine.systemctl("start", "smtpd.socket")
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(machine.connect(source="127.0.0.2")) for _ in range(100)]
        said = [greeting(sock) for sock in many]
        assert sorted(text[:4] for text in said) == [b""] * 84 + [b"220 "] * 16
        assert deliver(machine) == STORED
    machine.wait_until(lambda: not machine.sessions(), "the sessions do not end")
    with machine.client(source="127.0.0.2") as client:
        client.begin("EHLO")
        client.quit()


# --- sessions that end badly ----------------------------------------------------------------------


def test_stopped_in_data(machine):
    """421, and half a message is no message."""
    machine.systemctl("start", "smtpd.socket")
    with machine.client() as client:
        client.begin("DATA")
        client.say(b"Subject: half\r\n")
        machine.systemctl("stop", "--no-block", "smtpd@*")
        assert client.read_to_end().startswith(b"421 4.3.2 ")
    machine.wait_until(lambda: not machine.sessions(), "the session does not end")
    assert stored(machine, "b@example.com") == []
    assert deliver(machine) == STORED


@pytest.mark.parametrize("stage", ["greeting", "RCPT", "DATA"])
def test_client_that_resets(machine, stage):
    machine.systemctl("start", "smtpd.socket")
    with machine.client() as client:
        client.begin(stage)
        reset(client.ours)
    machine.wait_until(lambda: not machine.sessions(), "the session does not end")
    assert stored(machine, "b@example.com") == []


def test_mistake_in_the_configuration(machine):
    """The client is told to come again, and the log says where the mistake is."""
    machine.configure("strategy=journal\nstratgy=print\n")
    with machine.client() as client:
        assert client.read_to_end().startswith(b"421 4.3.5 ")
    machine.wait_until(lambda: not machine.sessions(), "the session does not end")
    ended, = machine.entries("EXIT_STATUS=78")
    assert ended["UNIT"][0].startswith(b"smtpd@")
    assert re.search(r"/etc/smtpd/smtpd\.conf:2: .*stratgy",
                     machine.journalctl("-u", "smtpd@*", "-p", "err", "-o", "cat"))
    machine.configure("strategy=journal\n")  # which counts from the next connection on
    assert deliver(machine) == STORED


def test_message_that_is_too_long(machine):
    machine.configure("max-size=1K\n")
    with machine.client() as client:
        client.begin("EHLO")
        client.expect((b"MAIL FROM:<a@example.org> SIZE=1025", b"552 5.3.4 "))
        assert client.send_message(b"0123456789\r\n" * 1000).startswith(b"552 5.3.4 ")
        assert client.send_message(MESSAGE, recipient=b"bob@example.net") == STORED
        client.quit()
    assert len(stored(machine)) == 1 and stored(machine, "b@example.com") == []


# --- journald comes and goes ----------------------------------------------------------------------


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


@pytest.mark.parametrize("signal", [None, "KILL"], ids=["restart", "kill"])
def test_journald_restarts_between_and_in_sessions(machine, signal):
    """Standard error is broken then; the replies are honest, and later mail is stored."""
    machine.systemctl("start", "smtpd.socket")
    assert deliver(machine) == STORED
    restart_journald(machine, signal)
    assert deliver(machine) == STORED
    with machine.client() as client:
        client.begin("DATA")
        restart_journald(machine, signal)
        client.say(b"Subject: during\r\n\r\n.\r\n")
        verdict = client.reply()
        client.quit()
    assert verdict == STORED or verdict.startswith(b"451 ")
    assert len(stored(machine, "b@example.com")) == (verdict == STORED)
    assert deliver(machine) == STORED
    assert len(stored(machine)) == 3


def test_every_250_is_an_entry_while_journald_restarts(machine):
    """Messages all the time, among which it is restarted and killed."""
    machine.systemctl("start", "smtpd.socket")
    verdicts, over = {}, threading.Event()

    def send():
        while not over.is_set():
            recipient = f"r{len(verdicts)}@example.net"
            verdicts[recipient] = deliver(machine, recipient=recipient.encode())

    thread = threading.Thread(target=send)
    thread.start()
    try:
        for signal in (None, "KILL", None, "KILL"):
            n = len(verdicts)
            machine.wait_until(lambda: len(verdicts) > n + 2, "no more mail goes through")
            restart_journald(machine, signal)
    finally:
        over.set()
        thread.join(PATIENCE)
    assert set(v[:4] for v in verdicts.values()) <= {b"250 ", b"451 "}
    accepted = {recipient for recipient, verdict in verdicts.items() if verdict == STORED}
    found = {entry["SMTPD_RCPT_TO"][0].decode()
             for entry in machine.entries(f"MESSAGE_ID={MESSAGE_ID}")}
    assert accepted and accepted <= found
    assert deliver(machine) == STORED


# --- another port ---------------------------------------------------------------------------------


def write_second_port(machine):
    """All that an administrator writes."""
    machine.put(f"{UNITS}/smtpd-submission.socket",
                "[Socket]\nListenStream=587\n[Install]\nWantedBy=sockets.target\n")
    start = "/usr/sbin/smtpd --config=/etc/smtpd/submission.conf"
    machine.put(f"{UNITS}/smtpd-submission@.service", f"[Service]\nExecStart={start}\n")


def test_second_port_with_its_own_configuration(machine):
    """Sandbox and limits come by the drop-ins for smtpd-*."""
    write_second_port(machine)
    machine.put("/etc/smtpd/submission.conf",
                "strategy=exec\ncommand=/usr/bin/python3 -I /usr/local/libexec/probe\n")
    machine.put("/usr/local/libexec/probe", PROBE)
    machine.systemctl("daemon-reload")
    machine.systemctl("enable", "--now", "smtpd.socket", "smtpd-submission.socket")
    assert deliver(machine, port=587) == b"250 2.0.0 delivered"
    assert deliver(machine) == STORED
    found = probed(machine, "smtpd-submission@*")
    assert {name: found.get(name) for name in SANDBOX} == SANDBOX | {"user": "dynamic"}
    with machine.client("::1", 587) as six, machine.client("127.0.0.1", 587) as four:
        for client in (six, four):
            client.begin("EHLO")
        for unit in machine.sessions("smtpd-submission@*"):
            assert machine.show(unit, "StatusText").startswith(("127.0.0.1: ", "::1: "))
            assert machine.show(unit, "Description").startswith("SMTP session of smtpd-submission")
            assert machine.show(unit, "CollectMode") == "inactive-or-failed"
            assert machine.show(unit, "StandardError") == "journal"
    for setting in ("TriggerLimitIntervalUSec", "MaxConnections", "MaxConnectionsPerSource"):
        assert machine.show("smtpd-submission.socket", setting) == machine.show("smtpd.socket",
                                                                                setting)
    machine.put("/etc/smtpd/submission.conf", "stratgy=print\n")
    with machine.client(port=587) as client:
        assert client.read_to_end().startswith(b"421 4.3.5 ")


def test_dropin_changes_a_second_port(machine):
    """The shipped examples fit there too."""
    with machine.upstream() as upstream:
        write_second_port(machine)
        machine.configure(f"strategy=proxy\nupstream=127.0.0.1:{upstream.port}\n", "proxy",
                          name="submission")
        assert deliver(machine, port=587) == b"250 2.0.0 taken as 1.0"


# --- the machine itself ---------------------------------------------------------------------------

KILLED = """
import os, sys
from machine import Machine, processes_below
with Machine(sys.argv[1]) as m:
    m.systemctl("start", "smtpd.socket")
    with m.client() as client:
        client.begin("DATA")
        print(*processes_below(m.holder.pid), flush=True)
        os.kill(os.getpid(), 9)
"""


def test_machine_ends_with_the_tests(booted, tmp_path):
    """Also when they are killed in the middle of something."""
    argv = [PYTHON, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=4 * PATIENCE,
                          env=environment(PYTHONPATH=f"{ROOT}/tests:{ROOT}/tests/lib"))
    pids = done.stdout.split()
    # shell, unshare, nspawn, systemd, journald, dbus, smtpd
    assert done.returncode == -9 and len(pids) >= 5, done.stderr
    booted.wait_until(lambda: not any(map(is_running, pids)), "something is left")
