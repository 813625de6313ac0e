"""
What was heard and not yet taken.

One thread hears while another takes. What comes in a burst is handed out at once, when nothing more was heard for as
long as it takes to settle, but no later than `MOST_WAITS` times that after its first. A burst of more names than
`MOST_NAMES` is remembered as everything: whoever fills a directory cannot fill the memory.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from gcd.model.changed import EVERYTHING, NOTHING, Changed

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcd.watch.places import Place

MOST_NAMES: Final = 8192
"""Names of at most 255 bytes each, over all places."""
MOST_WAITS: Final = 5


class Gathering:
    """`clock` counts seconds and never goes back; `on_first` is called by whoever hears the first of a burst."""

    def __init__(self, settle_seconds: float, *, clock: Callable[[], float], on_first: Callable[[], None]) -> None:
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._on_first = on_first
        self._lock = threading.Lock()
        self._names: dict[Place, set[str]] = {}
        self._count = 0
        self._is_everything = False
        self._first: float | None = None
        self._last = 0.0
        self.events = 0
        self.overflows = 0

    def hear(self, place: Place, name: str) -> None:
        """An entry `name` came, went or was written in `place`."""
        with self._lock:
            self.events += 1
            is_first = self._note(place, name)
        if is_first:
            self._on_first()

    def miss(self) -> None:
        """Something may have happened that was not heard."""
        with self._lock:
            self.overflows += 1
            self._forget_names()
            is_first = self._mark()
        if is_first:
            self._on_first()

    def seconds_left(self) -> float | None:
        """Until what was heard has settled, 0 or less once it has; None if nothing was heard."""
        with self._lock:
            if self._first is None:
                return None
            due = min(self._last + self._settle_seconds, self._first + MOST_WAITS * self._settle_seconds)
            return due - self._clock()

    def take(self) -> Changed:
        """All that was heard, settled or not; it is forgotten here."""
        with self._lock:
            names, is_everything = self._names, self._is_everything
            self._names, self._count, self._is_everything, self._first = {}, 0, False, None
        if is_everything:
            return EVERYTHING
        changed = NOTHING
        for place, heard in names.items():
            changed |= place.told(frozenset(heard - place.parts))
        return changed

    def _note(self, place: Place, name: str) -> bool:
        if not self._is_everything:
            names = self._names.setdefault(place, set())
            if name not in names and self._count == MOST_NAMES:
                self.overflows += 1
                self._forget_names()
            elif name not in names:
                names.add(name)
                self._count += 1
        return self._mark()

    def _forget_names(self) -> None:
        self._names, self._count, self._is_everything = {}, 0, True

    def _mark(self) -> bool:
        """Whether this is the first of a burst."""
        self._last = self._clock()
        is_first = self._first is None
        if is_first:
            self._first = self._last
        return is_first
