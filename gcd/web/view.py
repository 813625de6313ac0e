"""
What is published, as the page says it: every text made safe and complete, so that the template only places it. Pure.

The words are those of the text report. What is many is cut where the text report cuts it: a page is for people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.model.facts import EngineState
from gcd.model.finding import Confidence, Kind, Severity
from gcd.model.inventory import Source
from gcd.model.published import Scope
from gcd.report.advice import remedies
from gcd.report.grouping import explains, groups
from gcd.report.headline import headline, warnings
from gcd.report.printable import printable
from gcd.report.units import counted, iec, instant, listed
from gcd.rules.catalogue import EVERY_RULE
from gcd.rules.document import remedy_in_words
from gcd.web.plot import Plot, plot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gcd.model.finding import Finding, FindingId
    from gcd.model.published import Published
    from gcd.model.result import RunResult
    from gcd.report.grouping import Group

SHOWN_PER_GROUP = 20
EXPLAINED_SHOWN = 10
NAMES_SHOWN = 8
EVIDENCE_SHOWN = 8
ACCEPTED_SHOWN = 20
STALE_NS = 3_600_000_000_000
"""A full look that is older than an hour is said to be old; one comes every quarter of an hour."""
DEFAULT_ROOT = "/var/lib/docker"

_ADVICE = {rule.code: remedy_in_words(rule) for rule in EVERY_RULE}

_VERDICTS = {
    Severity.CRITICAL: "The engine will not start",
    Severity.ERROR: "Damaged",
    Severity.WARNING: "Needs attention",
}


class Tile(Struct, frozen=True):
    name: str
    value: str
    unit: str
    note: str


class Step(Struct, frozen=True):
    """One thing to do: when or how, and what, which `is_typed` or is to be understood."""

    when: str
    what: str
    is_typed: bool


class Item(Struct, frozen=True):
    """One finding of a group. `size` is "" where nothing would be freed."""

    subject: str
    size: str
    summary: str
    costs: str
    blocked: str
    read: tuple[str, ...]
    steps: tuple[Step, ...]
    explains: tuple[str, ...]


class Card(Struct, frozen=True):
    """A group of findings."""

    severity: Severity
    code: str
    name: str
    marks: tuple[str, ...]
    summary: str
    steps: tuple[Step, ...]
    items: tuple[Item, ...]
    more: str

    @property
    def has_sizes(self) -> bool:
        return any(item.size for item in self.items)


class Unchecked(Struct, frozen=True):
    source: str
    state: str
    why: str
    rules: str


class View(Struct, frozen=True):
    host: str
    root: str
    is_default_root: bool
    level: str
    """``healthy``, ``unknown`` or the worst severity: the colour of the verdict."""
    verdict: str
    headline: str
    troubles: tuple[str, ...]
    warnings: tuple[str, ...]
    facts: tuple[str, ...]
    checked: str
    checked_at: str
    tiles: tuple[Tile, ...]
    plot: Plot | None
    cards: tuple[Card, ...]
    unchecked: tuple[Unchecked, ...]
    accepted: tuple[str, ...]
    quarantine: str
    has_quarantine: bool
    since: tuple[tuple[str, str], ...]


def view(published: Published, *, host: str, now_ns: int) -> View:
    """`published` as it is to be told on `host` at `now_ns` of the wall clock."""
    result = published.result
    explained = explains(result.open_findings)
    level, verdict = _verdict(published)
    return View(
        host=printable(host),
        root=printable(result.root),
        is_default_root=result.root == DEFAULT_ROOT,
        level=level,
        verdict=verdict,
        headline=headline(result),
        troubles=tuple(_troubles(published, now_ns)),
        warnings=tuple(warnings(result)),
        facts=_facts(result),
        checked=_ago(result.checked_ns, now_ns),
        checked_at=f"{instant(result.checked_ns)[:19]}Z",
        tiles=_tiles(published, now_ns),
        plot=plot(published.history),
        cards=tuple(_card(group, explained) for group in groups(result.open_findings)),
        unchecked=tuple(_unchecked(result)),
        accepted=tuple(_accepted(result)),
        quarantine=_quarantine(published, now_ns),
        has_quarantine=bool(published.holding.entries),
        since=_since(published, now_ns),
    )


def _verdict(published: Published) -> tuple[str, str]:
    result = published.result
    worst = max((f.severity for f in result.open_findings), key=lambda s: s.rank, default=Severity.INFO)
    if worst in _VERDICTS:
        return worst, _VERDICTS[worst]
    if published.has_failed:
        return "unknown", "Not known"
    if result.not_checked:
        return "unknown", "Not fully checked"
    if any(f.confidence is Confidence.SUSPECTED and f.kind in {Kind.DAMAGED, Kind.DANGLING} for f in result.findings):
        return "unknown", "Perhaps damaged"
    return "healthy", "Healthy"


def _troubles(published: Published, now_ns: int) -> Iterator[str]:
    """What stands between the page and the truth, or between gcd and its work."""
    if published.trouble:
        failed = "The last check failed, and what follows is older: " if published.has_failed else ""
        yield f"{failed}{printable(published.trouble)}"
    full_ns = published.checked_ns.get(Scope.FULL, published.result.checked_ns)
    if now_ns - full_ns > STALE_NS:
        yield f"The root was last read in full {_ago(full_ns, now_ns)}: see systemctl status gcd."
    if not published.is_watching:
        yield "The root is not watched but looked at by the clock: the kernel gives no more watches."


def _facts(result: RunResult) -> tuple[str, ...]:
    summary = result.summary
    return (
        _engine(result),
        counted(summary.images, "image"),
        counted(summary.containers, "container"),
        counted(summary.layers, "layer"),
        counted(summary.layer_dirs, "layer dir"),
    )


def _engine(result: RunResult) -> str:
    match result.engine.state:
        case EngineState.RUNNING:
            return "engine running" + (f" (pid {result.engine.pid})" if result.engine.pid is not None else "")
        case EngineState.STOPPED:
            return "engine stopped"
        case EngineState.UNKNOWN:
            return "state of the engine unknown"


def _tiles(published: Published, now_ns: int) -> tuple[Tile, ...]:
    summary, holding = published.result.summary, published.holding
    suspected = summary.orphaned_bytes - summary.proven_bytes
    oldest = "" if holding.oldest_ns is None else f", the oldest from {_ago(holding.oldest_ns, now_ns)}"
    entries = counted(holding.entries, "entry", "entries")
    return (
        _tile("Orphaned", summary.orphaned_bytes, f"{iec(suspected)} of it only suspected" if suspected else "proven"),
        _tile("Blocked", summary.blocked_bytes, "may belong to what is damaged"),
        _tile("Policy would free", published.reclaimable_bytes, "or move aside, now"),
        _tile("In quarantine", holding.disk_bytes, f"{entries}{oldest}" if holding.entries else "nothing"),
    )


def _tile(name: str, size: int, note: str) -> Tile:
    value, _, unit = iec(size).partition(" ")
    return Tile(name, value, unit, note if size or name == "In quarantine" else "nothing")


def _card(group: Group, explained: Mapping[FindingId, tuple[Finding, ...]]) -> Card:
    first, findings = group.first, group.findings
    marks = [counted(len(findings), "finding")] if len(findings) > 1 else []
    marks += [iec(group.disk_bytes)] if group.disk_bytes else []
    marks += ["suspected"] if first.confidence is Confidence.SUSPECTED else []
    marks += ["blocked"] if first.blocked_by else []
    shared = _shared(group)
    rest = findings[SHOWN_PER_GROUP:]
    return Card(
        severity=first.severity,
        code=first.code,
        name=first.name,
        marks=tuple(marks),
        summary=printable(first.summary) if group.shares_summary else "",
        steps=_steps(shared),
        items=tuple(_item(f, group, shared, explained.get(f.id, ())) for f in findings[:SHOWN_PER_GROUP]),
        more=f"and {len(rest)} more{_of_size(rest)}: gcd check --format json lists all" if rest else "",
    )


def _shared(group: Group) -> list[str]:
    """What is to be done alike about all findings of a group."""
    others = [set(remedies(finding, _ADVICE)) for finding in group.findings[1:]]
    return [line for line in remedies(group.first, _ADVICE) if all(line in lines for lines in others)]


def _of_size(findings: Sequence[Finding]) -> str:
    size = sum(finding.disk_bytes or 0 for finding in findings)
    return f" ({iec(size)})" if size else ""


def _item(finding: Finding, group: Group, shared: list[str], others: tuple[Finding, ...]) -> Item:
    is_orphan = finding.kind is Kind.ORPHAN
    explained = [_explained(other) for other in others[:EXPLAINED_SHOWN]]
    if len(others) > EXPLAINED_SHOWN:
        explained.append(f"and {len(others) - EXPLAINED_SHOWN} more")
    return Item(
        subject=printable(str(finding.subject)),
        size="" if finding.disk_bytes is None else iec(finding.disk_bytes),
        summary="" if group.shares_summary else printable(finding.summary),
        costs=_costs(finding),
        blocked=_some(finding.blocked_by),
        read=tuple(
            f"{printable(read.where)}: expected {printable(read.expected)}, found {printable(read.found)}"
            for read in (() if is_orphan else finding.evidence[:EVIDENCE_SHOWN])
        ),
        steps=_steps([line for line in remedies(finding, _ADVICE) if line not in shared]),
        explains=tuple(explained),
    )


def _explained(other: Finding) -> str:
    costs = _costs(other)
    name = f"{other.severity} {other.code} {other.name}: {printable(str(other.subject))}"
    return f"{name}; costs {costs}" if costs else name


def _steps(lines: Sequence[str]) -> tuple[Step, ...]:
    parted = (line.partition(": ") for line in lines)
    return tuple(Step(when, what, is_typed=what.startswith("gcd ")) for when, _, what in parted)


def _costs(finding: Finding) -> str:
    images, containers = finding.impact.images, finding.impact.containers
    parts = [f"{counted(len(images), 'image name')} ({_some(images)})"] if images else []
    parts += [f"{counted(len(containers), 'container')} ({_some(containers)})"] if containers else []
    return ", ".join(parts)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:NAMES_SHOWN])
    return f"{shown} and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else shown


def _unchecked(result: RunResult) -> Iterator[Unchecked]:
    for source in Source:
        items = [item for item in result.not_checked if item.source is source]
        if items:
            codes = sorted({item.code for item in items})
            yield Unchecked(
                source=source,
                state=result.sources[source].coverage,
                why="; ".join(dict.fromkeys(printable(item.why) for item in items if item.why)),
                rules=", ".join(codes),
            )


def _accepted(result: RunResult) -> Iterator[str]:
    known = [(finding, finding.accepted) for finding in result.findings if finding.accepted is not None]
    for finding, acceptance in known[:ACCEPTED_SHOWN]:
        until = "" if acceptance.until_ns is None else f" (until {instant(acceptance.until_ns - 1)[:10]})"
        yield f"{finding.severity} {printable(finding.id)}: {printable(acceptance.reason)}{until}"
    if len(known) > ACCEPTED_SHOWN:
        yield f"and {len(known) - ACCEPTED_SHOWN} more: gcd check --format json lists all"


def _quarantine(published: Published, now_ns: int) -> str:
    holding = published.holding
    if not holding.entries:
        return "Nothing was moved aside."
    oldest = "" if holding.oldest_ns is None else f", the oldest moved there {_ago(holding.oldest_ns, now_ns)}"
    entries = counted(holding.entries, "entry", "entries")
    return (
        f"{entries}, {iec(holding.disk_bytes)}{oldest}. A purge frees that space; until then all of it can be put back."
    )


def _since(published: Published, now_ns: int) -> tuple[tuple[str, str], ...]:
    """What the daemon did since it began, by name."""
    tally = published.tally
    rows = []
    for scope, name in ((Scope.FULL, "Full checks"), (Scope.INCREMENTAL, "Checks of changes")):
        durations = tally.durations.get(scope)
        number = sum(durations.counts) if durations is not None else 0
        at_ns = published.checked_ns.get(scope)
        rows.append((name, f"{number}" + (f", the last {_ago(at_ns, now_ns)}" if at_ns else "")))
    done = [f"{n} {kind} {outcome}" for (kind, outcome), n in sorted(tally.acts.items()) if n]
    rows.append(("Acts", listed(done) or "none"))
    rows.append(("Freed", iec(tally.reclaimed_bytes)))
    refused = sum(tally.refusals.values())
    rows.append(("Refusals", f"{refused}" + (": gcd history says why" if refused else "")))
    rows.append(("Failures", str(tally.failures)))
    rows.append(("Events seen", f"{tally.watch_events}, {counted(tally.watch_overflows, 'overflow')}"))
    return tuple(rows)


def _ago(at_ns: int, now_ns: int) -> str:
    seconds = (now_ns - at_ns) // 1_000_000_000
    if seconds < 0:
        return f"at {instant(at_ns)[:19]}Z, which is in the future"
    for size, noun in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= 2 * size or (noun == "day" and seconds >= size):
            return f"{counted(seconds // size, noun)} ago"
    return f"{counted(seconds, 'second')} ago"
