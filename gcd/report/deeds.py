"""
What became of a plan, step by step and in sum, as plain lines for people. Names from the root are escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model.audit import ActKind, kind_of
from gcd.model.plan import Outcome
from gcd.report.printable import printable
from gcd.report.units import iec, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcd.model.plan import Deed

_DONE = {ActKind.REPAIR: "repaired", ActKind.RELEASE: "released", ActKind.QUARANTINE: "moved"}


def deed_line(deed: Deed) -> str:
    """What became of one step."""
    kind, finding = kind_of(deed.step), deed.step.finding
    name = f"{printable(finding.id)} {finding.name}"
    if deed.outcome is Outcome.DONE:
        size = f", {iec(deed.disk_bytes)}" if deed.disk_bytes else ""
        entry = f", entry {printable(deed.entry)}" if deed.entry else ""
        return f"{_DONE[kind]:<8}  {name}{size}{entry}"
    word = {Outcome.REFUSED: "refused", Outcome.FAILED: "failed"}[deed.outcome]
    entry = f"; entry {printable(deed.entry)}" if deed.entry else ""
    return f"{word:<8}  {name}: {printable(deed.why)}{entry}"


def deeds_summary(deeds: Sequence[Deed], *, is_purged: bool = False) -> str:
    """What was done in all, what was not, and where the bytes are; nowhere with `is_purged`."""
    done = [deed for deed in deeds if deed.outcome is Outcome.DONE]
    parts: list[str] = []
    for kind, word in _DONE.items():
        some = [deed for deed in done if kind_of(deed.step) is kind]
        if some:
            size = sum(deed.disk_bytes for deed in some)
            parts.append(f"{len(some)} {word}{f' ({iec(size)})' if size and kind is not ActKind.REPAIR else ''}")
    parts += [
        f"{number} {word}"
        for outcome, word in ((Outcome.REFUSED, "refused"), (Outcome.FAILED, "failed"))
        if (number := sum(deed.outcome is outcome for deed in deeds))
    ]
    lines = [f"{listed(parts) or 'Nothing was done'}."]
    if is_purged:
        return lines[0]
    if any(kind_of(deed.step) is ActKind.QUARANTINE for deed in done):
        lines.append("What was moved is in .gcd and frees nothing until it is purged: gcd quarantine list.")
    elif any(deed.entry for deed in done):
        lines.append("What was replaced is kept in .gcd: gcd quarantine list; restore undoes a repair.")
    return "\n".join(lines)
