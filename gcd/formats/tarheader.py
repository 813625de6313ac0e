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

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

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


@dataclass(frozen=True, slots=True)
class Header:
    """
    `link` is the target of a link, raw. `stored` are the bytes of content that follow in the stream: less than the
    member's size where it `is_sparse`. `xattrs` are extended attributes by name.
    """

    type: MemberType
    link: bytes
    mode: int
    uid: int
    gid: int
    major: int
    minor: int
    stored: int
    is_sparse: bool = False
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)


class Headers:
    """The headers of one stream: `feed` it the segments, and ask it at each member for its `header`."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._padding = 0
        self._is_overlong = False

    def feed(self, segment: bytes) -> None:
        """What is more than any member's headers is not kept: the padding behind the last one may be long."""
        self._is_overlong = self._is_overlong or len(self._waiting) + len(segment) > MOST_WAITING
        if not self._is_overlong:
            self._waiting += segment

    def header(self, name: bytes) -> Header:
        """
        What the segments since the last member say of the member `name`; `FormatError` where they hold no header for
        one, or more.
        """
        raw, at = bytes(self._waiting), self._padding
        self._waiting.clear()
        if self._is_overlong:
            raise _error("headers of a bearable size", "more")
        records: dict[bytes, bytes] = {}
        long_link: bytes | None = None
        while True:
            block = raw[at : at + BLOCK]
            if len(block) < BLOCK or block == _ZEROS:
                raise _error("a header", "its end")
            flag = block[156:157]
            at += BLOCK
            if flag in b"xgLK":
                length = _number(block[124:136])
                data = raw[at : at + length]
                if len(data) < length:
                    raise _error("an extended header", "its end")
                at += length
                if flag == b"g":
                    # Its padding comes only with what follows it, as if the data were its content.
                    self._padding = -length % BLOCK
                    return Header(MemberType.GLOBAL, b"", 0, 0, 0, 0, 0, 0)
                at += -length % BLOCK
                if flag == b"x":
                    records = _records(data)
                elif flag == b"K":
                    long_link = data.partition(b"\0")[0]
                continue
            break
        header = _header(block, name, records, long_link)
        if at < len(raw) and not header.is_sparse:
            raise _error("the content of a member", "another header")
        self._padding = -header.stored % BLOCK
        return header


def _header(block: bytes, name: bytes, records: dict[bytes, bytes], long_link: bytes | None) -> Header:
    flag = block[156:157]
    kind = _TYPES.get(flag, MemberType.OTHER)
    if flag == b"\0" and name.endswith(b"/"):
        kind = MemberType.DIRECTORY
    size = _decimal(records, b"size", block[124:136])
    link = records.get(b"linkpath") or (block[157:257].partition(b"\0")[0] if long_link is None else long_link)
    is_device = kind in {MemberType.CHARACTER_DEVICE, MemberType.BLOCK_DEVICE}
    return Header(
        type=kind,
        link=link,
        mode=_number(block[100:108]),
        uid=_decimal(records, b"uid", block[108:116]),
        gid=_decimal(records, b"gid", block[116:124]),
        major=_number(block[329:337]) if is_device else 0,
        minor=_number(block[337:345]) if is_device else 0,
        stored=0 if flag in _WITHOUT_CONTENT else size,
        is_sparse=flag == b"S" or any(key.startswith(_SPARSE) for key in records),
        xattrs={key[len(_XATTR) :]: value for key, value in records.items() if key.startswith(_XATTR)}
        if records
        else {},
    )


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


def _decimal(records: dict[bytes, bytes], key: bytes, otherwise: bytes) -> int:
    """The number that an extended header says, else that of the header's own field."""
    text = records.get(key)
    if not text:
        return _number(otherwise)
    if not text.isdigit() or len(text) > _MOST_DIGITS:
        raise _error("a decimal number", "something else")
    return int(text)


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
