# SPDX-License-Identifier: MIT
"""Configurations of Dovecot, which are written here as 2.3 has them, for the version that is
installed."""

import re
import subprocess

from conftest import need


def version():
    """(2, 4, 1), for example."""
    said = subprocess.run([need("dovecot"), "--version"], capture_output=True, text=True,
                          check=True)
    return tuple(map(int, re.match(r"(\d+)\.(\d+)\.(\d+)", said.stdout).groups()))


def for_this_dovecot(text):
    """2.4 wants to know which version a file is for, and has other names."""
    numbers = version()
    if numbers < (2, 4):
        return text
    for pattern, replacement in (
        (r"^disable_plaintext_auth = no$", "auth_allow_cleartext = yes"),
        (r"^ssl_(cert|key) = <(.*)$", r"ssl_server_\1_file = \2"),
        (r"^mail_location ?= ?maildir:(.*)$", r"mail_driver = maildir\nmail_path = \1"),
        (r"^( +)address = ", r"\1listen = "),
        (r"^stats_writer_socket_path ?=.*\n", ""),
        (r"^passdb {\n +driver = static\n +args = password=(.*)\n}",
         r"passdb static {\n  password = \1\n}"),
        (r"^userdb {\n +driver = static\n +args = uid=(\S+) gid=(\S+) home=(\S+)\n}",
         r"userdb static {\n  fields {\n    uid = \1\n    gid = \2\n    home = \3\n  }\n}"),
    ):
        text = re.sub(pattern, replacement, text, flags=re.M)
    number = ".".join(map(str, numbers))
    return f"dovecot_config_version = {number}\ndovecot_storage_version = {number}\n{text}"


def own_mail():
    """What doveadm(1) is told if whoever runs it reads mail of its own: 2.3 takes that for granted."""
    return ["--no-userdb-lookup"] if version() >= (2, 4) else []
