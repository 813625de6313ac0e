"""
Times as Go's encoding/json and time.Parse(RFC3339) take them.

A wrong time anywhere in a file makes the engine refuse the whole file. Where versions of Go differ (one-digit hours and
a comma before the fraction were taken until 1.20) the lenient reading counts: some engine loads it.
"""

from __future__ import annotations

import re
from functools import lru_cache

_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:[.,][0-9]+)?(?:Z|[+-]([0-9]{2}):([0-9]{2}))"
)
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


_LONGEST_KEPT = 64


def is_rfc3339(text: str) -> bool:
    """Whether `text` is such a time; the year may be 0, as in Go and unlike in datetime."""
    return _kept(text) if len(text) <= _LONGEST_KEPT else _is_rfc3339(text)


def _is_rfc3339(text: str) -> bool:
    match = _TIME.fullmatch(text)
    if match is None:
        return False
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    if not (1 <= month <= 12 and hour < 24 and minute < 60 and second < 60):
        return False
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 1 <= day <= _DAYS[month - 1] + (month == 2 and is_leap)


_kept = lru_cache(maxsize=1024)(_is_rfc3339)
"""The same, remembered: the steps of an image have few different times."""
