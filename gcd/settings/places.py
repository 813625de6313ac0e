"""Paths, as settings and flags write them: apart from other units, since all need them who start."""

from __future__ import annotations

from pathlib import Path


def place_of(value: object) -> Path:
    """The path that `value` is. Raises `ValueError`."""
    if not isinstance(value, str | Path) or value == "":
        raise ValueError("it must be a path, as a text that is not empty")
    if "\0" in str(value):
        raise ValueError("no path holds the character U+0000")
    return Path(value)
