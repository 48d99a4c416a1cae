# SPDX-License-Identifier: MIT
"""Measures of the same session through others of the kind."""

import os
import re
import shutil
import statistics
import subprocess

from measuring.frame import Row, measure

EXIM_CONF = """\
exim_path = {program}
exim_user = mail
exim_group = mail
never_users =
spool_directory = {folder}/spool
log_file_path = {folder}/log.%s
keep_environment =
primary_hostname = exim.example
tls_advertise_hosts =
queue_only
acl_smtp_rcpt = accept
acl_smtp_data = accept
begin acl
accept:
  accept
begin routers
begin transports
"""

# Exim insists on the user that its package makes.
WITH_EXIMS_USER = """
for name in passwd group; do cp /etc/$name "$1/$name" && mount --bind "$1/$name" /etc/$name || exit; done
echo Debian-exim:x:8:8::/nonexistent:/usr/sbin/nologin >>/etc/passwd
echo Debian-exim:x:8: >>/etc/group
shift
exec "$@"
"""


def unpack(*what):
    """As tests/lib/unpack.py, which needs pytest; other measures do without."""
    import pytest
    import unpack as packages

    try:
        return packages.unpack(*what)
    except (pytest.skip.Exception, pytest.fail.Exception) as why:
        raise LookupError(why) from None


def mailfront(folder):
    program, env = unpack(folder, "mailfront", "usr/sbin/mailfront")
    modules = folder / "root/usr/lib/mailfront"
    # as smtpfront-echo, without its shell
    return env | {"MODULE_PATH": str(modules)}, [program, "smtp", "echo", "accept"]


def msmtpd(folder):
    program, env = unpack(folder, "msmtp-mta", "usr/bin/msmtpd")
    return env, [program, "--inetd", "--command=cat >/dev/null; :"]


def exim(folder):
    program, env = unpack(folder / "packages", "exim4-daemon-light", "usr/sbin/exim4")
    (folder / "spool").mkdir()
    (folder / "conf").write_text(EXIM_CONF.format(program=program, folder=folder))
    for path in (folder, folder / "spool"):
        shutil.chown(path, "mail", "mail")
    return env, [program, "-C", str(folder / "conf"), "-bs"]


def python(_):
    return {}, ["/usr/bin/python3", "-W", "ignore", "-c", "import smtpd"]


PEERS = {"mailfront smtp echo": mailfront, "msmtpd --inetd": msmtpd, "exim -bs": exim,
         "python3 -c 'import smtpd'": python}


def check_peer(name, prefix, env, argv, session):
    """That it accepts the message. Python only starts and loads the module: there is no session in
    its figure."""
    with open(session, "rb") as stdin:
        done = subprocess.run([*prefix, *argv], stdin=stdin, env=os.environ | env,
                              capture_output=True, timeout=60)
    if done.returncode or not (re.search(rb"\n354 [^\n]*\n250 ", done.stdout)
                               or name.startswith("python3")):
        raise LookupError(f"it does not accept the message: {done.stdout + done.stderr}")


def as_turn(env, argv):
    """For spawn.c."""
    return " ".join(word.replace(" ", "\t")
                    for word in [*(f"{name}={value}" for name, value in env.items()), *argv])


def peer_commands(bench, prefix):
    """Those that can be had here."""
    for n, (name, prepare) in enumerate(PEERS.items()):
        folder = bench.directory / f"peer{n}"
        folder.mkdir()
        try:
            env, argv = prepare(folder)
            check_peer(name, prefix, env, argv, bench.session())
            yield name, as_turn(env, argv)
        except (LookupError, OSError) as why:
            bench.notes.append(f"{name}: left out ({why})")


@measure("peers", is_named_only=True)
def peers(bench):
    """The same session through others of the kind, from exec to exit. For information: what they do
    with the message differs."""
    rounds = 50 if bench.is_quick else 300
    os.chmod(bench.directory, 0o755)  # Exim gives up root
    prefix = ["unshare", "--mount", "sh", "-c", WITH_EXIMS_USER, "sh",
              str(bench.directory)] if os.geteuid() == 0 else []
    spawn = [*prefix, bench.tool("spawn"), rounds, bench.session()]
    ours, floor = (statistics.median(times) / 1000
                   for times in bench.turns(*spawn, " ".join(bench.smtpd), bench.floor()))
    took = {"smtpd": ours}
    # each by itself: a large one would leave no cache to the next
    for name, turn in peer_commands(bench, prefix):
        took[name] = statistics.median(bench.turns(*spawn, turn, turn)[0]) / 1000
    for name, time_ in took.items():
        yield Row(f"one-message session, exec to exit: {name}", f"{time_:.0f} us",
                  f"floor {floor:.0f} us", time_ / floor)
    bench.notes.append("peers: mailfront throws the message away, msmtpd runs a shell for it, exim "
                       "writes it to its queue;"
                       " python3 only loads the module, and has no session")
