"""
The daemon as a whole: vigils one after the other, rests after errors, settings that are read again.

An error ends a vigil and never the daemon: it is counted, shown and said, and after a rest everything is set up anew.
So a root that vanishes is watched again when it is back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gcd.commands.output import keep_out
from gcd.daemon.alone import AnotherWatches
from gcd.daemon.keeping import Keeper
from gcd.daemon.pacing import Rest, Turn
from gcd.daemon.pulse import Pulse
from gcd.daemon.scrubber import Scrubber
from gcd.daemon.signals import Stopped
from gcd.daemon.vigil import Tools, Vigil
from gcd.model.errors import GcdError
from gcd.report.printable import printable
from gcd.root.discover import detect_store, find_root
from gcd.watch import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcd.daemon.alone import Alone
    from gcd.daemon.board import Board
    from gcd.daemon.signals import Flags
    from gcd.notify import Notifier
    from gcd.settings import Settings


class Daemon:
    """
    `reread` gives the settings anew, with all that follows them by itself, or raises and changes nothing; `board` is
    what others may look at.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        board: Board,
        alone: Alone,
        reread: Callable[[], Settings],
        notifier: Notifier,
        flags: Flags,
    ) -> None:
        self._settings = settings
        self._board = board
        self._alone = alone
        self._reread = reread
        self._notifier = notifier
        self._flags = flags
        self._pulse = Pulse(notifier, flags)
        self._scrubber = Scrubber()
        self._is_ready = False
        self._set_up()

    def _set_up(self) -> None:
        """What depends on the settings and outlives a vigil."""
        interval = self._settings.daemon.reconcile_interval.total_seconds()
        self._rest = Rest(interval)
        keeper = Keeper(self._settings.state_dir)
        turn = Turn(interval)
        self._tools = Tools(self._board, keeper, self._pulse, self._flags, turn, self._rest, self._scrubber)

    def run(self) -> None:
        """Until a signal ends it. Raises `AnotherWatches`."""
        log = structlog.get_logger()
        try:
            while True:
                try:
                    self._keep_vigil()
                except AnotherWatches:
                    raise
                except Exception as error:  # noqa: BLE001 - whatever it is, the daemon goes on
                    self._be_ready()  # it is up without its root, too, and says what it lacks
                    self._board.fail(error)
                    self._flags.rest(self._rest.after_an_error(), self._pulse)
                if self._flags.is_reload:
                    self._reload()
        except Stopped:
            log.info("stopped")
        finally:
            self._notifier.stopping()
            self._scrubber.end()

    def _keep_vigil(self) -> None:
        settings = self._settings
        self._pulse()
        store = detect_store(find_root(None if settings.root is None else str(settings.root)))
        path, settle = store.path, settings.daemon.settle.total_seconds()
        keep_out(path, "run", {"state_dir": str(settings.state_dir)})
        self._alone.on(settings.state_dir, path)
        self._be_ready()
        with Watcher(path, driver=store.driver, settle_seconds=settle) as watcher:
            self._flags.wake = watcher.wake
            try:
                Vigil(path, settings, watcher, self._tools).keep()
            finally:
                self._flags.wake_nobody()

    def _be_ready(self) -> None:
        """Say so, once: no other daemon watches this root."""
        if not self._is_ready:
            self._is_ready = True
            self._notifier.ready()

    def _reload(self) -> None:
        self._flags.is_reload = False
        self._notifier.reloading()
        log = structlog.get_logger()
        try:
            fresh = self._reread()
        except GcdError as error:
            log.error("settings_kept", why=printable(str(error)))  # noqa: TRY400 - its sentence says all
        except Exception as error:
            log.exception("settings_kept", why=printable(f"a fault of gcd itself, {type(error).__name__}: {error}"))
        else:
            self._settings = fresh
            self._set_up()
            log.info("settings_reloaded")
        self._notifier.ready()
