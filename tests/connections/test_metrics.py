# SPDX-License-Identifier: MIT
"""metrics-file=: what an acceptor counts, in Prometheus' text format; whole at every moment, and
right whatever sessions do."""

import os
import re
import signal
import threading
import time

import pytest
from acceptor import NOBODY, Acceptor, folder, start_that_fails  # noqa: F401
from conftest import need, need_root, private_mounts
from metrics_file import SERIES, figures_in, parse
from session import PATIENCE, run, wait_until

MAIL, RCPT, DATA = (b"MAIL FROM:<a@example.org>", b"250 "), (b"RCPT TO:<b@example.com>",
                                                             b"250 "), (b"DATA", b"354 ")


def figures(path):
    return figures_in(path.read_text())


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def file(folder):  # noqa: F811
    (folder / "metrics").mkdir()
    os.chmod(folder / "metrics", 0o777)
    return folder / "metrics/smtpd.prom"


def test_parser():
    """A test of the test."""
    def text(*lines):
        return "".join(f"# HELP {name} x\n# TYPE {name} {kind}\n{name} 1\n" for name,
                       kind in SERIES.items()) + "".join(f"{x}\n" for x in lines)
    assert len(parse(text())) == 6
    for wrong in ("", "x", "smtpd_rejected_total 1", "# TYPE smtpd_rejected_total counter",
                  'smtpd_session_crashes_total{a="} 1'):
        with pytest.raises((AssertionError, AttributeError)):
            parse(text(wrong))
    with pytest.raises(AssertionError):
        parse(text()[:-1])


def test_there_from_the_start(smtpd, folder, file):  # noqa: F811
    """With all series; whoever collects it is another user, whatever the umask."""
    with Acceptor(smtpd, folder, f"--metrics-file={file}",
                  prefix=["sh", "-c", 'umask 077; exec "$@"', "sh"]):
        wait_until(file.exists, "the file")
        assert set(parse(file.read_text()).values()) == {0} and figures(file) == {}
        assert file.stat().st_mode & 0o777 == 0o644 and names(file.parent) == ["smtpd.prom"]


def test_counts(smtpd, folder, file):  # noqa: F811
    """The best verdict of each message; what was rejected as often as the log says it; who got no
    session; who was killed."""
    options = ["--protocol=lmtp", "--max-connections=3", "--max-errors=2",
               "--reply=message no@* 550 no", "--reply=message later@* 451 later",
               "--reply=rcpt never@* 550 never"]
    with Acceptor(smtpd, folder, f"--metrics-file={file}", *options) as acceptor:
        with acceptor.client("greeting") as client:
            client.expect((b"LHLO c", b"250-"))
            for recipients in ([b"a@b"], [b"no@b", b"a@b"], [b"no@b", b"later@b"], [b"no@b"],
                               [b"no@b", b"no2@b"]):
                client.expect(MAIL, *((b"RCPT TO:<%s>" % name, b"250 ") for name in recipients),
                              DATA)
                client.say(b"x\r\n.\r\n")
                for _ in recipients:
                    client.reply()
            client.expect((b"RSET", b"250 "), MAIL, *[(b"RCPT TO:<never@b>", b"550 ")] * 2,
                          (b"RSET", b"250 "))
            # past max-errors: in a line with others
            client.expect(MAIL, (b"RCPT TO:<never@b>", b"550 "))
            client.quit()
        with acceptor.client("greeting"), acceptor.client("greeting"), acceptor.client("greeting"):
            with acceptor.client() as refused:
                assert refused.refusal().startswith(b"421 ")
            os.kill(acceptor.sessions()[0], signal.SIGKILL)
            wait_until(lambda: acceptor.log("the session of process"),
                       "the word on the killed session")
        acceptor.stop()
        assert acceptor.status() == 0
        verdicts = [re.search(rb"verdict=\"(\d)", line)[1] for line in acceptor.log("message ")]
        rejected = len(acceptor.log("rejected "))
        assert len(verdicts) == 5 and rejected == 3
        assert figures(file) == {"sessions_total": 4, "turned_away max-connections": 1,
                                 "session_crashes_total": 1, "rejected_total": rejected,
                                 "messages 2xx": 3, "messages 4xx": 1, "messages 5xx": 1}


def test_reasons_for_no_session(release, folder, file):  # noqa: F811
    """Too many of one source; no memory or process for one more."""
    strace = [need("strace"), "-D", "-qq", "-o", "/dev/null", "-e",
              "trace=vfork,clone,clone3,memfd_create", "-e",
              "inject=memfd_create:error=ENFILE:when=2"]
    options = [f"--metrics-file={file}", "--max-connections-per-source=1"]
    with Acceptor(release, folder, *options, prefix=strace) as acceptor:
        with acceptor.client("EHLO") as client:
            for _ in range(2):
                with acceptor.client() as second:
                    assert second.refusal().startswith(b"421 4.7.0 ")
            client.quit()
        acceptor.wait_for_sessions(0)
        with acceptor.client() as third:
            assert third.refusal().startswith(b"421 4.3.2 ")
        acceptor.stop()
        assert acceptor.status() == 0
    assert figures(file) == {"sessions_total": 1, "turned_away max-connections-per-source": 2,
                             "turned_away shortage": 1}


def test_every_ten_seconds(smtpd, folder, file):  # noqa: F811
    """Also if it could not be written before; and only then that is logged again."""
    directory, away = file.parent, folder / "away"
    directory.rename(away)
    with (Acceptor(smtpd, folder, f"--metrics-file={file}") as acceptor,
          acceptor.client("EHLO") as client):
        assert len(acceptor.log("cannot write metrics-file=.*: No such file or directory; create its "
                                "directory")) == 1
        away.rename(directory)
        wait_until(lambda: acceptor.log("metrics-file=.* is written again"), "the file",
                   PATIENCE + 10)
        assert figures(file) == {"sessions_total": 1, "sessions_open": 1}
        client.quit()
    assert figures(file) == {"sessions_total": 1}


def test_whole_at_every_moment(smtpd, folder, file):  # noqa: F811
    """Whoever reads while it is written finds one or the other."""
    seen, is_over = [], threading.Event()

    def read():
        while not is_over.is_set():
            if file.exists():
                seen.append(file.read_text())
            time.sleep(0.0005)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(5):
            with Acceptor(smtpd, folder, f"--metrics-file={file}", "--count=1") as acceptor:
                with acceptor.client("EHLO") as client:
                    assert client.send_message(b"x\r\n").startswith(b"250 ")
                    client.read_to_end()
                assert acceptor.status() == 0
    finally:
        is_over.set()
        reader.join(PATIENCE)
    found = [parse(text)["smtpd_sessions_total"] for text in seen]
    assert 0 in found and 1 in found and names(file.parent) == ["smtpd.prom"]


def test_takes_its_name_when_it_is_whole(release, folder, file):  # noqa: F811
    """No call touches what is there already, but the one that puts another in its place."""
    trace = folder / "trace"
    strace = [need("strace"), "-D", "-qq", "-o", str(trace), "-e", "trace=%file"]
    with Acceptor(release, folder, f"--metrics-file={file}", prefix=strace) as acceptor:
        acceptor.serve_one()
    wait_until(lambda: trace.read_text().count("rename") == 2, "the end of the trace")
    calls = [line for line in trace.read_text().splitlines() if f'{file}"' in line
             and "execve(" not in line]
    assert len(calls) == 2 and all(re.match(rf'rename\w*\(.*"{file}\.\d+", .*"{file}"', line)
                                   for line in calls), calls


FULL = """
dir=$1; shift
mount -t tmpfs -o size=8k,mode=1777 none "$dir" && "$@"
status=$?; cat "$dir/smtpd.prom" && ls "$dir" >&2; exit $status
"""


def test_disk_full(smtpd, folder, file):  # noqa: F811
    """The old figures stay, whole; nothing else does."""
    fill = folder / "fill"
    fill.write_text(f"#!/bin/sh\ncat >/dev/null\ncat /dev/zero >{file.parent}/zeros "
                    f"2>/dev/null\necho 250 ok\n")
    os.chmod(fill, 0o755)
    prefix = [*private_mounts(), "sh", "-c", FULL, "sh", str(file.parent)]
    options = [f"--metrics-file={file}", "--strategy=exec", f"--command={fill}", "--count=1"]
    with Acceptor(smtpd, folder, *options, prefix=prefix) as acceptor:
        with acceptor.client("EHLO") as client:
            assert client.send_message(b"x\r\n").startswith(b"250 ")
            client.read_to_end()
        assert acceptor.status() == 0
        assert len(acceptor.log("cannot write metrics-file=.*: No space left on device; it keeps "
                                "the old metrics")) == 1
        assert acceptor.err().endswith(b"\nsmtpd.prom\nzeros\n")
    assert set(parse(acceptor.out_path.read_text()).values()) == {0}


def test_failure_is_logged_once(smtpd, folder, file):  # noqa: F811
    """At the start, and not at the end again. Clients are served."""
    need_root()
    os.chmod(file.parent, 0o755)
    with Acceptor(smtpd, folder, f"--metrics-file={file}", **NOBODY) as acceptor:
        assert acceptor.serve_one().startswith(b"250 ")
    assert len(acceptor.log("cannot write")) == 1 and names(file.parent) == []
    assert acceptor.log("cannot write metrics-file=.* as uid 65534: Permission denied; let our "
                        "user write to its directory")


def test_reload_changes_the_name(smtpd, folder, file):  # noqa: F811
    """The old file goes: it would never change again, and one series in two files is a mistake to
    those who collect them."""
    config, other = folder / "smtpd.conf", file.with_name("other.prom")
    config.write_text(f"metrics-file={file}\n")
    with Acceptor(smtpd, folder, f"--config={config}") as acceptor:
        acceptor.serve_one()
        wait_until(file.exists, "the file")
        for text, there in ((f"metrics-file={other}", [other.name]), ("", []),
                            (f"metrics-file={file}", [file.name])):
            config.write_text(text + "\n")
            acceptor.reload()
            wait_until(lambda: names(file.parent) == there, str(there))
        wait_until(file.exists, "the file")
        assert figures(file) == {"sessions_total": 1, "messages 2xx": 1}  # it goes on counting


def test_leftovers_of_a_killed_one(smtpd, folder, file):  # noqa: F811
    file.write_text("smtpd_sess")
    with Acceptor(smtpd, folder, f"--metrics-file={file}"):
        assert figures(file) == {}


def test_session_that_was_taken_over(release, folder, file):  # noqa: F811
    """It writes to the pipe without end. Others are served, and what no session writes counts for
    nothing."""
    need_root()
    is_over, n = threading.Event(), 0
    with Acceptor(release, folder, f"--metrics-file={file}") as acceptor, acceptor.client("EHLO"):
        pid, = acceptor.sessions()
        number = re.search(rb"SMTPD_COUNTER_FD=(\d+)",
                           open(f"/proc/{pid}/environ", "rb").read())[1].decode()
        pipe = os.open(f"/proc/{pid}/fd/{number}", os.O_WRONLY | os.O_NONBLOCK)

        def flood():
            nonlocal n
            while not is_over.is_set():
                try:
                    n += os.write(pipe, b"\0\1\n3\377 \"x" * 512)
                except BlockingIOError:
                    pass

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            for _ in range(3):
                assert acceptor.serve_one().startswith(b"250 ")
        finally:
            is_over.set()
            thread.join(PATIENCE)
            os.close(pipe)
        acceptor.stop()
        assert acceptor.status() == 0 and n > 65536
    found = figures(file)
    assert found.pop("messages 2xx", 0) <= 3 and found == {"sessions_total": 4}


def test_costs_a_session_nothing(release, folder, file):  # noqa: F811
    """A message is one octet for the acceptor, with a file or without."""
    counts = []
    for number, options in enumerate(([], [f"--metrics-file={file}"])):
        trace = folder / f"trace{number}"
        trace.mkdir()
        strace = [need("strace"), "-D", "-ff", "-qq", "-o", f"{trace}/t"]
        with Acceptor(release, folder, *options, prefix=strace) as acceptor:
            assert acceptor.serve_one().startswith(b"250 ")
        traces = sorted(trace.iterdir(), key=lambda path: int(path.suffix[1:]))
        assert len(traces) == 2
        calls = traces[1].read_text()
        assert len(re.findall(r'^write\(\d+, "2", 1\)', calls, re.M)) == 1
        counts.append(len(re.findall(r"^write\(", calls, re.M)))
    assert counts[0] == counts[1]


def test_single_session_has_none(smtpd, tmp_path):
    """As with all that is for accepting."""
    file = tmp_path / "smtpd.prom"
    status, out, _ = run([smtpd, "--config=/dev/null", f"--metrics-file={file}"], b"QUIT\r\n")
    assert status == 0 and out.startswith(b"220 ") and not file.exists()


@pytest.mark.parametrize("name, text",
                         [("", None),
                          ("no/x",
                           b"/no: No such file or directory; until it is there, no metrics are "
                           b"written: mkdir it"),
                          ("metrics",
                           b"metrics is a directory, so no metrics would be written: name a "
                           b"file in it"),
                          ("secret/x",
                           b"user nobody has no access to .*/secret, so no metrics would be "
                           b"written: chmod it")])
def test_check(smtpd, folder, file, name, text):  # noqa: F811
    (folder / "secret").mkdir(mode=0o755)
    if name.startswith("secret"):
        need_root()
    path = folder / name if name else file
    status, out, err = run([smtpd, "--config=/dev/null", "--listen=25", "--user=nobody",
                            f"--metrics-file={path}", "--check"])
    assert status == 0 and f"metrics-file={path}\n".encode() in out
    assert re.findall(rb"warning: metrics-file: (.*)",
                      err) == ([] if text is None
                               else [*re.findall(rb".*%s.*" % text,
                                                 err.split(b"metrics-file: ", 1)[-1])])
    assert text is None or b"warning: metrics-file: " in err


def test_value(smtpd, folder):  # noqa: F811
    assert start_that_fails(smtpd, folder, "--metrics-file=")[0] == 64


def test_relative_name(smtpd, folder):  # noqa: F811
    os.chmod(folder, 0o777)
    with Acceptor(smtpd, folder, "--metrics-file=here.prom", cwd=str(folder)):
        assert figures(folder / "here.prom") == {}
