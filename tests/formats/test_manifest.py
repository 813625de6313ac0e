"""``manifest.json``: written and read back without loss, and whatever is not gcd's own hand is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from support.units import finding_for

from gcd.formats.manifest import is_entry_id, is_item_path, manifest_bytes, parse_manifest
from gcd.model.entry import EntryId, Ground, Item, Made, Manifest, Operation, RunId, Taken, order_of
from gcd.model.errors import FormatError
from gcd.model.facts import FileType
from gcd.model.finding import (
    Acceptance,
    Applicability,
    Evidence,
    FindingId,
    Impact,
    Moment,
    Node,
    NodeKind,
    Remedy,
    RemedyKind,
)
from gcd.model.ids import ChainId, LayerDirId, LinkId

TAKEN = Taken(FileType.DIRECTORY, 0o710, 0, 0, 64768, 12, None, 4096)
DIR = LayerDirId("a" * 64)

names = st.binary(min_size=1, max_size=255).map(lambda raw: raw.replace(b"/", b"x").replace(b"\0", b"y"))
paths = (
    st.lists(names.filter(lambda name: name not in {b".", b"..", b".gcd"}), min_size=1, max_size=4)
    .map(lambda parts: b"/".join(parts).decode("utf-8", "surrogateescape"))
    .filter(is_item_path)
)


def made_of(kind, **fields):
    """As `st.builds`, which asks a kind for the types of its fields: some are known to type checkers alone."""
    return st.fixed_dictionaries(fields).map(lambda found: kind(**found))


texts = st.binary(max_size=20).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
numbers = st.integers(min_value=-(2**63), max_value=2**64 - 1)
takens = made_of(
    Taken,
    type=st.sampled_from(FileType),
    mode=st.integers(0, 0o7777),
    uid=numbers,
    gid=numbers,
    device=numbers,
    inode=numbers,
    label=st.none() | texts,
    disk_bytes=numbers,
)
mades = made_of(Made, type=st.sampled_from(FileType), sha256=st.sampled_from(["", "ab" * 32]), size=numbers)


def manifest(**fields):
    return replace(
        Manifest(
            entry=EntryId("20261128T091236-0001"),
            run=RunId("run-1"),
            operation=Operation.QUARANTINE,
            made_ns=1,
            boot_id="boot",
            engine_id="",
            store_inode=2,
            finding=finding_for(f"overlay2/{DIR}"),
            items=(Item(f"overlay2/{DIR}", TAKEN),),
            ground=Ground({}, {}),
        ),
        **fields,
    )


def changed(**fields):
    """A manifest's bytes in which some members are others; `...` leaves one out."""
    value = json.loads(manifest_bytes(manifest())) | fields
    return json.dumps({key: member for key, member in value.items() if member is not ...}).encode()


@given(
    items=st.lists(made_of(Item, path=paths, taken=takens, made=st.none() | mades), min_size=1, max_size=3),
    summary=texts,
    since_ns=st.none() | numbers,
)
def test_a_manifest_comes_back_as_it_was(items, summary, since_ns):
    finding = replace(
        finding_for("overlay2/x"),
        summary=summary,
        since_ns=since_ns,
        evidence=(Evidence(summary, "expected", "found"),),
        remedies=(Remedy(RemedyKind.REPAIR, Moment.STOPPED, Applicability.OPT_IN, summary),),
        related=(Node(NodeKind.LAYER, summary),),
        impact=Impact((summary,), ("web",)),
        blocked_by=(FindingId(summary),),
        cause=FindingId("GCD203:layer:x"),
        inodes=3,
        accepted=Acceptance("GCD*", summary, until_ns=since_ns),
    )
    ground = Ground({ChainId("sha256:" + "b" * 64): DIR}, {LinkId("A" * 26): DIR})
    written = manifest(operation=Operation.REPAIR, finding=finding, items=tuple(items), ground=ground)

    assert parse_manifest(manifest_bytes(written)) == written


@given(st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_a_format_error(raw):
    with pytest.raises(FormatError):
        parse_manifest(raw)


def test_a_name_that_is_not_utf8_is_kept_beside_its_escaped_form():
    item = json.loads(manifest_bytes(manifest(items=(Item("overlay2/\udcff\n", TAKEN),))))["items"][0]

    assert item["path"] == {"text": "overlay2/\\xff\\n", "base64": "b3ZlcmxheTIv/wo="}


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/etc/passwd", "..", "../x", "overlay2/../../etc", "overlay2/.", "overlay2//x", "overlay2/", ".gcd",
        ".gcd/entries/x", "a\0b", "x" * 256, "/".join(["x" * 200] * 21),
    ],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_is_refused(path):
    items = json.loads(manifest_bytes(manifest()))["items"]
    items[0]["path"] = path

    assert not is_item_path(path)
    with pytest.raises(FormatError, match="a path below the root"):
        parse_manifest(changed(items=items))


def test_a_hidden_way_up_is_refused():
    items = json.loads(manifest_bytes(manifest()))["items"]
    items[0]["path"] = {"text": "overlay2/x", "base64": "Li4veA=="}

    with pytest.raises(FormatError, match="a path below the root"):
        parse_manifest(changed(items=items))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"schema": 3}, "found schema 3, of another version of gcd"),
        ({"schema": ...}, "expected the key schema"),
        ({"new": 1}, "expected no other key, found new"),
        ({"entry": "../x"}, "expected an entry's id"),
        ({"run": "../x"}, "expected a run's id"),
        ({"operation": "format"}, "expected one of quarantine, repair"),
        ({"made_ns": "1"}, "expected a whole number"),
        ({"made_ns": 10**40}, "expected a whole number"),
        ({"made_ns": 1.5}, "expected a whole number"),
        ({"made_ns": True}, "expected a whole number"),
        ({"items": []}, "expected 1 to 10000, found 0"),
        ({"items": {}}, "expected an array"),
        ({"ground": {"parents": {"x": "y"}, "links": {}}}, "expected a chain id"),
        ({"ground": {"parents": {}, "links": {"../x": "y"}}}, "expected a link id"),
        ({"ground": {"parents": {"sha256:" + "b" * 64: "../x"}, "links": {}}}, "expected the name of a layer dir"),
        ({"engine_id": {"text": "x", "base64": "?"}}, "expected base64"),
        ({"engine_id": {"base64": ""}}, "expected a text, or text and base64"),
        ({"engine_id": "\ud800"}, "expected UTF-8"),
        ({"finding": None}, "expected an object"),
    ],
)
def test_what_is_not_gcds_own_hand_is_refused(fields, expected):
    with pytest.raises(FormatError, match=expected):
        parse_manifest(changed(**fields))


def test_a_repeated_key_is_refused():
    with pytest.raises(FormatError, match="a repeated key"):
        parse_manifest(manifest_bytes(manifest()).replace(b'"schema": 2', b'"schema": 2, "schema": 2'))


@pytest.mark.parametrize(
    "items",
    [
        (Item("a/b", TAKEN), Item("a/b/c", TAKEN)),
        (Item("a/b", TAKEN), Item("a/b", TAKEN)),
        (Item("a/b", None, Made(FileType.DIRECTORY, "", 0)),),
        (Item("a/b", TAKEN, Made(FileType.DIRECTORY, "", 0)),),
    ],
)
def test_what_moves_was_taken_and_its_items_lie_apart(items):
    with pytest.raises(FormatError, match="what was taken, apart from each other"):
        parse_manifest(manifest_bytes(manifest(items=items)))


def test_entries_are_in_the_order_in_which_they_were_made():
    names = [EntryId("20261128T091236-0010"), EntryId("20261128T091236-0009"), EntryId("20261128T091235-10000")]

    assert sorted(names, key=order_of) == [names[2], names[1], names[0]]
    assert [is_entry_id(name) for name in (*names, "x", "20261128T091236-0001/..")] == [True] * 3 + [False] * 2


def test_what_an_older_gcd_took_is_read_with_files_of_unknown_sizes():
    """Schema 1: repairs made no file of more than 64 MiB, and its size was not told."""
    made = Made(FileType.FILE, "ab" * 32, 5)
    taken = manifest(operation=Operation.REPAIR, items=(Item("a/b", TAKEN, made), Item("a/c", TAKEN)))
    value = json.loads(manifest_bytes(taken)) | {"schema": 1}
    del value["items"][0]["made"]["size"]

    older = parse_manifest(json.dumps(value).encode())

    assert older == replace(taken, items=(Item("a/b", TAKEN, replace(made, size=None)), Item("a/c", TAKEN)))
    with pytest.raises(FormatError, match="expected the key size"):
        parse_manifest(json.dumps(value | {"schema": 2}).encode())
