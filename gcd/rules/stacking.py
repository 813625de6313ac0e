"""
What lies below what: the dir directly below a layer dir, and the diff ids that its ``lower`` should spell.

Knowledge comes from records and image configs only, never from ``lower`` files, so that those can be judged by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model.ids import ChainId, LayerDirId, init_dir_of, is_digest, is_init_dir
from gcd.model.links import lower_of
from gcd.model.reading import ABSENT, Absent, Present, Reading, Unreadable, value_of

if TYPE_CHECKING:
    from gcd.model.facts import LayerDir, LayerRecord
    from gcd.model.ids import DiffId, LinkId
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph

_UNKNOWN = Unreadable("no record says")


def dir_below(inventory: Inventory, graph: StoreGraph, layer_dir: LayerDir) -> Reading[LayerDirId]:
    """
    The dir directly below `layer_dir`: Present where records name it, Absent where they say that it is a base layer,
    Unreadable where they do not tell. In the duplicate-dir case of BuildKit another dir of the same content is as good.
    """
    if (rw_layer := graph.rw_layers_by_dir.get(layer_dir.id)) is not None:
        init = init_dir_of(layer_dir.id)
        if not is_init_dir(layer_dir.id) and init in inventory.layer_dirs:
            return Present(init)
        return _dir_of_chain(inventory, rw_layer.parent)
    if records := graph.layers_of(layer_dir.id):
        return _dir_of_chain(inventory, parent_of(graph, records[0].chain_id, records[0].parent))
    snapshot = inventory.build_cache.snapshots.get(layer_dir.id)
    return _dir_of_snapshot(inventory, snapshot.parent) if snapshot and snapshot.dir_id == layer_dir.id else _UNKNOWN


def dir_at(inventory: Inventory, graph: StoreGraph, citer: LayerDir, link: LinkId) -> LayerDirId | None:
    """
    The dir, existing or not, that records put where the ``lower`` of `citer` names `link`; None where they do not tell.
    """
    lower = lower_of(citer)
    if lower.bad or link not in lower.links:
        return None
    depth = lower.links.index(link)
    start: Reading[ChainId]
    if (rw_layer := graph.rw_layers_by_dir.get(citer.id)) is not None:
        init = value_of(rw_layer.init_id)
        if init is not None and citer.id != init:
            if depth == 0:
                return init
            depth -= 1
        start = rw_layer.parent
    elif records := graph.layers_of(citer.id):
        start = parent_of(graph, records[0].chain_id, records[0].parent)
    else:
        return value_of(dir_below(inventory, graph, citer)) if depth == 0 else None
    for _ in range(depth):
        record = _record_of(inventory, start)
        start = parent_of(graph, record.chain_id, record.parent) if record is not None else _UNKNOWN
    record = _record_of(inventory, start)
    return value_of(record.cache_id) if record is not None else None


def links_cited_for(inventory: Inventory, graph: StoreGraph, lost: LayerDir) -> tuple[LinkId, ...]:
    """The unresolved link ids that ``lower`` files name just where records put `lost` in their stack."""
    found: dict[LinkId, None] = {}
    for link in graph.unresolved_links:
        for citer in graph.citers_of_link(link):
            if dir_at(inventory, graph, inventory.layer_dirs[citer], link) == lost.id:
                found[link] = None
    return tuple(found)


def _record_of(inventory: Inventory, chain: Reading[ChainId]) -> LayerRecord | None:
    return inventory.layers.get(chain.value) if isinstance(chain, Present) else None


def parent_of(graph: StoreGraph, chain: ChainId, parent: Reading[ChainId]) -> Reading[ChainId]:
    """The parent chain of `chain`: what image configs imply, since that is hashed; else what the record says."""
    if chain not in graph.computed_parents:
        return parent
    computed = graph.computed_parents[chain]
    return ABSENT if computed is None else Present(computed)


def diff_ids_below(inventory: Inventory, graph: StoreGraph, layer_dir: LayerDir) -> tuple[DiffId, ...] | None:
    """
    The diff ids of all layers below `layer_dir` (its init layer left out), nearest first; None where records do not
    tell.
    """
    start: Reading[ChainId]
    if (rw_layer := graph.rw_layers_by_dir.get(layer_dir.id)) is not None:
        if isinstance(rw_layer.parent, Absent):
            return None  # no layers below, or a lost parent (GCD303)
        start = rw_layer.parent
    elif records := graph.layers_of(layer_dir.id):
        start = parent_of(graph, records[0].chain_id, records[0].parent)
    else:
        return None
    return diff_ids_from(inventory, graph, start)


def diff_ids_from(inventory: Inventory, graph: StoreGraph, start: Reading[ChainId]) -> tuple[DiffId, ...] | None:
    """The diff ids of the chain `start` and all below it, nearest first; None where records do not tell."""
    found: list[DiffId] = []
    seen: set[ChainId] = set()
    here = start
    while isinstance(here, Present):
        chain = here.value
        record = inventory.layers.get(chain)
        diff_id = graph.computed_diff_ids.get(chain) or (value_of(record.diff_id) if record else None)
        if diff_id is None or chain in seen:
            return None
        seen.add(chain)
        found.append(diff_id)
        here = parent_of(graph, chain, record.parent if record else _UNKNOWN)
    return tuple(found) if isinstance(here, Absent) else None


def known_diff_ids(graph: StoreGraph, layer_dir: LayerDirId) -> frozenset[DiffId]:
    """
    The diff ids that layer records, and image configs by way of their chain ids, give to `layer_dir`; empty where none
    does. The two differ where a record was damaged (GCD210), and either may be what a ``lower`` was made by.
    """
    found: set[DiffId] = set()
    for record in graph.layers_of(layer_dir):
        said = (value_of(record.diff_id), graph.computed_diff_ids.get(record.chain_id))
        found.update(diff_id for diff_id in said if diff_id is not None)
    return frozenset(found)


def _dir_of_chain(inventory: Inventory, chain: Reading[ChainId]) -> Reading[LayerDirId]:
    match chain:
        case Present(value):
            record = inventory.layers.get(value)
            cache_id = value_of(record.cache_id) if record else None
            return Present(cache_id) if cache_id is not None and cache_id in inventory.layer_dirs else _UNKNOWN
        case Absent():
            return ABSENT
        case _:
            return _UNKNOWN


def _dir_of_snapshot(inventory: Inventory, name: str) -> Reading[LayerDirId]:
    if not name:
        return ABSENT
    if is_digest(name):
        return _dir_of_chain(inventory, Present(ChainId(name)))
    snapshot = inventory.build_cache.snapshots.get(name)
    dir_id = snapshot.dir_id if snapshot else None
    return Present(dir_id) if dir_id is not None and dir_id in inventory.layer_dirs else _UNKNOWN
