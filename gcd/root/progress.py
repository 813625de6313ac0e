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

_BATCH = 256


@dataclass(frozen=True, slots=True)
class Pace:
    """`readers`: in how many processes, this one among them."""

    progress: Progress | None = None
    readers: int = 1


ALONE = Pace()


def in_batches(items: Sequence[T], source: Source, pace: Pace, shares: int = 1) -> Iterator[Sequence[T]]:
    """
    `items`, a few hundred at a time, telling of progress at the start, before each batch, and at the end. They are one
    of so many equal `shares`.
    """
    tell = pace.progress or _nobody
    total = len(items) * shares
    for done in range(0, len(items), _BATCH):
        tell(source, done * shares, total)
        yield items[done : done + _BATCH]
    tell(source, total, total)


def counted(items: Sequence[T], source: Source, pace: Pace, shares: int = 1) -> Iterator[T]:
    """`items` one after the other, telling of progress as `in_batches` does."""
    return chain.from_iterable(in_batches(items, source, pace, shares))


def _nobody(_source: Source, _done: int, _total: int) -> None:
    """Hears of progress where nobody wants to."""
