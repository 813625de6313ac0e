"""
Texts of a result, made safe for terminals and for JSON.

Rules put names from the root into their texts. Such a name may carry control characters, or bytes that are not UTF-8
(as Python's surrogate escapes). A text that is printable stays as it is; any other is escaped whole.
"""

from __future__ import annotations

import binascii

from gcd.formats.escape import escaped

LIMIT = 4096
"""No text of a report is longer: far above any path, far below what floods a terminal."""


def printable(text: str) -> str:
    return text if text.isprintable() and len(text) <= LIMIT else escaped(text, LIMIT)


def is_utf8(text: str) -> bool:
    """Whether the name that `text` was decoded from is UTF-8: surrogate escapes mark each byte that was not."""
    return not any("\udc80" <= character <= "\udcff" for character in text)


def base64_of(text: str) -> str:
    """The bytes that `text` was decoded from, as the system's calls take them."""
    return binascii.b2a_base64(text.encode("utf-8", "surrogateescape"), newline=False).decode("ascii")
