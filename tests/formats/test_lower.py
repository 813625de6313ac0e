from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.totality import damaged, value_or_format_error

from gcd.formats.lower import MOST_ELEMENTS, parse_lower
from gcd.model.errors import FormatError
from gcd.model.facts import BadElement, Lower

FIRST = "ABCDEFGHIJKLMNOPQRSTUVWX27"
SECOND = "ZYXWVUTSRQPONMLKJIHGFEDC76"


def test_links_are_in_the_order_of_the_file_nearest_first():
    assert parse_lower(f"l/{FIRST}".encode()) == Lower((FIRST,))
    assert parse_lower(f"l/{SECOND}:l/{FIRST}".encode()) == Lower((SECOND, FIRST))


def test_the_engines_longest_chain_is_read():
    lower = parse_lower(":".join([f"l/{FIRST}"] * 128).encode())
    assert (lower.depth, lower.bad) == (128, ())


@pytest.mark.parametrize(
    ("element", "shown"),
    [
        *(("l", "l"), ("", ""), ("l/", "l/"), (FIRST, FIRST), (f"l/{FIRST[1:]}", f"l/{FIRST[1:]}")),
        *((f"l//{FIRST}", f"l//{FIRST}"), (f"x/{FIRST}", f"x/{FIRST}"), (f"l/{FIRST.lower()}", f"l/{FIRST.lower()}")),
        *((f"l/{FIRST}\n", rf"l/{FIRST}\n"), ("l/../../etc", "l/../../etc"), ("\x1b[2J", r"\x1b[2J")),
    ],
)
def test_a_bad_element_is_kept_with_its_position_and_escaped(element, shown):
    raw = f"l/{SECOND}:{element}:l/{FIRST}".encode()
    assert parse_lower(raw) == Lower((SECOND, FIRST), (BadElement(1, shown),))


def test_a_newline_at_the_end_spoils_the_last_element_only():
    assert parse_lower(f"l/{SECOND}:l/{FIRST}\n".encode()) == Lower((SECOND,), (BadElement(1, rf"l/{FIRST}\n"),))


def test_a_file_of_zeros_is_one_bad_element():
    assert parse_lower(b"\0" * 57) == Lower((), (BadElement(0, r"\x00" * 19 + "…"),))


def test_equal_links_of_different_files_are_one_object():
    above = parse_lower(f"l/{SECOND}:l/{FIRST}".encode(), sys.intern)
    below = parse_lower(f"l/{FIRST}".encode(), sys.intern)
    beside = parse_lower(f"l/{FIRST}:l/".encode(), sys.intern)
    assert above.links[1] is below.links[0]
    assert beside.links[0] is below.links[0]


def test_too_many_elements_are_no_lower_file():
    assert parse_lower(b":" * (MOST_ELEMENTS - 1)).depth == MOST_ELEMENTS
    with pytest.raises(FormatError) as error:
        parse_lower(b":" * MOST_ELEMENTS)
    assert error.value.found == "1025 elements"


@given(damaged(f"l/{SECOND}:l/{FIRST}".encode()) | st.text(":l/AZ27\n").map(str.encode))
def test_any_bytes_are_a_lower_of_as_many_elements(raw):
    lower = value_or_format_error(parse_lower, raw)
    assert lower is not None
    assert lower.depth == raw.count(b":") + 1
    assert [bad.position for bad in lower.bad] == sorted({bad.position for bad in lower.bad})
    assert all(len(bad.text) <= 80 and (bad.text.isprintable()) for bad in lower.bad)
