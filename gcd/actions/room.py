"""
Room on a disk that is full to the last byte, where orphans are to be deleted for good.

Moving a unit takes a few blocks, for its entry and, the first time, for the place. Where there are none, files in the
``diff`` of orphans among the plan's steps are emptied first. Nothing is renamed or removed: the unit stays the orphan
that it is, as proven as before (no directory or file by whose ctime that is told has changed), and goes the usual way
afterwards. Whoever is killed meanwhile leaves an orphan that holds less.

Only units without a record are emptied. A layer that layerdb knows would be taken by the next pull for what it was.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from gcd.actions.apply import door, is_same, other_root
from gcd.actions.closelook import CloseLook
from gcd.actions.place import locked
from gcd.actions.syscalls import empty_file
from gcd.model import layout
from gcd.model.facts import FileType
from gcd.model.ids import is_layer_dir_id
from gcd.model.plan import Move
from gcd.model.reading import Present
from gcd.root.boundaries import mount_of
from gcd.root.processes import PROC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcd.model.plan import Plan, Step
    from gcd.root.tree import Directory

PLACE_BYTES: Final = 512 << 10
"""What the place takes at most: its directories, and what it reserves."""

ENTRY_BYTES: Final = 32 << 10
"""What an entry takes: two directories and a manifest, mostly three blocks of 4 KiB."""

MOST_BYTES: Final = 8 << 20
"""Enough for the steps of one look; then they are deleted, and there is room."""

DEEPEST: Final = 16
"""Files in directories further down are left as they are."""


def make_room(
    root: Directory, plan: Plan, replan: Callable[[], Plan], driver: str, *, proc: str = PROC
) -> Iterator[tuple[Move, int]]:
    """
    Empty files of the orphans that `plan` moves until there is room for that: each step and how many bytes it gave, as
    soon as they are given.

    `replan` makes the plan anew, which is asked as before every step; with the engine stopped the fence is held, and
    where there is a place its lock. Gives nothing where there is room, or nothing that may be emptied. Raises
    `CannotAct` where nothing, or nothing more, can be done.
    """
    lacking = min(PLACE_BYTES + len(plan.steps) * ENTRY_BYTES, MOST_BYTES) - _free(root)
    if lacking <= 0:
        return
    since_ns = time.time_ns()
    fresh = replan()
    if fresh.refusal or other_root(plan, fresh):
        return  # carrying the plan out says so
    planned = {step.finding.id: step for step in plan.steps}
    with locked(root), door(root, fresh, proc) as held:
        look = CloseLook(root, fresh, since_ns, proc)
        for step in fresh.steps:
            if lacking <= 0:
                break
            if held is not None:
                held.check()
            if (
                isinstance(step, Move)
                and is_same(step, planned.get(step.finding.id))
                and _is_without_record(step, driver)
                and look.at(step) is None
            ):
                emptied = _emptied(root, step, lacking)
                lacking -= emptied
                if emptied:
                    yield step, emptied


def _free(root: Directory) -> int:
    """Bytes that may be written by anybody: what a file system keeps for root, or for itself, does not count."""
    status = os.fstatvfs(root.fd)
    return status.f_bavail * status.f_frsize


def _is_without_record(step: Step, driver: str) -> bool:
    return all(path.startswith(f"{driver}/") for path in step.finding.paths)


def _emptied(root: Directory, step: Move, wanted: int) -> int:
    """How many bytes the layer dirs of `step` gave: `wanted` or a little more, or as many as there are."""
    given = 0
    for path in step.paths:
        if not is_layer_dir_id(path.rpartition("/")[2]):
            continue
        opened = root.open_path(f"{path}/{layout.DIFF}")
        if isinstance(opened, Present):
            with opened.value as diff:
                for parent, name in _files(diff, (root.stat().st_dev, mount_of(root.fd))):
                    if given >= wanted:
                        break
                    given += _bytes_of(parent, name)
    return given


def _files(directory: Directory, home: tuple[int, int], depth: int = 0) -> Iterator[tuple[Directory, str]]:
    """The regular files at most `DEEPEST` below `directory`, on the device and mount `home`, each in its directory."""
    if (directory.stat().st_dev, mount_of(directory.fd)) != home:
        return
    for name, kind in directory.list().entries.items():
        if kind is FileType.FILE:
            yield directory, name
        elif kind is FileType.DIRECTORY and depth < DEEPEST:
            opened = directory.open(name)
            if isinstance(opened, Present):
                with opened.value as below:
                    yield from _files(below, home, depth + 1)


def _bytes_of(parent: Directory, name: str) -> int:
    try:
        return empty_file(parent, name)
    except OSError:
        return 0  # immutable, or being run: others may give
