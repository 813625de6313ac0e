from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.inventories import (
    BASE_CHAIN,
    BASE_DIR,
    BASE_LINK,
    CONTAINER,
    IMAGE,
    INIT_DIR,
    RW_DIR,
    RW_LAYER,
    TOP_CHAIN,
    TOP_DIR,
    YOUNG_NS,
    build_id,
    dir_id,
    graph_of,
    healthy_inventory,
    image,
    layer,
    layer_dir,
    link_id,
    symlink,
    with_records,
    without,
)

from gcd.inspect.view import Kept
from gcd.inspect.why import Keepers
from gcd.model.facts import BuildLease, BuildSnapshot, KernelMount, Repositories, SnapshotKind
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import DiffId
from gcd.model.reading import ABSENT, Present
from gcd.model.storegraph import BUILD_WORDS
from gcd.rules.table import find
from gcd.run import ALL_CODES

TAG = Node(NodeKind.REFERENCE, "app:latest")
IMAGE_NODE = Node(NodeKind.IMAGE, IMAGE)
CONTAINER_NODE = Node(NodeKind.CONTAINER, CONTAINER)
RW_NODE = Node(NodeKind.RW_LAYER, RW_LAYER)
TOP_NODE = Node(NodeKind.LAYER, TOP_CHAIN)
BASE_NODE = Node(NodeKind.LAYER, BASE_CHAIN)
STRAY = dir_id("stray")


def node_of(directory):
    return Node(NodeKind.LAYER_DIR, directory)


def why(directory, inventory, bound=True):
    graph = graph_of(inventory) if bound else graph_of(inventory, None)
    findings, _ = find(inventory, graph, ALL_CODES)
    return Keepers(inventory, graph, findings).why(directory)


def untagged(inventory):
    return replace(inventory, repositories=Present(Repositories({})))


@pytest.mark.parametrize(
    ("directory", "kept", "path"),
    [
        (TOP_DIR, Kept.TAG, (TAG, IMAGE_NODE, TOP_NODE)),
        (BASE_DIR, Kept.TAG, (TAG, IMAGE_NODE, BASE_NODE)),
        (RW_DIR, Kept.CONTAINER, (CONTAINER_NODE, RW_NODE)),
        (INIT_DIR, Kept.CONTAINER, (CONTAINER_NODE, RW_NODE)),
    ],
)
def test_what_keeps_the_dirs_of_a_healthy_root(directory, kept, path):
    found = why(directory, healthy_inventory())

    assert (found.kept, found.path, found.findings) == (kept, (*path, node_of(directory)), ())


def test_a_container_keeps_what_lost_its_tag():
    found = why(TOP_DIR, untagged(healthy_inventory()))

    assert (found.kept, found.path[0]) == (Kept.CONTAINER, CONTAINER_NODE)


def test_an_image_without_a_tag_keeps_its_layers():
    found = why(TOP_DIR, untagged(without(healthy_inventory(), CONTAINER_NODE, RW_NODE)))

    assert (found.kept, found.path) == (Kept.IMAGE, (IMAGE_NODE, TOP_NODE, node_of(TOP_DIR)))


def test_a_record_that_nothing_uses():
    found = why(TOP_DIR, untagged(without(healthy_inventory(), CONTAINER_NODE, RW_NODE, IMAGE_NODE)))

    assert (found.kept, found.path) == (Kept.RECORD, (TOP_NODE, node_of(TOP_DIR)))


def test_the_lower_of_a_live_layer_is_kept_by_it_though_no_record_names_it():
    """Of two dirs for one layer a child may stand on the one that no record names."""
    twin, child, diff = dir_id("twin"), dir_id("child"), DiffId("sha256:" + "c" * 64)
    twin_link, child_link = link_id("twin"), link_id("child")
    grown = layer(diff, child, TOP_CHAIN)
    inventory = with_records(
        healthy_inventory(),
        layer_dir(twin, twin_link, (BASE_LINK,)),
        symlink(twin_link, twin),
        layer_dir(child, child_link, (twin_link, BASE_LINK)),
        symlink(child_link, child),
        grown,
    )

    found = why(twin, inventory)

    assert (found.kept, found.path, found.findings) == (
        Kept.RECORD,
        (Node(NodeKind.LAYER, grown.chain_id), node_of(child), node_of(twin)),
        (f"GCD211:layer:{grown.chain_id}",),
    )


def test_a_lower_counts_even_where_only_the_link_farm_leads_to_it():
    inventory = with_records(healthy_inventory(), layer_dir(TOP_DIR, ABSENT, (BASE_LINK,)))
    inventory = without(inventory, TOP_NODE)

    found = why(TOP_DIR, inventory)

    assert (found.kept, found.path) == (
        Kept.CONTAINER,
        (CONTAINER_NODE, RW_NODE, node_of(INIT_DIR), node_of(TOP_DIR)),
    ) or (found.kept, found.path) == (Kept.CONTAINER, (CONTAINER_NODE, RW_NODE, node_of(RW_DIR), node_of(TOP_DIR)))


def test_builds_leases_words_and_mounts_keep():
    directory = build_id("built")
    bare = with_records(healthy_inventory(), layer_dir(directory, link_id("built")))
    snapshot = BuildSnapshot(directory, SnapshotKind.ACTIVE, directory, "", None)
    mount = KernelMount("/mnt", "overlay", "mnt:[1]", (7,), "x", frozenset({directory}), frozenset(), None)

    leased = why(directory, with_records(bare, snapshot, BuildLease("lease", (directory,), temporary=False)))
    mentioned = replace(bare, build_cache=replace(bare.build_cache, named=frozenset({directory})))

    assert (leased.kept, leased.path) == (
        Kept.BUILD,
        (Node(NodeKind.BUILD_SNAPSHOT, directory), node_of(directory)),
    )
    assert why(directory, mentioned).path == (BUILD_WORDS, node_of(directory))
    assert why(directory, mentioned).kept is Kept.MENTION
    assert why(directory, replace(bare, mounts=(mount,))).kept is Kept.MOUNT


def test_nothing_keeps_an_orphan_and_its_finding_is_named():
    inventory = with_records(healthy_inventory(), layer_dir(STRAY, link_id("stray"), (BASE_LINK,)))
    inventory = replace(inventory, candidates=frozenset({*inventory.candidates, STRAY}))

    found = why(STRAY, inventory)

    assert (found.kept, found.path, found.findings) == (Kept.NOTHING, (), (f"GCD101:layer-dir:{STRAY}",))


@pytest.mark.parametrize("how", ["too new", "held open", "made meanwhile", "nothing is proven"])
def test_what_may_belong_to_work_under_way_is_not_called_nobodys(how):
    stray = layer_dir(STRAY, link_id("stray"), ctime_ns=YOUNG_NS) if how == "too new" else layer_dir(STRAY, ABSENT)
    inventory = with_records(healthy_inventory(), stray)
    known = inventory.candidates - {STRAY} if how == "made meanwhile" else inventory.candidates | {STRAY}
    held = frozenset({STRAY}) if how == "held open" else frozenset()

    found = why(STRAY, replace(inventory, candidates=known, held_dirs=held), bound=how != "nothing is proven")

    assert (found.kept, found.path) == (Kept.YOUNG, (node_of(STRAY),))


def test_what_lies_below_a_young_dir_is_kept_by_it():
    young = layer_dir(dir_id("young"), link_id("young"), (link_id("stray"),), ctime_ns=YOUNG_NS)
    inventory = with_records(healthy_inventory(), layer_dir(STRAY, link_id("stray")), young)
    inventory = replace(inventory, candidates=inventory.candidates | {STRAY, young.id})

    found = why(STRAY, inventory)

    assert (found.kept, found.path) == (Kept.YOUNG, (node_of(young.id), node_of(STRAY)))


def test_a_missing_dir_says_who_wants_it():
    found = why(BASE_DIR, without(healthy_inventory(), node_of(BASE_DIR)))

    assert (found.kept, found.path) == (Kept.MISSING, (TAG, IMAGE_NODE, BASE_NODE, node_of(BASE_DIR)))


def test_an_image_whose_config_is_lost_keeps_nothing():
    inventory = with_records(without(healthy_inventory(), CONTAINER_NODE, RW_NODE), image())

    assert why(TOP_DIR, inventory).kept is Kept.RECORD
