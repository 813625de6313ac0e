"""What ``--record`` keeps, and the identity of the root that it is kept under."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gcd.hooks import tell
from gcd.planning import identity_of
from gcd.report.json import finding_object
from gcd.report.printable import printable
from gcd.state import BootTime, open_state, stored

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from gcd.model.finding import Code
    from gcd.model.result import RunResult
    from gcd.settings import Settings

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def record(settings: Settings, root: str, result: RunResult, codes: AbstractSet[Code]) -> None:
    """
    Keep `result` in the state of `settings`, and tell the hook of what is new in it. Rules that could not run count as
    not having looked.
    """
    ran = codes - {item.code for item in result.not_checked}
    identity = identity_of(root)
    with open_state(settings.state_dir) as state:
        known = {sighting.finding for sighting in state.sightings(identity)}
        state.record(identity, result, boot_time(), ran)
    new = [finding for finding in result.open_findings if stored(finding.id) not in known]
    events = ({"event": "finding", "root": printable(root), "finding": finding_object(finding)} for finding in new)
    if why := tell(settings.hooks.on_finding, events, seconds=settings.hooks.timeout.total_seconds()):
        click.echo(f"gcd: hooks.on_finding: {printable(why)}", err=True)


def boot_time() -> BootTime:
    return BootTime(BOOT_ID.read_text().strip(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))
