"""The quarantine in figures. An entry is measured once: what is closed does not change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.entry import FOLDERS, EntryState
from gcd.model.published import Holding
from gcd.model.reading import value_of
from gcd.root.tree import open_root
from gcd.root.usage import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from gcd.model.entry import EntryId
    from gcd.model.facts import QuarantineEntry


class Holdings:
    """The quarantine of the root at `path`, in which an entry is kept for `retention`."""

    def __init__(self, path: str, retention: timedelta) -> None:
        self._path = path
        self._retention = retention
        self._measured: dict[tuple[EntryId, EntryState], int] = {}

    def taken(self, entries: Mapping[EntryId, QuarantineEntry], pulse: Callable[[], None]) -> Holding:
        """The figures of `entries`, as the last reading found them."""
        new = {
            (name, entry.state): (f"{layout.GCD}/{FOLDERS[entry.state]}/{name}",)
            for name, entry in entries.items()
            if entry.state is not EntryState.CLOSED or (name, entry.state) not in self._measured
        }
        there = {(name, entry.state) for name, entry in entries.items()}
        self._measured = {key: size for key, size in self._measured.items() if key in there}
        if new:
            with open_root(self._path) as root:
                usages = measure(root, new, pulse=pulse)
            self._measured |= {key: usage.disk_bytes for key, usage in usages.items()}
        made = [manifest.made_ns for entry in entries.values() if (manifest := value_of(entry.manifest)) is not None]
        oldest_ns = min(made, default=None)
        return Holding(sum(self._measured.values()), len(entries), oldest_ns, self._retention.total_seconds())
