"""
A consistent copy of a bolt file whose owner may be writing it, taken without any lock.

dockerd holds these files locked for its lifetime, and locking one could hang its start: they are only ever read.
bbolt never overwrites a page of the state before the current one: a state's pages are safe from the transaction after
it, not from the one after that. So the copy is whole if the current transaction is the same after the copy as before
it. If it moved, even by one, a further one may already have torn the copy, and it is taken again.

Promises: no lock, nothing opened for writing, no symlink followed, no device or FIFO read, attempts and bytes bounded.
What comes out is one state, not a sound one: that is for `gcd.formats.bolt` to say.

Sources: etcd-io/bbolt ``tx.go`` Commit (pages, sync, meta, sync), ``internal/freelist/shared.go`` ReleasePendingPages.
"""

from __future__ import annotations

import os
import time
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from gcd.formats.bolt import Meta, current_meta
from gcd.model.errors import FormatError
from gcd.model.facts import FileType
from gcd.model.reading import EMPTY, Empty, Malformed, Present, Reading
from gcd.root.tree import in_place_of, refusal, type_of

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 256 << 20
"""Bytes of a state above which it is not read: BuildKit's largest databases have a few MiB."""

PAUSES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds to wait after each attempt but the last: under two in all."""

SURE = 3
"""Attempts in a row that must find no valid state: while one meta is written the other may be torn to a reader."""

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_CHUNK = 1 << 20


class Busy(Struct, frozen=True):
    """The file changed during each of `attempts` attempts to copy it."""

    attempts: int


class _Moved(Enum):
    """The state, or the file itself, changed during one attempt."""

    MOVED = "moved"


_Attempt: TypeAlias = "Reading[bytes] | _Moved"


def copy_database(
    dir_fd: int,
    name: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    limit: int = LIMIT,
) -> Reading[bytes] | Busy:
    """
    The current state of the bolt file `name` in the directory `dir_fd`: its bytes up to the end of that state.

    Malformed: not a regular file, no valid meta, or a state of more than `limit` bytes. A file that ends before its
    state does is copied as it is.
    """
    stateless = 0
    for pause in (*PAUSES, None):
        outcome = _attempt(dir_fd, name, limit)
        stateless = stateless + 1 if isinstance(outcome, Empty | Malformed) else 0
        if not isinstance(outcome, _Moved) and stateless in {0, SURE}:
            return outcome
        if pause is not None:
            sleep(pause)
    return Busy(len(PAUSES) + 1)


def _attempt(dir_fd: int, name: str, limit: int) -> _Attempt:
    try:
        fd = os.open(name, _FLAGS, dir_fd=dir_fd)
    except OSError as error:
        return _no_file(dir_fd, name, error)
    try:
        status = os.fstat(fd)
        if type_of(status) is not FileType.FILE:
            return in_place_of(FileType.FILE, type_of(status))
        outcome = _state(fd, limit) if status.st_size else EMPTY
        return outcome if _is_at(dir_fd, name, status) else _Moved.MOVED
    except OSError as error:
        return refusal(error)
    finally:
        os.close(fd)


def _no_file(dir_fd: int, name: str, error: OSError) -> Reading[bytes]:
    """Why `name` could not be opened: O_NOFOLLOW refuses a symlink, and a socket cannot be opened at all."""
    try:
        found = type_of(os.stat(name, dir_fd=dir_fd, follow_symlinks=False))
    except OSError as gone:
        return refusal(gone)
    return refusal(error) if found is FileType.FILE else in_place_of(FileType.FILE, found)


def _is_at(dir_fd: int, name: str, status: os.stat_result) -> bool:
    """Whether `name` is still the file that `status` is of; an engine may rename a database away and make a new one."""
    try:
        now = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (now.st_dev, now.st_ino) == (status.st_dev, status.st_ino)


def _state(fd: int, limit: int) -> _Attempt:
    try:
        before = _meta(fd)
        if before.span > limit:
            return Malformed(f"at most {limit} bytes", f"{before.span}", limit)
        copy = _bytes(fd, before.span)
        return Present(copy) if _meta(fd) == before else _Moved.MOVED
    except FormatError as error:
        return Malformed(error.expected, error.found, error.offset)


def _meta(fd: int) -> Meta:
    return current_meta(lambda offset, size: os.pread(fd, size, offset))


def _bytes(fd: int, size: int) -> bytes:
    """`size` bytes from the start, fewer only if the file ends."""
    out = bytearray()
    while len(out) < size:
        part = os.pread(fd, min(_CHUNK, size - len(out)), len(out))
        if not part:
            break
        out += part
    return bytes(out)
