"""Types of files, and files of no other room: what the engine writes for a moment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FileType(StrEnum):
    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symlink"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class TemporaryFile:
    """A file, or a directory of files, that the engine made for a moment; `path` is relative to the root."""

    path: str
    ctime_ns: int
