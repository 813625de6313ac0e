"""What is known of the content of a root's layers, as reports tell it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.model.content import Soundness

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.content import Sweep, Verdict
    from gcd.model.finding import Finding, FindingId
    from gcd.model.ids import ChainId


class Again(Struct, frozen=True):
    """
    How a damaged layer is fetched again: `commands` for a shell, in their order, each only after the one before it
    succeeded. `containers` are removed with what they wrote; `made` are images that no registry is known to have.
    """

    commands: tuple[str, ...]
    containers: tuple[str, ...]
    made: tuple[str, ...]


class Scrubbed(Struct, frozen=True):
    """
    The verdicts on the layers of `root`, and the last sweep, of which `left` layers with `left_bytes` are to be done.

    `is_under_way`: some process works on it. `layers` counts all, those too whose record cannot be read.
    """

    root: str
    sweep: Sweep | None
    is_under_way: bool
    layers: int
    left: int
    left_bytes: int
    verdicts: Mapping[ChainId, Verdict]
    findings: tuple[Finding, ...]
    again: Mapping[FindingId, Again]

    @property
    def counts(self) -> Mapping[Soundness, int]:
        found = Counter(verdict.soundness for verdict in self.verdicts.values())
        return {soundness: found[soundness] for soundness in Soundness}

    @property
    def pending(self) -> int:
        """The layers without a verdict."""
        return self.layers - len(self.verdicts)

    @property
    def read_bytes(self) -> int:
        """What was read for the verdicts that are known."""
        return sum(verdict.read_bytes for verdict in self.verdicts.values())

    @property
    def oldest_ns(self) -> int | None:
        """When the layer was looked at that was not for longest; None as long as one was never."""
        if self.pending or not self.verdicts:
            return None
        return min(verdict.checked_ns for verdict in self.verdicts.values())
