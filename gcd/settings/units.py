"""Durations, hours of a day, time zones and ends of acceptances, as settings write them."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from datetime import tzinfo

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
"""In milliseconds."""
_DURATION = re.compile(r"([0-9]{1,9})(ms|[smhd])")
_HOURS = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
_MIDNIGHT = 24


def duration_of(value: object) -> timedelta:
    """The duration that a text such as ``36h`` means. Raises `ValueError`."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("it must be a text such as 90s, 30m, 36h or 14d")
    return timedelta(milliseconds=int(match[1]) * _UNITS[match[2]])


def duration_in_words(duration: timedelta) -> str:
    """`duration` as settings write it: in the largest unit that gives a whole number above one (24h, not 1d)."""
    milliseconds = duration // timedelta(milliseconds=1)
    whole = [unit for unit in reversed(_UNITS) if milliseconds % _UNITS[unit] == 0]
    unit = next((unit for unit in whole if milliseconds > _UNITS[unit]), "ms" if milliseconds % 1000 else "s")
    return f"{milliseconds // _UNITS[unit]}{unit}"


def nanoseconds(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1) * 1000


def hours_of(text: str) -> tuple[time, time]:
    """Begin and end of ``22:00-04:30``; 24:00 is the midnight that ends the day. Raises `ValueError`."""
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ValueError("it must be two times of a day, such as 22:00-04:30")
    begin, end = ((int(match[i]), int(match[i + 1])) for i in (1, 3))
    if begin[0] == _MIDNIGHT or end > (_MIDNIGHT, 0):
        raise ValueError("no hour of a day is later than 24:00, and none begins there")
    return time(*begin), time(end[0] % _MIDNIGHT, end[1])


def until_of(value: object) -> date:
    """The day, or the instant, that `value` means, in quotes or without. Raises `ValueError`."""
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        for kind in (date, datetime):
            with suppress(ValueError):
                return kind.fromisoformat(value)
    raise ValueError("it must be a day or an instant, such as 2027-01-31 or 2027-01-31T12:00:00Z")


def zone_of(name: str) -> tzinfo:
    """The time zone `name`, of the system's own table. Raises `ValueError` where it is not in it."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("it is no time zone that this host knows, such as UTC or Europe/Berlin") from None
