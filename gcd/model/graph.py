"""
A directed graph of nodes: who refers to what.

Knows no storage: nodes are opaque, an edge runs from the one that refers to the one referred to, and a target need not
exist. All walks are iterative (chains are 125 deep, damaged ones cyclic) and visit a node once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gcd.model.finding import Node


class Graph:
    """`referrers` are the edges the other way round, where they are known already."""

    def __init__(
        self, edges: Mapping[Node, tuple[Node, ...]], referrers: Mapping[Node, list[Node]] | None = None
    ) -> None:
        self._targets = edges
        self._referrers = referrers if referrers is not None else _turned(edges)

    def replaced(self, edges: Mapping[Node, tuple[Node, ...] | None]) -> Graph:
        """This graph with other edges of some nodes; None: a node that refers to nothing any more."""
        targets, referrers = dict(self._targets), dict(self._referrers)
        for node, to in edges.items():
            for target in set(targets.pop(node, ())):
                left = [other for other in referrers.pop(target) if other != node]
                if left:
                    referrers[target] = left
            if to is not None:
                targets[node] = to
                for target in to:
                    referrers[target] = [*referrers.get(target, ()), node]
        return Graph(targets, referrers)

    def targets(self, node: Node) -> tuple[Node, ...]:
        """What `node` refers to, whether it exists or not."""
        return self._targets.get(node, ())

    def referrers(self, node: Node) -> tuple[Node, ...]:
        """What refers to `node`."""
        return tuple(self._referrers.get(node, ()))

    def reachable(self, roots: Iterable[Node]) -> set[Node]:
        """`roots` and all that they refer to, directly or through others."""
        return _closure(roots, self._targets)

    def dependents(self, node: Node) -> set[Node]:
        """All that refers to `node`, directly or through others; without `node` itself."""
        return _closure((node,), self._referrers) - {node}

    def why(self, node: Node, roots: Iterable[Node]) -> tuple[Node, ...]:
        """A shortest path from one of `roots` to `node`, both included; empty if there is none."""
        came_from: dict[Node, Node | None] = dict.fromkeys(roots)
        queue = deque(came_from)
        while queue:
            here = queue.popleft()
            if here == node:
                path = [here]
                while (before := came_from[path[-1]]) is not None:
                    path.append(before)
                return tuple(reversed(path))
            for target in self._targets.get(here, ()):
                if target not in came_from:
                    came_from[target] = here
                    queue.append(target)
        return ()


def _turned(edges: Mapping[Node, tuple[Node, ...]]) -> dict[Node, list[Node]]:
    found: dict[Node, list[Node]] = {}
    for node, targets in edges.items():
        for target in targets:
            found.setdefault(target, []).append(node)
    return found


def _closure(start: Iterable[Node], edges: Mapping[Node, Iterable[Node]]) -> set[Node]:
    seen = set(start)
    stack = list(seen)
    while stack:
        for target in edges.get(stack.pop(), ()):
            if target not in seen:
                seen.add(target)
                stack.append(target)
    return seen
