"""
How fast a scrub may go: a limit of bytes a second, and the pressure on disks that others feel.

The kernel's account of stalls (``/proc/pressure/io``) does not tell whose they are, and a scrub that waits for a disk
is one of them. So others are asked while it stands still: it stops for a moment, and goes on only if nobody waits then.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PRESSURE = "/proc/pressure/io"
LOOKED_EVERY_SECONDS = 5.0
STOOD_STILL_SECONDS = 0.25
STALLED = 0.1
"""The part of a time in which somebody waits for a disk, above which a scrub gives way."""
GIVES_WAY_SECONDS = 30.0
"""How long it stands still at most, before it goes on for `LOOKED_EVERY_SECONDS`: or it would never end."""
_US = 1e6


class Stopped(Exception):
    """Nothing is read any more at this pace."""


class Pace:
    """
    To be told of all bytes before they are read, by any thread (of those that the page cache gave, right after); it
    returns when they may be. `rate` is in bytes a second, None: as fast as it goes. `pressure` is the kernel's file, ""
    where others are not minded.

    After `stop` nobody reads on: whoever asks, or waits, has `Stopped` raised.
    """

    def __init__(
        self,
        rate: int | None = None,
        *,
        pressure: str = "",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._rate = rate
        self._pressure = pressure
        self._stopped = threading.Event()
        self._clock, self._sleep = clock, sleep or self._stopped.wait
        self._lock = threading.Lock()
        self._free_at = clock()
        self._looked_at, self._looked = clock(), self._stalls()

    def stop(self) -> None:
        self._stopped.set()

    def spend(self, size: int) -> None:
        if self._rate is not None or self._pressure:
            self._wait(size)
        if self._stopped.is_set():
            raise Stopped

    def _wait(self, size: int) -> None:
        with self._lock:
            if self._pressure and self._clock() - self._looked_at >= LOOKED_EVERY_SECONDS:
                self._give_way()
            if self._rate is not None:
                now = self._clock()
                self._free_at = max(self._free_at, now - 1.0) + size / self._rate
                if self._free_at > now:
                    self._sleep(self._free_at - now)

    def _give_way(self) -> None:
        """Stand still as long as somebody else waits for a disk."""
        since, before = self._looked_at, self._looked
        now, stalls = self._clock(), self._stalls()
        until = now + GIVES_WAY_SECONDS
        is_stalled = (stalls - before) / _US > STALLED * (now - since)
        while is_stalled and now < until and not self._stopped.is_set():
            began, before = now, stalls
            self._sleep(STOOD_STILL_SECONDS)
            now, stalls = self._clock(), self._stalls()
            is_stalled = (stalls - before) / _US > STALLED * (now - began)
        self._looked_at, self._looked = now, stalls

    def _stalls(self) -> float:
        """The microseconds since the boot in which some process waited for a disk; 0 where nobody counts them."""
        try:
            with Path(self._pressure).open(encoding="ascii") as file:
                line = next(iter(file), "")
            return float(line.rpartition("total=")[2])
        except (OSError, ValueError):
            return 0.0
