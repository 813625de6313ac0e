"""
One stage of a reading in several processes.

Most of a reading is Python going from one small file to the next. A stage is cut into shares, one for each reader: this
process reads one of them itself, the others are read by forks of it that hand back what they read and end. A stage ends
when all its shares have, so that the order of a reading stays what it is (safety rule S1).

A share whose reader died is read again by this process. Nothing is forked for a few items, nor where another thread
runs: a fork would copy the locks that it holds.
"""

from __future__ import annotations

import marshal
import os
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

WORTH_A_FORK = 500
"""Items for each reader below which a fork takes longer than it saves."""


def in_shares(work: Callable[[Sequence[T], int], dict[K, V]], items: Sequence[T], readers: int) -> dict[K, V]:
    """
    What `work` makes of `items`, in up to `readers` processes. It is called with a share of them and the number of
    shares, and gives plain values: what comes of another process went through `marshal`.
    """
    count = min(readers, len(items) // WORTH_A_FORK)
    if count <= 1 or threading.active_count() > 1:
        return work(items, 1)
    own, *others = (items[number::count] for number in range(count))
    forks = [_Fork(partial(work, share, count)) for share in others]
    try:
        found = work(own, count)
        for fork in forks:
            found.update(fork.result())
    finally:
        for fork in forks:
            fork.end()
    return found


class _Fork(Generic[K, V]):
    """A process that does `work` and ends; none where the system has no room for one."""

    def __init__(self, work: Callable[[], dict[K, V]]) -> None:
        self._work = work
        self._pipe, sink = os.pipe()
        try:
            self._pid: int | None = os.fork()
        except OSError:
            self._pid = None
        if self._pid == 0:
            self._be_the_fork(sink)
        os.close(sink)

    def _be_the_fork(self, sink: int) -> NoReturn:
        """Never comes back: what this process was in the middle of is its parent's."""
        try:
            os.close(self._pipe)
            with os.fdopen(sink, "wb") as pipe:
                marshal.dump(self._work(), pipe)
        finally:
            os._exit(0)

    def result(self) -> dict[K, V]:
        with os.fdopen(self._pipe, "rb") as pipe:
            self._pipe = -1
            said = pipe.read()
        try:
            found: dict[K, V] = marshal.loads(said)  # noqa: S302 - written by a fork of this very process
        except (EOFError, ValueError, TypeError):
            return self._work()
        return found

    def end(self) -> None:
        """Leave neither process nor descriptor behind, done or not."""
        if self._pipe >= 0:
            os.close(self._pipe)
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
