"""The quarantine as text: a table of its entries, one of them in full, what became of those put back or purged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model.entry import EntryState
from gcd.model.plan import Outcome
from gcd.report.printable import printable
from gcd.report.units import counted, iec, instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcd.model.entry import EntryDeed, Holding, Item, Manifest

_TITLES = ("entry", "when", "code", "bytes", "kept until", "subject")
_STATES = {
    EntryState.OPEN: "cut short: the next gcd that writes settles it",
    EntryState.CLOSED: "",
    EntryState.PURGING: "being purged",
}


def quarantine_text(root: str, holdings: Sequence[Holding]) -> str:
    """A line for each entry, oldest first; `subject` comes last, for it is the longest."""
    if not holdings:
        return f"The quarantine of {printable(root)} is empty.\n"
    rows = [_TITLES, *map(_row, holdings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES) - 1)]
    lines = ["  ".join([*(t.ljust(w) for t, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in rows]
    total = sum(holding.disk_bytes for holding in holdings)
    lines += ["", f"{counted(len(holdings), 'entry', 'entries')}, {iec(total)}, which a purge frees."]
    return "\n".join(lines) + "\n"


def holding_text(holding: Holding) -> str:
    """Everything about one entry."""
    return "\n".join(_told(holding)) + "\n"


def entry_deed_line(deed: EntryDeed, done: str) -> str:
    """What became of one entry; `done` is the word for it."""
    why = f": {printable(deed.why)}" if deed.why else ""
    if deed.outcome is Outcome.DONE:
        size = f", {iec(deed.disk_bytes)}" if deed.disk_bytes else ""
        return f"{done:<8}  {deed.entry}{size}{why}"
    return f"{deed.outcome:<8}  {deed.entry}{why}"


def _row(holding: Holding) -> tuple[str, ...]:
    manifest, note = holding.manifest, _STATES[holding.state]
    if manifest is None:
        return (holding.id, "?", "?", iec(holding.disk_bytes), "?", note or holding.trouble)
    subject = printable(str(manifest.finding.subject))
    return (
        holding.id,
        _minute(manifest.made_ns),
        manifest.finding.code,
        iec(holding.disk_bytes),
        _minute(holding.ends_ns),
        f"{subject} ({note})" if note else subject,
    )


def _told(holding: Holding) -> Iterator[str]:
    manifest = holding.manifest
    yield f"entry {holding.id}{', ' + _STATES[holding.state] if _STATES[holding.state] else ''}"
    if manifest is None:
        yield f"  {holding.trouble}"
        return
    finding = manifest.finding
    yield f"  {printable(finding.id)} {printable(finding.name)}"
    yield f"  {printable(finding.summary)}"
    yield from (f"    {printable(e.where)}: {printable(e.expected)}; {printable(e.found)}" for e in finding.evidence)
    yield f"  {manifest.operation} of run {manifest.run}, {instant(manifest.made_ns)[:19]}Z"
    yield f"  {iec(holding.disk_bytes)}, kept until {instant(holding.ends_ns)[:19]}Z"
    yield from (f"    {_item(item)}" for item in manifest.items)
    yield from _ground(manifest)
    if holding.state is EntryState.CLOSED:
        yield f"  to put it back: gcd quarantine restore {holding.id}"


def _item(item: Item) -> str:
    taken, path = item.taken, printable(item.path)
    if taken is None:
        return f"{path}: was not there, a {item.made.type if item.made else 'thing'} was made"
    text = f"{path}: {taken.type}, mode {taken.mode:04o}, owner {taken.uid}:{taken.gid}"
    return f"{text}; another {item.made.type} was made in its place" if item.made is not None else text


def _ground(manifest: Manifest) -> Iterator[str]:
    if manifest.ground.parents:
        yield f"  stands on {', '.join(manifest.ground.parents)}"


def _minute(moment_ns: int) -> str:
    return instant(moment_ns)[:16] + "Z"
