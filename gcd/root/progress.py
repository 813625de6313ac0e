"""How a reading is done: by how many, and who is told how far it has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from gcd.model.inventory import Source

Progress = Callable[["Source", int, int], None]
"""Called with what is being read, how many of its items are done, and how many there are."""

BATCH = 256
"""How many items are read between two tellings."""


class Pace(Struct, frozen=True):
    """`readers`: how many read at a time, the one who asks among them."""

    progress: Progress | None = None
    readers: int = 1


ALONE = Pace()


def nobody(_source: Source, _done: int, _total: int) -> None:
    """Hears of progress where nobody wants to."""
