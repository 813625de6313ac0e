from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from gcd.report.console import placed, rendered
from gcd.report.lines import Text, written

PRINTABLE = st.text(st.sampled_from(string.ascii_letters + "  /:…→一é"), max_size=40)
PARTS = PRINTABLE | st.tuples(PRINTABLE, st.sampled_from(["bold", "dim", ""]))
TEXTS = st.builds(
    lambda parts, style, no_wrap: Text(*parts, style=style, no_wrap=no_wrap),
    st.lists(PARTS, max_size=4),
    st.sampled_from(["", "green"]),
    st.booleans(),
)
LINES = st.lists(st.tuples(st.sampled_from([0, 2, 4]), TEXTS), max_size=6)


@given(LINES)
def test_plain_lines_are_those_of_rich(lines):
    assert written(lines, width=None, colour=False) == rendered(
        (placed(indent, text) for indent, text in lines), width=None, colour=False
    )


def test_on_a_terminal_lines_are_wrapped_but_for_what_is_copied():
    lines = [
        (2, Text("one two three four five")),
        (2, Text("gcd quarantine ", ("GCD101", "bold"), no_wrap=True)),
        (0, Text()),
    ]

    assert written(lines, width=20, colour=False) == "  one two three four\n  five\n  gcd quarantine GCD101\n\n"


def test_no_terminal_is_so_narrow_that_words_are_left_out():
    lines = [(4, Text("one two three"))]

    assert written(lines, width=1, colour=False) == "    one two three\n"


def test_colours_are_asked_for():
    assert written([(0, Text("a", ("b", "bold")))], width=None, colour=True) == "a\x1b[1mb\x1b[0m\n"
    assert written([(0, Text("a", style="bold"))], width=None, colour=True) == "\x1b[1ma\x1b[0m\n"
