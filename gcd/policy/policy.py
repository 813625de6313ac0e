"""
What the owner of a host allows to be done, and what one command asks for; both are values.

A policy only restricts: it never makes a remedy surer than its rule says. A finding of which a `Selection` names the
code or the id is asked for by name, and needs no verb in the policy; every other limit holds for it all the same.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field

from gcd.model.finding import Confidence, RemedyKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import time, tzinfo

    from gcd.model.finding import Code, Finding, FindingId, Kind, Severity
    from gcd.policy.windows import Weekday

DAY_NS = 86_400_000_000_000


class Verb(StrEnum):
    """What a policy says of a code, a kind or a severity."""

    IGNORE = "ignore"
    """Left alone, and not listed among what was."""
    REPORT = "report"
    REPAIR = "repair"
    RELEASE = "release"
    QUARANTINE = "quarantine"


REMEDY_OF: Mapping[Verb, RemedyKind] = {
    Verb.REPAIR: RemedyKind.REPAIR,
    Verb.RELEASE: RemedyKind.RELEASE,
    Verb.QUARANTINE: RemedyKind.QUARANTINE,
}


class Window(Struct, frozen=True):
    """
    When things may be done: from `begin` until before `end` by the clock of `zone`, on `days`.

    One whose end is not after its beginning goes over midnight, and belongs to the day on which it begins.
    """

    days: frozenset[Weekday]
    begin: time
    end: time
    zone: tzinfo


class Protection(Struct, frozen=True):
    """
    What is never touched: by code, by finding (ids or globs over ids), by whom it costs (globs over names, and over
    labels as ``key=value``).
    """

    codes: frozenset[Code] = frozenset()
    findings: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


class Policy(Struct, frozen=True):
    """
    The default does nothing: it has no verbs, and what has none is reported.

    The verbs of a code go before those of its kind, these before those of its severity. `grace_ns` is how long
    something must have been seen as it is before it counts as settled; while an engine runs it is a day at least.
    `min_bytes` is the least that is worth moving; `max_items` and `max_bytes` hold for one run. Without `windows` there
    is no wrong time. `is_offline` says that this host cannot pull.
    """

    codes: Mapping[Code, tuple[Verb, ...]] = field(default_factory=dict)
    kinds: Mapping[Kind, tuple[Verb, ...]] = field(default_factory=dict)
    severities: Mapping[Severity, tuple[Verb, ...]] = field(default_factory=dict)
    min_confidence: Confidence = Confidence.PROVEN
    grace_ns: int = DAY_NS
    min_bytes: int = 0
    max_items: int | None = None
    max_bytes: int | None = None
    windows: tuple[Window, ...] = ()
    protection: Protection = Protection()
    is_offline: bool = False

    def verbs_of(self, finding: Finding) -> tuple[Verb, ...]:
        """What is said of `finding`: by its code, else by its kind, else by its severity; nothing if by none."""
        if finding.code in self.codes:
            return self.codes[finding.code]
        if finding.kind in self.kinds:
            return self.kinds[finding.kind]
        return self.severities.get(finding.severity, ())


class Selection(Struct, frozen=True):
    """
    What one command asks for: all findings, or those of `codes` and `ids`.

    With a `remedy` they are asked for by name: that remedy is wanted whatever the verbs of the policy say, and what is
    `manual` only by its id. Without one, the policy's verbs decide.
    """

    remedy: RemedyKind | None = None
    codes: frozenset[Code] = frozenset()
    ids: frozenset[FindingId] = frozenset()

    def includes(self, finding: Finding) -> bool:
        return not (self.codes or self.ids) or finding.code in self.codes or finding.id in self.ids


class History(Struct, frozen=True):
    """
    What earlier runs saw of this root. `seen_ns`: for how many nanoseconds of this boot, by its own clock (S5), each
    finding has been there. `last_ns`: the wall clock time of the latest of these runs, 0 if there was none.
    """

    seen_ns: Mapping[FindingId, int] = field(default_factory=dict)
    last_ns: int = 0


DEFAULT = Policy()
BY_POLICY = Selection()
"""All that the policy has a verb for."""
