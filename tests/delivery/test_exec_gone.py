# SPDX-License-Identifier: MIT
"""Strategy exec: the client, or smtpd, vanishes before the verdict. Nothing is left behind, then or
after many messages."""

import concurrent.futures
import signal
import time

import pytest
from bad_days import large
from hooks import SMALL, exec_command, read, script, start_transaction
from hooks import hook, seen  # noqa: F401 (fixtures)
from processes import descriptors, group, is_running, programs
from session import PATIENCE, Session, environment, replies, reset, run, tcp_pair, wait_until


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("text",
                         [b"", b"Subject: half\r\n", b"Subject: nearly\r\n\r\ntext\r\n.\r",
                          large(1_000_000)],
                         ids=["none", "some", "all-but-LF", "large"])
def test_client_gone_before_the_final_dot(smtpd, tmp_path, seen, how, text):
    program = script(tmp_path, 'cat >"$SEEN/$SMTPD_ID"')
    with Session(exec_command(smtpd, program), tmp_path, tcp_pair(),
                 env=environment(SEEN=str(seen))) as session:
        session.begin("DATA")
        session.say(text)
        reset(session.ours) if how == "reset" else session.ours.close()
        assert session.status() == 0
        assert b"smtpd: abandoned " in session.err() and b"smtpd: message " not in session.err()
    assert list(seen.iterdir()) == []


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_gone_after_the_final_dot(smtpd, tmp_path, seen, how, hook):
    """The message is complete: the hook runs to its end, once."""
    program = script(tmp_path, f'echo x >>"$SEEN/runs"\nread line <{hook.fifo}\ncat >"$SEEN/text"')
    with Session(exec_command(smtpd, program), tmp_path, tcp_pair(),
                 env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        start_transaction(session, b"<>", [b"<b@example.com>"], SMALL)
        wait_until((seen / "runs").exists, "the hook")
        reset(session.ours) if how == "reset" else session.ours.close()
        time.sleep(0.05)
        hook.let_go(b"go\n")
        assert session.status() == 0
        err = session.err()
    assert read(seen / "runs") == b"x\n" and read(seen / "text") == SMALL.replace(b"\r\n", b"\n")
    assert err.count(b"smtpd: message ") == 1
    if how == "reset":
        assert b"duplicate possible" in err


def test_client_resets_behind_the_verdict(smtpd, tmp_path, seen):
    program = script(tmp_path, 'echo x >>"$SEEN/runs"')
    with Session(exec_command(smtpd, program), tmp_path, tcp_pair(),
                 env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        start_transaction(session, b"<>", [b"<b@example.com>"], SMALL)
        session.wait_for([session.ours], [])  # it is there, and nobody reads it
        reset(session.ours)
        assert session.status() == 0
        assert b"duplicate possible" in session.err()
    assert read(seen / "runs") == b"x\n"


def test_we_are_killed_while_the_hook_runs(smtpd, tmp_path, seen, hook):
    """Nobody will say 250, so the hook must not go on. The client hears nothing."""
    program = script(tmp_path,
                     f'echo $$ >"$SEEN/pid"\nread line <{hook.fifo}\necho x >"$SEEN/delivered"')
    with Session(exec_command(smtpd, program), tmp_path,
                 env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        start_transaction(session, b"<>", [b"<b@example.com>"], SMALL)
        pid = int(wait_until(lambda: (seen / "pid").exists() and read(seen / "pid"), "the hook"))
        assert list(programs(session.pid)) == [pid]
        session.process.kill()
        assert session.process.wait(PATIENCE) == -signal.SIGKILL
        wait_until(lambda: not is_running(pid), "the hook's end", 5)
        wait_until(lambda: group(pid) == [], "the end of its group", 5)
        assert session.read_to_end() == b""
    assert not (seen / "delivered").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_we_are_asked_to_end_while_the_hook_runs(smtpd, tmp_path, hook, number):
    """The verdict first."""
    with Session(exec_command(smtpd, hook.command), tmp_path) as session:
        session.begin("EHLO")
        start_transaction(session, b"<>", [b"<b@example.com>"], SMALL)
        hook.find(session)
        session.process.send_signal(number)
        time.sleep(0.05)
        assert session.process.poll() is None and is_running(hook.pid)
        hook.let_go(b"250 2.0.0 done\n")
        heard = replies(session.read_to_end())
        assert heard == [(250, b"2.0.0 done"),
                         (421, b"4.3.2 service is shutting down, closing connection")]
        assert session.status() == 0 and b"duplicate possible" not in session.err()


def test_nothing_is_left_behind(smtpd, tmp_path):
    """Fifty messages of all kinds in a session: no descriptor, no zombie."""
    bodies = ["exit 0", "exit 75", "echo 550 5.0.0 no", "kill -9 $$", "exec 0<&- 1>&- 2>&-",
              "echo x >&2"]
    program = script(tmp_path, "n=${SMTPD_MAIL_FROM%%@*}\ncase $n in\n"
                     + "".join(f"{n}) {body} ;;\n" for n, body in enumerate(bodies)) + "esac")
    with Session(exec_command(smtpd, program), tmp_path) as session:
        session.begin("EHLO")
        before = descriptors(session.pid)
        for n in range(50):
            content = SMALL if n % 3 else large(200_000)
            session.send_message(content, sender=b"%d@example.org" % (n % len(bodies)))
            assert not programs(session.pid)
        assert descriptors(session.pid) == before
        assert session.end() == 0 and session.err().count(b"smtpd: message ") == 50


def test_many_sessions_at_once_of_hooks(smtpd, tmp_path, seen):
    program = script(tmp_path, 'cat >"$SEEN/$SMTPD_ID"')
    dialogue = b"EHLO c\nMAIL FROM:<>\nRCPT TO:<b@example.com>\nDATA\ntext %d\n.\nQUIT\n"

    def one(n):
        return run(exec_command(smtpd, program), dialogue % n, environment(SEEN=str(seen)))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for status, out, _ in pool.map(one, range(40)):
            assert status == 0 and b"\r\n250 2.0.0 delivered\r\n" in out
    assert sorted(map(read, seen.iterdir())) == sorted(b"text %d\n" % n for n in range(40))
