"""
JSON as the engine reads it: Go's encoding/json, of which Python's json is neither a subset nor a superset.

- Invalid UTF-8 in a string and lone surrogates become U+FFFD; a byte order mark, NaN and Infinity are refused.
- ``json.Unmarshal`` refuses what follows the value, ``json.Decoder`` does not look at it.

What Go makes of an object is in `gcd.formats.gostruct`.

Bounded: nesting is limited, numbers stay text until somebody wants a small one, and memory is up to thirty times the
input, whose size the caller limits. `FormatError.found` names kinds of values and single characters, never contents:
files read with this hold environment variables.

Sources: Go ``encoding/json`` decode.go (literalStore), stream.go (Decoder.readValue).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NoReturn, TypeAlias, Union

from msgspec import Struct

from gcd.formats.escape import escaped
from gcd.model.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_NESTED = 400
"""The deepest nesting that is read. Go goes to 10 000, but no engine writes more than a dozen, and Python's own parser
stops near 1000."""


class Number(Struct):
    """Not frozen, which takes twice the time to make: most are made for nobody."""

    literal: str


Members: TypeAlias = tuple[tuple[str, "Json"], ...]
"""The members of an object as they stand, repeated keys included."""

Fields: TypeAlias = "dict[str, Json]"
"""An object that is plain, checked by its shape: the fields that this keeps, by name."""

Json: TypeAlias = Union[bool, str, Number, "list[Json]", Members, Fields, None]


def decode_document(raw: bytes, what: str) -> Json:
    """The value of a file that the engine reads with ``json.Unmarshal``."""
    text, value, end = _decode(raw, what)
    rest = _end_of_whitespace(text, end)
    if rest != len(text):
        _refuse_at(text, rest, what, "nothing after the JSON value")
    return value


def decode_first(raw: bytes, what: str) -> Json:
    """The first value of a file that the engine reads with ``json.Decoder``; what follows it does not matter."""
    return _decode(raw, what)[1]


def cleaned(text: str) -> str:
    """`text` as Go would hold it: U+FFFD for what is no character."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def refuse(what: str, expected: str, value: Json) -> NoReturn:
    """Raise the `FormatError` that names the kind of `value`, not its content."""
    raise refusal(what, expected, value)


def refusal(what: str, expected: str, value: Json) -> FormatError:
    """What `refuse` raises."""
    return FormatError(what, expected=expected, found=_KIND_OF[type(value)])


_KIND_OF: Mapping[type, str] = {
    type(None): "null",
    bool: "true or false",
    str: "a text",
    Number: "a number",
    list: "an array",
    tuple: "an object",
}

_WHITESPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_STRUCTURE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)


class _Constant(Exception):
    """NaN or an infinity, which Python's parser would take."""


def _refuse_constant(name: str) -> NoReturn:
    raise _Constant(name)


_DECODER = json.JSONDecoder(
    object_pairs_hook=tuple, parse_int=Number, parse_float=Number, parse_constant=_refuse_constant
)


def _decode(raw: bytes, what: str) -> tuple[str, Json, int]:
    """The text, its first JSON value and the index behind it; invalid bytes in strings are still surrogates."""
    text = raw.decode("utf-8", "surrogateescape")
    _check_nesting(text, what)
    try:
        value, end = _DECODER.raw_decode(text, _end_of_whitespace(text, 0))
    except json.JSONDecodeError as error:
        _refuse_at(text, error.pos, what, "JSON")
    except _Constant as error:
        raise FormatError(what, expected="JSON", found=str(error)) from None
    except RecursionError:
        raise FormatError(what, expected=f"at most {MOST_NESTED} levels of nesting", found="more") from None
    return text, value, end


def _end_of_whitespace(text: str, start: int) -> int:
    if text.startswith("{", start):
        return start
    match = _WHITESPACE.match(text, start)
    assert match is not None
    return match.end()


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
