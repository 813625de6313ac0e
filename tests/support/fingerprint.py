"""All that a tree is made of, so that two of them can be told to be identical, and the place of a difference shown."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection


class Mark(NamedTuple):
    """
    What is at one path. `inode` says that it is the very same thing, and so that hard links are still linked.

    The mtimes of directories are left out: they change when something is taken from them and put back.
    """

    mode: str
    owner: tuple[int, int]
    device: int
    inode: int
    links: int
    mtime_ns: int
    xattrs: tuple[tuple[str, bytes], ...]
    content: str


def fingerprint(top: Path, *, leave_out: Collection[str] = ()) -> dict[str, Mark]:
    """The marks of everything below `top`, by relative path; the directories `leave_out` in it are not entered."""
    marks: dict[str, Mark] = {}
    for folder, names, files in os.walk(top):
        if folder == str(top):
            names[:] = [name for name in names if name not in leave_out]
        for name in (*names, *files):
            path = Path(folder, name)
            marks[str(path.relative_to(top))] = _mark(path)
    return marks


def differences(before: dict[str, Mark], after: dict[str, Mark]) -> list[str]:
    """One line for each path that is not the same in both."""
    return [
        f"{path}: {before.get(path)} -> {after.get(path)}"
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]


def _mark(path: Path) -> Mark:
    status = path.lstat()
    is_directory = stat.S_ISDIR(status.st_mode)
    content = ""
    if stat.S_ISLNK(status.st_mode):
        content = str(path.readlink())
    elif stat.S_ISREG(status.st_mode):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    return Mark(
        mode=stat.filemode(status.st_mode),
        owner=(status.st_uid, status.st_gid),
        device=status.st_rdev,
        inode=status.st_ino,
        links=status.st_nlink if not is_directory else 0,
        mtime_ns=status.st_mtime_ns if not is_directory else 0,
        xattrs=tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in _xattrs(path)),
        content=content,
    )


def _xattrs(path: Path) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))
