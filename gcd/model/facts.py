"""
Facts: one frozen record for each thing that a Docker root holds, as it was read.

A record says what is there, never what it means. Times are nanoseconds of the wall clock (``st_ctime_ns``); ctimes are
used because no unprivileged writer can set them back. Paths are relative to the root.

Field meanings and file formats: moby ``daemon/graphdriver/overlay2/overlay.go`` (layer dirs), ``layer/filestore.go``
(layer and rw layer records), ``image/fs.go``, ``reference/store.go``, ``container/container.go``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.ids import ChainId, ContainerId, DiffId, ImageId, LayerDirId, LinkId, RwLayerName
    from gcd.model.mountpoint import MountPoint
    from gcd.model.reading import Reading


class FileType(StrEnum):
    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symlink"
    OTHER = "other"


# --- overlay2 -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BadElement:
    """An element of a ``lower`` file that is not ``l/<link id>``; `position` counts from 0, the nearest parent."""

    position: int
    text: str


@dataclass(frozen=True, slots=True)
class Lower:
    """
    A ``lower`` file: the link ids of all layers below, nearest first.

    `links` holds the well-formed elements in their order; with `bad` empty their index is their depth.
    """

    links: tuple[LinkId, ...]
    bad: tuple[BadElement, ...] = ()

    @property
    def depth(self) -> int:
        return len(self.links) + len(self.bad)


@dataclass(frozen=True, slots=True)
class LayerDir:
    """
    ``overlay2/<id>``, of whatever form its name is (layer, rw layer, init, build, or a name that fits none).

    `diff`, `work`, `merged` and `committed` are the types of these entries, None where there is none. `ctime_ns` is the
    newest ctime of the directory, ``diff``, ``link`` and ``lower``: no later change of its set-up is possible.
    `diff_is_empty` and `merged_is_empty` are None where nobody needed to look (a dir that records name; a ``merged``
    that some namespace has mounted). `unreadable` holds the reason when the directory itself could not be opened.
    `temporaries`: the names of the engine's ``.tmp-…`` files in it.
    """

    id: LayerDirId
    link: Reading[LinkId]
    lower: Reading[Lower]
    diff: FileType | None
    work: FileType | None
    merged: FileType | None
    committed: FileType | None
    ctime_ns: int
    inode: int
    other_device: bool = False
    diff_is_empty: bool | None = None
    merged_is_empty: bool | None = None
    unreadable: str | None = None
    temporaries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkSymlink:
    """
    ``overlay2/l/<link id>``.

    `target` is Present only when the text is exactly ``../<layer dir id>/diff``; anything else, a file or a directory
    in its place included, is Malformed. Nothing ever follows it.
    """

    id: LinkId
    target: Reading[LayerDirId]
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class LinkFarm:
    """
    ``overlay2/l``. `type` is None when it is missing; `symlinks` holds every entry whose name is a link id, `strays`
    the names that are none.
    """

    type: FileType | None
    symlinks: Mapping[LinkId, LinkSymlink]
    strays: tuple[str, ...] = ()


# --- layerdb --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """
    ``layerdb/sha256/<chain>``.

    `descriptor` is Absent on nearly every Linux layer; `tar_split` is the size in bytes of a ``tar-split.json.gz``
    whose gzip head and tail are sound. `parent` Absent means: claims to be a base layer. `entries` counts the files in
    it. `ctime_ns` is the newest of the record and its files.
    """

    chain_id: ChainId
    diff_id: Reading[DiffId]
    size: Reading[int]
    cache_id: Reading[LayerDirId]
    parent: Reading[ChainId]
    descriptor: Reading[None]
    tar_split: Reading[int]
    entries: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class RemovingRecord:
    """``layerdb/sha256/<chain>-<64 hex>-removing``: a record that the engine is deleting, or died deleting."""

    name: str
    chain_id: ChainId
    cache_id: Reading[LayerDirId]
    parent: Reading[ChainId]
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class WriteSet:
    """``layerdb/tmp/write-set-<digits>``: a layer being registered; it names its dir only at the very end."""

    name: str
    cache_id: Reading[LayerDirId]
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class RwLayerRecord:
    """``layerdb/mounts/<name>``; `ctime_ns` is the newest of the record and its files."""

    name: RwLayerName
    mount_id: Reading[LayerDirId]
    init_id: Reading[LayerDirId]
    parent: Reading[ChainId]
    ctime_ns: int


# --- images ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What gcd needs of an image config; `diff_ids` is empty for an image without layers."""

    diff_ids: tuple[DiffId, ...]
    os: str
    created: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """``imagedb/content/sha256/<hex>``; `digest` is that of the bytes found (None if they could not be read)."""

    id: ImageId
    config: Reading[ImageConfig]
    digest: ImageId | None
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """
    ``imagedb/metadata/sha256/<hex>``: the parent image of a classic build, and when it was last tagged.

    `ctime_ns` is the newest of the directory and the two files. `temporaries`: ``.tmp-…`` names.
    """

    id: ImageId
    parent: Reading[ImageId]
    last_updated: Reading[str]
    ctime_ns: int = 0
    temporaries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Repositories:
    """``repositories.json``: every reference (``name:tag`` or ``name@sha256:…``) with the image it names."""

    references: Mapping[str, ImageId]


@dataclass(frozen=True, slots=True)
class RepositoriesCopy:
    """``.tmp-repositories.json<digits>``: what the engine was about to put in the place of ``repositories.json``."""

    name: str
    content: Reading[Repositories]
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class DistributionRecord:
    """
    A file of ``distribution/``, the engine's memory of which layer a registry knows by which digest.

    `path` is relative to ``distribution/``. `content` says whether it can be read, never what it names: an entry about
    a layer that is gone is normal.
    """

    path: str
    content: Reading[None]
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class TemporaryFile:
    """A file, or a directory of files, that the engine made for a moment; `path` is relative to the root."""

    path: str
    ctime_ns: int


# --- containers -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ImageMountPoint:
    """
    An image mounted into a container (28 and later): `layer_name` is its rw layer record's name where one is said.
    """

    destination: str
    layer_name: str
    source: str


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """
    What gcd needs of a ``config.v2.json``.

    `image` may name an image that was removed by force, and is "" for none. `has_config` is False for
    ``"Config": null``, at which the engine panics. `running` is stale after a crash. `dead` and
    `removal_in_progress` mark a removal that has begun.
    """

    id: str
    name: str
    image: str
    image_reference: str
    driver: str
    running: bool
    dead: bool
    removal_in_progress: bool
    has_config: bool
    image_mounts: tuple[ImageMountPoint, ...] = ()
    mount_points: tuple[MountPoint, ...] = ()


@dataclass(frozen=True, slots=True)
class HostConfig:
    auto_remove: bool
    restart_policy: str


@dataclass(frozen=True, slots=True)
class Container:
    """
    ``containers/<id>``; `ctime_ns` is the newest of the directory and the two files. `temporaries`: ``.tmp-…`` names.
    """

    id: ContainerId
    config: Reading[ContainerConfig]
    host_config: Reading[HostConfig]
    ctime_ns: int
    temporaries: tuple[str, ...] = ()


# --- BuildKit -------------------------------------------------------------------------------------------------------


class SnapshotKind(StrEnum):
    """The five sorts of bucket in ``snapshots.db`` (moby ``builder-next/adapters/snapshot/snapshot.go``)."""

    ACTIVE = "active"
    """Named by its own dir, not committed."""
    SUPERSEDED = "superseded"
    """Named by its own dir, committed under another name."""
    COMMITTED = "committed"
    """A name whose dir is that of another bucket."""
    LAYER = "layer"
    """Named ``sha256:<chain>``: stands for a layer record."""
    LEASE = "lease"
    """Holds only a chain id."""


@dataclass(frozen=True, slots=True)
class BuildSnapshot:
    """A bucket of ``snapshots.db``. `dir_id` is None for the kinds that have no dir of their own."""

    name: str
    kind: SnapshotKind
    dir_id: LayerDirId | None
    parent: str
    chain_id: ChainId | None


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """A cache record of ``metadata_v2.db``; `snapshot` defaults to its own id."""

    id: str
    snapshot: str
    equal_mutable: str
    record_type: str


@dataclass(frozen=True, slots=True)
class BuildLease:
    """A lease of ``containerdmeta.db`` in BuildKit's namespace, with the snapshots that it names."""

    id: str
    snapshots: tuple[str, ...]
    temporary: bool


@dataclass(frozen=True, slots=True)
class BuildCache:
    """
    What BuildKit's three databases say.

    `named` holds every id-shaped word (25 characters, 64 hex, also with ``-init``) in any key or value of any of them:
    each keeps the directory of that name (safety rule S3). `chains` holds every ``sha256:…`` digest likewise: each may
    keep the layer record of that name.
    `databases` gives, by file name, the transaction id of the state that was read, or why there is none.
    """

    snapshots: Mapping[str, BuildSnapshot]
    records: Mapping[str, BuildRecord]
    leases: Mapping[str, BuildLease]
    named: frozenset[str]
    chains: frozenset[str]
    databases: Mapping[str, Reading[int]]


# --- the host -------------------------------------------------------------------------------------------------------


class EngineState(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


SETTLED_NS = 3_600_000_000_000
"""One hour: with the engine stopped, what changed later than that may be part of a copy still under way (S7)."""


@dataclass(frozen=True, slots=True)
class Engine:
    """
    The engine on this root.

    `epoch_ns` is the time before which nothing can belong to an operation of the running engine (S5); None where it is
    not known. `doubts` are sentences that say why nothing is `proven` in this run; empty on a sound host. `others` are
    the pids of further engines that hold files of this root.
    """

    state: EngineState
    pid: int | None = None
    epoch_ns: int | None = None
    doubts: tuple[str, ...] = ()
    others: tuple[int, ...] = ()

    def proof_bound(self, now_ns: int) -> int | None:
        """
        The ctime below which an unreferenced thing is `proven` to be nobody's, or None when nothing is.

        Running: the epoch. Stopped: one hour before `now_ns`. See S4 to S7.
        """
        if self.doubts:
            return None
        match self.state:
            case EngineState.RUNNING:
                return self.epoch_ns
            case EngineState.STOPPED:
                return now_ns - SETTLED_NS
            case EngineState.UNKNOWN:
                return None


@dataclass(frozen=True, slots=True)
class KernelMount:
    """
    A line of some process' ``mountinfo`` that concerns this root, once for each mount namespace.

    `dirs` are the layer dirs it uses as upper, work or lower, or has its mountpoint or bind source in; `merged_of` is
    the dir whose ``merged`` is the mountpoint. `pids` are some of the processes in that namespace (at least one), for
    naming the holder.
    """

    mount_point: str
    fstype: str
    namespace: str
    pids: tuple[int, ...]
    holder: str
    dirs: frozenset[LayerDirId]
    links: frozenset[LinkId]
    merged_of: LayerDirId | None


@dataclass(frozen=True, slots=True)
class DormantStore:
    """Another store's tree in the same root (another driver, the containerd store, another user namespace's root)."""

    path: str
    driver: str


@dataclass(frozen=True, slots=True)
class Plugin:
    id: str
    config: Reading[None]
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Volume:
    name: str
    options: Reading[None]
