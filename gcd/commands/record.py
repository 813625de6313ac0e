"""What ``--record`` keeps, and the identity of the root that it is kept under."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from gcd.planning import identity_of
from gcd.state import BootTime, open_state

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from gcd.model.finding import Code
    from gcd.model.result import RunResult

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def record(directory: Path, root: str, result: RunResult, codes: AbstractSet[Code]) -> None:
    """Keep `result` in the state of `directory`; rules that could not run count as not having looked."""
    ran = codes - {item.code for item in result.not_checked}
    with open_state(directory) as state:
        state.record(identity_of(root), result, boot_time(), ran)


def boot_time() -> BootTime:
    return BootTime(BOOT_ID.read_text().strip(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))
