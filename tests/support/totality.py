"""
What every parser of `gcd.formats` owes: for any bytes a value or one `FormatError` that is safe to print.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st

from gcd.model.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def damaged(*sound: bytes) -> st.SearchStrategy[bytes]:
    """Any bytes, and each of `sound` with a part of it cut out, overwritten or followed by something else."""
    splice = st.tuples(st.sampled_from(sound), st.integers(0, 2000), st.integers(0, 40), st.binary(max_size=8))
    return st.binary(max_size=300) | splice.map(lambda t: t[0][: t[1]] + t[3] + t[0][t[1] + t[2] :])


def value_or_format_error(parse: Callable[[bytes], T], raw: bytes) -> T | None:
    """What `parse` makes of `raw`; None where it refuses it as it should: with an error that fits on a line."""
    try:
        return parse(raw)
    except FormatError as error:
        refusal = error
    assert str(refusal).isprintable()
    assert 0 < len(refusal.found) <= 80
    assert 0 <= refusal.offset <= len(raw)
    return None
