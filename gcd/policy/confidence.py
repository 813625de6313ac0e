"""
How sure a finding is (safety rules S4 to S8).

References that the engine holds only in memory die with it, and every operation makes new directories. So what nothing
refers to, and last changed before everything that can be under way now, is `proven` nobody's; anything younger, and
anything that a process has open, is `suspected`: true perhaps, but shown as `info`, and never acted upon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from gcd.model.finding import Confidence, Severity

if TYPE_CHECKING:
    from gcd.model.finding import Finding


def judge(finding: Finding, bound_ns: int | None) -> Finding:
    """`finding` with its confidence; `bound_ns` is `Engine.proof_bound` at the time of the run."""
    is_settled = finding.since_ns is None or (bound_ns is not None and finding.since_ns < bound_ns)
    if is_settled and not finding.is_held:
        return finding
    return replace(finding, confidence=Confidence.SUSPECTED, severity=Severity.INFO)
