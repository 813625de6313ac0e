"""
The keys of the settings: which there are, their variables, and the nearest one of a key that there is not.

A key is written with dots: ``policy.grace``. What is a `Table` by default has keys below it; every other value is a
leaf, also a mapping whose keys are the user's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.settings.model import ENV_BELOW, ENV_PREFIX, Settings
from gcd.settings.tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT = "default"
"""The origin of what nobody said."""


def leaves(table: Table | None = None, before: str = "") -> Iterator[str]:
    """The keys of `table`, of all settings if it is None, that hold a value, in the order of the sample."""
    table = Settings() if table is None else table
    for name in table.__struct_fields__:
        value = getattr(table, name)
        if isinstance(value, Table):
            yield from leaves(value, f"{before}{name}.")
        else:
            yield before + name


def variable(key: str) -> str:
    """The variable of the environment that sets `key`."""
    return ENV_PREFIX + key.replace(".", ENV_BELOW).upper()


def nearest(word: str, words: list[str]) -> str:
    """``; did you mean …?``, or nothing when no word is near."""
    import difflib  # noqa: PLC0415 - for those who mistype

    near = difflib.get_close_matches(word, words, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
