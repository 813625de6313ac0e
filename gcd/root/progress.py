"""How a reading is done: by how many, with which ages, and who is told how far it has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gcd.model.inventory import Source

T = TypeVar("T")

Progress = Callable[["Source", int, int], None]
"""Called with what is being read, how many of its items are done, and how many there are."""

_STRIDE = 256


@dataclass(frozen=True, slots=True)
class Pace:
    """
    `readers`: in how many processes, this one among them. `has_ages`: whether sound records are asked for their ctime;
    else it is 0, before everything: enough for a look that may only see more because of it.
    """

    progress: Progress | None = None
    readers: int = 1
    has_ages: bool = True


ALONE = Pace()


def counted(items: Collection[T], source: Source, pace: Pace, shares: int = 1) -> Iterator[T]:
    """
    `items` one after the other, telling of progress at the start, every few hundred items, and at the end. They are one
    of so many equal `shares`.
    """
    progress = pace.progress
    if progress is None:
        yield from items
        return
    total = len(items) * shares
    for done, item in enumerate(items):
        if done % _STRIDE == 0:
            progress(source, done * shares, total)
        yield item
    progress(source, total, total)
