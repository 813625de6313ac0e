"""
What outlives the daemon: sightings and figures, the acts, and the hooks that hear of them.

A state that cannot be written (its disk may be the full one) takes nothing from the rest: it is said once, and once
more when it can be written again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gcd.commands.audit import log_act
from gcd.commands.record import boot_time
from gcd.hooks import tell
from gcd.model.errors import CannotCheck
from gcd.report.history import act_object
from gcd.report.json import finding_object
from gcd.report.printable import printable
from gcd.state import DAY_NS, open_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path
    from typing import TypeVar

    from gcd.daemon.tally import Counts
    from gcd.model.audit import Act
    from gcd.model.entry import RunId
    from gcd.model.finding import Code, Finding
    from gcd.model.plan import Identity
    from gcd.model.published import Point
    from gcd.model.result import RunResult
    from gcd.settings.tables import HooksTable
    from gcd.state import State

    T = TypeVar("T")

HOURS_SHOWN = 720
"""The history that is published: one figure for each of the last so many hours with any, a month as a rule."""


class Keeper:
    """The state in `directory`. `trouble` is one sentence while it cannot be written, else ""."""

    def __init__(self, directory: Path) -> None:
        self.trouble = ""
        self._directory = directory
        self._forgot_ns = 0

    def known(self, identity: Identity) -> frozenset[str]:
        """The ids of the findings that were there when something was last kept, as the state writes them."""
        return self._with(lambda state: frozenset(s.finding for s in state.sightings(identity)), frozenset())

    def entries_told(self, identity: Identity) -> frozenset[str] | None:
        """The entries of the quarantine that acts tell of; None where that cannot be known."""
        return self._with(lambda state: state.entries_told(identity), None)

    def keep(self, identity: Identity, result: RunResult, ran: AbstractSet[Code]) -> tuple[Point, ...]:
        """Keep `result`, in which the rules of `ran` looked; the history with it, as far as it can be read."""

        def work(state: State) -> tuple[Point, ...]:
            state.record(identity, result, boot_time(), ran)
            if abs(result.checked_ns - self._forgot_ns) > DAY_NS:
                state.forget(result.checked_ns)
                self._forgot_ns = result.checked_ns
            return state.history(identity, most=HOURS_SHOWN)

        return self._with(work, ())

    def keep_acts(self, identity: Identity, root: str, acts: Sequence[Act]) -> None:
        self._with(lambda state: state.record_acts(identity, root, acts), None)

    def _with(self, work: Callable[[State], T], otherwise: T) -> T:
        try:
            with open_state(self._directory) as state:
                done = work(state)
        except CannotCheck as error:
            if not self.trouble:
                structlog.get_logger().warning("state_not_kept", why=printable(str(error)))
            self.trouble = f"history is not kept: {error}"
            return otherwise
        if self.trouble:
            structlog.get_logger().info("state_kept_again")
            self.trouble = ""
        return done


class Ledger:
    """
    Hears of the acts of one run on `root`: each one is logged, counted and kept at once. `call_hooks` afterwards, when
    no lock is held.
    """

    def __init__(self, run: RunId, identity: Identity, root: str, keeper: Keeper, counts: Counts) -> None:
        self.run = run
        self._identity = identity
        self._root = root
        self._keeper = keeper
        self._counts = counts
        self.acts: list[Act] = []

    def note(self, act: Act) -> None:
        self.acts.append(act)
        log_act(act)
        self._counts.acted(act)
        self._keeper.keep_acts(self._identity, self._root, [act])

    def call_hooks(self, hooks: HooksTable, pulse: Callable[[], None]) -> None:
        events = ({"event": "action", "root": printable(self._root), **act_object(act)} for act in self.acts)
        _call("on_action", hooks.on_action, events, hooks, pulse)


def tell_of_findings(hooks: HooksTable, root: str, findings: Iterable[Finding], pulse: Callable[[], None]) -> None:
    events = ({"event": "finding", "root": printable(root), "finding": finding_object(f)} for f in findings)
    _call("on_finding", hooks.on_finding, events, hooks, pulse)


def _call(
    name: str,
    command: Sequence[str],
    events: Iterable[Mapping[str, object]],
    hooks: HooksTable,
    pulse: Callable[[], None],
) -> None:
    def beating() -> Iterator[Mapping[str, object]]:
        for event in events:
            pulse()
            yield event

    if why := tell(command, beating(), seconds=hooks.timeout.total_seconds()):
        structlog.get_logger().warning("hook_failed", hook=name, why=printable(why))
