# SPDX-License-Identifier: MIT
"""The manual pages and README against the program: every example is tried, and what the source
reads, writes and returns is in the manual. (The lines for super-servers are tried in
test_inetd.py.)"""

import json
import os
import re
import shutil
import subprocess

import pytest
from conftest import BUILDS, ROOT, missing, need
from journald import Journald
from manual import literals, page, readme_block, readme_blocks, section
from session import BEGIN, END, PATIENCE, environment, free_port, printed, run, with_x_peer
from tls_stand import install

SLOW = 300  # seconds, for apt-get and meson on a busy machine

SOURCES = {path.relative_to(ROOT / "src").as_posix(): path.read_text()
           for path in sorted((ROOT / "src").rglob("*.[ch]"))}
SESSION = ROOT / "examples/session.txt"


def examples(name):
    return [text for _, text in literals(section(name, "EXAMPLES"))]


CONFIGURATIONS = [text for text in [*examples("smtpd.conf.5"), *readme_blocks()]
                  if re.fullmatch(r"(?:[a-z-]+=.*\n)+", text)]
COMMANDS = [text[2:].rstrip() for name in ("smtpd.8", "smtpd-exec.7") for text in examples(name)
            if text.startswith("$ ")]


def command(start):
    """The only example that begins so."""
    (found,) = [line for line in COMMANDS if line.startswith(start)]
    return found


def play(smtpd, folder, line, **env):
    """A command line of the manual in the shell, in a folder with what it names: (exit status,
    output, standard error)."""
    shutil.copy(SESSION, folder)
    env = environment(**env)
    env["PATH"] = os.path.dirname(smtpd) + ":" + env["PATH"]
    return run(["sh", "-c", line], env=env, cwd=folder)


# --- examples -------------------------------------------------------------------------------------


def test_examples_are_found():
    """All of them: what is no configuration and no command line is the hook of smtpd-exec(7), and
    its line of curl, which is that of examples/webhook.sh."""
    assert len(CONFIGURATIONS) >= 6
    others = [text for name in ("smtpd.8", "smtpd.conf.5", "smtpd-exec.7")
              for text in examples(name)
              if text not in CONFIGURATIONS and not text.startswith("$ ")]
    hook, curl = others
    assert hook.startswith("#!/bin/sh\n") and curl.startswith("curl ")
    assert curl.endswith(" || exit 75\n")


def test_commands_are_tried():
    """Here, in test_inetd.py (port 1025 of an address) or in test_first_minute.py (port 1025)."""
    tried = ("smtpd <session.txt", "smtpd --check", "smtpd --strategy=exec", "journalctl ",
             "tcpserver ", "smtpd --listen=127.0.0.1:1025 ")
    assert [line for line in COMMANDS if not line.startswith(tried)
            and "smtpd --listen=1025" not in line] == []


@pytest.mark.parametrize("content", CONFIGURATIONS, ids=range(len(CONFIGURATIONS)))
def test_configuration(smtpd, tmp_path, content):
    """--check, as the manual writes it, has no complaint; it may warn of files that are not there,
    and of an upstream in clear."""
    (tmp_path / "new.conf").write_text(content)
    # its files are not here
    program = install(smtpd, tmp_path) if "tls-certificate=" in content else smtpd
    status, out, err = play(program, tmp_path, command("smtpd --check"))
    assert status == 0, err.decode()
    may_be_missing = r"(command|filter|maildir|tls-engine|upstream-password): .*: No such file"
    assert [line for line in err.decode().splitlines()
            if not re.match(rf"smtpd: warning: ({may_be_missing}|upstream-tls: mail goes to )",
                            line)] == []
    assert set(re.findall(r"^([a-z-]+)=", content, re.M)) <= set(re.findall(r"^([a-z-]+)=",
                                                                            out.decode(), re.M))


def test_session_from_a_file(smtpd, tmp_path):
    line = command("smtpd <session.txt").replace("smtpd ", "smtpd --config=/dev/null ", 1)
    status, out, err = play(smtpd, tmp_path, line)
    assert status == 0 and b"\r\n250 2.0.0 " in out and len(printed(err)) == 1


def checkout(folder, smtpd):
    """A folder in which README's commands find what they name."""
    (folder / "build").mkdir()
    (folder / "build/smtpd").symlink_to(smtpd)
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def test_readme_mail_of_an_application(smtpd, tmp_path):
    """As in a script, and read back: messages on standard output, the log on standard error."""
    need("curl")
    text = readme_block("cat mails.txt").replace("1025", str(free_port()))
    text = text.replace("build/smtpd ", "build/smtpd --config=/dev/null ")
    status, out, err = run(["sh", "-c", text], cwd=checkout(tmp_path, smtpd))
    mail = b"Subject: Lunch\nX-Peer: 127.0.0.1\n\nAt noon?\n"
    assert (status, out, err) == (0, BEGIN + mail + END, b"")
    log = (tmp_path / "smtpd.log").read_bytes()
    assert log.startswith(b"smtpd: listening ") and b' verdict="250 ' in log and BEGIN not in log


def test_readme_curl_needs_crlf(smtpd, tmp_path):
    """What README says of it."""
    need("curl")
    text = readme_block("cat mails.txt").replace("1025", str(free_port())).replace(" --crlf ", " ")
    text = text.replace("build/smtpd ", "build/smtpd --config=/dev/null ")
    status, out, err = run(["sh", "-c", text], cwd=checkout(tmp_path, smtpd))
    assert (status, out) == (0, b"") and err.startswith(b"curl: ")
    assert b" bare LF received: " in (tmp_path / "smtpd.log").read_bytes()


def test_readme_program(smtpd, tmp_path):
    text = readme_block("build/smtpd --strategy=exec ")
    text = text.replace("smtpd ", "smtpd --config=/dev/null ", 1)
    status, out, err = run(["sh", "-c", text], cwd=checkout(tmp_path, smtpd))
    assert status == 0 and b"\r\n250 2.0.0 delivered\r\n" in out
    assert b"alice@example.org" in err


def test_readme_build_for_systemd(tmp_path):
    """The options of its build; it cannot be made without libsystemd."""
    need("pkg-config")
    lines = readme_block("systemctl enable").splitlines()
    (setup, install), = [line.split(" && ") for line in lines if "meson setup" in line]
    folder, build = setup.split()[2], str(tmp_path / "build")
    assert install == f"meson install -C {folder}"
    env = environment(PKG_CONFIG_LIBDIR=str(tmp_path))
    argv = setup.replace(folder, build).split()
    how = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": SLOW}
    failed = subprocess.run(argv, env=env, **how)
    assert failed.returncode != 0 and 'Dependency "libsystemd" not found' in failed.stdout
    done = subprocess.run(argv, env=environment(), **how)
    assert done.returncode == 0 and "libsystemd found: YES" in done.stdout, done.stdout


def test_readme_packages():
    """They exist, and nothing more than them is needed."""
    need("apt-get")
    lines = readme_block("systemctl enable").splitlines()
    (update, install), = [line.split(" && ") for line in lines if "apt-get" in line]
    assert update == "apt-get update" and install.startswith("apt-get install ")
    argv = install.replace(" install ", " install --simulate ").split()
    done = subprocess.run(argv, env=environment(), capture_output=True, text=True, timeout=SLOW)
    assert done.returncode == 0, done.stderr


def test_hook(smtpd, tmp_path):
    """That of smtpd-exec(7), tried as it says."""
    (hook,) = [text for text in examples("smtpd-exec.7") if text.startswith("#!/bin/sh\n")]
    (tmp_path / "hook").write_text(hook)
    (tmp_path / "hook").chmod(0o755)
    status, out, err = play(smtpd, tmp_path,
                            command("smtpd --strategy=exec").replace(
                                "smtpd ", "smtpd --config=/dev/null ", 1))
    assert status == 0 and b"\r\n250 2.0.0 " in out
    assert b' stderr="local: alice@example.org"\n' in err and re.search(rb" stderr=\d+\n", err)


def test_journalctl(release, tmp_path):
    """The mails to somebody, as they are; and with all their fields."""
    if not (BUILDS["release"] / "smtpd-journal").exists():
        missing("smtpd was built without libsystemd")
    line = command("journalctl ")
    with Journald(tmp_path) as journald:
        done = subprocess.run(journald.inside(release, "--config=/dev/null", "--strategy=journal"),
                              input=SESSION.read_bytes(),
                              capture_output=True, env=environment(), timeout=PATIENCE)
        assert b"\r\n250 2.0.0 " in done.stdout
        fields = line.replace("-o cat --output-fields=SMTPD_TEXT", "-o json --all")
        words = line, line.replace("bob@example.net", "eve@example.net"), fields
        mail, eve, bob = (subprocess.check_output(journald.inside("sh", "-c", w), env=environment(),
                                                  timeout=PATIENCE) for w in words)
    sent = SESSION.read_bytes().split(b"DATA\n")[1].split(b".\n")[0]
    assert mail == with_x_peer(sent, "local") + b"\n" and eve == b""
    fields = [name for name in json.loads(bob) if not name.startswith("_")]
    assert "SMTPD_TEXT" in fields and mentioned(fields, section("smtpd.8", "Journal entries")) == []


# --- nothing is left unsaid -----------------------------------------------------------------------


def mentioned(names, *lines):
    """Those that are not there."""
    text = "\n".join(line for some in lines for line in some)
    return sorted(name for name in set(names)
                  if not re.search(rf"(?<![\w/]){re.escape(name)}(?!\w)", text))


def environment_variables():
    """Those that the source asks for; where the name is no literal, all literals of the file that
    could be one."""
    for name, text in SOURCES.items():
        yield from re.findall(r'(?:getenv|contract_variable)\("(\w+)"\)', text)
        if re.search(r"(?:getenv|contract_variable)\((?!\")", text):
            yield from re.findall(r'"([A-Z][A-Z_]{3,})"', text)


def test_environment():
    found = set(environment_variables())
    assert {"REMOTE_ADDR", "TCPREMOTEPORT", "LISTEN_FDS", "TMPDIR", "SMTPD_RCPT_TO"} <= found
    fields = {"MESSAGE_ID", "SYSLOG_IDENTIFIER", "SYSLOG_FACILITY", "PRIORITY",
              "MESSAGE"} | journal_fields()
    programs = section("smtpd-exec.7", "Environment") + section("smtpd-exec.7",
                                                                "What the program gets")
    helper = section("smtpd-tls.8", "ENVIRONMENT")
    assert mentioned(found - fields, section("smtpd.8", "ENVIRONMENT"), programs, helper) == []


def journal_fields():
    """What the helper writes."""
    return set(re.findall(r'"(SMTPD_[A-Z_]+)=?"', SOURCES["helpers/journal.c"]))


def test_journal_fields():
    found = journal_fields()
    assert {"SMTPD_ID", "SMTPD_TEXT", "SMTPD_RCPT_TO_MORE"} <= found
    described = section("smtpd.8", "Journal entries")
    others = re.findall(r'add_text\(e, "([A-Z_]+)"', SOURCES["helpers/journal.c"])
    assert mentioned([*found, *others], described) == []
    assert mentioned(re.findall(r"\bSMTPD_[A-Z_]+\b", "\n".join(described)),
                     SOURCES["helpers/journal.c"].splitlines()) == []


def test_signals():
    """Those that end a session."""
    found = set(re.findall(r"sigaddset\(&\w+, (SIG\w+)\)", SOURCES["main.c"]))
    assert "SIGTERM" in found and mentioned(found, section("smtpd.8", "SIGNALS")) == []


EX = {"EX_USAGE": 64, "EX_IOERR": 74, "EX_TEMPFAIL": 75, "EX_CONFIG": 78, "EX_OSERR": 71,
      "EX_SOFTWARE": 70, "EX_UNAVAILABLE": 69}


def test_exit_statuses_in_the_source():
    """Those of sysexits.h in what is main's, and no others."""
    found = {EX[name] for file in ("main.c", "config/read.c", "session.c")
             for name in re.findall(r"\bEX_[A-Z]+\b", SOURCES[file])}
    described = {int(line.split()[1]) for line in section("smtpd.8", "EXIT STATUS")
                 if line.startswith(".It ")}
    assert found | {0} == described


def test_files_in_the_source():
    """Absolute names in the source, but for what every system has."""
    found = {name for text in SOURCES.values() for name in re.findall(r'"(/[a-z][^" :]*)"', text)}
    known = {"/dev/null", "/dev/fd/", "/proc/self/exe", "/proc/self/fd/%u", "/proc/self/fd/%d",
             "/run/systemd/journal/socket", "/system.journal"}
    known |= {"/home", "/root", "/run/user"}
    assert {"/var/tmp", "/tmp"} <= found
    assert mentioned(found - known, section("smtpd.8", "FILES"), section("smtpd.8", "ENVIRONMENT"),
                     section("smtpd.8", "DESCRIPTION")) == []
    assert ".Pa /etc/smtpd/smtpd.conf" in page("smtpd.8")
    assert ".Pa /etc/smtpd/smtpd.conf" in page("smtpd.conf.5")


def test_log():
    """Words at the beginning of its lines, and the names of fields."""
    text = "\n".join(text for name, text in SOURCES.items() if name != "io/log.c")
    words = re.findall(r'log_start\(&?\w+, "(\w+)"\)', text)
    fields = re.findall(r'log_(?:field|number|chosen|said|address|reason)\(&?\w+, "(\w+)"', text)
    assert {"message", "session"} <= set(words) and {"from", "size", "end"} <= set(fields)
    shown = [re.sub(r"^\.(?:It )?Li ", "", line) for line in section("smtpd.8", "DIAGNOSTICS")
             if re.match(r"\.(It )?Li ", line)]
    assert mentioned([*words, *fields], shown) == []
