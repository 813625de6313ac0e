"""GCD801 to GCD805: what could not be read, other stores, the engine's own files, several engines."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.inventories import faults, healthy_inventory

from gcd.model.facts import DormantStore, Engine, EngineState, Volume
from gcd.model.finding import Node, NodeKind, Severity
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.rules import host

VOLUMES = "volumes/metadata.db"


def with_source(source: Source, coverage: Coverage, why: str = ""):
    inventory = healthy_inventory()
    return healthy_inventory(sources={**inventory.sources, source: SourceState(coverage, why)})


class TestSourceUnreadable:
    check = host.source_unreadable

    @pytest.mark.parametrize(
        ("coverage", "effect"),
        [(Coverage.PARTIAL, "could not be read in full"), (Coverage.UNREADABLE, "could not be read")],
    )
    def test_says_which_and_why(self, coverage, effect):
        inventory = with_source(Source.IMAGES, coverage, "image/overlay2/imagedb cannot be listed (EACCES)")

        (fault,) = faults(self.check, inventory, "images")

        assert fault.subject == Node(NodeKind.SOURCE, "images")
        assert fault.summary == f"The source images {effect}: image/overlay2/imagedb cannot be listed (EACCES)."

    @pytest.mark.parametrize("coverage", [Coverage.OK, Coverage.BUSY, Coverage.ABSENT])
    def test_not_a_fault(self, coverage):
        assert faults(self.check, with_source(Source.IMAGES, coverage), "images") == []

    def test_another_source_is_another_finding(self):
        assert faults(self.check, with_source(Source.IMAGES, Coverage.PARTIAL), "layers") == []

    def test_a_damaged_build_database_is_another_codes(self):
        """One damage, one finding: GCD501 speaks of the file, and the rules that need it are not checked."""
        inventory = with_source(Source.BUILD_SNAPSHOTS, Coverage.UNREADABLE, "buildkit/snapshots.db is damaged")
        damaged = replace(
            inventory,
            build_cache=replace(inventory.build_cache, databases={"snapshots.db": Malformed("a meta page", "zeros")}),
        )

        assert len(faults(self.check, inventory, "build-snapshots")) == 1
        assert faults(self.check, damaged, "build-snapshots") == []

    @pytest.mark.parametrize(
        ("reading", "count"),
        [(EMPTY, 0), (Malformed("an object", "null"), 0), (Malformed("a regular file", "a symlink"), 1)],
    )
    def test_damaged_references_are_another_codes(self, reading, count):
        inventory = with_source(Source.REPOSITORIES, Coverage.UNREADABLE, "repositories.json is what it is")
        assert len(faults(self.check, replace(inventory, repositories=reading), "repositories")) == count

    def test_runs_whatever_was_not_read(self):
        assert self.check.needs == frozenset()


class TestDormantStore:
    check = host.dormant_store

    def test_each_is_named(self):
        stores = (DormantStore("vfs", "vfs"), DormantStore("165536.165536", "overlay2"))
        inventory = healthy_inventory(dormant=stores)

        assert [[fault.paths for fault in faults(self.check, inventory, store.path)] for store in stores] == [
            [("vfs",)],
            [("165536.165536",)],
        ]
        assert self.check.severity is Severity.INFO

    def test_none(self):
        assert faults(self.check, healthy_inventory(), "vfs") == []


class TestDatabaseDamaged:
    check = host.database_damaged

    @pytest.mark.parametrize("path", [VOLUMES, "network/files/local-kv.db"])
    @pytest.mark.parametrize("reading", [Malformed("a valid meta page", "zeros"), Unreadable("EIO")])
    def test_damaged(self, path, reading):
        (fault,) = faults(self.check, healthy_inventory(databases={path: reading}), path)

        assert fault.subject == Node(NodeKind.DATABASE, path)
        assert (fault.severity, self.check.severity) == (None, Severity.CRITICAL)

    @pytest.mark.parametrize("reading", [Present(1), ABSENT, EMPTY, Unreadable("EACCES"), Unreadable("EBUSY")])
    def test_not_damaged(self, reading):
        assert faults(self.check, healthy_inventory(databases={VOLUMES: reading}), VOLUMES) == []

    def test_a_database_of_buildkit_is_another_codes(self):
        assert faults(self.check, healthy_inventory(), "buildkit/snapshots.db") == []


class TestSeveralEngines:
    check = host.several_engines

    def test_all_are_named(self):
        engine = Engine(EngineState.RUNNING, pid=10, doubts=("several engines",), others=(30, 20))

        (fault,) = faults(self.check, healthy_inventory(engine=engine), "engine")

        assert fault.summary == "Further engines hold files of this root: pid 20, 30."

    @pytest.mark.parametrize("engine", [Engine(EngineState.STOPPED), Engine(EngineState.RUNNING, pid=10, epoch_ns=1)])
    def test_one_or_none(self, engine):
        assert faults(self.check, healthy_inventory(engine=engine), "engine") == []


class TestUnreadableVolumeOptions:
    check = host.unreadable_volume_options

    def found(self, options):
        return faults(self.check, healthy_inventory(volumes={"mail": Volume("mail", options)}), "mail")

    @pytest.mark.parametrize("options", [EMPTY, Malformed("an object", "an array"), Malformed("JSON", "'{'")])
    def test_options_at_which_the_engine_does_not_start(self, options):
        (fault,) = self.found(options)

        assert fault.subject == Node(NodeKind.VOLUME, "mail")
        assert [item.where for item in fault.evidence] == ["volumes/mail/opts.json"]
        assert (fault.severity, fault.paths, fault.remedies) == (None, (), None)
        assert self.check.remedies == ()

    @pytest.mark.parametrize("options", [Malformed("a regular file", "a directory"), Unreadable("EIO")])
    def test_options_that_the_engine_passes_over(self, options):
        assert [fault.severity for fault in self.found(options)] == [Severity.ERROR]

    @pytest.mark.parametrize(
        "options", [ABSENT, Present(None), Malformed("a regular file", "a symlink"), Unreadable("EACCES")]
    )
    def test_not_a_fault(self, options):
        """A plain volume, one with sound options, and options that only the engine can reach."""
        assert self.found(options) == []
