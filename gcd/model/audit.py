"""The audit: what was done to a root and what was refused, one `Act` each, as it is logged and kept."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct

from gcd.model.plan import Mend, Move, Outcome, Reason, Release

if TYPE_CHECKING:
    from gcd.model.entry import RunId
    from gcd.model.plan import Deed, Step


class ActKind(StrEnum):
    REPAIR = "repair"
    RELEASE = "release"
    QUARANTINE = "quarantine"
    RESTORE = "restore"
    PURGE = "purge"


class Act(Struct, frozen=True):
    """
    One thing that a run did or was refused.

    `at_ns` is by the wall clock. `finding` is a finding's id, `entry` that of the quarantine's entry or "".
    `disk_bytes` are those that were moved, released, put back or purged; 0 where nothing was done.
    """

    run: RunId
    at_ns: int
    kind: ActKind
    finding: str
    outcome: Outcome
    reason: Reason | None = None
    why: str = ""
    entry: str = ""
    disk_bytes: int = 0


def kind_of(step: Step) -> ActKind:
    match step:
        case Mend():
            return ActKind.REPAIR
        case Release():
            return ActKind.RELEASE
        case Move():
            return ActKind.QUARANTINE
        case _:
            assert_never(step)


def act_of(deed: Deed, run: RunId, at_ns: int) -> Act:
    """What history keeps of `deed`, which the run `run` did."""
    return Act(
        run=run,
        at_ns=at_ns,
        kind=kind_of(deed.step),
        finding=deed.step.finding.id,
        outcome=deed.outcome,
        reason=deed.reason,
        why=deed.why,
        entry=deed.entry,
        disk_bytes=deed.disk_bytes if deed.outcome is Outcome.DONE else 0,
    )
