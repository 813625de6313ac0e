"""
The kernel's watches on the places of a root, through watchdog's reader of inotify, and their loss.

Of watchdog (7.1) this uses the layer below its observers, `InotifyFD`: one thread reads the kernel's queue and calls
back for each event. Its observers would have a thread for each directory, hold what moved away back for half a second,
queue without a bound, and keep an overflow of the kernel's queue to themselves.

A directory is opened one name at a time, never through a symlink, and the watch set on what was opened; nothing stays
open, so no mount of the root is held busy. What the kernel does not tell (a parent of the root moved, a mount over a
place) shows in `review`, which compares device and inode of each place with those that are watched.
"""

from __future__ import annotations

import errno
import logging
import os
from itertools import islice
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyFD, Mask

from gcd.watch.gathering import MOST_NAMES
from gcd.watch.places import ROOT, Place, places

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from watchdog.observers.inotify_c import InotifyEvent, WatchDescriptor

    from gcd.watch.gathering import Gathering

MASK: Final = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVE
    | InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
)
"""Entries that come, go or are written, and the directory's own end. What gcd itself reads makes no event."""

_NO_DIRECTORY: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_GONE: Final = object()
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

# It warns of an overflow, and would do so on stderr where nobody listens.
logging.getLogger("watchdog").addHandler(logging.NullHandler())


class Ear:
    """What watchdog calls, in its thread, about the watch on one place."""

    def __init__(self, place: Place, gathering: Gathering, on_doubt: Callable[[], None]) -> None:
        self._place = place
        self._gathering = gathering
        self._on_doubt = on_doubt
        self.is_live = True

    def on_event(self, event: InotifyEvent) -> None:
        name = os.fsdecode(event.name)
        if name:
            self._gathering.hear(self._place, name)
        if not name or name in self._place.parts:
            self._on_doubt()

    def on_watch_deleted(self, _: WatchDescriptor, /) -> None:
        """The directory was removed, or its file system unmounted."""
        self.is_live = False
        self._on_doubt()

    def on_queue_overflow(self) -> None:
        """Watchdog tells every watch of it: the root's speaks for all."""
        if self._place.path == ROOT:
            self._gathering.miss()


class _Watch(Struct, frozen=True):
    ear: Ear
    descriptor: WatchDescriptor
    identity: tuple[int, int]

    def is_on(self, identity: tuple[int, int]) -> bool:
        return self.ear.is_live and self.identity == identity


class Watches:
    """
    The watches on the places below the path `root`. Only one thread may call its methods.

    `on_doubt` is called in watchdog's thread when a place may have come or gone: a `review` is due.
    """

    def __init__(self, root: str, driver: str, gathering: Gathering, on_doubt: Callable[[], None]) -> None:
        self._root = root
        self._places = {place.path: place for place in places(driver)}
        self._gathering = gathering
        self._on_doubt = on_doubt
        self._reader: InotifyFD | None = None
        self._watches: dict[Place, _Watch | None] = {}
        self._has_begun = False

    @property
    def are_complete(self) -> bool:
        """Whether every place that is there is watched; one that is not there shows in the one it would lie in."""
        return self._has_begun and all(watch is not None and watch.ear.is_live for watch in self._watches.values())

    def review(self) -> None:
        """
        Watch what is there, once more if it was replaced, and drop what is gone.

        What lies in a place that was not there at the last review is heard of; where a watch was lost, or could not be
        had until now, everything is to be looked at. Of the first review nothing is heard.
        """
        before, self._watches = self._watches, {}
        root = self._places[ROOT]
        try:
            self._start_reader()
            fd = os.open(self._root, _FLAGS)
        except (OSError, RuntimeError):  # the latter where no thread can be started
            self._watches[root] = None
        else:
            try:
                self._visit(root, fd, before)
            finally:
                os.close(fd)
        is_missed = any(watch is None for place, watch in self._watches.items() if place not in before)
        for place, watch in before.items():
            if watch is not self._watches.get(place, _GONE):
                is_missed = True
                self._drop(watch)
        if is_missed and self._has_begun:
            self._gathering.miss()
        self._has_begun = True

    def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()
            reader.join()

    def _start_reader(self) -> None:
        if self._reader is not None and not self._reader.is_alive():
            self.close()
        if self._reader is None:
            reader = InotifyFD()
            try:
                reader.start()
            except RuntimeError:
                reader.stop()
                reader._close_resources()  # noqa: SLF001 - watchdog leaves that to the thread, which there is not
                raise
            self._reader = reader

    def _visit(self, place: Place, fd: int, before: Mapping[Place, _Watch | None]) -> None:
        """`place` and what lies in it; the watch stands before anything is listed or opened below it."""
        self._watches[place] = self._watched(place, fd, before.get(place))
        if place not in before and self._has_begun:
            self._hear_all(place, fd)
        for name in place.parts:
            part = self._places[f"{place.path}/{name}" if place.path else name]
            try:
                below = os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=fd)
            except OSError as error:
                if error.errno not in _NO_DIRECTORY:
                    self._watches[part] = None
                continue
            try:
                self._visit(part, below, before)
            finally:
                os.close(below)

    def _watched(self, place: Place, fd: int, before: _Watch | None) -> _Watch | None:
        """The watch on the open directory `fd`; None if the kernel grants none."""
        status = os.fstat(fd)
        identity = status.st_dev, status.st_ino
        if before is not None and before.is_on(identity):
            return before
        assert self._reader is not None
        ear = Ear(place, self._gathering, self._on_doubt)
        try:
            descriptor = self._reader.add_callback(f"/proc/self/fd/{fd}".encode(), MASK, ear, CallbackId(id(ear)))
        except OSError:
            return None
        watch = _Watch(ear, descriptor, identity)
        if descriptor < 0:  # watchdog raises nothing on EACCES
            self._drop(watch)
            return None
        return watch

    def _drop(self, watch: _Watch | None) -> None:
        """A dead watch is known to nobody any more."""
        if watch is not None and watch.ear.is_live and self._reader is not None:
            self._reader.remove_callbacks([(watch.descriptor, CallbackId(id(watch.ear)))])

    def _hear_all(self, place: Place, fd: int) -> None:
        try:
            with os.scandir(fd) as scan:
                for entry in islice(scan, MOST_NAMES + 1):
                    self._gathering.hear(place, entry.name)
        except OSError:
            self._gathering.miss()
