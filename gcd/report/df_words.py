"""Why ``docker system df`` says otherwise, in words: one sentence a row, for the text and for JSON alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model.space import Category
from gcd.report.units import counted, iec, listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.space import DiskUsage, EngineRow

UNCOUNTED = (
    Category.LOGS,
    Category.PLUGINS,
    Category.SWARM,
    Category.QUARANTINE,
    Category.ORPHANS,
    Category.OTHER,
)
"""What the engine's command does not count at all."""


def engine_rows(usage: DiskUsage) -> Mapping[Category, EngineRow]:
    """By category, the rows of ``docker system df`` in its own order."""
    view = usage.view
    return {
        Category.IMAGES: view.images,
        Category.CONTAINERS: view.containers,
        Category.VOLUMES: view.volumes,
        Category.BUILD_CACHE: view.build_cache,
    }


def reasons(usage: DiskUsage) -> Mapping[Category, str]:
    """By category of `engine_rows`, what each side counts that the other does not."""
    view = usage.view
    images = (
        "Docker adds up the lengths of the layers' files as they were at the pull or build. "
        "The disk holds whole blocks, directories and the records of the layers."
    )
    if view.unknown_layers:
        images += f" The size of {counted(view.unknown_layers, 'layer')} cannot be read; Docker takes it for 0."
    return {
        Category.IMAGES: images,
        Category.CONTAINERS: (
            "Docker adds up the lengths of the files that containers wrote. The disk holds whole blocks, directories, "
            "init layers and configurations."
        ),
        Category.VOLUMES: (
            "Docker adds up the lengths of files, and leaves out volumes with options. The disk holds whole blocks, "
            "directories and the database of volumes."
        ),
        Category.BUILD_CACHE: _build_cache(view.build_bytes_in_images),
    }


def _build_cache(in_images: int) -> str:
    told = "Docker adds up the lengths of the files of its cache records"
    told += f", without {iec(in_images)} in layers that images have too. " if in_images else ". "
    return told + "The disk holds whole blocks, directories and BuildKit's databases."


def uncounted(usage: DiskUsage) -> str:
    """What Docker's figures leave out, as one sentence; "" where that is nothing."""
    left_out = {category: usage.of(category).disk_bytes for category in UNCOUNTED}
    parts = [f"{category} ({iec(size)})" for category, size in left_out.items() if size]
    return f"Docker does not count {listed(parts)}: {iec(sum(left_out.values()))} in all." if parts else ""
