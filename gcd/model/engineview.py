"""
What ``docker system df`` would say of a root, computed from its files as the engine computes it.

::

    images        the sum of ``size`` of all layer records that listed images need, each once
    containers    the sizes (not blocks) of all files in ``diff`` of the rw dirs
    volumes       the same of ``_data``, of local volumes without options
    build cache   by record: ``size`` of the layer record that its snapshot became, else the files in its ``diff``;
                  records of layers that images have are counted, but add no bytes

An image alone has the sum of its layers' ``size``; shared is what other listed images need too.

Sources, of 20.10: moby ``daemon/disk_usage.go``, ``daemon/images/images.go`` (Images, LayerDiskUsage),
``pkg/directory/directory_linux.go``, ``volume/service/convert.go``, ``builder/builder-next/adapters/snapshot`` Usage;
buildkit ``cache/manager.go`` DiskUsage; cli ``cli/command/formatter/disk_usage.go`` (which leaves out what is shared).
Compared to the byte with what an engine says in tests/engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.facts import SnapshotKind
from gcd.model.ids import RwLayerName
from gcd.model.reading import Absent, value_of
from gcd.model.space import EngineRow, EngineView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gcd.model.ids import ChainId, ImageId, LayerDirId
    from gcd.model.inventory import Inventory
    from gcd.model.space import Tree
    from gcd.model.storegraph import StoreGraph


class EngineSizes:
    """`users` are, by chain, the listed images that it is a layer of (`gcd.model.attribution.image_users`)."""

    def __init__(
        self, inventory: Inventory, graph: StoreGraph, tree: Tree, users: Mapping[ChainId, tuple[ImageId, ...]]
    ) -> None:
        self._inventory = inventory
        self._graph = graph
        self._tree = tree
        self._users = users
        self._sizes = {chain: self._layer_size(chain) for chain in users}

    def view(self, listed: Iterable[ImageId]) -> EngineView:
        sizes = self._sizes.values()
        containers = [self.container(name) for name in self._inventory.containers]
        volumes = [
            self._payload(layout.volume(volume.name))
            for volume in self._inventory.volumes.values()
            if isinstance(volume.options, Absent)
        ]
        records = list(self._build_sizes())
        return EngineView(
            EngineRow(len(tuple(listed)), sum(size or 0 for size in sizes)),
            EngineRow(len(containers), sum(containers)),
            EngineRow(len(volumes), sum(volumes)),
            EngineRow(len(records), sum(size for size, is_of_image in records if not is_of_image)),
            unknown_layers=sum(size is None for size in sizes),
            build_bytes_in_images=sum(size for size, is_of_image in records if is_of_image),
        )

    def image(self, image: ImageId) -> tuple[int | None, int | None]:
        """What the engine calls the size and the shared size of a listed image; None where a layer's is unknown."""
        whole = shared = 0
        for chain, _ in self._graph.image_chains.get(image, ()):
            size = self._sizes[chain]
            if size is None:
                return None, None
            whole += size
            shared += size if len(self._users[chain]) > 1 else 0
        return whole, shared

    def container(self, name: str) -> int:
        """What the engine calls the size of a container: the files in its rw layer."""
        record = self._inventory.rw_layers.get(RwLayerName(name))
        mount_id = value_of(record.mount_id) if record else None
        return 0 if mount_id is None else self._dir(mount_id)

    def _build_sizes(self) -> Iterator[tuple[int, bool]]:
        """The size of each cache record that the engine lists, and whether it is a layer of an image too."""
        cache = self._inventory.build_cache
        for record in cache.records.values():
            # The engine leaves out a mutable record's immutable twin, whose content the former holds.
            if record.equal_mutable:
                continue
            snapshot = cache.snapshots.get(record.snapshot)
            if snapshot is None:
                yield 0, False
            elif snapshot.chain_id is not None:
                # A record of kind LAYER stands for an image's layer that a build began with; its size is 0.
                size = 0 if snapshot.kind is SnapshotKind.LAYER else self._layer_size(snapshot.chain_id) or 0
                yield size, snapshot.chain_id in self._users
            else:
                yield 0 if snapshot.dir_id is None else self._dir(snapshot.dir_id), False

    def _layer_size(self, chain: ChainId) -> int | None:
        record = self._inventory.layers.get(chain)
        return value_of(record.size) if record else None

    def _dir(self, layer_dir: LayerDirId) -> int:
        return self._payload(layout.layer_dir(layer_dir, self._inventory.store))

    def _payload(self, path: str) -> int:
        unit = self._tree.units.get(path)
        return unit.payload_bytes if unit else 0
