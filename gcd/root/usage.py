"""
How many bytes of disk trees below a root take.

Disk usage is what the file system has allocated (``st_blocks`` of 512 bytes), as ``du`` counts it: sparse files count
for what they hold, an inode counts once in a group however many names it has there, symlinks count themselves and are
never followed, and a mounted file system is not entered (its mountpoint counts nothing, as it is another device).

Names come and go while gcd walks: what vanished is not counted, what cannot be read is. A tree of any depth and width
is walked with one open directory at a time: to go back up, ``..`` is opened and must be the directory left before.
"""

from __future__ import annotations

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from gcd.model.reading import Absent, Present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gcd.root.tree import Directory

K = TypeVar("K")

BLOCK = 512
"""The unit of ``st_blocks``, whatever the block size of the file system."""

WORKERS = 4

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC

Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Usage:
    """
    What a group of trees takes: bytes on disk and inodes.

    `unreadable` counts the directories that could not be read, so that the figures are lower bounds when it is not 0.
    """

    disk_bytes: int
    inodes: int
    unreadable: int = 0


def measure(root: Directory, groups: Mapping[K, Sequence[str]], *, workers: int = WORKERS) -> dict[K, Usage]:
    """
    The usage of each group of paths, which are relative to `root`.

    Paths of a group may lie within one another; a path that is not there counts nothing. Groups are measured apart from
    each other, `workers` at a time: what two of them share counts in both.
    """
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="gcd-usage") as pool:
        futures = {key: pool.submit(_usage_of, root, tuple(paths)) for key, paths in groups.items()}
        return {key: future.result() for key, future in futures.items()}


def _usage_of(root: Directory, paths: tuple[str, ...]) -> Usage:
    tally = _Tally()
    for path in _outermost(paths):
        *parents, name = path.split("/")
        here = root.open_path("/".join(parents)) if parents else Present(root)
        if not isinstance(here, Present):
            tally.unreadable += not isinstance(here, Absent)
            continue
        try:
            _walk(here.value.fd, name, tally)
        finally:
            if here.value is not root:
                here.value.close()
    return Usage(tally.disk_bytes, tally.inodes, tally.unreadable)


def _outermost(paths: tuple[str, ...]) -> list[str]:
    """The paths that do not lie within another, each once."""
    outermost: list[str] = []
    for path in sorted(paths, key=lambda path: path.split("/")):
        if not outermost or not f"{path}/".startswith(f"{outermost[-1]}/"):
            outermost.append(path)
    return outermost


@dataclass(slots=True)
class _Tally:
    disk_bytes: int = 0
    inodes: int = 0
    unreadable: int = 0
    seen: set[Identity] = field(default_factory=set)
    """Directories, and whatever has several names."""

    def count(self, status: os.stat_result) -> bool:
        """Whether the inode was not counted before."""
        if status.st_nlink > 1 or stat.S_ISDIR(status.st_mode):
            identity = (status.st_dev, status.st_ino)
            if identity in self.seen:
                return False
            self.seen.add(identity)
        self.disk_bytes += status.st_blocks * BLOCK
        self.inodes += 1
        return True


@dataclass(slots=True)
class _Level:
    """A directory on the way down, and the names of those in it that are still to be walked."""

    identity: Identity
    pending: list[str]


def _walk(parent_fd: int, name: str, tally: _Tally) -> None:
    """Count `name` in the directory `parent_fd`, with all that is below it on the device of `parent_fd`."""
    device = os.fstat(parent_fd).st_dev
    try:
        status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError:
        tally.unreadable += 1
        return
    if status.st_dev != device or not tally.count(status) or not stat.S_ISDIR(status.st_mode):
        return
    here = _enter(parent_fd, name, device, tally)
    if here is not None:
        _walk_below(here, device, tally)


def _walk_below(here: int, device: int, tally: _Tally) -> None:
    """Count what is below the directory `here`, and close it."""
    levels = [_Level(_identity(here), _count_entries(here, device, tally))]
    try:
        while levels:
            if levels[-1].pending:
                there = _enter(here, levels[-1].pending.pop(), device, tally)
                if there is None:
                    continue
                os.close(here)
                here = there
                levels.append(_Level(_identity(here), _count_entries(here, device, tally)))
                continue
            levels.pop()
            if levels:
                there = _back_up(here, levels[-1].identity)
                if there is None:
                    # Somebody moved the directory: what is left above it cannot be reached from here.
                    tally.unreadable += 1
                    return
                os.close(here)
                here = there
    finally:
        os.close(here)


def _count_entries(here: int, device: int, tally: _Tally) -> list[str]:
    """Count all entries of `here`; the names of the directories among them that are to be walked."""
    pending: list[str] = []
    try:
        with os.scandir(here) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                except OSError:
                    tally.unreadable += 1
                    continue
                if status.st_dev == device and tally.count(status) and stat.S_ISDIR(status.st_mode):
                    pending.append(entry.name)
    except OSError:
        tally.unreadable += 1
    return pending


def _enter(here: int, name: str, device: int, tally: _Tally) -> int | None:
    """The directory `name`, opened; None if it vanished, was replaced or cannot be opened (which is counted)."""
    try:
        fd = os.open(name, _DIRECTORY_FLAGS, dir_fd=here)
    except OSError as error:
        tally.unreadable += error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
        return None
    if os.fstat(fd).st_dev == device:
        return fd
    os.close(fd)
    return None


def _back_up(here: int, expected: Identity) -> int | None:
    try:
        fd = os.open("..", _DIRECTORY_FLAGS, dir_fd=here)
    except OSError:
        return None
    if _identity(fd) == expected:
        return fd
    os.close(fd)
    return None


def _identity(fd: int) -> Identity:
    status = os.fstat(fd)
    return (status.st_dev, status.st_ino)
