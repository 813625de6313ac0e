"""
Entries of the quarantine: what was taken from a root, where it was, and what it was taken for.

An entry is one unit, what one finding is about. Its manifest is written before anything moves and never changed: what
it says is what was meant, and where each item is says how far that came. Whether an entry is open, closed or being
purged is said by the directory that it lies in (`gcd.model.layout`), so that one rename changes it.

Paths are relative to the root.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NewType

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.facts import FileType
    from gcd.model.finding import Finding
    from gcd.model.ids import ChainId, LayerDirId, LinkId
    from gcd.model.plan import Outcome, Reason

EntryId = NewType("EntryId", str)
"""When the entry was made, in UTC, and its number among those of that second: ``20261128T091236-0001``."""

RunId = NewType("RunId", str)
"""Of one ``gcd apply``: letters, digits, ``.``, ``_`` and ``-``; at most 64 of them."""


def order_of(entry: EntryId) -> tuple[str, int]:
    """The key by which entries are sorted, those made first first."""
    second, _, number = entry.partition("-")
    return second, int(number)


class Operation(StrEnum):
    QUARANTINE = "quarantine"
    REPAIR = "repair"


class EntryState(StrEnum):
    OPEN = "open"
    """Moving in or out is under way, or was cut short."""
    CLOSED = "closed"
    PURGING = "purging"
    """Some of it may be gone already: it can only be purged."""


FOLDERS = {EntryState.OPEN: "open", EntryState.CLOSED: "entries", EntryState.PURGING: "purging"}
"""The directory of ``.gcd`` that the entries of each state lie in."""


class Taken(Struct, frozen=True):
    """
    What stood at an item's path: `mode` without the type, `label` the attribute ``security.selinux``, None without.

    `disk_bytes` are those of the item itself; what is below a directory is in its finding's.
    """

    type: FileType
    mode: int
    uid: int
    gid: int
    device: int
    inode: int
    label: str | None
    disk_bytes: int


class Made(Struct, frozen=True):
    """
    What a repair puts at an item's path: `sha256` is that of a file's content or a symlink's text, "" of a directory.

    `size` is how long that is in bytes; None where the manifest does not say it, of a gcd that made no file of more
    than 64 MiB.
    """

    type: FileType
    sha256: str
    size: int | None


class Item(Struct, frozen=True):
    """
    One name that the entry is about: `taken` is what stood there, None where nothing did; `made` what is put there.

    In the entry it is ``items/<its index>``. Of a file with several names each is an item, whose `taken` has the same
    inode; so has what is put there.
    """

    path: str
    taken: Taken | None
    made: Made | None = None


class Ground(Struct, frozen=True):
    """
    What a unit stood on when it was taken, as far as it could be read: the parent chains of its records with their
    cache ids, and the link ids in its ``lower`` files with the dirs that they led to.
    """

    parents: Mapping[ChainId, LayerDirId]
    links: Mapping[LinkId, LayerDirId]


class Manifest(Struct, frozen=True):
    """
    `made_ns` is by the wall clock; `engine_id` is "" where the root has none. `store_inode` is that of the driver's
    home (``overlay2``), 0 where there is none: another one means that somebody made the root anew (safety rule S20).
    """

    entry: EntryId
    run: RunId
    operation: Operation
    made_ns: int
    boot_id: str
    engine_id: str
    store_inode: int
    finding: Finding
    items: tuple[Item, ...]
    ground: Ground


class Holding(Struct, frozen=True):
    """
    An entry as it is shown: `trouble` says in one clause why `manifest` is None; `disk_bytes` are what a purge frees,
    and `ends_ns` is when its retention ends.
    """

    id: EntryId
    state: EntryState
    manifest: Manifest | None
    trouble: str
    disk_bytes: int
    ends_ns: int


class EntryDeed(Struct, frozen=True):
    """
    What became of an entry that was to be restored or purged. `reason` and `why`, one clause for people, say why not,
    or what is not quite as it was. `disk_bytes` are those that a purge freed.
    """

    entry: EntryId
    outcome: Outcome
    reason: Reason | None = None
    why: str = ""
    disk_bytes: int = 0
