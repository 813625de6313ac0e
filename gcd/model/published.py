"""
What the daemon knows at one moment and shows: its metrics, its page, its API and its status line are all made of one
`Published`, which is replaced as a whole and never changed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.audit import ActKind
    from gcd.model.plan import Outcome, Reason
    from gcd.model.result import RunResult


class LayerState(StrEnum):
    """What is known of the content of a layer; each layer that there is has one of them."""

    VERIFIED = "verified"
    DAMAGED = "damaged"
    """Whenever that was found: damage does not heal with time."""
    UNVERIFIABLE = "unverifiable"
    PENDING = "pending"
    """Never looked at, or longer ago than the period in which all layers are to be, and not known to be damaged."""


class Scope(StrEnum):
    """How much of a root a check read."""

    FULL = "full"
    INCREMENTAL = "incremental"


BUCKETS_SECONDS = (0.005, 0.02, 0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
"""The upper bounds of the durations of checks that are counted together; beyond the last there is one more."""


class Durations(Struct, frozen=True):
    """A histogram: how many checks ended within each of `BUCKETS_SECONDS` (not cumulated), beyond them, and in all."""

    counts: tuple[int, ...] = (0,) * (len(BUCKETS_SECONDS) + 1)
    sum_seconds: float = 0.0


class Tally(Struct, frozen=True):
    """What was counted since the daemon began. `reclaimed_bytes` are those that purges and releases freed."""

    acts: Mapping[tuple[ActKind, Outcome], int]
    refusals: Mapping[Reason, int]
    durations: Mapping[Scope, Durations]
    reclaimed_bytes: int = 0
    failures: int = 0
    """Checks and runs that ended with an error."""
    watch_events: int = 0
    watch_overflows: int = 0
    scrubbed_bytes: int = 0
    """What scrubs have read for the layers that they were done with, whoever began them."""


class Holding(Struct, frozen=True):
    """
    The quarantine: bytes of disk usage, entries, when the oldest was moved (wall clock; None without any), and how long
    one is kept.
    """

    disk_bytes: int = 0
    entries: int = 0
    oldest_ns: int | None = None
    retention_seconds: float = 0.0


class Scrubbing(Struct, frozen=True):
    """
    What scrubs know of the layers that there are. `oldest_ns` is when the layer was looked at that was not for longest,
    of those that ever were (wall clock; None: none was). `progress` is the part of the last scrub that is done, from 0
    to 1 by bytes, 0 before the first. Within `period_seconds` all layers are to be looked at, 0: nobody wants that.
    Where the verdicts cannot be read, `is_readable` is false, and the rest is of the last time that they could.
    """

    layers: Mapping[LayerState, int] = field(default_factory=dict)
    oldest_ns: int | None = None
    progress: float = 0.0
    period_seconds: float = 0.0
    is_readable: bool = True


class Point(Struct, frozen=True):
    """One figure of the history: the orphaned bytes that a check found."""

    checked_ns: int
    orphaned_bytes: int


class Published(Struct, frozen=True):
    """
    `result` is the last one, whatever scope it had; `checked_ns` says when each scope last came to an end (wall clock).
    `reclaimable_bytes` are those that the policy would free or move now. `is_watching` is false where the root is
    looked at by the clock alone; `trouble` is one sentence about what keeps the daemon from its work, or "".
    `has_failed` says that the last look ended with an error, so that all this is of the one before. `history` is in the
    order of time.
    """

    result: RunResult
    tally: Tally
    checked_ns: Mapping[Scope, int]
    reclaimable_bytes: int = 0
    holding: Holding = Holding()
    history: tuple[Point, ...] = ()
    is_watching: bool = True
    trouble: str = ""
    has_failed: bool = False
    scrubbing: Scrubbing = Scrubbing()
