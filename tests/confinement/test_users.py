# SPDX-License-Identifier: MIT
"""From root to a user without privileges, in a single session."""

import pwd

import pytest
from acceptor import Acceptor
from conftest import need, need_root, private_mounts
from session import STAY, Session, command, environment, run, tcp_pair

SAID = b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n\r\n.\r\nQUIT\r\n"
HOW = "--command=/bin/sh -c 'echo 250 $(id -u) $(id -g) $HOME $USER'"


def default_user():
    """As it is told here: that of sysusers.d/smtpd.conf, if it was installed."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("smtpd" if "smtpd" in names else "nobody")
    return f"250 {user.pw_uid} {user.pw_gid} {user.pw_dir} {user.pw_name}".encode()


def argv(smtpd, *options):
    return [word for word in command(smtpd, "--strategy=exec", HOW)
            if word not in STAY] + list(options)


@pytest.mark.parametrize("options, answer", [
    ([], default_user()),
    (["--user=daemon"], b"250 1 1 /usr/sbin daemon"),
    (["--user=1"], b"250 1 1 /usr/sbin daemon"),
    (["--user=1953719"], b"250 1953719 1953719 /"),
    (["--user=0"], b"250 0 0 "),
], ids=["default", "name", "number", "number-of-nobody", "root"])
@pytest.mark.parametrize("kind", ["connection", "pipe-with-a-peer"])
def test_session_with_a_peer(release, tmp_path, kind, options, answer):
    need_root()
    if kind == "connection":
        with Session(argv(release, *options), tmp_path, tcp_pair()) as session:
            session.say(SAID)
            out = session.read_to_end()
    else:
        _, out, _ = run(argv(release, *options), SAID, environment(REMOTE_ADDR="192.0.2.1"))
    assert answer in out


@pytest.mark.parametrize("options, why", [
    (["--user=_nobody-of-this-name"], b"421 4.3.5 "),
    (["--user=daemon"], b"421 4.3.0 "),
], ids=["no-such-user", "not-allowed"])
def test_client_hears_whose_fault_it_is(release, tmp_path, options, why):
    """There is no session: for the configuration, or because root may not become somebody here."""
    need_root()
    powerless = [need("setpriv"), "--bounding-set=-setuid,-setgid"]
    with Session([*powerless, *argv(release, *options)], tmp_path, tcp_pair()) as session:
        assert session.read_to_end().startswith(why)


@pytest.mark.parametrize("kind", ["session", "acceptor"])
@pytest.mark.parametrize("users, answer", [
    ("smtpd:x:1953720:1953721::/srv:/bin/false\nnobody:x:1953722:1953722::/:/bin/false\n",
     b"250 1953720 1953721 /srv smtpd"),
    ("nobody:x:1953722:1953723::/:/bin/false\n", b"250 1953722 1953723 / nobody"),
], ids=["smtpd", "nobody"])
def test_smtpd_comes_before_nobody(release, tmp_path, kind, users, answer):
    need_root()
    (tmp_path / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n" + users)
    inside = [*private_mounts(), "sh", "-ec", 'mount --bind "$0" /etc/passwd && exec "$@"',
              str(tmp_path / "passwd")]
    if kind == "session":
        with Session([*inside, *argv(release)], tmp_path, tcp_pair()) as session:
            session.say(SAID)
            assert answer in session.read_to_end()
    else:
        with (Acceptor(release, tmp_path, "--strategy=exec", HOW, prefix=inside) as acceptor,
              acceptor.client() as client):
            client.say(SAID)
            assert answer in client.read_to_end()


@pytest.mark.parametrize("options, uid", [([], b"0"), (["--user=daemon"], b"1")])
def test_transcript_stays_who_it_is(release, options, uid):
    need_root()
    _, out, _ = run(argv(release, *options), SAID)
    assert b"250 " + uid + b" " in out


def test_unknown_user(release, tmp_path):
    need_root()
    with Session(argv(release, "--user=no-such-user"), tmp_path, tcp_pair()) as session:
        assert session.read_to_end().startswith(b"421 4.3.5 ") and session.status() == 78


@pytest.mark.parametrize("user", ["4294967295", "99999999999999999999"])
def test_number_that_is_none(release, user):
    assert run([release, "--config=/dev/null", "--check", f"--user={user}"])[0] == 64
