"""
The work of a scrub: layer after layer, each verdict kept when it is there, until all are done or somebody says to stop.

One process at a time works on a root, held by a lock that dies with it; it never writes below the root.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from gcd.model.content import Course
from gcd.model.errors import CannotCheck
from gcd.scrub.layer import Manner, verify
from gcd.scrub.order import remaining
from gcd.scrub.pace import Stopped
from gcd.state import lock_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from gcd.model.content import Sweep
    from gcd.model.ids import ChainId
    from gcd.model.plan import Identity
    from gcd.root.tree import Directory
    from gcd.scrub.layer import Layer
    from gcd.scrub.reading import Contents
    from gcd.scrubs import Scrubs

ASKED_EVERY_SECONDS = 1.0
"""How long it takes at most until a scrub hears that it is to pause, in the middle of a layer too."""


class Told(Protocol):
    """Who hears of progress: bytes of the layers that are done, those that were read of the layer in hand, and all."""

    def __call__(self, done: int, in_hand: int, total: int, /) -> None: ...


class _Progress(Struct):
    """Tells of it now and then."""

    told: Told
    total: int
    done: int = 0
    told_at: float = 0.0

    def __call__(self, in_hand: int) -> None:
        now = time.monotonic()
        if now - self.told_at >= ASKED_EVERY_SECONDS:
            self.told_at = now
            self.told(self.done, in_hand, self.total)


@contextlib.contextmanager
def _listening(open_scrubs: Callable[[], AbstractContextManager[Scrubs]], contents: Contents) -> Iterator[None]:
    """Inside, nothing more is read of `contents` as soon as somebody says to pause or to stop."""
    over = threading.Event()

    def listen() -> None:
        with contextlib.suppress(CannotCheck), open_scrubs() as scrubs:  # the course is asked between layers too
            while not over.wait(ASKED_EVERY_SECONDS):
                if scrubs.course() is not Course.RUNNING:
                    contents.stop()
                    return

    listener = threading.Thread(target=listen, name="listen", daemon=True)
    listener.start()
    try:
        yield
    finally:
        over.set()
        listener.join()


def work(
    root: Directory,
    layers: Mapping[ChainId, Layer],
    scrubs: Scrubs,
    open_scrubs: Callable[[], AbstractContextManager[Scrubs]],
    sweep: Sweep,
    contents: Contents,
    told: Told,
    *,
    seconds: float | None = None,
) -> Course:
    """
    Look at what remains of `sweep`, for so many `seconds` at most, and give what became of it.

    The layer in hand is lost when somebody pauses or stops the scrub, and finished when the time is over. `open_scrubs`
    gives `scrubs` to another thread.
    """
    todo = remaining(sweep, layers, scrubs.verdicts())
    progress = _Progress(told, sum(layer.size for layer in todo))
    until = None if seconds is None else time.monotonic() + seconds
    manner = Manner(sweep.depth, is_dressed=sweep.is_dressed, told=progress)
    try:
        with _listening(open_scrubs, contents):
            for layer in todo:
                progress(0)
                is_over = until is not None and time.monotonic() >= until
                if is_over or scrubs.course() is not Course.RUNNING:
                    break
                verdict = verify(root, layer, contents, manner, now_ns=time.time_ns())
                if verdict is not None:
                    scrubs.keep(verdict)
                progress.done += layer.size
    except Stopped:
        pass
    except KeyboardInterrupt:
        scrubs.steer(Course.PAUSED)
        raise
    else:
        scrubs.finish()
    return scrubs.course() or Course.STOPPED


@contextlib.contextmanager
def alone(directory: Path, identity: Identity) -> Iterator[None]:
    """Inside, no other process scrubs the root of `identity` with the state in `directory`; else `CannotCheck`."""
    fd = _locked(directory, identity)
    if fd is None:
        raise CannotCheck("a scrub of this root is under way: gcd scrub status says how far it is")
    try:
        yield
    finally:
        os.close(fd)


def is_under_way(directory: Path, identity: Identity) -> bool:
    """Whether some process works on it."""
    fd = _locked(directory, identity)
    if fd is None:
        return True
    os.close(fd)
    return False


def _locked(directory: Path, identity: Identity) -> int | None:
    fd = lock_file(directory, f"scrub-{identity.device}-{identity.inode}.lock")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd
