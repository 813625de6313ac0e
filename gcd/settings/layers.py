"""
What is said in files, in the environment and on the command line, one layer over the other, and checked. Each value
knows its origin; what does not fit is told with it.
"""

from __future__ import annotations

import os
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource
from pydantic_settings.exceptions import SettingsError

from gcd.model.errors import UsageError
from gcd.settings.checked import MODEL, checked
from gcd.settings.keys import DEFAULT, leaves, nearest, variable
from gcd.settings.model import ENV_BELOW

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from gcd.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Layer:
    """One origin of values: a file's path, ``GCD_…`` (each key its own variable) or ``flag``."""

    origin: str
    values: Mapping[str, Any]


def layered(files: Iterable[Path], flags: Layer) -> tuple[Settings, dict[str, str]]:
    """The settings in force, and by key what set the value. Tables are merged, entry by entry."""
    layers = [
        *map(_of_file, files),
        *(Layer(_variable_in_force(key), {key: value}) for key, value in _environment().items()),
        flags,
    ]
    values: dict[str, Any] = {}
    origins = dict.fromkeys(leaves(), DEFAULT)
    for layer in layers:
        for key, value in said(layer.values, layer.origin):
            *tables, name = key.split(".")
            place: Any = values
            for table in tables:
                place = place.setdefault(table, {})
            if not isinstance(place, dict):
                continue  # an earlier layer said of the table what is none: the check tells it
            is_table = isinstance(value, dict) and isinstance(place.get(name), dict)
            place[name] = {**place[name], **value} if is_table else value
            origins[key] = f"{origins[key]}, {layer.origin}" if is_table else layer.origin
    try:
        return checked(values), origins
    except ValidationError as error:
        raise _usage_error(error, origins) from None


def _of_file(path: Path) -> Layer:
    try:
        return Layer(str(path), TomlConfigSettingsSource(MODEL, toml_file=path)())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path} cannot be read as TOML: {reason}") from None


def _environment() -> dict[str, Any]:
    try:
        return EnvSettingsSource(MODEL)()
    except SettingsError as error:
        raise UsageError(f"a variable of the environment cannot be read: {error}") from None


def _variable_in_force(key: str) -> str:
    """The variable that says something of `key`: its own, or the first of those within it."""
    own = variable(key)
    names = sorted(name for name in os.environ if name.upper() == own or name.upper().startswith(own + ENV_BELOW))
    return names[0] if names else own


def said(
    values: Mapping[str, Any], origin: str, model: type[BaseModel] = MODEL, before: str = ""
) -> Iterator[tuple[str, Any]]:
    """Each leaf that `values` say something of, and what; a `UsageError` at a key that there is not, at any depth."""
    for name, value in values.items():
        demand_known(name, list(model.model_fields), origin, before)
        annotation = model.model_fields[name].annotation
        if isinstance(value, Mapping) and isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from said(value, origin, annotation, f"{before}{name}.")
        else:
            _demand_entries(annotation, value, origin, before + name)
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


def _usage_error(error: ValidationError, origins: Mapping[str, str]) -> UsageError:
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"]]
    key = next((k for n in range(len(parts), 0, -1) if (k := ".".join(parts[:n])) in origins), ".".join(parts[:1]))
    why = first["msg"].removeprefix("Value error, ")
    if key not in origins and isinstance(first["input"], dict):
        # A table whose values do not agree; it may hold secrets.
        told = dict.fromkeys(
            where for name, where in origins.items() if name.startswith(f"{key}.") and where != DEFAULT
        )
        return UsageError(f"{', '.join(told)}: {key} does not fit: {why}")
    shown = ".".join(parts) if isinstance(first["input"], str | int) else key
    value = "..." if is_secret(key) else repr(first["input"])
    return UsageError(f"{origins.get(key, 'settings')}: {shown} = {value} does not fit: {why}")


def is_secret(key: str) -> bool:
    """Whether what is said of `key` may be shown to nobody."""
    annotation: Any = MODEL
    for name in key.split("."):
        annotation = annotation.model_fields[name].annotation
    return _holds_secrets(annotation)


def _holds_secrets(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_holds_secrets, get_args(annotation)))
