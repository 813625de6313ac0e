"""
The inner loop of all walks: count all that lies below one name, on one device, through directory descriptors.

Trees of any depth are walked without recursion and with at most `OPEN` directories open: from further down, ``..`` is
opened on the way back, and must be the directory that was left.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

try:
    from gcd.root._bulk import count_entries
except ImportError:  # not compiled where it was installed
    from gcd.root.bulk import count_entries

BLOCK = 512
"""The unit of ``st_blocks``, whatever the block size of the file system."""

OPEN = 16
"""Deeper than this, few trees have much; several are walked at a time."""

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})

Identity = tuple[int, int]


@dataclass(slots=True)
class _Level:
    """A directory on the way down, -1 while it is closed, and the directories in it that are still to be entered."""

    fd: int
    pending: list[str]
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
            self.unreadable += error.errno not in _GONE
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
        fd = self._enter(parent_fd, name)
        if fd is not None:
            self._below(fd, payload)

    def _below(self, fd: int, payload: str) -> None:
        """Count what is below the directory `fd`, its payload last, and close it."""
        levels = [_Level(fd, self._scan(fd))]
        held = payload in levels[0].pending
        if held:
            levels[0].pending.remove(payload)
        try:
            self._descend(levels)
            self._size = 0
            if held:
                levels[0].pending.append(payload)
                self._descend(levels)
        finally:
            for level in levels:
                _close(level)

    def _descend(self, levels: list[_Level]) -> None:
        """Enter all that is pending, back to the first level."""
        while True:
            here = levels[-1]
            if here.pending:
                fd = self._enter(here.fd, here.pending.pop())
                if fd is None:
                    continue
                pending = self._scan(fd)
                if not pending:
                    # Most directories are the last on their way: they are no level.
                    os.close(fd)
                    continue
                levels.append(_Level(fd, pending))
                if len(levels) > OPEN:
                    _put_aside(levels[-OPEN])
                continue
            if len(levels) == 1:
                return
            above = levels[-2]
            if above.fd < 0 and not _reopen(above, here.fd):
                # Somebody moved the directory: what is left above it cannot be reached from here.
                self.unreadable += 1
                while len(levels) > 1:
                    _close(levels.pop())
                continue
            levels.pop()
            os.close(here.fd)

    def _scan(self, fd: int) -> list[str]:
        """Count all entries of `fd`; the names of the directories among them that are to be entered."""
        blocks, inodes, size, pending, links, unreadable = count_entries(fd, self.device)
        self._blocks += blocks
        self._inodes += inodes
        self._size += size
        self.unreadable += unreadable
        for link in links:
            self._note(*link)
        return pending

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

    def _enter(self, parent_fd: int, name: str) -> int | None:
        """The directory `name`, opened; None if it vanished, was replaced or cannot be opened (which is counted)."""
        try:
            fd = os.open(name, _FLAGS, dir_fd=parent_fd)
        except OSError as error:
            self.unreadable += error.errno not in _GONE
            return None
        if os.fstat(fd).st_dev == self.device:
            return fd
        os.close(fd)
        return None


def _close(level: _Level) -> None:
    if level.fd >= 0:
        os.close(level.fd)
        level.fd = -1


def _put_aside(level: _Level) -> None:
    if level.fd >= 0:
        level.identity = _identity(level.fd)
        _close(level)


def _reopen(level: _Level, below: int) -> bool:
    """Open `level` again from the directory `below` in it; false if it is not there any more."""
    try:
        fd = os.open("..", _FLAGS, dir_fd=below)
    except OSError:
        return False
    if _identity(fd) != level.identity:
        os.close(fd)
        return False
    level.fd = fd
    return True


def _identity(fd: int) -> Identity:
    status = os.fstat(fd)
    return (status.st_dev, status.st_ino)
