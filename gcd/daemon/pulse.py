"""
The sign of life that systemd waits for, given by the loop itself: a loop that hangs gives none and is killed, a slow
one gives it between the parts of its work and is not.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcd.daemon.signals import Flags
    from gcd.notify import Notifier

IDLE_SECONDS = 10.0
"""How long the loop waits at most before it looks whether the engine and the clock are what they were."""

BEATS = 4
"""Signs of life within the time that systemd waits for one."""


class Pulse:
    """To be called as often as one likes: between two parts of anything. Raises `Stopped` if the daemon is to end."""

    def __init__(self, notifier: Notifier, flags: Flags, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._notifier = notifier
        self._flags = flags
        self._monotonic = monotonic
        limit = notifier.watchdog_seconds
        self._every = limit / BEATS if limit is not None else None
        self._last = float("-inf")
        self.longest_wait = IDLE_SECONDS if self._every is None else min(IDLE_SECONDS, self._every)

    def __call__(self, *_progress: object) -> None:
        self.beat()
        self._flags.demand_going_on()

    def beat(self) -> None:
        """The sign of life alone, in the midst of what is brought to its end: whoever stops it bounds that."""
        if self._every is not None:
            now = self._monotonic()
            if now - self._last >= self._every:
                self._last = now
                self._notifier.alive()
