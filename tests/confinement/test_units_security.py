# SPDX-License-Identifier: MIT
"""The units as they are installed, and every drop-in that is shipped as an example: systemd knows
each setting, and what they leave open (`systemd-analyze security`) stays below what is written
here. No systemd has to run."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import BUILDS, ROOT, missing, need
from session import PATIENCE

UNITS = "usr/lib/systemd/system"
EXAMPLES = sorted(ROOT.glob("units/*.d/*.conf.example"))

# Exposure, times ten. Whatever is not named here is held to the limit of a unit without drop-ins.
LIMIT = 3
LIMITS = {"proxy": 11}

# An administrator's second port: see units/smtpd@.service.
SECOND_PORT = {
    "smtpd-second.socket": "[Socket]\nListenStream=2525\n[Install]\nWantedBy=sockets.target\n",
    "smtpd-second@.service": "[Service]\nExecStart=/usr/sbin/smtpd "
                             "--config=/etc/smtpd/second.conf\n",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    argv = [need("meson"), "install", "--no-rebuild", "--quiet", "-C", str(BUILDS["release"])]
    subprocess.run(argv, env=os.environ | {"DESTDIR": str(folder)}, check=True, capture_output=True,
                   timeout=60)
    for name, text in SECOND_PORT.items():
        (folder / UNITS / name).write_text(text)
    return folder


@pytest.fixture
def root(installed, tmp_path):
    """With the system's own units that ours are connected with."""
    shutil.copytree(installed, tmp_path / "root")
    theirs = next(filter(os.path.isdir, ("/usr/lib/systemd/system", "/lib/systemd/system")),
                  None) or missing("no systemd")
    for path in [path for name in ("*.target", "*.slice", "systemd-journald*")
                 for path in Path(theirs).glob(name) if path.is_file()]:
        shutil.copyfile(path, tmp_path / "root" / UNITS / path.name)
    shell = tmp_path / "root/bin/sh"  # which every system has
    shell.parent.mkdir(parents=True, exist_ok=True)
    shell.touch(0o755)
    return tmp_path / "root"


def analyze(root, *argv):
    """(exit status, standard output, standard error)"""
    done = subprocess.run([need("systemd-analyze"), "--no-pager", f"--root={root}", *argv],
                          capture_output=True, text=True,
                          timeout=PATIENCE, env=os.environ | {"LC_ALL": "C.UTF-8"})
    return done.returncode, done.stdout, done.stderr


def verify(root, *units):
    """All complaints: the exit status does not tell of settings that systemd does not know."""
    status, out, err = analyze(root, "--man=no", "verify", *units)
    return out + err + (f"exit status {status}" if status else "")


def exposure(root, unit, limit):
    """None, or what is over the limit."""
    status, out, err = analyze(root, "--offline=true", f"--threshold={limit}", "security", unit)
    assert "Overall exposure level" in out and err == ""
    return "".join(re.findall(r"^(?:✗|→).*\n", out, re.M)) if status else None


def use(root, unit, example):
    """Puts an example where it counts."""
    folder = root / UNITS / f"{unit}.d"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(example, folder / example.name.removesuffix(".example"))


def as_installed(root, example):
    return root / UNITS / example.parent.name / example.name


def shipped(suffix):
    """Names of units of ours; each source in units/ that is one, and the second port's."""
    names = {p.name for p in (ROOT / "units").glob(f"*{suffix}*")
             if p.is_file()} | set(SECOND_PORT)
    return sorted(name for name in names if name.endswith(suffix))


def unit_of(example):
    return example.parent.name.removesuffix(".d")


def settings():
    """(unit, example) for all that are installed, each example with its own unit and with the
    second port's."""
    units = [(unit, None) for unit in shipped(".service")]
    examples = [(unit_of(example), example) for example in EXAMPLES]
    second = [(also, example) for unit, example in examples if unit == "smtpd@.service"
              for also in ("smtpd-second@.service", "smtpd.service")]
    return [pytest.param(unit, example,
                         id=f"{unit}-{example.name.removesuffix('.conf.example') if example else 'alone'}")
            for unit, example in units + examples + second]


def test_what_is_tested():
    """A test of the test: nothing has been lost on the way."""
    assert {"smtpd.service", "smtpd@.service", "smtpd-tls.service",
            "smtpd-second@.service"} <= set(shipped(".service"))
    assert "smtpd.socket" in shipped(".socket")
    assert {"exec", "proxy", "mailman2"} <= {p.name.removesuffix(".conf.example") for p in EXAMPLES}


@pytest.mark.parametrize("unit,example", settings())
def test_settings_are_known(root, unit, example):
    if example:
        use(root, unit, as_installed(root, example))
    sockets = [name for name in shipped(".socket")
               if name.removesuffix(".socket") == re.sub(r"@?\.service$", "", unit)]
    assert verify(root, unit, *sockets) == ""


@pytest.mark.parametrize("unit,example",
                         [p for p in settings() if p.values[0].endswith(".service")])
def test_exposure(root, unit, example):
    name = ""
    if example:
        use(root, unit, as_installed(root, example))
        name = example.name.removesuffix(".conf.example")
    assert exposure(root, unit, LIMITS.get(name, LIMIT)) is None


@pytest.mark.parametrize("example", EXAMPLES,
                         ids=lambda path: path.name.removesuffix(".conf.example"))
def test_what_an_example_proposes(root, example):
    """Settings in it that are comments are right, too."""
    text = as_installed(root, example).read_text()
    text = re.sub(r"^#([A-Z][A-Za-z]+=)", r"\1", text, flags=re.M)
    proposed = root / example.name
    proposed.write_text(text)
    use(root, unit_of(example), proposed)
    assert verify(root, unit_of(example)) == ""


def test_mistakes_are_found(root):
    """A test of the test."""
    path = root / UNITS / "smtpd@.service.d/wrong.conf"
    path.write_text("[Service]\nProtectSytem=strict\n")
    assert "ProtectSytem" in verify(root, "smtpd@.service")
    path.write_text(
        "[Service]\nProtectSystem=no\nNoNewPrivileges=no\nPrivateDevices=no\nPrivateNetwork=no\n")
    assert "PrivateNetwork" in exposure(root, "smtpd@.service", LIMIT)
    second = root / UNITS / "smtpd-@.service.d/10-smtpd.conf"
    second.unlink()
    assert exposure(root, "smtpd-second@.service", 80) is not None
