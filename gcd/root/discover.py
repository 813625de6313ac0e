"""
Which root to read, and which store in it is the live one.

**The root** is the one that the user names, else that of the running engine, else the one that ``daemon.json`` names,
else ``/var/lib/docker``. Engines inside containers (in a pid namespace of their own) count only where no other runs.

**User namespaces.** An engine that remaps users keeps everything in ``<uid>.<gid>/`` below its data root. Of the root
and its sub-roots the one whose lock an engine holds is live; with no engine, the sub-roots if ``userns-remap`` is
configured or the root itself holds no layers, else the root itself.

**The store.** One root can hold the trees of several graphdrivers and of the containerd image store side by side; one
is live, the others are dormant and never called orphaned. The first that gives an answer decides:

1. the flags and the configuration file of the engine that runs on the root, without one the ``daemon.json`` that names
   this root: ``features.containerd-snapshotter``, then ``storage-driver``;
2. the driver that all containers agree on, if it has a tree here;
3. what is there: ``overlay2`` with layers in it (version 29 too stays with a driver that has any), then the containerd
   image store, then another driver with layers, then an empty ``overlay2``.

Sources: moby ``cmd/dockerd/daemon.go`` and ``daemon/daemon_unix.go`` setupDaemonRoot; ``daemon/graphdriver/driver.go``
New, scanPriorDrivers, isEmptyDir; ``daemon/image_store_choice.go`` (29); ``builder/builder-next/controller.go`` (the
names of BuildKit's folders).
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from gcd.formats.escape import escaped
from gcd.model import layout
from gcd.model.errors import FormatError, NotADockerRoot, RootUnreadable, StoreNotSupported, UsageError
from gcd.model.facts import DormantStore, FileType
from gcd.model.reading import Present, Unreadable
from gcd.root.containers import containers_of, read_container_files
from gcd.root.dockerd import (
    DAEMON_JSON,
    DEFAULT_ROOT,
    Settings,
    identity_of,
    parse_daemon_json,
    resolve_below,
    running_engines,
)
from gcd.root.engine import is_locked
from gcd.root.processes import PROC, read_file
from gcd.root.tree import MAX_ENTRIES, Directory, name_of, open_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gcd.root.dockerd import RunningEngine

DRIVERS: Final = ("overlay2", "fuse-overlayfs", "btrfs", "zfs", "vfs", "overlay", "aufs", "devicemapper")
"""The graphdrivers of Linux, in the order in which engines prefer them."""

CONTAINERD: Final = "containerd"
"""Stands for the containerd image store where a driver is meant."""

_EMPTY_HOME: Final = {layout.LINK_FARM, layout.BACKING_DEVICE}
"""What a driver's home holds before the first layer."""

_CONTAINERD_ROOT: Final = "containerd/daemon"
_SNAPSHOTTER_PREFIX: Final = "io.containerd.snapshotter.v1."
_CONTAINERD_DATABASE: Final = "io.containerd.metadata.v1.bolt"
_BUILDKIT_PREFIX: Final = "containerd-"

_SUB_ROOT = re.compile(r"[0-9]{1,10}\.[0-9]{1,10}")
_OTHER_NAMESPACE = re.compile(r"(/proc/[0-9]+/root)(/.*)?")
_FILE_LIMIT = 1 << 20
_PATH_SHOWN = 200


class Store(Struct, frozen=True):
    """
    The live store of a root: where it lies (symlinks resolved; a sub-root if users are remapped), the graphdriver that
    wrote it, and the other stores there, by paths relative to `path`.
    """

    path: str
    driver: str
    dormant: tuple[DormantStore, ...]


class _Trees(Struct, frozen=True):
    """
    What lies in one directory: drivers that have a home or an image tree, those of them with something in it, and paths
    that only the containerd image store makes, with the snapshotter of each.
    """

    drivers: tuple[str, ...]
    filled: frozenset[str]
    containerd: Mapping[str, str]

    def stores(self) -> frozenset[str]:
        return frozenset((*self.filled, *((CONTAINERD,) if self.containerd else ())))


def find_root(
    option: str | None, *, proc: str = PROC, daemon_json: str = DAEMON_JSON, default: str = DEFAULT_ROOT
) -> str:
    """
    The path of the root to read; `option` is the user's own word.

    UsageError if several engines run, or if ``daemon.json`` would have to say and cannot be read.
    """
    if option is not None:
        return option
    engines = _engines(proc)
    if len(engines) > 1:
        listed = ", ".join(f"{escaped(engine.path, _PATH_SHOWN)} (pid {engine.pid})" for engine in engines)
        raise UsageError(f"Several engines are running: name one of their roots with --root: {listed}.")
    if engines:
        return engines[0].path
    try:
        return _settings_of_file(daemon_json).data_root or default
    except (OSError, FormatError) as error:
        why = name_of(error) if isinstance(error, OSError) else f"{error.expected} expected, {error.found} found"
        raise UsageError(f"{daemon_json} cannot be read ({why}): name the Docker root with --root.") from None


def detect_store(path: str, *, proc: str = PROC, daemon_json: str = DAEMON_JSON) -> Store:
    """
    The live store of the root at `path`, which is always one that gcd reads.

    Raises RootNotFound, NotADockerRoot, RootUnreadable, StoreNotSupported, and UsageError where several sub-roots are
    equally likely.
    """
    path = _resolved(path)
    shown = escaped(path, _PATH_SHOWN)
    with open_root(path) as root:
        here = _trees_of(root, shown)
        subs = _sub_roots_of(root, shown)
        if not here.drivers and not here.containerd and not subs:
            raise _no_docker_root(root, shown)
        settings = _settings_for(root, proc, daemon_json)
        chosen = _choose(root, shown, here, subs, settings)
        if chosen is None:
            return _store(root, path, here, settings, _dormant_in(subs))
        sub_root = root.open(chosen)
        if not isinstance(sub_root, Present):
            raise NotADockerRoot(f"{shown}/{chosen} went away while gcd looked: try again.")
        beside = {"..": here, **{f"../{name}": trees for name, trees in subs.items() if name != chosen}}
        with sub_root.value as directory:
            return _store(directory, f"{path}/{chosen}", subs[chosen], settings, _dormant_in(beside))


def _dormant_in(roots: Mapping[str, _Trees]) -> tuple[DormantStore, ...]:
    """The stores of other roots, which are dormant whatever they are."""
    return tuple(DormantStore(name, driver) for name, trees in roots.items() for driver in sorted(trees.stores()))


def _engines(proc: str) -> list[RunningEngine]:
    """The engines that a user of this host may mean."""
    try:
        engines = running_engines(proc)
    except OSError:
        return []
    return [engine for engine in engines if not engine.is_nested] or engines


def _resolved(path: str) -> str:
    """`path` with its symlinks resolved, once, as the engine does; below ``/proc/<pid>/root`` as seen from there."""
    match = _OTHER_NAMESPACE.fullmatch(path)
    if match is None:
        return str(Path(path).resolve())
    try:
        return match[1] + resolve_below(match[1], match[2] or "/")
    except OSError:
        return path


def _trees_of(root: Directory, path: str) -> _Trees:
    entries = _entries(root, ".", path)
    images = _entries(root, "image", path) if "image" in entries else {}
    homes = {name for name in DRIVERS if entries.get(name) is FileType.DIRECTORY}
    filled = {name for name in homes if _entries(root, name, path, len(_EMPTY_HOME) + 1).keys() - _EMPTY_HOME}
    for name in DRIVERS:
        if images.get(name) is FileType.DIRECTORY and _has_entries(root, f"{layout.image_configs(name)}"):
            filled.add(name)
    drivers = tuple(name for name in DRIVERS if name in homes or images.get(name) is FileType.DIRECTORY)
    return _Trees(drivers, frozenset(filled), _containerd_paths(root))


def _containerd_paths(root: Directory) -> dict[str, str]:
    """
    What the containerd image store leaves in a root, with the snapshotter of each path.

    An engine that manages its own containerd has ``containerd/daemon`` in any case: it counts once it holds snapshots.
    """
    found: dict[str, str] = {}
    for name in sorted(_names(root, layout.BUILDKIT)):
        if name.startswith(_BUILDKIT_PREFIX):
            found[f"{layout.BUILDKIT}/{name}"] = name.removeprefix(_BUILDKIT_PREFIX)
    for name in sorted(_names(root, _CONTAINERD_ROOT)):
        if name.startswith(_SNAPSHOTTER_PREFIX) and _has_entries(root, f"{_CONTAINERD_ROOT}/{name}/snapshots"):
            found[f"{_CONTAINERD_ROOT}/{name}"] = name.removeprefix(_SNAPSHOTTER_PREFIX)
    return found


def _sub_roots_of(root: Directory, path: str) -> dict[str, _Trees]:
    """The sub-roots of remapped users that hold a store, by name."""
    found: dict[str, _Trees] = {}
    for name, kind in _entries(root, ".", path).items():
        if kind is not FileType.DIRECTORY or _SUB_ROOT.fullmatch(name) is None:
            continue
        opened = root.open(name)
        if isinstance(opened, Present):
            with opened.value as directory:
                trees = _trees_of(directory, f"{path}/{name}")
            if trees.drivers or trees.containerd:
                found[name] = trees
    return found


def _choose(root: Directory, path: str, here: _Trees, subs: Mapping[str, _Trees], settings: Settings) -> str | None:
    """The name of the live sub-root; None for the root itself."""
    if not subs or is_locked(root):
        return None
    locked = [name for name in sorted(subs) if _is_locked_below(root, name)]
    likely = locked or [name for name in sorted(subs) if layout.OVERLAY2 in subs[name].drivers]
    if not locked and not settings.userns_remap and _is_likelier(here, subs.values()):
        return None
    if len(likely) > 1:
        listed = ", ".join(f"{path}/{name}" for name in likely)
        raise UsageError(f"Several user namespaces have a root in {path}: name one with --root: {listed}.")
    return likely[0] if likely else None


def _is_likelier(here: _Trees, others: Iterable[_Trees]) -> bool:
    """Whether `here` has layers, or at least their place while no other has any."""
    if any(layout.OVERLAY2 in trees.filled for trees in others):
        return layout.OVERLAY2 in here.filled
    return layout.OVERLAY2 in here.drivers


def _is_locked_below(root: Directory, name: str) -> bool:
    opened = root.open(name)
    if not isinstance(opened, Present):
        return False
    with opened.value as directory:
        return is_locked(directory)


def _store(root: Directory, path: str, trees: _Trees, settings: Settings, others: tuple[DormantStore, ...]) -> Store:
    driver = _live_driver(root, trees, settings)
    shown = escaped(path, _PATH_SHOWN)
    if driver == CONTAINERD:
        raise StoreNotSupported(
            f"The live store of {shown} is the containerd image store, which this version of gcd cannot read: "
            "nothing was checked."
        )
    if driver != layout.OVERLAY2:
        raise StoreNotSupported(
            f"The live store of {shown} is that of the {driver} driver, and gcd reads overlay2 alone: "
            "nothing was checked."
        )
    dormant = [DormantStore(name, name) for name in trees.drivers if name in trees.filled and name != driver]
    dormant.extend(DormantStore(name, f"{CONTAINERD}/{escaped(kind)}") for name, kind in trees.containerd.items())
    return Store(path, driver, (*dormant, *others))


def _live_driver(root: Directory, trees: _Trees, settings: Settings) -> str:
    candidates = trees.stores()
    if settings.snapshotter:
        return CONTAINERD
    if settings.driver:
        return settings.driver if settings.driver in DRIVERS else CONTAINERD
    if settings.snapshotter is False:
        candidates -= {CONTAINERD}
    if len(candidates) > 1:
        agreed = {_store_of(driver) for driver in _drivers_of_containers(root)} & candidates
        if len(agreed) == 1:
            return agreed.pop()
    for driver in (layout.OVERLAY2, CONTAINERD, *DRIVERS):
        if driver in candidates:
            return driver
    return trees.drivers[0] if trees.drivers else CONTAINERD


def _store_of(driver: str) -> str:
    """Containers of the containerd image store carry the name of a snapshotter for a driver."""
    return driver if driver in DRIVERS else CONTAINERD


def _drivers_of_containers(root: Directory) -> set[str]:
    files, _ = read_container_files(root)
    return {
        container.config.value.driver
        for container in containers_of(files).values()
        if isinstance(container.config, Present) and container.config.value.driver
    }


def _settings_for(root: Directory, proc: str, daemon_json: str) -> Settings:
    """The settings of the engine that runs on `root` or remaps users into it, else of a ``daemon.json`` about it."""
    identity = identity_of(root.stat())
    for engine in _engines(proc):
        if engine.identity == identity:
            return engine.settings
    try:
        settings = _settings_of_file(daemon_json)
        about = Path(settings.data_root or DEFAULT_ROOT).stat()
    except (OSError, FormatError):
        return Settings()
    return settings if identity_of(about) == identity else Settings()


def _settings_of_file(daemon_json: str) -> Settings:
    raw = read_file(daemon_json, _FILE_LIMIT)
    return Settings() if raw is None else parse_daemon_json(raw)


def _no_docker_root(root: Directory, path: str) -> NotADockerRoot | StoreNotSupported:
    if _CONTAINERD_DATABASE in root.list().entries:
        return StoreNotSupported(
            f"{path} is the root of a containerd, which this version of gcd cannot read: nothing was checked."
        )
    parent = str(PurePath(path).parent)
    inside = PurePath(path).name in {*DRIVERS, "image", layout.CONTAINERS, layout.VOLUMES, layout.BUILDKIT}
    hint = f"perhaps {parent} is meant" if inside else "docker info prints it as Docker Root Dir"
    return NotADockerRoot(f"{path} is not a Docker root, it holds no image store: name one with --root ({hint}).")


def _entries(root: Directory, name: str, path: str, most: int = MAX_ENTRIES) -> Mapping[str, FileType]:
    """At most so many entries of the directory `name` of the root (``.``: of the root itself); none if it is none."""
    shown = path if name == "." else f"{path}/{name}"
    if name == ".":
        listing = root.list()
    else:
        opened = root.open(name)
        if isinstance(opened, Unreadable):
            raise RootUnreadable(f"{shown} cannot be opened ({opened.reason}): run gcd as root.")
        if not isinstance(opened, Present):
            return {}
        with opened.value as directory:
            listing = directory.list(most)
    if listing.failure and not listing.entries:
        raise RootUnreadable(f"{shown} cannot be listed ({listing.failure}): run gcd as root.")
    return listing.entries


def _names(root: Directory, path: str) -> Iterable[str]:
    opened = root.open_path(path)
    if not isinstance(opened, Present):
        return ()
    with opened.value as directory:
        return directory.list().entries


def _has_entries(root: Directory, path: str) -> bool:
    opened = root.open_path(path)
    if not isinstance(opened, Present):
        return False
    with opened.value as directory:
        return directory.is_empty() is False
