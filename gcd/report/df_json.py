"""
Disk usage as JSON for programs: one object, described by docs/df.schema.json.

`SCHEMA` rises when a member is removed or changes its meaning; members may be added at any time. The output is ASCII.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gcd import __version__
from gcd.model.space import Category
from gcd.report.df_words import engine_rows, reasons, uncounted
from gcd.report.printable import base64_of, is_utf8, printable
from gcd.report.units import instant

if TYPE_CHECKING:
    from gcd.model.space import ContainerSpace, DiskUsage, ImageSpace, Space

SCHEMA = 1

Object = dict[str, Any]


def df_json(usage: DiskUsage) -> str:
    return json.dumps(df_object(usage), indent=2) + "\n"


def df_object(usage: DiskUsage) -> Object:
    return {
        "schema": SCHEMA,
        "gcd": __version__,
        "checked_at": instant(usage.checked_ns),
        "root": printable(usage.root),
        **({} if is_utf8(usage.root) else {"root_base64": base64_of(usage.root)}),
        "store": printable(usage.store),
        "engine": usage.engine,
        "complete": usage.is_complete,
        "total": _space(usage.total),
        "categories": {category: _category(usage, category) for category in Category},
        "images": [_image(image) for image in usage.images],
        "containers": [_container(container) for container in usage.containers],
        "docker_system_df": _docker(usage),
        "unreadable": usage.unreadable,
        "not_checked": [
            {"code": item.code, "name": item.name, "source": item.source, "why": printable(item.why)}
            for item in usage.not_checked
        ],
    }


def _space(space: Space) -> Object:
    return {"disk_bytes": space.disk_bytes, "inodes": space.inodes}


def _category(usage: DiskUsage, category: Category) -> Object:
    parts = {part: space for (found, part), space in usage.shares.items() if found is category and part}
    return {
        **_space(usage.of(category)),
        "parts": [{"part": printable(part), **_space(space)} for part, space in parts.items()],
    }


def _image(image: ImageSpace) -> Object:
    return {
        "id": printable(image.id),
        "references": [printable(reference) for reference in image.references],
        "layers": image.layers,
        "unique": _space(image.unique),
        "shared": _space(image.shared),
        "docker_bytes": image.engine_bytes,
        "docker_shared_bytes": image.engine_shared_bytes,
    }


def _container(container: ContainerSpace) -> Object:
    return {
        "id": printable(container.id),
        "name": printable(container.name),
        "rw": _space(container.rw),
        "logs": _space(container.logs),
        "files": _space(container.files),
        "docker_bytes": container.engine_bytes,
    }


def _docker(usage: DiskUsage) -> Object:
    why = reasons(usage)
    rows: Object = {
        str(category): {"count": row.count, "size_bytes": row.size_bytes, "why": why[category]}
        for category, row in engine_rows(usage).items()
    }
    return {
        **rows,
        "layers_of_unknown_size": usage.view.unknown_layers,
        "build_bytes_in_images": usage.view.build_bytes_in_images,
        "not_counted": uncounted(usage),
    }
