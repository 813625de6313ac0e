"""
Whose each path of a root is: from the inventory, the graph and the findings to an owner by path, and from a measured
tree to the space of each owner.

Claims, the first one holds::

    findings of kind orphan    what they would free                                   orphans, by code
    layer records              record, layer dir, link of the layers of images        images, unique or shared
                               of layers that only a container stands on              containers
                               of layers that only builds need                        build cache
    rw layer records           record, rw dir, init dir and their links               containers, else build cache
    build snapshots            every dir that BuildKit's databases name               build cache
    other layer dirs           alive by a ``lower`` only                              as what stands on them
    image configs, metadata                                                           images, unique
    everything else            by the first name of its path, logs by their names

An image without a name that other images were built on is no image of its own, here as in the engine's lists: its
layers are those of its descendants.

Source of the names of logs: moby ``container/container.go`` StartLogger (``<id>-json.log``, ``local-logs``,
``container-cached.log``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.edges import dir_node
from gcd.model.finding import Kind, Node, NodeKind
from gcd.model.ids import ContainerId, LayerDirId
from gcd.model.reading import Present, value_of
from gcd.model.space import FILES, LAYERS, RW, SHARED, UNIQUE, Category, Owner, sum_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from gcd.model.facts import RwLayerRecord
    from gcd.model.finding import Finding
    from gcd.model.ids import ChainId, ImageId
    from gcd.model.inventory import Inventory
    from gcd.model.space import Space, Tree
    from gcd.model.storegraph import StoreGraph

QUARANTINE = ".gcd"

_CATALOGUE = Owner(Category.IMAGES, SHARED)
_BUILDS = Owner(Category.BUILD_CACHE)
_BY_FIRST_NAME: Mapping[str, Owner] = {
    layout.CONTAINERS: Owner(Category.CONTAINERS, FILES),
    layout.BUILDKIT: _BUILDS,
    "builder": _BUILDS,
    layout.VOLUMES: Owner(Category.VOLUMES),
    layout.PLUGINS: Owner(Category.PLUGINS),
    "swarm": Owner(Category.SWARM),
    QUARANTINE: Owner(Category.QUARANTINE),
}
_LOG_PREFIXES = ("local-logs", "container-cached.log")


class Attribution:
    """`listed` are the images that the engine lists: those with a name, and those that no other was built on."""

    def __init__(self, inventory: Inventory, graph: StoreGraph, findings: Iterable[Finding]) -> None:
        self._inventory = inventory
        self._graph = graph
        self._driver = inventory.store
        self._owners: dict[str, Owner] = {}
        self.listed = listed_images(inventory)
        self.users = image_users(graph, self.listed)
        self._claim_orphans(findings)
        self._claim_layers()
        self._claim_rw_layers()
        self._claim_builds()
        self._claim_dirs_alive_by_lower()
        self._claim_image_files()
        self._claim_default(layout.image_tree(self._driver), _CATALOGUE)

    def owner_of(self, unit: str) -> Owner:
        """The owner of the unit at the relative path `unit`, "" being the root itself."""
        path = unit
        while path:
            if (owner := self._owners.get(path)) is not None:
                return owner
            path = path.rpartition("/")[0]
        first, _, rest = unit.partition("/")
        if first == layout.CONTAINERS and rest:
            return _owner_in_container(rest)
        return _BY_FIRST_NAME.get(first) or Owner(Category.OTHER, first or ".")

    def shares(self, tree: Tree) -> dict[Owner, Space]:
        """The space of each owner; an inode of several is the first's, in the order of `Owner.rank`."""
        found: dict[Owner, list[Space]] = {}
        for path, unit in tree.units.items():
            found.setdefault(self.owner_of(path), []).append(unit.space)
        for paths, space in tree.spanning.items():
            owner = min((self.owner_of(path) for path in paths), key=lambda owner: owner.rank)
            found.setdefault(owner, []).append(space)
        return {owner: sum_of(spaces) for owner, spaces in found.items()}

    # --- claims -----------------------------------------------------------------------------------------------------

    def _claim_default(self, path: str, owner: Owner) -> None:
        self._owners.setdefault(path, owner)

    def _unit_of(self, path: str) -> str:
        """`path`, cut where units end: rw layer records with slashes in their names are of the first one's owner."""
        records = f"{layout.rw_layer_records(self._driver)}/"
        return records + path[len(records) :].partition("/")[0] if path.startswith(records) else path

    def _claim_dir(self, layer_dir: LayerDirId, owner: Owner) -> None:
        """The layer dir, if it is one, with the symlinks that point to it."""
        self._claim_default(layout.layer_dir(layer_dir, self._driver), owner)
        for link in self._graph.symlinks_to.get(layer_dir, ()):
            self._claim_default(layout.link_symlink(link, self._driver), owner)

    def _claim_orphans(self, findings: Iterable[Finding]) -> None:
        for finding in sorted(findings, key=lambda finding: finding.id):
            if finding.kind is Kind.ORPHAN:
                for path in map(self._unit_of, finding.paths):
                    self._claim_default(path, Owner(Category.ORPHANS, finding.code, str(finding.subject)))

    def _claim_layers(self) -> None:
        below_containers = self._chains_below_containers()
        for_builds = self._chains_for_builds()
        for chain, record in self._inventory.layers.items():
            users = self.users.get(chain, ())
            if users:
                owner = image_owner(chain, users)
            elif chain in below_containers:
                owner = Owner(Category.CONTAINERS, LAYERS, below_containers[chain])
            elif chain in for_builds:
                owner = _BUILDS
            else:
                continue
            self._claim_default(layout.layer_record(chain, self._driver), owner)
            if isinstance(record.cache_id, Present):
                self._claim_dir(record.cache_id.value, owner)

    def _chains_below_containers(self) -> dict[ChainId, str]:
        """The chains that rw layers stand on, each with one container, the first by name."""
        found: dict[ChainId, str] = {}
        for name in sorted(self._inventory.rw_layers):
            parent = value_of(self._inventory.rw_layers[name].parent)
            for chain in self._graph.ancestors(parent) if parent else ():
                if chain in found:
                    break
                found[chain] = name
        return found

    def _chains_for_builds(self) -> Collection[str]:
        layers = {Node(NodeKind.LAYER, name) for name in self._inventory.build_cache.chains}
        return {node.id for node in self._graph.graph.reachable(layers) if node.kind is NodeKind.LAYER}

    def _claim_rw_layers(self) -> None:
        for record in self._inventory.rw_layers.values():
            container = self._container_of(record)
            owner = Owner(Category.CONTAINERS, RW, container) if container else _BUILDS
            self._claim_default(self._unit_of(layout.rw_layer_record(record.name, self._driver)), owner)
            for target in self._graph.graph.targets(Node(NodeKind.RW_LAYER, record.name)):
                if target.kind is NodeKind.LAYER_DIR:
                    self._claim_dir(LayerDirId(target.id), owner)

    def _container_of(self, record: RwLayerRecord) -> str:
        """The container whose rw layer it is, or into which an image is mounted by it; "" for those of builds."""
        for name in (record.name, record.name[:64]):
            if ContainerId(name) in self._inventory.containers:
                return name
        referrers = self._graph.graph.referrers(Node(NodeKind.RW_LAYER, record.name))
        return min((node.id for node in referrers if node.kind is NodeKind.CONTAINER), default="")

    def _claim_builds(self) -> None:
        cache = self._inventory.build_cache
        named = {*cache.named, *(snapshot.dir_id for snapshot in cache.snapshots.values() if snapshot.dir_id)}
        for layer_dir in sorted(named & self._inventory.layer_dirs.keys()):
            self._claim_dir(LayerDirId(layer_dir), _BUILDS)

    def _claim_dirs_alive_by_lower(self) -> None:
        for layer_dir in self._inventory.layer_dirs:
            if layout.layer_dir(layer_dir, self._driver) not in self._owners:
                owner = self._owner_above(layer_dir)
                if owner is not None:
                    self._claim_dir(layer_dir, owner)

    def _owner_above(self, layer_dir: LayerDirId) -> Owner | None:
        """As what stands on a dir that no record names: images before containers before builds."""
        nodes = self._graph.dependents(dir_node(layer_dir))
        images = tuple(image for image in self.listed if Node(NodeKind.IMAGE, image) in nodes)
        if images:
            return image_owner(layer_dir, images)
        containers = sorted(node.id for node in nodes if node.kind is NodeKind.CONTAINER)
        if containers:
            return Owner(Category.CONTAINERS, LAYERS, containers[0])
        return _BUILDS if any(node.kind in _BUILD_KINDS for node in nodes) else None

    def _claim_image_files(self) -> None:
        for image in self.listed:
            owner = Owner(Category.IMAGES, UNIQUE, image)
            self._claim_default(layout.image_config(image, self._driver), owner)
            self._claim_default(layout.image_metadata(image, self._driver), owner)


_BUILD_KINDS = frozenset({NodeKind.BUILD_SNAPSHOT, NodeKind.BUILD_LEASE, NodeKind.DATABASE})


def image_owner(layer: str, users: tuple[ImageId, ...]) -> Owner:
    if len(users) == 1:
        return Owner(Category.IMAGES, UNIQUE, users[0])
    return Owner(Category.IMAGES, SHARED, layer)


def listed_images(inventory: Inventory) -> tuple[ImageId, ...]:
    """
    The images that the engine lists without ``--all``: those with a reference, and those that are nobody's parent.

    Source: moby ``daemon/images/images.go`` Images and getLayerRefs.
    """
    repositories = value_of(inventory.repositories)
    named = frozenset(repositories.references.values()) if repositories else frozenset()
    parents = {
        parent
        for metadata in inventory.image_metadata.values()
        if metadata.id in inventory.images and (parent := value_of(metadata.parent)) is not None
    }
    return tuple(image for image in inventory.images if image in named or image not in parents)


def image_users(graph: StoreGraph, images: Iterable[ImageId]) -> dict[ChainId, tuple[ImageId, ...]]:
    """By chain, the ones of `images` that it is a layer of."""
    found: dict[ChainId, list[ImageId]] = {}
    for image in images:
        for chain, _ in graph.image_chains.get(image, ()):
            found.setdefault(chain, []).append(image)
    return {chain: tuple(users) for chain, users in found.items()}


def _owner_in_container(path: str) -> Owner:
    """Of ``<container>/…`` below ``containers/``."""
    container, _, rest = path.partition("/")
    name = rest.partition("/")[0]
    if name.startswith((*_LOG_PREFIXES, f"{container}-json.log")):
        return Owner(Category.LOGS, "", container)
    return Owner(Category.CONTAINERS, FILES, container)
