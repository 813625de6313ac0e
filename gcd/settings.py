"""
Settings: what may be said in files, in the environment and on the command line, and where each value came from.

Later layers win: defaults, ``/etc/gcd/gcd.toml``, ``/etc/gcd/conf.d/*.toml`` in the order of their names, variables
``GCD_<KEY>``, flags. A key that does not exist, or a value that does not fit, is a `UsageError` that names its place
and the nearest key. Variables of the environment that begin with ``GCD_`` and are no setting are only remarked upon by
``gcd config show``: container platforms inject such names for services of their own.

``python -m gcd.settings`` prints the annotated sample that is kept as ``config/gcd.toml``.
"""

from __future__ import annotations

import difflib
import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gcd.model.errors import UsageError
from gcd.model.finding import Acceptance

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG_DIR = Path("/etc/gcd")
ENV_PREFIX = "GCD_"
DEFAULT = "default"
FLAG = "flag"


class ReportFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


class FailOn(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NEVER = "never"


class LogFormat(StrEnum):
    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


Codes = Annotated[tuple[str, ...], NoDecode]


class Accepted(BaseModel):
    """Why findings are accepted, and until when: the end of a day in UTC, or an instant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: str = Field(min_length=1)
    until: datetime | date | None = None

    @property
    def until_ns(self) -> int | None:
        """The first nanosecond of the wall clock at which the acceptance is over; None: it never is."""
        if self.until is None:
            return None
        if not isinstance(self.until, datetime):
            moment = datetime.combine(self.until + timedelta(days=1), datetime.min.time(), UTC)
        else:
            moment = self.until if self.until.tzinfo else self.until.replace(tzinfo=UTC)
        return int(moment.timestamp()) * 1_000_000_000


class Settings(BaseSettings):
    """All settings, checked. The descriptions are those of the sample file."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    root: Path | None = Field(
        default=None,
        description="The Docker root. Unset: that of the running engine, else of daemon.json, else /var/lib/docker.",
        examples=["/var/lib/docker"],
    )
    state_dir: Path = Field(
        default=Path("/var/lib/gcd"),
        description="Where `gcd check --record` keeps its history (state.db). Never below a Docker root.",
    )
    format: ReportFormat = Field(default=ReportFormat.TEXT, description="The form of reports: text or json.")
    fail_on: FailOn = Field(
        default=FailOn.WARNING,
        description="The least severity of a finding that makes the exit status non-zero: error, warning, or never.",
    )
    only: Codes = Field(default=(), description="Run only the rules of these codes.", examples=[["GCD101", "GCD116"]])
    skip: Codes = Field(default=(), description="Do not run the rules of these codes.", examples=[["GCD104"]])
    log_level: LogLevel = Field(
        default=LogLevel.WARNING, description="The least level that is logged: debug, info, warning or error."
    )
    log_format: LogFormat = Field(
        default=LogFormat.AUTO, description="text, json, or auto: text on a terminal, JSON lines elsewhere."
    )
    accept: dict[str, Accepted] = Field(
        default={},
        description="Findings to live with, by id or glob: why, and until when. They are shown apart, counted nowhere.",
        examples=[
            {"GCD802:store:aufs": {"reason": "the old driver's tree, kept until the move", "until": date(2027, 1, 31)}}
        ],
    )

    @property
    def acceptances(self) -> tuple[Acceptance, ...]:
        return tuple(Acceptance(pattern, a.reason, a.until_ns) for pattern, a in self.accept.items())

    @field_validator("only", "skip", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """A variable of the environment holds codes separated by commas."""
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` hands over, already layered: it alone knows the origin of each value."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class Layer:
    """One origin of values: a file's path, ``GCD_…`` (each key its own variable) or ``flag``."""

    origin: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Loaded:
    """`origins` gives, by key, what set the value; `strangers` are variables that look like settings and are none."""

    settings: Settings
    origins: Mapping[str, str]
    strangers: tuple[str, ...]


def load(flags: Mapping[str, Any], *, directory: Path | None = None) -> Loaded:
    """
    The settings in force; `flags` holds what the command line said, None where it said nothing. Tables are merged,
    entry by entry.
    """
    layers = [
        *_file_layers(CONFIG_DIR if directory is None else directory),
        *(Layer(variable(key), {key: value}) for key, value in EnvSettingsSource(Settings)().items()),
        Layer(FLAG, {key: value for key, value in flags.items() if value is not None}),
    ]
    values: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.model_fields, DEFAULT)
    for layer in layers:
        for key, value in layer.values.items():
            _demand_known(key, layer.origin)
            is_table = isinstance(value, dict) and isinstance(values.get(key), dict)
            values[key] = {**values[key], **value} if is_table else value
            origins[key] = f"{origins[key]}, {layer.origin}" if is_table else layer.origin
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise _usage_error(error, origins) from None
    return Loaded(settings, origins, tuple(_strangers()))


def nearest(word: str, words: list[str]) -> str:
    """``; did you mean …?``, or nothing when no word is near."""
    near = difflib.get_close_matches(word, words, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _demand_known(key: str, origin: str) -> None:
    if key not in Settings.model_fields:
        hint = nearest(key, list(Settings.model_fields)) or f"; the settings are {', '.join(Settings.model_fields)}"
        raise UsageError(f"{origin}: there is no setting {key!r}{hint}")


def variable(key: str) -> str:
    """The variable of the environment that sets `key`."""
    return ENV_PREFIX + key.upper()


def _file_layers(directory: Path) -> Iterator[Layer]:
    for path in (directory / "gcd.toml", *sorted((directory / "conf.d").glob("*.toml"))):
        try:
            yield Layer(str(path), TomlConfigSettingsSource(Settings, toml_file=path)())
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(f"{path} cannot be read as TOML: {reason}") from None


def _strangers() -> Iterator[str]:
    known = {variable(key) for key in Settings.model_fields}
    return (name for name in sorted(os.environ) if name.upper().startswith(ENV_PREFIX) and name.upper() not in known)


def _usage_error(error: ValidationError, origins: Mapping[str, str]) -> UsageError:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    return UsageError(f"{origins.get(key, 'settings')}: {key} = {first['input']!r} does not fit: {first['msg']}")


def toml_value(value: object) -> str:
    """`value`, anything that a setting can be but unset, as TOML writes it."""
    match value:
        case tuple() | list():
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
        case Mapping():
            entries = ", ".join(f"{_toml_key(name)} = {toml_value(entry)}" for name, entry in value.items())
            return f"{{ {entries} }}" if entries else "{}"
        case BaseModel():
            return toml_value(value.model_dump(exclude_none=True))
        case bool():
            return str(value).lower()
        case int() | date():
            return str(value)
        case _:
            text = str(value).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{text}"'


def _toml_key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else toml_value(key)


def sample() -> str:
    """The annotated ``gcd.toml``: every setting with its meaning, its variable and its default, commented out."""
    lines = [
        "# Settings of gcd: /etc/gcd/gcd.toml, /etc/gcd/conf.d/*.toml, GCD_… variables, flags. The later ones win.",
        "# `gcd config show` prints every value and where it came from.",
    ]
    for key, field in Settings.model_fields.items():
        example = field.examples[0] if field.examples else field.default
        lines += ["", f"# {field.description}"]
        lines.append(f"# Variable: {variable(key)}. Default: {_default_text(field.default)}.")
        if isinstance(example, Mapping):
            lines += [f"# [{key}]", *(f"# {_toml_key(name)} = {toml_value(entry)}" for name, entry in example.items())]
        else:
            lines.append(f"# {key} = {toml_value(example)}")
    return "\n".join(lines) + "\n"


def _default_text(default: object) -> str:
    return "unset" if default is None or default in ((), {}) else str(default)


if __name__ == "__main__":
    sys.stdout.write(sample())
