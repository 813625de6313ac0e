"""
The directories of a layer, opened name by name.

Members of a stream come folder by folder: those above the last one stay open, and the next is reached from the deepest
that it shares. At most `MOST_OPEN` are open, however deep a hostile tree is.
"""

from __future__ import annotations

import os

from gcd.root.listing import DIRECTORY_FLAGS

MOST_OPEN = 64


class Folders:
    """
    Directories below the open one `base`, which stays its owner's; `close` closes the others.

    Asked again and again for the same folder, it opens nothing.
    """

    def __init__(self, base: int) -> None:
        self._base = base
        self._last: str | None = ""
        """The folder that was asked for last; None where it could not be opened."""
        self._parts: list[str] = []
        self._fds: list[int] = []

    def close(self) -> None:
        self._shrink(0)
        self._last = ""

    def open(self, path: str) -> int:
        """
        The descriptor of the folder `path` ("": the base), good until the next call. `OSError` where a name on the way
        is no directory, a symlink included (ENOTDIR, ELOOP), or is not there.
        """
        if path == self._last:
            return self._fds[-1] if self._fds else self._base
        parts = path.split("/") if path else []
        if len(parts) > MOST_OPEN:
            return self._open_deep(path, parts)
        shared = 0
        for part, last in zip(parts, self._parts, strict=False):
            if part != last:
                break
            shared += 1
        self._last = None
        self._shrink(shared)
        here = self._fds[-1] if self._fds else self._base
        for part in parts[shared:]:
            here = os.open(part, DIRECTORY_FLAGS, dir_fd=here)
            self._fds.append(here)
            self._parts.append(part)
        self._last = path
        return here

    def _open_deep(self, path: str, parts: list[str]) -> int:
        """One that is too deep to keep all above it open: only itself stays."""
        self._last = None
        self._shrink(0)
        here = self._base
        for part in parts:
            there = os.open(part, DIRECTORY_FLAGS, dir_fd=here)
            if here != self._base:
                os.close(here)
            here = there
            self._fds = [here]
        self._parts, self._last = [path], path
        return here

    def _shrink(self, depth: int) -> None:
        while len(self._fds) > depth:
            os.close(self._fds.pop())
        del self._parts[depth:]
