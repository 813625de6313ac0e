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
from functools import lru_cache
from sys import intern
from typing import TYPE_CHECKING, Final, NamedTuple

from gcd.formats.gzipends import HEAD_BYTES, TAIL_BYTES, gzip_size
from gcd.model.errors import FormatError
from gcd.root.listing import DIRECTORY_FLAGS
from gcd.root.tree import FILE_FLAGS, one

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HEX: Final = b"\x80"
BASE36: Final = b"\x81"
BASE32: Final = b"\x82"
DIGIT: Final = b"\x83"
"""In the place of one byte of a template: a digit of so many, as the engine spells it. Others mean themselves."""

_CLASSES: Final = {HEX: b"[0-9a-f]", BASE36: b"[0-9a-z]", BASE32: b"[A-Z2-7]", DIGIT: b"[0-9]"}


class Kind(IntEnum):
    """What a part of a record is, and what is asked of it."""

    TEXT = 0
    """A file that holds a text of one of the part's templates."""

    TEXTS = 1
    """A file that holds such texts, with a colon between two."""

    GZIP = 2
    """A file whose two ends are those of a whole gzip file."""

    MARK = 3
    """A file that is there or not."""

    DIRECTORY = 4

    DATED_DIRECTORY = 5
    """A directory whose ctime counts in the record's."""


class Part(NamedTuple):
    name: str
    kind: Kind
    templates: tuple[bytes, ...] = ()
    most: int = 1
    """How many texts a file of `Kind.TEXTS` may hold."""


Form = tuple[Part, ...]
"""All parts that a sound record may have: eight at most. Their texts together have 8 KB at most."""

Found = tuple[int, int, int, tuple[str, ...]]
"""
Of a record: which parts are there (bit n: part n of the form); its newest ctime in nanoseconds; the size of the gzip
file, 0 without one; what each part of the form holds, "" where it holds no text. Equal texts of `Kind.TEXT` are one
object.
"""

_ENDS_BYTES: Final = 4096
"""Most gzip files are read whole with this; of a longer one the end is sought."""


class _Unsound(Exception):
    """Something about the record is not as it should be."""


def of_form(names: Iterable[str], templates: tuple[bytes, ...], /) -> list[str]:
    """Those of `names` that are a text of one of `templates`, in their order; equal ones are one object."""
    fullmatch = _pattern(templates).fullmatch
    return [intern(name) for name in names if name.isascii() and fullmatch(name.encode())]


def read_records(home: int, names: Sequence[str], form: Form, /) -> list[Found | None]:
    """
    The records `names` in the directory `home`, in their order. None for one that has not `form`, whatever the trouble:
    it cannot be opened, has an entry that is no part or of another type, a text of no template. Raises ValueError for
    what is not one name.
    """
    return [_record(home, one(name), form) for name in names]


def read_symlinks(home: int, names: Sequence[str], templates: tuple[bytes, ...], /) -> list[tuple[str, int] | None]:
    """
    The symlinks `names` in the directory `home`: the text and the ctime in nanoseconds. None for what cannot be read as
    one, or has a text of no template. Raises ValueError for what is not one name.
    """
    return [_symlink(home, one(name), templates) for name in names]


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
    texts = [""] * len(form)
    size = 0
    for number, part in enumerate(form):
        if not seen >> number & 1:
            continue
        if part.kind in (Kind.TEXT, Kind.TEXTS, Kind.GZIP):
            file = os.open(part.name, FILE_FLAGS, dir_fd=record)
            try:
                newest_ns = max(newest_ns, _ctime_of_file(file))
                if part.kind is Kind.GZIP:
                    size = _gzip_size(file)
                else:
                    texts[number] = _text(file, part)
            finally:
                os.close(file)
        elif part.kind is Kind.DATED_DIRECTORY:
            newest_ns = max(newest_ns, os.stat(part.name, dir_fd=record, follow_symlinks=False).st_ctime_ns)
    return seen, newest_ns, size, tuple(texts)


def _seen(record: int, form: Form) -> int:
    """Which parts of `form` are in the directory `record`, which holds nothing else."""
    number_of = {part.name: number for number, part in enumerate(form)}
    seen = 0
    with os.scandir(record) as scan:
        for entry in scan:
            number = number_of.get(entry.name)
            if number is None:
                raise _Unsound
            is_directory = form[number].kind in (Kind.DIRECTORY, Kind.DATED_DIRECTORY)
            if not (entry.is_dir(follow_symlinks=False) if is_directory else entry.is_file(follow_symlinks=False)):
                raise _Unsound
            seen |= 1 << number
    return seen


def _ctime_of_file(file: int) -> int:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise _Unsound
    return status.st_ctime_ns


def _text(file: int, part: Part) -> str:
    longest = max(map(len, part.templates))
    content = os.read(file, part.most * (longest + 1))
    if not _pattern(part.templates, part.most).fullmatch(content):
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


def _symlink(home: int, name: str, templates: tuple[bytes, ...]) -> tuple[str, int] | None:
    try:
        ctime_ns = os.stat(name, dir_fd=home, follow_symlinks=False).st_ctime_ns
        text = os.readlink(os.fsencode(name), dir_fd=home)
    except OSError:
        return None
    return (text.decode("ascii"), ctime_ns) if _pattern(templates).fullmatch(text) else None


@lru_cache
def _pattern(templates: tuple[bytes, ...], most: int = 1) -> re.Pattern[bytes]:
    """What a file, or a symlink, with up to `most` texts of one of `templates` holds."""
    text = b"(?:%s)" % b"|".join(map(_spelled, templates))
    return re.compile(b"%s(?::%s){0,%d}" % (text, text, most - 1))


def _spelled(template: bytes) -> bytes:
    """`template` as a regular expression."""
    codes = (template[at : at + 1] for at in range(len(template)))
    return b"".join(_CLASSES.get(code) or re.escape(code) for code in codes)
