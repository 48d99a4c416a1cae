# SPDX-License-Identifier: MIT
"""Programs of Debian packages that cannot be installed beside others: fetched with apt-get,
unpacked, and not installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from conftest import missing, need


def fetch(folder, package):
    """Unpacks a package into the folder."""
    debs = folder / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    argv = [need("apt-get"), "-q", "-o", "APT::Sandbox::User=root", "download", package]
    done = subprocess.run(argv, cwd=debs, capture_output=True, text=True, timeout=300)
    if done.returncode:
        missing(f"{package} cannot be had: {done.stderr.strip()[-300:]}")
    (deb,) = debs.glob(f"{package}_*.deb")
    subprocess.run([need("dpkg-deb"), "-x", str(deb), str(folder / "root")], check=True, timeout=60)


def missing_libraries(program, env):
    ldd = subprocess.run(["ldd", program], env=os.environ | env, capture_output=True, text=True,
                         timeout=20)
    return re.findall(r"^\s*(\S+) => not found", ldd.stdout, re.M)


def dependencies(package):
    """Names of libraries' packages that it may depend on, directly and otherwise."""
    argv = ["apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests",
            "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances", package]
    listing = subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout
    return set(re.findall(r"^(lib[a-z0-9][-a-z0-9.+]*)$", listing, re.M))


def unpack(folder, package, path):
    """(the program, what its environment needs). Libraries that the system does not have are
    fetched too."""
    folder = Path(folder)
    fetch(folder, package)
    program, fetched = str(folder / "root" / path), set()
    env = {}
    while lacking := missing_libraries(program, env):
        stems = [re.match(r"lib[a-z_]+", name.replace("_", "-").lower())[0] for name in lacking]
        names = {n for n in dependencies(package) - fetched
                 if any(n.startswith(stem.rstrip("-")) for stem in stems)}
        if not names:
            missing(f"{package} lacks {' '.join(lacking)}")
        for name in names:
            fetch(folder, name)
        fetched |= names
        libraries = sorted({str(p.parent) for p in (folder / "root").rglob("lib*.so.*")})
        env = {"LD_LIBRARY_PATH": ":".join(libraries)}
    shutil.rmtree(folder / "debs")
    return program, env
