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
    """
    The marks of everything below `top`, by relative path; the directories `leave_out` in it are not entered.

    What cannot be listed is taken for empty. Some tests take thousands of fingerprints: this is their cost.
    """
    marks: dict[str, Mark] = {}
    folders = [("", str(top))]
    while folders:
        prefix, folder = folders.pop()
        for entry in _entries(folder):
            is_directory = entry.is_dir(follow_symlinks=False)
            if is_directory and not prefix and entry.name in leave_out:
                continue
            marks[prefix + entry.name] = _mark(entry)
            if is_directory:
                folders.append((f"{prefix}{entry.name}/", entry.path))
    return marks


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError:
        return []


def differences(before: dict[str, Mark], after: dict[str, Mark]) -> list[str]:
    """One line for each path that is not the same in both."""
    return [
        f"{path}: {before.get(path)} -> {after.get(path)}"
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]


def _mark(entry: os.DirEntry[str]) -> Mark:
    status = entry.stat(follow_symlinks=False)
    is_directory = stat.S_ISDIR(status.st_mode)
    content = ""
    if stat.S_ISLNK(status.st_mode):
        content = str(Path(entry.path).readlink())
    elif stat.S_ISREG(status.st_mode):
        content = _digest(entry.path)
    names = sorted(os.listxattr(entry.path, follow_symlinks=False))
    return Mark(
        mode=stat.filemode(status.st_mode),
        owner=(status.st_uid, status.st_gid),
        device=status.st_rdev,
        inode=status.st_ino,
        links=status.st_nlink if not is_directory else 0,
        mtime_ns=status.st_mtime_ns if not is_directory else 0,
        xattrs=tuple((name, os.getxattr(entry.path, name, follow_symlinks=False)) for name in names),
        content=content,
    )


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while part := os.read(fd, 1 << 20):
            digest.update(part)
    finally:
        os.close(fd)
    return digest.hexdigest()
