"""What BuildKit's databases say: exact values of written ones, and of those that three engines wrote."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcd.demo.boltfile import Tree, write_database
from gcd.formats.bolt import parse_database
from gcd.formats.buildkit import read_leases, read_records, read_snapshots, read_words
from gcd.model.errors import FormatError
from gcd.model.facts import BuildLease, BuildRecord, BuildSnapshot, SnapshotKind
from gcd.model.ids import ChainId, LayerDirId

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parents[1] / "data" / "bolt"
VERSIONS = ["20.10", "26.1", "28.5"]

A = "a" * 25
B = "b1" * 12 + "b"
C = "c2" * 12 + "c"
CHAIN = "sha256:" + "1f" * 32
HEX = "0d" * 32


def harvested(version: str, name: str) -> bytes:
    return gzip.decompress((DATA / version / f"{name}.db.gz").read_bytes())


def snapshots(tree: Tree) -> dict[str, BuildSnapshot]:
    return read_snapshots(write_database(tree))


# --- snapshots.db ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "bucket", "kind", "dir_id", "parent", "chain"),
    [
        (A, {"parent": ""}, SnapshotKind.ACTIVE, A, "", None),
        (A, {"parent": B, "size": "12"}, SnapshotKind.ACTIVE, A, B, None),
        (A, {"parent": CHAIN}, SnapshotKind.ACTIVE, A, CHAIN, None),
        (A, {"parent": B, "iscommitted": ""}, SnapshotKind.SUPERSEDED, A, B, None),
        (A, {"committed": B}, SnapshotKind.COMMITTED, B, "", None),
        (A, {"committed": B, "size": "1", "chainid": CHAIN}, SnapshotKind.COMMITTED, B, "", CHAIN),
        (A, {"chainid": CHAIN}, SnapshotKind.LEASE, None, "", CHAIN),
        (CHAIN, {}, SnapshotKind.LAYER, None, "", CHAIN),
        (CHAIN, {"size": "9"}, SnapshotKind.LAYER, None, "", CHAIN),
        (A, {"size": "9"}, SnapshotKind.ACTIVE, A, "", None),
        (A, {}, SnapshotKind.ACTIVE, A, "", None),
        ("../../etc", {"parent": ""}, SnapshotKind.ACTIVE, None, "", None),
    ],
)
def test_each_kind_of_bucket_is_told_by_its_keys(
    name: str, bucket: Tree, kind: SnapshotKind, dir_id: str | None, parent: str, chain: str | None
):
    expected = BuildSnapshot(
        name, kind, LayerDirId(dir_id) if dir_id else None, parent, ChainId(chain) if chain else None
    )

    assert snapshots({name: bucket}) == {name: expected}


def test_an_empty_database_has_no_snapshots():
    assert snapshots({}) == {}


def test_a_database_already_parsed_gives_the_same():
    data = write_database({A: {"parent": CHAIN}})

    assert read_snapshots(parse_database(data)) == read_snapshots(data)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {A: {"committed": "../" + B}},
            f"committed of snapshot '{A}' at offset 0: expected a layer dir id, found '../{B}'",
        ),
        (
            {A: {"chainid": "sha256:12"}},
            f"chainid of snapshot '{A}' at offset 0: expected sha256:<64 hex>, found 'sha256:12'",
        ),
        ({A: {"parent": b"\xff\x1b"}}, f"parent of snapshot '{A}' at offset 0: expected UTF-8, found '\\xff\\x1b'"),
    ],
)
def test_a_value_that_its_place_does_not_allow_is_refused(tree: Tree, message: str):
    with pytest.raises(FormatError) as caught:
        snapshots(tree)

    assert str(caught.value) == message


# --- metadata_v2.db -------------------------------------------------------------------------------------------------


def records(buckets: Tree) -> dict[str, BuildRecord]:
    return read_records(write_database({"_main": buckets, "_index": {f"chainid:{CHAIN}::{A}": ""}}))


def test_a_record_with_all_its_keys():
    bucket = {
        "cache.snapshot": f'{{"value":"{B}"}}',
        "cache.equalMutable": f'{{"value":"{C}"}}',
        "cache.recordType": '{"value":"exec.cachemount"}',
        "cache.createdAt": '{"value":1795561486985437949}',
        "cache.description": "no JSON, but nobody asked",
    }

    assert records({A: bucket}) == {A: BuildRecord(A, snapshot=B, equal_mutable=C, record_type="exec.cachemount")}


@pytest.mark.parametrize(
    "bucket",
    [
        {},
        {"cache.snapshot": "", "cache.equalMutable": ""},
        {"cache.snapshot": "{}"},
        {"cache.snapshot": "null"},
        {"cache.snapshot": '{"value":null,"index":"x"}'},
        {"cache.snapshot": '{"value":""}'},
    ],
)
def test_the_snapshot_of_a_record_that_names_none_is_its_own(bucket: Tree):
    assert records({A: bucket}) == {A: BuildRecord(A, snapshot=A, equal_mutable="", record_type="")}


def test_a_database_that_never_held_a_record_has_none():
    assert read_records(write_database({})) == {}


@pytest.mark.parametrize(
    ("value", "expected", "found"),
    [
        ("{", "JSON", "the end"),
        ("[]", "an object", "an array"),
        ('{"value":3}', "text", "a number"),
        ("[" * 100_000, "at most 400 levels of nesting", "'['"),
        (b"\xff\xfe", "JSON", "'\\xff'"),
    ],
)
def test_a_record_that_is_no_json_is_refused(value: str | bytes, expected: str, found: str):
    with pytest.raises(FormatError) as caught:
        records({A: {"cache.snapshot": value}})

    assert caught.value.what.startswith(f"cache.snapshot of record '{A}'")
    assert expected in caught.value.expected
    assert caught.value.found == found


# --- containerdmeta.db ----------------------------------------------------------------------------------------------


def test_leases_of_builds_with_their_snapshots():
    leases: Tree = {
        A: {"labels": {"containerd.io/gc.flat": "x"}, "snapshots": {"default": {A: "", CHAIN: ""}}, "createdat": b"\1"},
        f"{B}-view": {
            "labels": {"buildkit/lease.temporary": "2026", "containerd.io/gc.flat": "x"},
            "snapshots": {"default": {f"{B}-view": ""}},
        },
        "112466107-IFTY": {"createdat": b"\1", "content": {CHAIN: ""}},
    }
    data = write_database(
        {
            "v1": {
                "buildkit": {"leases": leases},
                "buildkit_history": {"leases": {f"ref_{C}": {"snapshots": {"default": {C: ""}}}}},
                "version": b"\x06",
            }
        }
    )

    assert read_leases(data) == {
        A: BuildLease(A, (A, CHAIN), temporary=False),
        f"{B}-view": BuildLease(f"{B}-view", (f"{B}-view",), temporary=True),
        "112466107-IFTY": BuildLease("112466107-IFTY", (), temporary=False),
    }


@pytest.mark.parametrize("tree", [{}, {"v1": {}}, {"v1": {"buildkit": {"content": {}}}}, {"v1": "no bucket"}])
def test_a_database_without_leases_has_none(tree: Tree):
    assert read_leases(write_database(tree)) == {}


# --- words ----------------------------------------------------------------------------------------------------------


def words(*texts: str) -> tuple[set[str], set[str]]:
    """What is named by a database that holds each of `texts` as a key, as a value and as a bucket's name."""
    trees: list[Tree] = [
        dict.fromkeys(texts, ""),
        {str(i): text for i, text in enumerate(texts)},
        {text: {"x": {"y": ""}} for text in texts},
    ]
    found = [read_words(write_database({"a": {"b": tree}})) for tree in trees]
    assert found[0] == found[1] == found[2]
    return set(found[0][0]), set(found[0][1])


def test_ids_are_found_wherever_they_stand():
    assert words(A, f"x::{B}", f'{{"value":"{C}"}}') == ({A, B, C}, set())
    assert words(f"{A}-view", f"ref_{B}", f"\0{C}\n") == ({A, B, C}, set())
    assert words(HEX, f"{HEX}-init", f"/{HEX}-removing/") == ({HEX, f"{HEX}-init"}, set())


def test_digests_are_found_and_are_no_ids():
    assert words(CHAIN, f"blobchainid:sha256:{HEX}::{A}") == ({A}, {CHAIN, f"sha256:{HEX}"})
    assert words(f"{CHAIN}-view") == (set(), {CHAIN})


def test_longer_and_shorter_words_are_no_ids():
    assert words(A[:-1], A + "a", HEX[:-1], HEX + "0", A.upper(), f"sha256:{HEX}0", "sha256:12") == (set(), set())


# --- files of real engines ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_an_engine_leaves_all_five_kinds_of_snapshot(version: str):
    found = read_snapshots(harvested(version, "snapshots"))

    assert Counter(snapshot.kind for snapshot in found.values()) == {
        SnapshotKind.COMMITTED: 15,
        SnapshotKind.SUPERSEDED: 15,
        SnapshotKind.ACTIVE: 5,
        SnapshotKind.LEASE: 3,
        SnapshotKind.LAYER: 3,
    }
    for snapshot in found.values():
        match snapshot.kind:
            case SnapshotKind.COMMITTED:
                assert found[str(snapshot.dir_id)].kind is SnapshotKind.SUPERSEDED
            case SnapshotKind.ACTIVE | SnapshotKind.SUPERSEDED:
                assert snapshot.dir_id == snapshot.name
                assert not snapshot.parent or snapshot.parent in found
            case SnapshotKind.LAYER | SnapshotKind.LEASE:
                assert found[str(snapshot.chain_id)].kind is SnapshotKind.LAYER


@pytest.mark.parametrize(("version", "number", "pairs"), [("20.10", 26, 3), ("26.1", 26, 3), ("28.5", 27, 4)])
def test_an_engine_s_records_name_its_snapshots(version: str, number: int, pairs: int):
    named = read_snapshots(harvested(version, "snapshots"))
    found = read_records(harvested(version, "metadata_v2"))

    assert len(found) == number
    assert Counter(record.record_type for record in found.values() if record.record_type) == {
        "source.local": 3,
        "exec.cachemount": 1,
    }
    assert sum(1 for record in found.values() if record.equal_mutable) == pairs
    assert sum(1 for record in found.values() if record.snapshot.startswith("sha256:")) == 3
    unfinished = {record.snapshot for record in found.values() if record.equal_mutable}
    assert {record.snapshot for record in found.values()} - unfinished <= set(named)
    assert {record.equal_mutable for record in found.values() if record.equal_mutable} <= set(named)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_engine_s_leases_hold_its_snapshots(version: str):
    records_found = read_records(harvested(version, "metadata_v2"))
    leases = read_leases(harvested(version, "containerdmeta"))

    assert len(leases) == 23
    assert not any(lease.temporary for lease in leases.values())
    known = {name for record in records_found.values() for name in (record.snapshot, record.equal_mutable)}
    assert {name for lease in leases.values() for name in lease.snapshots} <= known


@pytest.mark.parametrize(
    ("version", "name", "ids", "digests"),
    [
        ("20.10", "snapshots", 38, 14),
        ("20.10", "metadata_v2", 27, 13),
        ("20.10", "containerdmeta", 23, 3),
        ("26.1", "snapshots", 38, 14),
        ("26.1", "metadata_v2", 27, 13),
        ("26.1", "containerdmeta", 30, 31),
        ("28.5", "snapshots", 38, 14),
        ("28.5", "metadata_v2", 28, 13),
        ("28.5", "containerdmeta", 30, 24),
    ],
)
def test_the_words_of_an_engine_s_databases(version: str, name: str, ids: int, digests: int):
    found_ids, found_digests = read_words(harvested(version, name))

    assert (len(found_ids), len(found_digests)) == (ids, digests)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_id_that_a_record_holds_is_among_the_words(version: str):
    ids, digests = read_words(harvested(version, "snapshots"))
    for snapshot in read_snapshots(harvested(version, "snapshots")).values():
        held = {snapshot.name, snapshot.dir_id or "", snapshot.parent, snapshot.chain_id or ""} - {""}
        assert held <= ids | digests


# --- any bytes ------------------------------------------------------------------------------------------------------

keys = st.sampled_from(
    [
        "parent",
        "committed",
        "iscommitted",
        "chainid",
        "_main",
        "v1",
        "buildkit",
        "leases",
        "labels",
        "snapshots",
        A,
        CHAIN,
    ]
) | st.text(min_size=1, max_size=30)
values = st.binary(max_size=60) | st.sampled_from([A, CHAIN, '{"value":"x"}', '{"value":', "[[[["])
trees: st.SearchStrategy[dict[str, object]] = st.recursive(
    st.dictionaries(keys, values, max_size=4), lambda inner: st.dictionaries(keys, values | inner, max_size=4)
)


def refusal_of(read: Callable[[bytes], object], data: bytes) -> None:
    """Let `read` have `data`; what it refuses must be printable, and any other exception is a failure."""
    refusal = ""
    try:
        read(data)
    except FormatError as error:
        refusal = str(error)
    assert refusal.isprintable()


@given(trees)
@settings(deadline=None)
def test_any_tree_is_read_or_refused_and_its_words_always_read(tree: Tree):
    data = write_database(tree)
    for read in (read_snapshots, read_records, read_leases):
        refusal_of(read, data)
    read_words(data)


@given(st.data())
@settings(deadline=None)
def test_a_flipped_bit_in_an_engine_s_database_is_read_or_refused(data: st.DataObject):
    raw = bytearray(harvested("26.1", "snapshots"))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for read in (read_snapshots, read_words):
        refusal_of(read, bytes(raw))
