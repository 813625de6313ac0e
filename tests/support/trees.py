"""Small trees by hand: a mapping from relative paths to what stands there."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import FrameType

NOBODY = 65534


@dataclass(frozen=True)
class Link:
    target: str


@dataclass(frozen=True)
class Special:
    kind: str


FIFO = Special("fifo")
SOCKET = Special("socket")
DIRECTORY = Special("directory")

Planted = bytes | Link | Special


def plant(base: Path, tree: Mapping[str, Planted]) -> Path:
    """Make `tree` below `base`, with all the directories that it needs."""
    for path, what in tree.items():
        place(base / path, what)
    return base


def place(path: Path, what: Planted) -> None:
    """Put `what` at `path`, in the place of a file that may be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.is_file():
        path.unlink()
    match what:
        case bytes():
            path.write_bytes(what)
        case Link(target):
            path.symlink_to(target)
        case Special("fifo"):
            os.mkfifo(path)
        case Special("socket"):
            with socket.socket(socket.AF_UNIX) as bound, contextlib.chdir(path.parent):
                bound.bind(path.name)
        case _:
            path.mkdir(exist_ok=True)


def change_after(path: Path, ctime_ns: int) -> int:
    """The ctime of `path`, whose mode is changed until its ctime (a slow clock) is later than `ctime_ns`."""
    for _ in range(1000):
        path.chmod(0o700)
        if path.stat().st_ctime_ns > ctime_ns:
            return path.stat().st_ctime_ns
        time.sleep(0.001)
    message = f"the clock of {path} stands still"
    raise TimeoutError(message)


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """As a user who may not read what others closed to him, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fail if the block takes longer, also inside a system call that waits."""

    def ring(_signal: int, _frame: FrameType | None) -> None:
        message = f"took longer than {seconds} s"
        raise TimeoutError(message)

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
