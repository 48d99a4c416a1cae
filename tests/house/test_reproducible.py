# SPDX-License-Identifier: MIT
"""Whoever builds the same sources gets the same files, wherever, whenever and however called."""

import json
import os
import shutil
import subprocess

from conftest import ROOT, need

PATIENCE = 600  # seconds, for all of a build


def build(source, folder, directory, umask, **variables):
    """What is installed: name to mode and octets. -O0 takes a third of the time."""
    folder.mkdir(parents=True)
    env = os.environ | variables | {"DESTDIR": str(folder / "tree")}

    def do(*argv):
        done = subprocess.run(argv, cwd=source, env=env, umask=umask, capture_output=True,
                              text=True, timeout=PATIENCE)
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
        return done.stdout

    do(need("meson"), "setup", directory, "-Doptimization=0")
    targets = [name for target in json.loads(do(need("meson"), "introspect", "--targets", directory))
               if target["installed"] for name in target["filename"]]
    top = source / directory
    do(need("ninja"), "-C", directory, *(os.path.relpath(name, top) for name in targets))
    do(need("meson"), "install", "--no-rebuild", "-C", directory)
    return {str(path.relative_to(folder)): (oct(path.stat().st_mode),
                                            path.is_file() and path.read_bytes())
            for path in (folder / "tree").rglob("*")}


def test_two_builds_are_the_same(tmp_path):
    """Another directory, one below the sources and one beside them; another date, umask, time zone
    and language."""
    copy = tmp_path / "copy of it"
    shutil.copytree(ROOT, copy, symlinks=True,
                    ignore=shutil.ignore_patterns("build*", ".git", "corpus", "__pycache__"))
    first = build(copy, tmp_path / "first", "build", 0o022, LC_ALL="C", TZ="UTC",
                  SOURCE_DATE_EPOCH="1000000000")
    copy.rename(tmp_path / "source")
    second = build(tmp_path / "source", tmp_path / "second", "../elsewhere/deeper/build", 0o077,
                   LC_ALL="C.UTF-8", TZ="Pacific/Auckland", SOURCE_DATE_EPOCH="1700000000")
    assert "tree/usr/sbin/smtpd" in first and first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
