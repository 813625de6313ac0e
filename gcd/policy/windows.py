"""Maintenance windows: whether now is the time."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcd.policy.policy import Window


class Weekday(StrEnum):
    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


_DAYS = tuple(Weekday)


def is_open(windows: Sequence[Window], now_ns: int) -> bool:
    """Whether one of `windows` is open at the wall clock time `now_ns`; without windows there is no wrong time."""
    return not windows or any(_contains(window, now_ns) for window in windows)


def _contains(window: Window, now_ns: int) -> bool:
    moment = datetime.fromtimestamp(now_ns // 1_000_000_000, window.zone)
    today, yesterday = (_DAYS[(moment - timedelta(days=ago)).weekday()] for ago in (0, 1))
    clock = moment.time()
    if window.begin < window.end:
        return today in window.days and window.begin <= clock < window.end
    return (today in window.days and clock >= window.begin) or (yesterday in window.days and clock < window.end)


def in_words(windows: Sequence[Window]) -> str:
    """``mon, tue 22:00 to 04:00 Europe/Berlin or sun …``"""
    return " or ".join(
        f"{', '.join(day for day in Weekday if day in window.days)} {window.begin:%H:%M} to {window.end:%H:%M}"
        f" {window.zone}"
        for window in windows
    )
