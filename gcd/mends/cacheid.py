"""
GCD206: which dir a layer record is about whose ``cache-id`` is lost, told by the dir's content alone.

A wrong answer destroys: the engine deletes the dir with the layer. So nothing but the whole content proves it, and the
dir must be one that nothing names: one of BuildKit's goes with the next prune of its cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.mends.layers import mending
from gcd.mends.mending import Unproven
from gcd.mends.whose import like_record, not_lost, unread
from gcd.model import layout
from gcd.model.finding import NodeKind
from gcd.model.ids import ChainId, chain_id, is_init_dir, is_layer_dir_id
from gcd.model.inventory import Source
from gcd.model.links import lower_of
from gcd.model.plan import Reason, WriteFile
from gcd.model.reading import Absent, Present, value_of
from gcd.rules.stacking import diff_ids_from, known_diff_ids, parent_of

if TYPE_CHECKING:
    from gcd.mends.mending import Case, Mending
    from gcd.model.facts import LayerDir, LayerRecord
    from gcd.model.ids import DiffId, LayerDirId

_NAMERS = (
    Source.OVERLAY2,
    Source.LINKS,
    Source.LAYERS,
    Source.RW_LAYERS,
    Source.CONTAINERS,
    Source.BUILD_SNAPSHOTS,
    Source.BUILD_RECORDS,
    Source.BUILD_LEASES,
    Source.MOUNTS,
)
"""What must have been read before a dir may count as named by nothing."""


def lost_cache_id(case: Case) -> Mending | Unproven:
    """The one dir that nothing names, that stands on the layer's chain, and whose content gives the diff id."""
    record = case.inventory.layers[ChainId(case.finding.subject.id)]
    doubt = unread(case, *_NAMERS) or not_lost(record.cache_id)
    if doubt is not None:
        return doubt
    parent = parent_of(case.graph, record.chain_id, record.parent)
    diff_id = value_of(record.diff_id) or case.graph.computed_diff_ids.get(record.chain_id)
    below = diff_ids_from(case.inventory, case.graph, parent)
    if diff_id is None or below is None or chain_id(value_of(parent), diff_id) != record.chain_id:
        return Unproven("its diff id and its parents, by which its dir would be known, do not hash to its chain id")
    if not case.witness.layer_size(record.chain_id):
        return Unproven("by its tar-split no file of it has content, and only content tells one dir from another")
    found = _proven(case, record, diff_id, [d.id for d in case.inventory.layer_dirs.values() if _fits(case, d, below)])
    if isinstance(found, Unproven):
        return found
    path = f"{layout.layer_record(record.chain_id)}/{layout.CACHE_ID}"
    return mending(case, WriteFile(path, found.encode(), like_record(record)))


def _proven(case: Case, record: LayerRecord, diff_id: DiffId, candidates: list[LayerDirId]) -> LayerDirId | Unproven:
    if not candidates:
        return Unproven("no dir that nothing names stands on its chain")
    lacks = {layer_dir: case.witness.lacks(layer_dir, record.chain_id, diff_id) for layer_dir in candidates}
    proven = [layer_dir for layer_dir, lack in lacks.items() if not lack]
    if len(proven) > 1:
        return Unproven(f"{len(proven)} dirs have its content, the first is {proven[0]}")
    if not proven:
        layer_dir, lack = next(iter(lacks.items()))
        more = f", and {len(lacks) - 1} others are no better" if len(lacks) > 1 else ""
        return Unproven(f"{layer_dir} could be its dir, but {lack}{more}")
    if any(owner.kind is NodeKind.MOUNT for owner in case.graph.owners(proven[0])):
        return Unproven(f"its dir {proven[0]} is mounted", Reason.IN_USE)
    return proven[0]


def _fits(case: Case, layer_dir: LayerDir, below: tuple[DiffId, ...]) -> bool:
    """Whether nothing names `layer_dir`, and its ``lower`` leads to dirs of the diff ids `below`, each known."""
    if not is_layer_dir_id(layer_dir.id) or is_init_dir(layer_dir.id):
        return False
    if any(owner.kind is not NodeKind.MOUNT for owner in case.graph.owners(layer_dir.id)):
        return False
    if not isinstance(layer_dir.lower, Present | Absent) or lower_of(layer_dir).bad:
        return False
    links = lower_of(layer_dir).links
    return len(links) == len(below) and all(
        any(diff_id in known_diff_ids(case.graph, d) for d in case.graph.dirs_of_link(link))
        for link, diff_id in zip(links, below, strict=True)
    )
