# SPDX-License-Identifier: MIT
"""What `meson install` puts where, and what of it can be tried without a system of its own: the
sample configuration, and the completion in the shells."""

import os
import re
import subprocess

import pytest
from conftest import BUILDS, ROOT, need
from installing import INSTALLED, install_with, output_of
from session import PATIENCE, run
from tls import issued


def install(folder):
    env = os.environ | {"DESTDIR": str(folder)}
    argv = [need("meson"), "install", "--no-rebuild", "-C", str(BUILDS["release"])]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, umask=0o022)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("destdir")
    install(folder)
    return folder


def test_everything_is_where_it_is_expected(tree):
    files = {str(p)[len(str(tree)):] for p in tree.rglob("*") if p.is_file()}
    assert set(INSTALLED) - files == set()
    beyond = {name.split("/")[1] for name in files}
    assert beyond == {"etc", "usr"}
    assert not any(re.search(r"\.wants/|\.requires/", name) for name in files), "nothing is enabled"


def test_user(tree, tmp_path):
    """It has a group of its own, no password, no shell."""
    (tmp_path / "etc").mkdir()
    output_of(need("systemd-sysusers"), f"--root={tmp_path}",
              tree / "usr/lib/sysusers.d/smtpd.conf")
    (user,), (group,) = ([line.split(":")
                          for line in (tmp_path / "etc" / name).read_text().splitlines()]
                         for name in ("passwd", "group"))
    assert user[0] == group[0] == "smtpd" and user[3] == group[2] and 0 < int(user[2]) < 1000
    assert user[5] == "/" and user[6].endswith("/nologin")
    assert re.match(r"smtpd:!\*?:", (tmp_path / "etc/shadow").read_text())


def test_programs_can_be_run_and_files_be_read_by_everybody(tree):
    for path in tree.rglob("*"):
        mode = path.stat().st_mode
        is_program = (path.is_dir() or "/sbin/" in str(path) or "/libexec/" in str(path)
                      or path.suffix in (".py", ".sh"))
        is_program |= path.name.startswith("filter-")
        assert oct(mode & 0o777) == oct(0o755 if is_program else 0o644), path


def test_second_installation_keeps_the_configuration(tmp_path):
    install(tmp_path)
    conf = tmp_path / "etc/smtpd/smtpd.conf"
    conf.write_text("strategy=print\n")
    install(tmp_path)
    assert conf.read_text() == "strategy=print\n"


MISSING = {
    "nothing": ([], {}, {}),
    "disabled": (["-Djournal=disabled", "-Dshow=disabled", "-Dtls=disabled", "-Dsandbox=false"], {}, {
        "journal": "the option journal is disabled; strategy journal is the default under systemd",
        "show": "the option show is disabled",
        "tls": "the option tls is disabled",
        "sandbox": "the option sandbox is false"}),
    "not-found": (["-Db_sanitize=undefined"], {"PKG_CONFIG": "/nonexistent"}, {
        "journal": "cannot find libsystemd: install libsystemd-dev and pkg-config; "
                   "strategy journal is the default under systemd",
        "show": "cannot find GMime >= 3.2: install libgmime-3.0-dev and pkg-config",
        "tls": "cannot find OpenSSL >= 3.0: install libssl-dev and pkg-config",
        "sandbox": "sanitizers and coverage make more system calls than it allows"})}


@pytest.mark.parametrize("options, env, reasons", MISSING.values(), ids=MISSING)
def test_configuring_says_what_is_missing(tmp_path, options, env, reasons):
    said = output_of(need("meson"), "setup", *options, str(tmp_path / "build"), str(ROOT),
                     env=os.environ | env)
    summary = said.split("Features\n")[1].split("\n\n")[0]
    features = dict(re.findall(r"^    (\S+) *: (.*)$", summary, re.M))
    wanted = dict.fromkeys(("journal", "show", "tls", "sandbox", "completion"), "YES")
    wanted |= {feature: f"NO: {reason}" for feature, reason in reasons.items()}
    assert wanted.items() <= features.items()


def test_other_prefix_is_in_manuals_and_units(tmp_path):
    """No page and no unit says /usr where the files are somewhere else."""
    build, tree, usual = tmp_path / "build", tmp_path / "tree", re.compile(r"/usr/(?!local/|bin)")
    install_with(build, tree, "--prefix=/usr/local", "-Dsysconfdir=etc", "-Djournal=disabled",
                 "-Doptimization=0", "-Dhardening=false")
    local = tree / "usr/local"
    pages = {p.name: p.read_text() for p in (local / "share/man").rglob("*.[578]")}
    units = {p.name: p.read_text() for p in (local / "lib/systemd/system").rglob("*")
             if p.is_file()}
    assert set(pages) == {path.name for path in (ROOT / "man").iterdir()}
    assert "smtpd@.service" in units
    for name, text in (pages | units).items():
        assert not usual.search(text), name
        assert not re.search(r"(?<!local)/etc/smtpd", text), name
    named = set(re.findall(r"/usr/local/[^ \n]+", pages["smtpd.8"]))
    named = {name for name in named if not re.search("catalog|journal", name)}  # built without
    assert len(named) > 3 and [name for name in named if not (tree / name[1:]).exists()] == []
    assert "\nExecStart=/usr/local/sbin/smtpd\n" in units["smtpd@.service"]


def test_usual_prefix_leaves_manuals_as_they_are(tree):
    for path in (ROOT / "man").iterdir():
        assert (tree / f"usr/share/man/man{path.suffix[1:]}" / path.name).read_bytes() == path.read_bytes()


# --- the sample configuration ---------------------------------------------------------------------


def sample():
    """The lines with options, in which all are commented out."""
    text = (ROOT / "examples/smtpd.conf").read_text()
    assert not re.findall(r"^[^#\n]", text, re.M), "it changes nothing"
    return re.findall(r"^#([a-z][a-z0-9-]*)=(.*)$", text, re.M)


def test_sample_has_every_option(release):
    _, out, _ = run([release, "--help"])
    options = set(re.findall(r"^  --([a-z-]+)=", out.decode(), re.M)) - {"config"}
    assert {name for name, _ in sample()} == options


def options_for(name, value, only_for):
    """The configuration in which the option makes sense."""
    if name == "strategy":
        return []
    needed = {"maildir": ["maildir=/tmp"], "exec": ["command=/bin/true"],
              "proxy": ["upstream=127.0.0.1"], "mailman": []}
    for strategy, others in needed.items():
        if strategy in only_for.split():
            return [f"--strategy={strategy}",
                    *(f"--{other}" for other in others if not other.startswith(name + "="))]
    return []


TLS = ["tls", "tls-certificate", "tls-key", "tls-user", "tls-client", "tls-client-ca",
       "tls-minimum", "listen-tls"]


@pytest.mark.parametrize("name,value", [(name, value) for name, value in sample() if name in TLS])
def test_each_line_about_tls_is_valid(release, tmp_path, name, value):
    """Together with the others; instead of the files that it names, with such that are here."""
    made = issued(tmp_path)
    files = {"tls-certificate": made.certificate, "tls-key": made.key,
             "tls-client-ca": made.certificate}
    if name == "tls-client":
        del files["tls-client-ca"]
    if name == "tls-user":
        value = "nobody"  # one that is there without an installation
    options = {**files, "tls-client": "ask", "listen": "127.0.0.1:0", name: files.get(name, value)}
    status, _, err = run([release, "--config=/dev/null", "--check",
                          *(f"--{option}={value}" for option, value in options.items())])
    assert status == 0, err


TOGETHER = {  # what makes sense only with others
    "mailman-wrapper": ["--mailman-lists=/"],
    "mailman-lists": ["--mailman-wrapper=/bin/true"],
    "upstream-tls-verify": ["--upstream-tls=required"],
    "upstream-tls-ca": ["--upstream-tls=required"],
    "upstream-tls-name": ["--upstream-tls=required"],
    "upstream-user": ["--upstream-password=/password"],
    "upstream-password": ["--upstream-user=relay"],
    "upstream-auth": ["--upstream-user=relay", "--upstream-password=/password"]}


@pytest.mark.parametrize("name,value",
                         [(name, value) for name, value in sample() if name not in TLS])
def test_each_line_of_the_sample_is_valid(release, name, value):
    if name == "user":
        value = "nobody"  # one that is there without an installation
    _, out, err = run([release, "--config=/dev/null", "--check", f"--{name}={value}",
                       *(["--strategy=print"] if name != "strategy" else [])])
    only_for = re.search(rb"%s makes no sense with strategy=print: it is for (.*)" % name.encode(),
                         err)
    argv = [release, "--config=/dev/null", "--check", f"--{name}={value}",
            *options_for(name, value, only_for[1].decode().replace(",", "") if only_for else ""),
            *TOGETHER.get(name, [])]
    status, out, err = run(argv)
    assert status == 0, err


@pytest.mark.parametrize("name",
                         ["max-size", "max-recipients", "max-commands", "max-errors", "timeout",
                          "session-timeout", "message-timeout", "x-peer", "protocol"])
def test_sample_shows_the_defaults(release, name):
    _, out, _ = run([release, "--config=/dev/null", "--check"])
    _, again, _ = run([release, "--config=/dev/null", "--check",
                       f"--{name}={dict(sample())[name]}"])
    assert out == again


# --- completion -----------------------------------------------------------------------------------

COMPLETIONS = {
    "--str": ["--strategy="],
    "--strategy=": ["print", "show", "journal", "maildir", "exec", "proxy", "mailman"],
    "--strategy=p": ["print", "proxy"],
    "--x-peer=": ["yes", "no"],
    "--upstream-protocol=l": ["lmtp"],
    "--check=": ["network"],
    "--che": ["--check", "--check="],
    "--config=/etc/passw": ["/etc/passwd"],
    "--timeout=": [],
    "--strategy p": ["print", "proxy"],
    "--x-peer ": ["yes", "no"],
    "--config /etc/passw": ["/etc/passwd"],
    "--x-peer --str": ["--strategy="],
    "--timeout ": [],
    "--nonsense": [],
}

BASH = """
compopt() { :; }  # it works only while somebody presses the key
COMP_LINE="smtpd --hostname=x $2" COMP_POINT=$((${#2} + 21))
source "$1"
_smtpd
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize("word,expected", COMPLETIONS.items())
def test_bash_completes(tree, word, expected):
    script = str(tree / "usr/share/bash-completion/completions/smtpd")
    done = subprocess.run([need("bash"), "-c", BASH, "bash", script, word], capture_output=True,
                          text=True, timeout=PATIENCE)
    assert done.returncode == 0 and done.stderr == ""
    found = [line for line in done.stdout.splitlines() if line
             and not (line.startswith("/etc/passwd") and line != "/etc/passwd")]
    assert sorted(found) == sorted(expected)


ZSH = """
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PS1=; fpath=($1 \\$fpath); autoload -Uz compinit; compinit -u -D; bindkey '^I' complete-word; echo RE''ADY"
zpty -r z line '*READY*' || exit 1
zpty -w -n z "smtpd $2"$'\\t'"; echo DO''NE"$'\\n'
zpty -r z line '*DONE*' || exit 1
print -r -- "$line"
"""


@pytest.mark.parametrize("word,expected",
                         [("--strategy=mailm", "--strategy=mailman"), ("--x-p", "--x-peer="),
                          ("--upstream-protocol=l", "=lmtp"), ("--upstream-protocol l", " lmtp")])
def test_zsh_completes(tree, word, expected):
    folder = str(tree / "usr/share/zsh/vendor-completions")
    env = os.environ | {"TERM": "dumb"}
    argv = [need("zsh"), "-f", "-c", ZSH, "zsh", folder, word]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE,
                          stdin=subprocess.DEVNULL, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert expected in done.stdout
