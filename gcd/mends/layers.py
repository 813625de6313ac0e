"""
GCD203, 204, 205, 208: the files of a layer record.

A record that the engine loads again brings back the images and the containers on it, and what the engine then does with
those is foretold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.mends.containers import return_of
from gcd.mends.mending import Mending, Unproven
from gcd.mends.whose import like_record, not_lost
from gcd.model import layout
from gcd.model.finding import NodeKind
from gcd.model.ids import ChainId, ContainerId, chain_id
from gcd.model.plan import SetAside, WriteFile
from gcd.model.reading import value_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcd.mends.mending import Case
    from gcd.model.facts import LayerRecord
    from gcd.model.ids import DiffId
    from gcd.model.plan import Change


def lost_diff_id(case: Case) -> Mending | Unproven:
    """GCD203: the diff id that an image config implies; with the parent it must hash to the chain id."""
    record = _record(case)
    diff_id = case.graph.computed_diff_ids.get(record.chain_id)
    parent = case.graph.computed_parents.get(record.chain_id)
    if diff_id is None or chain_id(parent, diff_id) != record.chain_id:
        return Unproven("no image config tells its diff id")
    return not_lost(record.diff_id) or mending(case, _write(record, layout.DIFF, diff_id))


def lost_size(case: Case) -> Mending | Unproven:
    """GCD204: the sum of the sizes in the tar-split, else 0: the engine only shows it."""
    record = _record(case)
    size = case.witness.layer_size(record.chain_id)
    return not_lost(record.size) or mending(case, _write(record, layout.SIZE, str(size or 0)))


def lost_parent(case: Case) -> Mending | Unproven:
    """
    GCD205: the one record that hashes to the chain id together with the diff id, if its own chain loads.

    A parent that does not load would make a layer vanish that works, silently, without one.
    """
    record = _record(case)
    diff_id = value_of(record.diff_id) or case.graph.computed_diff_ids.get(record.chain_id)
    parent = _parent(case, record.chain_id, diff_id) if diff_id is not None else None
    if parent is None:
        return Unproven("no image config and no layer record tells its parent")
    if not case.graph.is_loadable(parent):
        return Unproven(f"its parent {parent} must be mended first: the engine does not load it")
    return not_lost(record.parent) or mending(case, _write(record, layout.PARENT, parent))


def bad_descriptor(case: Case) -> Mending | Unproven:
    """GCD208: the file is optional, and a layer without it is sound."""
    record = _record(case)
    aside = SetAside(f"{layout.layer_record(record.chain_id)}/{layout.DESCRIPTOR}")
    return not_lost(record.descriptor) or mending(case, aside)


def containers_on(case: Case, chain: ChainId) -> Iterable[ContainerId]:
    """The containers that vanished with the record `chain`, since the engine does not load it; sorted."""
    if case.graph.is_loadable(chain):
        return ()
    return sorted(ContainerId(n.id) for n in case.graph.dependents(case.finding.subject) if n.kind is _CONTAINER)


def mending(case: Case, change: Change) -> Mending | Unproven:
    """`change` of the layer record that the case is about, with what the engine does with the containers on it."""
    effect = return_of(case, containers_on(case, _record(case).chain_id))
    return effect if isinstance(effect, Unproven) else Mending((change,), effect)


def _parent(case: Case, chain: ChainId, diff_id: DiffId) -> ChainId | None:
    implied = case.graph.computed_parents.get(chain)
    candidates = (implied,) if implied is not None else case.inventory.layers
    return next((parent for parent in candidates if chain_id(parent, diff_id) == chain), None)


def _record(case: Case) -> LayerRecord:
    return case.inventory.layers[ChainId(case.finding.subject.id)]


def _write(record: LayerRecord, name: str, text: str) -> WriteFile:
    return WriteFile(f"{layout.layer_record(record.chain_id)}/{name}", text.encode(), like_record(record))


_CONTAINER = NodeKind.CONTAINER
