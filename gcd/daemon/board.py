"""
The board: what the daemon shows, replaced as a whole whenever anything changes, so that no reader sees half of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import structlog
from msgspec.structs import replace

from gcd.daemon.tally import Counts
from gcd.daemon.telling import status_line, trouble_line, why_of
from gcd.model.published import Published
from gcd.report.printable import printable

if TYPE_CHECKING:
    from gcd.model.published import Holding, Point, Scope, Scrubbing
    from gcd.model.result import RunResult
    from gcd.notify import Notifier


class Look(NamedTuple):
    result: RunResult
    scope: Scope
    took_seconds: float


class Board:
    """`latest` is None until a look at the root came to its end."""

    def __init__(self, notifier: Notifier) -> None:
        self.counts = Counts()
        self.latest: Published | None = None
        self._notifier = notifier
        self._checked_ns: dict[Scope, int] = {}
        self._is_watching = True
        self._trouble = ""

    def show(
        self,
        look: Look,
        *,
        reclaimable_bytes: int,
        holding: Holding,
        history: tuple[Point, ...],
        is_watching: bool,
        trouble: str,
        scrubbing: Scrubbing,
    ) -> None:
        """What `look` came to. It is counted now, so that no reader sees its count without its figures."""
        self.counts.checked(look.scope, look.took_seconds)
        self._checked_ns = {**self._checked_ns, look.scope: look.result.checked_ns}
        self.latest = Published(
            result=look.result,
            tally=self.counts.taken(),
            checked_ns=self._checked_ns,
            reclaimable_bytes=reclaimable_bytes,
            holding=holding,
            history=history,
            is_watching=is_watching,
            trouble=trouble,
            scrubbing=scrubbing,
        )
        self._notifier.status(status_line(self.latest))

    def fail(self, error: Exception) -> None:
        """
        A look, or what was done after it, ended with `error`: counted and shown, and said unless it was said last.
        What was seen last is still shown.
        """
        why, fault = why_of(error)
        if why != self._trouble:
            structlog.get_logger().error("trouble", why=printable(why), exc_info=fault)
        self._trouble = why
        self.counts.failures += 1
        if self.latest is not None:
            self.latest = replace(self.latest, tally=self.counts.taken(), trouble=why, has_failed=True)
        self._notifier.status(trouble_line(why))

    def all_is_well(self) -> None:
        """A look came to its end, with all that follows from it."""
        if self._trouble:
            structlog.get_logger().info("trouble_over", why=printable(self._trouble))
        self._trouble = ""

    def scrub(self, scrubbing: Scrubbing) -> None:
        """What scrubs know may have changed without a look."""
        if self.latest is not None and self.latest.scrubbing != scrubbing:
            self.latest = replace(self.latest, tally=self.counts.taken(), scrubbing=scrubbing)
            self._notifier.status(status_line(self.latest))

    def watch(self, *, is_watching: bool) -> None:
        """What was counted, or whether the root is watched, may have changed without a look."""
        if is_watching != self._is_watching:
            self._is_watching = is_watching
            log = structlog.get_logger()
            if is_watching:
                log.info("watching_again")
            else:
                log.warning("not_watching", why="the limits of inotify are exhausted or a watch was lost")
        latest = self.latest
        if latest is not None:
            tally = self.counts.taken()
            if (tally, is_watching) != (latest.tally, latest.is_watching):
                self.latest = replace(latest, tally=tally, is_watching=is_watching)
                self._notifier.status(status_line(self.latest))
