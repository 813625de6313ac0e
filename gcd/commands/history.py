"""``gcd history``: what was done to a root, and what was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gcd.model.errors import ExitBits
from gcd.planning import identity_of
from gcd.report.history import history_json, history_text
from gcd.root.discover import detect_store, find_root
from gcd.settings import ReportFormat, load
from gcd.state import FILE, open_state

if TYPE_CHECKING:
    from pathlib import Path

    from gcd.model.audit import Act

MOST = 100


@click.command()
@click.option("--root", metavar="DIR", help="The Docker root. Without it gcd finds that of the running engine.")
@click.option("-n", "--last", "most", type=click.IntRange(1), default=MOST, help=f"So many of the last acts ({MOST}).")
@click.option(
    "--format", "form", type=click.Choice([str(form) for form in ReportFormat]), help="text (default) or json."
)
def history(*, root: str | None, most: int, form: str | None) -> ExitBits:
    """Show what gcd did to a Docker root and what it refused, run by run, oldest first."""
    settings = load({"root": root, "format": form}).settings
    path = detect_store(find_root(None if settings.root is None else str(settings.root))).path
    acts = _acts(settings.state_dir, path, most)
    report = history_json(acts) if settings.format is ReportFormat.JSON else history_text(acts)
    click.echo(report, nl=False)
    return ExitBits.CLEAN


def _acts(directory: Path, root: str, most: int) -> tuple[Act, ...]:
    """Whoever only asks does not make a state where there is none."""
    if not (directory / FILE).exists():
        return ()
    with open_state(directory) as state:
        return state.acts(identity_of(root), most=most)
