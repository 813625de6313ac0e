"""
What a refresh costs beside a full look: ``python bench/refresh.py [--turns N]``.

In the root of 20,000 layers and 2,000 containers that ``bench.py`` built, one container is written by the demo's
builder and taken away again, turn by turn. Each time the processor time is taken from the call of `Recheck.refresh` to
its result, in this process; the figures are medians. Memory is what this process holds in the end, after full looks and
refreshes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import built, proportional_kilobytes, table
from gcd.demo.dockerroot import DockerRoot
from gcd.model import layout
from gcd.model.changed import Changed
from gcd.recheck import Recheck

if TYPE_CHECKING:
    from collections.abc import Callable

LAYERS = 20_000
HOUR_NS = 3_600_000_000_000
TURNS_OF_FULL_LOOKS = 3


HOMES = {
    layout.OVERLAY2: "layer_dirs",
    layout.link_farm(): "links",
    layout.layer_records(): "layers",
    layout.rw_layer_records(): "rw_layers",
    layout.image_configs(): "images",
    layout.CONTAINERS: "containers",
}

Move = tuple[Path, Path]
"""Where an entry lies while it is not in the root, and where it belongs."""


def made(place: Path) -> tuple[list[Move], list[Move], Changed]:
    """What an image is made of, what a container on it is made of, and what is heard of the container."""
    folder = place / "extra"
    shutil.rmtree(folder, ignore_errors=True)
    with DockerRoot(folder, seed="extra") as root:
        layers = [root.layer(content={"extra": b"nothing else in the root has this"})]
        for _ in range(7):
            layers.append(root.layer(layers[-1]))
        image = root.image_of("extra:1", tuple(layers))
        before = entries_of(folder)
        root.container("extra", image=image)
    later = entries_of(folder)
    heard = {field: frozenset(later[home] - before[home]) for home, field in HOMES.items()}
    return moves(place, before), moves(place, {h: later[h] - before[h] for h in HOMES}), Changed(**heard)


def entries_of(folder: Path) -> dict[str, set[str]]:
    return {home: {entry.name for entry in (folder / home).iterdir()} - {layout.LINK_FARM} for home in HOMES}


def moves(place: Path, entries: dict[str, set[str]]) -> list[Move]:
    return [(place / "extra" / h / name, place / "root" / h / name) for h, names in entries.items() for name in names]


def put(entries: list[Move]) -> None:
    for away, here in entries:
        away.rename(here)


def take(entries: list[Move]) -> None:
    for away, here in entries:
        if not away.exists() and not away.is_symlink():
            here.rename(away)


def seconds(work: Callable[[], object]) -> float:
    """Processor time of this process and of those it started and waited for."""
    started = spent()
    work()
    return spent() - started


def spent() -> float:
    own = os.times()
    return time.process_time() + own.children_user + own.children_system


def measure(turns: int) -> None:
    place = built(LAYERS)
    image, container, heard = made(place)
    now_ns = time.time_ns() + 2 * HOUR_NS
    recheck = Recheck(str(place / "root"))
    full: list[float] = []
    came: list[float] = []
    went: list[float] = []
    try:
        put(image)
        full += [seconds(lambda: recheck.full(now_ns)) for _ in range(TURNS_OF_FULL_LOOKS)]
        for _ in range(turns):
            put(container)
            came.append(seconds(lambda: recheck.refresh(heard, now_ns)))
            take(container)
            went.append(seconds(lambda: recheck.refresh(heard, now_ns)))
    finally:
        take(container)
        take(image)
        shutil.rmtree(place / "extra")
    whole = statistics.median(full)
    rows = [("a full look, this process and its forks", f"{whole * 1000:.0f} ms", "")]
    for what, found in (("a container was made", came), ("a container was removed", went)):
        one = statistics.median(found)
        rows.append((f"a refresh after {what}", f"{one * 1000:.1f} ms", f"{whole / one:.0f}"))
    rows.append(("memory of the process (PSS)", f"{proportional_kilobytes(os.getpid()) / 1024:.0f} MB", ""))
    table(("", "processor time, median", "times less than a full look"), rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=21)
    measure(parser.parse_args().turns)


if __name__ == "__main__":
    main()
