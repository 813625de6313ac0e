"""
What one read gave: a `Reading` keeps apart what naive code folds into "nothing".

`Present` holds a value, `Absent` says that nothing is there, `Empty` that a file of no bytes is there (the mark of a
power loss), `Unreadable` that the system refused, `Malformed` that the bytes are not what their place demands. Each
means a different damage, and only `Absent` may ever count as absence.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar, assert_never

from msgspec import Struct

T = TypeVar("T", covariant=True)


class Present(Struct, Generic[T], frozen=True):
    value: T


class Absent(Struct, frozen=True):
    pass


class Empty(Struct, frozen=True):
    pass


class Unreadable(Struct, frozen=True):
    reason: str
    """The system's own word for it, such as ``EACCES`` or ``EIO``."""


class Malformed(Struct, frozen=True):
    expected: str
    found: str
    """Escaped and cut: safe to print."""
    offset: int = 0


Reading = Present[T] | Absent | Empty | Unreadable | Malformed

ABSENT: Final = Absent()
EMPTY: Final = Empty()


def value_of(reading: Reading[T]) -> T | None:
    """The value if there is one, else None; for callers that need only that, never to decide that something is gone."""
    return reading.value if isinstance(reading, Present) else None


def describe(reading: Reading[object]) -> str:
    """A few words for evidence: ``absent``, ``empty``, ``unreadable (EIO)``, ``malformed: <what is there>``."""
    match reading:
        case Present(value):
            return str(value)
        case Absent():
            return "absent"
        case Empty():
            return "empty"
        case Unreadable(reason):
            return f"unreadable ({reason})"
        case Malformed(_, found, _):
            return f"malformed: {found}"
        case _:
            assert_never(reading)
