"""
Sound records, read fast.

Each function here reads many records (`gcd.root.bulk`) and gives the rows (`gcd.model.shelf`) of those about which
everything is as it should be. Where anything is not, whatever it is, there is no row: then the record is read once more
with care (`gcd.root.record`), which says what. So nothing here tells one trouble from another, and no row is given for
anything in doubt.
"""

from __future__ import annotations

import re
from sys import intern
from typing import TYPE_CHECKING, Final

from gcd.formats.gzipends import gzip_size
from gcd.formats.lower import is_sound_lower
from gcd.model import layout
from gcd.model.errors import FormatError
from gcd.model.ids import (
    DIGEST,
    HEX64,
    INIT_DIR,
    LAYER_DIR_ID,
    ChainId,
    DiffId,
    LayerDirId,
    LinkId,
    is_layer_dir_id,
    is_link_id,
)
from gcd.root.bulk import HEAD_BYTES, TAIL_BYTES, Form, Kind

try:
    from gcd.root._bulk import read_records, read_symlinks
except ImportError:  # not compiled where it was installed
    from gcd.root.bulk import read_records, read_symlinks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcd.model.shelf import DirRow, LayerRow, LinkRow

RwLayerRow = tuple[str, str, str, int]
"""Mount id, init id, parent, ctime."""

_DIGEST_BYTES: Final = 71
_SIZE_DIGITS: Final = 18
"""More digits than any layer has, and less than the engine takes."""

_LINK_BYTES: Final = 26
_LOWER_BYTES: Final = 3711
"""128 elements, the most that the engine writes."""

_LAYER: Final[Form] = (
    (layout.DIFF, Kind.TEXT, _DIGEST_BYTES),
    (layout.SIZE, Kind.TEXT, _SIZE_DIGITS),
    (layout.CACHE_ID, Kind.TEXT, _DIGEST_BYTES),
    (layout.TAR_SPLIT, Kind.ENDS, 0),
    (layout.PARENT, Kind.TEXT, _DIGEST_BYTES),
)
_BASE_LAYERS_PARTS: Final = 0b01111
_LAYERS_PARTS: Final = 0b11111

_RW_LAYER: Final[Form] = tuple(
    (name, Kind.TEXT, _DIGEST_BYTES) for name in (layout.MOUNT_ID, layout.INIT_ID, layout.PARENT)
)
_RW_LAYERS_PARTS: Final = 0b111

_DIR: Final[Form] = (
    (layout.DIFF, Kind.DATED_DIRECTORY, 0),
    (layout.LINK, Kind.TEXT, _LINK_BYTES),
    (layout.LOWER, Kind.TEXT, _LOWER_BYTES),
    (layout.WORK, Kind.DIRECTORY, 0),
    (layout.COMMITTED, Kind.MARK, 0),
    (layout.MERGED, Kind.DIRECTORY, 0),
)
_BASE_DIRS_PARTS: Final = 0b0011
_DIRS_PARTS: Final = 0b1111
_MERGED: Final = 0b100000
_DIRS: Final = {
    parts | committed | merged: bool(merged)
    for parts in (_BASE_DIRS_PARTS, _DIRS_PARTS)
    for committed in (0, 0b10000)
    for merged in (0, _MERGED)
}
"""Which parts a sound layer dir has, with whether there is a ``merged`` among them."""

_SOUND_LAYER: Final = re.compile(rf"({DIGEST})\n([0-9]{{1,{_SIZE_DIGITS}}})\n({LAYER_DIR_ID})(?:\n({DIGEST}))?")
_SOUND_RW_LAYER: Final = re.compile(rf"({HEX64})\n({INIT_DIR})\n({DIGEST})")
"""All texts of a sound record, a line each."""


def layer_rows(home: int, names: Sequence[str]) -> dict[str, LayerRow]:
    """The layer records `names` in the directory `home`."""
    rows = {}
    for name, found in zip(names, read_records(home, names, _LAYER), strict=True):
        if found is None:
            continue
        parts, texts, ends, size, newest_ns = found
        sound = _SOUND_LAYER.fullmatch(texts)
        if sound is None or parts != (_BASE_LAYERS_PARTS if sound[4] is None else _LAYERS_PARTS):
            continue
        try:
            gzip_size(ends[:HEAD_BYTES], ends[-TAIL_BYTES:], size)
        except FormatError:
            continue
        diff_id, digits, cache_id, parent = sound.groups()
        chain = ChainId(intern(parent)) if parent is not None else None
        rows[name] = DiffId(intern(diff_id)), int(digits), LayerDirId(intern(cache_id)), chain, size, newest_ns
    return rows


def rw_layer_rows(home: int, names: Sequence[str]) -> dict[str, RwLayerRow]:
    """The rw layer records `names` in the directory `home` that have an init layer and a parent."""
    rows = {}
    for name, found in zip(names, read_records(home, names, _RW_LAYER), strict=True):
        if found is not None and found[0] == _RW_LAYERS_PARTS and (sound := _SOUND_RW_LAYER.fullmatch(found[1])):
            rows[name] = sound[1], sound[2], sound[3], found[-1]
    return rows


def dir_rows(home: int, names: Sequence[str]) -> dict[str, DirRow]:
    """The layer dirs `names` in the directory `home`."""
    rows: dict[str, DirRow] = {}
    for name, found in zip(names, read_records(home, names, _DIR), strict=True):
        if found is None or found[0] not in _DIRS or not is_layer_dir_id(name):
            continue
        parts, texts, _, _, newest_ns = found
        link, _, lower = texts.partition("\n")
        has_lower = bool(parts & _DIRS_PARTS & ~_BASE_DIRS_PARTS)
        if is_link_id(link) and (is_sound_lower(lower.encode("latin-1")) if has_lower else not lower):
            rows[name] = LinkId(intern(link)), lower, _DIRS[parts], newest_ns
    return rows


def link_rows(home: int, names: Sequence[LinkId]) -> dict[LinkId, LinkRow]:
    """The entries `names` of the link farm `home`."""
    rows = {}
    for name, found in zip(names, read_symlinks(home, names), strict=True):
        if found is not None:
            target, newest_ns = found
            dir_id = target[3:-5]
            if is_layer_dir_id(dir_id) and target == layout.link_target(dir_id):
                rows[name] = LayerDirId(intern(dir_id)), newest_ns
    return rows
