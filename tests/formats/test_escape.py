from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcd.formats.escape import escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text: äöü 層", "plain text: äöü 層"),
        ("a\nb\tc\rd\\e", r"a\nb\tc\rd\\e"),
        ("\x1b[31mred\x00\x7f", r"\x1b[31mred\x00\x7f"),
        ("\u202egnp.exe\u0085\ufeff", r"\u202egnp.exe\u0085\ufeff"),
        ("\U000e0041", r"\U000e0041"),
        (b"caf\xc3\xa9 \xff\xc3", r"café \xff\xc3"),
        ("carried \udcff", r"carried \xff"),
        ("\ud800", r"\ud800"),
        ("", ""),
    ],
)
def test_what_is_not_printable_is_escaped(text, shown):
    assert escaped(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("abcdef", "abcdef"),
        ("abcdefg", "abcde…"),
        ("abcd\x00", "abcd…"),
        ("\x00a", r"\x00a"),
        (b"\xff\xff\xff", "\\xff…"),
        ("\U000e0041", "…"),
    ],
)
def test_a_cut_never_splits_an_escape(text, shown):
    assert escaped(text, limit=6) == shown


def test_the_limit_counts_characters_not_bytes():
    assert escaped("層".encode() * 7, limit=7) == "層" * 7
    assert escaped("😀".encode() * 8, limit=7) == "😀" * 6 + "…"


@given(st.text() | st.binary(), st.integers(1, 40))
def test_the_result_is_short_and_printable(text, limit):
    shown = escaped(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()


@given(st.binary(), st.binary())
def test_different_bytes_look_different(first, second):
    assert (escaped(first, 10_000) == escaped(second, 10_000)) == (first == second)


def test_bytes_and_their_carried_text_look_the_same():
    raw = bytes(range(256)) * 3
    assert escaped(raw, 500) == escaped(raw.decode("utf-8", "surrogateescape"), 500)
