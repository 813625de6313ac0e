"""``buildkit/``: what BuildKit's databases say."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.ids import ChainId, LayerDirId
    from gcd.model.reading import Reading


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


class BuildSnapshot(Struct, frozen=True):
    """A bucket of ``snapshots.db``. `dir_id` is None for the kinds that have no dir of their own."""

    name: str
    kind: SnapshotKind
    dir_id: LayerDirId | None
    parent: str
    chain_id: ChainId | None


class BuildRecord(Struct, frozen=True):
    """A cache record of ``metadata_v2.db``; `snapshot` defaults to its own id."""

    id: str
    snapshot: str
    equal_mutable: str
    record_type: str


class BuildLease(Struct, frozen=True):
    """A lease of ``containerdmeta.db`` in BuildKit's namespace, with the snapshots that it names."""

    id: str
    snapshots: tuple[str, ...]
    temporary: bool


class BuildCache(Struct, frozen=True):
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
