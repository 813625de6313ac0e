"""
What a rename or a walk must not cross and ``st_dev`` does not show: mounts of the same device, and quota projects.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gcd.root.statx import origin_of

if TYPE_CHECKING:
    from gcd.root.tree import Directory

_GET_ATTRIBUTES: Final = 0x801C581F
_ATTRIBUTES: Final = struct.Struct("=IIIII8x")
"""``struct fsxattr`` of linux/fs.h: flags, extent size, extents, project id, extent size for copies."""

_GET_FLAGS: Final = 0x80086601
_IMMUTABLE: Final = 0x10
_APPEND_ONLY: Final = 0x20
_NOT_THERE: Final = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


def mount_of(fd: int) -> int:
    """The id of the mount that the open file `fd` was reached through, as in the first column of mountinfo."""
    origin = origin_of("", dir_fd=fd)
    if origin is not None and origin.mount is not None:
        return origin.mount
    # Kernels before 5.8.
    for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
        if line.startswith("mnt_id:"):
            return int(line.split()[1])
    raise OSError(errno.ENOSYS, "the kernel does not say through which mount a file was reached")


def project_of(fd: int) -> int:
    """The quota project of an open file or directory; 0 without one, and where the file system has none."""
    try:
        raw = fcntl.ioctl(fd, _GET_ATTRIBUTES, bytes(_ATTRIBUTES.size))
    except OSError as error:
        if error.errno in _NOT_THERE:
            return 0
        raise
    return int(_ATTRIBUTES.unpack(raw)[3])


def stopping_flag(parent: Directory, name: str) -> str:
    """Which flag of chattr(1) on `name`, a file or directory, keeps it from being changed; "" if none does."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, dir_fd=parent.fd)
    except OSError:
        return ""
    try:
        return stopping_flag_of(fd)
    finally:
        os.close(fd)


def stopping_flag_of(fd: int) -> str:
    """As `stopping_flag`, of an open file or directory."""
    try:
        (flags,) = struct.unpack("=q", fcntl.ioctl(fd, _GET_FLAGS, bytes(8)))
    except OSError:
        return ""
    return "immutable" if flags & _IMMUTABLE else "append-only" if flags & _APPEND_ONLY else ""
