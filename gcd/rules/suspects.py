"""
The nodes that rules have to be asked about, where most can be cleared all at once.

Sound records are rows of a shelf (`gcd.model.shelf`), and a question to all rows is a comparison of sets. What is
returned holds every node that a rule could speak of; whether it does is for the rule alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model.reading import value_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from gcd.model.ids import ChainId, ContainerId, ImageId, LayerDirId, LinkId, RwLayerName
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph

# --- layer records --------------------------------------------------------------------------------------------------


def odd_layers(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[ChainId]:
    """The records of which some file is not as usual."""
    return graph.layers.odd.keys()


def layers_without_dir(_inventory: Inventory, graph: StoreGraph) -> Iterable[ChainId]:
    return [chain for cache_id in graph.missing_dirs for chain in graph.chains_of_dir(cache_id)]


def layers_sharing_a_dir(_inventory: Inventory, graph: StoreGraph) -> Iterable[ChainId]:
    return {chain for chains in graph.sharers.values() for chain in chains}


def layers_perhaps_without_parent(_inventory: Inventory, graph: StoreGraph) -> Iterable[ChainId]:
    """Records without ``parent`` but base layers."""
    return graph.layers.odd.keys() | graph.perhaps_without_parent


def layers_of_unproven_name(_inventory: Inventory, graph: StoreGraph) -> Iterable[ChainId]:
    """Records of which no image config has told already that diff id and parent hash to their name."""
    return graph.layers.odd.keys() | graph.unproven_names


def layers_that_nothing_keeps(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[ChainId]:
    return graph.unkept_layers


def layers_of_broken_chains(_inventory: Inventory, graph: StoreGraph) -> Iterable[ChainId]:
    return graph.orphaned_parents | graph.endless_or_too_deep


# --- layer dirs -----------------------------------------------------------------------------------------------------


def odd_dirs(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LayerDirId]:
    """The dirs of which something is not as usual."""
    return graph.dirs.odd.keys()


def orphaned_dirs(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LayerDirId]:
    return graph.orphaned_dirs


def mounted_dirs(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LayerDirId]:
    return {dir_id for dir_id in graph.mounts_by_merged if dir_id in graph.dirs or dir_id in graph.lost_dirs}


def dirs_perhaps_without_files(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LayerDirId]:
    return graph.dirs.odd.keys() | graph.lost_dirs


def dirs_perhaps_without_lower(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LayerDirId]:
    """Dirs without ``lower`` but those of base layers."""
    return graph.dirs.odd.keys() | graph.perhaps_without_lower


def dirs_unlike_their_parent(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LayerDirId]:
    return graph.dirs.odd.keys() | graph.unlike_parent


# --- the link farm --------------------------------------------------------------------------------------------------


def links_without_symlink(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LinkId]:
    return graph.claimed_only | graph.unresolved_links


def symlinks_that_nothing_names(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LinkId]:
    return graph.unnamed_symlinks


def symlinks_astray(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LinkId]:
    """Symlinks that do not point to the one dir whose ``link`` has their name."""
    return graph.astray_symlinks


# --- containers and images ------------------------------------------------------------------------------------------


def odd_rw_layers(_inventory: Inventory, graph: StoreGraph) -> Iterable[RwLayerName]:
    """The records of which a file or a dir is not as usual."""
    return graph.odd_rw_layers


def rw_layers_without_container(inventory: Inventory, _graph: StoreGraph) -> Iterable[str]:
    containers: AbstractSet[str] = inventory.containers.keys()
    return [name for name in inventory.rw_layers if name not in containers]


def odd_containers(_inventory: Inventory, graph: StoreGraph) -> Iterable[ContainerId]:
    """The containers of which a file or the rw layer record is not as usual."""
    return graph.odd_containers


def images_perhaps_unloadable(_inventory: Inventory, graph: StoreGraph) -> Iterable[ImageId]:
    lost = graph.lost_chains
    chains = graph.image_chains.items() if lost else ()
    return [image for image, stack in chains if any(chain in lost for chain, _ in stack)]


def unsound_images(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[ImageId]:
    return graph.unsound_images


def odd_notes(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[ImageId]:
    """The notes that are not just a time, or of no image."""
    return graph.odd_notes


def dangling_references(inventory: Inventory, _graph: StoreGraph) -> Iterable[str]:
    repositories = value_of(inventory.repositories)
    references = repositories.references if repositories else {}
    return [reference for reference, image in references.items() if image not in inventory.images]
