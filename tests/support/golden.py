"""Golden files: ``GCD_UPDATE_GOLDEN=1`` writes what a test got instead of comparing; review the difference in git."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "golden"


def assert_golden(name: str, text: str) -> None:
    path = FOLDER / name
    if os.environ.get("GCD_UPDATE_GOLDEN") == "1":
        path.write_text(text)
    assert text == path.read_text()
