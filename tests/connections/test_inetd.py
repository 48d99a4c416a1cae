# SPDX-License-Identifier: MIT
"""smtpd under the super-servers, each started with the very lines that smtpd(8), "Starting it", has
for it: on port 25, as user nobody. Under inetd and xinetd standard error is the client: nothing but
SMTP may come over the wire, whatever happens."""

import os
import re
import signal
import smtplib

import pytest
from conftest import ROOT, need
from inetd import EXEC_CONF, INETDS, KINDS, PROXY_CONF, TEXT, WIRE, Client, deliver, packages, start
from manual import literal, literals, section
from session import codes, printed, replies, reset, wait_until, with_x_peer

_ = packages, start  # fixtures

MISTAKE = b"421 4.3.5 this server is not configured correctly, try again later\r\n"
MAIL_INFO, MAIL_ERR = b"<22>", b"<19>"  # facility 2, severities 6 and 3
PRINT_SCRIPT = literal("smtpd.8", "Starting it", "")


@pytest.mark.parametrize("name", KINDS)
def test_message(smtpd, start, name):
    """Delivered exactly once, by each address; the peer is the client, the log is where the manual
    says, the wire is clean."""
    kind = KINDS[name]
    server = start(name, smtpd, text=kind.listens_on_both(kind.text))
    for address in kind.addresses:
        with server.connect(address) as sock:
            assert codes(deliver(sock)) == [220, 250, 250, 250, 354, 250, 221]
    peers = [address if not address.startswith("/") else "local" for address in kind.addresses]
    server.stop()  # all sessions are over
    got = server.messages()
    assert [text for text, _ in got] == [TEXT] * len(peers)
    assert sorted(how for _,
                  how in got) == sorted(f"peer={peer} cwd=/ uid=65534 SigIgn:\t{0:016x}\n"
                                        for peer in peers)
    log = server.log(b" session peer=")
    for peer in peers:
        assert len([line for line in log if b" message id=" in line
                    and f" peer={peer} ".encode() in line]) == 1
    assert len([line for line in log if b"stderr=noise" in line]) == len(peers)
    if kind.is_inetd:
        # that one has to be told to debug, or it goes away
        assert server.err() == b"" or name == "inetutils-inetd"
        assert all(line.startswith(MAIL_INFO) for line in log if b" message id=" in line
                   or b" session peer=" in line)
    else:
        assert server.world.syslog() == []


@pytest.mark.parametrize("name", KINDS)
def test_mistake(smtpd, start, name):
    """The client hears 421 and nothing else, the administrator what it is."""
    server = start(name, smtpd, conf="strategy=nonsense\nno line\n")
    with server.connect(server.kind.addresses[0]) as sock:
        assert sock.read_to_end() == MISTAKE
    server.stop()
    log = server.log(b"no line")
    assert len(log) == 2 and all(b" /etc/smtpd/smtpd.conf:" in line for line in log)
    assert not server.kind.is_inetd or all(line.startswith(MAIL_ERR) for line in log)


@pytest.mark.parametrize("name", INETDS)
def test_print_has_nowhere_to_print(release, start, name):
    server = start(name, release, conf="strategy=print\n")
    with server.connect() as sock:
        assert sock.read_to_end() == MISTAKE
    (line,) = server.log(b"strategy=print has nowhere to print")
    assert line.startswith(MAIL_ERR)


@pytest.mark.parametrize("name", INETDS)
@pytest.mark.parametrize("owner", [65534, 0, None], ids=["file", "file-of-another", "no-file"])
def test_print_script(release, start, name, owner):
    """With the manual's script it prints to a file; where that may not be written, the client is
    spared the shell's words."""
    path = "/usr/local/sbin/smtpd-print"
    kind = KINDS[name]
    server = start(name, release, conf="", text=kind.with_script(kind.text, path),
                   files=[(path, PRINT_SCRIPT)],
                   before=lambda world: owner is None
                   or world.write("/var/log/smtpd.messages", "", 0o600, owner))
    with server.connect() as sock:
        if owner != 65534:
            assert sock.read_to_end() == MISTAKE
            server.log(b"strategy=print has nowhere to print")
            return
        assert codes(deliver(sock))[-2:] == [250, 221]
    server.stop()
    said = server.world.read("/var/log/smtpd.messages")
    assert printed(said) == [with_x_peer(TEXT, "127.0.0.1")]
    assert b"smtpd: session peer=127.0.0.1 " in said
    assert not [line for line in server.world.syslog() if b" smtpd[" in line]


def test_two_services(release, start):
    """One inetd, two sessions: the proxy of smtpd.conf(5) passes the message on to a second
    service; that one's word counts."""
    kind = KINDS["openbsd-inetd"]
    upstream = "127.0.0.2:" + kind.text.rstrip() + " --config=/etc/smtpd/upstream.conf\n"
    hosts = "127.0.0.1 localhost\n127.0.0.2 mail.example.org\n"
    server = start("openbsd-inetd", release, conf=PROXY_CONF,
                   text="127.0.0.1:" + kind.text + upstream,
                   files=[("/etc/smtpd/upstream.conf", EXEC_CONF), ("/etc/hosts", hosts)])
    with server.connect() as sock:
        assert codes(deliver(sock)) == [220, 250, 250, 250, 354, 250, 221]
    server.stop()
    ((text, how),) = server.messages()
    assert how.startswith("peer=127.0.0.1 ")
    assert text.startswith(b"Received: from ")
    assert text.endswith(b"\nX-Peer: 127.0.0.1\n\n.dot\nHello.\n")
    messages = [line for line in server.log(b" message id=") if b" message id=" in line]
    assert sorted(re.search(rb" strategy=(\w+) ", line)[1] for line in messages) == [b"exec",
                                                                                     b"proxy"]


@pytest.mark.parametrize("name", INETDS)
def test_journal_is_not_there(release, start, name):
    """The helper complains; the client hears a reply."""
    server = start(name, release, conf="strategy=journal\n")
    with server.connect() as sock:
        with Client(sock) as client, pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail("a@example.org", ["b@example.com"], WIRE)
        assert refused.value.smtp_code == 451
        assert {code for code, _ in replies(sock.heard)} <= {220, 221, 250, 354, 451}
    server.log(b'verdict="451 4.3.0 the journal is not available')


@pytest.mark.parametrize("name", INETDS)
def test_client_is_gone(release, start, name):
    """What cannot be said to it is no signal that kills, and no line on anybody's terminal; the log
    has how it ended."""
    hook = '#!/bin/sh\ncat >"/srv/$SMTPD_ID"\ntouch "/srv/$SMTPD_ID.how"\nuntil [ -e /run/go ]; do sleep 0.01; done\n'
    server = start(name, release, files=[("/usr/local/libexec/on-mail", hook)])
    with server.connect() as sock:
        sock.sendall(b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
        while b"\r\n354 " not in sock.heard:
            sock.heard += sock.recv(1 << 16) or pytest.fail("closed")
        sock.sendall(b"x\r\n.\r\n")
        wait_until(lambda: len(os.listdir(server.world.path("/srv"))) == 2, "the program")
        reset(sock)
    server.world.write("/run/go", "")
    server.log(b" message id=")
    server.log(b" session peer=127.0.0.1 ")


@pytest.mark.parametrize("name", INETDS)
def test_wait(release, start, name):
    """Given the listening socket it accepts connections itself; still nothing but SMTP, and the log
    is syslog's."""
    text = re.sub(r"\bnowait\.\d+", "wait", KINDS[name].text)
    server = start(name, release, text=re.sub(r"\bwait( +)= no\b", r"wait\1= yes", text))
    assert server.text != KINDS[name].text
    for _ in range(3):
        with server.connect() as sock:
            assert codes(deliver(sock)) == [220, 250, 250, 250, 354, 250, 221]
    log = server.log(b" listening address=")
    (pid,) = {int(re.search(rb" smtpd\[(\d+)\]", line)[1]) for line in log
              if b" listening " in line}
    os.kill(pid, signal.SIGTERM)
    server.stop()
    assert [text for text, _ in server.messages()] == [TEXT] * 3
    assert len([line for line in server.log(b" session ")
                if b" session peer=127.0.0.1 " in line]) == 3


def test_name_is_no_option(release, start):
    """The word behind the program is only its name, whatever it is."""
    text = KINDS["openbsd-inetd"].text
    assert text.endswith(" smtpd\n")
    server = start("openbsd-inetd", release,
                   text=text[: -len("smtpd\n")]
                   + "--strategy=nonsense --hostname=other.example.com\n")
    with server.connect() as sock:
        heard = deliver(sock)
    assert heard.startswith(b"220 other.example.com ") and codes(heard)[-2:] == [250, 221]


def test_variables_of_gnu_inetd(release, start):
    """It can name the client in the environment: that is the same one."""
    server = start("inetutils-inetd", release, options=["--environment"])
    with server.connect() as sock:
        deliver(sock)
    assert server.messages()[0][1].startswith("peer=127.0.0.1 ")


def test_variables_of_somebody_else(release, start):
    """What inetd itself was started with is about nobody; then a client on this host is not taken
    for a friend."""
    server = start("openbsd-inetd", release,
                   variables={"REMOTE_ADDR": "192.0.2.7", "TCPREMOTEIP": "192.0.2.8"})
    with server.connect() as sock:
        deliver(sock)
    assert server.messages()[0][1].startswith("peer=unknown ")


def test_tcpsvd_has_enough_of_a_client(release, start):
    """What it says is SMTP."""
    text = KINDS["tcpsvd"].text
    assert "-C '20:" in text
    server = start("tcpsvd", release, text=text.replace("-C '20:", "-C '1:"))
    with server.connect() as first:
        first.heard += first.recv(100)
        with server.connect() as second:
            assert codes(second.read_to_end()) == [421]
        assert codes(first.heard) == [220]


def listening_on_1025():
    """Command lines of EXAMPLES and of README, with the program where it is installed."""
    lines = [text[2:] for _,
             text in literals(section("smtpd.8", "EXAMPLES")) if text.startswith("$ ")]
    readme = (ROOT / "README.md").read_text().replace(" build/smtpd", " smtpd")
    lines += re.findall(r"^    (.*\n)", readme, re.M)
    return sorted({line.rstrip() for line in lines if re.match(r"smtpd [^<>]*:1025[^<>]*$", line)})


@pytest.mark.parametrize("line", listening_on_1025())
def test_port_of_an_application(release, start, line):
    """Printed, or passed on to the mail server: here that is tcpserver with the first example of
    smtpd.conf(5)."""
    if not line.startswith("smtpd "):
        need(line.split()[0])
    hosts = "127.0.0.1 localhost\n127.0.0.2 mail.example.org\n"
    server = start("tcpserver", release, conf="", text=line,
                   files=[("/etc/hosts", hosts), ("/etc/smtpd/exec.conf", EXEC_CONF)])
    upstream = None
    if "mail.example.org" in line:
        text = "tcpserver -HRl0 127.0.0.2 25 smtpd --config=/etc/smtpd/exec.conf"
        upstream = start("tcpserver", release, conf=None, text=text, world=server.world)
        upstream.connect("127.0.0.2").close()  # it listens
    with server.connect(port=1025) as sock:
        assert codes(deliver(sock)) == [220, 250, 250, 250, 354, 250, 221]
    server.stop()
    if upstream:
        ((text, _),) = server.messages()
        assert text.endswith(b"\nX-Peer: 127.0.0.1\n\n.dot\nHello.\n")
    else:
        assert printed(server.err()) == [with_x_peer(TEXT, "127.0.0.1")]


def test_ports_of_applications_are_found():
    assert {line.split()[0] for line in listening_on_1025()} == {"smtpd"}


def test_readme_says_the_same():
    paragraph = (ROOT / "README.md").read_text().split("**Under inetd**")[1].split("\n**")[0]
    assert re.findall(r"^    (.*\n)", paragraph, re.M) == [KINDS["openbsd-inetd"].text]
