"""
Text from a root, made safe to print.

Names and contents come from disks, registries and containers: they may hold terminal escapes, newlines that fake a
log line, or bytes that are no UTF-8. Whatever is printed or kept for printing goes through `escaped`.
"""

from __future__ import annotations

_NAMED = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escaped(text: str | bytes, limit: int = 80) -> str:
    r"""
    `text` on one line, printable, and at most `limit` characters long, the last of them ``…`` if it was cut.

    Control and other unprintable characters become ``\n``, ``\x1b`` or ``\u202e``, bytes that are not UTF-8 (also those
    that surrogateescape carries) ``\xff``, a backslash ``\\``; the rest stays, so distinct texts stay distinct unless
    they were cut. The cost depends on `limit`, not on the length of `text`.
    """
    if isinstance(text, bytes):
        text = text[: 4 * (limit + 1)].decode("utf-8", "surrogateescape")
    if len(text) <= limit and text.isprintable() and "\\" not in text:
        return text
    pieces = [_piece(character) for character in text[: limit + 1]]
    length = sum(map(len, pieces))
    if length <= limit:
        return "".join(pieces)
    while pieces and length > limit - 1:
        length -= len(pieces.pop())
    return "".join(pieces) + "…"


def _piece(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
