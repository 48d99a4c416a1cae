# SPDX-License-Identifier: MIT
"""count=: an acceptor that ends when so many messages were accepted, and says by its status whether
they were."""

import contextlib
import os
import re
import signal
import smtplib
import subprocess
import threading

import pytest
from acceptor import Acceptor, folder, is_refused, start_that_fails  # noqa: F401
from processes import running_children
from session import PATIENCE, Session, codes, command, environment, run

MAIL, RCPT = (b"MAIL FROM:<a@example.org>", b"250 "), (b"RCPT TO:<b@example.com>", b"250 ")


def counted(acceptor):
    """What it says at the end: (accepted, count)."""
    found = re.findall(rb"^smtpd: accepted (\d+) messages?, with count=(\d+)$", acceptor.err(),
                       re.M)
    assert len(found) == 1
    return tuple(map(int, found[0]))


def test_ends_after_the_first(smtpd, tmp_path):
    with Acceptor(smtpd, tmp_path, "--count=1") as acceptor:
        with acceptor.client("EHLO") as client:
            assert client.send_message(b"Subject: x\r\n\r\n").startswith(b"250 ")
            assert codes(client.read_to_end()) == [421]  # as at SIGTERM, if it does not say QUIT
        assert acceptor.status() == 0 and counted(acceptor) == (1, 1)
        assert len(acceptor.messages()) == 1
        assert is_refused(acceptor.address)


@pytest.mark.parametrize("n", [1, 2])
def test_clients_leave_in_peace(smtpd, tmp_path, n):
    """The last message's client hears 221 to its QUIT: at anything else smtplib's `with` raises."""
    with Acceptor(smtpd, tmp_path, f"--count={n}") as acceptor:
        host, _, port = acceptor.address.rpartition(":")
        with contextlib.ExitStack() as stack:
            for client in [stack.enter_context(smtplib.SMTP(host, int(port), "c.example",
                                                            timeout=PATIENCE)) for _ in range(n)]:
                client.sendmail("a@example.org", ["b@example.com"], "Subject: x\n\n")
        assert acceptor.status() == 0 and counted(acceptor) == (n, n)


def test_counts_over_all_sessions(smtpd, tmp_path):
    with Acceptor(smtpd, tmp_path, "--count=4") as acceptor:
        with acceptor.client("EHLO") as first:
            for _ in range(2):
                assert first.send_message(b"x\r\n").startswith(b"250 ")
            assert acceptor.serve_one().startswith(b"250 ")
            assert not is_refused(acceptor.address)
            assert first.send_message(b"x\r\n").startswith(b"250 ")
            first.quit()
        assert acceptor.status() == 0 and counted(acceptor) == (4, 4)


def test_what_was_refused_does_not_count(smtpd, tmp_path):
    """One with a recipient who has it does, once."""
    options = ["--count=1", "--protocol=lmtp", "--reply=message no@* 550 no", "--max-size=100"]
    with Acceptor(smtpd, tmp_path, *options) as acceptor:
        with acceptor.client("greeting") as client:
            client.expect((b"LHLO c", b"250-"))
            for names, size, verdicts in (([b"no@b"], 1, [b"550"]), ([b"a@b"], 200, [b"552"]),
                                          ([b"no@b", b"a@b", b"b@b"], 1, [b"550", b"250", b"250"])):
                client.expect(MAIL, *((b"RCPT TO:<%s>" % name, b"250 ") for name in names),
                              (b"DATA", b"354 "))
                client.say(b"x" * size + b"\r\n.\r\n")
                assert [client.reply()[:3] for _ in verdicts] == verdicts
            client.quit()
        assert acceptor.status() == 0 and counted(acceptor) == (1, 1)


@pytest.mark.parametrize("end", ["SIGTERM", "SIGINT", "idle", "timeout"])
def test_any_other_end(smtpd, tmp_path, end):
    """A message too few: a script has to hear of it."""
    options = ["--exit-idle-time=1"] if end == "idle" else []
    prefix = ["timeout", "--preserve-status", "1"] if end == "timeout" else []
    with Acceptor(smtpd, tmp_path, "--count=2", *options, prefix=prefix) as acceptor:
        assert acceptor.serve_one().startswith(b"250 ")
        if end.startswith("SIG"):
            acceptor.signal(getattr(signal, end))
        assert acceptor.status() == 75 and counted(acceptor) == (1, 2)


def test_mistakes_have_their_own_status(smtpd, tmp_path):
    assert start_that_fails(smtpd, tmp_path, "--count=1", "--timeout=x")[0] == 64
    assert start_that_fails(smtpd, tmp_path, "--count=1", "--strategy=exec")[0] == 64
    config = tmp_path / "smtpd.conf"
    config.write_text("count=1\ntimeout=x\n")
    assert start_that_fails(smtpd, tmp_path, f"--config={config}")[0] == 78
    for value in ("0", "-1", "x", "1000001"):
        assert run([smtpd, "--config=/dev/null", "--check", f"--count={value}"])[0] == 64


def test_without_accepting_it_makes_no_sense(smtpd, tmp_path):
    config = tmp_path / "smtpd.conf"
    config.write_text("strategy=print\ncount=1\n")
    for argv, status, place in (
            (command(smtpd, "--count=1"), 64, "command line"),
            ([smtpd, f"--config={config}"], 78, f"{config}:2")):
        with Session(argv, tmp_path) as session:
            assert codes(session.read_to_end()) == [421] and session.status() == status
            assert session.err().decode() == f"smtpd: {place}: count=1 is only for accepting " \
                                             f"connections: use --listen, or remove it\n"


def test_message_under_way_comes_to_its_end(smtpd, tmp_path):
    """As at SIGTERM; it is counted."""
    with Acceptor(smtpd, tmp_path, "--count=1") as acceptor:
        with acceptor.client("DATA") as slow:
            with acceptor.client("EHLO") as quick:
                assert quick.send_message(b"x\r\n").startswith(b"250 ")
                quick.quit()
            slow.say(b"Subject: y\r\n\r\n")
            slow.expect((b".", b"250 "))
            slow.quit()
        assert acceptor.status() == 0 and counted(acceptor) == (2, 1)
        assert len(acceptor.messages()) == 2


def test_killed_session_counts_for_what_it_has_accepted(release, tmp_path):
    with Acceptor(release, tmp_path, "--count=2") as acceptor:
        with acceptor.client("EHLO") as client:
            assert client.send_message(b"x\r\n").startswith(b"250 ")
            client.expect(MAIL, RCPT, (b"DATA", b"354 "))
            for pid in running_children(acceptor.pid):
                os.kill(pid, signal.SIGKILL)
            client.read_to_end()
        assert acceptor.process.poll() is None
        with acceptor.client("EHLO") as client:
            assert client.send_message(b"x\r\n").startswith(b"250 ")
            client.quit()
        assert acceptor.status() == 0 and counted(acceptor) == (2, 2)


def test_what_is_heard_is_what_is_counted(smtpd, tmp_path):
    """Many at once: each is told 250 or something else, and the numbers agree."""
    with Acceptor(smtpd, tmp_path, "--count=3", "--max-connections-per-source=100") as acceptor:
        heard, together = [], threading.Barrier(9)

        def send():
            with acceptor.client("DATA") as client:
                client.say(b"x\r\n")
                together.wait(PATIENCE)
                client.say(b".\r\n")
                heard.append(client.read_to_end()[:3])

        threads = [threading.Thread(target=send) for _ in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert acceptor.status() == 0 and len(heard) == 9
        n = heard.count(b"250")
        assert counted(acceptor) == (n, 3) and n == len(acceptor.messages()) >= 3


def test_reload_may_change_it(smtpd, folder):  # noqa: F811
    config = folder / "smtpd.conf"
    config.write_text("count=5\n")
    with Acceptor(smtpd, folder, f"--config={config}") as acceptor:
        assert acceptor.serve_one().startswith(b"250 ")
        config.write_text("count=1\n")
        acceptor.signal(signal.SIGHUP)
        assert acceptor.status() == 0 and counted(acceptor) == (1, 1)


def test_in_a_shell_script(release, tmp_path):
    """The documented way to wait for one message."""
    script = """
        "$1" --config=/dev/null --listen=127.0.0.1:0 --count=1 --exit-idle-time=20 2>log >mails &
        until port=$(sed -n 's/.*listening address=127.0.0.1:\\([0-9]*\\) .*/\\1/p' log) && [ "$port" ]; do sleep 0.05; done
        printf 'Subject: x\\r\\n\\r\\n' >mail
        python3 -c 'import smtplib, sys; smtplib.SMTP("127.0.0.1", int(sys.argv[1])).sendmail("a@b", "c@d", open("mail").read())' "$port"
        wait $!
    """
    done = subprocess.run(["sh", "-c", script, "sh", release], cwd=tmp_path, env=environment(),
                          timeout=PATIENCE, check=False)
    assert done.returncode == 0 and b"Subject: x" in (tmp_path / "mails").read_bytes()
