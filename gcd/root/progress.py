"""How a reading is done: by how many, and who is told how far it has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcd.model.inventory import Source

T = TypeVar("T")

Progress = Callable[["Source", int, int], None]
"""Called with what is being read, how many of its items are done, and how many there are."""

BATCH = 256
"""How many items are read between two tellings."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`readers`: how many read at a time, the one who asks among them."""

    progress: Progress | None = None
    readers: int = 1


ALONE = Pace()


def in_batches(items: Sequence[T], source: Source, pace: Pace, shares: int = 1) -> Iterator[Sequence[T]]:
    """
    `items`, a few hundred at a time, telling of progress at the start, before each batch, and at the end. They are one
    of so many equal `shares`.
    """
    tell = pace.progress or nobody
    total = len(items) * shares
    for done in range(0, len(items), BATCH):
        tell(source, done * shares, total)
        yield items[done : done + BATCH]
    tell(source, total, total)


def counted(items: Sequence[T], source: Source, pace: Pace, shares: int = 1) -> Iterator[T]:
    """`items` one after the other, telling of progress as `in_batches` does."""
    return chain.from_iterable(in_batches(items, source, pace, shares))


def nobody(_source: Source, _done: int, _total: int) -> None:
    """Hears of progress where nobody wants to."""
