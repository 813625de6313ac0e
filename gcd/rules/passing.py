"""
States in passing: what a working engine leaves half-done for minutes and gcd must not call damage (safety rule S8).

Sources: moby ``daemon/graphdriver/overlay2/overlay.go`` create and Remove, ``layer/layer_store.go`` ReleaseRWLayer and
deleteLayer, ``builder-next/adapters/snapshot/snapshot.go`` Prepare and remove, ``daemon/delete.go`` cleanupContainer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model.finding import NodeKind
from gcd.rules.belonging import is_owned

if TYPE_CHECKING:
    from gcd.model.facts import LayerDir
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph

FLEETING = frozenset({NodeKind.DATABASE, NodeKind.WRITE_SET, NodeKind.BUILD_SNAPSHOT, NodeKind.MOUNT})
"""Owners that come before their dir is complete, or stay a moment after its removal began."""


def is_whole(inventory: Inventory, graph: StoreGraph, layer_dir: LayerDir) -> bool:
    """
    Whether `layer_dir` is one that the engine regards as finished, so that a missing part of it is damage.

    Not so: what nothing refers to; newborn dirs; the pair of a container that is being removed; the dir of a build's
    rw layer or of a record that is being deleted; a young dir that only BuildKit or a write set names.
    """
    if layer_dir.id not in graph.referenced_dirs or layer_dir.id not in inventory.candidates:
        return False
    if (record := graph.rw_layers_by_dir.get(layer_dir.id)) is not None:
        if graph.is_being_removed(record.name):
            return False
        return is_owned(inventory, graph, record.name) or graph.is_settled(layer_dir.ctime_ns)
    kinds = {owner.kind for owner in graph.owners(layer_dir.id)}
    if kinds and kinds <= {NodeKind.REMOVING_LAYER}:
        return False
    return not kinds <= FLEETING or graph.is_settled(layer_dir.ctime_ns)
