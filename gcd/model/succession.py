"""
The graph of a root of which a few records changed since its last graph.

What the last graph had worked out and the change does not touch is taken over; what it touches is mended where it was
touched: each index is copied, which is cheap, and the entries of changed records are replaced. What follows from all
records at once (what is reachable, what is kept) is worked out anew, from those indexes. A graph made so says the same
as one made from nothing; a test holds it to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct, field

from gcd.model import edges
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ContainerId
from gcd.model.reading import value_of
from gcd.model.storegraph import StoreGraph, partner_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gcd.model.ids import ChainId, ImageId, LayerDirId, LinkId, RwLayerName
    from gcd.model.inventory import Inventory

K = TypeVar("K")
V = TypeVar("V")


class Differing(Struct, frozen=True):
    """
    The ids under which two inventories of one root differ, in either direction; whatever else they hold may differ as
    well, but not one mapping that has its ids here.
    """

    layer_dirs: frozenset[LayerDirId] = frozenset()
    links: frozenset[LinkId] = frozenset()
    layers: frozenset[ChainId] = frozenset()
    rw_layers: frozenset[RwLayerName] = frozenset()
    images: frozenset[ImageId] = frozenset()
    containers: frozenset[ContainerId] = frozenset()


_OF_LAYERS = (
    "parents", "cache_ids", "orphaned_parents", "broken_at", "_depths", "endless_or_too_deep", "chain_of_dir",
    "sharers", "children",
)  # fmt: skip
_OF_IMAGES = ("image_chains", "computed_parents", "computed_diff_ids")
_OF_BOTH = ("lost_chains", "perhaps_without_parent", "proven_depths", "unproven_names", "imageless")
_FEW = ("removing", "write_sets", "build_cache", "quarantine")
"""What follows from layer records alone, from images alone, and from these two; and whose records are few."""


def succeed(before: StoreGraph, inventory: Inventory, bound_ns: int | None, differing: Differing) -> StoreGraph:
    """The graph of `inventory`, which differs as said from that of `before`; `bound_ns` as for any graph."""
    after = StoreGraph(inventory, bound_ns)
    _Succession(before, after, differing).run()
    return after


class _Succession(Struct):
    before: StoreGraph
    after: StoreGraph
    differing: Differing
    dirs: set[LayerDirId] = field(default_factory=set)
    """The dirs of which a record, one that names them, or one that says what lies below them differs."""

    links: set[LinkId] = field(default_factory=set)
    """The links that a differing dir says, or its ``lower``, or that differ themselves or lead to it."""

    def run(self) -> None:
        self._take_over()
        self._mend_rw_layers()
        self._mend_links()
        self._touch()
        self._mend_disagreements()
        if "graph" in vars(self.before):
            self._mend_graph()

    def _take_over(self) -> None:
        differing = self.differing
        taken: list[str] = []
        if not differing.layers:
            taken += _OF_LAYERS
        if not differing.images:
            taken += _OF_IMAGES
        if not differing.layers and not differing.images:
            taken += _OF_BOTH
        old, new = self.before.inventory, self.after.inventory
        if all(getattr(old, name) is getattr(new, name) for name in _FEW):
            taken.append("recorded_by_few")
        if old.image_metadata is new.image_metadata and not differing.images:
            taken.append("odd_notes")
        known = vars(self.before)
        vars(self.after).update({name: known[name] for name in taken if name in known})

    def _mend_rw_layers(self) -> None:
        before, after, names = self.before, self.after, self.differing.rw_layers
        old, new = before.inventory.rw_layers, after.inventory.rw_layers
        gone = [(d, name) for name in names & old.keys() for d in edges.rw_dirs_of(old[name])]
        come = [(d, name) for name in names & new.keys() for d in edges.rw_dirs_of(new[name])]
        namers = regrouped(before.rw_namers, gone, come)
        found = dict(before.rw_layers_by_dir)
        for dir_id, _ in (*gone, *come):
            found.pop(dir_id, None)
            if dir_id in namers:
                found[dir_id] = new[max(namers[dir_id])]
        vars(after).update({"rw_namers": namers, "rw_layers_by_dir": found})

    def _mend_links(self) -> None:
        before, after, differing = self.before, self.after, self.differing
        changed = self._respelled() | differing.layer_dirs
        old = [d for d in changed if d in before.dirs]
        new = [d for d in changed if d in after.dirs]
        said_before = [(link, d) for d in old if (link := before.own_link(d)) is not None]
        said_after = [(link, d) for d in new if (link := after.own_link(d)) is not None]
        cited_before = [(link, d) for d in old for link in before.named_directly(d)]
        cited_after = [(link, d) for d in new for link in after.named_directly(d)]
        points_before = [(t, k) for k in differing.links if (t := before.link_targets.get(k)) is not None]
        targets = {k: t for k in differing.links if (t := after.target_of(k)) is not None}
        kept = dict(before.link_targets)
        for link in differing.links:
            kept.pop(link, None)
        vars(after)["link_targets"] = kept | targets
        vars(after)["claimants"] = regrouped(before.claimants, said_before, said_after)
        vars(after)["direct_citers"] = regrouped(before.direct_citers, cited_before, cited_after)
        vars(after)["symlinks_to"] = regrouped(before.symlinks_to, points_before, [(t, k) for k, t in targets.items()])
        pairs = (*said_before, *said_after, *cited_before, *cited_after)
        self.links.update(differing.links, (link for link, _ in pairs))
        self.dirs.update(changed, (target for target, _ in points_before), targets.values())

    def _respelled(self) -> set[LayerDirId]:
        """The dirs whose ``lower`` was that of another dir, which differs, so that it may be spelled otherwise now."""
        before, after = self.before.dirs.rows, self.after.dirs.rows
        links = {row[0] for d in self.differing.layer_dirs if (row := before.get(d)) is not None}
        above = {d for link in links for d in self.before.direct_citers.get(link, ())}
        return {d for d in above if before.get(d) != after.get(d)}

    def _touch(self) -> None:
        """Find the dirs and links about which something may be true now that was not, or the other way round."""
        differing = self.differing
        for graph in (self.before, self.after):
            inventory = graph.inventory
            chains = set(differing.layers)
            chains.update(c for i in differing.images for c, _ in graph.image_chains.get(i, ()))
            if chains:
                chains.update(child for c in tuple(chains) for child in graph.children.get(c, ()))
                chains.update(c for c, parent in graph.computed_parents.items() if parent in differing.layers)
            self.dirs.update(d for c in chains if (d := graph.cache_ids.get(c)) is not None)
            on_them = (r for r in inventory.rw_layers.values() if value_of(r.parent) in differing.layers)
            named = (r for name in differing.rw_layers if (r := inventory.rw_layers.get(name)) is not None)
            self.dirs.update(d for r in (*named, *(on_them if differing.layers else ())) for d in edges.rw_dirs_of(r))
        self.dirs.update(map(partner_of, tuple(self.dirs)))
        self.links.update(k for d in self.dirs for graph in (self.before, self.after) for k in graph.links_of(d))

    def _mend_disagreements(self) -> None:
        after, links, dirs = self.after, self.links, self.dirs
        names = set(self.differing.rw_layers)
        names.update(r.name for g in (self.before, after) for d in dirs if (r := g.rw_layers_by_dir.get(d)) is not None)
        containers = self.differing.containers.union(map(ContainerId, names))
        self._mend("unresolved_links", links, after.is_unresolved)
        self._mend("claimed_only", links, after.is_claimed_only)
        self._mend("unnamed_symlinks", links, after.is_unnamed_symlink)
        self._mend("astray_symlinks", links, after.is_astray)
        self._mend("missing_dirs", dirs, after.is_missing)
        self._mend("perhaps_without_lower", dirs, after.is_perhaps_without_lower)
        self._mend("unlike_parent", dirs, after.is_unlike_parent)
        targets = (t for k in links for g in (self.before, after) if (t := g.link_targets.get(k)) is not None)
        few = self.before.recorded_by_few ^ after.recorded_by_few
        self._mend("unnamed_dirs", dirs | (self.before.named_by_few ^ after.named_by_few), after.is_unnamed)
        self._mend("unsound_images", self.differing.images, after.is_unsound_image)
        self._mend("lost_dirs", {*dirs, *targets, *few}, after.is_lost)
        if "odd_rw_layers" in vars(self.before):
            odd = (self.before.odd_rw_layers | names) & after.inventory.rw_layers.keys()
            vars(after)["odd_rw_layers"] = frozenset(filter(after.is_odd_rw_layer, odd))
        if "odd_containers" in vars(self.before):
            suspects = (self.before.odd_containers | containers) & after.inventory.containers.keys()
            vars(after)["odd_containers"] = frozenset(filter(after.is_odd_container, suspects))

    def _mend(self, name: str, touched: Iterable[K], holds: Callable[[K], bool]) -> None:
        """Ask the `touched` whether `holds` is true of them, and take the others over."""
        old: frozenset[K] | None = vars(self.before).get(name)
        if old is not None:
            some = frozenset(touched)
            vars(self.after)[name] = (old - some).union(filter(holds, some))

    def _mend_graph(self) -> None:
        after, differing, inventory = self.after, self.differing, self.after.inventory
        found: dict[Node, tuple[Node, ...] | None] = dict.fromkeys(self.before.edges_of_few())
        for image in differing.images:
            chains = after.image_chains.get(image) if image in inventory.images else None
            nodes = tuple(edges.layer_node(chain) for chain, _ in chains) if chains is not None else None
            found[Node(NodeKind.IMAGE, image)] = nodes
        for chain in differing.layers:
            found[edges.layer_node(chain)] = _edges_of(inventory.layers, chain, edges.layer_edges)
        for name in differing.rw_layers:
            found[Node(NodeKind.RW_LAYER, name)] = _edges_of(inventory.rw_layers, name, edges.rw_layer_edges)
        for container in differing.containers:
            node = Node(NodeKind.CONTAINER, container)
            found[node] = _edges_of(inventory.containers, container, edges.container_edges)
        vars(after)["graph"] = self.before.graph.replaced(found | after.edges_of_few())


def _edges_of(records: Mapping[K, V], key: K, edges_of: Callable[[V], Iterable[Node]]) -> tuple[Node, ...] | None:
    record = records.get(key)
    return tuple(edges_of(record)) if record is not None else None


def regrouped(
    groups: Mapping[K, tuple[V, ...]], gone: Iterable[tuple[K, V]], come: Iterable[tuple[K, V]]
) -> dict[K, tuple[V, ...]]:
    """`groups` without the pairs that are `gone` and with those that have `come`; no group is empty."""
    found = dict(groups)
    for key, value in gone:
        left = tuple(other for other in found.get(key, ()) if other != value)
        if left:
            found[key] = left
        else:
            found.pop(key, None)
    for key, value in come:
        found[key] = (*found.get(key, ()), value)
    return found
