"""
The history of a figure as a curve: points to lines of an SVG, with scales that people can read. Pure.

A figure holds from one check to the next, so the curve goes in steps. Where there are more points than could be told
apart, the highest of each span stands for it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.report.units import iec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcd.model.published import Point

WIDTH = 720
HEIGHT = 200
LEFT = 96
RIGHT = 12
TOP = 12
BOTTOM = 26

MOST_POINTS = 300

_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_DAY_SECONDS = 86_400


class Mark(Struct, frozen=True):
    """A line of the scale: where, in pixels, and what it says."""

    at: float
    text: str


class Plot(Struct, frozen=True):
    """`line` and `area` are the data of paths; the last point is at `end`."""

    line: str
    area: str
    end: tuple[float, float]
    bytes_marks: tuple[Mark, ...]
    time_marks: tuple[Mark, ...]
    said: str
    """The curve in one sentence, for those who do not see it."""


def plot(history: Sequence[Point]) -> Plot | None:
    """None where there are not two points in time."""
    points = _fewer(history)
    if len(points) < 2 or points[-1].checked_ns <= points[0].checked_ns:
        return None
    first, last = points[0].checked_ns, points[-1].checked_ns
    most = max(point.orphaned_bytes for point in points)
    step = _step(most)
    top = step * max(1, -(-most // step))

    def x(nanoseconds: int) -> float:
        return round(LEFT + (nanoseconds - first) / (last - first) * (WIDTH - LEFT - RIGHT), 1)

    def y(size: int) -> float:
        return round(HEIGHT - BOTTOM - size / top * (HEIGHT - TOP - BOTTOM), 1)

    corners = [f"M{x(first)} {y(points[0].orphaned_bytes)}"]
    corners += [f"H{x(after.checked_ns)}V{y(after.orphaned_bytes)}" for _, after in pairwise(points)]
    line = "".join(corners)
    return Plot(
        line=line,
        area=f"{line}V{y(0)}H{x(first)}Z",
        end=(x(last), y(points[-1].orphaned_bytes)),
        bytes_marks=tuple(Mark(y(size), iec(size)) for size in range(0, top + 1, step)),
        time_marks=tuple(Mark(x(at), text) for at, text in _times(first, last)),
        said=(
            f"Orphaned bytes from {_moment(first)} to {_moment(last)} UTC: {iec(points[0].orphaned_bytes)} at first, "
            f"{iec(most)} at most, {iec(points[-1].orphaned_bytes)} now."
        ),
    )


def _fewer(history: Sequence[Point]) -> list[Point]:
    span = -(-len(history) // MOST_POINTS)
    if span <= 1:
        return list(history)
    groups = [history[start : start + span] for start in range(0, len(history), span)]
    return [max(group, key=lambda point: point.orphaned_bytes) for group in groups[:-1]] + [history[-1]]


def _step(most: int) -> int:
    """What lies between two lines of the scale: one, two or five times a power of ten of a unit, at most five lines."""
    unit = 1024
    while most > unit * 1024:
        unit *= 1024
    return next((unit * n for n in _STEPS if most <= unit * n * 4), unit * 1024)


def _times(first: int, last: int) -> list[tuple[int, str]]:
    """Five moments, evenly apart."""
    moments = [first + (last - first) * part // 4 for part in range(5)]
    seconds = (last - first) / 1e9
    form = "%H:%M" if seconds <= _DAY_SECONDS else "%d %b %H:%M" if seconds <= 4 * _DAY_SECONDS else "%d %b"
    return [(at, _moment(at, form)) for at in moments]


def _moment(nanoseconds: int, form: str = "%Y-%m-%d %H:%M") -> str:
    try:
        return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC).strftime(form)
    except (OverflowError, ValueError, OSError):
        return f"@{nanoseconds // 1_000_000_000}"
