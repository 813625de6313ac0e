"""
The one file that a report goes to: all of it or nothing, never half.

It is written beside its place, under a name of its own, and takes the place only once all of it is on the disk. Where
the disk is full the report that was there stays, and nothing is left over. A device or a pipe is written to, not
replaced. Callers see to it that the path is not below a root (`gcd.commands.output.keep_out`).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: str, report: str, *, mode: int | None = None) -> None:
    """
    Make `path` hold `report`, as a file of that `mode` or, without one, of the mode that it had or that the umask
    leaves; OSError, with what was there untouched, if that cannot be done.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        with target.open("w", encoding="utf-8") as file:
            file.write(report)
        return
    place = target.resolve()
    handle, beside = tempfile.mkstemp(prefix=f".{place.name[:100]}.", dir=place.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(report)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(_mode(place) if mode is None else mode)
        Path(beside).replace(place)
    except BaseException:
        Path(beside).unlink()
        raise


def _mode(place: Path) -> int:
    """That of the file that is replaced; of a new one, what the umask leaves."""
    if place.exists():
        return place.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
