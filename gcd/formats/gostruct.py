"""
Objects as the engine reads them into its structs: Go's encoding/json.

- A key matches a field whatever the case of its letters; for repeated keys the last scalar wins, objects merge.
- ``null`` leaves a scalar as it was and empties a pointer, map or slice.
- One value of the wrong type makes the engine refuse the whole file, whatever field it is in.

What is just as an engine writes it, which is nearly every file, is checked and pruned at once by a compiled part
(``_gostruct.c``). It gives no answer for what is odd in any way; that, and all where it was not compiled, is read here.

Sources: Go ``encoding/json`` decode.go (object, array), fold.go.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, assert_never

from gcd.formats.gojson import Number, cleaned, decode_document, decode_first, refusal, refuse
from gcd.formats.gotime import is_rfc3339
from gcd.model.errors import FormatError

try:
    from gcd.formats import _gostruct
except ImportError:  # not compiled where it was installed
    IS_COMPILED = False
else:
    IS_COMPILED = True

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcd.formats._gostruct import Compiled
    from gcd.formats.gojson import Fields, Json, Members

_FOLD = str.maketrans({chr(c): chr(c + 32) for c in range(ord("A"), ord("Z") + 1)} | {"\u212a": "k", "\u017f": "s"})
"""Go folds the Kelvin sign and the long s with k and s; no other character folds with an ASCII letter."""

_LONGEST_KEPT = 64
"""Characters of a key above which it is no field's name, and not kept."""


def _folded(key: str) -> str:
    return _kept(key) if len(key) <= _LONGEST_KEPT else key.translate(_FOLD)


@lru_cache(maxsize=1024)
def _kept(key: str) -> str:
    """Kept for the next file, which has the same keys."""
    return key.translate(_FOLD)


class Kind(Enum):
    """The Go types that the fields of these files have; the value says what the file must have there."""

    __hash__ = object.__hash__
    """An enum's own is written in Python."""

    TEXT = "text"
    FLAG = "true or false"
    INTEGER = "a whole number of 64 bits"
    TIME = "a time as in RFC 3339"
    OBJECT = "an object"
    ARRAY = "an array"
    TEXTS = "an array of texts"
    TEXT_MAP = "an object of texts"
    SET = "an object of objects"
    WORDS = "a text or an array of texts"


class Shape:
    """
    The kinds of a struct's fields, by name. Of every object those `checked` and `read` are checked, as the engine would
    refuse the file for one of another kind; those `asked` for only when they are. Those only checked may not be asked
    for, but for what is wrong with their items: they need not be kept. No other field is seen.

    `inner` are the shapes of the objects that fields hold, or that are in their arrays.
    """

    __slots__ = ("_fields", "_is_of", "_plain", "compiled", "inner")

    def __init__(
        self,
        checked: Mapping[str, Kind] = MappingProxyType({}),
        *,
        read: Mapping[str, Kind] = MappingProxyType({}),
        asked: Mapping[str, Kind] = MappingProxyType({}),
        inner: Mapping[str, Shape] = MappingProxyType({}),
    ) -> None:
        kinds = {**checked, **read, **asked}
        self.inner = inner
        self._fields = {_folded(name): (name, kind, name not in asked) for name, kind in kinds.items()}
        self._is_of = {name: _IS_OF[kind] for name, kind in kinds.items()}
        self._plain = {name: _PLAIN[kind] for name, kind in kinds.items() if kind in _PLAIN}
        self.compiled: Compiled | None = None
        """The same as the compiled part has it: of each field its name and kind, whether to keep it, what it holds."""
        if IS_COMPILED:
            shapes = {name: shape.compiled for name, shape in inner.items()}
            fields = ((name, kind.name, name not in checked, shapes.get(name)) for name, kind in kinds.items())
            self.compiled = _gostruct.compiled(tuple(fields))

    def decode(self, members: Members, what: str) -> Mapping[str, Json | FormatError]:
        """
        The values of the fields that `members` name, each of its kind or null, or the error that it is to ask for one.

        Raises `FormatError` for one of another kind that is checked.
        """
        if self.fits(members):
            found = dict(members)
            if len(found) == len(members):
                return found
        return self._settled(members, what)

    def fits(self, members: Members) -> bool:
        """
        Whether all keys of fields are written as their names are, and all values of their kinds or null, as in nearly
        every object. False where that takes longer to tell.
        """
        plain = self._plain
        for key, value in members:
            if plain.get(key) is not type(value):
                is_of = self._is_of.get(key)
                if _folded(key) in self._fields if is_of is None else value is not None and not is_of(value):
                    return False
        return True

    def _settled(self, members: Members, what: str) -> Mapping[str, Json | FormatError]:
        """As `decode`, for keys in any case that may be repeated."""
        values: dict[str, list[Json]] = {}
        for key, value in members:
            values.setdefault(_folded(key), []).append(value)
        found: dict[str, Json | FormatError] = {}
        for key, every in values.items():
            if key not in self._fields:
                continue
            name, kind, is_checked = self._fields[key]
            is_of = _IS_OF[kind]
            wrong = next((value for value in every if value is not None and not is_of(value)), None)
            if wrong is None:
                found[name] = _last(every, kind)
                continue
            found[name] = error = refusal(f"{what}: {name}", kind.value, wrong)
            if is_checked:
                raise error
        return found


class GoStruct:
    """
    An object decoded into a Go struct: fields by name, whatever the case of the key.

    A missing field has Go's zero value. A value of another kind, in any occurrence of its key, is a `FormatError`: at
    once if the shape has the field checked or read, else for whoever asks for it. Only fields may be asked for that the
    shape has for that.
    """

    __slots__ = ("_fields", "_inner", "what")

    def __init__(self, members: Members | Fields, what: str, shape: Shape) -> None:
        self._fields = members if isinstance(members, dict) else shape.decode(members, what)
        self._inner = shape.inner
        self.what = what

    def has(self, name: str) -> bool:
        """Whether the object names the field, if only for null."""
        self._value(name)
        return name in self._fields

    def text(self, name: str) -> str:
        return self.stated_text(name) or ""

    def stated_text(self, name: str) -> str | None:
        """None where the object leaves the field as it was."""
        value = self._fields.get(name)
        if isinstance(value, str):  # most are asked for: what other methods delegate is written out here
            return value if value.isascii() else cleaned(value)
        if isinstance(value, FormatError):
            raise value
        return None

    def flag(self, name: str) -> bool:
        value = self._fields.get(name)
        if isinstance(value, FormatError):
            raise value
        return value is True

    def struct(self, name: str) -> GoStruct | None:
        """None for a pointer to a struct that is missing or null; the objects of a repeated key merge."""
        value = self._value(name)
        if not isinstance(value, tuple | dict):
            return None
        return GoStruct(value, f"{self.what}: {name}", self._inner[name])

    def entries(self, name: str) -> list[tuple[str, Json]]:
        """
        The entries of a map with text keys; none for a missing or null one.

        Repeated keys are all there: each value must be of its kind, and then the last counts.
        """
        value = self._value(name)
        return [(cleaned(key), entry) for key, entry in value] if isinstance(value, tuple) else []

    def texts(self, name: str) -> tuple[str, ...]:
        """A slice of texts; a null in it is the empty text."""
        value = self._value(name)
        if not isinstance(value, list):
            return ()
        return tuple([v if isinstance(v, str) and v.isascii() else _text_of(v) for v in value])

    def check_items(self, name: str) -> None:
        """
        Raises `FormatError` where an item of the array is no object or null, or has a field that is refused: also one
        of a repeated key that does not count. An array that was not kept has been checked.
        """
        value = self._value(name)
        shape = self._inner[name]
        for item in value if isinstance(value, list) else ():
            if type(item) is not dict and (type(item) is not tuple or not shape.fits(item)):
                struct_of(item, f"{self.what}: {name}", shape)

    def _value(self, name: str) -> Json:
        value = self._fields.get(name)
        if isinstance(value, FormatError):
            raise value
        return value


def _text_of(item: Json) -> str:
    """What an item of a slice of texts holds: a text, or null."""
    return cleaned(item) if isinstance(item, str) else ""


def struct_of_document(raw: bytes, what: str, shape: Shape) -> GoStruct | None:
    """The object of a file that the engine reads with ``json.Unmarshal``, None for null."""
    fields = _plain(raw, shape, is_whole=True)
    return struct_of(decode_document(raw, what), what, shape) if fields is None else GoStruct(fields, what, shape)


def struct_of_first(raw: bytes, what: str, shape: Shape) -> GoStruct | None:
    """The object, None for null, that a file begins with which the engine reads with ``json.Decoder``."""
    fields = _plain(raw, shape, is_whole=False)
    return struct_of(decode_first(raw, what), what, shape) if fields is None else GoStruct(fields, what, shape)


def _plain(raw: bytes, shape: Shape, *, is_whole: bool) -> Fields | None:
    """
    What `shape` keeps of the object that `raw` begins with, and holds nothing else if it `is_whole`. None where it is
    odd: where it is no such object, where a key of a field is written in another case or repeated, where a time or a
    number has a form that engines do not write, where anything is refused. So it is where nothing was compiled.
    """
    return None if shape.compiled is None else _gostruct.pruned(shape.compiled, raw, is_whole)


def struct_of(value: Json, what: str, shape: Shape) -> GoStruct | None:
    """`value` as a struct, None for null."""
    if value is None:
        return None
    if not isinstance(value, tuple):
        refuse(what, Kind.OBJECT.value, value)
    return GoStruct(value, what, shape)


def text_map(value: Json, what: str) -> dict[str, str]:
    """`value` as a map from text to text; null is the empty map, and in it the empty text."""
    if value is None:
        return {}
    if not isinstance(value, tuple) or not _has_texts(value):
        refuse(what, Kind.TEXT_MAP.value, value)
    return {cleaned(key): cleaned(text) if isinstance(text, str) else "" for key, text in value}


_INTEGER = re.compile(r"-?[0-9]{1,19}")
_SURELY_INT64 = 19
"""Digits below which a number has no more than 64 bits."""


def _last(values: list[Json], kind: Kind) -> Json:
    """What a field of `kind` holds once a decoder has met `values`, each of that kind or null."""
    match kind:
        case Kind.TEXT | Kind.FLAG | Kind.INTEGER | Kind.TIME:
            return next((value for value in reversed(values) if value is not None), None)
        case Kind.OBJECT | Kind.TEXT_MAP | Kind.SET:
            merged: list[tuple[str, Json]] = []
            for value in values:
                if isinstance(value, tuple):
                    merged.extend(value)
                else:
                    merged.clear()
            return tuple(merged) if values[-1] is not None else None
        case Kind.ARRAY:
            # Also what does not count: its kinds do.
            return [item for value in values if isinstance(value, list) for item in value]
        case Kind.TEXTS | Kind.WORDS:
            return values[-1]
        case _:
            assert_never(kind)


def _is_int64(value: Json) -> bool:
    """Go takes neither a fraction nor an exponent for an integer field."""
    if not isinstance(value, Number):
        return False
    literal = value.literal
    if len(literal) < _SURELY_INT64 and literal.isdigit():
        return True
    return _INTEGER.fullmatch(literal) is not None and -(2**63) <= int(literal) < 2**63


def _are_texts(values: Json) -> bool:
    if not isinstance(values, list):
        return False
    for value in values:  # noqa: SIM110 - all() over a generator takes twice the time
        if type(value) is not str and value is not None:
            return False
    return True


def _has_texts(members: Members) -> bool:
    return _are_texts([value for _, value in members])


_PLAIN: Mapping[Kind, type] = {Kind.TEXT: str, Kind.FLAG: bool, Kind.OBJECT: tuple, Kind.ARRAY: list}
"""By kind, the type of its values, where that is all there is to them."""

_IS_OF: Mapping[Kind, Callable[[Json], bool]] = {
    Kind.TEXT: lambda value: isinstance(value, str),
    Kind.FLAG: lambda value: isinstance(value, bool),
    Kind.INTEGER: _is_int64,
    Kind.TIME: lambda value: isinstance(value, str) and is_rfc3339(value),
    Kind.OBJECT: lambda value: isinstance(value, tuple),
    Kind.ARRAY: lambda value: isinstance(value, list),
    Kind.TEXTS: _are_texts,
    Kind.TEXT_MAP: lambda value: isinstance(value, tuple) and _has_texts(value),
    Kind.SET: lambda value: isinstance(value, tuple) and all(v is None or isinstance(v, tuple) for _, v in value),
    Kind.WORDS: lambda value: isinstance(value, str) or _are_texts(value),
}
