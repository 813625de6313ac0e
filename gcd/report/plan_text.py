"""
A plan as text for people: what would be done, in its order, then what is left alone, by reason.

A line that can be copied stays whole; names from the root are escaped. Findings are named by their ids, which commands
take. What a policy says to ignore is counted and not listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from gcd.model.facts import EngineState
from gcd.model.plan import (
    CopyFile,
    DropReference,
    LinkFile,
    MakeDirectory,
    MakeSymlink,
    Mend,
    Move,
    Reason,
    Release,
    SetAside,
    WriteFile,
)
from gcd.report.lines import Line, Text, written
from gcd.report.printable import printable
from gcd.report.units import counted, iec, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcd.model.plan import Change, LeftAlone, Plan, Step

PATHS_SHOWN = 4
NAMED_PER_CLAUSE = 5
CONTENT_SHOWN = 80
CODES_SHOWN = 8

_REASONS = {
    Reason.RUN_REFUSED: "nothing is done in this run",
    Reason.ENGINE_RUNS: "needs the engine stopped",
    Reason.ENGINE_STOPPED: "needs the engine running",
    Reason.ENGINE_UNKNOWN: "is the engine running?",
    Reason.BLOCKED: "something else first",
    Reason.UNPROVEN: "cannot be proven",
    Reason.SUSPECTED: "not sure yet",
    Reason.IN_GRACE: "not seen for long enough",
    Reason.IN_USE: "in use",
    Reason.CHANGED: "changed meanwhile",
    Reason.NOT_CHECKED: "not checked",
    Reason.PLACE: "the quarantine cannot take it",
    Reason.ENGINE_REFUSED: "the engine refused",
    Reason.OUTSIDE_WINDOW: "not now",
    Reason.OVER_LIMIT: "too much for one run",
    Reason.TOO_SMALL: "too small",
    Reason.OFFLINE_NODE: "cannot be pulled again",
    Reason.PROTECTED: "protected",
    Reason.ACCEPTED: "accepted",
    Reason.POLICY: "the policy",
    Reason.NO_REMEDY: "no remedy",
    Reason.IGNORED: "ignored",
}
"""What each reason is called above those that it keeps; in this order, what can be helped first."""

_IN_ITS_ORDER = tuple(_REASONS)


def plan_text(plan: Plan, *, width: int | None = None, colour: bool = False) -> str:
    """`plan`, wrapped to `width` columns if given; with `colour` it carries ANSI colours."""
    return written(_lines(plan), width=width, colour=colour)


def _lines(plan: Plan) -> Iterator[Line]:
    yield 0, Text(_headline(plan), style="bold red" if plan.refusal else "bold")
    for number, step in enumerate(plan.steps, 1):
        yield from _step(number, step)
    yield from _afterwards(plan)
    ignored = [left for left in plan.left_alone if left.reason is Reason.IGNORED]
    shown = [left for left in plan.left_alone if left.reason is not Reason.IGNORED]
    if shown:
        yield 0, Text()
        yield 0, Text(f"Left alone: {counted(len(shown), 'finding')}{_sized(shown)}", style="bold")
        yield from _left_alone(shown)
    if plan.not_checked:
        yield 0, Text()
        yield from _not_checked(plan)
    if ignored:
        yield 0, Text()
        yield 0, Text(f"Ignored, as the policy says: {counted(len(ignored), 'finding')}{_sized(ignored)}", style="dim")


def _afterwards(plan: Plan) -> Iterator[Line]:
    """What can be taken back, and when the disk gets its bytes."""
    kinds = {type(step) for step in plan.steps}
    if kinds:
        yield 0, Text()
    if Mend in kinds:
        yield 0, Text("What a repair replaces is kept in .gcd below the root: gcd quarantine restore undoes it.")
    if Release in kinds:
        yield 0, Text("What is released is gone at once: only a pull brings it back.")
    if Move in kinds:
        yield 0, Text("What is moved goes to .gcd below the root; the disk gets its bytes back when it is purged.")


def _headline(plan: Plan) -> str:
    root = printable(plan.root)
    if plan.refusal:
        return f"Nothing may be done in {root}: {printable(plan.refusal)}."
    engine = {
        EngineState.RUNNING: "the engine is running",
        EngineState.STOPPED: "the engine is stopped",
        EngineState.UNKNOWN: "whether an engine runs cannot be told",
    }[plan.engine.state]
    if not plan.steps:
        return f"Nothing is to be done in {root} ({engine})."
    parts = [
        text
        for kind, noun, verb in ((Mend, "repair", ""), (Release, "release", "released"), (Move, "move", "moved"))
        if (text := _kind([step for step in plan.steps if isinstance(step, kind)], noun, verb))
    ]
    return f"To be done in {root} ({engine}): {listed(parts)}."


def _kind(steps: Sequence[Step], noun: str, verb: str) -> str:
    if not steps:
        return ""
    size = sum(step.finding.disk_bytes or 0 for step in steps)
    return counted(len(steps), noun) + (f" ({iec(size)} {verb})" if verb and size else "")


def _step(number: int, step: Step) -> Iterator[Line]:
    finding = step.finding
    size = f", {iec(finding.disk_bytes)}" if finding.disk_bytes and not isinstance(step, Mend) else ""
    yield 0, Text()
    match step:
        case Mend():
            verb, rows = "repair", [_change(change) for change in step.changes]
        case Release():
            verb, rows = "release", [f"the engine deletes {printable(step.chain)}"]
        case Move():
            verb, rows = "quarantine", [printable(path) for path in step.paths]
        case _:
            assert_never(step)
    name = (printable(finding.id), "bold")
    yield 0, Text(f"{number:3}. ", (f"{verb} ", "green"), name, f" {finding.name}{size}", no_wrap=True)
    yield from ((5, Text(row, no_wrap=True, style="dim")) for row in rows[:PATHS_SHOWN])
    if len(rows) > PATHS_SHOWN:
        yield 5, Text(f"… and {len(rows) - PATHS_SHOWN} more", style="dim")
    if isinstance(step, Mend) and step.foretold:
        yield 5, Text(f"then: {printable(step.foretold)}", style="yellow")


def _change(change: Change) -> str:
    path = printable(change.path)
    match change:
        case WriteFile():
            content = change.content.decode("utf-8", "surrogateescape")
            told = printable(content) if len(content) <= CONTENT_SHOWN else f"{len(change.content)} bytes"
            said = f"write {path}: {told}"
        case CopyFile():
            said = f"copy to {path}: {iec(change.size)} of {printable(change.source)}"
        case LinkFile():
            said = f"make {path} the same file as {printable(change.to)}"
        case MakeSymlink():
            said = f"link {path} -> {printable(change.target)}"
        case MakeDirectory():
            said = f"see to it that {path} is a directory"
        case DropReference():
            said = f"drop {printable(change.reference)} from {path}"
        case SetAside():
            said = f"take away {path}"
        case _:
            assert_never(change)
    return said


def _left_alone(left: Sequence[LeftAlone]) -> Iterator[Line]:
    """By reason, within one by what is said of them, the most bytes first."""
    for reason in _IN_ITS_ORDER:
        clauses: dict[str, list[LeftAlone]] = {}
        for item in left:
            if item.reason is reason:
                clauses.setdefault(item.why, []).append(item)
        if clauses:
            every = [item for items in clauses.values() for item in items]
            yield 2, Text(f"{_REASONS[reason]}: {len(every)}{_sized(every)}", style="yellow")
        for why, items in sorted(clauses.items(), key=lambda clause: (-_bytes_of(clause[1]), clause[0])):
            yield 4, Text(printable(why))
            yield from _named(items)


def _named(items: Sequence[LeftAlone]) -> Iterator[Line]:
    first = sorted(items, key=lambda item: (-(item.finding.disk_bytes or 0), item.finding.id))
    for item in first[:NAMED_PER_CLAUSE]:
        size = f", {iec(item.finding.disk_bytes)}" if item.finding.disk_bytes else ""
        yield 6, Text(f"{printable(item.finding.id)} {item.finding.name}{size}", no_wrap=True, style="dim")
    if len(items) > NAMED_PER_CLAUSE:
        yield 6, Text(f"… and {len(items) - NAMED_PER_CLAUSE} more", style="dim")


def _not_checked(plan: Plan) -> Iterator[Line]:
    yield 0, Text("Not checked, so that nothing is said of what these rules would find:", style="bold yellow")
    for source in dict.fromkeys(item.source for item in plan.not_checked):
        items = [item for item in plan.not_checked if item.source is source]
        reasons = "; ".join(dict.fromkeys(printable(item.why) for item in items if item.why))
        codes = sorted({item.code for item in items})
        shown = f"{len(codes)} rules, {codes[0]} to {codes[-1]}" if len(codes) > CODES_SHOWN else ", ".join(codes)
        yield 2, Text(f"{source}{f': {reasons}' if reasons else ''}: {shown}")


def _bytes_of(items: Sequence[LeftAlone]) -> int:
    return sum(item.finding.disk_bytes or 0 for item in items)


def _sized(items: Sequence[LeftAlone]) -> str:
    size = _bytes_of(items)
    return f", {iec(size)}" if size else ""
