"""
Disk usage of a whole root: what was measured, and whose it is.

The walk of a root cuts it into *units*: paths each of which has one owner (a layer dir, a layer record, a file of a
container). An *owner* is what a unit's bytes are for. `DiskUsage` is the result: every byte (``st_blocks``) and every
inode of the root has exactly one owner, so that its totals are those of ``du -x``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gcd.model.facts import EngineState
    from gcd.model.finding import NotChecked


class Category(StrEnum):
    """
    What the bytes of a root are for. Their order decides whose an inode is that has names in several: the first's, so
    that what something alive shares with an orphan is never counted as the orphan's.
    """

    IMAGES = "images"
    CONTAINERS = "containers"
    BUILD_CACHE = "build-cache"
    VOLUMES = "volumes"
    LOGS = "logs"
    PLUGINS = "plugins"
    SWARM = "swarm"
    QUARANTINE = "quarantine"
    ORPHANS = "orphans"
    OTHER = "other"


RANK: Mapping[Category, int] = {category: rank for rank, category in enumerate(Category)}

SHARED = "shared"
"""Part of the images: layers of several images, and the catalogue of all of them."""
UNIQUE = "unique"
"""Part of the images: layers and files of one image alone."""
RW = "rw"
"""Part of the containers: what they wrote, with their init layers."""
FILES = "files"
"""Part of the containers: configurations and what the engine keeps beside them, without logs."""
LAYERS = "layers"
"""Part of the containers: layers of images that were removed by force and live on below a container."""


class Owner(NamedTuple):
    """
    `part` divides a category: see the constants of this module; for orphans it is the code, for other the first name of
    the path, else "". `subject` is the image, chain, container or node in question, or "".
    """

    category: Category
    part: str = ""
    subject: str = ""

    @property
    def rank(self) -> tuple[int, str, str]:
        """The order in which owners take what several have a name for: by category, then by part and subject."""
        return (RANK[self.category], self.part, self.subject)


class Space(NamedTuple):
    """Bytes on disk and inodes."""

    disk_bytes: int = 0
    inodes: int = 0

    def plus(self, other: Space) -> Space:
        return Space(self.disk_bytes + other.disk_bytes, self.inodes + other.inodes)


def sum_of(spaces: Iterable[Space]) -> Space:
    disk_bytes = inodes = 0
    for space in spaces:
        disk_bytes += space.disk_bytes
        inodes += space.inodes
    return Space(disk_bytes, inodes)


class Unit(NamedTuple):
    """
    What one unit takes, without the inodes that have names in other units too.

    `payload_bytes` is the sum of the sizes (not of the blocks) of all files and symlinks in its payload, each inode
    once: ``diff`` of a layer dir, ``_data`` of a volume. It is what the engine takes for the size of either.
    """

    space: Space
    payload_bytes: int = 0


class Tree(Struct, frozen=True):
    """
    A root as one walk saw it, on one device.

    `spanning` holds the inodes that have names in several units, by the sorted paths of these. `unreadable` counts what
    could not be read: if it is not 0, all figures are lower bounds.
    """

    units: Mapping[str, Unit]
    spanning: Mapping[tuple[str, ...], Space] = field(default_factory=dict)
    unreadable: int = 0


class ImageSpace(Struct, frozen=True):
    """
    One image: `unique` is on disk for it alone, `shared` for it and others. The `engine_…` bytes are the engine's own:
    the sizes that layer records hold; None where one of them cannot be read.
    """

    id: str
    references: tuple[str, ...]
    layers: int
    unique: Space
    shared: Space
    engine_bytes: int | None
    engine_shared_bytes: int | None


class ContainerSpace(Struct, frozen=True):
    """One container: its rw layer with the init layer, its logs, and what the engine keeps beside them."""

    id: str
    name: str
    rw: Space
    logs: Space
    files: Space
    engine_bytes: int


class EngineRow(Struct, frozen=True):
    """One line of what ``docker system df`` says: how many, and the sum of their sizes as the engine counts."""

    count: int
    size_bytes: int


class EngineView(Struct, frozen=True):
    """
    What ``docker system df`` would say of the same root.

    `unknown_layers` counts the layers of images whose size cannot be read: the engine takes them for nothing.
    `build_bytes_in_images` are the sizes of cache records that are layers of listed images: not in `build_cache`.
    """

    images: EngineRow
    containers: EngineRow
    volumes: EngineRow
    build_cache: EngineRow
    unknown_layers: int = 0
    build_bytes_in_images: int = 0


class DiskUsage(Struct, frozen=True):
    """
    `shares` are by category and part, in the order of `Category`; `total` is their sum, and what ``du -x`` says of the
    root. `not_checked` are the rules that look for orphans and could not run: what they would have found is in other
    shares.
    """

    root: str
    store: str
    engine: EngineState
    shares: Mapping[tuple[Category, str], Space]
    total: Space
    images: tuple[ImageSpace, ...]
    containers: tuple[ContainerSpace, ...]
    view: EngineView
    unreadable: int
    not_checked: tuple[NotChecked, ...]
    checked_ns: int

    def of(self, category: Category) -> Space:
        return sum_of(space for (found, _), space in self.shares.items() if found is category)

    @property
    def is_complete(self) -> bool:
        """Whether everything could be read, so that every figure is exact."""
        return not self.unreadable and not self.not_checked
