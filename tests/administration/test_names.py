# SPDX-License-Identifier: MIT
"""What README, the other texts, the manual pages, the units and the examples name exists: options,
files, replies and lines of the log. A sentence with a name that nothing else knows fails here."""

import ast
import fnmatch
import functools
import re
import subprocess
from pathlib import Path

import pytest
from conftest import BUILDS, ROOT, need

MARKDOWN = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "NEWS.md", "tests/README.md",
            "tests/transcripts/README.md", "debian/smtpd.README.Debian"]
MANUALS = sorted(path.name for path in (ROOT / "man").iterdir())
SOURCE = "\n".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.[ch]")))

# Options of other programs, by the program's name, which has to be in the same paragraph.
OTHERS_OPTIONS = {
    "aws": {"aws-sigv4"},
    "clamdscan": {"fdpass", "no-summary"},
    "curl": {"crlf", "mail-from", "mail-rcpt", "data-binary", "silent", "show-error", "fail",
             "max-time", "upload-file", "request", "header", "ssl-reqd"},
    "apt-get": {"no-install-recommends"},
    "meson": {"prefix", "sysconfdir"},
    "on-mail": {"verbose"},
    "journal(?:ctl)?": {"output-fields", "all", "namespace"},
    "msmtp": {"host", "port", "read-envelope-from", "account"},
    "msmtpd": {"inetd"},
    "node_exporter": {"collector"},
    "systemctl": {"now"},
    "timeout": {"preserve-status"},
    "useradd": {"system"},
}
# Words before "=" that are neither options nor in the source: what they belong to.
OTHERS_SETTINGS = {
    "option", "name",  # any of ours
    "f",  # a variable of a script for xinetd
    "prefix", "sysconfdir",  # meson
}


def rendered(name):
    """A manual page as it is read, a paragraph in one line."""
    text = subprocess.run([need("mandoc"), "-T", "utf8", "-O", "width=900", ROOT / "man" / name],
                          capture_output=True, text=True, check=True).stdout
    return re.sub(".\x08", "", text)


def comments(path):
    """Of a script, a unit or a configuration: the text of its comments and docstrings."""
    text = path.read_text()
    if path.suffix == ".py":
        return ast.get_docstring(ast.parse(text))
    return "\n".join(re.findall(r"^ *#(?!!) ?(.*)", text, re.M))


SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for folder in ("examples", "units", "sysusers.d")
                 for path in (ROOT / folder).rglob("*")
                 if path.is_file() and path.name != "session.txt")


@functools.cache
def text_of(name):
    """What people read of it."""
    if name in MANUALS:
        return rendered(name)
    return (ROOT / name).read_text() if name in MARKDOWN else comments(ROOT / name)


def paragraphs(text):
    """Of Markdown and of comments; a row of a table and an item of a list are their own. Commands
    in several lines are one."""
    text = text.replace("\\\n", " ")
    return re.split(r"\n\s*\n|\n(?=\||- |\d\. )", text)


# --- options --------------------------------------------------------------------------------------


@functools.cache
def options(program="smtpd"):
    said = subprocess.run([BUILDS["release"] / program, "--help"], capture_output=True, text=True,
                          check=True).stdout
    return {*re.findall(r"^  (?:--help, )?--([a-z-]+)", said, re.M), "help", "version"}


def script_options(paragraph):
    """Those that the scripts named there have."""
    named = re.findall(r"(?<![\w/])tests/[\w/]+(?![\w/.])|\.ci/run", paragraph)
    paths = [ROOT / name for name in named if (ROOT / name).is_file()]
    return {name for path in paths for name in re.findall(r"--([a-z-]+)", path.read_text())}


def unknown_options(name, text):
    """Words that look like options, and are nobody's."""
    for paragraph in paragraphs(text):
        known = options() | script_options(paragraph) | {"name"}  # any of ours
        for program, others in OTHERS_OPTIONS.items():
            known |= others if re.search(rf"(?<!\w){program}\b", paragraph) else set()
        if "smtpd-tls" in name + paragraph:
            known |= options("smtpd-tls")
        yield from (f"--{word}" for word in re.findall(r"(?<![\w-])--([a-z][\w-]*)", paragraph)
                    if word not in known)


@functools.cache
def words_of_the_source():
    """Options, and what the source writes before "=": fields of the log, labels, parameters; and
    the options of the build."""
    written = re.findall(r'"([a-z][a-z-]*)"', SOURCE) + re.findall(r"([a-z][a-z-]*)=", SOURCE)
    return options() | options("smtpd-tls") | set(written)


def unknown_settings(text):
    """Words before "=" that are no option, no field of the log and no variable. (systemd's have
    capitals, those of examples in the shell are not in comments.)"""
    words = re.findall(r"(?<![\w.$/?&\"'-])([a-z][a-z-]*)=(?!=)", text)
    return [f"{word}=" for word in words
            if word not in words_of_the_source() | OTHERS_SETTINGS]


@functools.cache
def values():
    """Of the options that have only certain ones, as --help lists them."""
    said = subprocess.run([BUILDS["release"] / "smtpd", "--help"], capture_output=True, text=True,
                          check=True).stdout
    found = {name: set(listed.split("|")) for name, listed in
             re.findall(r"^  --([a-z-]+)=([a-z0-9.]+(?:\|[a-z0-9.]+)+)(?= |$)", said, re.M)}
    return found | {"strategy": set(re.findall(r'\.name = "([a-z]+)",\n +\.summary', SOURCE))}


# In its general form; of the template; of a transcript's own option.
OTHERS_VALUES = {("strategy", "name"), ("strategy", "tally"), ("auth", "protected")}


def unknown_values(text):
    return [f"{name}={value}" for name, value in
            re.findall(r"(?<![\w.$/?&\"'])(?:--)?([a-z][a-z-]*)=([a-z0-9][a-z0-9.]*[a-z0-9])", text)
            if value not in values().get(name, {value}) and (name, value) not in OTHERS_VALUES]


@functools.cache
def build_options():
    text = (ROOT / "meson_options.txt").read_text()
    return set(re.findall(r"^option\('([a-z-]+)'", text, re.M))


def unknown_build_options(text):
    words = re.findall(r"(?<!\w)-D([a-z_-]+)=", text)
    return [f"-D{word}=" for word in words if word not in build_options() | {"b_sanitize"}]


@pytest.mark.parametrize("name", MARKDOWN + MANUALS + SCRIPTS)
def test_options_exist(release, name):
    text = text_of(name)
    wrong = [*unknown_options(name, text), *unknown_settings(text), *unknown_values(text),
             *unknown_build_options(text)]
    assert wrong == []


def test_wrong_options_are_found(release):
    """A test of the test."""
    assert {"listen", "tls-engine", "check"} <= options()
    assert list(unknown_options("a", "with `--strategy=x` and --lisen=1025")) == ["--lisen"]
    assert list(unknown_options("a", "tests/run --full, tests/run --fall")) == ["--fall"]
    assert list(unknown_options("a", "curl --crlf\n\n--crlf")) == ["--crlf"]
    assert list(unknown_options("a", "smtpd-tls --serve")) == []
    assert list(unknown_options("a", "smtpd --serve")) == ["--serve"]
    assert unknown_settings("`relay-to=a`, relay-too=b, verdict=c, AcceptNo=") == ["relay-too="]
    assert {"no", "starttls", "required", "implicit"} == values()["tls"] and len(values()) > 10
    assert unknown_values("tls=required, --tls=requird, `strategy=jurnal`") == ["tls=requird",
                                                                                "strategy=jurnal"]
    assert unknown_build_options("-Djournal=disabled -Djurnal=enabled") == ["-Djurnal="]


# --- files ----------------------------------------------------------------------------------------

# Files of others, and those that an administrator writes; a name that ends with "/" stands for all
# below it. The last ones are no names: arguments, and parts of patterns.
OTHERS_FILES = """
    /bin/ /dev/ /proc/ /sys/ /usr/bin/ /usr/sbin/ /usr/local/ /var/log/ /tmp/ /path/to/ /srv/
    /var/lib/mailman/ /usr/lib/mailman/ /etc/letsencrypt/ /etc/systemd/ /etc/inetd.conf
    /etc/xinetd.d/smtp /etc/fail2ban/ /etc/haproxy/ /run/postfix/ /run/private /var/lib
    /var/lib/prometheus/node-exporter
    /etc/smtpd/upstream-password /etc/smtpd/certificate.pem /etc/smtpd/key.pem
    /etc/smtpd/clients.pem /etc/smtpd/submission.conf /run/smtpd.socket
    /run/smtpd-metrics/smtpd.prom /etc/mailin/mailin.conf
    /socket /socket.lock /bits /test_
""".split()


@functools.cache
def files_of_units():
    """What their settings name, and the directories that systemd makes for them."""
    lines = [line for path in (ROOT / "units").rglob("*") if path.is_file()
             for line in path.read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines)
    kinds = {"State": "/var/lib", "Runtime": "/run"}
    return (set(re.findall(r"=(/[\w./@-]+)", text))
            | {f"{kinds[kind]}/{name}"
               for kind, name in re.findall(r"^(State|Runtime)Directory=(\S+)", text, re.M)})


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The names of what `meson install` puts into the system."""
    folder = tmp_path_factory.mktemp("destdir")
    subprocess.run([need("meson"), "install", "--no-rebuild", "--destdir", folder, "-C",
                    BUILDS["release"]], capture_output=True, check=True, timeout=60)
    return {f"/{path.relative_to(folder)}" for path in folder.rglob("*")}


def unknown_files(text, known):
    """Absolute names of files that are not known, not in the source and nobody's."""
    for name in re.findall(r"(?<![\w/.:@>$})~-])/[a-z][\w./@-]*\w/?", text):
        if (name.rstrip("/") not in known and f'"{name}' not in SOURCE
                    and not any(name.startswith(other) if other.endswith("/") else name == other
                            for other in OTHERS_FILES)):
            yield name


@pytest.mark.parametrize("name", MARKDOWN + MANUALS + SCRIPTS)
def test_files_exist(release, installed, name):
    assert list(unknown_files(text_of(name), installed | files_of_units())) == []


# Names without a folder, of others.
OTHERS_NAMES = """
    mailman3.service inetd.conf clamd.conf sysexits.h smtpd.py new.conf mail.txt mails.txt
    mailin.socket
    smtpd-NAME.socket smtpd-NAME@.service test_NAME.py
""".split()


@functools.cache
def tree():
    """Every file and folder of ours, as path."""
    listed = subprocess.run([need("git"), "-c", f"safe.directory={ROOT}", "ls-files", "-co",
                             "--exclude-standard"], cwd=ROOT, capture_output=True, text=True,
                            check=True).stdout.splitlines()
    names = [name for name in listed if "/corpus/" not in name] + ["tests/fuzz/corpus/x"]
    folders = {str(parent) for name in names for parent in Path(name).parents if str(parent) != "."}
    return sorted({*names, *(name.removesuffix(".in") for name in names), *folders})


def is_in_the_tree(name, *folders):
    """A file or folder, by its path or the end of its path; "*" stands for anything. Unit tests and
    fuzz targets have the names that the build gives them."""
    if match := re.fullmatch(r"(unit|fuzz)-([a-z-]+)", name):
        kind, name = match.groups()
        name = f"tests/{kind}/{'test' if kind == 'unit' else kind}-{name}.c"
    name = name.removeprefix("build/").rstrip("/")
    return any(fnmatch.fnmatchcase(path, name) or fnmatch.fnmatchcase(path, f"*/{name}")
               for path in tree())


FILE = re.compile(r"(?<![\w/@.*-])[\w@.*-]+\.(?:conf|conf\.example|service|socket|sh|py|[ch]|md|cfg|txt|"
                  r"catalog)(?![\w/*(-]|\.\w)")


def unknown_names(text, known):
    """Names of files, without a folder, that are neither in the tree nor installed."""
    installed_names = {name.rsplit("/", 1)[1] for name in known}
    for name in FILE.findall(text):
        ours = is_in_the_tree(name) or {name, f"{name}.example"} & installed_names
        yield from [] if ours or name in OTHERS_NAMES else [name]


@pytest.mark.parametrize("name", MARKDOWN + MANUALS + SCRIPTS)
def test_names_of_files_exist(release, installed, name):
    assert list(unknown_names(text_of(name), installed)) == []


# Words in backquotes that are names elsewhere: programs, system calls, units, what readers choose.
OTHERS_WORDS = """
    curl telnet localhost nobody dup execve fork ptrace exit assert main errno linux asm asm-generic
    valgrind mailbox master.cf php.ini mail() send-proxy-v2 /root NAME_ops file_verb is_… has_… n_…
    ret_… src/deliver/NAME.c tests/delivery/test_NAME.py tls... LimitFSIZE= MemoryMax= TasksMax=
    Accept=no After=mailman3.service
""".split()


def is_known_word(word, known):
    """A name of the source, of the tests' fixtures, of an option, a file or a directive."""
    others = OTHERS_WORDS + OTHERS_FILES + OTHERS_NAMES
    if word in others or word in known or re.match("-|[a-z-]+=", word):
        return True  # options have a test of their own
    if is_in_the_tree(word) or is_in_the_tree(f"{word}.[ch]") or word in options():
        return True
    name = re.escape(word.removesuffix("()"))
    return bool(re.search(rf"(?<![\w-]){name}(?![\w-])", SOURCE + FIXTURES))


FIXTURES = "\n".join((ROOT / name).read_text() for name in (
    "meson.build", "tests/conftest.py", "tests/sweep.d/sweeping/runner.py",
    "tests/sweep.d/sweeping/strategies.py", "tests/template/meson.build", "tests/lib/options.py"))


def unknown_words(text, known):
    text = re.sub(r"^    .*\n", "", text, flags=re.M)
    words = [word for word in re.findall(r"`([^`\n]+)`", text) if not re.search(r"[\s<>]", word)]
    return [word for word in words if not is_known_word(word, known)]


@pytest.mark.parametrize("name", [name for name in MARKDOWN if "transcripts" not in name])
def test_words_in_backquotes_exist(release, installed, name):
    known = {name.rsplit("/", 1)[1] for name in installed} | installed
    assert unknown_words(text_of(name), known) == []


def test_wrong_files_are_found(installed):
    """A test of the test."""
    known = installed | files_of_units()
    text = "/usr/sbin/smtpd, /run/smtpd/tls, /run/smtpd/tsl, /etc/smtpd/smtpd.cnf, /etc/systemd/a"
    assert list(unknown_files(text, known)) == ["/run/smtpd/tsl", "/etc/smtpd/smtpd.cnf"]
    text = "src/main.c, test_floods.py, test_fauts.py, exec.conf.example, smtp.socket, a.socket(5)"
    assert list(unknown_names(text, known)) == ["test_fauts.py", "smtp.socket"]
    text = "`unit-body`, `unit-boddy`, `fuzz-server`, `src/deliver/`, `src/delivery/`, `socketpair`"
    assert unknown_words(text, known) == ["unit-boddy", "src/delivery/"]
    text = "`relay-to`, `relay-too`, `need()`, `src/helpers/show*.c`, `src/smtp/sever.c`"
    assert unknown_words(text, known) == ["relay-too", "src/smtp/sever.c"]


# --- replies --------------------------------------------------------------------------------------


@functools.cache
def replies():
    """The pairs of code and enhanced code that the source can say, or that upstreams say in a
    transcript which is played."""
    transcripts = "\n".join(path.read_text() for path in
                            sorted((ROOT / "tests/transcripts").rglob("*.txt")))
    either = re.findall(r'\b(\d{3}) : (\d{3}),[^;"]*"([\d.]+)" : "([\d.]+)"', SOURCE)
    return set([(code, enhanced) for a, b, c, d in either for code, enhanced in ((a, c), (b, d))]
               + re.findall(r'\b([245]\d\d), *"([245]\.\d+\.\d+)"', SOURCE)
               + re.findall(r'"([245]\d\d) ([245]\.\d+\.\d+)', SOURCE)
               + re.findall(r"^S: ([245]\d\d)[ -]([245]\.\d+\.\d+)", transcripts, re.M))


@functools.cache
def literals():
    """Those of the source with words of their own, formats as patterns."""
    code = re.sub(r'"\s*\n?\s*"', "", SOURCE)
    texts = set(re.findall(r'"((?:[^"\\\n]|\\.)+)"', code))
    return [re.compile(re.sub(r"%[\\.*\d-]*(?:ll|z|j)?[a-z]", ".+", re.escape(text)))
            for text in texts if re.search(r"[a-z]{3}", re.sub(r"%\w+", "", text))]


def unknown_replies(text):
    """Replies that nobody says. In a rule (reply=) administrators say what they like."""
    for line in text.splitlines():
        if re.search(r"reply=", line):
            continue
        for code, enhanced in re.findall(r"\b([245]\d\d)[ -]([245]\.\d+\.\d+)\b", line):
            if (code, enhanced) not in replies():
                yield f"{code} {enhanced}"
        for said in re.findall(r"[`‘“][245]\d\d [245]\.\d+\.\d+ ([^`’”]+)[`’”]", line):
            if not any(literal.fullmatch(said) for literal in literals()):
                yield said


@pytest.mark.parametrize("name", [name for name in MARKDOWN + MANUALS + SCRIPTS
                                  if not name.startswith("examples/")])
def test_replies_exist(release, name):
    """A program in examples/ says its own ones."""
    assert list(unknown_replies(text_of(name))) == []


def test_wrong_replies_are_found():
    """A test of the test."""
    assert len(replies()) > 50 and ("421", "4.3.5") in replies()
    assert list(unknown_replies("421 4.3.5, 421 4.3.6 and 552 5.3.5")) == ["421 4.3.6", "552 5.3.5"]
    text = "`550 5.1.1 no such recipient`, `550 5.1.1 no such person`, `552 5.3.4 message too big: "
    assert list(unknown_replies(text + "at most 5 octets`")) == ["no such person"]


# --- lines of the log ----------------------------------------------------------------------------


def promised_lines():
    """In NEWS: what others may rely on."""
    return re.findall(r"^\| `(\w+)((?: [a-z]+=)+)` \|", text_of("NEWS.md"), re.M)


def unknown_parts(word, fields):
    """Of such a line: what the source does not write."""
    begins = set(re.findall(r'log_start\(&?\w+, "([^"]+)"\)', SOURCE))
    written = set(re.findall(r'log_\w+\(&?\w+(?:->\w+)?, "([a-z]+)"', SOURCE))
    return [name for name in fields.replace("=", "").split() if name not in written] + (
        [] if word in begins else [word])


def test_promised_lines_of_the_log():
    lines = promised_lines()
    assert len(lines) >= 9 and {"message", "session", "rejected"} <= {word for word, _ in lines}
    assert [unknown_parts(*line) for line in lines if unknown_parts(*line)] == []
    assert unknown_parts("mesage", " peer= pear=") == ["pear", "mesage"]
