"""The progress bar: on stderr, only on a terminal, only once reading has taken more than a second."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID

PATIENCE_SECONDS = 1.0


class ProgressBar:
    """
    A context manager, to be called with what is read (or what else is being done, as `doing` says), how many items are
    done, and how many there are.
    """

    def __init__(self, doing: str = "reading") -> None:
        self._doing = doing
        self._began = time.monotonic()
        self._stack = ExitStack()
        self._bar: tuple[Progress, TaskID] | None = None
        self._is_wanted = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def __call__(self, source: str, done: int, total: int) -> None:
        if not self._is_wanted or time.monotonic() - self._began < PATIENCE_SECONDS:
            return
        if self._bar is None:
            self._bar = self._start()
        progress, task = self._bar
        progress.update(task, description=f"{self._doing} {source}", completed=done, total=total, refresh=True)

    def _start(self) -> tuple[Progress, TaskID]:
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import Progress  # noqa: PLC0415

        progress = self._stack.enter_context(Progress(console=Console(stderr=True), transient=True, auto_refresh=False))
        return progress, progress.add_task(self._doing)
