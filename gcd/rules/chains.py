"""GCD207 to GCD212: how layer records stand to each other, to their names, and to the images that need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.finding import Evidence, Fault, Kind, Node, NodeKind, Severity
from gcd.model.ids import ChainId, chain_id
from gcd.model.inventory import Source
from gcd.model.reading import Absent, Empty, Present, describe, value_of
from gcd.model.records import MAX_DEPTH
from gcd.rules import belonging, suspects
from gcd.rules.needs import EVERY_REFERENCE, LAYERS
from gcd.rules.remedies import QUARANTINE_STOPPED, RELEASE_ONLINE, REPAIR_STOPPED, to
from gcd.rules.rule import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.facts import LayerRecord
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph


@rule(
    "GCD207",
    "shared-cache-id",
    Kind.HAZARD,
    Severity.ERROR,
    node=NodeKind.LAYER,
    needs=LAYERS,
    suspects=suspects.layers_sharing_a_dir,
)
def shared_cache_id(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    Two layer records name the same layer dir.

    Harm: removing the image of either destroys the other's files.
    Cause: a copied record; a repair that guessed.
    Remedy: none by gcd: until it is known whose the dir is, remove and prune nothing that the impact names.
    Not this rule: a record that is being removed next to the new one of the same build (GCD602 looks after that).
    """
    record = inventory.layers.get(ChainId(node.id))
    if record is None or not isinstance(record.cache_id, Present):
        return
    sharers = sorted(r.chain_id for r in graph.layers_of(record.cache_id.value))
    if len(sharers) > 1:
        yield Fault(
            node,
            "Several layer records name the same layer dir.",
            tuple(
                Evidence(f"{layout.layer_record(c)}/{layout.CACHE_ID}", "a dir of its own", record.cache_id.value)
                for c in sharers
            ),
        )


@rule(
    "GCD208",
    "unreadable-descriptor",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LAYER,
    needs=LAYERS,
    remedies=(REPAIR_STOPPED,),
    suspects=suspects.odd_layers,
)
def unreadable_descriptor(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A layer record has a ``descriptor.json`` that cannot be parsed.

    Harm: the engine skips the layer and all above it: the images and containers on it vanish from its lists.
    Cause: power loss, on one of the rare layers that have such a file.
    Remedy: with the engine stopped, move that one file away; a layer without it is sound.
    Not this rule: a record without the file, which is the usual case.
    """
    record = inventory.layers.get(ChainId(node.id))
    if record is not None and not isinstance(record.descriptor, (Present, Absent)):
        home = layout.layer_record(record.chain_id)
        yield Fault(
            node,
            "The descriptor of this layer record cannot be parsed, so the engine does not load it.",
            (
                Evidence(
                    f"{home}/{layout.DESCRIPTOR}",
                    "a JSON object, or no file",
                    describe(record.descriptor),
                ),
            ),
            remedies=to(REPAIR_STOPPED, f"mv {home}/{layout.DESCRIPTOR} {home}/{layout.DESCRIPTOR}.aside"),
        )


@rule(
    "GCD209",
    "unreadable-tar-split",
    Kind.DAMAGED,
    Severity.WARNING,
    node=NodeKind.LAYER,
    needs=LAYERS,
    suspects=suspects.odd_layers,
)
def unreadable_tar_split(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The ``tar-split.json.gz`` of a layer record is missing or cut off.

    Harm: the image runs, but cannot be saved or pushed, and its content can no longer be verified.
    Cause: power loss.
    Remedy: none by gcd: remove the images that it costs, and pull them; it cannot be made again bit by bit.
    Not this rule: damage in the middle of the file; only its head and tail are looked at here.
    """
    record = inventory.layers.get(ChainId(node.id))
    if record is None or isinstance(record.tar_split, Present):
        return
    if isinstance(record.tar_split, (Absent, Empty)) and not isinstance(record.cache_id, Present):
        return  # nothing is left of this record: GCD202
    yield Fault(
        node,
        "The tar-split of this layer record cannot be used.",
        (
            Evidence(
                f"{layout.layer_record(record.chain_id)}/{layout.TAR_SPLIT}",
                "a whole gzip file",
                describe(record.tar_split),
            ),
        ),
    )


@rule(
    "GCD210",
    "chain-id-mismatch",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LAYER,
    needs=LAYERS | {Source.IMAGES},
    suspects=suspects.layers_of_unproven_name,
)
def chain_id_mismatch(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The diff id and the parent of a layer record do not hash to its name.

    Harm: the record passes for a layer that it is not; what is built or pulled on it is wrong without a sound.
    Cause: a file edited, copied or restored from another record.
    Remedy: none by gcd; with the engine stopped, compare with the image config, or remove and pull the images again.
    Not this rule: a parent that is missing (GCD205).
    """
    record = inventory.layers.get(ChainId(node.id))
    if record is None or not isinstance(record.diff_id, Present):
        return
    match record.parent:
        case Present(parent):
            computed = chain_id(parent, record.diff_id.value)
        case Absent() if graph.computed_parents.get(record.chain_id, record.chain_id) is None:
            computed = ChainId(record.diff_id.value)
        case _:
            return
    if computed != record.chain_id:
        yield Fault(
            node,
            "The diff id and the parent of this layer record do not hash to its name.",
            (Evidence(layout.layer_record(record.chain_id), record.chain_id, computed),),
        )


@rule(
    "GCD211",
    "orphaned-layer",
    Kind.ORPHAN,
    Severity.WARNING,
    node=NodeKind.LAYER,
    needs=EVERY_REFERENCE,
    remedies=(RELEASE_ONLINE, QUARANTINE_STOPPED),
    suspects=suspects.layers_that_nothing_keeps,
)
def orphaned_layer(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    No image, container, build or living layer refers to a layer record that is itself sound.

    Harm: its bytes are lost: the engine holds it in memory, shows it nowhere, and no prune removes it.
    Cause: the engine was killed between two layers of a pull, or an image config was lost.
    Remedy: release it through the engine, which deletes what it alone can prove unused; or quarantine it with the
    engine stopped. Layers that stand on others go first.
    Not this rule: a dir without a record (GCD101); a record that the engine cannot load (GCD202 to GCD208).
    """
    record = inventory.layers.get(ChainId(node.id))
    if record is None or record.chain_id not in graph.unkept_layers or not graph.is_loadable(record.chain_id):
        return
    cache_id = value_of(record.cache_id)
    layer_dir = inventory.layer_dirs.get(cache_id) if cache_id is not None else None
    if layer_dir is None:
        return  # GCD201 says what this record costs
    above = (record, *_standing_on(inventory, graph, node))
    dirs = [d for r in above if (d := inventory.layer_dirs.get(value_of(r.cache_id) or layer_dir.id)) is not None]
    newest_ns = max(*(r.ctime_ns for r in above), *(d.ctime_ns for d in dirs))
    yield Fault(
        node,
        "No image, container or build refers to this layer.",
        (
            Evidence(layout.layer_record(record.chain_id), "an image, container, build or layer on it", "none"),
            Evidence(layout.layer_dir(layer_dir.id), "named only by this record", "present"),
        ),
        since_ns=newest_ns,
        is_held=any(d.id in inventory.held_dirs for d in dirs),
        paths=(
            layout.layer_record(record.chain_id),
            *belonging.freed_paths(graph, (layer_dir.id,)),
        ),
    )


def _standing_on(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[LayerRecord]:
    """The layer records above an orphaned one, orphaned all: a young one among them is perhaps being pulled (S3)."""
    for above in graph.graph.dependents(node):
        if above.kind is NodeKind.LAYER and above.id in inventory.layers:
            yield inventory.layers[ChainId(above.id)]


@rule(
    "GCD212",
    "broken-parent-chain",
    Kind.DANGLING,
    Severity.ERROR,
    node=NodeKind.LAYER,
    needs=LAYERS,
    suspects=suspects.layers_of_broken_chains,
)
def broken_parent_chain(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The parent that a layer record names has no record, or the chain of parents is cyclic or deeper than 125.

    Harm: the engine cannot load the layer or what stands on it; a cycle makes it recurse until it dies.
    Cause: a record lost in a power loss or deleted by hand.
    Remedy: none by gcd: pull the images that the impact names; the engine fetches the missing layer again.
    Not this rule: a ``parent`` file that is missing or unreadable (GCD205).
    """
    record = inventory.layers.get(ChainId(node.id))
    if record is None or not isinstance(record.parent, Present):
        return
    where = f"{layout.layer_record(record.chain_id)}/{layout.PARENT}"
    if record.parent.value not in inventory.layers:
        yield Fault(
            node,
            "The parent of this layer has no record.",
            (Evidence(where, "a layer record", f"{record.parent.value}, absent"),),
            since_ns=record.ctime_ns,  # one that came after the listing has parents that came after it too
        )
        return
    depth = graph.depth(record.chain_id)
    if depth is None:
        if graph.broken_at.get(record.chain_id) == record.chain_id:
            yield Fault(
                node,
                "The parents of this layer run in a circle.",
                (Evidence(where, "a chain that ends at a base layer", record.parent.value),),
            )
    elif depth == MAX_DEPTH + 1:
        yield Fault(
            node,
            "The chain of this layer's parents is deeper than the engine allows.",
            (Evidence(where, f"at most {MAX_DEPTH} layers", str(depth)),),
        )


RULES = (
    shared_cache_id,
    unreadable_descriptor,
    unreadable_tar_split,
    chain_id_mismatch,
    orphaned_layer,
    broken_parent_chain,
)
