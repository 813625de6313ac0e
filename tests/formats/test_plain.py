"""
What is known to be plain by the compiled part of `gcd.formats.gostruct`: it says just what reading with care says.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.compiled import needs_compiled
from support.totality import damaged

from gcd.formats import gostruct
from gcd.formats.containerconfig import parse_container_config, parse_host_config
from gcd.formats.gojson import decode_document, decode_first
from gcd.formats.gostruct import GoStruct, Kind, Shape, struct_of
from gcd.formats.imageconfig import parse_image_config
from gcd.formats.repositories import parse_repositories
from gcd.model.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = needs_compiled

INNER = Shape({"Only": Kind.TIME}, read={"Text": Kind.TEXT}, asked={"map": Kind.TEXT_MAP, "any": Kind.OBJECT})
SHAPE = Shape(
    {"Count": Kind.INTEGER, "Texts": Kind.TEXTS, "Set": Kind.SET, "Object": Kind.OBJECT, "Time": Kind.TIME},
    read={"Text": Kind.TEXT, "flag": Kind.FLAG, "Words": Kind.WORDS, "Items": Kind.ARRAY},
    asked={"In": Kind.OBJECT, "Map": Kind.TEXT_MAP, "List": Kind.ARRAY, "When": Kind.TIME, "Deep": Kind.SET},
    inner={"In": INNER, "Items": INNER},
)


def plain(raw: str | bytes, shape: Shape = SHAPE, *, is_whole: bool = True) -> object:
    return gostruct._plain(raw.encode() if isinstance(raw, str) else raw, shape, is_whole=is_whole)


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_what_may_be_asked_for_is_kept_and_the_rest_is_checked_alone():
    raw = """ {"Text": "a", "Count": -12, "other": [1e3, {"Text": 1}, -0.5E-2], "In": {"Text": null, "Only":
        "2026-11-29T01:02:03.4+01:00", "any": {"x": [true, false, null, "y"], "x": {}}}, "Items": [null, {"map":
        {"k": "v", "k": null}}], "Words": ["x"], "Set": {"a": {"b": 1}, "c": null}, "Time": "0000-02-29T23:59:59Z"}\n"""
    assert plain(raw) == {
        "Text": "a",
        "In": {"Text": None, "any": (("x", [True, False, None, "y"]), ("x", ()))},
        "Items": [None, {"map": (("k", "v"), ("k", None))}],
        "Words": ["x"],
    }


def test_an_empty_object_and_nulls():
    assert plain("{}") == {}
    nulls = json.dumps(dict.fromkeys(["Count", "Texts", "Set", "Object", "Time", "Text", "flag", "In", "Items"]))
    assert plain(nulls) == dict.fromkeys(["Text", "flag", "In", "Items"])


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (rb"\"\\\/\b\f\n\r\t", '"\\/\b\f\n\r\t'),
        (rb"\u003cme\u0000\u00e9\u2028\uFFFD>", "<me\0\u00e9\u2028\ufffd>"),
        ("caf\u00e9 \U0001f600".encode(), "caf\u00e9 \U0001f600"),
        (b"\xff", "\udcff"),
        (b"\xe2\x82", "\udce2\udc82"),
        (b"\xe2\x82\\u00ac", "\udce2\udc82\u00ac"),
        (b"\x7f", "\x7f"),
    ],
)
def test_a_text_that_is_kept_is_decoded(written, text):
    raw = b'{"Text": "' + written + b'", "Map": {"' + written + b'": null}}'
    assert plain(raw) == {"Text": text, "Map": ((text, None),)}
    assert dict(decode_document(raw, "file"))["Text"] == text


def test_what_follows_matters_only_in_a_document():
    assert (plain('{"Text": "x"} {', is_whole=False), plain('{"Text": "x"} {')) == ({"Text": "x"}, None)
    assert plain('{"Text": "x"} \t\r\n') == {"Text": "x"}


@pytest.mark.parametrize(
    "odd",
    [
        "", " ", "null", "[]", '"x"', "{", '{"Text"', '{"Text":', '{"Text":"x"', '{"Text":"x",}', "{,}", '{"Text" "x"}',
        '{"Text":"x" "flag":true}', '{"text": "x"}', '{"TEXT": "x"}', '{"\u017fet": {}}', '{"n\u00e9e": 1}',
        '{"Text": "x", "Text": "x"}', '{"T\\u0065xt": "x"}', '{"Text": 1}', '{"Text": "\\ud83d\\ude00"}',
        '{"Text": "\\ud800"}', '{"Text": "\\x"}', '{"Text": "\\u00g0"}', '{"Text": "\\u00"}', '{"Text": "a\nb"}',
        '{"Text": "x}', '{"Text": "\\"}', '{"flag": "true"}', '{"flag": tru}', '{"flag": truex}', '{"flag": 1}',
        '{"Count": "1"}', '{"Count": 1.0}', '{"Count": 1e2}', '{"Count": 01}', '{"Count": -}', '{"Count": +1}',
        '{"Count": 1234567890123456789}', '{"other": .5}', '{"other": 1.}', '{"other": 1e}', '{"other": NaN}',
        '{"other": Infinity}', '{"other": [1,]}', '{"other": [1 2]}', '{"other": {"a": 1,}}', '{"other": {1: 2}}',
        '{"other": \u00a0 1}', '{"Texts": ["x", 1]}', '{"Texts": "x"}', '{"Texts": {}}', '{"Set": {"a": "b"}}',
        '{"Set": []}', '{"Object": []}', '{"Map": {"a": {}}}', '{"Map": {"a": 1}}', '{"Words": [null, true]}',
        '{"Words": {}}', '{"Items": [1]}', '{"Items": ["x"]}', '{"Items": {}}', '{"Items": [{"text": ""}]}',
        '{"Items": [{"Only": ""}]}',
        '{"In": []}', '{"In": {"Only": 1}}', '{"In": {"any": {"x": 1}}}', '{"List": [1]}',
        *(f'{{"Time": "{time}"}}' for time in (
            "", "x", "2026-11-29", "2026-11-29T01:02:03", "2026-11-29T01:02:03z", "2026-11-29t01:02:03Z",
            "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00,5Z", "2026-01-01T1:00:00Z",
            "2026-01-01T00:00:00+1:00", "2026-01-01T00:00:00+0100", "2026-01-01T00:00:00Zx", "02026-01-01T00:00:00Z",
            "\\u0032026-01-01T00:00:00Z",
        )),
        "\ufeff{}", '{"other": ' + "[" * 64 + "]" * 64 + "}", "[" * 100_000, '{"other":' * 100_000,
    ],
)  # fmt: skip
def test_what_is_odd_is_left_to_who_reads_with_care(odd):
    assert plain(odd) is None


def test_most_levels():
    assert plain('{"other": ' + "[" * 63 + "]" * 63 + "}") == {}


def test_every_end_of_a_file_that_is_cut_off_is_odd():
    raw = (
        b'{"Text": "a\\u0041", "flag": true, "Count": -1, "In": {"map": {"k": "v"}}, "Items": [{}, null], "x": [1.5e3]}'
    )
    assert plain(raw) is not None
    assert [plain(raw[:length]) for length in range(len(raw))] == [None] * len(raw)


def test_a_shape_has_at_most_64_fields():
    names = [f"field{number}" for number in range(65)]
    every = Shape(read=dict.fromkeys(names[:64], Kind.FLAG))
    assert plain(json.dumps(dict.fromkeys(names[:64], True)), every) == dict.fromkeys(names[:64], True)
    with pytest.raises(ValueError, match="more than 64 fields"):
        Shape(dict.fromkeys(names, Kind.FLAG))


# --- the same as with care --------------------------------------------------------------------------------------------

SCALARS = st.sampled_from(
    ["null", "true", "false", '"x"', '"\\u003cx\\n"', '"2020-09-13T12:26:40Z"', '"2021-02-29T12:26:40.5-07:00"', "1",
     "-0", "0.5", str(2**63), "999999999999999999", "{}", "[]"]
)  # fmt: skip
KEYS = st.sampled_from(
    [*(name for shape in (INNER, SHAPE) for name in shape._is_of), "text", "ITEMS", "Other", "\\u0054ext", "O\u017f"]
)


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.lists(st.tuples(KEYS, values), max_size=4)
    return members.map(lambda pairs: "{" + ",".join(f'"{key}":{value}' for key, value in pairs) + "}")


VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=3).map(lambda i: f"[{', '.join(i)}]") | objects(v))


def answer(view: GoStruct, name: str) -> object:
    try:
        inner = view.struct(name) if name == "In" else None
        if name == "Items":
            view.check_items(name)
        within = [answer(inner, other) for other in ("Text", "map", "any")] if inner else None
        # Of a struct, and of structs in an array, nobody asks for all members.
        entries = view.entries(name) if name != "In" else None
        return view.has(name), view.stated_text(name), view.flag(name), view.texts(name), entries, within
    except FormatError as error:
        return str(error)


ASKED = ("Text", "flag", "Words", "Items", "In", "Map", "List", "When", "Deep")


def both(raw: bytes, *, is_whole: bool) -> tuple[object, object]:
    read, decode = (
        (gostruct.struct_of_document, decode_document) if is_whole else (gostruct.struct_of_first, decode_first)
    )
    return asked(lambda: read(raw, "file", SHAPE)), asked(lambda: struct_of(decode(raw, "file"), "file", SHAPE))


def asked(view: Callable[[], GoStruct | None]) -> object:
    try:
        found = view()
    except FormatError as error:
        return str(error)
    return None if found is None else [(name, answer(found, name)) for name in ASKED]


@given(raw=objects(VALUES), is_whole=st.booleans())
@example(raw='{"In":{"Text":"x","any":{"a":[]}},"Items":[{"Text":null},null]}', is_whole=True)
def test_all_that_can_be_asked_has_the_same_answer(raw, is_whole):
    one, other = both(raw.encode(), is_whole=is_whole)
    assert one == other


@given(
    damaged(b'{"Text":"\\u00e9","In":{"map":{"a":"b"},"Only":"2020-09-13T12:26:40Z"},"Items":[{}],"Count":1,"x":-1}')
)
def test_so_it_has_of_any_bytes(raw):
    one, other = both(raw, is_whole=True)
    assert one == other


DIFF_ID = f"sha256:{'0b' * 32}"
IMAGE = json.dumps(
    {
        "architecture": "amd64",
        "config": {"Env": ["A=b"], "Cmd": ["sh"], "Labels": {"a": "b"}, "Volumes": {"/x": {}}, "StopTimeout": 3},
        "container_config": {"Cmd": "sh", "Labels": None},
        "created": "2026-11-24T22:56:13.123456789Z",
        "history": [{"created": "2026-11-24T22:56:13Z", "created_by": "<COPY>", "empty_layer": True}, {}],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [DIFF_ID]},
    }
).encode()
CONTAINER = json.dumps(
    {
        "State": {"Running": True, "Pid": 12, "StartedAt": "2026-11-24T22:56:13Z", "Health": None},
        "ID": "ab" * 32,
        "Created": "2026-11-24T22:56:13.5Z",
        "Args": ["x"],
        "Config": {"Image": "one:1", "Labels": {"a": "b"}, "Entrypoint": None},
        "Image": DIFF_ID,
        "Name": "/one",
        "Driver": "overlay2",
        "MountPoints": {
            "/data": {"Type": "volume", "Name": "v", "RW": True, "Spec": {"Type": "volume", "Target": "/data"}},
            "/image": {"Type": "image", "ID": "cd", "Spec": {"Source": "two:2", "ImageOptions": {"Subpath": "x"}}},
        },
    }
).encode()
HOST = b'{"Binds":null,"CapAdd":"ALL","AutoRemove":true,"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"Memory":0}'
REPOSITORIES = b'{"Repositories":{"one":{"one:1":"%s","one@%s":"%s"}}}' % ((DIFF_ID.encode(),) * 3)


@pytest.mark.parametrize(
    ("parse", "sound"),
    [
        (parse_image_config, IMAGE),
        (parse_container_config, CONTAINER),
        (parse_host_config, HOST),
        (parse_repositories, REPOSITORIES),
    ],
)
def test_what_parsers_make_of_a_file_is_the_same(parse, sound):
    @given(damaged(sound))
    @example(sound)
    def same(raw: bytes) -> None:
        with pytest.MonkeyPatch.context() as patched:
            fast = outcome(parse, raw)
            patched.setattr(gostruct, "_plain", lambda *_, **__: None)
            assert outcome(parse, raw) == fast

    same()


def outcome(parse: Callable[[bytes], object], raw: bytes) -> object:
    try:
        return parse(raw)
    except FormatError as error:
        return error.what, error.expected, error.found, error.offset


def test_each_of_these_is_plain(monkeypatch):
    answers = []

    def seen(raw: bytes, shape: Shape, *, is_whole: bool) -> object:
        answers.append(genuine(raw, shape, is_whole=is_whole) is not None)
        return genuine(raw, shape, is_whole=is_whole)

    genuine = gostruct._plain
    monkeypatch.setattr(gostruct, "_plain", seen)
    parse_image_config(IMAGE)
    parse_container_config(CONTAINER)
    parse_host_config(HOST)
    parse_repositories(REPOSITORIES)
    assert answers == [True] * 4
