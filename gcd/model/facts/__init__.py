"""
Facts: one frozen record for each thing that a Docker root holds, as it was read.

A record says what is there, never what it means. Times are nanoseconds of the wall clock (``st_ctime_ns``); ctimes are
used because no unprivileged writer can set them back. Paths are relative to the root.

::

    files.py        types of files, temporary files
    overlay2.py     layer dirs, the link farm
    layerdb.py      layer records, those being made or removed, rw layer records
    images.py       image configs, their metadata and names, what registries have
    containers.py   containers and what is mounted into them
    buildkit.py     what BuildKit's databases say
    quarantine.py   what gcd took from the root
    host.py         the engine, kernel mounts, other stores, plugins, volumes

Importers take every fact from this package: in which room one is kept is nobody else's business.
"""

from __future__ import annotations

from gcd.model.facts.buildkit import BuildCache, BuildLease, BuildRecord, BuildSnapshot, SnapshotKind
from gcd.model.facts.containers import Container, ContainerConfig, HostConfig, ImageMountPoint, MountPoint
from gcd.model.facts.files import FileType, TemporaryFile
from gcd.model.facts.host import SETTLED_NS, DormantStore, Engine, EngineState, KernelMount, Listed, Plugin, Volume
from gcd.model.facts.images import (
    UNLABELLED,
    DistributionRecord,
    Image,
    ImageConfig,
    ImageMetadata,
    Labels,
    Repositories,
    RepositoriesCopy,
)
from gcd.model.facts.layerdb import LayerRecord, RemovingRecord, RwLayerRecord, WriteSet
from gcd.model.facts.overlay2 import BadElement, LayerDir, LinkFarm, LinkSymlink, Lower
from gcd.model.facts.quarantine import QuarantineEntry

__all__ = [
    "SETTLED_NS",
    "UNLABELLED",
    "BadElement",
    "BuildCache",
    "BuildLease",
    "BuildRecord",
    "BuildSnapshot",
    "Container",
    "ContainerConfig",
    "DistributionRecord",
    "DormantStore",
    "Engine",
    "EngineState",
    "FileType",
    "HostConfig",
    "Image",
    "ImageConfig",
    "ImageMetadata",
    "ImageMountPoint",
    "KernelMount",
    "Labels",
    "LayerDir",
    "LayerRecord",
    "LinkFarm",
    "LinkSymlink",
    "Listed",
    "Lower",
    "MountPoint",
    "Plugin",
    "QuarantineEntry",
    "RemovingRecord",
    "Repositories",
    "RepositoriesCopy",
    "RwLayerRecord",
    "SnapshotKind",
    "TemporaryFile",
    "Volume",
    "WriteSet",
]
