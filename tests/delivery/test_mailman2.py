# SPDX-License-Identifier: MIT
"""Strategy mailman with Mailman 2.1, before a stand-in for its wrapper (tests/mailman2-wrapper,
which says what the real one does) and its folder of lists."""

import re
import time

import pytest
from conftest import ROOT, need
from logs import lines
from mailman2 import CONTENT, DATE, Client, Mailman2
from upstream import Upstream, close

COMMANDS = ("admin", "bounces", "confirm", "join", "leave", "owner", "request", "subscribe",
            "unsubscribe")
OTHER = b"other@example.com"


@pytest.fixture
def mm(tmp_path):
    return Mailman2(tmp_path)


def play(mm, argv, *recipients, content=CONTENT, sender=b"a@example.org"):
    """One message for recipients that are all welcome: (the verdict, or one each in LMTP; the
    log)."""
    with Client(mm, argv) as client:
        assert all(reply.startswith(b"250 ") for reply in client.ask(*recipients, sender=sender))
        verdict = client.send(content, len(recipients) if "--protocol=lmtp" in argv else 1)
    return verdict, client.session.err()


# --- what is a list -------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["config.pck", "config.pck.last", "config.db", "config.db.last"])
def test_a_list_is_its_configuration(release, mm, file):
    mm.create("another", file)
    (mm.var / "lists/empty").mkdir()
    with Client(mm, mm.command(release)) as client:
        got = client.ask(b"another@example.com", b"empty@example.com", b"unknown@example.com")
    assert [reply[:9] for reply in got] == [b"250 2.1.5", b"550 5.1.1", b"550 5.1.1"]


# local part: COMMAND and LIST, with lists test, test-request, my-list, a.b_c=d
TARGETS = {b"test": "post test", b"TEST": "post test", b'"test"': "post test",
           b"test+x": "post test", b"my-list": "post my-list"}
TARGETS |= {b"my-list-%s" % c.encode(): f"{c} my-list" for c in COMMANDS}
TARGETS |= {
    b"a.b_c=d": "post a.b_c=d",
    b"test-request": "post test-request",  # the longest match
    b"test-request-request": "request test-request",
    b"test-request+x": "post test-request",
    b"Test-Owner": "owner test",
    b"test-confirm+0123456789abcdef": "confirm test",
    b"test-confirm+AB-request": "confirm test",
    b"my-list-bounces+user=dom.example": "bounces my-list",
    b"my-list-bounces+user-request=dom-x.example": "bounces my-list",
    b'"my-list-bounces+us er=dom"': "bounces my-list",
    b'"my-list-bounces+us/../er=dom"': "bounces my-list",
}


def test_targets(smtpd, mm):
    for name in ("test-request", "my-list", "a.b_c=d"):
        mm.create(name)
    with Client(mm, mm.command(smtpd)) as client:
        for n, (local, target) in enumerate(TARGETS.items()):
            assert [reply[:4] for reply in client.ask(local + b"@example.com")] == [b"250 "], local
            assert client.send().startswith(b"250 ")
            assert (mm.var / "argv").read_text().split() == target.split(), local
    assert len(mm.taken()) == len(TARGETS)


@pytest.mark.parametrize("local", [
    b"-request",
    b"unknown", b"test-unknown", b"unknown-request", b"test-", b"+test", b"+", b"-",
    b"test-request-request-request",
    b"test/../test", b"../lists/test", b"./test", b"/etc/passwd", b"test/", b"/test", b'"."',
    b'".."', b'"../test"', b'".hidden"',
    b'"te st"', b'"te\\st"', b'""', b"x" * 128, b"x" * 900, b"test" + b"x" * 700, b"$(id)",
    b"test;id", b"test*", b"tes?", b"-test-",
    b"--help", b"test\x7f", b'"test-request/"',
])
def test_no_lists(release, mm, local):
    """There are files where the hostile ones lead to."""
    (mm.var / "config.pck").touch()
    (mm.var / "lists/config.pck").touch()
    mm.create(".hidden")
    with Client(mm, mm.command(release)) as client:
        reply = client.ask(local + b"@example.com")[0]
    assert reply[:4] in (b"550 ", b"501 ", b"553 ", b"500 ") and not (mm.var / "argv").exists()


def test_plus_in_the_name_of_a_list(release, mm):
    """Which Mailman allows."""
    mm.create("c++")
    for local, target in ((b"c++", "post c++"), (b"c++-confirm+0123", "confirm c++"),
                          (b"c+++x", "post c++")):
        verdict, _ = play(mm, mm.command(release), local + b"@example.com")
        assert verdict.startswith(b"250 ")
        assert (mm.var / "argv").read_text().split() == target.split()


@pytest.mark.parametrize("recipient", [b"test@example.com", b"odd@example.com"],
                         ids=["no directory", "a loop"])
def test_what_might_be_a_list_is_no_unknown_recipient(release, mm, recipient):
    """Where the lists cannot be looked at, nothing goes to the upstream, and nothing is refused for
    good."""
    lists = mm.var / "lists"
    if recipient.startswith(b"test@"):
        lists.rename(mm.var / "elsewhere")
    else:
        (lists / "odd").symlink_to("odd")
    with Client(mm, mm.command(release)) as client:
        assert client.ask(recipient)[0].startswith(b"451 4.4.1")
        assert b"cannot look for lists in mailman-lists=" in client.session.err()


def test_list_is_removed_before_the_message_of_mailman_2(release, mm):
    with Client(mm, mm.command(release)) as client:
        client.ask(b"test@example.com")
        (mm.var / "lists/test/config.pck").unlink()
        assert client.send().startswith(b"550 5.1.1 ")
    assert not (mm.var / "argv").exists()


# --- what the wrapper gets ------------------------------------------------------------------------

RECEIVED = re.compile(rb"Received: from client\.example\.org \(local\)\n\tby mx\.example\.com "
                      rb"\(smtpd\) with ESMTP id \S+\n"
                      rb"\tfor <test@example\.com>;\n\t[^\n]* \+0000\n")
CASES = {  # what a client sends; what stands above it; whose the mail is
    "both there": (CONTENT, b"", b"a@example.org"),
    "in other letters": (b"FROM: x\r\ndate: y\r\n\r\ntext\r\n", b"", b"a@example.org"),
    "no From": (b"Date: y\r\n\r\ntext\r\n", rb"From: a@example\.org\n", b"a@example.org"),
    "no Date": (b"From: x\r\n\r\ntext\r\n", DATE, b"a@example.org"),
    "neither": (b"Subject: x\r\nX-From: x\r\nFroms: y\r\n\r\nFrom: text\r\nDate: text\r\n",
                rb"From: a@example\.org\n" + DATE, b"a@example.org"),
    "no header": (b"\r\ntext\r\n", rb"From: a@example\.org\n" + DATE, b"a@example.org"),
    "null sender": (b"Subject: x\r\n\r\ntext\r\n", rb"From: MAILER-DAEMON\n" + DATE, b""),
}


@pytest.mark.parametrize("name", CASES)
def test_the_message(release, mm, name):
    content, above, sender = CASES[name]
    verdict, _ = play(mm, mm.command(release), b"test@example.com", content=content, sender=sender)
    (taken,) = mm.taken()
    text = content.replace(b"\r\n", b"\n")
    header, body = (b"", text) if text.startswith(b"\n") else (text[: text.index(b"\n\n") + 1],
                                                               text[text.index(b"\n\n") + 1 :])
    match = re.fullmatch(RECEIVED.pattern + above + rb"(?P<rest>(?s:.)*)", taken.text)
    assert verdict.startswith(b"250 ") and match and match["rest"] == header + b"X-Peer: local\n" + body, taken.text


def test_large_message_of_mailman_2(smtpd, mm):
    body = b"".join(b"%d the quick brown fox\r\n" % i for i in range(100000))
    verdict, _ = play(mm, mm.command(smtpd), b"test@example.com", content=CONTENT + body)
    (taken,) = mm.taken()
    assert verdict.startswith(b"250 ")
    assert taken.text.endswith(b"\n\n.text\n" + body.replace(b"\r\n", b"\n"))


def test_nothing_of_the_client_in_the_arguments(release, mm):
    """Only a command of the table, and the name of a list that is there."""
    local = b'"test-bounces+$(touch x)=`id`;-x -request"'
    verdict, _ = play(mm, mm.command(release), local + b"@example.com", sender=b"-f@example.org")
    assert verdict.startswith(b"250 ") and (mm.var / "argv").read_text() == "bounces\ntest\n"


def test_several_lists_and_messages(release, mm):
    mm.create("my-list")
    with Client(mm, mm.command(release)) as client:
        for _ in range(2):
            client.ask(b"test@example.com", b"my-list-join@example.com", b"MY-list@example.com")
            assert client.send().startswith(b"250 ")
    assert sorted(taken.argv
                  for taken in mm.taken()) == sorted([["post", "test"], ["join", "my-list"],
                                                      ["post", "my-list"]] * 2)


# Leaves a reader of its standard input behind, and spoils for the others what the system lets it.
VANDAL = """#!/usr/bin/python3
import contextlib, fcntl, os, sys
taken = os.read(0, 1 << 24)
with open(os.environ["WRAPPER_VAR"] + "/taken." + sys.argv[2], "wb") as file:
    file.write(taken)
for spoil in (lambda: os.write(0, b"spoilt"), lambda: os.ftruncate(0, 100), lambda: os.pwrite(0, b"spoilt", 0)):
    with contextlib.suppress(OSError):
        spoil()
os.lseek(0, 0, os.SEEK_SET)
if os.fork() == 0:
    for n in range(3000):
        os.read(0, 999)
        if n % 50 == 0:
            os.lseek(0, 0, os.SEEK_SET)
"""


@pytest.mark.parametrize("size", [1000, 66_195])
def test_wrappers_share_nothing(smtpd, mm, size):
    """What one does with its standard input, or somebody it has left behind, no other list
    notices."""
    lists = [f"list{n}" for n in range(8)]
    for name in lists:
        mm.create(name)
    wrapper = mm.var / "vandal"
    wrapper.write_text(VANDAL)
    wrapper.chmod(0o755)
    body = b"the quick brown fox.\r\n" * (size // 22)
    verdict, _ = play(mm, mm.command(smtpd, f"--mailman-wrapper={wrapper}"),
                      *(f"{name}@example.com".encode() for name in lists),
                      content=CONTENT + body)
    taken = [(mm.var / f"taken.{name}").read_bytes() for name in lists]
    assert verdict.startswith(b"250 ")
    assert taken[0].endswith(CONTENT.replace(b"\r\n", b"\n")[-6:] + body.replace(b"\r\n", b"\n"))
    assert [len(one) for one in taken] == [len(taken[0])] * 8 and len(set(taken)) == 1


# --- verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status",
                         [0, 1, 2, 3, 4, 5, 6, 7, 8, 64, 65, 67, 75, 77, 100, 111, 127, 255])
def test_exit_statuses_of_the_wrapper(release, mm, status):
    """They are no sysexits."""
    (mm.var / "exit").write_text(str(status))
    verdict, log = play(mm, mm.command(release), b"test@example.com")
    assert verdict[:10] == {0: b"250 2.0.0 ", 1: b"550 5.1.1 "}.get(status, b"451 4.3.0 ")
    assert b"failure as told" in log and b'verdict="' + verdict[:3] in log


def test_killed_of_the_wrapper(release, mm):
    (mm.var / "kill").touch()
    verdict, log = play(mm, mm.command(release), b"test@example.com")
    assert verdict.startswith(b"451 4.3.0 ")
    (line,) = lines(log, "Mailman")
    assert line["destination"] == b"%s/tests/mailman2-wrapper signal 9" % str(ROOT).encode()
    assert line.keys() == ["id", "destination", "to"]


@pytest.mark.parametrize("how", ["missing", "no program", "not executable"])
def test_wrapper_cannot_be_run(release, mm, how):
    path = mm.var / "wrapper"
    if how != "missing":
        path.write_bytes(b"\x7fELF" if how == "no program" else b"#!/bin/sh\n")
        path.chmod(0o755 if how == "no program" else 0o644)
    verdict, log = play(mm, mm.command(release, f"--mailman-wrapper={path}"), b"test@example.com")
    assert verdict.startswith(b"451 4.3.0 ") and (b"cannot run" in log or how == "no program")


def test_hanging_wrapper(release, mm):
    (mm.var / "hang").touch()
    then = time.monotonic()
    verdict, _ = play(mm, mm.command(release, "--timeout=1"), b"test@example.com")
    assert verdict.startswith(b"451 4.3.0 ") and time.monotonic() - then < 5


def test_wrapper_that_does_not_read(smtpd, mm):
    (mm.var / "deaf").touch()
    verdict, _ = play(mm, mm.command(smtpd), b"test@example.com",
                      content=CONTENT + b"x" * 500000 + b"\r\n")
    assert verdict.startswith(b"250 ")


# --- beside an upstream ---------------------------------------------------------------------------

MIXED = {  # the upstream; the wrapper's status; the verdict; does the wrapper run
    "both": ({}, None, b"250 ", True),
    "upstream refuses at DATA": ({"DATA": b"554 5.7.1 no\r\n"}, None, b"554 5.7.1 no", False),
    "upstream fails at DATA": ({"DATA": b"451 4.3.0 no\r\n"}, None, b"451 4.3.0 no", False),
    "upstream refuses at the dot": ({"dot": b"554 5.6.0 no\r\n"}, None, b"554 5.6.0 no", False),
    "upstream is lost at the dot": ({"dot": close}, None, b"451 4.4.2 ", False),
    "wrapper refuses": ({}, 1, b"550 5.1.1 ", True),
    "wrapper fails": ({}, 2, b"451 4.3.0 ", True),
}


@pytest.mark.parametrize("name", MIXED)
def test_mixed(release, mm, name):
    script, status, expected, is_run = MIXED[name]
    if status is not None:
        (mm.var / "exit").write_text(str(status))
    with Upstream(script) as up:
        verdict, log = play(mm, mm.command(release, up), b"test@example.com", OTHER)
        up.wait_until_over()
    assert verdict.startswith(expected) and (mm.var / "argv").exists() == is_run
    assert len(up.messages) == ("DATA" not in script)
    assert all(m.recipients == [b"<%s>" % OTHER] for m in up.messages)
    if status:
        assert {line["to"]: line["verdict"][:3] for line in lines(log, "recipient")} == {
            b"<test@example.com>": expected[:3], b"<other@example.com>": b"250"}


def limited(argv):
    """Files, and so what is spooled, have at most 51,200 octets."""
    return ["sh", "-c", 'ulimit -f 100 && exec "$@"', "sh", *argv]


def pipes_fail(argv):
    return [need("strace"), "-f", "-qq", "-o", "/dev/null", "-e", "trace=pipe2", "-e",
            "inject=pipe2:error=EMFILE:when=2", *argv]


BEFORE_THE_DOT = {  # what is done to the wrapper, or to the command line; the verdict
    "it is missing": (lambda path: path.unlink(), None, b"451 4.3.0 "),
    "it is not executable": (lambda path: path.chmod(0o644), None, b"451 4.3.0 "),
    "its interpreter is missing": (lambda path: path.write_text("#!/nowhere/sh\n"), None,
                                   b"451 4.3.0 "),
    "its text has no room": (None, limited, b"452 4.3.1 "),
    "descriptors are out": (None, pipes_fail, b"451 4.3.0 "),
    "the list is gone": (None, None, b"550 5.1.1 "),
    "the lists are gone": (None, None, b"451 4.3.0 "),
}


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
@pytest.mark.parametrize("name", BEFORE_THE_DOT)
def test_what_can_fail_here_comes_first(release, mm, name, protocol):
    """In SMTP the upstream is not even told that there is a message; in LMTP each has its own
    verdict."""
    change, prefix, expected = BEFORE_THE_DOT[name]
    wrapper = mm.var / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nexec {ROOT}/tests/mailman2-wrapper "$@"\n')
    wrapper.chmod(0o755)
    if change:
        change(wrapper)
    content = CONTENT + b"x" * 998 + b"\r\n"
    content += (b"y" * 98 + b"\r\n") * ((51_180 - len(content.replace(b"\r\n", b"\n"))) // 99)
    with Upstream() as up:
        argv = mm.command(release, up, f"--mailman-wrapper={wrapper}", f"--protocol={protocol}")
        with Client(mm, prefix(argv) if prefix else argv) as client:
            client.ask(b"test@example.com", OTHER)
            if name == "the list is gone":
                (mm.var / "lists/test/config.pck").unlink()
            if name == "the lists are gone":
                (mm.var / "lists").rename(mm.var / "elsewhere")
            verdicts = client.send(content, 2 if protocol == "lmtp" else 1)
    log = client.session.err()
    assert not (mm.var / "argv").exists() and b"duplicate possible" not in log
    assert b"cannot look for lists in mailman-lists=" in log or name != "the lists are gone"
    if protocol == "smtp":
        assert verdicts.startswith(expected) and up.messages == [] and b"DATA" not in up.commands
    else:
        assert verdicts[0].startswith(expected) and verdicts[1].startswith(b"250 ")
        assert len(up.messages) == 1


def test_lmtp_of_mailman_2(release, mm):
    """Each recipient has its own verdict."""
    (mm.var / "exit").write_text("2")
    with Upstream() as up:
        verdicts, _ = play(mm, mm.command(release, up, "--protocol=lmtp"), b"test@example.com",
                           OTHER, b"test-owner@example.com")
    assert [verdict[:3] for verdict in verdicts] == [b"451", b"250", b"451"]
    assert len(up.messages) == 1
