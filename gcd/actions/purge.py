"""
Purge: the only irreversible act. What an entry holds is deleted, and its bytes are free.

An entry is marked before anything of it goes (renamed into ``purging/``), and its manifest goes last: one that was cut
short is known as such, can be purged again and never be restored. Before the mark it is asked once more whether any
of it is mounted in any namespace, under its old ids and link tokens or where it is now (safety rule S21), and whether
another entry stands on it, which then could not be put back.

The tree is walked by descriptors: no symlink is followed, and neither another device nor another mount of the same one
is entered. What an immutable or append-only flag protects stays, is told, and keeps its entry marked.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from gcd.actions.felling import Felling
from gcd.actions.ground import paths_of
from gcd.actions.manifest import begin_purge, closed_manifests, open_entry, remove_entry
from gcd.actions.mountguard import mounted_entry, shown_anywhere
from gcd.actions.refusal import Refused, of_error, refuse
from gcd.model import layout
from gcd.model.entry import EntryDeed, EntryState, Operation, order_of
from gcd.model.errors import CannotAct
from gcd.model.plan import Outcome, Reason
from gcd.model.reading import Absent, Present, value_of
from gcd.root.descent import BLOCK
from gcd.root.processes import PROC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gcd.actions.manifest import OpenEntry
    from gcd.actions.place import Place
    from gcd.model.entry import EntryId, Manifest


def purge(
    place: Place,
    entries: Iterable[EntryId],
    *,
    proc: str = PROC,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[EntryDeed]:
    """
    Delete `entries`, those that stand on others first; the deed of each as soon as it is done.

    Entries that were being purged already go on. `progress` hears now and then of the bytes and inodes freed of an
    entry. Never raises for what the root or the disk does; an entry that fails or is refused ends nothing.
    """
    wanted = set(entries)
    closed = closed_manifests(place)
    standing = _standing(closed, place.driver)
    for name in _dependents_first(wanted, standing):
        try:
            others = standing.get(name, set()) - wanted
            if others:
                why = f"{min(others, key=order_of)} stands on it, and could not be restored: restore or purge that too"
                refuse(Reason.IN_USE, why)
            state = EntryState.CLOSED if name in closed else EntryState.PURGING
            yield _purged(place, name, state, proc, progress)
        except Refused as refused:
            wanted.discard(name)
            yield EntryDeed(name, Outcome.REFUSED, refused.reason, refused.why)
        except (OSError, CannotAct) as error:
            wanted.discard(name)
            said = of_error(error, f"{layout.GCD}, entry {name}")
            yield EntryDeed(name, Outcome.FAILED, said.reason, said.why)


def is_expired(manifest: Manifest, retention_ns: int, now_ns: int, *, boot_id: str, uptime_ns: int) -> bool:
    """
    Whether the entry was kept for `retention_ns`; one that was made in the future was not.

    Nor was one that was made in this boot, `boot_id`, if that is younger: then the wall clock was set meanwhile.
    """
    if manifest.boot_id == boot_id and uptime_ns < retention_ns:
        return False
    return manifest.made_ns + retention_ns <= now_ns


def _purged(
    place: Place, name: EntryId, state: EntryState, proc: str, progress: Callable[[int, int], None] | None
) -> EntryDeed:
    reading = open_entry(place, state, name)
    if not isinstance(reading, Present):
        if state is EntryState.CLOSED or isinstance(place.state(state).lstat(name), Absent):
            refuse(Reason.CHANGED, "its manifest cannot be read, so nobody knows what it holds: look at it by hand")
        # `items` is gone, and perhaps the manifest: only the rest of the entry is left.
        remove_entry(place.state(state), name)
        return EntryDeed(name, Outcome.DONE)
    with reading.value as entry:
        # What a repair keeps is a copy that no mount can mean.
        is_repair = entry.manifest.operation is Operation.REPAIR
        mounted = shown_anywhere(name, proc) if is_repair else mounted_entry(entry, proc)
        if mounted:
            refuse(Reason.IN_USE, mounted)
        if state is EntryState.CLOSED:
            begin_purge(entry)
        return _felled(entry, progress)


def _felled(entry: OpenEntry, progress: Callable[[int, int], None] | None) -> EntryDeed:
    felling = Felling(entry.place.directory, progress)
    for name in entry.items.list().entries:
        felling.fell(entry.items, name)
    if felling.left:
        why = f"{felling.left} could not be deleted: {'; '.join(felling.notes)}"
        return EntryDeed(entry.id, Outcome.FAILED, Reason.PLACE, why, felling.disk_bytes)
    own = _own_bytes(entry)
    remove_entry(entry.place.state(EntryState.PURGING), entry.id)
    return EntryDeed(entry.id, Outcome.DONE, disk_bytes=felling.disk_bytes + own)


def _own_bytes(entry: OpenEntry) -> int:
    """What the entry takes beside its items: its two directories and the manifest."""
    manifest = value_of(entry.directory.lstat(layout.ENTRY_MANIFEST))
    statuses = (entry.directory.stat(), entry.items.stat(), manifest)
    return sum(status.st_blocks for status in statuses if status is not None) * BLOCK


def _standing(manifests: Mapping[EntryId, Manifest], driver: str) -> dict[EntryId, set[EntryId]]:
    """By entry, the others that stand on it: something of it is their ground."""
    holders = {item.path: name for name, manifest in manifests.items() for item in manifest.items}
    found: dict[EntryId, set[EntryId]] = {}
    for name, manifest in manifests.items():
        for path in paths_of(manifest.ground, driver):
            holder = holders.get(path, name)
            if holder != name:
                found.setdefault(holder, set()).add(name)
    return found


def _dependents_first(wanted: set[EntryId], standing: Mapping[EntryId, set[EntryId]]) -> list[EntryId]:
    oldest_first = sorted(wanted, key=order_of)
    before = {name: standing.get(name, set()) & wanted for name in oldest_first}
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError:
        return oldest_first
