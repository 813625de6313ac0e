"""
Recovery: what was cut short is finished or undone, at every opening for writing.

Where each item is says how far it came, whichever way it was going:

=========================  =========================================================================================
items taken                then the open entry is
=========================  =========================================================================================
none                       discarded: nothing was begun, or all is back. Where its manifest says so (`manifest`) nothing
                           is looked at, for what stands in the places is somebody else's; no engine minds that
all                        closed
some                       put back; with the engine running only if it minds none of those taken (`moments`). Else the
                           rest is taken too, if the engine minds none of that and nothing is mounted there; else it
                           stays open, and its `why` says what to do
=========================  =========================================================================================

A repair that is half done is only ever put back; it is closed as it is if something else than what it made stands in
a place by now, and left open, neither put back nor taken, while a layer is mounted in which it changes what that holds.
What is in neither place was removed by somebody else, and is told.
An entry that was being purged is left to `gcd.actions.purge`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from gcd.actions.items import Where, parent_of, take
from gcd.actions.manifest import close_entry, discard, open_entry, put_all_back, read_ahead, remove_entry, wheres
from gcd.actions.moments import demands_stop, is_in_memory
from gcd.actions.mountguard import is_in_layers, mounted_below, mounted_entry
from gcd.actions.refusal import Refused, of_error
from gcd.actions.restore import demand_room
from gcd.formats.manifest import is_entry_id
from gcd.model import layout
from gcd.model.entry import EntryId, EntryState, Operation, order_of
from gcd.model.errors import CannotAct
from gcd.model.facts import EngineState
from gcd.model.reading import Present
from gcd.root.engine import read_engine
from gcd.root.processes import PROC

if TYPE_CHECKING:
    from gcd.actions.manifest import OpenEntry
    from gcd.actions.place import Place
    from gcd.model.entry import Manifest


class Recovery(StrEnum):
    CLOSED = "closed"
    """It is a whole entry now."""
    RETURNED = "returned"
    """Nothing of it is left in the quarantine: all is in its place."""
    LEFT_OPEN = "left-open"


class Recovered(Struct, frozen=True):
    """What became of an open entry; `why` is one clause for people where it is not as it was meant."""

    entry: EntryId
    recovery: Recovery
    why: str = ""


def recover(place: Place, *, engine: EngineState | None = None, proc: str = PROC) -> tuple[Recovered, ...]:
    """
    Finish or undo every open entry of `place`, oldest first. Never raises for what the root or the disk does.

    `engine` is STOPPED for a caller that holds the fence; None: it is looked at, if there is anything to recover.
    """
    names = _open_entries(place)
    if names and engine is None:
        engine = read_engine(place.root, proc).state
    return tuple(_recovered(place, name, engine is EngineState.STOPPED, proc) for name in names)


def recover_ahead(place: Place) -> tuple[Recovered, ...]:
    """
    What takes long, since what a repair copied may be large: to be called before a fence is held for `recover`.

    Discards every open entry of `place` of which nothing is taken, by its manifest, and reads what repairs made of the
    others. Never raises for what the root or the disk does; `recover` says why anything was not done.
    """
    return tuple(Recovered(name, Recovery.RETURNED) for name in _open_entries(place) if _is_discarded(place, name))


def _open_entries(place: Place) -> list[EntryId]:
    return sorted(filter(is_entry_id, place.state(EntryState.OPEN).list().entries), key=order_of)


def _is_discarded(place: Place, name: EntryId) -> bool:
    try:
        reading = open_entry(place, EntryState.OPEN, name)
        if not isinstance(reading, Present):
            return False
        with reading.value as entry:
            if entry.is_taking:
                read_ahead(entry)
                return False
            discard(entry)
            return True
    except (OSError, CannotAct):
        return False


def _recovered(place: Place, name: EntryId, is_stopped: bool, proc: str) -> Recovered:
    try:
        reading = open_entry(place, EntryState.OPEN, name)
        if not isinstance(reading, Present):
            # Before its manifest is there nothing is moved, and after `items` is gone nothing is left.
            remove_entry(place.state(EntryState.OPEN), name)
            return Recovered(name, Recovery.RETURNED)
        with reading.value as entry:
            if entry.is_taking:
                return _settled(entry, is_stopped, proc)
            discard(entry)
            return Recovered(name, Recovery.RETURNED)
    except (OSError, CannotAct) as error:
        return Recovered(name, Recovery.LEFT_OPEN, of_error(error, f"{layout.GCD}/open/{name}").why)


def _settled(entry: OpenEntry, is_stopped: bool, proc: str) -> Recovered:
    found = wheres(entry)
    lost = [item.path for item, where in zip(entry.manifest.items, found, strict=True) if where is Where.LOST]
    why = f"{', '.join(lost)} was removed or replaced by somebody else" if lost else ""
    if Where.TAKEN not in found:
        discard(entry)
        return Recovered(entry.id, Recovery.RETURNED, why)
    changed = _changed_since(entry, found)
    if changed or (Where.IN_PLACE not in found and not (lost and entry.manifest.operation is Operation.REPAIR)):
        close_entry(entry)
        return Recovered(entry.id, Recovery.CLOSED, changed or why)
    is_asked = entry.manifest.operation is Operation.REPAIR and is_in_layers(entry)
    mounted = mounted_entry(entry, proc) if is_asked else ""
    if mounted:
        why = f"{mounted}, and a repair is half done: see to it that the layer is not mounted, and run gcd again"
        return Recovered(entry.id, Recovery.LEFT_OPEN, why)
    if is_stopped or not demands_stop(entry.place, _part(entry, found, Where.TAKEN)):
        return _returned(entry, why)
    if entry.manifest.operation is Operation.QUARANTINE and _may_be_taken(entry, found, proc):
        for index, (item, where) in enumerate(zip(entry.manifest.items, found, strict=True)):
            if where is Where.IN_PLACE:
                with parent_of(entry.place.root, item.path) as (parent, name):
                    take(item, index, entry.items, parent, name)
        close_entry(entry)
        return Recovered(entry.id, Recovery.CLOSED, why)
    why = "the engine would not see what comes back: stop docker.socket and docker.service, and run gcd again"
    return Recovered(entry.id, Recovery.LEFT_OPEN, why)


def _returned(entry: OpenEntry, why: str) -> Recovered:
    try:
        put_all_back(entry)
        discard(entry)
    except (OSError, CannotAct) as error:
        return Recovered(entry.id, Recovery.LEFT_OPEN, of_error(error, f"an item of {entry.id}").why)
    return Recovered(entry.id, Recovery.RETURNED, why)


def _changed_since(entry: OpenEntry, found: tuple[Where, ...]) -> str:
    """In one clause, what stands by now where a repair put what it made; "" if that is all there still."""
    for index, (item, where) in enumerate(zip(entry.manifest.items, found, strict=True)):
        if item.made is not None and where is Where.TAKEN:
            try:
                demand_room(entry, index)
            except Refused as refused:
                return refused.why
    return ""


def _part(entry: OpenEntry, found: tuple[Where, ...], wanted: Where) -> Manifest:
    """The manifest with those items alone that are where `wanted` says."""
    items = zip(entry.manifest.items, found, strict=True)
    return replace(entry.manifest, items=tuple(item for item, where in items if where is wanted))


def _may_be_taken(entry: OpenEntry, found: tuple[Where, ...], proc: str) -> bool:
    """Whether what is still in its place may follow the rest while the engine runs."""
    rest = tuple(item.path for item in _part(entry, found, Where.IN_PLACE).items)
    return (
        not any(is_in_memory(path, entry.place.driver) for path in rest)
        and not mounted_below(entry.place.root, rest)
        and not mounted_entry(entry, proc)
    )
