"""
The two things that only statx(2) tells: when an inode was born, and through which mount it was reached.

Python calls statx itself from 3.15 on; until then the C library's is called. Where the C library (glibc 2.28, musl
1.2.5), the kernel (4.11; 5.8 for the mount) or the file system has no answer, the answer is None.
"""

from __future__ import annotations

import ctypes
import os
import struct
from functools import cache
from typing import TYPE_CHECKING, cast

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EMPTY_PATH = 0x1000
_AT_STATX_DONT_SYNC = 0x4000
_BASIC = 0x7FF
_BIRTH = 0x800
_MOUNT = 0x1000

_SIZE = 256
_FIELDS = struct.Struct("=I28xQ40xqI44xIIQ")
"""Of struct statx in linux/stat.h, the same everywhere: mask, inode (at 32), birth (80), device (136), mount (144)."""


class Origin(Struct, frozen=True):
    """
    `birth_ns` in nanoseconds of the wall clock; `mount` is the id in the first column of mountinfo.

    `device` is what ``st_dev`` says, which on btrfs is not the device of mountinfo.
    """

    device: int
    inode: int
    birth_ns: int | None
    mount: int | None


def origin_of(path: str, *, dir_fd: int = _AT_FDCWD, follow: bool = False) -> Origin | None:
    """
    What statx says of `path`, below `dir_fd` if relative, of `dir_fd` itself if empty; None if it says nothing.

    No server of a network file system is asked, so that a dead one cannot hang the caller.
    """
    call = _statx()
    if call is None:
        return None
    flags = _AT_STATX_DONT_SYNC | (0 if path else _AT_EMPTY_PATH) | (0 if follow else _AT_SYMLINK_NOFOLLOW)
    buffer = ctypes.create_string_buffer(_SIZE)
    if call(dir_fd, os.fsencode(path), flags, _BASIC | _BIRTH | _MOUNT, buffer) != 0:
        return None
    return _origin(buffer)


def _origin(buffer: ctypes.Array[ctypes.c_char]) -> Origin:
    mask, inode, seconds, nanoseconds, major, minor, mount = _FIELDS.unpack_from(buffer)
    birth_ns = seconds * 1_000_000_000 + nanoseconds
    return Origin(
        device=os.makedev(major, minor),
        inode=inode,
        # Tools that lay out a whole file system leave the birth time 0.
        birth_ns=birth_ns if mask & _BIRTH and birth_ns > 0 else None,
        mount=mount if mask & _MOUNT else None,
    )


@cache
def _statx() -> Callable[..., int] | None:
    try:
        call = ctypes.CDLL(None).statx
    except (OSError, AttributeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)
    call.restype = ctypes.c_int
    return cast("Callable[..., int]", call)
