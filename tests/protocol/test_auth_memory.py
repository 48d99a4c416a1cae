# SPDX-License-Identifier: MIT
"""What is left of a secret once AUTH is answered: nothing, in the memory of a session."""

import time
from pathlib import Path

import pytest
from auth import OFFER, any_, has_secret, passing, plain
from conftest import need_root
from session import Session, tcp_pair
from upstream import Upstream


def memory_of(pid):
    """What can be read and written there."""
    need_root()
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, mode = line.split()[:2]
            if mode.startswith("rw") and "[v" not in line:
                start, end = (int(number, 16) for number in span.split("-"))
                memory.seek(start)
                found.append(memory.read(end - start))
    return b"\0".join(found)


@pytest.mark.parametrize("is_in_pieces", [False, True])
@pytest.mark.parametrize("mode", ["upstream", "any"])
def test_memory_forgets(release, tmp_path, mode, is_in_pieces):
    script = {"AUTH": [None, b"535 5.7.8 no\r\n"]}
    with Upstream(script, extensions=OFFER) as up:
        argv = passing(release, up) if mode == "upstream" else any_(release)
        with Session(argv, tmp_path, pair=tcp_pair()) as session:
            session.begin("EHLO")
            needle = b"EHLO client.example.org"[5:]
            line = b"AUTH PLAIN " + plain() + b"\r\n"
            for i in range(0, len(line), 9) if is_in_pieces else ():
                session.say(line[i : i + 9])
                time.sleep(0.01)
            session.say(b"" if is_in_pieces else line)
            session.expect((None, b"235 "), (b"AUTH PLAIN " + plain(), b"503 "))
            memory = memory_of(session.pid)
            assert needle in memory and not has_secret(memory)
            environ = Path(
                f"/proc/{session.pid}/environ").read_bytes() + Path(
                    f"/proc/{session.pid}/cmdline").read_bytes()
            assert not has_secret(environ + session.err())
            session.end()
