# SPDX-License-Identifier: MIT
"""Recipients of one message: those that are equal share a copy, whoever gets it."""

import pytest
from conftest import ROOT
from session import Session, command, environment, run
from upstream import Upstream

SAME = [b"b@example.com", b"b@EXAMPLE.com", b"b@example.COM"]
LMTP_CLIENT = "--protocol=lmtp"
NO_LIST = b"550 Requested action not taken: mailbox unavailable\r\n"


def proxy(smtpd, up, *options):
    return command(smtpd, "--strategy=proxy", f"--upstream={up.endpoint}",
                   *(["--upstream-protocol=lmtp"] if up.lmtp else []), *options)


def mailman(smtpd, lists, up, *options):
    """Lists are what the stand-in for Mailman 3 says, or what is in the folder of Mailman 2.1."""
    where = [f"--mailman={lists.endpoint}"] if isinstance(lists, Upstream) else [
        f"--mailman-wrapper={ROOT}/tests/mailman2-wrapper", f"--mailman-lists={lists}/lists"]
    return command(smtpd, "--strategy=mailman", *where,
                   *([f"--upstream={up.endpoint}"] if up else []),
                   *(["--upstream-protocol=lmtp"] if up and up.lmtp else []), *options)


def list_server():
    """Lists are all that begins with "list", in any letter case."""

    def act(c):
        c.send(b"250 Ok\r\n" if b"<list" in c.commands[-1].lower() else NO_LIST)

    return Upstream({"RCPT": act}, lmtp=True, extensions=("SIZE 33554432", "8BITMIME"))


def folder_of_lists(path, *names):
    (path / "qfiles/in").mkdir(parents=True)
    for name in names:
        (path / "lists" / name).mkdir(parents=True)
        (path / "lists" / name / "config.pck").touch()
    return path


def play(argv, folder, recipients, how="one by one"):
    """A session of one message: (replies at RCPT, verdicts). Or pipelined: up to DATA in one
    piece."""
    is_lmtp = LMTP_CLIENT in argv
    hello = b"LHLO c" if is_lmtp else b"EHLO c"
    ask = [b"RCPT TO:<%s>" % recipient for recipient in recipients]
    with Session(argv, folder, env=environment(WRAPPER_VAR=str(folder))) as s:
        s.expect((None, b"220 "), (hello, b"250-"))
        if how == "one by one":
            s.expect((b"MAIL FROM:<a@example.org>", b"250 "))
            replies = [s.ask(line) for line in ask]
            s.expect((b"DATA", b"354 "))
        else:
            s.say(b"\r\n".join([b"MAIL FROM:<a@example.org>", *ask, b"DATA", b""]))
            assert s.reply().startswith(b"250 ")
            replies = [s.reply() for _ in ask]
            assert s.reply().startswith(b"354 ")
        s.say(b"From: a@example.org\r\nSubject: x\r\n\r\ntext\r\n.\r\n")
        n_accepted = sum(reply.startswith(b"250 ") for reply in replies)
        verdicts = [s.reply() for _ in range(n_accepted if is_lmtp else 1)]
        assert s.end() == 0
    return replies, verdicts


def copies(server):
    """The recipients of each message that it took."""
    server.wait_until_over()
    return [[one.strip(b"<>") for one in m.recipients] for m in server.messages]


@pytest.mark.parametrize("how", ["one by one", "pipelined"])
def test_equal_recipients(smtpd, tmp_path, how):
    """The local part is the destination's business; the domain has no letter case."""
    with Upstream({"RCPT": [b"250 2.1.5 the first\r\n", b"250 2.1.5 the second\r\n",
                            b"250 2.1.5 more\r\n"]}) as up:
        replies, verdicts = play(proxy(smtpd, up), tmp_path,
                                 [*SAME, b"B@example.com", b"c@example.com", b"B@Example.com"], how)
        assert copies(up) == [[b"b@example.com", b"B@example.com", b"c@example.com"]]
    assert replies == [b"250 2.1.5 the first"] * 3 + [b"250 2.1.5 the second", b"250 2.1.5 more",
                                                      b"250 2.1.5 the second"]
    assert verdicts == [b"250 2.0.0 taken as 1.0"]


@pytest.mark.parametrize("how", ["one by one", "pipelined"])
@pytest.mark.parametrize("client", ["smtp", "lmtp"])
def test_equal_recipients_share_the_verdict(smtpd, tmp_path, client, how):
    """The upstream is told once of each, and says something of each."""
    with Upstream({"dot": b"250 2.0.0 one\r\n452 4.2.2 two\r\n"}, lmtp=True) as up:
        recipients = [b"one@example.com", b"two@example.com", b"one@EXAMPLE.com",
                      b"two@example.com"]
        replies, verdicts = play(proxy(smtpd, up, f"--protocol={client}"), tmp_path, recipients,
                                 how)
        assert copies(up) == [recipients[:2]]
    assert [reply[:9] for reply in replies] == [b"250 2.1.5"] * 4
    assert verdicts == ([b"250 2.0.0 one", b"452 4.2.2 two"] * 2 if client == "lmtp"
                        else [b"452 4.2.2 two"])


def test_each_transaction_begins_anew(release, tmp_path):
    with Upstream() as up:
        with Session(proxy(release, up), tmp_path) as s:
            s.begin("EHLO")
            for _ in range(2):
                assert s.send_message(b"Subject: x\r\n\r\ntext\r\n").startswith(b"250 ")
            s.expect((b"MAIL FROM:<>", b"250 "), (b"RCPT TO:<b@example.com>", b"250 "),
                     (b"RSET", b"250 "))
            assert s.send_message(b"Subject: x\r\n\r\ntext\r\n").startswith(b"250 ")
            assert s.end() == 0
        assert copies(up) == [[b"b@example.com"]] * 3


@pytest.mark.parametrize("how", ["one by one", "pipelined"])
def test_equal_recipients_of_whom_the_first_is_refused(release, tmp_path, how):
    """The refusal is everybody's; the next transaction begins anew."""
    with Upstream({"RCPT": [b"450 4.2.0 not yet\r\n", None]}) as up:
        with Session(proxy(release, up), tmp_path) as s:
            s.begin("EHLO")
            ask = [b"MAIL FROM:<a@example.org>", *[b"RCPT TO:<%s>" % one for one in SAME],
                   b"RCPT TO:<c@example.com>", b"RSET"]
            if how == "pipelined":
                s.say(b"".join(line + b"\r\n" for line in ask))
                replies = [s.reply() for _ in ask]
            else:
                replies = [s.ask(line) for line in ask]
            assert replies[1:-1] == [b"450 4.2.0 not yet"] * len(SAME) + [
                b"250 2.1.5 recipient fine"]
            s.expect((b"MAIL FROM:<a@example.org>", b"250 "),
                     (b"RCPT TO:<%s>" % SAME[0], b"250 "), (b"RSET", b"250 "))
            assert s.end() == 0
        assert sum(line.startswith(b"RCPT") for line in up.commands) == 3


@pytest.mark.parametrize("client", ["smtp", "lmtp"])
@pytest.mark.parametrize("version", [2, 3])
def test_equal_lists(smtpd, tmp_path, version, client):
    """Of a list the local part has no letter case either; of others, beside it, it has."""
    recipients = [b"list@example.com", b"List@example.com", b"other@example.com",
                  b"LIST@Example.Com", b"Other@example.com"]
    with list_server() as lists, Upstream(extensions=("SIZE",)) as up:
        where = lists if version == 3 else folder_of_lists(tmp_path / "mailman", "list")
        folder = tmp_path if version == 3 else where
        replies, verdicts = play(mailman(smtpd, where, up, f"--protocol={client}"), folder,
                                 recipients)
        assert copies(up) == [[b"other@example.com", b"Other@example.com"]]
        assert version == 2 or copies(lists) == [[b"list@example.com"]]
    assert version == 3 or len(list(folder.glob("qfiles/in/*.msg"))) == 1
    assert [reply[:3] for reply in replies] == [b"250"] * 5
    assert replies[0] == replies[1] == replies[3]
    assert [verdict[:3] for verdict in verdicts] == [b"250"] * (5 if client == "lmtp" else 1)


def refused(replies):
    return [reply for reply in replies if not reply.startswith(b"250 ")]


@pytest.mark.parametrize("version, limit, n_each",
                         [(3, None, 1), (2, None, 0), (3, 40, 1), (2, 40, 0)])
def test_as_many_lists_as_there_are_descriptors_for(smtpd, tmp_path, version, limit, n_each):
    """Those past it are refused at RCPT, and come in other messages; who is accepted gets the
    message."""
    names = [f"list{n}" for n in range(60)]
    left = [f"{name}@example.com".encode() for name in names]
    folder = folder_of_lists(tmp_path / "mailman", *names)
    with list_server() as lists, Upstream() as up:
        argv = mailman(smtpd, lists if version == 3 else folder, up)
        if limit:
            argv = ["sh", "-c", f'ulimit -n {limit} && exec "$@"', "sh", *argv]
        n_messages = 0
        while left:
            replies, verdicts = play(argv, folder, [*left, b"other@example.com"])
            assert verdicts[0].startswith(b"250 ") and replies[-1].startswith(b"250 "), verdicts
            assert all(reply.startswith(b"452 4.5.3 ")
                       for reply in refused(replies)), refused(replies)
            n_messages += 1
            assert len(left) - len(
                refused(replies)) >= limit - 24 if limit and refused(replies) else True
            left = [one for one, reply in zip(left, replies) if not reply.startswith(b"250 ")]
        assert copies(up) == [[b"other@example.com"]] * n_messages
        assert (n_messages == 1) == (limit is None or n_each == 0)
        taken = [one for copy in copies(lists) for one in copy]
    if version == 2:
        taken = [path.read_text().split()[1].encode() + b"@example.com"
                 for path in folder.glob("qfiles/in/*.argv")]
    assert sorted(taken) == sorted(f"{name}@example.com".encode() for name in names)


def test_programs_have_them_as_they_came(release, tmp_path):
    hook = tmp_path / "hook"
    hook.write_text('#!/bin/sh\nprintf "%s" "$SMTPD_RCPT_TO" >&2\n')
    hook.chmod(0o755)
    said = b"EHLO c\r\nMAIL FROM:<>\r\n" + b"".join(b"RCPT TO:<%s>\r\n" % one
                                                    for one in SAME) + b"DATA\r\n.\r\nQUIT\r\n"
    _, out, err = run(command(release, "--strategy=exec", f"--command={hook}"), said)
    assert out.count(b"\r\n250 2.1.5 ") == 3
    assert all(b'stderr=' in err and one in err for one in SAME)


# --- split=yes ------------------------------------------------------------------------------------

SPLIT = "--split=yes"
ELSEWHERE = b"452 4.5.3 goes to another destination: send it in another message"
TWO = [b"b@example.com", b"c@example.com"]
CASES = {  # LMTP upstream; recipients; which are accepted together; "list" is one
    "the upstream is one destination": (False, [*TWO, b"d@example.com"], [0, 1, 2]),
    "each recipient of an LMTP upstream": (True, [*TWO, b"B@example.com"], [0]),
    "the same recipient again": (True, [b"b@example.com", b"c@example.com", b"b@EXAMPLE.com"],
                                 [0, 2]),
}
CASES_WITH_LISTS = {
    "a list first": (False,
                     [b"list1@example.com", b"b@example.com", b"list2@example.com",
                      b"list1-x@example.com"], [0]),
    "the upstream first": (False, [b"b@example.com", b"list1@example.com", b"c@example.com"],
                           [0, 2]),
    "the upstream first, by LMTP": (True,
                                    [b"b@example.com", b"list1@example.com", b"c@example.com"],
                                    [0]),
    "a list first, with LMTP": (True,
                                [b"list1@example.com", b"b@example.com", b"LIST1@example.com"],
                                [0, 2]),
    "only lists": (False, [b"list2@example.com", b"list1@example.com", b"List2@Example.com"],
                   [0, 2]),
}


@pytest.mark.parametrize("how", ["one by one", "pipelined"])
@pytest.mark.parametrize("name", CASES)
def test_split(smtpd, tmp_path, name, how):
    is_lmtp, recipients, accepted = CASES[name]
    with Upstream(lmtp=is_lmtp) as up:
        replies, verdicts = play(proxy(smtpd, up, SPLIT), tmp_path, recipients, how)
        n_told = sum(line.startswith(b"RCPT") for line in up.commands)
    assert [i for i, reply in enumerate(replies) if reply.startswith(b"250 ")] == accepted
    assert all(reply == ELSEWHERE for reply in refused(replies)) and verdicts[0].startswith(b"250 ")
    assert n_told == (1 if is_lmtp else 3)


@pytest.mark.parametrize("how", ["one by one", "pipelined"])
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", CASES_WITH_LISTS)
def test_split_with_lists(smtpd, tmp_path, name, version, how):
    is_lmtp, recipients, accepted = CASES_WITH_LISTS[name]
    with list_server() as lists, Upstream(lmtp=is_lmtp) as up:
        folder = folder_of_lists(tmp_path / "mailman", "list1", "list2")
        argv = mailman(smtpd, lists if version == 3 else folder, up, SPLIT)
        replies, verdicts = play(argv, folder, recipients, how)
        assert all(reply == ELSEWHERE for reply in refused(replies))
        assert verdicts[0].startswith(b"250 ")
        assert [i for i, reply in enumerate(replies) if reply.startswith(b"250 ")] == accepted
        n_copies = len(copies(up)) + len(copies(lists)) + len(list(folder.glob("qfiles/in/*.msg")))
    assert n_copies == 1


def test_split_who_is_refused_chooses_no_destination(smtpd, tmp_path):
    with Upstream({"RCPT": [b"550 5.1.1 nobody\r\n", None]}, lmtp=True) as up:
        for how in ("pipelined", "one by one"):
            replies, _ = play(proxy(smtpd, up, SPLIT), tmp_path, [*TWO, b"d@example.com"], how)
            assert [reply[:3] for reply in replies] == [b"550", b"250", b"452"]
        assert copies(up) == [[TWO[1]], [TWO[1]]]


def test_split_no_list_and_no_upstream(release, tmp_path):
    """What exists nowhere is no matter of destinations."""
    with list_server() as lists, Session(mailman(release, lists, None, SPLIT), tmp_path) as s:
        s.begin("MAIL")
        s.expect((b"RCPT TO:<list1@example.com>", b"250 "),
                 (b"RCPT TO:<b@example.com>", b"550 5.1.1 "))
        s.expect((b"RCPT TO:<list2@example.com>", b"452 4.5.3 "), (b"RCPT TO:<x@y@z>", b"501 "),
                 (b"RSET", b"250 "))
        s.expect((b"MAIL FROM:<>", b"250 "), (b"RCPT TO:<list2@example.com>", b"250 "))
        assert s.end() == 0


def test_no_split_is_the_default(release, tmp_path):
    with list_server() as lists, Upstream(lmtp=True) as up:
        replies, _ = play(mailman(release, lists, up), tmp_path,
                          [b"list1@example.com", *TWO, b"list2@example.com"])
        assert refused(replies) == []
    status, _, err = run([release, "--config=/dev/null", "--strategy=exec", "--command=/bin/true",
                          SPLIT, "--check"])
    assert status == 64 and b"split" in err
