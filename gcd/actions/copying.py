"""
A file of a layer made anew in an entry: it holds what another file does, and wears what the file wore that it
replaces, or what it shall wear where none is left.

The content goes by in pieces, and its SHA-256 is that of what was written: where it is not the one that was proven, or
where anything that the old file wears cannot be put on the new one, nothing of the repair is done.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Final

from gcd.actions import syscalls
from gcd.actions.items import parent_of
from gcd.actions.manifest import NEW_FILE
from gcd.actions.refusal import of_error, refuse
from gcd.model.plan import Reason
from gcd.root.tree import FILE_FLAGS, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

    from gcd.actions.manifest import OpenEntry
    from gcd.actions.syscalls import Dress
    from gcd.model.entry import Taken
    from gcd.model.plan import CopyFile
    from gcd.root.tree import Directory

PIECE: Final = 1 << 20
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def copy(entry: OpenEntry, name: str, change: CopyFile, taken: Taken | None, dress: Dress) -> None:
    """
    Make ``items/<name>`` as `change` says, in `dress`; it replaces what was `taken`, and has all the extended
    attributes of that, or else those that `change` says. `Refused` where it is not the one, or cannot be the other;
    `OSError` for what the disk does.
    """
    root, worn = entry.place.root, dict(change.worn.attributes) if change.worn is not None else {}
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(_opened(root, change.source))
        old = None if taken is None else stack.enter_context(_opened(root, change.path))
        if old is not None and taken is not None and os.fstat(old).st_ino != taken.inode:
            refuse(Reason.CHANGED, f"something else stands at {change.path} than a moment before")
        _demand_room(entry, change)
        fd = syscalls.make_file(entry.directory, NEW_FILE)
        try:
            _pour(source, fd, change)
            syscalls.wear(fd, dress)
            if old is None:
                _put_on(fd, change.path, worn.keys() - {syscalls.LABEL}, worn.__getitem__)
            else:
                # One at a time: each may have 64 KiB.
                _put_on(fd, change.path, _attributes(old), partial(os.getxattr, old))
            _demand_dress(fd, change.path, dress)
            syscalls.set_modified(fd, change.modified_ns)
            syscalls.sync_file(fd)
        except OSError as error:
            if error.errno in _NO_ROOM:
                refuse(Reason.PLACE, _no_room(change))
            raise
        finally:
            os.close(fd)
    # Under its index there is only ever a whole one: what else is there is somebody else's.
    syscalls.rename_noreplace(entry.directory, NEW_FILE, entry.items, name)


@contextlib.contextmanager
def _opened(root: Directory, path: str) -> Iterator[int]:
    """The regular file at `path`, whose access time stays as it is where that may be asked for."""
    try:
        with parent_of(root, path) as (parent, name):
            try:
                fd = os.open(name, FILE_FLAGS | os.O_NOATIME, dir_fd=parent.fd)
            except PermissionError:
                fd = os.open(name, FILE_FLAGS, dir_fd=parent.fd)
    except OSError as error:
        raise of_error(error, path) from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            refuse(Reason.CHANGED, f"{path} is no file any more")
        yield fd
    finally:
        os.close(fd)


def _demand_room(entry: OpenEntry, change: CopyFile) -> None:
    """A disk that is filled before it is known to be too small is full for all others meanwhile."""
    disk = os.fstatvfs(entry.directory.fd)
    if disk.f_bavail * disk.f_frsize < change.size:
        refuse(Reason.PLACE, _no_room(change))


def _no_room(change: CopyFile) -> str:
    return f"the disk has no room for the {change.size} bytes of {change.path}"


def _demand_dress(fd: int, path: str, dress: Dress) -> None:
    """Some attributes, those of POSIX ACLs, change the mode."""
    status = os.fstat(fd)
    if (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) != (dress.mode, dress.uid, dress.gid):
        refuse(Reason.PLACE, f"a new {path} would have another mode or owner than it shall")


def _pour(source: int, fd: int, change: CopyFile) -> None:
    digest = hashlib.sha256()
    left = change.size
    while left and (piece := _read(source, min(left, PIECE), change.source)):
        syscalls.write_all(fd, piece)
        digest.update(piece)
        left -= len(piece)
    if left or digest.hexdigest() != change.sha256 or os.fstat(source).st_size != change.size:
        refuse(Reason.CHANGED, f"{change.source} does not hold any more what was to be copied")


def _read(source: int, size: int, path: str) -> bytes:
    try:
        return os.read(source, size)
    except OSError as error:
        raise of_error(error, path) from None


def _put_on(fd: int, path: str, names: AbstractSet[str], value: Callable[[str], bytes]) -> None:
    """All extended attributes `names`, with their `value`: after that it has these and no other."""
    for name in sorted(names):
        try:
            syscalls.set_attribute(fd, name, value(name))
        except OSError as error:
            refuse(Reason.PLACE, f"a new {path} cannot have the attribute {name} ({name_of(error)})")
    if other := names ^ _attributes(fd):
        refuse(Reason.PLACE, f"a new {path} would differ in the attribute {min(other)}")
    for name in names:
        if os.getxattr(fd, name) != value(name):
            refuse(Reason.PLACE, f"a new {path} would differ in the attribute {name}")


def _attributes(fd: int) -> set[str]:
    try:
        return set(os.listxattr(fd)) - {syscalls.LABEL}
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return set()
        raise
