"""
What looking at the content of a layer told: the verdict on each layer, and what differs in it.

A verdict is bound to the layer's dir: a layer that was pulled again has another one, and no verdict.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from gcd.model.ids import ChainId, LayerDirId


class Depth(StrEnum):
    """How closely a layer is looked at."""

    QUICK = "quick"
    """Types, sizes and the CRC-64 of each file."""
    FULL = "full"
    """The same, and the SHA-256 of the whole tar stream."""


class Damage(StrEnum):
    """In which way one thing in a layer's dir differs from what was unpacked."""

    EMPTIED = "emptied"
    """A file that had content has none: what a power cut leaves."""
    RESIZED = "resized"
    CHANGED = "changed"
    """A file of the same size with other content."""
    UNREADABLE = "unreadable"
    """A file of which the disk gives no whole content."""
    RETYPED = "retyped"
    RETARGETED = "retargeted"
    """A symlink to elsewhere, or a device node of another number."""
    SPLIT = "split"
    """Two names of one file are two files."""
    TRANSPARENT = "transparent"
    """A directory that hid those below it hides them no longer."""
    MISSING = "missing"
    EXTRA = "extra"
    DRESSED = "dressed"
    """Another mode, owner or extended attribute: only where it was asked for."""


class Difference(Struct, frozen=True):
    """
    `path` is relative to the layer's ``diff``, surrogate-escaped; `expected` and `found` are short texts. Of a file
    that shall have content `size` and `crc` are what its content shall be, else `crc` is None.
    """

    path: str
    damage: Damage
    expected: str
    found: str
    size: int = 0
    crc: int | None = None


class Worn(Struct, frozen=True):
    """What a file wears: `mode` without the type, owner, and extended `attributes` with their names, sorted."""

    mode: int
    uid: int
    gid: int
    attributes: tuple[tuple[str, bytes], ...]


MOST_OWNER = 0xFFFF_FFFE
"""The highest user or group id: the one behind it is nobody's (chown(2))."""


def is_attribute(name: str) -> bool:
    """Whether the system can be asked for an extended attribute of that name; it may know none."""
    return name != "" and "\0" not in name


class Twin(Struct, frozen=True):
    """
    What a damaged or missing file of a layer shall be: `size` bytes with the SHA-256 `sha256` (64 hex digits), as the
    file `source`, a path relative to the root, holds them; last modified at `modified_ns` of the wall clock.

    `names` are all that it has, relative to the layer's ``diff``: the one under which the stream holds its content,
    then its hard links. `worn` is what the stream says of one that is missing; None: it is there, and wears something.
    """

    names: tuple[str, ...]
    source: str
    size: int
    sha256: str
    modified_ns: int
    worn: Worn | None = None


class Soundness(StrEnum):
    VERIFIED = "verified"
    DAMAGED = "damaged"
    UNVERIFIABLE = "unverifiable"
    """Nothing is known to be wrong, and not all could be compared."""


class Verdict(Struct, frozen=True):
    """
    What was found in the layer `chain`, whose dir is `layer_dir`.

    `differences` are at most `MOST_DIFFERENCES` of `differing`; `reasons` say as clauses what could not be compared.
    `digest` is that of the stream where it is not the diff id, and no difference of a file explains it, else "".
    `read_bytes` were read of `files` files; `checked_ns` is the wall clock time at which it began.
    """

    chain: ChainId
    layer_dir: LayerDirId
    depth: Depth
    soundness: Soundness
    checked_ns: int
    read_bytes: int
    files: int
    differences: tuple[Difference, ...] = ()
    differing: int = 0
    reasons: tuple[str, ...] = ()
    digest: str = ""


MOST_DIFFERENCES = 1000
MOST_REASONS = 20
DISK_FAILS = "the disk fails: "
"""With this begin those of the `reasons` of a verdict that say what the disk itself did not give."""


class Course(StrEnum):
    """What is to become of a sweep."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    FINISHED = "finished"
    """Everything was looked at, or the time that it was given is over."""


class Sweep(Struct, frozen=True):
    """A scrub of the layers `layers`, in this order, begun at the wall clock time `began_ns`."""

    course: Course
    began_ns: int
    depth: Depth
    is_dressed: bool
    layers: tuple[ChainId, ...]
