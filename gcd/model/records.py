"""
What records and image configs say, without regard to what else there is on disk: which layers an image needs, which the
engine can load, whose dir is whose, and what people call things.

Chains are walked with a set of what was seen: damaged ones are cyclic, and sound ones 125 deep.
"""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from gcd.model import edges
from gcd.model.ids import ChainId, ContainerId, DiffId, LayerDirId, RwLayerName
from gcd.model.reading import Absent, Present, value_of
from gcd.model.shelf import shelved_layers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gcd.model.facts import LayerRecord, RwLayerRecord
    from gcd.model.ids import ImageChains, ImageId
    from gcd.model.inventory import Inventory

K = TypeVar("K")
V = TypeVar("V")

MAX_DEPTH = 125
"""The longest chain that the engine accepts (moby ``layer/layer_store.go`` maxLayerDepth)."""


class Records:
    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self.layers = shelved_layers(inventory.layers)

    @property
    def inventory(self) -> Inventory:
        return self._inventory

    @cached_property
    def image_chains(self) -> Mapping[ImageId, ImageChains]:
        """By image, the chains that its config implies, base first, each with its diff id."""
        return {image.id: image.chains for image in self._inventory.images.values()}

    @cached_property
    def parents(self) -> Mapping[ChainId, ChainId]:
        """By chain, the parent that its record names; base layers, and those whose parent cannot be read, have none."""
        found = {chain: row[3] for chain, row in self.layers.rows.items() if row[3] is not None}
        odd = self.layers.odd.values()
        found.update((r.chain_id, r.parent.value) for r in odd if isinstance(r.parent, Present))
        return found

    @cached_property
    def cache_ids(self) -> Mapping[ChainId, LayerDirId]:
        """By chain, the dir that its record names."""
        found = {chain: row[2] for chain, row in self.layers.rows.items()}
        odd = self.layers.odd.values()
        found.update((r.chain_id, r.cache_id.value) for r in odd if isinstance(r.cache_id, Present))
        return found

    @cached_property
    def orphaned_parents(self) -> frozenset[ChainId]:
        """The chains whose record names a parent that has none."""
        gone = set(self.parents.values()).difference(self.layers.rows, self.layers.odd)
        return frozenset(chain for chain, parent in self.parents.items() if parent in gone) if gone else frozenset()

    @cached_property
    def broken_at(self) -> Mapping[ChainId, ChainId]:
        """
        For each chain that the engine cannot load, the record that stops it: itself or an ancestor, nearest the base.

        A record loads if ``diff``, ``size`` and ``cache-id`` are sound, ``parent`` is absent or loads, and
        ``descriptor.json`` is absent or sound (moby ``layer/layer_store.go`` loadLayer).
        """
        layers, parents = self.layers, self.parents
        if not layers.odd and not self.orphaned_parents and len(self._depths) == len(layers):
            return {}
        verdict: dict[ChainId, ChainId | None] = {}
        for start in layers:
            path: dict[ChainId, None] = {}
            here: ChainId | None = start
            while here is not None and here not in verdict and here in layers and here not in path:
                path[here] = None
                here = parents.get(here)
            if here is None:
                culprit = None
            elif here in verdict:
                culprit = verdict[here]
            elif here in path:
                ring = list(path)[list(path).index(here) :]
                culprit = min(ring)
            else:
                culprit = here
            for chain in reversed(path):
                if culprit is None and chain in layers.odd and not _loads_alone(layers.odd[chain]):
                    culprit = chain
                verdict[chain] = culprit
        return {chain: culprit for chain, culprit in verdict.items() if culprit is not None}

    def is_loadable(self, chain: ChainId) -> bool:
        return chain in self._inventory.layers and chain not in self.broken_at

    def depth(self, chain: ChainId) -> int | None:
        """
        How many records `chain` is deep, itself included, as far as records lead; None where they run in a circle.
        """
        return self._depths.get(chain)

    @cached_property
    def _depths(self) -> Mapping[ChainId, int]:
        records, parents = self.layers.ids(), self.parents
        depths = dict(self.proven_depths)
        endless: set[ChainId] = set()
        for start in (*self.unproven_names, *self.layers.odd):
            path: dict[ChainId, None] = {}
            here: ChainId | None = start
            while here in records and here not in depths and here not in endless and here not in path:
                path[here] = None
                here = parents.get(here)
            if here in path or here in endless:
                endless.update(path)
                continue
            depth = depths.get(here, 0) if here is not None else 0
            for chain in reversed(path):
                depth += 1
                depths[chain] = depth
        return depths

    @cached_property
    def endless_or_too_deep(self) -> frozenset[ChainId]:
        """The chains whose records run in a circle, or that are deeper than the engine accepts."""
        depths = self._depths
        endless = self.layers.ids() - depths.keys() if len(depths) < len(self.layers) else frozenset()
        if max(depths.values(), default=0) <= MAX_DEPTH:
            return endless
        return endless.union(chain for chain, depth in depths.items() if depth > MAX_DEPTH)

    def ancestors(self, chain: ChainId) -> Iterator[ChainId]:
        """`chain` and what lies below it, nearest first, as far as records tell; ends at a cycle."""
        seen: set[ChainId] = set()
        here: ChainId | None = chain
        while here is not None and here not in seen:
            seen.add(here)
            yield here
            here = self.parents.get(here)

    @cached_property
    def unsound_images(self) -> frozenset[ImageId]:
        """The images whose config the engine does not take for valid."""
        return frozenset(filter(self.is_unsound_image, self._inventory.images))

    def is_unsound_image(self, image: ImageId) -> bool:
        found = self._inventory.images.get(image)
        return found is not None and not found.is_sound

    @cached_property
    def odd_notes(self) -> frozenset[ImageId]:
        """The images of which something is noted that is not just a time, or that are not there."""
        images = self._inventory.images
        return frozenset(
            id_
            for id_, noted in self._inventory.image_metadata.items()
            if id_ not in images
            or not isinstance(noted.parent, Absent)
            or not isinstance(noted.last_updated, Absent | Present)
        )

    @cached_property
    def computed_parents(self) -> Mapping[ChainId, ChainId | None]:
        """
        By chain, the parent that image configs imply (None: a base layer): knowledge independent of ``parent`` files.
        """
        found: dict[ChainId, ChainId | None] = {}
        for chains in self.image_chains.values():
            below: ChainId | None = None
            for chain, _ in chains:
                found[chain] = below
                below = chain
        return found

    @cached_property
    def lost_chains(self) -> frozenset[ChainId]:
        """The chains that image configs imply and no record is of, and those that the engine cannot load."""
        return frozenset(self.computed_parents.keys() - self.layers.ids()).union(self.broken_at)

    @cached_property
    def perhaps_without_parent(self) -> frozenset[ChainId]:
        """
        Sound records without ``parent`` but base layers, whose name is their diff id and which no image puts on others.
        """
        computed, rows = self.computed_parents, self.layers.rows
        bare = (chain for chain in self.unproven_names if rows[chain][3] is None)
        return frozenset(c for c in bare if ChainId(rows[c][0]) != c or computed.get(c) is not None)

    @cached_property
    def proven_depths(self) -> Mapping[ChainId, int]:
        """
        The chains down from which all records are sound and just those that an image config implies: the diff id and
        the parent of each hash to its name. How many records each is deep, itself included.
        """
        rows = self.layers.rows
        depths: dict[ChainId, int] = {}
        for chains in self.image_chains.values():
            below: ChainId | None = None
            for depth, (chain, diff_id) in enumerate(chains, 1):
                row = rows.get(chain)
                if row is None or row[0] != diff_id or row[3] != below:
                    break
                depths[chain] = depth
                below = chain
        return depths

    @cached_property
    def unproven_names(self) -> frozenset[ChainId]:
        """Sound records of which, or of one below which, no image config has told that they hash to their name."""
        return frozenset(self.layers.rows.keys() - self.proven_depths.keys())

    @cached_property
    def imageless(self) -> frozenset[ChainId]:
        """The records that no image config implies and that the engine can load."""
        return self.layers.ids().difference(self.computed_parents, self.broken_at)

    @cached_property
    def children(self) -> Mapping[ChainId, tuple[ChainId, ...]]:
        """By chain, recorded or not, those whose record names it as parent."""
        return grouped([(parent, chain) for chain, parent in self.parents.items()])

    @cached_property
    def computed_diff_ids(self) -> Mapping[ChainId, DiffId]:
        """By chain, the diff id that image configs imply."""
        return dict(itertools.chain.from_iterable(self.image_chains.values()))

    def layers_of(self, layer_dir: LayerDirId) -> tuple[LayerRecord, ...]:
        """The layer records whose cache-id is `layer_dir`; more than one is a fault of its own."""
        return tuple(self._inventory.layers[chain] for chain in self.chains_of_dir(layer_dir))

    def chains_of_dir(self, layer_dir: LayerDirId) -> tuple[ChainId, ...]:
        """The chains whose record names `layer_dir`, existing or not."""
        return self.sharers.get(layer_dir) or ((found,) if (found := self.chain_of_dir.get(layer_dir)) else ())

    @cached_property
    def chain_of_dir(self) -> Mapping[LayerDirId, ChainId]:
        """By dir, the chain whose record names it; any of them where several do (`sharers`)."""
        return {cache_id: chain for chain, cache_id in self.cache_ids.items()}

    @cached_property
    def sharers(self) -> Mapping[LayerDirId, tuple[ChainId, ...]]:
        """By dir, the chains whose records name it, where these are several."""
        if len(self.chain_of_dir) == len(self.cache_ids):
            return {}
        found: dict[LayerDirId, list[ChainId]] = {}
        for chain, cache_id in self.cache_ids.items():
            found.setdefault(cache_id, []).append(chain)
        return {cache_id: tuple(chains) for cache_id, chains in found.items() if len(chains) > 1}

    @cached_property
    def rw_namers(self) -> Mapping[LayerDirId, tuple[RwLayerName, ...]]:
        """By dir id, the rw layer records whose rw dir or init dir it is; more than one only where there is damage."""
        return grouped(
            [(d, record.name) for record in self._inventory.rw_layers.values() for d in edges.rw_dirs_of(record)]
        )

    @cached_property
    def rw_layers_by_dir(self) -> Mapping[LayerDirId, RwLayerRecord]:
        """By dir id, the rw layer record whose rw dir or init dir it is; of several, that of the last name."""
        records = self._inventory.rw_layers
        return {d: records[names[0] if len(names) == 1 else max(names)] for d, names in self.rw_namers.items()}

    @cached_property
    def odd_rw_layers(self) -> frozenset[RwLayerName]:
        """The rw layer records of which a file or a dir is not as usual."""
        return frozenset(name for name in self._inventory.rw_layers if self.is_odd_rw_layer(name))

    def is_odd_rw_layer(self, name: RwLayerName) -> bool:
        record = self._inventory.rw_layers[name]
        dirs = self._inventory.layer_dirs
        return not isinstance(record.parent, Present) or not all(
            isinstance(reading, Present) and reading.value in dirs for reading in (record.mount_id, record.init_id)
        )

    @cached_property
    def odd_containers(self) -> frozenset[ContainerId]:
        """The containers of which a file or the rw layer record is not as usual."""
        return frozenset(name for name in self._inventory.containers if self.is_odd_container(name))

    def is_odd_container(self, name: ContainerId) -> bool:
        container = self._inventory.containers[name]
        config = value_of(container.config)
        return (
            config is None
            or not isinstance(container.host_config, Present | Absent)
            or not config.has_config
            or config.id != name
            or config.is_being_removed
            or RwLayerName(name) not in self._inventory.rw_layers
        )

    def is_being_removed(self, name: str) -> bool:
        """Whether the container that the rw layer record `name` belongs to is on its way out (S8)."""
        container = self._inventory.containers.get(ContainerId(name))
        config = value_of(container.config) if container else None
        return config is not None and config.is_being_removed

    @cached_property
    def _labels(self) -> Mapping[str, tuple[str, ...]]:
        """By image id, what people call it: its tags, else its digest references, else its short id."""
        repositories = value_of(self._inventory.repositories)
        names: dict[str, list[str]] = {}
        for reference, image in (repositories.references if repositories else {}).items():
            names.setdefault(image, []).append(reference)
        return {
            image: tuple(sorted(n for n in found if "@" not in n) or sorted(found)) for image, found in names.items()
        }

    def image_labels(self, image: str) -> tuple[str, ...]:
        return self._labels.get(image) or (short_digest(image),)

    def container_label(self, container: str) -> str:
        record = self._inventory.containers.get(ContainerId(container))
        config = value_of(record.config) if record else None
        return config.name.removeprefix("/") if config and config.name else container[:12]


def grouped(pairs: list[tuple[K, V]]) -> dict[K, tuple[V, ...]]:
    """By first element, the second ones of its pairs."""
    found: dict[K, tuple[V, ...]] = {key: (value,) for key, value in pairs}
    if len(found) == len(pairs):
        return found
    many: dict[K, list[V]] = {}
    for key, value in pairs:
        many.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in many.items()}


def short_digest(digest: str) -> str:
    """``sha256:`` and twelve digits, as people copy ids from the engine's lists."""
    return digest[:19]


def _loads_alone(record: LayerRecord) -> bool:
    return (
        isinstance(record.diff_id, Present)
        and isinstance(record.size, Present)
        and isinstance(record.cache_id, Present)
        and isinstance(record.parent, (Present, Absent))
        and isinstance(record.descriptor, (Present, Absent))
    )
