from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.totality import damaged, value_or_format_error

from gcd.formats.gojson import MOST_NESTED, decode_document, decode_first
from gcd.formats.gostruct import GoStruct, Kind, Shape, struct_of, struct_of_first, text_map
from gcd.model.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable


def struct(raw: str | bytes, **asked: Kind) -> GoStruct:
    return shaped(raw, Shape(asked=asked))


def shaped(raw: str | bytes, shape: Shape) -> GoStruct:
    view = struct_of_first(raw.encode() if isinstance(raw, str) else raw, "file", shape)
    assert view is not None
    return view


def refusal(raw: bytes) -> FormatError:
    with pytest.raises(FormatError) as error:
        decode_document(raw, "file")
    return error.value


@pytest.mark.parametrize("key", ["Image", "image", "IMAGE", "iMaGe"])
def test_a_key_matches_whatever_its_case(key):
    assert struct(f'{{"{key}": "x"}}', Image=Kind.TEXT).text("Image") == "x"


def test_the_kelvin_sign_and_the_long_s_fold_and_nothing_else_does():
    assert struct('{"O\u017f": "x"}', os=Kind.TEXT).text("os") == "x"
    assert struct('{"\u212aind": "x"}', Kind=Kind.TEXT).text("Kind") == "x"
    assert struct('{"\u0130mage": "x", "\u0131mage": "y"}', Image=Kind.TEXT).text("Image") == ""


def test_the_last_scalar_of_a_repeated_key_counts_and_null_leaves_it():
    view = struct('{"A": "x", "a": "y", "A": null, "B": true, "b": null}', A=Kind.TEXT, B=Kind.FLAG)
    assert (view.text("A"), view.flag("B")) == ("y", True)
    assert not struct('{"B": true, "b": false}', B=Kind.FLAG).flag("B")
    assert struct('{"A": null}', A=Kind.TEXT).stated_text("A") is None
    assert struct('{"A": "x", "A": "y"}', A=Kind.TEXT).text("A") == "y"


def test_objects_of_a_repeated_key_merge_until_a_null():
    shape = Shape(asked={"S": Kind.OBJECT}, inner={"S": Shape(asked={"A": Kind.TEXT, "B": Kind.TEXT})})
    both = shaped('{"S": {"A": "x"}, "s": {"B": "y"}}', shape).struct("S")
    assert both is not None
    assert (both.text("A"), both.text("B")) == ("x", "y")
    assert shaped('{"S": {"A": "x"}, "S": null}', shape).struct("S") is None
    rest = shaped('{"S": {"A": "x"}, "S": null, "S": {"B": "y"}}', shape).struct("S")
    assert rest is not None
    assert (rest.text("A"), rest.text("B")) == ("", "y")


def test_the_last_array_of_a_repeated_key_counts():
    assert struct('{"T": ["a"], "T": ["b", null]}', T=Kind.TEXTS).texts("T") == ("b", "")
    assert struct('{"T": ["a"], "T": null}', T=Kind.TEXTS).texts("T") == ()


def test_the_items_of_all_arrays_of_a_repeated_key_are_there_to_be_checked():
    shape = Shape(read={"T": Kind.ARRAY}, inner={"T": Shape({"A": Kind.TEXT})})
    for fine in ('{"T": null}', '{"T": [{}, null, {"a": "x"}], "t": null, "T": []}'):
        shaped(fine, shape).check_items("T")
    for wrong in ('{"T": [1]}', '{"T": [{"A": 1}], "t": null, "T": [], "T": [{}]}'):
        with pytest.raises(FormatError) as error:
            shaped(wrong, shape).check_items("T")
        assert error.value.found == "a number"


def test_a_field_is_there_also_for_null():
    assert [struct(raw, A=Kind.OBJECT).has("A") for raw in ("{}", '{"A": null}', '{"a": {}, "A": null}')] == [
        False,
        True,
        True,
    ]


def test_keys_of_a_map_are_exact():
    assert struct('{"M": {"a": true, "A": null}, "m": {"a": "x"}}', M=Kind.OBJECT).entries("M") == [
        ("a", True),
        ("A", None),
        ("a", "x"),
    ]


def test_a_map_of_texts():
    assert text_map(decode_first(b'{"a": "1", "b": null, "a": "2"}', "f"), "f") == {"a": "2", "b": ""}
    assert text_map(None, "f") == {}
    with pytest.raises(FormatError):
        text_map(decode_first(b'{"a": 1, "a": "2"}', "f"), "f")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'{"A": "caf\xc3\xa9"}', "caf\xe9"),
        (b'{"A": "\xff"}', "\ufffd"),
        (b'{"A": "\xe2\x82"}', "\ufffd\ufffd"),
        (b'{"A": "\xed\xa0\x80"}', "\ufffd\ufffd\ufffd"),
        (rb'{"A": "\ud800"}', "\ufffd"),
        (rb'{"A": "\ud83d\ude00"}', "\U0001f600"),
        (rb'{"A": "\u0000"}', "\0"),
    ],
)
def test_what_is_no_character_is_replaced_as_go_replaces_it(raw, text):
    assert struct(raw, A=Kind.TEXT).text("A") == text


@pytest.mark.parametrize(
    "raw",
    [
        *(
            b"",
            b" \n",
            b"{",
            b'{"a"',
            b'{"a":',
            b'{"a":1',
            b'{"a":1,}',
            b"{'a':1}",
            b'"abc',
            b"[1,]",
            b"nul",
            b"\xff{}",
        ),
        *(
            b"NaN",
            b"[Infinity]",
            b"-Infinity",
            b"01",
            b"1.",
            b"+1",
            b"0x1",
            b'"\n"',
            b'"\\x"',
            b"\xef\xbb\xbf{}",
            b"{}\0",
        ),
    ],
)
def test_what_go_does_not_parse_is_refused(raw):
    assert refusal(raw).what == "file"


def test_only_a_decoder_ignores_what_follows():
    assert refusal(b"{} \n x").offset == 5
    decode_document(b" {} \r\n\t", "file")
    decode_first(b'{"a": 1}}}\0garbage', "file")


def test_an_error_tells_the_place_but_not_the_content():
    error = refusal('{"é": ["SECRET=hunter2" "b"]}'.encode())
    assert (error.offset, error.expected, error.found) == (25, "JSON", "'\"'")
    assert refusal(b'{"a": "').found == "'\"'"
    assert refusal(b'{"a": 1').found == "the end"
    with pytest.raises(FormatError) as kind:
        struct('{"Name": ["SECRET=hunter2"]}', Name=Kind.TEXT).text("Name")
    assert str(kind.value) == "file: Name at offset 0: expected text, found an array"


@pytest.mark.parametrize("kind", list(Kind))
def test_null_is_of_every_kind_and_missing_too(kind):
    shaped('{"A": null}', Shape({"A": kind, "B": kind}))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Kind.TEXT, ['""', '"x"'], ["1", "true", "[]", "{}"]),
        (Kind.FLAG, ["true", "false"], ["0", '"true"', "[]"]),
        (Kind.INTEGER, ["0", "-1", "9223372036854775807"], ["9223372036854775808", "1.0", "1e3", '"1"', "9" * 5000]),
        (Kind.TIME, ['"0001-01-01T00:00:00Z"'], ['""', '"now"', "0"]),
        (Kind.OBJECT, ["{}", '{"a": 1}'], ["[]", '"x"']),
        (Kind.ARRAY, ["[]", "[1, {}]"], ["{}", '"x"']),
        (Kind.TEXTS, ["[]", '["a", null]'], ['"a"', '["a", 1]']),
        (Kind.TEXT_MAP, ["{}", '{"a": "b", "c": null}'], ['["a"]', '{"a": 1}']),
        (Kind.SET, ["{}", '{"a": {}, "b": null}'], ["[]", '{"a": 1}']),
        (Kind.WORDS, ['"a"', '["a"]'], ["{}", "[1]", "1"]),
    ],
)
def test_each_kind_takes_its_values_only_in_every_occurrence(kind, good, bad):
    for value in good:
        shaped(f'{{"A": {value}}}', Shape({"A": kind}))
    for value in bad:
        for raw in (f'{{"A": {value}}}', f'{{"a": {value}, "A": null}}', f'{{"A": {good[0]}, "a": {value}}}'):
            with pytest.raises(FormatError, match=kind.value):
                shaped(raw, Shape({"A": kind}))


def test_nesting_is_limited_without_recursion():
    deepest = b"[" * MOST_NESTED + b"]" * MOST_NESTED
    decode_document(deepest, "file")
    decode_document(b"[" + b"[{}]," * 10_000 + b"0]", "file")
    decode_document(b'["' + b"[" * 10_000 + b'"]', "file")
    error = refusal(b"[" + deepest + b"]")
    assert (error.offset, error.expected) == (MOST_NESTED, "at most 400 levels of nesting")
    assert refusal(b'{"a":' * 1_000_000).offset == 5 * MOST_NESTED


def test_a_caller_deep_in_the_stack_gets_no_recursion_error():
    raw = b"[" * MOST_NESTED + b"]" * MOST_NESTED
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        value_or_format_error(lambda r: decode_document(r, "file"), raw)
    finally:
        sys.setrecursionlimit(limit)


@given(
    damaged(b'{"a": ["x", 1.5e3, null, true, {"b": "\\u00e9\xc3\xa9"}]}', b"[" * 500)
    | st.text('{}[]:,"\\u0aé ').map(str.encode)
)
def test_any_bytes_are_json_or_refused_and_a_document_is_a_first_value(raw):
    document = value_or_format_error(lambda r: decode_document(r, "file"), raw)
    first = value_or_format_error(lambda r: decode_first(r, "file"), raw)
    assert document is None or document == first


def test_what_is_asked_for_is_refused_only_then_and_the_checked_at_once():
    shape = Shape({"Checked": Kind.TEXT}, asked={"Asked": Kind.TEXT})
    view = shaped('{"asked": "x", "Asked": 1}', shape)
    for ask in (view.text, view.flag, view.has, view.texts, view.entries):
        with pytest.raises(FormatError) as error:
            ask("Asked")
        assert (error.value.what, error.value.found) == ("file: Asked", "a number")
    with pytest.raises(FormatError) as error:
        shaped('{"Asked": 1, "checked": []}', shape)
    assert error.value.what == "file: Checked"


# --- the way of nearly every object, and that of all others ----------------------------------------------------------

ASKED = {"Text": Kind.TEXT, "flag": Kind.FLAG, "Objects": Kind.SET, "os": Kind.WORDS}
CHECKED = {"Time": Kind.TIME, "count": Kind.INTEGER, "texts": Kind.TEXTS, "Map": Kind.TEXT_MAP, "array": Kind.ARRAY}
SHAPE = Shape(read=CHECKED, asked=ASKED)
NAMES = [*CHECKED, *ASKED]

KEYS = st.sampled_from([*NAMES, "text", "TEXT", "Flag", "o\u017f", "other", "Other", "x" * 100])
VALUES = st.sampled_from(
    ["null", "true", "false", '"x"', '"2020-09-13T12:26:40Z"', "1", "-0", "1.5", str(2**63), "[]", '["x", null]',
     "[1]", "{}", '{"a": null}', '{"a": "b", "a": {}}', '{"a": {}}']
)  # fmt: skip
OBJECTS = st.lists(st.tuples(KEYS, VALUES), max_size=5)


def written(members) -> str:
    return "{" + ", ".join(f'"{key}": {value}' for key, value in members) + "}"


def answers(raw: str) -> object:
    """All that can be told of an object of `SHAPE`; what its error says where it is refused, by name for the asked."""
    try:
        view = shaped(raw, SHAPE)
    except FormatError as error:
        return str(error)
    return [(name, view.has(name), answer(view, name)) for name in NAMES if name in CHECKED] + [
        (name, answer(view, name)) for name in ASKED
    ]


def answer(view: GoStruct, name: str) -> object:
    try:
        return view.stated_text(name), view.flag(name), view.texts(name), view.entries(name)
    except FormatError as error:
        return str(error)


@given(OBJECTS)
def test_the_case_of_keys_changes_nothing(members):
    """No name of a field is written in one case only, so that the second object is never one of the many."""
    assert answers(written(members)) == answers(written((key.swapcase(), value) for key, value in members))


@given(OBJECTS)
def test_a_key_that_is_repeated_for_null_leaves_a_scalar_as_it_was(members):
    scalars = [(key, value) for key, value in members if key in {"Text", "flag", "Time", "count"}]
    again = [*scalars, *((key, "null") for key, _ in scalars)]
    assert answers(written(again)) == answers(written(scalars))


@given(st.lists(OBJECTS.map(written) | st.sampled_from(["null", "[]", '"x"']), max_size=3))
def test_to_check_items_is_to_decode_each(items):
    def decoded() -> None:
        for item in items:
            struct_of(decode_first(item.encode(), "file"), "file: Items", SHAPE)

    view = shaped(f'{{"Items": [{", ".join(items)}]}}', Shape(read={"Items": Kind.ARRAY}, inner={"Items": SHAPE}))
    assert refused(lambda: view.check_items("Items")) == refused(decoded)


def refused(work: Callable[[], None]) -> str:
    try:
        work()
    except FormatError as error:
        return str(error)
    return ""
