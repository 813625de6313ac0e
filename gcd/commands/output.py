"""Reports that go to a file: never below the root, and never half a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gcd.model.errors import GcdError, UsageError
from gcd.reportfile import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping


def keep_out(root: str, command: str, targets: Mapping[str, str | None]) -> None:
    """A `UsageError` if one of `targets`, by the flag or setting that names it, lies below `root`."""
    for name, target in targets.items():
        if target is not None and Path(target).resolve().is_relative_to(Path(root).resolve()):
            raise UsageError(f"{name} {target} lies below the Docker root {root}, where gcd {command} writes nothing")


def write(path: str, report: str, *, is_private: bool = False) -> None:
    """All or nothing, so that no reader finds half a report; but a device or a pipe is written to, not replaced."""
    try:
        write_whole(path, report, is_private=is_private)
    except OSError as error:
        raise GcdError(f"the report cannot be written to {path}: {error.strerror}") from error
