"""
Which names of images can be proven when ``repositories.json`` does not tell them any more (safety rule S16).

A container's config says by which reference it was made and of which image. That proves the reference only if every
container that says it agrees, the image is there, and no newer image of the same repository is known.

Sources: moby ``container/container.go`` (``Config.Image`` is what the user typed, ``Image`` the id that it meant),
docker distribution ``reference/normalize.go`` ParseNormalizedNamed, FamiliarString.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gcd.model.ids import ImageId, repository_of
from gcd.model.reading import Present, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gcd.model.facts import RepositoriesCopy
    from gcd.model.inventory import Inventory

_REFERENCE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._/:-]{0,254}(@sha256:[0-9a-f]{64})?")
_IMPLIED = ("index.docker.io/library/", "index.docker.io/", "docker.io/library/", "docker.io/")
_SECONDS = len("2006-01-02T15:04:05")


def proven_references(inventory: Inventory) -> Mapping[str, ImageId]:
    """The references that the configs of containers prove, as ``repositories.json`` would spell them, sorted."""
    said: dict[str, set[ImageId]] = {}
    newest: dict[str, str] = {}
    for reference, image in _said(inventory):
        said.setdefault(reference, set()).add(image)
        repository = repository_of(reference)
        newest[repository] = max(newest.get(repository, ""), _created(inventory, image))
    return {
        reference: image
        for reference, images in sorted(said.items())
        for image in images
        if len(images) == 1
        and _is_there(inventory, image)
        and _created(inventory, image) == newest[repository_of(reference)]
    }


def newer_copy(inventory: Inventory) -> RepositoriesCopy | None:
    """The newest temporary copy of ``repositories.json`` that is valid, has references and is newer than the file."""
    valid = [
        copy
        for copy in inventory.repositories_copies
        if isinstance(copy.content, Present)
        and copy.content.value.references
        and copy.ctime_ns > inventory.repositories_ctime_ns
    ]
    return valid[-1] if valid else None


def _is_there(inventory: Inventory, image: ImageId) -> bool:
    found = inventory.images.get(image)
    return found is not None and found.is_sound


def _said(inventory: Inventory) -> Iterator[tuple[str, ImageId]]:
    for container in inventory.containers.values():
        config = value_of(container.config)
        if config is not None and config.driver == inventory.store:
            reference = _familiar(config.image_reference, config.image)
            if reference is not None:
                yield reference, ImageId(config.image)


def _familiar(reference: str, image: str) -> str | None:
    """`reference` in full, without what every name implies; None for an id, and for what is no reference."""
    is_id = image.removeprefix("sha256:").startswith(reference.removeprefix("sha256:"))
    if is_id or _REFERENCE.fullmatch(reference) is None:
        return None
    prefix = next((prefix for prefix in _IMPLIED if reference.startswith(prefix)), "")
    name, at, digest = reference.removeprefix(prefix).partition("@")
    if at:
        return f"{repository_of(name)}@{digest}"
    return name if repository_of(name) != name else f"{name}:latest"


def _created(inventory: Inventory, image: ImageId) -> str:
    """When `image` was made, to the second; texts of that form sort by time."""
    found = inventory.images.get(image)
    config = value_of(found.config) if found else None
    return config.created[:_SECONDS] if config else ""
