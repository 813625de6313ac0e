"""``gcd version``: at once, since scripts ask for it."""

from __future__ import annotations

import platform

import click

from gcd import __version__


@click.command()
def version() -> None:
    """Print the version of gcd and of Python."""
    click.echo(f"gcd {__version__} (Python {platform.python_version()})")
