"""
What is said in files, in the environment and on the command line, one layer over the other, and checked. Each value
knows its origin; what does not fit is told with it.
"""

from __future__ import annotations

import errno
import os
import reprlib
import stat
import tomllib
import types
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from msgspec import Struct
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import EnvSettingsSource
from pydantic_settings.exceptions import SettingsError

from gcd.model.errors import UsageError
from gcd.settings.checked import MODEL, checked
from gcd.settings.keys import DEFAULT, leaves, nearest, variable
from gcd.settings.model import ENV_BELOW

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from gcd.settings.model import Settings


LIMIT = 1 << 20
"""In bytes: no file of settings is larger."""

_SHOWN = 120
_WORDS = {
    "model_type": "it must be a table",
    "dict_type": "it must be a table",
    "tuple_type": "it must be a list",
    "too_short": "it must not be empty",
}
"""What pydantic says in words of Python, by its name for it."""


class Layer(Struct, frozen=True):
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
            place[name] = _merged(place[name], value) if is_table else value
            origins[key] = f"{origins[key]}, {layer.origin}" if is_table else layer.origin
    try:
        return checked(values), origins
    except ValidationError as error:
        raise _usage_error(error, origins) from None


def _merged(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """What is said later comes last: one code can have several names, of which the last one counts."""
    return {**{name: value for name, value in earlier.items() if name not in later}, **later}


def _of_file(path: Path) -> Layer:
    try:
        return Layer(str(path), tomllib.loads(_text(path)))
    except OSError as error:
        why = error.strerror
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        why = str(error)
    except RecursionError:
        why = "it is nested too deeply"
    except ValueError:
        why = "a number in it has too many digits"
    raise UsageError(f"{path} cannot be read as TOML: {why}")


def _text(path: Path) -> str:
    """What `path` holds, which is no pipe: nobody is waited for who might write into that."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is a pipe")
        content = file.read(LIMIT + 1)
    if len(content) > LIMIT:
        raise OSError(errno.EFBIG, f"it is larger than {LIMIT >> 20} MiB")
    return content.decode()


def _environment() -> dict[str, Any]:
    source = EnvSettingsSource(MODEL)
    try:
        return source()
    except (SettingsError, RecursionError):
        names = ", ".join(filter(_is_no_json, sorted(os.environ)))
        raise UsageError(f'{names} cannot be read: write it as JSON, such as ["a", "b"] or {{"a": "b"}}') from None


def _is_no_json(name: str) -> bool:
    """Whether the variable `name`, taken alone, is a list or a table and not written as JSON."""
    source = EnvSettingsSource(MODEL)
    source.env_vars = {name.lower(): os.environ[name]}
    try:
        source()
    except (SettingsError, RecursionError):
        return True
    return False


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
        hint = (
            nearest(name.lower(), known)
            or f"; the settings {f'of {before[:-1]} ' if before else ''}are {', '.join(known)}"
        )
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
    place = ".".join(parts)
    if first["type"] == "missing":
        return UsageError(f"{origins.get(key, 'settings')}: {place} is missing")
    why = _WORDS.get(first["type"], first["msg"].removeprefix("Value error, "))
    if key not in origins and isinstance(first["input"], dict):
        # A table whose values do not agree; it may hold secrets.
        told = dict.fromkeys(
            where for name, where in origins.items() if name.startswith(f"{key}.") and where != DEFAULT
        )
        return UsageError(f"{', '.join(told)}: {key} does not fit: {why}")
    value = "..." if is_secret(key) else _shown(first["input"])
    return UsageError(f"{origins.get(key, 'settings')}: {place} = {value} does not fit: {why}")


def _shown(value: object) -> str:
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = brief.maxlong = _SHOWN
    return brief.repr(value)


def is_secret(key: str) -> bool:
    """Whether what is said of `key` may be shown to nobody."""
    annotation: Any = MODEL
    for name in key.split("."):
        annotation = annotation.model_fields[name].annotation
    return _holds_secrets(annotation)


def _holds_secrets(annotation: object) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(_holds_secrets(field.annotation) for field in annotation.model_fields.values())
    return annotation is SecretStr or any(map(_holds_secrets, get_args(annotation)))
