"""
One entry from its manifest to its deed: all its items are taken, or none. What a quarantine and a repair share.

Whatever fails half way is put back at once; where even that fails the entry stays open, for `gcd.actions.recover`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gcd.actions.items import parent_of, put_back, take, taken_of
from gcd.actions.manifest import begin, begin_taking, close_entry, discard, end_taking, put_all_back, reopen, vouch
from gcd.actions.refusal import Refused, of_error, refuse
from gcd.model import layout
from gcd.model.entry import EntryState
from gcd.model.errors import CannotAct
from gcd.model.plan import Deed, Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcd.actions.manifest import OpenEntry
    from gcd.actions.place import Place
    from gcd.model.entry import Item, Manifest
    from gcd.model.plan import Mend, Move


def begun(place: Place, manifest: Manifest) -> OpenEntry:
    """A new open entry, for `carried_out`; `Refused` with nothing of it left."""
    try:
        return begin(place, manifest)
    except (OSError, CannotAct) as error:
        raise of_error(error, layout.GCD) from None


def unmade(step: Mend, entry: OpenEntry, make: Callable[[OpenEntry], None]) -> Deed | None:
    """
    `make` what is new in the entry. None where all is made, and nothing taken; else the deed, with the entry abandoned:
    whatever stands in the places of its items is not gcd's. Never raises for what the root or the disk does.
    """
    try:
        make(entry)
        vouch(entry)
    except Refused as error:
        refused = error
    except (OSError, CannotAct) as error:
        refused = of_error(error, layout.GCD)
    except BaseException:
        abandon(entry)  # interrupted: what was made may be large
        raise
    else:
        return None
    abandon(entry)
    return Deed(step, Outcome.REFUSED, refused.reason, refused.why)


def abandon(entry: OpenEntry) -> None:
    """Leave nothing of an entry of which nothing is taken; where that fails `gcd.actions.recover` does it."""
    with entry, contextlib.suppress(OSError, CannotAct):
        discard(entry)


def carried_out(step: Move | Mend, entry: OpenEntry, *, disk_bytes: int = 0) -> Deed:
    """
    Take all items of the entry, in which all is made, and close it; the deed says how that ended, with `disk_bytes`
    where it is done. Never raises for what the root or the disk does; the entry's directories are closed.
    """
    with entry:
        try:
            begin_taking(entry)
            for index, item in enumerate(entry.manifest.items):
                _take(entry, index, item)
            close_entry(entry)
        except Refused as refused:
            return _undone(step, entry, refused)
        except (OSError, CannotAct) as error:
            return _undone(step, entry, of_error(error, layout.GCD))
        return Deed(step, Outcome.DONE, entry=entry.id, disk_bytes=disk_bytes)


def _take(entry: OpenEntry, index: int, item: Item) -> None:
    """Take one item; `Refused` if that fails, or if something else stood there than its manifest says."""
    try:
        with parent_of(entry.place.root, item.path) as (parent, name):
            take(item, index, entry.items, parent, name)
            if item.taken is not None and taken_of(entry.items, str(index)).inode != item.taken.inode:
                # Somebody swapped it between look and act: whatever this is goes back where it was.
                put_back(item, index, entry.items, parent, name)
                refuse(Reason.CHANGED, f"something else stood at {item.path} than a moment before")
    except OSError as error:
        raise of_error(error, item.path) from None


def _undone(step: Move | Mend, entry: OpenEntry, refused: Refused) -> Deed:
    """Put everything back; where even that fails the entry stays open."""
    try:
        if entry.state is EntryState.CLOSED:
            reopen(entry)
        moved = put_all_back(entry)
        end_taking(entry)
    except (OSError, CannotAct) as error:
        why = f"{refused.why}; the next start of gcd puts it back ({of_error(error, layout.GCD).why})"
        return Deed(step, Outcome.FAILED, refused.reason, why, entry.id)
    abandon(entry)
    return Deed(step, Outcome.FAILED if moved else Outcome.REFUSED, refused.reason, refused.why)
