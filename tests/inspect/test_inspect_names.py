from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
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
    RW_LINK,
    TOP_CHAIN,
    TOP_DIFF,
    TOP_DIR,
    TOP_LINK,
    build_id,
    container,
    container_config,
    digest,
    graph_of,
    healthy_inventory,
    hex64,
    image,
    layer,
    layer_dir,
    rw_layer,
    with_records,
    without,
)

from gcd.inspect.names import Names
from gcd.inspect.view import Candidate, Form
from gcd.model.facts import (
    BuildLease,
    BuildRecord,
    BuildSnapshot,
    MountPoint,
    RemovingRecord,
    Repositories,
    SnapshotKind,
    Volume,
    WriteSet,
)
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ChainId, ContainerId, DiffId, ImageId, LayerDirId, RwLayerName, chain_id
from gcd.model.reading import ABSENT, Present

ROOT = "/var/lib/docker"
DIGEST_REFERENCE = f"registry.example.com/team/app@{digest('manifest')}"


def names_of(inventory):
    return Names(inventory, graph_of(inventory))


def tagged(inventory, *references):
    found = dict.fromkeys(("app:latest", DIGEST_REFERENCE, *references), IMAGE)
    return replace(inventory, repositories=Present(Repositories(found)))


def meant(word, inventory=None, roots=(ROOT,), place=None):
    found = names_of(inventory or tagged(healthy_inventory())).meant_by(word, roots, place)
    return [(candidate.node, candidate.form, candidate.inside) for candidate in found]


IMAGE_NODE = Node(NodeKind.IMAGE, IMAGE)
CONTAINER_NODE = Node(NodeKind.CONTAINER, CONTAINER)
TOP_NODE = Node(NodeKind.LAYER, TOP_CHAIN)
BASE_DIR_NODE = Node(NodeKind.LAYER_DIR, BASE_DIR)


@pytest.mark.parametrize(
    ("word", "node", "form"),
    [
        ("app:latest", IMAGE_NODE, Form.REFERENCE),
        ("app", IMAGE_NODE, Form.REFERENCE),
        ("docker.io/library/app", IMAGE_NODE, Form.REFERENCE),
        ("index.docker.io/library/app:latest", IMAGE_NODE, Form.REFERENCE),
        (DIGEST_REFERENCE, IMAGE_NODE, Form.REFERENCE),
        (f"registry.example.com/team/app:1.2@{digest('manifest')}", IMAGE_NODE, Form.REFERENCE),
        (digest("manifest"), IMAGE_NODE, Form.MANIFEST),
        (IMAGE, IMAGE_NODE, Form.IMAGE_ID),
        (IMAGE[7:], IMAGE_NODE, Form.IMAGE_ID),
        (IMAGE[:19], IMAGE_NODE, Form.IMAGE_ID),
        (IMAGE[7:11], IMAGE_NODE, Form.IMAGE_ID),
        (TOP_CHAIN, TOP_NODE, Form.CHAIN_ID),
        (TOP_CHAIN[7:19], TOP_NODE, Form.CHAIN_ID),
        (TOP_DIFF, TOP_NODE, Form.DIFF_ID),
        (TOP_DIFF[7:19], TOP_NODE, Form.DIFF_ID),
        (BASE_DIFF, Node(NodeKind.LAYER, BASE_CHAIN), Form.CHAIN_ID),
        (BASE_DIR, BASE_DIR_NODE, Form.LAYER_DIR),
        (BASE_DIR[:4], BASE_DIR_NODE, Form.LAYER_DIR),
        (INIT_DIR, Node(NodeKind.LAYER_DIR, INIT_DIR), Form.LAYER_DIR),
        (RW_DIR[:12], Node(NodeKind.LAYER_DIR, RW_DIR), Form.LAYER_DIR),
        (RW_DIR + "-in", Node(NodeKind.LAYER_DIR, INIT_DIR), Form.LAYER_DIR),
        (BASE_LINK, Node(NodeKind.LINK, BASE_LINK), Form.LINK_ID),
        (BASE_LINK[:6], Node(NodeKind.LINK, BASE_LINK), Form.LINK_ID),
        (CONTAINER, CONTAINER_NODE, Form.CONTAINER_ID),
        (CONTAINER[:12], CONTAINER_NODE, Form.CONTAINER_ID),
        ("web", CONTAINER_NODE, Form.CONTAINER_NAME),
        ("/web", CONTAINER_NODE, Form.CONTAINER_NAME),
        (f"layer-dir:{BASE_DIR}", BASE_DIR_NODE, Form.LAYER_DIR),
        (f"layer-dir:{BASE_DIR[:4]}", BASE_DIR_NODE, Form.LAYER_DIR),
        (f"GCD101:layer-dir:{BASE_DIR}", BASE_DIR_NODE, Form.LAYER_DIR),
        (f"GCD402:image:{IMAGE}", IMAGE_NODE, Form.IMAGE_ID),
        (f"rw-layer:{CONTAINER}", Node(NodeKind.RW_LAYER, CONTAINER), Form.RW_LAYER),
        ("image:app:latest", IMAGE_NODE, Form.REFERENCE),
        ("reference:app:latest", IMAGE_NODE, Form.REFERENCE),
        ("container:web", CONTAINER_NODE, Form.CONTAINER_NAME),
    ],
)
def test_a_word_means_one_thing(word, node, form):
    assert meant(word) == [(node, form, "")]


@pytest.mark.parametrize(
    ("path", "node", "inside"),
    [
        (f"overlay2/{BASE_DIR}", BASE_DIR_NODE, ""),
        (f"overlay2/{BASE_DIR}/diff/etc/x", BASE_DIR_NODE, "diff/etc/x"),
        (f"/var/lib/docker/overlay2/{BASE_DIR}/diff/etc/x", BASE_DIR_NODE, "diff/etc/x"),
        (f"//var/lib//docker/./overlay2/x/../{BASE_DIR}/diff/", BASE_DIR_NODE, "diff"),
        (f"overlay2/l/{BASE_LINK}", Node(NodeKind.LINK, BASE_LINK), ""),
        (f"overlay2/l/{BASE_LINK}/etc", Node(NodeKind.LINK, BASE_LINK), "etc"),
        (f"containers/{CONTAINER}/config.v2.json", CONTAINER_NODE, "config.v2.json"),
        (f"image/overlay2/layerdb/sha256/{TOP_CHAIN[7:]}/cache-id", TOP_NODE, "cache-id"),
        (f"image/overlay2/layerdb/mounts/{CONTAINER}/mount-id", Node(NodeKind.RW_LAYER, CONTAINER), "mount-id"),
        (f"image/overlay2/imagedb/content/sha256/{IMAGE[7:]}", IMAGE_NODE, ""),
        (f"image/overlay2/imagedb/metadata/sha256/{IMAGE[7:]}/parent", IMAGE_NODE, "parent"),
    ],
)
def test_a_path_belongs_to_what_it_lies_in(path, node, inside):
    assert meant(path) == [(node, Form.PATH, inside)]


def test_a_diff_id_in_the_pullers_records_leads_to_its_layer():
    path = f"image/overlay2/distribution/v2metadata-by-diffid/sha256/{TOP_DIFF[7:]}"
    assert meant(path) == [(TOP_NODE, Form.DIFF_ID, "")]


def test_a_path_from_the_working_directory_counts_as_well():
    assert meant(BASE_DIR[:3], place=f"overlay2/{BASE_DIR}/work") == [(BASE_DIR_NODE, Form.PATH, "work")]


@pytest.mark.parametrize(
    "word",
    [
        *(
            "",
            "/",
            "nobody",
            IMAGE[7:10],
            BASE_LINK[:3],
            BASE_LINK.lower(),
            "app:2",
            "sha256:",
            "layer-dir:",
            "GCD101:",
        ),
        *("overlay2/l", "overlay2", "/etc/passwd", f"/var/lib/docker2/overlay2/{BASE_DIR}", f"layer:{BASE_DIR}"),
        *(f"overlay2/../../{BASE_DIR}", f"sha256:{BASE_DIR}", f"image/btrfs/layerdb/sha256/{TOP_CHAIN[7:]}", "\x00"),
    ],
)
def test_a_word_that_names_nothing(word):
    assert meant(word) == []


def test_a_container_called_like_an_image_is_meant_unless_the_tag_is_said():
    inventory = tagged(healthy_inventory(), "web:latest")

    assert meant("web", inventory) == [(CONTAINER_NODE, Form.CONTAINER_NAME, "")]
    assert meant("web:latest", inventory) == [(IMAGE_NODE, Form.REFERENCE, "")]
    assert meant("image:web:latest", inventory) == [(IMAGE_NODE, Form.REFERENCE, "")]


def test_a_name_is_not_taken_for_the_beginning_of_an_id():
    other = ContainerId(hex64("other"))
    named = container(other, Present(container_config(other, name="/" + BASE_DIR[:8])))

    assert meant(BASE_DIR[:8], with_records(healthy_inventory(), named)) == [
        (Node(NodeKind.CONTAINER, other), Form.CONTAINER_NAME, "")
    ]


def test_a_path_in_work_under_way_and_one_that_belongs_to_nothing():
    inventory = with_records(healthy_inventory(), WriteSet("write-set-1", ABSENT, 0))
    work = Node(NodeKind.WRITE_SET, "write-set-1")

    assert meant("image/overlay2/layerdb/tmp/write-set-1/diff", inventory) == [(work, Form.PATH, "diff")]
    assert meant("image/overlay2/layerdb/tmp/write-set-2", inventory) == []
    assert meant("image/overlay2/repositories.json", inventory) == []


def test_two_beginnings_are_told_with_their_kinds():
    twin = LayerDirId(IMAGE[7:15] + "f" * 56)
    inventory = with_records(healthy_inventory(), layer_dir(twin, ABSENT))

    assert meant(IMAGE[7:15], inventory) == [
        (IMAGE_NODE, Form.IMAGE_ID, ""),
        (Node(NodeKind.LAYER_DIR, twin), Form.LAYER_DIR, ""),
    ]
    assert meant(f"sha256:{IMAGE[7:15]}", inventory) == [(IMAGE_NODE, Form.IMAGE_ID, "")]
    assert meant(f"layer-dir:{IMAGE[7:15]}", inventory) == [(Node(NodeKind.LAYER_DIR, twin), Form.LAYER_DIR, "")]


def test_a_diff_id_of_several_layers_names_all_of_them_and_the_kind_chooses_the_base():
    again = chain_id(TOP_CHAIN, BASE_DIFF)
    inventory = with_records(healthy_inventory(), layer(BASE_DIFF, LayerDirId(hex64("again")), TOP_CHAIN))

    assert meant(BASE_DIFF, inventory) == [
        (Node(NodeKind.LAYER, chain), form, "")
        for chain, form in sorted([(BASE_CHAIN, Form.CHAIN_ID), (again, Form.DIFF_ID)])
    ]
    assert meant(f"layer:{BASE_DIFF}", inventory) == [(Node(NodeKind.LAYER, BASE_CHAIN), Form.CHAIN_ID, "")]


def test_a_volume_is_meant_where_nothing_else_is_called_so():
    point = MountPoint("/data", "volume", "data", "/v/data/_data", "local", is_writable=True)
    mounted = container(config=Present(container_config(mount_points=(point,))))
    inventory = with_records(tagged(healthy_inventory(), "data:latest"), mounted)
    inventory = replace(inventory, volumes={"web": Volume("web", ABSENT)})
    volume = Node(NodeKind.VOLUME, "data")

    assert meant("data", inventory) == [(IMAGE_NODE, Form.REFERENCE, "")]
    assert meant("volume:data", inventory) == [(volume, Form.VOLUME, "")]
    assert meant("volumes/data/_data/x", inventory) == [(volume, Form.PATH, "_data/x")]
    assert meant("data", replace(inventory, repositories=ABSENT)) == [(volume, Form.VOLUME, "")]
    assert meant("web", inventory) == [(CONTAINER_NODE, Form.CONTAINER_NAME, "")]
    assert meant(f"GCD406:image-metadata:{IMAGE}") == [(IMAGE_NODE, Form.IMAGE_ID, "")]


def test_two_containers_of_one_name_are_both_told():
    other = ContainerId(hex64("other"))
    inventory = with_records(healthy_inventory(), container(other, Present(container_config(other, name="/web"))))

    assert {node for node, _, _ in meant("web", inventory)} == {CONTAINER_NODE, Node(NodeKind.CONTAINER, other)}


def test_what_is_gone_is_known_by_those_that_name_it():
    inventory = without(healthy_inventory(), BASE_DIR_NODE, IMAGE_NODE, CONTAINER_NODE)

    assert meant(BASE_DIR, inventory) == [(BASE_DIR_NODE, Form.LAYER_DIR, "")]
    assert meant(IMAGE, inventory) == [(IMAGE_NODE, Form.IMAGE_ID, "")]
    assert meant(CONTAINER, inventory) == [(Node(NodeKind.RW_LAYER, CONTAINER), Form.RW_LAYER, "")]


def test_names_of_builds():
    snapshot, record, lease = build_id("snapshot"), build_id("record"), build_id("lease")
    inventory = with_records(
        healthy_inventory(),
        layer_dir(snapshot, ABSENT),
        BuildSnapshot(snapshot, SnapshotKind.ACTIVE, snapshot, "", None),
        BuildSnapshot(TOP_CHAIN, SnapshotKind.LAYER, None, "", None),
        BuildRecord(record, snapshot, "", "regular"),
        BuildRecord(build_id("on layer"), TOP_CHAIN, "", "regular"),
        BuildLease(lease, (snapshot,), temporary=False),
    )

    assert meant(snapshot, inventory) == [(Node(NodeKind.LAYER_DIR, snapshot), Form.LAYER_DIR, "")]
    assert meant(f"build-snapshot:{snapshot}", inventory)[0][0] == Node(NodeKind.BUILD_SNAPSHOT, snapshot)
    assert meant(record[:8], inventory) == [(Node(NodeKind.BUILD_SNAPSHOT, snapshot), Form.BUILD_ID, "")]
    assert meant(build_id("on layer"), inventory) == [(TOP_NODE, Form.BUILD_ID, "")]
    assert meant(lease, inventory) == [(Node(NodeKind.BUILD_LEASE, lease), Form.BUILD_ID, "")]
    assert meant(TOP_CHAIN, inventory) == [(TOP_NODE, Form.CHAIN_ID, "")]


def test_names_of_unfinished_work_and_of_nested_rw_layers():
    removing = f"{TOP_CHAIN[7:]}-{hex64('removal')}-removing"
    nested = RwLayerName("abc/def:v1")
    inventory = with_records(
        healthy_inventory(),
        RemovingRecord(removing, TOP_CHAIN, ABSENT, ABSENT, 0),
        WriteSet("write-set-17", ABSENT, 0),
        rw_layer(name=nested),
        rw_layer(name=RwLayerName("abc")),
    )

    assert meant(removing, inventory) == [(Node(NodeKind.REMOVING_LAYER, removing), Form.WORK, "")]
    assert meant(TOP_CHAIN[7:19], inventory) == [(TOP_NODE, Form.CHAIN_ID, "")]
    assert meant(f"image/overlay2/layerdb/sha256/{removing}/diff", inventory) == [
        (Node(NodeKind.REMOVING_LAYER, removing), Form.PATH, "diff")
    ]
    assert meant("write-set-17", inventory) == [(Node(NodeKind.WRITE_SET, "write-set-17"), Form.WORK, "")]
    assert meant("image/overlay2/layerdb/mounts/abc/def:v1/parent", inventory) == [
        (Node(NodeKind.RW_LAYER, nested), Form.PATH, "parent")
    ]


def test_the_nearest_of_an_unknown_word():
    names = names_of(tagged(healthy_inventory()))

    assert names.nearest("wed")[0] == "web"
    assert names.nearest("ap")[0] == "app:latest"
    assert names.nearest(BASE_DIR[:20] + "zzzz") == (f"layer-dir:{BASE_DIR}",)
    assert names.nearest(f"{IMAGE[:30]}0000") == (f"image:{IMAGE}",)
    assert names.nearest("") == ()


@given(st.text(max_size=80))
def test_any_word_is_answered(word):
    names = names_of(healthy_inventory())

    assert all(isinstance(candidate, Candidate) for candidate in names.meant_by(word, (ROOT,), word))
    assert len(names.nearest(word)) <= 3


def test_ids_of_an_image_whose_config_is_lost_are_still_its_own():
    lost = ImageId(digest("lost"))
    inventory = with_records(healthy_inventory(), image(image_id=lost))

    assert meant(lost[7:19], inventory) == [(Node(NodeKind.IMAGE, lost), Form.IMAGE_ID, "")]
    assert meant(ChainId(digest("nobody")), inventory) == []
    assert meant(DiffId(digest("nobody")), inventory) == []
    assert meant(TOP_LINK, inventory) == [(Node(NodeKind.LINK, TOP_LINK), Form.LINK_ID, "")]
    assert meant(RW_LINK[:5], inventory)[0][1] is Form.LINK_ID
    assert meant(TOP_DIR[:5], inventory)[0][0] == Node(NodeKind.LAYER_DIR, TOP_DIR)
