"""What a planted fault is, and what the planters share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.demo.names import Names
from gcd.model import layout
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ChainId, LayerDirId, LinkId, RwLayerName

if TYPE_CHECKING:
    from gcd.model.finding import Code

Planter = Callable[[Path, str], Node]
"""Given a root's path and the id of the target, plants one fault and gives the node that its main finding is about."""

Mender = Callable[[Path, str], None]


class Target(StrEnum):
    """What the second argument of a planter is. Every target is healthy before."""

    ROOT = "root"
    """Nothing: the planter takes ""."""
    LAYER = "layer"
    """The chain id of an image's top layer that has at least two below it."""
    BASE_LAYER = "base-layer"
    """The chain id of the base layer of the same image."""
    LAYER_DIR = "layer-dir"
    """The layer dir of `LAYER`."""
    RW_DIR = "rw-dir"
    """The mount id of `CONTAINER`."""
    CONTAINER = "container"
    """The id of a container that does not run, on an image with layers."""
    IMAGE = "image"
    """The id of the tagged image whose top layer is `LAYER`."""
    BUILD_DIR = "build-dir"
    """The dir of a build snapshot that is no layer and that no other snapshot lies on."""
    BUILD_RECORD = "build-record"
    """The id of a record that no other lies on; it is also the name of its lease and of its snapshot."""


class PlantedFault(Struct, frozen=True):
    """
    An entry of the table. `fault` is the F number of the catalogue, "" for a code that has none.

    `undo` takes back what would outlive the root's directory (a kernel mount); it gets the planter's own arguments.
    `needs_root` is about planting, not about finding.
    """

    fault: str
    code: Code
    plant: Planter
    target: Target
    needs_root: bool = False
    undo: Mender | None = None

    @property
    def name(self) -> str:
        return self.plant.__name__


def dir_node(dir_id: str) -> Node:
    return Node(NodeKind.LAYER_DIR, dir_id)


def layer_node(chain: str) -> Node:
    return Node(NodeKind.LAYER, chain)


def layer_dir(root: Path, dir_id: str) -> Path:
    return root / layout.layer_dir(LayerDirId(dir_id))


def layer_record(root: Path, chain: str) -> Path:
    return root / layout.layer_record(ChainId(chain))


def rw_layer_record(root: Path, name: str) -> Path:
    return root / layout.rw_layer_record(RwLayerName(name))


def link_of(root: Path, dir_id: str) -> LinkId:
    return LinkId((layer_dir(root, dir_id) / layout.LINK).read_text())


def link_symlink(root: Path, dir_id: str) -> Path:
    return root / layout.link_symlink(link_of(root, dir_id))


def cache_id_of(root: Path, chain: str) -> LayerDirId:
    return LayerDirId((layer_record(root, chain) / layout.CACHE_ID).read_text())


def mount_id_of(root: Path, name: str) -> LayerDirId:
    return LayerDirId((rw_layer_record(root, name) / layout.MOUNT_ID).read_text())


def lower_links(root: Path, dir_id: str) -> tuple[LinkId, ...]:
    """What the `lower` of a sound dir names, nearest first; nothing for a base layer."""
    path = layer_dir(root, dir_id) / layout.LOWER
    elements = path.read_text().split(":") if path.exists() else []
    return tuple(LinkId(element.removeprefix(f"{layout.LINK_FARM}/")) for element in elements)


def fresh_names(root: Path) -> Names:
    """Ids that nothing in `root` has; the same for a root with the same dirs, symlinks and records."""
    places = (
        layout.OVERLAY2,
        layout.link_farm(),
        layout.layer_records(),
        layout.rw_layer_records(),
        layout.write_sets(),
        layout.image_metadata_records(),
        layout.PLUGINS,
    )
    listings = [sorted(path.name for path in (root / place).iterdir()) for place in places if (root / place).is_dir()]
    return Names(hashlib.sha256(repr(listings).encode()).hexdigest())
