"""
The graph of an overlay2 store: an inventory's records connected, and what follows from that about life.

Life of a layer dir is a closure (safety rules S2, S3). Its roots are all ids that any record or any BuildKit database
names, all that a kernel mount uses, and all that is too young to be proven nobody's; from them it runs along ``lower``
files, whose link ids resolve through ``link`` files and through the link farm alike. A directory that no record names
may still be the lower of a live layer: BuildKit makes such when it exports a chain that layerdb already knows.

Life of a layer record is reachability from images, rw layers, builds, records that the engine cannot load (a damaged
record may be mended, and then needs its parents) and records that it is just removing (it goes on to their parents); a
record whose dir is in the closure of what is alive is alive too.
"""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import TYPE_CHECKING

from gcd.model import edges
from gcd.model.facts import LayerDir, Lower
from gcd.model.finding import Impact, Node, NodeKind
from gcd.model.graph import Graph
from gcd.model.ids import ChainId, LayerDirId, LinkId, init_dir_of, is_init_dir, is_layer_dir_id, rw_dir_of
from gcd.model.reading import Present, value_of
from gcd.model.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from gcd.model.facts import KernelMount
    from gcd.model.inventory import Inventory

BUILD_WORDS = Node(NodeKind.DATABASE, "buildkit")
"""Stands for every id that BuildKit's databases mention anywhere."""


class StoreGraph(Records):
    """
    `bound_ns` is the ctime below which an unreferenced thing is proven nobody's (`Engine.proof_bound`), or None.
    """

    def __init__(self, inventory: Inventory, bound_ns: int | None) -> None:
        super().__init__(inventory)
        self._bound_ns = bound_ns
        self.graph = Graph(self._edges())

    # --- edges ------------------------------------------------------------------------------------------------------

    def _edges(self) -> dict[Node, tuple[Node, ...]]:
        inv = self._inventory
        found: dict[Node, tuple[Node, ...]] = {}
        for image, chains in self.image_chains.items():
            found[Node(NodeKind.IMAGE, image)] = tuple(edges.layer_node(chain) for chain, _ in chains)
        for record in inv.layers.values():
            found[edges.layer_node(record.chain_id)] = tuple(edges.layer_edges(record))
        for removing in inv.removing.values():
            found[Node(NodeKind.REMOVING_LAYER, removing.name)] = tuple(edges.layer_edges(removing))
        for write_set in inv.write_sets.values():
            found[Node(NodeKind.WRITE_SET, write_set.name)] = tuple(edges.write_set_edges(write_set))
        for rw_layer in inv.rw_layers.values():
            found[Node(NodeKind.RW_LAYER, rw_layer.name)] = tuple(edges.rw_layer_edges(rw_layer))
        for container in inv.containers.values():
            found[Node(NodeKind.CONTAINER, container.id)] = tuple(edges.container_edges(container))
        for snapshot in inv.build_cache.snapshots.values():
            found[Node(NodeKind.BUILD_SNAPSHOT, snapshot.name)] = tuple(edges.snapshot_edges(snapshot))
        for lease in inv.build_cache.leases.values():
            found[Node(NodeKind.BUILD_LEASE, lease.id)] = tuple(edges.lease_edges(lease))
        found[BUILD_WORDS] = tuple(self._build_words())
        for mount, dirs in zip(inv.mounts, self._mounted, strict=True):
            found[Node(NodeKind.MOUNT, f"{mount.namespace}:{mount.mount_point}")] = tuple(map(edges.dir_node, dirs))
        return found

    def _build_words(self) -> Iterator[Node]:
        cache = self._inventory.build_cache
        for name in cache.named:
            if name in self._inventory.layer_dirs:
                yield edges.dir_node(name)
        for chain in cache.chains:
            if chain in self._inventory.layers:
                yield edges.layer_node(chain)

    @cached_property
    def _mounted(self) -> tuple[tuple[LayerDirId, ...], ...]:
        """For each kernel mount, the dirs that it uses, link tokens resolved."""
        return tuple(
            (*sorted(mount.dirs), *(d for link in sorted(mount.links) for d in self.dirs_of_link(link)))
            for mount in self._inventory.mounts
        )

    # --- links ------------------------------------------------------------------------------------------------------

    @cached_property
    def claimants(self) -> Mapping[LinkId, tuple[LayerDirId, ...]]:
        """By link id, the dirs whose ``link`` file says it."""
        found: dict[LinkId, list[LayerDirId]] = {}
        for layer_dir in self._inventory.layer_dirs.values():
            if isinstance(layer_dir.link, Present):
                found.setdefault(layer_dir.link.value, []).append(layer_dir.id)
        return {link: tuple(dirs) for link, dirs in found.items()}

    @cached_property
    def symlinks_to(self) -> Mapping[LayerDirId, tuple[LinkId, ...]]:
        """By dir id (existing or not), the link symlinks that point to it."""
        found: dict[LayerDirId, list[LinkId]] = {}
        for symlink in self._inventory.link_farm.symlinks.values():
            if isinstance(symlink.target, Present):
                found.setdefault(symlink.target.value, []).append(symlink.id)
        return {target: tuple(links) for target, links in found.items()}

    @cached_property
    def cited_links(self) -> frozenset[LinkId]:
        """The link ids that some ``lower`` names."""
        cited: set[LinkId] = set()
        for layer_dir in self._inventory.layer_dirs.values():
            cited.update(lower_of(layer_dir).links)
        return frozenset(cited)

    @cached_property
    def unresolved_links(self) -> frozenset[LinkId]:
        """The cited link ids that no existing dir can be meant by."""
        return frozenset(link for link in self.cited_links - self.claimants.keys() if not self.dirs_of_link(link))

    def dirs_of_link(self, link: LinkId) -> tuple[LayerDirId, ...]:
        """The existing dirs that `link` can mean: by ``link`` files and by the link farm; usually one."""
        claimants = self.claimants.get(link, ())
        symlink = self._inventory.link_farm.symlinks.get(link)
        target = value_of(symlink.target) if symlink else None
        if target is not None and target not in claimants and target in self._inventory.layer_dirs:
            return (*claimants, target)
        return claimants

    @cached_property
    def citers(self) -> Mapping[LinkId, tuple[LayerDirId, ...]]:
        """By link id, the dirs whose ``lower`` names it. Built at first use: up to 125 entries a dir."""
        found: dict[LinkId, list[LayerDirId]] = {}
        for layer_dir in self._inventory.layer_dirs.values():
            for link in lower_of(layer_dir).links:
                found.setdefault(link, []).append(layer_dir.id)
        return {link: tuple(ids) for link, ids in found.items()}

    def links_of(self, layer_dir: LayerDirId) -> tuple[LinkId, ...]:
        """The link ids that mean `layer_dir`, existing or not: by its ``link`` file, then by the link farm."""
        found = self._inventory.layer_dirs.get(layer_dir)
        own = value_of(found.link) if found else None
        return tuple(dict.fromkeys((*((own,) if own else ()), *self.symlinks_to.get(layer_dir, ()))))

    def citers_of(self, layer_dir: LayerDirId) -> tuple[LayerDirId, ...]:
        """The dirs whose ``lower`` means `layer_dir`."""
        return tuple(dict.fromkeys(citer for link in self.links_of(layer_dir) for citer in self.citers.get(link, ())))

    # --- life of layer dirs -----------------------------------------------------------------------------------------

    @cached_property
    def named_dirs(self) -> frozenset[LayerDirId]:
        """The dirs, existing or not, that a record, a BuildKit database or a kernel mount names."""
        graph = self.graph
        return frozenset(
            LayerDirId(target.id)
            for node in (*self._record_nodes, BUILD_WORDS, *self._mount_nodes)
            for target in graph.targets(node)
            if target.kind is NodeKind.LAYER_DIR
        )

    @cached_property
    def _record_nodes(self) -> tuple[Node, ...]:
        inv = self._inventory
        return (
            *map(edges.layer_node, inv.layers),
            *(Node(NodeKind.REMOVING_LAYER, name) for name in inv.removing),
            *(Node(NodeKind.WRITE_SET, name) for name in inv.write_sets),
            *(Node(NodeKind.RW_LAYER, name) for name in inv.rw_layers),
            *(Node(NodeKind.BUILD_SNAPSHOT, name) for name in inv.build_cache.snapshots),
        )

    @cached_property
    def _mount_nodes(self) -> tuple[Node, ...]:
        return tuple(Node(NodeKind.MOUNT, f"{m.namespace}:{m.mount_point}") for m in self._inventory.mounts)

    @cached_property
    def referenced_dirs(self) -> frozenset[LayerDirId]:
        """
        The existing dirs that something names, and all that their ``lower`` files lead to; newborn ones among them.
        """
        return self.closure(self._referred_to)

    @cached_property
    def _referred_to(self) -> AbstractSet[LayerDirId]:
        """The existing dirs that something names, and the newborn ones."""
        newborn = filter(is_layer_dir_id, self._inventory.layer_dirs.keys() - self._inventory.candidates)
        return self._inventory.layer_dirs.keys() & self.named_dirs.union(newborn)

    @cached_property
    def _young(self) -> frozenset[LayerDirId]:
        """
        Unreferenced dirs that may belong to work under way: they are suspected, and keep what lies below them. A pair
        is as young as its younger half.
        """
        inv = self._inventory
        young = {
            layer_dir.id
            for layer_dir in inv.layer_dirs.values()
            if layer_dir.id not in self.referenced_dirs
            and (layer_dir.id in inv.held_dirs or not self.is_settled(layer_dir.ctime_ns))
        }
        return frozenset(young | {partner for d in young if (partner := partner_of(d)) in inv.layer_dirs})

    @cached_property
    def live_dirs(self) -> frozenset[LayerDirId]:
        """The closure: every dir that something may still need."""
        return self.referenced_dirs | self.closure(self._young) if self._young else self.referenced_dirs

    def is_settled(self, ctime_ns: int) -> bool:
        """Whether a change at `ctime_ns` precedes everything that can be under way now."""
        return self._bound_ns is not None and ctime_ns < self._bound_ns

    def is_orphaned_dir(self, layer_dir: LayerDir) -> bool:
        """Whether nothing refers to `layer_dir`; true of a young one too, which is then only suspected."""
        return layer_dir.id in self._inventory.candidates and (
            layer_dir.id in self._young or layer_dir.id not in self.live_dirs
        )

    def mounts_of(self, layer_dir: LayerDirId) -> tuple[KernelMount, ...]:
        """The kernel mounts whose mountpoint is the ``merged`` of `layer_dir`, which may be gone."""
        return self._mounts_by_merged.get(layer_dir, ())

    @cached_property
    def _mounts_by_merged(self) -> Mapping[LayerDirId, tuple[KernelMount, ...]]:
        found: dict[LayerDirId, tuple[KernelMount, ...]] = {}
        for mount in self._inventory.mounts:
            if mount.merged_of is not None:
                found[mount.merged_of] = (*found.get(mount.merged_of, ()), mount)
        return found

    @cached_property
    def lost_dirs(self) -> frozenset[LayerDirId]:
        """Dirs that do not exist, that no record names, and that a cited link symlink still points to."""
        cited = {
            target
            for symlink in self._inventory.link_farm.symlinks.values()
            if symlink.id in self.cited_links and (target := value_of(symlink.target)) is not None
        }
        gone = cited - self._inventory.layer_dirs.keys()
        recorded = {t.id for n in self._record_nodes for t in self.graph.targets(n) if t.kind is NodeKind.LAYER_DIR}
        return frozenset(d for d in gone if d not in recorded)

    def owners(self, layer_dir: LayerDirId) -> tuple[Node, ...]:
        """The records, databases and mounts that name `layer_dir`."""
        return self.graph.referrers(edges.dir_node(layer_dir))

    def closure(self, roots: Iterable[LayerDirId]) -> frozenset[LayerDirId]:
        """`roots` that exist, their pair partners, and all dirs that their ``lower`` files lead to."""
        dirs = self._inventory.layer_dirs
        live: set[LayerDirId] = set()
        seen_links: set[LinkId] = set()
        frontier: AbstractSet[LayerDirId] = dirs.keys() & roots
        while frontier:
            live |= frontier
            links = set(itertools.chain.from_iterable(lower_of(dirs[here]).links for here in frontier)) - seen_links
            seen_links |= links
            found = set(itertools.chain.from_iterable(map(self.dirs_of_link, links)))
            found.update(map(partner_of, frontier))
            frontier = (dirs.keys() & found) - live
        return frozenset(live)

    # --- life of layer records --------------------------------------------------------------------------------------

    @cached_property
    def kept_layers(self) -> frozenset[ChainId]:
        """The chains, recorded or not, that something alive needs."""
        inv = self._inventory
        roots: set[Node] = {
            *(Node(NodeKind.IMAGE, image) for image in inv.images),
            *(Node(NodeKind.RW_LAYER, name) for name in inv.rw_layers),
            *(Node(NodeKind.CONTAINER, name) for name in inv.containers),
            *(Node(NodeKind.BUILD_SNAPSHOT, name) for name in inv.build_cache.snapshots),
            *(Node(NodeKind.BUILD_LEASE, name) for name in inv.build_cache.leases),
            *(edges.layer_node(chain) for chain in self.broken_at),
            *(
                Node(NodeKind.REMOVING_LAYER, removing.name)
                for removing in inv.removing.values()
                if not self.is_settled(removing.ctime_ns)
            ),
            BUILD_WORDS,
            *self._mount_nodes,
        }
        roots.update(edges.layer_node(chain) for chain in self.computed_parents)
        while True:
            reached = self.graph.reachable(roots)
            dirs = {LayerDirId(node.id) for node in reached if node.kind is NodeKind.LAYER_DIR}
            start = self._inventory.layer_dirs.keys() & (dirs | self._young)
            # In a healthy root what records name and what images and containers reach are the same dirs.
            closure = self.referenced_dirs if start == self._referred_to else self.closure(start)
            more = {edges.layer_node(record.chain_id) for d in closure for record in self.layers_of(d)} - reached
            if not more:
                return frozenset(ChainId(node.id) for node in reached if node.kind is NodeKind.LAYER)
            roots |= more

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
            return {*self.citers.get(link, ()), *self.claimants.get(link, ())}
        return set(self.citers_of(LayerDirId(node.id)))

    def impact(self, node: Node) -> Impact:
        """The images and containers among the dependents of `node`, and `node` itself where it is one."""
        nodes = {node, *self.dependents(node)}
        return Impact(
            tuple(sorted({label for n in nodes if n.kind is NodeKind.IMAGE for label in self.image_labels(n.id)})),
            tuple(sorted({self.container_label(n.id) for n in nodes if n.kind is NodeKind.CONTAINER})),
        )


def lower_of(layer_dir: LayerDir) -> Lower:
    """The readable part of a ``lower`` file; no links where there is none or it cannot be read."""
    return layer_dir.lower.value if isinstance(layer_dir.lower, Present) else _NO_LOWER


def partner_of(layer_dir: LayerDirId) -> LayerDirId:
    """The other half of an rw layer's pair, whether it exists or not."""
    return rw_dir_of(layer_dir) if is_init_dir(layer_dir) else init_dir_of(layer_dir)


_NO_LOWER = Lower(())
