"""
What ``distribution/`` remembers of registries.

Sources: moby ``distribution/metadata/metadata.go`` and ``v2_metadata_service.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.formats.distribution import check_diff_id, check_sources
from gcd.model import layout
from gcd.model.facts import DistributionRecord, FileType
from gcd.model.inventory import Coverage, SourceState
from gcd.model.reading import Absent, Present, Reading
from gcd.root.tree import combined, listing_state, source_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcd.root.tree import Directory

DISTRIBUTION_LIMIT = 1 << 20
"""The engine keeps at most 50 sources of a layer, some 200 bytes each."""

_DISTRIBUTION: Mapping[str, Callable[[bytes], None]] = {
    "diffid-by-digest": check_diff_id,
    "v2metadata-by-diffid": check_sources,
}


class Distribution(Struct, frozen=True):
    """
    What ``distribution/`` holds: `unreadable` records by path, the diff ids of `layers` that registries have, and the
    paths of `temporaries`, which are relative to the root.
    """

    unreadable: Mapping[str, DistributionRecord]
    layers: frozenset[str]
    temporaries: tuple[str, ...]
    state: SourceState


def read_distribution(root: Directory, driver: str) -> Distribution:
    """Each kind of record has a directory that is made when the first is needed; one that is not there holds none."""
    home = layout.distribution(driver)
    opened = root.open_path(home)
    if not isinstance(opened, Present):
        return Distribution({}, frozenset(), (), source_state(home, opened))
    walk = _Walk({}, set(), [], [SourceState(Coverage.OK)])
    with opened.value as directory:
        for kind, check in _DISTRIBUTION.items():
            for algorithm in walk.list(directory, kind, home):
                path = f"{kind}/{algorithm}"
                walk.visit(directory, path, f"{home}/{path}", check)
    return Distribution(walk.unreadable, frozenset(walk.layers), tuple(walk.temporaries), combined(*walk.states))


class _Walk(Struct, frozen=True):
    unreadable: dict[str, DistributionRecord]
    layers: set[str]
    temporaries: list[str]
    states: list[SourceState]

    def list(self, parent: Directory, name: str, home: str) -> tuple[str, ...]:
        """The directories in the directory `name`."""
        opened = parent.open(name)
        if not isinstance(opened, Present):
            self._note(f"{home}/{name}", opened)
            return ()
        with opened.value as directory:
            listing = directory.list()
        self.states.append(listing_state(f"{home}/{name}", listing))
        return tuple(name for name, kind in listing.entries.items() if kind is FileType.DIRECTORY)

    def visit(self, home: Directory, path: str, shown: str, check: Callable[[bytes], None]) -> None:
        opened = home.open_path(path)
        if not isinstance(opened, Present):
            self._note(shown, opened)
            return
        with opened.value as directory:
            listing = directory.list()
            self.states.append(listing_state(shown, listing))
            for name in listing.entries:
                if name.startswith(layout.TEMPORARY_PREFIX):
                    self.temporaries.append(f"{shown}/{name}")
                    continue
                content, ctime_ns = directory.read_stamped(name, DISTRIBUTION_LIMIT, check)
                if isinstance(content, Present) and check is check_sources:
                    self.layers.add(f"{path.rpartition('/')[2]}:{name}")
                elif not isinstance(content, Present | Absent):
                    self.unreadable[f"{path}/{name}"] = DistributionRecord(f"{path}/{name}", content, ctime_ns)

    def _note(self, path: str, opened: Reading[Directory]) -> None:
        if not isinstance(opened, Absent):
            self.states.append(source_state(path, opened))
