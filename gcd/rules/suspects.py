"""
The nodes that rules have to be asked about, where most can be cleared all at once.

Sound records are rows of a shelf (`gcd.model.shelf`), and a question to all rows is a comparison of sets. What is
returned holds every node that a rule could speak of; whether it does is for the rule alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model.ids import ChainId, RwLayerName
from gcd.model.reading import Absent, Present, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from gcd.model.facts import Container, RwLayerRecord
    from gcd.model.ids import ContainerId, ImageId, LayerDirId, LinkId
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph

# --- layer records --------------------------------------------------------------------------------------------------


def odd_layers(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[ChainId]:
    """The records of which some file is not as usual."""
    return graph.layers.odd.keys()


def layers_without_dir(_inventory: Inventory, graph: StoreGraph) -> Iterable[ChainId]:
    gone = set(graph.cache_ids.values()).difference(graph.dirs.rows, graph.dirs.odd)
    return [chain for chain, cache_id in graph.cache_ids.items() if cache_id in gone] if gone else ()


def layers_sharing_a_dir(_inventory: Inventory, graph: StoreGraph) -> Iterable[ChainId]:
    return {chain for chains in graph.sharers.values() for chain in chains}


def layers_perhaps_without_parent(_inventory: Inventory, graph: StoreGraph) -> Iterable[ChainId]:
    """Records without ``parent`` but base layers, whose name is their diff id and which no image puts on others."""
    computed = graph.computed_parents
    bare = ((chain, row[0]) for chain, row in graph.layers.rows.items() if row[3] is None)
    return graph.layers.odd.keys() | {
        chain for chain, diff_id in bare if ChainId(diff_id) != chain or computed.get(chain) is not None
    }


def layers_of_unproven_name(_inventory: Inventory, graph: StoreGraph) -> Iterable[ChainId]:
    """Records of which no image config has told already that diff id and parent hash to their name."""
    hashed = graph.hashed
    return graph.layers.odd.keys() | {
        chain for chain, row in graph.layers.rows.items() if hashed.get((row[3], row[0])) != chain
    }


def layers_that_nothing_keeps(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[ChainId]:
    return graph.layers.ids() - graph.kept_layers


def layers_of_broken_chains(_inventory: Inventory, graph: StoreGraph) -> Iterable[ChainId]:
    return graph.orphaned_parents | graph.endless_or_too_deep


# --- layer dirs -----------------------------------------------------------------------------------------------------


def odd_dirs(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LayerDirId]:
    """The dirs of which something is not as usual."""
    return graph.dirs.odd.keys()


def orphaned_dirs(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LayerDirId]:
    return graph.orphaned_dirs


def mounted_dirs(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LayerDirId]:
    return graph.mounts_by_merged.keys() & (graph.dirs.ids() | graph.lost_dirs)


def dirs_perhaps_without_files(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LayerDirId]:
    return graph.dirs.odd.keys() | graph.lost_dirs


def dirs_perhaps_without_lower(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LayerDirId]:
    """Dirs without ``lower`` but those of base layers."""
    bare = {dir_id for dir_id, row in graph.dirs.rows.items() if not row[1]}
    parents = graph.computed_parents
    own = {d: chain for d in bare & graph.chain_of_dir.keys() if (chain := graph.chain_of_dir[d]) in graph.layers.rows}
    bases = {d for d, chain in own.items() if parents.get(chain, graph.parents.get(chain)) is None}
    return graph.dirs.odd.keys() | (bare - (bases - graph.sharers.keys() - graph.rw_layers_by_dir.keys()))


def dirs_unlike_their_parent(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LayerDirId]:
    return graph.dirs.odd.keys() | graph.unlike_parent


# --- the link farm --------------------------------------------------------------------------------------------------


def links_without_symlink(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LinkId]:
    return (graph.claimants.keys() - graph.farm.ids()) | graph.unresolved_links


def symlinks_that_nothing_names(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LinkId]:
    return graph.farm.ids() - graph.cited_links - graph.claimants.keys()


def symlinks_astray(_inventory: Inventory, graph: StoreGraph) -> AbstractSet[LinkId]:
    """Symlinks that do not point to the one dir whose ``link`` has their name."""
    targets, claimants = graph.link_targets, graph.claimants
    return {link for link in graph.farm.ids() & claimants.keys() if claimants[link] != (targets.get(link),)}


# --- containers and images ------------------------------------------------------------------------------------------


def odd_rw_layers(inventory: Inventory, _graph: StoreGraph) -> Iterable[RwLayerName]:
    """The records of which a file or a dir is not as usual."""
    return [name for name, record in inventory.rw_layers.items() if not _is_usual_rw_layer(inventory, record)]


def rw_layers_without_container(inventory: Inventory, _graph: StoreGraph) -> AbstractSet[str]:
    return inventory.rw_layers.keys() - set[str](inventory.containers)


def odd_containers(inventory: Inventory, _graph: StoreGraph) -> Iterable[ContainerId]:
    """The containers of which a file or the rw layer record is not as usual."""
    return [name for name, container in inventory.containers.items() if not _is_usual_container(inventory, container)]


def images_perhaps_unloadable(inventory: Inventory, graph: StoreGraph) -> Iterable[ImageId]:
    lost = graph.computed_parents.keys() - inventory.layers.keys() | graph.broken_at.keys()
    chains = graph.image_chains.items() if lost else ()
    return [image for image, stack in chains if any(chain in lost for chain, _ in stack)]


def dangling_references(inventory: Inventory, _graph: StoreGraph) -> Iterable[str]:
    repositories = value_of(inventory.repositories)
    references = repositories.references if repositories else {}
    return [reference for reference, image in references.items() if image not in inventory.images]


def _is_usual_rw_layer(inventory: Inventory, record: RwLayerRecord) -> bool:
    named = (record.mount_id, record.init_id)
    return isinstance(record.parent, Present) and all(
        isinstance(reading, Present) and reading.value in inventory.layer_dirs for reading in named
    )


def _is_usual_container(inventory: Inventory, container: Container) -> bool:
    config = value_of(container.config)
    return (
        config is not None
        and isinstance(container.host_config, Present | Absent)
        and config.has_config
        and config.id == container.id
        and not config.is_being_removed
        and RwLayerName(container.id) in inventory.rw_layers
    )
