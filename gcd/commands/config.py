"""``gcd config show``: every setting in force and where it came from, as TOML."""

from __future__ import annotations

import click

from gcd.formats.escape import escaped
from gcd.settings import CONFIG_DIR, load, nearest, variable
from gcd.settings.sample import toml_value


@click.group()
def config() -> None:
    """Show the settings in force."""


@config.command()
def show() -> None:
    """Print each value and what set it: default, a file, or a variable."""
    loaded = load({})
    lines = {}
    for key in loaded.origins:
        value = loaded.value(key)
        lines[key] = f"# {key} is unset" if value is None else f"{key} = {toml_value(value)}"
    width = max(map(len, lines.values()))
    for key, line in lines.items():
        click.echo(f"{line:{width}}  # {loaded.origins[key]}")
    for name in loaded.strangers:
        near = nearest(name, [variable(key) for key in loaded.origins])
        click.echo(f"# {escaped(name)} is set and is no setting{near}")
    click.echo(f"# files: {CONFIG_DIR}/gcd.toml, {CONFIG_DIR}/conf.d/*.toml")
