"""
The accounts of a root: everything that a walk measured, by owner, with the tables of images and containers.

Pure: from an inventory, its graph, what each owner claims and the measured tree to a `DiskUsage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model.attribution import image_owner
from gcd.model.engineview import EngineSizes
from gcd.model.space import (
    FILES,
    RANK,
    RW,
    UNIQUE,
    Category,
    ContainerSpace,
    DiskUsage,
    ImageSpace,
    Owner,
    Space,
    sum_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gcd.model.attribution import Attribution
    from gcd.model.finding import NotChecked
    from gcd.model.ids import ImageId
    from gcd.model.inventory import Inventory
    from gcd.model.space import Tree
    from gcd.model.storegraph import StoreGraph

Owned = dict[Owner, Space]


def account(
    inventory: Inventory,
    graph: StoreGraph,
    attribution: Attribution,
    not_checked: tuple[NotChecked, ...],
    tree: Tree,
    *,
    now_ns: int,
) -> DiskUsage:
    """`not_checked` are the rules that look for orphans and did not run."""
    owned = attribution.shares(tree)
    sizes = EngineSizes(inventory, graph, tree, attribution.users)
    return DiskUsage(
        root=inventory.root,
        store=inventory.store,
        engine=inventory.engine.state,
        shares=_by_part(owned),
        total=sum_of(owned.values()),
        images=tuple(_images(graph, attribution, sizes, owned)),
        containers=tuple(_containers(inventory, graph, sizes, owned)),
        view=sizes.view(attribution.listed),
        unreadable=tree.unreadable,
        not_checked=not_checked,
        checked_ns=now_ns,
    )


def _by_part(owned: Owned) -> Mapping[tuple[Category, str], Space]:
    found: dict[tuple[Category, str], list[Space]] = {}
    for owner, space in owned.items():
        found.setdefault((owner.category, owner.part), []).append(space)
    return {key: sum_of(found[key]) for key in sorted(found, key=lambda key: (RANK[key[0]], key[1]))}


def _images(graph: StoreGraph, attribution: Attribution, sizes: EngineSizes, owned: Owned) -> Iterator[ImageSpace]:
    """The images that the engine lists, those with most of their own first."""
    rows = [_image(graph, attribution, sizes, owned, image) for image in attribution.listed]
    yield from sorted(rows, key=lambda row: (-row.unique.disk_bytes, -row.shared.disk_bytes, row.references, row.id))


def _image(graph: StoreGraph, attribution: Attribution, sizes: EngineSizes, owned: Owned, image: ImageId) -> ImageSpace:
    chains = [chain for chain, _ in graph.image_chains.get(image, ())]
    owners = {image_owner(chain, attribution.users[chain]) for chain in chains}
    own = Owner(Category.IMAGES, UNIQUE, image)
    engine_bytes, engine_shared_bytes = sizes.image(image)
    return ImageSpace(
        id=image,
        references=graph.image_labels(image),
        layers=len(chains),
        unique=owned.get(own, Space()),
        shared=sum_of(owned.get(owner, Space()) for owner in owners - {own}),
        engine_bytes=engine_bytes,
        engine_shared_bytes=engine_shared_bytes,
    )


def _containers(inventory: Inventory, graph: StoreGraph, sizes: EngineSizes, owned: Owned) -> Iterator[ContainerSpace]:
    """All containers, the largest first."""
    rows = [
        ContainerSpace(
            id=container,
            name=graph.container_label(container),
            rw=owned.get(Owner(Category.CONTAINERS, RW, container), Space()),
            logs=owned.get(Owner(Category.LOGS, "", container), Space()),
            files=owned.get(Owner(Category.CONTAINERS, FILES, container), Space()),
            engine_bytes=sizes.container(container),
        )
        for container in inventory.containers
    ]
    yield from sorted(rows, key=lambda row: (-row.rw.disk_bytes - row.logs.disk_bytes, row.name, row.id))
