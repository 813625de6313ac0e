"""
``<root>/.gcd``: the place of the quarantine (safety rule S19).

::

    .gcd/
    ├── lock                whoever writes holds it by flock; it is empty
    ├── reserve             room for a few manifests, let go of when the disk is full
    ├── open/<entry>/       moving in or out is under way, or was cut short
    ├── entries/<entry>/    closed
    ├── purging/<entry>/    half of it may be gone
    └── plans/<digest>      saved plans that were applied

    <entry>/
    ├── manifest.json       what is meant; written first, never changed; manifest.new while nothing is taken
    └── items/<index>       what was taken, by its index in the manifest

It lies on the root's own device, outside every directory that the engine loads or counts, belongs to the root's owner
and is closed to everybody else. It is opened by descriptor and not through a symlink, and must be itself at each use.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from gcd.actions.syscalls import (
    Dress,
    make_directory,
    open_lock,
    remove_directory,
    rename_noreplace,
    reserve_file,
    sync_directory,
    unlink,
)
from gcd.formats.manifest import is_entry_id
from gcd.model import layout
from gcd.model.entry import FOLDERS, EntryId, EntryState, order_of
from gcd.model.errors import CannotAct
from gcd.model.reading import Absent, Malformed, Present, describe
from gcd.root.boundaries import mount_of, project_of
from gcd.root.descent import BLOCK
from gcd.root.tree import Directory, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from gcd.actions.items import Known

LOCK = "lock"
PLANS = "plans"
RESERVE = "reserve"
RESERVED_BYTES = 256 << 10

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HALF_MADE = f"{layout.GCD}.new"


class Place:
    """
    The place, open and locked for writing; a context manager that lets go of it.

    `driver` names the store whose layer dirs it holds. `known` is what was read of files that repairs made, by what
    tells that they have not changed since. Made by `open_place`.
    """

    def __init__(self, root: Directory, directory: Directory, lock: int, driver: str) -> None:
        self.root = root
        self.directory = directory
        self.driver = driver
        self.known: Known = {}
        self._lock = lock
        self._states: dict[EntryState, Directory] = {}
        self._second = ""
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for directory in self._states.values():
            directory.close()
        self.directory.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def dress(self) -> Dress:
        """What directories of gcd's own wear: the root's owner's, closed to others."""
        return _dress_of(self.root, 0o700)

    @property
    def file_dress(self) -> Dress:
        """What files of gcd's own wear."""
        return _dress_of(self.root, 0o600)

    @property
    def mount(self) -> int:
        return mount_of(self.directory.fd)

    def state(self, state: EntryState) -> Directory:
        """The directory that entries in `state` lie in; stays the place's own."""
        return self._states[state]

    def check(self) -> None:
        """Raise `CannotAct` unless the place is still what was opened. To be called before each step."""
        _check(self.root, self.directory)

    def new_id(self, now_ns: int) -> EntryId:
        """The id of a new entry: later than that of every entry that is there, if the clock does not go back."""
        second = f"{_EPOCH + timedelta(microseconds=now_ns // 1000):%Y%m%dT%H%M%S}"
        if second > self._second:
            names = [name for state in self._states.values() for name in state.list().entries]
            numbers = [order_of(name)[1] for name in names if is_entry_id(name) and name.startswith(f"{second}-")]
            self._second, self._number = second, max(numbers, default=0)
        self._number += 1
        return EntryId(f"{self._second}-{self._number:04d}")

    def plans(self) -> Directory:
        """The directory of saved plans that were applied, made where it is not there; for the caller to close."""
        return _subdirectory(self.directory, PLANS, self.dress)

    def open_states(self) -> None:
        for state, name in FOLDERS.items():
            self._states[state] = _subdirectory(self.directory, name, self.dress)
        self._take_reserve()

    def let_go_of_reserve(self) -> bool:
        """Give the reserved room back to a full disk, for one manifest; whether there was any."""
        if not isinstance(self.directory.lstat(RESERVE), Present):
            return False
        unlink(self.directory, RESERVE)
        return True

    def _take_reserve(self) -> None:
        """Reserve room, unless that is done or there is none: without it gcd refuses a little earlier."""
        found = self.directory.lstat(RESERVE)
        if isinstance(found, Present) and found.value.st_blocks * BLOCK >= RESERVED_BYTES:
            return
        try:
            if isinstance(found, Present):
                unlink(self.directory, RESERVE)
            reserve_file(self.directory, RESERVE, RESERVED_BYTES, self.file_dress)
        except OSError:
            self.let_go_of_reserve()


def open_place(root: Directory, *, create: bool, driver: str = layout.OVERLAY2) -> Place:
    """
    The place of `root`, locked, for the caller to close; with `create` it is made where it is not there.

    Raises `CannotAct`: another gcd holds it, it is not what it must be, it is not there, it cannot be made or written.
    """
    try:
        directory = _opened(root, create)
        try:
            _check(root, directory)
            lock = _locked(directory, _dress_of(root, 0o600))
        except BaseException:
            directory.close()
            raise
        place = Place(root, directory, lock, driver)
        try:
            place.open_states()
        except BaseException:
            place.close()
            raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise CannotAct(
                f"The disk is full: there is no room for the quarantine {layout.GCD}. "
                "gcd quarantine --purge deletes proven orphans at once."
            ) from None
        raise CannotAct(f"The quarantine {layout.GCD} cannot be opened for writing: {error.strerror}.") from None
    return place


@contextmanager
def locked(root: Directory) -> Iterator[None]:
    """
    Keep every other gcd from writing to `root`, if there is a place, and need no room for that. Raises `CannotAct`
    where another one is writing, or the place is not what it must be.
    """
    if isinstance(root.lstat(layout.GCD), Absent):
        yield
        return
    with _opened(root, create=False) as directory:
        _check(root, directory)
        lock = _locked(directory, _dress_of(root, 0o600))
        try:
            yield
        finally:
            os.close(lock)


def _opened(root: Directory, create: bool) -> Directory:
    reading = root.open(layout.GCD)
    if isinstance(reading, Absent) and create:
        project = project_of(root.fd)
        if project:
            raise CannotAct(
                f"The root has the quota project {project}: what is moved below {layout.GCD} would count to it."
            )
        _make(root)
        reading = root.open(layout.GCD)
    match reading:
        case Present(directory):
            return directory
        case Absent():
            raise CannotAct("There is no quarantine on this root.")
        case Malformed(_, found):
            raise CannotAct(f"{layout.GCD} is no directory but {found}: move it away.")
        case _:
            raise CannotAct(f"{layout.GCD} is {describe(reading)}: run gcd as root.")


def _make(root: Directory) -> None:
    """Make the place beside, so that a half-made one never bears its name; what was left of one is empty."""
    if isinstance(root.lstat(_HALF_MADE), Present):
        remove_directory(root, _HALF_MADE)
    make_directory(root, _HALF_MADE, _dress_of(root, 0o700))
    rename_noreplace(root, _HALF_MADE, root, layout.GCD)
    sync_directory(root)


def _check(root: Directory, directory: Directory) -> None:
    """Raise `CannotAct` unless `directory` is what `root` holds under the place's name, and as it must be."""
    own, status = root.stat(), directory.stat()
    named = root.lstat(layout.GCD)
    if not isinstance(named, Present) or (named.value.st_dev, named.value.st_ino) != (status.st_dev, status.st_ino):
        raise CannotAct(f"{layout.GCD} was replaced while it was in use.")
    if status.st_dev != own.st_dev or mount_of(directory.fd) != mount_of(root.fd):
        raise CannotAct(f"{layout.GCD} is a mountpoint: nothing can be moved into it by a rename.")
    if status.st_uid != own.st_uid or stat.S_IMODE(status.st_mode) & 0o077:
        raise CannotAct(
            f"{layout.GCD} does not belong to the root's owner alone: make it mode 0700, owner {own.st_uid}."
        )
    project = project_of(directory.fd)
    if project:
        raise CannotAct(f"{layout.GCD} has the quota project {project}: nothing can be moved into it by a rename.")


def _subdirectory(directory: Directory, name: str, dress: Dress) -> Directory:
    reading = directory.open(name)
    if isinstance(reading, Absent):
        make_directory(directory, name, dress)
        sync_directory(directory)
        reading = directory.open(name)
    if not isinstance(reading, Present):
        raise CannotAct(f"{layout.GCD}/{name} is not the directory that it must be: move it away.")
    if reading.value.stat().st_dev != directory.stat().st_dev or mount_of(reading.value.fd) != mount_of(directory.fd):
        reading.value.close()
        raise CannotAct(f"{layout.GCD}/{name} is a mountpoint: nothing can be moved into it by a rename.")
    return reading.value


def _locked(directory: Directory, dress: Dress) -> int:
    try:
        fd = open_lock(directory, LOCK, dress)
    except OSError as error:
        raise CannotAct(f"{layout.GCD}/{LOCK} cannot be opened ({name_of(error)}).") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise CannotAct(f"{layout.GCD}/{LOCK} is not the file that it must be: move it away.")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if error.errno == errno.EWOULDBLOCK:
            raise CannotAct("Another gcd is writing to this root: wait until it is done.") from None
        raise
    return fd


def _dress_of(root: Directory, mode: int) -> Dress:
    status = root.stat()
    return Dress(status.st_uid, status.st_gid, mode)
