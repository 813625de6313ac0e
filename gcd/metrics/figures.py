"""
The table of all figures: name, unit, labels, and how each is counted. Pure.

``gcd_findings`` has a series for each severity that a code can have: that of the table, ``info`` where a finding of the
code can be merely suspected, and what milder cases have. A finding of any other severity would be counted under the
next worse one of its code, so that sums over codes are right, and none is ever taken for harmless.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from gcd import __version__
from gcd.model.audit import ActKind
from gcd.model.facts import EngineState
from gcd.model.finding import Code, Kind, Severity
from gcd.model.inventory import Coverage, Source
from gcd.model.plan import Outcome, Reason
from gcd.model.published import Durations, LayerState, Published, Scope
from gcd.model.result import is_orphan
from gcd.rules.catalogue import EVERY_RULE
from gcd.rules.table import NEEDLESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gcd.model.finding import Finding
    from gcd.model.result import RunResult

_MILDER: Mapping[Severity, frozenset[int]] = {
    Severity.INFO: frozenset(
        {
            101,
            102,
            114,
            116,
            202,
            211,
            212,
            301,
            302,
            303,
            304,
            305,
            306,
            307,
            309,
            310,
            402,
            404,
            503,
            601,
            602,
            605,
            701,
        }
    ),
    Severity.WARNING: frozenset({110, 301, 302, 303, 306, 705}),
    Severity.ERROR: frozenset({307, 501, 805}),
}
"""The numbers of the codes whose findings can also have this severity, which is not the one of the table."""

SEVERITIES: Mapping[Code, tuple[Severity, ...]] = {
    rule.code: tuple(s for s in Severity if s is rule.severity or int(rule.code[3:]) in _MILDER.get(s, ()))
    for rule in EVERY_RULE
}
"""Those that findings of each code can have, the mildest first."""

_ORPHANS = tuple(rule.code for rule in EVERY_RULE if rule.kind is Kind.ORPHAN)
_UNLOADABLE = frozenset({"GCD401", "GCD402"})
_NS = 1_000_000_000

Samples = Iterable[tuple[tuple[str, ...], float | Durations]]


class Type(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    INFO = "info"


class Figure(Struct, frozen=True):
    """
    A metric. `samples` gives the values of its labels with the value, always for the same labels. Of an info the
    `labels` are all that there is. A single check knows what `is_of_check` says; the rest is the daemon's.
    """

    name: str
    type: Type
    text: str
    samples: Callable[[Published], Samples]
    labels: tuple[str, ...] = ()
    is_of_check: bool = True


# --- what a result says ---------------------------------------------------------------------------------------------


def _one(value: float) -> Samples:
    return (((), value),)


def _by_code(found: Mapping[Code, int], codes: Iterable[Code]) -> Samples:
    return (((code,), found.get(code, 0)) for code in codes)


def _build(_published: Published) -> Samples:
    return (((__version__, platform.python_version()), 1),)


def _store(published: Published) -> Samples:
    return (((published.result.store,), 1),)


def _sources(published: Published) -> Samples:
    for source in Source:
        coverage = published.result.sources[source].coverage
        yield (source,), coverage is Coverage.OK or (coverage is Coverage.ABSENT and source in NEEDLESS)


def _not_checked(published: Published) -> Samples:
    unchecked = {item.code for item in published.result.not_checked}
    return (((rule.code,), rule.code in unchecked) for rule in EVERY_RULE)


def _findings(published: Published) -> Samples:
    counts = Counter((f.code, _counted_as(f)) for f in published.result.open_findings)
    return (((code, s), counts[code, s]) for code, severities in SEVERITIES.items() for s in severities)


def _counted_as(finding: Finding) -> Severity:
    """The severity of `finding`, if its code has a series for it, or the next worse one that it has, or its worst."""
    severities = SEVERITIES[finding.code]
    return next((s for s in severities if s.rank >= finding.severity.rank), severities[-1])


def _orphans(result: RunResult) -> Iterator[Finding]:
    return (f for f in result.open_findings if is_orphan(f) and not f.blocked_by)


def _orphaned_bytes(published: Published) -> Samples:
    found: Counter[Code] = Counter()
    for finding in _orphans(published.result):
        found[finding.code] += finding.disk_bytes or 0
    return _by_code(found, _ORPHANS)


def _orphaned_inodes(published: Published) -> Samples:
    found: Counter[Code] = Counter()
    for finding in _orphans(published.result):
        found[finding.code] += finding.inodes or 0
    return _by_code(found, _ORPHANS)


def _severe(result: RunResult) -> Iterator[Finding]:
    return (f for f in result.open_findings if f.severity.rank >= Severity.ERROR.rank)


def _unloadable_images(published: Published) -> Samples:
    return _one(len({f.subject for f in _severe(published.result) if f.code in _UNLOADABLE}))


def _lost_containers(published: Published) -> Samples:
    return _one(len({name for f in _severe(published.result) for name in f.impact.containers}))


def _layers(published: Published) -> Samples:
    return (((state,), published.scrubbing.layers.get(state, 0)) for state in LayerState)


# --- what the daemon knows ------------------------------------------------------------------------------------------


def _actions(published: Published) -> Samples:
    acts = published.tally.acts
    return (((kind, outcome), acts.get((kind, outcome), 0)) for kind in ActKind for outcome in Outcome)


def _refusals(published: Published) -> Samples:
    return (((reason,), published.tally.refusals.get(reason, 0)) for reason in Reason)


def _durations(published: Published) -> Samples:
    return (((scope,), published.tally.durations.get(scope, Durations())) for scope in Scope)


def _last_checks(published: Published) -> Samples:
    return (((scope,), published.checked_ns.get(scope, 0) / _NS) for scope in Scope)


FIGURES: tuple[Figure, ...] = (
    Figure("gcd_build_info", Type.INFO, "The versions of gcd and of its Python.", _build, ("version", "python")),
    Figure("gcd_store_info", Type.INFO, "The store of the root, such as overlay2.", _store, ("store",)),
    Figure(
        "gcd_up",
        Type.GAUGE,
        "Whether the last check ended without an error (1) or with one (0); then the rest is of the check before.",
        lambda p: _one(not p.has_failed),
    ),
    Figure(
        "gcd_engine_running",
        Type.GAUGE,
        "Whether an engine runs on the root (1); 0 where none does, or where that cannot be told.",
        lambda p: _one(p.result.engine.state is EngineState.RUNNING),
    ),
    Figure(
        "gcd_source_readable",
        Type.GAUGE,
        "Whether a source of facts was read in full (1), or what depends on it cannot be checked (0).",
        _sources,
        ("source",),
    ),
    Figure(
        "gcd_not_checked",
        Type.GAUGE,
        "Whether a rule could not be checked (1): that nothing of it was found then means nothing.",
        _not_checked,
        ("code",),
    ),
    Figure(
        "gcd_findings",
        Type.GAUGE,
        "Findings that nobody accepted; those that are only suspected have the severity info.",
        _findings,
        ("code", "severity"),
    ),
    Figure(
        "gcd_orphaned_bytes",
        Type.GAUGE,
        "Disk usage in bytes of what nothing refers to, proven and suspected, without what is blocked.",
        _orphaned_bytes,
        ("code",),
    ),
    Figure(
        "gcd_orphaned_inodes",
        Type.GAUGE,
        "Inodes of what nothing refers to, counted as gcd_orphaned_bytes.",
        _orphaned_inodes,
        ("code",),
    ),
    Figure(
        "gcd_blocked_bytes",
        Type.GAUGE,
        "Disk usage in bytes of what seems orphaned but may belong to something damaged.",
        lambda p: _one(p.result.summary.blocked_bytes),
    ),
    Figure(
        "gcd_reclaimable_bytes",
        Type.GAUGE,
        "Disk usage in bytes of what the policy would free or move aside now; 0 for a policy that only reports.",
        lambda p: _one(p.reclaimable_bytes),
        is_of_check=False,
    ),
    Figure(
        "gcd_unloadable_images",
        Type.GAUGE,
        "Images that the engine cannot load at its next start (GCD401, GCD402).",
        _unloadable_images,
    ),
    Figure(
        "gcd_lost_containers",
        Type.GAUGE,
        "Containers that findings of severity error or critical cost: they cannot be started, or not with their data.",
        _lost_containers,
    ),
    Figure(
        "gcd_quarantined_bytes",
        Type.GAUGE,
        "Disk usage in bytes of the quarantine; an entry is measured once, when it is closed.",
        lambda p: _one(p.holding.disk_bytes),
        is_of_check=False,
    ),
    Figure(
        "gcd_quarantine_entries",
        Type.GAUGE,
        "Entries of the quarantine.",
        lambda p: _one(p.holding.entries),
        is_of_check=False,
    ),
    Figure(
        "gcd_quarantine_oldest_timestamp_seconds",
        Type.GAUGE,
        "When the oldest entry of the quarantine was moved there, in seconds since 1970; 0 without any.",
        lambda p: _one((p.holding.oldest_ns or 0) / _NS),
        is_of_check=False,
    ),
    Figure(
        "gcd_quarantine_retention_seconds",
        Type.GAUGE,
        "How long an entry of the quarantine is kept, in seconds (quarantine.retention).",
        lambda p: _one(p.holding.retention_seconds),
        is_of_check=False,
    ),
    Figure(
        "gcd_scrub_layers",
        Type.GAUGE,
        "Layers by what scrubs told of their content last. Pending are those never looked at, or longer ago than "
        "the period; what was damaged stays it until a scrub says otherwise. Layers that are gone count nowhere.",
        _layers,
        ("state",),
    ),
    Figure(
        "gcd_scrub_bytes_total",
        Type.COUNTER,
        "Bytes that scrubs, whoever began them, have read of layers that they were done with, since the daemon began.",
        lambda p: _one(p.tally.scrubbed_bytes),
        is_of_check=False,
    ),
    Figure(
        "gcd_scrub_progress_ratio",
        Type.GAUGE,
        "How much of the last scrub is done, as a ratio from 0 to 1, each layer by its size; 0 before the first.",
        lambda p: _one(p.scrubbing.progress),
    ),
    Figure(
        "gcd_scrub_oldest_verified_timestamp_seconds",
        Type.GAUGE,
        "When the layer was looked at that was not for longest, of those that ever were, in seconds since 1970; "
        "0 where none was.",
        lambda p: _one((p.scrubbing.oldest_ns or 0) / _NS),
    ),
    Figure(
        "gcd_scrub_period_seconds",
        Type.GAUGE,
        "Within how many seconds all layers are to be looked at (scrub.every); 0 where nobody wants that. A check "
        "takes it for wanted once a scrub was begun.",
        lambda p: _one(p.scrubbing.period_seconds),
    ),
    Figure(
        "gcd_scrub_readable",
        Type.GAUGE,
        "Whether the state in which scrubs keep their verdicts could be read (1); else (0) the rest of gcd_scrub is of "
        "the last time that it could, and layers of which nothing was read are pending.",
        lambda p: _one(p.scrubbing.is_readable),
    ),
    Figure(
        "gcd_actions_total",
        Type.COUNTER,
        "What was undertaken since the daemon began, by what came of it.",
        _actions,
        ("action", "outcome"),
        is_of_check=False,
    ),
    Figure(
        "gcd_refusals_total",
        Type.COUNTER,
        "Steps and whole runs that were refused since the daemon began, by the reason.",
        _refusals,
        ("reason",),
        is_of_check=False,
    ),
    Figure(
        "gcd_reclaimed_bytes_total",
        Type.COUNTER,
        "Disk usage in bytes that purges and releases have freed since the daemon began.",
        lambda p: _one(p.tally.reclaimed_bytes),
        is_of_check=False,
    ),
    Figure(
        "gcd_check_duration_seconds",
        Type.HISTOGRAM,
        "How long checks took, in seconds: of the whole root (full) or of what changed in it (incremental).",
        _durations,
        ("scope",),
        is_of_check=False,
    ),
    Figure(
        "gcd_last_check_timestamp_seconds",
        Type.GAUGE,
        "When the last check of each scope was made, in seconds since 1970: the age of all figures here, which are "
        "kept from check to check; 0 before the first.",
        _last_checks,
        ("scope",),
    ),
    Figure(
        "gcd_check_failures_total",
        Type.COUNTER,
        "Checks, and runs of the policy, that ended with an error since the daemon began.",
        lambda p: _one(p.tally.failures),
        is_of_check=False,
    ),
    Figure(
        "gcd_watch_events_total",
        Type.COUNTER,
        "Events that the kernel told of the root since the daemon began.",
        lambda p: _one(p.tally.watch_events),
        is_of_check=False,
    ),
    Figure(
        "gcd_watch_overflows_total",
        Type.COUNTER,
        "Times that the kernel dropped events since the daemon began; each is followed by a full check.",
        lambda p: _one(p.tally.watch_overflows),
        is_of_check=False,
    ),
    Figure(
        "gcd_watching",
        Type.GAUGE,
        "Whether the root is watched (1), or only looked at by the clock (0).",
        lambda p: _one(p.is_watching),
        is_of_check=False,
    ),
)
"""All metrics, in the order of the exposition."""
