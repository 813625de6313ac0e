"""
``gcd quarantine``: what is orphaned or left over moves aside, and what was moved is listed, put back or purged.

Without a word of its own it moves: ``gcd quarantine GCD101`` is ``gcd quarantine move GCD101``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gcd.commands.acting import Order, act, acting_flags
from gcd.commands.holdings import find_quarantine, named
from gcd.commands.purging import purge
from gcd.commands.restoring import restore
from gcd.model.errors import ExitBits
from gcd.model.finding import RemedyKind
from gcd.report.quarantine_json import quarantine_json
from gcd.report.quarantine_text import holding_text, quarantine_text
from gcd.settings import ReportFormat, load

if TYPE_CHECKING:
    from typing import Unpack

    from gcd.commands.acting import Flags

FORMATS = click.Choice([str(form) for form in ReportFormat])


class WordsOrCommand(click.Group):
    """A group whose command `move` needs no name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["move", *args]
        return super().parse_args(ctx, args)


@click.group(cls=WordsOrCommand)
def quarantine() -> None:
    """
    Move aside what is orphaned or left over; list, put back or purge what was moved.

    gcd quarantine [CODE|ID]... moves: of each CODE, or just the finding ID; without any, all that is auto or opt-in.
    Moving frees nothing until it is purged, and is undone exactly by restore.
    """


@quarantine.command
@click.argument("words", nargs=-1, metavar="[CODE|ID]...")
@acting_flags
@click.option(
    "--purge", is_flag=True, help="For a full disk: delete proven orphans for good at once; asks to type that."
)
def move(*, words: tuple[str, ...], purge: bool, **flags: Unpack[Flags]) -> ExitBits:
    """Move aside the findings of each CODE, or just the finding ID; without any, all that is auto or opt-in."""
    return act(Order("quarantine", flags, RemedyKind.QUARANTINE, words, is_purged=purge))


@quarantine.command("list")
@click.option("--root", metavar="DIR", help="The Docker root. Without it gcd finds that of the running engine.")
@click.option("--format", "form", type=FORMATS, help="text (default) or json.")
def list_(*, root: str | None, form: str | None) -> ExitBits:
    """List what is in the quarantine: when, for what, how many bytes, until when it is kept. Changes nothing."""
    settings = load({"root": root, "format": form}).settings
    found = find_quarantine(settings)
    is_json = settings.format is ReportFormat.JSON
    told = quarantine_json if is_json else quarantine_text
    click.echo(told(found.store.path, found.holdings), nl=False)
    return ExitBits.CLEAN


@quarantine.command
@click.argument("words", nargs=-1, required=True, metavar="ENTRY|RUN...")
@click.option("--root", metavar="DIR", help="The Docker root. Without it gcd finds that of the running engine.")
@click.option("--format", "form", type=FORMATS, help="text (default) or json.")
def show(*, words: tuple[str, ...], root: str | None, form: str | None) -> ExitBits:
    """Show all about an ENTRY, or those of a RUN: the finding, each item and where it was. Changes nothing."""
    settings = load({"root": root, "format": form}).settings
    found = find_quarantine(settings)
    holdings = named(found, words)
    if settings.format is ReportFormat.JSON:
        click.echo(quarantine_json(found.store.path, holdings), nl=False)
    else:
        click.echo("\n".join(map(holding_text, holdings)), nl=False)
    return ExitBits.CLEAN


quarantine.add_command(restore)
quarantine.add_command(purge)
