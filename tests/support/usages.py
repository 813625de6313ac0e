"""A `DiskUsage` made by hand: everything in it, with figures that differ; `usage` changes what a test needs."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from support.results import NOON_NS

from gcd.model.facts import EngineState
from gcd.model.space import (
    FILES,
    RW,
    SHARED,
    UNIQUE,
    Category,
    ContainerSpace,
    DiskUsage,
    EngineRow,
    EngineView,
    ImageSpace,
    Space,
)

IMAGE = ImageSpace(
    id="sha256:" + "1" * 64,
    references=("app:1", "app:latest"),
    layers=4,
    unique=Space(3 << 20, 120),
    shared=Space(70 << 20, 900),
    engine_bytes=71_234_567,
    engine_shared_bytes=68_400_000,
)
CONTAINER = ContainerSpace(
    id="2" * 64,
    name="web",
    rw=Space(9 << 20, 300),
    logs=Space(1 << 30, 2),
    files=Space(36864, 9),
    engine_bytes=8_500_123,
)


def usage(**changes: Any) -> DiskUsage:
    shares = {
        (Category.IMAGES, SHARED): Space(70 << 20, 900),
        (Category.IMAGES, UNIQUE): Space(3 << 20, 120),
        (Category.CONTAINERS, FILES): Space(36864, 9),
        (Category.CONTAINERS, RW): Space(9 << 20, 300),
        (Category.BUILD_CACHE, ""): Space(5 << 20, 77),
        (Category.VOLUMES, ""): Space(2 << 30, 4000),
        (Category.LOGS, ""): Space(1 << 30, 2),
        (Category.PLUGINS, ""): Space(16384, 4),
        (Category.SWARM, ""): Space(4096, 1),
        (Category.ORPHANS, "GCD101"): Space(512 << 20, 2222),
        (Category.OTHER, "."): Space(4096, 1),
        (Category.OTHER, "network"): Space(40960, 3),
    }
    made = DiskUsage(
        root="/var/lib/docker",
        store="overlay2",
        engine=EngineState.RUNNING,
        shares=shares,
        total=Space(sum(s.disk_bytes for s in shares.values()), sum(s.inodes for s in shares.values())),
        images=(IMAGE,),
        containers=(CONTAINER,),
        view=EngineView(
            EngineRow(1, 71_234_567),
            EngineRow(1, 8_500_123),
            EngineRow(3, 2_100_000_000),
            EngineRow(12, 4_000_999),
            build_bytes_in_images=68_400_000,
        ),
        unreadable=0,
        not_checked=(),
        checked_ns=NOON_NS,
    )
    return replace(made, **changes)
