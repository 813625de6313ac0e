"""
Sound records and symlinks, many read at once: each is given only if it has just the form that a sound one has.

Going from one small file to the next is most of what reading a root costs, and Python takes longer over it than the
kernel does. So this part exists twice: here, and compiled in ``_sound.c``, which does the same and takes its place
where it could be built. Neither knows what a form is for.

As everywhere below a root, names are opened one by one relative to a directory's descriptor, and no symlink is
followed. A record's files are opened only if its listing is that of a sound one and calls them regular; of what is put
in a file's place after that at most the bytes of a sound one are read, without waiting.
"""

from __future__ import annotations

import os
import re
import stat
from enum import IntEnum
from sys import intern
from typing import TYPE_CHECKING, Final, NamedTuple

from gcd.formats.gzipends import HEAD_BYTES, TAIL_BYTES, gzip_size
from gcd.model.errors import FormatError
from gcd.root.forms import pattern
from gcd.root.listing import DIRECTORY_FLAGS
from gcd.root.tree import FILE_FLAGS, one

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(IntEnum):
    """What a part of a record is, what is asked of it, and what its value is if it has one."""

    TEXT = 0
    """A file that holds a text of one of the part's templates: its value; None where it is not there."""

    TEXTS = 1
    """A file that holds such texts, with a colon between two: its value; "" where it is not there."""

    NUMBER = 2
    """A file that holds up to 18 digits: its value, as a number; 0 where it is not there."""

    GZIP = 3
    """A file whose two ends are those of a whole gzip file; its value is its size, 0 where it is not there."""

    MARK = 4
    """A file. No value."""

    DIRECTORY = 5
    """No value."""

    DATED_DIRECTORY = 6
    """A directory whose ctime counts in the record's. No value."""

    TOLD_DIRECTORY = 7
    """A directory; its value is whether it is there."""


_VALUED: Final = frozenset((Kind.TEXT, Kind.TEXTS, Kind.NUMBER, Kind.GZIP, Kind.TOLD_DIRECTORY))
_DIRECTORIES: Final = frozenset((Kind.DIRECTORY, Kind.DATED_DIRECTORY, Kind.TOLD_DIRECTORY))


class Part(NamedTuple):
    name: str
    kind: Kind
    templates: tuple[bytes, ...] = ()
    most: int = 1
    """How many texts a file of `Kind.TEXTS` may hold."""


class Form(NamedTuple):
    parts: tuple[Part, ...]
    """All that a sound record may have: eight at most. Their texts together have 8 KB at most."""

    whole: tuple[int, ...]
    """Which of them a sound one has (bit n: part n), in every way that there is: sixteen at most."""


Found = tuple[str | int | bool | None, ...]
"""
Of a record: the values of the parts that have one, in the order of the form, and the newest ctime in nanoseconds. Equal
texts of `Kind.TEXT` are one object.
"""

_MOST_DIGITS: Final = 18
"""More than any layer's size has, and fewer than the engine takes."""

_NUMBER: Final = re.compile(rb"[0-9]{1,%d}" % _MOST_DIGITS)

_ENDS_BYTES: Final = 4096
"""Most gzip files are read whole with this; of a longer one the end is sought."""


class _Unsound(Exception):
    """Something about the record is not as it should be."""


def read_records(home: int, names: Sequence[str], form: Form, /) -> list[Found | None]:
    """
    The records `names` in the directory `home`, in their order. None for one that has not `form`, whatever the trouble:
    it cannot be opened, has an entry that is no part or of another type, lacks a part, has a text of no template.
    Raises ValueError for what is not one name.
    """
    return [_record(home, one(name), form) for name in names]


def read_symlinks(
    home: int, names: Sequence[str], before: bytes, templates: tuple[bytes, ...], after: bytes, /
) -> list[tuple[str, int] | None]:
    """
    The symlinks `names` in the directory `home`: the text that stands between `before` and `after`, and the ctime in
    nanoseconds. None for what cannot be read as one, or has a text of no template there. Equal texts are one object.
    Raises ValueError for what is not one name.
    """
    return [_symlink(home, one(name), before, templates, after) for name in names]


def _record(home: int, name: str, form: Form) -> Found | None:
    try:
        record = os.open(name, DIRECTORY_FLAGS, dir_fd=home)
        try:
            return _values(record, form)
        finally:
            os.close(record)
    except (OSError, _Unsound):
        return None


def _values(record: int, form: Form) -> Found:
    seen = _seen(record, form.parts)
    if seen not in form.whole:
        raise _Unsound
    ctimes_ns = [os.fstat(record).st_ctime_ns]
    values: list[str | int | bool | None] = []
    for number, part in enumerate(form.parts):
        value = _value(record, part, ctimes_ns) if seen >> number & 1 else _missing(part.kind)
        if part.kind in _VALUED:
            values.append(value)
    return *values, max(ctimes_ns)


def _missing(kind: Kind) -> str | int | bool | None:
    match kind:
        case Kind.TEXTS:
            return ""
        case Kind.NUMBER | Kind.GZIP:
            return 0
        case Kind.TOLD_DIRECTORY:
            return False
        case _:
            return None


def _value(record: int, part: Part, ctimes_ns: list[int]) -> str | int | bool:
    """What a part holds that is there; adds its ctime to `ctimes_ns`, if that counts."""
    match part.kind:
        case Kind.TEXT | Kind.TEXTS | Kind.NUMBER | Kind.GZIP:
            file = os.open(part.name, FILE_FLAGS, dir_fd=record)
            try:
                ctimes_ns.append(_ctime_of_file(file))
                return _content(file, part)
            finally:
                os.close(file)
        case Kind.DATED_DIRECTORY:
            ctimes_ns.append(os.stat(part.name, dir_fd=record, follow_symlinks=False).st_ctime_ns)
        case _:
            pass
    return True


def _seen(record: int, parts: tuple[Part, ...]) -> int:
    """Which `parts` are in the directory `record`, which holds nothing else."""
    number_of = {part.name: number for number, part in enumerate(parts)}
    seen = 0
    with os.scandir(record) as scan:
        for entry in scan:
            number = number_of.get(entry.name)
            if number is None:
                raise _Unsound
            is_directory = parts[number].kind in _DIRECTORIES
            if not (entry.is_dir(follow_symlinks=False) if is_directory else entry.is_file(follow_symlinks=False)):
                raise _Unsound
            seen |= 1 << number
    return seen


def _ctime_of_file(file: int) -> int:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise _Unsound
    return status.st_ctime_ns


def _content(file: int, part: Part) -> str | int:
    if part.kind is Kind.GZIP:
        return _gzip_size(file)
    if part.kind is Kind.NUMBER:
        digits = os.read(file, _MOST_DIGITS + 1)
        if not _NUMBER.fullmatch(digits):
            raise _Unsound
        return int(digits)
    longest = max(map(len, part.templates))
    content = os.read(file, part.most * (longest + 1))
    if not pattern(part.templates, part.most).fullmatch(content):
        raise _Unsound
    text = content.decode("ascii")
    return intern(text) if part.kind is Kind.TEXT else text


def _gzip_size(file: int) -> int:
    head = tail = os.read(file, _ENDS_BYTES)
    size = len(head)
    if size == _ENDS_BYTES:
        size = os.lseek(file, -TAIL_BYTES, os.SEEK_END) + TAIL_BYTES
        tail = os.read(file, TAIL_BYTES)
    try:
        return gzip_size(head[:HEAD_BYTES], tail[-TAIL_BYTES:], size)
    except FormatError:
        raise _Unsound from None


def _symlink(home: int, name: str, before: bytes, templates: tuple[bytes, ...], after: bytes) -> tuple[str, int] | None:
    try:
        ctime_ns = os.stat(name, dir_fd=home, follow_symlinks=False).st_ctime_ns
        target = os.readlink(os.fsencode(name), dir_fd=home)
    except OSError:
        return None
    text = target[len(before) : len(target) - len(after)]
    if target != before + text + after or not pattern(templates).fullmatch(text):
        return None
    return intern(text.decode("ascii")), ctime_ns
