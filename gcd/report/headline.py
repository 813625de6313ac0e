"""
The first words of a report: is this host healthy, and what can I get back?

`headline` answers in one paragraph. `warnings` are what must be read before anything is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model.facts import EngineState
from gcd.model.finding import Confidence, Kind, Severity
from gcd.report.printable import printable
from gcd.report.units import counted, iec, instant, listed, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.result import RunResult

HANDS_OFF = frozenset({"GCD201", "GCD202", "GCD203", "GCD204", "GCD205", "GCD206", "GCD303"})
"""With one of these there, an ordinary pull, load, removal or prune deletes layers that are still in use (S14)."""

HANDS_OFF_TEXT = "Pull, load, remove or prune nothing until this is mended"

FAULTS = frozenset({Kind.DAMAGED, Kind.DANGLING})
"""Kinds that are faults if they are proven; a suspected one costs something, and is not merely waste."""

_SETTLES = {
    EngineState.RUNNING: "it is gone or proven after the engine's next start",
    EngineState.STOPPED: "it is proven once nothing has changed there for an hour",
    EngineState.UNKNOWN: "nothing is proven before the engine's state is known",
}


def headline(result: RunResult) -> str:
    return f"{_health(result)} {_gain(result)}"


def _health(result: RunResult) -> str:
    bad = _counts(result)
    unchecked = len({item.code for item in result.not_checked})
    missing = f"{counted(unchecked, 'rule')} could not be checked" if unchecked else ""
    suspects = [f for f in result.open_findings if f.confidence is Confidence.SUSPECTED and f.kind in FAULTS]
    if not bad and suspects and not missing:
        codes = ", ".join(sorted({f.code for f in suspects}))
        return f"Perhaps not healthy: {counted(len(suspects), 'fault')} suspected, not yet proven ({codes})."
    if not bad:
        return f"Not known to be healthy: nothing was found, but {missing}." if missing else _healthy(result)
    stop = " The engine will not start." if any(f.severity is Severity.CRITICAL for f in result.findings) else ""
    return f"Not healthy: {listed(bad)}{_cost(result)}{'; ' + missing if missing else ''}.{stop}"


def _healthy(result: RunResult) -> str:
    if not result.rules_left_out:
        return "Healthy."
    return f"Healthy by {result.rules - result.rules_left_out} of {result.rules} rules."


def _counts(result: RunResult) -> list[str]:
    by_severity = result.summary.by_severity
    nouns = {Severity.CRITICAL: "critical fault", Severity.ERROR: "error", Severity.WARNING: "warning"}
    return [counted(n, noun) for severity, noun in nouns.items() if (n := by_severity.get(severity, 0))]


def _cost(result: RunResult) -> str:
    severe = [f for f in result.open_findings if f.severity.rank >= Severity.WARNING.rank]
    images = len({image for f in severe for image in f.impact.images})
    containers = len({container for f in severe for container in f.impact.containers})
    parts = [counted(n, noun) for n, noun in ((images, "image name"), (containers, "container")) if n]
    return f"; {listed(parts)} affected" if parts else ""


def _gain(result: RunResult) -> str:
    summary = result.summary
    suspected = summary.orphaned_bytes - summary.proven_bytes
    parts = []
    if summary.proven_bytes:
        parts.append(f"{iec(summary.proven_bytes)} can be had back")
    if suspected:
        more = "more may be" if parts else "may be had back"
        parts.append(f"{iec(suspected)} {more} (suspected, not yet proven)")
    if summary.blocked_bytes:
        parts.append(f"{iec(summary.blocked_bytes)} seem orphaned but may belong to what is damaged (blocked)")
    return f"{listed(parts)}." if parts else "Nothing to get back."


def warnings(result: RunResult) -> Iterator[str]:
    """Sentences to be read before anything is done to this host."""
    reasons = sorted({f.code for f in result.findings if f.code in HANDS_OFF})
    if reasons:
        yield f"{HANDS_OFF_TEXT} ({', '.join(reasons)}): the engine would delete layers that are still in use."
    for acceptance in result.expired:
        until = instant((acceptance.until_ns or 0) - 1)[:10]
        yield (
            f"The acceptance of {printable(acceptance.pattern)} ran out ({until}; {printable(acceptance.reason)}): "
            "what it covered is counted again."
        )
    if result.engine.doubts:
        yield f"Nothing is proven in this run: {'; '.join(map(printable, result.engine.doubts))}."
    elif any(f.confidence is Confidence.SUSPECTED for f in result.findings):
        yield f"What is suspected may belong to work under way; {_SETTLES[result.engine.state]}."


def figures(result: RunResult) -> str:
    """Where and what was read, in one line."""
    summary = result.summary
    read = [
        counted(summary.images, "image"),
        counted(summary.layers, "layer"),
        counted(summary.layer_dirs, "layer dir"),
        counted(summary.containers, "container"),
    ]
    return (
        f"{printable(result.root)} ({printable(result.store)}, {_engine(result)}): "
        f"{listed(read)}, read in {seconds(result.duration_ns)}"
    )


def _engine(result: RunResult) -> str:
    match result.engine.state:
        case EngineState.RUNNING:
            pid = f" as pid {result.engine.pid}" if result.engine.pid is not None else ""
            since = f" since {instant(result.engine.epoch_ns)[:19]}Z" if result.engine.epoch_ns is not None else ""
            return f"engine running{pid}{since}"
        case EngineState.STOPPED:
            return "engine stopped"
        case EngineState.UNKNOWN:
            return "state of the engine unknown"
