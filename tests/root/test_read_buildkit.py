from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.trees import DIRECTORY, FIFO, Link, place, plant, within

from gcd.demo.buildcache import BuildDatabases, database
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.root import buildkit
from gcd.root.buildkit import read_build_cache
from gcd.root.databases import Busy
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from pathlib import Path

OK = SourceState(Coverage.OK)
A, N, L = "a" * 25, "n" * 25, "l" * 25
CHAIN = f"sha256:{'1' * 64}"
NAMES = {
    "snapshots.db": Source.BUILD_SNAPSHOTS,
    "metadata_v2.db": Source.BUILD_RECORDS,
    "containerdmeta.db": Source.BUILD_LEASES,
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    databases = BuildDatabases()
    databases.superseded(A, CHAIN, N)
    databases.record("r" * 25, committed=True, snapshot=N)
    databases.lease(L, [N])
    databases.write(tmp_path)
    return tmp_path / "buildkit"


def read(tmp_path: Path):
    with open_root(str(tmp_path)) as root, within(5):
        return read_build_cache(root, sleep=lambda _seconds: None)


def test_three_sound_databases(tmp_path, home):
    cache, states = read(tmp_path)
    assert states == dict.fromkeys(NAMES.values(), OK)
    assert (cache.snapshots.keys(), cache.records.keys(), cache.leases.keys()) == ({A, N}, {"r" * 25}, {L})
    assert cache.snapshots[N].dir_id == A
    assert cache.named == {A, N, L, "r" * 25}
    assert cache.chains == {CHAIN}
    assert cache.databases.keys() == NAMES.keys()
    assert all(isinstance(reading, Present) for reading in cache.databases.values())
    assert (home / "snapshots.db").exists()


def test_no_buildkit_is_absent(tmp_path):
    cache, states = read(tmp_path)
    assert states == dict.fromkeys(NAMES.values(), SourceState(Coverage.ABSENT, "buildkit is not there"))
    assert (cache.snapshots, cache.named, cache.databases) == ({}, frozenset(), dict.fromkeys(NAMES, ABSENT))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("planted", "reading", "coverage", "why"),
    [
        (None, ABSENT, Coverage.ABSENT, "is not there"),
        (b"", EMPTY, Coverage.ABSENT, "is empty"),
        (
            FIFO,
            Malformed("a regular file", "a FIFO, socket or device"),
            Coverage.UNREADABLE,
            "is not a regular file but a FIFO, socket or device",
        ),
        (
            Link("cache.db"),
            Malformed("a regular file", "a symlink"),
            Coverage.UNREADABLE,
            "is not a regular file but a symlink",
        ),
    ],
)
def test_what_stands_in_a_databases_place(tmp_path, home, name, planted, reading, coverage, why):
    (home / name).unlink()
    if planted is not None:
        place(home / name, planted)
    cache, states = read(tmp_path)
    assert cache.databases[name] == reading
    assert states.pop(NAMES[name]) == SourceState(coverage, f"buildkit/{name} {why}")
    assert states == {source: OK for other, source in NAMES.items() if other != name}


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_database_is_unreadable_and_the_others_are_read(tmp_path, home, name):
    content = (home / name).read_bytes()
    place(home / name, content[:8192] + b"\xff" * (len(content) - 8192))
    cache, states = read(tmp_path)
    assert isinstance(cache.databases[name], Malformed)
    assert states[NAMES[name]].coverage is Coverage.UNREADABLE
    assert states[NAMES[name]].why.startswith(f"buildkit/{name} is damaged: ")
    assert [state.coverage for source, state in states.items() if source != NAMES[name]] == [Coverage.OK] * 2


def test_what_a_database_names_counts_even_where_its_records_are_not_understood(tmp_path, home):
    place(home / "snapshots.db", database({N: {"committed": "../../etc"}, A: {"parent": ""}}))
    cache, states = read(tmp_path)
    assert states[Source.BUILD_SNAPSHOTS].coverage is Coverage.UNREADABLE
    assert cache.snapshots == {}
    assert {A, N} <= cache.named


def test_a_database_that_never_rests_is_busy(tmp_path, home, monkeypatch):
    monkeypatch.setattr(buildkit, "copy_database", lambda *_args, **_more: Busy(11))
    cache, states = read(tmp_path)
    assert cache.databases == dict.fromkeys(NAMES, Unreadable("EBUSY"))
    assert states[Source.BUILD_LEASES] == SourceState(
        Coverage.BUSY, "buildkit/containerdmeta.db changed during each of 11 attempts to read it"
    )
    assert home.is_dir()


@pytest.mark.parametrize("planted", [b"any bytes", DIRECTORY])
def test_the_records_of_old_engines_are_not_understood_rather_than_absent(tmp_path, home, planted):
    (home / "metadata_v2.db").unlink()
    plant(home, {"metadata.db": planted})
    states = read(tmp_path)[1]
    assert states[Source.BUILD_RECORDS] == SourceState(
        Coverage.UNREADABLE,
        "buildkit/metadata.db was written by Docker 18.09 or 19.03, whose cache records gcd does not read",
    )
    assert states[Source.BUILD_SNAPSHOTS] == OK


def test_an_old_database_beside_the_new_one_does_not_matter(tmp_path, home):
    plant(home, {"metadata.db": b"left behind by the migration"})
    assert read(tmp_path)[1][Source.BUILD_RECORDS] == OK


def test_a_symlink_in_the_place_of_buildkit_is_not_followed(tmp_path, home):
    home.rename(tmp_path / "aside")
    home.symlink_to("aside")
    cache, states = read(tmp_path)
    why = "buildkit is not a directory but a symlink"
    assert states == dict.fromkeys(NAMES.values(), SourceState(Coverage.UNREADABLE, why))
    assert cache.databases == dict.fromkeys(NAMES, Malformed("a directory", "a symlink"))
