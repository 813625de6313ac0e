"""Settings as TOML: values, and the annotated sample of all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING

from pydantic import BaseModel

from gcd.settings.keys import table_of
from gcd.settings.model import ENV_BELOW, ENV_PREFIX, Settings
from gcd.settings.units import duration_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo


def variable(key: str) -> str:
    """The variable of the environment that sets `key`."""
    return ENV_PREFIX + key.replace(".", ENV_BELOW).upper()


def toml_value(value: object) -> str:
    """`value`, anything that a setting can be but unset, as TOML writes it."""
    match value:
        case tuple() | list():
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
        case Mapping():
            entries = ", ".join(f"{toml_key(name)} = {toml_value(entry)}" for name, entry in value.items())
            return f"{{ {entries} }}" if entries else "{}"
        case BaseModel():
            return toml_value(value.model_dump(exclude_none=True))
        case bool():
            return str(value).lower()
        case int() | date():
            return str(value)
        case _:
            text = duration_in_words(value) if isinstance(value, timedelta) else str(value)
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{quoted}"'


def toml_key(key: str) -> str:
    return str(key) if key.isidentifier() and key.isascii() else toml_value(key)


def sample() -> str:
    """
    The annotated ``gcd.toml``: every setting with its meaning, its variable and its default, commented out. What has a
    table of its own comes last in the table around it, since everything below a table's name belongs to that one.
    """
    lines = [
        "# Settings of gcd: /etc/gcd/gcd.toml, /etc/gcd/conf.d/*.toml, GCD_… variables, flags. The later ones win.",
        "# `gcd config show` prints every value and where it came from.",
    ]
    for key, field in Settings.model_fields.items():
        if (table := table_of(field)) is None:
            lines += ["", *_described(key, field)]
        else:
            lines += ["", "", f"# {field.description}", f"# [{key}]"]
            fields = sorted(table.model_fields.items(), key=lambda item: isinstance(_example(item[1]), Mapping))
            for name, below in fields:
                lines += ["", *_described(f"{key}.{name}", below)]
    return "\n".join(lines) + "\n"


def _described(key: str, field: FieldInfo) -> Iterator[str]:
    example = _example(field)
    yield from _wrapped(field.description or "")
    yield f"# Variable: {variable(key)}. Default: {_default_text(field.default)}."
    if isinstance(example, Mapping):
        yield f"# [{key}]"
        yield from (f"# {toml_key(name)} = {toml_value(entry)}" for name, entry in example.items())
    else:
        yield f"# {key.rpartition('.')[2]} = {toml_value(example)}"


def _example(field: FieldInfo) -> object:
    return field.examples[0] if field.examples else field.default


def _wrapped(text: str) -> Iterator[str]:
    line = "#"
    for word in text.split():
        if len(line) + len(word) >= 120:
            yield line
            line = "#"
        line += f" {word}"
    yield line


def _default_text(default: object) -> str:
    if default is None or default in ((), {}):
        return "unset"
    return toml_value(default).strip('"')
