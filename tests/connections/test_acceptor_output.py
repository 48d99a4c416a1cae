# SPDX-License-Identifier: MIT
"""The output of an acceptor, where its sessions print messages: apart from the log, and for those
only who print."""

import os
import socket

import pytest
from accepting import MESSAGE, PRINTED, PRIVATE_LOG, config, start_with_file
from acceptor import Acceptor, Client, folder, start_that_fails
from conftest import need, need_root
from processes import descriptors
from session import BEGIN, END, PATIENCE, environment, free_port, wait_until, with_x_peer

_ = config, folder  # fixtures


def test_messages_and_the_log_are_apart(smtpd, folder):
    """What is shown on standard output is messages, and nothing else."""
    with Acceptor(smtpd, folder) as acceptor:
        for _ in range(2):
            acceptor.serve_one(MESSAGE)
        wait_until(lambda: len(acceptor.log("session")) == 2, "the sessions' ends")
    shown = BEGIN + with_x_peer(PRINTED, "127.0.0.1") + END
    assert acceptor.out_path.read_bytes() == 2 * shown
    assert len(acceptor.log("message")) == 2 and BEGIN not in acceptor.err()


def shown_by_a_session(acceptor):
    """Whether it has the output; and what SMTPD_OUTPUT_FD says then."""
    with acceptor.client("greeting"):
        (pid,) = acceptor.sessions()
        open_ones = descriptors(pid)
        variables = dict(v.split(b"=", 1) for v in
                         open(f"/proc/{pid}/environ", "rb").read().split(b"\0") if b"=" in v)
    acceptor.wait_for_sessions(0)
    told = variables.get(b"SMTPD_OUTPUT_FD")
    has_it = [n for n, what in open_ones.items() if what == str(acceptor.out_path)]
    assert has_it == ([int(told)] if told else [])
    return bool(has_it)


def test_output_is_for_those_who_print(smtpd, folder, config):
    """Also after the configuration was read again."""
    with start_with_file(smtpd, folder, config) as acceptor:
        assert shown_by_a_session(acceptor)
        config.write_text("strategy=exec\ncommand=/bin/true\n")
        acceptor.reload()
        assert not shown_by_a_session(acceptor)
        config.write_text("strategy=print\n")
        acceptor.reload()
        assert shown_by_a_session(acceptor)
        assert acceptor.serve_one(MESSAGE) == b"250 2.0.0 printed"
        assert acceptor.messages() == [with_x_peer(PRINTED, "127.0.0.1")]


def test_output_of_passed_sockets_is_standard_error(smtpd, folder):
    with socket.create_server(("127.0.0.1", 0)) as passed:
        with Acceptor(smtpd, folder, listen=None, n=1, env=environment(LISTEN_FDS="1"),
                      fds={passed.fileno(): 3}) as acceptor:
            assert not shown_by_a_session(acceptor)
            assert acceptor.serve_one(MESSAGE) == b"250 2.0.0 printed"
        assert acceptor.out_path.read_bytes() == b""
        assert acceptor.messages() == [with_x_peer(PRINTED, "127.0.0.1")]


def test_standard_error_is_not_needed_to_print(smtpd, folder):
    """The log is syslog's then."""
    need_root()
    (folder / "dev").mkdir()
    address = f"127.0.0.1:{free_port()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(folder / "log"))
        os.chmod(folder / "log", 0o666)
        log.settimeout(PATIENCE)
        private = [need("unshare"), "-m", "sh", "-c", PRIVATE_LOG, "sh", folder / "dev",
                   folder / "log"]
        closed = ["sh", "-c", 'exec "$@" 2>&-', "sh"]
        with Acceptor(smtpd, folder, listen=address, wait=False,
                      prefix=[*private, *closed]) as acceptor:
            assert b"]: listening address=" in log.recv(65536)
            with Client(address) as client:
                client.begin("EHLO")
                assert client.send_message(MESSAGE) == b"250 2.0.0 printed"
                client.quit()
            assert b"]: message id=" in log.recv(65536) and b"]: session peer=" in log.recv(65536)
            assert acceptor.messages() == [with_x_peer(PRINTED, "127.0.0.1")]


@pytest.mark.parametrize("how", ["closed", "the listening socket"])
def test_no_output(smtpd, folder, how):
    """Found at the start; those who do not print do not need it."""
    closed = ["sh", "-c", 'exec "$@" >&-', "sh"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        given = {"prefix": closed} if how == "closed" else {"stdin": listener, "stdout": listener}
        status, said = start_that_fails(smtpd, folder, **given)
        assert status == 78 and b"strategy=print has nowhere to print: standard output is " in said
        with Acceptor(smtpd, folder, "--strategy=exec", "--command=/bin/true", **given) as acceptor:
            address = acceptor.addresses[-1]
            with Client(address) as client:
                client.begin("EHLO")
                assert client.send_message(MESSAGE) == b"250 2.0.0 delivered"
                client.quit()


@pytest.mark.parametrize("how, why", [("full", b"No space left on device"),
                                      ("gone", b"Broken pipe")])
def test_output_takes_nothing(smtpd, folder, how, why):
    """A temporary failure, and the acceptor goes on."""
    reader, writer = os.pipe()
    os.close(reader)
    verdict = b"451 4.3.0 cannot print: standard output: " + why
    with open(writer, "wb") as gone, open("/dev/full", "wb") as full:
        with Acceptor(smtpd, folder, stdout=full if how == "full" else gone) as acceptor:
            assert [acceptor.serve_one(MESSAGE) for _ in range(2)] == [verdict] * 2
