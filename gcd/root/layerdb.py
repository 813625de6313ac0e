"""
Layer records, records being removed, write sets and rw layer records.

All four are read in one go, in the order that safety rule S1 demands: write sets first, then ``sha256/``, then
``mounts/``: a layer moves from the first to the second while it is registered, and must be seen in one of them.

Names are taken as the engine takes them: below ``sha256/`` 64 hex digits are a layer record and ``…-removing`` a record
being removed; anything else is nobody's. Below ``mounts/`` any name is a rw layer record, and names nest (image mounts
of 28.x put an image reference in it).

Source: moby ``layer/filestore.go`` and ``layer/layer_store.go``.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.formats.descriptor import check_descriptor
from gcd.formats.gzipends import HEAD_BYTES, TAIL_BYTES, gzip_size
from gcd.formats.texts import parse_digest, parse_init_id, parse_layer_dir_id, parse_mount_id, parse_size
from gcd.model import layout
from gcd.model.facts import FileType, LayerRecord, RemovingRecord, RwLayerRecord, WriteSet
from gcd.model.ids import ChainId, DiffId, LayerDirId, RwLayerName, removing_chain
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.reading import Absent, Present, Reading
from gcd.model.shelf import Shelf, layer_of, shelved_layers
from gcd.root.progress import ALONE, Pace
from gcd.root.record import Record, open_record
from gcd.root.rows import LAYER_NAMES, layer_rows, rw_layer_rows
from gcd.root.shares import in_threads
from gcd.root.tree import Directory, combined, listing_state, source_state

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gcd.model.changed import Changed
    from gcd.model.shelf import LayerShelf
    from gcd.root.rows import RwLayerRow

    Only = Collection[str] | None

TEXT_LIMIT = 4096
DESCRIPTOR_LIMIT = 1 << 20
MAX_NESTING = 128
"""An image reference has at most 255 characters, so no honest name nests deeper."""

_FACTS = frozenset({layout.MOUNT_ID, layout.INIT_ID, layout.PARENT})


class LayerDb(Struct, frozen=True):
    """What ``layerdb/`` holds; `layers_state` speaks of ``sha256/`` and ``tmp/``, `rw_layers_state` of ``mounts/``."""

    layers: LayerShelf
    removing: Mapping[str, RemovingRecord]
    write_sets: Mapping[str, WriteSet]
    layers_state: SourceState
    rw_layers: Mapping[RwLayerName, RwLayerRecord]
    rw_layers_state: SourceState


def read_layerdb(root: Directory, driver: str, pace: Pace = ALONE, only: Changed | None = None) -> LayerDb:
    """
    All records, or `only` those that are said to have changed.

    A ``layerdb`` without ``sha256/`` or ``mounts/`` is whole and empty: the engine makes them when it first needs them.
    """
    opened = root.open_path(layout.layerdb(driver))
    if not isinstance(opened, Present):
        state = source_state(layout.layerdb(driver), opened)
        return LayerDb(shelved_layers({}), {}, {}, state, {}, state)
    with opened.value as layerdb:
        write_sets, write_sets_state = _read_write_sets(
            layerdb, layout.write_sets(driver), only.write_sets if only is not None else None
        )
        layers, removing, layers_state = _read_layers(
            layerdb, layout.layer_records(driver), pace, only.layers if only is not None else None
        )
        rw_layers, rw_layers_state = _read_rw_layers(
            layerdb, layout.rw_layer_records(driver), pace, only.rw_layers if only is not None else None
        )
    return LayerDb(layers, removing, write_sets, combined(layers_state, write_sets_state), rw_layers, rw_layers_state)


def _read_write_sets(layerdb: Directory, path: str, only: Only) -> tuple[dict[str, WriteSet], SourceState]:
    opened = layerdb.open(path.rpartition("/")[2])
    if not isinstance(opened, Present):
        return {}, _lazily_made(path, opened)
    found: dict[str, WriteSet] = {}
    with opened.value as directory:
        listing = directory.list_named(only)
        for name in listing.entries:
            record = open_record(directory, name) if name.startswith(layout.WRITE_SET_PREFIX) else None
            if record is not None:
                with record:
                    record.look_at(layout.TAR_SPLIT)
                    cache_id = record.read(layout.CACHE_ID, TEXT_LIMIT, _cache_id)
                    found[name] = WriteSet(name, cache_id, record.ctime_ns)
    return found, listing_state(path, listing)


def _read_layers(
    layerdb: Directory, path: str, pace: Pace, only: Only
) -> tuple[LayerShelf, dict[str, RemovingRecord], SourceState]:
    opened = layerdb.open(path.rpartition("/")[2])
    if not isinstance(opened, Present):
        return shelved_layers({}), {}, _lazily_made(path, opened)
    odd: dict[ChainId, LayerRecord] = {}
    removing: dict[str, RemovingRecord] = {}
    with opened.value as directory:
        listing = directory.list_formed(LAYER_NAMES, only)
        names = listing.names
        rows = in_threads(partial(layer_rows, directory.fd), names, Source.LAYERS, pace)
        for name in names if len(rows) < len(names) else ():
            chain = _chain(name)
            record = open_record(directory, name) if chain not in rows else None
            if record is not None:
                with record:
                    odd[chain] = _layer_record(chain, record)
        for name in listing.entries:
            removed = removing_chain(name)
            record = open_record(directory, name) if removed is not None else None
            if record is not None and removed is not None:
                with record:
                    removing[name] = _removing_record(name, removed, record)
    return Shelf(rows, odd, layer_of), removing, listing_state(path, listing)


def _chain(name: str) -> ChainId:
    return ChainId(sys.intern(f"sha256:{name}"))


def _layer_record(chain: ChainId, record: Record) -> LayerRecord:
    return LayerRecord(
        chain_id=chain,
        diff_id=record.read(layout.DIFF, TEXT_LIMIT, _diff_id),
        size=record.read(layout.SIZE, TEXT_LIMIT, parse_size),
        cache_id=record.read(layout.CACHE_ID, TEXT_LIMIT, _cache_id),
        parent=record.read(layout.PARENT, TEXT_LIMIT, _parent),
        descriptor=record.read(layout.DESCRIPTOR, DESCRIPTOR_LIMIT, check_descriptor),
        tar_split=record.read_ends(layout.TAR_SPLIT, HEAD_BYTES, TAIL_BYTES, gzip_size),
        ctime_ns=record.ctime_ns,
    )


def _removing_record(name: str, chain: ChainId, record: Record) -> RemovingRecord:
    cache_id = record.read(layout.CACHE_ID, TEXT_LIMIT, _cache_id)
    parent = record.read(layout.PARENT, TEXT_LIMIT, _parent)
    return RemovingRecord(name, chain, cache_id, parent, record.ctime_ns)


def _read_rw_layers(
    layerdb: Directory, path: str, pace: Pace, only: Only
) -> tuple[dict[RwLayerName, RwLayerRecord], SourceState]:
    opened = layerdb.open(path.rpartition("/")[2])
    if not isinstance(opened, Present):
        return {}, _lazily_made(path, opened)
    walk = _RwLayers({}, [])
    with opened.value as directory:
        listing = directory.list_named(only)
        walk.visit(directory, list(listing.entries), "", pace)
    failures = [listing.failure, *walk.failures] if listing.failure else walk.failures
    if failures:
        return walk.found, SourceState(Coverage.PARTIAL, f"{path} cannot be listed whole ({failures[0]})")
    return walk.found, SourceState(Coverage.OK)


class _RwLayers(Struct, frozen=True):
    """The walk through ``mounts/``: the records seen so far, and what hid some."""

    found: dict[RwLayerName, RwLayerRecord]
    failures: list[str]

    def visit(self, parent: Directory, names: Sequence[str], prefix: str, pace: Pace) -> None:
        """
        Take each of `names` in `parent` for a record, unless it holds directories and no record's file: such a one is
        part of a nested name.
        """
        rows = in_threads(partial(rw_layer_rows, parent.fd), names, Source.RW_LAYERS, pace)
        for name in names:
            path = prefix + name
            if name in rows:
                self.found[RwLayerName(path)] = _rw_layer_of(RwLayerName(path), rows[name])
                continue
            record = open_record(parent, name)
            if record is None:
                continue
            with record:
                nested = [entry for entry, kind in record.entries.items() if kind is FileType.DIRECTORY]
                if not nested or not _FACTS.isdisjoint(record.entries):
                    self.found[RwLayerName(path)] = _rw_layer_record(RwLayerName(path), record)
                if record.unlisted:
                    self.failures.append(record.unlisted)
                if nested and path.count("/") >= MAX_NESTING:
                    self.failures.append(f"names nest deeper than {MAX_NESTING}")
                elif record.directory is not None:
                    self.visit(record.directory, nested, f"{path}/", ALONE)


def _rw_layer_record(name: RwLayerName, record: Record) -> RwLayerRecord:
    mount_id = record.read(layout.MOUNT_ID, TEXT_LIMIT, _mount_id)
    init_id = record.read(layout.INIT_ID, TEXT_LIMIT, _init_id)
    parent = record.read(layout.PARENT, TEXT_LIMIT, _parent)
    return RwLayerRecord(name, mount_id, init_id, parent, record.ctime_ns)


def _rw_layer_of(name: RwLayerName, row: RwLayerRow) -> RwLayerRecord:
    mount_id, init_id, parent, ctime_ns = row
    return RwLayerRecord(
        name,
        Present(LayerDirId(sys.intern(mount_id))),
        Present(LayerDirId(sys.intern(init_id))),
        Present(ChainId(sys.intern(parent))),
        ctime_ns,
    )


def _lazily_made(path: str, opened: Reading[Directory]) -> SourceState:
    return SourceState(Coverage.OK) if isinstance(opened, Absent) else source_state(path, opened)


def _diff_id(raw: bytes) -> DiffId:
    return DiffId(sys.intern(parse_digest(raw, "diff")))


def _parent(raw: bytes) -> ChainId:
    return ChainId(sys.intern(parse_digest(raw, "parent")))


def _cache_id(raw: bytes) -> LayerDirId:
    return LayerDirId(sys.intern(parse_layer_dir_id(raw, "cache-id")))


def _mount_id(raw: bytes) -> LayerDirId:
    return LayerDirId(sys.intern(parse_mount_id(raw)))


def _init_id(raw: bytes) -> LayerDirId:
    return LayerDirId(sys.intern(parse_init_id(raw)))
