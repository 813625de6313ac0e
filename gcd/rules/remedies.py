"""The remedies that codes share: what kind, when it may be done, and how sure it is."""

from __future__ import annotations

from msgspec.structs import replace

from gcd.model.finding import Applicability, Moment, Remedy, RemedyKind

REPAIR_ONLINE = Remedy(RemedyKind.REPAIR, Moment.ONLINE, Applicability.AUTO)
REPAIR_STOPPED = Remedy(RemedyKind.REPAIR, Moment.STOPPED, Applicability.AUTO)
REPAIR_STOPPED_OPT_IN = Remedy(RemedyKind.REPAIR, Moment.STOPPED, Applicability.OPT_IN)
REPAIR_STOPPED_MANUAL = Remedy(RemedyKind.REPAIR, Moment.STOPPED, Applicability.MANUAL)
QUARANTINE_ONLINE = Remedy(RemedyKind.QUARANTINE, Moment.ONLINE, Applicability.AUTO)
QUARANTINE_ONLINE_OPT_IN = Remedy(RemedyKind.QUARANTINE, Moment.ONLINE, Applicability.OPT_IN)
QUARANTINE_STOPPED = Remedy(RemedyKind.QUARANTINE, Moment.STOPPED, Applicability.AUTO)
QUARANTINE_STOPPED_OPT_IN = Remedy(RemedyKind.QUARANTINE, Moment.STOPPED, Applicability.OPT_IN)
QUARANTINE_STOPPED_MANUAL = Remedy(RemedyKind.QUARANTINE, Moment.STOPPED, Applicability.MANUAL)
RELEASE_ONLINE = Remedy(RemedyKind.RELEASE, Moment.ONLINE, Applicability.AUTO)


def write(value: str, path: str) -> str:
    """The command that makes the file `path` hold `value` alone; the engine takes no newline behind it."""
    return f"printf %s {value} > {path}"


def to(remedy: Remedy, action: str) -> tuple[Remedy, ...]:
    """`remedy`, with the action that this one finding calls for."""
    return (replace(remedy, action=action),)
