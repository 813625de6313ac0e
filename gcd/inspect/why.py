"""
What keeps a directory alive: the way to it from a tag, a container, a build, a kernel mount.

Walks from the directory to whatever refers to it, first along records alone, then along ``lower`` files as well: a
directory that no record names can still be the lower of a live layer (safety rule S2). Of all that is met the strongest
keeper counts, and of its ways the shortest.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gcd.inspect.view import Kept, Why
from gcd.model import edges
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ContainerId, ImageId, LayerDirId, is_layer_dir_id
from gcd.model.reading import value_of
from gcd.model.storegraph import BUILD_WORDS, partner_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gcd.model.finding import Finding
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph

_STRENGTH = tuple(Kept)
_RECORDS = {NodeKind.LAYER, NodeKind.RW_LAYER, NodeKind.REMOVING_LAYER, NodeKind.WRITE_SET, NodeKind.ENTRY}
_BUILDS = {NodeKind.BUILD_SNAPSHOT, NodeKind.BUILD_LEASE}


class Keepers:
    """Answers for one inventory; `findings` are those of the same reading."""

    def __init__(self, inventory: Inventory, graph: StoreGraph, findings: Sequence[Finding]) -> None:
        self._inventory = inventory
        self._graph = graph
        self._findings = findings
        self._tags = _tags(inventory)

    def why(self, directory: LayerDirId) -> Why:
        """The keeper of `directory` and the way down from it; NOTHING, with an empty way, where there is none."""
        node = edges.dir_node(directory)
        kept, path = self._strongest(node, through_lower=False)
        if kept is Kept.NOTHING:
            kept, path = self._strongest(node, through_lower=True)
        if directory not in self._inventory.layer_dirs:
            kept = Kept.MISSING
        elif kept in (Kept.NOTHING, Kept.YOUNG) and self._is_young(directory):
            kept, path = Kept.YOUNG, (node,)
        subjects = {node, *path}
        return Why(directory, kept, path, tuple(f.id for f in self._findings if f.subject in subjects))

    def _strongest(self, node: Node, *, through_lower: bool) -> tuple[Kept, tuple[Node, ...]]:
        leads_to: dict[Node, Node | None] = {node: None}
        queue = deque(leads_to)
        best, keeper = Kept.NOTHING, node
        while queue and best is not _STRENGTH[0]:
            here = queue.popleft()
            kept = self._keeps(here, node)
            if _STRENGTH.index(kept) < _STRENGTH.index(best):
                best, keeper = kept, here
            for referrer in self._referrers(here, through_lower=through_lower):
                if referrer not in leads_to:
                    leads_to[referrer] = here
                    queue.append(referrer)
        if best is Kept.NOTHING:
            return best, ()
        path = [keeper]
        while (below := leads_to[path[-1]]) is not None:
            path.append(below)
        return best, tuple(path)

    def _referrers(self, node: Node, *, through_lower: bool) -> Iterator[Node]:
        if node.kind is NodeKind.IMAGE:
            yield from (Node(NodeKind.REFERENCE, tag) for tag in self._tags.get(node.id, ()))
        yield from self._graph.graph.referrers(node)
        if through_lower and node.kind is NodeKind.LAYER_DIR:
            directory = LayerDirId(node.id)
            yield from map(edges.dir_node, self._graph.citers_of(directory))
            if partner_of(directory) in self._inventory.layer_dirs:
                yield edges.dir_node(partner_of(directory))

    def _keeps(self, node: Node, start: Node) -> Kept:
        """What `node` is as a keeper of `start`."""
        kept = Kept.NOTHING
        if node.kind is NodeKind.REFERENCE:
            kept = Kept.TAG
        elif node.kind is NodeKind.CONTAINER and ContainerId(node.id) in self._inventory.containers:
            kept = Kept.CONTAINER
        elif node.kind is NodeKind.IMAGE and ImageId(node.id) in self._inventory.images:
            kept = Kept.IMAGE
        elif node.kind in _BUILDS:
            kept = Kept.BUILD
        elif node.kind is NodeKind.MOUNT:
            kept = Kept.MOUNT
        elif node == BUILD_WORDS:
            kept = Kept.MENTION
        elif node.kind in _RECORDS:
            kept = Kept.RECORD
        elif node.kind is NodeKind.LAYER_DIR and node != start and self._is_young(LayerDirId(node.id)):
            kept = Kept.YOUNG
        return kept

    def _is_young(self, directory: LayerDirId) -> bool:
        """
        Whether the dir, which must be there, may belong to work under way: made during the reading, held open, or too
        new to be proven.
        """
        return (
            (directory not in self._inventory.candidates and is_layer_dir_id(directory))
            or directory in self._inventory.held_dirs
            or not self._graph.is_settled(self._inventory.layer_dirs[directory].ctime_ns)
        )


def _tags(inventory: Inventory) -> Mapping[str, tuple[str, ...]]:
    repositories = value_of(inventory.repositories)
    found: dict[str, list[str]] = {}
    for reference, image in (repositories.references if repositories else {}).items():
        found.setdefault(image, []).append(reference)
    return {image: tuple(sorted(names, key=lambda name: ("@" in name, name))) for image, names in found.items()}
