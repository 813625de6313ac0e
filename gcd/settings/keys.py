"""
The keys of the settings: which there are at each depth, and what is said of one that there is not.

A key is written with dots: ``policy.grace``. What ends in a table of the settings' own (`Table`) has keys below it;
every other value is a leaf, also a mapping whose keys are the user's.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from gcd.model.errors import UsageError
from gcd.settings.model import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic.fields import FieldInfo


def leaves(model: type[BaseModel] = Settings, before: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """All keys that hold a value, in the order of the sample."""
    for name, field in model.model_fields.items():
        if (table := table_of(field)) is None:
            yield before + name, field
        else:
            yield from leaves(table, f"{before}{name}.")


def table_of(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def is_secret(key: str) -> bool:
    """Whether what is said of `key` may be shown to nobody."""
    return any(name == key and _holds_secrets(field.annotation) for name, field in leaves())


def _holds_secrets(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_holds_secrets, get_args(annotation)))


def said(
    values: Mapping[str, Any], origin: str, model: type[BaseModel] = Settings, before: str = ""
) -> Iterator[tuple[str, Any]]:
    """Each leaf that `values` say something of, and what; a `UsageError` at a key that there is not, at any depth."""
    for name, value in values.items():
        demand_known(name, list(model.model_fields), origin, before)
        field = model.model_fields[name]
        table = table_of(field)
        if table is not None and isinstance(value, Mapping):
            yield from said(value, origin, table, f"{before}{name}.")
        else:
            _demand_entries(field.annotation, value, origin, before + name)
            yield before + name, value


def demand_known(name: str, known: list[str], origin: str, before: str = "") -> None:
    if name not in known:
        hint = nearest(name, known) or f"; the settings {f'of {before[:-1]} ' if before else ''}are {', '.join(known)}"
        raise UsageError(f"{origin}: there is no setting {before + name!r}{hint}")


def _demand_entries(annotation: object, value: object, origin: str, key: str) -> None:
    """See to the keys of the tables within a mapping or a list, and to those of a mapping by the words of an enum."""
    parts = _parts(annotation)
    entry = next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), None)
    words = next((part for part in parts if isinstance(part, type) and issubclass(part, StrEnum)), None)
    if isinstance(value, Mapping):
        if words is not None and get_origin(annotation) is dict:
            for name in value:
                demand_known(str(name), list(words), origin, f"{key}.")
        entries: Iterable[tuple[str, object]] = ((f"{key}.{name}", found) for name, found in value.items())
    elif isinstance(value, list | tuple):
        entries = ((f"{key}[{number}]", found) for number, found in enumerate(value))
    else:
        return
    for place, found in entries:
        if entry is not None and isinstance(found, Mapping):
            list(said(found, origin, entry, f"{place}."))


def _parts(annotation: object) -> list[object]:
    """The direct arguments of a mapping or a tuple, also of one that may be None."""
    if get_origin(annotation) in {Union, types.UnionType}:
        return [part for choice in get_args(annotation) for part in _parts(choice)]
    return list(get_args(annotation))


def nearest(word: str, words: list[str]) -> str:
    """``; did you mean …?``, or nothing when no word is near."""
    near = difflib.get_close_matches(word, words, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
