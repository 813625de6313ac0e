from __future__ import annotations

import inspect
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.totality import damaged, value_or_format_error

from gcd.formats.gojson import MOST_NESTED, Kind, Shape, Struct, decode_document, decode_first, struct_of, text_map
from gcd.model.errors import FormatError


def struct(raw: str | bytes) -> Struct:
    view = struct_of(decode_first(raw.encode() if isinstance(raw, str) else raw, "file"), "file")
    assert view is not None
    return view


def refusal(raw: bytes) -> FormatError:
    with pytest.raises(FormatError) as error:
        decode_document(raw, "file")
    return error.value


@pytest.mark.parametrize("key", ["Image", "image", "IMAGE", "iMaGe"])
def test_a_key_matches_whatever_its_case(key):
    assert struct(f'{{"{key}": "x"}}').text("Image") == "x"


def test_the_kelvin_sign_and_the_long_s_fold_and_nothing_else_does():
    assert struct('{"O\u017f": "x"}').text("os") == "x"
    assert struct('{"\u212aind": "x"}').text("Kind") == "x"
    assert struct('{"\u0130mage": "x", "\u0131mage": "y"}').text("Image") == ""


def test_the_last_scalar_of_a_repeated_key_counts_and_null_leaves_it():
    view = struct('{"A": "x", "a": "y", "A": null, "B": true, "b": null}')
    assert (view.text("A"), view.flag("B")) == ("y", True)
    assert not struct('{"B": true, "b": false}').flag("B")
    assert struct('{"A": null}').stated_text("A") is None


def test_objects_of_a_repeated_key_merge_until_a_null():
    both = struct('{"S": {"A": "x"}, "s": {"B": "y"}}').struct("S")
    assert both is not None
    assert (both.text("A"), both.text("B")) == ("x", "y")
    assert struct('{"S": {"A": "x"}, "S": null}').struct("S") is None
    rest = struct('{"S": {"A": "x"}, "S": null, "S": {"B": "y"}}').struct("S")
    assert rest is not None
    assert (rest.text("A"), rest.text("B")) == ("", "y")


def test_the_last_array_of_a_repeated_key_counts():
    assert struct('{"T": ["a"], "T": ["b", null]}').texts("T") == ("b", "")
    assert struct('{"T": ["a"], "T": null}').texts("T") == ()


def test_keys_of_a_map_are_exact():
    assert struct('{"M": {"a": true, "A": null}, "m": {"a": "x"}}').entries("M") == [
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
    assert struct(raw).text("A") == text


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
        struct('{"Name": ["SECRET=hunter2"]}').text("Name")
    assert str(kind.value) == "file: Name at offset 0: expected text, found an array"


@pytest.mark.parametrize("kind", list(Kind))
def test_null_is_of_every_kind_and_missing_too(kind):
    struct('{"A": null}').require(Shape({"A": kind, "B": kind}))


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
        struct(f'{{"A": {value}}}').require(Shape({"A": kind}))
    for value in bad:
        for raw in (f'{{"A": {value}}}', f'{{"a": {value}, "A": null}}', f'{{"A": {good[0]}, "a": {value}}}'):
            with pytest.raises(FormatError, match=kind.value):
                struct(raw).require(Shape({"A": kind}))


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


# --- a shape that fits -----------------------------------------------------------------------------------------------

SHAPE = Shape({"Text": Kind.TEXT, "flag": Kind.FLAG, "Time": Kind.TIME, "count": Kind.INTEGER, "texts": Kind.TEXTS})


@pytest.mark.parametrize(
    "raw",
    [
        "{}",
        '{"Text": "", "flag": false, "count": 1}',
        '{"flag": true, "flag": false}',
        '{"Time": "2020-09-13T12:26:40Z"}',
    ],
)
def test_what_is_just_as_the_shape_says_fits(raw):
    assert SHAPE.fits(decode_first(raw.encode(), "file"))


@pytest.mark.parametrize(
    "raw",
    ["null", "[]", '"Text"',
     '{"text": ""}', '{"Text": null}', '{"Text": 1}', '{"Text": "", "Text": 1}', '{"other": ""}',
     '{"count": 1.5}', '{"Time": "now"}', '{"texts": []}'],
)  # fmt: skip
def test_all_else_is_left_to_the_slower_question(raw):
    assert not SHAPE.fits(decode_first(raw.encode(), "file"))


KEYS = st.sampled_from(["Text", "text", "flag", "Flag", "Time", "count", "texts", "other"])
VALUES = st.sampled_from(["null", "true", '"x"', '"2020-09-13T12:26:40Z"', "1", "1.5", "[]", '["x"]', "[1]", "{}"])


@given(st.lists(st.tuples(KEYS, VALUES), max_size=4))
def test_at_what_fits_there_is_nothing_to_refuse(members):
    raw = "{" + ", ".join(f'"{key}": {value}' for key, value in members) + "}"
    if SHAPE.fits(decode_first(raw.encode(), "file")):
        struct(raw).require(SHAPE)
