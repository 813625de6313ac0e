"""
A view as JSON for programs: one object, described by docs/inspect.schema.json.

Things stand once, in flat lists, and are joined by their ids: an image has chain ids, a layer its cache-id, a directory
its link id. What a file should say and does not is null, and `unread` says why. `SCHEMA` rises when a member is removed
or changes its meaning. Sizes are bytes, texts escaped as in the text report, and the output is ASCII.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gcd import __version__
from gcd.model.reading import Absent, Present, describe
from gcd.report.json import finding_object
from gcd.report.printable import base64_of, is_utf8, printable
from gcd.report.units import instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gcd.inspect.view import (
        ContainerView,
        DirectoryView,
        Disk,
        ImageView,
        LayerView,
        Named,
        RwLayerView,
        View,
        Why,
    )
    from gcd.model.facts import BuildLease, BuildRecord, BuildSnapshot, KernelMount, MountPoint
    from gcd.model.finding import Node
    from gcd.model.reading import Reading

SCHEMA = 1

Object = dict[str, Any]


def inspect_json(view: View) -> str:
    return json.dumps(inspect_object(view), indent=2) + "\n"


def inspect_object(view: View) -> Object:
    return {
        "schema": SCHEMA,
        "gcd": __version__,
        "root": printable(view.root),
        **({} if is_utf8(view.root) else {"root_base64": base64_of(view.root)}),
        "store": printable(view.store),
        "subject": {
            **_node(view.asked.node),
            "named_by": view.asked.form,
            "inside": printable(view.asked.inside),
            "exists": view.exists,
        },
        "images": [_image(image) for image in view.images],
        "containers": [_container(container) for container in view.containers],
        "layers": [_layer(layer) for layer in view.layers],
        "rw_layers": [_rw_layer(rw_layer) for rw_layer in view.rw_layers],
        "directories": [_directory(directory, view) for directory in view.directories],
        "build": {
            "snapshots": [_snapshot(snapshot) for snapshot in view.snapshots],
            "records": [_record(record) for record in view.records],
            "leases": [_lease(lease) for lease in view.leases],
        },
        "mounts": [_mount(mount) for mount in view.mounts],
        "in_passing": [_node(node) for node in view.others],
        "why": [_why(why) for why in view.why],
        "findings": [finding_object(finding) for finding in view.findings],
        "incomplete": {source: printable(state.why) for source, state in view.incomplete.items()},
    }


def _image(image: ImageView) -> Object:
    config, metadata = (image.fact.config if image.fact else None), image.metadata
    sound = config.value if isinstance(config, Present) else None
    return {
        "id": printable(image.id),
        "exists": image.fact is not None,
        "references": _texts(image.references),
        "created": printable(sound.created) if sound else None,
        "os": printable(sound.os) if sound else None,
        "parent": _said(metadata.parent) if metadata else None,
        "children": _named(image.children),
        "containers": _named(image.containers),
        "layers": [{"chain_id": chain, "diff_id": diff_id} for chain, diff_id in image.chains],
        "unread": _unread({"config": config, "parent": metadata.parent if metadata else None}),
    }


def _container(container: ContainerView) -> Object:
    reading = container.fact.config if container.fact else None
    config = reading.value if isinstance(reading, Present) else None
    return {
        "id": printable(container.id),
        "exists": container.fact is not None,
        "name": printable(container.name) if config else None,
        "running": config.running if config else None,
        "image": printable(config.image) if config else None,
        "image_reference": printable(config.image_reference) if config else None,
        "rw_layers": _texts(container.rw_layers),
        "mount_points": [_mount_point(point) for point in config.mount_points] if config else [],
        "unread": _unread({"config": reading, "host_config": container.fact.host_config if container.fact else None}),
    }


def _mount_point(point: MountPoint) -> Object:
    return {
        "destination": printable(point.destination),
        "type": printable(point.type),
        "name": printable(point.name),
        "source": printable(point.source),
        "driver": printable(point.driver),
        "writable": point.is_writable,
    }


def _layer(layer: LayerView) -> Object:
    fact = layer.fact
    return {
        "chain_id": printable(layer.chain_id),
        "exists": fact is not None,
        "diff_id": layer.diff_id,
        "parent": _said(fact.parent) if fact else None,
        "cache_id": _said(fact.cache_id) if fact else None,
        "size": fact.size.value if fact and isinstance(fact.size, Present) else None,
        "broken_at": layer.broken_at,
        "used_by": {
            "images": _named(layer.used_by.images),
            "containers": _named(layer.used_by.containers),
            "builds": _texts(layer.used_by.builds),
        },
        "unread": _unread(
            {"diff_id": fact.diff_id, "parent": fact.parent, "cache_id": fact.cache_id, "size": fact.size}
            if fact
            else {},
            optional=("parent",),
        ),
    }


def _rw_layer(rw_layer: RwLayerView) -> Object:
    fact = rw_layer.fact
    return {
        "name": printable(rw_layer.name),
        "exists": fact is not None,
        "mount_id": rw_layer.mount_id,
        "init_id": rw_layer.init_id,
        "parent": _said(fact.parent) if fact else None,
        "used_by": _named(rw_layer.used_by),
        "unread": _unread(
            {"mount_id": fact.mount_id, "init_id": fact.init_id, "parent": fact.parent} if fact else {},
            optional=("init_id", "parent"),
        ),
    }


def _directory(directory: DirectoryView, view: View) -> Object:
    fact = directory.fact
    disk: Disk | None = view.disk.get(directory.id)
    return {
        "id": printable(directory.id),
        "path": printable(directory.path),
        "exists": fact is not None,
        "link": _said(fact.link) if fact else None,
        "symlinks": _texts(directory.symlinks),
        "lower": _texts(directory.lower),
        "owners": [_node(node) for node in directory.owners],
        "changed": instant(fact.ctime_ns) if fact else None,
        "disk_bytes": disk.disk_bytes if disk else None,
        "inodes": disk.inodes if disk else None,
        "lower_bound": disk.is_lower_bound if disk else None,
        "unread": _unread({"link": fact.link, "lower": fact.lower} if fact else {}, optional=("lower",)),
    }


def _snapshot(snapshot: BuildSnapshot) -> Object:
    return {
        "name": printable(snapshot.name),
        "kind": snapshot.kind,
        "directory": None if snapshot.dir_id is None else printable(snapshot.dir_id),
        "parent": printable(snapshot.parent),
        "chain_id": None if snapshot.chain_id is None else printable(snapshot.chain_id),
    }


def _record(record: BuildRecord) -> Object:
    return {
        "id": printable(record.id),
        "snapshot": printable(record.snapshot or record.id),
        "equal_mutable": printable(record.equal_mutable),
        "type": printable(record.record_type),
    }


def _lease(lease: BuildLease) -> Object:
    return {"id": printable(lease.id), "temporary": lease.temporary, "snapshots": _texts(lease.snapshots)}


def _mount(mount: KernelMount) -> Object:
    return {
        "mount_point": printable(mount.mount_point),
        "fstype": printable(mount.fstype),
        "namespace": printable(mount.namespace),
        "pids": list(mount.pids),
        "holder": printable(mount.holder),
        "merged_of": mount.merged_of,
        "directories": _texts(sorted(mount.dirs)),
    }


def _why(why: Why) -> Object:
    return {
        "directory": printable(why.directory),
        "kept_by": why.kept,
        "path": [_node(node) for node in why.path],
        "findings": _texts(why.findings),
    }


def _node(node: Node) -> Object:
    return {"kind": node.kind, "id": printable(node.id)}


def _named(named: Iterable[Named]) -> list[Object]:
    return [{"id": printable(one.id), "names": _texts(one.names)} for one in named]


def _texts(texts: Iterable[str]) -> list[str]:
    return [printable(text) for text in texts]


def _said(reading: Reading[str]) -> str | None:
    return printable(reading.value) if isinstance(reading, Present) else None


def _unread(readings: Mapping[str, Reading[object] | None], optional: tuple[str, ...] = ()) -> dict[str, str]:
    """Why a member is null: no reading, or what was read instead; a member of `optional` may be absent."""
    return {
        name: printable(describe(reading))
        for name, reading in readings.items()
        if not (reading is None or isinstance(reading, Present) or (isinstance(reading, Absent) and name in optional))
    }
