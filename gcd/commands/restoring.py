"""``gcd quarantine restore``: what was moved or repaired goes back exactly as it was."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import click

from gcd.actions.fence import fence
from gcd.actions.place import open_place
from gcd.actions.restore import restore as put_back
from gcd.actions.restore import restore_ahead
from gcd.commands.acting import tell_recovered
from gcd.commands.audit import Audit
from gcd.commands.holdings import find_quarantine, named
from gcd.commands.undertaking import settled
from gcd.model.audit import Act, ActKind
from gcd.model.entry import EntryState
from gcd.model.errors import CannotAct, ExitBits, UsageError
from gcd.model.facts import EngineState
from gcd.model.plan import Outcome
from gcd.planning import identity_of
from gcd.report.quarantine_text import entry_deed_line, holding_text
from gcd.root.engine import read_engine
from gcd.root.tree import open_root
from gcd.settings import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcd.actions.place import Place
    from gcd.model.entry import EntryDeed, EntryId, Holding


@click.command
@click.argument("words", nargs=-1, required=True, metavar="ENTRY|RUN...")
@click.option("--root", metavar="DIR", help="The Docker root. Without it gcd finds that of the running engine.")
@click.option("--dry-run", is_flag=True, help="Show what would be put back, and do nothing.")
def restore(*, words: tuple[str, ...], root: str | None, dry_run: bool) -> ExitBits:
    """
    Put back an ENTRY, or all entries of a RUN, exactly: owners, modes, attributes, inode numbers. Repairs are undone.

    While the engine runs, only what it does not have in its memory. Nothing is ever overwritten.
    """
    settings = load({"root": root}).settings
    found = find_quarantine(settings)
    holdings = named(found, words)
    for holding in holdings:
        if holding.state is not EntryState.CLOSED:
            raise UsageError(f"{holding.id} cannot be restored: {_why_not(holding.state)}")
    if dry_run:
        click.echo("\n".join(map(holding_text, holdings)), nl=False)
        return ExitBits.CLEAN
    by_id = {holding.id: holding for holding in holdings}
    deeds: list[EntryDeed] = []
    with Audit(settings, identity_of(found.store.path), found.store.path) as audit:

        def told(deed: EntryDeed) -> None:
            deeds.append(deed)
            audit.note(act_of_entry(deed, by_id[deed.entry], audit, ActKind.RESTORE))
            click.echo(entry_deed_line(deed, "restored"))

        with (
            open_root(found.store.path) as directory,
            open_place(directory, create=False, driver=found.store.driver) as place,
        ):
            _put_back(place, list(by_id), told)
    return bits_of(deeds)


def act_of_entry(deed: EntryDeed, holding: Holding, audit: Audit, kind: ActKind) -> Act:
    """What history keeps of `deed`."""
    finding = holding.manifest.finding if holding.manifest is not None else None
    moved = finding.disk_bytes or 0 if finding is not None and kind is ActKind.RESTORE else deed.disk_bytes
    return Act(
        run=audit.run,
        at_ns=time.time_ns(),
        kind=kind,
        finding=finding.id if finding is not None else "",
        outcome=deed.outcome,
        reason=deed.reason,
        why=deed.why,
        entry=deed.entry,
        disk_bytes=moved if deed.outcome is Outcome.DONE else 0,
    )


def bits_of(deeds: list[EntryDeed]) -> ExitBits:
    done = sum(deed.outcome is Outcome.DONE for deed in deeds)
    return (ExitBits.MENDED if done else ExitBits.CLEAN) | (ExitBits.NOT_DONE if done < len(deeds) else ExitBits.CLEAN)


def _put_back(place: Place, names: list[EntryId], told: Callable[[EntryDeed], None]) -> None:
    """
    With the engine stopped the door is held shut (S18), again and again for as long as it may be; with it running each
    entry is judged by itself.
    """
    for item in settled(place):
        tell_recovered(item)
    engine = read_engine(place.root).state
    if engine is not EngineState.STOPPED:
        for deed in put_back(place, names, engine=engine):
            told(deed)
        return
    restore_ahead(place, names)
    left = set(names)
    while left:
        # Told when the door is open again: nobody knows how long a pipe that is full keeps whoever writes into it.
        deeds: list[EntryDeed] = []
        try:
            with fence(place.root) as held:
                for deed in _while_held(put_back(place, left, engine=engine), held.check):
                    left.discard(deed.entry)
                    deeds.append(deed)
        finally:
            with contextlib.ExitStack() as all_of_them:
                for deed in reversed(deeds):
                    all_of_them.callback(told, deed)


def _while_held(deeds: Iterator[EntryDeed], check: Callable[[], None]) -> Iterator[EntryDeed]:
    """`deeds`, at least one of them, as long as `check` lets the next one be done."""
    for deed in deeds:
        yield deed
        try:
            check()
        except CannotAct:
            return


def _why_not(state: EntryState) -> str:
    return (
        "it is being purged"
        if state is EntryState.PURGING
        else "it was cut short, and the next gcd that writes settles it"
    )
