"""
Entries while they are written: begun, closed, opened again, discarded.

==================  ================================================================================================
`begin`             the directory in ``open/``, ``items/``, then ``manifest.new``, complete and synced. What a repair
                    makes is made now
`begin_taking`      ``manifest.new`` becomes ``manifest.json``, synced: only now may anything move
`close_entry`       all directories synced, then renamed into ``entries/``
`reopen`            renamed back into ``open/``, before anything is put back
`end_taking`        all is back, and synced: ``manifest.json`` becomes ``manifest.new``
`discard`           what a repair made and ``items/``, the manifest last
==================  ================================================================================================

While the manifest is called ``manifest.new`` nothing of the root is in the entry and nothing of the entry in the root,
whatever stands there: what is in ``items/`` is gcd's own. An older gcd called it ``manifest.json`` from the beginning;
of what it left open with a file half made (`NEW_FILE`) nothing is taken either. An entry in ``open/`` without a
manifest holds nothing. A manifest is never rewritten: taking and closing need no space on a disk that is full.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from msgspec import Struct

from gcd.actions import syscalls
from gcd.actions.items import Where, parent_of, put_back, stands_at, version_of, where
from gcd.actions.refusal import refuse
from gcd.formats.manifest import MOST_BYTES, is_entry_id, manifest_bytes, parse_manifest
from gcd.model import layout
from gcd.model.entry import EntryId, EntryState, Ground, Manifest
from gcd.model.errors import FormatError
from gcd.model.facts import FileType
from gcd.model.plan import Reason
from gcd.model.reading import Absent, Malformed, Present, value_of

if TYPE_CHECKING:
    from types import TracebackType

    from gcd.actions.place import Place
    from gcd.model.entry import Item, Made, Operation, RunId
    from gcd.model.finding import Finding
    from gcd.model.reading import Reading
    from gcd.root.tree import Directory

ENGINE_ID = "engine-id"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

NEW_FILE = "made.new"
"""In the entry, a file that a repair is writing; whole, it goes to ``items``."""

_ID_LIMIT = 256


class OpenEntry(Struct):
    """
    An entry of `place` with its directories open, in `state`; a context manager that closes them.

    `items` holds what was taken, and what a repair made before it goes to its place, each named by its index.
    `is_taking`: something of it may be taken.
    """

    place: Place
    state: EntryState
    manifest: Manifest
    directory: Directory
    items: Directory
    is_taking: bool

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.items.close()
        self.directory.close()

    @property
    def id(self) -> EntryId:
        return self.manifest.entry


def new_manifest(
    place: Place,
    operation: Operation,
    finding: Finding,
    items: tuple[Item, ...],
    *,
    run_id: RunId,
    now_ns: int,
    ground: Ground | None = None,
) -> Manifest:
    """The manifest of a new entry of `place`, with what identifies its root now."""
    return Manifest(
        entry=place.new_id(now_ns),
        run=run_id,
        operation=operation,
        made_ns=now_ns,
        boot_id=BOOT_ID.read_text().strip(),
        engine_id=engine_id_of(place.root),
        store_inode=store_inode_of(place.root, place.driver),
        finding=finding,
        items=items,
        ground=ground or Ground({}, {}),
    )


def engine_id_of(root: Directory) -> str:
    """What newer engines keep in ``engine-id``; "" for older ones."""
    reading = root.read(ENGINE_ID, _ID_LIMIT, lambda raw: raw.decode("utf-8", "surrogateescape").strip())
    return value_of(reading) or ""


def store_inode_of(root: Directory, driver: str) -> int:
    """The inode of the driver's home; 0 where there is none."""
    reading = root.lstat(driver)
    return reading.value.st_ino if isinstance(reading, Present) else 0


def begin(place: Place, manifest: Manifest) -> OpenEntry:
    """
    A new open entry, on disk and synced, for the caller to close; `OSError` (as ENOSPC) with nothing of it left.

    On a full disk it takes what the place reserved. `Refused` where the manifest could not be read again.
    """
    _demand_readable(manifest)
    place.check()
    try:
        return _begun(place, manifest)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT} or not place.let_go_of_reserve():
            raise
        return _begun(place, manifest)


def _demand_readable(manifest: Manifest) -> None:
    raw = manifest_bytes(manifest)
    if len(raw) > MOST_BYTES:
        refuse(Reason.PLACE, f"its manifest would be longer than {MOST_BYTES >> 20} MiB")
    try:
        read = parse_manifest(raw)
    except FormatError as error:
        refuse(Reason.PLACE, f"its manifest could not be read again: {error}")
    if (read.entry, read.items, read.ground) != (manifest.entry, manifest.items, manifest.ground):
        refuse(Reason.PLACE, "its manifest would be read as another")


def _begun(place: Place, manifest: Manifest) -> OpenEntry:
    folder, name = place.state(EntryState.OPEN), manifest.entry
    syscalls.make_directory(folder, name, place.dress)
    try:
        directory = _directory(folder, name)
        try:
            syscalls.make_directory(directory, layout.ENTRY_ITEMS, place.dress)
            syscalls.write_new_file(directory, layout.ENTRY_NEW_MANIFEST, manifest_bytes(manifest), place.file_dress)
            syscalls.sync_directory(directory)
            syscalls.sync_directory(folder)
            items = _directory(directory, layout.ENTRY_ITEMS)
            return OpenEntry(place, EntryState.OPEN, manifest, directory, items, is_taking=False)
        except BaseException:
            directory.close()
            raise
    except OSError:
        remove_entry(folder, name)
        raise


def open_entry(place: Place, state: EntryState, entry: EntryId) -> Reading[OpenEntry]:
    """The entry, for the caller to close. Without a good manifest or ``items`` it is what its reading says."""
    opened = place.state(state).open(entry)
    if not isinstance(opened, Present):
        return opened
    directory = opened.value
    manifest = directory.read(layout.ENTRY_MANIFEST, MOST_BYTES, parse_manifest)
    is_taking = True
    if state is EntryState.OPEN:
        is_taking = not isinstance(manifest, Absent) and isinstance(directory.lstat(NEW_FILE), Absent)
        if isinstance(manifest, Absent):
            manifest = directory.read(layout.ENTRY_NEW_MANIFEST, MOST_BYTES, parse_manifest)
    if isinstance(manifest, Present):
        if manifest.value.entry != entry:
            manifest = Malformed(f"the manifest of {entry}", "another's")
        else:
            items = directory.open(layout.ENTRY_ITEMS)
            if isinstance(items, Present):
                return Present(OpenEntry(place, state, manifest.value, directory, items.value, is_taking))
            directory.close()
            return items
    directory.close()
    return manifest


def closed_manifests(place: Place) -> dict[EntryId, Manifest]:
    """The manifests of the closed entries, where they can be read."""
    state = place.state(EntryState.CLOSED)
    found: dict[EntryId, Manifest] = {}
    for name in filter(is_entry_id, state.list().entries):
        opened = state.open(name)
        if isinstance(opened, Present):
            with opened.value as directory:
                manifest = value_of(directory.read(layout.ENTRY_MANIFEST, MOST_BYTES, parse_manifest))
            if manifest is not None:
                found[name] = manifest
    return found


def vouch(entry: OpenEntry) -> None:
    """What was just made in the entry has the content that its manifest says, and need not be read to know that."""
    for _, made, status in _made_in(entry):
        entry.place.known[version_of(status)] = made.sha256


def begin_taking(entry: OpenEntry) -> None:
    """From here on something of the entry may be taken, whatever becomes of gcd."""
    if not entry.is_taking:
        syscalls.rename_noreplace(entry.directory, layout.ENTRY_NEW_MANIFEST, entry.directory, layout.ENTRY_MANIFEST)
        entry.is_taking = True
        syscalls.sync_directory(entry.directory)


def close_entry(entry: OpenEntry) -> None:
    """The entry is complete: sync all that was changed for it, and let it be known as closed."""
    _sync(entry)
    _move(entry, EntryState.CLOSED)


def reopen(entry: OpenEntry) -> None:
    """A closed entry is about to be put back."""
    _move(entry, EntryState.OPEN)


def begin_purge(entry: OpenEntry) -> None:
    """From here on the entry can only be purged."""
    _move(entry, EntryState.PURGING)


def end_taking(entry: OpenEntry) -> None:
    """
    Nothing of the open entry is taken any more, and nothing will be: sync all that was changed for it, and say so.

    `OSError` (EEXIST) with nothing changed where anything is in it that is not what the repair made.
    """
    if entry.is_taking:
        for name, made, _ in _made_in(entry):
            if not stands_at(entry.items, name, made, entry.place.known):
                raise FileExistsError(errno.EEXIST, "not what the repair made", name)
        _sync(entry)
        syscalls.rename_noreplace(entry.directory, layout.ENTRY_MANIFEST, entry.directory, layout.ENTRY_NEW_MANIFEST)
        entry.is_taking = False
        syscalls.sync_directory(entry.directory)


def discard(entry: OpenEntry) -> None:
    """An open entry of which nothing is taken: remove it with what a repair made; `OSError` as that of `end_taking`."""
    end_taking(entry)
    for name, made, _ in _made_in(entry):
        if made.type is FileType.DIRECTORY:
            syscalls.remove_directory(entry.items, name)
        else:
            syscalls.unlink(entry.items, name)
    remove_entry(entry.place.state(entry.state), entry.id)


def remove_entry(folder: Directory, name: str) -> None:
    """Remove an entry's directory with the manifest, if ``items`` is empty or not there; `OSError` where it is not."""
    reading = folder.open(name)
    if not isinstance(reading, Present):
        return
    with reading.value as directory:
        if isinstance(directory.lstat(layout.ENTRY_ITEMS), Present):
            syscalls.remove_directory(directory, layout.ENTRY_ITEMS)
        for file in (NEW_FILE, layout.ENTRY_MANIFEST, layout.ENTRY_NEW_MANIFEST):
            if isinstance(directory.lstat(file), Present):
                syscalls.unlink(directory, file)
    syscalls.remove_directory(folder, name)
    syscalls.sync_directory(folder)


def wheres(entry: OpenEntry) -> tuple[Where, ...]:
    """Where each item of the entry is now, by its index."""
    items, root, known = entry.items, entry.place.root, entry.place.known
    return tuple(where(item, index, items, root, known) for index, item in enumerate(entry.manifest.items))


def read_ahead(entry: OpenEntry) -> None:
    """
    Read what a repair made, wherever it is now: to be called before a fence is held, under which all that has not
    changed by then is known. `OSError` where that cannot be told.
    """
    for index, (item, whereabouts) in enumerate(zip(entry.manifest.items, wheres(entry), strict=True)):
        if item.made is not None and whereabouts is Where.TAKEN:
            with parent_of(entry.place.root, item.path) as (parent, name):
                stands_at(parent, name, item.made, entry.place.known)
        elif item.made is not None:
            stands_at(entry.items, str(index), item.made, entry.place.known)


def put_all_back(entry: OpenEntry) -> int:
    """
    Put back every item that is taken, the last one first; how many there were.

    `OSError` at the first that cannot be put back, with those before it in their places.
    """
    count = 0
    for index, whereabouts in reversed(list(enumerate(wheres(entry)))):
        if whereabouts is Where.TAKEN:
            item = entry.manifest.items[index]
            with parent_of(entry.place.root, item.path) as (parent, name):
                put_back(item, index, entry.items, parent, name)
            count += 1
    return count


def _made_in(entry: OpenEntry) -> list[tuple[str, Made, os.stat_result]]:
    """
    What lies in the entry where only what a repair made may be, by its name there; `OSError` (EEXIST) where it is what
    was taken.
    """
    found = []
    for index, item in enumerate(entry.manifest.items):
        status = entry.items.lstat(str(index))
        if item.made is not None and isinstance(status, Present):
            if item.taken is not None and item.taken.inode == status.value.st_ino:
                raise FileExistsError(errno.EEXIST, "what was taken", str(index))
            found.append((str(index), item.made, status.value))
    return found


def _sync(entry: OpenEntry) -> None:
    """Sync every directory that an item of the entry was taken from or put into, where it is still there."""
    for folder in sorted({item.path.rpartition("/")[0] for item in entry.manifest.items}):
        reading = entry.place.root.open_path(folder) if folder else Present(entry.place.root)
        if isinstance(reading, Present):
            syscalls.sync_directory(reading.value)
            if reading.value is not entry.place.root:
                reading.value.close()
    syscalls.sync_directory(entry.items)


def _move(entry: OpenEntry, state: EntryState) -> None:
    entry.place.check()
    source, target = entry.place.state(entry.state), entry.place.state(state)
    syscalls.rename_noreplace(source, entry.id, target, entry.id)
    entry.state = state
    syscalls.sync_directory(target)
    syscalls.sync_directory(source)


def _directory(parent: Directory, name: str) -> Directory:
    reading = parent.open(name)
    if isinstance(reading, Present):
        return reading.value
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
