"""
Sound records, read fast.

Each function here reads many records (`gcd.root.sound`) and gives the rows (`gcd.model.shelf`) of those about which
everything is as it should be. Where anything is not, whatever it is, there is no row: then the record is read once more
with care (`gcd.root.record`), which says what. So nothing here tells one trouble from another, and no row is given for
anything in doubt.
"""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING, Final, cast

from gcd.model import layout
from gcd.root.sound import BASE32, BASE36, DIGIT, HEX, Kind, Part

try:
    from gcd.root._sound import of_form, read_records, read_symlinks
except ImportError:  # not compiled where it was installed
    from gcd.root.sound import of_form, read_records, read_symlinks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gcd.model.ids import ChainId, LayerDirId, LinkId
    from gcd.model.shelf import DirRow, LayerRow, LinkRow

RwLayerRow = tuple[str, str, str, int]
"""Mount id, init id, parent, ctime."""

_HEX64: Final = HEX * 64
_DIGEST: Final = (b"sha256:" + _HEX64,)
_INIT_DIR: Final = (_HEX64 + b"-init",)
_LAYER_DIR: Final = (_HEX64, BASE36 * 25, *_INIT_DIR)
_SIZE: Final = tuple(DIGIT * digits for digits in range(1, 19))
"""More digits than any layer has, and less than the engine takes."""

_LINK: Final = BASE32 * 26
_TARGET: Final = tuple(b"../%s/diff" % dir_id for dir_id in _LAYER_DIR)
_MOST_LOWER: Final = 128
"""The most elements that the engine writes."""

_LAYER: Final = (
    Part(layout.DIFF, Kind.TEXT, _DIGEST),
    Part(layout.SIZE, Kind.TEXT, _SIZE),
    Part(layout.CACHE_ID, Kind.TEXT, _LAYER_DIR),
    Part(layout.TAR_SPLIT, Kind.GZIP),
    Part(layout.PARENT, Kind.TEXT, _DIGEST),
)
_LAYERS: Final = frozenset((0b01111, 0b11111))
"""Which parts a sound layer record has: a base layer's no parent."""

_RW_LAYER: Final = (
    Part(layout.MOUNT_ID, Kind.TEXT, (_HEX64,)),
    Part(layout.INIT_ID, Kind.TEXT, _INIT_DIR),
    Part(layout.PARENT, Kind.TEXT, _DIGEST),
)
_RW_LAYERS: Final = 0b111

_DIR: Final = (
    Part(layout.DIFF, Kind.DATED_DIRECTORY),
    Part(layout.LINK, Kind.TEXT, (_LINK,)),
    Part(layout.LOWER, Kind.TEXTS, (b"l/" + _LINK,), _MOST_LOWER),
    Part(layout.WORK, Kind.DIRECTORY),
    Part(layout.COMMITTED, Kind.MARK),
    Part(layout.MERGED, Kind.DIRECTORY),
)
_MERGED: Final = 0b100000
_DIRS: Final = {
    parts | committed | merged: bool(merged)
    for parts in (0b0011, 0b1111)
    for committed in (0, 0b10000)
    for merged in (0, _MERGED)
}
"""Which parts a sound layer dir has (a base layer's neither ``lower`` nor ``work``), with whether ``merged`` is one."""


def hex64_among(names: Iterable[str]) -> list[str]:
    """Those of `names` that have the form of a record's: 64 hex digits."""
    return of_form(names, (_HEX64,))


def layer_dir_ids(names: Iterable[str]) -> list[LayerDirId]:
    """Those of `names` that are layer dir ids."""
    return cast("list[LayerDirId]", of_form(names, _LAYER_DIR))


def link_ids(names: Iterable[str]) -> list[LinkId]:
    """Those of `names` that are link ids."""
    return cast("list[LinkId]", of_form(names, (_LINK,)))


def layer_rows(home: int, names: Sequence[str]) -> dict[ChainId, LayerRow]:
    """The layer records `names` in the directory `home`, by the chain ids that they are named after."""
    rows = {}
    for name, found in zip(names, read_records(home, names, _LAYER), strict=True):
        if found is not None and found[0] in _LAYERS:
            _, newest_ns, size, (diff_id, digits, cache_id, _, parent) = found
            rows[intern(f"sha256:{name}")] = diff_id, int(digits), cache_id, parent or None, size, newest_ns
    return cast("dict[ChainId, LayerRow]", rows)


def rw_layer_rows(home: int, names: Sequence[str]) -> dict[str, RwLayerRow]:
    """The rw layer records `names` in the directory `home` that have an init layer and a parent."""
    rows = {}
    for name, found in zip(names, read_records(home, names, _RW_LAYER), strict=True):
        if found is not None and found[0] == _RW_LAYERS:
            mount_id, init_id, parent = found[3]
            rows[name] = mount_id, init_id, parent, found[1]
    return rows


def dir_rows(home: int, names: Sequence[LayerDirId]) -> dict[LayerDirId, DirRow]:
    """The layer dirs `names` in the directory `home`."""
    rows = {}
    for name, found in zip(names, read_records(home, names, _DIR), strict=True):
        if found is not None and found[0] in _DIRS:
            parts, newest_ns, _, (_, link, lower, *_) = found
            rows[name] = link, lower, _DIRS[parts], newest_ns
    return cast("dict[LayerDirId, DirRow]", rows)


def link_rows(home: int, names: Sequence[LinkId]) -> dict[LinkId, LinkRow]:
    """The entries `names` of the link farm `home`."""
    rows = {}
    for name, found in zip(names, read_symlinks(home, names, _TARGET), strict=True):
        if found is not None:
            target, newest_ns = found
            rows[name] = intern(target[3:-5]), newest_ns
    return cast("dict[LinkId, LinkRow]", rows)
