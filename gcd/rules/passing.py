"""
States in passing: what a working engine leaves half-done for minutes and gcd must not call damage (safety rule S8).

Sources: moby ``daemon/graphdriver/overlay2/overlay.go`` create and Remove, ``layer/layer_store.go`` ReleaseRWLayer and
deleteLayer, ``builder-next/adapters/snapshot/snapshot.go`` Prepare and remove, ``daemon/delete.go`` cleanupContainer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model.finding import NodeKind
from gcd.rules.belonging import has_init, is_owned

if TYPE_CHECKING:
    from gcd.model.facts import LayerDir
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph

_UNFINISHED = frozenset({NodeKind.REMOVING_LAYER, NodeKind.DATABASE, NodeKind.WRITE_SET, NodeKind.MOUNT})
"""Owners that never make a dir one that the engine will use: work that was begun and not ended, or a removal."""

_FLEETING = _UNFINISHED | {NodeKind.BUILD_SNAPSHOT}
"""And a build's, which stays a moment after the removal of its dir began."""


def is_whole(inventory: Inventory, graph: StoreGraph, layer_dir: LayerDir) -> bool:
    """
    Whether `layer_dir` is one that the engine regards as finished, so that a missing part of it is damage.

    Not so: what nothing refers to; newborn dirs; the pair of a container that is being removed; the dir of a build's
    rw layer; what only a record that is being deleted, a write set, or a lease of BuildKit names; a young build dir.
    """
    if layer_dir.id in graph.unreferenced_dirs or layer_dir.id not in inventory.candidates:
        return False
    if (record := graph.rw_layers_by_dir.get(layer_dir.id)) is not None:
        if graph.is_being_removed(record.name):
            return False
        is_ghost = has_init(inventory, record) and graph.is_settled(layer_dir.ctime_ns)
        return is_owned(inventory, graph, record.name) or is_ghost
    kinds = {owner.kind for owner in graph.owners(layer_dir.id)}
    if kinds and kinds <= _UNFINISHED:
        return False
    return not kinds <= _FLEETING or graph.is_settled(layer_dir.ctime_ns)
