"""``gcd inspect ID``: one id, and everything that it connects to."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from gcd.commands.progress import ProgressBar
from gcd.commands.terminal import width_and_colour
from gcd.inspect.names import SHORTEST, Names
from gcd.inspect.picture import picture
from gcd.inspect.view import Disk
from gcd.model import layout
from gcd.model.errors import ExitBits, UsageError
from gcd.model.storegraph import StoreGraph
from gcd.report.inspect_json import inspect_json
from gcd.report.inspect_text import inspect_text
from gcd.report.inspect_why import why_text
from gcd.report.printable import printable
from gcd.root.discover import find_root
from gcd.root.tree import open_root
from gcd.root.usage import measure
from gcd.run import Sight, see
from gcd.settings import ReportFormat, load

if TYPE_CHECKING:
    from gcd.inspect.view import Candidate, View
    from gcd.model.inventory import Inventory

MEASURED = 256
"""Directories whose disk usage is measured: those of the subject, and those around it while they are that few."""

LISTED = 20


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--root", metavar="DIR", help="The Docker root. Without it gcd finds that of the running engine.")
@click.option(
    "--format", "form", type=click.Choice([str(form) for form in ReportFormat]), help="text (default) or json."
)
@click.option("--why", "is_why", is_flag=True, help="Say only what keeps each of its directories alive.")
def inspect(*, id_: str, root: str | None, form: str | None, is_why: bool) -> ExitBits:
    """
    Show everything that ID connects to: tags, images, layers, directories, containers, builds, mounts.

    ID is an image reference or id, a chain id, diff id, cache-id or link id, a container's id or name, the beginning of
    an id, or a path in the root. KIND:ID (layer-dir:8cbf) says which kind is meant. Reads only.
    """
    settings = load({"root": root, "format": form}).settings
    path = find_root(None if settings.root is None else str(settings.root))
    now_ns = time.time_ns()
    with ProgressBar() as progress:
        sight = see(path, now_ns=now_ns, progress=progress)
    inventory = sight.inventory
    graph = StoreGraph(inventory, inventory.engine.proof_bound(now_ns))
    asked = _one(Names(inventory, graph), id_, (inventory.root, str(Path(path).absolute())), inventory)
    view = _measured(picture(inventory, graph, sight.findings, asked))
    _show(view, settings.format, is_why=is_why)
    return _bits(sight)


def _one(names: Names, word: str, roots: tuple[str, ...], inventory: Inventory) -> Candidate:
    """What `word` means; a `UsageError` that lists what it can mean, or the nearest, if that is not one thing."""
    found = names.meant_by(word, roots, _place(word, roots))
    if len(found) == 1:
        return found[0]
    shown = printable(word)
    if found:
        rest = f"\n  … and {len(found) - LISTED} more" if len(found) > LISTED else ""
        listed = "".join(f"\n  {printable(str(c.node))}  ({c.form})" for c in found[:LISTED])
        raise UsageError(f"{shown!r} can mean {len(found)} things; say more of it, or KIND:ID:{listed}{rest}")
    hint = " or ".join(map(printable, names.nearest(word)))
    short = f"; of an id at least {SHORTEST} characters are needed" if len(word) < SHORTEST else ""
    where = f"nothing in {printable(inventory.root)} is called {shown!r}"
    raise UsageError(f"{where}{short}{f'; did you mean {hint}?' if hint else ''}")


def _place(word: str, roots: tuple[str, ...]) -> str | None:
    """`word` as a path from the working directory, relative to the root; None where it does not lead below it."""
    try:
        path = os.path.normpath(Path.cwd() / word)
    except OSError:
        return None
    below = (os.path.relpath(path, root) for root in roots if Path(path).is_relative_to(root))
    return next(below, None)


def _measured(view: View) -> View:
    """`view` with the disk usage of its directories: always those of the subject, the others while they are few."""
    there = [directory.id for directory in view.directories if directory.fact is not None]
    wanted = there if len(there) <= MEASURED else [directory for directory in there if directory in view.near]
    if not wanted:
        return view
    groups = {directory: (layout.layer_dir(directory, view.store),) for directory in wanted}
    with open_root(view.root) as root:
        usage = measure(root, groups)
    disk = {key: Disk(used.disk_bytes, used.inodes, used.unreadable > 0) for key, used in usage.items()}
    return replace(view, disk=disk)


def _show(view: View, form: ReportFormat, *, is_why: bool) -> None:
    if form is ReportFormat.JSON:
        click.echo(inspect_json(view), nl=False)
    elif is_why:
        click.echo(why_text(view), nl=False)
    else:
        width, colour = width_and_colour()
        click.echo(inspect_text(view, width=width, colour=colour), nl=False, color=colour)


def _bits(sight: Sight) -> ExitBits:
    """Findings do not count here; what was not read does, for the picture may lack what only that knows."""
    return ExitBits.NOT_DONE if sight.not_checked else ExitBits.CLEAN
