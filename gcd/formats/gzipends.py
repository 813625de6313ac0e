"""
The two ends of a gzip file of one member, as the engine writes ``tar-split.json.gz``.

The tail of a file that was cut is compressed data, and that of one that lost power before its data was written is
zeros. Either shows in the last four bytes, the length of what was compressed, which deflate keeps within bounds.

Source: RFC 1952; RFC 1951 (deflate's greatest ratio).
"""

from __future__ import annotations

from typing import Final

from gcd.model.errors import FormatError

HEAD_BYTES: Final = 10
TAIL_BYTES: Final = 8

_HEAD: Final = b"\x1f\x8b\x08"
_DEFLATE_MAX_RATIO: Final = 1032
_DEFLATE_SLACK: Final = 4096
_WHAT: Final = "tar-split.json.gz"


def gzip_size(head: bytes, tail: bytes, size: int) -> int:
    """`size`, if `head` and `tail` are the ends of a whole gzip file of so many bytes."""
    if not head.startswith(_HEAD):
        raise FormatError(_WHAT, expected="a gzip header", found=head.hex())
    if size <= HEAD_BYTES + TAIL_BYTES:
        raise FormatError(_WHAT, offset=size, expected="a whole gzip file", found=f"{size} bytes")
    length = int.from_bytes(tail[4:], "little")
    most = size * _DEFLATE_MAX_RATIO
    least = max(1, (size - _DEFLATE_SLACK) // 2)
    if not least <= length <= most and (most < 1 << 32 or not length):
        found = f"a length of {length}"
        raise FormatError(_WHAT, offset=size - 4, expected=f"{least} to {most} bytes", found=found)
    return size
