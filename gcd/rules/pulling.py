"""
How a layer is pulled again: what must go first, because the engine fetches no layer that it has.

A layer is there as long as an image, a container or BuildKit's cache needs it. Containers go first, then images, those
with most layers first, by every name that they have; images that only stand below others, as the classic builder makes
them, go with those.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ImageId, repository_of
from gcd.model.reading import value_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.ids import ChainId
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph


@dataclass(frozen=True, slots=True)
class PullAgain:
    """
    `containers` and `removed` are names, in the order in which they must go; `pulled` can be fetched from a registry,
    `made` must be built, loaded or imported again by whoever made it.
    """

    containers: tuple[str, ...]
    removed: tuple[str, ...]
    is_in_build_cache: bool
    pulled: tuple[str, ...]
    made: tuple[str, ...]

    @property
    def commands(self) -> tuple[str, ...]:
        """For a shell; what containers wrote goes with them."""
        lines = [shlex.join(("docker", "rm", "-f", *self.containers))] if self.containers else []
        lines += [shlex.join(("docker", "rmi", name)) for name in self.removed]
        lines += ["docker builder prune -af"] if self.is_in_build_cache else []
        return (*lines, *(shlex.join(("docker", "pull", name)) for name in self.pulled))


def pull_again(inventory: Inventory, graph: StoreGraph, chain: ChainId) -> PullAgain:
    """What it takes to have the layer `chain` fetched again."""
    needing = graph.dependents(Node(NodeKind.LAYER, chain))
    images = [ImageId(node.id) for node in needing if node.kind is NodeKind.IMAGE]
    images.sort(key=lambda image: (-len(graph.image_chains.get(image, ())), image))
    names = _names(inventory)
    below = _parents(inventory, images)
    removed: list[str] = []
    pulled: list[str] = []
    made: list[str] = []
    for image in images:
        said = names.get(image, ())
        tags = tuple(name for name in said if "@" not in name)
        if not said and image not in below:
            removed.append(image)
        removed += tags or said
        fetched = {repository_of(name) for name in said if "@" in name}
        pulled += (name for name in (tags or said) if repository_of(name) in fetched)
        made += (name for name in tags if repository_of(name) not in fetched)
    containers = sorted(graph.container_label(node.id) for node in needing if node.kind is NodeKind.CONTAINER)
    is_built = any(node.kind in {NodeKind.BUILD_SNAPSHOT, NodeKind.BUILD_LEASE} for node in needing)
    return PullAgain(tuple(containers), tuple(removed), is_built, tuple(pulled), tuple(made))


def _names(inventory: Inventory) -> Mapping[str, tuple[str, ...]]:
    repositories = value_of(inventory.repositories)
    found: dict[str, list[str]] = {}
    for reference, image in sorted((repositories.references if repositories else {}).items()):
        found.setdefault(image, []).append(reference)
    return {image: tuple(references) for image, references in found.items()}


def _parents(inventory: Inventory, images: list[ImageId]) -> set[str]:
    """The images that one of `images` was built on."""
    found: set[str] = set()
    for image in images:
        metadata = inventory.image_metadata.get(image)
        parent = value_of(metadata.parent) if metadata is not None else None
        if parent is not None:
            found.add(parent)
    return found
