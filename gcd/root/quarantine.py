"""Reading the quarantine, where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.inventory import Coverage, SourceState
from gcd.model.reading import Absent, Present
from gcd.root.tree import source_state

if TYPE_CHECKING:
    from gcd.model.entry import EntryId
    from gcd.model.facts import QuarantineEntry
    from gcd.root.tree import Directory


def read_quarantine(
    root: Directory, driver: str = layout.OVERLAY2
) -> tuple[dict[EntryId, QuarantineEntry], SourceState]:
    """All entries, and how completely they were seen; a root without a quarantine has been seen whole."""
    opened = root.open(layout.GCD)
    if isinstance(opened, Absent):
        return {}, SourceState(Coverage.OK)
    if not isinstance(opened, Present):
        return {}, source_state(layout.GCD, opened)
    from gcd.root.entries import read_entries  # noqa: PLC0415 - manifests are for roots of which something was taken

    with opened.value as place:
        return read_entries(place, driver)
