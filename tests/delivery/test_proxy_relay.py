# SPDX-License-Identifier: MIT
"""Strategy proxy: who may send to whom (relay-to, relay-from), and what is no way around it."""

import subprocess

import pytest
from proxy import check_honest, play, proxy
from session import codes, environment, replies, reset as reset_client, run, tcp_pair
from upstream import Upstream


def ask(smtpd, recipients, *options, env=None):
    """The codes of RCPT for a client through a pipe, and what the upstream heard of them."""
    said = b"EHLO x\r\nMAIL FROM:<a@example.org>\r\n" + b"".join(b"RCPT TO:%s\r\n" % r
                                                                 for r in recipients) + b"QUIT\r\n"
    with Upstream() as up:
        status, out, _ = run(proxy(smtpd, up, "--max-errors=1000", *options), said, env=env)
        found = replies(out)
        assert status == 0 and len(found) == len(recipients) + 4
        yes = [code == 250 for code, _ in found[3:-1]]
        for code, text in found[3:-1]:
            assert code == 250 or (code == 550 and text.startswith(b"5.7.1 "))
        heard = [c.removeprefix(b"RCPT TO:") for c in up.commands if c.startswith(b"RCPT")]
        assert len(heard) == sum(yes), "the upstream hears only of those who are allowed"
        return yes


STRANGER = "--peer=192.0.2.1"
LIST = "--relay-to=example.com,.Example.NET"


@pytest.mark.parametrize(("domain", "is_allowed"), [
    ("example.com", True), ("EXAMPLE.com", True), ("sub.example.com", False), ("example.net", True),
    ("sub.example.net", True),
    ("a.b.EXAMPLE.NET", True), ("badexample.net", False), ("example.net.evil.org", False),
    ("example.org", False), ("com", False),
    ("net", False), ("[127.0.0.1]", False), ("[IPv6:::1]", False), ("example.comm", False),
    ("xexample.com", False), ("localhost", False),
])  # fmt: skip
def test_relay_to(smtpd, domain, is_allowed):
    assert ask(smtpd, [b"<b@%s>" % domain.encode()], STRANGER, LIST) == [is_allowed]


def test_relay_to_does_not_bind_friends(smtpd):
    assert ask(smtpd, [b"<b@example.org>", b"<b@example.com>"], LIST) == [True, True]


@pytest.mark.parametrize(("peer", "is_allowed"), [
    ("127.0.0.1", True), ("127.255.255.254", True), ("::1", True), ("::ffff:127.0.0.1", True),
    ("local", True), ("192.0.2.1", False),
    ("128.0.0.1", False), ("126.255.255.255", False), ("10.0.0.1", False), ("::2", False),
    ("fe80::1", False), ("::", False), ("0.0.0.0", False),
    ("::127.0.0.1", False),
])  # fmt: skip
def test_relay_from_default(smtpd, peer, is_allowed):
    """Without relay-to and relay-from: loopback and local clients, and nobody else."""
    assert ask(smtpd, [b"<b@example.org>", b"<c@example.com>"],
               f"--peer={peer}") == [is_allowed] * 2


def test_peers_of_the_environment(smtpd):
    who = b"<b@example.org>"
    assert ask(smtpd, [who], env=environment(TCPREMOTEIP="192.0.2.1")) == [False]
    assert ask(smtpd, [who], env=environment(REMOTE_ADDR="2001:db8::1")) == [False]
    assert ask(smtpd, [who], env=environment(TCPREMOTEIP="127.0.0.1")) == [True]
    assert ask(smtpd, [who], "--peer=127.0.0.1",
               env=environment(
                   TCPREMOTEIP="192.0.2.1")) == [False], "--peer is only for pipes from nobody"


@pytest.mark.parametrize(("networks", "peer", "is_allowed"), [
    ("192.0.2.0/24", "192.0.2.255", True), ("192.0.2.0/24", "192.0.3.0", False),
    ("192.0.2.0/23", "192.0.3.7", True),
    ("192.0.2.128/25", "192.0.2.127", False), ("192.0.2.128/25", "192.0.2.128", True),
    ("10.32.0.0/11", "10.63.255.255", True),
    ("10.32.0.0/11", "10.64.0.0", False), ("10.32.0.0/11", "10.31.255.255", False),
    ("192.0.2.1/32", "192.0.2.1", True), ("192.0.2.1", "192.0.2.1", True),
    ("192.0.2.1", "192.0.2.2", False), ("192.0.2.0/31", "192.0.2.1", True),
    ("192.0.2.0/31", "192.0.2.2", False), ("0.0.0.0/0", "203.0.113.9", True),
    ("0.0.0.0/0", "2001:db8::1", False), ("::/0", "192.0.2.1", False),
    ("::/0", "2001:db8::1", True), ("2001:db8::/32", "2001:db8:ffff::1", True),
    ("2001:db8::/32", "2001:db9::1", False), ("2001:db8::/33", "2001:db8:7fff::1", True),
    ("2001:db8::/33", "2001:db8:8000::1", False),
    ("2001:db8::/127", "2001:db8::1", True), ("2001:db8::/127", "2001:db8::2", False),
    ("0.0.0.0/1", "127.0.0.1", True), ("128.0.0.0/1", "127.0.0.1", False),
    # it replaces the default
    ("192.0.2.0/24", "127.0.0.1", False), ("192.0.2.0/24", "::1", False),
    ("192.0.2.0/24", "local", False), ("local", "local", True),
    ("local", "127.0.0.1", False), ("127.0.0.1,192.0.2.7", "192.0.2.7", True),
    ("127.0.0.1,192.0.2.7", "local", False),
    ("::ffff:192.0.2.0/120", "192.0.2.1", True), ("192.0.2.77/24", "192.0.2.1", True),
])  # fmt: skip
def test_relay_from(release, networks, peer, is_allowed):
    assert ask(release, [b"<b@example.org>"], f"--relay-from={networks}",
               f"--peer={peer}") == [is_allowed]


def test_postmaster(smtpd):
    """Without a domain it is always welcome; with one, it is an address like others."""
    names = [b"<Postmaster>", b"<POSTMASTER>", b"<postmaster@example.org>",
             b"<postmaster@example.com>"]
    assert ask(smtpd, names, STRANGER, "--relay-to=example.com") == [True, True, False, True]
    assert ask(smtpd, names[:2], STRANGER) == [True, True]


ROUTES = [b"<user%elsewhere.org@example.com>", b"<elsewhere.org!user@example.com>",
          b'<"user@elsewhere.org"@example.com>', b"<@example.com:user@elsewhere.org>",
          b"<@elsewhere.org:user@example.com>", b"<@a.org,@b.org:user@example.com>",
          b'<"a%b"@example.com>', b'<"a!b"@example.com>', b"<%@example.com>", b"<!@example.com>",
          # fmt: skip
          b'<"\\@"@example.com>', b"<a%b%c@example.com>", b"<x!y%z@example.com>",
          b"<@example.com:user@example.com>"]


@pytest.mark.parametrize("options",
                         [["--peer=local"], ["--peer=127.0.0.1"],
                          [STRANGER, "--relay-to=example.com,elsewhere.org"],
                          [STRANGER, "--relay-from=0.0.0.0/0"]])
def test_routing_by_the_sender(smtpd, options):
    assert ask(smtpd, ROUTES, *options) == [False] * len(ROUTES)


def test_routes_of_senders_do_no_harm(smtpd, tmp_path):
    """Only recipients are refused for it."""
    with Upstream() as up:
        outcome = play(proxy(smtpd, up), tmp_path,
                       mail=b"MAIL FROM:<@a.example:bounce%x@example.org>")
        check_honest(outcome, up)
        assert up.commands[1] == b"MAIL FROM:<bounce%x@example.org>"


def test_peer_that_has_already_gone(smtpd, tmp_path):
    """Whoever it was, it is not a local client: its socket has no peer that one could ask for."""
    ours, theirs = tcp_pair()
    ours.sendall(b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT "
                 b"TO:<b@example.org>\r\nDATA\r\n\r\nspam\r\n.\r\nQUIT\r\n")
    reset_client(ours)
    with Upstream() as up, theirs:
        argv = proxy(smtpd, up, "--relay-from=local")
        done = subprocess.run(argv, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE,
                              env=environment(), timeout=10)
        assert done.returncode == 0 and b"left before the session began" in done.stderr
        assert up.connections == []


def test_all_recipients_refused(smtpd, tmp_path):
    """Then there is no DATA, here or there."""
    with Upstream() as up:
        said = b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nQUIT\r\n"
        out = run(proxy(smtpd, up, STRANGER), said)[1]
        assert codes(out)[:5] == [220, 250, 250, 550, 503] and b"DATA" not in up.commands
        assert up.messages == []
