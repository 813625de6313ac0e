"""
Sound records, read fast.

Each function here reads many records (`gcd.root.sound`) and gives the rows (`gcd.model.shelf`) of those about which
everything is as it should be. Where anything is not, whatever it is, there is no row: then the record is read once more
with care (`gcd.root.record`), which says what. So nothing here tells one trouble from another, and no row is given for
anything in doubt.
"""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING, Final, TypeVar, cast

from gcd.model import layout
from gcd.root.forms import BASE32, BASE36, HEX
from gcd.root.sound import Form, Kind, Part

try:
    from gcd.root._sound import read_records, read_symlinks
except ImportError:  # not compiled where it was installed
    from gcd.root.sound import read_records, read_symlinks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcd.model.ids import ChainId, LayerDirId, LinkId
    from gcd.model.shelf import DirRow, LayerRow, LinkRow

T = TypeVar("T")

RwLayerRow = tuple[str, str, str, int]
"""Mount id, init id, parent, ctime."""

_HEX64: Final = HEX * 64
_DIGEST: Final = (b"sha256:" + _HEX64,)
_INIT_DIR: Final = (_HEX64 + b"-init",)
_LINK: Final = BASE32 * 26

LAYER_NAMES: Final = (_HEX64,)
"""The forms of a layer record's name."""

LAYER_DIR_IDS: Final = (_HEX64, BASE36 * 25, *_INIT_DIR)
"""The forms of a layer dir's id."""

LINK_IDS: Final = (_LINK,)
"""The form of a link id."""

_TARGET: Final = (b"../", LAYER_DIR_IDS, b"/diff")
_MOST_LOWER: Final = 128
"""The most elements that the engine writes."""

_LAYER: Final = Form(
    (
        Part(layout.DIFF, Kind.TEXT, _DIGEST),
        Part(layout.SIZE, Kind.NUMBER),
        Part(layout.CACHE_ID, Kind.TEXT, LAYER_DIR_IDS),
        Part(layout.PARENT, Kind.TEXT, _DIGEST),
        Part(layout.TAR_SPLIT, Kind.GZIP),
    ),
    whole=(0b10111, 0b11111),
)
"""The values are a `LayerRow`. A base layer has no parent."""

_RW_LAYER: Final = Form(
    (
        Part(layout.MOUNT_ID, Kind.TEXT, (_HEX64,)),
        Part(layout.INIT_ID, Kind.TEXT, _INIT_DIR),
        Part(layout.PARENT, Kind.TEXT, _DIGEST),
    ),
    whole=(0b111,),
)
"""The values are a `RwLayerRow`."""

_DIR: Final = Form(
    (
        Part(layout.LINK, Kind.TEXT, LINK_IDS),
        Part(layout.LOWER, Kind.TEXTS, (b"l/" + _LINK,), _MOST_LOWER),
        Part(layout.MERGED, Kind.TOLD_DIRECTORY),
        Part(layout.DIFF, Kind.DATED_DIRECTORY),
        Part(layout.WORK, Kind.DIRECTORY),
        Part(layout.COMMITTED, Kind.MARK),
    ),
    whole=tuple(
        stacked | merged | committed
        for stacked in (0b001001, 0b011011)
        for merged in (0, 0b000100)
        for committed in (0, 0b100000)
    ),
)
"""The values are a `DirRow`. A base layer has neither ``lower`` nor ``work``; any dir may be mounted or committed."""


def layer_rows(home: int, names: Sequence[str]) -> dict[ChainId, LayerRow]:
    """The layer records `names` in the directory `home`, by the chain ids that they are named after."""
    found = zip(names, read_records(home, names, _LAYER), strict=True)
    return cast("dict[ChainId, LayerRow]", {intern(f"sha256:{name}"): row for name, row in found if row is not None})


def rw_layer_rows(home: int, names: Sequence[str]) -> dict[str, RwLayerRow]:
    """The rw layer records `names` in the directory `home` that have an init layer and a parent."""
    return cast("dict[str, RwLayerRow]", _by_name(names, read_records(home, names, _RW_LAYER)))


def dir_rows(home: int, names: Sequence[str]) -> dict[LayerDirId, DirRow]:
    """The layer dirs `names` in the directory `home`."""
    return cast("dict[LayerDirId, DirRow]", _by_name(names, read_records(home, names, _DIR)))


def link_rows(home: int, names: Sequence[str]) -> dict[LinkId, LinkRow]:
    """The entries `names` of the link farm `home`."""
    return cast("dict[LinkId, LinkRow]", _by_name(names, read_symlinks(home, names, *_TARGET)))


def _by_name(names: Sequence[str], found: Sequence[T | None]) -> dict[str, T]:
    return {name: row for name, row in zip(names, found, strict=True) if row is not None}
