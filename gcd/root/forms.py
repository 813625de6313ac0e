"""
Forms that the names and the texts of records have, as templates: texts in which some bytes stand for a digit.

What is compiled knows the same templates (``_forms.h``).
"""

from __future__ import annotations

import re
from functools import lru_cache
from sys import intern
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

HEX: Final = b"\x80"
BASE36: Final = b"\x81"
BASE32: Final = b"\x82"
DIGIT: Final = b"\x83"
"""In the place of one byte of a template: a digit of so many, as the engine spells it. Others mean themselves."""

_CLASSES: Final = {HEX: b"[0-9a-f]", BASE36: b"[0-9a-z]", BASE32: b"[A-Z2-7]", DIGIT: b"[0-9]"}


def of_form(names: Iterable[str], templates: tuple[bytes, ...]) -> list[str]:
    """Those of `names` that are a text of one of `templates`, in their order; equal ones are one object."""
    fullmatch = pattern(templates).fullmatch
    return [intern(name) for name in names if name.isascii() and fullmatch(name.encode())]


@lru_cache
def pattern(templates: tuple[bytes, ...], most: int = 1) -> re.Pattern[bytes]:
    """What a file, or a symlink, with up to `most` texts of one of `templates` holds, colons between them."""
    text = b"(?:%s)" % b"|".join(map(_spelled, templates))
    return re.compile(b"%s(?::%s){0,%d}" % (text, text, most - 1))


def _spelled(template: bytes) -> bytes:
    """`template` as a regular expression."""
    codes = (template[at : at + 1] for at in range(len(template)))
    return b"".join(_CLASSES.get(code) or re.escape(code) for code in codes)
