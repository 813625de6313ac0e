"""
Waiting for what a watcher hears: for the condition, never for a time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gcd.model.changed import EVERYTHING, NOTHING, Changed

if TYPE_CHECKING:
    from pathlib import Path

    from gcd.watch import Watcher

PATIENCE_SECONDS = 20.0

FOLDERS = (
    "buildkit",
    "containers",
    "image/overlay2/imagedb/content/sha256",
    "image/overlay2/imagedb/metadata/sha256",
    "image/overlay2/layerdb/mounts",
    "image/overlay2/layerdb/sha256",
    "image/overlay2/layerdb/tmp",
    "overlay2/l",
)
"""Of a root without anything in it."""


def make_folders(root: Path) -> Path:
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    return root


def heard(watcher: Watcher, wanted: Changed) -> Changed:
    """The union of what `watcher` hands out until it is `wanted`, or everything, or until patience ends."""
    union = NOTHING
    end = time.monotonic() + PATIENCE_SECONDS
    while union != wanted and time.monotonic() < end:
        union |= watcher.take(0.5)
        if union.everything:
            return EVERYTHING
    return union
