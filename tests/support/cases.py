"""Cases for guards: by default nothing is against them; every part can be said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.results import NOON_NS, QUARANTINE, RUNNING, STOPPED, finding, hex64, orphan

from gcd.model.finding import (
    Acceptance,
    Applicability,
    Confidence,
    FindingId,
    Kind,
    Moment,
    Node,
    NodeKind,
    Remedy,
    RemedyKind,
)
from gcd.model.ids import LayerDirId
from gcd.model.inventory import Source
from gcd.policy import guards
from gcd.policy.case import Case, Situation
from gcd.policy.policy import DAY_NS, History, Policy, Protection, Selection, Window
from gcd.policy.windows import Weekday
from gcd.settings.units import hours_of, zone_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcd.model.finding import Finding
    from gcd.model.plan import LeftAlone

HOUR_NS = DAY_NS // 24

REPAIR_ONLINE = Remedy(RemedyKind.REPAIR, Moment.ONLINE, Applicability.AUTO)
REPAIR_STOPPED = Remedy(RemedyKind.REPAIR, Moment.STOPPED, Applicability.AUTO)
RELEASE = Remedy(RemedyKind.RELEASE, Moment.ONLINE, Applicability.AUTO)
QUARANTINE_STOPPED = Remedy(RemedyKind.QUARANTINE, Moment.STOPPED, Applicability.AUTO)


def situation(**fields: Any) -> Situation:
    """At noon, with an engine that has been running for an hour."""
    return Situation(**{"engine": RUNNING, "now_ns": NOON_NS, **fields})


def case(found: Finding | None = None, remedy: Remedy = QUARANTINE, **fields: Any) -> Case:
    """A proven orphan of 3 MiB that may be moved; `fields` are those of the case, else those of its situation."""
    own = {name: fields.pop(name) for name in list(fields) if name in Case.__struct_fields__}
    found = orphan("a") if found is None else found
    said = {"situation": situation(**fields), "disk_bytes": found.disk_bytes or 0, **own}
    return Case(found, remedy, **said)


def suspected(**fields: Any) -> Finding:
    """An orphan that changed 48 hours ago, and may belong to work under way all the same."""
    return orphan("a", **{"confidence": Confidence.SUSPECTED, "since_ns": NOON_NS - 2 * DAY_NS, **fields})


def missing_link(**fields: Any) -> Finding:
    subject = Node(NodeKind.LAYER_DIR, hex64("e"))
    return finding("GCD103", "missing-link-symlink", subject, kind=Kind.DANGLING, remedies=(REPAIR_ONLINE,), **fields)


def leaked(seed: str, **fields: Any) -> Finding:
    return finding(
        "GCD211",
        "orphaned-layer",
        Node(NodeKind.LAYER, f"sha256:{hex64(seed)}"),
        **{"remedies": (RELEASE, QUARANTINE_STOPPED), "paths": ("x",), "disk_bytes": 4096, **fields},
    )


ANY_CONFIDENCE = Policy(min_confidence=Confidence.SUSPECTED)
SEEN_FOR_A_DAY = History({orphan("a").id: DAY_NS, missing_link().id: DAY_NS})
NIGHTS = Window(frozenset({Weekday.TUESDAY}), *hours_of("22:00-04:00"), zone_of("UTC"))

AGAINST: Mapping[Callable[[Case], LeftAlone | None], Case] = {
    guards.not_accepted: case(orphan("a", accepted=Acceptance("GCD101:*", "known"))),
    guards.not_protected: case(policy=Policy(protection=Protection(findings=("GCD101:layer-dir:aaa*",)))),
    guards.engine_allows: case(remedy=QUARANTINE_STOPPED),
    guards.not_blocked: case(orphan("a", blocked_by=(FindingId("GCD206:layer:sha256:cc"),))),
    guards.proof_is_whole: case(missing_link(), REPAIR_ONLINE, history=SEEN_FOR_A_DAY, unread=(Source.IMAGES,)),
    guards.is_sure: case(suspected(), history=SEEN_FOR_A_DAY),
    guards.seen_long_enough: case(suspected(), policy=ANY_CONFIDENCE),
    guards.not_in_use: case(
        nodes=(Node(NodeKind.LAYER_DIR, hex64("a")),), listed_dirs=frozenset({LayerDirId(hex64("a"))})
    ),
    guards.nothing_stands_on_it: case(staying=(Node(NodeKind.LAYER_DIR, hex64("b")),)),
    guards.not_only_from_a_registry: case(leaked("b"), RELEASE, policy=Policy(is_offline=True)),
    guards.is_worth_it: case(policy=Policy(min_bytes=(3 << 20) + 1)),
    guards.in_window: case(policy=Policy(windows=(NIGHTS,))),
    guards.within_limits: case(policy=Policy(max_items=2), items=2),
}
"""By guard, a case that it alone is against."""


def named(found: Finding, **fields: Any) -> Case:
    """A case that somebody asked for by the finding's id."""
    kind = fields.get("remedy", QUARANTINE).kind
    return case(found, selection=Selection(kind, ids=frozenset({found.id})), **fields)


__all__ = [
    "AGAINST",
    "ANY_CONFIDENCE",
    "HOUR_NS",
    "NIGHTS",
    "QUARANTINE",
    "QUARANTINE_STOPPED",
    "RELEASE",
    "REPAIR_ONLINE",
    "REPAIR_STOPPED",
    "SEEN_FOR_A_DAY",
    "STOPPED",
    "case",
    "leaked",
    "missing_link",
    "named",
    "situation",
    "suspected",
]
