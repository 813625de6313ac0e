"""
A glance at the members of a layer: which of them are surely on disk as they shall be.

Going from one small file to the next is most of what a scrub of small files costs, and Python takes longer over it than
the kernel does. So this part exists twice: here, and compiled in ``_glance.c``, which does the same and takes its place
where it could be built.

As everywhere below a root, names are opened one by one relative to a directory's descriptor, no symlink is followed,
and only what was a regular file a moment before is opened, without waiting.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from fastcrc.crc64 import go_iso

from gcd.formats.bundle import DIRECTORY, FILE, LARGEST, LINK_BYTES, MOST_MEMBERS, NUMBERS, SYMLINK
from gcd.scrub.folders import MOST_OPEN, Folders
from gcd.scrub.members import opened
from gcd.scrub.reading import resident_part

_KINDS: Final = frozenset({FILE, SYMLINK, DIRECTORY})


def glance(diff: int, names: bytes, kinds: bytes, numbers: bytes, links: bytes, /) -> bytes:
    """
    Of each member of a `gcd.formats.bundle.Bundle`, for the layer whose open directory is `diff`: 1 where a directory,
    a symlink of this target, or a file of this size and checksum is in its place. 0 where it is not, or there is any
    trouble or doubt: that is for `Members` to look at. Raises ValueError for what is no bundle.

    Who calls it has told of the files' bytes before. Those that were not in the page cache are not left there.
    """
    members = _members(names, kinds, numbers, links)
    folders, buffer = Folders(diff), memoryview(bytearray(LARGEST))
    try:
        return bytes(_is_sound(folders, buffer, *member) for member in members)
    finally:
        folders.close()


def _members(names: bytes, kinds: bytes, numbers: bytes, links: bytes) -> list[tuple[bytes, int, int, int, bytes]]:
    *all_names, names_rest = names.split(b"\0")
    *all_links, links_rest = links.split(b"\0")
    count = len(kinds)
    if (
        not (len(all_names) == len(all_links) == count <= MOST_MEMBERS)
        or names_rest
        or links_rest
        or len(numbers) != count * NUMBERS.size
        or not _KINDS.issuperset(kinds)
        or any(not {b"", b".", b".."}.isdisjoint(name.split(b"/")) for name in all_names)
        or any(len(link) > LINK_BYTES for link in all_links)
    ):
        raise ValueError("no bundle of members")
    sizes, crcs = zip(*NUMBERS.iter_unpack(numbers), strict=True) if count else ((), ())
    if any(size > LARGEST for size in sizes):
        raise ValueError("no bundle of members")
    return list(zip(all_names, kinds, sizes, crcs, all_links, strict=True))


def _is_sound(folders: Folders, buffer: memoryview, name: bytes, kind: int, size: int, crc: int, link: bytes) -> bool:
    folder, _, last = os.fsdecode(name).rpartition("/")
    if folder.count("/") >= MOST_OPEN:
        return False
    try:
        parent = folders.open(folder)
        status = os.stat(last, dir_fd=parent, follow_symlinks=False)
        if kind == DIRECTORY:
            return stat.S_ISDIR(status.st_mode)
        if kind == SYMLINK:
            return os.fsencode(os.readlink(last, dir_fd=parent)) == link
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return False
        return not size or _has_content(opened(parent, last), buffer[:size], crc)
    except OSError:
        return False


def _has_content(fd: int, buffer: memoryview, crc: int) -> bool:
    """Whether what `buffer` has room for is in the file, which is closed, and has that checksum."""
    try:
        done, was_resident = resident_part(fd, buffer)
        while done < len(buffer) and (got := os.preadv(fd, [buffer[done:]], done)):
            done += got
        if not was_resident:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
    return done == len(buffer) and go_iso(buffer) == crc
