"""
What the entries of a directory take on disk, all at once. What is compiled in ``_bulk.c`` takes its place where it
could be built.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

Counted = tuple[int, int, int, list[str], list[tuple[int, int, int]], int]
"""
What the entries of a directory take: blocks of 512 bytes, inodes, bytes of what is no directory; the names of the
directories among them; inode, blocks and bytes of what has several names, which is in no sum; how many
could not be read.
"""

_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


def count_entries(directory: int, device: int, /) -> Counted:
    """
    What the entries of the open `directory` that are on `device` take. No symlink is followed; what vanishes meanwhile
    is not counted. The directory is read from its beginning, wherever somebody else stopped.
    """
    blocks = inodes = size = unreadable = 0
    directories: list[str] = []
    links: list[tuple[int, int, int]] = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError as error:
                    unreadable += error.errno not in _GONE
                    continue
                is_directory = stat.S_ISDIR(status.st_mode)
                if status.st_dev != device:
                    continue
                if status.st_nlink > 1 and not is_directory:
                    links.append((status.st_ino, status.st_blocks, status.st_size))
                    continue
                if is_directory:
                    directories.append(entry.name)
                else:
                    size += status.st_size
                blocks += status.st_blocks
                inodes += 1
    except OSError:
        unreadable += 1
    return blocks, inodes, size, directories, links, unreadable
