"""
Directories, all their entries at once: which there are, and what they and all below them take on disk. What is compiled
in ``_listing.c`` does the same and takes its place where it could be built.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Final, TypeVar

from msgspec import Struct, field

from gcd.root.forms import of_form

T = TypeVar("T")

MORE = -1
"""What stopped a listing that was cut."""

DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC

MOST_LEVELS: Final = 16
"""So many levels are entered at most in one call, each with one directory open."""

GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})

Way = tuple[str, ...]
"""The names from one directory down to another."""

Link = tuple[int, int, int]
"""Inode, blocks of 512 bytes and size of what has several names."""

Told = Callable[[int, int, int, int, list[Link]], object]
"""
Called with what was counted since it was called last: blocks of 512 bytes, inodes, sizes of what is no directory; how
many could not be read; and, in none of these sums, what has several names, once for each that was seen.
"""


def list_entries(directory: int, most: int, types: tuple[T, T, T, T], /) -> tuple[dict[str, T], int]:
    """
    The entries of the open `directory` by name, at most so many, each with one of `types`: that of a file, a directory,
    a symlink, or of anything else. Beside them what stopped the listing: nothing (0), `MORE`, or an errno. The
    directory is listed from its beginning, wherever somebody else stopped.
    """
    file, folder, symlink, other = types
    entries: dict[str, T] = {}
    try:
        os.lseek(directory, 0, os.SEEK_SET)
        with os.scandir(directory) as scan:
            for entry in scan:
                if len(entries) >= most:
                    return entries, MORE
                if entry.is_file(follow_symlinks=False):
                    entries[entry.name] = file
                elif entry.is_dir(follow_symlinks=False):
                    entries[entry.name] = folder
                else:
                    entries[entry.name] = symlink if entry.is_symlink() else other
    except OSError as error:
        return entries, error.errno or errno.EIO
    return entries, 0


def list_formed(
    directory: int, most: int, types: tuple[T, T, T, T], templates: tuple[bytes, ...], /
) -> tuple[list[str], dict[str, T], int]:
    """
    As `list_entries`, but first the names that are a text of one of `templates` (`gcd.root.forms`), without their
    types; equal names are one object. A name that came while the directory was listed may be there twice.
    """
    entries, stopped = list_entries(directory, most, types)
    formed = of_form(entries, templates)
    for name in formed:
        del entries[name]
    return formed, entries, stopped


def count_below(directory: int, device: int, levels: int, told: Told, /) -> list[Way]:
    """
    Count what lies on `device` below the open `directory`: its entries, and so many `levels` below these. Directories
    that lie still deeper are counted but not entered: the ways to them are returned.

    `told` is called now and then, and at the end; what it raises ends the counting. No symlink is followed, what is
    mounted is not entered, what vanishes meanwhile is not counted. The directory is read from its beginning, wherever
    somebody else stopped. Raises ValueError for more than `MOST_LEVELS`.
    """
    if not 0 <= levels <= MOST_LEVELS:
        raise ValueError("so many levels are not counted at once")
    deeper: list[Way] = []
    _count(directory, device, levels, told, (), deeper)
    return deeper


def enter(parent: int, name: str) -> int | None:
    """The directory `name` in `parent`, opened; None if it vanished or was replaced. Raises OSError for all else."""
    try:
        return os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise


class _Sums(Struct):
    blocks: int = 0
    inodes: int = 0
    size: int = 0
    unreadable: int = 0
    links: list[Link] = field(default_factory=list)


def _count(directory: int, device: int, levels: int, told: Told, way: Way, deeper: list[Way]) -> None:
    sums = _Sums()
    folders = _entries(directory, device, sums)
    told(sums.blocks, sums.inodes, sums.size, sums.unreadable, sums.links)
    if levels == 0:
        deeper.extend((*way, name) for name in folders)
        return
    for name in folders:
        try:
            fd = enter(directory, name)
        except OSError:
            told(0, 0, 0, 1, [])
            continue
        if fd is not None:
            try:
                _count(fd, device, levels - 1, told, (*way, name), deeper)
            finally:
                os.close(fd)


def _entries(directory: int, device: int, sums: _Sums) -> list[str]:
    """Add all entries of `directory` to `sums`; the names of the directories among them."""
    folders: list[str] = []
    try:
        os.lseek(directory, 0, os.SEEK_SET)
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError as error:
                    sums.unreadable += error.errno not in GONE
                    continue
                is_folder = stat.S_ISDIR(status.st_mode)
                if status.st_dev != device:
                    continue
                if status.st_nlink > 1 and not is_folder:
                    sums.links.append((status.st_ino, status.st_blocks, status.st_size))
                    continue
                if is_folder:
                    folders.append(entry.name)
                else:
                    sums.size += status.st_size
                sums.blocks += status.st_blocks
                sums.inodes += 1
    except OSError:
        sums.unreadable += 1
    return folders
