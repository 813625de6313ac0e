"""The bolt writer lays pages out as bbolt does. That all is found again is a matter of tests/formats/test_bolt.py."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcd.demo.boltfile import Tree, meta_page, write_database
from gcd.formats.bolt import (
    BRANCH_FLAG,
    BUCKET_HEADER,
    FREELIST_FLAG,
    LEAF_ELEMENT,
    LEAF_FLAG,
    META_FLAG,
    META_SPAN,
    PAGE_HEADER,
    Bucket,
    current_meta,
    parse_database,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA = Path(__file__).parents[1] / "data" / "bolt"


def pages(data: bytes, page_size: int = 4096) -> list[tuple[int, int, int]]:
    """Number, flag and span of each page that is one; zeroed pages are left out."""
    found = []
    for at in range(0, len(data), page_size):
        number, flag, _count, overflow = PAGE_HEADER.unpack_from(data, at)
        if number == at // page_size and flag in {BRANCH_FLAG, LEAF_FLAG, META_FLAG, FREELIST_FLAG}:
            found.append((number, flag, overflow + 1))
    return found


def test_a_fresh_database_has_the_four_pages_that_bbolt_makes():
    assert pages(write_database({}, txid=1)) == [
        (0, META_FLAG, 1),
        (1, META_FLAG, 1),
        (2, FREELIST_FLAG, 1),
        (3, LEAF_FLAG, 1),
    ]


@pytest.mark.parametrize(("value", "is_inline"), [("x" * 900, True), ("x" * 1000, False)])
def test_a_bucket_is_inline_up_to_a_quarter_of_a_page(value: str, is_inline: bool):
    data = write_database({"b": {"k": value}})
    root = current_meta(lambda at, size: data[at : at + size]).root * 4096
    _flags, position, key_size, _size = LEAF_ELEMENT.unpack_from(data, root + PAGE_HEADER.size)

    number, sequence = BUCKET_HEADER.unpack_from(data, root + PAGE_HEADER.size + position + key_size)

    assert (number, sequence) == ((0, 0) if is_inline else (3, 0))


def test_a_bucket_of_buckets_is_never_inline():
    assert pages(write_database({"a": {"b": {}}}))[3:] == [(3, LEAF_FLAG, 1), (4, LEAF_FLAG, 1)]


def test_many_keys_take_several_leaves_and_a_branch_above_them():
    found = pages(write_database({f"{i:03}": "x" * 100 for i in range(100)}))

    assert [page for page in found if page[1] == LEAF_FLAG] == [(number, LEAF_FLAG, 1) for number in range(3, 9)]
    assert [page for page in found if page[1] == BRANCH_FLAG] == [(9, BRANCH_FLAG, 1)]


def test_branches_stand_above_branches():
    data = write_database({f"{i:05}": "x" * 100 for i in range(1000)}, page_size=1024)
    branches = [page for page in pages(data, 1024) if page[1] == BRANCH_FLAG]

    assert len(branches) > 2
    assert len(parse_database(data).root.values) == 1000


def test_a_value_larger_than_a_page_overflows():
    assert pages(write_database({"k": "x" * 10000}))[3:] == [(3, LEAF_FLAG, 3)]


@pytest.mark.parametrize(("txid", "metas"), [(0, [0]), (1, [0, 1]), (6, [6, 5]), (7, [6, 7])])
def test_each_transaction_writes_the_meta_page_of_its_parity(txid: int, metas: list[int]):
    data = write_database({}, txid=txid)

    for slot, state in enumerate(metas):
        page = meta_page(state, page_size=4096, root=3, freelist=2, high_water=4)
        assert data[slot * 4096 : slot * 4096 + META_SPAN] == page


def test_two_states_with_different_first_pages_lie_side_by_side():
    old, new = write_database({"a": "1"}, spare_pages=2), write_database({"a": "2"}, txid=3, first_page=4)

    assert len(old) == len(new) == 6 * 4096
    assert old[4 * 4096 :] == bytes(2 * 4096)
    assert new[2 * 4096 : 4 * 4096] == bytes(2 * 4096)


def test_the_same_tree_in_any_order_gives_the_same_bytes():
    assert write_database({"b": "2", "a": {"y": "", "x": "1"}}) == write_database({"a": {"x": "1", "y": ""}, "b": "2"})


def test_more_free_pages_than_one_freelist_page_holds_are_refused():
    assert parse_database(write_database({}, page_size=1024, spare_pages=126)).root == Bucket({}, {})
    with pytest.raises(ValueError, match="more free pages"):
        write_database({}, page_size=1024, spare_pages=127)


def tree_of(bucket: Bucket) -> Tree:
    nested: Mapping[str, Tree] = {key.decode(): tree_of(inner) for key, inner in bucket.buckets.items()}
    return {**{key.decode(): value for key, value in bucket.values.items()}, **nested}


@pytest.mark.parametrize("version", ["20.10", "26.1", "28.5"])
@pytest.mark.parametrize("name", ["snapshots", "metadata_v2", "containerdmeta"])
def test_an_engine_s_database_written_again_reads_the_same(version: str, name: str):
    real = parse_database(gzip.decompress((DATA / version / f"{name}.db.gz").read_bytes()))

    assert parse_database(write_database(tree_of(real.root), txid=real.txid)) == real
