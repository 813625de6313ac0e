"""
What an engine does to a root, what a killed one leaves, and what breaks: done to a root that the demo's builder wrote,
with what a watcher would hear of it.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from gcd.demo.buildcache import BuildDatabases
from gcd.demo.dockerroot import DockerRoot
from gcd.model import layout
from gcd.model.changed import NOTHING
from gcd.model.ids import LayerDirId, is_build_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import TypeVar

    from gcd.demo.dockerroot import BuiltContainer
    from gcd.model.changed import Changed

    T = TypeVar("T")

HOMES = {
    layout.OVERLAY2: "layer_dirs",
    layout.link_farm(): "links",
    layout.layer_records(): "layers",
    layout.rw_layer_records(): "rw_layers",
    layout.write_sets(): "write_sets",
    layout.image_configs(): "images",
    layout.image_metadata_records(): "images",
    layout.CONTAINERS: "containers",
}
FILES = {layout.repositories(): "has_repositories", layout.build_database(layout.BUILD_SNAPSHOTS): "has_build_cache"}


class Operations:
    """The operations, each by a name and a number that chooses among what is there."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.root = DockerRoot(path, seed=seed)
        self.images = [self.root.image("first:1", layers=3)]
        self.containers = [self.root.container("first", image=self.images[0])]
        self.root.write()
        self._count = 0
        self._seen = self._entries()

    def do(self, verb: str, pick: int) -> Changed:
        """Do it; what is heard of it."""
        self._count += 1
        told = NOTHING
        with suppress(FileNotFoundError):  # what it needs is broken: it stops half-way
            told = getattr(self, verb)(pick) or NOTHING
        seen = self._entries()
        heard = NOTHING
        for home, field in HOMES.items():
            names = {name for name, _ in self._seen[home] ^ seen[home]} - {layout.LINK_FARM}
            heard |= _told(field, frozenset(names))
        for path, field in FILES.items():
            heard |= _told(field, self._seen[path] != seen[path])
        self._seen = seen
        return heard | told

    def _entries(self) -> dict[str, set[tuple[str, int]]]:
        found = {}
        for home in HOMES:
            place = self.path / home
            entries = place.iterdir() if place.is_dir() and not place.is_symlink() else ()
            found[home] = {(entry.name, entry.lstat().st_ino) for entry in entries}
        for path in FILES:
            status = (self.path / path).lstat() if (self.path / path).exists() else None
            found[path] = {(path, status.st_ino), (path, status.st_mtime_ns)} if status else set()
        return found

    # --- an engine --------------------------------------------------------------------------------------------------

    def pull(self, pick: int) -> None:
        base = chosen(self.images, pick) if pick % 2 else None
        self.images.append(self.root.image(f"app{self._count}:1", base=base, layers=1 + pick % 3))
        self.root.write()

    def create(self, pick: int) -> None:
        image = chosen(self.images, pick)
        if image is not None:
            self.containers.append(self.root.container(f"c{self._count}", image=image, content={"x": b"written"}))

    def rm(self, pick: int) -> None:
        container = chosen(self.containers, pick)
        if container is not None:
            self.containers.remove(container)
            self._drop_rw_layer(container)
            shutil.rmtree(self.path / layout.container(container.id), ignore_errors=True)

    def _drop_rw_layer(self, container: BuiltContainer) -> None:
        for dir_id in (container.rw.mount_id, container.rw.init_id):
            self._drop_dir(dir_id)
        shutil.rmtree(self.path / layout.rw_layer_record(container.rw.name), ignore_errors=True)

    def _drop_dir(self, dir_id: LayerDirId | None) -> None:
        if dir_id is None:
            return
        (self.path / layout.link_symlink(self.root.link_of(dir_id))).unlink(missing_ok=True)
        shutil.rmtree(self.path / layout.layer_dir(dir_id), ignore_errors=True)

    def rmi(self, pick: int) -> None:
        image = chosen(self.images, pick)
        if image is None or any(container.image.id == image.id for container in self.containers):
            return
        self.images.remove(image)
        used = {layer.chain_id for other in self.images for layer in other.layers}
        for references in self.root.references.values():
            references.pop(image.reference, None)
        (self.path / layout.image_config(image.id)).unlink(missing_ok=True)
        shutil.rmtree(self.path / layout.image_metadata(image.id), ignore_errors=True)
        for layer in image.layers:
            if layer.chain_id not in used:
                shutil.rmtree(self.path / layout.layer_record(layer.chain_id), ignore_errors=True)
                self._drop_dir(layer.cache_id)
        self.root.write()

    def build(self, pick: int) -> None:
        step = self.root.build_source() if pick % 2 else self.root.build_step()
        if pick % 3 == 0:
            self.root.build_step(step)
        self.root.write()

    def export(self, pick: int) -> None:
        image = chosen(self.images, pick)
        step = self.root.build_step()
        layer = self.root.build_export(step, parent=image.top if image is not None and pick % 2 else None)
        below = image.layers if image is not None and layer.parent is not None else ()
        self.images.append(self.root.image_of(f"built{self._count}:1", (*below, layer)))
        self.root.write()

    def prune(self, _: int) -> None:
        used = {layer.cache_id for image in self.images for layer in image.layers}
        for entry in list((self.path / layout.OVERLAY2).iterdir()):
            if is_build_id(entry.name) and entry.name not in used:
                self._drop_dir(LayerDirId(entry.name))
        self.root.builds = BuildDatabases()
        self.root.write()

    # --- one that was killed ------------------------------------------------------------------------------------------

    def leak_dir(self, pick: int) -> None:
        image = chosen(self.images, pick)
        self.root.layer_dir(parent=image.top.cache_id if image is not None and pick % 2 and image.top else None)

    def leave_write_set(self, pick: int) -> None:
        self.root.write_set(cache_id=self.root.layer_dir() if pick % 2 else None)

    def leave_removal(self, pick: int) -> None:
        self.root.removal(self.root.layer(), keep_dir=bool(pick % 2))

    def cut_rm(self, pick: int) -> None:
        """The container says that it is dead, which nobody hears, and loses its dirs, and perhaps its record."""
        container = chosen(self.containers, pick)
        if container is None:
            return
        path = self.path / layout.container(container.id) / layout.CONTAINER_CONFIG
        if path.exists():
            config = json.loads(path.read_bytes())
            config["State"] |= {"Dead": True, "RemovalInProgress": True}
            path.write_text(json.dumps(config))
        if pick % 3 == 0:
            self._drop_rw_layer(container)
        else:
            self._drop_dir(container.rw.mount_id if pick % 3 == 1 else container.rw.init_id)

    def cut_rmi(self, pick: int) -> None:
        image = chosen(self.images, pick)
        if image is not None:
            (self.path / layout.image_config(image.id)).unlink(missing_ok=True)

    # --- what breaks, or is broken; what is inside of an entry is told of ---------------------------------------------

    def lose_dir(self, pick: int) -> None:
        dir_id = chosen(sorted(self._names(layout.OVERLAY2) - {layout.LINK_FARM}), pick)
        if dir_id is not None:
            shutil.rmtree(self.path / layout.OVERLAY2 / dir_id)

    def lose_link(self, pick: int) -> None:
        link = chosen(sorted(self._names(layout.link_farm())), pick)
        if link is not None:
            (self.path / layout.link_farm() / link).unlink()

    def lose_record(self, pick: int) -> None:
        home = layout.layer_records() if pick % 2 else layout.rw_layer_records()
        name = chosen(sorted(self._names(home)), pick)
        if name is not None:
            shutil.rmtree(self.path / home / name)

    def lose_container(self, pick: int) -> None:
        name = chosen(sorted(self._names(layout.CONTAINERS)), pick)
        if name is not None:
            shutil.rmtree(self.path / layout.CONTAINERS / name)

    def spoil(self, pick: int) -> Changed:
        """Empty, or remove, a file of a record."""
        files = (
            (layout.OVERLAY2, layout.LINK), (layout.OVERLAY2, layout.LOWER), (layout.layer_records(), layout.CACHE_ID),
            (layout.layer_records(), layout.PARENT), (layout.layer_records(), layout.DIFF),
            (layout.rw_layer_records(), layout.MOUNT_ID), (layout.rw_layer_records(), layout.PARENT),
            (layout.CONTAINERS, layout.CONTAINER_CONFIG),
        )  # fmt: skip
        home, file = files[pick % len(files)]
        name = chosen(sorted(self._names(home) - {layout.LINK_FARM}), pick)
        if name is None:
            return NOTHING
        path = self.path / home / name / file
        if path.exists():
            path.write_bytes(b"") if pick % 2 else path.unlink()
        return _told(HOMES[home], frozenset({name}))

    def lose_tags(self, _: int) -> None:
        (self.path / layout.repositories()).unlink(missing_ok=True)

    def _names(self, home: str) -> set[str]:
        return {entry.name for entry in (self.path / home).iterdir()}


def _told(field: str, value: Any) -> Changed:
    return replace(NOTHING, **{field: value})


def chosen(among: Sequence[T], pick: int) -> T | None:
    return among[pick % len(among)] if among else None


VERBS = (
    *["pull", "create", "rm"] * 4, *["rmi", "build", "export", "prune"] * 2, "leak_dir", "leave_write_set",
    "leave_removal", "cut_rm", "cut_rmi", "lose_dir", "lose_link", "lose_record", "lose_container", "spoil", "spoil",
    "spoil", "lose_tags",
)  # fmt: skip
