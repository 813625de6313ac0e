"""Plans made and carried out on a root that an engine keeps, and undone, as the commands do it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace
from support.scenes import HOURS_AHEAD

from gcd import planning
from gcd.actions.apply import Run
from gcd.actions.fence import fence
from gcd.actions.place import open_place
from gcd.actions.recover import recover
from gcd.actions.release import release
from gcd.actions.restore import restore
from gcd.commands.listing import listed
from gcd.model.entry import EntryId, RunId
from gcd.model.facts import EngineState
from gcd.model.finding import Code, Confidence, FindingId, Kind, RemedyKind
from gcd.model.plan import Outcome
from gcd.planning import Wish
from gcd.policy.policy import DAY_NS, History, Policy, Selection, Verb
from gcd.root.discover import detect_store
from gcd.root.engine import read_engine
from gcd.root.tree import open_root
from gcd.run import reader

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

    from gcd.model.entry import EntryDeed
    from gcd.model.facts import Listed
    from gcd.model.plan import Deed, Plan, Release


class _Always(Mapping[FindingId, int]):
    """Says of every finding that it has been seen for two days."""

    def __getitem__(self, _name: FindingId) -> int:
        return 2 * DAY_NS

    def __iter__(self) -> Iterator[FindingId]:
        return iter(())

    def __len__(self) -> int:
        return 0


GREEDY = Wish(
    policy=Policy(
        kinds=dict.fromkeys(Kind, (Verb.REPAIR, Verb.RELEASE, Verb.QUARANTINE)),
        min_confidence=Confidence.SUSPECTED,
        grace_ns=0,
    ),
    history=History(seen_ns=_Always()),
    allow_empty=True,
)
"""The most that a policy of kinds can ask for, of somebody whose patience is over."""

PROVEN_ORPHANS = Wish(policy=Policy(kinds={Kind.ORPHAN: (Verb.QUARANTINE,)}))
"""What automatic quarantine does: orphans that are proven, as far as the engine lets them be moved."""


def by_name(kind: RemedyKind, *words: str) -> Wish:
    """What ``gcd repair``, ``gcd release`` and ``gcd quarantine`` ask for."""
    ids = frozenset(FindingId(word) for word in words if ":" in word)
    codes = frozenset(Code(word) for word in words if ":" not in word)
    return Wish(selection=Selection(kind, codes, ids))


class Acting:
    """
    gcd at work on the root at `path`. With `ahead` it is two hours later, so that with the engine stopped all that is
    there has settled.
    """

    def __init__(self, path: Path, *, ahead: bool = False, socket: str = "") -> None:
        self.path = path
        self._ahead_ns = HOURS_AHEAD if ahead else 0
        self._socket = socket

    def plan(self, wish: Wish) -> Plan:
        asked = replace(wish, listing=self._listing)
        return planning.plan(str(self.path), now_ns=self._now_ns(), wish=asked)[1]

    def carry_out(self, wish: Wish, plan: Plan | None = None) -> tuple[Deed, ...]:
        plan = self.plan(wish) if plan is None else plan
        with open_root(str(self.path)) as root, open_place(root, create=True) as place:
            recover(place)
            run = Run(place, run_id=RunId("run-1"), replan=lambda: self.plan(wish), release=self._release)
            return run.apply(plan)

    def restore(self, entries: Iterable[str]) -> tuple[EntryDeed, ...]:
        with open_root(str(self.path)) as root, open_place(root, create=False) as place:
            engine = read_engine(root).state
            with fence(root) if engine is EngineState.STOPPED else contextlib.nullcontext():
                return tuple(restore(place, map(EntryId, entries), engine=engine))

    def _now_ns(self) -> int:
        return time.time_ns() + self._ahead_ns

    def _listing(self) -> Listed | None:
        return listed(str(self.path), self._socket)

    def _release(self, fresh: Plan, steps: Sequence[Release]) -> Generator[tuple[Deed, ...], None, None]:
        read = reader(detect_store(str(self.path)), now_ns=self._now_ns())
        with open_root(str(self.path)) as root:
            yield from release(root, fresh.engine, steps, read=read, now_ns=self._now_ns(), socket=self._socket)


def not_done(deeds: Iterable[Deed]) -> list[str]:
    """One line for each deed that was not done."""
    return [
        f"{deed.step.finding.id} {deed.outcome} {deed.reason}: {deed.why}"
        for deed in deeds
        if deed.outcome is not Outcome.DONE
    ]


def alone(plan: Plan) -> list[str]:
    """One line for each finding that the plan leaves alone, and for its refusal."""
    lines = [f"{left.finding.id} {left.reason}: {left.why}" for left in plan.left_alone]
    return [*lines, *([f"refused: {plan.refusal}"] if plan.refusal else [])]
