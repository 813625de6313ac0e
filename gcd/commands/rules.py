"""``gcd rules``: all codes."""

from __future__ import annotations

import click

from gcd.rules.catalogue import EVERY_RULE
from gcd.rules.document import table


@click.command()
def rules() -> None:
    """List all codes with kind, severity and remedies."""
    click.echo(table(EVERY_RULE), nl=False)
