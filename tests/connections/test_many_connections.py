# SPDX-License-Identifier: MIT
"""Very many connections, one after the other and at once: each has its session or a refusal, and
nothing is left behind; also while the configuration is read again."""

import concurrent.futures
import signal
import time

from accepting import TOO_MANY, TOO_MANY_FROM_YOU, WHOLE_SESSION, config, start_with_file
from acceptor import Acceptor, connect, folder, read_all
from processes import descriptors, zombies
from session import codes, reset, wait_until

_ = config, folder  # fixtures


def one_session(address):
    """What became of it: served or refused."""
    with connect(address) as client:
        client.sendall(WHOLE_SESSION)
        said = read_all(client)
    if said.startswith(b"421 "):
        assert said in (TOO_MANY, TOO_MANY_FROM_YOU)
        return "refused"
    assert codes(said) == [220, 250, 250, 250, 354, 250, 221], said
    return "served"


def check_many(acceptor, n, n_at_once):
    acceptor.serve_one()
    acceptor.wait_for_sessions(0)
    before = descriptors(acceptor.pid)
    with concurrent.futures.ThreadPoolExecutor(n_at_once) as pool:
        results = list(pool.map(one_session, [acceptor.address] * n))
    wait_until(lambda: not acceptor.sessions() and not zombies(acceptor.pid),
               "the end of all sessions")
    wait_until(lambda: descriptors(acceptor.pid) == before, "nothing to be left open")
    assert len(acceptor.messages()) == results.count("served") + 1
    return results


def test_thousands_of_connections(smtpd, folder):
    """All are served if there is room for those whose session has not ended yet, although its
    client has gone."""
    n = 5000 if "release" in smtpd else 100
    with Acceptor(smtpd, folder, "--max-connections=1000",
                  "--max-connections-per-source=1000") as acceptor:
        assert check_many(acceptor, n, 10) == ["served"] * n


def test_more_clients_than_there_is_room_for(smtpd, folder):
    with Acceptor(smtpd, folder, "--max-connections=3") as acceptor:
        results = check_many(acceptor, 500 if "release" in smtpd else 100, 20)
        assert {"served", "refused"} == set(results)


def test_clients_that_are_gone_at_once(smtpd, folder):
    """Before they are accepted, or before their session has begun."""
    with Acceptor(smtpd, folder, "--max-connections=200",
                  "--max-connections-per-source=200") as acceptor:
        before = descriptors(acceptor.pid)
        for is_stopped in (True, False):
            if is_stopped:
                acceptor.signal(signal.SIGSTOP)
            for n in range(50):
                client = connect(acceptor.address)
                client.close() if n % 2 else reset(client)
            acceptor.signal(signal.SIGCONT)
        acceptor.serve_one()  # behind all of them
        wait_until(lambda: not acceptor.sessions() and not zombies(acceptor.pid),
                   "the end of all sessions")
        wait_until(lambda: descriptors(acceptor.pid) == before, "nothing to be left open")


def test_reloading_among_clients(smtpd, folder, config):
    """SIGHUP now and then costs nobody a message."""
    n = 400 if "release" in smtpd else 60
    with (start_with_file(smtpd, folder, config) as acceptor,
          concurrent.futures.ThreadPoolExecutor(5) as pool):
        results = [pool.submit(one_session, acceptor.address) for _ in range(n)]
        while not all(r.done() for r in results):
            acceptor.signal(signal.SIGHUP)
            time.sleep(0.01)
        assert [r.result() for r in results].count("served") == n
        wait_until(lambda: not acceptor.sessions(), "the end of all sessions")
        assert len(acceptor.messages()) == n
