"""
One item of an entry: taken out of its place, put back, and where it is now.

========  ===========================================  =======================  =====================================
item      to take it                                   it is taken when         to put it back
========  ===========================================  =======================  =====================================
taken     rename path → items/<n>                      items/<n> is there       rename items/<n> → path
both      items/<n> made, exchanged with path          items/<n> is what was    exchange again, remove items/<n>
                                                       taken, by its inode
made      items/<n> made, renamed to path              path is what was made,   rename path → items/<n>, remove it
                                                       and items/<n> is not
                                                       there
========  ===========================================  =======================  =====================================

Every row is one rename, so an item is either taken or not; the inode number decides, which no rename changes. What was
only made is told by its content, and so between `begin_taking` and `end_taking` alone (`gcd.actions.manifest`): before
and after, whatever is at its path is somebody else's.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import contextmanager
from enum import Enum, auto
from typing import TYPE_CHECKING

from gcd.actions import syscalls
from gcd.model.entry import Item, Made, Taken
from gcd.model.facts import FileType
from gcd.model.reading import Absent, Present, Unreadable
from gcd.root.descent import BLOCK
from gcd.root.tree import FILE_FLAGS, type_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.root.tree import Directory

MOST_UNSIZED = 64 << 20
"""Where a manifest does not say how long a file is that was made, one that is longer is not it."""

_PIECE = 1 << 20

Version = tuple[int, int, int, int]
"""Device, inode, size and mtime of a file: as long as these are the same, nobody wrote into it."""

Known = dict[Version, str]
"""The SHA-256 of files that were read, or made, already: none is read twice, whatever names it has and gets."""


class Where(Enum):
    """Where an item is now."""

    IN_PLACE = auto()
    """It is not taken: what it is about is as it was, or was put back."""
    TAKEN = auto()
    LOST = auto()
    """Neither: somebody else removed or replaced it."""


@contextmanager
def parent_of(root: Directory, path: str) -> Iterator[tuple[Directory, str]]:
    """
    The directory that `path` lies in, open, and its name there. `OSError` if that cannot be opened name by name.
    """
    *folders, name = path.split("/")
    if not folders:
        yield root, name
        return
    reading = root.open_path("/".join(folders))
    match reading:
        case Present(directory):
            with directory:
                yield directory, name
        case Absent():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        case Unreadable(reason):
            raise OSError(getattr(errno, reason, errno.EIO), reason, path)
        case _:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)


def taken_of(parent: Directory, name: str) -> Taken:
    """What stands at `name` now. `OSError` if nothing does."""
    status = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
    return Taken(
        type=type_of(status),
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        device=status.st_dev,
        inode=status.st_ino,
        label=syscalls.label_of(parent, name),
        disk_bytes=status.st_blocks * BLOCK,
    )


def made_of(kind: FileType, content: bytes = b"") -> Made:
    """What a repair makes: of a file its content, of a symlink its text."""
    return Made(kind, "" if kind is FileType.DIRECTORY else hashlib.sha256(content).hexdigest(), len(content))


def version_of(status: os.stat_result) -> Version:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def stands_at(parent: Directory, name: str, made: Made, known: Known) -> bool:
    """Whether what was `made` stands at `name`; not where that cannot be told. What is read is `known` from then on."""
    status = parent.lstat(name)
    if not isinstance(status, Present) or type_of(status.value) is not made.type:
        return False
    match made.type:
        case FileType.DIRECTORY:
            return True
        case FileType.SYMLINK:
            return made.sha256 == hashlib.sha256(os.fsencode(os.readlink(name, dir_fd=parent.fd))).hexdigest()
        case FileType.FILE:
            size = status.value.st_size
            is_as_long = size <= MOST_UNSIZED if made.size is None else size == made.size
            return is_as_long and made.sha256 == _digest_at(parent, name, version_of(status.value), known)
        case _:
            return False


def _digest_at(parent: Directory, name: str, version: Version, known: Known) -> str:
    """The SHA-256 of the file `name`, of which no more is read than it is long; "" where it cannot be read."""
    if version in known:
        return known[version]
    digest, size = hashlib.sha256(), version[2]
    try:
        fd = os.open(name, FILE_FLAGS, dir_fd=parent.fd)
        try:
            if version_of(os.fstat(fd)) != version:
                return ""
            while size and (piece := os.read(fd, min(size, _PIECE))):
                digest.update(piece)
                size -= len(piece)
        finally:
            os.close(fd)
    except OSError:
        return ""
    return known.setdefault(version, digest.hexdigest())


def where(item: Item, index: int, items: Directory, root: Directory, known: Known) -> Where:
    """Where the item is, of an entry that may have been taken; `items` is its. `OSError` where that cannot be told."""
    kept = _inode(items, str(index))
    if item.taken is not None and kept == item.taken.inode:
        return Where.TAKEN
    try:
        with parent_of(root, item.path) as (parent, name):
            if item.taken is None:
                if kept is not None or _inode(parent, name) is None:
                    return Where.IN_PLACE
                is_made = item.made is not None and stands_at(parent, name, item.made, known)
                return Where.TAKEN if is_made else Where.LOST
            return Where.IN_PLACE if _inode(parent, name) == item.taken.inode else Where.LOST
    except (FileNotFoundError, NotADirectoryError):
        return Where.LOST if item.taken is not None else Where.IN_PLACE


def take(item: Item, index: int, items: Directory, parent: Directory, name: str) -> None:
    """
    Take the item, by one rename; what a repair makes must be in the entry already.

    `OSError` with nothing changed: EEXIST where something stands that should not, ENOENT where nothing does.
    """
    if item.taken is None:
        syscalls.rename_noreplace(items, str(index), parent, name)
    elif item.made is None:
        syscalls.rename_noreplace(parent, name, items, str(index))
    else:
        syscalls.exchange(items, str(index), parent, name)


def put_back(item: Item, index: int, items: Directory, parent: Directory, name: str) -> None:
    """Undo `take`, by one rename. What a repair made is left in the entry, for `gcd.actions.manifest.discard`."""
    if item.taken is None:
        syscalls.rename_noreplace(parent, name, items, str(index))
    elif item.made is None:
        syscalls.rename_noreplace(items, str(index), parent, name)
    else:
        syscalls.exchange(items, str(index), parent, name)


def _inode(parent: Directory, name: str) -> int | None:
    """None if nothing is there; `OSError` if that cannot be told."""
    status = parent.lstat(name)
    match status:
        case Present(found):
            return found.st_ino
        case Unreadable(reason):
            raise OSError(getattr(errno, reason, errno.EIO), reason, name)
        case _:
            return None
