"""Whose each unit is: claims in their order, defaults by name, and inodes that several owners have names for."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.inventories import (
    BASE_CHAIN,
    BASE_DIFF,
    BASE_DIR,
    BASE_LINK,
    CONTAINER,
    IMAGE,
    INIT_DIR,
    INIT_LINK,
    RW_DIR,
    RW_LINK,
    TOP_CHAIN,
    TOP_DIR,
    build_id,
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
from support.results import finding

from gcd.model.attribution import Attribution, listed_images
from gcd.model.facts import BuildSnapshot, ImageMetadata, Repositories, SnapshotKind
from gcd.model.finding import Kind, Node, NodeKind
from gcd.model.ids import ChainId, DiffId, ImageId, RwLayerName, chain_id
from gcd.model.reading import ABSENT, EMPTY, Present
from gcd.model.space import FILES, LAYERS, RW, SHARED, UNIQUE, Category, Owner, Space, Tree, Unit

OTHER_IMAGE = ImageId(digest("other image"))
OWN = Owner(Category.IMAGES, UNIQUE, IMAGE)
CATALOGUE = Owner(Category.IMAGES, SHARED)
BUILDS = Owner(Category.BUILD_CACHE)
CONTAINER_RW = Owner(Category.CONTAINERS, RW, CONTAINER)


def attributed(inventory, *findings):
    return Attribution(inventory, graph_of(inventory), findings)


def owners(inventory, *units, findings=()):
    attribution = attributed(inventory, *findings)
    return [attribution.owner_of(unit) for unit in units]


def record_of(chain):
    return f"image/overlay2/layerdb/sha256/{chain.removeprefix('sha256:')}"


def config_of(image_id):
    return f"image/overlay2/imagedb/content/sha256/{image_id.removeprefix('sha256:')}"


def test_layers_of_one_image_are_its_own():
    units = (f"overlay2/{BASE_DIR}", f"overlay2/l/{BASE_LINK}", record_of(BASE_CHAIN), config_of(IMAGE))

    assert owners(healthy_inventory(), *units) == [OWN] * 4


def test_layers_of_two_images_are_shared_and_the_rest_is_not():
    inventory = with_records(healthy_inventory(), image(BASE_DIFF, image_id=OTHER_IMAGE))

    assert owners(inventory, f"overlay2/{BASE_DIR}", f"overlay2/{TOP_DIR}", config_of(OTHER_IMAGE)) == [
        Owner(Category.IMAGES, SHARED, BASE_CHAIN),
        OWN,
        Owner(Category.IMAGES, UNIQUE, OTHER_IMAGE),
    ]


def test_a_parent_image_without_a_name_takes_no_share():
    """What the classic builder leaves for each step."""
    inventory = with_records(
        healthy_inventory(),
        image(BASE_DIFF, image_id=OTHER_IMAGE),
        ImageMetadata(IMAGE, Present(OTHER_IMAGE), ABSENT),
    )

    assert listed_images(inventory) == (IMAGE,)
    assert owners(inventory, f"overlay2/{BASE_DIR}", config_of(OTHER_IMAGE)) == [OWN, CATALOGUE]


def test_a_parent_image_with_a_name_is_an_image_of_its_own():
    inventory = with_records(
        healthy_inventory(repositories=Present(Repositories({"app:latest": IMAGE, "base:latest": OTHER_IMAGE}))),
        image(BASE_DIFF, image_id=OTHER_IMAGE),
        ImageMetadata(IMAGE, Present(OTHER_IMAGE), ABSENT),
    )

    assert listed_images(inventory) == (IMAGE, OTHER_IMAGE)


def test_what_an_image_that_is_gone_was_built_on_is_listed():
    inventory = with_records(healthy_inventory(repositories=ABSENT), ImageMetadata(OTHER_IMAGE, Present(IMAGE), ABSENT))

    assert listed_images(inventory) == (IMAGE,)


def test_a_container_has_its_rw_layer_its_init_layer_and_their_links():
    units = (
        f"overlay2/{RW_DIR}",
        f"overlay2/{INIT_DIR}",
        f"overlay2/l/{RW_LINK}",
        f"overlay2/l/{INIT_LINK}",
        f"image/overlay2/layerdb/mounts/{CONTAINER}",
    )

    assert owners(healthy_inventory(), *units) == [CONTAINER_RW] * 5


def test_files_of_a_container_and_its_logs():
    home = f"containers/{CONTAINER}"

    assert owners(healthy_inventory(), home, f"{home}/config.v2.json", f"{home}/mounts", "containers") == [
        *[Owner(Category.CONTAINERS, FILES, CONTAINER)] * 3,
        Owner(Category.CONTAINERS, FILES),
    ]
    logs = ("", ".1", ".2.gz")
    names = [*(f"{CONTAINER}-json.log{end}" for end in logs), "local-logs", "container-cached.log.1"]
    assert owners(healthy_inventory(), *(f"{home}/{name}" for name in names)) == [
        Owner(Category.LOGS, "", CONTAINER)
    ] * len(names)


def test_layers_that_outlive_their_image_below_a_container():
    inventory = without(healthy_inventory(), Node(NodeKind.IMAGE, IMAGE))

    assert (
        owners(inventory, f"overlay2/{BASE_DIR}", record_of(TOP_CHAIN))
        == [Owner(Category.CONTAINERS, LAYERS, CONTAINER)] * 2
    )


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        (f"{CONTAINER}-app:latest", CONTAINER_RW),
        (f"{CONTAINER}-docker.io/library/app:latest", CONTAINER_RW),
        (f"{build_id('step')}-view", BUILDS),
    ],
)
def test_rw_layers_of_image_mounts_and_of_builds(name, owner):
    inventory = with_records(
        healthy_inventory(),
        rw_layer(RwLayerName(name), dir_id("view"), init_id=ABSENT),
        layer_dir(dir_id("view"), link_id("view")),
    )

    assert owners(inventory, f"overlay2/{dir_id('view')}") == [owner]
    assert owners(inventory, f"image/overlay2/layerdb/mounts/{name.partition('/')[0]}") == [owner]


def test_build_snapshots_are_build_cache_until_an_image_has_their_layer():
    step, exported = build_id("step"), build_id("exported")
    diff_id = DiffId(digest("exported diff"))
    chain = chain_id(None, diff_id)
    inventory = with_records(
        healthy_inventory(),
        BuildSnapshot(step, SnapshotKind.ACTIVE, step, "", None),
        BuildSnapshot("c" * 25, SnapshotKind.COMMITTED, exported, "", chain),
        layer_dir(step, link_id("step")),
        symlink(link_id("step"), step),
        layer_dir(exported, link_id("exported")),
        layer(diff_id, exported),
    )
    units = (f"overlay2/{step}", f"overlay2/l/{link_id('step')}", f"overlay2/{exported}", record_of(chain))

    assert owners(inventory, *units) == [BUILDS] * 4
    inventory = with_records(inventory, image(diff_id, image_id=OTHER_IMAGE))
    assert owners(inventory, *units) == [*[BUILDS] * 2, *[Owner(Category.IMAGES, UNIQUE, OTHER_IMAGE)] * 2]


def test_a_dir_that_only_a_lower_keeps_is_of_what_stands_on_it():
    below = build_id("below")
    inventory = with_records(
        healthy_inventory(),
        layer_dir(below, link_id("below")),
        symlink(link_id("below"), below),
        layer_dir(TOP_DIR, link_id("top"), (link_id("below"),)),
    )

    assert owners(inventory, f"overlay2/{below}", f"overlay2/l/{link_id('below')}") == [OWN] * 2


def test_a_dir_that_only_a_containers_lower_keeps_is_the_containers():
    below = build_id("below")
    inventory = with_records(
        without(healthy_inventory(), Node(NodeKind.IMAGE, IMAGE)),
        layer_dir(below, link_id("below")),
        layer_dir(INIT_DIR, INIT_LINK, (link_id("below"),)),
    )

    assert owners(inventory, f"overlay2/{below}") == [Owner(Category.CONTAINERS, LAYERS, CONTAINER)]


def test_a_layer_whose_dir_is_not_known_has_its_record():
    inventory = with_records(healthy_inventory(), replace(layer(BASE_DIFF, BASE_DIR), cache_id=EMPTY))

    assert owners(inventory, record_of(BASE_CHAIN)) == [OWN]


def test_orphans_come_first_and_by_code():
    orphan = layer_dir(dir_id("lost"), link_id("lost"))
    inventory = with_records(healthy_inventory(), orphan)
    subject = Node(NodeKind.LAYER_DIR, orphan.id)
    paths = (f"overlay2/{orphan.id}", f"overlay2/l/{link_id('lost')}")
    found = finding("GCD101", "orphaned-layer-dir", subject, paths=paths)
    owner = Owner(Category.ORPHANS, "GCD101", str(subject))

    assert owners(inventory, *paths, findings=[found]) == [owner] * 2
    assert (
        owners(inventory, *paths, findings=[replace(found, kind=Kind.LEFTOVER)])
        == [Owner(Category.OTHER, "overlay2")] * 2
    )
    assert owners(inventory, f"overlay2/{BASE_DIR}", findings=[found]) == [OWN]


def test_what_several_name_is_the_first_claimants():
    """Findings before image layers before rw layers before BuildKit's words."""
    inventory = with_records(
        healthy_inventory(),
        rw_layer(RwLayerName("f" * 64), TOP_DIR),
        BuildSnapshot("s" * 25, SnapshotKind.COMMITTED, RW_DIR, "", None),
    )
    found = finding("GCD101", "orphaned-layer-dir", Node(NodeKind.LAYER_DIR, BASE_DIR), paths=(f"overlay2/{BASE_DIR}",))
    units = [f"overlay2/{BASE_DIR}", f"overlay2/{TOP_DIR}", f"overlay2/{RW_DIR}"]

    assert owners(inventory, *units) == [OWN, OWN, CONTAINER_RW]
    assert owners(inventory, *units, findings=[found]) == [
        Owner(Category.ORPHANS, "GCD101", f"layer-dir:{BASE_DIR}"),
        OWN,
        CONTAINER_RW,
    ]


def test_everything_else_by_its_first_name():
    expected = {
        "": Owner(Category.OTHER, "."),
        "tmp": Owner(Category.OTHER, "tmp"),
        "engine-id": Owner(Category.OTHER, "engine-id"),
        "overlay2": Owner(Category.OTHER, "overlay2"),
        "overlay2/l": Owner(Category.OTHER, "overlay2"),
        "image": Owner(Category.OTHER, "image"),
        "image/overlay2": CATALOGUE,
        "image/overlay2/repositories.json": CATALOGUE,
        "image/aufs": Owner(Category.OTHER, "image"),
        "btrfs": Owner(Category.OTHER, "btrfs"),
        "volumes": Owner(Category.VOLUMES),
        "volumes/data": Owner(Category.VOLUMES),
        "buildkit": BUILDS,
        "plugins": Owner(Category.PLUGINS),
        "swarm": Owner(Category.SWARM),
        ".gcd": Owner(Category.QUARANTINE),
    }

    assert dict(zip(expected, owners(healthy_inventory(), *expected), strict=True)) == expected


def test_an_inode_of_several_is_the_first_ones():
    """In the order of the categories, so never an orphan's while anything alive has it."""
    lost = f"overlay2/{dir_id('lost')}"
    subject = Node(NodeKind.LAYER_DIR, dir_id("lost"))
    attribution = attributed(healthy_inventory(), finding("GCD101", "orphaned-layer-dir", subject, paths=(lost,)))
    tree = Tree(
        {lost: Unit(Space(4096, 2)), f"overlay2/{BASE_DIR}": Unit(Space(8192, 3)), "volumes/v": Unit(Space(512, 1))},
        {
            (lost, "volumes/v"): Space(100 * 512, 5),
            (f"overlay2/{BASE_DIR}", lost, "volumes/v"): Space(7 * 512, 1),
        },
    )

    assert attribution.shares(tree) == {
        Owner(Category.ORPHANS, "GCD101", str(subject)): Space(4096, 2),
        OWN: Space(8192 + 7 * 512, 4),
        Owner(Category.VOLUMES): Space(512 + 100 * 512, 6),
    }


def test_a_layer_of_nothing_that_is_there_is_other():
    stray = chain_id(None, DiffId(digest("stray")))
    inventory = with_records(
        healthy_inventory(), layer(DiffId(digest("stray")), dir_id("stray")), layer_dir(dir_id("stray"), link_id("s"))
    )

    assert owners(inventory, f"overlay2/{dir_id('stray')}", record_of(ChainId(stray))) == [
        Owner(Category.OTHER, "overlay2"),
        CATALOGUE,
    ]
