"""
Findings as values of JSON and back, without loss: what an entry of the quarantine keeps of the finding it was made for.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from gcd.formats.escape import escaped
from gcd.formats.strictjson import Fields, text_value
from gcd.model.errors import FormatError
from gcd.model.finding import (
    Acceptance,
    Applicability,
    Code,
    Confidence,
    Evidence,
    Finding,
    FindingId,
    Impact,
    Kind,
    Moment,
    Node,
    NodeKind,
    Remedy,
    RemedyKind,
    Severity,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

E = TypeVar("E", bound=StrEnum)

Object = dict[str, object]


def finding_value(finding: Finding) -> Object:
    return {
        "code": text_value(finding.code),
        "name": text_value(finding.name),
        "kind": finding.kind,
        "severity": finding.severity,
        "confidence": finding.confidence,
        "subject": _node_value(finding.subject),
        "summary": text_value(finding.summary),
        "evidence": [
            {"where": text_value(e.where), "expected": text_value(e.expected), "found": text_value(e.found)}
            for e in finding.evidence
        ],
        "paths": _texts(finding.paths),
        "remedies": [
            {"kind": r.kind, "moment": r.moment, "applicability": r.applicability, "action": text_value(r.action)}
            for r in finding.remedies
        ],
        "related": [_node_value(node) for node in finding.related],
        "impact": {"images": _texts(finding.impact.images), "containers": _texts(finding.impact.containers)},
        "blocked_by": _texts(finding.blocked_by),
        "cause": None if finding.cause is None else text_value(finding.cause),
        "since_ns": finding.since_ns,
        "is_held": finding.is_held,
        "disk_bytes": finding.disk_bytes,
        "inodes": finding.inodes,
        "accepted": None if finding.accepted is None else _acceptance_value(finding.accepted),
    }


def finding_from(fields: Fields) -> Finding:
    """The finding in `fields`, all of which it takes; `FormatError` if it is none."""
    impact = fields.fields("impact")
    finding = Finding(
        code=Code(fields.text("code")),
        name=fields.text("name"),
        kind=choice(fields, "kind", Kind),
        severity=choice(fields, "severity", Severity),
        confidence=choice(fields, "confidence", Confidence),
        subject=_node_from(fields.fields("subject")),
        summary=fields.text("summary"),
        evidence=tuple(_evidence_from(evidence) for evidence in fields.objects("evidence")),
        paths=fields.texts("paths"),
        remedies=tuple(_remedy_from(remedy) for remedy in fields.objects("remedies")),
        related=tuple(_node_from(node) for node in fields.objects("related")),
        impact=Impact(impact.texts("images"), impact.texts("containers")),
        blocked_by=tuple(map(FindingId, fields.texts("blocked_by"))),
        cause=FindingId(fields.text("cause")) if fields.stated("cause") else None,
        since_ns=fields.integer("since_ns") if fields.stated("since_ns") else None,
        is_held=fields.flag("is_held"),
        disk_bytes=fields.integer("disk_bytes") if fields.stated("disk_bytes") else None,
        inodes=fields.integer("inodes") if fields.stated("inodes") else None,
        accepted=_acceptance_from(fields.fields("accepted")) if fields.stated("accepted") else None,
    )
    impact.end()
    fields.end()
    return finding


def choice(fields: Fields, name: str, among: type[E]) -> E:
    """The member `name`, one of the texts of the enum `among`."""
    text = fields.text(name)
    try:
        return among(text)
    except ValueError:
        raise FormatError(
            f"{fields.what}: {name}", expected=f"one of {', '.join(among)}", found=escaped(text)
        ) from None


def _texts(texts: Iterable[str]) -> list[object]:
    return [text_value(text) for text in texts]


def _node_value(node: Node) -> Object:
    return {"kind": node.kind, "id": text_value(node.id)}


def _node_from(fields: Fields) -> Node:
    node = Node(choice(fields, "kind", NodeKind), fields.text("id"))
    fields.end()
    return node


def _evidence_from(fields: Fields) -> Evidence:
    evidence = Evidence(fields.text("where"), fields.text("expected"), fields.text("found"))
    fields.end()
    return evidence


def _remedy_from(fields: Fields) -> Remedy:
    remedy = Remedy(
        choice(fields, "kind", RemedyKind),
        choice(fields, "moment", Moment),
        choice(fields, "applicability", Applicability),
        fields.text("action"),
    )
    fields.end()
    return remedy


def _acceptance_value(acceptance: Acceptance) -> Object:
    return {
        "pattern": text_value(acceptance.pattern),
        "reason": text_value(acceptance.reason),
        "until_ns": acceptance.until_ns,
    }


def _acceptance_from(fields: Fields) -> Acceptance:
    acceptance = Acceptance(
        fields.text("pattern"),
        fields.text("reason"),
        fields.integer("until_ns") if fields.stated("until_ns") else None,
    )
    fields.end()
    return acceptance
