"""Volumes by name: of each only its options are read, never its data (moby ``volume/local/local.go``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.formats.descriptor import check_volume_options
from gcd.model import layout
from gcd.model.facts import FileType, Volume
from gcd.model.reading import Present
from gcd.root.record import open_record
from gcd.root.tree import listing_state, source_state

if TYPE_CHECKING:
    from gcd.model.inventory import SourceState
    from gcd.root.tree import Directory

VOLUME_OPTIONS_LIMIT = 1 << 20

_MARKS = frozenset({layout.VOLUME_DATA, layout.VOLUME_OPTIONS})


def read_volumes(root: Directory) -> tuple[dict[str, Volume], SourceState]:
    """The directories that the local volume driver takes for volumes; ``options`` is Absent for most."""
    opened = root.open(layout.VOLUMES)
    if not isinstance(opened, Present):
        return {}, source_state(layout.VOLUMES, opened)
    found: dict[str, Volume] = {}
    with opened.value as directory:
        listing = directory.list()
        for name, kind in listing.entries.items():
            record = open_record(directory, name) if kind is FileType.DIRECTORY else None
            if record is not None:
                with record:
                    if record.failure is None and _MARKS.isdisjoint(record.entries):
                        continue
                    found[name] = Volume(
                        name, record.read(layout.VOLUME_OPTIONS, VOLUME_OPTIONS_LIMIT, check_volume_options)
                    )
    return found, listing_state(layout.VOLUMES, listing)
