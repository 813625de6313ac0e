"""``gcd df``: whose every byte of a Docker root is."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from gcd.commands.output import keep_out, write
from gcd.model.errors import ExitBits
from gcd.root.discover import detect_store, find_root
from gcd.root.tree import open_root
from gcd.root.walk import begin_walk

if TYPE_CHECKING:
    from gcd.model.space import DiskUsage
    from gcd.root.discover import Store
    from gcd.root.walk import Walk
    from gcd.settings import Settings

FORMATS = ("text", "json")


@click.command()
@click.option("--root", metavar="DIR", help="The Docker root. Without it gcd finds that of the running engine.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="text (default) or json.")
@click.option("--output", metavar="FILE", help="Write the report to FILE, not to stdout.")
def df(*, root: str | None, form: str | None, output: str | None) -> ExitBits:
    """
    Say what every byte of a Docker root is for, and why docker system df says otherwise.

    Reads only. Counts what the disk holds, as du -x does. Run it as root on the host, engine running or stopped.
    """
    with ExitStack() as stack:
        # The walk takes longest: where it can, it begins before what comes after is even imported.
        begun = None if root is None else _begun(stack, root)
        if root is None or form is None:
            settings = _settings(root, form)
            form = str(settings.format)
            root = None if settings.root is None else str(settings.root)
        store, walk = begun or _begun(stack, find_root(root))
        keep_out(store.path, "df", {"--output": output})
        usage = _usage(store, walk)
    _deliver(usage, is_json=form == "json", output=output)
    return ExitBits.CLEAN if usage.is_complete else ExitBits.NOT_DONE


def _settings(root: str | None, form: str | None) -> Settings:
    from gcd.settings import load  # noqa: PLC0415

    return load({"root": root, "format": form}).settings


def _begun(stack: ExitStack, path: str) -> tuple[Store, Walk]:
    store = detect_store(path)
    directory = stack.enter_context(open_root(store.path))
    return store, stack.enter_context(begin_walk(directory, store.driver))


def _usage(store: Store, walk: Walk) -> DiskUsage:
    from gcd.commands.progress import ProgressBar  # noqa: PLC0415
    from gcd.diskusage import finished  # noqa: PLC0415

    with ProgressBar() as progress:
        return finished(store, walk, now_ns=time.time_ns(), progress=progress)


def _deliver(usage: DiskUsage, *, is_json: bool, output: str | None) -> None:
    if is_json:
        from gcd.report.df_json import df_json  # noqa: PLC0415

        report = df_json(usage)
    else:
        from gcd.report.df_text import df_text  # noqa: PLC0415

        report = df_text(usage)
    if output is None:
        click.echo(report, nl=False)
    else:
        write(output, report)
