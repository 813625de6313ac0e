"""
Settings: what may be said in files, in the environment and on the command line, and where each value came from.

::

    model.py    `Settings`, all that can be set
    tables.py   its tables: policy, protection, quarantine, hooks, daemon, scrub, web
    units.py    durations, sizes, hours, time zones, addresses, hashes
    keys.py     which keys there are, and the nearest one of a key that there is not
    sample.py   settings as TOML, and the annotated sample

Later layers win: defaults, ``/etc/gcd/gcd.toml``, ``/etc/gcd/conf.d/*.toml`` in the order of their names, variables
``GCD_<KEY>`` (``GCD_<TABLE>__<KEY>`` within a table), flags. A key that does not exist, at whatever depth, or a value
that does not fit, is a `UsageError` that names its place and the nearest key. Variables of the environment that begin
with ``GCD_`` and are no setting are only remarked upon by ``gcd config show``: container platforms inject such names
for services of their own.

``python -m gcd.settings`` prints the annotated sample that is kept as ``config/gcd.toml``.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource
from pydantic_settings.exceptions import SettingsError

from gcd.model.errors import UsageError
from gcd.settings.keys import is_secret, leaves, nearest, said
from gcd.settings.model import ENV_BELOW, ENV_PREFIX, FailOn, LogFormat, LogLevel, ReportFormat, Settings
from gcd.settings.sample import sample, toml_value, variable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "CONFIG_DIR",
    "DEFAULT",
    "FailOn",
    "LogFormat",
    "LogLevel",
    "ReportFormat",
    "Settings",
    "load",
    "nearest",
    "sample",
    "toml_value",
    "variable",
]

CONFIG_DIR = Path("/etc/gcd")
DEFAULT = "default"
FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Layer:
    """One origin of values: a file's path, ``GCD_…`` (each key its own variable) or ``flag``."""

    origin: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Loaded:
    """
    `origins` gives, by key (``policy.grace``), what set the value; `strangers` are variables that look like settings
    and are none.
    """

    settings: Settings
    origins: Mapping[str, str]
    strangers: tuple[str, ...]

    def value(self, key: str) -> object:
        found: object = self.settings
        for name in key.split("."):
            found = getattr(found, name)
        return found


def load(flags: Mapping[str, Any], *, directory: Path | None = None) -> Loaded:
    """
    The settings in force; `flags` holds what the command line said, None where it said nothing. Tables are merged,
    entry by entry.
    """
    layers = [
        *_file_layers(CONFIG_DIR if directory is None else directory),
        *(Layer(_variable_in_force(key), {key: value}) for key, value in _environment().items()),
        Layer(FLAG, {key: value for key, value in flags.items() if value is not None}),
    ]
    values: dict[str, Any] = {}
    origins = {key: DEFAULT for key, _ in leaves()}
    for layer in layers:
        for key, value in said(layer.values, layer.origin):
            *tables, name = key.split(".")
            place = values
            for table in tables:
                place = place.setdefault(table, {})
            is_table = isinstance(value, dict) and isinstance(place.get(name), dict)
            place[name] = {**place[name], **value} if is_table else value
            origins[key] = f"{origins[key]}, {layer.origin}" if is_table else layer.origin
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise _usage_error(error, origins) from None
    return Loaded(settings, origins, tuple(_strangers()))


def _environment() -> dict[str, Any]:
    try:
        return EnvSettingsSource(Settings)()
    except SettingsError as error:
        raise UsageError(f"a variable of the environment cannot be read: {error}") from None


def _variable_in_force(key: str) -> str:
    """The variable that says something of `key`: its own, or the first of those within it."""
    own = variable(key)
    names = sorted(name for name in os.environ if name.upper() == own or name.upper().startswith(own + ENV_BELOW))
    return names[0] if names else own


def _file_layers(directory: Path) -> Iterator[Layer]:
    for path in (directory / "gcd.toml", *sorted((directory / "conf.d").glob("*.toml"))):
        try:
            yield Layer(str(path), TomlConfigSettingsSource(Settings, toml_file=path)())
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(f"{path} cannot be read as TOML: {reason}") from None


def _strangers() -> Iterator[str]:
    known = {variable(key) for key in Settings.model_fields}
    for name in sorted(os.environ):
        table = name.upper().removeprefix(ENV_PREFIX).partition(ENV_BELOW)[0]
        if name.upper().startswith(ENV_PREFIX) and ENV_PREFIX + table not in known:
            yield name


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
