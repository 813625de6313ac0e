"""
Sound records, read fast.

Each function here reads one record and gives its row (`gcd.model.shelf`) if everything about it is as it should be, and
None if anything is not, whatever it is: then the record is read once more with care (`gcd.root.record`), which says
what. So nothing here tells one trouble from another, and no row is given for anything in doubt.

As everywhere below a root, names are opened one by one relative to a directory's descriptor, and no symlink is
followed. Files are opened only if the listing of the record, which is bounded, is just that of a sound one and calls
them regular. Of what is put in a file's place after that at most the bytes of a sound one are read, without waiting.

Ages cost a third more, and a look that finds nothing wrong needs none: where they are not wanted, the ctime is 0.
"""

from __future__ import annotations

import os
import re
import stat
from itertools import islice
from sys import intern
from typing import TYPE_CHECKING, Final

from gcd.formats.gzipends import HEAD_BYTES, TAIL_BYTES, gzip_size
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
from gcd.root.tree import DIRECTORY_FLAGS, FILE_FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcd.model.shelf import DirRow, LayerRow, LinkRow

RwLayerRow = tuple[str, str, str, int]
"""Mount id, init id, parent, ctime."""

_DIGEST_BYTES: Final = 71
_SIZE_DIGITS: Final = 18
"""More digits than any layer has, and less than the engine takes."""

_TAR_SPLIT_BYTES: Final = 4096
"""Most tar-splits are read whole with this; of a longer one the end is sought."""

_LINK_BYTES: Final = 26
_LOWER_BYTES: Final = 3711
"""128 elements, the most that the engine writes."""

_MOST_ENTRIES: Final = 6

_FILE: Final = True
_DIRECTORY: Final = False
_BASE_LAYER: Final = dict.fromkeys((layout.DIFF, layout.SIZE, layout.CACHE_ID, layout.TAR_SPLIT), _FILE)
_LAYER: Final = {**_BASE_LAYER, layout.PARENT: _FILE}
_RW_LAYER: Final = dict.fromkeys((layout.MOUNT_ID, layout.INIT_ID, layout.PARENT), _FILE)
_BASE_DIR: Final = {layout.DIFF: _DIRECTORY, layout.LINK: _FILE}
_DIR: Final = {**_BASE_DIR, layout.LOWER: _FILE, layout.WORK: _DIRECTORY}
"""What the records hold when they are sound."""

_DIRS: Final = {
    frozenset({**form, **committed, **merged}.items()): (layout.LOWER in form, bool(merged))
    for form in (_BASE_DIR, _DIR)
    for committed in ({}, {layout.COMMITTED: _FILE})
    for merged in ({}, {layout.MERGED: _DIRECTORY})
}
"""All forms of a sound layer dir, with whether it has a ``lower`` and a ``merged``."""

_BASE_LAYER_FACTS: Final = ((layout.DIFF, _DIGEST_BYTES), (layout.SIZE, _SIZE_DIGITS), (layout.CACHE_ID, _DIGEST_BYTES))
_LAYER_FACTS: Final = (*_BASE_LAYER_FACTS, (layout.PARENT, _DIGEST_BYTES))
_RW_LAYER_FACTS: Final = tuple((name, _DIGEST_BYTES) for name in _RW_LAYER)
_DIR_FACTS: Final = ((layout.LINK, _LINK_BYTES), (layout.LOWER, _LOWER_BYTES))
"""The files that are read of a record, in this order, and how many bytes each has at most."""

_SOUND_LAYER: Final = re.compile(rf"({DIGEST})\n([0-9]{{1,{_SIZE_DIGITS}}})\n({LAYER_DIR_ID})(?:\n({DIGEST}))?")
_SOUND_RW_LAYER: Final = re.compile(rf"({HEX64})\n({INIT_DIR})\n({DIGEST})")
"""All facts of a sound record, a line each."""


class _Unsound(Exception):
    """Something about the record is not as it should be."""


def layer_row(home: int, name: str, *, has_age: bool) -> LayerRow | None:
    """The layer record `name` in the directory `home`."""
    try:
        record = os.open(name, DIRECTORY_FLAGS, dir_fd=home)
        try:
            entries = _entries(record)
            if entries not in (_LAYER, _BASE_LAYER):
                return None
            ages = _Ages(record) if has_age else None
            facts = _lines(record, _LAYER_FACTS if entries == _LAYER else _BASE_LAYER_FACTS, ages)
            tar_split = _gzip_size(record, layout.TAR_SPLIT, ages)
        finally:
            os.close(record)
    except (OSError, _Unsound, FormatError):
        return None
    sound = _SOUND_LAYER.fullmatch(facts)
    if sound is None or (sound[4] is None) is not (entries == _BASE_LAYER):
        return None
    diff_id, size, cache_id, parent = sound.groups()
    chain = ChainId(intern(parent)) if parent is not None else None
    newest_ns = ages.newest_ns if ages is not None else 0
    return DiffId(intern(diff_id)), int(size), LayerDirId(intern(cache_id)), chain, tar_split, newest_ns


def rw_layer_row(home: int, name: str, *, has_age: bool) -> RwLayerRow | None:
    """The rw layer record `name` in the directory `home`, if it has an init layer and a parent."""
    try:
        record = os.open(name, DIRECTORY_FLAGS, dir_fd=home)
        try:
            if _entries(record) != _RW_LAYER:
                return None
            ages = _Ages(record) if has_age else None
            sound = _SOUND_RW_LAYER.fullmatch(_lines(record, _RW_LAYER_FACTS, ages))
        finally:
            os.close(record)
    except (OSError, _Unsound):
        return None
    if sound is None:
        return None
    return sound[1], sound[2], sound[3], ages.newest_ns if ages is not None else 0


def dir_row(home: int, name: str, *, has_age: bool) -> DirRow | None:
    """The layer dir `name` in the directory `home`."""
    if not is_layer_dir_id(name):
        return None
    try:
        record = os.open(name, DIRECTORY_FLAGS, dir_fd=home)
        try:
            form = _DIRS.get(frozenset(_entries(record).items()))
            if form is None:
                return None
            has_lower, has_merged = form
            ages = _Ages(record) if has_age else None
            link, *lowers = _contents(record, _DIR_FACTS if has_lower else _DIR_FACTS[:1], ages)
            if ages is not None:
                ages.look_at(layout.DIFF)
        finally:
            os.close(record)
    except (OSError, _Unsound):
        return None
    claimed = link.decode("latin-1")
    if not is_link_id(claimed) or not all(map(is_sound_lower, lowers)):
        return None
    newest_ns = ages.newest_ns if ages is not None else 0
    return LinkId(intern(claimed)), lowers[0].decode("ascii") if lowers else "", has_merged, newest_ns


def link_row(home: int, name: str, *, has_age: bool) -> LinkRow | None:
    """The entry `name` of the link farm `home`."""
    try:
        newest_ns = os.stat(name, dir_fd=home, follow_symlinks=False).st_ctime_ns if has_age else 0
        target = os.readlink(name, dir_fd=home)
    except OSError:
        return None
    dir_id = target[3:-5]
    if not (is_layer_dir_id(dir_id) and target == layout.link_target(dir_id)):
        return None
    return LayerDirId(intern(dir_id)), newest_ns


class _Ages:
    """The newest ctime of a record and of what was read of it."""

    __slots__ = ("_record", "newest_ns")

    def __init__(self, record: int) -> None:
        self._record = record
        self.newest_ns = os.fstat(record).st_ctime_ns

    def note(self, file: int) -> None:
        """Of the open `file`, before it is read."""
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise _Unsound
        self.newest_ns = max(self.newest_ns, status.st_ctime_ns)

    def look_at(self, name: str) -> None:
        status = os.stat(name, dir_fd=self._record, follow_symlinks=False)
        self.newest_ns = max(self.newest_ns, status.st_ctime_ns)


def _entries(record: int) -> dict[str, bool]:
    """The names in a record, with whether it is a file or a directory; nothing where one is neither, or of too many."""
    with os.scandir(record) as scan:
        first = list(islice(scan, _MOST_ENTRIES + 1))
    entries = {entry.name: entry.is_file(follow_symlinks=False) for entry in first}
    for entry in first:
        if not entries[entry.name] and not entry.is_dir(follow_symlinks=False):
            return {}
    return entries


def _contents(record: int, facts: Iterable[tuple[str, int]], ages: _Ages | None) -> list[bytes]:
    """What each file of `facts` holds, one byte more than it may have at most."""
    contents = []
    for name, most in facts:
        file = os.open(name, FILE_FLAGS, dir_fd=record)
        try:
            if ages is not None:
                ages.note(file)
            contents.append(os.read(file, most + 1))
        finally:
            os.close(file)
    return contents


def _lines(record: int, facts: Iterable[tuple[str, int]], ages: _Ages | None) -> str:
    """As `_contents`, a line each; what is no ASCII is in no sound file, and stays different from all that is."""
    return b"\n".join(_contents(record, facts, ages)).decode("latin-1")


def _gzip_size(record: int, name: str, ages: _Ages | None) -> int:
    """The size of the gzip file `name`; FormatError if its ends are not those of one."""
    file = os.open(name, FILE_FLAGS, dir_fd=record)
    try:
        if ages is not None:
            ages.note(file)
        head = tail = os.read(file, _TAR_SPLIT_BYTES)
        size = len(head)
        if size == _TAR_SPLIT_BYTES:
            size = os.lseek(file, -TAIL_BYTES, os.SEEK_END) + TAIL_BYTES
            tail = os.read(file, TAIL_BYTES)
    finally:
        os.close(file)
    return gzip_size(head[:HEAD_BYTES], tail[-TAIL_BYTES:], size)
