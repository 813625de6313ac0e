"""What a daemon publishes, made by hand: quiet by default, every field can be said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from support.results import NOON_NS, damaged_host, result

from gcd.model.audit import ActKind
from gcd.model.plan import Outcome, Reason
from gcd.model.published import (
    BUCKETS_SECONDS,
    Durations,
    Holding,
    LayerState,
    Point,
    Published,
    Scope,
    Scrubbing,
    Tally,
)

if TYPE_CHECKING:
    from gcd.model.result import RunResult

MINUTE_NS = 60_000_000_000
NOTHING_COUNTED = Tally({}, {}, {})
SCRUBBED = Scrubbing(
    layers={
        LayerState.VERIFIED: 7,
        LayerState.DAMAGED: 1,
        LayerState.UNVERIFIABLE: 2,
        LayerState.PENDING: 2,
    },
    oldest_ns=NOON_NS - 20 * 1440 * MINUTE_NS,
    progress=0.25,
    period_seconds=30 * 86400,
)


def published(of: RunResult | None = None, **fields: Any) -> Published:
    """What is published of `of`, a healthy host by default, right after the first full look."""
    shown = of or result()
    return replace(Published(shown, NOTHING_COUNTED, {Scope.FULL: shown.checked_ns}), **fields)


def busy_daemon() -> Published:
    """A bit of everything, on a damaged host."""
    return published(
        damaged_host(),
        tally=Tally(
            acts={(ActKind.QUARANTINE, Outcome.DONE): 12, (ActKind.REPAIR, Outcome.REFUSED): 2},
            refusals={Reason.IN_USE: 2},
            durations={
                Scope.FULL: Durations((0, 1, 40, 2, *(0,) * (len(BUCKETS_SECONDS) - 3)), 2.5),
                Scope.INCREMENTAL: Durations((340, *(0,) * len(BUCKETS_SECONDS)), 0.75),
            },
            reclaimed_bytes=3 * 1024**3,
            failures=1,
            watch_events=12_034,
            watch_overflows=1,
            scrubbed_bytes=5 * 1024**3,
        ),
        checked_ns={Scope.FULL: NOON_NS - 7 * MINUTE_NS, Scope.INCREMENTAL: NOON_NS},
        reclaimable_bytes=1_303 * 1024**2,
        holding=Holding(812 * 1024**2, 12, NOON_NS - 3 * 1440 * MINUTE_NS, 14 * 86400),
        scrubbing=SCRUBBED,
        history=tuple(Point(NOON_NS - (48 - n) * 60 * MINUTE_NS, (n % 13) * 97 * 1024**2) for n in range(49)),
    )
