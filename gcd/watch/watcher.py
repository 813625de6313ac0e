"""
What changed in a root since it was last asked, as the daemon asks it.
"""

from __future__ import annotations

import math
import os
import select
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from gcd.model.changed import NOTHING, Changed
from gcd.model.layout import OVERLAY2
from gcd.watch.gathering import Gathering
from gcd.watch.watches import Watches

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

REVIEW_SECONDS: Final = 2.0


class Watcher:
    """
    Watches the root at the path `root`, from ``with`` on; of what was there before, nothing is said.

    One thread takes; `wake` may be called by any, and by a signal handler. Nothing here raises because of what the root
    is or is not: where it cannot be watched, `is_watching` says so and `take` tries again.

    Every `review_seconds`, `take` looks for what the kernel does not tell: a root that was moved with a directory above
    it, that was covered by a mount, or is back.
    """

    def __init__(
        self,
        root: str,
        *,
        driver: str = OVERLAY2,
        settle_seconds: float = 0.2,
        review_seconds: float = REVIEW_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._bell = -1
        self._gathering = Gathering(settle_seconds, clock=clock, on_first=self._ring)
        self._watches = Watches(root, driver, self._gathering, self._doubt)
        self._review_seconds = review_seconds
        self._is_doubtful = False
        self._is_woken = False
        self._next_review = 0.0

    def __enter__(self) -> Self:
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._review()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watches.close()
        bell, self._bell = self._bell, -1
        os.close(bell)

    @property
    def events(self) -> int:
        """Hints heard so far."""
        return self._gathering.events

    @property
    def overflows(self) -> int:
        """How often hints may have been missed: the kernel's queue or a burst overflowed, or a watch was lost."""
        return self._gathering.overflows

    @property
    def is_watching(self) -> bool:
        """False while some place that is there is not watched: the limits of inotify are exhausted, or no rights."""
        return self._watches.are_complete

    def take(self, timeout_seconds: float) -> Changed:
        """
        The next burst of changes once it has settled; NOTHING after `timeout_seconds`, or when woken. What had not
        settled by then is kept for the next time.
        """
        end = self._clock() + timeout_seconds
        while True:
            if self._is_doubtful or self._clock() >= self._next_review:
                self._review()
            settling = self._gathering.seconds_left()
            if settling is not None and settling <= 0:
                changed = self._gathering.take()
                if changed:
                    return changed
                continue
            left = end - self._clock()
            if self._is_woken or left <= 0:
                self._is_woken = False
                return NOTHING
            self._sleep(min(left, self._next_review - self._clock(), math.inf if settling is None else settling))

    def wake(self) -> None:
        """Let `take`, this one or the next, come back at once."""
        self._is_woken = True
        self._ring()

    def _doubt(self) -> None:
        self._is_doubtful = True
        self._ring()

    def _ring(self) -> None:
        if self._bell >= 0:
            os.eventfd_write(self._bell, 1)

    def _review(self) -> None:
        self._is_doubtful = False
        self._watches.review()
        self._next_review = self._clock() + self._review_seconds

    def _sleep(self, seconds: float) -> None:
        bell = select.poll()
        bell.register(self._bell, select.POLLIN)
        bell.poll(max(0, math.ceil(seconds * 1000)))
        with suppress(BlockingIOError):
            os.eventfd_read(self._bell)
