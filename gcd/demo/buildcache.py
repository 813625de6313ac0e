"""
BuildKit's three databases, as trees for the bolt writer.

::

    snapshots.db         <name>/{parent,iscommitted,committed,chainid}
    metadata_v2.db       _main/<record>/<key> = {"value":…}
    containerdmeta.db    v1/buildkit/leases/<lease>/{createdat,labels/…,snapshots/default/<name>}

Sources: moby ``builder/builder-next/adapters/snapshot/{snapshot,layer,leasemanager}.go``, buildkit
``cache/metadata/metadata.go``, containerd ``core/metadata/buckets.go``; databases that Docker 20.10.24 wrote.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from msgspec import Struct, field

from gcd.demo.boltfile import write_database
from gcd.demo.placing import put_directory, put_file
from gcd.model import layout

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gcd.demo.boltfile import Tree
    from gcd.model.ids import ChainId, LayerDirId

CREATED_S = 1_600_000_000
CREATED_TEXT = "2020-09-13T12:26:40Z"
_YEAR_ONE_S = -62_135_596_800
_CREATED_BINARY = struct.pack(">bqih", 1, CREATED_S - _YEAR_ONE_S, 0, -1)
"""Go's ``Time.MarshalBinary``: version, seconds since the year 1, nanoseconds, minutes east of UTC (-1: UTC)."""


class BuildDatabases(Struct):
    """The three trees while a root is being built: buckets by snapshot name, record id and lease id."""

    snapshots: dict[str, dict[str, str | bytes]] = field(default_factory=dict)
    records: dict[str, dict[str, str | bytes]] = field(default_factory=dict)
    leases: dict[str, Tree] = field(default_factory=dict)

    def active(self, dir_id: LayerDirId, parent: str) -> None:
        self.snapshots[dir_id] = {"parent": parent}

    def superseded(self, dir_id: LayerDirId, parent: str, name: str) -> None:
        """`dir_id` was committed as `name`: two buckets."""
        self.snapshots[dir_id] = {"parent": parent, "iscommitted": ""}
        self.snapshots[name] = {"committed": dir_id}

    def exported(self, name: str, chain: ChainId) -> None:
        """The committed snapshot `name` became the layer `chain`."""
        self.snapshots[name]["chainid"] = chain

    def layer(self, chain: ChainId) -> None:
        self.snapshots[chain] = {}

    def lease_bucket(self, lease_id: str, chain: ChainId) -> None:
        """What the lease manager notes in snapshots.db of a lease on a layer."""
        self.snapshots[lease_id] = {"chainid": chain}

    def record(self, record_id: str, *, committed: bool, **values: object) -> None:
        """A record with the keys that all have, and `values` of keys ``cache.<name>`` (None: a cleared one)."""
        common = {"createdAt": CREATED_S * 10**9, "lastUsedAt": CREATED_S * 10**9, "usageCount": 1, "cachePolicy": 1}
        bucket: dict[str, str | bytes] = {
            f"cache.{key}": "" if value is None else _json(value) for key, value in {**common, **values}.items()
        }
        if committed:
            bucket |= {"snapshot.committed": _json(True), "snapshot.size": _json(-1)}  # noqa: FBT003  a JSON value
        self.records[record_id] = bucket

    def lease(self, lease_id: str, snapshots: Iterable[str], *, temporary: bool = False) -> None:
        label = "buildkit/lease.temporary" if temporary else "containerd.io/gc.flat"
        self.leases[lease_id] = {
            "createdat": _CREATED_BINARY,
            "labels": {label: CREATED_TEXT},
            "snapshots": {"default": dict.fromkeys(snapshots, "")},
        }

    def write(self, root: Path) -> None:
        """Write the three databases, and an empty ``cache.db``, into ``buildkit/``, over older ones too."""
        home = root / layout.BUILDKIT
        if not home.exists():
            put_directory(home, 0o711)
        records: Tree = {"_main": self.records} if self.records else {}
        leases: Tree = {"v1": {"buildkit": {"leases": self.leases}}} if self.leases else {}
        put_file(home / layout.BUILD_SNAPSHOTS, database(self.snapshots), 0o600)
        put_file(home / layout.BUILD_RECORDS, database(records), 0o600)
        put_file(home / layout.BUILD_LEASES, database(leases), 0o644)
        put_file(home / "cache.db", database({}), 0o600)


def database(tree: Tree) -> bytes:
    """A database file of at least the 32 KiB that bbolt takes for a new one."""
    return write_database(tree).ljust(1 << 15, b"\0")


def _json(value: object) -> str:
    return json.dumps({"value": value}, separators=(",", ":"))
