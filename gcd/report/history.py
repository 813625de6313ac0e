"""What was done to a root and what was refused, for people and for programs. Names from the root are escaped."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from gcd.model.audit import ActKind
from gcd.model.plan import Outcome
from gcd.report.printable import base64_of, is_utf8, printable
from gcd.report.units import iec, instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcd.model.audit import Act

SCHEMA = 1

_DONE = {
    ActKind.REPAIR: "repaired",
    ActKind.RELEASE: "released",
    ActKind.QUARANTINE: "quarantined",
    ActKind.RESTORE: "restored",
    ActKind.PURGE: "purged",
}


def history_text(acts: Sequence[Act]) -> str:
    """One paragraph a run, oldest first; one line an act."""
    return "\n".join(_lines(acts)) + "\n"


def history_json(acts: Sequence[Act]) -> str:
    return json.dumps({"schema": SCHEMA, "acts": [act_object(act) for act in acts]}, indent=2) + "\n"


def _lines(acts: Sequence[Act]) -> Iterator[str]:
    if not acts:
        yield "Nothing was done to this root, and nothing was refused."
        return
    for number, (run, group) in enumerate(itertools.groupby(acts, lambda act: act.run)):
        if number:
            yield ""
        yield f"run {printable(run)}"
        yield from (f"  {instant(act.at_ns)[:19]}Z  {_words(act)}" for act in group)


def _words(act: Act) -> str:
    finding = printable(act.finding)
    if act.outcome is Outcome.DONE:
        size = f", {iec(act.disk_bytes)}" if act.disk_bytes else ""
        entry = f", entry {printable(act.entry)}" if act.entry else ""
        return f"{_DONE[act.kind]} {finding}{size}{entry}"
    word = {Outcome.REFUSED: "refused", Outcome.FAILED: "failed"}[act.outcome]
    return f"{act.kind} {word}: {finding}: {printable(act.why)}{f' ({act.reason})' if act.reason else ''}"


def act_object(act: Act) -> dict[str, Any]:
    return {
        "run": act.run,
        "at": instant(act.at_ns),
        "kind": act.kind,
        "finding": printable(act.finding),
        **({} if is_utf8(act.finding) else {"finding_base64": base64_of(act.finding)}),
        "outcome": act.outcome,
        "reason": act.reason,
        "why": printable(act.why),
        "entry": act.entry or None,
        "disk_bytes": act.disk_bytes,
    }
