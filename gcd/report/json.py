"""
A result as JSON for programs: one object, described by docs/check.schema.json.

`SCHEMA` rises when a member is removed or changes its meaning; members may be added at any time. Times are RFC 3339 in
UTC, sizes bytes of disk usage. Texts are escaped as in the text report. A path that is not UTF-8 has its bytes as
base64 beside it. The output is ASCII, so that nothing in a name can reach a terminal.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from gcd import __version__
from gcd.model.inventory import Source
from gcd.report.printable import base64_of, is_utf8, printable
from gcd.report.units import instant

if TYPE_CHECKING:
    from gcd.model.finding import Acceptance, Finding, NotChecked
    from gcd.model.result import RunResult

SCHEMA = 1

Object = dict[str, Any]


def json_report(result: RunResult) -> str:
    return json.dumps(report_object(result), indent=2) + "\n"


def report_object(result: RunResult) -> Object:
    return {
        "schema": SCHEMA,
        "gcd": __version__,
        "checked_at": instant(result.checked_ns),
        "duration_seconds": result.duration_ns / 1e9,
        "root": printable(result.root),
        **({} if is_utf8(result.root) else {"root_base64": base64_of(result.root)}),
        "store": printable(result.store),
        "engine": _engine(result),
        "sources": {source: result.sources[source].coverage for source in Source},
        "source_reasons": {
            source: printable(result.sources[source].why) for source in Source if result.sources[source].why
        },
        "healthy": result.is_healthy,
        "summary": _summary(result),
        "findings": [finding_object(finding) for finding in result.findings],
        "expired_acceptances": [_acceptance(acceptance) for acceptance in result.expired],
        "not_checked": [_not_checked(item) for item in result.not_checked],
    }


def _engine(result: RunResult) -> Object:
    engine = result.engine
    return {
        "state": engine.state,
        "pid": engine.pid,
        "epoch": None if engine.epoch_ns is None else instant(engine.epoch_ns),
        "doubts": [printable(doubt) for doubt in engine.doubts],
        "others": list(engine.others),
    }


def _summary(result: RunResult) -> Object:
    summary = result.summary
    return {
        "by_code": dict(sorted(summary.by_code.items())),
        "by_severity": dict(summary.by_severity),
        "orphaned_bytes": summary.orphaned_bytes,
        "orphaned_inodes": summary.orphaned_inodes,
        "proven_bytes": summary.proven_bytes,
        "blocked_bytes": summary.blocked_bytes,
        "layer_dirs": summary.layer_dirs,
        "layers": summary.layers,
        "images": summary.images,
        "containers": summary.containers,
        "accepted": summary.accepted,
        "accepted_bytes": summary.accepted_bytes,
    }


def finding_object(finding: Finding) -> Object:
    return {
        "id": printable(finding.id),
        "code": finding.code,
        "name": finding.name,
        "kind": finding.kind,
        "severity": finding.severity,
        "confidence": finding.confidence,
        "blocked_by": [printable(blocker) for blocker in finding.blocked_by],
        "cause": None if finding.cause is None else printable(finding.cause),
        "subject": {"kind": finding.subject.kind, "id": printable(finding.subject.id)},
        "related": [{"kind": node.kind, "id": printable(node.id)} for node in finding.related],
        "summary": printable(finding.summary),
        "evidence": [{key: printable(text) for key, text in asdict(read).items()} for read in finding.evidence],
        "paths": [_path(path) for path in finding.paths],
        "disk_bytes": finding.disk_bytes,
        "inodes": finding.inodes,
        "impact": {
            "images": [printable(name) for name in finding.impact.images],
            "containers": [printable(name) for name in finding.impact.containers],
        },
        "remedies": [
            {"kind": r.kind, "moment": r.moment, "applicability": r.applicability, "action": printable(r.action)}
            for r in finding.remedies
        ],
        "accepted": None if finding.accepted is None else _acceptance(finding.accepted),
    }


def _acceptance(acceptance: Acceptance) -> Object:
    return {
        "finding": printable(acceptance.pattern),
        "reason": printable(acceptance.reason),
        "until": None if acceptance.until_ns is None else instant(acceptance.until_ns),
    }


def _path(path: str) -> Object:
    return {"path": printable(path)} if is_utf8(path) else {"path": printable(path), "base64": base64_of(path)}


def _not_checked(item: NotChecked) -> Object:
    return {"code": item.code, "name": item.name, "source": item.source, "why": printable(item.why)}
