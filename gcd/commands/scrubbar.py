"""The progress of a scrub on a terminal's stderr: bytes, rate and time left; nothing in the first second."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from gcd.commands.progress import PATIENCE_SECONDS

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID


class ScrubBar:
    """A context manager, to be called with the bytes of the layers done, those read of the one in hand, and all."""

    def __init__(self) -> None:
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

    def __call__(self, done: int, in_hand: int, total: int) -> None:
        if not self._is_wanted or time.monotonic() - self._began < PATIENCE_SECONDS:
            return
        if self._bar is None:
            self._bar = self._start(total)
        progress, task = self._bar
        progress.update(task, completed=min(done + in_hand, total), refresh=True)

    def _start(self, total: int) -> tuple[Progress, TaskID]:
        from rich import progress as parts  # noqa: PLC0415
        from rich.console import Console  # noqa: PLC0415

        columns = (
            parts.TextColumn("scrubbing"),
            parts.BarColumn(),
            parts.DownloadColumn(binary_units=True),
            parts.TransferSpeedColumn(),
            parts.TimeRemainingColumn(),
        )
        bar = parts.Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
        return self._stack.enter_context(bar), bar.add_task("scrubbing", total=total)
