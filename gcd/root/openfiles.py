"""
Which processes have files of a root open (safety rules S6, S7).

A file, working directory or root directory of a process lies below gcd's root if its place in the file system does:
``/proc/<pid>/mountinfo`` says, for the mount through which it was reached, which part of which device that is. So a
process in another mount namespace, or one that came through a bind mount, is recognised too. Where the mount cannot be
told (before Linux 5.8), paths are compared as they stand.

Not counted: gcd itself, the working directories of what started it (a shell that stands in the root and waits), and
containerd with its shims, which outlive the engine on a host with live-restore.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.formats.escape import escaped
from gcd.formats.mountinfo import parse_mountinfo
from gcd.model.ids import LayerDirId
from gcd.root.processes import PROC, Process, processes, read_file, text_of
from gcd.root.statx import origin_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gcd.formats.mountinfo import MountLine
    from gcd.root.tree import Directory

_TABLE_LIMIT = 64 << 20
_DELETED = " (deleted)"
_PATH_SHOWN = 120
_PARTS_OF_THE_ENGINE = ("containerd",)
"""How the names of processes begin that hold files of the root by right."""

_INIT = 1

Place = tuple[tuple[int, int], str]
"""The device of mountinfo, and a path from the root directory of the file system on it."""

MountTable = dict[int, "MountLine"]


class Opener(Struct, frozen=True):
    """A process, and one path below the root that it has open, escaped."""

    pid: int
    comm: str
    path: str


class _Target(Struct, frozen=True):
    """The root that is looked for: its path and place, and what gcd itself can reach."""

    path: str
    device: int
    place: Place | None
    own_mounts: MountTable


def openers_of(root: Directory, proc: str = PROC) -> tuple[tuple[Opener, ...], int]:
    """
    The foreign processes with something open in `root`, lowest pid first, and how many could not be looked into.

    OSError if processes cannot be listed.
    """
    target = _target_of(root)
    waiting = _ancestors()
    openers: list[Opener] = []
    hidden = 0
    for process in processes(proc):
        if process.pid == os.getpid():
            continue
        try:
            path = _path_below(process, target, folders=process.pid not in waiting)
        except OSError:
            # A kernel thread has no command line, and no files either; some machines hide their init even from root.
            is_hidden = process.pid != _INIT and bool(process.arguments())
            hidden += is_hidden and not _is_part_of_the_engine(process.comm())
            continue
        if path is not None and not _is_part_of_the_engine(comm := process.comm()):
            openers.append(Opener(process.pid, comm, escaped(path, _PATH_SHOWN)))
    return tuple(openers), hidden


def _is_part_of_the_engine(comm: str) -> bool:
    return comm.startswith(_PARTS_OF_THE_ENGINE)


def held_dirs(wanted: Collection[LayerDirId], proc: str = PROC) -> frozenset[LayerDirId]:
    """
    Those of the layer dirs `wanted` in which some process has its root, its working directory or an open file (S6).

    Told by the dir's id in the path, whatever namespace it was opened in and wherever that has the root: an engine that
    removes a big dir has it open all the while. Processes that cannot be looked into hold nothing that could be told.
    """
    held: set[LayerDirId] = set()
    for process in processes(proc) if wanted else ():
        try:
            for link in _links(process, folders=True):
                held.update(_dirs_in(link, wanted))
        except OSError:
            continue
    return frozenset(held)


def _dirs_in(link: str, wanted: Collection[LayerDirId]) -> Iterator[LayerDirId]:
    try:
        names = text_of(link).split("/")
    except OSError:
        return
    for name in names:
        if (layer_dir := LayerDirId(name.removesuffix(_DELETED))) in wanted:
            yield layer_dir


def mounts_of(proc: str, pid: int | str) -> MountTable:
    """The mounts that a process can reach, by their id; empty if it is gone. OSError if they cannot be read."""
    table: MountTable = {}
    for line in (read_file(f"{proc}/{pid}/mountinfo", _TABLE_LIMIT) or b"").splitlines():
        for mount in parse_mountinfo(line):
            table[int(line.split(b" ", 1)[0])] = mount
    return table


def _target_of(root: Directory) -> _Target:
    path = text_of(f"{PROC}/self/fd/{root.fd}")
    origin = origin_of("", dir_fd=root.fd)
    own_mounts = mounts_of(PROC, "self")
    place = _place(path, own_mounts.get(origin.mount)) if origin is not None and origin.mount is not None else None
    return _Target(path, root.stat().st_dev, place, own_mounts)


def _ancestors() -> set[int]:
    waiting: set[int] = set()
    pid: int | None = os.getppid()
    while pid and pid not in waiting:
        waiting.add(pid)
        pid = Process(PROC, pid).parent()
    return waiting


def _path_below(process: Process, target: _Target, *, folders: bool) -> str | None:
    """One path below the root that `process` has open; `folders`: also its working and root directory."""
    mounts: MountTable | None = None
    for link in _links(process, folders=folders):
        try:
            text = text_of(link)
        except FileNotFoundError:
            continue
        except OSError as error:
            # So deep that the kernel cannot spell its path; in the root it can only be on the root's own device.
            origin = origin_of(link, follow=True) if error.errno == errno.ENAMETOOLONG else None
            if origin is None or origin.device == target.device:
                raise
            continue
        origin = origin_of(link, follow=True) if text.startswith("/") else None
        if origin is None:
            continue
        path = text.removesuffix(_DELETED)
        if origin.mount is None or origin.mount in target.own_mounts:
            if _is_below(path, target.path):
                return path
            mounts_seen = target.own_mounts
        elif origin.device == target.device:
            mounts = mounts_of(process.proc, process.pid) if mounts is None else mounts
            mounts_seen = mounts
            path = _as_seen_by(process, path)
        else:
            continue
        place = _place(path, mounts_seen.get(origin.mount or 0))
        if place is not None and target.place is not None and _is_place_below(place, target.place):
            return path
    return None


def _links(process: Process, *, folders: bool) -> Iterator[str]:
    if folders:
        yield f"{process.folder}/cwd"
        yield f"{process.folder}/root"
    try:
        with os.scandir(f"{process.folder}/fd") as entries:
            yield from [entry.path for entry in entries]
    except FileNotFoundError:
        return


def _as_seen_by(process: Process, path: str) -> str:
    """`path`, which the kernel spelled from the root of the namespace, from the root directory of `process`."""
    top = (process.link("root") or "/").rstrip("/")
    return path.removeprefix(top) if path.startswith(f"{top}/") else path


def _place(path: str, mount: MountLine | None) -> Place | None:
    if mount is None or not _is_below(path, mount.mount_point):
        return None
    return mount.major_minor, mount.root.rstrip("/") + path[len(mount.mount_point.rstrip("/")) :]


def _is_place_below(place: Place, top: Place) -> bool:
    return place[0] == top[0] and _is_below(place[1], top[1])


def _is_below(path: str, top: str) -> bool:
    """Whether `path` is `top` or lies in it."""
    return path == top or path.startswith(top.rstrip("/") + "/")
