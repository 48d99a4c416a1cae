# SPDX-License-Identifier: MIT
"""The options of TLS toward clients: their values, their defaults, and what does not go
together."""

import os
import re
import socket
import subprocess

import pytest
from conftest import need_root
from options import NOT_CONFIGURED
from session import PATIENCE, Session, environment, replies, run
from tls_stand import install, notes

FILE = "/nonexistent/certificate.pem"


def check(smtpd, *options, **variables):
    """(exit status, what --check prints as a dictionary, complaints)"""
    status, out, err = run([smtpd, "--config=/dev/null", "--check", *options],
                           env=environment(**variables))
    lines = out.decode().splitlines()
    return status, dict(line.split("=", 1) for line in lines
                        if "=" in line), err.decode().splitlines()


def mistakes(smtpd, *options, **variables):
    """What --check complains of, without its place."""
    status, shown, complaints = check(smtpd, *options, **variables)
    assert (status, shown) == (64, {}) and complaints
    assert all(line.startswith("smtpd: command line: ") for line in complaints)
    return [line.removeprefix("smtpd: command line: ") for line in complaints]


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, value, expected", [
    *(("tls", value, "no, starttls, required or implicit")
      for value in ("", "yes", "STARTTLS", "tls", "no,no")),
    *(("tls-client", value, "no or ask") for value in ("", "yes", "require")),
    *(("tls-minimum", value, "1.2 or 1.3") for value in ("", "1", "1.1", "1.4", "TLSv1.2")),
    *(("tls-certificate", value, "the path of a file")
      for value in ("", "a/b", "./a", "..", ".", "/a,", "/a b")),
    *(("tls-key", value, "the path of a file") for value in ("", "a/b", "..", "self-signed")),
    *(("tls-client-ca", value, "the path of a file") for value in ("", "a/b", "..", "self-signed")),
    *(("tls-engine", value, "the path of a socket")
      for value in ("", "a", "127.0.0.1:25", "/" + "x" * 107)),
    *(("tls-user", value, "the name or number of a user") for value in ("", "a b", "root:root")),
    *(("listen-tls", value, "ADDRESS:PORT")
      for value in ("", "127.0.0.1", "127.0.0.1:65536", "::1:465")),
])
def test_value_that_is_none(release, tmp_path, name, value, expected):
    complaints = mistakes(release, f"--{name}={value}")
    assert complaints[0].startswith(f"{name}={value}: use {expected}")
    path = tmp_path / "smtpd.conf"
    path.write_text(f"{name}={value}\n")
    status, _, err = run([release, f"--config={path}", "--check"])
    assert status == 78 and err.startswith(f"smtpd: {path}:1: {name}={value}: use ".encode())


@pytest.mark.parametrize("options, shown", [
    ([], {"tls": "no", "tls-client": "no", "tls-minimum": "1.2"}),
    (["--tls=no"], {"tls": "no"}),
    (["--tls-engine=/run/smtpd/tls"], {"tls": "starttls", "tls-engine": "/run/smtpd/tls"}),
    (["--tls-engine=/run/smtpd/tls", "--tls=no"], {"tls": "no"}),
    (["--tls-engine=/run/smtpd/tls", "--tls=required"], {"tls": "required"}),
    (["--tls-engine=/run/smtpd/tls", "--listen-tls=465,[::1]:1465"],
     {"listen-tls": "465,[::1]:1465", "tls": "starttls"}),
    (["--tls-engine=/run/smtpd/tls", "--listen-tls=465", "--tls=no"],
     {"listen-tls": "465", "tls": "no"}),
])
def test_what_is_shown(smtpd, options, shown):
    status, got, complaints = check(smtpd, *options)
    assert status == 0
    assert all("until it is there, no client gets TLS" in line for line in complaints)
    assert got.items() >= shown.items()


def test_what_is_shown_reads_as_the_same_again(release, tmp_path):
    options = ["--tls-engine=/run/smtpd/tls", "--tls=implicit", "--listen-tls=127.0.0.1:465",
               "--listen=25"]
    status, out, _ = run([release, "--config=/dev/null", "--check", *options])
    assert status == 0
    path = tmp_path / "smtpd.conf"
    path.write_bytes(out)
    assert run(
        [release, f"--config={path}", "--check"])[:2] == (0,
                                                          out.replace(b"/dev/null",
                                                                      str(path).encode(), 1))


def test_ucspi_tls_is_an_engine(smtpd):
    """Whoever started us, and speaks TLS for us, says so in the environment."""
    assert check(smtpd, SSLCTLFD="5")[1]["tls"] == "starttls"
    assert check(smtpd, "--tls=no", SSLCTLFD="5")[1]["tls"] == "no"
    assert check(smtpd, "--tls=required", SSLCTLFD="5")[1]["tls"] == "required"


# --- what does not go together --------------------------------------------------------------------


@pytest.mark.parametrize("options, complaint", [
    *(([f"--tls={mode}"],
       f"tls={mode} needs tls-certificate=FILE (for developers: tls-certificate=self-signed) or "
                          "tls-engine=/SOCKET") for mode in ("starttls", "required", "implicit")),
    (["--listen-tls=465"],
     "listen-tls needs tls-certificate=FILE (for developers: tls-certificate=self-signed) or "
                           "tls-engine=/SOCKET"),
    (["--tls-engine=/x", f"--tls-certificate={FILE}"],
     "tls-engine makes no sense with tls-certificate: the engine has a certificate of its own; "
     "remove one of the two"),
    *(([f"--{option}", "--tls-engine=/x"],
       f"{option.split('=')[0]} makes no sense with tls-engine: it is an option of the engine, "
       f"smtpd-tls(8)")
      for option in ("tls-key=/x", "tls-user=nobody", "tls-client=ask", "tls-minimum=1.3")),
    *(([f"--{option}"], f"{option.split('=')[0]} makes no sense without tls-certificate")
      for option in ("tls-key=/x", "tls-user=nobody", "tls-client=ask", "tls-minimum=1.3")),
    (["--tls-certificate=/a,/b,/c,/d,/e"],
     "tls-certificate: 5 certificates, but at most 4 are possible: one for each kind of key"),
    (["--tls-certificate=self-signed", f"--tls-certificate={FILE}"],
     "tls-certificate=self-signed: it must be the only certificate"),
    ([f"--tls-certificate={FILE}", "--tls-certificate=self-signed"],
     "tls-certificate=self-signed: it must be the only certificate"),
    (["--tls-certificate=self-signed", "--tls-key=/x"],
     "tls-key makes no sense with tls-certificate=self-signed, which has a key of its own"),
    ([f"--tls-certificate={FILE}", "--tls-key=/x,/y"],
     "tls-key: there are 2 keys and 1 certificate: give each certificate its key, in the same order"),
    ([f"--tls-certificate={FILE}", "--tls-client-ca=/x"],
     "tls-client-ca makes no sense without tls-client=ask"),
])
def test_what_does_not_go_together(smtpd, options, complaint):
    assert mistakes(smtpd, *options) == [complaint]


def test_each_mistake_has_its_place(release, tmp_path):
    path = tmp_path / "smtpd.conf"
    path.write_text("tls=required\ntls-minimum=1.3\nlisten-tls=465\n")
    status, _, err = run([release, f"--config={path}", "--check"])
    assert status == 78
    assert [re.match(r"smtpd: .*:(\d): ([a-z-]+)", line)[0][-20:]
            for line in err.decode().splitlines()]
    assert sorted(re.findall(rb":(\d): ([a-z-]+)", err)) == [(b"1", b"tls"), (b"2", b"tls-minimum"),
                                                             (b"3", b"listen-tls")]


def test_self_signed_is_for_who_accepts(smtpd, tmp_path):
    """Each session would have another one."""
    argv = [smtpd, "--config=/dev/null", "--strategy=print", "--tls-certificate=self-signed"]
    with Session(argv, tmp_path) as session:
        assert replies(session.read_to_end()) == [NOT_CONFIGURED]
        assert session.status() == 64
        assert session.err() == b"smtpd: command line: tls-certificate=self-signed is for --listen: it is made " \
                                b"when that starts; for a single session name a file\n"
    with Session([*argv, "--tls=no"], tmp_path) as session:
        session.begin("EHLO")
        assert session.end() == 0


# --- names of credentials -------------------------------------------------------------------------


def test_credentials_need_a_directory(release, tmp_path):
    """A client that is there already hears that nothing is configured."""
    with Session([release, "--config=/dev/null", "--tls-certificate=certificate"],
                 tmp_path) as session:
        assert replies(session.read_to_end()) == [NOT_CONFIGURED]
        assert session.status() == 64
        assert b"tls-certificate=certificate: there are no credentials here ($CREDENTIALS_DIRECTORY is not set): use the " \
               b"path of a file, or LoadCredential=certificate:FILE in the unit" in session.err()


# --- --check looks at certificate and key ---------------------------------------------------------


@pytest.fixture
def program(smtpd, tmp_path):
    return install(smtpd, tmp_path)


def test_check_asks_smtpd_tls(program, tmp_path):
    status, _, complaints = check(program, "--tls-certificate=/a.pem", "--tls-key=/a.key",
                                  "--tls-minimum=1.3", "--timeout=20",
                                  "--hostname=mx.example.com")
    (start,) = notes(tmp_path, "start")
    assert (status, complaints) == (0, [])
    assert start["argv"][1:] == ["--certificate=/a.pem", "--key=/a.key", "--minimum=1.3",
                                 "--client=no", "--hostname=mx.example.com",
                                 "--timeout=20", "--check"]
    assert start["fds"] == [0, 1, 2]


def test_check_shows_its_findings(program, tmp_path):
    (tmp_path / "findings").write_text("warning: the certificate /a.pem has expired\nerror: the "
                                       "key /a.key is open to everybody\n")
    (tmp_path / "status").write_text("78")
    status, shown, complaints = check(program, "--tls-certificate=/a.pem", "--tls-key=/a.key")
    assert (status, shown) == (78, {})
    assert complaints == ["smtpd: warning: tls-certificate: the certificate /a.pem has expired",
                          "smtpd: tls-certificate: the key /a.key is open to everybody"]


def test_check_counts_its_warnings(program, tmp_path):
    (tmp_path / "findings").write_text("warning: one\nwarning: two\n")
    status, out, err = run([program, "--config=/dev/null", "--check", "--tls-certificate=/a.pem"])
    assert status == 0 and out.endswith(b"# ok, with 2 warnings\n")
    assert err == b"smtpd: warning: tls-certificate: one\nsmtpd: warning: tls-certificate: two\n"


@pytest.mark.parametrize("status, said",
                         [("1", "smtpd-tls --check ended without a result"),
                          ("64", "smtpd-tls --check ended without a result")])
def test_check_without_a_result(program, tmp_path, status, said):
    (tmp_path / "status").write_text(status)
    assert check(program, "--tls-certificate=/a.pem")[0::2] == (78,
                                                                [f"smtpd: tls-certificate: {said}"])


def test_check_of_what_is_not_used(program, tmp_path):
    assert check(program, "--tls-certificate=/a.pem", "--tls=no")[0] == 0
    assert notes(tmp_path, "start") == []
    assert check(program, "--tls-certificate=/a.pem", "--tls=no", "--listen-tls=465")[0] == 0
    assert len(notes(tmp_path, "start")) == 1


def test_check_as_the_user_who_reads_the_key(program, tmp_path):
    """Root's acceptor reads it as root; a single session has become the user before."""
    need_root()
    for options, expected in ((["--user=nobody"], ["--user=nobody"]),
                              (["--user=nobody", "--listen=25"], []), ([], [])):
        check(program, "--tls-certificate=/a.pem", *options)
        assert [word for word in notes(tmp_path, "start")[-1]["argv"]
                if word.startswith("--user=")] == expected


def test_check_of_credentials(program, tmp_path):
    """The service manager gives them to the unit, and not to whoever checks. With the directory
    they are looked at."""
    status, shown, complaints = check(program, "--tls-certificate=certificate", "--tls-key=key")
    assert status == 0
    assert shown.items() >= {"tls-certificate": "certificate", "tls-key": "key"}.items()
    assert complaints == ["smtpd: warning: tls-certificate: certificate is a credential of the "
                          "unit, which was not checked "
                          "($CREDENTIALS_DIRECTORY is not set)"]
    assert notes(tmp_path, "start") == []
    status, shown, complaints = check(program, "--tls-certificate=certificate", "--tls-key=key",
                                      CREDENTIALS_DIRECTORY="/run/x")
    assert (status, complaints) == (0, [])
    assert shown.items() >= {"tls-certificate": "/run/x/certificate",
                             "tls-key": "/run/x/key"}.items()
    assert {"--certificate=/run/x/certificate",
            "--key=/run/x/key"} <= set(notes(tmp_path, "start")[0]["argv"])


def test_check_without_the_helper(program, tmp_path):
    if any(os.path.exists(f"/usr/{name}/smtpd/smtpd-tls") for name in ("libexec", "lib")):
        pytest.skip("smtpd-tls is installed")
    os.unlink(tmp_path / "smtpd-tls")
    status, _, (complaint,) = check(program, "--tls-certificate=/a.pem")
    assert status == 78
    assert complaint.startswith("smtpd: tls-certificate: smtpd-tls is not installed (cannot run /")


def test_check_of_an_engine(release, tmp_path):
    """Whether its socket is there, and who may connect to it."""
    path = tmp_path / "tls"

    def warnings(*options):
        status, _, complaints = check(release, f"--tls-engine={path}", *options)
        assert status == 0
        return [line.removeprefix(f"smtpd: warning: tls-engine: {path}") for line in complaints]
    assert warnings() == [": No such file or directory; until it is there, no client gets TLS: "
                          "systemctl start smtpd-tls.socket"]
    path.write_text("")
    assert warnings() == [" is not a socket, so no client gets TLS: name the socket of smtpd-tls"]
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        assert warnings() == []
        need_root()
        (warning,) = warnings("--listen=25", "--user=nobody")
    assert "user nobody has no access to" in warning
    assert "so no client would get TLS" in warning


def test_listen_tls_is_listening(release):
    """And on loopback only, it is somebody who tries something out: without the system's file."""
    done = subprocess.run([release, "--listen-tls=127.0.0.1:0", "--check", "--tls-engine=/x"],
                          capture_output=True,
                          env=environment(), timeout=PATIENCE)
    assert done.returncode == 0 and b"# configuration file: none\n" in done.stdout
