"""
The mount guard of what lies in an entry: is any of it mounted, or is anything mounted in it (safety rules S3, S21)?

A mount's options keep the paths that it was made with, so what is in the quarantine is still named there by its
original ids and link tokens; its mountpoint shows where it is now. Both are asked in every mount namespace.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from gcd.formats.mountinfo import parse_mountinfo
from gcd.formats.texts import parse_link
from gcd.model import layout
from gcd.model.entry import Operation
from gcd.model.ids import is_layer_dir_id, is_link_id
from gcd.model.inventory import Coverage
from gcd.model.reading import Present
from gcd.root.mounts import read_mounts
from gcd.root.processes import PROC, processes, read_file
from gcd.root.tree import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gcd.actions.manifest import OpenEntry
    from gcd.model.entry import EntryId, Manifest
    from gcd.model.ids import LayerDirId, LinkId
    from gcd.model.reading import Reading
    from gcd.root.tree import Directory

_TABLE_LIMIT = 256 << 20
_LINK_LIMIT = 256


def mounted_below(root: Directory, paths: Iterable[str]) -> str:
    """The first mountpoint at or below one of `paths`, as this process sees them; "" if there is none."""
    top = str(Path(f"{PROC}/self/fd/{root.fd}").readlink()).rstrip("/")
    table = parse_mountinfo(read_file(f"{PROC}/self/mountinfo", _TABLE_LIMIT) or b"")
    for path in paths:
        here = f"{top}/{path}"
        for mount in table:
            if mount.mount_point == here or mount.mount_point.startswith(f"{here}/"):
                return mount.mount_point
    return ""


def mounted_entry(entry: OpenEntry, proc: str = PROC) -> str:
    """
    In one clause, what of the entry is mounted, or what is mounted in it, in any namespace; "" if nothing is.

    Of a repair that is a dir of whose ``lower`` the entry keeps the old one, or in whose ``diff`` it changed anything.
    What cannot be seen whole counts as mounted.
    """
    shown = shown_anywhere(entry.id, proc)
    if shown:
        return shown
    mounts, state = read_mounts(proc)
    if state.coverage is not Coverage.OK:
        return f"not all mounts can be seen: {state.why}"
    dirs, links = _tokens_of(entry)
    for mount in mounts:
        if mount.dirs & dirs or mount.links & links:
            return f"it is mounted at {mount.mount_point} (pid {mount.pids[0]}, {mount.holder})"
    return ""


def is_in_layers(entry: OpenEntry) -> bool:
    """Whether a repair changed what a layer holds, or what it stands on: only that can be mounted."""
    return bool(_repaired(entry, layout.LOWER) | _repaired(entry, layout.DIFF))


def shown_anywhere(entry: EntryId, proc: str) -> str:
    """Where any process sees something mounted in the entry, or something of the entry mounted; "" if none does."""
    word = entry.encode()
    try:
        for process in processes(proc):
            for line in (process.read("mountinfo", _TABLE_LIMIT) or b"").splitlines():
                if word in line:
                    points = [mount.mount_point for mount in parse_mountinfo(line)]
                    return f"pid {process.pid} has a mount of it or in it: {', '.join(points) or 'where is not told'}"
    except OSError as error:
        return f"not all mounts can be seen ({name_of(error)})"
    return ""


def _dirs_of(manifest: Manifest, driver: str) -> frozenset[LayerDirId]:
    """The layer dirs among the items."""
    named = (item.path.rpartition("/") for item in manifest.items)
    return frozenset(name for folder, _, name in named if folder == driver and is_layer_dir_id(name))


def _tokens_of(entry: OpenEntry) -> tuple[frozenset[LayerDirId], frozenset[LinkId]]:
    """The ids and link ids by which a mount made before names what is in the entry, or the layer that it is of."""
    match entry.manifest.operation:
        case Operation.QUARANTINE:
            return _dirs_of(entry.manifest, entry.place.driver), _links_of(entry)
        case Operation.REPAIR:
            return _repaired(entry, layout.LOWER) | _repaired(entry, layout.DIFF), _links_of_repaired(entry)
        case _:
            assert_never(entry.manifest.operation)


def _repaired(entry: OpenEntry, within: str) -> frozenset[LayerDirId]:
    """The layer dirs of whose file or directory `within` the entry changes something."""
    parts = (item.path.split("/", 3) for item in entry.manifest.items)
    named = (names[1] for names in parts if names[::2] == [entry.place.driver, within])
    return frozenset(filter(is_layer_dir_id, named))


def _links_of_repaired(entry: OpenEntry) -> frozenset[LinkId]:
    """
    What the dirs call themselves in whose ``diff`` the entry changes something, for by that alone a mount names a layer
    below it; ``lower`` is read of the topmost one, which is named by its id.
    """
    found: set[LinkId] = set()
    for layer_dir in _repaired(entry, layout.DIFF):
        opened = entry.place.root.open_path(layout.layer_dir(layer_dir, entry.place.driver))
        found.update(_link_in(opened))
    return frozenset(found)


def _links_of(entry: OpenEntry) -> frozenset[LinkId]:
    """The link ids that mean what is in the entry: its symlinks' names, and what its layer dirs call themselves."""
    farm = layout.link_farm(entry.place.driver)
    found: set[LinkId] = set()
    for index, item in enumerate(entry.manifest.items):
        folder, _, name = item.path.rpartition("/")
        if folder == farm and is_link_id(name):
            found.add(name)
        found.update(_link_in(entry.items.open(str(index))))
    return frozenset(found)


def _link_in(opened: Reading[Directory]) -> Iterator[LinkId]:
    """What the layer dir, which is closed, calls itself; one that is lost or damaged is in no mount by that name."""
    if isinstance(opened, Present):
        with opened.value as directory:
            link = directory.read(layout.LINK, _LINK_LIMIT, parse_link)
        if isinstance(link, Present):
            yield link.value
