"""
Many small things read at once: records, each of which is given only if it has just the form that a sound one has;
symlinks; what the entries of a directory take on disk.

Going from one small file to the next is most of what reading a root costs, and Python takes longer over it than the
kernel does. So this part exists twice: here, and compiled in ``_bulk.c``, which does the same and takes its place where
it could be built. Neither interprets what it reads.

As everywhere below a root, names are opened one by one relative to a directory's descriptor, and no symlink is
followed. A record's files are opened only if its listing is that of a sound one and calls them regular; of what is put
in a file's place after that at most the bytes of a sound one are read, without waiting.
"""

from __future__ import annotations

import errno
import os
import stat
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from gcd.root.tree import DIRECTORY_FLAGS, FILE_FLAGS, one

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(IntEnum):
    """What a part of a record is, and what is asked of it."""

    TEXT = 0
    """A file that is read."""

    ENDS = 1
    """A file of which the first bytes, the last ones and the size are read."""

    MARK = 2
    """A file that is there or not."""

    DIRECTORY = 3

    DATED_DIRECTORY = 4
    """A directory whose ctime counts in the record's."""


Part = tuple[str, Kind, int]
"""Name, kind, and the most bytes that a text has (0 for all else)."""

Form = tuple[Part, ...]
"""All parts that a sound record may have, in the order in which they are read: eight at most, of 8 KB in all."""

Found = tuple[int, str, bytes, int, int]
"""
Of a record: which parts are there (bit n: part n of the form); the texts that are there, a line each, byte by byte as
Latin-1; the two ends (`HEAD_BYTES` and `TAIL_BYTES`) and the size of the file that was asked for them, else nothing and
0; its newest ctime in nanoseconds.
"""

HEAD_BYTES: Final = 10
TAIL_BYTES: Final = 8
"""How much the ends of a file are; of a shorter one than both together nothing is given."""

_ENDS_BYTES: Final = 4096
"""Most files of which the ends are read are read whole with this; of a longer one the end is sought."""


Counted = tuple[int, int, int, list[str], list[tuple[int, int, int]], int]
"""
What the entries of a directory take: blocks of 512 bytes, inodes, bytes of what is no directory; the names of the
directories among them; inode, blocks and bytes of what has several names, which is in no sum; how many
could not be read.
"""

_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class _Unsound(Exception):
    """Something about the record is not as it should be."""


def read_records(home: int, names: Sequence[str], form: Form, /) -> list[Found | None]:
    """
    The records `names` in the directory `home`, in their order. None for one that has not `form`, whatever the trouble:
    it cannot be opened, has an entry that is no part or of another type, a text that is longer. Raises ValueError for
    what is not one name.
    """
    return [_record(home, one(name), form) for name in names]


def read_symlinks(home: int, names: Sequence[str], /) -> list[tuple[str, int] | None]:
    """
    The symlinks `names` in the directory `home`: the text, byte by byte as Latin-1, and the ctime in nanoseconds.
    None for what cannot be read as one. Raises ValueError for what is not one name.
    """
    return [_symlink(home, one(name)) for name in names]


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


def _record(home: int, name: str, form: Form) -> Found | None:
    try:
        record = os.open(name, DIRECTORY_FLAGS, dir_fd=home)
        try:
            return _parts(record, form)
        finally:
            os.close(record)
    except (OSError, _Unsound):
        return None


def _parts(record: int, form: Form) -> Found:
    seen = _seen(record, form)
    newest_ns = os.fstat(record).st_ctime_ns
    texts, ends, size = [], b"", 0
    for number, (name, kind, most) in enumerate(form):
        if not seen >> number & 1:
            continue
        if kind in (Kind.TEXT, Kind.ENDS):
            file = os.open(name, FILE_FLAGS, dir_fd=record)
            try:
                newest_ns = max(newest_ns, _ctime_of_file(file))
                if kind is Kind.TEXT:
                    texts.append(_text(file, most))
                else:
                    ends, size = _ends(file)
            finally:
                os.close(file)
        elif kind is Kind.DATED_DIRECTORY:
            newest_ns = max(newest_ns, os.stat(name, dir_fd=record, follow_symlinks=False).st_ctime_ns)
    return seen, b"\n".join(texts).decode("latin-1"), ends, size, newest_ns


def _seen(record: int, form: Form) -> int:
    """Which parts of `form` are in the directory `record`, which holds nothing else."""
    number_of = {name: number for number, (name, _, _) in enumerate(form)}
    seen = 0
    with os.scandir(record) as scan:
        for entry in scan:
            number = number_of.get(entry.name)
            if number is None:
                raise _Unsound
            is_directory = form[number][1] in (Kind.DIRECTORY, Kind.DATED_DIRECTORY)
            if not (entry.is_dir(follow_symlinks=False) if is_directory else entry.is_file(follow_symlinks=False)):
                raise _Unsound
            seen |= 1 << number
    return seen


def _ctime_of_file(file: int) -> int:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise _Unsound
    return status.st_ctime_ns


def _text(file: int, most: int) -> bytes:
    content = os.read(file, most + 1)
    if len(content) > most:
        raise _Unsound
    return content


def _ends(file: int) -> tuple[bytes, int]:
    head = tail = os.read(file, _ENDS_BYTES)
    size = len(head)
    if size == _ENDS_BYTES:
        size = os.lseek(file, -TAIL_BYTES, os.SEEK_END) + TAIL_BYTES
        tail = os.read(file, TAIL_BYTES)
    if size < HEAD_BYTES + TAIL_BYTES:
        raise _Unsound
    return head[:HEAD_BYTES] + tail[-TAIL_BYTES:], size


def _symlink(home: int, name: str) -> tuple[str, int] | None:
    try:
        ctime_ns = os.stat(name, dir_fd=home, follow_symlinks=False).st_ctime_ns
        text = os.readlink(os.fsencode(name), dir_fd=home)
    except OSError:
        return None
    return text.decode("latin-1"), ctime_ns
