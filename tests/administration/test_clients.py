# SPDX-License-Identifier: MIT
"""Real clients through real super-servers: what arrives is compared byte for byte with what was
sent.

Each client adds something of its own to a message without a final newline; what, is said where it
is expected."""

import concurrent.futures
import contextlib
import os
import re
import smtplib
import socket
import subprocess
import time
import types

import pytest
from conftest import need
from direct import Direct
from processes import running_children
from session import (PATIENCE, codes, command, environment, free_port, printed, replies, wait_until,
                     with_x_peer)

HEADER = b"Subject: try\n\n"

# LF lines; all end in a newline.
MESSAGES = {
    "plain": b"From: a@example.org\nTo: b@example.com\nSubject: plain\n\nHello.\n",
    "dots": HEADER + b".\n..\n...\n.x\n..x\n x.\n.\n\n.\n",
    "eight-bit": HEADER + "gr\u00fc\u00df dich \u2603\n".encode() + bytes(range(128, 256)) + b"\n",
    "control-characters": HEADER + bytes(set(range(1, 32)) - {10, 13}) + b"\x7f\n",
    "long-line": HEADER + b"0123456789" * 1000 + b"\n." + b"x" * 10000 + b"\n",
    "no-header": b"\nno header at all\n",
    "header-only": b"Subject: nothing else\n",
    "blank-lines-at-end": HEADER + b"text\n\n\n\n",
    "large": HEADER
    + b"".join(b"%07d the quick brown fox jumps over the lazy dog\n.%d\n" % (i, i)
               for i in range(60000)),
}


# --- super-servers --------------------------------------------------------------------------------


def lines_of(path):
    with open(path, "rb") as file:
        return file.read()


def start_socket_activate(argv, err):
    program = need("systemd-socket-activate")
    env = environment()
    port = free_port()
    passed = [f"-E{name}={env[name]}" for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS")]
    process = subprocess.Popen(
        [program, "--inetd", "-a", "-l", f"127.0.0.1:{port}", *passed, *argv],
        stdin=subprocess.DEVNULL, stderr=err, env=env
    )
    wait_until(lambda: b"Listening on" in lines_of(err.name) or process.poll() is not None,
               "systemd-socket-activate")
    assert process.poll() is None, lines_of(err.name)
    return process, port


def start_tcpserver(argv, err):
    process = subprocess.Popen(
        [need("tcpserver"), "-1", "-HRl0", "127.0.0.1", "0", *argv],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, env=environment(),
    )
    return process, int(process.stdout.readline())


SUPERSERVERS = {"socket-activate": start_socket_activate, "tcpserver": start_tcpserver}


@pytest.fixture(params=["direct", *SUPERSERVERS])
def server(request, smtpd, tmp_path):
    """A listening smtpd: .port; .start() again with options; .messages() that were printed so
    far."""
    made = types.SimpleNamespace(name=request.param)
    stops = contextlib.ExitStack()

    def start(*options):
        argv = command(smtpd, *options)
        with open(tmp_path / f"err-{time.monotonic_ns()}", "ab") as err:
            made.err = err.name
            if request.param == "direct":
                direct = Direct(argv, os.dup(err.fileno()))
                stops.callback(os.close, direct.err)
                stops.callback(direct.stop)
                made.port = direct.listener.getsockname()[1]
            else:
                process, made.port = SUPERSERVERS[request.param](argv, err)
                stops.enter_context(process)
                stops.callback(process.terminate)
                stops.callback(lambda: wait_until(lambda: not running_children(process.pid),
                                                  "the end of all sessions"))
        return made

    def messages():
        said = lines_of(made.err)
        assert b"runtime error" not in said and b"Sanitizer" not in said, said.decode(
            errors="replace")
        return printed(said)

    made.start, made.messages = start, messages
    with stops:
        yield made


# --- Python's smtplib -----------------------------------------------------------------------------


def crlf(message):
    return message.replace(b"\n", b"\r\n")


def smtplib_client(port, kind=smtplib.SMTP):
    return kind("127.0.0.1", port, local_hostname="client.example.org", timeout=PATIENCE)


def test_smtplib_all_messages_in_one_session(server):
    server.start()
    with smtplib_client(server.port) as client:
        for message in MESSAGES.values():
            assert client.sendmail("a@example.org", ["b@example.com", "c@example.com"],
                                   crlf(message)) == {}
    assert server.messages() == [with_x_peer(m, "127.0.0.1") for m in MESSAGES.values()]


@pytest.mark.parametrize("message, arrives", [
    (b"", b"\n"),                                     # the client adds a line end even to nothing
    (HEADER + b"no newline", HEADER + b"no newline\n"),
    (HEADER + b"ends with dot\n.", HEADER + b"ends with dot\n.\n"),
], ids=["empty", "no-newline", "dot-without-newline"])
def test_smtplib_completes_the_last_line(server, message, arrives):
    server.start()
    with smtplib_client(server.port) as client:
        client.sendmail("a@example.org", ["b@example.com"], crlf(message))
    assert server.messages() == [with_x_peer(arrives, "127.0.0.1")]


def test_smtplib_utf8_addresses(server):
    server.start()
    with smtplib_client(server.port) as client:
        client.ehlo()
        assert client.has_extn("SMTPUTF8") and client.has_extn("8BITMIME")
        message = crlf("From: J\u00f6rg\nSubject: \u00fc\n\n\u2603\n".encode())
        options = ["SMTPUTF8", "BODY=8BITMIME"]
        client.sendmail("j\u00f6rg@example.org", ["\u7528\u6237@\u4f8b\u5b50.example"], message,
                        options)
    assert server.messages() == [with_x_peer(message.replace(b"\r\n", b"\n"), "127.0.0.1")]
    log = lines_of(server.err)
    assert rb'from="<j\xc3\xb6rg@example.org>"' in log and b"protocol=UTF8SMTP" in log


def test_smtplib_announced_size_is_refused(server):
    server.start("--max-size=1000")
    with smtplib_client(server.port) as client:
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            client.sendmail("a@example.org", ["b@example.com"], b"x" * 2000)
        assert refused.value.smtp_code == 552
        assert client.sendmail("a@example.org", ["b@example.com"], b"small\r\n") == {}
    assert len(server.messages()) == 1


def test_smtplib_lmtp(server):
    server.start("--protocol=lmtp")
    with smtplib_client(server.port, smtplib.LMTP) as client:
        assert client.ehlo()[0] == 250
        assert client.mail(
            "a@example.org")[0] == client.rcpt(
                "b@example.com")[0] == client.rcpt("c@example.com")[0] == 250
        assert client.data(crlf(MESSAGES["plain"]))[0] == 250
        assert client.getreply()[0] == 250  # the second recipient's
    assert server.messages() == [with_x_peer(MESSAGES["plain"], "127.0.0.1")]


# --- curl -----------------------------------------------------------------------------------------


def curl(port, file, *options):
    return subprocess.run(
        [need("curl"), "-q", "--noproxy", "*", "-sSv", "--max-time", str(PATIENCE),
         f"smtp://127.0.0.1:{port}/client.example.org",
         "--mail-from", "a@example.org", "--mail-rcpt", "b@example.com", "--upload-file", str(file),
         *options],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE + 5,
    )


@pytest.mark.parametrize("name", MESSAGES)
def test_curl(server, tmp_path, name):
    server.start()
    (tmp_path / "mail").write_bytes(crlf(MESSAGES[name]))
    done = curl(server.port, tmp_path / "mail", "--mail-rcpt", "c@example.com")
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert server.messages() == [with_x_peer(MESSAGES[name], "127.0.0.1")]


def test_curl_completes_the_last_line(server, tmp_path):
    server.start()
    (tmp_path / "mail").write_bytes(HEADER.replace(b"\n", b"\r\n") + b"no newline")
    assert curl(server.port, tmp_path / "mail").returncode == 0
    assert server.messages() == [with_x_peer(HEADER + b"no newline\n", "127.0.0.1")]


def test_curl_file_with_bare_lf_is_refused(server, tmp_path):
    server.start()
    (tmp_path / "mail").write_bytes(MESSAGES["plain"])
    done = curl(server.port, tmp_path / "mail")
    assert done.returncode != 0 and b"< 554 5.5.2 bare LF" in done.stderr
    assert server.messages() == []


# --- swaks ----------------------------------------------------------------------------------------


def swaks(port, file, *options):
    return subprocess.run(
        [need("swaks"), "--server", "127.0.0.1", "--port", str(port), "--helo",
         "client.example.org", "--from", "a@example.org",
         "--to", "b@example.com,c@example.com", "--no-data-fixup", "--data", f"@{file}",
         "--timeout", str(PATIENCE), *options],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE + 5,
        env=environment(HOME=str(file.parent)),
    )


def on_the_wire(message):
    """swaks changes much of what it is given, unless told not to; then it wants all of it, the
    final dot too."""
    return re.sub(rb"(?m)^\.", b"..", message).replace(b"\n", b"\r\n") + b"."


@pytest.mark.parametrize("pipeline", [[], ["--pipeline"]], ids=["lock-step", "pipelined"])
@pytest.mark.parametrize("protocol", ["ESMTP", "SMTP", "LMTP"])
def test_swaks(server, tmp_path, protocol, pipeline):
    server.start(f"--protocol={'lmtp' if protocol == 'LMTP' else 'smtp'}")
    for message in (MESSAGES["plain"], MESSAGES["dots"], MESSAGES["long-line"]):
        (tmp_path / "mail").write_bytes(on_the_wire(message))
        done = swaks(server.port, tmp_path / "mail", "--protocol", protocol, *pipeline)
        assert done.returncode == 0, done.stdout.decode(
            errors="replace") + done.stderr.decode(errors="replace")
        assert done.stdout.count(b"250 2.0.0 printed") == (2 if protocol == "LMTP" else 1)
    assert server.messages() == [with_x_peer(MESSAGES[n], "127.0.0.1")
                                 for n in ("plain", "dots", "long-line")]
    assert lines_of(server.err).count(f"protocol={protocol} ".encode()) >= 3


# --- msmtp ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "dots", "eight-bit", "no-header", "long-line"])
def test_msmtp(server, name):
    server.start()
    done = subprocess.run(
        [need("msmtp"), "-C", "/dev/null", "--host=127.0.0.1", f"--port={server.port}",
         "--timeout=20", "--auth=off", "--tls=off",
         "--domain=client.example.org", "--from=a@example.org", "--set-from-header=off",
         "--set-date-header=off",
         "--set-msgid-header=off", "--",
         "b@example.com"],
        input=MESSAGES[name], capture_output=True, timeout=PATIENCE + 5,
    )
    assert done.returncode == 0, done.stderr
    assert server.messages() == [with_x_peer(MESSAGES[name], "127.0.0.1")]


# --- what the clients do not look at --------------------------------------------------------------


def test_wire_has_nothing_but_smtp(server):
    """Every octet is counted, with all that there is to log going to the inherited standard
    error."""
    server.start("--max-errors=3")
    said = b""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as s:
        s.sendall(b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT "
                  b"TO:<b@example.com>\r\nDATA\r\nx\r\n.\r\n" + b"BAD\r\n" * 4)
        while chunk := s.recv(65536):
            said += chunk
    assert codes(said) == [220, 250, 250, 250, 354, 250, 500, 500, 500, 421]
    assert replies(said)[-1][1].startswith(b"4.7.0 ")
    assert server.messages() == [b"x\nX-Peer: 127.0.0.1\n"]
    assert wait_until(lambda: b"smtpd: session " in lines_of(server.err), "the log")


def test_many_clients_at_once(server):
    """Sessions share the file that they print to: each message is there, in one piece."""
    server.start()
    bodies = [HEADER + b"%d\n" % i * 500 for i in range(20)]

    def deliver(body):
        with smtplib_client(server.port) as client:
            client.sendmail("a@example.org", ["b@example.com"], crlf(body))

    with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
        list(pool.map(deliver, bodies))
    assert sorted(server.messages()) == sorted(with_x_peer(b, "127.0.0.1") for b in bodies)


def test_swaks_through_a_pipe(smtpd, tmp_path):
    """swaks starts the program itself: no connection, so the peer is local."""
    (tmp_path / "mail").write_bytes(on_the_wire(MESSAGES["dots"]))
    with open(tmp_path / "err", "wb") as err:
        done = subprocess.run(
            [need("swaks"), "--pipe", " ".join(command(smtpd)), "--helo", "client.example.org",
             "--from", "a@example.org",
             "--to", "b@example.com", "--no-data-fixup", "--data", f"@{tmp_path}/mail"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, timeout=PATIENCE,
            env=environment(HOME=str(tmp_path)),
        )
    assert done.returncode == 0, done.stdout
    assert printed(lines_of(tmp_path / "err")) == [with_x_peer(MESSAGES["dots"], "local")]
