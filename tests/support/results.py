"""Hand-made findings and results: defaults are healthy, every field can be said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from gcd.model.facts import Engine, EngineState
from gcd.model.finding import (
    Applicability,
    Code,
    Confidence,
    Evidence,
    Finding,
    Impact,
    Kind,
    Moment,
    Node,
    NodeKind,
    NotChecked,
    Remedy,
    RemedyKind,
    Severity,
)
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.result import RunResult, Summary, is_orphan

if TYPE_CHECKING:
    from collections.abc import Mapping

NOON_NS = 1_764_072_000_000_000_000
"""2025-11-25 12:00 UTC."""

RUNNING = Engine(EngineState.RUNNING, pid=4711, epoch_ns=NOON_NS - 3_600_000_000_000)
STOPPED = Engine(EngineState.STOPPED)

QUARANTINE = Remedy(RemedyKind.QUARANTINE, Moment.ONLINE, Applicability.AUTO)


def hex64(seed: str) -> str:
    return (seed * 64)[:64]


def finding(code: str, name: str, subject: Node, **fields: Any) -> Finding:
    """A proven orphan with severity warning, unless `fields` say otherwise."""
    defaults = Finding(
        code=Code(code),
        name=name,
        kind=Kind.ORPHAN,
        severity=Severity.WARNING,
        confidence=Confidence.PROVEN,
        subject=subject,
        summary=f"what is wrong with {subject.id[:12]}",
        evidence=(),
        paths=(),
        remedies=(),
    )
    return replace(defaults, **fields)


def orphan(seed: str, **fields: Any) -> Finding:
    """GCD101 at a layer dir."""
    directory = hex64(seed)
    said = {
        "summary": "no record, layer or mount refers to it",
        "evidence": (Evidence(f"overlay2/{directory}", "a reference", "none"),),
        "paths": (f"overlay2/{directory}",),
        "remedies": (QUARANTINE,),
        "disk_bytes": 3 * 1024**2,
        "inodes": 40,
    }
    return finding("GCD101", "orphaned-layer-dir", Node(NodeKind.LAYER_DIR, directory), **{**said, **fields})


def result(
    *findings: Finding,
    not_checked: tuple[NotChecked, ...] = (),
    sources: Mapping[Source, SourceState] | None = None,
    engine: Engine = RUNNING,
    root: str = "/var/lib/docker",
    store: str = "overlay2",
) -> RunResult:
    """A result whose summary is that of `findings`; sources that are not given are complete."""
    complete = dict.fromkeys(Source, SourceState(Coverage.OK))
    return RunResult(
        root=root,
        store=store,
        engine=engine,
        sources={**complete, **(sources or {})},
        summary=summary_of(findings),
        findings=findings,
        not_checked=not_checked,
        checked_ns=NOON_NS,
        duration_ns=1_230_000_000,
    )


def summary_of(findings: tuple[Finding, ...]) -> Summary:
    orphans = [f for f in findings if is_orphan(f)]
    free = [f for f in orphans if not f.blocked_by]
    by_code: dict[str, int] = {}
    by_severity: dict[str, int] = dict.fromkeys(Severity, 0)
    for found in findings:
        by_code[found.code] = by_code.get(found.code, 0) + 1
        by_severity[found.severity] += 1
    return Summary(
        by_code=by_code,
        by_severity=by_severity,
        orphaned_bytes=sum(f.disk_bytes or 0 for f in free),
        orphaned_inodes=sum(f.inodes or 0 for f in free),
        proven_bytes=sum(f.disk_bytes or 0 for f in free if f.confidence is Confidence.PROVEN),
        blocked_bytes=sum(f.disk_bytes or 0 for f in orphans if f.blocked_by),
        layer_dirs=14,
        layers=12,
        images=3,
        containers=1,
    )


def damaged_host() -> RunResult:
    """A bit of everything: a cause with what it explains, S14, orphans of each sort, a busy source, hostile names."""
    from_image = Impact(images=("shop/web:1.4", "sha256:" + hex64("d")), containers=("web",))
    cache_id = finding(
        "GCD206",
        "unreadable-cache-id",
        Node(NodeKind.LAYER, "sha256:" + hex64("c")),
        kind=Kind.DAMAGED,
        severity=Severity.ERROR,
        summary=f"layer sha256:{hex64('c')} does not say which dir it has",
        evidence=(Evidence(f"image/overlay2/layerdb/sha256/{hex64('c')}/cache-id", "a layer dir id", "empty"),),
        remedies=(
            Remedy(
                RemedyKind.REPAIR, Moment.STOPPED, Applicability.OPT_IN, "write the cache-id that the content proves"
            ),
        ),
        impact=from_image,
    )
    unloadable = finding(
        "GCD402",
        "image-unloadable",
        Node(NodeKind.IMAGE, "sha256:" + hex64("d")),
        kind=Kind.DANGLING,
        severity=Severity.ERROR,
        summary="its 2nd layer cannot be loaded",
        cause=cache_id.id,
        impact=replace(from_image, containers=("web", "worker")),
    )
    hostile = finding(
        "GCD104",
        "dangling-link-symlink",
        Node(NodeKind.LINK, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        kind=Kind.DANGLING,
        severity=Severity.INFO,
        summary="it leads to '../\x1b[31mred\udcff/diff'",
        paths=("overlay2/l/ABC\udcff",),
    )
    blocked = orphan("b", blocked_by=(cache_id.id,), disk_bytes=300 * 1024**2)
    young = orphan("e", confidence=Confidence.SUSPECTED, severity=Severity.INFO, disk_bytes=12_288)
    return result(
        cache_id,
        unloadable,
        orphan("a"),
        orphan("f", disk_bytes=1_300 * 1024**2),
        blocked,
        young,
        hostile,
        sources={Source.BUILD_SNAPSHOTS: SourceState(Coverage.BUSY, "snapshots.db changed during 5 attempts")},
        not_checked=(
            unchecked("GCD102", "orphaned-build-dir"),
            unchecked("GCD502", "missing-build-dir"),
        ),
    )


def unchecked(code: str, name: str) -> NotChecked:
    return NotChecked(Code(code), name, Source.BUILD_SNAPSHOTS, "snapshots.db changed during 5 attempts")
