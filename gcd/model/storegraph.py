"""
The graph of an overlay2 store: an inventory's records connected, and what follows from that about life.

Life of a layer dir is a closure (safety rules S2, S3). Its roots are all ids that any record, one in the quarantine
too, or any BuildKit database names, all that a kernel mount uses, and all that is too young to be proven nobody's; from
them it runs along ``lower`` files, whose link ids resolve through ``link`` files and through the link farm alike. A
directory that no record names may still be the lower of a live layer: BuildKit makes such when it exports a chain that
layerdb already knows.

Life of a layer record is reachability from images, rw layers, builds, records that the engine cannot load (a damaged
record may be mended, and then needs its parents) and records that it is just removing (it goes on to their parents); a
record whose dir is in the closure of what is alive is alive too.
"""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import TYPE_CHECKING

from gcd.model import edges
from gcd.model.finding import Impact, Node, NodeKind
from gcd.model.graph import Graph
from gcd.model.ids import ChainId, LayerDirId, LinkId, init_dir_of, is_init_dir, is_layer_dir_id, rw_dir_of
from gcd.model.links import Links
from gcd.model.reading import value_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gcd.model.facts import KernelMount, LayerDir
    from gcd.model.inventory import Inventory

BUILD_WORDS = Node(NodeKind.DATABASE, "buildkit")
"""Stands for every id that BuildKit's databases mention anywhere."""


FEW = 1000
"""Dirs that nothing names, up to which it is cheaper to ask who leads to them than to follow all that is named."""


class StoreGraph(Links):
    """
    `bound_ns` is the ctime below which an unreferenced thing is proven nobody's (`Engine.proof_bound`), or None.
    """

    def __init__(self, inventory: Inventory, bound_ns: int | None) -> None:
        super().__init__(inventory)
        self._bound_ns = bound_ns

    # --- edges ------------------------------------------------------------------------------------------------------

    @cached_property
    def graph(self) -> Graph:
        """Everything as nodes. Built at first use: what is asked about all records at once needs none of it."""
        return Graph(self._edges())

    def _edges(self) -> dict[Node, tuple[Node, ...]]:
        inv = self._inventory
        found: dict[Node, tuple[Node, ...]] = {}
        nodes = {chain: edges.layer_node(chain) for chain in self.layers}
        for image, chains in self.image_chains.items():
            stack = tuple([nodes.get(chain) or edges.layer_node(chain) for chain, _ in chains])
            found[Node(NodeKind.IMAGE, image)] = stack
        for chain, (_, _, cache_id, parent, _, _) in self.layers.rows.items():  # `layer_edges` is written out
            own = edges.dir_node(cache_id)
            below = (nodes.get(parent) or edges.layer_node(parent),) if parent is not None else ()
            found[nodes[chain]] = (*below, own)
        for chain, record in self.layers.odd.items():
            found[nodes[chain]] = tuple(edges.layer_edges(record))
        for rw_layer in inv.rw_layers.values():
            found[Node(NodeKind.RW_LAYER, rw_layer.name)] = tuple(edges.rw_layer_edges(rw_layer))
        for container in inv.containers.values():
            found[Node(NodeKind.CONTAINER, container.id)] = tuple(edges.container_edges(container))
        return found | self.edges_of_few()

    def edges_of_few(self) -> dict[Node, tuple[Node, ...]]:
        """The edges of all nodes of which a root has but few."""
        inv = self._inventory
        found: dict[Node, tuple[Node, ...]] = {}
        for removing in inv.removing.values():
            found[Node(NodeKind.REMOVING_LAYER, removing.name)] = tuple(edges.layer_edges(removing))
        for write_set in inv.write_sets.values():
            found[Node(NodeKind.WRITE_SET, write_set.name)] = tuple(edges.write_set_edges(write_set))
        for snapshot in inv.build_cache.snapshots.values():
            found[Node(NodeKind.BUILD_SNAPSHOT, snapshot.name)] = tuple(edges.snapshot_edges(snapshot))
        for lease in inv.build_cache.leases.values():
            found[Node(NodeKind.BUILD_LEASE, lease.id)] = tuple(edges.lease_edges(lease))
        found |= {Node(NodeKind.ENTRY, entry.id): tuple(entry.refers_to) for entry in inv.quarantine.values()}
        found[BUILD_WORDS] = tuple(self._build_words())
        for mount, dirs in zip(inv.mounts, self._mounted, strict=True):
            found[Node(NodeKind.MOUNT, f"{mount.namespace}:{mount.mount_point}")] = tuple(map(edges.dir_node, dirs))
        return found

    def _build_words(self) -> Iterator[Node]:
        cache = self._inventory.build_cache
        yield from map(edges.dir_node, self.built_dirs)
        yield from map(edges.layer_node, cache.chains & self.layers.ids())

    @cached_property
    def _mounted(self) -> tuple[tuple[LayerDirId, ...], ...]:
        """For each kernel mount, the dirs that it uses, link tokens resolved."""
        return tuple(map(self._dirs_of_mount, self._inventory.mounts))

    def _dirs_of_mount(self, mount: KernelMount) -> tuple[LayerDirId, ...]:
        return (*sorted(mount.dirs), *(d for link in sorted(mount.links) for d in self.dirs_of_link(link)))

    # --- life of layer dirs -----------------------------------------------------------------------------------------

    @cached_property
    def named_dirs(self) -> frozenset[LayerDirId]:
        """The dirs, existing or not, that a record, a BuildKit database or a kernel mount names."""
        return frozenset(self.chain_of_dir).union(self.rw_layers_by_dir, self.named_by_few)

    @cached_property
    def named_by_few(self) -> frozenset[LayerDirId]:
        """The dirs that something else names than a layer record or rw layer record."""
        return self.recorded_by_few.union(self.built_dirs, itertools.chain.from_iterable(self._mounted))

    @cached_property
    def built_dirs(self) -> frozenset[LayerDirId]:
        """The existing dirs that BuildKit's databases mention anywhere."""
        return frozenset(d for name in self._inventory.build_cache.named if (d := LayerDirId(name)) in self.dirs)

    def is_recorded(self, layer_dir: LayerDirId) -> bool:
        """Whether a record names `layer_dir`, existing or not."""
        if layer_dir in self.chain_of_dir or layer_dir in self.rw_layers_by_dir:
            return True
        return layer_dir in self.recorded_by_few

    @cached_property
    def recorded_by_few(self) -> frozenset[LayerDirId]:
        """The dirs that another record names than a layer record or rw layer record."""
        return frozenset(_dirs_in(self._targets_of_few()))

    def _targets_of_few(self) -> Iterator[Node]:
        """What all records refer to but images, containers, layer records and rw layer records."""
        inv = self._inventory
        yield from itertools.chain.from_iterable(map(edges.layer_edges, inv.removing.values()))
        yield from itertools.chain.from_iterable(map(edges.write_set_edges, inv.write_sets.values()))
        yield from itertools.chain.from_iterable(map(edges.snapshot_edges, inv.build_cache.snapshots.values()))
        yield from itertools.chain.from_iterable(entry.refers_to for entry in inv.quarantine.values())

    @cached_property
    def referenced_dirs(self) -> frozenset[LayerDirId]:
        """
        The existing dirs that something names, and all that their ``lower`` files lead to; newborn ones among them.
        """
        return self.dirs.ids() - self.unreferenced_dirs

    @cached_property
    def unreferenced_dirs(self) -> frozenset[LayerDirId]:
        """The existing dirs that are not in `referenced_dirs`."""
        born = self._inventory.candidates
        return self.unreached(frozenset(d for d in self.unnamed_dirs if d in born or not is_layer_dir_id(d)))

    @cached_property
    def unnamed_dirs(self) -> frozenset[LayerDirId]:
        """The existing dirs that are not in `named_dirs`."""
        return self.dirs.ids().difference(self.chain_of_dir, self.rw_layers_by_dir, self.named_by_few)

    def is_unnamed(self, dir_id: LayerDirId) -> bool:
        is_named = dir_id in self.chain_of_dir or dir_id in self.rw_layers_by_dir or dir_id in self.named_by_few
        return not is_named and dir_id in self.dirs

    @cached_property
    def _young(self) -> frozenset[LayerDirId]:
        """
        Unreferenced dirs that may belong to work under way: they are suspected, and keep what lies below them. A pair
        is as young as its younger half.
        """
        inv = self._inventory
        young = {
            dir_id
            for dir_id in self.unreferenced_dirs
            if dir_id in inv.held_dirs or not self.is_settled(inv.layer_dirs[dir_id].ctime_ns)
        }
        return frozenset(young | {partner for d in young if (partner := partner_of(d)) in inv.layer_dirs})

    @cached_property
    def live_dirs(self) -> frozenset[LayerDirId]:
        """The closure: every dir that something may still need."""
        return self.dirs.ids() - self._dead_dirs

    @cached_property
    def _dead_dirs(self) -> frozenset[LayerDirId]:
        return self.unreferenced_dirs - self.closure(self._young) if self._young else self.unreferenced_dirs

    def is_settled(self, ctime_ns: int) -> bool:
        """Whether a change at `ctime_ns` precedes everything that can be under way now."""
        return self._bound_ns is not None and ctime_ns < self._bound_ns

    def is_orphaned_dir(self, layer_dir: LayerDir) -> bool:
        """Whether nothing refers to `layer_dir`; true of a young one too, which is then only suspected."""
        return layer_dir.id in self._inventory.candidates and (
            layer_dir.id in self._young or layer_dir.id in self._dead_dirs
        )

    def mounts_of(self, layer_dir: LayerDirId) -> tuple[KernelMount, ...]:
        """The kernel mounts whose mountpoint is the ``merged`` of `layer_dir`, which may be gone."""
        return self.mounts_by_merged.get(layer_dir, ())

    @cached_property
    def mounts_by_merged(self) -> Mapping[LayerDirId, tuple[KernelMount, ...]]:
        """By dir id, existing or not, the kernel mounts whose mountpoint is its ``merged``."""
        found: dict[LayerDirId, tuple[KernelMount, ...]] = {}
        for mount in self._inventory.mounts:
            if mount.merged_of is not None:
                found[mount.merged_of] = (*found.get(mount.merged_of, ()), mount)
        return found

    @cached_property
    def lost_dirs(self) -> frozenset[LayerDirId]:
        """Dirs that do not exist, that no record names, and that a cited link symlink still points to."""
        targets = set(filter(None, map(self.target_of, self.unmatched_symlinks)))
        return frozenset(filter(self.is_lost, targets))

    def is_lost(self, dir_id: LayerDirId) -> bool:
        if dir_id in self.dirs or self.is_recorded(dir_id):
            return False
        return not self.direct_citers.keys().isdisjoint(self.symlinks_to.get(dir_id, ()))

    @cached_property
    def orphaned_dirs(self) -> frozenset[LayerDirId]:
        """The dirs that nothing refers to, as `is_orphaned_dir` says it of one."""
        return (self._young | self._dead_dirs) & self._inventory.candidates

    def owners(self, layer_dir: LayerDirId) -> tuple[Node, ...]:
        """The records, databases and mounts that name `layer_dir`."""
        return self.graph.referrers(edges.dir_node(layer_dir))

    def closure(self, roots: Iterable[LayerDirId]) -> frozenset[LayerDirId]:
        """`roots` that exist, their pair partners, and all dirs that their ``lower`` files lead to."""
        existing = self.dirs.ids()
        frontier = existing.intersection(roots)
        live: set[LayerDirId] = set()
        seen_links: set[LinkId] = set()
        while frontier:
            live |= frontier
            if len(live) == len(existing):
                break
            links = set(itertools.chain.from_iterable(map(self.lower_links, frontier))) - seen_links
            seen_links |= links
            found = set(itertools.chain.from_iterable(map(self.dirs_of_link, links)))
            found.update(map(partner_of, frontier))
            frontier = (existing & found) - live
        return frozenset(live)

    def unreached(self, out: frozenset[LayerDirId]) -> frozenset[LayerDirId]:
        """Those of the existing dirs `out` to which the `closure` of all other dirs does not lead."""
        if len(out) > FEW:
            return self.dirs.ids() - self.closure(self.dirs.ids() - out)
        left = set(out)
        frontier = {dir_id for dir_id in left if self._is_led_to(dir_id, out)}
        while frontier:
            left -= frontier
            links = set(itertools.chain.from_iterable(map(self.lower_links, frontier)))
            found = set(itertools.chain.from_iterable(map(self.dirs_of_link, links)))
            found.update(map(partner_of, frontier))
            frontier = left & found
        return frozenset(left)

    def _is_led_to(self, dir_id: LayerDirId, out: frozenset[LayerDirId]) -> bool:
        """Whether the partner of `dir_id` is a dir that is not in `out`, or the ``lower`` of one leads to it."""
        partner = partner_of(dir_id)
        if partner in self.dirs and partner not in out:
            return True
        return any(citer not in out for link in self.links_of(dir_id) for citer in self.citers_of_link(link))

    # --- life of layer records --------------------------------------------------------------------------------------

    @cached_property
    def unkept_layers(self) -> frozenset[ChainId]:
        """The layer records that nothing alive needs."""
        if not self.imageless:
            return self.imageless
        chains, dirs = self._kept_by_others()
        unkept = set(self.imageless)
        nameless = self.dirs.ids().difference(self.chain_of_dir)
        more = {c for c in unkept if c in chains or any(child not in unkept for child in self.children.get(c, ()))}
        while True:
            unkept -= self._with_ancestors(more)
            own = {d for c in unkept if (d := self.cache_ids.get(c)) is not None} & self.dirs.ids()
            shared = {d for d in own if any(c not in unkept for c in self.sharers.get(d, ()))}
            out = frozenset((nameless | (own - shared)) - dirs)
            led = own - self.unreached(out)
            more = {c for c in unkept if self.cache_ids.get(c) in led}
            if not more:
                return frozenset(unkept)

    def _kept_by_others(self) -> tuple[set[ChainId], set[LayerDirId]]:
        """The chains and dirs that something names which keeps layer records alive, but images and layer records."""
        inv = self._inventory
        others = (
            *itertools.chain.from_iterable(map(edges.snapshot_edges, inv.build_cache.snapshots.values())),
            *itertools.chain.from_iterable(map(edges.lease_edges, inv.build_cache.leases.values())),
            *itertools.chain.from_iterable(entry.refers_to for entry in inv.quarantine.values()),
            *itertools.chain.from_iterable(
                edges.layer_edges(r) for r in inv.removing.values() if not self.is_settled(r.ctime_ns)
            ),
            *self._build_words(),
        )
        parents = (value_of(record.parent) for record in inv.rw_layers.values())
        mounted = itertools.chain.from_iterable(self._mounted)
        return {*_chains_in(others), *filter(None, parents)}, {
            *_dirs_in(others),
            *self.rw_layers_by_dir,
            *self._young,
            *mounted,
        }

    def _with_ancestors(self, chains: Iterable[ChainId]) -> set[ChainId]:
        found = set(chains)
        above = found
        while above:
            above = set(filter(None, map(self.parents.get, above))) - found
            found |= above
        return found

    def other_names(self, node: Node) -> tuple[Node, ...]:
        """
        A layer's dir, a dir's layers or rw layer, an rw layer's dirs: what people and engines call the same thing.
        """
        kinds = (NodeKind.LAYER, NodeKind.RW_LAYER)
        if node.kind in kinds:
            return tuple(target for target in self.graph.targets(node) if target.kind is NodeKind.LAYER_DIR)
        if node.kind is NodeKind.LAYER_DIR:
            return tuple(sorted(owner for owner in self.graph.referrers(node) if owner.kind in kinds))
        return ()

    # --- cost -------------------------------------------------------------------------------------------------------

    def dependents(self, node: Node) -> set[Node]:
        """All that refers to `node`, along edges and, for a layer dir or a link, along ``lower`` files as well."""
        found = self.graph.dependents(node)
        if node.kind in (NodeKind.LAYER_DIR, NodeKind.LINK):
            for citer in self._dirs_through(node):
                found.add(edges.dir_node(citer))
                found |= self.graph.dependents(edges.dir_node(citer))
        return found - {node}

    def _dirs_through(self, node: Node) -> set[LayerDirId]:
        if node.kind is NodeKind.LINK:
            link = LinkId(node.id)
            return {*self.citers_of_link(link), *self.claimants.get(link, ())}
        return set(self.citers_of(LayerDirId(node.id)))

    def impact(self, node: Node) -> Impact:
        """The images and containers among the dependents of `node`, and `node` itself where it is one."""
        nodes = {node, *self.dependents(node)}
        return Impact(
            tuple(sorted({label for n in nodes if n.kind is NodeKind.IMAGE for label in self.image_labels(n.id)})),
            tuple(sorted({self.container_label(n.id) for n in nodes if n.kind is NodeKind.CONTAINER})),
        )


def partner_of(layer_dir: LayerDirId) -> LayerDirId:
    """The other half of an rw layer's pair, whether it exists or not."""
    return rw_dir_of(layer_dir) if is_init_dir(layer_dir) else init_dir_of(layer_dir)


def _dirs_in(nodes: Iterable[Node]) -> Iterator[LayerDirId]:
    return (LayerDirId(node.id) for node in nodes if node.kind is NodeKind.LAYER_DIR)


def _chains_in(nodes: Iterable[Node]) -> Iterator[ChainId]:
    return (ChainId(node.id) for node in nodes if node.kind is NodeKind.LAYER)
