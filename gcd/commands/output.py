"""Reports that go to a file: never below the root, and never half a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gcd.model.errors import GcdError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def keep_out(root: str, command: str, targets: Mapping[str, str | None]) -> None:
    """A `UsageError` if one of `targets`, by the flag or setting that names it, lies below `root`."""
    for name, target in targets.items():
        if target is not None and Path(target).resolve().is_relative_to(Path(root).resolve()):
            raise UsageError(f"{name} {target} lies below the Docker root {root}, where gcd {command} writes nothing")


PRIVATE = 0o600
"""The mode of a file that is for its owner's eyes alone."""
PUBLIC = 0o644


def write(path: str, report: str, *, mode: int | None = None) -> None:
    """All or nothing, so that no reader finds half a report; but a device or a pipe is written to, not replaced."""
    from gcd.reportfile import write_whole  # noqa: PLC0415 - tempfile, for those who want a file

    try:
        write_whole(path, report, mode=mode)
    except OSError as error:
        raise GcdError(f"the report cannot be written to {path}: {error.strerror}") from error
