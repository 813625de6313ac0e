"""GCD301, 302, 303: the three files of an rw layer record, each proven by the others and by the dirs (S12, S13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.mends.containers import return_of
from gcd.mends.mending import Mending, Unproven
from gcd.mends.whose import like_rw_record, not_lost, unread
from gcd.model import layout
from gcd.model.finding import NodeKind
from gcd.model.ids import ContainerId, RwLayerName, init_dir_of
from gcd.model.inventory import Source
from gcd.model.plan import WriteFile
from gcd.model.reading import Present, value_of
from gcd.rules import belonging

if TYPE_CHECKING:
    from gcd.mends.mending import Case
    from gcd.model.facts import RwLayerRecord
    from gcd.model.ids import LayerDirId
    from gcd.model.reading import Reading

_NAMERS = (
    Source.LAYERS,
    Source.RW_LAYERS,
    Source.LINKS,
    Source.BUILD_SNAPSHOTS,
    Source.BUILD_RECORDS,
    Source.BUILD_LEASES,
)
"""What must have been read before a dir may count as named by no other."""


def lost_mount_id(case: Case) -> Mending | Unproven:
    """
    GCD301: the init id's partner, named by no other.

    Without the init id even the one free pair on the record's parent proves nothing: it may be that of a container that
    was lost whole, and the removal of this one would delete it.
    """
    record = _record(case)
    if not isinstance(record.init_id, Present):
        return Unproven("its init id is lost too, and a free pair of dirs may be another container's")
    mount_id = belonging.implied_mount_id(case.inventory, case.graph, record)
    if mount_id is None:
        return Unproven("the dirs that its init id speaks of are not there")
    return _named_by_another(case, record, mount_id) or _writing(
        case, record, layout.MOUNT_ID, record.mount_id, mount_id
    )


def lost_init_id(case: Case) -> Mending | Unproven:
    """GCD302: the mount id with ``-init``, if the rw dir's ``lower`` begins with that dir's link; named by no other."""
    record = _record(case)
    mount_id = value_of(record.mount_id)
    if mount_id is None or not belonging.is_pair(case.inventory, case.graph, mount_id):
        return Unproven("the lower file of its rw dir does not begin with the link of its init dir")
    return _named_by_another(case, record, mount_id) or _writing(
        case, record, layout.INIT_ID, record.init_id, init_dir_of(mount_id)
    )


def lost_parent(case: Case) -> Mending | Unproven:
    """GCD303: the one chain that loads and that the ``lower`` of the init dir spells, by diff ids."""
    record = _record(case)
    parent = belonging.implied_parent(case.inventory, case.graph, record)
    if parent is None:
        return Unproven("no one chain that loads is spelled by the lower file of its init dir")
    return _writing(case, record, layout.PARENT, record.parent, parent)


def _named_by_another(case: Case, record: RwLayerRecord, mount_id: LayerDirId) -> Unproven | None:
    lack = unread(case, *_NAMERS)
    if lack is not None:
        return lack
    for layer_dir in (mount_id, init_dir_of(mount_id)):
        for owner in case.graph.owners(layer_dir):
            if owner.kind is not NodeKind.MOUNT and owner.id != record.name:
                return Unproven(f"{owner} names {layer_dir}, too")
    return None


def _record(case: Case) -> RwLayerRecord:
    return case.inventory.rw_layers[RwLayerName(case.finding.subject.id)]


def _writing(case: Case, record: RwLayerRecord, name: str, found: Reading[object], value: str) -> Mending | Unproven:
    effect = return_of(case, (ContainerId(record.name),))
    if isinstance(effect, Unproven):
        return effect
    change = WriteFile(f"{layout.rw_layer_record(record.name)}/{name}", value.encode(), like_rw_record(record))
    return not_lost(found) or Mending((change,), effect)
