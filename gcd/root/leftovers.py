"""
Plugins, volumes by name, what ``distribution/`` remembers, and temporary files.

Of a volume only its options are read, never its data; of temporary files only the age.

Sources: moby ``plugin/manager.go`` (a plugin's ``config.json``), ``volume/local/local.go`` (``opts.json``),
``distribution/metadata/metadata.go`` and ``v2_metadata_service.go``, ``daemon/daemon.go`` prepareTempDir.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcd.formats.descriptor import check_plugin_config
from gcd.formats.distribution import check_diff_id, check_sources
from gcd.formats.gojson import Kind, decode_document, struct_of
from gcd.model import layout
from gcd.model.facts import DistributionRecord, FileType, Plugin, TemporaryFile, Volume
from gcd.model.ids import is_hex64
from gcd.model.inventory import Coverage, SourceState
from gcd.model.reading import Absent, Present, Reading
from gcd.root.record import open_record
from gcd.root.tree import combined, listing_state, source_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gcd.root.tree import Directory

PLUGIN_CONFIG_LIMIT = 16 << 20
VOLUME_OPTIONS_LIMIT = 1 << 20
DISTRIBUTION_LIMIT = 1 << 20
"""The engine keeps at most 50 sources of a layer, some 200 bytes each."""

_REMOVING_SUFFIX = "-removing"
_MARKS = frozenset({layout.VOLUME_DATA, layout.VOLUME_OPTIONS})
_OPTIONS = {"MountType": Kind.TEXT, "MountOpts": Kind.TEXT, "MountDevice": Kind.TEXT, "Quota": Kind.OBJECT}


def read_plugins(root: Directory) -> tuple[dict[str, Plugin], SourceState]:
    """The plugins, those being removed (``<id>-removing``) among them."""
    opened = root.open(layout.PLUGINS)
    if not isinstance(opened, Present):
        return {}, source_state(layout.PLUGINS, opened)
    found: dict[str, Plugin] = {}
    with opened.value as directory:
        listing = directory.list()
        for name in listing.entries:
            record = open_record(directory, name) if is_hex64(name.removesuffix(_REMOVING_SUFFIX)) else None
            if record is not None:
                with record:
                    config = record.read(layout.PLUGIN_CONFIG, PLUGIN_CONFIG_LIMIT, check_plugin_config)
                    found[name] = Plugin(name, config, record.ctime_ns)
    return found, listing_state(layout.PLUGINS, listing)


def read_volumes(root: Directory) -> tuple[dict[str, Volume], SourceState]:
    """The directories that the local volume driver takes for volumes; ``options`` is Absent for most."""
    opened = root.open(layout.VOLUMES)
    if not isinstance(opened, Present):
        return {}, source_state(layout.VOLUMES, opened)
    found: dict[str, Volume] = {}
    with opened.value as directory:
        listing = directory.list()
        for name, kind in listing.entries.items():
            record = open_record(directory, name) if kind is FileType.DIRECTORY else None
            if record is not None:
                with record:
                    if record.failure is None and _MARKS.isdisjoint(record.entries):
                        continue
                    found[name] = Volume(name, record.read(layout.VOLUME_OPTIONS, VOLUME_OPTIONS_LIMIT, _check_options))
    return found, listing_state(layout.VOLUMES, listing)


def _check_options(raw: bytes) -> None:
    options = struct_of(decode_document(raw, "opts.json"), "opts.json")
    if options is not None:
        options.require(_OPTIONS)


_DISTRIBUTION: Mapping[str, Callable[[bytes], None]] = {
    "diffid-by-digest": check_diff_id,
    "v2metadata-by-diffid": check_sources,
}


@dataclass(frozen=True, slots=True)
class Distribution:
    """
    What ``distribution/`` holds: `unreadable` records by path, the diff ids of `layers` that registries have, and the
    paths of `temporaries`, which are relative to the root.
    """

    unreadable: Mapping[str, DistributionRecord]
    layers: frozenset[str]
    temporaries: tuple[str, ...]
    state: SourceState


def read_distribution(root: Directory, driver: str) -> Distribution:
    """Each kind of record has a directory that is made when the first is needed; one that is not there holds none."""
    home = layout.distribution(driver)
    opened = root.open_path(home)
    if not isinstance(opened, Present):
        return Distribution({}, frozenset(), (), source_state(home, opened))
    walk = _Walk({}, set(), [], [SourceState(Coverage.OK)])
    with opened.value as directory:
        for kind, check in _DISTRIBUTION.items():
            for algorithm in walk.list(directory, kind, home):
                path = f"{kind}/{algorithm}"
                walk.visit(directory, path, f"{home}/{path}", check)
    return Distribution(walk.unreadable, frozenset(walk.layers), tuple(walk.temporaries), combined(*walk.states))


@dataclass(frozen=True, slots=True)
class _Walk:
    unreadable: dict[str, DistributionRecord]
    layers: set[str]
    temporaries: list[str]
    states: list[SourceState]

    def list(self, parent: Directory, name: str, home: str) -> tuple[str, ...]:
        """The directories in the directory `name`."""
        opened = parent.open(name)
        if not isinstance(opened, Present):
            self._note(f"{home}/{name}", opened)
            return ()
        with opened.value as directory:
            listing = directory.list()
        self.states.append(listing_state(f"{home}/{name}", listing))
        return tuple(name for name, kind in listing.entries.items() if kind is FileType.DIRECTORY)

    def visit(self, home: Directory, path: str, shown: str, check: Callable[[bytes], None]) -> None:
        opened = home.open_path(path)
        if not isinstance(opened, Present):
            self._note(shown, opened)
            return
        with opened.value as directory:
            listing = directory.list()
            self.states.append(listing_state(shown, listing))
            for name in listing.entries:
                if name.startswith(layout.TEMPORARY_PREFIX):
                    self.temporaries.append(f"{shown}/{name}")
                    continue
                content, ctime_ns = directory.read_stamped(name, DISTRIBUTION_LIMIT, check)
                if isinstance(content, Present) and check is check_sources:
                    self.layers.add(f"{path.rpartition('/')[2]}:{name}")
                elif not isinstance(content, Present | Absent):
                    self.unreadable[f"{path}/{name}"] = DistributionRecord(f"{path}/{name}", content, ctime_ns)

    def _note(self, path: str, opened: Reading[Directory]) -> None:
        if not isinstance(opened, Absent):
            self.states.append(source_state(path, opened))


def read_engine_temporaries(root: Directory) -> tuple[dict[str, TemporaryFile], SourceState]:
    """
    What pulls, builds and loads left in ``tmp`` and ``tmp-old``.

    The engine empties ``tmp-old`` while it runs: what is in it is as young as the directory.
    """
    found: dict[str, TemporaryFile] = {}
    states = []
    for home in (layout.TMP, layout.OLD_TMP):
        opened = root.open(home)
        if not isinstance(opened, Present):
            states.append(source_state(home, opened))
            continue
        with opened.value as directory:
            listing = directory.list()
            least = directory.stat().st_ctime_ns if home == layout.OLD_TMP else 0
            names = [name for name in listing.entries if name.startswith(layout.ENGINE_TEMPORARIES)]
            for name in names:
                status = directory.lstat(name)
                if isinstance(status, Present):
                    path = f"{home}/{name}"
                    found[path] = TemporaryFile(path, max(least, status.value.st_ctime_ns))
            states.append(listing_state(home, listing))
    present = [state for state in states if state.coverage is not Coverage.ABSENT]
    return found, combined(*(present or states))


def read_temporaries(root: Directory, paths: Iterable[str]) -> dict[str, TemporaryFile]:
    """The files at `paths` that are still there, by path."""
    found: dict[str, TemporaryFile] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        opened = root.open_path(folder)
        if isinstance(opened, Present):
            with opened.value as directory:
                status = directory.lstat(name)
            if isinstance(status, Present):
                found[path] = TemporaryFile(path, status.value.st_ctime_ns)
    return found
