"""What is in the quarantine, for the commands that show it, put it back or purge it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.model import layout
from gcd.model.entry import FOLDERS, Holding, order_of
from gcd.model.errors import CannotCheck, UsageError
from gcd.model.inventory import Coverage
from gcd.model.reading import describe, value_of
from gcd.root.discover import detect_store, find_root
from gcd.root.quarantine import read_quarantine
from gcd.root.tree import open_root
from gcd.root.usage import measure
from gcd.settings.units import nanoseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcd.model.facts import QuarantineEntry
    from gcd.root.discover import Store
    from gcd.settings import Settings

SUGGESTIONS = 3


class Quarantine(Struct, frozen=True):
    """The quarantine of `store`, its holdings oldest first."""

    store: Store
    holdings: tuple[Holding, ...]


def find_quarantine(settings: Settings) -> Quarantine:
    """The quarantine of the root that the settings name, or that gcd finds; `CannotCheck` if it cannot be read."""
    store = detect_store(find_root(None if settings.root is None else str(settings.root)))
    retention_ns = nanoseconds(settings.quarantine.retention)
    with open_root(store.path) as root:
        entries, state = read_quarantine(root, store.driver)
        if state.coverage is not Coverage.OK:
            raise CannotCheck(f"The quarantine cannot be read: {state.why}.")
        places = {name: (f"{layout.GCD}/{FOLDERS[entry.state]}/{name}",) for name, entry in entries.items()}
        usages = measure(root, places)
    holdings = [_holding(entry, usages[name].disk_bytes, retention_ns) for name, entry in entries.items()]
    return Quarantine(store, tuple(sorted(holdings, key=lambda holding: order_of(holding.id))))


def named(quarantine: Quarantine, words: Sequence[str]) -> list[Holding]:
    """The holdings that `words` name by entry or run, oldest first; `UsageError` with the nearest for another word."""
    runs = {holding.manifest.run for holding in quarantine.holdings if holding.manifest is not None}
    names = {holding.id for holding in quarantine.holdings}
    for word in words:
        if word not in names and word not in runs:
            known = [*sorted(names), *sorted(runs)]
            begun = [name for name in known if name.startswith(word)]
            near = begun[:SUGGESTIONS] or difflib.get_close_matches(word, known, n=SUGGESTIONS)
            hint = f"did you mean {' or '.join(near)}?" if near else "gcd quarantine list shows all"
            raise UsageError(f"there is no entry or run {word!r} in the quarantine; {hint}")
    wanted = set(words)
    return [h for h in quarantine.holdings if h.id in wanted or (h.manifest is not None and h.manifest.run in wanted)]


def _holding(entry: QuarantineEntry, disk_bytes: int, retention_ns: int) -> Holding:
    manifest = value_of(entry.manifest)
    return Holding(
        id=entry.id,
        state=entry.state,
        manifest=manifest,
        trouble="" if manifest is not None else f"its manifest is {describe(entry.manifest)}",
        disk_bytes=disk_bytes,
        ends_ns=manifest.made_ns + retention_ns if manifest is not None else 0,
    )
