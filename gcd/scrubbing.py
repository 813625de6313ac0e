"""
The work of a scrub: layer after layer, each verdict kept when it is there, until all are done or somebody says to stop.

One process at a time works on a root, held by a lock that dies with it; it never writes below the root.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gcd.model.content import Course
from gcd.model.errors import CannotCheck
from gcd.scrub.layer import Manner, verify
from gcd.scrub.order import remaining
from gcd.state import lock_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
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


class _Halt(Exception):
    """Somebody said to pause or to stop."""

    def __init__(self, course: Course) -> None:
        super().__init__()
        self.course = course


@dataclass(slots=True)
class _Watch:
    """Asks now and then what is to become of the sweep, and tells of progress."""

    scrubs: Scrubs
    told: Told
    total: int
    done: int = 0
    asked: float = 0.0

    def __call__(self, in_hand: int) -> None:
        now = time.monotonic()
        if now - self.asked >= ASKED_EVERY_SECONDS:
            self.asked = now
            course = self.scrubs.course()
            if course is not None and course is not Course.RUNNING:
                raise _Halt(course)
            self.told(self.done, in_hand, self.total)


def work(
    root: Directory,
    layers: Mapping[ChainId, Layer],
    scrubs: Scrubs,
    sweep: Sweep,
    contents: Contents,
    told: Told,
    *,
    seconds: float | None = None,
) -> Course:
    """
    Look at what remains of `sweep`, for so many `seconds` at most, and give what became of it.

    The layer in hand is lost when somebody pauses or stops the scrub, and finished when the time is over.
    """
    todo = remaining(sweep, layers, scrubs.verdicts())
    watch = _Watch(scrubs, told, sum(layer.size for layer in todo))
    until = None if seconds is None else time.monotonic() + seconds
    manner = Manner(sweep.depth, is_dressed=sweep.is_dressed, told=watch)
    try:
        for layer in todo:
            watch(0)
            if until is not None and time.monotonic() >= until:
                break
            verdict = verify(root, layer, contents, manner, now_ns=time.time_ns())
            if verdict is not None:
                scrubs.keep(verdict)
            watch.done += layer.size
    except _Halt as halt:
        return halt.course
    except KeyboardInterrupt:
        scrubs.steer(Course.PAUSED)
        raise
    scrubs.steer(Course.FINISHED)
    return Course.FINISHED


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
