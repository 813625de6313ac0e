"""Which images and containers a policy protects by their labels."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from gcd.model.reading import value_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.facts import Labels
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph


def labelled(inventory: Inventory, graph: StoreGraph, patterns: tuple[str, ...]) -> Mapping[str, str]:
    """By what people call an image or a container, the first of `patterns` that fits a label of it."""
    found: dict[str, str] = {}
    if not patterns:
        return found
    for image in inventory.images.values():
        config = value_of(image.config)
        if config and (pattern := _fitting(config.labels, patterns)):
            found |= dict.fromkeys(graph.image_labels(image.id), pattern)
    for container in inventory.containers.values():
        made = value_of(container.config)
        if made and (pattern := _fitting(made.labels, patterns)):
            found[graph.container_label(container.id)] = pattern
    return found


def _fitting(labels: Labels, patterns: tuple[str, ...]) -> str:
    """The first of `patterns` that fits one of `labels`: ``key=value``, or the key alone."""
    texts = [text for key, value in labels for text in (f"{key}={value}", key)]
    return next((p for p in patterns if any(text == p or fnmatchcase(text, p) for text in texts)), "")
