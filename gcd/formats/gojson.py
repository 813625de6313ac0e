"""
JSON as the engine reads it: Go's encoding/json, of which Python's json is neither a subset nor a superset.

- Invalid UTF-8 in a string and lone surrogates become U+FFFD; a byte order mark, NaN and Infinity are refused.
- A key matches a field whatever the case of its letters; for repeated keys the last scalar wins, objects merge.
- ``null`` leaves a scalar as it was and empties a pointer, map or slice.
- One value of the wrong type makes the engine refuse the whole file, whatever field it is in.
- ``json.Unmarshal`` refuses what follows the value, ``json.Decoder`` does not look at it.

Bounded: nesting is limited, numbers stay text until somebody wants a small one, and memory is up to thirty times the
input, whose size the caller limits. `FormatError.found` names kinds of values and single characters, never contents:
files read with this hold environment variables.

Sources: Go ``encoding/json`` decode.go (object, literalStore, array), fold.go, stream.go (Decoder.readValue).
"""

from __future__ import annotations

import json
import re
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias, Union

from gcd.formats.escape import escaped
from gcd.formats.gotime import is_rfc3339
from gcd.model.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MOST_NESTED = 400
"""The deepest nesting that is read. Go goes to 10 000, but no engine writes more than a dozen, and Python's own parser
stops near 1000."""


class Number(NamedTuple):
    literal: str


class Members(tuple[tuple[str, "Json"], ...]):
    """The members of an object as they stand, repeated keys included."""

    __slots__ = ()


Json: TypeAlias = Union[bool, str, Number, "list[Json]", Members, None]


def decode_document(raw: bytes, what: str) -> Json:
    """The value of a file that the engine reads with ``json.Unmarshal``."""
    text, value, end = _decode(raw, what)
    rest = _WHITESPACE.match(text, end)
    assert rest is not None
    if rest.end() != len(text):
        _refuse_at(text, rest.end(), what, "nothing after the JSON value")
    return value


def decode_first(raw: bytes, what: str) -> Json:
    """The first value of a file that the engine reads with ``json.Decoder``; what follows it does not matter."""
    return _decode(raw, what)[1]


def cleaned(text: str) -> str:
    """`text` as Go would hold it: U+FFFD for what is no character."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


_FOLD = str.maketrans({chr(c): chr(c + 32) for c in range(ord("A"), ord("Z") + 1)} | {"\u212a": "k", "\u017f": "s"})
"""Go folds the Kelvin sign and the long s with k and s; no other character folds with an ASCII letter."""


_LONGEST_KEPT = 64
"""Characters of a key above which it is no field's name, and not kept."""


@lru_cache(maxsize=1024)
def _folded(key: str) -> str:
    """Kept for the next file, which has the same keys."""
    return key.translate(_FOLD)


class Kind(Enum):
    """The Go types that the fields of these files have; the value says what the file must have there."""

    __hash__ = object.__hash__
    """An enum's own is written in Python, and kinds are looked up a hundred times for each file."""

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
    """What kinds the fields of a struct have, by name."""

    __slots__ = ("_plain", "by_key")

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self.by_key = {_folded(name): (name, kind, _PLAIN.get(kind, (None, None))) for name, kind in kinds.items()}
        self._plain = {name: _PLAIN[kind] for name, kind in kinds.items() if kind in _PLAIN}

    def fits(self, value: Json) -> bool:
        """
        Whether `value` is an object whose members are all named just as here, and all of their kinds: one at which
        `Struct.require` has nothing to refuse, told in a quarter of the time. False says nothing.
        """
        if type(value) is not Members:
            return False
        for key, member in value:
            plain, is_plain = self._plain.get(key, _NO_KIND)
            if type(member) is not plain or not (is_plain is None or is_plain(member)):
                return False
        return True


class Struct:
    """
    An object decoded into a Go struct: fields by name, whatever the case of the key.

    Each field is asked for as one kind; a value of another kind, in any occurrence of its key, is a `FormatError`.
    A missing field has Go's zero value.
    """

    __slots__ = ("_repeated", "_values", "what")

    def __init__(self, members: Iterable[tuple[str, Json]], what: str) -> None:
        pairs = [(_folded(key) if len(key) <= _LONGEST_KEPT else key.translate(_FOLD), value) for key, value in members]
        self.what = what
        self._values = dict(pairs)
        self._repeated: dict[str, list[Json]] = {}
        """By key, all its values, where these are several."""
        if len(self._values) < len(pairs):
            for key, value in pairs:
                self._repeated.setdefault(key, []).append(value)

    def has(self, name: str) -> bool:
        return _folded(name) in self._values

    def require(self, shape: Shape) -> None:
        """Check fields whose values nobody keeps: the engine would refuse the file for their kinds."""
        fields = shape.by_key
        for key, value in self._values.items():
            if key in fields:
                name, kind, (plain, is_plain) = fields[key]
                if type(value) is not plain or self._repeated or not (is_plain is None or is_plain(value)):
                    self._field(name, kind)

    def text(self, name: str) -> str:
        return self.stated_text(name) or ""

    def stated_text(self, name: str) -> str | None:
        """None where the object leaves the field as it was."""
        for value in reversed(self._field(name, Kind.TEXT)):
            if isinstance(value, str):
                return cleaned(value)
        return None

    def flag(self, name: str) -> bool:
        for value in reversed(self._field(name, Kind.FLAG)):
            if isinstance(value, bool):
                return value
        return False

    def struct(self, name: str) -> Struct | None:
        """None for a pointer to a struct that is missing or null; the objects of a repeated key merge."""
        members = self._members(name)
        return None if members is None else Struct(members, f"{self.what}: {name}")

    def entries(self, name: str) -> list[tuple[str, Json]]:
        """
        The entries of a map with text keys; none for a missing or null one.

        Repeated keys are all there: each value must be of its kind, and then the last counts.
        """
        return [(cleaned(key), value) for key, value in self._members(name) or ()]

    def texts(self, name: str) -> tuple[str, ...]:
        """A slice of texts; a null in it is the empty text."""
        last = self._field(name, Kind.TEXTS)[-1:]
        return tuple(
            cleaned(v) if isinstance(v, str) else "" for items in last if isinstance(items, list) for v in items
        )

    def items(self, name: str) -> list[Json]:
        """The items of an array, for their kinds to be checked: also those of a repeated key that do not count."""
        return [item for items in self._field(name, Kind.ARRAY) if isinstance(items, list) for item in items]

    def _members(self, name: str) -> list[tuple[str, Json]] | None:
        members: list[tuple[str, Json]] | None = None
        for value in self._field(name, Kind.OBJECT):
            members = [*(members or ()), *value] if isinstance(value, Members) else None
        return members

    def _field(self, name: str, kind: Kind) -> list[Json]:
        key = _folded(name)
        if key not in self._values:
            return []
        values = self._repeated.get(key) or [self._values[key]]
        for value in values:
            if value is not None and not _IS_OF[kind](value):
                refuse(f"{self.what}: {name}", kind.value, value)
        return values


def struct_of(value: Json, what: str) -> Struct | None:
    """`value` as a struct, None for null."""
    if value is None:
        return None
    if not isinstance(value, Members):
        refuse(what, Kind.OBJECT.value, value)
    return Struct(value, what)


def text_map(value: Json, what: str) -> dict[str, str]:
    """`value` as a map from text to text; null is the empty map, and in it the empty text."""
    if value is None:
        return {}
    if not isinstance(value, Members) or not _IS_OF[Kind.TEXT_MAP](value):
        refuse(what, Kind.TEXT_MAP.value, value)
    return {cleaned(key): cleaned(text) if isinstance(text, str) else "" for key, text in value}


def refuse(what: str, expected: str, value: Json) -> NoReturn:
    """Raise the `FormatError` that names the kind of `value`, not its content."""
    raise FormatError(what, expected=expected, found=_KIND_OF[type(value)])


_KIND_OF: Mapping[type, str] = {
    type(None): "null",
    bool: "true or false",
    str: "a text",
    Number: "a number",
    list: "an array",
    Members: "an object",
}

_WHITESPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_STRUCTURE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)
_INTEGER = re.compile(r"-?[0-9]{1,19}")


class _Constant(Exception):
    """NaN or an infinity, which Python's parser would take."""


def _refuse_constant(name: str) -> NoReturn:
    raise _Constant(name)


_DECODER = json.JSONDecoder(
    object_pairs_hook=Members, parse_int=Number, parse_float=Number, parse_constant=_refuse_constant
)


def _decode(raw: bytes, what: str) -> tuple[str, Json, int]:
    """The text, its first JSON value and the index behind it; invalid bytes in strings are still surrogates."""
    text = raw.decode("utf-8", "surrogateescape")
    _check_nesting(text, what)
    start = _WHITESPACE.match(text)
    assert start is not None
    try:
        value, end = _DECODER.raw_decode(text, start.end())
    except json.JSONDecodeError as error:
        _refuse_at(text, error.pos, what, "JSON")
    except _Constant as error:
        raise FormatError(what, expected="JSON", found=str(error)) from None
    except RecursionError:
        raise FormatError(what, expected=f"at most {MOST_NESTED} levels of nesting", found="more") from None
    return text, value, end


def _refuse_at(text: str, position: int, what: str, expected: str) -> NoReturn:
    found = f"'{escaped(text[position])}'" if position < len(text) else "the end"
    offset = len(text[:position].encode("utf-8", "surrogateescape"))
    raise FormatError(what, offset=offset, expected=expected, found=found)


def _check_nesting(text: str, what: str) -> None:
    if text.count("[") + text.count("{") <= MOST_NESTED:
        return
    depth = 0
    for match in _STRUCTURE.finditer(text):
        match text[match.start()]:
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
            case _:
                continue
        if depth > MOST_NESTED:
            _refuse_at(text, match.start(), what, f"at most {MOST_NESTED} levels of nesting")


def _is_int64(value: Json) -> bool:
    """Go takes neither a fraction nor an exponent for an integer field."""
    if not isinstance(value, Number) or _INTEGER.fullmatch(value.literal) is None:
        return False
    return -(2**63) <= int(value.literal) < 2**63


def _are_texts(values: Iterable[Json]) -> bool:
    return all(value is None or isinstance(value, str) for value in values)


_PLAIN: Mapping[Kind, tuple[type, Callable[[Any], bool] | None]] = {
    Kind.TEXT: (str, None),
    Kind.FLAG: (bool, None),
    Kind.OBJECT: (Members, None),
    Kind.ARRAY: (list, None),
    Kind.TIME: (str, is_rfc3339),
    Kind.INTEGER: (Number, _is_int64),
}
"""By kind, the type of its values and what else is to be asked of one."""

_NO_KIND = (None, None)
"""Of no value: null, too, is told by `Struct.require`."""

_IS_OF: Mapping[Kind, Callable[[Json], bool]] = {
    Kind.TEXT: lambda value: isinstance(value, str),
    Kind.FLAG: lambda value: isinstance(value, bool),
    Kind.INTEGER: _is_int64,
    Kind.TIME: lambda value: isinstance(value, str) and is_rfc3339(value),
    Kind.OBJECT: lambda value: isinstance(value, Members),
    Kind.ARRAY: lambda value: isinstance(value, list),
    Kind.TEXTS: lambda value: isinstance(value, list) and _are_texts(value),
    Kind.TEXT_MAP: lambda value: isinstance(value, Members) and _are_texts(member for _, member in value),
    Kind.SET: lambda value: isinstance(value, Members) and all(v is None or isinstance(v, Members) for _, v in value),
    Kind.WORDS: lambda value: isinstance(value, str) or (isinstance(value, list) and _are_texts(value)),
}
