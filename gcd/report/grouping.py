"""
Findings in the order that people need: causes first, what they explain below them, alike ones together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.model.finding import Confidence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gcd.model.finding import Finding, FindingId


class Group(Struct, frozen=True):
    """
    Findings that no other finding explains, of one code and severity, equally sure and equally free or blocked; those
    with the most bytes first.
    """

    findings: tuple[Finding, ...]

    @property
    def first(self) -> Finding:
        return self.findings[0]

    @property
    def shares_summary(self) -> bool:
        """Whether there are several and all say the same, so that it needs to be said only once."""
        return len(self.findings) > 1 and len({finding.summary for finding in self.findings}) == 1

    @property
    def disk_bytes(self) -> int:
        return sum(finding.disk_bytes or 0 for finding in self.findings)


def groups(findings: Sequence[Finding]) -> tuple[Group, ...]:
    """
    The findings that stand for themselves, grouped: the worst first, then by code, the free before the blocked.

    A finding whose cause is not among `findings` stands for itself, and so does one whose causes go in a circle.
    """
    explained = {finding.id for found in explains(findings).values() for finding in found}
    buckets: dict[tuple[int, str, bool, bool], list[Finding]] = {}
    for finding in findings:
        if finding.id not in explained:
            suspected = finding.confidence is Confidence.SUSPECTED
            key = (-finding.severity.rank, finding.code, bool(finding.blocked_by), suspected)
            buckets.setdefault(key, []).append(finding)
    return tuple(
        Group(tuple(sorted(bucket, key=lambda finding: (-(finding.disk_bytes or 0), finding.id))))
        for _, bucket in sorted(buckets.items())
    )


def explains(findings: Sequence[Finding]) -> Mapping[FindingId, tuple[Finding, ...]]:
    """For each finding that is the first cause of others, all of these, however long the chain between them."""
    by_id = {finding.id: finding for finding in findings}
    result: dict[FindingId, list[Finding]] = {}
    for finding in findings:
        cause = _first_cause(finding, by_id)
        if cause is not None:
            result.setdefault(cause, []).append(finding)
    return {cause: tuple(found) for cause, found in result.items()}


def _first_cause(finding: Finding, by_id: Mapping[FindingId, Finding]) -> FindingId | None:
    seen = {finding.id}
    here = finding
    while here.cause is not None and here.cause in by_id:
        if here.cause in seen:
            return None
        seen.add(here.cause)
        here = by_id[here.cause]
    return None if here is finding else here.id
