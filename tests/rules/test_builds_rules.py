"""GCD501 to GCD504: BuildKit's databases, and the dirs of its cache."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.inventories import (
    BASE_LINK,
    TOP_CHAIN,
    TOP_DIFF,
    YOUNG_NS,
    build_id,
    digest,
    dir_id,
    faults,
    healthy_inventory,
    hex64,
    layer,
    layer_dir,
    link_id,
    with_records,
    without,
)

from gcd.formats.buildkit import read_leases, read_records, read_snapshots
from gcd.model.facts import BuildLease, BuildRecord, BuildSnapshot, RemovingRecord, SnapshotKind
from gcd.model.finding import Node, NodeKind, Severity
from gcd.model.ids import ChainId, is_build_id
from gcd.model.inventory import Source
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.rules import builds

A, B, N = build_id("a"), build_id("b"), build_id("n")
DATABASE = "buildkit/snapshots.db"
BOLT_FILES = Path(__file__).parent.parent / "data" / "bolt"


def build_dir(name: str, **changes):
    return layer_dir(build_id(name), link_id(name), (BASE_LINK,), **changes)


def active(name: str, parent: str = "") -> BuildSnapshot:
    return BuildSnapshot(build_id(name), SnapshotKind.ACTIVE, build_id(name), parent, None)


def superseded(name: str) -> BuildSnapshot:
    return BuildSnapshot(build_id(name), SnapshotKind.SUPERSEDED, build_id(name), "", None)


def committed(name: str, of: str, chain: str | None = None) -> BuildSnapshot:
    return BuildSnapshot(build_id(name), SnapshotKind.COMMITTED, build_id(of), "", ChainId(chain) if chain else None)


def record(name: str, *, snapshot: str = "", equal_mutable: str = "") -> BuildRecord:
    return BuildRecord(build_id(name), snapshot or build_id(name), equal_mutable, "regular")


def lease(name: str, *snapshots: str, temporary: bool = False) -> BuildLease:
    return BuildLease(build_id(name), snapshots, temporary)


def with_databases(**readings):
    inventory = healthy_inventory()
    databases = {**inventory.build_cache.databases, **{f"{name}.db": r for name, r in readings.items()}}
    return replace(inventory, build_cache=replace(inventory.build_cache, databases=databases))


class TestBuildDatabaseDamaged:
    check = builds.build_database_damaged

    @pytest.mark.parametrize("name", ["snapshots", "metadata_v2", "containerdmeta"])
    def test_malformed_is_critical(self, name):
        inventory = with_databases(**{name: Malformed("a valid meta page", "zeros")})

        (fault,) = faults(self.check, inventory, f"buildkit/{name}.db")

        assert fault.subject == Node(NodeKind.DATABASE, f"buildkit/{name}.db")
        assert (fault.severity, self.check.severity) == (None, Severity.CRITICAL)

    def test_a_bad_disk_is_an_error(self):
        (fault,) = faults(self.check, with_databases(snapshots=Unreadable("EIO")), DATABASE)

        assert fault.severity is Severity.ERROR

    @pytest.mark.parametrize("reading", [Present(7), ABSENT, EMPTY, Unreadable("EBUSY"), Unreadable("EACCES")])
    def test_not_damage(self, reading):
        assert faults(self.check, with_databases(snapshots=reading), DATABASE) == []

    def test_databases_of_others_are_another_codes(self):
        inventory = healthy_inventory(databases={"volumes/metadata.db": Malformed("a meta page", "zeros")})

        assert faults(self.check, inventory, "volumes/metadata.db") == []
        assert faults(self.check, with_databases(snapshots=Malformed("x", "y")), "snapshots.db") == []

    def test_a_database_that_was_not_looked_for(self):
        assert faults(self.check, healthy_inventory(), "buildkit/history.db") == []

    def test_runs_whatever_was_not_read(self):
        assert self.check.needs == frozenset()


class TestMissingBuildDir:
    check = builds.missing_build_dir

    def test_of_an_active_snapshot(self):
        (fault,) = faults(self.check, with_records(healthy_inventory(), active("a")), A)

        assert fault.subject == Node(NodeKind.BUILD_SNAPSHOT, A)
        assert [(item.where, item.found) for item in fault.evidence] == [(f"overlay2/{A}", "absent")]

    def test_is_there(self):
        inventory = with_records(healthy_inventory(), active("a"), committed("n", "a"), build_dir("a"))

        assert [faults(self.check, inventory, name) for name in (A, N)] == [[], []]

    def test_the_owner_speaks_for_a_committed_name(self):
        inventory = with_records(healthy_inventory(), superseded("a"), committed("n", "a"))

        assert [len(faults(self.check, inventory, name)) for name in (A, N)] == [1, 0]

    def test_of_two_committed_names_without_the_owner_one_speaks(self):
        inventory = with_records(healthy_inventory(), committed("n", "a"), committed("b", "a"))

        assert [len(faults(self.check, inventory, name)) for name in sorted((N, B))] == [1, 0]

    @pytest.mark.parametrize("kind", [SnapshotKind.LAYER, SnapshotKind.LEASE])
    def test_names_without_a_dir_of_their_own(self, kind):
        snapshot = BuildSnapshot(N, kind, None, "", ChainId(digest("gone")))

        assert faults(self.check, with_records(healthy_inventory(), snapshot), N) == []

    def test_a_layer_record_that_lost_its_dir_is_the_cause(self):
        exported = layer(TOP_DIFF, A, TOP_CHAIN)
        inventory = with_records(healthy_inventory(), committed("n", "a", exported.chain_id), exported)

        (fault,) = faults(self.check, inventory, N)

        assert fault.causes == (Node(NodeKind.LAYER, exported.chain_id),)

    def test_snapshots_of_other_dirs_do_not_speak(self):
        names = sorted(build_id(f"snapshot {n}") for n in range(10))
        others = [BuildSnapshot(n, SnapshotKind.COMMITTED, B, "", None) for n in names[:-1]]
        last = BuildSnapshot(names[-1], SnapshotKind.COMMITTED, A, "", None)
        inventory = with_records(healthy_inventory(), *others, last, build_dir("b"))

        assert len(faults(self.check, inventory, last.name)) == 1

    def test_silent_on_what_vanished(self):
        assert faults(self.check, healthy_inventory(), A) == []

    def test_needs_both_sides(self):
        assert self.check.needs == {Source.BUILD_SNAPSHOTS, Source.OVERLAY2}


class TestBuildLeaseLeak:
    check = builds.build_lease_leak

    @staticmethod
    def leaked(*more: object):
        return with_records(healthy_inventory(), active("a"), build_dir("a", ctime_ns=7), lease("a", A), *more)

    def test_a_dir_that_only_a_lease_knows(self):
        (fault,) = faults(self.check, self.leaked(), A)

        assert fault.subject == Node(NodeKind.BUILD_LEASE, A)
        assert fault.paths == (f"overlay2/{A}",)
        assert fault.since_ns == 7

    def test_the_youngest_dir_gives_the_age(self):
        inventory = self.leaked(active("b"), build_dir("b", ctime_ns=YOUNG_NS), lease("a", A, B))

        assert [fault.since_ns for fault in faults(self.check, inventory, A)] == [YOUNG_NS]

    @pytest.mark.parametrize(
        "more",
        [
            (record("a"),),
            (record("a"), lease("a", A, B), active("b"), build_dir("b")),
            (BuildSnapshot(A, SnapshotKind.ACTIVE, None, "", None),),
            (lease("a", A, temporary=True),),
            (lease("a", f"{A}-view"),),
            (record("n", equal_mutable=A),),
            (record("n", snapshot=A),),
            (record("b"), active("b", parent=A)),
            (record("n"), committed("n", "b"), active("b", parent=A)),
            (superseded("a"), committed("n", "a")),
            (layer(TOP_DIFF, A, TOP_CHAIN),),
        ],
        ids=[
            "its own record",
            "a record of its name",
            "no dir",
            "temporary",
            "view",
            "mutable of a record",
            "snapshot of a record",
            "parent",
            "parent of a committed one's dir",
            "committed",
            "a layer by now",
        ],
    )
    def test_not_leaked(self, more):
        assert faults(self.check, self.leaked(*more), A) == []

    def test_a_lease_whose_dir_is_gone(self):
        assert faults(self.check, without(self.leaked(), Node(NodeKind.LAYER_DIR, A)), A) == []

    def test_silent_on_what_vanished(self):
        assert faults(self.check, self.leaked(), B) == []

    def test_another_record_does_not_help(self):
        assert len(faults(self.check, self.leaked(record("b"), active("b"), build_dir("b")), A)) == 1

    def test_needs_all_three_databases(self):
        assert {Source.BUILD_LEASES, Source.BUILD_RECORDS, Source.BUILD_SNAPSHOTS, Source.OVERLAY2} <= self.check.needs


class TestBuildDatabaseMissing:
    check = builds.build_database_missing

    @pytest.mark.parametrize(("reading", "word"), [(ABSENT, "absent"), (EMPTY, "empty")])
    def test_while_build_dirs_exist(self, reading, word):
        inventory = with_records(with_databases(snapshots=reading), build_dir("a"), build_dir("b"))

        (fault,) = faults(self.check, inventory, DATABASE)

        assert fault.summary == f"BuildKit's buildkit/snapshots.db is {word}, but 2 build dirs are there."
        assert [item.where for item in fault.evidence] == [DATABASE, *(f"overlay2/{d}" for d in sorted((A, B)))]

    def test_evidence_is_bounded(self):
        inventory = with_records(with_databases(snapshots=ABSENT), *(build_dir(f"dir {n}") for n in range(20)))

        (fault,) = faults(self.check, inventory, DATABASE)

        assert len(fault.evidence) == 9
        assert "20 build dirs" in fault.summary

    def test_without_build_dirs_it_was_never_used(self):
        assert faults(self.check, with_databases(snapshots=ABSENT), DATABASE) == []

    def test_build_dirs_that_are_layers(self):
        removing = RemovingRecord(f"{hex64('x')}-{hex64('y')}-removing", ChainId(digest("x")), Present(B), ABSENT, 1)
        inventory = with_records(
            with_databases(snapshots=ABSENT), build_dir("a"), layer(TOP_DIFF, A, TOP_CHAIN), build_dir("b"), removing
        )

        assert faults(self.check, inventory, DATABASE) == []

    @pytest.mark.parametrize("reading", [Present(1), Malformed("a", "b"), Unreadable("EBUSY")])
    def test_a_database_that_is_there(self, reading):
        assert faults(self.check, with_records(with_databases(snapshots=reading), build_dir("a")), DATABASE) == []

    def test_dirs_of_another_form_are_no_build_dirs(self):
        """An orphan of a killed pull is nobody's cache."""
        pulled = layer_dir(dir_id("pulled"), link_id("pulled"), (BASE_LINK,))

        assert faults(self.check, with_records(with_databases(snapshots=ABSENT), pulled), DATABASE) == []

    def test_other_databases_are_no_matter(self):
        inventory = with_records(with_databases(metadata_v2=ABSENT), build_dir("a"))

        assert faults(self.check, inventory, "buildkit/metadata_v2.db") == []


class TestDatabasesThatEnginesWrote:
    """The databases of three engines after builds of every kind; the dirs are made up to fit."""

    @staticmethod
    def stored(version: str, name: str) -> bytes:
        return gzip.decompress((BOLT_FILES / version / f"{name}.db.gz").read_bytes())

    @pytest.fixture(params=["20.10", "26.1", "28.5"])
    def inventory(self, request):
        cache = replace(
            healthy_inventory().build_cache,
            snapshots=read_snapshots(self.stored(request.param, "snapshots")),
            records=read_records(self.stored(request.param, "metadata_v2")),
            leases=read_leases(self.stored(request.param, "containerdmeta")),
        )
        dirs = {s.dir_id for s in cache.snapshots.values() if s.dir_id is not None}
        assert len(dirs) > 5
        made = (layer_dir(d, link_id(d), (BASE_LINK,)) for d in sorted(dirs))
        return with_records(healthy_inventory(build_cache=cache), *made)

    @staticmethod
    def missing(inventory):
        return [
            f for name in inventory.build_cache.snapshots for f in faults(builds.missing_build_dir, inventory, name)
        ]

    @staticmethod
    def leaks(inventory):
        leases = inventory.build_cache.leases
        return [f.subject.id for name in leases for f in faults(builds.build_lease_leak, inventory, name)]

    def test_healthy(self, inventory):
        assert self.missing(inventory) == []
        assert self.leaks(inventory) == []

    def test_each_dir_is_missed_once(self, inventory):
        for gone in [d for d in inventory.layer_dirs if is_build_id(d)]:
            found = self.missing(without(inventory, Node(NodeKind.LAYER_DIR, gone)))
            assert [fault.evidence[0].where for fault in found] == [f"overlay2/{gone}"]

    def test_a_lost_cache_record_leaves_a_leak(self, inventory):
        """Unless another record needs the dir: an unfinished pair has one record, and two names."""
        cache = inventory.build_cache
        active_ones = [s.name for s in cache.snapshots.values() if s.kind is SnapshotKind.ACTIVE]
        lost = [name for name in active_ones if name in cache.records and name in cache.leases]
        assert lost
        for name in lost:
            others = {id_: kept for id_, kept in cache.records.items() if id_ != name}
            needed = any(name in (kept.equal_mutable, kept.snapshot) for kept in others.values())
            less = replace(inventory, build_cache=replace(cache, records=others))
            assert self.leaks(less) == ([] if needed else [name])
