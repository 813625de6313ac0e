"""
What scrubs know of the layers of the root under watch, read again from the state where that was written to.

Whoever scrubs, the daemon's own process, a timer or a person, keeps a verdict when a layer is done; here it is seen
within seconds, counted, and said where it is damage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from gcd.commands.contents import known_in
from gcd.model.content import Soundness
from gcd.scrubs import Known, extents, in_force, scrubbing_of
from gcd.state import FILE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gcd.model.facts import LayerRecord
    from gcd.model.ids import ChainId
    from gcd.model.plan import Identity
    from gcd.model.published import Scrubbing
    from gcd.scrubs import Extent


class Register:
    """`read_bytes` are those that scrubs read for the verdicts that came since this began."""

    def __init__(self) -> None:
        self.read_bytes = 0
        self.known = Known()
        self._place: tuple[Path, Identity] | None = None
        self._stamp: tuple[int, ...] | None = None
        self._is_readable = True
        self._has_read = False
        self._layers: Mapping[ChainId, LayerRecord] | None = None
        self._extents: dict[ChainId, Extent] = {}
        self._told: frozenset[ChainId] = frozenset()
        self._last: Scrubbing | None = None

    def on(self, directory: Path, identity: Identity) -> None:
        """From now on it is that of the root of `identity`, with the state in `directory`."""
        if self._place != (directory, identity):
            self._place, self._has_read = (directory, identity), False
            self.known, self._layers, self._told = Known(), None, frozenset()
            self._read()

    def ask(self) -> bool:
        """Read what is kept if it may have changed; whether it has."""
        return self._stamped() != self._stamp and self._read()

    def _read(self) -> bool:
        """Whether it is other than before."""
        assert self._place is not None
        self._stamp = self._stamped()  # before it is read: what is written meanwhile is read the next time
        known = known_in(*self._place, self.known)
        if known is self.known and self._is_readable:
            return False
        self._last, self._is_readable = None, known is not None
        if known is not None:
            if self._has_read:
                self.read_bytes += _read_between(self.known, known)
            self.known, self._has_read = known, True
        return True

    def _stamped(self) -> tuple[int, ...] | None:
        """What is another once something was written to the state; None without any, or where nobody may know."""
        assert self._place is not None
        try:
            status = (self._place[0] / FILE).stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def scrubbing(
        self, layers: Mapping[ChainId, LayerRecord], now_ns: int, period_seconds: float, *, is_anew: bool
    ) -> Scrubbing:
        """
        What is known of `layers`. As time goes by, verdicts become too old: that is seen where it `is_anew`, or if
        anything else changed.
        """
        if is_anew:
            self._read()
            self._last = None
        if self._layers is not layers:
            self._layers, self._extents, self._last = layers, extents(layers), None
        if self._last is None or self._last.period_seconds != period_seconds:
            found = scrubbing_of(self.known, self._extents, now_ns, period_seconds)
            self._last = replace(found, is_readable=self._is_readable)
            self._tell()
        return self._last

    def _tell(self) -> None:
        """Once of each layer that is damaged, and once when it no longer is."""
        verdicts = in_force(self.known, self._extents)
        damaged = frozenset(c for c, glance in verdicts.items() if glance.soundness is Soundness.DAMAGED)
        log = structlog.get_logger()
        for chain in sorted(damaged - self._told):
            log.error("layer_damaged", layer=chain, what_to_do="gcd scrub status says what, and how it is mended")
        for chain in sorted(self._told - damaged):
            log.info("layer_not_damaged", layer=chain)
        self._told = damaged


def _read_between(before: Known, after: Known) -> int:
    """The bytes that were read for the verdicts that are in `after` alone."""
    return sum(glance.read_bytes for chain, glance in after.verdicts.items() if before.verdicts.get(chain) != glance)
