"""
The headers of tar members, as they stand in the segments of a tar-split.

A tar stream is a row of blocks of 512 bytes: for each member a header, before it perhaps extended ones (a header and
data of their own), after it the content, padded with zeros. In a tar-split the contents are cut out: a segment is the
padding of the member before it and the headers of the one after it. `Headers` reads segments in their order and gives
for each member what was said of it.

What is read as the engine reads it: ustar fields with octal numbers and base-256 ones, extended headers of PAX (``x``;
``g`` is a member of its own), long names of GNU (``L``, ``K``), extended attributes (``SCHILY.xattr.``), and which
members are sparse, whose maps are not read. The name of a member is not read here: its entry in the tar-split says it.

Source: vbatts/tar-split v0.12.1 ``archive/tar/reader.go``, ``archive/tar/strconv.go``.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from gcd.model.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

_WHAT: Final = "tar header"
BLOCK: Final = 512
_ZEROS: Final = bytes(BLOCK)
_XATTR: Final = b"SCHILY.xattr."
_SPARSE: Final = b"GNU.sparse."
MOST_WAITING: Final = 16 << 20
_MOST_DIGITS: Final = 20
"""Of the length of a record and of the numbers in it: more than 64 bits have."""
_TIME: Final = re.compile(rb"(-)?([0-9]{1,20})(?:\.([0-9]*))?")
_NEGATIVE: Final = 0xC0
"""The first two bits of a number in base-256: that it is one, and its sign."""


class MemberType(StrEnum):
    FILE = "file"
    HARD_LINK = "hard link"
    SYMLINK = "symlink"
    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"
    DIRECTORY = "directory"
    FIFO = "FIFO"
    GLOBAL = "global header"
    """Belongs to no file."""
    OTHER = "something of another type"
    """What the engine does not unpack."""


_TYPES: Final = {
    b"0": MemberType.FILE, b"\0": MemberType.FILE, b"1": MemberType.HARD_LINK, b"2": MemberType.SYMLINK,
    b"3": MemberType.CHARACTER_DEVICE, b"4": MemberType.BLOCK_DEVICE, b"5": MemberType.DIRECTORY,
    b"6": MemberType.FIFO, b"S": MemberType.FILE,
}  # fmt: skip
_WITHOUT_CONTENT: Final = b"123456"
_EXTENDING: Final = b"xLK"
_NO_RECORDS: Final[Mapping[bytes, bytes]] = MappingProxyType({})


class Header(NamedTuple):
    """
    `link` is the target of a link, raw. Of a member that `is_sparse` less may follow in the stream than its size.
    `xattrs` are extended attributes by name.
    """

    type: MemberType
    link: bytes
    mode: int
    uid: int
    gid: int
    major: int
    minor: int
    is_sparse: bool = False
    xattrs: Mapping[bytes, bytes] = _NO_RECORDS


class Headers:
    """The headers of one stream: `feed` it the segments, and ask it at each member for its `header`."""

    def __init__(self) -> None:
        self._waiting: bytes | bytearray = b""
        self._padding = 0
        self._is_overlong = False
        self._latest: tuple[bytes, Mapping[bytes, bytes]] = (_ZEROS, _NO_RECORDS)

    def feed(self, segment: bytes) -> None:
        """What is more than any member's headers is not kept: the padding behind the last one may be long."""
        self._is_overlong = self._is_overlong or len(self._waiting) + len(segment) > MOST_WAITING
        if self._is_overlong:
            return
        if not self._waiting:
            self._waiting = segment
            return
        if isinstance(self._waiting, bytes):
            self._waiting = bytearray(self._waiting)
        self._waiting += segment

    def is_between(self) -> bool:
        """Whether nothing was fed since the last member: then others may read on at its `padding`, and `skip`."""
        return not self._waiting and not self._is_overlong

    @property
    def padding(self) -> int:
        """How many bytes there are behind the content of the last member."""
        return self._padding

    def skip(self, padding: int) -> None:
        """Members were read by others; the content of the last one has so much `padding` behind it."""
        self._padding = padding

    def header(self, name: bytes) -> Header:
        """
        What the segments since the last member say of the member `name`; `FormatError` where they hold no header for
        one, or more.
        """
        raw, at = bytes(self._waiting), self._padding
        self._waiting = b""
        if self._is_overlong:
            raise _error("headers of a bearable size", "more")
        block, at = _block(raw, at), at + BLOCK
        records, long_link = _NO_RECORDS, None
        if block[156:157] in _EXTENDING:
            block, at, records, long_link = _extensions(raw, block, at)
        flag, size = block[156:157], _number(block[124:136])
        if flag == b"g":
            if len(raw) - at < size:
                raise _error("an extended header", "its end")
            # Its padding comes only with what follows it, as if the data were its content.
            self._padding = -size % BLOCK
            return _GLOBAL
        header = _plain(block[100:124], block[156:257], block[329:345])
        if flag == b"\0" and name.endswith(b"/"):
            header = header._replace(type=MemberType.DIRECTORY)
        if records or long_link is not None:
            header = _extended(header, records, long_link)
            size = _decimal(records, b"size", size)
        if at < len(raw) and not header.is_sparse:
            raise _error("the content of a member", "another header")
        self._padding = 0 if flag in _WITHOUT_CONTENT else -size % BLOCK
        self._latest = block, records
        return header

    def modified_ns(self) -> int:
        """
        When the member was last modified whose `header` was given last, in nanoseconds since 1970, as an engine sets
        it: 0 for what lies before, or beyond 63 bits of them (moby ``pkg/system/chtimes.go``).
        """
        block, records = self._latest
        text = records.get(b"mtime")
        modified_ns = _nanoseconds(text) if text else _seconds(block[136:148]) * 1_000_000_000
        return modified_ns if 0 <= modified_ns < 1 << 63 else 0


def _block(raw: bytes, at: int) -> bytes:
    block = raw[at : at + BLOCK]
    if len(block) < BLOCK or block == _ZEROS:
        raise _error("a header", "its end")
    return block


def _extensions(raw: bytes, block: bytes, at: int) -> tuple[bytes, int, Mapping[bytes, bytes], bytes | None]:
    """
    What `block`, which ends at `at`, and those behind it say about the member after them: the first that says something
    else, where that ends, the records, and a long target of a link.
    """
    records, long_link = _NO_RECORDS, None
    while (flag := block[156:157]) in _EXTENDING:
        length = _number(block[124:136])
        data = raw[at : at + length]
        if len(data) < length:
            raise _error("an extended header", "its end")
        if flag == b"x":
            records = _records(data)
        elif flag == b"K":
            long_link = data.partition(b"\0")[0]
        at += length + -length % BLOCK
        block, at = _block(raw, at), at + BLOCK
    return block, at, records, long_link


_GLOBAL: Final = Header(MemberType.GLOBAL, b"", 0, 0, 0, 0, 0)


@lru_cache(256)
def _plain(owner: bytes, link: bytes, device: bytes) -> Header:
    """What these fields of a header say; the members of a layer differ little in them."""
    flag = link[:1]
    kind = _TYPES.get(flag, MemberType.OTHER)
    is_device = flag in b"34"
    return Header(
        type=kind,
        link=link[1:].partition(b"\0")[0],
        mode=_number(owner[:8]),
        uid=_number(owner[8:16]),
        gid=_number(owner[16:]),
        major=_number(device[:8]) if is_device else 0,
        minor=_number(device[8:]) if is_device else 0,
        is_sparse=flag == b"S",
    )


def _extended(plain: Header, records: Mapping[bytes, bytes], long_link: bytes | None) -> Header:
    return plain._replace(
        link=records.get(b"linkpath") or (plain.link if long_link is None else long_link),
        uid=_decimal(records, b"uid", plain.uid),
        gid=_decimal(records, b"gid", plain.gid),
        is_sparse=plain.is_sparse or any(key.startswith(_SPARSE) for key in records),
        xattrs={key[len(_XATTR) :]: value for key, value in records.items() if key.startswith(_XATTR)},
    )


@lru_cache(256)
def _number(raw: bytes) -> int:
    """A field of a header: base-256 where its first bit is set, else octal digits among blanks and zeros."""
    if raw[0] & 0x80:
        if raw[0] & 0x40:
            raise _error("a number that is not negative", "a negative one")
        value = int.from_bytes(raw) & ~(1 << (8 * len(raw) - 1))
        if value >> 63:
            raise _error("a number of 63 bits", "a larger one")
        return value
    digits = raw.strip(b" \0").partition(b"\0")[0]
    if digits.strip(b"01234567"):
        raise _error("an octal number", "something else")
    return int(digits, 8) if digits else 0


def _decimal(records: Mapping[bytes, bytes], key: bytes, otherwise: int) -> int:
    """The number that an extended header says, else `otherwise`."""
    text = records.get(key)
    if not text:
        return otherwise
    if not text.isdigit() or len(text) > _MOST_DIGITS:
        raise _error("a decimal number", "something else")
    return int(text)


def _seconds(raw: bytes) -> int:
    """Of those before 1970, which need base-256, it is only told that they are."""
    return -1 if raw[0] & _NEGATIVE == _NEGATIVE else _number(raw)


def _nanoseconds(text: bytes) -> int:
    """Seconds with a fraction, of which nine digits count (archive/tar ``strconv.go`` parsePAXTime)."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise _error("a time", "something else")
    sign, whole, fraction = match.groups(default=b"")
    nanoseconds = int(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    return -nanoseconds if sign else nanoseconds


def _records(data: bytes) -> dict[bytes, bytes]:
    """The records ``<length> <key>=<value>`` of an extended header, one a line; a later one replaces an earlier."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + _MOST_DIGITS + 1)
        digits = data[at:blank] if blank > 0 else b""
        end = at + int(digits) if digits.isdigit() else -1
        if end <= blank + 1 or end > len(data) or data[end - 1 : end] != b"\n":
            raise _error("a record of an extended header", "something else")
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if not equals:
            raise _error("a record of an extended header", "something else")
        found[key] = value
        at = end
    return found


def _error(expected: str, found: str) -> FormatError:
    return FormatError(_WHAT, expected=expected, found=found)
