"""
The decision: which step is taken about each finding, or why it is left alone. Pure.

Findings are judged in the order in which things would be done, so that each one knows what was planned before it. Of a
leaked chain the engine deletes, with the tip, all that nothing else holds: a release is planned only if all of that is
to be released (S10).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from gcd.model.finding import Kind, NodeKind, RemedyKind
from gcd.model.plan import LeftAlone, Mend, Move, Reason, Release
from gcd.policy.case import Case
from gcd.policy.guards import ask
from gcd.policy.order import nodes_of
from gcd.policy.wanted import is_asked_for, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from gcd.model.finding import Finding, FindingId, Node, Remedy
    from gcd.model.plan import Step
    from gcd.policy.case import Situation
    from gcd.policy.order import Standing

Make = Callable[["Finding", "Remedy"], "Step | LeftAlone"]
"""What exactly a remedy does, or why that cannot be said; asked last, since proofs take time."""

_OF_THE_MOMENT = frozenset({Reason.ENGINE_RUNS, Reason.ENGINE_STOPPED})


class _Planned(Struct):
    """What has been planned so far."""

    steps: dict[FindingId, Step] = field(default_factory=dict)
    taken: set[Node] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    disk_bytes: int = 0

    def add(self, step: Step) -> None:
        self.steps[step.finding.id] = step
        if not isinstance(step, Mend):
            self.taken.update(nodes_of(step.finding))
            self.disk_bytes += step.finding.disk_bytes or 0
        if isinstance(step, Move):
            self.paths.update(step.paths)


def decide(
    findings: Sequence[Finding], situation: Situation, standing: Standing, make: Make
) -> tuple[tuple[Step, ...], tuple[LeftAlone, ...]]:
    """The steps in the order in which they are to be taken, and what is left alone; each finding is in one of them."""
    left: dict[FindingId, LeftAlone] = {}
    candidates: list[tuple[Finding, tuple[Remedy, ...]]] = []
    for finding in findings:
        if is_asked_for(finding, situation.selection):
            remedies = wanted(finding, situation.policy, situation.selection)
            if isinstance(remedies, LeftAlone):
                left[finding.id] = remedies
            else:
                candidates.append((finding, remedies))
    planned = _Planned()
    for finding, remedies in sorted(candidates, key=lambda pair: standing.key(pair[0], pair[1][0].kind)):
        decided = _decided(finding, remedies, situation, standing, planned, make)
        if isinstance(decided, LeftAlone):
            left[finding.id] = decided
        else:
            planned.add(decided)
    left |= {held.finding.id: held for held in _not_released_alone(findings, standing, planned.steps)}
    steps = sorted(planned.steps.values(), key=lambda step: standing.key(step.finding, kind_of(step)))
    order = {finding.id: place for place, finding in enumerate(findings)}
    return tuple(steps), tuple(sorted(left.values(), key=lambda item: order[item.finding.id]))


def _decided(
    finding: Finding,
    remedies: tuple[Remedy, ...],
    situation: Situation,
    standing: Standing,
    planned: _Planned,
    make: Make,
) -> Step | LeftAlone:
    """The step by the first of `remedies` that nothing is against; else why there is none, not for the moment alone."""
    against: list[LeftAlone] = []
    for remedy in remedies:
        case = _case(finding, remedy, situation, standing, planned)
        decided = ask(case) or make(finding, remedy)
        if isinstance(decided, Move):
            decided = _rest_of(decided, planned.paths)
        if not isinstance(decided, LeftAlone):
            return decided
        against.append(decided)
    return next((left for left in against if left.reason not in _OF_THE_MOMENT), against[0])


def _rest_of(move: Move, paths: AbstractSet[str]) -> Move | LeftAlone:
    """`move` without the `paths` that another step before it moves: records go with those that stand on them."""
    rest = tuple(path for path in move.paths if path not in paths)
    if rest or not move.paths:
        return replace(move, paths=rest)
    return LeftAlone(move.finding, Reason.BLOCKED, "all of it moves with another finding")


def _case(finding: Finding, remedy: Remedy, situation: Situation, standing: Standing, planned: _Planned) -> Case:
    nodes: tuple[Node, ...] = ()
    staying: tuple[Node, ...] = ()
    if remedy.kind is not RemedyKind.REPAIR:
        nodes = nodes_of(finding)
        if finding.kind is Kind.ORPHAN:
            staying = tuple(node for node in standing.on(nodes) if node not in planned.taken)
    return Case(
        finding,
        remedy,
        situation,
        nodes=nodes,
        staying=staying,
        disk_bytes=standing.disk_bytes(finding),
        items=len(planned.steps),
        planned_bytes=planned.disk_bytes,
    )


def _not_released_alone(
    findings: Sequence[Finding], standing: Standing, steps: dict[FindingId, Step]
) -> Iterator[LeftAlone]:
    """
    Takes out of `steps`, and gives, the releases with which the engine would delete a layer that is to stay.

    It deletes a leaked layer when the last one that stands on it is gone.
    """
    leaked = [f for f in findings if f.kind is Kind.ORPHAN and f.subject.kind is NodeKind.LAYER]
    while True:
        released = {s.finding.subject: s.finding for s in steps.values() if isinstance(s, Release)}
        held: dict[FindingId, Finding] = {}
        for staying in leaked:
            above = [node for node in standing.on((staying.subject,)) if node.kind is NodeKind.LAYER]
            if staying.subject not in released and above and all(node in released for node in above):
                held |= {released[node].id: staying for node in above}
        if not held:
            return
        for name, staying in held.items():
            why = f"with it the engine would delete {staying.subject}, which is to stay"
            yield LeftAlone(steps.pop(name).finding, Reason.BLOCKED, why)


def kind_of(step: Step) -> RemedyKind:
    if isinstance(step, Mend):
        return RemedyKind.REPAIR
    return RemedyKind.RELEASE if isinstance(step, Release) else RemedyKind.QUARANTINE
