"""
Accepted findings: what the owner of a host knows of and has decided to live with.

An accepted finding is still found and shown, but apart: it counts in no figure, raises no exit status, and does not
make a host unhealthy. Only a finding's id or a glob over ids accepts it, always with a reason, and until a day if one
is said; after that it is a finding like any other, and the report says that its acceptance ran out.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcd.model.finding import Acceptance, Finding


def accept(findings: Sequence[Finding], acceptances: Sequence[Acceptance], now_ns: int) -> tuple[Finding, ...]:
    """`findings`, each with the first acceptance that fits it and is still in force."""
    in_force = [acceptance for acceptance in acceptances if not _is_over(acceptance, now_ns)]
    return tuple(replace(finding, accepted=_first_fit(finding, in_force)) for finding in findings)


def expired(findings: Sequence[Finding], acceptances: Sequence[Acceptance], now_ns: int) -> tuple[Acceptance, ...]:
    """The acceptances that ran out although a finding that they fitted is still there and no other one fits it."""
    open_findings = [finding for finding in findings if finding.accepted is None]
    return tuple(
        acceptance
        for acceptance in acceptances
        if _is_over(acceptance, now_ns) and any(_fits(acceptance, finding) for finding in open_findings)
    )


def _first_fit(finding: Finding, acceptances: Sequence[Acceptance]) -> Acceptance | None:
    return next((acceptance for acceptance in acceptances if _fits(acceptance, finding)), None)


def _fits(acceptance: Acceptance, finding: Finding) -> bool:
    return acceptance.pattern == finding.id or fnmatchcase(finding.id, acceptance.pattern)


def _is_over(acceptance: Acceptance, now_ns: int) -> bool:
    return acceptance.until_ns is not None and acceptance.until_ns <= now_ns
