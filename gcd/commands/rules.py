"""``gcd rules``: all codes."""

from __future__ import annotations

import click

from gcd.rules.document import table
from gcd.rules.table import RULES


@click.command()
def rules() -> None:
    """List all codes with kind, severity and remedies."""
    click.echo(table(RULES), nl=False)
