"""
Carrying a plan out.

The last look before any write is a plan made anew: everything is read again, the rules run again, the guards and the
mends are asked again. Only steps that both plans hold are carried out, each after a close look at it, and only for
`LOOK_NS`; then everything is looked at once more. With the engine stopped all of that time the fence is held. What
takes long, to copy files, is done before that look, in the place alone.

A step that fails or is refused never ends the run; that the whole run is refused does, and so does a release whose
outcome is not what was foretold (S10). Every step has its `Deed`.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import TYPE_CHECKING, Final, assert_never

from gcd.actions.closelook import CloseLook
from gcd.actions.fence import fence
from gcd.actions.quarantine import move
from gcd.actions.repair import prepare, repair, takes_time
from gcd.actions.taking import abandon, carried_out
from gcd.model.errors import CannotAct, GcdError
from gcd.model.facts import EngineState
from gcd.model.plan import Deed, Mend, Move, Outcome, Reason, Release
from gcd.root.dockerd import identity_of
from gcd.root.processes import PROC

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from contextlib import AbstractContextManager

    from gcd.actions.fence import Fence
    from gcd.actions.manifest import OpenEntry
    from gcd.actions.place import Place
    from gcd.model.entry import RunId
    from gcd.model.finding import FindingId
    from gcd.model.plan import Plan, Step
    from gcd.root.tree import Directory

LOOK_NS: Final = 5_000_000_000
"""How long one look at everything is good for."""

MAX_FRUITLESS: Final = 3
"""How often the door may be found open, or an engine at it, before gcd gives up: systemd tries three times as well."""


class Run:
    """
    One carrying out of a plan on the root of `place`.

    `replan` makes the plan anew; `release` has the engine release layers, and gives the deeds of those that went at one
    blow; `told` hears of every deed at once, but while the fence is held (whoever is told may take any time);
    `afterwards` of those of each look together. Both when the door is open again.
    `run_id` is written into each entry. `pulse` is called before each step, and may end the run by raising.
    """

    def __init__(
        self,
        place: Place,
        *,
        run_id: RunId,
        replan: Callable[[], Plan],
        release: Callable[[Plan, Sequence[Release]], Generator[tuple[Deed, ...]]],
        told: Callable[[Deed], None] = lambda _: None,
        afterwards: Callable[[Sequence[Deed]], None] = lambda _: None,
        pulse: Callable[[], None] = lambda: None,
        proc: str = PROC,
    ) -> None:
        self._place = place
        self._run_id = run_id
        self._replan = replan
        self._release = release
        self._told = told
        self._afterwards = afterwards
        self._pulse = pulse
        self._proc = proc
        self._pending: dict[FindingId, Step] = {}
        self._deeds: list[Deed] = []
        self._heard = 0
        self._is_shut = False
        self._prepared: dict[FindingId, tuple[OpenEntry, int]] = {}

    def apply(self, plan: Plan) -> tuple[Deed, ...]:
        """What became of each step of `plan`, in the order in which that was settled."""
        self._pending = {step.finding.id: step for step in plan.steps}
        try:
            if (plan.identity.device, plan.identity.inode) == identity_of(self._place.root.stat()):
                self._prepare()
            self._look_and_carry_out(plan)
        finally:
            # The door is open again: to remove what is large takes its time.
            for entry, _ in self._prepared.values():
                abandon(entry)
        return tuple(self._deeds)

    def _prepare(self) -> None:
        """Make what takes long to make, while no engine is kept from starting; nothing is taken yet."""
        for step in list(self._pending.values()):
            if isinstance(step, Mend) and takes_time(step):
                self._pulse()
                now_ns = time.time_ns()
                ready = prepare(self._place, step, run_id=self._run_id, now_ns=now_ns)
                if isinstance(ready, Deed):
                    self._settle(ready)
                else:
                    self._prepared[step.finding.id] = ready, now_ns

    def _look_and_carry_out(self, plan: Plan) -> None:
        fruitless = 0
        while self._pending:
            since_ns = time.time_ns()
            try:
                fresh = self._replan()
            except GcdError as error:
                self._refuse_all(Reason.RUN_REFUSED, str(error))
                break
            refusal = fresh.refusal or other_root(plan, fresh)
            if refusal:
                self._refuse_all(Reason.RUN_REFUSED, refusal)
                break
            before, settled = len(self._pending), len(self._deeds)
            trouble = self._one_look(fresh, since_ns)
            self._afterwards(self._deeds[settled:])
            fruitless = fruitless + 1 if len(self._pending) == before else 0
            if fruitless == MAX_FRUITLESS:
                self._refuse_all(Reason.ENGINE_RUNS, trouble or "nothing came of several looks at it")

    def _one_look(self, fresh: Plan, since_ns: int) -> str:
        """Carry out what can be in the time of one look; in one clause why no more could be, or ""."""
        steps = self._still_wanted(fresh)
        deadline_ns = time.monotonic_ns() + LOOK_NS
        try:
            with door(self._place.root, fresh, self._proc) as held:
                self._is_shut = held is not None
                look = CloseLook(self._place.root, fresh, since_ns, self._proc)
                for group in _grouped(steps):
                    self._pulse()
                    if held is not None:
                        held.check()
                    self._carry_out(group, fresh, look, deadline_ns)
                    if not self._pending or time.monotonic_ns() > deadline_ns:
                        break
        except CannotAct as error:
            return str(error)
        finally:
            self._is_shut = False
            self._tell()
        return ""

    def _carry_out(self, group: Sequence[Step], fresh: Plan, look: CloseLook, deadline_ns: int) -> None:
        """One move or repair, or as many of the releases in `group` as can be until the deadline."""
        releases: list[Release] = []
        for step in group:
            name = step.finding.id
            alone = look.at(step, prepared_ns=self._prepared[name][1] if name in self._prepared else None)
            if alone is not None:
                self._refuse(step, alone.reason, alone.why)
                continue
            match step:
                case Move():
                    self._settle(move(self._place, step, run_id=self._run_id, now_ns=time.time_ns()))
                case Mend() if name in self._prepared:
                    self._settle(carried_out(step, self._prepared.pop(name)[0]))
                case Mend():
                    self._settle(repair(self._place, step, run_id=self._run_id, now_ns=time.time_ns()))
                case Release():
                    releases.append(step)
                case _:
                    assert_never(step)
        if releases:
            self._have_released(releases, fresh, deadline_ns)

    def _have_released(self, steps: Sequence[Release], fresh: Plan, deadline_ns: int) -> None:
        with contextlib.closing(self._release(fresh, steps)) as blows:
            for deeds in blows:
                for deed in deeds:
                    self._settle(deed)
                if any(deed.outcome is Outcome.FAILED for deed in deeds):
                    self._refuse_all(Reason.RUN_REFUSED, f"a release did not end as foretold: {deeds[0].why}")
                if not self._pending or time.monotonic_ns() > deadline_ns:
                    break

    def _still_wanted(self, fresh: Plan) -> list[Step]:
        """The pending steps that the fresh plan holds too, in its order; the others are refused."""
        steps = [step for step in fresh.steps if is_same(step, self._pending.get(step.finding.id))]
        found = {step.finding.id for step in steps}
        alone = {left.finding.id: left for left in fresh.left_alone}
        others = {step.finding.id for step in fresh.steps}
        for name, step in list(self._pending.items()):
            if name in found:
                continue
            if name in alone:
                self._refuse(step, alone[name].reason, alone[name].why)
            elif name in others:
                self._refuse(step, Reason.CHANGED, "what would be done about it now is not what was planned")
            else:
                self._refuse(step, Reason.CHANGED, "it is not found any more")
        return steps

    def _refuse_all(self, reason: Reason, why: str) -> None:
        for step in list(self._pending.values()):
            self._refuse(step, reason, why)

    def _refuse(self, step: Step, reason: Reason, why: str) -> None:
        self._settle(Deed(step, Outcome.REFUSED, reason, why))

    def _settle(self, deed: Deed) -> None:
        del self._pending[deed.step.finding.id]
        self._deeds.append(deed)
        if not self._is_shut:
            self._tell()

    def _tell(self) -> None:
        """Tell of all that was not told yet, also where telling of one of them is interrupted."""
        news, self._heard = self._deeds[self._heard :], len(self._deeds)
        with contextlib.ExitStack() as all_of_them:
            for deed in reversed(news):
                all_of_them.callback(self._told, deed)


def _grouped(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """Each step by itself, but releases that follow one another together: the engine is asked for all of them."""
    for is_release, group in itertools.groupby(steps, lambda step: isinstance(step, Release)):
        if is_release:
            yield tuple(group)
        else:
            yield from ((step,) for step in group)


def door(root: Directory, fresh: Plan, proc: str) -> AbstractContextManager[Fence | None]:
    """What is to be held while anything is done that `fresh` holds: with the engine stopped the fence."""
    if fresh.engine.state is EngineState.STOPPED:
        return fence(root, proc)
    return contextlib.nullcontext()


def other_root(plan: Plan, fresh: Plan) -> str:
    """In one clause, that `fresh` is not about the root of `plan`; "" if it is."""
    if plan.identity == fresh.identity:
        return ""
    return "the root is another one than the plan was made for, or another engine has made it its own"


def is_same(step: Step, other: Step | None) -> bool:
    """Whether both would do the same with the same; what is told of it (bytes, words) may differ."""
    match step, other:
        case Move(), Move():
            return step.paths == other.paths
        case Mend(), Mend():
            return step.changes == other.changes
        case Release(), Release():
            return step.chain == other.chain
        case _:
            return False
