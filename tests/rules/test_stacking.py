"""What records say of the layers below a dir, never its own ``lower``."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.inventories import (
    BASE_CHAIN,
    BASE_DIFF,
    BASE_DIR,
    BASE_LINK,
    IMAGE,
    INIT_DIR,
    INIT_LINK,
    RW_DIR,
    RW_LAYER,
    TOP_CHAIN,
    TOP_DIFF,
    TOP_DIR,
    TOP_LINK,
    build_id,
    digest,
    dir_id,
    graph_of,
    healthy_inventory,
    layer,
    layer_dir,
    link_id,
    rw_layer,
    with_records,
    without,
)

from gcd.model.facts import BadElement, BuildSnapshot, Lower, SnapshotKind
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import DiffId
from gcd.model.reading import ABSENT, EMPTY, Present
from gcd.rules import stacking

THE_IMAGE, THE_RW_LAYER = Node(NodeKind.IMAGE, IMAGE), Node(NodeKind.RW_LAYER, RW_LAYER)
LAYER_BASE, LAYER_TOP = Node(NodeKind.LAYER, BASE_CHAIN), Node(NodeKind.LAYER, TOP_CHAIN)
BUILD, OTHER_BUILD = build_id("build"), build_id("other build")
NOT_TOLD = stacking._UNKNOWN


def below(inventory, dir_id_):
    return stacking.dir_below(inventory, graph_of(inventory), inventory.layer_dirs[dir_id_])


def at(inventory, dir_id_, link):
    return stacking.dir_at(inventory, graph_of(inventory), inventory.layer_dirs[dir_id_], link)


def diff_ids(inventory, dir_id_):
    return stacking.diff_ids_below(inventory, graph_of(inventory), inventory.layer_dirs[dir_id_])


def top(**changes):
    return replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), **changes)


def built(parent: str, name: str = BUILD):
    """A build dir on whatever `parent` says."""
    return layer_dir(BUILD, link_id("build")), BuildSnapshot(name, SnapshotKind.ACTIVE, BUILD, parent, None)


class TestDirBelow:
    @pytest.mark.parametrize(
        ("dir_id_", "expected"),
        [(BASE_DIR, ABSENT), (TOP_DIR, Present(BASE_DIR)), (INIT_DIR, Present(TOP_DIR)), (RW_DIR, Present(INIT_DIR))],
        ids=["base", "top", "init", "rw"],
    )
    def test_of_a_healthy_root(self, dir_id_, expected):
        assert below(healthy_inventory(), dir_id_) == expected

    def test_of_an_rw_dir_without_init_the_layer(self):
        inventory = without(healthy_inventory(), Node(NodeKind.LAYER_DIR, INIT_DIR))
        assert below(inventory, RW_DIR) == Present(TOP_DIR)

    def test_of_a_container_from_scratch_none(self):
        assert below(with_records(healthy_inventory(), rw_layer(parent=None)), INIT_DIR) == ABSENT

    @pytest.mark.parametrize("parent", [ABSENT, EMPTY])
    def test_a_lost_parent_is_what_the_image_says(self, parent):
        assert below(with_records(healthy_inventory(), top(parent=parent)), TOP_DIR) == Present(BASE_DIR)

    def test_without_image_the_record_is_believed(self):
        inventory = without(healthy_inventory(), THE_IMAGE)
        assert below(inventory, TOP_DIR) == Present(BASE_DIR)
        assert below(with_records(inventory, top(parent=EMPTY)), TOP_DIR) == NOT_TOLD

    @pytest.mark.parametrize(
        "loss",
        [
            lambda i: without(i, LAYER_BASE),
            lambda i: without(i, Node(NodeKind.LAYER_DIR, BASE_DIR)),
            lambda i: with_records(i, replace(layer(BASE_DIFF, BASE_DIR), cache_id=EMPTY)),
        ],
        ids=["record gone", "dir gone", "cache-id lost"],
    )
    def test_not_told_where_the_parents_dir_is_not_known(self, loss):
        assert below(loss(healthy_inventory()), TOP_DIR) == NOT_TOLD

    def test_not_told_of_a_dir_that_no_record_names(self):
        assert below(with_records(healthy_inventory(), layer_dir(dir_id("x"), link_id("x"))), dir_id("x")) == NOT_TOLD

    @pytest.mark.parametrize(
        ("parent", "expected"),
        [("", ABSENT), (TOP_CHAIN, Present(TOP_DIR)), (OTHER_BUILD, Present(TOP_DIR)), ("nobody", NOT_TOLD)],
        ids=["none", "a layer", "a build", "unknown"],
    )
    def test_of_a_build_dir_what_its_bucket_says(self, parent, expected):
        other = BuildSnapshot(OTHER_BUILD, SnapshotKind.COMMITTED, TOP_DIR, "", None)
        assert below(with_records(healthy_inventory(), *built(parent), other), BUILD) == expected

    def test_of_a_build_on_a_dir_that_is_gone_not_told(self):
        other = BuildSnapshot(OTHER_BUILD, SnapshotKind.COMMITTED, dir_id("gone"), "", None)
        assert below(with_records(healthy_inventory(), *built(OTHER_BUILD), other), BUILD) == NOT_TOLD
        bare = BuildSnapshot(OTHER_BUILD, SnapshotKind.LEASE, None, "", None)
        assert below(with_records(healthy_inventory(), *built(OTHER_BUILD), bare), BUILD) == NOT_TOLD

    def test_not_told_of_a_bucket_of_that_name_with_another_dir(self):
        inventory = with_records(healthy_inventory(), *built(""))
        other = replace(inventory.build_cache.snapshots[BUILD], dir_id=OTHER_BUILD)
        assert below(with_records(inventory, other), BUILD) == NOT_TOLD


class TestDirAt:
    @pytest.mark.parametrize(
        ("citer", "link", "place"),
        [
            (TOP_DIR, BASE_LINK, BASE_DIR),
            (INIT_DIR, TOP_LINK, TOP_DIR),
            (INIT_DIR, BASE_LINK, BASE_DIR),
            (RW_DIR, INIT_LINK, INIT_DIR),
            (RW_DIR, TOP_LINK, TOP_DIR),
            (RW_DIR, BASE_LINK, BASE_DIR),
        ],
    )
    def test_of_a_healthy_root(self, citer, link, place):
        assert at(healthy_inventory(), citer, link) == place

    def test_an_rw_layer_without_init_stands_on_the_layer_itself(self):
        bare = replace(rw_layer(), init_id=ABSENT)
        changed = layer_dir(RW_DIR, link_id("rw"), (TOP_LINK, BASE_LINK))
        assert at(with_records(healthy_inventory(), bare, changed), RW_DIR, BASE_LINK) == BASE_DIR

    def test_a_layer_counts_down_its_own_chain(self):
        third = layer(DiffId(digest("third")), dir_id("third"), TOP_CHAIN)
        inventory = with_records(
            healthy_inventory(), third, layer_dir(dir_id("third"), link_id("third"), (TOP_LINK, BASE_LINK))
        )
        assert at(inventory, dir_id("third"), BASE_LINK) == BASE_DIR

    def test_the_dir_need_not_exist(self):
        assert at(without(healthy_inventory(), Node(NodeKind.LAYER_DIR, BASE_DIR)), RW_DIR, BASE_LINK) == BASE_DIR

    def test_nothing_of_a_link_that_is_not_cited(self):
        assert at(healthy_inventory(), TOP_DIR, TOP_LINK) is None

    def test_nothing_where_depths_cannot_be_told(self):
        bad = layer_dir(TOP_DIR, TOP_LINK, Present(Lower((BASE_LINK,), (BadElement(0, "l"),))))
        assert at(with_records(healthy_inventory(), bad), TOP_DIR, BASE_LINK) is None

    def test_nothing_deeper_than_the_records_go(self):
        deep = layer_dir(TOP_DIR, TOP_LINK, (BASE_LINK, link_id("deeper"), link_id("deepest")))
        inventory = with_records(healthy_inventory(), deep)
        assert at(inventory, TOP_DIR, BASE_LINK) == BASE_DIR
        assert at(inventory, TOP_DIR, link_id("deeper")) is None
        assert at(inventory, TOP_DIR, link_id("deepest")) is None

    def test_nothing_where_a_record_on_the_way_is_gone(self):
        assert at(without(healthy_inventory(), LAYER_TOP), RW_DIR, BASE_LINK) is None
        assert at(without(healthy_inventory(), LAYER_BASE), RW_DIR, BASE_LINK) is None

    def test_of_a_build_dir_only_the_nearest(self):
        build, bucket = built(TOP_CHAIN)
        build = replace(build, lower=Present(Lower((TOP_LINK, BASE_LINK))))
        inventory = with_records(healthy_inventory(), build, bucket)
        assert at(inventory, BUILD, TOP_LINK) == TOP_DIR
        assert at(inventory, BUILD, BASE_LINK) is None


class TestDiffIdsBelow:
    @pytest.mark.parametrize(
        ("dir_id_", "expected"),
        [(BASE_DIR, ()), (TOP_DIR, (BASE_DIFF,)), (INIT_DIR, (TOP_DIFF, BASE_DIFF)), (RW_DIR, (TOP_DIFF, BASE_DIFF))],
        ids=["base", "top", "init", "rw"],
    )
    def test_of_a_healthy_root(self, dir_id_, expected):
        assert diff_ids(healthy_inventory(), dir_id_) == expected

    def test_not_told_of_an_rw_layer_without_parent(self):
        """It may have lost it (GCD303)."""
        assert diff_ids(with_records(healthy_inventory(), rw_layer(parent=None)), RW_DIR) is None

    def test_not_told_of_what_no_record_names(self):
        assert diff_ids(with_records(healthy_inventory(), *built(TOP_CHAIN)), BUILD) is None

    def test_the_image_tells_where_a_record_is_gone_or_damaged(self):
        for inventory in (
            without(healthy_inventory(), LAYER_BASE),
            with_records(healthy_inventory(), replace(layer(BASE_DIFF, BASE_DIR), diff_id=EMPTY)),
        ):
            assert diff_ids(inventory, TOP_DIR) == (BASE_DIFF,)
            assert diff_ids(without(inventory, THE_IMAGE), TOP_DIR) is None

    def test_records_tell_where_no_image_is(self):
        assert diff_ids(without(healthy_inventory(), THE_IMAGE), RW_DIR) == (TOP_DIFF, BASE_DIFF)

    @pytest.mark.parametrize("parent", [EMPTY, Present(TOP_CHAIN)], ids=["lost", "circle"])
    def test_not_told_where_the_chain_does_not_end(self, parent):
        broken = replace(layer(BASE_DIFF, BASE_DIR), parent=parent)
        inventory = without(with_records(healthy_inventory(), broken), THE_IMAGE)
        assert diff_ids(inventory, RW_DIR) is None


def test_what_a_dir_holds_is_what_its_records_say():
    twin = layer(DiffId(digest("twin")), TOP_DIR)
    lost = replace(layer(DiffId(digest("lost")), TOP_DIR), diff_id=EMPTY)
    graph = graph_of(with_records(healthy_inventory(), twin, lost))
    assert stacking.known_diff_ids(graph, TOP_DIR) == {TOP_DIFF, DiffId(digest("twin"))}
    assert stacking.known_diff_ids(graph, RW_DIR) == frozenset()
