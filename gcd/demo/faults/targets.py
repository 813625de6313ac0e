"""A target of each kind in a root that is healthy: one made by the builder, or by an engine that is stopped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gcd.demo.faults.fault import Target, cache_id_of, mount_id_of
from gcd.formats.buildkit import read_leases, read_records, read_snapshots
from gcd.model import layout
from gcd.model.facts import SnapshotKind
from gcd.model.ids import ChainId, DiffId, chain_ids

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LEAST_LAYERS = 3


def find_targets(root: Path) -> Mapping[Target, str]:
    """
    The id of a target of each kind that `root` has one of; the same for the same root.

    The container is one on the image, where there is such a one.
    """
    found = {Target.ROOT: ""}
    containers = {path.name: json.loads((path / layout.CONTAINER_CONFIG).read_bytes()) for path in _homes(root)}
    used = {config["Image"] for config in containers.values()}
    images = sorted(_stacks(root), key=lambda found: (found[0] not in used, found[0]))
    if images:
        image, chains = images[0]
        found |= {Target.IMAGE: image, Target.LAYER: chains[-1], Target.BASE_LAYER: chains[0]}
        found[Target.LAYER_DIR] = cache_id_of(root, chains[-1])
        on_it = [name for name, config in containers.items() if config["Image"] == image]
        if on_it:
            found[Target.CONTAINER] = on_it[0]
            found[Target.RW_DIR] = mount_id_of(root, on_it[0])
    if (root / layout.build_database(layout.BUILD_SNAPSHOTS)).exists():
        found.update(_build_targets(root))
    return found


def _homes(root: Path) -> list[Path]:
    return sorted((root / layout.CONTAINERS).iterdir())


def _stacks(root: Path) -> Iterator[tuple[str, tuple[ChainId, ...]]]:
    """Tagged images with enough layers, each with its chain ids."""
    repositories = json.loads((root / layout.repositories()).read_bytes())["Repositories"]
    for image in {image for references in repositories.values() for image in references.values()}:
        config = json.loads((root / layout.image_config(image)).read_bytes())
        diff_ids: tuple[DiffId, ...] = tuple(config["rootfs"].get("diff_ids") or ())
        if len(diff_ids) >= _LEAST_LAYERS:
            yield image, chain_ids(diff_ids)


def _build_targets(root: Path) -> Iterator[tuple[Target, str]]:
    databases = (layout.BUILD_SNAPSHOTS, layout.BUILD_RECORDS, layout.BUILD_LEASES)
    paths = [root / layout.build_database(name) for name in databases]
    snapshots, records, leases = (
        read_snapshots(paths[0].read_bytes()),
        read_records(paths[1].read_bytes()),
        read_leases(paths[2].read_bytes()),
    )
    layers = {(record / layout.CACHE_ID).read_text() for record in (root / layout.layer_records()).iterdir()}
    lain_on = {record.equal_mutable for record in records.values()} | {found.parent for found in snapshots.values()}
    for name, snapshot in sorted(snapshots.items(), key=lambda item: (item[1].kind is SnapshotKind.ACTIVE, item[0])):
        if name in records and name in leases and name not in lain_on:
            yield Target.BUILD_RECORD, name
        if snapshot.kind is SnapshotKind.ACTIVE and name not in layers:
            yield Target.BUILD_DIR, name
