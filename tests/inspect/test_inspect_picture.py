from __future__ import annotations

from msgspec.structs import replace
from support.inventories import (
    BASE_CHAIN,
    BASE_DIFF,
    BASE_DIR,
    BASE_LINK,
    CONTAINER,
    IMAGE,
    INIT_DIR,
    RW_DIR,
    TOP_CHAIN,
    TOP_DIFF,
    TOP_DIR,
    TOP_LINK,
    build_id,
    container,
    container_config,
    digest,
    dir_id,
    graph_of,
    healthy_inventory,
    image,
    layer,
    layer_dir,
    link_id,
    rw_layer,
    symlink,
    with_records,
    without,
)

from gcd.inspect.names import Names
from gcd.inspect.picture import picture
from gcd.model.facts import BuildLease, BuildRecord, BuildSnapshot, KernelMount, MountPoint, SnapshotKind
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ContainerId, ImageId, RwLayerName
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present
from gcd.report.inspect_text import inspect_text
from gcd.rules.table import find
from gcd.run import ALL_CODES

OTHER = ContainerId(digest("other")[7:])
OTHER_RW = dir_id("other rw")


def view_of(inventory, word):
    graph = graph_of(inventory)
    findings, _ = find(inventory, graph, ALL_CODES)
    [asked] = Names(inventory, graph).meant_by(word)
    return picture(inventory, graph, findings, asked)


def codes(view):
    return {finding.code for finding in view.findings}


def two_containers():
    return with_records(
        healthy_inventory(),
        container(OTHER, Present(container_config(OTHER, name="/other"))),
        rw_layer(name=RwLayerName(OTHER), mount=OTHER_RW),
        layer_dir(OTHER_RW, link_id("other rw"), (TOP_LINK, BASE_LINK)),
    )


def overlay(mount_point, dirs=(), links=(), merged_of=None):
    return KernelMount(mount_point, "overlay", "mnt:[1]", (7,), "x", frozenset(dirs), frozenset(links), merged_of)


def test_a_mount_is_its_upper_dirs_and_only_the_asked_layer_has_those_of_all_above_it():
    merged = overlay(f"/r/{RW_DIR}/merged", (), (TOP_LINK, BASE_LINK), RW_DIR)
    inside = overlay("/", (RW_DIR,), (TOP_LINK, BASE_LINK))
    others = overlay("/other", (OTHER_RW,), (TOP_LINK, BASE_LINK))
    inventory = replace(two_containers(), mounts=(merged, inside, others))

    assert view_of(inventory, "web").mounts == (merged, inside)
    assert view_of(inventory, "other").mounts == (others,)
    assert view_of(inventory, "app").mounts == (merged, inside, others)
    assert view_of(inventory, f"layer-dir:{BASE_DIR}").mounts == (merged, inside, others)
    assert view_of(inventory, BASE_CHAIN).mounts == (merged, inside, others)


def test_builds_that_stand_for_a_layer_or_its_dir_are_part_of_its_image():
    by_chain, by_dir, named = build_id("by chain"), build_id("by dir"), build_id("named")
    inventory = with_records(
        healthy_inventory(),
        BuildSnapshot(by_chain, SnapshotKind.LEASE, None, "", TOP_CHAIN),
        BuildSnapshot(by_dir, SnapshotKind.COMMITTED, BASE_DIR, "", None),
        BuildSnapshot(TOP_CHAIN, SnapshotKind.LAYER, None, "", None),
        BuildSnapshot(named, SnapshotKind.ACTIVE, named, "", None),
        BuildRecord(build_id("record"), by_dir, "", ""),
        BuildRecord(build_id("mutable"), named, by_chain, ""),
        BuildRecord(named, "", "", ""),
        BuildLease(build_id("lease"), (TOP_CHAIN,), temporary=False),
        BuildLease(build_id("another"), (named,), temporary=False),
    )
    view = view_of(inventory, "app")

    assert {snapshot.name for snapshot in view.snapshots} == {by_chain, by_dir, TOP_CHAIN}
    assert {record.id for record in view.records} == {build_id("record"), build_id("mutable")}
    assert [lease.id for lease in view.leases] == [build_id("lease")]
    assert {s.name for s in view_of(inventory, f"layer-dir:{named}").snapshots} == {named}


def test_findings_about_links_tags_notes_and_volumes_are_on_the_way():
    astray = with_records(healthy_inventory(), symlink(TOP_LINK, Malformed("a link target", "/etc")))
    gone = without(healthy_inventory(), Node(NodeKind.IMAGE, IMAGE), Node(NodeKind.CONTAINER, CONTAINER))

    assert [str(f.subject) for f in view_of(astray, "app").findings] == [f"link:{TOP_LINK}"]
    assert [str(finding.subject) for finding in view_of(gone, IMAGE).findings] == ["reference:app:latest"]


def test_what_blocks_or_explains_a_finding_is_shown_with_it():
    stray = dir_id("stray")
    lost = replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), cache_id=EMPTY)
    inventory = with_records(healthy_inventory(), lost, layer_dir(stray, link_id("stray"), (BASE_LINK,)))
    inventory = replace(inventory, candidates=frozenset(inventory.layer_dirs))

    assert codes(view_of(inventory, stray)) == {"GCD101", "GCD206"}
    assert codes(view_of(inventory, "app")) == {"GCD206", "GCD402"}


def test_the_init_dir_is_known_by_its_pair_and_the_diff_id_by_what_the_record_says():
    inventory = with_records(
        healthy_inventory(),
        replace(rw_layer(), init_id=ABSENT),
        replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), diff_id=Present(BASE_DIFF)),
    )
    view = view_of(inventory, "web")

    assert (view.rw_layers[0].init_id, view.rw_layers[0].mount_id) == (INIT_DIR, RW_DIR)
    assert [shown.diff_id for shown in view.layers] == [BASE_DIFF, BASE_DIFF]
    lost = with_records(inventory, replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), diff_id=EMPTY))
    assert [shown.diff_id for shown in view_of(lost, "web").layers] == [BASE_DIFF, TOP_DIFF]


def test_a_layer_of_two_images_is_drawn_once():
    inventory = with_records(healthy_inventory(), image(BASE_DIFF, image_id=ImageId(digest("second"))))
    text = inspect_text(view_of(inventory, f"layer-dir:{BASE_DIR}"))

    assert text.count(f"directory overlay2/{BASE_DIR}") == 1
    assert text.count("shown above") == 1


def test_a_volume_leads_to_the_containers_that_have_it():
    point = MountPoint("/data", "volume", "data", "/v/data/_data", "local", is_writable=True)
    bind = MountPoint("/x", "bind", "", "/data", "", is_writable=True)
    inventory = with_records(
        two_containers(),
        container(config=Present(container_config(mount_points=(point,)))),
        container(OTHER, Present(container_config(OTHER, name="/other", mount_points=(bind,)))),
    )
    view = view_of(inventory, "volume:data")

    assert [shown.id for shown in view.containers] == [CONTAINER]
    assert (view.exists, view.why) == (False, ())


def test_the_lower_of_an_orphan_is_all_that_it_has():
    stray = dir_id("stray")
    inventory = with_records(healthy_inventory(), layer_dir(stray, link_id("stray"), (TOP_LINK, BASE_LINK)))
    view = view_of(inventory, stray)

    assert {shown.id: shown.lower for shown in view.directories} == {
        stray: (TOP_DIR, BASE_DIR),
        TOP_DIR: (BASE_DIR,),
        BASE_DIR: (),
    }
    assert (view.images, view.containers, view.layers) == ((), (), ())
    assert {owner.kind for shown in view.directories for owner in shown.owners} == {NodeKind.LAYER}


def test_a_circle_of_parents_ends():
    inventory = with_records(healthy_inventory(), replace(layer(BASE_DIFF, BASE_DIR), parent=Present(TOP_CHAIN)))

    assert {shown.chain_id for shown in view_of(inventory, TOP_CHAIN).layers} == {BASE_CHAIN, TOP_CHAIN}
