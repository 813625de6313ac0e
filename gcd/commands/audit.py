"""
The audit of commands that change a root: each act is an event in the log and a row in the state, at once.

A state that cannot be written (its disk may be the full one) stops nothing, and is said once: the entries in ``.gcd``
hold all that a restore needs.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import click
import structlog

from gcd import logs
from gcd.hooks import tell
from gcd.model.entry import RunId
from gcd.model.errors import CannotCheck
from gcd.report.history import act_object
from gcd.report.printable import printable
from gcd.settings import LogFormat
from gcd.state import open_state

if TYPE_CHECKING:
    from types import TracebackType

    from gcd.model.audit import Act
    from gcd.model.plan import Identity
    from gcd.settings import Settings
    from gcd.state import State


class Audit:
    """
    Hears of acts on the root at `path`; a context manager that closes the state, which is opened for the first act.

    `run` is the id of this run.
    """

    def __init__(self, settings: Settings, identity: Identity, path: str) -> None:
        self.run = new_run_id()
        self._settings = settings
        self._identity = identity
        self._path = path
        self._stack = contextlib.ExitStack()
        self._state: State | None = None
        self._is_kept = True
        self._acts: list[Act] = []

    def __enter__(self) -> Self:
        settings = self._settings
        is_json = settings.log_format is LogFormat.JSON or (
            settings.log_format is LogFormat.AUTO and not sys.stderr.isatty()
        )
        logs.configure(settings.log_level, json=is_json)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._state = None
        self._stack.close()
        if not isinstance(error, KeyboardInterrupt):
            self._call_hooks()

    def note(self, act: Act) -> None:
        """Log `act`, and keep it; the hook hears of it when all is done."""
        self._acts.append(act)
        log_act(act)
        if self._is_kept:
            try:
                self._open_state().record_acts(self._identity, self._path, [act])
            except (CannotCheck, sqlite3.Error) as error:
                self._is_kept = False
                click.echo(f"gcd: history does not keep this run: {printable(str(error))}", err=True)

    def _call_hooks(self) -> None:
        hooks = self._settings.hooks
        events = ({"event": "action", "root": printable(self._path), **act_object(act)} for act in self._acts)
        if why := tell(hooks.on_action, events, seconds=hooks.timeout.total_seconds()):
            click.echo(f"gcd: hooks.on_action: {printable(why)}", err=True)

    def _open_state(self) -> State:
        if self._state is None:
            self._state = self._stack.enter_context(open_state(self._settings.state_dir))
        return self._state


def log_act(act: Act) -> None:
    structlog.get_logger().info(
        f"{act.kind}_{act.outcome}",
        run=act.run,
        finding=printable(act.finding),
        **({"entry": act.entry} if act.entry else {}),
        **({"reason": act.reason, "why": printable(act.why)} if act.reason else {}),
        **({"disk_bytes": act.disk_bytes} if act.disk_bytes else {}),
    )


def new_run_id() -> RunId:
    """When the run began, in UTC, and six hex digits."""
    return RunId(f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}")
