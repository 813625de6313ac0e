from __future__ import annotations

import pytest

from gcd.report.units import counted, iec, instant, listed


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (1024**2, "1.0 MiB"),
        (1_288_490_189, "1.2 GiB"),
        (1024**6, "1024.0 PiB"),
    ],
)
def test_sizes(size, told):
    assert iec(size) == told


def test_counts():
    assert [counted(0, "image"), counted(1, "image"), counted(2, "image")] == ["0 images", "1 image", "2 images"]


def test_lists():
    assert [listed([]), listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_instants():
    assert instant(1_764_072_000_123_456_789) == "2025-11-25T12:00:00.123456Z"
    assert instant(-1_000_000_000) == "1969-12-31T23:59:59.000000Z"
    assert instant(2**63 - 1) == "2262-04-11T23:47:16.854775Z"
    assert instant(10**30) == "@1000000000000000000000"
