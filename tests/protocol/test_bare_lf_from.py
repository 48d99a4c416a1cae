# SPDX-License-Identifier: MIT
"""bare-lf-from=: own devices whose lines end with LF only; and nobody else's."""

import pytest
from acceptor import Acceptor, network
from conftest import need_root
from session import Session, codes, command, environment, run, tcp_pair

SAID = b"EHLO device\nMAIL FROM:<a@example.org>\nRCPT TO:<b@example.com>\nDATA\nSubject: x\n\n..dot\nCRLF\r\n.\nQUIT\n"
BARE = b"5.5.2 bare LF received"


@pytest.mark.parametrize("networks", ["127.0.0.1", "192.0.2.0/24,127.0.0.0/8"])
def test_lines_end_with_lf(smtpd, tmp_path, networks):
    with Session(command(smtpd, f"--bare-lf-from={networks}"), tmp_path,
                 pair=tcp_pair()) as session:
        session.say(SAID)
        assert codes(session.read_to_end()) == [220, 250, 250, 250, 354, 250, 221]
        assert session.status() == 0
        assert session.messages() == [b"Subject: x\nX-Peer: 127.0.0.1\n\n.dot\nCRLF\n"]


@pytest.mark.parametrize("options",
                         [[], ["--bare-lf-from=192.0.2.0/24"], ["--bare-lf-from=local,::1"]])
def test_not_those_of_others(smtpd, tmp_path, options):
    with Session(command(smtpd, *options), tmp_path, pair=tcp_pair()) as session:
        session.say(SAID)
        assert BARE in session.read_to_end() and session.status() == 0 and not session.messages()


def test_bare_cr_is_nobodys(smtpd, tmp_path):
    with Session(command(smtpd, "--bare-lf-from=127.0.0.1"), tmp_path, pair=tcp_pair()) as session:
        session.begin("DATA")
        session.say(b"Subject: x\r\rtext\n.\n")
        assert b"bare CR received" in session.read_to_end() and session.status() == 0
        assert not session.messages()


def test_whom_the_environment_names(smtpd, tmp_path):
    """Behind a wrapper it is the client that counts; one that cannot be read is in no network."""
    for address, is_allowed in (("192.0.2.5", True), ("192.0.3.5", False), ("unreadable", False)):
        env = environment(TCPREMOTEIP=address)
        with Session(command(smtpd, "--bare-lf-from=192.0.2.0/24"), tmp_path, env=env) as session:
            session.say(SAID)
            assert (BARE not in session.read_to_end()) == is_allowed and session.status() == 0


def test_sessions_of_an_acceptor(smtpd, tmp_path):
    need_root()
    with network() as add:
        add("192.0.2.7/32")
        with Acceptor(smtpd, tmp_path, "--bare-lf-from=192.0.2.7") as acceptor:
            for source, last in (("192.0.2.7", 221), ("127.0.0.1", 554)):
                with acceptor.client(source=source) as client:
                    client.say(SAID)
                    assert codes(client.read_to_end())[-1] == last


@pytest.mark.parametrize("strategy",
                         [["--strategy=proxy", "--upstream=127.0.0.1"], ["--strategy=mailman"]])
def test_never_with_those_who_pass_mail_on(release, strategy):
    status, _, err = run([release, "--config=/dev/null", "--check", *strategy,
                          "--bare-lf-from=127.0.0.1"])
    assert status == 64 and b"bare-lf-from makes no sense with strategy=" in err
