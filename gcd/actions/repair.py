"""
Repair: files, symlinks and directories made anew in their places, what stood there kept in an entry.

All that is new is made whole in the entry first: content, owner, mode, label, synced. Then each thing goes to its place
by one rename, which swaps it with what stands there, so that nobody ever sees neither or a half. Restoring the entry
swaps them back. What is as it shall be already is left as it is, but for files that are copied.

A file with several names is made once, as often named in the entry, and goes to each of its places in turn.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct
from msgspec.structs import replace

from gcd.actions import syscalls
from gcd.actions.copying import copy
from gcd.actions.items import made_of, parent_of, stands_at, taken_of
from gcd.actions.manifest import NEW_FILE, new_manifest
from gcd.actions.refusal import Refused, of_error, refuse
from gcd.actions.syscalls import Dress
from gcd.actions.taking import begun, carried_out, unmade
from gcd.formats.manifest import MOST_ITEMS, is_item_path
from gcd.formats.repositories import parse_repositories, write_repositories
from gcd.model import layout
from gcd.model.entry import Item, Made, Operation
from gcd.model.errors import FormatError
from gcd.model.facts import FileType
from gcd.model.plan import (
    CopyFile,
    Deed,
    DropReference,
    LinkFile,
    MakeDirectory,
    MakeSymlink,
    Outcome,
    Reason,
    SetAside,
    WriteFile,
)
from gcd.model.reading import value_of

if TYPE_CHECKING:
    from gcd.actions.manifest import OpenEntry
    from gcd.actions.place import Place
    from gcd.model.content import Worn
    from gcd.model.entry import RunId, Taken
    from gcd.model.plan import Change, Mend
    from gcd.root.tree import Directory

REFERENCES_LIMIT = 64 << 20

_Simple = WriteFile | DropReference | MakeSymlink | MakeDirectory | SetAside
"""A change that needs nothing of the others in its repair."""

_PRIVATE, _COMMON = 0o600, 0o644
_KEPT_PRIVATE = frozenset((layout.CONTAINER_CONFIG, layout.HOST_CONFIG, layout.repositories().rpartition("/")[2]))
"""The files that engines write for root alone, of those that are repaired: seen on roots of 20.10, 26.1 and 28.5."""


class _Work(Struct, frozen=True):
    """
    One item, and what is made for it: `content` is that of a file, or says where it is, or is the text of a symlink;
    `dress` is None where nothing is made.
    """

    item: Item
    content: bytes | CopyFile | LinkFile = b""
    dress: Dress | None = None


def repair(place: Place, step: Mend, *, run_id: RunId, now_ns: int) -> Deed:
    """
    Carry out all changes of `step`, in their order, or none. Never raises for what the root or the disk does.

    The caller has looked at the step right before (`gcd.actions.closelook`). A deed that is done and has no entry found
    everything as it shall be.
    """
    ready = prepare(place, step, run_id=run_id, now_ns=now_ns)
    return ready if isinstance(ready, Deed) else carried_out(step, ready)


def takes_time(step: Mend) -> bool:
    """Whether to `prepare` it may take longer than an engine may be kept from starting."""
    return any(isinstance(change, CopyFile) for change in step.changes)


def prepare(place: Place, step: Mend, *, run_id: RunId, now_ns: int) -> OpenEntry | Deed:
    """
    An open entry with all that `step` makes, of which nothing is taken: for `carried_out`, or `abandon`. Or the deed,
    where it comes to nothing, or nothing is to be done. Never raises for what the root or the disk does.

    Nothing outside the place is changed, so it may be done before the close look.
    """
    try:
        works = _works(place.root, step.changes)
        if not works:
            return Deed(step, Outcome.DONE)
        items = tuple(work.item for work in works)
        manifest = new_manifest(place, Operation.REPAIR, step.finding, items, run_id=run_id, now_ns=now_ns)
        entry = begun(place, manifest)
    except Refused as refused:
        return Deed(step, Outcome.REFUSED, refused.reason, refused.why)
    return unmade(step, entry, lambda opened: _make_all(opened, works)) or entry


def _works(root: Directory, changes: tuple[Change, ...]) -> tuple[_Work, ...]:
    """What is to be made and taken; `Refused` where something is not as the changes presume."""
    works: dict[str, _Work] = {}
    links = Counter(change.to for change in changes if isinstance(change, LinkFile))
    for change in changes:
        if not is_item_path(change.path) or change.path in works:
            refuse(Reason.PLACE, f"{change.path} is not changed by a repair")
        is_new = change.path.rpartition("/")[0] in works
        try:
            if isinstance(change, LinkFile):
                work: _Work | None = _other_name(root, change, works)
            elif isinstance(change, CopyFile):
                work = _copy(root, change, 1 + links[change.path])
            else:
                work = _in_new_directory(works, change) if is_new else _work(root, change)
        except OSError as error:
            raise of_error(error, change.path) from None
        if work is not None:
            works[change.path] = work
    if len(works) > MOST_ITEMS:
        refuse(Reason.PLACE, f"{len(works)} things would have to be made, and an entry holds {MOST_ITEMS}")
    return tuple(works.values())


def _work(root: Directory, change: _Simple) -> _Work | None:
    """None where all is as it shall be. `OSError` of what cannot be looked at."""
    with parent_of(root, change.path) as (parent, name):
        match change:
            case WriteFile(path, content, like):
                return _file(parent, name, Item(path, _standing(parent, name)), content, _model(root, like))
            case DropReference(path):
                return _dropping(parent, name, change, _model(root, path))
            case MakeSymlink():
                return _symlink(parent, name, change, _model(root, change.path.rpartition("/")[0]))
            case MakeDirectory():
                return _directory(parent, name, change, _model(root, change.like))
            case SetAside(path):
                return _Work(Item(path, _needed(parent, name, path)))
            case _:
                assert_never(change)


def _copy(root: Directory, change: CopyFile, names: int) -> _Work:
    """It wears what the file does that it replaces, whose `names` must all be known: another would keep what was."""
    if not is_item_path(change.source):
        refuse(Reason.PLACE, f"{change.source} is not copied by a repair")
    made = Made(FileType.FILE, change.sha256, change.size)
    with parent_of(root, change.path) as (parent, name):
        if change.worn is not None:
            _demand_nothing(parent, name, change.path)
            label = _model(root, change.path.rpartition("/")[0]).label
            return _Work(Item(change.path, None, made), change, _dress(change.worn, label))
        taken = _needed(parent, name, change.path)
        links = os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_nlink
    if taken.type is not FileType.FILE:
        refuse(Reason.CHANGED, f"{change.path} is no file any more")
    if links != names:
        refuse(Reason.CHANGED, f"{change.path} has other names by now than the {names} that are known")
    return _Work(Item(change.path, taken, made), change, _dress(taken, taken.label))


def _other_name(root: Directory, change: LinkFile, works: dict[str, _Work]) -> _Work:
    work = works.get(change.to)
    if work is None or not isinstance(work.content, CopyFile):
        refuse(Reason.PLACE, f"{change.path} is not made together with {change.to}")
    first = work.item.taken
    with parent_of(root, change.path) as (parent, name):
        if first is None:
            _demand_nothing(parent, name, change.path)
            return _Work(replace(work.item, path=change.path), change, work.dress)
        taken = _needed(parent, name, change.path)
    if (taken.device, taken.inode) != (first.device, first.inode):
        refuse(Reason.CHANGED, f"{change.path} is not the same file as {change.to} any more")
    return _Work(replace(work.item, path=change.path, taken=taken), change, work.dress)


def _demand_nothing(parent: Directory, name: str, path: str) -> None:
    if _standing(parent, name) is not None:
        refuse(Reason.CHANGED, f"something new stands at {path}")


def _file(parent: Directory, name: str, item: Item, content: bytes, model: Taken) -> _Work | None:
    """It wears what the file wears that it replaces, else what `model` does; but the mode is the engine's own."""
    made = made_of(FileType.FILE, content)
    if stands_at(parent, name, made, {}):
        return None
    worn = item.taken if item.taken is not None and item.taken.type is FileType.FILE else model
    mode = _PRIVATE if name in _KEPT_PRIVATE else _COMMON
    return _Work(replace(item, made=made), content, replace(_dress(worn, worn.label), mode=mode))


def _dropping(parent: Directory, name: str, change: DropReference, model: Taken) -> _Work | None:
    raw = value_of(parent.read(name, REFERENCES_LIMIT, bytes))
    try:
        references = dict(parse_repositories(raw or b"").references)
    except FormatError:
        refuse(Reason.CHANGED, f"{change.path} cannot be read any more")
    if change.reference not in references:
        return None
    if references.pop(change.reference) != change.image:
        refuse(Reason.CHANGED, f"{change.reference} names another image by now")
    item = Item(change.path, _needed(parent, name, change.path))
    return _file(parent, name, item, write_repositories(references), model)


def _symlink(parent: Directory, name: str, change: MakeSymlink, folder: Taken) -> _Work | None:
    """It wears what the symlink wears that it replaces; else what its directory does."""
    made = made_of(FileType.SYMLINK, os.fsencode(change.target))
    if stands_at(parent, name, made, {}):
        return None
    taken = _standing(parent, name)
    model = taken if taken is not None and taken.type is FileType.SYMLINK else folder
    return _Work(Item(change.path, taken, made), os.fsencode(change.target), _dress(model, model.label))


def _directory(parent: Directory, name: str, change: MakeDirectory, model: Taken) -> _Work | None:
    taken = _standing(parent, name)
    if taken is not None and taken.type is FileType.DIRECTORY:
        return None
    return _Work(
        Item(change.path, taken, made_of(FileType.DIRECTORY)),
        dress=replace(_dress(model, model.label), mode=change.mode),
    )


def _in_new_directory(works: dict[str, _Work], change: Change) -> _Work:
    """A symlink in a directory that the same repair makes: nothing stands in its place."""
    folder = works[change.path.rpartition("/")[0]]
    if not isinstance(change, MakeSymlink) or folder.dress is None:
        refuse(Reason.PLACE, f"{change.path} is not made together with its directory")
    target = os.fsencode(change.target)
    return _Work(Item(change.path, None, made_of(FileType.SYMLINK, target)), target, folder.dress)


def _standing(parent: Directory, name: str) -> Taken | None:
    try:
        return taken_of(parent, name)
    except FileNotFoundError:
        return None


def _needed(parent: Directory, name: str, path: str) -> Taken:
    taken = _standing(parent, name)
    if taken is None:
        refuse(Reason.CHANGED, f"{path} is not there any more")
    return taken


def _dress(model: Taken | Worn, label: str | None) -> Dress:
    return Dress(model.uid, model.gid, model.mode, label)


def _model(root: Directory, like: str) -> Taken:
    with parent_of(root, like) as (parent, name):
        return taken_of(parent, name)


def _make_all(entry: OpenEntry, works: tuple[_Work, ...]) -> None:
    """Make what is new, by its index, in the entry."""
    names = {work.item.path: str(index) for index, work in enumerate(works)}
    for work in works:
        item, dress, name = work.item, work.dress, names[work.item.path]
        match work.content:
            case CopyFile() as change if dress is not None:
                copy(entry, name, change, item.taken, dress)
            case LinkFile(to=to):
                syscalls.link(entry.items, names[to], name)
            case bytes() as content if item.made is not None and dress is not None:
                _make(entry, name, item.made.type, content, dress)
            case _:
                pass  # taken, and nothing made
    syscalls.sync_directory(entry.items)


def _make(entry: OpenEntry, name: str, kind: FileType, content: bytes, dress: Dress) -> None:
    if kind is FileType.DIRECTORY:
        syscalls.make_directory(entry.items, name, dress)
    elif kind is FileType.SYMLINK:
        syscalls.make_symlink(entry.items, name, os.fsdecode(content), dress)
    else:
        # Under its index there is only ever a whole one: what else is there is somebody else's.
        syscalls.write_new_file(entry.directory, NEW_FILE, content, dress)
        syscalls.rename_noreplace(entry.directory, NEW_FILE, entry.items, name)
