# SPDX-License-Identifier: MIT
"""Running the points of a strategy, side by side."""

import concurrent.futures
import contextlib
import sys

from journald import Journald
from sweeping.destinations import stored
from sweeping.judge import judge
from sweeping.points import Points
from sweeping.runner import Runner

JOURNAL_POINTS = 2000


class Sweep(Points):
    """Runs the points, side by side, and has each of them judged."""

    def __init__(self, folder, smtpd, jobs, is_subset, part):
        super().__init__(folder, smtpd, is_subset)
        self.jobs, self.part = jobs, part
        self.is_over = False

    def work(self, strategy, points):
        """Some of the points, one after the other. Returns (point, outcome) for each."""
        runners, results = {}, []
        try:
            for p in points:
                if self.is_over:
                    break
                session = strategy.sessions()[p.session]
                key = p.session, str(p.pace)
                if key not in runners:
                    runners[key] = Runner(self, strategy, session, p.pace)
                for _ in range(3):
                    out = runners[key].run(p, self.next_token())
                    if not p.call or out.is_reached:
                        break
                if not self.journald:
                    out.complaints = list(judge(strategy, session, p, out))
                    if not out.complaints and len(points) > 1:
                        out.world = out.log = b""
                results.append((p, out))
        finally:
            for runner in runners.values():
                runner.close()
        return results

    def share(self, points, strategy, n):
        n = max(1, min(n, len(points)))
        parts = [points[i::n] for i in range(n)]
        with concurrent.futures.ThreadPoolExecutor(n) as pool:
            try:
                return [r for part in pool.map(lambda part: self.work(strategy, part), parts)
                        for r in part]
            finally:
                # interrupted: the others are not waited for
                self.is_over = sys.exc_info()[0] is not None

    def run(self, strategy, points):
        """All of the points, side by side."""
        results = self.share([p for p in points if not p.is_waiting], strategy, self.jobs)
        return results + self.share([p for p in points if p.is_waiting], strategy, 8 * self.jobs)

    def run_with_journal(self, strategy, points):
        """Its content is looked at afterwards, and is to fit into memory: a new journal for some of
        the points."""
        for at in range(0, len(points), JOURNAL_POINTS):
            with self.journal():
                results = self.run(strategy, points[at : at + JOURNAL_POINTS])
                has = stored(self.journald.entries())
            for p, out in results:
                out.held += has.get(out.token, [])
                out.complaints = list(judge(strategy, strategy.sessions()[p.session], p, out))
                out.held = out.held if out.complaints else []
                yield p, out

    @contextlib.contextmanager
    def journal(self):
        with Journald(self.folder, "Storage=volatile", "RuntimeMaxUse=2G") as self.journald:
            yield
        self.journald = None

    def sweep(self, strategy, kinds, point=None):
        has_journal = strategy.name == "journal"
        with self.journal() if has_journal else contextlib.nullcontext():
            points = [point] if point else list(self.points(strategy,
                                                            kinds))[self.part[0]::self.part[1]]
        return list(self.run_with_journal(strategy, points)) if has_journal else self.run(strategy,
                                                                                          points)
