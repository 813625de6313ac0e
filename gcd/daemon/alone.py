"""
One daemon a root: a lock in the state directory, named by the root's path, that is held as long as the daemon lives.

The file stays where it is: removing it could take it from under the next daemon. What cannot be locked for want of
space or rights is said and let pass: the lock spares work, and what acts has another one in the root itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from typing import TYPE_CHECKING, Self

import structlog

from gcd.model.errors import GcdError
from gcd.report.printable import printable
from gcd.state import lock_file

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class AnotherWatches(GcdError):
    """A daemon on this root is there already."""


class Alone:
    """A context manager that lets go of the lock."""

    def __init__(self) -> None:
        self._held: tuple[Path, str] | None = None
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._let_go()

    def on(self, directory: Path, root: str) -> None:
        """
        From now on no other daemon with the state in `directory` watches `root`, whose symlinks are resolved; what was
        held before is let go of. Raises `AnotherWatches`.
        """
        if self._held == (directory, root):
            return
        self._let_go()
        name = f"run-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.lock"
        try:
            self._fd = lock_file(directory, name)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._let_go()
            raise AnotherWatches(f"Another gcd run watches {printable(root)}: stop that one first.") from None
        except OSError as error:
            why = f"{directory / name} cannot be locked ({error.strerror})"
            structlog.get_logger().warning("not_known_to_be_alone", why=printable(why))
        self._held = (directory, root)

    def _let_go(self) -> None:
        self._held = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
