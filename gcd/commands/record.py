"""What ``--record`` keeps, and the identity of the root that it is kept under."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from gcd.model.plan import Identity
from gcd.model.reading import value_of
from gcd.root.tree import open_root
from gcd.state import BootTime, open_state

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from gcd.model.finding import Code
    from gcd.model.result import RunResult

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
ENGINE_ID_LIMIT = 4096


def record(directory: Path, root: str, result: RunResult, codes: AbstractSet[Code]) -> None:
    """Keep `result` in the state of `directory`; rules that could not run count as not having looked."""
    ran = codes - {item.code for item in result.not_checked}
    boot = BootTime(BOOT_ID.read_text().strip(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    with open_state(directory) as state:
        state.record(identity_of(root), result, boot, ran)


def identity_of(root: str) -> Identity:
    """Newer engines keep an id of their own in ``engine-id``; a root of an older one is known by its inode alone."""
    with open_root(root) as directory:
        status = directory.stat()
        engine_id = value_of(directory.read("engine-id", ENGINE_ID_LIMIT, _text))
    return Identity(status.st_dev, status.st_ino, engine_id or "")


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "backslashreplace").strip()
