"""``gcd quarantine purge``: the only command that deletes."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from gcd.actions.place import open_place
from gcd.actions.purge import is_expired
from gcd.actions.purge import purge as delete
from gcd.commands.acting import tell_recovered
from gcd.commands.audit import Audit
from gcd.commands.holdings import find_quarantine, named
from gcd.commands.progress import ProgressBar
from gcd.commands.record import boot_time
from gcd.commands.restoring import act_of_entry, bits_of
from gcd.commands.undertaking import settled
from gcd.model.audit import ActKind
from gcd.model.entry import EntryState
from gcd.model.errors import ExitBits, UsageError
from gcd.planning import identity_of
from gcd.report.quarantine_text import entry_deed_line, quarantine_text
from gcd.report.units import counted, iec
from gcd.root.tree import open_root
from gcd.settings import load
from gcd.settings.units import nanoseconds

if TYPE_CHECKING:
    from gcd.commands.holdings import Quarantine
    from gcd.model.entry import EntryDeed, Holding
    from gcd.settings import Settings


@click.command
@click.argument("words", nargs=-1, metavar="[ENTRY|RUN]...")
@click.option("--root", metavar="DIR", help="The Docker root. Without it gcd finds that of the running engine.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and do nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask; needed where there is no terminal.")
def purge(*, words: tuple[str, ...], root: str | None, dry_run: bool, yes: bool) -> ExitBits:
    """
    Delete for good each ENTRY, or all entries of a RUN; without any, those whose retention is over.

    This alone frees space. What is mounted anywhere stays, and so does what another entry stands on.
    """
    settings = load({"root": root}).settings
    found = find_quarantine(settings)
    holdings = named(found, words) if words else _due(found, settings)
    for holding in holdings:
        if holding.state is EntryState.OPEN:
            raise UsageError(f"{holding.id} was cut short, and the next gcd that writes settles it: purge it then")
    if not holdings:
        click.echo("No entry's retention is over: nothing to purge.")
        return ExitBits.CLEAN
    click.echo(quarantine_text(found.store.path, holdings), nl=False)
    if dry_run:
        return ExitBits.CLEAN
    if not yes and not _is_agreed(holdings):
        click.echo("Nothing was changed.")
        return ExitBits.CLEAN
    return purged(found, settings, holdings)


def purged(found: Quarantine, settings: Settings, holdings: list[Holding]) -> ExitBits:
    """Delete `holdings` and tell of each."""
    by_id = {holding.id: holding for holding in holdings}
    deeds: list[EntryDeed] = []
    with (
        Audit(settings, identity_of(found.store.path), found.store.path) as audit,
        open_root(found.store.path) as directory,
        open_place(directory, create=False, driver=found.store.driver) as place,
        ProgressBar("purging") as bar,
    ):
        for item in settled(place):
            tell_recovered(item)
        total = sum(holding.disk_bytes for holding in holdings)

        def progress(disk_bytes: int, _inodes: int) -> None:
            bar("entries", sum(deed.disk_bytes for deed in deeds) + disk_bytes, total)

        for deed in delete(place, by_id, progress=progress):
            deeds.append(deed)
            audit.note(act_of_entry(deed, by_id[deed.entry], audit, ActKind.PURGE))
            click.echo(entry_deed_line(deed, "purged"))
    click.echo(f"{iec(sum(deed.disk_bytes for deed in deeds))} are free again.")
    return bits_of(deeds)


def _due(found: Quarantine, settings: Settings) -> list[Holding]:
    """What was kept long enough, and what a purge that was cut short left."""
    retention_ns, now_ns, boot = nanoseconds(settings.quarantine.retention), time.time_ns(), boot_time()
    return [
        holding
        for holding in found.holdings
        if holding.state is EntryState.PURGING
        or (
            holding.manifest is not None
            and is_expired(holding.manifest, retention_ns, now_ns, boot_id=boot.boot_id, uptime_ns=boot.now_ns)
        )
    ]


def _is_agreed(holdings: list[Holding]) -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "gcd quarantine purge deletes for good, and there is no terminal to ask on: "
            "look at it with --dry-run, then say --yes"
        )
    what = counted(len(holdings), "entry", "entries")
    return click.confirm(f"Delete {what} for good?", err=True)
