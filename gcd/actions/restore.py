"""
Restore: an entry goes back to where it was, exactly, or nothing of it moves (safety rule S20).

Refused, each with what is there and what to do:

- the root is not the one that the entry was taken from: another engine id, or another inode of the driver's home, which
  is never made anew (somebody ran ``rm -rf`` and left ``.gcd``);
- the engine runs, and has in its memory what would come back, or a record names one of the layer dirs;
- a place is taken, or the directory that it lay in is gone; a repaired file has changed since;
- something of the entry is mounted, or is not what was taken (a copy of a quarantine has other inodes);
- a record comes back whose parent chain is not there with the cache id that it had, or a ``lower`` of which an element
  leads nowhere.

Several entries are put back in the order in which they can stand: what was taken last comes first.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gcd.actions.ground import lacking
from gcd.actions.items import Where, parent_of, stands_at, take
from gcd.actions.manifest import (
    begin_taking,
    close_entry,
    closed_manifests,
    end_taking,
    engine_id_of,
    open_entry,
    put_all_back,
    read_ahead,
    reopen,
    store_inode_of,
    wheres,
)
from gcd.actions.moments import demands_stop, is_in_memory
from gcd.actions.mountguard import mounted_entry
from gcd.actions.refusal import Refused, of_error, refuse
from gcd.actions.syscalls import label_of
from gcd.actions.taking import abandon
from gcd.model import layout
from gcd.model.entry import EntryDeed, EntryState, order_of
from gcd.model.errors import CannotAct
from gcd.model.facts import EngineState, FileType
from gcd.model.plan import Outcome, Reason
from gcd.model.reading import Absent, Present, describe
from gcd.root.processes import PROC
from gcd.root.tree import type_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gcd.actions.manifest import OpenEntry
    from gcd.actions.place import Place
    from gcd.model.entry import EntryId, Item, Manifest
    from gcd.root.tree import Directory

STOP_THE_ENGINE = "stop docker.socket and docker.service first"


def restore(place: Place, entries: Iterable[EntryId], *, engine: EngineState, proc: str = PROC) -> Iterator[EntryDeed]:
    """
    Put back `entries`, which are closed, what was taken last first; the deed of each as soon as it is done.

    `engine` is STOPPED for a caller that holds the fence, else what it was seen to be. Never raises for what the root
    or the disk does; an entry that fails or is refused ends nothing.
    """
    for name in sorted(set(entries), key=order_of, reverse=True):
        try:
            yield _restored(place, name, engine, proc)
        except Refused as refused:
            yield EntryDeed(name, Outcome.REFUSED, refused.reason, refused.why)
        except (OSError, CannotAct) as error:
            said = of_error(error, f"{layout.GCD}/entries/{name}")
            yield EntryDeed(name, Outcome.REFUSED, said.reason, said.why)


def restore_ahead(place: Place, entries: Iterable[EntryId]) -> None:
    """Read what repairs made of `entries`, before a fence is held for `restore`. Never raises, as that does not."""
    for name in entries:
        with contextlib.suppress(OSError, CannotAct):
            reading = open_entry(place, EntryState.CLOSED, name)
            if isinstance(reading, Present):
                with reading.value as entry:
                    read_ahead(entry)


def _restored(place: Place, name: EntryId, engine: EngineState, proc: str) -> EntryDeed:
    reading = open_entry(place, EntryState.CLOSED, name)
    if not isinstance(reading, Present):
        refuse(Reason.CHANGED, f"its manifest or its items are {describe(reading)}")
    with reading.value as entry:
        _demand_same_root(place, entry.manifest)
        _demand_moment(place, entry.manifest, engine)
        _demand_whole(entry)
        for index in range(len(entry.manifest.items)):
            demand_room(entry, index)
        _demand_ground(place, entry.manifest)
        mounted = mounted_entry(entry, proc)
        if mounted:
            refuse(Reason.IN_USE, mounted)
        reopen(entry)
        try:
            put_all_back(entry)
            why = _other_labels(place.root, entry.manifest)
            end_taking(entry)
        except (OSError, CannotAct) as error:
            return _taken_again(entry, of_error(error, f"an item of {name}"))
        abandon(entry)
        return EntryDeed(name, Outcome.DONE, why=why)


def _taken_again(entry: OpenEntry, refused: Refused) -> EntryDeed:
    """Take again what was put back; where even that fails the entry stays open, for `recover`."""
    try:
        begin_taking(entry)
        for index, (item, where) in enumerate(zip(entry.manifest.items, wheres(entry), strict=True)):
            if where is Where.IN_PLACE:
                with parent_of(entry.place.root, item.path) as (parent, name):
                    take(item, index, entry.items, parent, name)
        close_entry(entry)
    except (OSError, CannotAct) as error:
        why = f"{refused.why}; the next start of gcd settles it ({of_error(error, entry.id).why})"
        return EntryDeed(entry.id, Outcome.FAILED, refused.reason, why)
    return EntryDeed(entry.id, Outcome.FAILED, refused.reason, refused.why)


def _demand_same_root(place: Place, manifest: Manifest) -> None:
    inode = store_inode_of(place.root, place.driver)
    if inode != manifest.store_inode:
        there = f"{place.driver} is another directory than it was" if inode else f"{place.driver} is not there"
        refuse(Reason.CHANGED, f"{there}: somebody made this root anew; what the entry holds stays in {layout.GCD}")
    if engine_id_of(place.root) != manifest.engine_id:
        refuse(Reason.CHANGED, "the root has another engine-id than it had: somebody made it anew")


def _demand_moment(place: Place, manifest: Manifest, engine: EngineState) -> None:
    if engine is not EngineState.STOPPED:
        why = demands_stop(place, manifest)
        if why:
            refuse(Reason.ENGINE_RUNS, f"{why}: {STOP_THE_ENGINE}")


def _demand_whole(entry: OpenEntry) -> None:
    for item, where in zip(entry.manifest.items, wheres(entry), strict=True):
        if where is not Where.TAKEN:
            what = "has changed since the repair" if item.made is not None else "is not in the entry any more"
            refuse(Reason.CHANGED, f"{item.path} {what}: put it right by hand")
    strange = entry.items.list().entries.keys() - {str(index) for index in range(len(entry.manifest.items))}
    if strange:
        refuse(Reason.CHANGED, f"the entry holds {min(strange)}, which its manifest does not name: move it away")


def demand_room(entry: OpenEntry, index: int) -> None:
    """The path of that item is free, or holds what the repair made and nothing else; `Refused` where it does not."""
    items = entry.manifest.items
    item = items[index]
    if any(later.path == item.path for later in items[index + 1 :]):
        return  # the later one has put something there, and leaves first
    try:
        with parent_of(entry.place.root, item.path) as (parent, name):
            if item.made is None:
                status = parent.lstat(name)
                if isinstance(status, Present):
                    there = type_of(status.value).noun
                    refuse(Reason.CHANGED, f"{there} is at {item.path} again: move it away, or purge the entry")
                elif not isinstance(status, Absent):
                    refuse(Reason.CHANGED, f"{item.path} is {describe(status)}")
            elif not stands_at(parent, name, item.made, entry.place.known):
                refuse(Reason.CHANGED, f"{item.path} has changed since the repair: put it right by hand")
            elif item.made.type is FileType.DIRECTORY:
                _demand_nothing_new(parent, name, items, item)
    except (FileNotFoundError, NotADirectoryError):
        folder = item.path.rpartition("/")[0]
        refuse(Reason.CHANGED, f"the directory {folder}, in which it was, is not there: restore that first")


def _demand_nothing_new(parent: Directory, name: str, items: tuple[Item, ...], made: Item) -> None:
    opened = parent.open(name)
    if isinstance(opened, Present):
        with opened.value as directory:
            new = directory.list().entries.keys() - {item.path.removeprefix(f"{made.path}/") for item in items}
        if new:
            refuse(Reason.CHANGED, f"{made.path} holds {min(new)}, which the repair did not make")


def _demand_ground(place: Place, manifest: Manifest) -> None:
    """Only records need it: a dir that nothing names may stand on nothing."""
    if any(is_in_memory(item.path, place.driver) for item in manifest.items):
        path = lacking(place, manifest.ground)
        if path:
            holders = [name for name, other in closed_manifests(place).items() if path in map(_path_of, other.items)]
            hint = f"restore {holders[0]} first" if holders else "and no entry holds it"
            refuse(Reason.CHANGED, f"{path}, on which it stood, is not as it was: {hint}")


def _path_of(item: Item) -> str:
    return item.path


def _other_labels(root: Directory, manifest: Manifest) -> str:
    """What came back with another SELinux label than it had, in one clause; "" where none did."""
    changed = []
    for item in manifest.items:
        if item.taken is not None:
            with parent_of(root, item.path) as (parent, name):
                if label_of(parent, name) != item.taken.label:
                    changed.append(item.path)
    return f"{', '.join(changed)} has another SELinux label than it had: see restorecon(8)" if changed else ""
