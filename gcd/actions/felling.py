"""
Felling: a tree is deleted, by descriptors and without recursion, so that no depth and no name can lead elsewhere.

At most `OPEN` directories are open: from further down, ``..`` is opened on the way back, and must be the directory that
was left. Nothing on another device or mount is entered, and no symlink followed. What cannot be deleted is noted, and
everything else goes.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from gcd.actions.syscalls import remove_directory, unlink
from gcd.root.boundaries import mount_of, stopping_flag, stopping_flag_of
from gcd.root.descent import BLOCK
from gcd.root.tree import Directory, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

OPEN: Final = 16
NOTED: Final = 5
"""So many of the things that could not be deleted are named."""

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_GONE: Final = frozenset({errno.ENOENT})
_OFTEN: Final = 1024


class _Level(Struct):
    """A directory on the way down: its name in the one above, what is in it still to be deleted, whether all went."""

    name: str
    directory: Directory
    pending: list[os.DirEntry[str]] = field(default_factory=list)
    identity: tuple[int, int] = (0, 0)


class Felling:
    """
    Deletes one tree after the other with `fell`; sums up what it freed, and notes what it could not delete.

    `progress` hears now and then of the bytes and inodes freed so far. All trees lie on the device and mount of `top`.
    """

    def __init__(self, top: Directory, progress: Callable[[int, int], None] | None = None) -> None:
        self.disk_bytes = 0
        self.inodes = 0
        self.left = 0
        self.notes: list[str] = []
        self._device = top.stat().st_dev
        self._mount = mount_of(top.fd)
        self._progress = progress

    def fell(self, parent: Directory, name: str) -> None:
        """Delete `name` in `parent` with all that is below it, or as much of that as can be."""
        try:
            status = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            self._unlink(parent, name)
            return
        levels: list[_Level] = []
        try:
            if self._enter(levels, parent, name):
                self._descend(levels, parent)
        finally:
            for level in levels:
                level.directory.close()

    def _descend(self, levels: list[_Level], parent: Directory) -> None:
        while levels:
            here = levels[-1]
            if here.pending:
                entry = here.pending.pop()
                if entry.is_dir(follow_symlinks=False):
                    self._enter(levels, here.directory, entry.name)
                else:
                    self._unlink(here.directory, entry.name)
                continue
            if len(levels) > 1 and levels[-2].directory.fd < 0 and not _reopen(levels[-2], here.directory):
                self._note(here.name, "somebody moved it meanwhile")
                return
            levels.pop()
            above = levels[-1].directory if levels else parent
            here.directory.close()
            self._remove(above, here.name)

    def _enter(self, levels: list[_Level], parent: Directory, name: str) -> bool:
        """Open the directory `name` and list it as the deepest level; false, and noted, if that must not be."""
        try:
            directory = Directory(os.open(name, _FLAGS, dir_fd=parent.fd))
        except OSError as error:
            if error.errno not in _GONE:
                self._note(name, name_of(error))
            return False
        status = directory.stat()
        if status.st_dev != self._device or mount_of(directory.fd) != self._mount:
            directory.close()
            self._note(name, "something is mounted there")
            return False
        level = _Level(name, directory, identity=(status.st_dev, status.st_ino))
        levels.append(level)
        if len(levels) > OPEN:
            levels[-OPEN - 1].directory.close()
        try:
            with os.scandir(directory.fd) as entries:
                level.pending = list(entries)
        except OSError as error:
            self._note(name, name_of(error))
        return True

    def _unlink(self, parent: Directory, name: str) -> None:
        try:
            status = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
            unlink(parent, name)
        except OSError as error:
            self._failed(parent, name, error)
            return
        self._count(status.st_blocks if status.st_nlink == 1 else 0)

    def _remove(self, parent: Directory, name: str) -> None:
        try:
            status = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
            remove_directory(parent, name)
        except OSError as error:
            # What is left in it was noted already.
            if error.errno != errno.ENOTEMPTY:
                self._failed(parent, name, error)
            return
        self._count(status.st_blocks)

    def _count(self, blocks: int) -> None:
        self.disk_bytes += blocks * BLOCK
        self.inodes += 1
        if self._progress is not None and self.inodes % _OFTEN == 0:
            self._progress(self.disk_bytes, self.inodes)

    def _failed(self, parent: Directory, name: str, error: OSError) -> None:
        match error.errno:
            case errno.ENOENT:
                return
            case errno.EPERM | errno.EACCES:
                own, around = stopping_flag(parent, name), stopping_flag_of(parent.fd)
                why = f"it is {own}" if own else f"the directory around it is {around}" if around else name_of(error)
            case errno.EBUSY:
                why = "something is mounted there"
            case _:
                why = name_of(error)
        self._note(name, why)

    def _note(self, name: str, why: str) -> None:
        self.left += 1
        if len(self.notes) < NOTED:
            self.notes.append(f"{name}: {why}")


def _reopen(level: _Level, below: Directory) -> bool:
    """Open `level` again from the directory `below` in it; false if it is not there any more."""
    try:
        directory = Directory(os.open("..", _FLAGS, dir_fd=below.fd))
    except OSError:
        return False
    status = directory.stat()
    if (status.st_dev, status.st_ino) != level.identity:
        directory.close()
        return False
    level.directory = directory
    return True
