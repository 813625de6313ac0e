"""
One stage of a reading by several at a time.

What goes from one small file to the next in one call (`gcd.root.sound`) waits for the kernel without the interpreter's
lock: threads share it. What is mostly Python is cut into shares, one for each reader: this process reads one of them
itself, the others are read by forks of it that hand back what they read and end. A stage ends when all its shares have,
so that the order of a reading stays what it is (safety rule S1).

A share whose reader died is read again by this process. Nothing is forked for a few items, nor where another thread
runs: a fork would copy the locks that it holds.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING, Generic, NoReturn, Protocol, TypeVar

from gcd.root.progress import BATCH, nobody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet
    from typing import Any

    from gcd.model.inventory import Source
    from gcd.root.progress import Pace

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

WORTH_A_FORK = 500
"""Items for each reader below which a fork takes longer than it saves."""


def in_threads(read: Callable[[Sequence[T]], dict[K, V]], items: Sequence[T], source: Source, pace: Pace) -> dict[K, V]:
    """
    What `read` makes of `items`, which it is given a few hundred at a time by up to `pace.readers` threads, this one
    among them. Progress is told in this thread alone. What `read` raises ends the work of all, and is raised.
    """
    found: dict[K, V] = {}
    failures: list[Exception] = []
    starts = iter(range(0, len(items), BATCH))  # each goes to one thread: to take the next is one step

    def work(tell: Callable[[Source, int, int], None]) -> None:
        for start in starts:
            tell(source, start, len(items))
            found.update(read(items[start : start + BATCH]))

    def work_aside() -> None:
        try:
            work(nobody)
        except Exception as error:  # noqa: BLE001 - raised by the thread that waits for this one
            failures.append(error)
            _exhaust(starts)

    tell = pace.progress or nobody
    threads: list[threading.Thread] = []
    try:
        with signals_held():
            _start(work_aside, min(pace.readers, -(-len(items) // BATCH)) - 1, threads)
        work(tell)
    finally:
        _exhaust(starts)
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    tell(source, len(items), len(items))
    return found


def _start(work: Callable[[], None], count: int, threads: list[threading.Thread]) -> None:
    """Start `count` threads, or as many as the system has room for, and add them to `threads`."""
    with contextlib.suppress(RuntimeError):
        for _ in range(count):
            thread = threading.Thread(target=work)
            thread.start()
            threads.append(thread)


@contextlib.contextmanager
def signals_held() -> Iterator[AbstractSet[int]]:
    """
    Signals come when this is over; given are those that were held before. What one raised while a thread or a process
    is started would leave it behind, and nobody would know of it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exhaust(starts: Iterator[int]) -> None:
    for _ in starts:
        pass


class Carrier(Protocol):
    """What takes values from one process to another: ``marshal`` for plain ones, ``pickle`` for records."""

    def dumps(self, value: Any, /) -> bytes: ...  # noqa: ANN401 - whatever it can carry

    def loads(self, data: bytes, /) -> Any: ...  # noqa: ANN401 - what was dumped


def in_shares(
    work: Callable[[Sequence[T], int], dict[K, V]], items: Sequence[T], readers: int, carrier: Carrier = marshal
) -> dict[K, V]:
    """
    What `work` makes of `items`, in up to `readers` processes. It is called with a share of them and the number of
    shares.
    """
    count = min(readers, len(items) // WORTH_A_FORK)
    if count <= 1 or threading.active_count() > 1:
        return work(items, 1)
    own, *others = (items[number::count] for number in range(count))
    forks: list[_Fork[K, V]] = []
    try:
        with signals_held() as held:
            forks.extend(_Fork(partial(work, share, count), carrier, held) for share in others)
        found = work(own, count)
        for fork in forks:
            found.update(fork.result())
    finally:
        for fork in forks:
            fork.end()
    return found


class _Fork(Generic[K, V]):
    """
    A process that does `work` and ends; none where the system has no room for one. It is made while signals are held,
    and holds those of `held`.
    """

    def __init__(self, work: Callable[[], dict[K, V]], carrier: Carrier, held: AbstractSet[int]) -> None:
        self._work = work
        self._carrier = carrier
        self._pid: int | None = None
        self._pipe = -1
        with contextlib.suppress(OSError):
            self._pipe, sink = os.pipe()
            try:
                self._pid = os.fork()
                if self._pid == 0:
                    self._be_the_fork(sink, held)
            finally:
                os.close(sink)

    def _be_the_fork(self, sink: int, held: AbstractSet[int]) -> NoReturn:
        """Never comes back: what this process was in the middle of is its parent's."""
        status = 1
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            os.close(self._pipe)
            with os.fdopen(sink, "wb") as pipe:
                pipe.write(self._carrier.dumps(self._work()))
            status = 0
        finally:
            os._exit(status)

    def result(self) -> dict[K, V]:
        if self._pid is None:
            return self._work()
        with os.fdopen(self._pipe, "rb") as pipe:
            self._pipe = -1
            said = pipe.read()
        if self._status() != 0:
            return self._work()
        found: dict[K, V] = self._carrier.loads(said)  # written by a fork of this very process
        return found

    def end(self) -> None:
        """Leave neither process nor descriptor behind, done or not."""
        if self._pipe >= 0:
            os.close(self._pipe)
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            self._status()

    def _status(self) -> int | None:
        """How it ended; None where somebody else was told."""
        assert self._pid is not None
        try:
            _, status = os.waitpid(self._pid, 0)
        except ChildProcessError:
            status = None
        self._pid = None
        return status
