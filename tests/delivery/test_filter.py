# SPDX-License-Identifier: MIT
"""filter=PROGRAM with strategies proxy and mailman: asked about the whole message before anybody
has it. Whatever it says or does, nobody has a message that it did not let through, and what goes on
is the client's text with the filter's fields on top. What ends the wait for it is in
test_patience.py, each fault at each system call in tests/sweep."""

import os
import re
import time
from collections import Counter

import pytest
from conftest import ROOT, need
from list_server import LIST, OTHER, mailman, play, session
from logs import lines, one
from proxy import RECEIVED, proxy
from scanners import EICAR, GTUBE, Clamd, Spamd
from session import PATIENCE, Session, command, environment, run, tcp_pair, wait_until
from upstream import Upstream, close, last

SMALL = b"Subject: small\r\n\r\n.small\r\n"
PASSED = b"Subject: small\nX-Peer: local\n\nsmall\n"  # as it is passed on, below Received
TAKEN = b"250 2.0.0 taken as 1.0"
TRY_AGAIN = b"451 4.3.0 temporary failure, try again later"


@pytest.fixture
def script(tmp_path):
    """Makes a filter of a shell script; what it is as an option."""

    def make(body, name="filter"):
        path = tmp_path / name
        path.write_bytes(b"#!/bin/sh\n" + (body if isinstance(body, bytes) else body.encode())
                         + b"\n")
        path.chmod(0o755)
        return f"--filter={path}"

    return make


def printing(octets, status=0):
    """A script that prints them."""
    return b"printf '%s'; exit %d" % (b"".join(b"\\%03o" % octet for octet in octets), status)


def ask(smtpd, folder, *options, content=SMALL, lmtp=False):
    """A message for one recipient: (verdict, what the upstream has of it, the log)."""
    with Upstream(lmtp=lmtp) as up:
        more = ["--upstream-protocol=lmtp"] if lmtp else []
        with Session(proxy(smtpd, up, *more, *options), folder) as s:
            s.begin("EHLO")
            verdict = s.send_message(content)
            assert s.end() == 0
        up.wait_until_over()
        return verdict, [m.text for m in up.messages], s.err()


def on_top(text):
    """What is above Received."""
    top, received, rest = re.split(rb"(?=^Received: )|(?<=\+0000\n)", text, maxsplit=2, flags=re.M)
    assert RECEIVED.fullmatch(received) and rest == PASSED
    return top


# --- what it says ---------------------------------------------------------------------------------

LONGEST = b"X-Long: " + b"x" * 990  # with its name, 998 octets
FIELDS_16K = b"".join(b"X-%03d: %s\n" % (n, b"y" * 120)
                      for n in range(127)) + b"X-End: " + b"z" * 120 + b"\n"
assert len(FIELDS_16K) == 16 * 1024


@pytest.mark.parametrize("said, top", [
    (b"", b""),
    (b"250 2.0.0 fine\n", b""),
    (b"250 fine\r\nX-A: 1\n", b"X-A: 1\n"),
    (b"251 anything of 2xx\nX-A: 1\n\tmore\nX-B: 2\n", b"X-A: 1\n\tmore\nX-B: 2\n"),
    (b"X-A: 1\nX-B:\nX-C:no blank", b"X-A: 1\nX-B:\nX-C:no blank\n"),
    (b".dot: 1\n", b".dot: 1\n"),
    (b"X-A: \xc3\xa4\n", b"X-A: \xc3\xa4\n"),
    (LONGEST + b"\n", LONGEST + b"\n"),
    (FIELDS_16K, FIELDS_16K),
    (b"250 fine\n" + FIELDS_16K, FIELDS_16K),
    (FIELDS_16K + b"\n" + b"r\n" * 40000, FIELDS_16K),
], ids=["nothing", "reply", "CRLF after the reply", "continued", "no reply", "dot", "8 bit", "long", "16K", "reply, 16K", "rest"])
def test_it_lets_a_message_go_on(smtpd, tmp_path, script, said, top):
    """Its fields are above our Received; the verdict is the upstream's."""
    (tmp_path / "said").write_bytes(said)
    verdict, (text,), log = ask(smtpd, tmp_path, script(f"cat {tmp_path}/said"))
    assert verdict == TAKEN and on_top(text) == top
    line = one(log, "message")
    assert line["destination"].startswith(b"127.0.0.1:") and "by" not in line.keys()


@pytest.mark.parametrize("said, top, ignored", [
    (b"OK\n", b"", b"OK"),
    (b"X-A: 1\nno field\nX-B: 2\n", b"X-A: 1\n", b"no field\\x0aX-B: 2"),
    (b"X-A: 1\n\nX-B: 2\n", b"X-A: 1\n", b"\\x0aX-B: 2"),
    (b"X-A: 1\n \t\nX-B: 2\n", b"X-A: 1\n", b" \\x09\\x0aX-B: 2"),
    (b" folded\nX-B: 2\n", b"", b" folded\\x0aX-B: 2"),
    (b"X-A : 1\n", b"", b"X-A : 1"),
    (b": 1\n", b"", b": 1"),
    (b"250 fine\nhello\r\n", None, None),
    (b"X-A: 1\n\nrest with CR\r\n", b"X-A: 1\n", b"\\x0arest with CR"),
], ids=["no field", "among fields", "empty", "blanks", "continuation first", "blank before the colon", "no name", "CR in it", "rest"])
def test_the_first_line_that_is_no_field_ends_them(release, tmp_path, script, said, top, ignored):
    """The rest is ignored, and the log says so."""
    verdict, texts, log = ask(release, tmp_path, script(printing(said)))
    if top is None:
        assert verdict == TRY_AGAIN and texts == []
        return
    assert verdict == TAKEN and on_top(texts[0]) == top
    assert rb'ignored="%s"' % ignored in log or rb"ignored=%s " % ignored in log
    assert b"not a header field: it and the rest are ignored" in log


@pytest.mark.parametrize("body, verdict", [
    (b"echo 550 5.7.1 no, thank you", b"550 5.7.1 no, thank you"),
    (b"echo 451 4.7.1 later; echo X-A: 1; exit 1", b"451 4.7.1 later"),
    (b"echo 421 4.7.1 go away", b"451 4.7.1 go away"),
    (b"exit 77", b"550 5.7.1 not permitted"),
    (b"echo X-A: 1; exit 100", b"554 5.0.0 the message was refused"),
    (b"exit 1", TRY_AGAIN), (b"echo 250 fine; exit 1", TRY_AGAIN), (b"kill -9 $$", TRY_AGAIN),
    (b"kill -11 $$", TRY_AGAIN),
    (b"echo X-A: 1; kill -9 $$", TRY_AGAIN),
    (b"echo 354 go on", TRY_AGAIN), (b"echo 250-more", TRY_AGAIN), (b"echo 999 what", TRY_AGAIN),
    (printing(b"X-A: 1\r\n"), TRY_AGAIN), (printing(b"X-A: 1\n2\r3\n"), TRY_AGAIN),
    (printing(b"250 fine\rX-A: 1\n"), TRY_AGAIN),
    (printing(b"X-A: 1\0\n"), TRY_AGAIN), (printing(b"\0\n"), TRY_AGAIN),
    (printing(b"X-A: 1\n \0"), TRY_AGAIN),
    (printing(LONGEST + b"x\n"), TRY_AGAIN),
    (printing(b"X-A: 1\n " + b"x" * 998), TRY_AGAIN),
    (b"head -c 300000 /dev/zero", TRY_AGAIN),
    (b"head -c 1000000 /dev/zero | tr '\\0' x", TRY_AGAIN),
    (b"head -c 100000 /dev/urandom | tr -d '\\n'", TRY_AGAIN),
    (b"yes X-A: 1 | head -c 16385", TRY_AGAIN), (b"yes X-A: 1 | head -c 17408", TRY_AGAIN),
    (b"yes X-A: 1 | head -c 17409", TRY_AGAIN),
    (b"yes X-A: 1 | head -c 1000000", TRY_AGAIN),
], ids=lambda value: re.sub(r"[^ -~]|/", ".", value.decode(errors="replace"))[:40])
def test_it_says_no(smtpd, tmp_path, script, body, verdict):
    """Or nothing that counts as yes: nobody has the message, and the log has whose word it was."""
    said, texts, log = ask(smtpd, tmp_path, script(body))
    assert said == verdict and texts == []
    line = one(log, "message")
    assert line["by"] == b"filter"
    assert line["destination"].startswith(b"%s/filter " % str(tmp_path).encode())
    assert line["verdict"] == verdict and b"duplicate" not in log


def test_why_fields_are_not_taken(release, tmp_path, script):
    """The log says what was wrong, and what to do."""
    for said, reason in ((b"X-A: 1\r\n", b"there is a CR in it, so 451: end header fields with LF"),
                         (b"X-A: 1\0\n", b"there is a NUL in it, so 451: print text"),
                         (b"x" * 999, b"a line has more than 998 octets, so 451: fold it"),
                         (FIELDS_16K + b"X: 1\n",
                          b"more than 16 KiB of header fields, so 451: print less")):
        (tmp_path / "said").write_bytes(said)
        _, _, log = ask(release, tmp_path, script(f"cat {tmp_path}/said"))
        assert rb'reason="%s"' % reason in log


def test_after_it_is_killed(release, tmp_path, script):
    """It has timeout= seconds, of those that the message has."""
    for option in ("--timeout=1", "--message-timeout=1"):
        began = time.monotonic()
        said, texts, log = ask(release, tmp_path, script("exec sleep 60"), option)
        assert said == b"451 4.3.0 the filter took too long, try again later" and texts == []
        assert time.monotonic() - began < PATIENCE and b"duplicate" not in log
        line = one(log, "message")
        assert line["by"] == b"us"
        assert re.search(rb"filter timeout after [01] seconds?$", line["destination"])


def test_one_that_cannot_run(release, tmp_path):
    """Mail waits, and log and --check say what to do."""
    said, texts, log = ask(release, tmp_path, f"--filter={tmp_path}/nowhere")
    assert said == TRY_AGAIN and texts == []
    assert b"cannot run %s/nowhere: No such file or directory" % str(tmp_path).encode() in log
    status, _, err = run(proxy(release, "192.0.2.1", f"--filter={tmp_path}/nowhere", "--check"))
    assert status == 0 and b"filter: %s/nowhere: No such file" % str(tmp_path).encode() in err


# --- what it gets ---------------------------------------------------------------------------------

SEEING = 'cat >"$SEEN/text"; env >"$SEEN/environ"; echo "X-Args: $*"'


def test_what_it_is_told(smtpd, tmp_path, script, monkeypatch):
    """The contract of smtpd-exec(7): the message as it came, its envelope, arguments as
    configured."""
    monkeypatch.setenv("SEEN", str(tmp_path))
    with Upstream() as up:
        argv = proxy(smtpd, up, script(SEEING) + " one 'two words'", "--max-recipients=9")
        with Session(argv, tmp_path) as s:
            s.expect((None, b"220 "), (b"EHLO client.example.org", b"250-"),
                     (b"MAIL FROM:<a@example.org>", b"250 "))
            s.expect(*[(b"RCPT TO:<%s>" % to, b"250 ")
                       for to in (b"b@example.com", b"c@example.com", b"b@EXAMPLE.com")])
            s.expect((b"DATA", b"354 "))
            s.say(SMALL + b".\r\n")
            assert s.reply() == TAKEN and s.end() == 0
    assert (tmp_path / "text").read_bytes() == b"Subject: small\n\nsmall\n"
    environ = (tmp_path / "environ").read_text()
    for said in ("SMTPD_MAIL_FROM=a@example.org", "SMTPD_HELO=client.example.org",
                 "SMTPD_PEER=local", "SMTPD_PROTOCOL=ESMTP",
                 f"SMTPD_SIZE={len(SMALL) - 1}",
                 "SMTPD_RCPT_TO=b@example.com\nc@example.com\nSMTPD"):
        assert said in environ
    assert on_top(up.messages[0].text) == b"X-Args: one two words\n"


def test_a_relative_name(release, tmp_path, script):
    """It runs in /, and is looked for where smtpd was started."""
    script("pwd >&2")
    with (Upstream() as up,
          Session(proxy(release, up, "--filter=./filter"), tmp_path, cwd=tmp_path) as s):
        s.begin("EHLO")
        assert s.send_message(SMALL) == TAKEN and s.end() == 0
    assert b"filter stderr=/\n" in s.err()


@pytest.mark.parametrize("size", [1000, 40_000, 3_000_000])
def test_it_changes_nothing(smtpd, tmp_path, script, size):
    """A filter that reads half, writes to what it was given, opens it again to write and to cut it,
    and leaves: the upstream has every octet. Of root's files no mode keeps root away."""
    content = b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * (size // 18)
    file = "/proc/self/fd/0"
    body = f'head -c 100 >/dev/null; (echo EVIL >&0; echo EVIL >{file}; echo EVIL >>{file}; : >{file}; echo EVIL 1<>{file}) 2>/dev/null; echo "X-A: 1"'
    verdict, (text,), _ = ask(smtpd, tmp_path, script(body), content=content)
    assert verdict == TAKEN
    assert text.endswith(content.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n"))
    assert text.startswith(b"X-A: 1\nReceived: ") and b"EVIL" not in text


def test_messages_of_one_session(smtpd, tmp_path, script):
    """Each is asked about, and has its own fields only."""
    body = 'case $SMTPD_MAIL_FROM in 1*) echo "X-One: 1";; 2*) exit 77;; esac'
    with Upstream() as up:
        with Session(proxy(smtpd, up, script(body)), tmp_path) as s:
            s.begin("EHLO")
            said = [s.send_message(SMALL, sender=b"%d@example.org" % n) for n in (1, 2, 3)]
            assert [reply[:3] for reply in said] == [b"250", b"550", b"250"] and s.end() == 0
        assert [on_top(m.text) for m in up.messages] == [b"X-One: 1\n", b""]


def test_no_filter_for_what_is_refused_anyway(release, tmp_path, script):
    """A mail loop, and NUL, are nobody's business."""
    body = script(f"echo ran >>{tmp_path}/ran")
    for content in (b"Received: x\r\n" * 101 + b"\r\nx\r\n", b"Subject: x\r\n\r\n\0\r\n"):
        said, texts, _ = ask(release, tmp_path, body, content=content)
        assert said.startswith(b"554 ") and texts == []
    assert not (tmp_path / "ran").exists()


def test_many_recipients_of_a_filter(release, tmp_path, script):
    """As many as fit into its environment; the rest is told so at RCPT, waiting or pipelined, and
    the message goes on."""
    n = 600
    recipients = [b"%d%s@%s.example.com" % (i, b"x" * 50, b".".join([b"y" * 60] * 3))
                  for i in range(n)]
    with Upstream() as up:
        argv = proxy(release, up, script("echo X-N: $(echo \"$SMTPD_RCPT_TO\" | wc -l)"),
                     f"--max-recipients={n}")
        with Session(argv, tmp_path) as s:
            s.deadline += 60
            s.begin("MAIL")
            s.say(b"".join(b"RCPT TO:<%s>\r\n" % to for to in recipients))
            said = [s.reply()[:9] for _ in recipients]
            fit = said.count(b"250 2.1.5")
            assert 0 < fit < n and said == [b"250 2.1.5"] * fit + [b"452 4.5.3"] * (n - fit)
            s.expect((b"DATA", b"354 "))
            s.say(SMALL + b".\r\n")
            assert s.reply() == TAKEN and s.end() == 0
        assert up.messages[0].text.startswith(b"X-N: %d\nReceived: " % fit)
        assert len(up.messages[0].recipients) == fit


# --- the upstream ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [close, last(b"421 4.4.2 you are slow\r\n")], ids=["closes", "421"])
def test_an_upstream_that_hangs_up_meanwhile(smtpd, tmp_path, script, how):
    """The envelope is said once more, to a new connection; and once only."""
    for second, verdict, n in (({}, TAKEN, 1), ({"RCPT": b"550 5.1.1 who?\r\n"}, b"451 ", 0),
                               ({"DATA": close}, b"451 ", 0)):
        hung_up = tmp_path / f"hung-up-{n}-{len(second)}"

        def leave(c):
            c.send(b"250 2.1.5 recipient fine\r\n")
            wait_until((tmp_path / "running").exists, "the filter")
            try:
                how(c)
            finally:
                hung_up.touch()
                c.sock.close()

        (tmp_path / "running").unlink(missing_ok=True)
        with Upstream({"RCPT": leave}, second) as up:
            body = script(f"touch {tmp_path}/running; while ! [ -e {hung_up} ]; do sleep 0.02; "
                          f"done; sleep 0.1; echo X-A: 1")
            with Session(proxy(smtpd, up, body), tmp_path) as s:
                s.begin("EHLO")
                assert s.send_message(SMALL).startswith(verdict) and s.end() == 0
            up.wait_until_over()
            assert len(up.messages) == n and len(up.connections) == 2
            assert up.connections[1].commands[1:3] == [b"MAIL FROM:<a@example.org>",
                                                       b"RCPT TO:<b@example.com>"]


def test_what_the_upstream_cannot_take(release, tmp_path, script):
    """Fields count: toward SIZE, and as 8-bit text. We had promised what it says no to, so it is
    for now."""
    for extensions, body, code in ((("SIZE 400",), b"yes X-A: 1 | head -c 700", b"552"),
                                   (("SIZE 1000",), b"echo X-A: 1", b"250"),
                                   ((), "echo X-A: ä", b"554"),
                                   (("8BITMIME",), "echo X-A: ä", b"250")):
        with Upstream(extensions=extensions) as up:
            with Session(proxy(release, up, script(body)), tmp_path) as s:
                s.begin("EHLO")
                assert s.send_message(SMALL)[:3] == code and s.end() == 0
            assert len(up.messages) == (code == b"250")


def test_upstream_by_lmtp(smtpd, tmp_path, script):
    verdict, (text,), _ = ask(smtpd, tmp_path, script("echo X-A: 1"), lmtp=True)
    assert verdict.startswith(b"250 ") and on_top(text) == b"X-A: 1\n"
    verdict, texts, _ = ask(smtpd, tmp_path, script("exit 77"), lmtp=True)
    assert verdict.startswith(b"550 5.7.1 ") and texts == []


def test_clients_by_lmtp(smtpd, tmp_path, script):
    """One question for the message; its no is each recipient's."""
    for body, code, n in ((f"echo ran >>{tmp_path}/ran", b"250 ", 1),
                          (f"echo ran >>{tmp_path}/ran; exit 77", b"550 ", 0)):
        with Upstream(lmtp=True) as up:
            argv = proxy(smtpd, up, "--upstream-protocol=lmtp", "--protocol=lmtp", script(body))
            with session(argv, tmp_path) as s:
                s.expect((b"MAIL FROM:<a@example.org>", b"250 "),
                         (b"RCPT TO:<b@example.com>", b"250 "))
                s.expect((b"RCPT TO:<c@example.com>", b"250 "), (b"DATA", b"354 "))
                s.say(SMALL + b".\r\n")
                assert all(s.reply().startswith(code) for _ in range(2))
            assert len(up.messages) == n
    assert (tmp_path / "ran").read_text() == "ran\n" * 2


# --- mailman --------------------------------------------------------------------------------------


@pytest.fixture
def both():
    """A scripted Mailman that has one list, and an upstream."""
    is_list = lambda c: c.send(b"250 ok\r\n" if c.commands[-1].lower() == b"rcpt to:<%s>" % LIST
                               else b"550 no\r\n")
    with Upstream({"RCPT": is_list}, lmtp=True, extensions=()) as lists, Upstream() as up:
        yield lists, up


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_list_and_other(smtpd, tmp_path, script, both, protocol):
    """Both destinations have the fields, or nobody has the message."""
    lists, up = both
    for body, code, n in (("exit 77", b"550", 0), ("echo X-A: 1; kill -9 $$", b"451", 0),
                          ("echo X-A: 1", b"250", 1)):
        argv = mailman(smtpd, lists.endpoint, up, f"--protocol={protocol}",
                       script(f"echo ran >>{tmp_path}/ran; {body}"))
        verdict, log = play(argv, tmp_path, SMALL, LIST, OTHER)
        verdicts = [verdict] if protocol == "smtp" else verdict
        assert all(said.startswith(code) for said in verdicts)
        assert (len(lists.messages), len(up.messages)) == (n, n)
        if n == 0:
            assert one(log, "message")["by"] == b"filter" and lines(log, "recipient") == []
    for m in lists.messages + up.messages:
        assert on_top(m.text) == b"X-A: 1\n"
    assert (tmp_path / "ran").read_text() == "ran\n" * 3


def test_mailman_2(smtpd, tmp_path, script):
    """Its wrapper is a program too, and has the fields above Received."""
    (tmp_path / "lists/test").mkdir(parents=True)
    (tmp_path / "lists/test/config.pck").touch()
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f"#!/bin/sh\ncat >>{tmp_path}/got\n")
    wrapper.chmod(0o755)
    argv = command(smtpd, "--strategy=mailman", f"--mailman-wrapper={wrapper}",
                   f"--mailman-lists={tmp_path}/lists")
    for body, code in (("exit 77", b"550"), ("echo X-A: 1", b"250")):
        verdict, _ = play([*argv, script(body)], tmp_path, SMALL, LIST)
        assert verdict.startswith(code) and (tmp_path / "got").exists() == (code == b"250")
    got = (tmp_path / "got").read_bytes()
    assert got.startswith(b"X-A: 1\nReceived: from client.example.org (local)\n")
    assert got.count(b"X-A: ") == 1


# --- examples -------------------------------------------------------------------------------------

EXAMPLES = ROOT / "examples"


CLEAN = b"From: a@example.org\r\nSubject: lunch\r\n\r\nShall we have lunch?\r\n"
LARGE = CLEAN + b"The quick brown fox jumps over the lazy dog.\r\n" * 50_000
BROKEN = b"Content-Type: multipart/mixed; boundary=\"x\r\n\r\n--x\r\n\xff!\r\n--x\r\n"
SPAM, VIRUS = b"550 5.7.1 this looks like spam", b"550 5.7.1 there is a virus in the message"
IS_CLEAN, SCORE = rb"X-Virus-Status: Clean\n", rb"X-Spam-Score: -?[0-9.]+/5\.0\n"


@pytest.mark.parametrize("scanner, name, table", [
    (Clamd, "clamdscan", [(CLEAN, TAKEN, IS_CLEAN), (BROKEN, TAKEN, IS_CLEAN),
                          (b"", TAKEN, IS_CLEAN), (CLEAN + EICAR + b"\r\n", VIRUS, None),
                          (LARGE, VIRUS, None)]),
    (Spamd, "spamc", [(CLEAN, TAKEN, SCORE), (BROKEN, TAKEN, SCORE), (b"", TAKEN, SCORE),
                      (CLEAN + GTUBE + b"\r\n", SPAM, None), (LARGE, TAKEN, SCORE)]),
], ids=["clamdscan", "spamc"])  # fmt: skip
def test_examples_with_real_daemons(release, tmp_path, scanner, name, table):
    """Their word is obeyed. While they do not answer, and when they are gone, the message waits."""
    (tmp_path / "daemon").mkdir()
    with scanner(tmp_path / "daemon") as daemon:
        option = f"--filter={EXAMPLES}/filter-{name} {daemon.options}"
        for content, verdict, top in table:
            said, texts, log = ask(release, tmp_path, option, content=content)
            assert said == verdict, log
            assert [bool(re.match(top + b"Received: ", text)) for text in texts] == [True] * bool(
                top)
        daemon.hang()
        said, texts, _ = ask(release, tmp_path, option, "--timeout=1")
        assert said == b"451 4.3.0 the filter took too long, try again later" and texts == []
    said, texts, _ = ask(release, tmp_path, option)
    assert said == TRY_AGAIN and texts == []


def test_what_spamassassin_learns_of_the_client(release, tmp_path):
    """From the fields on top, which it reads as those of a mail server."""
    (tmp_path / "daemon").mkdir()
    rules = [r"header BLOCKED X-Spam-Relays-External =~ /ip=192\.0\.2\.7 .*helo=client\.example\.org/",
             "score BLOCKED 50"]
    with Spamd(tmp_path / "daemon", rules) as daemon, Upstream() as up:
        argv = proxy(release, up, f"--filter={EXAMPLES}/filter-spamc {daemon.options}",
                     "--relay-to=example.com")
        for peer, verdict in (("192.0.2.7", SPAM), ("192.0.2.8", TAKEN)):
            with Session(argv, tmp_path, env=environment(REMOTE_ADDR=peer)) as s:
                s.begin("EHLO")
                assert s.send_message(CLEAN) == verdict and s.end() == 0


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Makes a stand-in for the client of a daemon, which keeps its arguments and its standard
    input."""

    def make(name, body):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{tmp_path}/args\ncat "
                        f">{tmp_path}/text\nenv >{tmp_path}/environ\n{body}\n")
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return make


def rspamc(action, score="0.10 / 15.00"):
    """What it prints."""
    return (f"printf 'Results for file: stdin (0.1 seconds)\\n[Metric: default]\\nAction: {action}"
            f"\\nSpam: false\\nScore: {score}\\nMessage-ID: 1@example.org\\n'")


@pytest.mark.parametrize("name, program, body, verdict, top", [
    ("spamc", "spamc", "echo 14.9/5.0; exit 1", TAKEN, b"X-Spam-Score: 14.9/5.0\n"),
    ("spamc", "spamc", "echo 15.0/5.0; exit 1", SPAM, None),
    ("spamc 3", "spamc", "echo 4/5.0", SPAM, None),
    ("spamc 3 -d 192.0.2.1", "spamc", '[ "$4 $5" = "-d 192.0.2.1" ] && echo 2.9/5.0', TAKEN,
     b"X-Spam-Score: 2.9/5.0\n"),
    ("spamc", "spamc", "echo 0/0; exit 70", TRY_AGAIN, None),
    ("spamc", "spamc", "echo what", TRY_AGAIN, None),
    ("clamdscan", "clamdscan", "echo no daemon >&2; exit 2", TRY_AGAIN, None),
    ("rspamc", "rspamc", rspamc("no action"), TAKEN,
     b"X-Spam-Action: no action\nX-Spam-Score: 0.10 / 15.00\n"),
    ("rspamc", "rspamc", rspamc("add header", "-1.00 / 15.00"), TAKEN,
     b"X-Spam-Action: add header\nX-Spam-Score: -1.00 / 15.00\n"),
    ("rspamc", "rspamc", rspamc("quarantine"), TAKEN,
     b"X-Spam-Action: quarantine\nX-Spam-Score: 0.10 / 15.00\n"),
    ("rspamc", "rspamc", rspamc("reject"), SPAM, None),
    ("rspamc", "rspamc", rspamc("discard"), SPAM, None),
    ("rspamc", "rspamc", rspamc("soft reject"), b"451 4.7.1 try again later", None),
    ("rspamc", "rspamc", rspamc("greylist"), b"451 4.7.1 try again later", None),
    ("rspamc", "rspamc", rspamc("no action") + "; exit 1", TRY_AGAIN, None),
    ("rspamc", "rspamc", "echo 'IO write error: Connection refused'", TRY_AGAIN, None),
])  # fmt: skip
def test_examples_that_ask_a_daemon(release, tmp_path, client, name, program, body, verdict, top):
    """Its word is obeyed; if it does not answer the message waits."""
    client(program, body)
    said, texts, _ = ask(release, tmp_path, f"--filter={EXAMPLES}/filter-{name}")
    assert said == verdict and [on_top(text) for text in texts] == ([] if top is None else [top])
    assert (tmp_path / "text").read_bytes().endswith(b"Subject: small\n\nsmall\n")


@pytest.mark.parametrize("peer, address", [
    ("192.0.2.7", b"[192.0.2.7]"), ("2001:db8::7", b"[IPv6:2001:db8::7]"),
    ("no address", b"[unknown]")])
def test_what_the_daemons_are_told(release, tmp_path, client, peer, address):
    """Who sends what to whom from where. rspamc would look up what is no address, and takes UTF-8 only
    if it is told so; spamd reads it from the message."""
    for name, body in (("spamc", "echo 1/5.0"), ("rspamc", rspamc("no action"))):
        client(name, body)
        with Upstream() as up:
            argv = proxy(release, up, f"--filter={EXAMPLES}/filter-{name}",
                         "--relay-to=example.com")
            with Session(argv, tmp_path, env=environment(REMOTE_ADDR=peer)) as s:
                s.expect((None, b"220 "), (b"EHLO x(y)@[z.example", b"250-"),
                         ("MAIL FROM:<ä@example.org> SMTPUTF8".encode(), b"250 "),
                         (b'RCPT TO:<"b c"@example.com>', b"250 "),
                         ("RCPT TO:<ö@example.com>".encode(), b"250 "), (b"DATA", b"354 "))
                s.say(SMALL + b".\r\n")
                assert s.reply() == TAKEN and s.end() == 0
        if name == "spamc":
            assert re.fullmatch(
                rb"Received: from x\?y\?\?\[z\.example \(%s\)\n\tby mx\.example\.com \(smtpd\) with UTF8SMTP "
                rb"id [0-9a-f.]+;\n\t\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\nReturn-Path: "
                rb"<\xc3\xa4@example\.org>\nSubject: small\n\nsmall\n" % re.escape(address),
                (tmp_path / "text").read_bytes())
        else:
            args = (tmp_path / "args").read_text().split("\n")
            ip = [] if peer == "no address" else [f"--ip={peer}"]
            assert args == ["--connect=localhost:11333", "--helo=x(y)@[z.example",
                            "--from=ä@example.org", '--rcpt="b c"@example.com',
                            "--rcpt=ö@example.com", *ip, "symbols", ""]
            assert "CHARSET=UTF-8\n" in (tmp_path / "environ").read_text()


def test_example_domains(release, tmp_path):
    with (Upstream() as up,
          Session(proxy(release, up, f"--filter={EXAMPLES}/filter-domains example.org b.example"),
                  tmp_path) as s):
        s.begin("EHLO")
        for sender, code in ((b"a@example.org", b"250"), (b"a@EXAMPLE.ORG", b"250"),
                             (b"a@b.example", b"250"), (b"", b"250"),
                             (b"a@c.example", b"550"), (b"a@notexample.org", b"550"),
                             (b'"@example.org"@c.example', b"550")):
            assert s.send_message(SMALL, sender=sender)[:3] == code
        assert s.end() == 0 and len(up.messages) == 4


# --- configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["print", "show", "exec", "journal", "maildir"])
def test_with_other_strategies(release, strategy):
    status, _, err = run(command(release, f"--strategy={strategy}", "--filter=/bin/true",
                                 "--check"))
    assert status == 64 and b"filter" in err and b"proxy, mailman" in err


def test_check_prints_it(release):
    status, out, _ = run(proxy(release, "192.0.2.1", "--filter=/bin/cat 'two words'", "--check"))
    assert status == 0 and b'\nfilter=/bin/cat "two words"\n' in out


def calls(trace):
    """System calls of each process, in the order in which they began; without those whose number is
    a matter of time."""
    counts = {}
    for pid, call in re.findall(r"^(\d+) +(\w+)\(", trace, re.M):
        counts.setdefault(pid, Counter())[call] += call not in ("poll", "read")
    return [sum(of_one.values()) for of_one in counts.values()]


def test_what_it_costs(release, tmp_path):
    """Its own process, the message as a file, one request to the broker, and what a broker does to
    run a program."""
    strace = need("strace")
    found = []
    for options in ((), ("--filter=/bin/true",)):
        with Upstream() as up:
            argv = [strace, "-f", "-o", str(tmp_path / "trace"), *proxy(release, up, *options)]
            with Session(argv, tmp_path, pair=tcp_pair()) as s:
                s.begin("EHLO")
                assert s.send_message(SMALL) == TAKEN and s.end() == 0
        found.append(calls((tmp_path / "trace").read_text()))
    (session_plain, broker_plain), (session_asking, broker_asking, _) = found
    assert session_asking - session_plain <= 15 and broker_asking - broker_plain <= 35
