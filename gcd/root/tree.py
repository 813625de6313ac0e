"""
Reading below one directory, through its descriptor.

A `Directory` is an open descriptor. Everything below it is reached by one name at a time relative to that descriptor
(``openat``), never through a path, and never through a symlink: whoever can write below the root can rename and relink
while gcd reads, and must not be able to lead it elsewhere. Files are read only if they are regular (a FIFO does not
block, a device is not read) and only up to a limit.

Trouble with one name is a `Reading`, never an exception: ENOENT and ENOTDIR are `Absent`, a symlink, FIFO, socket,
device or directory in a file's place is `Malformed`, every other errno is `Unreadable` with the system's own word for
it. Nothing is ever opened for writing.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Self, TypeVar, assert_never

from msgspec import Struct

from gcd.model.errors import FormatError, NotADockerRoot, RootNotFound, RootUnreadable
from gcd.model.facts import FileType
from gcd.model.inventory import Coverage, SourceState
from gcd.model.reading import ABSENT, EMPTY, Absent, Empty, Malformed, Present, Reading, Unreadable, describe
from gcd.root.forms import of_form
from gcd.root.listing import DIRECTORY_FLAGS, MORE

try:
    from gcd.root._listing import list_entries, list_formed
except ImportError:  # not compiled where it was installed
    from gcd.root.listing import list_entries, list_formed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from types import TracebackType

T = TypeVar("T")

FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

VANISHED = "ENOENT"
"""The failure of a listing whose directory was removed after it was opened."""

_TYPES = (FileType.FILE, FileType.DIRECTORY, FileType.SYMLINK, FileType.OTHER)

MAX_ENTRIES = 1_000_000
"""Above this many entries a listing is cut, and what it lists counts as incomplete."""


class Listing(Struct, frozen=True):
    """The types of a directory's entries by name; `failure` says in one clause why some may be missing, else is ""."""

    entries: Mapping[str, FileType]
    failure: str = ""


class FormedListing(Listing, frozen=True):
    """The names of a form that was asked for, whatever they are of, and the other entries."""

    names: Sequence[str] = ()


class Directory:
    """An open directory; closes itself as a context manager. `fd` stays the directory's own."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def stat(self) -> os.stat_result:
        return os.fstat(self.fd)

    def open(self, name: str) -> Reading[Directory]:
        """The directory `name` in this one, for the caller to close; anything else by that name is `Malformed`."""
        try:
            return Present(Directory(os.open(one(name), DIRECTORY_FLAGS, dir_fd=self.fd)))
        except OSError as error:
            if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                return self._in_place_of(name, FileType.DIRECTORY)
            return refusal(error)

    def open_path(self, path: str) -> Reading[Directory]:
        """The directory at the relative `path`, opened name by name, so that a symlink at any level is `Malformed`."""
        here = self
        for name in path.split("/"):
            reading = here.open(name)
            if here is not self:
                here.close()
            if not isinstance(reading, Present):
                return reading
            here = reading.value
        return Present(here)

    def list(self, limit: int = MAX_ENTRIES) -> Listing:
        """The entries, of which at most `limit` are read; trouble, even at the first, shows as `failure`."""
        entries, stopped = list_entries(self.fd, limit, _TYPES)
        return Listing(entries, self._failure(stopped, limit, is_empty=not entries))

    def list_named(self, names: Collection[str] | None) -> Listing:
        """As `list`, of those of `names` that are there, or of all (None). What cannot be a name is not there."""
        if names is None:
            return self.list()
        entries: dict[str, FileType] = {}
        for name in names:
            status = self.lstat(name) if _is_one(name) else ABSENT
            if isinstance(status, Present):
                entries[name] = type_of(status.value)
            elif not isinstance(status, Absent):
                return Listing(entries, describe(status))
        return Listing(entries)

    def list_formed(self, templates: tuple[bytes, ...], only: Collection[str] | None = None) -> FormedListing:
        """As `list_named`, with the names that are a text of one of `templates` (`gcd.root.forms`) apart."""
        if only is not None:
            listing = self.list_named(only)
            others = dict(listing.entries)
            names = of_form(others, templates)
            for name in names:
                del others[name]
            return FormedListing(others, listing.failure, names)
        names, others, stopped = list_formed(self.fd, MAX_ENTRIES, _TYPES, templates)
        return FormedListing(others, self._failure(stopped, MAX_ENTRIES, is_empty=not names and not others), names)

    def _failure(self, stopped: int, limit: int, *, is_empty: bool) -> str:
        """What a listing says that was `stopped` by this."""
        if stopped == MORE:
            return f"more than {limit} entries"
        if stopped:
            return _word_for(stopped)
        # The C library shows a directory that was removed while it was open as an empty one.
        return VANISHED if is_empty and self.stat().st_nlink == 0 else ""

    def is_empty(self) -> bool | None:
        """Whether there is no entry at all; None if that cannot be told."""
        try:
            os.lseek(self.fd, 0, os.SEEK_SET)
            with os.scandir(self.fd) as scan:
                return next(scan, None) is None
        except OSError:
            return None

    def read(self, name: str, limit: int, parse: Callable[[bytes], T]) -> Reading[T]:
        """What `parse` makes of the file `name`, of at most `limit` bytes."""
        return self.read_stamped(name, limit, parse)[0]

    def read_stamped(self, name: str, limit: int, parse: Callable[[bytes], T]) -> tuple[Reading[T], int]:
        """As `read`, with the file's ctime in nanoseconds, taken before its content; 0 where it could not be opened."""
        # The loop of every reading: what other methods delegate is written out here.
        try:
            fd = os.open(one(name), FILE_FLAGS, dir_fd=self.fd)
        except OSError as error:
            return self._not_opened(name, error), 0
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return in_place_of(FileType.FILE, type_of(status)), 0
            size = status.st_size
            raw = os.read(fd, min(limit, size) + 1)
            if len(raw) != size:
                raw = _read_rest(fd, raw, limit)
        except OSError as error:
            return refusal(error), 0
        finally:
            os.close(fd)
        return parsed(raw, limit, parse), status.st_ctime_ns

    def read_ends(
        self, name: str, head: int, tail: int, parse: Callable[[bytes, bytes, int], T]
    ) -> tuple[Reading[T], int]:
        """
        What `parse` makes of the first `head` bytes, the last `tail` bytes and the size of the file `name`, with the
        file's ctime as in `read_stamped`. The ends overlap, or are shorter, in a short file.
        """
        try:
            fd = os.open(one(name), FILE_FLAGS, dir_fd=self.fd)
        except OSError as error:
            return self._not_opened(name, error), 0
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return in_place_of(FileType.FILE, type_of(status)), 0
            first = os.pread(fd, head, 0)
            last = os.pread(fd, tail, max(0, status.st_size - tail))
        except OSError as error:
            return refusal(error), 0
        finally:
            os.close(fd)
        if not first:
            return EMPTY, status.st_ctime_ns
        try:
            return Present(parse(first, last, status.st_size)), status.st_ctime_ns
        except FormatError as error:
            return Malformed(error.expected, error.found, error.offset), status.st_ctime_ns

    def lstat(self, name: str) -> Reading[os.stat_result]:
        try:
            return Present(os.stat(one(name), dir_fd=self.fd, follow_symlinks=False))
        except OSError as error:
            return refusal(error)

    def readlink(self, name: str) -> Reading[str]:
        """The text of the symlink `name`; anything else by that name is `Malformed`."""
        try:
            return Present(os.readlink(one(name), dir_fd=self.fd))
        except OSError as error:
            if error.errno == errno.EINVAL:
                return self._in_place_of(name, FileType.SYMLINK)
            return refusal(error)

    def _not_opened(self, name: str, error: OSError) -> Absent | Unreadable | Malformed:
        if error.errno in {errno.ELOOP, errno.ENXIO, errno.ENODEV}:
            return self._in_place_of(name, FileType.FILE)
        return refusal(error)

    def _in_place_of(self, name: str, expected: FileType) -> Absent | Unreadable | Malformed:
        status = self.lstat(name)
        match status:
            case Present(found):
                return in_place_of(expected, type_of(found))
            case Absent() | Unreadable() | Malformed():
                return status
            case Empty():
                return ABSENT
            case _:
                assert_never(status)


def open_root(path: str) -> Directory:
    """
    The Docker root at `path`, for the caller to close.

    Symlinks in `path` itself are followed, as the engine does with its data root: the path is the user's own word.
    Raises RootNotFound, NotADockerRoot (no directory) or RootUnreadable.
    """
    try:
        return Directory(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except FileNotFoundError:
        message = f"There is no directory {path!r}: name the Docker root with --root."
        raise RootNotFound(message) from None
    except NotADirectoryError:
        message = f"{path!r} is not a directory: name the Docker root with --root."
        raise NotADockerRoot(message) from None
    except OSError as error:
        message = f"{path!r} cannot be opened ({name_of(error)}): run gcd as root."
        raise RootUnreadable(message) from None


def name_of(error: OSError) -> str:
    """The system's own word for `error`, such as ``EACCES``."""
    return _word_for(error.errno or 0)


def _word_for(number: int) -> str:
    return errno.errorcode.get(number, f"errno {number}")


def refusal(error: OSError) -> Absent | Unreadable:
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return ABSENT
    return Unreadable(name_of(error))


def in_place_of(expected: FileType, found: FileType) -> Malformed:
    """The reading of a name under which not `expected` but `found` was seen."""
    return Malformed(expected.noun, found.noun)


def type_of(status: os.stat_result) -> FileType:
    match stat.S_IFMT(status.st_mode):
        case stat.S_IFDIR:
            return FileType.DIRECTORY
        case stat.S_IFREG:
            return FileType.FILE
        case stat.S_IFLNK:
            return FileType.SYMLINK
        case _:
            return FileType.OTHER


def source_state(path: str, reading: Reading[object]) -> SourceState:
    """How completely a source was read whose directory or only file at `path` gave `reading`."""
    match reading:
        case Present():
            return SourceState(Coverage.OK)
        case Absent():
            return SourceState(Coverage.ABSENT, f"{path} is not there")
        case Empty():
            return SourceState(Coverage.UNREADABLE, f"{path} is empty")
        case Unreadable(reason):
            return SourceState(Coverage.UNREADABLE, f"{path} cannot be read ({reason})")
        case Malformed(expected, found, _):
            return SourceState(Coverage.UNREADABLE, f"{path} is not {expected} but {found}")
        case _:
            assert_never(reading)


def listing_state(path: str, listing: Listing) -> SourceState:
    """How completely the items were listed whose directory at `path` gave `listing`."""
    if listing.failure:
        return SourceState(Coverage.PARTIAL, f"{path} cannot be listed whole ({listing.failure})")
    return SourceState(Coverage.OK)


_WORST_FIRST = (Coverage.UNREADABLE, Coverage.BUSY, Coverage.PARTIAL, Coverage.ABSENT, Coverage.OK)


def combined(*states: SourceState) -> SourceState:
    """How completely a source was read that has several parts: as its worst part, with the reasons of all."""
    worst = min(states, key=lambda state: _WORST_FIRST.index(state.coverage))
    return SourceState(worst.coverage, "; ".join(dict.fromkeys(state.why for state in states if state.why)))


def one(name: str) -> str:
    """`name`, which must be one component: a slash in it would let the system resolve symlinks on the way."""
    if not _is_one(name):
        message = f"not one name: {name!r}"
        raise ValueError(message)
    return name


def _is_one(name: str) -> bool:
    return "/" not in name and "\0" not in name and name not in {"", ".", ".."}


def _read_rest(fd: int, raw: bytes, limit: int) -> bytes:
    """`raw`, the first bytes of a file, and what follows; at most ``limit + 1`` bytes in all."""
    parts = [raw]
    total = len(raw)
    while parts[-1] and total <= limit:
        parts.append(os.read(fd, min(limit + 1 - total, 1 << 20)))
        total += len(parts[-1])
    return b"".join(parts)


def parsed_reading(reading: Reading[bytes], parse: Callable[[bytes], T]) -> Reading[T]:
    """`reading` of a file, with what `parse` makes of it where it was read."""
    if not isinstance(reading, Present):
        return reading
    try:
        return Present(parse(reading.value))
    except FormatError as error:
        return Malformed(error.expected, error.found, error.offset)


def parsed(raw: bytes, limit: int, parse: Callable[[bytes], T]) -> Reading[T]:
    """What `parse` makes of all that is in a file; only the first byte after `limit` need be there of a longer one."""
    if not raw:
        return EMPTY
    if len(raw) > limit:
        return Malformed(f"at most {limit} bytes", "more", limit)
    return parsed_reading(Present(raw), parse)
