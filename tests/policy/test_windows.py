from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gcd.policy.policy import Window
from gcd.policy.windows import Weekday, in_words, is_open
from gcd.settings.units import hours_of

SATURDAYS = frozenset({Weekday.SATURDAY})
WEEKEND = frozenset({Weekday.SATURDAY, Weekday.SUNDAY})


def window(hours, days=SATURDAYS, zone=UTC):
    return Window(days, *hours_of(hours), zone)


def at(text):
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("hours", "moment", "open_then"),
    [
        ("02:00-05:00", "2025-11-29T01:59:59+00:00", False),
        ("02:00-05:00", "2025-11-29T02:00:00+00:00", True),
        ("02:00-05:00", "2025-11-29T04:59:59+00:00", True),
        ("02:00-05:00", "2025-11-29T05:00:00+00:00", False),
        ("02:00-05:00", "2025-11-30T03:00:00+00:00", False),
        ("22:00-04:30", "2025-11-29T21:59:59+00:00", False),
        ("22:00-04:30", "2025-11-29T22:00:00+00:00", True),
        ("22:00-04:30", "2025-11-30T04:29:59+00:00", True),
        ("22:00-04:30", "2025-11-30T04:30:00+00:00", False),
        ("22:00-04:30", "2025-11-29T03:00:00+00:00", False),
        ("22:00-04:30", "2025-11-30T22:00:00+00:00", False),
        ("00:00-24:00", "2025-11-29T00:00:00+00:00", True),
        ("00:00-24:00", "2025-11-29T23:59:59+00:00", True),
        ("00:00-24:00", "2025-11-30T00:00:00+00:00", False),
    ],
)
def test_a_window_on_saturdays(hours, moment, open_then):
    assert is_open((window(hours),), at(moment)) is open_then


def test_the_clock_is_that_of_the_zone_in_summer_and_in_winter():
    berlin = (window("02:00-03:00", zone=ZoneInfo("Europe/Berlin")),)

    assert is_open(berlin, at("2025-07-05T00:30:00+00:00"))
    assert not is_open(berlin, at("2025-07-05T01:30:00+00:00"))
    assert is_open(berlin, at("2025-11-29T01:30:00+00:00"))
    assert not is_open(berlin, at("2025-11-29T00:30:00+00:00"))


def test_any_of_several_windows_is_enough_and_none_is_no_limit():
    several = (window("01:00-02:00"), window("05:00-06:00"))

    assert is_open(several, at("2025-11-29T05:30:00+00:00"))
    assert not is_open(several, at("2025-11-29T03:30:00+00:00"))
    assert is_open((), at("2025-11-29T03:30:00+00:00"))


def test_windows_in_words():
    several = (window("22:00-04:30", WEEKEND, ZoneInfo("Europe/Berlin")), window("01:00-24:00"))

    assert in_words(several) == "sat, sun 22:00 to 04:30 Europe/Berlin or sat 01:00 to 00:00 UTC"
