# SPDX-License-Identifier: MIT
"""The points of a strategy, and how they are spread."""

import errno
import re
import shutil
import threading
from collections import Counter
from pathlib import Path

from sweeping.build import built_helpers
from sweeping.clock import AT_WAIT, leaver
from sweeping.errors import COUNTED, ERRORS, OF_DESCRIPTORS, OF_SANITIZERS, UNKNOWN, call_names
from sweeping.judge import judge
from sweeping.point import BROKER, Point, no_fault
from sweeping.runner import Runner


class Points:
    """What can go wrong in the sessions of a strategy. A session without faults shows it."""

    def __init__(self, folder, smtpd, is_subset):
        self.folder, self.smtpd, self.is_subset = Path(folder), smtpd, is_subset
        self.is_sanitized = b"__asan_init" in Path(smtpd).read_bytes()
        self.names = call_names()
        self.token, self.lock = 0, threading.Lock()
        self.journald = None
        (self.folder / "runs").mkdir()
        for helper in built_helpers():
            shutil.copy(helper, self.folder)

    def next_token(self):
        with self.lock:
            self.token += 1
            return self.token

    def listed(self, strategy, session):
        """The calls of a run without faults, each with whose it is (0, or which child's), its
        __NR_, name and number among those, and whether it is the loader's; the outcome, with the
        number of waits of the session and of the broker."""
        runner = Runner(self, strategy, session)
        out = runner.run(no_fault(session.name, "l"), self.next_token())
        runner.close()
        calls, counts, child, loading = [], Counter(), 0, set()
        for line in out.calls.decode().splitlines():
            kind, number, *rest = line.split()
            if kind == "-":  # the child is born, or it or the program is executed, or begins
                child += number == "child"
                loading = {"child": loading, "exec": {child}, "entry": set()}[number]
                continue
            who = {"p": 0, "b": BROKER, "c": child}[kind]
            counts[who, number] += 1
            out.waits[who] += int(rest[0])
            calls.append((who, number, self.names.get(int(number), f"#{number}"),
                          counts[who, number], who in loading))
        assert calls and not loading, f"where the program begins was not found: {out}"
        return calls, out

    # fault

    def faults_of(self, session, call):
        """All that can happen at a call."""
        who, number, name, n, is_of_loader = call

        def point(kind, argument=0, value=0, what=""):
            return Point(session.name, f"{kind} {who} {number} {n} {argument} {value} - 0 c 0 0 -",
                         name, what,
                         is_of_loader, kind == "p" or (kind in "kK" and who == 0))

        for error in ERRORS.get(name, UNKNOWN):
            kind = "E" if error.startswith("late ") else "e"
            yield point(kind, 0, getattr(errno, error.removeprefix("late ")), error)
            if kind == "e" and error not in ("EINTR", "EAGAIN"):
                yield point(kind, 1 if name in OF_DESCRIPTORS else 2, getattr(errno, error),
                            error + " from now on")
        if name in COUNTED:
            yield point("s", COUNTED[name], 1, "one octet")
            yield point("s", COUNTED[name], -1, "half")
        if name == "brk":
            yield point("s", 0, 0, "not grown")
        yield point("k", what="kill")
        if not name.startswith("exit") and not (who and name == "execve"):
            yield point("K", what="late kill")
        if who:
            yield point("p", what="kill the parent")

    def faults(self, strategy, session):
        calls, golden = self.listed(strategy, session)
        complaints = list(judge(strategy, session, no_fault(session.name),
                                golden)) if not self.journald else []
        assert not complaints and [
            c for _, c in golden.codes] == session.codes, (complaints, golden.codes,
                                                           golden.log[-2000:])
        if self.is_subset and strategy.is_as_exec:
            calls = [call for call in calls if call[0] not in (0, BROKER)]
        points = [p for call in calls for p in self.faults_of(session, call)]
        if self.is_sanitized:  # the sanitizers need their memory, and their start is not ours
            points = [p for p in points if not p.is_of_loader and p.call not in OF_SANITIZERS]
        return points

    def spread(self, strategy, points):
        """Of all sessions of a strategy: each kind of call with each of its faults once, each at
        another place. What fails before the program's first instruction is the same for all
        strategies. Of two strategies each kill in one session."""
        groups = {}
        for p in points:
            if strategy.name == "print" or not p.is_of_loader:
                groups.setdefault((p.call, p.what, p.request.split()[1] != "0", p.is_of_loader),
                                  []).append(p)
        chosen = [group[i * 7919 % len(group)] for i, group in enumerate(groups.values())]
        if strategy.name in ("exec", "proxy") and not self.is_sanitized:
            chosen += [p for p in points if p.is_kill and not p.is_of_loader
                       and p.session == "short" and p not in set(chosen)]
        return chosen

    # cut

    def cuts(self, strategy, session):
        _, golden = self.listed(strategy, session)
        streams = {"c": session.said, "u": [golden.streams["U"]], "m": [golden.streams["L"]]}
        for who in "c" + strategy.servers:
            octets = b"".join(streams[who])
            ends = {m.end() for m in re.finditer(rb"\n", octets)} | {0}
            if who == "c":
                ends = {sum(map(len, session.said[:i])) for i in range(len(session.said) + 1)}
            for at in self.places(who, octets, ends):
                for how in "crhs" if session.is_tcp else "chs":
                    for is_eager in (False, True) if at in ends else (False,):
                        for is_gone in (False, True) if who != "c" and how == "c" else (False,):
                            if who == "c" and at == len(octets) and not is_eager:
                                continue
                            yield Point(session.name,
                                        f"n 0 0 0 0 0 {who} {at} {how} {is_eager:d} {is_gone:d} -",
                                        what=f"{who} at {at}", whose=who, how=how)

    def places(self, who, octets, ends):
        """Each octet; of a large message those at its ends, those around where something is full,
        and some between."""
        n = len(octets)
        if n > 10000:
            edges = [k * 4096 + d for k in range(n // 4096 + 1) for d in range(-2, 3)]
            near = [end + d for end in ends for d in range(-8, 4)]
            return sorted({at for at in (*ends, *near, *edges, *range(0, n, 997)) if 0 <= at <= n})
        return range(n + 1)

    def chosen_cuts(self, strategy, session):
        points = list(self.cuts(strategy, session))
        if not self.is_subset:
            return points
        quiet = [p for p in points if p.how == "s"]
        rest = [p for p in points if p.how != "s"]
        return rest[:: max(1, len(rest) // 60)] + quiet[:: max(1, len(quiet) // 6)]

    # allocation

    def allocations(self, strategy, session):
        if self.is_sanitized:
            return []
        runner = Runner(self, strategy, session)
        golden = runner.run(no_fault(session.name, alloc="0"), self.next_token())
        runner.close()
        # that has more recipients than have a place of their own
        needs_none = strategy.name.startswith("print") and session.name != "rich"
        assert golden.allocations > 0 or needs_none, f"allocations of {strategy.name}, {session.name} are not counted"
        return [Point(session.name, f"n 0 0 0 0 0 - 0 c 0 0 {n}{onward}",
                      what=f"allocation {n}{onward}")
                for n in range(1, golden.allocations + 1) for onward in ("", "+")]  # fmt: skip

    # wait

    def waits(self, strategy, session):
        # there are a few more in some
        runs = [self.listed(strategy, session)[1].waits for _ in range(3)]
        for who in (0, BROKER):
            for what, bits, pace in AT_WAIT:
                numbers = range(1, min(waits[who] for waits in runs) + 1)
                if self.is_subset and numbers:  # each at another place
                    numbers = sorted({numbers[(len(what) + i * 7919) % len(numbers)]
                                      for i in range(2)})
                for n in numbers:
                    request = f"w {who} 0 {n} {bits} {pace} - 0 c 0 0 -"
                    yield Point(session.name, request, "wait", what, whose=leaver(bits))

    # all

    def points(self, strategy, kinds):
        faults = []
        if self.is_subset and strategy.is_as_exec:
            kinds = [kind for kind in kinds if kind == "fault"]
        for session in strategy.sessions().values():
            if self.is_subset and session.is_pipelined and strategy.name not in ("print", "proxy"):
                continue
            if "fault" in kinds:
                faults += self.faults(strategy, session)
            if "cut" in kinds and (session.is_tcp or not self.is_subset):
                yield from self.chosen_cuts(strategy, session)
            if "allocation" in kinds:
                yield from self.allocations(strategy, session)
            if "wait" in kinds and (session.name == "short" or not self.is_subset):
                yield from self.waits(strategy, session)
        yield from self.spread(strategy, faults) if self.is_subset else faults
