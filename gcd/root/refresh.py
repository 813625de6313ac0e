"""
One more reading of a root that was read before, of what is said to have changed and of nothing else.

The order is that of a whole reading (safety rule S1), for the changed subjects: the names of their layer dirs, then
BuildKit's databases, the records, images and containers, then layer dirs and links. What refers to a changed subject,
or is referred to by one, before or now, is read again with it: the dirs that a record names, the container of a dir.
Everything else is taken over from the last reading, the very same values.

What nobody watches is recognised by its stamp (inode, size, mtime and ctime), which is taken before it is read: files
that are written in place, and directories whose entries come and go. The quarantine is not read here at all, nor a root
whose directories are not the ones that were read: then `Outdated` is raised, and a whole reading has to tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from gcd.model import layout
from gcd.model.edges import rw_dirs_of
from gcd.model.entry import FOLDERS
from gcd.model.ids import (
    ChainId,
    ContainerId,
    ImageId,
    LayerDirId,
    LinkId,
    RwLayerName,
    is_digest,
    is_hex64,
    is_link_id,
)
from gcd.model.inventory import Coverage, Source
from gcd.model.links import lower_of
from gcd.model.reading import Present, value_of
from gcd.model.shelf import (
    dir_shelf,
    dirs_replaced,
    layer_row,
    link_row,
    replaced,
    shelved_dirs,
    shelved_layers,
    shelved_links,
)
from gcd.model.storegraph import partner_of
from gcd.model.succession import Differing
from gcd.root.buildkit import read_build_cache, read_databases
from gcd.root.containers import containers_of, read_container_files
from gcd.root.distribution import read_distribution
from gcd.root.images import images_of, read_configs, read_metadata, read_references
from gcd.root.layerdb import read_layerdb
from gcd.root.overlay2 import list_names, probe, read_layer_dirs, read_link_farm
from gcd.root.plugins import read_plugins
from gcd.root.progress import ALONE, Pace
from gcd.root.temporaries import read_engine_temporaries, read_temporaries
from gcd.root.tree import source_state
from gcd.root.volumes import read_volumes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gcd.model.changed import Changed
    from gcd.model.facts import LayerDir, LayerRecord
    from gcd.model.inventory import Inventory, SourceState
    from gcd.model.shelf import LayerShelf
    from gcd.model.storegraph import StoreGraph
    from gcd.root.tree import Directory

K = TypeVar("K", bound=str)
V = TypeVar("V")

Stamp = tuple[int, ...] | None
"""Device and inode of a directory; inode, size, mtime and ctime of what is read again when they differ."""

Stamps = dict[str, Stamp]

_BUILD: Final = (
    layout.BUILDKIT,
    *map(
        layout.build_database,
        (layout.BUILD_LEASES, layout.BUILD_RECORDS, layout.BUILD_SNAPSHOTS, layout.OLD_BUILD_RECORDS),
    ),
)
_BUILD_SOURCES: Final = (Source.BUILD_LEASES, Source.BUILD_RECORDS, Source.BUILD_SNAPSHOTS)
_QUARANTINE: Final = (layout.GCD, *(f"{layout.GCD}/{name}" for name in FOLDERS.values()))
_MAX_READINGS: Final = 3
"""How often BuildKit's databases are read for one refresh, while one of them changes too fast to be copied."""


class Outdated(Exception):
    """The root is not the one that was read, or something changed that only a whole reading tells."""


def stamps_of(root: Directory, driver: str) -> Stamps:
    """The stamps of all that is not watched by name, and of the directories in which everything lies."""
    homes = _homes(driver)
    found = {path: _stamp(root, path, whole=path not in homes) for path in (*_unwatched(driver), *homes)}
    here = root.stat()
    return {"": (here.st_dev, here.st_ino), **found}


def _homes(driver: str) -> tuple[str, ...]:
    return (
        driver,
        layout.link_farm(driver),
        layout.layer_records(driver),
        layout.rw_layer_records(driver),
        layout.write_sets(driver),
        layout.image_configs(driver),
        layout.image_metadata_records(driver),
        layout.CONTAINERS,
    )


def _distribution(driver: str) -> tuple[str, ...]:
    home = layout.distribution(driver)
    kinds = ("diffid-by-digest", "v2metadata-by-diffid")
    return (home, *(f"{home}/{kind}" for kind in kinds), *(f"{home}/{kind}/sha256" for kind in kinds))


def _unwatched(driver: str) -> tuple[str, ...]:
    return (
        *_BUILD,
        *_QUARANTINE,
        *_distribution(driver),
        layout.repositories(driver),
        layout.PLUGINS,
        layout.VOLUMES,
        *layout.ENGINE_DATABASES,
    )


def _stamp(root: Directory, path: str, *, whole: bool) -> Stamp:
    folder, _, name = path.rpartition("/")
    opened = root.open_path(folder) if folder else None
    if opened is not None and not isinstance(opened, Present):
        return None
    here = opened.value if opened is not None else root
    try:
        status = value_of(here.lstat(name))
    finally:
        if opened is not None:
            here.close()
    if status is None:
        return None
    if whole:
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return status.st_dev, status.st_ino


class Refreshed(Struct, frozen=True):
    """`newest_ns` is the newest ctime of what was read."""

    inventory: Inventory
    differing: Differing
    newest_ns: int


def refresh(
    root: Directory,
    before: StoreGraph,
    changed: Changed,
    stamps: tuple[Stamps, Stamps],
    *,
    pace: Pace = ALONE,
) -> Refreshed:
    """
    The inventory of `root`, of which `before` is the graph of the last one: what `changed`, and what `stamps`, the last
    ones and those of now, tell apart, is read again, as `pace` says. Engine, mounts and what processes hold are taken
    over.
    """
    return _Refresh(root, before, changed, *stamps, pace).run()


class _Refresh:
    def __init__(
        self,
        root: Directory,
        before: StoreGraph,
        changed: Changed,
        old_stamps: Stamps,
        stamps: Stamps,
        pace: Pace,
    ) -> None:
        self._root = root
        self._before = before
        self._old = before.inventory
        self._driver = self._old.store
        self._changed = changed
        self._restamped = {path for path, stamp in stamps.items() if old_stamps.get(path) != stamp}
        self._pace = pace
        self._sources: dict[Source, SourceState] = {}
        self._dirs: set[LayerDirId] = {LayerDirId(name) for name in changed.layer_dirs}
        """The dirs to be read: what was read so far adds to them."""
        self._newest_ns = 0

    def run(self) -> Refreshed:
        if not self._restamped.isdisjoint(("", *_QUARANTINE, *_homes(self._driver))):
            raise Outdated
        root, old, changed = self._root, self._old, self._changed
        inventory = old
        if changed.layer_dirs:
            names, state = list_names(root, self._driver, changed.layer_dirs)
            self._whole(state)
            inventory = replace(old, candidates=(old.candidates - changed.layer_dirs) | names)
        inventory = self._with_build_cache(inventory)
        inventory, layers, rw_layers = self._with_layerdb(inventory)
        inventory, images = self._with_images(inventory)
        inventory, containers = self._with_containers(inventory)
        inventory, layer_dirs, links = self._with_dirs(inventory, layers, rw_layers)
        inventory = self._with_rest(inventory)
        inventory = replace(inventory, sources={**old.sources, **self._sources})
        return Refreshed(
            inventory, Differing(layer_dirs, links, layers, rw_layers, images, containers), self._newest_ns
        )

    def _whole(self, state: SourceState) -> None:
        """Where some of the changed could not be listed, or their directory is gone, a whole reading tells."""
        if state.coverage not in {Coverage.OK, Coverage.ABSENT}:
            raise Outdated

    def _with_build_cache(self, inventory: Inventory) -> Inventory:
        is_busy = any(inventory.sources[source].coverage is Coverage.BUSY for source in _BUILD_SOURCES)
        if not self._changed.has_build_cache and not is_busy and self._restamped.isdisjoint(_BUILD):
            return inventory
        cache, states = read_build_cache(self._root)
        for _ in range(_MAX_READINGS - 1):
            if all(state.coverage is not Coverage.BUSY for state in states.values()):
                break
            cache, states = read_build_cache(self._root)
        self._sources |= states
        self._dirs.update(LayerDirId(name) for name in cache.named ^ inventory.build_cache.named)
        return replace(inventory, build_cache=cache)

    def _with_layerdb(self, inventory: Inventory) -> tuple[Inventory, frozenset[ChainId], frozenset[RwLayerName]]:
        changed, old = self._changed, self._old
        if not (changed.layers or changed.rw_layers or changed.write_sets):
            return inventory, frozenset(), frozenset()
        read = read_layerdb(self._root, self._driver, self._pace, only=changed)
        self._whole(read.layers_state)
        self._whole(read.rw_layers_state)
        chains = {ChainId(f"sha256:{name}") for name in changed.layers if is_hex64(name)}
        layers = differing(old.layers, read.layers, chains)
        names = {name for name in old.rw_layers if name.partition("/")[0] in changed.rw_layers}
        rw_layers = differing(old.rw_layers, read.rw_layers, names | read.rw_layers.keys())
        self._note(record.ctime_ns for record in read.layers.values())
        self._note(record.ctime_ns for record in read.rw_layers.values())
        inventory = replace(
            inventory,
            layers=self._layers_with(read.layers, layers),
            rw_layers=mended(old.rw_layers, read.rw_layers, rw_layers),
            removing=mended(old.removing, read.removing, changed.layers),
            write_sets=mended(old.write_sets, read.write_sets, changed.write_sets),
        )
        for some in (old, inventory):
            found = (some.layers.get(chain) for chain in layers)
            self._name(value_of(record.cache_id) for record in found if record is not None)
            self._name(d for name in rw_layers if name in some.rw_layers for d in rw_dirs_of(some.rw_layers[name]))
            self._name(value_of(some.removing[name].cache_id) for name in changed.layers if name in some.removing)
            self._name(value_of(some.write_sets[n].cache_id) for n in changed.write_sets if n in some.write_sets)
        return inventory, frozenset(layers), frozenset(rw_layers)

    def _layers_with(self, read: LayerShelf, chains: frozenset[ChainId]) -> Mapping[ChainId, LayerRecord]:
        old = self._old.layers
        return replaced(shelved_layers(old), {c: read.get(c) for c in chains}, layer_row) if chains else old

    def _name(self, dirs: Iterable[LayerDirId | None]) -> None:
        self._dirs.update(d for d in dirs if d is not None)

    def _note(self, ctimes: Iterable[int]) -> None:
        self._newest_ns = max(self._newest_ns, *ctimes, 0)

    def _with_images(self, inventory: Inventory) -> tuple[Inventory, frozenset[ImageId]]:
        old, changed, path = self._old, self._changed, layout.repositories(self._driver)
        names = set(changed.images)
        if changed.has_repositories or path in self._restamped or changed.images:
            references = read_references(self._root, self._driver)
            self._sources[Source.REPOSITORIES] = source_state(path, references.repositories)
            inventory = replace(
                inventory,
                repositories=references.repositories,
                repositories_ctime_ns=references.ctime_ns,
                repositories_copies=references.copies,
            )
            named = references.repositories.value.references if isinstance(references.repositories, Present) else {}
            missing = {i for i in named.values() if i not in old.images and is_digest(i)}
            names.update(image.removeprefix("sha256:") for image in missing)
        if not names:
            return inventory, frozenset()
        configs, _, state = read_configs(self._root, self._driver, self._pace, only=names)
        self._whole(state)
        metadata, state = read_metadata(self._root, self._driver, self._pace, only=names)
        self._whole(state)
        ids = {ImageId(f"sha256:{name}") for name in names if is_hex64(name)}
        read = images_of(configs)
        images = differing(old.images, read, ids)
        return replace(
            inventory,
            images=mended(old.images, read, images),
            image_metadata=mended(old.image_metadata, metadata, ids),
        ), images

    def _with_containers(self, inventory: Inventory) -> tuple[Inventory, frozenset[ContainerId]]:
        """The changed containers, and those whose rw layer record or dirs changed: their configs say what goes on."""
        old = self._old
        names = set(self._changed.containers) | {name.partition("/")[0] for name in self._changed.rw_layers}
        for dir_id in (*self._dirs, *map(partner_of, self._dirs)):
            names.update(self._before.rw_namers.get(dir_id, ()))
        if not names:
            return inventory, frozenset()
        files, state = read_container_files(self._root, self._pace, only=names)
        self._whole(state)
        read = containers_of(files)
        self._note(container.ctime_ns for container in read.values())
        containers = differing(old.containers, read, {ContainerId(name) for name in names})
        return replace(inventory, containers=mended(old.containers, read, containers)), containers

    def _with_dirs(
        self, inventory: Inventory, layers: frozenset[ChainId], rw_layers: frozenset[RwLayerName]
    ) -> tuple[Inventory, frozenset[LayerDirId], frozenset[LinkId]]:
        old, before = self._old, self._before
        read = self._read_dirs({*self._dirs, *map(partner_of, self._dirs)})
        # A new dir leaves its mark in the one below it, which nobody hears.
        first = (link for record in read.values() for link in lower_of(record).links[:1])
        below = {d for link in first for d in before.dirs_of_link(link)} - read.keys()
        read |= self._read_dirs(below)
        names = {*self._dirs, *map(partner_of, self._dirs), *below}
        unnamed = [
            d for d in read if d in inventory.candidates and not _is_named(inventory, before, d, layers, rw_layers)
        ]
        mounted = {mount.merged_of for mount in old.mounts if mount.merged_of in names}
        found = probe(self._root, self._driver, dir_shelf({}, read), unnamed, frozenset(filter(None, mounted)))
        self._note(record.ctime_ns for record in found.values())
        dirs = shelved_dirs(old.layer_dirs)
        changed = differing(dirs, found, names)
        said = {link for d in changed if (link := before.own_link(d)) is not None}
        shelf = dirs_replaced(
            dirs,
            {d: found.get(d) for d in changed},
            above=[d for link in said for d in before.direct_citers.get(link, ())],
            claimants=before.claimants,
        )
        own = {value_of(record.link) for record in found.values()}
        inventory, links = self._with_links(inventory, {*said, *filter(None, own), *self._changed.links})
        return replace(inventory, layer_dirs=shelf), frozenset(changed), links

    def _read_dirs(self, names: set[LayerDirId]) -> dict[LayerDirId, LayerDir]:
        read, state = read_layer_dirs(self._root, self._driver, self._pace, only=names)
        self._whole(state)
        return dict(read)

    def _with_links(self, inventory: Inventory, names: set[str]) -> tuple[Inventory, frozenset[LinkId]]:
        farm = self._old.link_farm
        read, state = read_link_farm(self._root, self._driver, self._pace, only=names)
        self._whole(state)
        if read.type is not farm.type:
            raise Outdated
        shelf = shelved_links(farm.symlinks)
        links = differing(shelf, read.symlinks, {LinkId(name) for name in names if is_link_id(name)})
        symlinks = replaced(shelf, {link: read.symlinks.get(link) for link in links}, link_row)
        return replace(inventory, link_farm=replace(farm, symlinks=symlinks)), links

    def _with_rest(self, inventory: Inventory) -> Inventory:
        """What no verdict on a layer dir hangs on; each is read whole if its stamp differs."""
        root, driver = self._root, self._driver
        if layout.PLUGINS in self._restamped:
            plugins, self._sources[Source.PLUGINS] = read_plugins(root)
            inventory = replace(inventory, plugins=plugins)
        if layout.VOLUMES in self._restamped:
            volumes, self._sources[Source.VOLUMES] = read_volumes(root)
            inventory = replace(inventory, volumes=volumes)
        if not self._restamped.isdisjoint(_distribution(driver)):
            read = read_distribution(root, driver)
            self._sources[Source.DISTRIBUTION] = read.state
            inventory = replace(inventory, distribution=read.unreadable, registry_layers=read.layers)
        databases = [path for path in layout.ENGINE_DATABASES if path in self._restamped]
        if databases:
            again = read_databases(root, databases)
            kept = {path: txid for path, txid in inventory.databases.items() if path not in databases}
            inventory = replace(inventory, databases=kept | again)
        temporaries, self._sources[Source.TEMPORARIES] = read_engine_temporaries(root)
        paths = dict.fromkeys((*self._old.temporaries, *self._temporaries(inventory)))
        return replace(
            inventory, engine_temporaries=temporaries, temporaries=read_temporaries(root, paths) if paths else {}
        )

    def _temporaries(self, inventory: Inventory) -> Iterator[str]:
        """The paths of temporary files beside what was read again."""
        for dir_id in self._dirs:
            layer_dir = inventory.layer_dirs.get(dir_id)
            for name in layer_dir.temporaries if layer_dir is not None else ():
                yield f"{layout.layer_dir(dir_id, self._driver)}/{name}"
        for name in self._changed.containers:
            container = inventory.containers.get(ContainerId(name))
            for temporary in container.temporaries if container is not None else ():
                yield f"{layout.container(ContainerId(name))}/{temporary}"
        for name in self._changed.images:
            metadata = inventory.image_metadata.get(ImageId(f"sha256:{name}"))
            for temporary in metadata.temporaries if metadata is not None else ():
                yield f"{layout.image_metadata(ImageId(f'sha256:{name}'), self._driver)}/{temporary}"
            if name.startswith(layout.TEMPORARY_PREFIX):
                yield f"{layout.image_configs(self._driver)}/{name}"
        for copy in inventory.repositories_copies:
            yield f"{layout.image_tree(self._driver)}/{copy.name}"


def _is_named(
    inventory: Inventory,
    before: StoreGraph,
    dir_id: LayerDirId,
    layers: frozenset[ChainId],
    rw_layers: frozenset[RwLayerName],
) -> bool:
    """Whether a record or a BuildKit database names the dir: one that was there before, or one that was read."""
    if any(chain not in layers for chain in before.chains_of_dir(dir_id)):
        return True
    if any(name not in rw_layers for name in before.rw_namers.get(dir_id, ())):
        return True
    if dir_id in inventory.build_cache.named:
        return True
    new = (inventory.layers[chain] for chain in layers if chain in inventory.layers)
    said = (value_of(record.cache_id) for record in new)
    removed = (value_of(record.cache_id) for record in inventory.removing.values())
    written = (value_of(record.cache_id) for record in inventory.write_sets.values())
    if dir_id in {*said, *removed, *written}:
        return True
    return any(
        dir_id in {value_of(record.mount_id), value_of(record.init_id)}
        for name in rw_layers
        if (record := inventory.rw_layers.get(name)) is not None
    )


def differing(old: Mapping[K, V], new: Mapping[K, V], ids: Iterable[K]) -> frozenset[K]:
    """Those of `ids` under which `new` has something else than `old`."""
    return frozenset(key for key in ids if old.get(key) != new.get(key))


def mended(old: Mapping[K, V], new: Mapping[K, V], ids: Iterable[K]) -> Mapping[K, V]:
    """`old` with what `new` has under `ids`, or without them; `old` itself where that changes nothing."""
    ids = [key for key in ids if old.get(key) != new.get(key)]
    if not ids:
        return old
    kept = dict(old)
    for key in ids:
        kept.pop(key, None)
    return kept | {key: new[key] for key in ids if key in new}
