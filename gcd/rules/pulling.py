"""
How a layer is pulled again: what must go first, because the engine fetches no layer that it has.

A layer is there as long as an image, a container or BuildKit's cache needs it. Containers go first, then images, those
with most layers first, by every name that they have; images that only stand below others, as the classic builder makes
them, go with those.

An image comes back by its digest, and gets its tags again from there: a tag may name another image by now. Of a digest
that means images of many platforms, a pull brings that of the host unless it is told. A registry may have lost what it
once had, so it is asked before anything goes.
"""

from __future__ import annotations

import re
import shlex
from types import MappingProxyType
from typing import TYPE_CHECKING

from msgspec import Struct, field

from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ImageId, repository_of
from gcd.model.reading import value_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.ids import ChainId
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph


_LOOPBACK = re.compile(r"(localhost|127(\.\d{1,3}){3})(:\d+)?/")
"""
The registries that an engine speaks to without TLS unasked (moby ``registry/config.go``); ``docker manifest inspect``
must be asked to, seen with docker 20.10 and 28.2.
"""


class PullAgain(Struct, frozen=True):
    """
    `containers` and `removed` are names, in the order in which they must go; `pulled` can be fetched from a registry,
    by their digests, and `tagged` are then the tags of each; `made` must be built, loaded or imported again by whoever
    made it.
    """

    containers: tuple[str, ...]
    removed: tuple[str, ...]
    is_in_build_cache: bool
    pulled: tuple[str, ...]
    tagged: tuple[tuple[str, str], ...]
    made: tuple[str, ...]
    platforms: Mapping[str, str] = field(default_factory=dict)
    """By name, the platform of those of `pulled` that are not of the host's."""

    @property
    def commands(self) -> tuple[str, ...]:
        """For a shell, each only after the one before it succeeded; what containers wrote goes with them."""
        lines = [f"{_docker(_inspect(name), name)} >/dev/null" for name in self.pulled]
        lines += [_docker("rm -f", *self.containers)] if self.containers else []
        lines += [_docker("rmi", name) for name in self.removed]
        lines += ["docker builder prune -af"] if self.is_in_build_cache else []
        lines += [_docker(self._pull(name), name) for name in self.pulled]
        return (*lines, *(_docker("tag", name, tag) for name, tag in self.tagged))

    def _pull(self, name: str) -> str:
        return f"pull --platform {shlex.quote(self.platforms[name])}" if name in self.platforms else "pull"


def pull_again(
    inventory: Inventory, graph: StoreGraph, chain: ChainId, platforms: Mapping[ImageId, str] = MappingProxyType({})
) -> PullAgain:
    """
    What it takes to have the layer `chain` fetched again; `platforms` are those of images that are not the host's own.
    """
    needing = graph.dependents(Node(NodeKind.LAYER, chain))
    images = [ImageId(node.id) for node in needing if node.kind is NodeKind.IMAGE]
    images.sort(key=lambda image: (-len(graph.image_chains.get(image, ())), image))
    names = _names(inventory)
    below = _parents(inventory, images)
    removed: list[str] = []
    pulled: list[str] = []
    tagged: list[tuple[str, str]] = []
    made: list[str] = []
    foreign: dict[str, str] = {}
    for image in images:
        said = names.get(image, ())
        digests = tuple(name for name in said if "@" in name)
        tags = tuple(name for name in said if "@" not in name)
        removed += tags
        # With the last tag of a repository go its digests.
        removed += (name for name in digests if repository_of(name) not in set(map(repository_of, tags)))
        pulled += digests
        foreign |= dict.fromkeys(digests, platforms[image]) if image in platforms else {}
        tagged += ((digests[0], tag) for tag in tags if digests)
        if not digests:
            made += tags
        if not said and image not in below:
            removed.append(image)
            made.append(image)
    containers = sorted(graph.container_label(node.id) for node in needing if node.kind is NodeKind.CONTAINER)
    is_built = any(node.kind in {NodeKind.BUILD_SNAPSHOT, NodeKind.BUILD_LEASE} for node in needing)
    return PullAgain(
        containers=tuple(containers),
        removed=tuple(removed),
        is_in_build_cache=is_built,
        pulled=tuple(pulled),
        tagged=tuple(tagged),
        made=tuple(made),
        platforms=foreign,
    )


def _inspect(name: str) -> str:
    return "manifest inspect --insecure" if _LOOPBACK.match(name) else "manifest inspect"


def _docker(command: str, *names: str) -> str:
    """Names that a root made up are no options."""
    return f"docker {command} -- {shlex.join(names)}"


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
