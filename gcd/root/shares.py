"""
One stage of a reading by several at a time.

What goes from one small file to the next in one call (`gcd.root.sound`, `gcd.root.files`) waits for the kernel without
the interpreter's lock: threads share it. A stage ends when all its items are read, so that the order of a reading stays
what it is (safety rule S1).
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import threading
import time
from itertools import islice
from operator import length_hint
from typing import TYPE_CHECKING, Final, TypeVar

from gcd.root.progress import BATCH, nobody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from gcd.model.inventory import Source
    from gcd.root.progress import Pace

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


MOST_BATCHES: Final = 8
"""
So many batches at most are read in one go. To go on after each takes the interpreter's lock, for which whoever makes
something of what was read keeps others waiting.
"""

QUICK_SECONDS: Final = 0.1
"""What takes longer is not read in so many batches the next time: whoever waits is to hear of progress."""

_CLONE_FILES: Final = 0x400
"""Of linux/sched.h."""


def nothing() -> None:
    """Needs no time."""


def in_threads(
    read: Callable[[Sequence[T]], dict[K, V]],
    items: Sequence[T],
    source: Source,
    pace: Pace,
    meanwhile: Callable[[], object] = nothing,
) -> dict[K, V]:
    """
    What `read` makes of `items`, which it is given a few hundred at a time, or a few thousand where that is quick, by
    up to `pace.readers` threads, this one among them, which does `meanwhile` first: what needs no kernel goes well with
    what waits for it. Progress is told in this thread alone. What `read` or `meanwhile` raises ends the work of all,
    and is raised.

    Where no thread runs but this one, the others have descriptors of their own: they may use what is open now, and
    `read` closes what it opens. Whatever else a process has open they would keep open: a connection, say, that a thread
    which serves closes meanwhile.
    """
    is_alone = threading.active_count() == 1
    found: dict[K, V] = {}
    failures: list[Exception] = []
    starts = iter(range(0, len(items), BATCH))  # each goes to one thread: to take the next is one step

    def taken(most: int) -> list[int]:
        """No more than that all can end at the same time."""
        return list(islice(starts, min(most, max(1, length_hint(starts) // (2 * pace.readers)))))

    def work(tell: Callable[[Source, int, int], None]) -> None:
        most = 1
        while some := taken(most):
            tell(source, some[0], len(items))
            began = time.monotonic()
            found.update(read([item for start in some for item in items[start : start + BATCH]]))
            most = min(2 * most, MOST_BATCHES) if time.monotonic() - began < QUICK_SECONDS else 1

    def work_aside() -> None:
        if is_alone:
            _take_own_descriptors()
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
        meanwhile()
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


def _take_own_descriptors() -> None:
    """
    Give this thread a table of descriptors of its own, with all that is open now. Of one that threads share, the kernel
    lets one at a time open or close a file, and counts each use of a descriptor. Where it is not allowed, or there is
    no such call, the table stays shared.

    Python calls unshare itself from 3.12 on; until then the C library's is called.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).unshare(_CLONE_FILES)


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
