"""
What to do about a finding: the command that has gcd do it, and how to do it by hand where the rule knows.

A command names the code, which stands for all findings of it; one that is only done by name (`manual`) names the
finding itself. Nothing that a terminal cannot show, or a shell could misread, is offered to be typed.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from gcd.model.finding import Applicability, Confidence, Moment, RemedyKind, Severity
from gcd.report.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.finding import Code, Finding, Remedy

_FIRST = {
    "GCD116": "look into overlay2/{id}/diff, which may be the only copy of somebody's files; save what matters",
    "GCD304": "look into the diff of its rw dir, which may be the only copy of somebody's files; save what matters",
    "GCD309": "docker rm -f {id}; only if that fails go on",
    "GCD604": "start the engine, which removes it; only if it does not go on",
    "GCD605": "look into its propagated-mount, which may hold the plugin's data",
}
"""What comes before the remedy itself, by code."""

_THEN = {
    "GCD202": "docker pull what it costs",
    "GCD401": "start the engine and docker pull the image again",
}
"""What comes after it."""


def before(finding: Finding) -> str:
    """What is to be done before any remedy of this finding; empty where there is nothing."""
    return _FIRST.get(finding.code, "").format(id=finding.subject.id)


def after(finding: Finding) -> str:
    return _THEN.get(finding.code, "")


def command(finding: Finding, remedy: Remedy) -> str:
    """What has gcd carry out `remedy`; empty where it could not be typed, or nothing would move."""
    if remedy.kind is RemedyKind.QUARANTINE and not finding.paths:
        return ""
    name = str(finding.id) if remedy.applicability is Applicability.MANUAL else str(finding.code)
    return f"gcd {remedy.kind} {shlex.quote(name)}" if printable(name) == name else ""


def remedies(finding: Finding, advice: Mapping[Code, str]) -> list[str]:
    """
    What to do about a finding, a line each: when, a colon, and what. Nothing before it is proven, and nothing to it
    while something blocks it. `advice` is what the rules say, by code, for findings that have no command of their own.
    """
    if finding.blocked_by:
        return []
    proven = ", once proven" if finding.confidence is Confidence.SUSPECTED else ""
    lines: list[str] = []
    for remedy in finding.remedies:
        stopped = ", with the engine stopped" if remedy.moment is Moment.STOPPED else ""
        if words := command(finding, remedy):
            lines.append(f"{'or' if lines else 'do'}{proven}{stopped}: {words}")
        if remedy.action:
            lines.append(f"by hand{proven}{stopped}: {printable(remedy.action)}")
    if not lines and (finding.remedies or finding.severity is not Severity.INFO):
        lines.append(f"do{proven}: {advice.get(finding.code, f'see gcd explain {finding.code}')}")
    first, then = before(finding), after(finding)
    return [
        *([f"do first: {first}"] if first and lines else ()),
        *lines,
        *([f"then: {then}"] if then and lines else ()),
    ]
