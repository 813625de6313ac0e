"""
What can be said of an rw layer record from everything but itself: whose it is, and what its lost files must have said.

Proofs are those of safety rule S12: a mount id only where the pair of dirs is whole, no record names it and the rw
dir's ``lower`` starts with the init dir's link; a parent only where the ``lower`` equals that chain by diff ids.

Sources: moby ``layer/layer_store.go`` CreateRWLayer and saveMount, ``layer/mounted_layer.go`` Metadata,
``daemon/volumes.go`` registerMountPoints (names of image mounts), ``daemon/create.go``.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from gcd.model import edges, layout
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ChainId, ContainerId, ImageId, LayerDirId, init_dir_of, rw_dir_of
from gcd.model.links import lower_of
from gcd.model.reading import Absent, Present, value_of
from gcd.rules.stacking import diff_ids_from, known_diff_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gcd.model.facts import ContainerConfig, RwLayerRecord
    from gcd.model.ids import DiffId, LinkId, RwLayerName
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph

_HEX_OF_ID = 128
"""The digits that a container id of 64 characters takes when it is written in hex once more."""


def is_owned(inventory: Inventory, graph: StoreGraph, name: RwLayerName) -> bool:
    """
    Whether the rw layer record `name` is that of an existing container, or one that its image mount made.

    Containers name their own, and most image mounts say the name. The others are told by its form, which differs by
    version: ``<container>-<image>`` in 28; the hex digits of ``<container>,src=…,dst=…`` in 29.0; the SHA-256 of
    ``<container>-src=…-dst=…`` from 29.1.4 on.
    """
    if graph.graph.referrers(Node(NodeKind.RW_LAYER, name)):
        return True
    if name[64:65] == "-":
        return ContainerId(name[:64]) in inventory.containers
    if len(name) > _HEX_OF_ID:
        return _text_of_hex(name[:_HEX_OF_ID]) in inventory.containers
    return any(name == hashed for hashed in _hashed_names(inventory))


def has_init(inventory: Inventory, record: RwLayerRecord) -> bool:
    """Whether the record has an init layer, by its own word or by the dir beside its rw dir: containers' have one."""
    if not isinstance(record.init_id, Absent):
        return True
    return isinstance(record.mount_id, Present) and init_dir_of(record.mount_id.value) in inventory.layer_dirs


def dirs_of(inventory: Inventory, record: RwLayerRecord) -> tuple[LayerDirId, ...]:
    """The existing layer dirs of `record`, rw dir first; its init dir also when the record does not name it."""
    return tuple(d for node in edges.rw_layer_edges(record) if (d := LayerDirId(node.id)) in inventory.layer_dirs)


def freed_paths(graph: StoreGraph, layer_dirs: Iterable[LayerDirId]) -> Iterator[str]:
    """The dirs with their symlinks in the link farm."""
    for layer_dir in layer_dirs:
        yield layout.layer_dir(layer_dir)
        yield from (layout.link_symlink(link) for link in sorted(graph.symlinks_to.get(layer_dir, ())))


def implied_mount_id(inventory: Inventory, graph: StoreGraph, record: RwLayerRecord) -> LayerDirId | None:
    """
    The mount id that `record` must have had: its init id's partner, else the one free pair on its parent; or None.
    """
    if isinstance(record.init_id, Present):
        candidates = [rw_dir_of(record.init_id.value)]
    else:
        below = diff_ids_from(inventory, graph, record.parent)
        if below is None:
            return None
        candidates = [d for d in inventory.layer_dirs if _stands_on(inventory, graph, init_dir_of(d), below)]
    proven = [d for d in candidates if is_pair(inventory, graph, d) and _names_of(graph, d) <= {record.name}]
    return proven[0] if len(proven) == 1 else None


def is_pair(inventory: Inventory, graph: StoreGraph, rw_dir: LayerDirId) -> bool:
    """Whether `rw_dir` and its init dir exist and the first element of its ``lower`` is the init dir's link."""
    init_dir = init_dir_of(rw_dir)
    if rw_dir not in inventory.layer_dirs:
        return False
    lower = lower_of(inventory.layer_dirs[rw_dir])
    return bool(lower.links) and not lower.bad and init_dir in graph.dirs_of_link(lower.links[0])


def links_below(inventory: Inventory, record: RwLayerRecord) -> tuple[LinkId, ...]:
    """The links of the image layers below `record`, as the ``lower`` of its init dir says, else that of its rw dir."""
    mount_id = value_of(record.mount_id) or (rw_dir_of(init) if (init := value_of(record.init_id)) else None)
    if mount_id is None:
        return ()
    if (init_dir := inventory.layer_dirs.get(init_dir_of(mount_id))) is not None:
        return lower_of(init_dir).links
    rw_dir = inventory.layer_dirs.get(mount_id)
    links = lower_of(rw_dir).links if rw_dir else ()
    return links if isinstance(record.init_id, Absent) else links[1:]


def implied_parent(inventory: Inventory, graph: StoreGraph, record: RwLayerRecord) -> ChainId | None:
    """
    The chain that `record` must have named: the image's top or that of the nearest dir, if it loads and fits; or None.
    """
    links = links_below(inventory, record)
    candidates = {*_top_of_image(inventory, graph, record), *_chains_of_link(graph, links[:1])}
    proven = [
        chain
        for chain in candidates
        if graph.is_loadable(chain)
        and (below := diff_ids_from(inventory, graph, Present(chain))) is not None
        and _fit(graph, links, below)
    ]
    return proven[0] if len(proven) == 1 else None


def config_of(inventory: Inventory, name: RwLayerName) -> ContainerConfig | None:
    """The config of the container that `name` is the rw layer record of, where it can be read."""
    container = inventory.containers.get(ContainerId(name))
    return value_of(container.config) if container else None


def has_layers(inventory: Inventory, graph: StoreGraph, record: RwLayerRecord) -> bool:
    """Whether the image of the record's container is there and has layers."""
    return bool(_top_of_image(inventory, graph, record))


def _top_of_image(inventory: Inventory, graph: StoreGraph, record: RwLayerRecord) -> tuple[ChainId, ...]:
    config = config_of(inventory, record.name)
    chains = graph.image_chains.get(ImageId(config.image), ()) if config else ()
    return tuple(chain for chain, _ in chains[-1:])


def _chains_of_link(graph: StoreGraph, links: tuple[LinkId, ...]) -> tuple[ChainId, ...]:
    return tuple(r.chain_id for link in links for d in graph.dirs_of_link(link) for r in graph.layers_of(d))


def _stands_on(inventory: Inventory, graph: StoreGraph, init_dir: LayerDirId, below: tuple[DiffId, ...]) -> bool:
    layer_dir = inventory.layer_dirs.get(init_dir)
    return layer_dir is not None and not lower_of(layer_dir).bad and _fit(graph, lower_of(layer_dir).links, below)


def _fit(graph: StoreGraph, links: tuple[LinkId, ...], below: tuple[DiffId, ...]) -> bool:
    """Whether `links` lead, one by one, to dirs of the diff ids `below`."""
    return len(links) == len(below) and all(
        any(diff_id in known_diff_ids(graph, d) for d in graph.dirs_of_link(link))
        for link, diff_id in zip(links, below, strict=True)
    )


def _names_of(graph: StoreGraph, layer_dir: LayerDirId) -> set[str]:
    return {node.id for node in graph.owners(layer_dir) if node.kind is not NodeKind.MOUNT}


def _hashed_names(inventory: Inventory) -> Iterator[str]:
    for container in inventory.containers.values():
        config = value_of(container.config)
        for mount in config.image_mounts if config else ():
            said = f"{container.id}-src={mount.source}-dst={mount.destination}"
            yield hashlib.sha256(said.encode(errors="surrogateescape")).hexdigest()


def _text_of_hex(digits: str) -> ContainerId | None:
    try:
        return ContainerId(bytes.fromhex(digits).decode("ascii"))
    except ValueError:
        return None
