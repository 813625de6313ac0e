"""
What ``gcd inspect`` shows: one frozen value, each thing in it once, joined by ids.

A view wraps the facts as they were read, so that a renderer can say what is absent, empty or malformed. A thing that
something names and that is not there has a view too, without its fact.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.facts import (
        BuildLease,
        BuildRecord,
        BuildSnapshot,
        Container,
        Image,
        ImageMetadata,
        KernelMount,
        LayerDir,
        LayerRecord,
        RwLayerRecord,
    )
    from gcd.model.finding import Finding, FindingId, Node
    from gcd.model.ids import ChainId, ContainerId, DiffId, ImageId, LayerDirId, LinkId, RwLayerName
    from gcd.model.inventory import Source, SourceState


class Form(StrEnum):
    """As what a word named its node."""

    REFERENCE = "image reference"
    MANIFEST = "manifest digest"
    IMAGE_ID = "image id"
    CHAIN_ID = "chain id"
    DIFF_ID = "diff id"
    LAYER_DIR = "layer dir id"
    LINK_ID = "link id"
    CONTAINER_ID = "container id"
    CONTAINER_NAME = "container name"
    RW_LAYER = "rw layer record"
    BUILD_ID = "BuildKit id"
    VOLUME = "volume name"
    WORK = "name of unfinished work"
    PATH = "path"


class Candidate(Struct, frozen=True):
    """One thing that a word can mean; `inside` is what a path goes on with below it."""

    node: Node
    form: Form
    inside: str = ""


class Named(Struct, frozen=True):
    """An id with what people call it: tags of an image, the name of a container."""

    id: str
    names: tuple[str, ...] = ()


class Users(Struct, frozen=True):
    """All that stands on a layer: images, containers (rw layer records without one among them), BuildKit snapshots."""

    images: tuple[Named, ...] = ()
    containers: tuple[Named, ...] = ()
    builds: tuple[str, ...] = ()


class ImageView(Struct, frozen=True):
    """`chains` are its layers, base first; none where the config cannot be read. `children` name it as their parent."""

    id: ImageId
    fact: Image | None
    references: tuple[str, ...]
    metadata: ImageMetadata | None
    chains: tuple[tuple[ChainId, DiffId], ...]
    children: tuple[Named, ...]
    containers: tuple[Named, ...]


class LayerView(Struct, frozen=True):
    """`diff_id` is that of the record, else the one that an image config implies; `broken_at` stops its loading."""

    chain_id: ChainId
    diff_id: DiffId | None
    fact: LayerRecord | None
    broken_at: ChainId | None
    used_by: Users


class RwLayerView(Struct, frozen=True):
    """`mount_id` and `init_id` as the record says them, the init dir also where only ``mount-id`` tells of it."""

    name: RwLayerName
    fact: RwLayerRecord | None
    mount_id: LayerDirId | None
    init_id: LayerDirId | None
    used_by: tuple[Named, ...]


class ContainerView(Struct, frozen=True):
    id: ContainerId
    name: str
    fact: Container | None
    rw_layers: tuple[RwLayerName, ...]


class DirectoryView(Struct, frozen=True):
    """
    `symlinks` are those of the link farm that lead here, `lower` the dirs that its ``lower`` file means, nearest first,
    `owners` the records, databases and mounts that name it.
    """

    id: LayerDirId
    path: str
    fact: LayerDir | None
    symlinks: tuple[LinkId, ...]
    lower: tuple[LayerDirId, ...]
    owners: tuple[Node, ...]


class Disk(Struct, frozen=True):
    """Bytes of disk usage and inodes; a lower bound if part of the tree could not be read."""

    disk_bytes: int
    inodes: int
    is_lower_bound: bool


class Kept(StrEnum):
    """What keeps a directory alive, the strongest first."""

    TAG = "tag"
    CONTAINER = "container"
    IMAGE = "image"
    """One without a tag: the engine keeps it until somebody removes it."""
    BUILD = "build"
    MOUNT = "mount"
    MENTION = "mention"
    """Some word in BuildKit's databases."""
    RECORD = "record"
    """A record that nothing else names; the engine may hold it all the same."""
    YOUNG = "young"
    """A directory above it, or itself, that may belong to work under way."""
    NOTHING = "nothing"
    MISSING = "missing"
    """There is no such directory."""


class Why(Struct, frozen=True):
    """
    `path` leads from what keeps `directory` down to it, both included; `findings` are those about anything on it, and
    about the directory itself.
    """

    directory: LayerDirId
    kept: Kept
    path: tuple[Node, ...]
    findings: tuple[FindingId, ...]


class View(Struct, frozen=True):
    """
    `exists` is False for a subject that is only named. `near` are the directories of the subject and of what lies below
    it; the other `directories` belong to what uses it. `disk` holds those that were measured. `why` speaks of the
    subject's own directories; an image or a container has those that are near.
    """

    root: str
    store: str
    asked: Candidate
    exists: bool
    images: tuple[ImageView, ...]
    containers: tuple[ContainerView, ...]
    layers: tuple[LayerView, ...]
    rw_layers: tuple[RwLayerView, ...]
    directories: tuple[DirectoryView, ...]
    snapshots: tuple[BuildSnapshot, ...]
    records: tuple[BuildRecord, ...]
    leases: tuple[BuildLease, ...]
    mounts: tuple[KernelMount, ...]
    others: tuple[Node, ...]
    """Removing records and write sets."""
    near: tuple[LayerDirId, ...]
    why: tuple[Why, ...]
    findings: tuple[Finding, ...]
    incomplete: Mapping[Source, SourceState]
    """The sources that were not read completely: what only they know is missing here."""
    disk: Mapping[LayerDirId, Disk] = field(default_factory=dict)
