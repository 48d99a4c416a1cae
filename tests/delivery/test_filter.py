# SPDX-License-Identifier: MIT
"""filter=PROGRAM: asked about the whole message before anybody has it. Whatever it says or does,
nobody has a message that it did not let through, and what goes on is the client's text with the
filter's fields on top. What ends the wait for it is in test_patience.py, each fault at each system
call in tests/sweep."""

import re
import time
from collections import Counter

import pytest
from conftest import need
from filters import SMALL, TAKEN, TRY_AGAIN, ask, on_top, printing
from filters import script  # noqa: F401 (a fixture)
from logs import one
from proxy import proxy
from session import PATIENCE, Session, command, run, tcp_pair
from upstream import Upstream

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
        assert re.search(rb'ignored="?X', log, re.IGNORECASE)


def test_after_it_is_killed(release, tmp_path, script):
    """It has timeout= seconds, of those that the message has. The log rounds them."""
    for options in (["--timeout=1"], ["--message-timeout=2", "--delay=message * 1"]):
        began = time.monotonic()
        said, texts, log = ask(release, tmp_path, script("exec sleep 60"), *options)
        assert said == b"451 4.3.0 the filter took too long, try again later" and texts == []
        assert time.monotonic() - began < PATIENCE and b"duplicate" not in log
        line = one(log, "message")
        assert line["by"] == b"us"
        assert line["destination"].endswith(b"filter timeout after 1 second")


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
