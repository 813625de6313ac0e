"""
Signals, which only set flags: the loop asks for them between the parts of its work.

What does not come to its end within `GRACE_SECONDS` of a SIGTERM or SIGINT is abandoned: the process ends where it
stands, with status 0. That is as safe as any kill: the next start finishes or undoes what was begun.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType

    from gcd.daemon.pulse import Pulse

GRACE_SECONDS = 4.0
"""Whoever stops the daemon waits for five."""


class Stopped(BaseException):
    """Raised between the parts of the work in hand: the daemon is to end. No error, and nothing catches it as one."""


class Flags:
    """What was asked of the daemon from outside. A context manager: outside of it nothing can wait."""

    def __init__(self) -> None:
        self.is_stop = False
        self.is_reload = False
        self.wake: Callable[[], None] = _nobody

    def __enter__(self) -> Self:
        self._end, self._other_end = socket.socketpair()
        self._other_end.settimeout(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.close()
        self._other_end.close()

    def stop(self) -> None:
        self.is_stop = True
        self._wake()

    def reload(self) -> None:
        self.is_reload = True
        self._wake()

    def _wake(self) -> None:
        """Whatever the loop waits in: itself here, or the watcher."""
        with contextlib.suppress(BlockingIOError):
            self._other_end.send(b"!")
        self.wake()

    def wake_nobody(self) -> None:
        self.wake = _nobody

    def rest(self, seconds: float, pulse: Pulse) -> None:
        """Wait for so long, or until the settings are to be read again; `pulse` is heard meanwhile."""
        end = time.monotonic() + seconds
        while not self.is_reload and (left := end - time.monotonic()) > 0:
            pulse()
            if select.select([self._end], [], [], min(left, pulse.longest_wait))[0]:
                self._end.recv(512)
        pulse()

    def demand_going_on(self) -> None:
        """Raise `Stopped` if the daemon is to end."""
        if self.is_stop:
            raise Stopped


@contextlib.contextmanager
def setting(flags: Flags) -> Iterator[None]:
    """Inside, signals set `flags`: SIGTERM and SIGINT that to stop, SIGHUP that to reload."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        if not flags.is_stop:
            signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)
        flags.stop()

    def reload(_number: int, _frame: FrameType | None) -> None:
        flags.reload()

    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload, signal.SIGALRM: _abandon}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _abandon(_number: int, _frame: FrameType | None) -> None:
    """Without a word: the log's lock may be held by what is abandoned."""
    os._exit(0)


def _nobody() -> None:
    """Nobody has to be woken: the loop rests, or works."""
