"""
In which order things are done, and what stands on what.

Repairs come first, what lies below before what stands on it: a layer loads only if its parent does. Then releases and
moves, the other way round: dependents before what they depend on, so that a run may end anywhere and leaves nothing
behind that has lost what it stood on. A killed pull leaves a dir without a record on top of leaked layers: it goes
first, and only then can they be released.
"""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import TYPE_CHECKING

from gcd.model import edges, layout
from gcd.model.finding import Kind, Node, NodeKind, RemedyKind
from gcd.model.ids import ChainId, LayerDirId
from gcd.model.links import lower_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gcd.model.finding import Finding
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph

_GROUND: Mapping[NodeKind, int] = {NodeKind.LAYER: 1, NodeKind.LAYER_DIR: 1, NodeKind.LINK: 2, NodeKind.LINK_FARM: 3}
"""How near the ground of a store a kind of thing is; what is not named stands on all of these."""


class Standing:
    """What stands on what among `findings`, and how high."""

    def __init__(self, inventory: Inventory, graph: StoreGraph, findings: Sequence[Finding]) -> None:
        self._inventory = inventory
        self._graph = graph
        self._leaked = {
            ChainId(finding.subject.id): finding
            for finding in findings
            if finding.kind is Kind.ORPHAN and finding.subject.kind is NodeKind.LAYER
        }

    def key(self, finding: Finding, kind: RemedyKind) -> tuple[bool, int, int, str]:
        """Sorts findings into the order in which the remedy of `kind` is done about each."""
        ground, height = _GROUND.get(finding.subject.kind, 0), self._height(finding.subject)
        if kind is RemedyKind.REPAIR:
            return False, -ground, height, finding.id
        return True, ground, -height, finding.id

    def _height(self, node: Node) -> int:
        """How many layers lie below `node`, as far as its records tell."""
        if node.kind is NodeKind.LAYER:
            return (self._graph.depth(ChainId(node.id)) or 1) - 1
        layer_dir = self._inventory.layer_dirs.get(LayerDirId(node.id)) if node.kind is NodeKind.LAYER_DIR else None
        return lower_of(layer_dir).depth if layer_dir is not None else 0

    def on(self, nodes: Iterable[Node]) -> tuple[Node, ...]:
        """All that refers to one of `nodes` itself, by a record or by a ``lower``."""
        own = tuple(nodes)
        found = dict.fromkeys(node for here in own for node in self._directly_on(here))
        return tuple(node for node in found if node not in own)

    def _directly_on(self, node: Node) -> Iterator[Node]:
        yield from self._graph.graph.referrers(node)
        if node.kind is NodeKind.LAYER_DIR:
            yield from map(edges.dir_node, self._graph.citers_of(LayerDirId(node.id)))

    def disk_bytes(self, finding: Finding) -> int:
        """What comes back when `finding` is done about; of leaked layers all that hang together count as one."""
        if (chain := ChainId(finding.subject.id)) not in self._leaked:
            return finding.disk_bytes or 0
        return self._worth[self._lowest[chain]]

    @cached_property
    def _lowest(self) -> Mapping[ChainId, ChainId]:
        """By leaked layer, the lowest leaked one that it stands on, or itself."""
        found: dict[ChainId, ChainId] = {}
        for start in self._leaked:
            path = list(itertools.takewhile(lambda chain: chain in self._leaked, self._graph.ancestors(start)))
            found |= dict.fromkeys(path, path[-1])
        return found

    @cached_property
    def _worth(self) -> Mapping[ChainId, int]:
        """By lowest leaked layer, what it and all leaked ones on it take."""
        found: dict[ChainId, int] = {}
        for chain, lowest in self._lowest.items():
            found[lowest] = found.get(lowest, 0) + (self._leaked[chain].disk_bytes or 0)
        return found


def nodes_of(finding: Finding) -> tuple[Node, ...]:
    """All things that are taken away with `finding`: its subject, its other names, and the dirs among its paths."""
    parts = (path.split("/") for path in finding.paths)
    dirs = (part[1] for part in parts if len(part) == 2 and part[0] == layout.OVERLAY2)
    return tuple(dict.fromkeys((finding.subject, *finding.related, *map(edges.dir_node, dirs))))
