"""
Lost owners: damaged or missing records that may have named what now looks like an orphan (safety rules S2, S3, S10).

A layer record with an empty ``cache-id`` has a dir that nothing names any more, full of good data. An image whose layer
record is gone, a container whose rw layer record is gone, an image config that cannot be read, or that a tag names and
that is gone, a ``lower`` that is unreadable: each may be the owner of a dir, or of a layer record, that nothing else
refers to. Such owners block every apparent orphan that they could own; mend or move the cause first.

Whether an owner could own a dir is told by the dir's ``lower``: how many layers stand below, and of which diff ids.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.model import layout
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ChainId, ImageId, LayerDirId, RwLayerName, init_dir_of, is_build_id, is_init_dir
from gcd.model.links import lower_of
from gcd.model.reading import ABSENT, EMPTY, Absent, Empty, Present, Unreadable, value_of
from gcd.model.storegraph import partner_of
from gcd.rules.belonging import has_init, is_owned
from gcd.rules.passing import is_whole
from gcd.rules.stacking import diff_ids_from, dir_below, known_diff_ids, parent_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gcd.model.facts import LayerDir, LayerRecord, RwLayerRecord
    from gcd.model.ids import DiffId
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph


class LostOwner(Struct, frozen=True):
    """
    `subject` is the node whose finding tells of the loss. `below` are the diff ids that lay below the lost dir, nearest
    first, None where they are not known; `is_rw` says that it was a container's pair. `loses_dirs` and `loses_layers`
    say what kind of thing it may have owned. `only_nameless` limits it to dirs without a link id of their own,
    `only_builds` to those of BuildKit.
    """

    subject: Node
    below: tuple[DiffId, ...] | None = None
    is_rw: bool | None = None
    loses_dirs: bool = True
    loses_layers: bool = False
    only_nameless: bool = False
    only_builds: bool = False


def lost_owners(inventory: Inventory, graph: StoreGraph) -> tuple[LostOwner, ...]:
    return (
        *_lost_by_layers(inventory, graph),
        *_lost_by_rw_layers(inventory, graph),
        *_lost_by_containers(inventory, graph),
        *_lost_by_images(inventory, graph),
        *_lost_by_references(inventory),
        *_lost_by_lowers(inventory, graph),
        *_lost_by_builds(inventory),
    )


def blockers(inventory: Inventory, graph: StoreGraph, orphans: Iterable[Node]) -> dict[Node, tuple[Node, ...]]:
    """
    By apparent orphan, the nodes that could own it after all; what lies below a blocked dir is blocked with it (S3).
    """
    owners = lost_owners(inventory, graph)
    of_dirs = _by_depth(owner for owner in owners if owner.loses_dirs)
    of_layers = tuple(dict.fromkeys(owner.subject for owner in owners if owner.loses_layers))
    own = {
        node: _blockers_of(inventory, graph, of_dirs, LayerDirId(node.id))
        if node.kind is NodeKind.LAYER_DIR
        else of_layers
        for node in orphans
    }
    inherited: dict[LayerDirId, dict[Node, None]] = {}
    for node, blocking in own.items():
        if blocking and node.kind is NodeKind.LAYER_DIR:
            for below in graph.closure([LayerDirId(node.id)]):
                inherited.setdefault(below, {}).update(dict.fromkeys(blocking))
    return {
        node: tuple(sorted({*blocking, *inherited.get(_dir_of(inventory, node), ())})) for node, blocking in own.items()
    }


def _by_depth(owners: Iterable[LostOwner]) -> dict[int | None, list[LostOwner]]:
    """`owners` by how many layers lay below what they lost; None where they do not know."""
    found: dict[int | None, list[LostOwner]] = {}
    for owner in owners:
        found.setdefault(None if owner.below is None else len(owner.below), []).append(owner)
    return found


def _blockers_of(
    inventory: Inventory, graph: StoreGraph, owners: Mapping[int | None, list[LostOwner]], dir_id: LayerDirId
) -> tuple[Node, ...]:
    foundling = _foundling(inventory, graph, inventory.layer_dirs[dir_id])
    depth = None if foundling.below is None else len(foundling.below)
    worth_asking = owners.values() if depth is None else (owners.get(d, ()) for d in (None, depth, depth - 1))
    could_own = (o.subject for o in chain.from_iterable(worth_asking) if _could_own(o, foundling))
    return tuple(dict.fromkeys(could_own))


def _dir_of(inventory: Inventory, node: Node) -> LayerDirId:
    """The layer dir that an orphan is, or that the record which is one names."""
    record = inventory.layers.get(ChainId(node.id)) if node.kind is NodeKind.LAYER else None
    cache_id = value_of(record.cache_id) if record is not None else None
    return cache_id if cache_id is not None else LayerDirId(node.id)


def _lost_by_layers(inventory: Inventory, graph: StoreGraph) -> Iterator[LostOwner]:
    for suspect in _suspected_layers(graph):
        record = inventory.layers[suspect]
        subject = Node(NodeKind.LAYER, record.chain_id)
        parent = parent_of(graph, record.chain_id, record.parent)
        if isinstance(parent, Absent) and not _is_base(graph, record):
            parent = EMPTY
        cache_id = value_of(record.cache_id)
        is_shared = cache_id is not None and len(graph.layers_of(cache_id)) > 1
        if cache_id is None or is_shared or not isinstance(record.diff_id, Present):
            yield LostOwner(subject, diff_ids_from(inventory, graph, parent), is_rw=False)
        if isinstance(parent, Present) and parent.value not in inventory.layers:
            yield LostOwner(subject, is_rw=False, loses_layers=True)
        if not isinstance(parent, (Present, Absent)):
            yield LostOwner(subject, loses_dirs=False, loses_layers=True)


def _suspected_layers(graph: StoreGraph) -> Iterable[ChainId]:
    """The layer records of which something is missing, or that others contradict: most have lost nothing."""
    parents = graph.computed_parents.items() if graph.lost_chains else ()
    return {
        *graph.layers.odd,
        *graph.orphaned_parents,
        *graph.perhaps_without_parent,
        *chain.from_iterable(graph.sharers.values()),
        *(above for above, parent in parents if parent in graph.lost_chains and above in graph.layers),
    }


def _is_base(graph: StoreGraph, record: LayerRecord) -> bool:
    """Whether a record without ``parent`` is that of a base layer: an image config or its own diff id says so."""
    claims = value_of(record.diff_id)
    return graph.computed_parents.get(record.chain_id, record.chain_id) is None or (
        claims is not None and ChainId(claims) == record.chain_id
    )


def _lost_by_rw_layers(inventory: Inventory, graph: StoreGraph) -> Iterator[LostOwner]:
    for record in inventory.rw_layers.values():
        if isinstance(record.mount_id, Present) and isinstance(record.parent, Present):
            continue
        subject = Node(NodeKind.RW_LAYER, record.name)
        lost_parent = _lost_its_parent(inventory, record)
        if not isinstance(record.mount_id, Present):
            below = None if lost_parent else diff_ids_from(inventory, graph, record.parent)
            yield LostOwner(subject, below, is_rw=True)
        if lost_parent and not _is_leaked(inventory, graph, record):
            yield LostOwner(subject, loses_dirs=False, loses_layers=True)


def _is_leaked(inventory: Inventory, graph: StoreGraph, record: RwLayerRecord) -> bool:
    """Whether `record` was made for one instruction of a build, and the engine that was at it is gone (GCD310)."""
    return (
        graph.is_settled(record.ctime_ns)
        and not is_owned(inventory, graph, record.name)
        and not has_init(inventory, record)
    )


def _lost_its_parent(inventory: Inventory, record: RwLayerRecord) -> bool:
    """Whether a record without ``parent`` has layers below all the same; the ``lower`` of its lowest dir tells."""
    if not isinstance(record.parent, Absent):
        return not isinstance(record.parent, Present)
    mount_id = value_of(record.mount_id)
    if mount_id is None:
        return True
    lowest = inventory.layer_dirs.get(init_dir_of(mount_id)) or inventory.layer_dirs.get(mount_id)
    return lowest is not None and not isinstance(lowest.lower, Absent)


def _lost_by_containers(inventory: Inventory, graph: StoreGraph) -> Iterator[LostOwner]:
    recorded = inventory.rw_layers.keys()
    for container in inventory.containers.values():
        subject = Node(NodeKind.CONTAINER, container.id)
        if not isinstance(container.config, Present):
            yield LostOwner(subject, loses_layers=True)
            continue
        config = container.config.value
        if config.driver == inventory.store and RwLayerName(container.id) not in recorded and not config.dead:
            below = _diff_ids_of_image(graph, config.image)
            yield LostOwner(subject, below, is_rw=True, loses_layers=below is None)


def _lost_by_images(inventory: Inventory, graph: StoreGraph) -> Iterator[LostOwner]:
    for image in inventory.images.values():
        subject = Node(NodeKind.IMAGE, image.id)
        if not image.is_sound:
            yield LostOwner(subject, loses_layers=True)
            continue
        chains = graph.image_chains[image.id] if graph.lost_chains else ()
        for depth, (chain_id, _) in enumerate(chains):
            if chain_id not in inventory.layers:
                yield LostOwner(subject, tuple(diff for _, diff in reversed(chains[:depth])), is_rw=False)


def _lost_by_references(inventory: Inventory) -> Iterator[LostOwner]:
    """What a tag names and is gone had layers; which, only its config told."""
    repositories = value_of(inventory.repositories)
    for reference, image in (repositories.references if repositories else {}).items():
        if image not in inventory.images:
            yield LostOwner(Node(NodeKind.REFERENCE, reference), loses_dirs=False, loses_layers=True)


def _lost_by_lowers(inventory: Inventory, graph: StoreGraph) -> Iterator[LostOwner]:
    citers = chain.from_iterable(map(graph.citers_of_link, graph.unresolved_links))
    for id_ in graph.live_dirs.intersection({*graph.dirs.odd, *graph.perhaps_without_lower, *citers}):
        layer_dir = inventory.layer_dirs[id_]
        subject = Node(NodeKind.LAYER_DIR, id_)
        if id_.startswith(layout.PROBES) or _is_abandoned(inventory, graph, layer_dir):
            continue
        if layer_dir.unreadable is not None or not isinstance(layer_dir.lower, (Present, Absent)):
            yield LostOwner(subject)
        elif isinstance(layer_dir.lower, Absent):
            below = dir_below(inventory, graph, layer_dir)
            if isinstance(below, Present) or (isinstance(below, Unreadable) and layer_dir.work is not None):
                yield LostOwner(subject)
        elif layer_dir.lower.value.bad:
            yield LostOwner(subject)
        elif not graph.unresolved_links.isdisjoint(layer_dir.lower.value.links):
            yield LostOwner(subject, only_nameless=True)


def _is_abandoned(inventory: Inventory, graph: StoreGraph, layer_dir: LayerDir) -> bool:
    """Whether only a write set, a lease or a removal names `layer_dir`, and the engine that was at it is gone."""
    return (
        layer_dir.id in graph.named_dirs
        and graph.is_settled(layer_dir.ctime_ns)
        and not is_whole(inventory, graph, layer_dir)
    )


def _lost_by_builds(inventory: Inventory) -> Iterator[LostOwner]:
    """
    Without ``snapshots.db`` nobody knows which build dirs live, nor which layers the build cache holds; the engine
    makes it anew at its next start.
    """
    snapshots = inventory.build_cache.databases.get(layout.BUILD_SNAPSHOTS, ABSENT)
    if isinstance(snapshots, (Absent, Empty)):
        subject = Node(NodeKind.DATABASE, layout.build_database(layout.BUILD_SNAPSHOTS))
        yield LostOwner(subject, loses_layers=True, only_builds=True)


def _diff_ids_of_image(graph: StoreGraph, image: str) -> tuple[DiffId, ...] | None:
    chains = graph.image_chains.get(ImageId(image), ())
    return tuple(diff for _, diff in reversed(chains)) if chains else None


class _Foundling(Struct, frozen=True):
    """
    An apparent orphan, seen by those who may have lost it. `below` are the diff ids that each layer below may have, as
    its ``lower`` says, nearest first (none: not known); None where the ``lower`` does not tell what lies below.
    """

    is_build: bool
    is_nameless: bool
    is_pair: bool
    """Whether it is an rw layer's, by its name or by its partner."""
    has_partner: bool
    below: tuple[frozenset[DiffId], ...] | None


def _foundling(inventory: Inventory, graph: StoreGraph, layer_dir: LayerDir) -> _Foundling:
    partner = inventory.layer_dirs.get(partner_of(layer_dir.id))
    is_init = is_init_dir(layer_dir.id)
    return _Foundling(
        is_build=is_build_id(layer_dir.id),
        is_nameless=not isinstance(layer_dir.link, Present) and layer_dir.id not in graph.symlinks_to,
        is_pair=partner is not None or is_init,
        has_partner=partner is not None,
        below=_below(graph, partner if partner is not None and not is_init else layer_dir),
    )


def _below(graph: StoreGraph, layer_dir: LayerDir) -> tuple[frozenset[DiffId], ...] | None:
    if isinstance(layer_dir.lower, Absent):
        return () if layer_dir.work is None else None
    lower = lower_of(layer_dir)
    if not isinstance(layer_dir.lower, Present) or lower.bad:
        return None
    return tuple(_diff_ids_of_link(graph, graph.dirs_of_link(link)) for link in lower.links)


def _could_own(owner: LostOwner, foundling: _Foundling) -> bool:
    if owner.only_builds:
        return foundling.is_build
    if owner.only_nameless:
        return foundling.is_nameless
    if owner.is_rw is False and foundling.is_pair:
        return False
    if owner.below is None or foundling.below is None:
        return True
    may_lack_init = not foundling.has_partner and owner.is_rw is not False
    return _fits(foundling.below, owner.below) or (may_lack_init and _fits(foundling.below[1:], owner.below))


def _fits(found: tuple[frozenset[DiffId], ...], below: tuple[DiffId, ...]) -> bool:
    """Whether `found` may spell the diff ids `below`; what is not known fits."""
    return len(found) == len(below) and all(
        not known or diff_id in known for known, diff_id in zip(found, below, strict=True)
    )


def _diff_ids_of_link(graph: StoreGraph, dirs: tuple[LayerDirId, ...]) -> frozenset[DiffId]:
    return frozenset(diff_id for d in dirs for diff_id in known_diff_ids(graph, d))
