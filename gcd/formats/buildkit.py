"""
BuildKit's three databases inside dockerd: bolt files → snapshots, cache records, leases, and every id that they name.

::

    snapshots.db         <id>            parent                     an active snapshot, dir <id>
                         <id>            parent, iscommitted        the same once committed under another name
                         <name>          committed=<id> [chainid]   the committed name; its dir is <id>
                         <lease>         chainid                    a lease on a layer record
                         sha256:<chain>  [size]                     a layer record that builds use
    metadata_v2.db       _main/<record>/<key>                       JSON {"value": …, "index": …}; no bytes: deleted key
                         _index, _external                          nothing but what _main says
    containerdmeta.db    v1/<namespace>/leases/<lease>/labels/<label>
                                                      /snapshots/<snapshotter>/<snapshot name>

Each function takes the bytes of a whole file, or a `Database` already parsed, and gives values or a `FormatError`.
`read_words` knows no schema: it is what keeps directories alive (safety rule S3) when a version names them in a place
that the others do not know.

Sources: moby ``builder/builder-next/adapters/snapshot/{snapshot,layer,leasemanager}.go``, buildkit
``cache/metadata/metadata.go`` and ``cache/metadata.go`` (key names), ``util/leaseutil``, containerd
``core/metadata/buckets.go``. Seen in files of Docker 20.10, 26.1 and 28.5.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from gcd.formats.bolt import Bucket, Database, parse_database
from gcd.formats.escape import escaped
from gcd.formats.gostruct import Kind, Shape, struct_of_document
from gcd.model.errors import FormatError
from gcd.model.facts import BuildLease, BuildRecord, BuildSnapshot, SnapshotKind
from gcd.model.ids import ChainId, LayerDirId, is_digest, is_layer_dir_id

Source: TypeAlias = "bytes | Database"

NAMESPACE = b"buildkit"
TEMPORARY_LABEL = b"buildkit/lease.temporary"

_PARENT = b"parent"
_COMMITTED = b"committed"
_IS_COMMITTED = b"iscommitted"
_CHAIN_ID = b"chainid"

_ID = re.compile(rb"(?<![0-9a-z])(?:(?<!sha256:)[0-9a-f]{64}(?:-init)?|[0-9a-z]{25})(?![0-9a-z])")
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}(?![0-9a-f])")
_SHORTEST_ID = 25

_VALUE_SHAPE = Shape(asked={"value": Kind.TEXT})


def read_snapshots(source: Source) -> dict[str, BuildSnapshot]:
    """
    The buckets of ``snapshots.db`` by name.

    `dir_id` is the dir that holds the snapshot's files, for a committed one that of the bucket it names. A bucket that
    fits none of the five kinds counts as active: that can only keep a dir.
    """
    found = (_snapshot(_text(key, "snapshot name"), bucket) for key, bucket in _database(source).root.buckets.items())
    return {snapshot.name: snapshot for snapshot in found}


def _snapshot(name: str, bucket: Bucket) -> BuildSnapshot:
    what = f"snapshot {_shown(name)}"
    parent = _text(bucket.values.get(_PARENT, b""), f"parent of {what}")
    if is_digest(name):
        return BuildSnapshot(name, SnapshotKind.LAYER, None, parent, ChainId(name))
    chain = _chain(bucket, what)
    if _COMMITTED in bucket.values:
        committed = _text(bucket.values[_COMMITTED], f"committed of {what}")
        if not is_layer_dir_id(committed):
            raise FormatError(f"committed of {what}", expected="a layer dir id", found=_shown(committed))
        return BuildSnapshot(name, SnapshotKind.COMMITTED, LayerDirId(committed), parent, chain)
    if _PARENT not in bucket.values and chain is not None:
        return BuildSnapshot(name, SnapshotKind.LEASE, None, parent, chain)
    kind = SnapshotKind.SUPERSEDED if _IS_COMMITTED in bucket.values else SnapshotKind.ACTIVE
    return BuildSnapshot(name, kind, LayerDirId(name) if is_layer_dir_id(name) else None, parent, chain)


def _chain(bucket: Bucket, what: str) -> ChainId | None:
    raw = bucket.values.get(_CHAIN_ID)
    if raw is None:
        return None
    text = _text(raw, f"chainid of {what}")
    if not is_digest(text):
        raise FormatError(f"chainid of {what}", expected="sha256:<64 hex>", found=_shown(text))
    return ChainId(text)


def read_records(source: Source) -> dict[str, BuildRecord]:
    """The cache records of ``metadata_v2.db`` by id; none if the database never held one."""
    main = _database(source).root.find(b"_main")
    if main is None:
        return {}
    found = (_record(_text(key, "record id"), bucket) for key, bucket in main.buckets.items())
    return {record.id: record for record in found}


def _record(name: str, bucket: Bucket) -> BuildRecord:
    # Docker 20.10 keeps cache.snapshot only where it is not the record's own id.
    return BuildRecord(
        id=name,
        snapshot=_value(bucket, b"cache.snapshot", name) or name,
        equal_mutable=_value(bucket, b"cache.equalMutable", name),
        record_type=_value(bucket, b"cache.recordType", name),
    )


def _value(bucket: Bucket, key: bytes, record: str) -> str:
    raw = bucket.values.get(key, b"")
    if not raw:
        return ""
    what = f"{key.decode()} of record {_shown(record)}"
    found = struct_of_document(raw, what, _VALUE_SHAPE)
    return found.text("value") if found else ""


def read_leases(source: Source) -> dict[str, BuildLease]:
    """The leases of ``containerdmeta.db`` in BuildKit's namespace by id; those of its history hold no snapshots."""
    leases = _database(source).root.find(b"v1", NAMESPACE, b"leases")
    if leases is None:
        return {}
    found = (_lease(_text(key, "lease id"), bucket) for key, bucket in leases.buckets.items())
    return {lease.id: lease for lease in found}


def _lease(name: str, bucket: Bucket) -> BuildLease:
    labels = bucket.find(b"labels")
    snapshotters = bucket.find(b"snapshots")
    names = (
        _text(key, f"snapshot of lease {_shown(name)}")
        for snapshotter in (snapshotters.buckets.values() if snapshotters else ())
        for key in snapshotter.values
    )
    return BuildLease(name, tuple(names), temporary=labels is not None and TEMPORARY_LABEL in labels.values)


def read_words(source: Source) -> tuple[frozenset[str], frozenset[str]]:
    """
    What any key or value of any bucket names: the ids of layer dirs, and the ``sha256:…`` digests.

    An id is a run of 25 lower-case letters and digits, or of 64 hex digits with or without ``-init``, that stands
    alone; the hex digits of a digest are none.
    """
    ids: set[str] = set()
    digests: set[str] = set()
    for text in _database(source).root.words():
        if len(text) >= _SHORTEST_ID:
            ids.update(word.decode() for word in _ID.findall(text))
            digests.update(word.decode() for word in _DIGEST.findall(text))
    return frozenset(ids), frozenset(digests)


def _database(source: Source) -> Database:
    return source if isinstance(source, Database) else parse_database(source)


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise FormatError(what, expected="UTF-8", found=_shown(raw)) from error


def _shown(found: str | bytes) -> str:
    return f"'{escaped(found)}'"
