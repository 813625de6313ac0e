"""``gcd explain CODE``: what a code means, what it costs, what to do."""

from __future__ import annotations

import click

from gcd.commands.codes import rule_of
from gcd.rules.document import entry


@click.command()
@click.argument("code")
def explain(code: str) -> None:
    """Explain CODE (GCD101, 101 or orphaned-layer-dir)."""
    click.echo(entry(rule_of(code)), nl=False)
