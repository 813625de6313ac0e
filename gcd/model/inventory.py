"""
The inventory: all facts of one reading of one root, and how completely each source was read.

The order of the reading is part of its meaning (safety rule S1): `candidates` is a listing of ``overlay2/`` taken
*before* any reference was read, `layer_dirs` a second one taken *after* all of them. What may be an orphan is in
`candidates`; what keeps something alive may be anywhere.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field

from gcd.model import layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.content import Verdict
    from gcd.model.entry import EntryId
    from gcd.model.facts import (
        BuildCache,
        Container,
        DistributionRecord,
        DormantStore,
        Engine,
        Image,
        ImageMetadata,
        KernelMount,
        LayerDir,
        LayerRecord,
        LinkFarm,
        Plugin,
        QuarantineEntry,
        RemovingRecord,
        Repositories,
        RepositoriesCopy,
        RwLayerRecord,
        TemporaryFile,
        Volume,
        WriteSet,
    )
    from gcd.model.ids import ChainId, ContainerId, ImageId, LayerDirId, RwLayerName
    from gcd.model.reading import Reading


class Source(StrEnum):
    """One thing that a reading goes through; the names are those of the report, the metrics and `needs` of a rule."""

    OVERLAY2 = "overlay2"
    LINKS = "links"
    LAYERS = "layers"
    RW_LAYERS = "rw-layers"
    IMAGES = "images"
    REPOSITORIES = "repositories"
    DISTRIBUTION = "distribution"
    CONTAINERS = "containers"
    BUILD_SNAPSHOTS = "build-snapshots"
    BUILD_RECORDS = "build-records"
    BUILD_LEASES = "build-leases"
    PLUGINS = "plugins"
    VOLUMES = "volumes"
    TEMPORARIES = "temporaries"
    """``tmp`` and ``tmp-old``; the temporary files beside others are read with those."""
    ENGINE = "engine"
    MOUNTS = "mounts"


BUILD_DATABASES: Mapping[Source, str] = {
    Source.BUILD_LEASES: layout.BUILD_LEASES,
    Source.BUILD_RECORDS: layout.BUILD_RECORDS,
    Source.BUILD_SNAPSHOTS: layout.BUILD_SNAPSHOTS,
}
"""BuildKit's databases by the source that each is."""


class Coverage(StrEnum):
    """
    How completely a source was read. Only OK, or ABSENT where a rule says that absence is no lack, lets a rule run.
    """

    OK = "ok"
    PARTIAL = "partial"
    """Some of its items could not be listed."""
    BUSY = "busy"
    """A database changed during every attempt to read it."""
    UNREADABLE = "unreadable"
    ABSENT = "absent"


class SourceState(Struct, frozen=True):
    coverage: Coverage
    why: str = ""
    """One clause for people: what could not be read, and the system's reason. Empty when `coverage` is OK."""


class Inventory(Struct, frozen=True):
    """
    `sources` has an entry for each `Source`. Mappings are keyed by the record's own id. `repositories` is Absent when
    the file is missing. `build_cache` is empty, with the reasons in its `databases`, where none could be read.
    """

    root: str
    store: str
    sources: Mapping[Source, SourceState]
    engine: Engine
    candidates: frozenset[LayerDirId]
    layer_dirs: Mapping[LayerDirId, LayerDir]
    link_farm: LinkFarm
    layers: Mapping[ChainId, LayerRecord]
    removing: Mapping[str, RemovingRecord]
    write_sets: Mapping[str, WriteSet]
    rw_layers: Mapping[RwLayerName, RwLayerRecord]
    images: Mapping[ImageId, Image]
    image_metadata: Mapping[ImageId, ImageMetadata]
    repositories: Reading[Repositories]
    containers: Mapping[ContainerId, Container]
    build_cache: BuildCache
    mounts: tuple[KernelMount, ...]
    plugins: Mapping[str, Plugin]
    volumes: Mapping[str, Volume]
    dormant: tuple[DormantStore, ...]
    databases: Mapping[str, Reading[int]] = field(default_factory=dict)
    """
    The engine's other bolt databases (``volumes/metadata.db``, ``network/files/local-kv.db``): transaction id by path.
    """

    held_dirs: frozenset[LayerDirId] = frozenset()
    """The layer dirs in which some process has its root, its cwd or an open file (S6)."""

    repositories_ctime_ns: int = 0
    """Of ``repositories.json``; 0 where there is none."""

    repositories_copies: tuple[RepositoriesCopy, ...] = ()
    """The temporary copies of ``repositories.json``, oldest first."""

    distribution: Mapping[str, DistributionRecord] = field(default_factory=dict)
    """By path, the records of ``distribution/`` that cannot be read; the sound ones, which are many, are not kept."""

    registry_layers: frozenset[str] = frozenset()
    """The diff ids of the layers that, as ``distribution/`` remembers, some registry has: pulled or pushed ones."""

    temporaries: Mapping[str, TemporaryFile] = field(default_factory=dict)
    """By path, the ``.tmp-…`` files that the engine writes before it renames them into place."""

    engine_temporaries: Mapping[str, TemporaryFile] = field(default_factory=dict)
    """By path, what pulls, imports, loads and builds left in ``tmp`` and ``tmp-old``."""

    quarantine: Mapping[EntryId, QuarantineEntry] = field(default_factory=dict)
    """What gcd took from this root; read with the layer records, to whose source its completeness counts."""

    contents: Mapping[ChainId, Verdict] = field(default_factory=dict)
    """What scrubs told of the content of layers; a reading itself looks at no content."""

    def is_complete(self, source: Source) -> bool:
        return self.sources[source].coverage is Coverage.OK
