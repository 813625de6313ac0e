"""
A record: a directory of small files, each of which holds one fact.

Layer dirs, layer records, rw layer records and containers all have this form. A `Record` lists its directory once and
opens only what the listing calls a regular file, so that nothing in a file's place is ever opened and a file that is
not there costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Self, TypeVar

from msgspec import Struct

from gcd.model import layout
from gcd.model.facts import FileType
from gcd.model.reading import ABSENT, Absent, Malformed, Present, Reading, Unreadable
from gcd.root.tree import VANISHED, Directory, Listing, in_place_of, parsed

try:
    from gcd.root._files import read_whole_files, read_whole_records
except ImportError:  # not compiled where it was installed
    from gcd.root.files import read_whole_files, read_whole_records

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

T = TypeVar("T")
U = TypeVar("U")

MAX_FILES = 10_000
"""Above this many entries a record's listing is cut, and what it does not name is unreadable instead of absent."""

_EMPTY: Mapping[str, FileType] = {}


class Record:
    """
    The directory of one record, open while it is being read; closes itself as a context manager.

    `failure` is what stands in the place of every fact where the directory could not be opened. `ctime_ns` grows to the
    newest ctime of the directory and of the files that were read or looked at.
    """

    __slots__ = ("ctime_ns", "directory", "entries", "failure", "unlisted")

    def __init__(self, opened: Directory | Unreadable | Malformed, status: os.stat_result) -> None:
        self.directory: Directory | None = None
        self.failure: Unreadable | Malformed | None = None
        self.entries = _EMPTY
        self.unlisted = ""
        if isinstance(opened, Directory):
            listing: Listing = opened.list(MAX_FILES)
            self.directory = opened
            self.entries = listing.entries
            self.unlisted = listing.failure
        else:
            self.failure = opened
        self.ctime_ns = status.st_ctime_ns

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.directory is not None:
            self.directory.close()

    def read(self, name: str, limit: int, parse: Callable[[bytes], T]) -> Reading[T]:
        """What `parse` makes of the file `name`, of at most `limit` bytes."""
        kind = self.entries.get(name)
        if kind is FileType.FILE and self.directory is not None:
            reading, ctime_ns = self.directory.read_stamped(name, limit, parse)
            self.ctime_ns = max(self.ctime_ns, ctime_ns)
            return reading
        return self._no_file(kind)

    def read_ends(self, name: str, head: int, tail: int, parse: Callable[[bytes, bytes, int], T]) -> Reading[T]:
        """What `parse` makes of the two ends and the size of the file `name`; see `Directory.read_ends`."""
        kind = self.entries.get(name)
        if kind is FileType.FILE and self.directory is not None:
            reading, ctime_ns = self.directory.read_ends(name, head, tail, parse)
            self.ctime_ns = max(self.ctime_ns, ctime_ns)
            return reading
        return self._no_file(kind)

    def look_at(self, name: str) -> None:
        """Let the ctime of the entry `name`, if there is one, count in `ctime_ns`."""
        if self.directory is not None and name in self.entries:
            status = self.directory.lstat(name)
            if isinstance(status, Present):
                self.ctime_ns = max(self.ctime_ns, status.value.st_ctime_ns)

    def _no_file(self, kind: FileType | None) -> Absent | Unreadable | Malformed:
        if self.failure is not None:
            return self.failure
        if kind is not None:
            return in_place_of(FileType.FILE, kind)
        return Unreadable(self.unlisted) if self.unlisted else ABSENT


def read_small(directory: Directory, names: Sequence[str], limit: int) -> Iterator[tuple[Reading[bytes], int]]:
    """As `Directory.read_stamped` gives each of the files `names`, and faster for those that are small."""
    for name, whole in zip(names, read_whole_files(directory.fd, names), strict=True):
        if whole is None:
            yield directory.read_stamped(name, limit, bytes)
        else:
            content, ctime_ns = whole
            yield parsed(content, limit, bytes), ctime_ns


def open_record(parent: Directory, name: str) -> Record | None:
    """The record `name` in `parent`, for the caller to close; None if it has vanished since `parent` was listed."""
    opened = parent.open(name)
    if isinstance(opened, Present):
        record = Record(opened.value, opened.value.stat())
        if record.unlisted == VANISHED:
            opened.value.close()
            return None
        return record
    status = parent.lstat(name)
    if isinstance(status, Present) and isinstance(opened, Unreadable | Malformed):
        return Record(opened, status.value)
    return None


class Wanted(Struct, Generic[T], frozen=True):
    """A file of a record: what `parse` makes of at most `limit` bytes."""

    name: str
    limit: int
    parse: Callable[[bytes], T]

    def of(self, content: bytes | None) -> Reading[T]:
        return ABSENT if content is None else parsed(content, self.limit, self.parse)


Pair = tuple[Reading[T], Reading[U], int, tuple[str, ...]]
"""Of a record: the readings of two files, its newest ctime, and the names of temporary files in it, sorted."""


def read_pairs(
    parent: Directory, names: Sequence[str], first: Wanted[T], second: Wanted[U]
) -> Iterator[tuple[str, Pair[T, U]]]:
    """
    The records `names` in `parent` that are two files each, and the temporary ones that these are written to; without
    those that have vanished since `parent` was listed.
    """
    files = (first.name, second.name)
    for name, whole in zip(names, read_whole_records(parent.fd, names, files, layout.TEMPORARY_PREFIX), strict=True):
        if whole is not None:
            temporaries, ctime_ns, (one, other) = whole
            yield name, (first.of(one), second.of(other), ctime_ns, tuple(temporaries))
            continue
        pair = _read_pair(parent, name, first, second)
        if pair is not None:
            yield name, pair


def _read_pair(parent: Directory, name: str, first: Wanted[T], second: Wanted[U]) -> Pair[T, U] | None:
    record = open_record(parent, name)
    if record is None:
        return None
    with record:
        return (
            record.read(first.name, first.limit, first.parse),
            record.read(second.name, second.limit, second.parse),
            record.ctime_ns,
            tuple(sorted(entry for entry in record.entries if entry.startswith(layout.TEMPORARY_PREFIX))),
        )
