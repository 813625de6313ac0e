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
from typing import TYPE_CHECKING, TypeVar

from gcd.model import edges
from gcd.model.facts import LayerDir, Lower
from gcd.model.finding import Impact, Node, NodeKind
from gcd.model.graph import Graph
from gcd.model.ids import ChainId, LayerDirId, LinkId, init_dir_of, is_init_dir, is_layer_dir_id, rw_dir_of
from gcd.model.reading import Present, value_of
from gcd.model.records import Records
from gcd.model.shelf import is_spelled, lower_links, shelved_dirs, shelved_links

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from gcd.model.facts import KernelMount
    from gcd.model.inventory import Inventory

K = TypeVar("K")
V = TypeVar("V")

BUILD_WORDS = Node(NodeKind.DATABASE, "buildkit")
"""Stands for every id that BuildKit's databases mention anywhere."""


class StoreGraph(Records):
    """
    `bound_ns` is the ctime below which an unreferenced thing is proven nobody's (`Engine.proof_bound`), or None.
    """

    def __init__(self, inventory: Inventory, bound_ns: int | None) -> None:
        super().__init__(inventory)
        self._bound_ns = bound_ns
        self.dirs = shelved_dirs(inventory.layer_dirs)
        self.farm = shelved_links(inventory.link_farm.symlinks)

    # --- edges ------------------------------------------------------------------------------------------------------

    @cached_property
    def graph(self) -> Graph:
        """Everything as nodes. Built at first use: what is asked about all records at once needs none of it."""
        return Graph(self._edges())

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
        found |= {Node(NodeKind.ENTRY, entry.id): tuple(entry.refers_to) for entry in inv.quarantine.values()}
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
        said = [(row[0], dir_id) for dir_id, row in self.dirs.rows.items()]
        said += [(d.link.value, d.id) for d in self.dirs.odd.values() if isinstance(d.link, Present)]
        return _grouped(said)

    @cached_property
    def symlinks_to(self) -> Mapping[LayerDirId, tuple[LinkId, ...]]:
        """By dir id (existing or not), the link symlinks that point to it."""
        return _grouped([(target, link) for link, target in self.link_targets.items()])

    @cached_property
    def link_targets(self) -> Mapping[LinkId, LayerDirId]:
        """By link id, the dir id that its symlink points to; those whose target is none are not in it."""
        found = {link: row[0] for link, row in self.farm.rows.items()}
        odd = self.farm.odd.values()
        found.update((s.id, s.target.value) for s in odd if isinstance(s.target, Present))
        return found

    @cached_property
    def cited_links(self) -> frozenset[LinkId]:
        """
        The link ids that some ``lower`` names.

        Where a ``lower`` is the link of another dir and the ``lower`` of that, as it should be, only that link is new.
        """
        rows = self.dirs.rows
        cited: set[LinkId] = set()
        for dir_id, row in rows.items():
            lower = row[1]
            if lower and not is_spelled(lower):
                cited.add(rows[LayerDirId(lower)][0])
            else:
                cited.update(lower_links(rows, dir_id))
        for layer_dir in self.dirs.odd.values():
            cited.update(lower_of(layer_dir).links)
        return frozenset(cited)

    @cached_property
    def unlike_parent(self) -> frozenset[LayerDirId]:
        """
        The dirs without any oddity whose ``lower`` is not the link of the dir that records put below them, followed by
        the ``lower`` of that.
        """
        below = self._dirs_below()
        return frozenset(
            dir_id for dir_id, row in self.dirs.rows.items() if row[1] and row[1] != below.get(dir_id, _NO_DIR)
        )

    def _dirs_below(self) -> Mapping[LayerDirId, LayerDirId]:
        """By dir, the one that records put below it, existing or not, where they tell it and with one voice."""
        parents = {**self.parents, **self.computed_parents}
        cache_ids = self.cache_ids
        found = {
            dir_id: cache_ids[parent]
            for chain, dir_id in cache_ids.items()
            if (parent := parents.get(chain)) is not None and parent in cache_ids and dir_id not in self.sharers
        }
        for dir_id, rw_layer in self.rw_layers_by_dir.items():
            parent = value_of(rw_layer.parent)
            init = init_dir_of(dir_id)
            if not is_init_dir(dir_id) and init in self.dirs:
                found[dir_id] = init
            else:
                found[dir_id] = cache_ids.get(parent, _NO_DIR) if parent is not None else _NO_DIR
        return found

    @cached_property
    def unresolved_links(self) -> frozenset[LinkId]:
        """The cited link ids that no existing dir can be meant by."""
        return frozenset(link for link in self.cited_links - self.claimants.keys() if not self.dirs_of_link(link))

    def dirs_of_link(self, link: LinkId) -> tuple[LayerDirId, ...]:
        """The existing dirs that `link` can mean: by ``link`` files and by the link farm; usually one."""
        claimants = self.claimants.get(link, ())
        target = self.link_targets.get(link)
        if target is not None and target not in claimants and target in self.dirs:
            return (*claimants, target)
        return claimants

    @cached_property
    def citers(self) -> Mapping[LinkId, tuple[LayerDirId, ...]]:
        """By link id, the dirs whose ``lower`` names it. Built at first use: up to 125 entries a dir."""
        return _grouped([(link, dir_id) for dir_id in self.dirs for link in self._lower_links(dir_id)])

    def _lower_links(self, dir_id: LayerDirId) -> tuple[LinkId, ...]:
        """The links that the ``lower`` of an existing dir names."""
        row = self.dirs.rows.get(dir_id)
        return lower_links(self.dirs.rows, dir_id) if row is not None else lower_of(self.dirs.odd[dir_id]).links

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
        return self._recorded_dirs.union(_dirs_in(self._build_words()), itertools.chain.from_iterable(self._mounted))

    @cached_property
    def _recorded_dirs(self) -> frozenset[LayerDirId]:
        """The dirs, existing or not, that a record names."""
        return frozenset(self.cache_ids.values()).union(_dirs_in(self._targets_of_few()))

    def _targets_of_few(self) -> Iterator[Node]:
        """What all records refer to but images, containers and layer records."""
        inv = self._inventory
        yield from itertools.chain.from_iterable(map(edges.layer_edges, inv.removing.values()))
        yield from itertools.chain.from_iterable(map(edges.write_set_edges, inv.write_sets.values()))
        yield from itertools.chain.from_iterable(map(edges.rw_layer_edges, inv.rw_layers.values()))
        yield from itertools.chain.from_iterable(map(edges.snapshot_edges, inv.build_cache.snapshots.values()))
        yield from itertools.chain.from_iterable(entry.refers_to for entry in inv.quarantine.values())

    @cached_property
    def referenced_dirs(self) -> frozenset[LayerDirId]:
        """
        The existing dirs that something names, and all that their ``lower`` files lead to; newborn ones among them.
        """
        return self.closure(self._referred_to)

    @cached_property
    def _referred_to(self) -> AbstractSet[LayerDirId]:
        """The existing dirs that something names, and the newborn ones."""
        existing = self.dirs.ids()
        newborn = filter(is_layer_dir_id, existing - self._inventory.candidates)
        return existing & self.named_dirs.union(newborn)

    @cached_property
    def _young(self) -> frozenset[LayerDirId]:
        """
        Unreferenced dirs that may belong to work under way: they are suspected, and keep what lies below them. A pair
        is as young as its younger half.
        """
        inv = self._inventory
        young = {
            dir_id
            for dir_id in self.dirs.ids() - self.referenced_dirs
            if dir_id in inv.held_dirs or not self.is_settled(inv.layer_dirs[dir_id].ctime_ns)
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
        gone = set(self.link_targets.values()).difference(self.dirs.rows, self.dirs.odd, self._recorded_dirs)
        return frozenset(d for d in gone if not self.cited_links.isdisjoint(self.symlinks_to[d]))

    @cached_property
    def orphaned_dirs(self) -> frozenset[LayerDirId]:
        """The dirs that nothing refers to, as `is_orphaned_dir` says it of one."""
        return self._inventory.candidates & (self._young | (self.dirs.ids() - self.live_dirs))

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
            links = set(itertools.chain.from_iterable(map(self._lower_links, frontier))) - seen_links
            seen_links |= links
            found = set(itertools.chain.from_iterable(map(self.dirs_of_link, links)))
            found.update(map(partner_of, frontier))
            frontier = (existing & found) - live
        return frozenset(live)

    # --- life of layer records --------------------------------------------------------------------------------------

    @cached_property
    def kept_layers(self) -> frozenset[ChainId]:
        """The chains, recorded or not, that something alive needs."""
        inv = self._inventory
        settled = {name for name, removing in inv.removing.items() if self.is_settled(removing.ctime_ns)}
        under_way = [
            target for name, r in inv.removing.items() if name not in settled for target in edges.layer_edges(r)
        ]
        others = (
            *itertools.chain.from_iterable(map(edges.rw_layer_edges, inv.rw_layers.values())),
            *itertools.chain.from_iterable(map(edges.snapshot_edges, inv.build_cache.snapshots.values())),
            *itertools.chain.from_iterable(map(edges.lease_edges, inv.build_cache.leases.values())),
            *itertools.chain.from_iterable(entry.refers_to for entry in inv.quarantine.values()),
            *under_way,
            *self._build_words(),
        )
        kept: set[ChainId] = set()
        more = {*self.computed_parents, *self.broken_at, *_chains_in(others)}
        dirs = {*_dirs_in(others), *itertools.chain.from_iterable(self._mounted)}
        while True:
            kept |= self._with_ancestors(more)
            dirs.update(filter(None, map(self.cache_ids.get, kept)))
            start = self.dirs.ids() & (dirs | self._young)
            # In a healthy root what records name and what images and containers reach are the same dirs.
            closure = self.referenced_dirs if start == self._referred_to else self.closure(start)
            named = itertools.chain.from_iterable(self.sharers.get(d, ()) for d in closure & self.sharers.keys())
            more = {*named, *filter(None, map(self.chain_of_dir.get, closure))} - kept
            if not more:
                return frozenset(kept)

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


def _dirs_in(nodes: Iterable[Node]) -> Iterator[LayerDirId]:
    return (LayerDirId(node.id) for node in nodes if node.kind is NodeKind.LAYER_DIR)


def _chains_in(nodes: Iterable[Node]) -> Iterator[ChainId]:
    return (ChainId(node.id) for node in nodes if node.kind is NodeKind.LAYER)


def _grouped(pairs: list[tuple[K, V]]) -> dict[K, tuple[V, ...]]:
    """By first element, the second ones of its pairs."""
    found: dict[K, tuple[V, ...]] = {key: (value,) for key, value in pairs}
    if len(found) == len(pairs):
        return found
    many: dict[K, list[V]] = {}
    for key, value in pairs:
        many.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in many.items()}


_NO_LOWER = Lower(())
_NO_DIR = LayerDirId("")
