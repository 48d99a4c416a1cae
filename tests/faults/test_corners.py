# SPDX-License-Identifier: MIT
"""What no other test reaches (tests/coverage tells): the second failure after the first, servers
that are not what they were, and system calls that fail at bad moments. What is asked is always the
same: no 250 without the message, and the session goes on."""

import pytest
from conftest import need
from mailman2 import CONTENT, Mailman2
from proxy import LARGE, SMALL, play, proxy
from session import Session, command, environment
from upstream import Upstream, close

BIG_ENOUGH = b"250-up.example\r\n250-8BITMIME\r\n250 SIZE 100000\r\n"
TOO_SMALL = b"250-up.example\r\n250-8BITMIME\r\n250 SIZE 100\r\n"


def failing(inject, argv):
    """The command line with a system call that fails."""
    return [need("strace"), "-f", "-qq", "-o", "/dev/null", "-e", f"trace={inject.split(':')[0]}",
            "-e", f"inject={inject}", *argv]


def mailman(smtpd, server, *upstreams_and_options):
    """The command line of strategy mailman, before a server of ours in the place of Mailman 3."""
    return proxy(smtpd, *upstreams_and_options) + ["--strategy=mailman",
                                                   f"--mailman={server.endpoint}"]


# --- upstreams that are lost, and come back as others ---------------------------------------------


def test_lost_at_rset(smtpd, tmp_path):
    """An upstream that is told one command at a time goes away between two transactions: the client
    does not notice."""
    with (Upstream({"RSET": close}, {}, extensions=["8BITMIME"]) as up,
          Session(proxy(smtpd, up), tmp_path) as session):
        session.begin("RCPT")
        session.expect((b"RSET", b"250 "))
        assert session.send_message(SMALL).startswith(b"250 ")
        assert session.end() == 0
        assert len(up.messages) == 1 and len(up.connections) == 2


def test_comes_back_smaller(smtpd, tmp_path):
    with Upstream({"EHLO": BIG_ENOUGH, "MAIL": close}, {"EHLO": TOO_SMALL}) as up:
        outcome = play(proxy(smtpd, up), tmp_path, mail=b"MAIL FROM:<a@example.org> SIZE=5000")
    assert outcome.last.startswith(b"452 4.3.4 ")


def test_comes_back_without_smtputf8(smtpd, tmp_path):
    """The envelope that was welcome cannot be said again."""
    with Upstream({"RCPT": close}, {"EHLO": BIG_ENOUGH}) as up:
        outcome = play(proxy(smtpd, up), tmp_path, mail=b"MAIL FROM:<a@example.org> SMTPUTF8")
    assert outcome.codes == [250, 250, 451] and outcome.last.startswith(b"451 4.6.7 ")


def test_comes_back_refusing(smtpd, tmp_path):
    with Upstream({"RCPT": close}, {"greeting": b"554 5.3.2 not today\r\n"}) as up:
        outcome = play(proxy(smtpd, up), tmp_path)
    assert outcome.last == b"451 4.3.2 not today" and b"554 5.3.2 not today" in outcome.log


def test_comes_back_and_knows_lists_no_better(smtpd, tmp_path):
    """The envelope is said again to the upstream without the recipients that are Mailman's."""
    no = b"550 5.1.1 no list\r\n"
    with (Upstream({"RCPT": [None, no]}, {}, lmtp=True) as lists,
          Upstream({"RCPT": [None, close]}, {}) as up):
        with Session(mailman(smtpd, lists, up), tmp_path) as session:
            session.begin("MAIL")
            for name in (b"list", b"one", b"two"):
                session.expect((b"RCPT TO:<%s@example.com>" % name, b"250 "))
            session.expect((b"DATA", b"354 "))
            session.say(SMALL + b".\r\n")
            assert session.reply().startswith(b"250 ")
            assert session.end() == 0
        assert [m.recipients for m in up.messages] == [[b"<one@example.com>", b"<two@example.com>"]]
        assert [m.recipients for m in lists.messages] == [[b"<list@example.com>"]]


# --- Mailman 3 ------------------------------------------------------------------------------------


def test_list_server_takes_no_such_size(smtpd, tmp_path):
    with Upstream({}, {"LHLO": TOO_SMALL}, lmtp=True) as lists:
        outcome = play(mailman(smtpd, lists), tmp_path)
    assert outcome.codes == [250, 250, 250, 354, 452] and lists.messages == []


def test_list_server_answers_twice(smtpd, tmp_path):
    """It is out of step: what it says of DATA could be of something else."""
    with Upstream({}, {"RCPT": b"250 2.1.5 yes\r\n250 2.1.5 yes\r\n"}, lmtp=True) as lists:
        outcome = play(mailman(smtpd, lists), tmp_path)
    assert outcome.last.startswith(b"451 4.5.0 ") and lists.messages == []


# --- the message cannot be read any more ----------------------------------------------------------


@pytest.mark.parametrize("how", ["error=EIO", "retval=0"])
def test_message_cannot_be_sent(release, tmp_path, how):
    """A failing disk, or a file that has become shorter, in the middle: the upstream has half a
    message, which is none."""
    with Upstream({}) as up:
        outcome = play(failing(f"pread64:{how}:when=6+", proxy(release, up)), tmp_path, LARGE)
        assert outcome.last.startswith(b"451 ")
        up.wait_until_over()
        assert up.messages == []


@pytest.mark.parametrize("how", ["error=EIO", "retval=0"])
def test_message_cannot_be_handed_to_wrappers(release, tmp_path, how):
    lists = Mailman2(tmp_path)
    argv = failing(f"pread64:{how}:when=6+", lists.command(release))
    with Session(argv, tmp_path, env=environment(WRAPPER_VAR=str(lists.var))) as session:
        session.begin("EHLO")
        assert session.send_message(CONTENT + 6000 * b"a line of some length\r\n",
                                    recipient=b"test@example.com").startswith(b"451 4.3.0 ")
        assert session.end() == 0
    assert lists.taken() == []


# --- odd surroundings -----------------------------------------------------------------------------


def test_working_directory_is_gone(smtpd, tmp_path):
    """A program's name is relative to it; then it is not found, and the message is not
    delivered."""
    (tmp_path / "gone").mkdir()
    leave = ["sh", "-c", 'cd "$0" && rmdir "$0" && exec "$@"', str(tmp_path / "gone")]
    with Session(leave + command(smtpd, "--strategy=exec", "--command=./hook"),
                 tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL).startswith(b"451 ")
        assert session.end() == 0


def test_waiting_is_interrupted(release, tmp_path):
    """Every second poll(2) ends with EINTR: that is nobody's business."""
    argv = command(release, "--strategy=exec",
                   "--command=/bin/sh -c 'sleep 0.2; echo 250 2.0.0 done'")
    with Session(failing("poll:error=EINTR:when=2+2", argv), tmp_path) as session:
        session.begin("EHLO")
        assert session.send_message(SMALL).startswith(b"250 2.0.0 done")
        assert session.end() == 0


@pytest.mark.parametrize("octet", [b"\n", b"\r"])
def test_bare_line_end_deep_in_a_message(smtpd, tmp_path, octet):
    """Behind many plain lines, between many plain octets: it is found where the text is looked at
    in blocks, too."""
    lines, plain = 200 * b"line\r\n", 300 * b"x"
    with Session(command(smtpd), tmp_path) as session:
        session.begin("DATA")
        session.say(lines + plain + octet + plain + b"\r\n.\r\n")
        assert session.reply().startswith(b"554 5.5.2 ")
        assert session.read_to_end() == b""
        assert session.status() == 0 and session.messages() == []
