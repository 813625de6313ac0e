"""
Whole small files, many read at once where nothing is odd about them: each alone, or the few of a record together.

Python takes longer over the system calls for a file than the kernel does. So this part exists twice: here, and compiled
in ``_files.c``, which does the same and takes its place where it could be built. What is odd (trouble of any kind, an
entry of another type, a file that is long or grows) it leaves to its caller, who reads it with care.

As everywhere below a root, names are opened one by one relative to a directory's descriptor, no symlink is followed,
nothing is waited for, and of what is put in a file's place no more is read than of a small file.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from gcd.root.listing import DIRECTORY_FLAGS
from gcd.root.tree import FILE_FLAGS, one

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

MOST_BYTES: Final = 65536
"""Of a small file, or of all files of a record together."""

MOST_FILES: Final = 4
"""That are read of a record."""

_LISTING_BYTES: Final = 8192
_ENTRY_BYTES: Final = 27
"""What is listed of a directory at once, and what an entry takes of it beside its name before that is cut to eights."""

WholeFile = tuple[bytes, int]
"""The content of a file, and its ctime in nanoseconds, taken before."""

WholeRecord = tuple[list[str], int, list[bytes | None]]
"""
The names in a record's directory that were asked for by their beginning, sorted; the newest ctime of the directory and
of the files that were read, in nanoseconds; their contents, None for one that is not there.
"""


class _Odd(Exception):
    """Something is not as it nearly always is."""


def read_whole_files(home: int, names: Sequence[str], /) -> list[WholeFile | None]:
    """
    The files `names` in the directory `home`, in their order; None for an odd one. Raises ValueError for what is not
    one name.
    """
    return [_file(home, one(name)) for name in names]


def read_whole_records(
    home: int, names: Sequence[str], files: tuple[str, ...], beginning: str, /
) -> list[WholeRecord | None]:
    """
    The `files` of the records `names` in the directory `home`, and which names in each have this `beginning`, in their
    order; None for an odd one. Raises ValueError for what is not one name, and for more than `MOST_FILES`.
    """
    if len(files) > MOST_FILES:
        message = "so many files are not read at once"
        raise ValueError(message)
    wanted = [one(file) for file in files]
    return [_record(home, one(name), wanted, beginning) for name in names]


def _file(home: int, name: str) -> WholeFile | None:
    try:
        return _whole(home, name, MOST_BYTES)
    except (OSError, _Odd):
        return None


def _record(home: int, name: str, files: list[str], beginning: str) -> WholeRecord | None:
    try:
        record = os.open(name, DIRECTORY_FLAGS, dir_fd=home)
    except OSError:
        return None
    try:
        return _files(record, files, beginning)
    except (OSError, _Odd):
        return None
    finally:
        os.close(record)


def _files(record: int, names: list[str], beginning: str) -> WholeRecord:
    newest_ns = os.fstat(record).st_ctime_ns
    with os.scandir(record) as scan:
        entries = {entry.name: entry.is_file(follow_symlinks=False) for entry in scan}
    if _listed(entries) > _LISTING_BYTES or any(not entries.get(name, True) for name in names):
        raise _Odd
    if not entries and os.fstat(record).st_nlink == 0:  # removed meanwhile, which the C library shows as empty
        raise _Odd
    contents: list[bytes | None] = []
    left = MOST_BYTES
    for name in names:
        if name not in entries:
            contents.append(None)
            continue
        content, ctime_ns = _whole(record, name, left)
        contents.append(content)
        left -= len(content)
        newest_ns = max(newest_ns, ctime_ns)
    return sorted(name for name in entries if name.startswith(beginning)), newest_ns, contents


def _listed(names: Collection[str]) -> int:
    """How long the kernel's listing of these names is, in bytes."""
    return sum((_ENTRY_BYTES + len(os.fsencode(name))) // 8 * 8 for name in (*names, ".", ".."))


def _whole(home: int, name: str, most: int) -> WholeFile:
    file = os.open(name, FILE_FLAGS, dir_fd=home)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise _Odd
        content = os.read(file, status.st_size + 1)
    finally:
        os.close(file)
    if len(content) != status.st_size:
        raise _Odd
    return content, status.st_ctime_ns
