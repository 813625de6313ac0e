"""Figures as people read them: IEC units, counted nouns, times of the wall clock. All pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iec(size: int) -> str:
    """``0 B``, ``4.0 KiB``, ``1.2 GiB``: one decimal, units of 1024."""
    if size < 1024:
        return f"{size} B"
    power = 1
    while power < len(_UNITS) and size >= 1023.95 * 1024**power:
        power += 1
    return f"{size / 1024**power:.1f} {_UNITS[power - 1]}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 image``, ``2 images``; `plural` is that of an irregular `noun`."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def listed(parts: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def instant(nanoseconds: int) -> str:
    """RFC 3339 in UTC with microseconds; what the calendar cannot hold is given as seconds since 1970."""
    try:
        moment = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return f"@{nanoseconds // 1_000_000_000}"
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e9:.1f} s"
