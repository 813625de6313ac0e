"""GCD201 to GCD206: layer records that name a dir that is gone, or whose own files cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from gcd.model import layout
from gcd.model.finding import Evidence, Fault, Kind, Node, NodeKind, Severity
from gcd.model.ids import ChainId
from gcd.model.inventory import Source
from gcd.model.reading import Absent, Empty, Present, describe, value_of
from gcd.rules import suspects
from gcd.rules.needs import LAYERS
from gcd.rules.remedies import (
    QUARANTINE_ONLINE_OPT_IN,
    QUARANTINE_STOPPED_OPT_IN,
    REPAIR_STOPPED,
    REPAIR_STOPPED_OPT_IN,
    write,
)
from gcd.rules.rule import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.facts import LayerRecord
    from gcd.model.finding import Remedy
    from gcd.model.inventory import Inventory
    from gcd.model.reading import Reading
    from gcd.model.storegraph import StoreGraph


@rule(
    "GCD201",
    "missing-layer-dir",
    Kind.DANGLING,
    Severity.ERROR,
    node=NodeKind.LAYER,
    needs=LAYERS | {Source.OVERLAY2},
    remedies=(QUARANTINE_STOPPED_OPT_IN,),
    suspects=suspects.layers_without_dir,
)
def missing_layer_dir(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A layer record names a layer dir that does not exist.

    Harm: the engine loads the record and never looks: the image is listed, a pull says "Already exists", and run fails:
    ``stat overlay2/<id>: no such file or directory``.
    Cause: a clean-up script that deletes from ``overlay2``; a crash of an old engine during removal.
    Remedy: with the engine stopped, quarantine the record and those above it, then pull the images that the impact
    names.
    Not this rule: a dir that is there but empty (GCD111); a record that is being removed.
    """
    record = inventory.layers.get(ChainId(node.id))
    if record is None or not isinstance(record.cache_id, Present) or record.cache_id.value in inventory.layer_dirs:
        return
    above = [ChainId(other.id) for other in graph.dependents(node) if other.kind is NodeKind.LAYER]
    above.sort(key=lambda chain: (-(graph.depth(chain) or 0), chain))
    yield Fault(
        node,
        "The layer dir that this record names does not exist.",
        (Evidence(layout.layer_dir(record.cache_id.value), "a directory", "absent"),),
        paths=tuple(map(layout.layer_record, (*above, record.chain_id))),
    )


@rule(
    "GCD202",
    "blocked-chain",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LAYER,
    needs=LAYERS,
    remedies=(QUARANTINE_ONLINE_OPT_IN,),
    suspects=suspects.odd_layers,
)
def blocked_chain(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A layer record holds so little that the engine cannot load it and gcd cannot mend it.

    Harm: every pull, load or build that makes this layer fails for ever: ``rename … file exists``.
    Cause: power loss: the record's directory reached the disk and its files did not.
    Remedy: quarantine the record, also while the engine runs, once it is older than the engine; then pull again.
    Not this rule: a record of which the cache id or the tar-split is left; that can be mended (GCD203 to GCD206).
    """
    record = inventory.layers.get(ChainId(node.id))
    if record is not None and _is_beyond_mending(record):
        yield Fault(
            node,
            "This record holds neither a cache id nor a tar-split: the engine cannot load it, nor can it be mended.",
            (
                _read(record, layout.CACHE_ID, record.cache_id, "the name of a layer dir"),
                _read(record, layout.TAR_SPLIT, record.tar_split, "a gzip file"),
            ),
            since_ns=record.ctime_ns,
            paths=(layout.layer_record(record.chain_id),),
        )


@rule(
    "GCD203",
    "unreadable-diff-id",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LAYER,
    needs=LAYERS,
    remedies=(REPAIR_STOPPED,),
    suspects=suspects.odd_layers,
)
def unreadable_diff_id(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The ``diff`` file of a layer record is missing, empty or no digest.

    Harm: the engine skips the layer and all above it: the images and containers on it vanish from its lists.
    Cause: power loss.
    Remedy: with the engine stopped, write the diff id that an image config implies and that hashes to the chain id.
    Until then pull, load, remove and prune nothing.
    Not this rule: a digest that is sound but does not fit the record's name (GCD210).
    """
    record = inventory.layers.get(ChainId(node.id))
    if record is None or isinstance(record.diff_id, Present) or _is_beyond_mending(record):
        return
    implied = graph.computed_diff_ids.get(record.chain_id)
    yield _fault(
        record,
        "The diff id of this layer record cannot be read, so the engine does not load it.",
        _read(record, layout.DIFF, record.diff_id, implied or "sha256:<64 hex>"),
        action=_writing(REPAIR_STOPPED, record, layout.DIFF, implied) if implied else None,
    )


@rule(
    "GCD204",
    "unreadable-size",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LAYER,
    needs=LAYERS,
    remedies=(REPAIR_STOPPED,),
    suspects=suspects.odd_layers,
)
def unreadable_size(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The ``size`` file of a layer record is missing, empty or no number.

    Harm: the engine skips the layer and all above it: one file of no bytes, and the images and containers on it vanish.
    Cause: power loss; an editor that added a newline.
    Remedy: with the engine stopped, write the sum of the sizes in the tar-split; any number will do, it is only shown.
    Until then pull, load, remove and prune nothing.
    Not this rule: a number that differs from the disk; three definitions of it are in use.
    """
    record = inventory.layers.get(ChainId(node.id))
    if record is not None and not isinstance(record.size, Present) and not _is_beyond_mending(record):
        yield _fault(
            record,
            "The size of this layer record cannot be read, so the engine does not load it.",
            _read(record, layout.SIZE, record.size, "decimal digits without a newline"),
            action=_writing(REPAIR_STOPPED, record, layout.SIZE, "0", "    # any number will do"),
        )


@rule(
    "GCD205",
    "lost-parent",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LAYER,
    needs=LAYERS | {Source.IMAGES},
    remedies=(REPAIR_STOPPED,),
    suspects=suspects.layers_perhaps_without_parent,
)
def lost_parent(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The ``parent`` file of a layer record is empty or unreadable, or missing though the layer is no base layer.

    Harm: a missing one is silent: the layer loads as a base layer, its true parent loses its hold, and the next removal
    or even a load of the same image deletes that. An empty one hides the images and containers on it.
    Cause: power loss.
    Remedy: with the engine stopped, write the parent that an image config implies and that hashes to the chain id.
    Until then pull, load, remove and prune nothing.
    Not this rule: base layers, whose diff id is their chain id.
    """
    record = inventory.layers.get(ChainId(node.id))
    if record is None or isinstance(record.parent, Present) or _is_beyond_mending(record):
        return
    implied = graph.computed_parents.get(record.chain_id)
    if isinstance(record.parent, Absent):
        claims = value_of(record.diff_id)
        is_base = record.chain_id in graph.computed_parents and implied is None
        if is_base or (implied is None and (claims is None or ChainId(claims) == record.chain_id)):
            return
    yield _fault(
        record,
        "This layer record lost its parent.",
        _read(record, layout.PARENT, record.parent, implied or "a parent, for the diff id is not the chain id"),
        action=_writing(REPAIR_STOPPED, record, layout.PARENT, implied) if implied else None,
    )


@rule(
    "GCD206",
    "unreadable-cache-id",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LAYER,
    needs=LAYERS,
    remedies=(REPAIR_STOPPED_OPT_IN,),
    suspects=suspects.odd_layers,
)
def unreadable_cache_id(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The ``cache-id`` file of a layer record is missing, empty or no layer dir's name.

    Harm: the engine skips the layer and all above it, and the dir with the layer's files looks like an orphan.
    Cause: power loss.
    Remedy: with the engine stopped, write the name of the one dir whose content gives the diff id. Until then pull,
    load, remove and prune nothing, and delete no orphan: every dir that could be the lost one is blocked.
    Not this rule: a name that is sound but whose dir is gone (GCD201).
    """
    record = inventory.layers.get(ChainId(node.id))
    if record is not None and not isinstance(record.cache_id, Present) and not _is_beyond_mending(record):
        yield _fault(
            record,
            "The cache id of this layer record cannot be read: the engine does not load it, and its dir is not known.",
            _read(record, layout.CACHE_ID, record.cache_id, "the name of a layer dir"),
        )


def _is_beyond_mending(record: LayerRecord) -> bool:
    return not isinstance(record.cache_id, Present) and isinstance(record.tar_split, (Absent, Empty))


def _read(record: LayerRecord, name: str, reading: Reading[object], expected: str) -> Evidence:
    return Evidence(f"{layout.layer_record(record.chain_id)}/{name}", expected, describe(reading))


def _writing(remedy: Remedy, record: LayerRecord, name: str, value: str, remark: str = "") -> Remedy:
    return replace(remedy, action=write(value, f"{layout.layer_record(record.chain_id)}/{name}") + remark)


def _fault(record: LayerRecord, summary: str, evidence: Evidence, *, action: Remedy | None = None) -> Fault:
    return Fault(
        Node(NodeKind.LAYER, record.chain_id),
        summary,
        (evidence,),
        remedies=(action,) if action is not None else None,
    )


RULES = (missing_layer_dir, blocked_chain, unreadable_diff_id, unreadable_size, lost_parent, unreadable_cache_id)
