"""
The result of a run: the only thing that leaves it. Reports, metrics and exit status are pure functions of a
`RunResult`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.model.errors import ExitBits
from gcd.model.finding import Confidence, Kind, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.facts import Engine
    from gcd.model.finding import Acceptance, Finding, NotChecked
    from gcd.model.inventory import Source, SourceState


class Summary(Struct, frozen=True):
    """
    Figures over all findings that are not accepted, in bytes of disk usage; `accepted` and `accepted_bytes` are those
    of the accepted ones.

    `orphaned_bytes` counts findings of kind orphan, proven and suspected, that nothing blocks; `blocked_bytes` those
    that something blocks; `proven_bytes` the proven part of the former.
    """

    by_code: Mapping[str, int]
    by_severity: Mapping[str, int]
    orphaned_bytes: int
    orphaned_inodes: int
    proven_bytes: int
    blocked_bytes: int
    layer_dirs: int
    layers: int
    images: int
    containers: int
    accepted: int = 0
    accepted_bytes: int = 0


class RunResult(Struct, frozen=True):
    """
    `findings` are sorted: worst first, then by code and subject. `checked_ns` is the wall clock time of the run.
    `expired` are acceptances that ran out while a finding that they fitted is still there. Of all `rules` the run was
    told to leave out `rules_left_out`.
    """

    root: str
    store: str
    engine: Engine
    sources: Mapping[Source, SourceState]
    summary: Summary
    findings: tuple[Finding, ...]
    not_checked: tuple[NotChecked, ...]
    checked_ns: int
    duration_ns: int
    expired: tuple[Acceptance, ...] = ()
    rules: int = 0
    rules_left_out: int = 0

    @property
    def open_findings(self) -> tuple[Finding, ...]:
        """The findings that nobody accepted."""
        return tuple(finding for finding in self.findings if finding.accepted is None)

    @property
    def is_healthy(self) -> bool:
        """Whether everything was checked and nothing above `info` was found that nobody accepted."""
        return not self.not_checked and all(f.severity is Severity.INFO for f in self.open_findings)


def exit_bits(result: RunResult, fail_on: Severity | None) -> ExitBits:
    """
    FINDINGS_LEFT if a finding that nobody accepted is at least `fail_on` (None: never); NOT_DONE if anything was not
    checked.
    """
    bits = ExitBits.CLEAN
    if fail_on is not None and any(f.severity.rank >= fail_on.rank for f in result.open_findings):
        bits |= ExitBits.FINDINGS_LEFT
    if result.not_checked:
        bits |= ExitBits.NOT_DONE
    return bits


def is_orphan(finding: Finding) -> bool:
    return finding.kind is Kind.ORPHAN


def is_reclaimable(finding: Finding) -> bool:
    """Whether the bytes of `finding` could come back: an orphan, proven, and nothing blocks it."""
    return is_orphan(finding) and finding.confidence is Confidence.PROVEN and not finding.blocked_by
