# SPDX-License-Identifier: MIT
"""Options with their defaults, good values and mistakes; what --check says of a configuration."""

import os

import pytest
from session import run

NOT_CONFIGURED = (421, b"4.3.5 this server is not configured correctly, try again later")
SYSTEM_NAME = os.uname().nodename
ACTIONS = {"check", "help", "version"}

# Of each option: its default, then values that are fine, as they are written and as --check prints
# them.
OPTIONS = {
    "strategy": ("print", ("print", "print")),
    "hostname": (
        SYSTEM_NAME, ("mx.example.org", "mx.example.org"), ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:db8::1]",) * 2,
        ("x" * 255,) * 2,
    ),
    "protocol": ("smtp", ("lmtp", "lmtp"), ("smtp", "smtp")),
    "auth": ("no", ("any", "any"), ("no", "no")),
    "max-size": (
        "33554432", ("0", "0"), ("1", "1"), ("10K", "10240"), ("10k", "10240"), ("2M", "2097152"),
        ("3G", "3221225472"),
        ("4611686018427387904",) * 2, ("4294967296G", "4611686018427387904"),
    ),
    "max-recipients": ("100", ("1", "1"), ("1000000", "1000000"), ("007", "7")),
    "max-commands": ("1000", ("1", "1"), ("1000000", "1000000")),
    "max-errors": ("20", ("1", "1"), ("1000000", "1000000")),
    "timeout": ("300", ("1", "1"), ("31536000", "31536000")),
    "session-timeout": ("3600", ("1", "1"), ("31536000", "31536000")),
    "message-timeout": ("540", ("1", "1"), ("31536000", "31536000")),
    "reply": (None, ("rcpt a,b@* 550 5.1.1 no, no",) * 2, ("connect  192.0.2.*\t421 x",) * 2),
    "delay": (None, ("message * 5",) * 2, ("helo x 31536000",) * 2),
    "qualify": (None, ("example.org",) * 2, ("[192.0.2.1]",) * 2),
    "bare-lf-from": (None, ("192.0.2.1", "192.0.2.1"),
                     ("local, 2001:db8::/32", "local,2001:db8::/32")),
    "trace": ("no", ("yes", "yes"), ("no", "no")),
    "x-peer": ("yes", ("no", "no"), ("yes", "yes")),
    "sandbox": (None, ("no", "no"), ("yes", "yes")),
    "listen": (
        None, ("127.0.0.1:1025",) * 2, ("1025", "1025"), ("0,smtp", "0,smtp"),
        ("[::1]:1025,localhost:smtp, /run/smtpd/socket",
         "[::1]:1025,localhost:smtp,/run/smtpd/socket"),
    ),
    "user": (None, ("nobody", "nobody"), ("65534", "65534")),
    "max-connections": ("100", ("1", "1"), ("1000000", "1000000")),
    "max-connections-per-source": ("20", ("1", "1"), ("1000000", "1000000")),
    "stop-timeout": ("10", ("1", "1"), ("31536000", "31536000")),
    "exit-idle-time": (None, ("1", "1"), ("31536000", "31536000")),
    "count": (None, ("1", "1"), ("1000000", "1000000")),
    "peer": (
        None, ("192.0.2.1", "192.0.2.1"), ("192.0.2.1:4000", "192.0.2.1:4000"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"), ("[2001:db8::1]:25", "[2001:db8::1]:25"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("local", "local"),
    ),
}

NUMBERS = ["", "0", "-1", "+5", "ten", "1x", "0x10", "1.5", "5 5", "99999999999999999999"]
# some would pass as 25, modulo
NO_PORTS = ["abc", "-1", "+25", "0x10", "65536", "99999", "4294967321", "25:25", "2 5"]
MISTAKES = {
    "strategy": ["", "Print", "print ", "nonsense", "print,print"],
    "hostname": ["", ".", ".a", "a..b", "a b", "m\u00fcller.example", "a\tb", "<script>", "x" * 256],
    "protocol": ["", "esmtp", "LMTP", "smtp "],
    "auth": ["", "yes", "Any", "plain", "any "],
    "max-size": ["", "-1", "+5", "M", "1T", "1KB", "1.5M", "1 M", "lots", "4611686018427387905",
                 "4294967297G",
                 "18446744073709551615G", "18446744073709551616", "99999999999999999999"],
    "max-recipients": [*NUMBERS, "1000001"],
    "max-commands": [*NUMBERS, "1000001"],
    "max-errors": [*NUMBERS, "1000001"],
    "timeout": [*NUMBERS, "31536001", "1h"],
    "session-timeout": [*NUMBERS, "31536001", "1h"],
    "message-timeout": [*NUMBERS, "31536001", "1h"],
    "x-peer": ["", "maybe", "Yes", "1", "true"],
    "sandbox": ["", "maybe"],
    "listen": [*NO_PORTS[:-2], *(f"127.0.0.1:{port}" for port in NO_PORTS),
               *(f"localhost:{port}" for port in NO_PORTS), "", "127.0.0.1", "[::1]", "::1:25",
               "/" + "x" * 200, "127.0.0.1:", ":25", "[::1]:25,", "a b:25"],
    "user": ["", "a b", "root:root", "/bin"],
    "max-connections": [*NUMBERS, "1000001"],
    "max-connections-per-source": [*NUMBERS, "1000001"],
    "stop-timeout": [*NUMBERS, "31536001"],
    "exit-idle-time": [*NUMBERS, "31536001"],
    "count": [*NUMBERS, "1000001"],
    "bare-lf-from": ["", "x", "192.0.2.1/33", "192.0.2.1,"],
    "trace": ["", "maybe"],
    "peer": [*(f"192.0.2.1:{port}" for port in ("0", *NO_PORTS)), "", "nonsense", "192.0.2.256",
             "192.0.2.1:", "192.0.2.1:70000", "192.0.2.1:x", "[::1", "::1]", "[]", "[", ":25",
             "[::1]25", "[::1]:", "[::1]:2:3", "example.org:25", "x" * 5000],
}


def check(smtpd, *options, config="/dev/null"):
    """(exit status, what --check prints as a dictionary, complaints)"""
    status, out, err = run([smtpd, f"--config={config}", "--check", *options])
    lines = out.decode().splitlines()
    return status, dict(line.split("=", 1) for line in lines
                        if not line.startswith("#")), err.decode(errors="replace").splitlines()


@pytest.fixture
def conf(tmp_path):
    """Writes a configuration file and gives its name."""

    def write(content):
        path = tmp_path / "smtpd.conf"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write
