"""
A result as text for people.

First a line that answers "is this host healthy, and what can I get back", then what must not be done meanwhile, then
the findings grouped by cause, each with what to do, then what was not checked and why. Names from the root are escaped.
With `width` the text is wrapped to a terminal of so many columns, without it each line stays whole, so that it can be
searched. With `colour` it carries ANSI colours. An id of 64 digits is whole where it is first said and in commands;
what was read says it by its first twelve digits.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from gcd.model.facts import EngineState
from gcd.model.finding import Confidence, Finding, FindingId, Kind, Moment, Severity
from gcd.model.inventory import Coverage, Source
from gcd.report.advice import command, remedies
from gcd.report.grouping import Group, explains, groups
from gcd.report.headline import figures, headline, warnings
from gcd.report.lines import STYLES, Line, Text, written
from gcd.report.printable import printable
from gcd.report.units import counted, iec, instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gcd.model.finding import Code, NotChecked
    from gcd.model.result import RunResult

_LONG_ID = re.compile(r"\b[0-9a-f]{64}")
_SHORT = 12

SHOWN_PER_GROUP = 20
DETAILED_PER_GROUP = 5
EXPLAINED_SHOWN = 10
NAMES_SHOWN = 8
DEFAULT_ROOT = "/var/lib/docker"
"""Where a Docker root is without further word; any other one is named in what is offered to be typed."""


def text_report(
    result: RunResult, *, width: int | None = None, colour: bool = False, advice: Mapping[Code, str] | None = None
) -> str:
    """`advice` is what the rules say of a remedy, by code, for findings that have no command of their own."""
    return written(_lines(result, advice or {}), width=width, colour=colour)


def _lines(result: RunResult, advice: Mapping[Code, str]) -> Iterator[Line]:
    verdict = "bold green" if result.is_healthy else "bold red" if _is_bad(result) else "bold yellow"
    yield 0, Text(headline(result), style=verdict)
    yield 0, Text(figures(result), style="dim")
    for warning in warnings(result):
        yield 0, Text(f"! {warning}", style="bold")
    explained = explains(result.open_findings)
    for group in groups(result.open_findings):
        yield 0, Text()
        yield from _group(group, explained, advice)
    yield from _accepted(result)
    yield from _how(result)
    if result.not_checked:
        yield 0, Text()
        yield from _not_checked(result)
    missing = [s for s in Source if result.sources[s].coverage is Coverage.ABSENT]
    if missing:
        yield 0, Text()
        yield 0, Text(f"Not there, and so not read: {', '.join(missing)}.", style="dim")


def _is_bad(result: RunResult) -> bool:
    return any(finding.severity is not Severity.INFO for finding in result.open_findings)


def _group(
    group: Group, explained: Mapping[FindingId, tuple[Finding, ...]], advice: Mapping[Code, str]
) -> Iterator[Line]:
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
        Text(
            (f"{first.severity.upper():8}", STYLES[first.severity]),
            (f" {first.code} {first.name}", "bold"),
            f": {', '.join(marks)}" if marks else "",
        ),
    )
    if group.shares_summary:
        yield 2, Text(printable(first.summary))
    shared = _shared(group, advice)
    yield from ((2, _do(line)) for line in shared)
    for number, finding in enumerate(group.findings[:SHOWN_PER_GROUP]):
        yield from _finding(finding, group, brief=number >= DETAILED_PER_GROUP)
        yield from ((4, _do(line)) for line in remedies(finding, advice) if line not in shared)
        yield from _explained(finding, explained.get(finding.id, ()))
    rest = group.findings[SHOWN_PER_GROUP:]
    if rest:
        yield 2, Text(f"… and {len(rest)} more ({iec(Group(rest).disk_bytes)}); --format json lists all")


def _finding(finding: Finding, group: Group, *, brief: bool) -> Iterator[Line]:
    """
    A finding without what its group says for all; `brief` leaves out what was read. Of an orphan that is nothing but
    what its summary says.
    """
    size = f" ({iec(finding.disk_bytes)})" if finding.disk_bytes is not None and len(group.findings) > 1 else ""
    told: set[str] = set()
    yield 2, Text((_once(str(finding.subject), told), "bold"), size, no_wrap=True)
    if not group.shares_summary:
        yield 4, Text(_once(finding.summary, told))
    if finding.related:
        names = _once(_some(tuple(str(node) for node in finding.related)), told)
        yield 4, Text(f"also: {names}", style="dim", no_wrap=True)
    for read in () if brief or finding.kind is Kind.ORPHAN else finding.evidence:
        where, expected, found = (_once(text, told) for text in (read.where, read.expected, read.found))
        yield 4, Text(f"read: {where}: expected {expected}, found {found}", style="dim")
    yield from _impact(finding)
    if finding.blocked_by:
        yield 4, Text(f"blocked: it may belong to {_some(finding.blocked_by)}; mend that first", style="yellow")


def _once(text: str, told: set[str]) -> str:
    """`text` for people, with ids cut short that were `told` already; those that it tells are added."""

    def shown(match: re.Match[str]) -> str:
        if match[0] in told:
            return f"{match[0][:_SHORT]}…"
        told.add(match[0])
        return match[0]

    return _LONG_ID.sub(shown, printable(text))


def _explained(finding: Finding, others: tuple[Finding, ...]) -> Iterator[Line]:
    for other in others[:EXPLAINED_SHOWN]:
        told = set(_LONG_ID.findall(str(finding.subject)))
        yield 4, Text(f"explains: {other.severity} {_once(other.id, told)} {other.name}")
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
        parts.append(f"{counted(len(images), 'image name')} ({_some(images)})")
    if containers:
        parts.append(f"{counted(len(containers), 'container')} ({_some(containers)})")
    if parts:
        yield 6 if already else 4, Text(f"costs: {', '.join(parts)}")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:NAMES_SHOWN])
    return f"{shown} and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else shown


def _shared(group: Group, advice: Mapping[Code, str]) -> list[str]:
    """What is to be done alike about all findings of a group of several."""
    if len(group.findings) == 1:
        return []
    others = [set(remedies(finding, advice)) for finding in group.findings[1:]]
    return [line for line in remedies(group.first, advice) if all(line in lines for lines in others)]


def _do(line: str) -> Text:
    return Text(line, style="green", no_wrap=True)


def _how(result: RunResult) -> Iterator[Line]:
    """How to use the commands: what shows them beforehand, how to stop the engine, and how to take them back."""
    sure = [f for f in result.open_findings if not f.blocked_by and f.confidence is Confidence.PROVEN]
    able = [r for f in sure for r in f.remedies if r.action or command(f, r)]
    if not able:
        return
    root = shlex.quote(result.root) if printable(result.root) == result.root else "DIR"
    lines = ["gcd plan    # what the policy would do; each command also takes --dry-run"]
    if result.root != DEFAULT_ROOT:
        lines.append(f"# every gcd command with --root {root}, unless it finds this root by itself")
    if result.engine.state is not EngineState.STOPPED and any(r.moment is Moment.STOPPED for r in able):
        lines.append("systemctl stop docker.socket docker    # where it says so; containers stop with it")
    lines.append("gcd quarantine list    # what was moved or mended; restore puts it back")
    lines.append("gcd check    # again, after each step; gcd explain CODE says more")
    if any(r.action for r in able):
        lines.append(f"# by hand: paths are below {root}")
        lines.append("# leave that before the next check, or it counts as in use")
    yield 0, Text()
    yield 0, Text("gcd check changes nothing. To go on, from the top down:", style="bold")
    yield from ((2, Text(line, no_wrap=True)) for line in lines)


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


def _rules(items: Sequence[NotChecked]) -> str:
    codes = sorted(item.code for item in items)
    if len(items) > NAMES_SHOWN:
        return f"{len(items)} rules, {codes[0]} to {codes[-1]}; --format json names all"
    return ", ".join(f"{item.code} {item.name}" for item in items)


def _not_checked(result: RunResult) -> Iterator[Line]:
    yield 0, Text("NOT CHECKED: that no fault of these rules is shown means nothing", style="bold yellow")
    for source in Source:
        items = [item for item in result.not_checked if item.source is source]
        if items:
            reasons = "; ".join(dict.fromkeys(printable(item.why) for item in items if item.why))
            state = result.sources[source].coverage
            yield 2, Text(f"{source} is {state}{': ' + reasons if reasons else ''}")
            yield 4, Text(_rules(items))
