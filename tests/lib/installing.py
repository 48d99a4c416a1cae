# SPDX-License-Identifier: MIT
"""What is installed: meson's setup, a build and an installation, into a folder."""

import json
import os
import subprocess

from conftest import ROOT, need

INSTALLED = """
    /etc/smtpd/smtpd.conf
    /usr/lib/systemd/catalog/smtpd.catalog
    /usr/lib/systemd/system/smtpd.service
    /usr/lib/systemd/system/smtpd.service.d/metrics.conf.example
    /usr/lib/systemd/system/smtpd.socket
    /usr/lib/systemd/system/smtpd.socket.d/accept-no.conf.example
    /usr/lib/systemd/system/smtpd-.socket.d/10-smtpd.conf
    /usr/lib/systemd/system/smtpd-@.service.d/10-smtpd.conf
    /usr/lib/systemd/system/smtpd-tls.service
    /usr/lib/systemd/system/smtpd-tls.socket
    /usr/lib/systemd/system/smtpd-tls.socket.d/20-smtpd-tls.conf
    /usr/lib/systemd/system/smtpd@.service
    /usr/lib/systemd/system/smtpd@.service.d/exec.conf.example
    /usr/lib/systemd/system/smtpd@.service.d/log.conf.example
    /usr/lib/systemd/system/smtpd@.service.d/maildir.conf.example
    /usr/lib/systemd/system/smtpd@.service.d/mailman2.conf.example
    /usr/lib/systemd/system/smtpd@.service.d/password.conf.example
    /usr/lib/systemd/system/smtpd@.service.d/proxy.conf.example
    /usr/lib/sysusers.d/smtpd.conf
    /usr/libexec/smtpd/smtpd-journal
    /usr/libexec/smtpd/smtpd-maildir
    /usr/libexec/smtpd/smtpd-show
    /usr/libexec/smtpd/smtpd-tls
    /usr/sbin/smtpd
    /usr/share/bash-completion/completions/smtpd
    /usr/share/doc/smtpd/examples/fail2ban/filter.d/smtpd.conf
    /usr/share/doc/smtpd/examples/fail2ban/jail.d/smtpd.conf
    /usr/share/doc/smtpd/examples/haproxy.cfg
    /usr/share/doc/smtpd/examples/session.txt
    /usr/share/doc/smtpd/examples/smtpd.conf
    /usr/share/man/man5/smtpd.conf.5
    /usr/share/man/man7/smtpd-exec.7
    /usr/share/man/man8/smtpd.8
    /usr/share/man/man8/smtpd-tls.8
    /usr/share/man/man8/smtpd.socket.8
    /usr/share/zsh/vendor-completions/_smtpd
""".split()


def output_of(*argv, **more):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, umask=0o022, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install_with(build, folder, *options):
    """Configures, builds what is installed, and installs it."""
    meson = need("meson")
    output_of(meson, "setup", str(build), str(ROOT), *options)
    targets = json.loads(output_of(meson, "introspect", "--targets", str(build)))
    files = [name for target in targets if target["installed"] for name in target["filename"]]
    output_of(need("ninja"), "-C", str(build), *(os.path.relpath(name, build) for name in files))
    output_of(meson, "install", "--no-rebuild", "-C", str(build),
              env=os.environ | {"DESTDIR": str(folder)})
