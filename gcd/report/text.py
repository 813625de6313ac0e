"""
A result as text for people.

First a line that answers "is this host healthy, and what can I get back", then what must not be done meanwhile, then
the findings grouped by cause, each with what to do, then what was not checked and why. Names from the root are escaped.
With `width` the text is wrapped to a terminal of so many columns, without it each line stays whole, so that it can be
searched. With `colour` it carries ANSI colours.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from gcd.model.finding import Confidence, Finding, FindingId, Moment, Severity
from gcd.model.inventory import Coverage, Source
from gcd.report.grouping import Group, explains, groups
from gcd.report.headline import figures, headline, warnings
from gcd.report.printable import printable
from gcd.report.units import counted, iec, instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gcd.model.result import RunResult

REPORTS_ONLY = "This version of gcd changes nothing: gcd explain CODE says what a remedy is and how it is done by hand."

SHOWN_PER_GROUP = 20
DETAILED_PER_GROUP = 5
EXPLAINED_SHOWN = 10
NAMES_SHOWN = 8
WHOLE_LINES = 1_000_000

STYLES = {Severity.CRITICAL: "bold red", Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}

Line = tuple[int, Text]
"""Columns of indentation, and the text."""


def text_report(result: RunResult, *, width: int | None = None, colour: bool = False) -> str:
    console = Console(
        file=io.StringIO(),
        width=width or WHOLE_LINES,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    with console.capture() as capture:
        for indent, text in _lines(result):
            if text:
                console.print(Padding(text, (0, 0, 0, indent), expand=False))
            else:
                console.print()
    return "\n".join(line.rstrip() for line in capture.get().split("\n"))


def _lines(result: RunResult) -> Iterator[Line]:
    verdict = "bold green" if result.is_healthy else "bold red" if _is_bad(result) else "bold yellow"
    yield 0, Text(headline(result), style=verdict)
    yield 0, Text(figures(result), style="dim")
    for warning in warnings(result):
        yield 0, Text(f"! {warning}", style="bold")
    explained = explains(result.open_findings)
    for group in groups(result.open_findings):
        yield 0, Text()
        yield from _group(group, explained)
    yield from _accepted(result)
    if any(finding.remedies for finding in result.findings):
        yield 0, Text()
        yield 0, Text(REPORTS_ONLY, style="dim")
    if result.not_checked:
        yield 0, Text()
        yield from _not_checked(result)
    missing = [s for s in Source if result.sources[s].coverage is Coverage.ABSENT]
    if missing:
        yield 0, Text()
        yield 0, Text(f"Not there, and so not read: {', '.join(missing)}.", style="dim")


def _is_bad(result: RunResult) -> bool:
    return any(finding.severity is not Severity.INFO for finding in result.open_findings)


def _group(group: Group, explained: Mapping[FindingId, tuple[Finding, ...]]) -> Iterator[Line]:
    first = group.first
    marks = [f"{len(group.findings)} times"] if len(group.findings) > 1 else []
    if group.disk_bytes:
        marks.append(iec(group.disk_bytes))
    if first.confidence is Confidence.SUSPECTED:
        marks.append("suspected")
    if first.blocked_by:
        marks.append("blocked")
    yield (
        0,
        Text.assemble(
            (f"{first.severity.upper():8}", STYLES[first.severity]),
            (f" {first.code} {first.name}", "bold"),
            f": {', '.join(marks)}" if marks else "",
        ),
    )
    if group.shares_summary:
        yield 2, Text(printable(first.summary))
    if group.shares_remedies:
        yield from _remedies(first, 2)
    for number, finding in enumerate(group.findings[:SHOWN_PER_GROUP]):
        yield from _finding(finding, group, brief=number >= DETAILED_PER_GROUP)
        yield from _explained(finding, explained.get(finding.id, ()))
    rest = group.findings[SHOWN_PER_GROUP:]
    if rest:
        yield 2, Text(f"… and {len(rest)} more ({iec(Group(rest).disk_bytes)}); --format json lists all")


def _finding(finding: Finding, group: Group, *, brief: bool) -> Iterator[Line]:
    """A finding without what its group says for all; `brief` leaves out what was read."""
    size = f" ({iec(finding.disk_bytes)})" if finding.disk_bytes is not None else ""
    yield 2, Text.assemble((printable(str(finding.subject)), "bold"), size)
    if not group.shares_summary:
        yield 4, Text(printable(finding.summary))
    if finding.related:
        yield 4, Text(f"also: {_some(tuple(str(node) for node in finding.related))}", style="dim")
    for read in () if brief else finding.evidence:
        where, expected, found = map(printable, (read.where, read.expected, read.found))
        yield 4, Text(f"read: {where}: expected {expected}, found {found}", style="dim")
    yield from _impact(finding)
    if finding.blocked_by:
        yield 4, Text(f"blocked: it may belong to {_some(finding.blocked_by)}; mend that first", style="yellow")
    if not group.shares_remedies:
        yield from _remedies(finding, 4)


def _explained(finding: Finding, others: tuple[Finding, ...]) -> Iterator[Line]:
    for other in others[:EXPLAINED_SHOWN]:
        yield 4, Text(f"explains: {other.severity} {printable(other.id)}: {printable(other.summary)}")
        yield from _impact(other, already=finding)
    if len(others) > EXPLAINED_SHOWN:
        yield 4, Text(f"explains {len(others) - EXPLAINED_SHOWN} more; --format json lists all")


def _impact(finding: Finding, *, already: Finding | None = None) -> Iterator[Line]:
    """What it costs; of an explained finding only what its cause did not name `already`."""
    told = already.impact if already is not None else None
    images = [name for name in finding.impact.images if told is None or name not in told.images]
    containers = [name for name in finding.impact.containers if told is None or name not in told.containers]
    parts = []
    if images:
        parts.append(f"{counted(len(images), 'image')} ({_some(images)})")
    if containers:
        parts.append(f"{counted(len(containers), 'container')} ({_some(containers)})")
    if parts:
        yield 6 if already else 4, Text(f"costs: {', '.join(parts)}")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:NAMES_SHOWN])
    return f"{shown} and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else shown


def _remedies(finding: Finding, indent: int) -> Iterator[Line]:
    """What to do about a finding: nothing before it is proven, and nothing to it while something blocks it."""
    if finding.blocked_by:
        return
    begin = "do, once proven" if finding.confidence is Confidence.SUSPECTED else "do"
    for remedy in finding.remedies:
        when = "the engine may run" if remedy.moment is Moment.ONLINE else "with the engine stopped"
        what = f"{printable(remedy.action)} ({remedy.kind}" if remedy.action else f"{remedy.kind} ("
        yield (
            indent,
            Text(f"{begin}: {what}{', ' if remedy.action else ''}{when}, {remedy.applicability})", style="green"),
        )
    if not finding.remedies and finding.severity is not Severity.INFO:
        yield indent, Text(f"{begin}: see gcd explain {finding.code}", style="green")


def _accepted(result: RunResult) -> Iterator[Line]:
    """What somebody knows of and lives with: one line each, apart from what is new."""
    known = [(finding, finding.accepted) for finding in result.findings if finding.accepted is not None]
    if known:
        size = f", {iec(result.summary.accepted_bytes)}" if result.summary.accepted_bytes else ""
        yield 0, Text()
        yield 0, Text(f"ACCEPTED {counted(len(known), 'finding')}{size}, counted in no figure above", style="bold")
    for finding, acceptance in known[:SHOWN_PER_GROUP]:
        until = "" if acceptance.until_ns is None else f" (until {instant(acceptance.until_ns - 1)[:10]})"
        yield 2, Text(f"{finding.severity} {printable(finding.id)}: {printable(acceptance.reason)}{until}", style="dim")
    if len(known) > SHOWN_PER_GROUP:
        yield 2, Text(f"… and {len(known) - SHOWN_PER_GROUP} more; --format json lists all", style="dim")


def _not_checked(result: RunResult) -> Iterator[Line]:
    yield 0, Text("NOT CHECKED: that no fault of these rules is shown means nothing", style="bold yellow")
    for source in Source:
        items = [item for item in result.not_checked if item.source is source]
        if items:
            reasons = "; ".join(dict.fromkeys(printable(item.why) for item in items if item.why))
            state = result.sources[source].coverage
            yield 2, Text(f"{source} is {state}{': ' + reasons if reasons else ''}")
            yield 4, Text(", ".join(f"{item.code} {item.name}" for item in items))
