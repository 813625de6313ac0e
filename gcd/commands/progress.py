"""Progress bars: on stderr, only on a terminal, only once what they tell of has taken more than a second."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, ProgressColumn, TaskID

PATIENCE_SECONDS = 1.0


class Bar:
    """A context manager within which `show` shows a bar."""

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

    def show(self, what: str, done: int, total: int) -> None:
        """So much of `what` is `done`."""
        if not self._is_wanted or time.monotonic() - self._began < PATIENCE_SECONDS:
            return
        if self._bar is None:
            self._bar = self._start(what)
        progress, task = self._bar
        progress.update(task, description=what, completed=done, total=total, refresh=True)

    def columns(self) -> tuple[ProgressColumn, ...]:
        """What is shown of it, one beside the other; nothing: as rich has it."""
        return ()

    def _start(self, what: str) -> tuple[Progress, TaskID]:
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import Progress  # noqa: PLC0415

        bar = Progress(*self.columns(), console=Console(stderr=True), transient=True, auto_refresh=False)
        return self._stack.enter_context(bar), bar.add_task(what)


class ProgressBar(Bar):
    """
    To be called with what is read (or what else is being done, as `doing` says), how many items are done, and how many
    there are.
    """

    def __init__(self, doing: str = "reading") -> None:
        super().__init__()
        self._doing = doing

    def __call__(self, source: str, done: int, total: int) -> None:
        self.show(f"{self._doing} {source}", done, total)


class ScrubBar(Bar):
    """Bytes, rate, time left. To be called with the bytes of the layers done, read of the one in hand, and in all."""

    def __call__(self, done: int, in_hand: int, total: int) -> None:
        self.show("scrubbing", min(done + in_hand, total), total)

    def columns(self) -> tuple[ProgressColumn, ...]:
        from rich import progress  # noqa: PLC0415

        return (
            progress.TextColumn("scrubbing"),
            progress.BarColumn(),
            progress.DownloadColumn(binary_units=True),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
        )
