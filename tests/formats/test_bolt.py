"""The bolt reader on sound files: those of the writer in `gcd.demo.boltfile`, and those of real engines."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcd.demo.boltfile import Tree, write_database
from gcd.formats.bolt import NO_FREELIST, Bucket, Database, Meta, current_meta, fnv1a, parse_database

DATA = Path(__file__).parents[1] / "data" / "bolt"
SIZE = 1024

TREE: Tree = {
    "bucket": {f"name{i}": "x" * 60 for i in range(5)},
    "inline": {"parent": "", "size": "12"},
    **{f"key{i:02}": "v" * 60 for i in range(15)},
    "large": "L" * 3000,
}
SOUND = write_database(TREE, page_size=SIZE, spare_pages=2)


def plain(bucket: Bucket) -> dict[bytes, object]:
    return {**bucket.values, **{key: plain(inner) for key, inner in bucket.buckets.items()}}


def encoded(tree: Tree) -> dict[bytes, object]:
    return {
        key.encode(): encoded(value)
        if isinstance(value, Mapping)
        else value.encode()
        if isinstance(value, str)
        else value
        for key, value in tree.items()
    }


def meta_of(data: bytes) -> Meta:
    return current_meta(lambda offset, size: data[offset : offset + size])


def test_all_of_a_database_is_read():
    database = parse_database(SOUND)

    assert (database.page_size, database.txid) == (SIZE, 2)
    assert plain(database.root) == encoded(TREE)


def test_a_fresh_file_is_empty():
    fresh = write_database({}, txid=1)

    assert parse_database(fresh) == Database(page_size=4096, txid=1, root=Bucket({}, {}))
    assert meta_of(fresh) == Meta(page_size=4096, root=3, freelist=2, high_water=4, txid=1)


def test_the_checksum_is_fnv_1a():
    assert fnv1a(b"") == 0xCBF29CE484222325
    assert fnv1a(b"foobar") == 0x85944171F73967E8


def test_keys_come_in_their_order_and_words_are_all_keys_and_values():
    root = parse_database(write_database({"b": {"x": "1"}, "c": "2", "a": {"d": {"e": "5"}}})).root

    assert list(root.buckets) == [b"a", b"b"]
    assert sorted(root.words()) == [b"1", b"2", b"5", b"a", b"b", b"c", b"d", b"e", b"x"]


def test_find_follows_a_path_of_buckets_only():
    root = parse_database(write_database({"v1": {"buildkit": {"leases": {"a": {}}}, "value": "1"}})).root

    assert root.find(b"v1", b"buildkit", b"leases") == Bucket({}, {b"a": Bucket({}, {})})
    assert root.find() is root
    assert root.find(b"v1", b"value") is None
    assert root.find(b"v1", b"moby", b"leases") is None


@pytest.mark.parametrize("page_size", [1024, 4096, 16384, 65536])
@pytest.mark.parametrize("damaged_meta", [None, 0, 1])
def test_every_page_size_is_found_even_with_one_meta_damaged(page_size: int, damaged_meta: int | None):
    data = bytearray(write_database(TREE, page_size=page_size, txid=7))
    if damaged_meta is not None:
        data[damaged_meta * page_size + 16] ^= 1

    database = parse_database(bytes(data))

    assert database.page_size == page_size
    assert database.txid == (6 if damaged_meta == 1 else 7)
    assert plain(database.root) == encoded(TREE)


@pytest.mark.parametrize(("at", "what"), [(16, "magic"), (20, "version"), (16 + 48, "txid"), (16 + 56, "checksum")])
def test_an_invalid_newest_meta_leaves_the_state_before(at: int, what: str):
    data = bytearray(write_database({}, txid=9))
    data[4096 + at] ^= 1

    assert parse_database(bytes(data)).txid == 8, what


def test_the_newest_of_two_valid_states_is_read():
    old = write_database({"old": "1"}, txid=4, spare_pages=2)
    new = write_database({"new": "2"}, txid=5, first_page=4)
    assert len(old) == len(new)
    both = old[:4096] + new[4096:8192] + old[8192 : 4 * 4096] + new[4 * 4096 :]

    assert parse_database(both).root.values == {b"new": b"2"}
    assert parse_database(both[:4096] + bytes(4096) + both[8192:]).root.values == {b"old": b"1"}


def test_what_follows_the_state_is_meaningless():
    assert parse_database(SOUND + b"\xff" * 5000) == parse_database(SOUND)


def test_a_database_without_a_freelist_is_read():
    data = write_database(TREE, page_size=SIZE, keep_freelist=False)

    assert meta_of(data).freelist == NO_FREELIST
    assert plain(parse_database(data).root) == encoded(TREE)


names = st.text(min_size=1, max_size=40)
trees: st.SearchStrategy[dict[str, object]] = st.recursive(
    st.dictionaries(names, st.binary(max_size=1500), max_size=12),
    lambda inner: st.dictionaries(names, st.binary(max_size=300) | inner, max_size=12),
    max_leaves=12,
)


@given(trees, st.sampled_from([1024, 4096, 16384]), st.booleans(), st.integers(0, 3), st.integers(1, 2**40))
@settings(deadline=None)
def test_what_was_written_is_what_is_read(tree: Tree, page_size: int, keep: bool, spare: int, txid: int):
    data = write_database(tree, page_size=page_size, keep_freelist=keep, spare_pages=spare, txid=txid)

    database = parse_database(data)

    assert plain(database.root) == encoded(tree)
    assert (database.page_size, database.txid) == (page_size, txid)


@pytest.mark.parametrize(
    ("version", "name", "txid_buckets_words"),
    [
        ("20.10", "snapshots", (71, 41, 175)),
        ("20.10", "metadata_v2", (450, 3, 496)),
        ("20.10", "containerdmeta", (104, 1, 233)),
        ("26.1", "snapshots", (71, 41, 175)),
        ("26.1", "metadata_v2", (307, 3, 554)),
        ("26.1", "containerdmeta", (302, 1, 570)),
        ("28.5", "snapshots", (76, 41, 185)),
        ("28.5", "metadata_v2", (332, 3, 577)),
        ("28.5", "containerdmeta", (241, 1, 465)),
    ],
)
def test_a_database_copied_from_a_working_engine_is_sound(
    version: str, name: str, txid_buckets_words: tuple[int, int, int]
):
    data = gzip.decompress((DATA / version / f"{name}.db.gz").read_bytes())

    database = parse_database(data)

    assert (database.txid, len(database.root.buckets), sum(1 for _ in database.root.words())) == txid_buckets_words
    assert len(data) == meta_of(data).span
