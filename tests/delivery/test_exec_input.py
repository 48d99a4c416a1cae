# SPDX-License-Identifier: MIT
"""Strategy exec: the message on the program's standard input."""

import hashlib
import json

import pytest
from bad_days import large
from conftest import private_mounts
from hooks import DELIVERED, READER, exec_command, on_the_wire, read_two, script, text_of
from hooks import seen  # noqa: F401 (a fixture)
from session import PATIENCE, PYTHON, Session, environment


def test_standard_input(smtpd, tmp_path, seen):
    """The message's octets, from its beginning, as often as one likes. In one session, small ones
    after large ones."""
    program = script(tmp_path, READER, interpreter=PYTHON)
    sizes = [1, 0, 700, 65535, 65536, 65537, 131071, 131072, 131073, 30_000_000, 700]
    with Session(exec_command(smtpd, program), tmp_path,
                 env=environment(SEEN=str(seen))) as session:
        session.deadline += PATIENCE
        session.begin("EHLO")
        for n, size in enumerate(sizes):
            text = text_of(size)
            assert len(text) == size
            assert session.send_message(on_the_wire(text),
                                        sender=b"%d@example.org" % n) == DELIVERED
            with open(seen / f"{n}@example.org") as file:
                found = json.load(file)
            assert found == [0, size, hashlib.sha256(text).hexdigest(), True, True,
                             str(size + text.count(b"\n"))]
        assert session.end() == 0


@pytest.mark.parametrize("body",
                         ["exit 0", "exec 0<&-; exit 0", "exec 0<&- 1>&- 2>&-; exit 0",
                          "head -c 1 >/dev/null", ": >&0"],
                         ids=["reads-nothing", "closes-stdin", "closes-all", "reads-one-octet",
                              "writes-to-stdin"])
@pytest.mark.parametrize("size", [100, 3_000_000])
def test_hook_that_does_not_read(smtpd, tmp_path, body, size):
    with Session(exec_command(smtpd, script(tmp_path, body)), tmp_path) as session:
        session.begin("EHLO")
        for _ in range(3):
            assert session.send_message(large(size)) == DELIVERED
        assert session.end() == 0


# Uses standard input as no hook should, in whatever ways the system lets it; and then as it may.
VANDAL = """import contextlib, fcntl, os
for spoil in (lambda: os.write(0, b"spoilt"), lambda: os.ftruncate(0, 0), lambda: os.truncate("/proc/self/fd/0", 3),
              lambda: os.pwrite(os.open("/proc/self/fd/0", os.O_RDWR), b"spoilt", 0),
              lambda: os.posix_fallocate(0, 0, 1 << 20), lambda: fcntl.fcntl(0, fcntl.F_SETFL, os.O_RDWR)):
    with contextlib.suppress(OSError):
        spoil()
os.lseek(0, 7, os.SEEK_SET)
with open(os.environ["SEEN"] + "/modes", "a") as file:
    print(fcntl.fcntl(0, fcntl.F_GETFL) & os.O_ACCMODE, file=file)"""


def test_standard_input_is_read_only(smtpd, tmp_path, seen):
    """It is a message in memory; a large one, in a file, belongs to the user that the hook runs
    as."""
    program = script(tmp_path, VANDAL, interpreter=PYTHON)
    with Session(exec_command(smtpd, program), tmp_path,
                 env=environment(SEEN=str(seen))) as session:
        session.begin("EHLO")
        for size in (100, 300_000):
            assert session.send_message(on_the_wire(text_of(size))) == DELIVERED
        assert session.end() == 0
    assert (seen / "modes").read_text().split() == ["0", "0"]


@pytest.mark.parametrize("size", [100, 300_000])
def test_no_proc(release, tmp_path, seen, size):
    """Without /proc the hook gets a copy."""
    program = script(tmp_path, READER, interpreter=PYTHON)
    argv = [*private_mounts(), "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh",
            *exec_command(release, program)]
    read_two(argv, tmp_path, seen, size)
