"""
``gcd df``: whose every byte of a Docker root is.

The walk takes longest. Where the user names the root it begins at once, before what comes after is even imported: on
the guess that the live store lies there and not in a sub-root. If that is wrong it begins anew.
"""

from __future__ import annotations

import gc
import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from gcd.model.errors import ExitBits
from gcd.root.walk import begin_walk

if TYPE_CHECKING:
    from collections.abc import Callable

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
        _collect_no_cycles(stack)
        guess = None if root is None else _guess(stack, root)
        if not root or form is None:
            settings = _settings(root, form)
            form = str(settings.format)
            root = None if settings.root is None else str(settings.root)
        report_of = _report_of(form)
        usage = _usage(stack, root, guess, output)
    _deliver(report_of(usage), output)
    return ExitBits.CLEAN if usage.is_complete else ExitBits.NOT_DONE


def _collect_no_cycles(stack: ExitStack) -> None:
    """What is read of a root has none, and stays until the end: looking for them takes time and frees nothing."""
    if gc.isenabled():
        gc.disable()
        stack.callback(gc.enable)


def _settings(root: str | None, form: str | None) -> Settings:
    from gcd.settings import load  # noqa: PLC0415

    return load({"root": root, "format": form}).settings


def _guess(stack: ExitStack, path: str) -> tuple[int, Walk] | None:
    """The directory at `path` and a walk over it; None if it cannot be opened, which `detect_store` says better."""
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    stack.callback(os.close, directory)
    return directory, stack.enter_context(begin_walk(directory))


def _usage(stack: ExitStack, root: str | None, guess: tuple[int, Walk] | None, output: str | None) -> DiskUsage:
    from gcd.commands.output import keep_out  # noqa: PLC0415
    from gcd.commands.progress import ProgressBar  # noqa: PLC0415
    from gcd.diskusage import disk_usage  # noqa: PLC0415
    from gcd.root.discover import detect_store, find_root  # noqa: PLC0415

    store = detect_store(find_root(root))
    keep_out(store.path, "df", {"--output": output})
    walk = _confirmed(stack, store, guess)
    with ProgressBar() as progress:
        return disk_usage(store, walk, now_ns=time.time_ns(), progress=progress)


def _confirmed(stack: ExitStack, store: Store, guess: tuple[int, Walk] | None) -> Walk:
    """The walk over `store`: the one that was begun, if it is there, else a new one."""
    from gcd.root.tree import open_root  # noqa: PLC0415

    directory = stack.enter_context(open_root(store.path))
    if guess is not None:
        guessed, walk = guess
        if os.path.samestat(os.fstat(guessed), directory.stat()):
            return walk
        walk.close()
    return stack.enter_context(begin_walk(directory.fd, store.driver))


def _report_of(form: str) -> Callable[[DiskUsage], str]:
    """How the report is written; imported before there is anything to report, while others walk."""
    if form == "json":
        from gcd.report.df_json import df_json  # noqa: PLC0415

        return df_json
    from gcd.report.df_text import df_text  # noqa: PLC0415

    return df_text


def _deliver(report: str, output: str | None) -> None:
    if output is None:
        click.echo(report, nl=False)
    else:
        from gcd.commands.output import write  # noqa: PLC0415

        write(output, report)
