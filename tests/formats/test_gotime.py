from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcd.formats.gotime import is_rfc3339


@pytest.mark.parametrize(
    "text",
    [
        *(
            "0001-01-01T00:00:00Z",
            "2026-11-24T22:56:13.123456789Z",
            "2024-02-29T23:59:59+01:00",
            "2000-02-29T00:00:00Z",
        ),
        *("0000-02-29T00:00:00Z", "2024-01-02T03:04:05,1Z", "2024-01-02T3:04:05Z", "9999-12-31T23:59:59-23:59"),
    ],
)
def test_times_that_some_engine_takes(text):
    assert is_rfc3339(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "2024-01-02",
            "2024-01-02T03:04:05",
            "2024-01-02t03:04:05z",
            "2024-01-02 03:04:05Z",
            "2024-1-2T03:04:05Z",
        ),
        *("2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2024-13-01T00:00:00Z", "2024-00-01T00:00:00Z"),
        *("2024-04-31T00:00:00Z", "2024-01-00T00:00:00Z", "2024-01-02T24:00:00Z", "2024-01-02T03:60:00Z"),
        *("2024-01-02T03:04:60Z", "2024-01-02T03:04:05.Z", "2024-01-02T03:04:05+0100", "2024-01-02T03:04:05Z\n"),
        *("\u0662024-01-02T03:04:05Z", "10000-01-01T00:00:00Z"),
    ],
)
def test_times_that_none_takes(text):
    assert not is_rfc3339(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_date_of_the_calendar_is_taken(time: datetime):
    assert is_rfc3339(time.isoformat())
