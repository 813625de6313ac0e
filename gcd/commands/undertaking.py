"""
One undertaking: a root, what is wanted of it, and the ways to plan that and to carry it out.

While the engine runs its API is asked before and after each reading what it has (S2): without an answer nothing is
planned and nothing is done.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from msgspec.structs import replace

from gcd import planning
from gcd.actions.apply import Run
from gcd.actions.fence import fence
from gcd.actions.place import open_place
from gcd.actions.purge import purge
from gcd.actions.recover import recover, recover_ahead
from gcd.actions.release import finish, release
from gcd.actions.room import make_room
from gcd.actions.usedplans import mark_used
from gcd.commands.listing import listed
from gcd.model.audit import Act, ActKind, act_of
from gcd.model.entry import EntryId, EntryState
from gcd.model.facts import EngineState
from gcd.model.plan import Outcome
from gcd.root.engine import read_engine
from gcd.root.tree import open_root
from gcd.run import reader

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from gcd.actions.engineapi import Impatience
    from gcd.actions.place import Place
    from gcd.actions.recover import Recovered
    from gcd.model.entry import EntryDeed, RunId
    from gcd.model.facts import Engine
    from gcd.model.inventory import Inventory
    from gcd.model.plan import Deed, Move, Plan, Release
    from gcd.model.result import RunResult
    from gcd.planning import Wish
    from gcd.root.discover import Store
    from gcd.root.progress import Progress
    from gcd.root.tree import Directory


class Audit(Protocol):
    """Whoever keeps what was done: each act is noted at once, and bears the id of the run."""

    @property
    def run(self) -> RunId: ...

    def note(self, act: Act, /) -> None: ...


class Undertaking(Struct, frozen=True):
    """
    `socket` is that of the engine's API where the user names it, else ""; `progress` hears of every reading;
    `impatience` is that of whoever cannot wait for an engine that hangs.
    """

    store: Store
    wish: Wish
    socket: str = ""
    progress: Progress | None = None
    impatience: Impatience | None = None

    def plan(self, progress: Progress | None = None) -> tuple[RunResult, Plan]:
        """What would be done now. Raises `CannotCheck`, and `CannotAct` where the engine runs and does not answer."""
        wish = replace(self.wish, listing=lambda: listed(self.store.path, self.socket, self.impatience))
        told = progress or self.progress
        return planning.plan(self.store.path, now_ns=time.time_ns(), wish=wish, progress=told)

    def finish_releases(self, audit: Audit, told: Callable[[Deed], None]) -> None:
        """Have the running engine remove what a release that was cut short left in it, where the wish allows that."""
        with open_root(self.store.path) as root:
            engine = read_engine(root)
            if engine.state is EngineState.RUNNING:
                now_ns = time.time_ns()
                objection = partial(planning.objection, wish=self.wish, now_ns=now_ns)
                blows = finish(
                    root,
                    engine,
                    read=self._reader(),
                    objection=objection,
                    now_ns=now_ns,
                    socket=self.socket,
                    impatience=self.impatience,
                )
                for deed in (deed for deeds in blows for deed in deeds):
                    _note(deed, audit, told)

    def carry_out(
        self,
        plan: Plan,
        audit: Audit,
        told: Callable[[Deed], None],
        recovered: Callable[[Recovered], None],
        purged: Callable[[EntryDeed], None],
        *,
        pulse: Callable[[], None] = lambda: None,
        digest: str = "",
        is_purged: bool = False,
    ) -> tuple[Deed, ...]:
        """
        Carry out what `plan` and each plan made anew agree upon.

        `told` hears of each deed, `recovered` of what an earlier run had left open, `purged` of each entry that was
        deleted: with `is_purged` that is what was moved. `pulse` is called before each step. `digest` is that of a
        saved plan, which is carried out once. Raises `CannotAct` where nothing can be begun.
        """
        with open_root(self.store.path) as root, open_place(root, create=True, driver=self.store.driver) as place:
            for item in settled(place):
                recovered(item)
            if digest:
                mark_used(place, digest)
            run = Run(
                place,
                run_id=audit.run,
                replan=lambda: self.plan()[1],
                release=lambda fresh, steps: self._releases(root, fresh.engine, steps),
                told=lambda deed: _note(deed, audit, told),
                pulse=pulse,
                afterwards=lambda deeds: _purge(place, deeds, audit, purged) if is_purged else None,
            )
            return run.apply(plan)

    def make_room(self, plan: Plan, audit: Audit, told: Callable[[Move, int], None]) -> None:
        """
        On a disk without room for what carrying out `plan` writes, where all that it moves is to be deleted: empty some
        of that. `told` hears of each step and how many bytes it gave. Raises `CannotAct` and `CannotCheck`.
        """
        with open_root(self.store.path) as root:
            for step, disk_bytes in make_room(root, plan, lambda: self.plan()[1], self.store.driver):
                audit.note(
                    Act(audit.run, time.time_ns(), ActKind.PURGE, step.finding.id, Outcome.DONE, disk_bytes=disk_bytes)
                )
                told(step, disk_bytes)

    def _releases(
        self, root: Directory, engine: Engine, steps: Sequence[Release]
    ) -> Generator[tuple[Deed, ...], None, None]:
        yield from release(
            root,
            engine,
            steps,
            read=self._reader(),
            now_ns=time.time_ns(),
            socket=self.socket,
            impatience=self.impatience,
        )

    def _reader(self) -> Callable[[], Inventory]:
        return reader(self.store, now_ns=time.time_ns(), progress=self.progress)


def settled(place: Place) -> tuple[Recovered, ...]:
    """Finish or undo what an earlier run left open; what is taken with the door held shut if the engine is stopped."""
    discarded = recover_ahead(place)
    if not place.state(EntryState.OPEN).list().entries:
        return discarded
    engine = read_engine(place.root).state
    with fence(place.root) if engine is EngineState.STOPPED else contextlib.nullcontext():
        return discarded + recover(place, engine=engine)


def _purge(place: Place, deeds: Sequence[Deed], audit: Audit, purged: Callable[[EntryDeed], None]) -> None:
    """Delete what `deeds` have moved."""
    moved = {EntryId(deed.entry): deed for deed in deeds if deed.outcome is Outcome.DONE and deed.entry}
    for gone in purge(place, moved):
        moment_ns, finding = time.time_ns(), moved[gone.entry].step.finding.id
        done = gone.disk_bytes if gone.outcome is Outcome.DONE else 0
        audit.note(
            Act(audit.run, moment_ns, ActKind.PURGE, finding, gone.outcome, gone.reason, gone.why, gone.entry, done)
        )
        purged(gone)


def _note(deed: Deed, audit: Audit, told: Callable[[Deed], None]) -> None:
    audit.note(act_of(deed, audit.run, time.time_ns()))
    told(deed)
