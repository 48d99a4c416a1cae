# SPDX-License-Identifier: MIT
"""How many clients an acceptor lets in, altogether and from one source, and what those beyond hear
and leave in the log."""

import contextlib
import os
import signal
import socket
import time

import pytest
from accepting import MESSAGE, TOO_MANY, TOO_MANY_FROM_YOU, WHOLE_SESSION, refusals
from acceptor import Acceptor, Client, connect, effective_user, folder, network, read_all
from conftest import need_root
from logs import lines
from processes import zombies
from session import PATIENCE, environment, reset, wait_until

_ = folder  # a fixture


def test_max_connections(smtpd, folder):
    with (Acceptor(smtpd, folder, "--max-connections=3") as acceptor,
          contextlib.ExitStack() as stack):
        slow = [stack.enter_context(acceptor.client("greeting", f"127.0.0.{n}")) for n in (2, 3, 4)]
        before = acceptor.sessions()
        for _ in range(10):
            with acceptor.client() as client:
                assert client.refusal() == TOO_MANY
        assert acceptor.sessions() == before and len(before) == 3 and not zombies(acceptor.pid)
        slow[1].quit()
        acceptor.wait_for_sessions(2)
        with acceptor.client("EHLO") as client:
            assert client.send_message(MESSAGE).startswith(b"250 ")
            with acceptor.client() as another:
                assert another.refusal() == TOO_MANY
        reset(slow[0].ours)
        slow[2].ours.close()
        acceptor.wait_for_sessions(0)
        acceptor.serve_one()


@pytest.mark.parametrize("n", [1, 25], ids=["session", "25-sessions"])
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "{folder}/socket"], ids=["IPv4", "local"])
def test_refused_client_that_talks_at_once_hears_why(smtpd, folder, listen, n):
    """What it has sent is there before it is refused: left unread it would reset the connection,
    and our words with it."""
    listen = listen.format(folder=folder)
    with (Acceptor(smtpd, folder, "--max-connections=1", listen=listen) as acceptor,
          acceptor.client("EHLO")):
        acceptor.signal(signal.SIGSTOP)
        with contextlib.ExitStack() as stack:
            early = [stack.enter_context(connect(acceptor.address)) for _ in range(20)]
            for client in early:
                client.sendall(WHOLE_SESSION * n)
            acceptor.signal(signal.SIGCONT)
            assert [read_all(client) for client in early] == [TOO_MANY] * 20


def test_max_connections_per_source(smtpd, folder):
    with Acceptor(smtpd, folder, "--max-connections-per-source=2") as acceptor:
        with acceptor.client("EHLO", "127.0.0.2") as one, acceptor.client("EHLO", "127.0.0.2"):
            with acceptor.client(None, "127.0.0.2") as third:
                assert third.refusal() == TOO_MANY_FROM_YOU
            with acceptor.client("EHLO", "127.0.0.1"), acceptor.client("EHLO", "127.0.0.3"):
                assert len(acceptor.sessions()) == 4
            acceptor.wait_for_sessions(2)
            one.quit()
            acceptor.wait_for_sessions(1)
            with acceptor.client("EHLO", "127.0.0.2"):
                pass


def refused_peers(acceptor, n):
    """Who was turned away, as the log names them."""
    wait_until(lambda: len(acceptor.log("refused ")) == n, "the log")
    return [{k: v for k, v in line.fields if k in ("peer", "port", "uid")}
            for line in lines(acceptor.err(), "refused")]


def test_who_was_turned_away(smtpd, folder):
    with Acceptor(smtpd, folder, "--max-connections-per-source=1") as acceptor:
        with acceptor.client("EHLO", "127.0.0.2"), acceptor.client(None, "127.0.0.2") as second:
            port = b"%d" % second.ours.getsockname()[1]
            assert second.refusal() == TOO_MANY_FROM_YOU
        assert refused_peers(acceptor, 1) == [{"peer": b"127.0.0.2", "port": port}]
    with Acceptor(smtpd, folder, "--max-connections-per-source=1",
                  listen=str(folder / "socket")) as acceptor:
        with acceptor.client("EHLO"), acceptor.client() as second:
            assert second.refusal() == TOO_MANY_FROM_YOU
        assert refused_peers(acceptor, 1) == [{"peer": b"local", "uid": b"%d" % os.getuid()}]


TIMEOUT = b"421 4.4.2 timeout: no input from you, closing connection"
FIVE_SOURCES = [f"127.0.0.{n}" for n in range(2, 7)]


def test_silent_clients_do_not_keep_others_out(release, folder):
    """Five addresses can have all sessions there are. Those that come late have to be quick, and
    come again; somebody else gets in all the same, and has all the time that a session needs."""
    with Acceptor(release, folder) as acceptor, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(acceptor.client("greeting", source))
                  for source in FIVE_SOURCES for _ in range(20)]
        with acceptor.client() as client:
            assert client.refusal() == TOO_MANY
        began = time.monotonic()
        late = silent[67:]
        assert [client.reply() for client in late] == [TIMEOUT] * len(late)
        assert 5 < time.monotonic() - began < 60  # and not 300
        for client in late:
            client.ours.close()
        wait_until(lambda: len(acceptor.sessions()) == 67, "the end of those that were late")
        with acceptor.client("EHLO") as client:
            assert client.send_message(MESSAGE) == b"250 2.0.0 printed"
            client.quit()
        assert len(acceptor.sessions()) in (67, 68)


@pytest.mark.parametrize("options, n_patient, timeout, n_errors", [
    (["--max-connections=3"], 2, 10, 5),
    (["--max-connections=4", "--timeout=1", "--max-errors=2"], 3, 1, 2),
    (["--max-connections=1"], 1, 300, 20),
], ids=["three", "less-anyway", "one"])
def test_sessions_under_load(release, folder, options, n_patient, timeout, n_errors):
    """From two thirds on; what the configuration says less of, stays."""
    def options_of(pid):
        with open(f"/proc/{pid}/cmdline") as file:
            return [word for word in file.read().split("\0")
                    if word.startswith(("--timeout", "--max-errors"))]

    hurried = [f"--timeout={timeout}", f"--max-errors={n_errors}"]
    with Acceptor(release, folder, *options) as acceptor, contextlib.ExitStack() as stack:
        seen = []
        for _ in range(int(options[0][-1])):
            client = stack.enter_context(acceptor.client("greeting"))
            (pid,) = set(acceptor.sessions()) - set(seen)
            assert options_of(pid) == (hurried if len(seen) >= n_patient else [])
            seen.append(pid)
        assert [client.ask(b"NONSENSE")[:3]
                for _ in range(n_errors + 1)] == [b"500"] * n_errors + [b"421"]


def test_source_of_ipv6_is_a_network(release, folder):
    """Of 64 bits: whoever has one address has the others of it too."""
    need_root()
    with network() as add_address:
        for address in ("2001:db8:0:1::1/128", "2001:db8:0:1:ffff::2/128", "2001:db8:0:2::1/128"):
            add_address(address)
        with Acceptor(release, folder, "--max-connections-per-source=1",
                      listen="[::]:0") as acceptor:
            port = acceptor.address.rsplit(":", 1)[1]
            with Client(f"[2001:db8:0:2::1]:{port}", "2001:db8:0:1::1") as one:
                one.begin("EHLO")
                with Client(f"[2001:db8:0:2::1]:{port}", "2001:db8:0:1:ffff::2") as neighbour:
                    assert neighbour.refusal() == TOO_MANY_FROM_YOU
                with Client(f"[2001:db8:0:2::1]:{port}", "2001:db8:0:2::1") as other:
                    other.begin("EHLO")


def test_mapped_address_is_the_ipv4_address(release, folder):
    """A passed socket may be of both families."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as passed:
        env = environment(LISTEN_FDS="1")
        with Acceptor(release, folder, "--max-connections-per-source=1", env=env,
                      fds={passed.fileno(): 3}, n=2) as acceptor:
            dual, v4 = "127.0.0.1:%d" % passed.getsockname()[1], acceptor.addresses[1]
            with Client(dual, "127.0.0.1") as one:
                one.begin("EHLO")
                with Client(v4, "127.0.0.1") as two, Client(dual, "127.0.0.2") as three:
                    assert two.refusal() == TOO_MANY_FROM_YOU
                    three.begin("EHLO")


def test_source_of_a_local_socket_is_a_user(release, folder):
    need_root()
    with Acceptor(release, folder, "--max-connections-per-source=1",
                  listen=str(folder / "socket"),
                  prefix=["sh", "-c", 'umask 0; exec "$@"', "sh"]) as acceptor:
        with acceptor.client("EHLO"):
            with acceptor.client() as again:
                assert again.refusal() == TOO_MANY_FROM_YOU
            with effective_user(65533):
                other = acceptor.client("EHLO")
            with other, effective_user(65533), acceptor.client() as again:
                assert again.refusal() == TOO_MANY_FROM_YOU


def test_flood_of_refusals_is_a_line_each_second(smtpd, folder):
    with Acceptor(smtpd, folder, "--max-connections=1") as acceptor, acceptor.client("EHLO"):
        then = time.monotonic()
        for _ in range(500):
            with connect(acceptor.address) as client:
                assert read_all(client) == TOO_MANY
        took = time.monotonic() - then
        wait_until(lambda: sum(n for _, n in refusals(acceptor)) == 500, "all 500 in the log", 5)
        assert 1 <= len(refusals(acceptor)) <= took + 3
        assert {reason for reason, _ in refusals(acceptor)} == {"max-connections"}


def test_refusals_are_in_the_log_at_the_end(release, folder):
    """Those that would have had a line a second later, too."""
    with Acceptor(release, folder, "--max-connections=1") as acceptor, acceptor.client("EHLO"):
        for _ in range(5):
            with connect(acceptor.address) as client:
                assert read_all(client) == TOO_MANY
        acceptor.signal(signal.SIGTERM)
        acceptor.process.wait(PATIENCE)
        acceptor.has_ended = True
        assert sum(n for reason, n in refusals(acceptor) if reason == "max-connections") == 5
