"""
JSON of gcd's own files, read back strictly: no key missing, unknown or repeated, every value of its kind.

A text whose bytes are not UTF-8 is written as ``{"text": <escaped>, "base64": <its bytes>}``, so that other programs
read the file too, and no name of a root is lost.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, NoReturn

from gcd.formats.escape import escaped
from gcd.formats.gojson import Number, decode_document, refuse
from gcd.model.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcd.formats.gojson import Json

TextValue = str | dict[str, str]


def text_value(text: str) -> TextValue:
    """`text` as it stands in a file; surrogate escapes mark the bytes that are not UTF-8."""
    if not any("\udc80" <= character <= "\udcff" for character in text):
        return text
    raw = text.encode("utf-8", "surrogateescape")
    return {"text": escaped(text, 4 * len(raw)), "base64": base64.b64encode(raw).decode("ascii")}


def read_object(raw: bytes, what: str) -> Fields:
    return Fields(decode_document(raw, what), what)


class Fields:
    """
    An object whose members are taken one by one; `end` refuses what was not taken. Each method raises `FormatError`.
    """

    def __init__(self, value: Json, what: str) -> None:
        if not isinstance(value, tuple):
            refuse(what, "an object", value)
        self.what = what
        self._left = dict(value)
        if len(self._left) != len(value):
            raise FormatError(what, expected="each key once", found="a repeated key")

    def end(self) -> None:
        if self._left:
            raise FormatError(self.what, expected="no other key", found=escaped(min(self._left)))

    @property
    def left(self) -> tuple[str, ...]:
        """The keys that were not taken yet."""
        return tuple(self._left)

    def text(self, name: str) -> str:
        return text_from(self._take(name), f"{self.what}: {name}")

    def integer(self, name: str) -> int:
        return _integer_from(self._take(name), f"{self.what}: {name}")

    def integers(self, name: str) -> tuple[int, ...]:
        return tuple(_integer_from(item, f"{self.what}: {name}") for item in self.items(name))

    def flag(self, name: str) -> bool:
        value = self._take(name)
        if not isinstance(value, bool):
            refuse(f"{self.what}: {name}", "true or false", value)
        return value

    def stated(self, name: str) -> bool:
        """Whether the member, which must be there, is something else than null."""
        if name not in self._left:
            self._missing(name)
        if self._left[name] is not None:
            return True
        del self._left[name]
        return False

    def fields(self, name: str) -> Fields:
        return Fields(self._take(name), f"{self.what}: {name}")

    def members(self, name: str) -> list[tuple[str, Json]]:
        """All members of an object whose keys are not known beforehand."""
        fields = self.fields(name)
        return list(fields._left.items())  # noqa: SLF001 - its own class

    def items(self, name: str) -> Sequence[Json]:
        value = self._take(name)
        if not isinstance(value, list):
            refuse(f"{self.what}: {name}", "an array", value)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(text_from(item, f"{self.what}: {name}") for item in self.items(name))

    def objects(self, name: str) -> tuple[Fields, ...]:
        return tuple(Fields(item, f"{self.what}: {name}") for item in self.items(name))

    def _take(self, name: str) -> Json:
        if name not in self._left:
            self._missing(name)
        return self._left.pop(name)

    def _missing(self, name: str) -> NoReturn:
        raise FormatError(self.what, expected=f"the key {name}", found="none")


def _integer_from(value: Json, what: str) -> int:
    if not isinstance(value, Number) or len(value.literal) > 20 or not value.literal.lstrip("-").isdigit():
        refuse(what, "a whole number", value)
    return int(value.literal)


def text_from(value: Json, what: str) -> str:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise FormatError(what, expected="UTF-8", found="other bytes")
        return value
    if not isinstance(value, tuple):
        refuse(what, "a text", value)
    fields = dict(value)
    encoded = fields.get("base64")
    if fields.keys() != {"text", "base64"} or not isinstance(encoded, str):
        raise FormatError(what, expected="a text, or text and base64", found="another object")
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        raise FormatError(what, expected="base64", found="other characters") from None
