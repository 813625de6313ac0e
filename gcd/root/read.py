"""
One reading of one root, in the order that makes its verdicts safe (safety rule S1).

::

    engine                     who owns the root, since when
    overlay2/                  names only: the candidates
    buildkit/                  ┐
    layerdb: tmp, sha256,      │
             mounts            │  all that refers to layer dirs
    imagedb, repositories,     │
             containers        ┘
    overlay2/ and l/           again, with link and lower of each: the closure
    the quarantine             what the records in it still need
    kernel mounts
    engine                     still the same?
    plugins, volumes,          what no verdict on a layer dir hangs on
    other databases,
    distribution, tmp
    probes                     only of dirs that nothing names, or that are mounted
    open files
    temporary files            those whose names were seen on the way

What is created meanwhile is no candidate; what is let go of meanwhile was still seen by a source, or by a ``lower``. If
the engine changed in between, a doubt says so and nothing is proven.

`read_inventory` keeps nothing between two calls: a second look is a second call. One unreadable file never ends it.
"""

from __future__ import annotations

import time
from functools import cache, partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from gcd.model import layout
from gcd.model.facts import Engine, EngineState
from gcd.model.inventory import Coverage, Inventory, Source, SourceState
from gcd.model.reading import Present
from gcd.model.shelf import folded
from gcd.root.buildkit import read_build_cache, read_databases
from gcd.root.containers import containers_of, read_container_files
from gcd.root.distribution import Distribution, read_distribution
from gcd.root.engine import read_engine
from gcd.root.images import ImageDb, images_of, read_imagedb
from gcd.root.layerdb import LayerDb, read_layerdb
from gcd.root.mounts import read_mounts
from gcd.root.openfiles import held_dirs
from gcd.root.overlay2 import list_names, probe, read_layer_dirs, read_link_farm
from gcd.root.plugins import read_plugins
from gcd.root.progress import ALONE, Pace
from gcd.root.quarantine import read_quarantine
from gcd.root.temporaries import read_engine_temporaries, read_temporaries
from gcd.root.tree import combined, open_root
from gcd.root.volumes import read_volumes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gcd.model.entry import EntryId
    from gcd.model.facts import (
        BuildCache,
        Container,
        DormantStore,
        Image,
        KernelMount,
        LinkFarm,
        Plugin,
        QuarantineEntry,
        TemporaryFile,
        Volume,
    )
    from gcd.model.ids import ContainerId, ImageId, LayerDirId
    from gcd.model.reading import Reading
    from gcd.model.shelf import DirShelf
    from gcd.root.containers import ContainerFiles
    from gcd.root.images import ConfigFile
    from gcd.root.tree import Directory

    Described = tuple[dict[ImageId, Image], dict[ContainerId, Container]]

EPOCH_TOLERANCE_NS = 2_000_000_000
"""Two readings of one engine's epoch may differ by this: the kernel gives the time of its boot in whole seconds."""


def read_inventory(
    path: str,
    *,
    driver: str = layout.OVERLAY2,
    dormant: tuple[DormantStore, ...] = (),
    proc: str = "/proc",
    sleep: Callable[[float], None] = time.sleep,
    pace: Pace = ALONE,
) -> Inventory:
    """
    All facts of the root at `path`, whose live store is that of the graphdriver `driver`; `dormant` are its other ones.

    `sleep` is called between attempts to copy a database that is being written. Unless `pace` says otherwise, one
    thread reads. Raises RootNotFound, NotADockerRoot or RootUnreadable if `path` cannot be opened; whatever else goes
    wrong is in the inventory.
    """
    with open_root(path) as root:
        before = read_engine(root, proc)
        candidates, candidates_state = list_names(root, driver)
        references, files = _read_references(root, driver, sleep, pace)
        layer_dirs, layer_dirs_state, (images, containers) = _read_layer_dirs(root, driver, pace, files)
        del files
        link_farm, links_state, layer_dirs = _read_link_farm(root, driver, pace, layer_dirs)
        quarantine = read_quarantine(root, driver)
        rest = _read_rest(root, driver, before, proc, sleep)
        unnamed = candidates.difference(references.dirs())
        layer_dirs = probe(root, driver, layer_dirs, unnamed, rest.mounted())
        held = held_dirs(layer_dirs, proc)
        temporaries = read_temporaries(root, _temporaries(references, containers, layer_dirs, rest, driver))
    dirs_state = combined(candidates_state, layer_dirs_state)
    inventory = Inventory(
        root=path,
        store=driver,
        sources={Source.OVERLAY2: dirs_state, Source.LINKS: links_state, **references.states(), **rest.states},
        engine=rest.engine,
        candidates=candidates,
        layer_dirs=layer_dirs,
        link_farm=link_farm,
        layers=references.layerdb.layers,
        removing=references.layerdb.removing,
        write_sets=references.layerdb.write_sets,
        rw_layers=references.layerdb.rw_layers,
        images=images,
        image_metadata=references.imagedb.metadata,
        repositories=references.imagedb.repositories,
        containers=containers,
        build_cache=references.build_cache,
        mounts=rest.mounts,
        plugins=rest.plugins,
        volumes=rest.volumes,
        dormant=dormant,
        databases=rest.databases,
        held_dirs=held,
        temporaries=temporaries,
    )
    return _with_quarantine(_with_what_was_left(inventory, references.imagedb, rest), *quarantine)


def compared(before: Engine, after: Engine) -> Engine:
    """
    The engine of a reading that began with `before` and ended with `after`: the earlier epoch, the doubts of both, and
    one more if it is not the same engine in the same state.
    """
    doubts = dict.fromkeys((*before.doubts, *after.doubts))
    epoch_ns = after.epoch_ns
    if before.epoch_ns is not None and after.epoch_ns is not None:
        epoch_ns = min(before.epoch_ns, after.epoch_ns)
        moved = abs(before.epoch_ns - after.epoch_ns) > EPOCH_TOLERANCE_NS
    else:
        moved = before.epoch_ns != after.epoch_ns
    if moved or (before.state, before.pid) != (after.state, after.pid):
        doubts[f"the engine changed during the reading: {_identity(before)}, then {_identity(after)}"] = None
    others = tuple(dict.fromkeys((*before.others, *after.others)))
    return replace(after, epoch_ns=epoch_ns, doubts=tuple(doubts), others=others)


def _with_quarantine(inventory: Inventory, entries: Mapping[EntryId, QuarantineEntry], state: SourceState) -> Inventory:
    """Records in the quarantine are layer records too: one source, as complete as its lesser part."""
    layers = combined(inventory.sources[Source.LAYERS], state)
    return replace(inventory, quarantine=entries, sources={**inventory.sources, Source.LAYERS: layers})


def _with_what_was_left(inventory: Inventory, imagedb: ImageDb, rest: _Rest) -> Inventory:
    """`inventory` with what no verdict on a layer dir hangs on."""
    return replace(
        inventory,
        repositories_ctime_ns=imagedb.repositories_ctime_ns,
        repositories_copies=imagedb.repositories_copies,
        distribution=rest.distribution.unreadable,
        registry_layers=rest.distribution.layers,
        engine_temporaries=rest.engine_temporaries,
    )


class _References(Struct, frozen=True):
    """All that was read between the two listings of the layer dirs."""

    build_cache: BuildCache
    build_states: Mapping[Source, SourceState]
    layerdb: LayerDb
    imagedb: ImageDb
    containers_state: SourceState

    def states(self) -> dict[Source, SourceState]:
        return {
            **self.build_states,
            Source.LAYERS: self.layerdb.layers_state,
            Source.RW_LAYERS: self.layerdb.rw_layers_state,
            Source.IMAGES: self.imagedb.state,
            Source.REPOSITORIES: self.imagedb.repositories_state,
            Source.CONTAINERS: self.containers_state,
        }

    def dirs(self) -> frozenset[str]:
        """The layer dirs that some record or database names."""
        layers = self.layerdb.layers
        named = (reading.value for reading in self._readings() if isinstance(reading, Present))
        return self.build_cache.named.union((row[2] for row in layers.rows.values()), named)

    def _readings(self) -> Iterator[Reading[LayerDirId]]:
        layerdb = self.layerdb
        yield from (layer.cache_id for layer in layerdb.layers.odd.values())
        yield from (removing.cache_id for removing in layerdb.removing.values())
        yield from (write_set.cache_id for write_set in layerdb.write_sets.values())
        for rw_layer in layerdb.rw_layers.values():
            yield rw_layer.mount_id
            yield rw_layer.init_id


class _Files(Struct, frozen=True):
    """The files of images and containers: what they say is made out while layer dirs are read."""

    configs: Mapping[ImageId, ConfigFile]
    containers: Mapping[ContainerId, ContainerFiles]

    def described(self) -> Described:
        return images_of(self.configs), containers_of(self.containers)


def _read_references(
    root: Directory, driver: str, sleep: Callable[[float], None], pace: Pace
) -> tuple[_References, _Files]:
    build_cache, build_states = read_build_cache(root, sleep=sleep)
    layerdb = read_layerdb(root, driver, pace)
    configs, imagedb = read_imagedb(root, driver, pace)
    containers, containers_state = read_container_files(root, pace)
    references = _References(build_cache, build_states, layerdb, imagedb, containers_state)
    return references, _Files(configs, containers)


def _read_layer_dirs(
    root: Directory, driver: str, pace: Pace, files: _Files
) -> tuple[DirShelf, SourceState, Described]:
    """The layer dirs; meanwhile what `files` describe is made out."""
    describe = cache(files.described)
    layer_dirs, state = read_layer_dirs(root, driver, pace, meanwhile=describe)
    return layer_dirs, state, describe()


def _read_link_farm(
    root: Directory, driver: str, pace: Pace, layer_dirs: DirShelf
) -> tuple[LinkFarm, SourceState, DirShelf]:
    """The link farm; meanwhile `layer_dirs` are folded."""
    fold = cache(partial(folded, layer_dirs))
    link_farm, state = read_link_farm(root, driver, pace, meanwhile=fold)
    return link_farm, state, fold()


class _Rest(Struct, frozen=True):
    """All that was read after the second listing of the layer dirs."""

    mounts: tuple[KernelMount, ...]
    engine: Engine
    plugins: Mapping[str, Plugin]
    volumes: Mapping[str, Volume]
    databases: Mapping[str, Reading[int]]
    distribution: Distribution
    engine_temporaries: Mapping[str, TemporaryFile]
    states: Mapping[Source, SourceState]

    def mounted(self) -> frozenset[LayerDirId]:
        """The layer dirs whose ``merged`` is a mountpoint in some namespace."""
        return frozenset(mount.merged_of for mount in self.mounts if mount.merged_of is not None)


def _read_rest(root: Directory, driver: str, before: Engine, proc: str, sleep: Callable[[float], None]) -> _Rest:
    mounts, mounts_state = read_mounts(proc)
    engine = compared(before, read_engine(root, proc))
    plugins, plugins_state = read_plugins(root)
    volumes, volumes_state = read_volumes(root)
    databases = read_databases(root, layout.ENGINE_DATABASES, sleep=sleep)
    distribution = read_distribution(root, driver)
    engine_temporaries, engine_temporaries_state = read_engine_temporaries(root)
    states = {
        Source.DISTRIBUTION: distribution.state,
        Source.PLUGINS: plugins_state,
        Source.VOLUMES: volumes_state,
        Source.TEMPORARIES: engine_temporaries_state,
        Source.ENGINE: engine_state_of(engine),
        Source.MOUNTS: mounts_state,
    }
    return _Rest(mounts, engine, plugins, volumes, databases, distribution, engine_temporaries, states)


def _temporaries(
    references: _References,
    containers: Mapping[ContainerId, Container],
    layer_dirs: DirShelf,
    rest: _Rest,
    driver: str,
) -> Iterator[str]:
    """The paths of all temporary files beside others."""
    for layer_dir in layer_dirs.odd.values():
        for name in layer_dir.temporaries:
            yield f"{layout.layer_dir(layer_dir.id, driver)}/{name}"
    for container in containers.values():
        for name in container.temporaries:
            yield f"{layout.container(container.id)}/{name}"
    for metadata in references.imagedb.metadata.values():
        for name in metadata.temporaries:
            yield f"{layout.image_metadata(metadata.id, driver)}/{name}"
    yield from references.imagedb.temporaries
    yield from rest.distribution.temporaries


def _identity(engine: Engine) -> str:
    return f"{engine.state}, pid {engine.pid}" if engine.pid is not None else str(engine.state)


def engine_state_of(engine: Engine) -> SourceState:
    if engine.state is EngineState.UNKNOWN:
        why = "; ".join(engine.doubts) or "whether an engine runs on this root cannot be told"
        return SourceState(Coverage.UNREADABLE, why)
    return SourceState(Coverage.OK)
