"""What people are told: findings that came and went, one event each, and the one line of ``systemctl status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from gcd.model.errors import GcdError
from gcd.model.finding import Severity
from gcd.model.published import LayerState, Scope
from gcd.report.printable import printable
from gcd.report.units import counted, iec, instant, listed
from gcd.state import stored

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from gcd.model.finding import Code, Finding
    from gcd.model.published import Published
    from gcd.model.result import RunResult

_LEVELS = {
    Severity.CRITICAL: "error",
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.INFO: "info",
}


class News(Struct, frozen=True):
    """The findings that came, and the ids of those that went, as the state writes them."""

    new: tuple[Finding, ...]
    gone: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.new or self.gone)


class Chronicle:
    """Which findings were told of already: at first those of `known`, which an earlier run of gcd saw."""

    def __init__(self, known: AbstractSet[str] = frozenset()) -> None:
        self._told = set(known)

    def hear(self, result: RunResult, ran: AbstractSet[Code]) -> News:
        """Log what is new in `result`, and what is gone of that which the rules of `ran` looked for."""
        log = structlog.get_logger()
        there = {stored(finding.id): finding for finding in result.open_findings}
        new = {name: finding for name, finding in there.items() if name not in self._told}
        gone = sorted(name for name in self._told - there.keys() if name.partition(":")[0] in ran)
        for finding in new.values():
            getattr(log, _LEVELS[finding.severity])(
                "finding_new",
                finding=printable(finding.id),
                severity=finding.severity,
                confidence=finding.confidence,
                summary=printable(finding.summary),
                **({"disk_bytes": finding.disk_bytes} if finding.disk_bytes is not None else {}),
            )
        for name in gone:
            log.info("finding_gone", finding=printable(name))
        self._told |= new.keys()
        self._told.difference_update(gone)
        return News(tuple(new.values()), tuple(gone))


def why_of(error: Exception) -> tuple[str, Exception | None]:
    """What `error` says, and `error` once more if it is a fault of gcd itself, whose traceback belongs into the log."""
    if isinstance(error, GcdError | OSError):
        return str(error), None
    return f"a fault of gcd itself, {type(error).__name__}: {error}", error


def status_line(published: Published) -> str:
    """For an operator: what is wrong, what it is worth, and how fresh that is."""
    result = published.result
    bad = [
        f"{number} {severity}"
        for severity in reversed(Severity)
        if (number := result.summary.by_severity.get(severity, 0)) and severity is not Severity.INFO
    ]
    if damaged := published.scrubbing.layers.get(LayerState.DAMAGED, 0):
        bad.append(counted(damaged, "damaged layer"))
    found = "healthy" if result.is_healthy and not bad else listed(bad) or "nothing above info"
    parts = [
        f"{printable(result.root)}: {found}",
        f"{iec(result.summary.orphaned_bytes)} orphaned",
        f"engine {result.engine.state}",
        f"read in full at {instant(published.checked_ns[Scope.FULL])[:19]}Z",
    ]
    if result.not_checked:
        parts.insert(1, f"{counted(len({item.code for item in result.not_checked}), 'rule')} not checked")
    if not published.is_watching:
        parts.append("looking by the clock, for it cannot be watched")
    if published.trouble:
        parts.insert(0, trouble_line(published.trouble))
    return "; ".join(parts)


def trouble_line(why: str) -> str:
    return f"TROUBLE: {printable(why)}"
