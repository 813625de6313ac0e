"""
The inner loop of all walks: count all that lies below one name, on one device, through directory descriptors.

Trees of any depth are walked with at most `OPEN` strides of `LEVELS` directories open: from further down, ``..`` is
opened on the way back, and must be the directory that was left.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.root.listing import DIRECTORY_FLAGS, GONE, MOST_LEVELS, enter

try:
    from gcd.root._listing import count_below
except ImportError:  # not compiled where it was installed
    from gcd.root.listing import count_below

if TYPE_CHECKING:
    from gcd.root.listing import Link, Way

BLOCK = 512
"""The unit of ``st_blocks``, whatever the block size of the file system."""

LEVELS = MOST_LEVELS
"""So many levels below a directory are counted in one stride. Deeper than this, few trees have anything."""

OPEN = 4
"""So many of the directories that strides began at are open at most, beside the one stride that is under way."""

Identity = tuple[int, int]


class _Stride(Struct):
    """A directory on the way down, -1 while it is closed, and the ways to what is still to be entered below it."""

    fd: int
    pending: list[Way]
    names: int = 0
    """How many lie between the directory and the one that the stride before began at."""
    identity: Identity | None = None
    """Known once it is closed."""


class Descent:
    """
    Sums up one unit after the other: `begin`, `count` once or more, `sums`. The first unit, "", is begun already.

    `links` holds, by inode, the blocks of what has several names, and the units that it was seen in. Its blocks are in
    no unit's sums; its size is in the payload of each.
    """

    def __init__(self, device: int) -> None:
        self.device = device
        self.links: dict[int, tuple[int, list[str]]] = {}
        self.unreadable = 0
        self.begin("")

    def begin(self, unit: str) -> None:
        self._unit = unit
        self._blocks = self._inodes = self._size = 0

    def sums(self) -> tuple[int, int, int]:
        """Blocks, inodes, and bytes of the payload, of the unit that was begun last."""
        return self._blocks, self._inodes, self._size

    def count(self, parent_fd: int, name: str, payload: str = "") -> None:
        """Count `name` in the directory `parent_fd`; its payload is what the directory `payload` in it holds."""
        try:
            status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        except OSError as error:
            self.unreadable += error.errno not in GONE
            return
        if status.st_dev != self.device:
            return
        if not stat.S_ISDIR(status.st_mode):
            if status.st_nlink > 1:
                self._note(status.st_ino, status.st_blocks, status.st_size)
            else:
                self._blocks += status.st_blocks
                self._inodes += 1
            return
        self._blocks += status.st_blocks
        self._inodes += 1
        fd = self._enter(parent_fd, (name,))
        if fd is not None:
            self._below(fd, payload)

    def _below(self, fd: int, payload: str) -> None:
        """Count what is below the directory `fd`, its payload last, and close it."""
        strides = [_Stride(fd, [])]
        try:
            pending = self._count(fd, 0 if payload else LEVELS)
            strides[0].pending = [way for way in pending if way != (payload,)]
            self._descend(strides)
            self._size = 0
            strides[0].pending = [way for way in pending if way == (payload,)]
            self._descend(strides)
        finally:
            for stride in strides:
                _close(stride)

    def _descend(self, strides: list[_Stride]) -> None:
        """Enter all that is pending, back to the first stride."""
        while True:
            here = strides[-1]
            if here.pending:
                way = here.pending.pop()
                fd = self._enter(here.fd, way)
                if fd is None:
                    continue
                strides.append(_Stride(fd, [], len(way)))
                strides[-1].pending = self._count(fd, LEVELS)
                if len(strides) > OPEN:
                    _put_aside(strides[-OPEN])
                continue
            if len(strides) == 1:
                return
            above = strides[-2]
            if above.fd < 0 and not _reopen(above, here):
                # Somebody moved the directory: what is left above it cannot be reached from here.
                self.unreadable += 1
                while len(strides) > 1:
                    _close(strides.pop())
                continue
            _close(strides.pop())

    def _count(self, fd: int, levels: int) -> list[Way]:
        """Count what is so many levels below `fd`; the ways to what lies deeper."""
        return count_below(fd, self.device, levels, self._add)

    def _add(self, blocks: int, inodes: int, size: int, unreadable: int, links: list[Link]) -> None:
        self._blocks += blocks
        self._inodes += inodes
        self._size += size
        self.unreadable += unreadable
        for link in links:
            self._note(*link)

    def _note(self, inode: int, blocks: int, size: int) -> None:
        """Keep an inode that has several names, for the caller to decide whose it is."""
        known = self.links.get(inode)
        if known is None:
            self.links[inode] = (blocks, [self._unit])
        elif self._unit in known[1]:
            return
        else:
            known[1].append(self._unit)
        self._size += size

    def _enter(self, parent_fd: int, way: Way) -> int | None:
        """The directory at `way`, opened; None if it vanished, was replaced or cannot be opened (which is counted)."""
        try:
            return enter_by(parent_fd, way)
        except OSError:
            self.unreadable += 1
            return None


def enter_by(parent_fd: int, way: Way) -> int | None:
    """As `gcd.root.listing.enter`, name by name, so that no symlink is followed at any level."""
    fd = parent_fd
    for name in way:
        try:
            there = enter(fd, name)
        finally:
            if fd != parent_fd:
                os.close(fd)
        if there is None:
            return None
        fd = there
    return fd


def _close(stride: _Stride) -> None:
    if stride.fd >= 0:
        os.close(stride.fd)
        stride.fd = -1


def _put_aside(stride: _Stride) -> None:
    if stride.fd >= 0:
        stride.identity = _identity(stride.fd)
        _close(stride)


def _reopen(stride: _Stride, below: _Stride) -> bool:
    """Open `stride` again from the one `below` it; false if it is not there any more."""
    try:
        fd = os.open("/".join([".."] * below.names), DIRECTORY_FLAGS, dir_fd=below.fd)
    except OSError:
        return False
    if _identity(fd) != stride.identity:
        os.close(fd)
        return False
    stride.fd = fd
    return True


def _identity(fd: int) -> Identity:
    status = os.fstat(fd)
    return (status.st_dev, status.st_ino)
