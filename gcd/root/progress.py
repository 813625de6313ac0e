"""How far a reading has come, for whoever wants to show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gcd.model.inventory import Source

T = TypeVar("T")

Progress = Callable[["Source", int, int], None]
"""Called with what is being read, how many of its items are done, and how many there are."""

_STRIDE = 256


def counted(items: Collection[T], source: Source, progress: Progress | None) -> Iterator[T]:
    """`items` one after the other, telling `progress` at the start, every few hundred items, and at the end."""
    if progress is None:
        yield from items
        return
    total = len(items)
    for done, item in enumerate(items):
        if done % _STRIDE == 0:
            progress(source, done, total)
        yield item
    progress(source, total, total)
