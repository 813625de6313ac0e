"""
Is an engine alive on this root, which one, and since when (safety rules S4, S5, S7).

**State.** dockerd holds an exclusive ``flock`` on ``volumes/metadata.db`` for its lifetime. gcd tries a shared one, on
a descriptor that cannot write, and lets go at once; the engine waits up to a second for its own.

==================  ==================================================================================================
the lock is         then the engine is
==================  ==================================================================================================
taken               running
free                stopped, unless a dockerd of this root is found (starting, or without its lock): running
not there           the same: a root that no engine ever opened, or a copy without volumes
not to be tried     running if a dockerd of this root is found, else unknown: a lock may be held that gcd cannot see
==================  ==================================================================================================

**Identity.** ``/proc/locks`` names the holder by the device of mountinfo (on btrfs not that of ``stat``) and the inode.
It leaves out the processes of other pid namespaces: then the engine is running, and nothing more is known.

**Epoch.** The earlier of the holder's start and the birth of ``tmp``, which every start of an engine makes anew, less
two seconds, since the kernel gives the time of its boot in whole seconds.

Every `doubt` is one sentence that says why nothing is proven in this run. Sources: moby ``volume/service/store.go``
NewStore, ``daemon/daemon.go`` NewDaemon and prepareTempDir; bbolt ``bolt_unix.go`` flock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from gcd.formats.locks import parse_locks
from gcd.model import layout
from gcd.model.errors import FormatError
from gcd.model.facts import Engine, EngineState
from gcd.model.reading import Absent, Present
from gcd.root.dockerd import engines_on
from gcd.root.openfiles import mounts_of, openers_of
from gcd.root.processes import PROC, Process, processes, read_file
from gcd.root.statx import origin_of
from gcd.root.tree import name_of

if TYPE_CHECKING:
    from gcd.root.tree import Directory

MARGIN_NS: Final = 2_000_000_000
MAX_DIFFERENCE_NS: Final = 120_000_000_000
"""How far the holder's start and the birth of ``tmp`` may lie apart before one of the clocks is not believed."""

_LOCK_FILE: Final = f"{layout.VOLUMES}/{layout.VOLUME_DATABASE}"
_LOCKED_FOLDERS: Final = (layout.VOLUMES, layout.BUILDKIT)
"""Where an engine keeps databases that it holds locked."""

_LOCKS_LIMIT = 64 << 20
_MAX_NAMED = 5

FileKey = tuple[int, int, int]
"""Major and minor device number, and inode, as in ``/proc/locks``."""


class _LockState(Enum):
    TAKEN = auto()
    FREE = auto()
    ABSENT = auto()
    UNTRIED = auto()


class _Holders(Struct):
    """Who holds locks on files of the root: the pids on ``volumes/metadata.db``, and those on other databases."""

    of_the_lock: list[int] = field(default_factory=list)
    elsewhere: list[int] = field(default_factory=list)
    failure: str = ""


def read_engine(root: Directory, proc: str = PROC) -> Engine:
    """The engine of `root`, as it is at this moment. Never an exception: what cannot be told is a doubt."""
    on_root = _on_root(root, proc)
    lock, why = _try_lock(root)
    is_asked = lock is _LockState.TAKEN or _is_any_dockerd(proc)
    holders = _holders_of(root, on_root, proc) if is_asked else _Holders()
    if lock is _LockState.TAKEN:
        return _holding_engine(root, proc, holders)
    doubts = [why] if why else []
    present = sorted({*_dockerds(proc, holders.of_the_lock), *_dockerds(proc, holders.elsewhere), *on_root})
    if present:
        doubts.append(f"dockerd (pid {present[0]}) uses this root without holding the lock on {_LOCK_FILE}")
        return Engine(EngineState.RUNNING, present[0], None, (*doubts, *_several(present[1:])), tuple(present[1:]))
    if lock is _LockState.UNTRIED:
        return Engine(EngineState.UNKNOWN, doubts=tuple(doubts))
    return Engine(EngineState.STOPPED, doubts=(*doubts, *_doubts_when_stopped(root, proc)))


def is_locked(root: Directory) -> bool:
    """Whether an engine holds the lock of `root`, for choosing among several roots."""
    return _try_lock(root)[0] is _LockState.TAKEN


def sign_of(root: Directory, pid: int | None, proc: str = PROC) -> tuple[object, ...]:
    """
    What is other once another engine has `root`, or the one of `pid` has it no more, told without asking every process.

    An engine holds the lock as long as it lives, and each makes ``tmp`` anew when it starts. Who else uses the root
    without that lock, only `read_engine` tells.
    """
    origin = origin_of(layout.TMP, dir_fd=root.fd)
    start = Process(proc, pid).start_ticks() if pid is not None else None
    return _try_lock(root)[0], start, origin and (origin.device, origin.birth_ns)


def _holding_engine(root: Directory, proc: str, holders: _Holders) -> Engine:
    """The engine that holds the lock of `root`."""
    pids = _dockerds(proc, holders.of_the_lock)
    others = tuple(sorted({*_dockerds(proc, holders.elsewhere), *pids[1:]} - set(pids[:1])))
    doubts = [*_several(others)]
    if not pids:
        doubts.append(_unnamed(proc, holders))
        return Engine(EngineState.RUNNING, None, None, tuple(doubts), others)
    start_ns = Process(proc, pids[0]).start_ns()
    origin = origin_of(layout.TMP, dir_fd=root.fd)
    birth_ns = origin.birth_ns if origin is not None else None
    if start_ns is None:
        doubts.append(f"the start of dockerd (pid {pids[0]}) cannot be told")
        return Engine(EngineState.RUNNING, pids[0], None, tuple(doubts), others)
    if birth_ns is None:
        doubts.append("the birth time of tmp, which the engine makes at its start, cannot be told")
        return Engine(EngineState.RUNNING, pids[0], start_ns - MARGIN_NS, tuple(doubts), others)
    if abs(start_ns - birth_ns) > MAX_DIFFERENCE_NS:
        seconds = abs(start_ns - birth_ns) // 1_000_000_000
        doubts.append(f"the start of dockerd (pid {pids[0]}) and the birth of its tmp lie {seconds} s apart")
    return Engine(EngineState.RUNNING, pids[0], min(start_ns, birth_ns) - MARGIN_NS, tuple(doubts), others)


def _unnamed(proc: str, holders: _Holders) -> str:
    if holders.failure:
        return f"the engine that holds {_LOCK_FILE} cannot be told: {holders.failure}"
    if not holders.of_the_lock:
        return f"{_LOCK_FILE} is locked by a process that /proc/locks does not show (another pid namespace)"
    pid = holders.of_the_lock[0]
    return f"{_LOCK_FILE} is locked by pid {pid} ({Process(proc, pid).comm() or 'gone'}), which is no dockerd"


def _several(others: tuple[int, ...] | list[int]) -> list[str]:
    if not others:
        return []
    return [f"several engines hold files of this root: also pid {', '.join(map(str, others))}"]


def _doubts_when_stopped(root: Directory, proc: str) -> list[str]:
    """With no engine, somebody who copies or restores the root may be at work in it."""
    try:
        openers, hidden = openers_of(root, proc)
    except OSError as error:
        return [f"whether a process has files of this root open cannot be told ({name_of(error)})"]
    doubts = [f"pid {opener.pid} ({opener.comm}) has {opener.path} open" for opener in openers[:_MAX_NAMED]]
    if len(openers) > _MAX_NAMED:
        doubts.append(f"{len(openers) - _MAX_NAMED} more processes have files of this root open")
    # In a root that belongs to the user himself, processes of other users have nothing to do.
    if hidden and not 0 < os.geteuid() == root.stat().st_uid:
        doubts.append(f"whether {hidden} processes have files of this root open cannot be told: run gcd as root")
    return doubts


def _try_lock(root: Directory) -> tuple[_LockState, str]:
    """The state of the lock on ``volumes/metadata.db``, and a doubt where it could not be tried."""
    volumes = root.open(layout.VOLUMES)
    match volumes:
        case Present(folder):
            with folder:
                return _try_lock_in(folder)
        case Absent():
            return _LockState.ABSENT, ""
        case _:
            return _LockState.UNTRIED, f"{layout.VOLUMES} cannot be opened: whether an engine runs cannot be told"


def _try_lock_in(volumes: Directory) -> tuple[_LockState, str]:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        fd = os.open(layout.VOLUME_DATABASE, flags, dir_fd=volumes.fd)
    except FileNotFoundError:
        return _LockState.ABSENT, ""
    except OSError as error:
        return _LockState.UNTRIED, f"{_LOCK_FILE} cannot be opened ({name_of(error)}): no lock can be tried"
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return _LockState.UNTRIED, f"{_LOCK_FILE} is no regular file: no lock can be tried"
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            return _LockState.TAKEN, ""
        return _LockState.UNTRIED, f"{_LOCK_FILE} cannot be locked ({name_of(error)})"
    finally:
        os.close(fd)
    return _LockState.FREE, ""


def _holders_of(root: Directory, on_root: list[int], proc: str) -> _Holders:
    """The pids that ``/proc/locks`` names for the databases of `root`."""
    keys = _database_keys(root, on_root, proc)
    lock_key = keys.pop(_LOCK_FILE, None)
    other_keys = set(keys.values())
    holders = _Holders()
    try:
        locks = parse_locks(read_file(f"{proc}/locks", _LOCKS_LIMIT) or b"")
    except OSError as error:
        holders.failure = f"{proc}/locks cannot be read ({name_of(error)})"
        return holders
    except FormatError as error:
        holders.failure = str(error)
        return holders
    for lock in locks:
        if lock.waiting or lock.pid <= 0:
            continue
        key = (lock.major, lock.minor, lock.inode)
        if key == lock_key:
            holders.of_the_lock.append(lock.pid)
        elif key in other_keys:
            holders.elsewhere.append(lock.pid)
    return holders


def _database_keys(root: Directory, on_root: list[int], proc: str) -> dict[str, FileKey]:
    """Of each database that an engine may hold locked, by its path, what ``/proc/locks`` would call it."""
    keys: dict[str, FileKey] = {}
    for folder_name in _LOCKED_FOLDERS:
        reading = root.open(folder_name)
        if not isinstance(reading, Present):
            continue
        with reading.value as folder:
            major, minor = _device_of(folder, ("self", *on_root), proc)
            for name in folder.list().entries:
                status = folder.lstat(name) if name.endswith(".db") else None
                if isinstance(status, Present):
                    keys[f"{folder_name}/{name}"] = (major, minor, status.value.st_ino)
    return keys


def _device_of(folder: Directory, asked: tuple[int | str, ...], proc: str) -> tuple[int, int]:
    """
    The device that mountinfo gives for the mount of `folder`, in the first of the processes `asked` that has it.

    gcd may have come through ``/proc/<pid>/root``: then the mount is not its own. Where it cannot be told the device is
    that of ``stat``, which is right on all file systems but btrfs.
    """
    origin = origin_of("", dir_fd=folder.fd)
    for pid in asked:
        try:
            mount = mounts_of(PROC if pid == "self" else proc, pid).get((origin and origin.mount) or 0)
        except OSError:
            continue
        if mount is not None:
            return mount.major_minor
    device = folder.stat().st_dev
    return os.major(device), os.minor(device)


def _dockerds(proc: str, pids: list[int]) -> list[int]:
    """Those of `pids` that are an engine, each once, in their order."""
    return [pid for pid in dict.fromkeys(pids) if Process(proc, pid).is_dockerd()]


def _is_any_dockerd(proc: str) -> bool:
    """
    Whether an engine runs, on whatever root. If none does, nobody in ``/proc/locks`` counts; and whoever reads that
    waits for a grace period of the kernel (Linux ``fs/locks.c`` locks_start), for milliseconds each time.
    """
    try:
        return any(process.is_dockerd() for process in processes(proc))
    except OSError:
        return True


def _on_root(root: Directory, proc: str) -> list[int]:
    try:
        return [engine.pid for engine in engines_on(root, proc)]
    except OSError:
        return []
