"""The entries of a directory, all at once. What is compiled in ``_bulk.c`` takes its place where it could be built."""

from __future__ import annotations

import errno
import os
from typing import TypeVar

T = TypeVar("T")

MORE = -1
"""What stopped a listing that was cut."""


def list_entries(directory: int, most: int, types: tuple[T, T, T, T], /) -> tuple[dict[str, T], int]:
    """
    The entries of the open `directory` by name, at most so many, each with one of `types`: that of a file, a directory,
    a symlink, or of anything else. Beside them what stopped the listing: nothing (0), `MORE`, or an errno. The
    directory is listed from its beginning, wherever somebody else stopped.
    """
    file, folder, symlink, other = types
    entries: dict[str, T] = {}
    try:
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
