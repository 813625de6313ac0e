"""``gcd run``: watch a root, serve its figures, and carry out the policy where the settings say so."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from gcd import logs
from gcd.commands.check import level
from gcd.commands.codes import selected
from gcd.commands.output import keep_out
from gcd.commands.wishes import policy_of
from gcd.daemon import gentle
from gcd.daemon.alone import Alone
from gcd.daemon.board import Board
from gcd.daemon.loop import Daemon
from gcd.daemon.serving import Serving
from gcd.daemon.signals import Flags, setting
from gcd.model.errors import ExitBits
from gcd.notify import Notifier
from gcd.root.discover import find_root
from gcd.settings import DEFAULT, LogFormat, LogLevel, load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gcd.settings import Settings


@click.command()
@click.option("--root", metavar="DIR", help="The Docker root. Without it gcd finds that of the running engine.")
@click.option(
    "--web.listen-address", "listen_address", metavar="HOST:PORT", help="Where to serve metrics (127.0.0.1:9871)."
)
@click.option("-v", "--verbose", count=True, help="Log more to stderr.")
@click.option("-q", "--quiet", is_flag=True, help="Log errors only.")
def run(*, root: str | None, listen_address: str | None, verbose: int, quiet: bool) -> ExitBits:
    """
    Watch a Docker root and keep its figures up to date; with daemon.act carry out the policy, too.

    Runs in the foreground, as services do. SIGHUP reads the settings again, SIGTERM ends it.
    """
    web = {} if listen_address is None else {"web": {"listen_address": listen_address}}
    said = {"root": root, "log_level": level(2 * verbose, quiet=quiet), **web}
    settings = settings_of(said)
    path = find_root(None if settings.root is None else str(settings.root))
    keep_out(path, "run", {"state_dir": str(settings.state_dir)})
    log_as(settings)
    with Notifier.of_environment() as notifier, Flags() as flags, setting(flags), Alone() as alone:
        board = Board(notifier)
        with Serving(board) as serving:
            serving.follow(settings)
            gentle.be_gentle()

            def reread() -> Settings:
                fresh = settings_of(said)
                serving.follow(fresh)
                log_as(fresh)
                return fresh

            Daemon(settings, board=board, alone=alone, reread=reread, notifier=notifier, flags=flags).run()
    return ExitBits.CLEAN


def settings_of(said: Mapping[str, Any]) -> Settings:
    """The settings in force; a `UsageError` for those that nobody could follow. A daemon logs what it does."""
    loaded = load(said)
    settings = loaded.settings
    selected(settings.only, settings.skip)
    policy_of(settings)
    if loaded.origins["log_level"] == DEFAULT:
        settings = replace(settings, log_level=LogLevel.INFO)
    return settings


def log_as(settings: Settings) -> None:
    is_json = settings.log_format is LogFormat.JSON or (
        settings.log_format is LogFormat.AUTO and not sys.stderr.isatty()
    )
    logs.configure(settings.log_level, json=is_json)
