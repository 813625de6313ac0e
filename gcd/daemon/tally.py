"""What is counted since the daemon began: mutable here, and a `Tally` for those who see it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

from gcd.model.audit import ActKind
from gcd.model.plan import Outcome, Reason
from gcd.model.published import BUCKETS_SECONDS, Durations, Scope, Tally

if TYPE_CHECKING:
    from gcd.model.audit import Act

FREEING = frozenset({ActKind.PURGE, ActKind.RELEASE})


class Counts:
    def __init__(self) -> None:
        self._acts: Counter[tuple[ActKind, Outcome]] = Counter()
        self._refusals: Counter[Reason] = Counter()
        self._durations = {scope: [0] * (len(BUCKETS_SECONDS) + 1) for scope in Scope}
        self._seconds = dict.fromkeys(Scope, 0.0)
        self._reclaimed_bytes = 0
        self.failures = 0
        self.watch_events = 0
        self.watch_overflows = 0
        self.scrubbed_bytes = 0

    def checked(self, scope: Scope, seconds: float) -> None:
        self._durations[scope][bisect_left(BUCKETS_SECONDS, seconds)] += 1
        self._seconds[scope] += seconds

    def acted(self, act: Act) -> None:
        self._acts[act.kind, act.outcome] += 1
        if act.outcome is Outcome.REFUSED and act.reason is not None:
            self._refusals[act.reason] += 1
        if act.outcome is Outcome.DONE and act.kind in FREEING:
            self._reclaimed_bytes += act.disk_bytes

    def refused(self) -> None:
        """A whole run was refused."""
        self._refusals[Reason.RUN_REFUSED] += 1

    def taken(self) -> Tally:
        return Tally(
            acts=dict(self._acts),
            refusals=dict(self._refusals),
            durations={s: Durations(tuple(counts), self._seconds[s]) for s, counts in self._durations.items()},
            reclaimed_bytes=self._reclaimed_bytes,
            failures=self.failures,
            watch_events=self.watch_events,
            watch_overflows=self.watch_overflows,
            scrubbed_bytes=self.scrubbed_bytes,
        )
