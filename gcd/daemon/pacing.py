"""
When to look next. Intervals are counted by the clock of the boot, which nobody can set and which goes on while the host
sleeps; the wall clock only tells when something was.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 300.0

POLL_SECONDS = 60.0
"""How often a root that cannot be watched is read in full, if that is quick."""

POLL_SHARE = 50
"""A root that cannot be watched is not read for more than one part in so many of the time."""

FIRST_YOUNG_SECONDS = 0.5
LONGEST_YOUNG_SECONDS = 30.0
LONGEST_DOUBT_SECONDS = 8.0

JUMP_NS = 60_000_000_000
"""The wall clock was set if it and the boot's clock went apart by more than this."""


def boot_seconds() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Schedule:
    """
    When the next full look is due: `interval_seconds` after the last one, up to a tenth sooner; of a root that is not
    watched, after a minute, or so much later that looking takes a fiftieth of the time.
    """

    def __init__(
        self,
        interval_seconds: float,
        *,
        clock: Callable[[], float] = boot_seconds,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._interval = interval_seconds
        self._clock = clock
        self._jitter = jitter
        self._looked = clock()
        self._wait = 0.0
        self._took = 0.0

    def looked(self, took_seconds: float) -> None:
        """A full look came to its end, after `took_seconds`."""
        self._looked = self._clock()
        self._took = took_seconds
        self._wait = self._interval * (1 - self._jitter() / 10)

    def seconds_left(self, *, is_watching: bool) -> float:
        """Until the next full look is due; 0 if it is."""
        wait = self._wait if is_watching else min(self._wait, max(POLL_SECONDS, POLL_SHARE * self._took))
        return max(0.0, self._looked + wait - self._clock())


class Rest:
    """How long to rest after an error: longer after each further one, up to five minutes, and never beyond `most`."""

    def __init__(self, most_seconds: float) -> None:
        self._most = min(most_seconds, LONGEST_REST_SECONDS)
        self._next = FIRST_REST_SECONDS

    def after_an_error(self) -> float:
        rest = min(self._next, self._most)
        self._next = min(self._next * 2, self._most)
        return rest

    def all_is_well(self) -> None:
        self._next = FIRST_REST_SECONDS


class Turn:
    """
    Once in an interval, and at the beginning, it is time to act. `refusal` is why nothing, or nothing more, was done
    when it last was, in one clause; "" if nothing was against it.
    """

    def __init__(self, interval_seconds: float, *, clock: Callable[[], float] = boot_seconds) -> None:
        self._clock = clock
        self._least = interval_seconds * 0.8
        self._last = float("-inf")
        self.refusal = ""

    def comes(self) -> bool:
        """Whether it is time; if so, the next time is an interval later."""
        now = self._clock()
        if now - self._last < self._least:
            return False
        self._last = now
        return True


class Patience:
    """How long to wait for newborn things to be complete: longer each time that the same ones are not."""

    def __init__(self) -> None:
        self._young: object = None
        self._wait = FIRST_YOUNG_SECONDS

    def wait_for(self, young: object) -> float:
        if young == self._young:
            self._wait = min(self._wait * 2, LONGEST_YOUNG_SECONDS)
        else:
            self._young = young
            self._wait = FIRST_YOUNG_SECONDS
        return self._wait


class Doubt:
    """
    When to look again at an engine that is in doubt, as one is that starts or stops: after half a second, then after
    twice as long each time. A doubt that stays is no passing one: after eight seconds it is left to the next full look.
    """

    def __init__(self) -> None:
        self._doubts: tuple[str, ...] = ()
        self._wait = FIRST_YOUNG_SECONDS

    def wait_for(self, doubts: tuple[str, ...]) -> float:
        """Infinity where there is nothing to wait for."""
        self._wait = self._wait * 2 if doubts == self._doubts else FIRST_YOUNG_SECONDS
        self._doubts = doubts
        return self._wait if doubts and self._wait <= LONGEST_DOUBT_SECONDS else float("inf")


class ClockWatch(Struct):
    """Whether the wall clock was set since it was last asked."""

    apart_ns: int

    @classmethod
    def begin(cls) -> ClockWatch:
        return cls(_apart_ns())

    def was_set(self) -> bool:
        now_ns = _apart_ns()
        jumped = abs(now_ns - self.apart_ns) > JUMP_NS
        self.apart_ns = now_ns
        return jumped


def _apart_ns() -> int:
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
