"""
The close look: what is asked right before each step, when the plan made anew is already some seconds old.

It is no judgement of its own, that was the plan's. It sees to it that the plan's world is still there: the same root,
the same engine in the same state, nothing of the step changed since that reading began, nothing of it mounted in any
namespace (S3), no process with an open file in it (S6).
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

from msgspec import Struct

from gcd.formats.texts import parse_link
from gcd.model import layout
from gcd.model.facts import EngineState
from gcd.model.ids import is_layer_dir_id
from gcd.model.inventory import Coverage
from gcd.model.plan import (
    CopyFile,
    DropReference,
    LeftAlone,
    LinkFile,
    MakeDirectory,
    MakeSymlink,
    Mend,
    Move,
    Reason,
    Release,
    SetAside,
    WriteFile,
)
from gcd.model.reading import Absent, Present
from gcd.root.dockerd import identity_of
from gcd.root.engine import read_engine
from gcd.root.mounts import read_mounts
from gcd.root.openfiles import held_dirs
from gcd.root.overlay2 import LINK_LIMIT
from gcd.root.processes import PROC
from gcd.root.statx import origin_of
from gcd.root.tree import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.facts import Engine, KernelMount
    from gcd.model.ids import LayerDirId, LinkId
    from gcd.model.plan import Change, Plan, Step
    from gcd.root.tree import Directory

GRAIN_NS: Final = 10_000_000
"""A ctime is that of the kernel's last tick, which may lie as far before the moment of the change."""

EPOCH_TOLERANCE_NS: Final = 2_000_000_000
"""How far one epoch, told twice, may differ: its clock is told in seconds, and slewing it moves it by one."""

HOST_NS: Final = 50_000_000
"""How old the look at all processes may be when a step is taken: there may be thousands of steps, each a rename."""

MAX_ENTRIES: Final = 10_000

_DIGESTS: Final = "sha256"
"""The directory of records and files whose names are digests of what they are about."""


class _Trouble(Exception):
    """Why a step is not taken."""

    def __init__(self, reason: Reason, why: str) -> None:
        super().__init__(why)
        self.reason = reason
        self.why = why


class _Host(Struct, frozen=True):
    """What all processes say, and when (by the monotonic clock) they were asked."""

    mounts: tuple[KernelMount, ...]
    at_ns: int


class CloseLook:
    """
    Looks at the steps of `plan`, whose reading began at `since_ns` of the wall clock.

    With the engine stopped, whoever asks holds the fence, and has asked it whether an engine is being started.
    """

    def __init__(self, root: Directory, plan: Plan, since_ns: int, proc: str = PROC) -> None:
        self._root = root
        self._plan = plan
        self._since_ns = since_ns - GRAIN_NS
        self._proc = proc
        self._host: _Host | None = None
        self._tmp = origin_of(layout.TMP, dir_fd=root.fd)

    def at(self, step: Step, *, prepared_ns: int | None = None) -> LeftAlone | None:
        """
        Why `step` must not be taken now; None if it may. Of one that was prepared before the reading, at `prepared_ns`
        of the wall clock, nothing must have changed since.
        """
        since_ns = self._since_ns if prepared_ns is None else min(self._since_ns, prepared_ns - GRAIN_NS)
        try:
            self._demand_same_root()
            host = self._host_now()
            paths = paths_of(step)
            for path in _paths_as_they_were(step):
                self._demand_unchanged(path, since_ns, is_needed=not isinstance(step, Mend))
            self._demand_unmounted(step, host.mounts)
            self._demand_unopened(paths)
        except _Trouble as trouble:
            return LeftAlone(step.finding, trouble.reason, trouble.why)
        return None

    def _demand_same_root(self) -> None:
        identity = self._plan.identity
        try:
            there = identity_of(Path(self._plan.root).stat())
        except OSError as error:
            raise _Trouble(Reason.CHANGED, f"the root is not there any more ({name_of(error)})") from error
        if not there == identity_of(self._root.stat()) == (identity.device, identity.inode):
            raise _Trouble(Reason.CHANGED, "another directory has taken the place of the root")

    def _host_now(self) -> _Host:
        """Engine and mounts as they are, at most `HOST_NS` ago."""
        now_ns = time.monotonic_ns()
        if self._host is None or now_ns - self._host.at_ns > HOST_NS:
            self._host = None
            self._demand_same_engine()
            mounts, state = read_mounts(self._proc)
            if state.coverage is not Coverage.OK:
                raise _Trouble(Reason.NOT_CHECKED, f"not all mounts can be seen: {state.why}")
            self._host = _Host(mounts, now_ns)
        return self._host

    def _demand_same_engine(self) -> None:
        if self._plan.engine.state is not EngineState.STOPPED:
            now = read_engine(self._root, self._proc)
            if not _is_same_engine(self._plan.engine, now):
                raise _Trouble(Reason.CHANGED, "the engine is another one, or in another state, than when gcd looked")
            return
        # Every start of an engine makes its tmp anew.
        tmp = origin_of(layout.TMP, dir_fd=self._root.fd)
        if tmp != self._tmp or (tmp is not None and (tmp.birth_ns or 0) >= self._since_ns):
            raise _Trouble(Reason.CHANGED, "an engine was started and stopped since gcd looked")

    def _demand_unchanged(self, path: str, since_ns: int, *, is_needed: bool) -> None:
        """Neither `path` nor what lies right in it is younger than `since_ns`; with `is_needed` it is there."""
        folder, _, name = path.rpartition("/")
        with contextlib.ExitStack() as stack:
            parent = self._root
            if folder:
                opened = self._root.open_path(folder)
                if not isinstance(opened, Present):
                    if not is_needed:
                        return  # it is made by the same repair, or the repair fails
                    raise _Trouble(Reason.CHANGED, f"{folder} cannot be opened any more")
                parent = stack.enter_context(opened.value)
            status = parent.lstat(name)
            match status:
                case Present(found):
                    newest = max(found.st_ctime_ns, _newest_in(parent, name))
                case Absent() if not is_needed:
                    return
                case _:
                    raise _Trouble(Reason.CHANGED, f"{path} is not there any more")
        if newest >= since_ns:
            raise _Trouble(Reason.CHANGED, f"{path} has changed since gcd looked")

    def _demand_unmounted(self, step: Step, mounts: tuple[KernelMount, ...]) -> None:
        """
        A mount names a layer below it by the link of its dir alone, and minds the dir as a whole and what is in its
        ``diff``.
        """
        for path in _paths_that_mounts_mind(step):
            parts = path.split("/")
            folders = (
                "/".join(parts[:end])
                for end, part in enumerate(parts, 1)
                if is_layer_dir_id(part) and parts[end : end + 1] in ([], [layout.DIFF])
            )
            tokens = {*parts, *(link for folder in folders for link in self._link_of(folder))}
            for mount in mounts:
                if not tokens.isdisjoint(mount.dirs) or not tokens.isdisjoint(mount.links):
                    why = f"it is mounted at {mount.mount_point} (pid {mount.pids[0]}, {mount.holder})"
                    raise _Trouble(Reason.IN_USE, why)

    def _link_of(self, folder: str) -> Iterator[LinkId]:
        """What the layer dir at `folder` calls itself; one that is lost or damaged is in no mount by that name."""
        opened = self._root.open_path(folder)
        if isinstance(opened, Present):
            with opened.value as directory:
                link = directory.read(layout.LINK, LINK_LIMIT, parse_link)
            if isinstance(link, Present):
                yield link.value

    def _demand_unopened(self, paths: tuple[str, ...]) -> None:
        wanted = {layer_dir for path in paths for layer_dir in _dirs_in(path)}
        try:
            held = held_dirs(wanted, self._proc)
        except OSError as error:
            raise _Trouble(Reason.NOT_CHECKED, f"open files cannot be seen ({name_of(error)})") from error
        if held:
            raise _Trouble(Reason.IN_USE, f"a process has files in {min(held)} open")


def paths_of(step: Step) -> tuple[str, ...]:
    """The paths, relative to the root, that `step` is about to touch."""
    match step:
        case Move():
            return step.paths
        case Mend():
            return tuple(change.path for change in step.changes)
        case Release():
            return step.finding.paths
        case _:
            assert_never(step)


def _paths_as_they_were(step: Step) -> tuple[str, ...]:
    """Those of `paths_of` that must not have changed: not what an earlier step may have made, or made shorter."""
    if isinstance(step, Mend):
        return tuple(c.path for c in step.changes if not isinstance(c, MakeDirectory | DropReference))
    return paths_of(step)


def _is_same_engine(planned: Engine, now: Engine) -> bool:
    if (planned.state, planned.pid, planned.others) != (now.state, now.pid, now.others):
        return False
    if planned.epoch_ns is None or now.epoch_ns is None:
        return planned.epoch_ns is now.epoch_ns
    return abs(planned.epoch_ns - now.epoch_ns) <= EPOCH_TOLERANCE_NS


def _newest_in(parent: Directory, name: str) -> int:
    """The newest ctime of the entries of the directory `name`, of which the first `MAX_ENTRIES` count; 0 of others."""
    opened = parent.open(name)
    if not isinstance(opened, Present):
        return 0
    with opened.value as directory:
        statuses = (directory.lstat(entry) for entry in directory.list(MAX_ENTRIES).entries)
        return max((status.value.st_ctime_ns for status in statuses if isinstance(status, Present)), default=0)


def _paths_that_mounts_mind(step: Step) -> Iterator[str]:
    """
    Of a repair only ``lower``, what layers hold and what it takes away: a new symlink or ``link`` is found by the next
    mount (S15, S17).
    """
    match step:
        case Move() | Release():
            yield from paths_of(step)
        case Mend():
            yield from (change.path for change in step.changes if _is_minded(change))
        case _:
            assert_never(step)


def _is_minded(change: Change) -> bool:
    match change:
        case WriteFile(path):
            return path.endswith(f"/{layout.LOWER}")
        case CopyFile() | LinkFile() | SetAside():
            return True
        case MakeSymlink() | MakeDirectory() | DropReference():
            return False
        case _:
            assert_never(change)


def _dirs_in(path: str) -> Iterator[LayerDirId]:
    """The random ids in `path`. What is named by a digest is called the same in every root that has it."""
    parts = path.split("/")
    named = (part for above, part in zip(("", *parts), parts, strict=False) if above != _DIGESTS)
    return filter(is_layer_dir_id, named)
