# SPDX-License-Identifier: MIT
"""Who the client is: by the connection, and by the variables of whoever passes on what it says. A
peer that somebody names and that cannot be read is nobody's friend: never local, never in
relay-from, never a transcript."""

import contextlib
import os
import socket
import subprocess

import pytest
from acceptor import Acceptor, folder
from conftest import need
from peers import CONNECTIONS, DIALOGUE, REPLIES, SYSTEMD, UNKNOWN, V4, mapped_pair, message
from session import (PATIENCE, Session, codes, command, environment, printed, replies, reset, run,
                     tcp_pair, wait_until)

_ = folder  # a fixture

# What the environment says, and who the client is then, if it does not come from elsewhere by
# itself.
NAMED = [
    (V4, "192.0.2.9"),
    (SYSTEMD, "2001:db8::9"),
    ({"REMOTE_HOST": "192.0.2.9"}, "192.0.2.9"),
    ({"TCP6REMOTEIP": "::ffff:192.0.2.9"}, "192.0.2.9"),
    ({"SOCAT_PEERADDR": "192.0.2.9"}, "192.0.2.9"),
    ({"NCAT_REMOTE_ADDR": "2001:db8::9"}, "2001:db8::9"),
    # other spellings
    ({"TCPREMOTEIP": "::ffff:192.0.2.9"}, "192.0.2.9"),
    ({"TCPREMOTEIP": "2001:0DB8:0::9"}, "2001:db8::9"),
    ({"SOCAT_PEERADDR": "[2001:0db8:0000:0000:0000:0000:0000:0009]"}, "2001:db8::9"),
    ({"REMOTE_ADDR": "fe80::1%v0"}, "fe80::1"),
    ({"SOCAT_PEERADDR": "[fe80::1%2]"}, "fe80::1"),
    ({"REMOTE_ADDR": "::1"}, "::1"),
    ({"REMOTE_ADDR": "192.0.2.9", "REMOTE_PORT": "many"}, "192.0.2.9"),
    # several
    ({"TCPREMOTEIP": "192.0.2.9", "TCP6REMOTEIP": "::ffff:192.0.2.9"}, "192.0.2.9"),
    ({"REMOTE_ADDR": "2001:db8::9", "SOCAT_PEERADDR": "[2001:DB8::0009]"}, "2001:db8::9"),
    ({"REMOTE_ADDR": "fe80::1%v0", "TCP6REMOTEIP": "fe80::1"}, "fe80::1"),
    (V4 | SYSTEMD, UNKNOWN),
    ({"REMOTE_ADDR": "192.0.2.9", "REMOTE_HOST": "192.0.2.8"}, UNKNOWN),
    ({"REMOTE_ADDR": "127.0.0.1", "NCAT_REMOTE_ADDR": "192.0.2.8"}, UNKNOWN),
    # no addresses
    ({"REMOTE_ADDR": "nonsense"} | V4, UNKNOWN),
    ({"REMOTE_ADDR": "nonsense", "TCPREMOTEIP": "nonsense"}, UNKNOWN),
    ({"TCPREMOTEIP": "client.example.org"}, UNKNOWN),
    ({"REMOTE_HOST": "localhost"}, UNKNOWN),
    ({"TCPREMOTEIP": "192.0.2.9\nX-Evil: yes"}, UNKNOWN),
    ({"TCPREMOTEIP": "local"}, UNKNOWN),
    ({"TCPREMOTEIP": ""}, UNKNOWN),
    ({"SOCAT_PEERADDR": "<anon>"}, UNKNOWN),
    ({"SOCAT_PEERADDR": "[192.0.2.9]"}, UNKNOWN),
    ({"SOCAT_PEERADDR": "[2001:db8::9"}, UNKNOWN),
    ({"SOCAT_PEERADDR": "2001:db8::9]"}, UNKNOWN),
    ({"SOCAT_PEERADDR": "["}, UNKNOWN),
    ({"SOCAT_PEERADDR": "[]"}, UNKNOWN),
    ({"REMOTE_ADDR": "192.0.2.9%v0"}, UNKNOWN),
    ({"REMOTE_ADDR": "192.0.2.9%v0:1"}, UNKNOWN),
    ({"REMOTE_ADDR": "fe80::1%"}, UNKNOWN),
    ({"REMOTE_ADDR": "%v0"}, UNKNOWN),
    ({"REMOTE_ADDR": " 192.0.2.9"}, UNKNOWN),
    ({"REMOTE_ADDR": "fe80::1%" + "v" * 500}, UNKNOWN),
    ({"REMOTE_ADDR": "1" * 5000}, UNKNOWN),
]


def as_ids(env):
    return " ".join(f"{k}={v[:24]}" for k, v in env.items()) if isinstance(env, dict) else env


def converse(session):
    session.say(DIALOGUE)
    said = session.read_to_end()
    return session.status(), codes(said), session.messages()


# --- by the connection ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CONNECTIONS)
def test_connection(smtpd, tmp_path, kind):
    make, peer = CONNECTIONS[kind]
    options = command(smtpd, *(["--peer=192.0.2.200"] if kind != "unix" else []))
    with Session(options, tmp_path, make()) as session:
        assert converse(session) == (0, REPLIES, [message(peer)])


@pytest.fixture(scope="module")
def own_address():
    """An address of this host that is not loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with contextlib.suppress(OSError):
            sock.connect(("192.0.2.1", 9))  # sends nothing
            if not sock.getsockname()[0].startswith("127."):
                return sock.getsockname()[0]
    pytest.skip("this host has loopback only")


@pytest.mark.parametrize("env",
                         [V4, SYSTEMD, {"REMOTE_ADDR": "127.0.0.1"}, {"REMOTE_HOST": "nonsense"}],
                         ids=as_ids)
@pytest.mark.parametrize("make", [tcp_pair, mapped_pair], ids=["tcp4", "mapped"])
def test_connection_from_elsewhere_beats_the_environment(smtpd, tmp_path, own_address, make, env):
    """Nobody on this host stands between."""
    with Session(command(smtpd), tmp_path, make(address=own_address),
                 env=environment(**env)) as session:
        assert converse(session) == (0, REPLIES, [message(own_address)])


def test_log_names_the_peer(smtpd, tmp_path):
    ours, theirs = tcp_pair()
    port = ours.getsockname()[1]
    with Session(command(smtpd), tmp_path, (ours, theirs),
                 env=environment(REMOTE_ADDR="127.0.0.1")) as session:
        converse(session)
        # the message's line and the session's
        assert session.err().count(b" peer=127.0.0.1 port=%d " % port) == 2


def test_log_names_the_port_that_is_named(smtpd, tmp_path):
    with Session(command(smtpd), tmp_path, tcp_pair(), env=environment(**V4)) as session:
        converse(session)
        assert session.err().count(b" peer=192.0.2.9 port=99 ") == 2


def test_log_names_the_user_of_a_local_socket(smtpd, tmp_path):
    with Session(command(smtpd), tmp_path) as session:
        converse(session)
        assert session.err().count(b" peer=local uid=%d " % os.getuid()) == 2


def gone_pair():
    ours, theirs = tcp_pair()
    ours.sendall(DIALOGUE)
    reset(ours)
    wait_until(lambda: not is_connected(theirs), "the reset")
    return theirs


def is_connected(sock):
    try:
        return bool(sock.getpeername())
    except OSError:
        return False


@pytest.mark.parametrize("env, options, peer",
                         [({}, [], b"unknown"), ({}, ["--peer=192.0.2.7:25"], b"192.0.2.7 port=25"),
                          (V4, ["--peer=192.0.2.7"], b"192.0.2.9 port=99")])
def test_client_that_has_gone(smtpd, env, options, peer):
    """There is no session, but the log says whose it would have been, as far as anybody knows."""
    with gone_pair() as theirs:
        done = subprocess.run(command(smtpd, *options), stdin=theirs, stdout=theirs,
                              stderr=subprocess.PIPE,
                              env=environment(**env), timeout=PATIENCE)
    assert done.returncode == 0 and printed(done.stderr) == []
    assert b'smtpd: session peer=%s end="the client left before the session began"\n' % peer in done.stderr


# --- by the environment ---------------------------------------------------------------------------


@pytest.mark.parametrize("env, peer", NAMED, ids=as_ids)
def test_peer_of_a_pipe(smtpd, env, peer):
    status, out, err = run(command(smtpd), DIALOGUE, environment(**env))
    assert (status, codes(out), printed(err)) == (0, REPLIES, [message(peer)])
    status, out, err = run(command(smtpd), DIALOGUE.replace(b"\r\n", b"\n"), environment(**env))
    assert (status, codes(out), printed(err)) == (0, [220, 554], []), "it is no transcript"


@pytest.mark.parametrize("kind", CONNECTIONS)
@pytest.mark.parametrize("env, peer", [NAMED[i] for i in (0, 1, 8, 9, 16, 19, 26)], ids=as_ids)
def test_peer_of_a_connection_on_this_host(release, tmp_path, kind, env, peer):
    with Session(command(release), tmp_path, CONNECTIONS[kind][0](),
                 env=environment(**env)) as session:
        assert converse(session) == (0, REPLIES, [message(peer)])


@pytest.mark.parametrize("env, options, peer", [
    ({}, [], "local"),
    (V4, ["--peer=192.0.2.200"], "192.0.2.9"),
    ({"REMOTE_ADDR": "nonsense"}, ["--peer=127.0.0.1"], UNKNOWN),
    ({}, ["--peer=192.0.2.200"], "192.0.2.200"),
    ({}, ["--peer=192.0.2.200:4000"], "192.0.2.200"),
    ({}, ["--peer=2001:DB8:0::1"], "2001:db8::1"),
    ({}, ["--peer=[2001:db8::1]:25"], "2001:db8::1"),
    ({}, ["--peer=::ffff:192.0.2.200"], "192.0.2.200"),
    ({}, ["--peer=local"], "local"),
    ({}, ["--x-peer=no"], None),
    (V4, ["--x-peer=no"], None),
])
def test_peer_that_is_pretended(smtpd, env, options, peer):
    status, out, err = run(command(smtpd, *options), DIALOGUE, environment(**env))
    assert (status, codes(out), printed(err)) == (0, REPLIES, [message(peer)])


@pytest.mark.parametrize("env, peer", [(V4, "192.0.2.9"), ({"REMOTE_ADDR": "nonsense"}, UNKNOWN)],
                         ids=as_ids)
def test_peer_of_a_file(smtpd, tmp_path, env, peer):
    """A regular file is a transcript although the environment names a peer, but none that cannot be
    read."""
    for line_end in (b"\n", b"\r\n"):
        is_strict = peer == UNKNOWN and line_end == b"\n"
        (tmp_path / "session.txt").write_bytes(DIALOGUE.replace(b"\r\n", line_end))
        with open(tmp_path / "session.txt", "rb") as stdin:
            done = subprocess.run(command(smtpd), stdin=stdin, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE,
                                  env=environment(**env), timeout=PATIENCE)
        expected = (0, [220, 554], []) if is_strict else (0, REPLIES, [message(peer)])
        assert (done.returncode, codes(done.stdout), printed(done.stderr)) == expected


# Who may have mail passed on to anywhere: with the default, and with networks that are meant to be
# everybody.
EVERYBODY = "--relay-from=0.0.0.0/0,::/0,local"


@pytest.mark.parametrize("kind", ["pipe", *CONNECTIONS])
@pytest.mark.parametrize("env, options, may_relay", [
    ({}, [], True),
    ({"REMOTE_ADDR": "127.0.0.1"}, [], True),
    ({"REMOTE_HOST": "192.0.2.9"}, [], False),
    ({"REMOTE_HOST": "192.0.2.9"}, ["--relay-from=192.0.2.0/24"], True),
    ({"REMOTE_ADDR": "nonsense"}, [], False),
    ({"REMOTE_ADDR": "nonsense"}, [EVERYBODY], False),
    (V4 | SYSTEMD, [EVERYBODY], False),
    (V4, [EVERYBODY], True),
], ids=as_ids)
def test_who_may_relay(release, tmp_path, kind, env, options, may_relay):
    """Without an upstream MAIL and RCPT are asked of our own rules first."""
    argv = command(release, "--strategy=mailman", "--mailman=/no/such/socket", *options)
    said = DIALOGUE[: DIALOGUE.index(b"DATA")] + b"QUIT\r\n"
    if kind == "pipe":
        _, out, _ = run(argv, said, environment(**env))
    else:
        with Session(argv, tmp_path, CONNECTIONS[kind][0](), env=environment(**env)) as session:
            session.say(said)
            out = session.read_to_end()
    verdict = replies(out)[3]
    assert verdict == (451, verdict[1]) if may_relay else verdict == (550, b"5.7.1 relaying denied")


# --- of the acceptor ------------------------------------------------------------------------------


def test_sessions_of_the_acceptor(smtpd, folder):
    """The variables are not about its clients; programs that sessions run do not see them
    either."""
    (folder / "deliver").write_text(f"#!/bin/sh\nenv >{folder}/environment\n")
    (folder / "deliver").chmod(0o755)
    env = environment(**V4, **SYSTEMD, REMOTE_HOST="x", TCP6REMOTEIP="x", TCP6REMOTEPORT="1",
                      SOCAT_PEERADDR="x", SOCAT_PEERPORT="1",
                      NCAT_REMOTE_ADDR="x", NCAT_REMOTE_PORT="1", KEPT="kept")
    with Acceptor(smtpd, folder, "--strategy=exec", f"--command={folder}/deliver",
                  env=env) as acceptor:
        assert acceptor.serve_one() == b"250 2.0.0 delivered"
    found = dict(line.split("=", 1) for line in (folder / "environment").read_text().splitlines()
                 if "=" in line)
    assert found["SMTPD_PEER"] == "127.0.0.1" and found["KEPT"] == "kept"
    assert [name for name in found
            if name.startswith(("REMOTE_", "TCPREMOTE", "TCP6REMOTE", "SOCAT_PEER", "NCAT_"))] == []


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "{folder}/socket"])
def test_acceptor_says_who_a_client_was(release, folder, listen):
    """One that is gone before its session looks."""
    with Acceptor(release, folder, listen=listen.format(folder=folder), prefix=[
            need("strace"), "-D", "-f", "-qq", "-o", "/dev/null", "-e",
        "inject=getpeername:error=ENOTCONN"]) as acceptor:
        with acceptor.client() as client:
            name = client.ours.getsockname()
            assert client.read_to_end() == b""
        (line,) = wait_until(lambda: acceptor.log("session"), "the log")
    peer = "local" if not name else f"{name[0]} port={name[1]}"
    assert line == b'session peer=%s end="the client left before the session began"' % peer.encode()
