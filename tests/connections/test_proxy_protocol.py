# SPDX-License-Identifier: MIT
"""Behind a balancer (proxy-from): who the client is, by the header of the PROXY protocol, and by
nothing else. The header itself is read in unit-proxy-header; TLS is in test_proxy_protocol_tls.py,
real balancers are in test_haproxy.py."""

import contextlib
import re
import signal
import socket
import subprocess
import time

import pytest
from acceptor import Acceptor, Client, folder, network
from balanced import FROM, REPLIES, SAID, UNNAMED, talk
from balancer import LOCAL, PROXY, SIGNATURE, octets, tls, v1, v2, value
from conftest import need, need_root
from journald import Journald
from logs import lines, one
from session import (PATIENCE, Session, codes, command, environment, replies, reset, tcp_pair,
                     wait_until)
from upstream import EVERYTHING, Upstream

_ = folder  # a fixture


def end_of(log):
    return one(log, "session")["end"]


# --- who it is -----------------------------------------------------------------------------------

NAMED = {
    "v1": (v1(), "192.0.2.1", "4711"),
    "v1, IPv6": (v1("2001:db8::1", here="::1"), "2001:db8::1", "4711"),
    "v1, without a port": (v1(port=0), "192.0.2.1", None), "v2": (v2(), "192.0.2.1", "4711"),
    "v2, IPv6": (v2("2001:db8:0::1"), "2001:db8::1", "4711"),
    "v2, mapped": (v2("::ffff:192.0.2.1"), "192.0.2.1", "4711"),
    "v2, values": (v2(values=value(4, b"nothing") + value(0xEE, b"own")), "192.0.2.1", "4711"),
    "v2, long": (v2(values=value(4, bytes(2000))), "192.0.2.1", "4711"),
    "v1, loopback": (v1("127.0.0.1"), "127.0.0.1", "4711"),
}  # fmt: skip


@pytest.mark.parametrize("header, peer, port", NAMED.values(), ids=NAMED)
def test_client_is_named(release, tmp_path, header, peer, port):
    said, log = talk(command(release, FROM), tmp_path, header + SAID)
    assert said == REPLIES and b"\nX-Peer: %s\n" % peer.encode() in log
    for what in ("session", "message"):
        line = one(log, what)
        assert (line["peer"], line["via"]) == (peer.encode(), b"127.0.0.1")
        assert line.all("port") == ([port.encode()] if port else [])


@pytest.mark.parametrize("header", UNNAMED.values(), ids=UNNAMED)
def test_client_that_is_not_named_is_unknown(release, tmp_path, header):
    """HAProxy says LOCAL, and UNKNOWN, of a client at a local socket too: the balancer's address,
    which so many trust, would be anybody's."""
    said, log = talk(command(release, FROM), tmp_path, header + SAID)
    assert said == REPLIES and b"\nX-Peer: unknown\n" in log
    assert one(log, "message")["peer"] == b"unknown" and one(log, "message")["via"] == b"127.0.0.1"


@pytest.mark.parametrize("header", [v1(), v2("2001:db8::1"), v2(values=tls())],
                         ids=["v1", "v2", "tls"])
def test_header_octet_by_octet(smtpd, tmp_path, header):
    with Session(command(smtpd, FROM), tmp_path, tcp_pair()) as session:
        for i, octet in enumerate(header):
            session.say(bytes([octet]))
            if i % 8 == 0:
                time.sleep(0.005)  # some of them arrive alone
        session.begin("DATA")
        session.say(b"Subject: x\r\n\r\ntext\r\n.\r\n")
        session.expect((None, b"250 "))
        assert session.end() == 0
        assert one(session.err(), "session")["via"] == b"127.0.0.1"


def test_nobody_else_is_asked_for_a_header(release, tmp_path):
    """And whoever sends one all the same is sent away, as a browser is."""
    for header in (v1(), SIGNATURE + b"\x20\0\0\0"):
        said, log = talk(command(release, "--proxy-from=192.0.2.0/24,local"), tmp_path,
                         header + SAID)
        assert said[0] == 220 and said[-1] == 554 and not lines(log, "message")
        assert one(log, "session")["peer"] == b"127.0.0.1"
        assert end_of(log) == b"554 this is SMTP without the PROXY protocol"


def test_local_sockets(release, tmp_path):
    for header, peer in ((v2(), b"192.0.2.1"), (UNNAMED["LOCAL"], b"unknown")):
        said, log = talk(command(release, "--proxy-from=local"), tmp_path, header + SAID,
                         socket.socketpair())
        assert said == REPLIES and one(log, "message")["peer"] == peer
        assert one(log, "message")["via"] == b"local"


def test_transcript_has_no_balancer(release, tmp_path):
    (tmp_path / "said").write_bytes(SAID)
    with open(tmp_path / "said") as said:
        done = subprocess.run(command(release, "--proxy-from=local"), stdin=said,
                              capture_output=True, timeout=PATIENCE)
    assert codes(done.stdout) == REPLIES


def test_program_hears_of_it(release, tmp_path):
    """From the broker, which was told before the client's first octet."""
    (tmp_path / "program").write_text('#!/bin/sh\necho "250 peer $SMTPD_PEER $SMTPD_PEER_PORT '
                                      '($SMTPD_TLS)"\n')
    (tmp_path / "program").chmod(0o755)
    argv = command(release, FROM, "--strategy=exec", f"--command={tmp_path}/program")
    for header, peer in ((v1(), b"192.0.2.1 4711 ()"),
                         (v2("2001:db8::1", values=tls()), b"2001:db8::1 4711 ()"),
                         (UNNAMED["LOCAL"], b"unknown  ()")):
        with Session(argv, tmp_path, tcp_pair()) as session:
            session.say(header + SAID)
            assert replies(session.read_to_end())[5] == (250, b"peer " + peer)


# --- whom to trust -------------------------------------------------------------------------------

MAIL = b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@elsewhere.example>\r\nQUIT\r\n"


@pytest.mark.parametrize("header, options, expected", [
    (v1(), [], 550), (v1(), ["--relay-from=192.0.2.0/24"], 250),
    (v2(), ["--relay-from=127.0.0.1"], 550),
    (v1("127.0.0.1"), [], 250), *((header, [], 550) for header in UNNAMED.values()),
    (UNNAMED["LOCAL"], ["--relay-from=0.0.0.0/0,::/0,local"], 550)])  # fmt: skip
def test_relay_from_is_about_the_client(release, tmp_path, header, options, expected):
    with Upstream() as up:
        argv = command(release, FROM, "--strategy=proxy", f"--upstream={up.endpoint}",
                       "--relay-to=example.com", *options)
        said, log = talk(argv, tmp_path, header + MAIL)
        assert said == [220, 250, 250, expected, 221]
        assert len(lines(log, "rejected")) == (expected == 550)


@pytest.mark.parametrize("header, attributes", [
    (v1(), b"ADDR=192.0.2.1 PORT=4711"), (v2("2001:db8::1"), b"ADDR=IPV6:2001:db8::1 PORT=4711"),
    (UNNAMED["v1"], b"ADDR=[UNAVAILABLE]")])
@pytest.mark.parametrize("pair, source", [(tcp_pair, "127.0.0.1"), (socket.socketpair, "local")],
                         ids=["tcp", "local"])
def test_xclient_names_the_client(release, tmp_path, header, attributes, pair, source):
    with Upstream(extensions=(*EVERYTHING, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN")) as up:
        argv = command(release, f"--proxy-from={source}", "--strategy=proxy",
                       f"--upstream={up.endpoint}", "--relay-to=example.com", "--xclient=yes")
        assert talk(argv, tmp_path, header + SAID, pair())[0] == REPLIES
        (said,) = [line for line in up.commands if line.startswith(b"XCLIENT")]
        assert said.startswith(b"XCLIENT " + attributes + b" HELO=c")


def test_loopback_of_another_host_is_not_ours(release, folder):
    need_root()
    with network() as add_address:
        add_address("192.0.2.9/32")
        with Acceptor(release, folder, "--proxy-from=192.0.2.9,127.0.0.1") as acceptor:
            for source, client, peer in (("192.0.2.9", "127.0.0.1", b"unknown"),
                                         ("192.0.2.9", "::1", b"unknown"),
                                         ("192.0.2.9", "127.1.2.3", b"unknown"),
                                         ("192.0.2.9", "192.0.2.1", b"192.0.2.1"),
                                         ("127.0.0.1", "127.0.0.1", b"127.0.0.1")):
                with acceptor.client(source=source) as session:
                    session.say(v2(client))
                    session.expect((None, b"220 "))
                    session.quit()
                wait_until(lambda: lines(acceptor.err(), "session"), "its end")
                assert lines(acceptor.err(), "session")[-1]["peer"] == peer
                wait_until(lambda: not acceptor.sessions(), "no session")
            # an address that is not listed names nobody
            add_address("192.0.2.66/32")
            with acceptor.client(source="192.0.2.66") as session:
                session.say(v1("127.0.0.1"))
                session.expect((None, b"220 "), (None, b"554 "))
            wait_until(lambda: lines(acceptor.err(), "session")[-1]["peer"] == b"192.0.2.66",
                       "its line")


# --- what is no header ---------------------------------------------------------------------------

NONE = {
    "SMTP": SAID, "HTTP": b"GET / HTTP/1.1\r\n\r\n", "TLS": b"\x16\x03\x01\x02\0\x01",
    "not yet": b"PROXY TCP4 192.0.2.1\r\n",
    "v1, bare LF": b"PROXY UNKNOWN\n", "v1, endless": b"PROXY UNKNOWN " + b"x" * 100,
    "v1, port": v1(port=65536), "empty lines": b"\r\n\r\n\r\n",
    "v2, version": octets(0x11, 0x11), "v2, command": octets(0x22, 0x11),
    "v2, family": octets(PROXY, 0x41), "v2, short": octets(PROXY, 0x11, bytes(11)),
    "v2, too long": octets(LOCAL, 0, bytes(2049)), "v2, value": v2(values=b"\x04\xff\xff"),
    "v2, sum": v2(values=value(3, bytes(4))),
}  # fmt: skip


@pytest.mark.parametrize("said", NONE.values(), ids=NONE)
def test_no_header_no_word(release, tmp_path, said):
    codes_, log = talk(command(release, FROM), tmp_path, said)
    assert codes_ == [] and end_of(log) == b"no PROXY header: the connection began with something else"
    line = one(log, "session")
    assert (line["peer"], line["via"], line["commands"]) == (b"unknown", b"127.0.0.1", b"0")


def test_half_a_header_and_silence(release, folder):
    """Each beginning of each kind of header, side by side: five seconds, and not a word."""
    headers = (v1(), v2(), v2(values=tls() + value(2, b"mx.example.com")))
    beginnings = sorted({header[:n] for header in headers for n in range(len(header))})
    with (Acceptor(release, folder, FROM, "--max-connections=1000", "--timeout=300") as acceptor,
          contextlib.ExitStack() as stack):
        began = time.monotonic()
        clients = [stack.enter_context(Client(acceptor.address)) for _ in beginnings]
        for client, said in zip(clients, beginnings):
            client.deadline += 60  # a busy machine
            client.say(said)
        for client in clients:
            assert client.read_to_end() == b""
        assert time.monotonic() - began >= 5
        wait_until(lambda: len(lines(acceptor.err(), "session")) == len(beginnings), "all lines")
        assert {end_of(b"smtpd: " + line)
                for line in acceptor.log("session")} == {
                        b"no PROXY header: none came within five seconds"}


@pytest.mark.parametrize("said", [b"", v1()[:20], v2()[:14]], ids=["nothing", "v1", "v2"])
@pytest.mark.parametrize("how", ["end", "reset"])
def test_half_a_header_and_the_end(smtpd, tmp_path, said, how):
    with Session(command(smtpd, FROM), tmp_path, tcp_pair()) as session:
        session.say(said)
        if how == "reset":
            time.sleep(0.05)
            reset(session.ours)
        else:
            session.ours.shutdown(socket.SHUT_WR)
            assert session.read_to_end() == b""
        assert session.status() == 0
        if how == "end":
            assert end_of(session.err()) == (b"no PROXY header: the header is incomplete" if said
                                             else b"the client closed the connection")
        assert not lines(session.err(), "message")


def test_stopped_before_a_header(smtpd, tmp_path):
    with Session(command(smtpd, FROM), tmp_path, tcp_pair()) as session:
        session.say(v1()[:9])
        time.sleep(0.3)
        session.process.send_signal(signal.SIGTERM)
        assert session.read_to_end() == b"" and session.status() == 0


def test_header_needs_a_socket(release, tmp_path):
    """What comes by a pipe cannot be looked at without taking it: closed, not believed."""
    done = subprocess.run(command(release, "--proxy-from=192.0.2.9"), input=v1() + SAID,
                          capture_output=True, timeout=PATIENCE,
                          env=environment(REMOTE_ADDR="192.0.2.9"))
    assert done.stdout == b"" and b"no PROXY header: Socket operation on non-socket" in done.stderr


# --- accepting -----------------------------------------------------------------------------------


def test_balancers_are_exempt_from_the_limit_per_source(smtpd, folder):
    with (Acceptor(smtpd, folder, "--proxy-from=127.0.0.9",
                   "--max-connections-per-source=1") as acceptor, contextlib.ExitStack() as stack):
        for _ in range(4):
            client = stack.enter_context(acceptor.client(source="127.0.0.9"))
            client.say(v1())
            client.expect((None, b"220 "))
        stack.enter_context(acceptor.client("greeting"))
        with acceptor.client() as client:
            assert client.refusal().startswith(b"421 4.7.0 too many connections from you")


def test_health_checks_are_for_debugging(release, tmp_path):
    """The priorities of what a balancer's looks at us leave in the log."""
    looks = {b"": 7, UNNAMED["LOCAL"]: 7, UNNAMED["v1"] + b"EHLO probe\r\nQUIT\r\n": 7,
             v1("127.0.0.1"): 7,
             UNNAMED["LOCAL"] + SAID: 6, v1() + b"QUIT\r\n": 6, b"EHLO c\r\n": 4, v1()[:5]: 4}
    found = []
    with Journald(tmp_path) as journald:
        for i, said in enumerate(looks):
            stream, name = journald.stream(f"look{i}")
            pair = tcp_pair()
            with (stream,
                  Session(journald.inside(*command(release, FROM)), tmp_path, pair,
                          env=environment(JOURNAL_STREAM=name), err=stream) as session):
                session.say(said)
                session.ours.shutdown(socket.SHUT_WR)
                session.read_to_end()
                session.status()
            entries = journald.entries(f"SYSLOG_IDENTIFIER=look{i}")
            found += [int(entry["PRIORITY"][0]) for entry in entries
                      if entry["MESSAGE"][0].startswith(b"session ")]
    assert found == list(looks.values())


# --- what it costs -------------------------------------------------------------------------------


def test_a_header_costs_few_system_calls(release, tmp_path):
    """Looked at, taken; and of waiting once more than without."""
    counts = []
    for options, header in (([], b""), ([FROM], v2())):
        with Session([need("strace"), "-qq", "-o", tmp_path / "trace", *command(release, *options)],
                     tmp_path, tcp_pair()) as session:
            session.say(header + SAID)
            session.read_to_end()
            session.status()
        counts.append(len(re.findall(r"^\w+\(", (tmp_path / "trace").read_text(), re.M)))
    assert counts[1] - counts[0] <= 6, counts
