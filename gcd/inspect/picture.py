"""
The picture around one node: what it stands on, what stands on it, and what that stands on in turn.

An image brings its containers, a container its image, a layer all images and containers that use it with their other
layers. Who else uses those is told by name (`Users`), so that a picture ends.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from gcd.inspect.view import (
    ContainerView,
    DirectoryView,
    ImageView,
    LayerView,
    Named,
    RwLayerView,
    Users,
    View,
)
from gcd.inspect.why import Keepers
from gcd.model import edges, layout
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ChainId, ContainerId, ImageId, LayerDirId, LinkId, RwLayerName, init_dir_of, is_digest
from gcd.model.inventory import Coverage
from gcd.model.links import lower_of
from gcd.model.reading import value_of
from gcd.model.storegraph import BUILD_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gcd.inspect.view import Candidate
    from gcd.model.facts import BuildLease, BuildRecord, BuildSnapshot, Container, KernelMount
    from gcd.model.finding import Finding
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph

_RANK = {kind: rank for rank, kind in enumerate(NodeKind)}
_VOLUME_TYPES = {"volume", ""}
"""Files of engines that had no word for it say nothing; a bind has no name."""

_THINGS_IN_PASSING = {NodeKind.REMOVING_LAYER, NodeKind.WRITE_SET}


def picture(inventory: Inventory, graph: StoreGraph, findings: Sequence[Finding], asked: Candidate) -> View:
    """Everything that `asked` connects to; `findings` are those of the same reading."""
    return _Painter(inventory, graph, findings).view(asked)


class _Painter:
    def __init__(self, inventory: Inventory, graph: StoreGraph, findings: Sequence[Finding]) -> None:
        self._inventory = inventory
        self._graph = graph
        self._findings = findings
        repositories = value_of(inventory.repositories)
        self._tagged = frozenset(repositories.references.values() if repositories else ())
        self._images_on: dict[str, list[ImageId]] = defaultdict(list)
        for image, chains in graph.image_chains.items():
            for chain, _ in chains:
                self._images_on[chain].append(image)
        self._rw_layers_on: dict[str, list[RwLayerName]] = defaultdict(list)
        for rw_layer in inventory.rw_layers.values():
            top = value_of(rw_layer.parent)
            for chain in graph.ancestors(top) if top else ():
                self._rw_layers_on[chain].append(rw_layer.name)
        self._builds_on: dict[str, list[str]] = defaultdict(list)
        for snapshot in inventory.build_cache.snapshots.values():
            for target in edges.snapshot_edges(snapshot):
                if target.kind is NodeKind.LAYER:
                    self._builds_on[target.id].append(snapshot.name)

    def view(self, asked: Candidate) -> View:
        start = self._start(asked.node)
        below = self._below(start)
        above = {node for here in start for node in self._graph.dependents(here)} - {BUILD_WORDS}
        nodes = below | above | self._graph.graph.reachable(above | set(start))
        ids = _by_kind(nodes)
        directories = sorted(ids[NodeKind.LAYER_DIR])
        snapshots = self._snapshots(ids)
        keepers = Keepers(self._inventory, self._graph, self._findings)
        near = tuple(LayerDirId(node.id) for node in self._in_order(below) if node.kind is NodeKind.LAYER_DIR)
        return View(
            root=self._inventory.root,
            store=self._inventory.store,
            asked=asked,
            exists=self._exists(asked.node),
            images=tuple(self._image(ImageId(i)) for i in sorted(ids[NodeKind.IMAGE])),
            containers=tuple(self._container(ContainerId(i)) for i in sorted(ids[NodeKind.CONTAINER])),
            layers=tuple(self._layer(ChainId(n.id)) for n in self._in_order(nodes) if n.kind is NodeKind.LAYER),
            rw_layers=tuple(self._rw_layer(RwLayerName(i)) for i in sorted(ids[NodeKind.RW_LAYER])),
            directories=tuple(self._directory(LayerDirId(i)) for i in directories),
            snapshots=snapshots,
            records=self._records(snapshots),
            leases=self._leases(snapshots, ids),
            mounts=self._mounts(ids, start),
            others=tuple(node for node in self._in_order(nodes) if node.kind in _THINGS_IN_PASSING),
            near=near,
            why=() if asked.node.kind is NodeKind.VOLUME else tuple(map(keepers.why, self._own(start) or near)),
            findings=self._on_the_way(nodes),
            incomplete={
                source: state
                for source, state in self._inventory.sources.items()
                if state.coverage not in (Coverage.OK, Coverage.ABSENT)
            },
        )

    # --- which nodes ------------------------------------------------------------------------------------------------

    def _start(self, node: Node) -> tuple[Node, ...]:
        """`node`, and the dirs that it is another name of, or the containers that have it mounted."""
        if node.kind is NodeKind.LINK:
            link = LinkId(node.id)
            symlink = self._inventory.link_farm.symlinks.get(link)
            target = value_of(symlink.target) if symlink else None
            dirs = dict.fromkeys((*self._graph.dirs_of_link(link), *((target,) if target else ())))
            return (node, *map(edges.dir_node, dirs))
        if node.kind is NodeKind.VOLUME:
            containers = self._inventory.containers.values()
            users = (container.id for container in containers if node.id in volumes_of(container))
            return (node, *(Node(NodeKind.CONTAINER, user) for user in users))
        if node.kind is NodeKind.LAYER:
            return (node, *(t for t in self._graph.graph.targets(node) if t.kind is NodeKind.LAYER_DIR))
        return (node,)

    def _own(self, start: Iterable[Node]) -> tuple[LayerDirId, ...]:
        """The dirs that `start` is or has itself; an image or a container has only those of its layers."""
        found: dict[LayerDirId, None] = {}
        for node in start:
            if node.kind is NodeKind.LAYER_DIR:
                found[LayerDirId(node.id)] = None
            elif node.kind is NodeKind.RW_LAYER:
                found.update(dict.fromkeys(self._rw_dirs(RwLayerName(node.id))))
        return tuple(found)

    def _below(self, start: Iterable[Node]) -> set[Node]:
        """What `start` stands on; for a dir also what its ``lower`` means, which is all that an orphan has."""
        found = self._graph.graph.reachable(start)
        for node in start:
            if node.kind is NodeKind.LAYER_DIR:
                found.update(edges.dir_node(lower) for lower in self._lower(LayerDirId(node.id)))
        return found

    def _lower(self, directory: LayerDirId) -> tuple[LayerDirId, ...]:
        fact = self._inventory.layer_dirs.get(directory)
        if fact is None:
            return ()
        return tuple(dict.fromkeys(d for link in lower_of(fact).links for d in self._graph.dirs_of_link(link)))

    def _in_order(self, nodes: Iterable[Node]) -> list[Node]:
        """Layers from the base up, and everything else by kind and id."""
        return sorted(nodes, key=lambda node: (_RANK[node.kind], self._depth(node), node.id))

    def _depth(self, node: Node) -> int:
        """How deep the layer, or the layer of the dir, lies; 0 for what has no depth."""
        match node.kind:
            case NodeKind.LAYER:
                return self._graph.depth(ChainId(node.id)) or 0
            case NodeKind.LAYER_DIR:
                fact = self._inventory.layer_dirs.get(LayerDirId(node.id))
                return lower_of(fact).depth if fact else 0
            case _:
                return 0

    def _exists(self, node: Node) -> bool:
        inv, graph = self._inventory, self._graph
        there: dict[NodeKind, Iterable[str]] = {
            NodeKind.IMAGE: inv.images,
            NodeKind.LAYER: inv.layers,
            NodeKind.LAYER_DIR: inv.layer_dirs,
            NodeKind.LINK: {*inv.link_farm.symlinks, *graph.claimants},
            NodeKind.CONTAINER: inv.containers,
            NodeKind.RW_LAYER: inv.rw_layers,
            NodeKind.BUILD_SNAPSHOT: inv.build_cache.snapshots,
            NodeKind.BUILD_LEASE: inv.build_cache.leases,
            NodeKind.REMOVING_LAYER: inv.removing,
            NodeKind.WRITE_SET: inv.write_sets,
            NodeKind.VOLUME: inv.volumes,
        }
        return node.id in there.get(node.kind, ())

    # --- what each of them is ---------------------------------------------------------------------------------------

    def _image(self, image: ImageId) -> ImageView:
        children = (
            metadata.id for metadata in self._inventory.image_metadata.values() if value_of(metadata.parent) == image
        )
        referrers = self._graph.graph.referrers(Node(NodeKind.IMAGE, image))
        return ImageView(
            id=image,
            fact=self._inventory.images.get(image),
            references=self._references(image),
            metadata=self._inventory.image_metadata.get(image),
            chains=self._graph.image_chains.get(image, ()),
            children=tuple(map(self._named_image, sorted(children))),
            containers=tuple(self._named_container(n.id) for n in referrers if n.kind is NodeKind.CONTAINER),
        )

    def _references(self, image: ImageId) -> tuple[str, ...]:
        repositories = value_of(self._inventory.repositories)
        references = repositories.references if repositories else {}
        return tuple(sorted(reference for reference, named in references.items() if named == image))

    def _layer(self, chain: ChainId) -> LayerView:
        fact = self._inventory.layers.get(chain)
        said = value_of(fact.diff_id) if fact else None
        return LayerView(
            chain_id=chain,
            diff_id=said or self._graph.computed_diff_ids.get(chain),
            fact=fact,
            broken_at=self._graph.broken_at.get(chain),
            used_by=Users(
                images=tuple(map(self._named_image, self._images_on.get(chain, ()))),
                containers=tuple(
                    user for name in self._rw_layers_on.get(chain, ()) for user in self._users_of_rw_layer(name)
                ),
                builds=tuple(dict.fromkeys(self._builds_on.get(chain, ()))),
            ),
        )

    def _rw_layer(self, name: RwLayerName) -> RwLayerView:
        fact = self._inventory.rw_layers.get(name)
        mount_id = value_of(fact.mount_id) if fact else None
        init_id = value_of(fact.init_id) if fact else None
        return RwLayerView(
            name=name,
            fact=fact,
            mount_id=mount_id,
            init_id=init_id or (init_dir_of(mount_id) if mount_id else None),
            used_by=self._users_of_rw_layer(name),
        )

    def _users_of_rw_layer(self, name: RwLayerName) -> tuple[Named, ...]:
        """The containers that name it, or the record itself where none does."""
        referrers = self._graph.graph.referrers(Node(NodeKind.RW_LAYER, name))
        containers = dict.fromkeys(node.id for node in referrers if node.kind is NodeKind.CONTAINER)
        return tuple(map(self._named_container, containers)) or (Named(name),)

    def _container(self, container: ContainerId) -> ContainerView:
        fact = self._inventory.containers.get(container)
        targets = edges.container_edges(fact) if fact else ()
        config = value_of(fact.config) if fact else None
        return ContainerView(
            id=container,
            name=config.name.removeprefix("/") if config else "",
            fact=fact,
            rw_layers=tuple(dict.fromkeys(RwLayerName(t.id) for t in targets if t.kind is NodeKind.RW_LAYER)),
        )

    def _directory(self, directory: LayerDirId) -> DirectoryView:
        return DirectoryView(
            id=directory,
            path=layout.layer_dir(directory, self._inventory.store),
            fact=self._inventory.layer_dirs.get(directory),
            symlinks=self._graph.symlinks_to.get(directory, ()),
            lower=self._lower(directory),
            owners=self._graph.owners(directory),
        )

    def _named_image(self, image: ImageId) -> Named:
        return Named(image, self._graph.image_labels(image) if image in self._tagged else ())

    def _named_container(self, container: str) -> Named:
        return Named(container, (self._graph.container_label(container),))

    # --- what goes with them ----------------------------------------------------------------------------------------

    def _snapshots(self, ids: dict[NodeKind, set[str]]) -> tuple[BuildSnapshot, ...]:
        """Those in the picture, and those that stand for a layer or a dir of it."""
        return tuple(
            snapshot
            for snapshot in self._inventory.build_cache.snapshots.values()
            if snapshot.name in ids[NodeKind.BUILD_SNAPSHOT]
            or snapshot.dir_id in ids[NodeKind.LAYER_DIR]
            or {snapshot.name, snapshot.chain_id} & ids[NodeKind.LAYER]
        )

    def _records(self, snapshots: Iterable[BuildSnapshot]) -> tuple[BuildRecord, ...]:
        names = {snapshot.name for snapshot in snapshots}
        records = self._inventory.build_cache.records.values()
        return tuple(record for record in records if {record.snapshot or record.id, record.equal_mutable} & names)

    def _leases(self, snapshots: Iterable[BuildSnapshot], ids: dict[NodeKind, set[str]]) -> tuple[BuildLease, ...]:
        names = {snapshot.name for snapshot in snapshots} | {i for i in ids[NodeKind.LAYER] if is_digest(i)}
        leases = self._inventory.build_cache.leases.values()
        return tuple(
            lease for lease in leases if lease.id in ids[NodeKind.BUILD_LEASE] or names.intersection(lease.snapshots)
        )

    def _mounts(self, ids: dict[NodeKind, set[str]], start: Iterable[Node]) -> tuple[KernelMount, ...]:
        """
        Mounts of a dir in the picture, and those that have a dir of `start` below them.

        A layer that many containers share is below all their mounts: only who asked for that layer sees them all.
        """
        own = set(self._own(start))
        upper = {i for name in ids[NodeKind.RW_LAYER] for i in self._rw_dirs(RwLayerName(name))} | own
        others = ids[NodeKind.LAYER_DIR]
        return tuple(
            mount
            for mount in self._inventory.mounts
            if mount.merged_of in others
            or mount.dirs & upper
            or own.intersection(d for link in mount.links for d in self._graph.dirs_of_link(link))
        )

    def _rw_dirs(self, name: RwLayerName) -> Iterator[LayerDirId]:
        view = self._rw_layer(name)
        yield from (directory for directory in (view.mount_id, view.init_id) if directory is not None)

    def _on_the_way(self, nodes: set[Node]) -> tuple[Finding, ...]:
        """The findings about `nodes` and what goes with them, and the findings that explain or block those."""
        wanted = {*nodes, *(extra for node in nodes for extra in self._parts(node))}
        by_id = {finding.id: finding for finding in self._findings}
        shown = {finding.id for finding in self._findings if finding.subject in wanted}
        for id_ in tuple(shown):
            shown.update(other for other in (by_id[id_].cause, *by_id[id_].blocked_by) if other in by_id)
        return tuple(finding for finding in self._findings if finding.id in shown)

    def _parts(self, node: Node) -> Iterator[Node]:
        """What findings speak of and the graph does not connect: links of a dir, tags of an image, volumes."""
        match node.kind:
            case NodeKind.LAYER_DIR:
                yield from (Node(NodeKind.LINK, link) for link in self._graph.links_of(LayerDirId(node.id)))
            case NodeKind.IMAGE:
                yield Node(NodeKind.IMAGE_METADATA, node.id)
                yield from (Node(NodeKind.REFERENCE, reference) for reference in self._references(ImageId(node.id)))
            case NodeKind.CONTAINER:
                container = self._inventory.containers.get(ContainerId(node.id))
                yield from (Node(NodeKind.VOLUME, v) for v in (volumes_of(container) if container else ()))
            case _:
                return


def volumes_of(container: Container) -> tuple[str, ...]:
    """The names of the volumes among its mount points."""
    config = value_of(container.config)
    points = config.mount_points if config is not None else ()
    return tuple(point.name for point in points if point.name and point.type in _VOLUME_TYPES)


def _by_kind(nodes: Iterable[Node]) -> dict[NodeKind, set[str]]:
    found: dict[NodeKind, set[str]] = {kind: set() for kind in NodeKind}
    for node in nodes:
        found[node.kind].add(node.id)
    return found
