"""Entries of the quarantine, as they are found on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from gcd.model.entry import EntryId, EntryState, Manifest
    from gcd.model.finding import Node
    from gcd.model.reading import Reading


class QuarantineEntry(Struct, frozen=True):
    """
    `refers_to` are the layers and layer dirs that bare records in it name: what could come back needs them (safety
    rules S3, S15). A record whose own dir lies in the same entry is a whole unit, and refers to nothing outside; nor
    does an entry that is being purged.
    """

    id: EntryId
    state: EntryState
    manifest: Reading[Manifest]
    refers_to: frozenset[Node] = frozenset()
