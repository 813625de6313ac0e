"""
One walk over a whole root: what each unit of it takes.

Counts as ``du -x`` does: allocated blocks, every inode once, nothing on another device (the mountpoint included), no
symlink followed. What vanishes meanwhile is not counted, what cannot be read is.

The walk costs a ``stat`` an inode, and half of that time is Python's own: so it is shared among a few processes. The
forked ones begin at once, while the caller reads and judges the root; it takes its part in what is left when it is done
with that, so that there is one process a processor, and none waits. Each takes the next portion of the tasks from a
pipe when it is done with its last. They only read, and end with the caller, whatever becomes of it. So that they begin
soon, little is imported here: what describes a root to the rest of gcd is not needed to walk it.

What is mounted a second time below the root from its own device (a bind mount) counts in both places, as in ``du``.
"""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
import select
import signal
import struct
import termios
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Self

from gcd.model import layout
from gcd.model.errors import CannotCheck
from gcd.root.descent import BLOCK, Descent, enter_by
from gcd.root.listing import enter
from gcd.root.shares import signals_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet
    from types import TracebackType

    from gcd.model.space import Tree

PROCESSES = 4
"""So many walk at most, the caller among them."""
PORTIONS = 1024
"""More than this many portions of work are never sent: they must fit into one page, which any pipe holds."""

_INDEX = struct.Struct("=I")
_PATIENCE = 0.1


class Mode(IntEnum):
    """How a task's directory is cut into units."""

    TREE = 0
    """It is one, with all below it."""
    SPREAD = 1
    """It is one by itself, and so is each entry, with all below it."""
    FLAT = 2
    """It is one by itself, and so is each entry that is no directory; these are other tasks."""


class Task(NamedTuple):
    parent: str
    name: str
    mode: Mode

    @property
    def path(self) -> str:
        return f"{self.parent}/{self.name}" if self.parent else self.name


Result = tuple[dict[str, tuple[int, int, int]], dict[int, tuple[int, list[str]]], int]
"""Of one process: blocks, inodes, payload by unit; blocks, units by inode of several names; what was unreadable."""


class Walk:
    """
    A walk under way, begun by `begin_walk`; a context manager that ends its processes.
    """

    def __init__(self, worker: _Worker, tasks: Sequence[Task]) -> None:
        self._worker = worker
        self._tasks = tasks
        self._portion = len(tasks) // PORTIONS + 1
        starts = range(0, len(tasks), self._portion)
        self._total = len(starts)
        self._queue, feed = os.pipe()
        with os.fdopen(feed, "wb") as pipe:
            pipe.write(b"".join(map(_INDEX.pack, starts)))
        self._processes: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what is still under way, if anything is."""
        if self._queue >= 0:
            os.close(self._queue)
            self._queue = -1
        self._worker.close()
        for pid in self._ended():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def fork(self) -> None:
        """Let one more process take part, if the system has room for one."""
        caller = os.getpid()
        with contextlib.suppress(OSError):
            here, there = os.pipe()
            try:
                with signals_held() as held:
                    pid = os.fork()
                    if pid == 0:
                        self._serve(there, caller, held)
                    self._processes[pid] = here
            except OSError:
                os.close(here)
            finally:
                os.close(there)

    def result(self, progress: Callable[[int, int], None] | None = None) -> Tree:
        """
        Take part until the end; `progress` is called now and then with how many portions are done, and how many there
        are.

        Raises `CannotCheck` if one of the processes died.
        """
        for portion in self._portions():
            self._do(portion)
            self._tell(progress)
        received = {answer: bytearray() for answer in self._processes.values()}
        waiting = set(received)
        while waiting:
            for answer in select.select(list(waiting), [], [], _PATIENCE)[0]:
                part = os.read(answer, 1 << 20)
                received[answer] += part
                if not part:
                    waiting.discard(answer)
            self._tell(progress)
        if any(os.waitpid(pid, 0)[1] for pid in self._ended()):
            raise CannotCheck("A process that measured the root died: its part of the figures is missing.")
        return _merged([self._worker.result(), *map(marshal.loads, received.values())])

    def _serve(self, answer: int, caller: int, held: AbstractSet[int]) -> None:
        """The whole life of a forked process, which holds the signals `held`; never returns."""
        status = 1
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            for portion in self._portions():
                self._do(portion)
                if os.getppid() != caller:
                    return
            with os.fdopen(answer, "wb") as file:
                file.write(marshal.dumps(self._worker.result()))
            status = 0
        finally:
            # Nothing of the caller's may run here: no handlers, no flushing of buffers that it will flush itself.
            os._exit(status)

    def _portions(self) -> Iterator[int]:
        """Where each portion begins that nobody has taken yet, taken from the others."""
        while word := os.read(self._queue, _INDEX.size):
            yield _INDEX.unpack(word)[0]

    def _do(self, start: int) -> None:
        for task in self._tasks[start : start + self._portion]:
            self._worker.do(task)

    def _tell(self, progress: Callable[[int, int], None] | None) -> None:
        if progress is not None:
            left = fcntl.ioctl(self._queue, termios.FIONREAD, bytes(_INDEX.size))
            progress(self._total - _INDEX.unpack(left)[0] // _INDEX.size, self._total)

    def _ended(self) -> Iterator[int]:
        """The processes, each for the caller to wait for."""
        while self._processes:
            pid, answer = self._processes.popitem()
            os.close(answer)
            yield pid


def begin_walk(root: int, driver: str = layout.OVERLAY2, *, processes: int | None = None) -> Walk:
    """
    Begin to walk the open directory `root`, whose live store is that of the graphdriver `driver`, in so many processes,
    the caller's being one of them: without it, one for each processor, up to `PROCESSES`.

    Must be called while the process has one thread, as it forks. Units are all entries of the root and, below it, of
    the directories that `parted` and `spread` name.
    """
    tasks = list(_tasks(root, driver))
    walk = Walk(_Worker(root, driver), tasks)
    try:
        for _ in range(1, processes or min(PROCESSES, len(os.sched_getaffinity(0)))):
            walk.fork()
    except BaseException:
        walk.close()
        raise
    return walk


def parted(driver: str) -> tuple[str, ...]:
    """The directories whose entries are tasks of their own, parents first."""
    return (
        "",
        layout.VOLUMES,
        layout.CONTAINERS,
        driver,
        "image",
        layout.image_tree(driver),
        layout.imagedb(driver),
        f"{layout.imagedb(driver)}/content",
        f"{layout.imagedb(driver)}/metadata",
        layout.layerdb(driver),
        layout.layer_records(driver),
    )


def spread(driver: str) -> tuple[str, ...]:
    """The directories whose entries are units of their own; those of ``containers/`` are spread too."""
    return (
        layout.link_farm(driver),
        layout.image_configs(driver),
        layout.image_metadata_records(driver),
        layout.rw_layer_records(driver),
    )


def _tasks(root: int, driver: str) -> Iterator[Task]:
    """The tasks of a root as it is now; what cannot be listed is left to be counted by its FLAT task."""
    folders, spreading = parted(driver), frozenset(spread(driver))
    within = {""}
    for folder in folders:
        parent, _, name = folder.rpartition("/")
        if parent not in within:
            continue
        try:
            fd = enter_by(root, _way(folder))
        except OSError:
            yield Task(parent, name, Mode.TREE)
            continue
        if fd is None:
            continue
        within.add(folder)
        yield Task(parent, name, Mode.FLAT)
        try:
            names = _directories(fd)
        finally:
            if fd != root:
                os.close(fd)
        for entry in names:
            path = f"{folder}/{entry}" if folder else entry
            if path not in folders:
                is_spread = path in spreading or folder == layout.CONTAINERS
                yield Task(folder, entry, Mode.SPREAD if is_spread else Mode.TREE)


def _way(path: str) -> tuple[str, ...]:
    return tuple(path.split("/")) if path else ()


def _directories(directory: int) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


class _Worker:
    """Does tasks, and sums up what it counts by unit."""

    def __init__(self, root: int, driver: str) -> None:
        self._root = root
        self._payloads = {driver: layout.DIFF, layout.VOLUMES: layout.VOLUME_DATA}
        self._units: dict[str, tuple[int, int, int]] = {}
        self._descent = Descent(os.fstat(root).st_dev)
        self._folder = ""
        self._parent: int | None = root

    def close(self) -> None:
        """Close the directory that was kept open."""
        if self._parent is not None and self._parent != self._root:
            os.close(self._parent)
        self._parent = None

    def result(self) -> Result:
        return self._units, self._descent.links, self._descent.unreadable

    def do(self, task: Task) -> None:
        if not task.name:
            self._count_open(self._root, "", Mode.FLAT)
            return
        parent = self._parent_of(task)
        if parent is None:
            return
        match task.mode:
            case Mode.TREE:
                self._tree(parent, task.name, task.path, self._payloads.get(task.parent, ""))
            case Mode.SPREAD | Mode.FLAT:
                self._open_and_count(parent, task)

    def _parent_of(self, task: Task) -> int | None:
        """The directory that the task lies in; tasks of one directory follow each other, so it is kept open."""
        if task.parent != self._folder:
            self.close()
            self._folder = task.parent
            try:
                self._parent = enter_by(self._root, _way(task.parent))
            except OSError:
                self._descent.unreadable += 1
        return self._parent

    def _open_and_count(self, parent: int, task: Task) -> None:
        """What cannot be opened as a directory counts by itself."""
        try:
            fd = enter(parent, task.name)
        except OSError:
            fd = None
        if fd is None:
            self._tree(parent, task.name, task.path, "")
            return
        try:
            self._count_open(fd, task.path, task.mode)
        finally:
            os.close(fd)

    def _tree(self, parent_fd: int, name: str, unit: str, payload: str) -> None:
        self._descent.begin(unit)
        self._descent.count(parent_fd, name, payload)
        self._units[unit] = self._descent.sums()

    def _count_open(self, fd: int, unit: str, mode: Mode) -> None:
        """Count the open directory by itself, and its entries as `mode` says."""
        status = os.fstat(fd)
        if status.st_dev != self._descent.device:
            return
        self._units[unit] = (status.st_blocks, 1, 0)
        try:
            with os.scandir(fd) as entries:
                names = [
                    entry.name for entry in entries if mode is Mode.SPREAD or not entry.is_dir(follow_symlinks=False)
                ]
        except OSError:
            self._descent.unreadable += 1
            return
        for name in names:
            self._tree(fd, name, f"{unit}/{name}" if unit else name, "")


def _merged(results: list[Result]) -> Tree:
    from gcd.model.space import Space, Tree, Unit  # noqa: PLC0415 - the walk is over when it is needed

    units: dict[str, Unit] = {}
    links: dict[int, tuple[int, list[str]]] = {}
    for counted, linked, _ in results:
        for path, (blocks, inodes, payload) in counted.items():
            units[path] = Unit(Space(blocks * BLOCK, inodes), payload)
        for inode, (blocks, paths) in linked.items():
            links[inode] = (blocks, [*links[inode][1], *paths] if inode in links else paths)
    spanning: dict[tuple[str, ...], Space] = {}
    for blocks, paths in links.values():
        space = Space(blocks * BLOCK, 1)
        if len(paths) == 1:
            unit = units[paths[0]]
            units[paths[0]] = unit._replace(space=unit.space.plus(space))
        else:
            key = tuple(sorted(paths))
            spanning[key] = spanning.get(key, Space()).plus(space)
    return Tree(units, spanning, sum(unreadable for *_, unreadable in results))
