"""
Bundles of members out of a tar-split: those that follow each other and are what most are, each in the form in which
engines write most.

A layer may have a hundred thousand members, and Python takes longer over one than the kernel over its file. So this
part exists twice: here, and compiled in ``_bundle.c``, which does the same and takes its place where it could be built.

What most are: directories, symlinks, files of at most `LARGEST` bytes; not whiteouts. The form: two lines, the segment
of the padding before it and of its header (ustar; those before it give it a long name, times or attributes only), and
the member, whose name is printable ASCII. Everything else, damage included, is left to `tarsplit` and `tarheader`,
which tell the same of these members too.
"""

from __future__ import annotations

import re
import struct
from binascii import a2b_base64, b2a_base64
from typing import Final, NamedTuple

BLOCK: Final = 512
LARGEST: Final = 1 << 16
"""In bytes: longer files are no matter of going from one to the next."""
MOST_MEMBERS: Final = 128
MOST_BYTES: Final = 1 << 20
"""Of the files of one bundle, together."""
LINK_BYTES: Final = 100
_NAME_BYTES: Final = 1024
_SEGMENT_BYTES: Final = 16 * BLOCK
_CRC_BYTES: Final = 8

_OCTAL: Final = re.compile(rb"([0-7]{11})[ \0]")
_RECORD: Final = re.compile(rb"(0|[1-9][0-9]{,17}) (?:(?:path|[mac]time)=|SCHILY\.xattr\.[^=]*=)", re.DOTALL)

FILE, SYMLINK, DIRECTORY = b"025"

NUMBERS: Final = struct.Struct("=QQ")
"""Of a member in a bundle: size in bytes, and checksum; 0 both where it is no file, or an empty one."""

_LINES: Final = re.compile(
    rb'\{"type":2,"payload":"([^"]*)","position":(?:0|[1-9][0-9]{,17})\}\n'
    rb'\{"type":1,"name":"([ !#-\[\]-~]*)"(?:,"size":([1-9][0-9]{,17}),"payload":"([^"]*)"|,"payload":null)'
    rb',"position":(?:0|[1-9][0-9]{,17})\}\n'
)
_HEADER: Final = re.compile(
    rb".{100}(?:[0-7]{7}[ \0]){3}([0-7]{11})[ \0].{20}([\x00025])(?=([^\0]{,100})).{355}", re.DOTALL
)
"""Of a header its size, type and link."""


class Bundle(NamedTuple):
    """
    Of each member, in their order: its name as the engine cleans it, raw, a zero byte behind it; its type, one byte
    (`FILE`, `SYMLINK`, `DIRECTORY`); its `NUMBERS`; the target of a symlink, raw, and a zero byte. `size` is what the
    files have together, in bytes.
    """

    names: bytes
    kinds: bytes
    numbers: bytes
    links: bytes
    size: int


Fields = tuple[bytes, bytes, bytes, bytes, int]
"""Those of a `Bundle`, as what is compiled gives them."""


def take_bundle(text: bytes, at: int, padding: int, /) -> tuple[Fields, int, int] | None:
    """
    The members at the offset `at` of a tar-split, which must be the beginning of a line after that of a member or of
    the first line, where the content of the member before it has so much `padding` behind it: as many as there are and
    fit, where the next line begins, and the padding before that. None where there is not one.
    """
    if not (0 <= at <= len(text) and 0 <= padding < BLOCK):
        raise ValueError("no place in a tar-split")
    names, kinds, numbers, links, total = bytearray(), bytearray(), bytearray(), bytearray(), 0
    while len(kinds) < MOST_MEMBERS and (member := _member(text, at, padding)) is not None:
        name, kind, size, crc, link, after, end = member
        if total + size > MOST_BYTES:
            break
        names += name + b"\0"
        kinds.append(kind)
        numbers += NUMBERS.pack(size, crc)
        links += link + b"\0"
        total += size
        at, padding = end, after
    return ((bytes(names), bytes(kinds), bytes(numbers), bytes(links), total), at, padding) if kinds else None


def _member(text: bytes, at: int, padding: int) -> tuple[bytes, int, int, int, bytes, int, int] | None:
    """Name, type, size, checksum and link of one member, the padding behind its content, and where its lines end."""
    lines = _LINES.match(text, at)
    if lines is None:
        return None
    segment = _canonical(lines[1]) or b""
    begin = _behind_extensions(segment, padding) if padding + BLOCK <= len(segment) <= _SEGMENT_BYTES else None
    header = None if begin is None else _HEADER.fullmatch(segment, begin)
    if header is None:
        return None
    kind = FILE if header[2] == b"\0" else ord(header[2])
    name = _cleaned(lines[2], kind)
    size, crc = int(lines[3] or 0), _canonical(lines[4]) if lines[3] else bytes(_CRC_BYTES)
    if name is None or crc is None or len(crc) != _CRC_BYTES or size > LARGEST or (size and kind != FILE):
        return None
    after = -int(header[1], 8) % BLOCK if kind == FILE else 0
    return name, kind, size, int.from_bytes(crc), header[3] if kind == SYMLINK else b"", after, lines.end()


def _behind_extensions(segment: bytes, at: int) -> int | None:
    """
    Where the header of the member begins, behind those that only give it a long name, or that only have records which
    say nothing of its type, size, link or owner.
    """
    while (kind := segment[at + 156 : at + 157]) in {b"x", b"L"}:
        size = _OCTAL.match(segment, at + 124)
        begin, at = at + BLOCK, at + BLOCK
        if size is None or (end := begin + int(size[1], 8)) > len(segment):
            return None
        while kind == b"x" and begin < end:
            record = _RECORD.match(segment, begin, end)
            if record is None or not record.end() < begin + int(record[1]) <= end:
                return None
            begin += int(record[1])
            if segment[begin - 1] != ord("\n"):
                return None
        at = end + -(end - at) % BLOCK
    return at


def _canonical(text: bytes) -> bytes | None:
    """What is given as base64 in its one canonical form."""
    try:
        raw = a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    return raw if b2a_base64(raw, newline=False) == text else None


def _cleaned(name: bytes, kind: int) -> bytes | None:
    """`name` as the engine cleans it, if little is to be done; None for others, and for whiteouts."""
    if name.startswith(b"./"):
        name = name[2:]
    if kind == DIRECTORY:
        name = name.removesuffix(b"/")
    parts = name.split(b"/")
    if len(name) > _NAME_BYTES or not {b"", b".", b".."}.isdisjoint(parts) or parts[-1].startswith(b".wh."):
        return None
    return name
