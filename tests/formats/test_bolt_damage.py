"""
The bolt reader on damaged files: a `FormatError` for each kind of damage that bbolt's own check knows and some more.

`DAMAGE` works on one database of 1 KiB pages whose layout the first test holds: a freelist, leaves, a branch page above
them, a bucket of its own page, an inline bucket, a leaf with overflow pages.
"""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gcd.demo.boltfile import Tree, meta_page, write_database
from gcd.formats.bolt import (
    BRANCH_FLAG,
    LEAF_FLAG,
    NO_FREELIST,
    PAGE_HEADER,
    Bucket,
    Database,
    Meta,
    current_meta,
    parse_database,
)
from gcd.model.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 1024

TREE: Tree = {
    "bucket": {f"name{i}": "x" * 60 for i in range(5)},
    "inline": {"parent": "", "size": "12"},
    **{f"key{i:02}": "v" * 60 for i in range(15)},
    "large": "L" * 3000,
}
SOUND = write_database(TREE, page_size=SIZE, spare_pages=2)
FREELIST, BUCKET, LEAVES, ROOT = 2, 3, (4, 5, 6), 10
HIGH_WATER = 13


def meta_of(data: bytes) -> Meta:
    return current_meta(lambda offset, size: data[offset : offset + size])


def resealed(data: bytes, page_size: int = SIZE, **changed: int) -> bytes:
    """`data` with a newest meta that says `changed` and is valid."""
    meta = meta_of(data)
    fields = {"root": meta.root, "freelist": meta.freelist, "high_water": meta.high_water, **changed}
    page = meta_page(meta.txid, page_size=page_size, **fields)
    at = meta.txid % 2 * page_size
    return data[:at] + page + data[at + len(page) :]


def put(form: str, page: int, at: int, *values: int) -> Callable[[bytes], bytes]:
    """What packs `values` over the bytes `at` of `page`."""

    def change(data: bytes) -> bytes:
        out = bytearray(data)
        struct.pack_into("<" + form, out, page * SIZE + at, *values)
        return bytes(out)

    return change


def replace(page: int, old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """What replaces the only `old` in `page` by `new`, of the same length."""

    def change(data: bytes) -> bytes:
        raw = data[page * SIZE : (page + 1) * SIZE]
        assert raw.count(old) == 1
        assert len(old) == len(new)
        return data[: page * SIZE] + raw.replace(old, new) + data[(page + 1) * SIZE :]

    return change


def inline(form: str, at: int, *values: int) -> Callable[[bytes], bytes]:
    """What packs `values` over the inline bucket's value, whose 16 bytes of bucket header begin at 0."""
    start = SOUND.index(b"inline", LEAVES[0] * SIZE) + len(b"inline")
    return put(form, 0, start + at, *values)


def element(index: int, part: int, form: str = "I") -> tuple[str, int]:
    """Format and place in its page of word `part` of the element `index`: leaf flags, pos, key size, value size."""
    return form, 16 + index * 16 + part * 4


def leaf(page: int, index: int, part: int, value: int) -> Callable[[bytes], bytes]:
    form, at = element(index, part)
    return put(form, page, at, value)


def child(index: int, page: int) -> Callable[[bytes], bytes]:
    return put("Q", ROOT, 16 + index * 16 + 8, page)


def test_the_database_that_is_damaged_below_has_the_layout_that_the_cases_speak_of():
    assert meta_of(SOUND) == Meta(page_size=SIZE, root=ROOT, freelist=FREELIST, high_water=HIGH_WATER, txid=2)
    assert [PAGE_HEADER.unpack_from(SOUND, page * SIZE) for page in (FREELIST, BUCKET, *LEAVES, ROOT)] == [
        (FREELIST, 0x10, 2, 0),
        (BUCKET, LEAF_FLAG, 5, 0),
        (4, LEAF_FLAG, 6, 0),
        (5, LEAF_FLAG, 6, 0),
        (6, LEAF_FLAG, 6, 3),
        (ROOT, BRANCH_FLAG, 3, 0),
    ]


def test_a_freelist_whose_count_stands_in_its_first_word_is_read():
    long = put("HIQQQ", FREELIST, 10, 0xFFFF, 0, 2, 11, 12)

    assert parse_database(long(SOUND)) == parse_database(SOUND)


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str, int, str, str]] = {
    "page id": (put("Q", ROOT, 0, 9), "bolt page 10", 10240, "page id 10", "9"),
    "two flags": (put("H", ROOT, 8, 3), "bolt page 10", 10240, "a branch or leaf page", "flags 0x3"),
    "no flag": (put("H", 5, 8, 0), "bolt page 5", 5120, "a branch or leaf page", "flags 0x0"),
    "unknown flag": (put("H", 5, 8, 8), "bolt page 5", 5120, "a branch or leaf page", "flags 0x8"),
    "a meta in a tree": (put("H", 5, 8, 4), "bolt page 5", 5120, "a branch or leaf page", "flags 0x4"),
    "a leaf for the freelist": (put("H", FREELIST, 8, 2), "bolt page 2", 2048, "a freelist page", "flags 0x2"),
    "root above high water": (lambda d: resealed(d, root=13), "bolt page number", 16, "one from 2 to 12", "13"),
    "root is a meta": (lambda d: resealed(d, root=1), "bolt page number", 16, "one from 2 to 12", "1"),
    "root is the freelist": (lambda d: resealed(d, root=2), "bolt page 2", 2048, "a branch or leaf page", "flags 0x10"),
    "freelist above high water": (
        lambda d: resealed(d, freelist=99),
        "bolt page number",
        16,
        "one from 2 to 12",
        "99",
    ),
    "freelist in the tree": (
        lambda d: resealed(d, freelist=5),
        "bolt page 5",
        5120,
        "a page met once",
        "one met before",
    ),
    "child above high water": (child(1, 13), "bolt page number", 10272, "one from 2 to 12", "13"),
    "child is a meta": (child(1, 0), "bolt page number", 10272, "one from 2 to 12", "0"),
    "huge child": (child(1, 2**63), "bolt page number", 10272, "one from 2 to 12", str(2**63)),
    "a child twice": (child(1, 4), "bolt page 4", 4096, "a page met once", "one met before"),
    "a page that is its own child": (child(0, ROOT), "bolt page 10", 10240, "a page met once", "one met before"),
    "a child within an overflow": (child(2, 8), "bolt page 8", 8192, "an end below page 13", "overflow 1280068684"),
    "overflow past the end": (put("I", 6, 12, 9), "bolt page 6", 6144, "an end below page 13", "overflow 9"),
    "overflow over another page": (put("I", 4, 12, 1), "bolt page 5", 5120, "a page met once", "one met before"),
    "huge overflow": (put("I", 4, 12, 2**32 - 1), "bolt page 4", 4096, "an end below page 13", "overflow 4294967295"),
    "lost overflow": (put("I", 6, 12, 0), "bolt page 6", 6240, "element data that ends by 1024", "3442"),
    "huge count": (put("H", 5, 10, 65535), "bolt page 5", 5120, "at most 1024 bytes", "65535 elements"),
    "lost element": (put("H", 5, 10, 5), "bolt page 5", 5136, "element data at 96", "112"),
    "lost child": (put("H", ROOT, 10, 2), "bolt page 10", 10256, "element data at 48", "64"),
    "empty leaf below a branch": (put("H", 5, 10, 0), "bolt page 5", 5120, "at least one element", "none"),
    "empty branch": (put("H", ROOT, 10, 0), "bolt page 10", 10240, "at least one element", "none"),
    "unknown element flags": (leaf(5, 1, 0, 2), "bolt leaf element", 5152, "flags 0 or 1", "2"),
    "data in the table": (leaf(5, 0, 1, 16), "bolt page 5", 5136, "element data at 112", "32"),
    "data outside the page": (leaf(5, 1, 1, 2**31), "bolt page 5", 5152, "element data at 177", str(2**31 + 32)),
    "key past the page": (leaf(5, 5, 2, 4000), "bolt page 5", 5216, "element data that ends by 1024", "4497"),
    "no key": (leaf(5, 0, 2, 0), "bolt page 5", 5136, "a key", "an empty one"),
    "shorter value": (leaf(5, 0, 3, 59), "bolt page 5", 5152, "element data at 176", "177"),
    "value past the page": (leaf(5, 5, 3, 4000), "bolt page 5", 5216, "element data that ends by 1024", "4442"),
    "sizes that add up to over 32 bits": (
        leaf(5, 5, 3, 2**32 - 1),
        "bolt page 5",
        5216,
        "element data that ends by 1024",
        str(437 + 5 + 2**32 - 1),
    ),
    "keys out of order": (replace(5, b"key05", b"key09"), "bolt page 5", 5168, "a key after 'key09'", "'key06'"),
    "a key twice": (replace(5, b"key06", b"key05"), "bolt page 5", 5168, "a key after 'key05'", "'key05'"),
    "key below its branch": (replace(5, b"key04", b"key03"), "bolt page 5", 5136, "a key after 'key04'", "'key03'"),
    "key of the next branch": (replace(5, b"key09", b"key10"), "bolt page 5", 5120, "keys before 'key10'", "'key10'"),
    "branch keys out of order": (
        replace(ROOT, b"key10", b"key00"),
        "bolt page 10",
        10288,
        "a key after 'key04'",
        "'key00'",
    ),
    "bucket without a header": (leaf(5, 1, 0, 1), "bolt page number", 5152, "one from 2 to 12", "8536140394893047414"),
    "bucket of a root above high water": (
        put("Q", 4, 16 + 6 * 16 + 6, 13),
        "bolt page number",
        4112,
        "one from 2 to 12",
        "13",
    ),
    "bucket of the root itself": (
        put("Q", 4, 16 + 6 * 16 + 6, ROOT),
        "bolt page 10",
        10240,
        "a page met once",
        "one met before",
    ),
    "inline page id": (inline("Q", 16, 5), "bolt inline bucket", 4252, "page id 0", "5"),
    "inline branch": (inline("H", 24, 1), "bolt inline bucket", 4252, "a leaf page", "flags 0x1"),
    "inline count": (inline("H", 26, 99), "bolt inline bucket", 4252, "at most 60 bytes", "99 elements"),
    "bucket within an inline bucket": (
        inline("I", 32, 1),
        "bolt inline bucket",
        4268,
        "plain values only",
        "an element with flags 1",
    ),
    "value past the inline bucket": (
        inline("I", 48 + 12, 90),
        "bolt inline bucket",
        4284,
        "element data that ends by 60",
        "148",
    ),
    "free page in use": (
        put("Q", FREELIST, 16, 5),
        "bolt page 2",
        2048,
        "free pages that nothing uses, each once",
        "page 5",
    ),
    "the freelist free": (
        put("Q", FREELIST, 16, 2),
        "bolt page 2",
        2048,
        "free pages that nothing uses, each once",
        "page 2",
    ),
    "free twice": (
        put("Q", FREELIST, 16, 12),
        "bolt page 2",
        2048,
        "free pages that nothing uses, each once",
        "page 12",
    ),
    "free above high water": (put("Q", FREELIST, 16, 13), "bolt page 2", 2048, "free pages from 2 to 12", "13"),
    "neither used nor free": (put("H", FREELIST, 10, 1), "bolt page 12", 12288, "a page in use or free", "neither"),
    "lost bucket": (leaf(4, 0, 0, 0), "bolt page 3", 3072, "a page in use or free", "neither"),
    "huge freelist": (put("H", FREELIST, 10, 9999), "bolt page 2", 2048, "a freelist within 1024 bytes", "9999 ids"),
    "huger freelist": (
        put("HIQ", FREELIST, 10, 0xFFFF, 0, 2**63),
        "bolt page 2",
        2048,
        "a freelist within 1024 bytes",
        f"{2**63} ids",
    ),
    "cut off": (lambda d: d[: 12 * SIZE], "bolt file", 12288, "13312 bytes (13 pages)", "12288"),
    "high water past the end": (
        lambda d: resealed(d, high_water=2**60),
        "bolt file",
        13312,
        f"{2**70} bytes ({2**60} pages)",
        "13312",
    ),
    "high water too low": (lambda d: resealed(d, high_water=1), "bolt page number", 16, "one from 2 to 0", "10"),
    "no valid meta": (
        lambda d: bytes(2 * SIZE) + d[2 * SIZE :],
        "bolt meta",
        16,
        "a valid meta page",
        "00000000",
    ),
    "nothing": (lambda _: b"", "bolt meta", 16, "a valid meta page", "the end"),
    "a page size of no power of two": (
        lambda d: resealed(d[:SIZE] + bytes(SIZE) + d[2 * SIZE :], page_size=3000)[: 2 * SIZE],
        "bolt meta",
        16,
        "a valid meta page",
        "edda0ced",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named_with_its_place(case: str):
    change, *expected = DAMAGE[case]

    with pytest.raises(FormatError) as caught:
        parse_database(change(SOUND))

    error = caught.value
    assert [error.what, error.offset, error.expected, error.found] == expected


def test_a_bucket_value_too_short_for_its_header_is_refused():
    data = write_database({"a": "short"})
    at = 3 * 4096 + 16

    with pytest.raises(FormatError, match="bolt bucket at offset 12304: expected at least 16 bytes, found 5"):
        parse_database(data[:at] + b"\x01" + data[at + 1 :])


def test_an_inline_bucket_too_short_for_its_page_is_refused():
    data = write_database({"a": bytes(20)})
    at = 3 * 4096 + 16

    with pytest.raises(FormatError, match="inline bucket at offset 12337: expected a page header of 16 bytes, found 4"):
        parse_database(data[:at] + b"\x01" + data[at + 1 :])


def test_buckets_nested_beyond_any_use_are_refused():
    def nested(levels: int) -> bytes:
        tree: Tree = {}
        for _ in range(levels):
            tree = {"b": tree, "v": "1"}
        return write_database(tree)

    assert parse_database(nested(64)).root.find(*[b"b"] * 64) == Bucket({}, {})
    with pytest.raises(FormatError, match="expected at most 64 levels, found more"):
        parse_database(nested(66))


# --- any bytes --------------------------------------------------------------------------------------------------------


def value_or_refusal(data: bytes) -> Database | FormatError:
    try:
        return parse_database(data)
    except FormatError as error:
        return error


@given(st.binary(max_size=4000))
@example(b"")
def test_any_bytes_are_read_or_refused(data: bytes):
    value_or_refusal(data)


@given(st.binary(min_size=0, max_size=6 * SIZE))
@settings(deadline=None)
def test_any_pages_below_a_sound_meta_are_read_or_refused(pages: bytes):
    value_or_refusal((SOUND[: 2 * SIZE] + pages).ljust(HIGH_WATER * SIZE, b"\x02"))


@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 7)), min_size=1, max_size=4))
@settings(deadline=None, max_examples=500)
def test_flipped_bits_are_read_or_refused(flips: list[tuple[int, int]]):
    data = bytearray(SOUND)
    for at, bit in flips:
        data[at] ^= 1 << bit

    value_or_refusal(bytes(data))


@given(st.integers(0, len(SOUND)))
@settings(deadline=None)
def test_a_file_cut_off_anywhere_is_refused(length: int):
    found = value_or_refusal(SOUND[:length])

    assert isinstance(found, FormatError) == (length < len(SOUND))


def test_no_single_flipped_bit_in_a_page_header_loses_a_key_unseen():
    sound = set(parse_database(SOUND).root.words())
    for page, at, bit in itertools.product((FREELIST, BUCKET, *LEAVES, ROOT), range(16), range(8)):
        data = bytearray(SOUND)
        data[page * SIZE + at] ^= 1 << bit
        found = value_or_refusal(bytes(data))
        assert isinstance(found, FormatError) or set(found.root.words()) == sound


def test_elements_that_share_their_bytes_cost_nothing():
    count = 65535
    pages = -(-(16 + count * 16) // 4096)
    page = PAGE_HEADER.pack(2, LEAF_FLAG, count, pages) + b"".join(
        struct.pack("<IIII", 0, (count - i) * 16, 4096, 0) for i in range(count)
    )
    meta = meta_page(2, page_size=4096, root=2, freelist=NO_FREELIST, high_water=pages + 3)
    data = meta.ljust(2 * 4096, b"\0") + page.ljust((pages + 1) * 4096, b"k")

    with pytest.raises(FormatError, match="expected element data at"):
        parse_database(data)
