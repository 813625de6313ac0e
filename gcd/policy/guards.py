"""
Guards: what must hold before anything is done about a finding, one function each, in one table.

A guard answers why a finding is left alone, or None if it has nothing against it. The first one that has is heard. A
guard that cannot tell is against it.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, assert_never

from gcd.model.facts import EngineState
from gcd.model.finding import Confidence, Kind, Moment, NodeKind, RemedyKind
from gcd.model.plan import Reason
from gcd.policy.policy import DAY_NS
from gcd.policy.windows import in_words, is_open

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gcd.model.plan import LeftAlone
    from gcd.policy.case import Case

_HOUR_NS = 3_600_000_000_000
_SPACE = frozenset({Kind.ORPHAN, Kind.LEFTOVER})
_PULLED = frozenset({NodeKind.LAYER, NodeKind.IMAGE})
_NAMED = 3


def not_accepted(case: Case) -> LeftAlone | None:
    """Its owner lives with it."""
    if (accepted := case.finding.accepted) is None:
        return None
    return case.left_alone(Reason.ACCEPTED, f"it is accepted ({accepted.pattern}): {accepted.reason}")


def not_protected(case: Case) -> LeftAlone | None:
    finding, protection = case.finding, case.situation.policy.protection
    if finding.code in protection.codes:
        return case.left_alone(Reason.PROTECTED, f"the settings protect {finding.code}")
    for what, names, patterns in (
        ("finding", (finding.id,), protection.findings),
        ("image", finding.impact.images, protection.images),
        ("container", finding.impact.containers, protection.containers),
    ):
        if (fitting := _first_fit(names, patterns)) is not None:
            name, pattern = fitting
            return case.left_alone(Reason.PROTECTED, f"the settings protect {what} {name} ({pattern})")
    labelled = case.situation.labelled
    for name in (*finding.impact.images, *finding.impact.containers):
        if name in labelled:
            return case.left_alone(Reason.PROTECTED, f"the settings protect {name} by its label ({labelled[name]})")
    return None


def _first_fit(names: Iterable[str], patterns: tuple[str, ...]) -> tuple[str, str] | None:
    return next(((n, p) for n in names for p in patterns if n == p or fnmatchcase(n, p)), None)


def engine_allows(case: Case) -> LeftAlone | None:
    """Whether it may be done now depends on the engine: most things need it stopped, a release needs it running."""
    state, remedy = case.situation.engine.state, case.remedy
    match state:
        case EngineState.UNKNOWN:
            return case.left_alone(Reason.ENGINE_UNKNOWN, "whether an engine uses this root cannot be told")
        case EngineState.RUNNING if remedy.moment is Moment.STOPPED:
            is_releasable = any(other.kind is RemedyKind.RELEASE for other in case.finding.remedies)
            instead = "; gcd release has the running engine delete it" if is_releasable else ""
            return case.left_alone(Reason.ENGINE_RUNS, f"its {remedy.kind} needs the engine stopped{instead}")
        case EngineState.STOPPED if remedy.kind is RemedyKind.RELEASE:
            return case.left_alone(Reason.ENGINE_STOPPED, "only a running engine can release a layer")
        case EngineState.RUNNING | EngineState.STOPPED:
            return None
        case _:
            assert_never(state)


def not_blocked(case: Case) -> LeftAlone | None:
    """Nothing that was lost could be its owner (S2)."""
    blockers = case.finding.blocked_by
    if not blockers:
        return None
    return case.left_alone(Reason.BLOCKED, f"it may belong to {_some(blockers)}: mend or move that first")


def proof_is_whole(case: Case) -> LeftAlone | None:
    """What a repair writes is proven by everything that there is: what was not read might say otherwise."""
    unread = case.situation.unread
    if case.remedy.kind is not RemedyKind.REPAIR or not unread:
        return None
    return case.left_alone(Reason.NOT_CHECKED, f"what could speak against it was not read whole: {_some(unread)}")


def is_sure(case: Case) -> LeftAlone | None:
    """It is proven; or the policy takes what is suspected, and nothing under way could own it (S6)."""
    finding, situation = case.finding, case.situation
    if finding.confidence is Confidence.PROVEN:
        return None
    if finding.is_held:
        return case.left_alone(Reason.SUSPECTED, "a process has it open")
    # Of a layer record the engine knows more than the disk tells, whatever the policy takes (S15).
    is_engines_own = situation.engine.state is EngineState.RUNNING and finding.subject.kind is NodeKind.LAYER
    if situation.policy.min_confidence is Confidence.PROVEN or is_engines_own:
        return case.left_alone(Reason.SUSPECTED, _youth(situation.engine.state))
    if situation.engine.state is not EngineState.STOPPED and situation.engine.epoch_ns is None:
        return case.left_alone(Reason.SUSPECTED, "since when the engine runs is not known")
    if situation.is_writing:
        return case.left_alone(Reason.SUSPECTED, "the engine is making a layer that it may belong to")
    return None


def _youth(state: EngineState) -> str:
    if state is EngineState.STOPPED:
        return "it changed within the last hour: it may be part of a copy under way"
    return "it changed since the engine started, which may be at work on it: a restart of the engine settles it"


def seen_long_enough(case: Case) -> LeftAlone | None:
    """
    What is only suspected, and damage that shall be mended under a running engine, was there a grace ago too, and has
    not changed since (S6, S15). While an engine runs the grace is a day at least.
    """
    situation = case.situation
    is_running = situation.engine.state is not EngineState.STOPPED
    is_repair_online = is_running and case.remedy.kind is RemedyKind.REPAIR
    if case.finding.confidence is Confidence.PROVEN and not is_repair_online:
        return None
    grace_ns = max(situation.policy.grace_ns, DAY_NS) if is_running else situation.policy.grace_ns
    changed_ns, seen_ns = case.finding.since_ns, situation.history.seen_ns.get(case.finding.id)
    if changed_ns is not None and changed_ns > situation.now_ns - grace_ns:
        return case.left_alone(Reason.IN_GRACE, f"it changed within the last {grace_ns / _HOUR_NS:.1f} h")
    if (seen_ns or 0) >= grace_ns:
        return None
    since = "not been seen before" if seen_ns is None else f"been seen for {seen_ns / _HOUR_NS:.1f} h"
    instead = ", or the engine must be stopped" if is_repair_online else ""
    return case.left_alone(
        Reason.IN_GRACE,
        f"it has {since}: gcd check --record must have seen it for {grace_ns / _HOUR_NS:.1f} h{instead}",
    )


def nothing_stands_on_it(case: Case) -> LeftAlone | None:
    """Tips first: what stands on it goes with it, or it stays."""
    if not case.staying:
        return None
    return case.left_alone(Reason.BLOCKED, f"it lies below {_some(map(str, case.staying))}, which stays")


def not_in_use(case: Case) -> LeftAlone | None:
    """The engine's own list of what its images and containers use, where it was asked (S2)."""
    dirs = [n for n in case.nodes if n.kind is NodeKind.LAYER_DIR]
    used = [n for n in dirs if n.id in case.situation.listed_dirs]
    if not used:
        silent = sorted(case.situation.silent)
        if not (dirs and silent) or case.remedy.kind is RemedyKind.REPAIR:
            return None
        why = f"the engine cannot say which layer dirs {_some(silent)} uses: mend what is damaged first"
        return case.left_alone(Reason.NOT_CHECKED, why)
    return case.left_alone(Reason.IN_USE, f"the engine says that {_some(map(str, used))} is in use")


def not_only_from_a_registry(case: Case) -> LeftAlone | None:
    """On a host that cannot pull, layer records and images stay, damaged ones too: they could only be pulled again."""
    if not case.situation.policy.is_offline or case.remedy.kind is RemedyKind.REPAIR:
        return None
    if case.finding.subject.kind not in _PULLED:
        return None
    return case.left_alone(Reason.OFFLINE_NODE, "it could only be pulled again, and offline_node says that nothing can")


def is_worth_it(case: Case) -> LeftAlone | None:
    """The smallest size is about space: damage has none."""
    least = case.situation.policy.min_bytes
    if case.is_named_by_id or case.remedy.kind is RemedyKind.REPAIR or case.finding.kind not in _SPACE:
        return None
    if case.disk_bytes >= least:
        return None
    return case.left_alone(Reason.TOO_SMALL, f"it takes {case.disk_bytes} bytes, less than min_size = {least}")


def in_window(case: Case) -> LeftAlone | None:
    windows = case.situation.policy.windows
    if case.is_named_by_id or is_open(windows, case.situation.now_ns):
        return None
    return case.left_alone(Reason.OUTSIDE_WINDOW, f"it is not the time: {in_words(windows)}")


def within_limits(case: Case) -> LeftAlone | None:
    """What one run may do at most; a step that would go beyond stays for the next one."""
    policy = case.situation.policy
    if case.is_named_by_id:
        return None
    if policy.max_items is not None and case.items >= policy.max_items:
        return case.left_alone(Reason.OVER_LIMIT, f"max_items = {policy.max_items} for one run are planned already")
    moved = 0 if case.remedy.kind is RemedyKind.REPAIR else case.finding.disk_bytes or 0
    if policy.max_bytes is not None and moved and case.planned_bytes + moved > policy.max_bytes:
        return case.left_alone(Reason.OVER_LIMIT, f"with it the run would go beyond max_bytes = {policy.max_bytes}")
    return None


def _some(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more


GUARDS: tuple[Callable[[Case], LeftAlone | None], ...] = (
    not_accepted,
    not_protected,
    engine_allows,
    not_blocked,
    proof_is_whole,
    is_sure,
    seen_long_enough,
    not_in_use,
    nothing_stands_on_it,
    not_only_from_a_registry,
    is_worth_it,
    in_window,
    within_limits,
)
"""All guards, in the order in which they are asked: what its owner said first, what only this run lacks last."""


def ask(case: Case) -> LeftAlone | None:
    """Why nothing is done about the case's finding; None if no guard has anything against it."""
    return next((left for guard in GUARDS if (left := guard(case)) is not None), None)
