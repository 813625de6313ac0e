"""Settings as TOML: values, and the annotated sample of all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, get_type_hints

from gcd.settings.keys import variable
from gcd.settings.model import Settings
from gcd.settings.tables import About, Table
from gcd.settings.units import duration_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator


def toml_value(value: object) -> str:
    """`value`, anything that a setting can be but unset, as TOML writes it."""
    match value:
        case tuple() | list():
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
        case Mapping():
            entries = ", ".join(f"{toml_key(name)} = {toml_value(entry)}" for name, entry in value.items())
            return f"{{ {entries} }}" if entries else "{}"
        case Table():
            said = ((name, getattr(value, name)) for name in value.__struct_fields__)
            return toml_value({name: entry for name, entry in said if entry is not None})
        case bool():
            return str(value).lower()
        case int() | date():
            return str(value)
        case _:
            text = duration_in_words(value) if isinstance(value, timedelta) else str(value)
            return f'"{"".join(map(_character, text))}"'


def _character(character: str) -> str:
    """As it stands between quotes; a byte that is no UTF-8, for which TOML has no word, as Python escapes it."""
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


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
    for name, default, about in _entries(Settings()):
        if isinstance(default, Table):
            lines += ["", "", f"# {about.description}", f"# [{name}]"]
            for below, entry, words in sorted(
                _entries(default), key=lambda e: isinstance(_example(e[1], e[2]), Mapping)
            ):
                lines += ["", *_described(f"{name}.{below}", entry, words)]
        else:
            lines += ["", *_described(name, default, about)]
    return "\n".join(lines) + "\n"


def _entries(table: Table) -> list[tuple[str, object, About]]:
    """The names in `table`, with what it has there and what is said about it."""
    from gcd.settings import forms  # noqa: PLC0415 - pydantic, for those who want the sample

    hints = get_type_hints(type(table), localns=vars(forms), include_extras=True)
    abouts = ((name, hints[name].__metadata__) for name in table.__struct_fields__)
    return [(n, getattr(table, n), next(m for m in metadata if isinstance(m, About))) for n, metadata in abouts]


def _example(default: object, about: About) -> object:
    return default if about.example is None else about.example


def _described(key: str, default: object, about: About) -> Iterator[str]:
    example = _example(default, about)
    yield from _wrapped(about.description)
    yield f"# Variable: {variable(key)}. Default: {_default_text(default)}."
    if isinstance(example, Mapping):
        yield f"# [{key}]"
        yield from (f"# {toml_key(name)} = {toml_value(entry)}" for name, entry in example.items())
    else:
        yield f"# {key.rpartition('.')[2]} = {toml_value(example)}"


def _wrapped(text: str) -> Iterator[str]:
    line = "#"
    for word in text.split():
        if len(line) + len(word) >= 120:
            yield line
            line = "#"
        line += f" {word}"
    yield line


def _default_text(default: object) -> str:
    if default in (None, (), {}):
        return "unset"
    return toml_value(default).strip('"')
