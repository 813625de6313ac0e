"""
The fence: a door held shut, so that no engine starts on a root while gcd writes in it (safety rule S18).

Every engine opens ``volumes/metadata.db`` under an exclusive ``flock`` at its start, waits one second for it, and gives
up. Whoever holds that lock keeps it out; nothing of the root is hurt, and it starts once the lock is free. It is the
only database that may be locked: BuildKit's and containerd's are opened without a time limit.

Engines up to 23.0 have loaded layers and images when they come to the lock. One that starts meanwhile would go on with
what it read before gcd wrote; so the fence is looked at before each step, and is held until that engine has given up.

Nothing may fork while it is held: a child has the lock too, until it runs another program.

Sources: moby ``volume/service/store.go`` NewStore (one second), ``daemon/daemon.go`` NewDaemon (the order), bbolt
``bolt_unix.go`` flock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING, Final

from gcd.model import layout
from gcd.model.errors import CannotAct
from gcd.model.reading import Present
from gcd.root.dockerd import engines_on
from gcd.root.processes import PROC
from gcd.root.tree import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.root.tree import Directory

HOLD_SECONDS: Final = 5.0
"""How long it may be held: ``docker.service`` gives up after three starts in a minute that came to nothing."""

WAIT_SECONDS: Final = 30.0
"""How long an engine that was started meanwhile is waited for: it gives up in a few."""

_POLL_SECONDS: Final = 0.02
_LOCK_FILE: Final = f"{layout.VOLUMES}/{layout.VOLUME_DATABASE}"
_OPEN_DOOR: Final = "an engine cannot be kept from starting"
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class Fence:
    """A fence that is held; get one from `fence`."""

    def __init__(self, root: Directory, proc: str) -> None:
        self._root = root
        self._proc = proc
        self._until = time.monotonic() + HOLD_SECONDS

    def check(self) -> None:
        """To be asked right before each step. Raises `CannotAct` if an engine has started, or the time is over."""
        started = self.engine()
        if started is not None:
            raise CannotAct(f"dockerd (pid {started}) was started on this root meanwhile: gcd writes no more beside it")
        if time.monotonic() > self._until:
            raise CannotAct(
                f"{_LOCK_FILE} was held for {HOLD_SECONDS:.0f} s, which is as long as an engine is kept out"
            )

    def engine(self) -> int | None:
        """The pid of a dockerd of this root, which is starting or giving up; None if there is none."""
        return _dockerd_of(self._root, self._proc)


@contextlib.contextmanager
def fence(root: Directory, proc: str = PROC) -> Iterator[Fence]:
    """
    Keep engines from starting on `root`, for `HOLD_SECONDS` at most.

    At its end it waits for the end of an engine that was started meanwhile, `WAIT_SECONDS` at most. Raises `CannotAct`
    if an engine runs, if the door cannot be held, or if that engine does not end.
    """
    present = _dockerd_of(root, proc)
    if present is not None:
        raise CannotAct(f"dockerd (pid {present}) runs on this root: stop it first")
    with _door_held(root):
        held = Fence(root, proc)
        try:
            held.check()
            yield held
        finally:
            until = time.monotonic() + WAIT_SECONDS
            while (started := held.engine()) is not None:
                if time.monotonic() > until:
                    raise CannotAct(f"dockerd (pid {started}) was started on this root meanwhile, and does not end")
                time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def _door_held(root: Directory) -> Iterator[None]:
    """Inside, ``volumes/metadata.db`` is locked, through a descriptor that cannot write."""
    volumes = root.open(layout.VOLUMES)
    if not isinstance(volumes, Present):
        raise CannotAct(f"{layout.VOLUMES} cannot be opened: {_OPEN_DOOR}")
    try:
        with volumes.value as folder:
            descriptor = os.open(layout.VOLUME_DATABASE, _FLAGS, dir_fd=folder.fd)
    except OSError as error:
        raise CannotAct(f"{_LOCK_FILE} cannot be opened ({name_of(error)}): {_OPEN_DOOR}") from error
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise CannotAct(f"{_LOCK_FILE} is no regular file: {_OPEN_DOOR}")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            raise CannotAct(f"{_LOCK_FILE} is locked: an engine, or another gcd, is at work on this root") from error
        raise CannotAct(f"{_LOCK_FILE} cannot be locked ({name_of(error)}): {_OPEN_DOOR}") from error


def _dockerd_of(root: Directory, proc: str) -> int | None:
    try:
        return next((engine.pid for engine in engines_on(root, proc)), None)
    except OSError as error:
        raise CannotAct(f"whether an engine is being started cannot be told ({name_of(error)} at {proc})") from error
