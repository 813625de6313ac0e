"""
Edges: what each record of a root refers to, one pure function per kind of record.

Targets are named whether they exist or not: a missing one is what "dangling" means. A layer dir's ``lower`` is not
among the edges; it names up to 125 layers that the parent chain names too, and `StoreGraph` closes over it separately.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model.finding import Node, NodeKind
from gcd.model.ids import init_dir_of, is_digest
from gcd.model.reading import Present, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.facts import (
        BuildLease,
        BuildSnapshot,
        Container,
        LayerRecord,
        RemovingRecord,
        RwLayerRecord,
        WriteSet,
    )
    from gcd.model.ids import LayerDirId
    from gcd.model.reading import Reading


def layer_node(chain: str) -> Node:
    return Node(NodeKind.LAYER, chain)


def dir_node(layer_dir: str) -> Node:
    return Node(NodeKind.LAYER_DIR, layer_dir)


def layer_edges(record: LayerRecord | RemovingRecord) -> Iterator[Node]:
    yield from _present(NodeKind.LAYER, record.parent)
    yield from _present(NodeKind.LAYER_DIR, record.cache_id)


def write_set_edges(write_set: WriteSet) -> Iterator[Node]:
    yield from _present(NodeKind.LAYER_DIR, write_set.cache_id)


def rw_layer_edges(record: RwLayerRecord) -> Iterator[Node]:
    yield from _present(NodeKind.LAYER, record.parent)
    yield from map(dir_node, rw_dirs_of(record))


def rw_dirs_of(record: RwLayerRecord) -> tuple[LayerDirId, ...]:
    """
    The dirs, existing or not, of an rw layer record; the init dir also when only ``mount-id`` tells of it, for the pair
    lives together.
    """
    mount_id, init_id = value_of(record.mount_id), value_of(record.init_id)
    if init_id is None and mount_id is not None:
        init_id = init_dir_of(mount_id)
    return tuple(dir_id for dir_id in (mount_id, init_id) if dir_id is not None)


def container_edges(container: Container) -> Iterator[Node]:
    """The rw layer record of the same name, the image, and the rw layer records of image mounts that are named."""
    yield Node(NodeKind.RW_LAYER, container.id)
    if isinstance(container.config, Present):
        if container.config.value.image:
            yield Node(NodeKind.IMAGE, container.config.value.image)
        for mount in container.config.value.image_mounts:
            if mount.layer_name:
                yield Node(NodeKind.RW_LAYER, mount.layer_name)


def snapshot_edges(snapshot: BuildSnapshot) -> Iterator[Node]:
    """The dir, the parent (another snapshot's name or a chain), and the layer record that an exported one became."""
    if snapshot.dir_id is not None:
        yield dir_node(snapshot.dir_id)
    if snapshot.parent:
        yield from _snapshot_or_layer(snapshot.parent)
    if snapshot.chain_id is not None:
        yield layer_node(snapshot.chain_id)
    elif is_digest(snapshot.name):
        yield layer_node(snapshot.name)


def lease_edges(lease: BuildLease) -> Iterator[Node]:
    for name in lease.snapshots:
        yield from _snapshot_or_layer(name)


def _snapshot_or_layer(name: str) -> Iterator[Node]:
    yield layer_node(name) if is_digest(name) else Node(NodeKind.BUILD_SNAPSHOT, name)


def _present(kind: NodeKind, reading: Reading[str]) -> Iterator[Node]:
    if isinstance(reading, Present):
        yield Node(kind, reading.value)
