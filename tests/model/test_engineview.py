"""What the engine's own figures are, from records and payloads; tests/engine compares them with an engine's word."""

from __future__ import annotations

from support.inventories import (
    BASE_CHAIN,
    BASE_DIFF,
    CONTAINER,
    IMAGE,
    RW_DIR,
    TOP_CHAIN,
    build_id,
    digest,
    dir_id,
    graph_of,
    healthy_inventory,
    image,
    layer,
    with_records,
)

from gcd.model.attribution import image_users, listed_images
from gcd.model.engineview import EngineSizes
from gcd.model.facts import BuildRecord, BuildSnapshot, SnapshotKind, Volume
from gcd.model.ids import DiffId, ImageId, chain_id
from gcd.model.reading import ABSENT, EMPTY, Present
from gcd.model.space import EngineRow, EngineView, Space, Tree, Unit

OTHER_IMAGE = ImageId(digest("other image"))


def sizes_of(inventory, **payloads):
    graph = graph_of(inventory)
    tree = Tree({path: Unit(Space(), size) for path, size in payloads.items()})
    return EngineSizes(inventory, graph, tree, image_users(graph, listed_images(inventory)))


def view_of(inventory, **payloads):
    return sizes_of(inventory, **payloads).view(listed_images(inventory))


def test_a_layer_of_several_images_counts_once_in_all_and_in_each():
    inventory = with_records(healthy_inventory(), image(BASE_DIFF, image_id=OTHER_IMAGE))
    sizes = sizes_of(inventory)

    assert view_of(inventory).images == EngineRow(2, 2000)
    assert sizes.image(IMAGE) == (2000, 1000)
    assert sizes.image(OTHER_IMAGE) == (1000, 1000)


def test_a_layer_of_unknown_size_leaves_its_images_unknown():
    inventory = with_records(healthy_inventory(), layer(BASE_DIFF, dir_id("base"), size=EMPTY))

    assert sizes_of(inventory).image(IMAGE) == (None, None)
    assert view_of(inventory) == EngineView(
        EngineRow(1, 1000), EngineRow(1, 0), EngineRow(0, 0), EngineRow(0, 0), unknown_layers=1
    )


def test_containers_have_the_files_of_their_rw_dir():
    payloads = {f"overlay2/{RW_DIR}": 123, f"overlay2/{RW_DIR}-init": 5}

    assert sizes_of(healthy_inventory(), **payloads).container(CONTAINER) == 123
    assert view_of(healthy_inventory(), **payloads).containers == EngineRow(1, 123)


def test_volumes_with_options_do_not_count():
    inventory = healthy_inventory(volumes={"a": Volume("a", ABSENT), "b": Volume("b", Present(None))})

    assert view_of(inventory, **{"volumes/a": 10, "volumes/b": 100}).volumes == EngineRow(1, 10)


def test_build_records():
    """A context and its twin, a step, a step that an image has, a step exported to no image, an image's layer."""
    context, step, exported, lost = (build_id(word) for word in ("context", "step", "exported", "lost"))
    diff_id = DiffId(digest("exported diff"))
    chain = chain_id(None, diff_id)
    inventory = with_records(
        healthy_inventory(),
        layer(diff_id, exported, size=Present(70)),
        BuildSnapshot(context, SnapshotKind.ACTIVE, context, "", None),
        BuildSnapshot("s" * 25, SnapshotKind.COMMITTED, step, "", None),
        BuildSnapshot("t" * 25, SnapshotKind.COMMITTED, build_id("top"), "", TOP_CHAIN),
        BuildSnapshot("e" * 25, SnapshotKind.COMMITTED, exported, "", chain),
        BuildSnapshot(BASE_CHAIN, SnapshotKind.LAYER, None, "", BASE_CHAIN),
        BuildRecord(context, context, "", "source.local"),
        BuildRecord("w" * 25, "w" * 25, context, "source.local"),
        BuildRecord("s" * 25, "s" * 25, "", "regular"),
        BuildRecord("t" * 25, "t" * 25, "", "regular"),
        BuildRecord("e" * 25, "e" * 25, "", "regular"),
        BuildRecord("b" * 25, BASE_CHAIN, "", "regular"),
        BuildRecord("l" * 25, lost, "", "regular"),
    )
    view = view_of(inventory, **{f"overlay2/{context}": 3, f"overlay2/{step}": 40, f"overlay2/{exported}": 999})

    assert view.build_cache == EngineRow(6, 3 + 40 + 70)
    assert view.build_bytes_in_images == 1000
