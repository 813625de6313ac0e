"""
Layer dirs and the link farm.

`list_names` gives only names: the candidates of safety rule S1 are taken with it before any reference is read.
`read_layer_dirs` and `read_link_farm` read what is there after all references were. `probe` looks into ``diff`` and
``merged`` of a few dirs, which is needed only for those that nothing names.

Source: moby ``daemon/graphdriver/overlay2/overlay.go`` create, Get, Remove.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from gcd.formats.lower import parse_lower
from gcd.formats.texts import parse_link, parse_link_target
from gcd.model import layout
from gcd.model.errors import FormatError
from gcd.model.facts import FileType, LayerDir, LinkFarm, LinkSymlink
from gcd.model.ids import LayerDirId, LinkId
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.reading import ABSENT, Absent, Malformed, Present, Reading, describe
from gcd.model.shelf import Shelf, dir_shelf, dirs_replaced, link_of, shelved_dirs
from gcd.root.progress import ALONE, Pace
from gcd.root.record import Record, open_record
from gcd.root.rows import LAYER_DIR_IDS, LINK_IDS, dir_rows, link_rows
from gcd.root.shares import in_threads, nothing
from gcd.root.tree import Directory, listing_state, source_state, type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from gcd.model.facts import Lower
    from gcd.model.shelf import DirShelf

LINK_LIMIT = 1024
LOWER_LIMIT = 1 << 16
"""The engine writes at most 128 elements, 3711 bytes."""

_ENTRIES = frozenset({layout.DIFF, layout.LINK, layout.LOWER, layout.WORK, layout.MERGED, layout.COMMITTED})
"""All that a sound layer dir holds; most need no second look."""

_NOT_LAYER_DIRS = frozenset({layout.LINK_FARM, layout.BACKING_DEVICE})


def list_names(
    root: Directory, driver: str, only: Collection[str] | None = None
) -> tuple[frozenset[LayerDirId], SourceState]:
    """
    The names in the driver's home that have the form of a layer dir's, or `only` some, and nothing else of them.
    """
    opened = root.open(driver)
    if not isinstance(opened, Present):
        return frozenset(), source_state(driver, opened)
    with opened.value as home:
        listing = home.list_formed(LAYER_DIR_IDS, only)
        return frozenset(map(LayerDirId, listing.names)), listing_state(driver, listing)


def read_layer_dirs(
    root: Directory,
    driver: str,
    pace: Pace = ALONE,
    only: Collection[str] | None = None,
    meanwhile: Callable[[], object] = nothing,
) -> tuple[DirShelf, SourceState]:
    """
    Every entry of the driver's home but the link farm and the quota's device node, whatever form its name has; or
    `only` some.

    One that is no directory is there too, with the reason in `unreadable`. `meanwhile` is done while others read, if
    there is anything to read.
    """
    opened = root.open(driver)
    if not isinstance(opened, Present):
        return shelved_dirs({}), source_state(driver, opened)
    with opened.value as home:
        listing = home.list_formed(LAYER_DIR_IDS, only)
        rows = in_threads(partial(dir_rows, home.fd), listing.names, Source.OVERLAY2, pace, meanwhile)
        odd: dict[LayerDirId, LayerDir] = {}
        others = [name for name in listing.entries if name not in _NOT_LAYER_DIRS]
        for name in (*listing.names, *others) if others or len(rows) < len(listing.names) else ():
            record = open_record(home, name) if name not in rows else None
            if record is not None:
                dir_id = LayerDirId(sys.intern(name))
                with record:
                    odd[dir_id] = _layer_dir(dir_id, record)
        return dir_shelf(rows, odd), listing_state(driver, listing)


def read_link_farm(
    root: Directory,
    driver: str,
    pace: Pace = ALONE,
    only: Collection[str] | None = None,
    meanwhile: Callable[[], object] = nothing,
) -> tuple[LinkFarm, SourceState]:
    """
    The link farm, or `only` some of its links; one that is missing, or no directory, is a fact about it and leaves the
    source OK. `meanwhile` is done while others read, if there is anything to read.
    """
    opened = root.open(driver)
    if not isinstance(opened, Present):
        return LinkFarm(None, {}), source_state(driver, opened)
    with opened.value as home:
        path = layout.link_farm(driver)
        farm = home.open(layout.LINK_FARM)
        if isinstance(farm, Present):
            with farm.value as directory:
                return _link_farm(directory, path, pace, only, meanwhile)
        status = home.lstat(layout.LINK_FARM)
        match farm, status:
            case Absent(), _:
                return LinkFarm(None, {}), SourceState(Coverage.OK)
            case Malformed(), Present(found):
                return LinkFarm(type_of(found), {}), SourceState(Coverage.OK)
            case _:
                return LinkFarm(None, {}), source_state(path, farm)


def probe(
    root: Directory,
    driver: str,
    dirs: DirShelf,
    unnamed: Iterable[LayerDirId],
    mounted: frozenset[LayerDirId],
) -> DirShelf:
    """
    `dirs` with `diff_is_empty` filled in for those in `unnamed`, and `merged_is_empty` for those that have a ``merged``
    which, according to `mounted` and to its device, is no mountpoint. None stays where it could not be told. The ctime
    of those in `mounted` becomes that of the mount, if it is later: the kernel writes in ``work`` when it mounts.
    """
    opened = root.open(driver)
    if not isinstance(opened, Present):
        return dirs
    probed: dict[LayerDirId, LayerDir] = {}
    with opened.value as home:
        for dir_id in unnamed:
            layer_dir = dirs.get(dir_id)
            if layer_dir is not None and layer_dir.diff is FileType.DIRECTORY:
                probed[dir_id] = replace(layer_dir, diff_is_empty=_is_empty(home, dir_id, layout.DIFF))
        for dir_id in mounted:
            layer_dir = probed.get(dir_id) or dirs.get(dir_id)
            if layer_dir is not None:
                ctime_ns = max(layer_dir.ctime_ns, _ctime_of_work(home, dir_id))
                probed[dir_id] = replace(layer_dir, ctime_ns=ctime_ns)
        for dir_id in _with_merged(dirs) - mounted:
            layer_dir = probed.get(dir_id) or dirs[dir_id]
            probed[dir_id] = replace(layer_dir, merged_is_empty=_is_empty(home, dir_id, layout.MERGED))
    if not probed:
        return dirs
    above = [dir_id for dir_id, row in dirs.rows.items() if row[1] in probed]
    return dirs_replaced(dirs, probed, above=above, claimants={})


def _with_merged(dirs: DirShelf) -> set[LayerDirId]:
    rows = {dir_id for dir_id, row in dirs.rows.items() if row[2]}
    return rows.union(layer_dir.id for layer_dir in dirs.odd.values() if layer_dir.merged is FileType.DIRECTORY)


def _layer_dir(dir_id: LayerDirId, record: Record) -> LayerDir:
    link = record.read(layout.LINK, LINK_LIMIT, _link)
    lower = record.read(layout.LOWER, LOWER_LIMIT, _lower)
    record.look_at(layout.DIFF)
    kinds = record.entries
    return LayerDir(
        id=dir_id,
        link=link,
        lower=lower,
        diff=kinds.get(layout.DIFF),
        work=kinds.get(layout.WORK),
        merged=kinds.get(layout.MERGED),
        ctime_ns=record.ctime_ns,
        unreadable=describe(record.failure) if record.failure else record.unlisted or None,
        temporaries=() if kinds.keys() <= _ENTRIES else _temporaries(kinds),
    )


def _temporaries(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if name.startswith(layout.TEMPORARY_PREFIX)))


def _link(raw: bytes) -> LinkId:
    return LinkId(sys.intern(parse_link(raw)))


def _lower(raw: bytes) -> Lower:
    return parse_lower(raw, sys.intern)


def _link_farm(
    directory: Directory, path: str, pace: Pace, only: Collection[str] | None, meanwhile: Callable[[], object]
) -> tuple[LinkFarm, SourceState]:
    listing = directory.list_formed(LINK_IDS, only)
    rows = in_threads(partial(link_rows, directory.fd), listing.names, Source.LINKS, pace, meanwhile)
    odd: dict[LinkId, LinkSymlink] = {}
    for link in map(LinkId, listing.names) if len(rows) < len(listing.names) else ():
        status = directory.lstat(link) if link not in rows else ABSENT
        if not isinstance(status, Absent):
            ctime_ns = status.value.st_ctime_ns if isinstance(status, Present) else 0
            odd[link] = LinkSymlink(link, _target(directory, link), ctime_ns)
    return LinkFarm(FileType.DIRECTORY, Shelf(rows, odd, link_of)), listing_state(path, listing)


def _target(directory: Directory, name: str) -> Reading[LayerDirId]:
    text = directory.readlink(name)
    if not isinstance(text, Present):
        return text
    try:
        return Present(LayerDirId(sys.intern(parse_link_target(text.value))))
    except FormatError as error:
        return Malformed(error.expected, error.found, error.offset)


def _ctime_of_work(home: Directory, dir_id: LayerDirId) -> int:
    """The ctime of the ``work`` of a layer dir; 0 where there is none."""
    opened = home.open(dir_id)
    if not isinstance(opened, Present):
        return 0
    with opened.value as layer_dir:
        status = layer_dir.lstat(layout.WORK)
        return status.value.st_ctime_ns if isinstance(status, Present) else 0


def _is_empty(home: Directory, dir_id: LayerDirId, name: str) -> bool | None:
    """Whether the directory `name` of a layer dir has no entry; None if it is a mountpoint or cannot be opened."""
    opened = home.open(dir_id)
    if not isinstance(opened, Present):
        return None
    with opened.value as layer_dir:
        inner = layer_dir.open(name)
        if not isinstance(inner, Present):
            return None
        with inner.value as directory:
            return directory.is_empty() if directory.stat().st_dev == layer_dir.stat().st_dev else None
