"""
A vigil: one root under watch, from its first full look until the settings change or something fails. Each
time around it looks at what changed, heeds what it saw, and shows it.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct
from structlog.contextvars import bound_contextvars

from gcd.commands.audit import new_run_id
from gcd.commands.codes import selected
from gcd.daemon.board import Look
from gcd.daemon.doing import Doer
from gcd.daemon.holdings import Holdings
from gcd.daemon.keeping import Ledger, tell_of_findings
from gcd.daemon.pacing import ClockWatch, Doubt, Patience, Schedule, boot_seconds
from gcd.daemon.telling import Chronicle, why_of
from gcd.model import layout
from gcd.model.changed import EVERYTHING, NOTHING
from gcd.model.errors import CannotAct
from gcd.model.facts import EngineState
from gcd.model.published import Scope
from gcd.model.reading import value_of
from gcd.planning import identity_of
from gcd.recheck import Recheck
from gcd.report.printable import printable
from gcd.root.engine import is_locked
from gcd.root.processes import PROC, Process
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from gcd.daemon.board import Board
    from gcd.daemon.keeping import Keeper
    from gcd.daemon.pacing import Rest, Turn
    from gcd.daemon.pulse import Pulse
    from gcd.daemon.scrubber import Scrubber
    from gcd.daemon.signals import Flags
    from gcd.model.changed import Changed
    from gcd.model.entry import RunId
    from gcd.model.published import Point, Scrubbing
    from gcd.model.result import RunResult
    from gcd.settings import Settings
    from gcd.watch import Watcher


class Tools(Struct, frozen=True):
    """What a vigil works with, and what outlives it."""

    board: Board
    keeper: Keeper
    pulse: Pulse
    flags: Flags
    turn: Turn
    rest: Rest
    scrubber: Scrubber


class Vigil:
    """The root at `path`, whose symlinks are resolved, under `watcher`."""

    def __init__(self, path: str, settings: Settings, watcher: Watcher, tools: Tools) -> None:
        self._path = path
        self._settings = settings
        self._watcher = watcher
        self._tools = tools
        self._codes = selected(settings.only, settings.skip)
        self._recheck = Recheck(path, codes=self._codes, acceptances=settings.acceptances, progress=tools.pulse)
        self._schedule = Schedule(settings.daemon.reconcile_interval.total_seconds())
        self._doer = Doer(settings, path, tools.pulse)
        self._identity = identity_of(path)
        tools.scrubber.on(path, self._identity, settings, time.time_ns())
        self._chronicle = Chronicle(tools.keeper.known(self._identity))
        self._holdings = Holdings(path, settings.quarantine.retention)
        self._patience = Patience()
        self._doubt = Doubt()
        self._doubted_until = float("inf")
        self._pid: int | None = None
        self._sign: tuple[object, ...] = ()
        self._clock = ClockWatch.begin()
        self._history: tuple[Point, ...] = ()
        self._unsettled = ""
        self._is_settled = False
        self._counted = (0, 0)

    def keep(self) -> None:
        """
        Comes back when the settings are to be read again, or another root is in the place of this one. Raises
        `Stopped`, and whatever keeps the root from being read.
        """
        log = structlog.get_logger()
        log.info("watching", root=printable(self._path), act=self._settings.daemon.act and self._doer.has_verbs)
        if self._settings.daemon.act:
            with suppress(Exception):  # `_act` tries again, and says why
                self._settle()
        changed = EVERYTHING
        while True:
            run = new_run_id()
            with bound_contextvars(run=run):
                if not self._look(changed):
                    return
                if changed.everything and self._settings.daemon.act:
                    self._act(run)
            self._tools.rest.all_is_well()
            self._tools.board.all_is_well()
            changed = self._wait()
            if self._tools.flags.is_reload or (changed.everything and not self._is_here()):
                return

    def _is_here(self) -> bool:
        """Whether the root is still the one that this vigil began with."""
        return identity_of(self._path) == self._identity

    def _look(self, changed: Changed) -> bool:
        """
        One look, and all that follows from it but acts; False where another root is in the place of this one: of what
        was read nothing follows then.
        """
        tools = self._tools
        before = self._sign_of_the_engine(None)
        began = time.monotonic()
        if changed.everything:
            result = self._recheck.full(time.time_ns())
        else:
            result = self._recheck.refresh(changed, time.time_ns())
        scope = Scope.FULL if self._recheck.was_full else Scope.INCREMENTAL
        took = time.monotonic() - began
        if not self._is_here():
            return False
        if scope is Scope.FULL:
            self._schedule.looked(took)
            self._doubted_until = boot_seconds() + self._doubt.wait_for(result.engine.doubts)
            is_same = before == self._sign_of_the_engine(None)
            self._pid = result.engine.pid
            self._sign = self._sign_of_the_engine(self._pid) if is_same else ()
        sight = self._recheck.sight
        assert sight is not None
        self._heed(result, scope)
        self._count()
        tools.board.show(
            Look(result, scope, took),
            reclaimable_bytes=self._doer.reclaimable_bytes(sight, result),
            holding=self._holdings.taken(sight.inventory.quarantine, tools.pulse),
            history=self._history,
            is_watching=self._watcher.is_watching,
            trouble=self._refusal or tools.keeper.trouble,
            scrubbing=self._scrubbing(is_anew=scope is Scope.FULL),
        )
        return True

    def _heed(self, result: RunResult, scope: Scope) -> None:
        """Tell of what came and went in `result`, and keep it; an incremental look without news is not kept."""
        tools = self._tools
        ran = self._codes - {lack.code for lack in result.not_checked}
        news = self._chronicle.hear(result, ran)
        if scope is Scope.FULL or news:
            self._history = tools.keeper.keep(self._identity, result, ran) or self._history
        tell_of_findings(self._settings.hooks, result.root, news.new, tools.pulse)

    def _settle(self) -> bool:
        """Settle what was cut short; whether there was anything. Raises `CannotAct`: then nothing else may be done."""
        has_settled = self._doer.settle(self._identity, self._tools.keeper)
        self._is_settled = True
        return has_settled

    def _act(self, run: RunId) -> None:
        """
        Carry out the policy if it is time, and all that was cut short is settled; look again if anything came of it.
        What keeps gcd from acting keeps it from nothing else: it is shown until it is tried again.
        """
        tools = self._tools
        turn, counts = tools.turn, tools.board.counts
        ledger = Ledger(run, self._identity, self._path, tools.keeper, counts)
        before, why, fault = self._refusal, "", None
        has_settled = is_turn = False
        try:
            if not self._is_settled:
                has_settled = self._settle()
            is_turn = self._doer.has_verbs and turn.comes()
            if is_turn:
                why = self._doer.act(ledger)
        except Exception as error:  # noqa: BLE001 - whatever it is, the root can be looked at
            self._is_settled = False
            counts.failures += not isinstance(error, CannotAct)
            why, fault = why_of(error)
        refusal = f"nothing{' more' if ledger.acts else ''} is done: {why}" if why else ""
        if is_turn:
            turn.refusal = refusal
        self._unsettled = "" if is_turn else refusal
        if why:
            counts.refused()
        if self._refusal == before and not (ledger.acts or has_settled):
            return
        if why and self._refusal != before:
            structlog.get_logger().warning("run_refused", why=printable(why), exc_info=fault)
        self._look(EVERYTHING)

    @property
    def _refusal(self) -> str:
        """Why nothing is done, or nothing more, as long as it was not tried again; else ""."""
        return self._unsettled or self._tools.turn.refusal

    def _wait(self) -> Changed:
        """What to look at next; NOTHING when the settings are to be read again."""
        young = self._recheck.young
        ready = boot_seconds() + self._patience.wait_for(young) if young else float("inf")
        while True:
            self._tools.pulse()
            left = self._schedule.seconds_left(is_watching=self._watcher.is_watching)
            if self._tools.flags.is_reload:
                return NOTHING
            if left == 0:
                return EVERYTHING
            self._tend_scrubs()
            until_ready = max(0.0, ready - boot_seconds())
            until_sure = max(0.0, self._doubted_until - boot_seconds())
            changed = self._watcher.take(min(left, until_ready, until_sure, self._tools.pulse.longest_wait))
            self._count()
            if changed:
                return changed | young
            if boot_seconds() >= ready:
                return young
            if boot_seconds() >= self._doubted_until or self._is_another_time():
                return EVERYTHING

    def _tend_scrubs(self) -> None:
        assert self._recheck.sight is not None
        is_stopped = self._recheck.sight.inventory.engine.state is EngineState.STOPPED
        if self._tools.scrubber.tend(is_engine_stopped=is_stopped):
            self._tools.board.scrub(self._scrubbing(is_anew=False))

    def _scrubbing(self, *, is_anew: bool) -> Scrubbing:
        """What scrubs know of the layers that the last look saw."""
        scrubber, sight = self._tools.scrubber, self._recheck.sight
        assert sight is not None
        found = scrubber.scrubbing(sight.inventory.layers, time.time_ns(), is_anew=is_anew)
        self._tools.board.counts.scrubbed_bytes = scrubber.register.read_bytes
        return found

    def _is_another_time(self) -> bool:
        """Whether the engine was started or stopped, the root replaced, or the clock set, since the last full look."""
        if self._clock.was_set():
            structlog.get_logger().warning("clock_set")
            return True
        return self._sign_of_the_engine(self._pid) != self._sign

    def _sign_of_the_engine(self, pid: int | None) -> tuple[object, ...]:
        """What is other once the root was replaced, or the engine of `pid` ended, or another one began."""
        with open_root(self._path) as root:
            here, tmp = root.stat(), value_of(root.lstat(layout.TMP))
            start_ns = Process(PROC, pid).start_ns() if pid is not None else None
            return here.st_dev, here.st_ino, is_locked(root), start_ns, tmp.st_ino if tmp is not None else None

    def _count(self) -> None:
        """Add what the watcher counted since it was last asked, and show it if nothing else is shown."""
        board, watcher = self._tools.board, self._watcher
        counted = (watcher.events, watcher.overflows)
        board.counts.watch_events += counted[0] - self._counted[0]
        board.counts.watch_overflows += counted[1] - self._counted[1]
        self._counted = counted
        board.watch(is_watching=watcher.is_watching)
