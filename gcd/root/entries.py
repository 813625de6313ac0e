"""
Reading the entries of the quarantine, and what the records in them refer to.

Readers take no lock: an entry that moves on meanwhile is seen where it was or where it is, and what vanishes is gone.
Where a manifest cannot be read, every record in the entry counts as a bare one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.formats.imageconfig import parse_image_config
from gcd.formats.manifest import MOST_BYTES, is_entry_id, parse_manifest
from gcd.formats.texts import parse_digest, parse_layer_dir_id
from gcd.model import layout
from gcd.model.edges import dir_node, layer_node
from gcd.model.entry import FOLDERS, EntryState
from gcd.model.facts import FileType, QuarantineEntry
from gcd.model.ids import is_hex64
from gcd.model.inventory import Coverage, SourceState
from gcd.model.reading import Absent, Present, value_of
from gcd.root.record import open_record
from gcd.root.tree import combined, listing_state, source_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.entry import EntryId, Manifest
    from gcd.model.finding import Node
    from gcd.model.ids import LayerDirId
    from gcd.model.reading import Reading
    from gcd.root.tree import Directory

_TEXT_LIMIT = 4096
_CONFIG_LIMIT = 16 << 20
_NAMERS = (layout.CACHE_ID, layout.MOUNT_ID, layout.INIT_ID)
"""The files of a record that name a layer dir."""


def read_entries(place: Directory, driver: str) -> tuple[dict[EntryId, QuarantineEntry], SourceState]:
    """All entries in `place`, and how completely they were seen."""
    found: dict[EntryId, QuarantineEntry] = {}
    states = [SourceState(Coverage.OK)]
    for state, name in FOLDERS.items():
        folder = place.open(name)
        if isinstance(folder, Present):
            with folder.value as directory:
                listing = directory.list()
                for entry in filter(is_entry_id, listing.entries):
                    found[entry] = _entry(directory, entry, state, driver)
                states.append(listing_state(f"{layout.GCD}/{name}", listing))
        elif not isinstance(folder, Absent):
            states.append(source_state(f"{layout.GCD}/{name}", folder))
    return found, combined(*states)


def _entry(folder: Directory, name: EntryId, state: EntryState, driver: str) -> QuarantineEntry:
    opened = folder.open(name)
    if not isinstance(opened, Present):
        return QuarantineEntry(name, state, opened)
    with opened.value as directory:
        manifest = directory.read(layout.ENTRY_MANIFEST, MOST_BYTES, parse_manifest)
        if state is EntryState.OPEN and isinstance(manifest, Absent):
            manifest = directory.read(layout.ENTRY_NEW_MANIFEST, MOST_BYTES, parse_manifest)
        items = directory.open(layout.ENTRY_ITEMS)
        if state is EntryState.PURGING or not isinstance(items, Present):
            return QuarantineEntry(name, state, manifest)
        with items.value as kept:
            return QuarantineEntry(name, state, manifest, frozenset(_references(kept, value_of(manifest), driver)))


def _references(items: Directory, manifest: Manifest | None, driver: str) -> Iterator[Node]:
    paths = {str(index): item.path for index, item in enumerate(manifest.items)} if manifest is not None else {}
    along = frozenset(paths.values())
    for name, kind in items.list().entries.items():
        if kind is FileType.DIRECTORY:
            yield from _references_of_record(items, name, along, driver)
        elif _is_image_config(paths.get(name, ""), driver):
            config = value_of(items.read(name, _CONFIG_LIMIT, parse_image_config))
            yield from (layer_node(chain) for chain, _ in (config.chains if config is not None else ()))


def _is_image_config(path: str, driver: str) -> bool:
    """Temporary files lie beside them; no engine loads one."""
    folder, _, name = path.rpartition("/")
    return folder == layout.image_configs(driver) and is_hex64(name)


def _references_of_record(items: Directory, name: str, along: frozenset[str], driver: str) -> Iterator[Node]:
    """None of a whole unit, of something that is no record, and of a record that says nothing."""
    record = open_record(items, name)
    if record is None:
        return
    with record:
        dirs = [d for file in _NAMERS if (d := value_of(record.read(file, _TEXT_LIMIT, _dir_id))) is not None]
        parent: Reading[str] = record.read(layout.PARENT, _TEXT_LIMIT, lambda raw: parse_digest(raw, layout.PARENT))
    outside = [d for d in dirs if layout.layer_dir(d, driver) not in along]
    if outside or not dirs:
        yield from map(dir_node, outside)
        if isinstance(parent, Present):
            yield layer_node(parent.value)


def _dir_id(raw: bytes) -> LayerDirId:
    return parse_layer_dir_id(raw, "a layer dir's name")
