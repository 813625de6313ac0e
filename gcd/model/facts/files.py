"""Types of files, and files of no other room: what the engine writes for a moment."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class FileType(StrEnum):
    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symlink"
    OTHER = "other"

    @property
    def noun(self) -> str:
        """As a `Malformed` says it of what stands in another thing's place."""
        return _NOUNS[self]


_NOUNS = {
    FileType.DIRECTORY: "a directory",
    FileType.FILE: "a regular file",
    FileType.SYMLINK: "a symlink",
    FileType.OTHER: "a FIFO, socket or device",
}


class TemporaryFile(Struct, frozen=True):
    """A file, or a directory of files, that the engine made for a moment; `path` is relative to the root."""

    path: str
    ctime_ns: int
