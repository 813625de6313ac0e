"""GCD601 to GCD605: what interrupted work left behind."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.inventories import (
    BASE_CHAIN,
    BASE_DIR,
    BASE_LINK,
    CONTAINER,
    OLD_NS,
    TOP_CHAIN,
    TOP_DIR,
    TOP_LINK,
    YOUNG_NS,
    build_id,
    container,
    dir_id,
    faults,
    graph_of,
    healthy_inventory,
    hex64,
    layer_dir,
    link_id,
    symlink,
    with_records,
)

from gcd.model.facts import (
    BuildSnapshot,
    Engine,
    EngineState,
    Plugin,
    RemovingRecord,
    Repositories,
    SnapshotKind,
    TemporaryFile,
    WriteSet,
)
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ChainId
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.rules import leftovers

LEFT = dir_id("left")
LEFT_LINK = link_id("left")
WRITE_SET = "write-set-731940216"
WRITE_SET_PATH = f"image/overlay2/layerdb/tmp/{WRITE_SET}"
REMOVING = f"{hex64('gone')}-{hex64('random')}-removing"
REMOVING_PATH = f"image/overlay2/layerdb/sha256/{REMOVING}"


def write_set(cache_id=ABSENT, ctime_ns: int = OLD_NS):
    return WriteSet(WRITE_SET, cache_id, ctime_ns)


def removing(cache_id=ABSENT, name: str = REMOVING, ctime_ns: int = OLD_NS):
    return RemovingRecord(name, ChainId(f"sha256:{name[:64]}"), cache_id, ABSENT, ctime_ns)


def left_dir(**changes):
    return layer_dir(LEFT, LEFT_LINK, **changes)


class TestAbandonedWriteSet:
    check = leftovers.abandoned_write_set

    @pytest.mark.parametrize("cache_id", [ABSENT, EMPTY, Present(LEFT)])
    def test_one_whose_dir_is_unknown_or_gone(self, cache_id):
        (fault,) = faults(self.check, with_records(healthy_inventory(), write_set(cache_id)), WRITE_SET)

        assert fault.subject == Node(NodeKind.WRITE_SET, WRITE_SET)
        assert fault.paths == (WRITE_SET_PATH,)
        assert fault.since_ns == OLD_NS

    def test_takes_along_the_dir_that_it_alone_names(self):
        inventory = with_records(
            healthy_inventory(), write_set(Present(LEFT)), left_dir(ctime_ns=YOUNG_NS), symlink(LEFT_LINK, LEFT)
        )

        (fault,) = faults(self.check, inventory, WRITE_SET)

        assert fault.paths == (WRITE_SET_PATH, f"overlay2/{LEFT}", f"overlay2/l/{LEFT_LINK}")
        assert fault.since_ns == YOUNG_NS

    def test_leaves_a_dir_that_something_else_names(self):
        """BuildKit exports a dir of its own: the write set names it, and so does the snapshot."""
        snapshot = BuildSnapshot(LEFT, SnapshotKind.ACTIVE, LEFT, "", None)
        inventory = with_records(healthy_inventory(), write_set(Present(LEFT)), left_dir(), snapshot)

        (fault,) = faults(self.check, inventory, WRITE_SET)

        assert fault.paths == (WRITE_SET_PATH,)
        assert fault.remedies is None

    def test_a_young_one_keeps_its_age(self):
        inventory = with_records(healthy_inventory(), write_set(ctime_ns=YOUNG_NS))
        assert [fault.since_ns for fault in faults(self.check, inventory, WRITE_SET)] == [YOUNG_NS]

    def test_silent_on_one_that_became_a_record_meanwhile(self):
        assert faults(self.check, healthy_inventory(), WRITE_SET) == []


class TestRemovingLayer:
    check = leftovers.removing_layer

    def test_frees_record_dir_and_symlink(self):
        inventory = with_records(healthy_inventory(), removing(Present(LEFT)), left_dir(), symlink(LEFT_LINK, LEFT))

        (fault,) = faults(self.check, inventory, REMOVING)

        assert fault.paths == (REMOVING_PATH, f"overlay2/{LEFT}", f"overlay2/l/{LEFT_LINK}")
        assert (fault.since_ns, fault.remedies) == (OLD_NS, None)

    @pytest.mark.parametrize("cache_id", [ABSENT, EMPTY, Present(LEFT)])
    def test_frees_the_record_where_no_dir_is_left(self, cache_id):
        (fault,) = faults(self.check, with_records(healthy_inventory(), removing(cache_id)), REMOVING)
        assert (fault.paths, fault.remedies) == ((REMOVING_PATH,), None)

    @pytest.mark.parametrize("young", [YOUNG_NS])
    def test_the_younger_of_record_and_dir_tells_the_age(self, young):
        record = with_records(healthy_inventory(), removing(Present(LEFT), ctime_ns=young), left_dir())
        its_dir = with_records(healthy_inventory(), removing(Present(LEFT)), left_dir(ctime_ns=young))
        assert [f.since_ns for i in (record, its_dir) for f in faults(self.check, i, REMOVING)] == [young, young]

    def test_never_with_the_dir_of_a_living_chain(self):
        """The engine would delete that dir at its next orderly stop: seen on 20.10.24."""
        (fault,) = faults(self.check, with_records(healthy_inventory(), removing(Present(TOP_DIR))), REMOVING)

        assert (fault.paths, fault.remedies) == ((), ())
        assert f"in use: layer {TOP_CHAIN}, " in fault.summary
        assert fault.evidence[1].found == TOP_DIR

    def test_never_with_a_dir_that_only_the_lower_of_a_living_one_leads_to(self):
        """The duplicate dir of a BuildKit export: no record names it."""
        above = layer_dir(dir_id("above"), link_id("above"), (LEFT_LINK,))
        inventory = with_records(
            healthy_inventory(), removing(Present(LEFT)), left_dir(), symlink(LEFT_LINK, LEFT), above
        )

        (fault,) = faults(self.check, inventory, REMOVING)

        assert (fault.paths, fault.remedies) == ((), ())
        assert f"layer-dir {above.id}" in fault.summary

    def test_never_with_the_dir_of_a_build(self):
        dir_of_build = build_id("left")
        snapshot = BuildSnapshot(dir_of_build, SnapshotKind.ACTIVE, dir_of_build, "", None)
        inventory = with_records(
            healthy_inventory(), removing(Present(dir_of_build)), layer_dir(dir_of_build, LEFT_LINK), snapshot
        )
        assert [fault.remedies for fault in faults(self.check, inventory, REMOVING)] == [()]

    def test_a_layer_on_it_that_is_being_removed_too_does_not_keep_it(self):
        second = f"{hex64('above')}-{hex64('random')}-removing"
        above = layer_dir(dir_id("above"), link_id("above"), (LEFT_LINK,))
        inventory = with_records(
            healthy_inventory(),
            *(removing(Present(LEFT)), left_dir(), symlink(LEFT_LINK, LEFT)),
            *(removing(Present(above.id), second), above),
        )

        assert faults(self.check, inventory, REMOVING)[0].paths[1] == f"overlay2/{LEFT}"
        assert faults(self.check, inventory, second)[0].paths[1] == f"overlay2/{above.id}"


class TestTemporaryFile:
    check = leftovers.temporary_file

    def found(self, inventory, path):
        inventory = replace(inventory, temporaries={path: TemporaryFile(path, OLD_NS)})
        return [fault.paths for fault in faults(self.check, inventory, path)]

    @pytest.mark.parametrize(
        "path",
        [
            f"overlay2/{TOP_DIR}/.tmp-link1",
            f"overlay2/{TOP_DIR}/.tmp-lower1",
            f"overlay2/{TOP_DIR}/.tmp-committed1",
            f"image/overlay2/imagedb/content/sha256/.tmp-{hex64('image')}1",
            "image/overlay2/.tmp-repositories.json1",
            f"containers/{CONTAINER}/.tmp-config.v2.json1",
            f"containers/{CONTAINER}/.tmp-hostconfig.json1",
        ],
    )
    def test_beside_a_sound_file(self, path):
        assert self.found(healthy_inventory(), path) == [(path,)]

    def test_keeps_its_age(self):
        path = f"overlay2/{TOP_DIR}/.tmp-link1"
        inventory = healthy_inventory(temporaries={path: TemporaryFile(path, YOUNG_NS)})
        assert [fault.since_ns for fault in faults(self.check, inventory, path)] == [YOUNG_NS]

    @pytest.mark.parametrize("reading", [EMPTY, ABSENT, Present(Repositories({}))])
    def test_a_copy_of_lost_references_may_bring_them_back(self, reading):
        inventory = healthy_inventory(repositories=reading)
        assert self.found(inventory, "image/overlay2/.tmp-repositories.json1") == []

    def test_a_copy_of_a_damaged_config_may_mend_it(self):
        config = with_records(healthy_inventory(), container(config=EMPTY))
        host_config = with_records(healthy_inventory(), container(host_config=EMPTY))
        names = [f"containers/{CONTAINER}/.tmp-{name}1" for name in ("config.v2.json", "hostconfig.json")]
        assert [bool(self.found(config, name)) for name in names] == [False, True]
        assert [bool(self.found(host_config, name)) for name in names] == [True, False]

    def test_a_copy_of_a_missing_link_may_tell_it(self):
        inventory = with_records(healthy_inventory(), layer_dir(TOP_DIR, EMPTY, (BASE_LINK,)))
        assert self.found(inventory, f"overlay2/{TOP_DIR}/.tmp-link1") == []
        assert self.found(inventory, f"overlay2/{TOP_DIR}/.tmp-lower1") != []

    def test_goes_with_the_orphaned_dir_that_it_lies_in(self):
        assert self.found(with_records(healthy_inventory(), left_dir()), f"overlay2/{LEFT}/.tmp-lower1") == []


class TestEngineTemporaryFile:
    check = leftovers.engine_temporary_file
    path = "tmp/GetImageBlob481516234"

    def found(self, state: EngineState, ctime_ns: int):
        inventory = healthy_inventory(
            engine=Engine(state), engine_temporaries={self.path: TemporaryFile(self.path, ctime_ns)}
        )
        return [(fault.paths, fault.since_ns) for fault in faults(self.check, inventory, self.path)]

    def test_older_than_the_engine(self):
        assert self.found(EngineState.RUNNING, OLD_NS) == [((self.path,), OLD_NS)]

    def test_of_work_under_way(self):
        assert self.found(EngineState.RUNNING, YOUNG_NS) == []

    def test_with_the_engine_stopped_age_decides_how_sure_it_is(self):
        assert self.found(EngineState.STOPPED, YOUNG_NS) == [((self.path,), YOUNG_NS)]


class TestPluginRemains:
    check = leftovers.plugin_remains
    name = hex64("plugin")

    def found(self, name: str, config):
        inventory = healthy_inventory(plugins={name: Plugin(name, config, OLD_NS)})
        return [(fault.paths, fault.since_ns) for fault in faults(self.check, inventory, name)]

    @pytest.mark.parametrize("config", [ABSENT, Present(None), EMPTY])
    def test_one_that_is_being_removed(self, config):
        name = f"{self.name}-removing"
        assert self.found(name, config) == [((f"plugins/{name}",), OLD_NS)]

    def test_one_without_a_config(self):
        assert self.found(self.name, ABSENT) == [((f"plugins/{self.name}",), OLD_NS)]

    @pytest.mark.parametrize("config", [Present(None), EMPTY, Malformed("an object", "'x'"), Unreadable("EIO")])
    def test_one_with_a_config_of_whatever_kind_is_left_alone(self, config):
        assert self.found(self.name, config) == []


def test_all_are_silent_on_what_is_not_there():
    for check in leftovers.RULES:
        assert faults(check, healthy_inventory(), "x") == []


def test_what_unfinished_work_names_is_no_orphan():
    inventory = with_records(healthy_inventory(), removing(Present(LEFT)), left_dir())
    assert not graph_of(inventory).is_orphaned_dir(inventory.layer_dirs[LEFT])
    assert {BASE_CHAIN, TOP_CHAIN}.isdisjoint(graph_of(inventory).unkept_layers)
    assert {BASE_DIR, TOP_DIR} <= graph_of(inventory).live_dirs
    assert TOP_LINK in graph_of(inventory).claimants
