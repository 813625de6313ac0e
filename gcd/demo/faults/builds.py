"""Planters of faults of BuildKit's databases and dirs (GCD501-504). No engine may run on the root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.demo.boltfile import write_database
from gcd.demo.placing import put_file, remove_layer_dir
from gcd.formats.bolt import Bucket, parse_database
from gcd.model import layout
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import LayerDirId

if TYPE_CHECKING:
    from pathlib import Path

    from gcd.demo.boltfile import Tree

_METAS = 2


def _path(root: Path, name: str) -> Path:
    return root / layout.build_database(name)


def _database(name: str) -> Node:
    return Node(NodeKind.DATABASE, layout.build_database(name))


def spoil_build_snapshots(root: Path, _target: str) -> Node:
    """F38: both metas of `snapshots.db` fail their checksum: the engine does not start."""
    return _spoil(root, layout.BUILD_SNAPSHOTS)


def spoil_build_records(root: Path, _target: str) -> Node:
    """F38: both metas of `metadata_v2.db` fail their checksum."""
    return _spoil(root, layout.BUILD_RECORDS)


def spoil_build_leases(root: Path, _target: str) -> Node:
    """F38: both metas of `containerdmeta.db` fail their checksum."""
    return _spoil(root, layout.BUILD_LEASES)


def cut_build_snapshots(root: Path, _target: str) -> Node:
    """F38: `snapshots.db` ends after its metas."""
    path = _path(root, layout.BUILD_SNAPSHOTS)
    data = path.read_bytes()
    put_file(path, data[: _METAS * parse_database(data).page_size], 0o600)
    return _database(layout.BUILD_SNAPSHOTS)


def empty_build_snapshots(root: Path, _target: str) -> Node:
    """`snapshots.db` is of no bytes: the engine takes it for a new one, and forgets all of its build dirs."""
    put_file(_path(root, layout.BUILD_SNAPSHOTS), b"", 0o600)
    return _database(layout.BUILD_SNAPSHOTS)


def _spoil(root: Path, name: str) -> Node:
    path = _path(root, name)
    data = bytearray(path.read_bytes())
    size = parse_database(bytes(data)).page_size
    for meta in range(_METAS):
        data[meta * size + 40] ^= 0xFF
    put_file(path, bytes(data), path.stat().st_mode & 0o777)
    return _database(name)


def drop_build_dir(root: Path, dir_id: str) -> Node:
    """A bucket of `snapshots.db` names a dir that is missing, and its symlink too."""
    remove_layer_dir(root, LayerDirId(dir_id))
    return Node(NodeKind.BUILD_SNAPSHOT, dir_id)


def forget_build_record(root: Path, record: str) -> Node:
    """A lease with its snapshot and dir, but no record: the engine died while it made them, and never looks again."""
    path = _path(root, layout.BUILD_RECORDS)
    database = parse_database(path.read_bytes())
    tree = _tree(database.root)
    main = tree.get("_main")
    assert isinstance(main, dict)
    del main[record]
    put_file(path, write_database(tree, page_size=database.page_size, txid=database.txid + 1), 0o600)
    return Node(NodeKind.BUILD_LEASE, record)


def _tree(bucket: Bucket) -> dict[str, str | bytes | Tree]:
    """What the bolt writer takes; names in BuildKit's records are text."""
    values: dict[str, str | bytes | Tree] = {key.decode(): value for key, value in bucket.values.items()}
    return values | {key.decode(): _tree(inner) for key, inner in bucket.buckets.items()}


def drop_build_snapshots(root: Path, _target: str) -> Node:
    """`snapshots.db` is missing while build dirs are there: nobody can say which of them are alive."""
    _path(root, layout.BUILD_SNAPSHOTS).unlink()
    return _database(layout.BUILD_SNAPSHOTS)


def drop_build_databases(root: Path, _target: str) -> Node:
    """All of BuildKit's databases are missing while build dirs are there."""
    for name in (layout.BUILD_SNAPSHOTS, layout.BUILD_RECORDS, layout.BUILD_LEASES):
        _path(root, name).unlink()
    return _database(layout.BUILD_SNAPSHOTS)
