"""
Every system call of gcd that changes something below a root: one function each, on directory descriptors.

Names are one component, relative to an open `Directory`, and no symlink is ever followed. Each function raises
`OSError` with nothing changed, but for what its docstring says. None syncs by itself, unless it says so.

``renameat2`` is that of the C library (glibc 2.28); where there is none every rename is ENOSYS. Its flags are of
linux/fs.h; file systems that cannot do it say EINVAL.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from functools import cache
from typing import TYPE_CHECKING, cast

from msgspec import Struct

from gcd.root.descent import BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcd.root.tree import Directory

LABEL = "security.selinux"

_NOREPLACE = 1
_EXCHANGE = 2
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
_OPEN_DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


class Dress(Struct, frozen=True):
    """What a new file wears: owner, mode (without the type), and the SELinux label; None where the kernel sets it."""

    uid: int
    gid: int
    mode: int
    label: str | None = None


def rename_noreplace(source: Directory, name: str, target: Directory, new_name: str) -> None:
    """Move `name` to `new_name`; EEXIST if anything is there, even an empty directory; EXDEV on another device."""
    _renameat2(source, name, target, new_name, _NOREPLACE)


def exchange(one: Directory, name: str, other: Directory, other_name: str) -> None:
    """Swap what the two names mean, at once; ENOENT if either is not there."""
    _renameat2(one, name, other, other_name, _EXCHANGE)


def make_directory(parent: Directory, name: str, dress: Dress) -> None:
    """May leave a directory of mode 0700 where dressing it fails."""
    os.mkdir(_one(name), 0o700, dir_fd=parent.fd)
    fd = os.open(name, _OPEN_DIRECTORY, dir_fd=parent.fd)
    try:
        wear(fd, dress)
    finally:
        os.close(fd)


def write_new_file(parent: Directory, name: str, content: bytes, dress: Dress) -> None:
    """A new file, synced; it may be left there, incomplete, where writing fails."""
    fd = make_file(parent, name)
    try:
        write_all(fd, content)
        wear(fd, dress)
        sync_file(fd)
    finally:
        os.close(fd)


def make_file(parent: Directory, name: str) -> int:
    """A descriptor, for writing, of a new file of mode 0600."""
    return os.open(_one(name), _CREATE, 0o600, dir_fd=parent.fd)


def write_all(fd: int, content: bytes) -> None:
    """May have written some of it where that fails."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]


def wear(fd: int, dress: Dress) -> None:
    """May have put on some of `dress` where that fails."""
    # The owner first: a change of owner takes set-user-id bits away, and capabilities.
    os.fchown(fd, dress.uid, dress.gid)
    os.fchmod(fd, dress.mode)
    if dress.label is not None:
        os.setxattr(fd, LABEL, os.fsencode(dress.label))


def set_attribute(fd: int, name: str, value: bytes) -> None:
    """An extended attribute of an open file; after its owner and its mode, which change some of them."""
    os.setxattr(fd, name, value)


def set_modified(fd: int, modified_ns: int) -> None:
    """When an open file was last modified and read, by the wall clock; what is written into it comes before."""
    os.utime(fd, ns=(modified_ns, modified_ns))


def sync_file(fd: int) -> None:
    os.fsync(fd)


def link(parent: Directory, name: str, new_name: str) -> None:
    """Another name, in the same directory, of the file `name`; EEXIST if anything is there."""
    os.link(_one(name), _one(new_name), src_dir_fd=parent.fd, dst_dir_fd=parent.fd, follow_symlinks=False)


def reserve_file(parent: Directory, name: str, size: int, dress: Dress) -> None:
    """A new file for which `size` bytes are allocated; it may be left there, smaller, where there is no room."""
    fd = make_file(parent, name)
    try:
        wear(fd, dress)
        os.posix_fallocate(fd, 0, size)
    finally:
        os.close(fd)


def make_symlink(parent: Directory, name: str, target: str, dress: Dress) -> None:
    """May leave a symlink of the caller's own where dressing it fails; a symlink has no mode."""
    os.symlink(target, _one(name), dir_fd=parent.fd)
    os.chown(name, dress.uid, dress.gid, dir_fd=parent.fd, follow_symlinks=False)
    if dress.label is not None:
        os.setxattr(f"/proc/self/fd/{parent.fd}/{name}", LABEL, os.fsencode(dress.label), follow_symlinks=False)


def empty_file(parent: Directory, name: str) -> int:
    """
    Cut the regular file `name` to nothing if that is its only name; how many bytes the disk gets back, else 0.

    Another name of it may be in a layer that lives: there are programs that make hard links of equal files.
    """
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    fd = os.open(_one(name), flags, dir_fd=parent.fd)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            return 0
        os.ftruncate(fd, 0)
        return (status.st_blocks - os.fstat(fd).st_blocks) * BLOCK
    finally:
        os.close(fd)


def unlink(parent: Directory, name: str) -> None:
    os.unlink(_one(name), dir_fd=parent.fd)


def remove_directory(parent: Directory, name: str) -> None:
    os.rmdir(_one(name), dir_fd=parent.fd)


def sync_directory(directory: Directory) -> None:
    os.fsync(directory.fd)


def open_lock(parent: Directory, name: str, dress: Dress) -> int:
    """A descriptor of the empty file `name`, which is made where it is not there; nothing is written into it."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(_one(name), flags, dir_fd=parent.fd)
    except FileNotFoundError:
        fd = os.open(name, flags | os.O_CREAT, 0o600, dir_fd=parent.fd)
        wear(fd, dress)
        return fd


def label_of(parent: Directory, name: str) -> str | None:
    """The SELinux label of `name`, no symlink followed; None where it has none. Changes nothing."""
    try:
        raw = os.getxattr(f"/proc/self/fd/{parent.fd}/{_one(name)}", LABEL, follow_symlinks=False)
    except OSError as error:
        if error.errno in {errno.ENODATA, errno.ENOTSUP}:
            return None
        raise
    return os.fsdecode(raw)


def _renameat2(source: Directory, name: str, target: Directory, new_name: str, flags: int) -> None:
    call = _library_call()
    if call(source.fd, os.fsencode(_one(name)), target.fd, os.fsencode(_one(new_name)), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name, None, new_name)


@cache
def _library_call() -> Callable[..., int]:
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        raise OSError(errno.ENOSYS, "the C library has no renameat2") from None
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    call.restype = ctypes.c_int
    return cast("Callable[..., int]", call)


def _one(name: str) -> str:
    """`name`, which must be one component: a slash in it would let the system resolve symlinks on the way."""
    if "/" in name or "\0" in name or name in {"", ".", ".."}:
        message = f"not one name: {name!r}"
        raise ValueError(message)
    return name
