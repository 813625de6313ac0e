"""
Tar-split: the recipe by which the engine makes a layer's tar stream again from the files in its dir.

NDJSON, one entry a line, in the order of the stream. ``{"type": 2, "payload": <base64>}`` is a segment of raw tar bytes
(headers, padding, the end); ``{"type": 1, "name": <text> | "name_raw": <base64>, "size": n, "payload": <base64>}`` a
member with the CRC-64/ISO of its content: `size` bytes of the file of that name belong here. Members without content
have no size. The entries stand one after the other in ``tar-split.json.gz``.

The entries are read as a stream: no more than one of them is in memory, however large the layer.

Source: vbatts/tar-split v0.12.1 ``tar/storage/entry.go``, ``tar/storage/packer.go``, ``tar/asm/disassemble.go``.
"""

from __future__ import annotations

import json
import re
import zlib
from binascii import a2b_base64
from typing import TYPE_CHECKING, Any, NamedTuple

from gcd.model.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WHAT = "tar-split"

LINE_LIMIT = 16 << 20
"""
A segment holds the headers of one member, of which extended ones are the longest, or a megabyte of padding at the end.
"""
WHOLE_LIMIT = 4 << 30
"""Of all entries together, uncompressed: about a kilobyte for each member."""
_CHUNK = 1 << 18
_GZIP = 31
"""``wbits`` for a gzip header and trailer, whose checksum is then verified."""
_CRC_BYTES = 8
_USUAL = re.compile(
    rb'\{"type":(?:2,"payload":"([^"]*)"'
    rb'|1,"name":"([ !#-\[\]-~]+)"(?:,"size":([1-9]\d{,17}))?,"payload":(?:null|"([^"]*)"))'
    rb',"position":(?:0|[1-9]\d{,17})\}'
)
"""
An entry just as engines write it, if nothing in it needs escapes: there may be a hundred thousand, and this takes a
third of the time that JSON does. Of a segment its payload, of a member name, size and payload.
"""


class Segment(NamedTuple):
    """A tuple, as `Member` is: there are too many of them for anything that takes longer to make."""

    payload: bytes


class Member(NamedTuple):
    """
    `name` is as it stands in the stream, raw; `size` bytes of content follow in it, whose CRC-64/ISO is `crc` (None
    where none is kept: members without content).
    """

    name: bytes
    size: int
    crc: int | None = None


def parse_tar_split(compressed: Iterable[bytes]) -> Iterator[Segment | Member]:
    """
    The entries of a ``tar-split.json.gz`` that is given in pieces, one by one; `FormatError` at the first that is none.
    """
    for text in unpacked_lines(compressed):
        yield from map(parse_entry, text[:-1].split(b"\n"))


def unpacked_lines(compressed: Iterable[bytes]) -> Iterator[bytes]:
    """The entries as text, each with the newline behind it, some at a time; `FormatError` as `parse_tar_split`."""
    rest, total = b"", 0
    for found in _unpacked(compressed):
        total += len(found)
        text = rest + found
        end = text.rfind(b"\n") + 1
        rest = text[end:]
        if len(rest) > LINE_LIMIT or total > WHOLE_LIMIT:
            raise FormatError(_WHAT, expected="entries of a bearable size", found="more")
        if end:
            yield text[:end]
    if rest.strip():
        raise FormatError(_WHAT, expected="a newline", found="the end")


def _unpacked(compressed: Iterable[bytes]) -> Iterator[bytes]:
    """What one gzip file holds that is given in pieces, in pieces of at most `_CHUNK`; nothing may follow it."""
    machine = zlib.decompressobj(wbits=_GZIP)
    for piece in compressed:
        waiting = piece
        while waiting and not machine.eof:
            try:
                yield machine.decompress(waiting, _CHUNK)
            except zlib.error:
                raise FormatError(_WHAT, expected="a whole gzip file", found="damage") from None
            waiting = machine.unconsumed_tail
        if machine.unused_data or (waiting and machine.eof):
            raise FormatError(_WHAT, expected="the end of the gzip file", found="more")
    if not machine.eof:
        raise FormatError(_WHAT, expected="a whole gzip file", found="its end")


def parse_entry(line: bytes) -> Segment | Member:
    """The entry that a line is, without the newline; `FormatError` where it is none."""
    usual = _USUAL.fullmatch(line)
    if usual is not None:
        segment, name, size, crc = usual.groups()
        try:
            if segment is not None:
                return Segment(a2b_base64(segment, strict_mode=True))
            return Member(name, int(size or 0), _crc(a2b_base64(crc, strict_mode=True)) if crc else None)
        except ValueError:
            pass  # no base64: said below
    return _any_entry(line)


def _any_entry(line: bytes) -> Segment | Member:
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        raise FormatError(_WHAT, expected="a JSON object", found="none")
    match entry.get("type"):
        case 2:
            return Segment(_bytes(entry.get("payload")))
        case 1:
            return Member(_name(entry), _size(entry.get("size", 0)), _crc(_bytes(entry.get("payload"))))
        case _:
            raise FormatError(_WHAT, expected="a segment or a member", found="another type")


def _name(entry: dict[str, Any]) -> bytes:
    name = entry.get("name")
    if isinstance(name, str) and name:
        return name.encode("utf-8", "surrogatepass")
    return _bytes(entry.get("name_raw"))


def _size(size: object) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise FormatError(_WHAT, expected="a size", found="none")
    return size


def _crc(payload: bytes) -> int | None:
    if len(payload) not in {0, _CRC_BYTES}:
        raise FormatError(_WHAT, expected=f"a checksum of {_CRC_BYTES} bytes", found="another length")
    return int.from_bytes(payload) if payload else None


def _bytes(text: object) -> bytes:
    if text is None:
        return b""
    if isinstance(text, str):
        try:
            return a2b_base64(text, strict_mode=True)
        except ValueError:
            pass  # binascii.Error, its subclass, is not what a character beyond ASCII raises
    raise FormatError(_WHAT, expected="base64", found="something else")
