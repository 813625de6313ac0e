"""What the kernel keeps of files."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def resident(path: Path) -> int:
    """How many pages of a file are in the page cache, by mincore(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    size = path.stat().st_size
    seen = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    with path.open("rb") as file:
        start = libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), ctypes.c_long(0))
        libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(size), seen)
        libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(size))
    return sum(page & 1 for page in seen)


def synced(path: Path, *, is_kept: bool) -> None:
    """Have it written, so that it can be dropped from the page cache; and drop it, unless it `is_kept`."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        if not is_kept:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
