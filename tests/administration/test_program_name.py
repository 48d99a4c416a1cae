# SPDX-License-Identifier: MIT
"""Called otherwise than smtpd: -Dprogram-name= gives its name to the program, its pages, units,
user and identifier at once, and no text that is installed names another one."""

import os
import re
import subprocess

import pytest
from acceptor import Acceptor, Client
from conftest import ROOT, need
from installing import INSTALLED, install_with, output_of
from journald import Journald
from processes import children, command_line
from session import command, environment, run, wait_until
from syslogd import inetd_session, syslogd

NAME = "mailin"
SESSION = (ROOT / "examples/session.txt").read_bytes()

# Words that begin with "smtpd" and are no name of the program: its helpers and their pages,
# Python's module.
OTHERS = r"smtpd-(?:exec|journal|maildir|show|tls)\b(?!\.(?:socket|service|conf))|smtpd\.py"
OURS = re.compile(rf"(?<![\w/])(?!{OTHERS})smtpd(?![\w])|/smtpd(?![\w-])")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp(NAME)
    install_with(folder / "build", folder / "tree", f"-Dprogram-name={NAME}", "-Doptimization=0",
                 "-Ddebug=false", "-Dhardening=false")
    return folder / "tree"


@pytest.fixture
def program(tree):
    return str(tree / f"usr/sbin/{NAME}")


def named(path):
    """Where it is installed with the other name."""
    return re.sub(rf"(?<![\w])(?!{OTHERS})smtpd(?!\w)", NAME, path).replace("/_smtpd", f"/_{NAME}")


def test_other_name_is_in_the_names_of_files(tree):
    files = {str(p)[len(str(tree)):] for p in tree.rglob("*") if p.is_file()}
    assert {named(path) for path in INSTALLED} - files == set()
    assert [path for path in sorted(files) if OURS.search(path)] == []
    assert {f"/usr/lib/systemd/system/{NAME}-tls.socket.d/20-{NAME}-tls.conf",
            f"/usr/libexec/{NAME}/smtpd-tls", "/usr/share/man/man8/smtpd-tls.8"} <= files


def test_other_name_is_in_every_text(tree):
    """Of what people read, and of what programs do. A program has no other name in it but where
    "smtpd" is the software: over the wire, in the lock of a socket, in what is to be built."""
    for path in (p for p in tree.rglob("*") if p.is_file()):
        octets = path.read_bytes()
        if octets.startswith(b"\x7fELF"):
            lines = [text.decode() for text in re.findall(rb"[\t\x20-\x7e]{5,}", octets)]
            lines = [line for line in lines
                     if not re.search(r"^%s %s smtpd$|\(smtpd\) with|build smtpd with|"
                                      r"^smtpd, self-signed$|^smtpd-%s$|^smtpd $", line)]
        else:
            lines = octets.decode().splitlines()
        assert [line for line in lines if OURS.search(line)] == [], path


def test_other_name_is_in_titles_of_pages(tree):
    for page in (f"man8/{NAME}.8", f"man8/{NAME}.socket.8", f"man5/{NAME}.conf.5"):
        text = output_of(need("mandoc"), "-T", "utf8", str(tree / "usr/share/man" / page))
        text = re.sub(r".\x08", "", text)
        assert text.startswith(os.path.basename(page)[:-2].upper() + "("), text[:80]
        assert not re.search(r"(?<!_)\bSMTPD\(", text)


def test_other_name_is_in_what_it_says(program):
    assert output_of(program, "--version").startswith(f"{NAME} ")
    said = output_of(program, "--help")
    assert f"usage: {NAME} [" in said and f"/etc/{NAME}/{NAME}.conf" in said
    status, _, err = run([program, "--config=/dev/null", "--nonsense"])
    assert status == 64 and err.startswith(f"{NAME}: ".encode())
    assert output_of(program, "--config=/dev/null", "--strategy=print", "--check").endswith("# ok\n")


def test_other_name_is_in_the_log(program, tmp_path):
    status, out, err = run(command(program), SESSION)
    assert status == 0 and b"\r\n250 2.0.0 printed\r\n" in out
    assert re.search(rf"^{NAME}: message id=".encode(), err, re.M), err
    assert b"smtpd: " not in err
    with syslogd(tmp_path) as (log, prefix):
        argv = [*prefix, *command(program, "--strategy=exec", "--command=/bin/true")]
        with inetd_session(argv, tmp_path) as session:
            session.begin("EHLO")
            assert session.end() == 0
            assert f" {NAME}[{session.pid}]: ".encode() in log.recv(10000)


def test_other_name_is_that_of_accepted_sessions(program, tmp_path):
    """As ps(1) shows them."""
    with Acceptor(program, tmp_path, wait=False) as acceptor:
        said = rf"^{NAME}: listening address=(\S+)".encode()
        wait_until(lambda: re.search(said, acceptor.err(), re.M), "it to listen")
        with Client(re.search(said, acceptor.err(), re.M)[1].decode()) as client:
            client.begin("EHLO")
            assert [command_line(pid)[0] for pid in children(acceptor.pid)] == [NAME.encode()]
            client.quit()


def test_other_name_is_in_the_journal(tree, tmp_path):
    helper = tree / f"usr/libexec/{NAME}/smtpd-journal"
    with Journald(tmp_path) as journald:
        variables = {"SMTPD_ID": "1", "SMTPD_MAIL_FROM": "a@example.org"}
        with open(ROOT / "examples/session.txt", "rb") as message:
            done = subprocess.run(journald.inside(str(helper)), stdin=message, capture_output=True,
                                  env=environment(**variables), timeout=60)
        assert done.stdout.startswith(b"250 "), done
        entry, = journald.entries("SMTPD_ID=1")
        assert entry["SYSLOG_IDENTIFIER"] == [NAME.encode()]


@pytest.mark.parametrize("name", ["", "Smtpd", "smtpd-tls", "mail in", "../smtpd", "25"])
def test_what_can_be_no_name(tmp_path, name):
    """It is a user's, too; and those that begin with smtpd- are the helpers'."""
    argv = [need("meson"), "setup", f"-Dprogram-name={name}", str(tmp_path / "build"), str(ROOT)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "program-name has to be" in done.stdout
