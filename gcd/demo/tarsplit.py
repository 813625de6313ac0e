"""
A layer's tar stream and its tar-split, as the engine keeps them.

A tar-split is gzipped NDJSON in stream order: type 2 is a segment of raw tar bytes (the padding of the file before it
and the header of the one after it), type 1 a file with its size and the CRC-64/ISO of its content (big endian).
Putting the segments and the files' bytes together again gives the stream, whose SHA-256 is the diff id. The last two
entries are the rest of the stream and an empty segment, as 20.10 writes them.

Sources: vbatts/tar-split ``tar/asm/disassemble.go`` NewInputTarStream, ``tar/storage/entry.go``; layers of a
20.10 engine. Whiteouts are left out: they are device nodes, which nobody makes without root rights.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import tarfile
from typing import TYPE_CHECKING, Final, assert_never

from msgspec import Struct

from gcd.model.ids import DiffId

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BLOCK: Final = 512
_POLYNOMIAL: Final = 0xD800000000000000
_ALL_ONES: Final = 0xFFFFFFFFFFFFFFFF
_SEGMENT: Final = 2
_FILE: Final = 1
MTIME: Final = 1_600_000_000
"""What every file of a synthetic layer says; an engine sets the time that is in the stream."""


class SymlinkTo(Struct, frozen=True):
    target: str


class HardLinkTo(Struct, frozen=True):
    """Another name of a file of the same layer that sorts before this one."""

    name: str


class Folder(Struct, frozen=True):
    """A directory that nothing else in the layer would make."""


Entry = bytes | SymlinkTo | HardLinkTo | Folder
Content = "Mapping[str, Entry]"
"""What is in a layer: relative names without ``./``; the folders above a name come by themselves."""


class PackedLayer(Struct, frozen=True):
    """
    `size` is what a native ApplyDiff counts (files once, and the length of symlinks' targets), `payload` the bytes of
    regular files alone, which is BuildKit's idea of a layer's size.
    """

    diff_id: DiffId
    stream: bytes
    tar_split: bytes
    size: int
    payload: int


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_TABLE: Final = _crc_table()


def crc64_iso(data: bytes) -> int:
    crc = _ALL_ONES
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ _ALL_ONES


def with_folders(content: Mapping[str, Entry]) -> dict[str, Entry]:
    """`content` with every folder above its names, in the order in which the engine packs them."""
    entries: dict[str, Entry] = {}
    for name in content:
        parts = name.split("/")
        for depth in range(1, len(parts)):
            entries.setdefault("/".join(parts[:depth]), Folder())
    entries.update(content)
    return dict(sorted(entries.items(), key=lambda item: item[0].split("/")))


def _header(name: str, entry: Entry) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mtime, info.mode, info.uname, info.gname = MTIME, 0o644, "root", "root"
    match entry:
        case bytes():
            info.size = len(entry)
        case SymlinkTo(target):
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
        case HardLinkTo(target):
            info.type, info.linkname = tarfile.LNKTYPE, target
        case Folder():
            info.type, info.mode = tarfile.DIRTYPE, 0o755
        case _:
            assert_never(entry)
    return info


def _split(content: Mapping[str, Entry]) -> Iterator[tuple[bytes, str, bytes]]:
    """For each entry: the raw bytes before its content, its name in the stream, its content."""
    padding = b""
    for name, entry in with_folders(content).items():
        data = entry if isinstance(entry, bytes) else b""
        yield padding + _header(name, entry).tobuf(tarfile.PAX_FORMAT), _stream_name(name, entry), data
        padding = bytes(-len(data) % _BLOCK)
    yield padding + bytes(2 * _BLOCK), "", b""


def _stream_name(name: str, entry: Entry) -> str:
    return name + "/" if isinstance(entry, Folder) else name


def _segment(raw: bytes, position: int) -> str:
    return _line({"type": _SEGMENT, "payload": base64.b64encode(raw).decode(), "position": position})


def _file(name: str, data: bytes, position: int) -> str:
    if not data:
        return _line({"type": _FILE, "name": name, "payload": None, "position": position})
    crc = base64.b64encode(crc64_iso(data).to_bytes(8)).decode()
    return _line({"type": _FILE, "name": name, "size": len(data), "payload": crc, "position": position})


def _line(entry: dict[str, object]) -> str:
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False) + "\n"


def pack(content: Mapping[str, Entry]) -> PackedLayer:
    """The stream of a layer that holds `content`, and its tar-split."""
    stream: list[bytes] = []
    lines: list[str] = []
    for raw, name, data in _split(content):
        stream += (raw, data)
        lines.append(_segment(raw, len(lines)))
        if name:
            lines.append(_file(name, data, len(lines)))
    lines.append(_segment(b"", len(lines)))
    whole = b"".join(stream)
    payload = sum(len(entry) for entry in content.values() if isinstance(entry, bytes))
    return PackedLayer(
        diff_id=DiffId("sha256:" + hashlib.sha256(whole).hexdigest()),
        stream=whole,
        tar_split=gzip.compress("".join(lines).encode(), compresslevel=1, mtime=0),
        size=payload + sum(len(entry.target) for entry in content.values() if isinstance(entry, SymlinkTo)),
        payload=payload,
    )
