"""
Which layer dirs the kernel has mounted, in every mount namespace (safety rule S3).

An engine and each of its containers may live in mount namespaces of their own, and ``/proc/<pid>/mountinfo`` shows what
can be reached from that process' root directory: one process is asked for each pair of namespace and root directory.
Where the namespace cannot be told (no CAP_SYS_PTRACE), every process is asked, which nobody may refuse, and equal
tables count once. Of an engine its threads are asked too: to unpack a layer, one of them goes into a namespace of its
own with the layer's ``diff`` for its root directory (seen with 26.1.5 and 28.5.2; in 20.10 it is a process).

Paths in mountinfo are those of the asked process, so they are compared by their tokens, never by a prefix: the layer
dir id before ``diff`` or ``work`` or after ``overlay2``, and ``l/<link id>``. A bind mount's path is without
``overlay2`` where that is a file system of its own. Ids are random: the mounts of another root on the same host are
listed too, and name nothing here. A mount that can be reached from no process (a namespace that is only kept open, a
lazily unmounted tree) is seen by nobody, gcd included.

Sources: moby ``daemon/graphdriver/overlay2/overlay.go`` Get (absolute and relative forms); Linux
``fs/proc_namespace.c`` mounts_open_common, show_mountinfo.
"""

from __future__ import annotations

import errno
import os
from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec import Struct, field

from gcd.formats.mountinfo import parse_mountinfo
from gcd.model import layout
from gcd.model.facts import KernelMount
from gcd.model.ids import is_layer_dir_id, is_link_id
from gcd.model.inventory import Coverage, SourceState
from gcd.root.processes import PROC, processes
from gcd.root.tree import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.formats.mountinfo import MountLine
    from gcd.model.ids import LayerDirId, LinkId
    from gcd.root.processes import Process

MAX_HOLDERS = 5
_TABLE_LIMIT = 256 << 20
_UNKNOWN = "unknown"


class _View(Struct):
    """What is mounted as some processes see it; `table` holds only the lines that may be about layer dirs."""

    namespace: str
    table: bytes
    first: Process
    holders: list[Process] = field(default_factory=list)
    """Some of the processes, engines first; no kernel threads, which all live with the first process."""

    def add(self, process: Process) -> None:
        if process.comm() == "dockerd":
            self.holders.insert(0, process)
        elif len(self.holders) < MAX_HOLDERS and process.arguments():
            self.holders.append(process)

    def named(self) -> list[Process]:
        return self.holders[:MAX_HOLDERS] or [self.first]


def read_mounts(proc: str = PROC) -> tuple[tuple[KernelMount, ...], SourceState]:
    """
    The mounts that use layer dirs, of this root or another, and how completely they were seen.

    `pids` of each are an engine, if one is among those that see it, and then the lowest ones; `holder` is the name of
    the first of them.
    """
    try:
        views, failure = _views(proc)
    except OSError as error:
        return (), SourceState(Coverage.UNREADABLE, f"{proc} cannot be listed ({name_of(error)})")
    mounts: list[KernelMount] = []
    unparsable = 0
    for view in views:
        table = parse_mountinfo(view.table)
        unparsable += table.unparsable
        mounts.extend(mount for line in table if (mount := _kernel_mount(line, view)) is not None)
    if unparsable and not failure:
        failure = f"{unparsable} lines of mountinfo are not understood"
    return tuple(mounts), SourceState(Coverage.PARTIAL, failure) if failure else SourceState(Coverage.OK)


def _views(proc: str) -> tuple[list[_View], str]:
    """Every distinct view, and in one clause what may be missing."""
    by_namespace: dict[tuple[str, str], _View] = {}
    by_table: dict[bytes, _View] = {}
    failure = ""
    for process in processes(proc):
        try:
            for asked in (process, *_threads_apart(process)):
                seen_from = _standpoint(asked)
                view = by_namespace.get(seen_from) if seen_from is not None else None
                if view is None:
                    table = _table_of(asked)
                    if table is None:
                        continue
                    if seen_from is not None:
                        view = by_namespace.setdefault(seen_from, _View(seen_from[0], table, process))
                    else:
                        view = by_table.setdefault(table, _View(_UNKNOWN, table, process))
                view.add(process)
        except OSError as error:
            failure = f"the mounts that pid {process.pid} sees cannot be read ({name_of(error)})"
    for view in by_namespace.values():
        by_table.pop(view.table, None)
    return [*by_namespace.values(), *by_table.values()], failure


def _threads_apart(process: Process) -> list[Process]:
    """The threads of an engine that see something else than the engine itself; none where that may not be asked."""
    if process.comm() != "dockerd":
        return []
    try:
        standpoint = _standpoint(process)
        return [thread for thread in process.threads() if _standpoint(thread) not in {standpoint, None}]
    except PermissionError:
        return []


def _standpoint(process: Process) -> tuple[str, str] | None:
    """The mount namespace and root directory of `process`; None if that may not be asked, or the process is gone."""
    try:
        namespace, top = process.link("ns/mnt"), process.link("root")
    except PermissionError:
        return None
    return (namespace, top) if namespace is not None and top is not None else None


def _table_of(process: Process) -> bytes | None:
    """
    The lines of mountinfo that may be about layer dirs: an overlay, or a bind mount of something in one.

    None if the process is gone; OSError if there are too many lines to be read, too.
    """
    raw = process.read("mountinfo", _TABLE_LIMIT)
    if raw is None:
        return None
    if len(raw) == _TABLE_LIMIT:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return b"\n".join(line for line in raw.split(b"\n") if b"overlay" in line or b"/diff" in line)


def _kernel_mount(line: MountLine, view: _View) -> KernelMount | None:
    dirs: set[LayerDirId] = set()
    links: set[LinkId] = set()
    for path in (line.upper, line.work, *line.lowers):
        if path is not None:
            dirs.update(_dir_of_layer(path))
            dirs.update(_dirs_on_the_way(path))
            links.update(_link_of(path))
    for path in (line.root, line.mount_point):
        dirs.update(_dirs_on_the_way(path))
    if not dirs and not links:
        return None
    return KernelMount(
        mount_point=line.mount_point,
        fstype=line.fstype,
        namespace=view.namespace,
        pids=tuple(process.pid for process in view.named()),
        holder=view.named()[0].comm(),
        dirs=frozenset(dirs),
        links=frozenset(links),
        merged_of=_merged_of(line.mount_point),
    )


def _dir_of_layer(path: str) -> Iterator[LayerDirId]:
    """The id in ``…/<id>/diff`` or ``…/<id>/work``, which is also the form of a relative path."""
    match path.split("/"):
        case [*_, name, layout.DIFF | layout.WORK] if is_layer_dir_id(name):
            yield name


def _link_of(path: str) -> Iterator[LinkId]:
    match path.split("/"):
        case [*_, layout.LINK_FARM, name] if is_link_id(name):
            yield name


def _dirs_on_the_way(path: str) -> Iterator[LayerDirId]:
    """Every id in ``…/overlay2/<id>/…`` and ``…/<id>/diff/…``; several if an engine runs in a container of another."""
    for before, name in pairwise(path.split("/")):
        if before == layout.OVERLAY2 and is_layer_dir_id(name):
            yield name
        elif name == layout.DIFF and is_layer_dir_id(before):
            yield before


def _merged_of(mount_point: str) -> LayerDirId | None:
    match mount_point.split("/"):
        case [*_, layout.OVERLAY2, name, layout.MERGED] if is_layer_dir_id(name):
            return name
        case _:
            return None
