"""GCD107, 108, 109: the ``lower`` files, by which an overlay is put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.finding import Evidence, Fault, Kind, Node, NodeKind, Severity
from gcd.model.ids import LayerDirId, init_dir_of, is_init_dir
from gcd.model.links import lower_of
from gcd.model.reading import Absent, Present, Unreadable, describe, value_of
from gcd.rules import suspects
from gcd.rules.needs import WHOLE_DIRS
from gcd.rules.passing import is_whole
from gcd.rules.remedies import REPAIR_ONLINE
from gcd.rules.rule import rule
from gcd.rules.stacking import diff_ids_below, dir_below, known_diff_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.facts import LayerDir
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph


@rule(
    "GCD107",
    "missing-lower",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LAYER_DIR,
    needs=WHOLE_DIRS,
    remedies=(REPAIR_ONLINE,),
    suspects=suspects.dirs_perhaps_without_lower,
)
def missing_lower(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A layer dir that stands on others has no ``lower`` file.

    Harm: silent: the engine takes it for a base layer, and new containers see an almost empty root filesystem; a
    container whose own dir lost it fails to start.
    Cause: power loss; the engine killed between two steps of creating the dir.
    Remedy: rebuild it from the parent's ``link`` and ``lower``; while it is not mounted, also with the engine running.
    Not this rule: base layers, which have none; a ``lower`` that is there but wrong (GCD108, GCD109).
    """
    layer_dir = inventory.layer_dirs.get(LayerDirId(node.id))
    if layer_dir is None or not isinstance(layer_dir.lower, Absent):
        return
    below = dir_below(inventory, graph, layer_dir)
    stands_on_others = isinstance(below, Present) or (isinstance(below, Unreadable) and layer_dir.work is not None)
    if stands_on_others and is_whole(inventory, graph, layer_dir):
        expected = f"l/<link of {below.value}> and its lower" if isinstance(below, Present) else "its lowers"
        yield Fault(
            node,
            "This layer dir stands on others, but its lower file is missing.",
            (Evidence(f"{layout.layer_dir(layer_dir.id)}/{layout.LOWER}", expected, "absent"),),
            remedies=None if isinstance(below, Present) else (),
        )


@rule(
    "GCD108",
    "malformed-lower",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LAYER_DIR,
    needs=WHOLE_DIRS,
    remedies=(REPAIR_ONLINE,),
    suspects=suspects.odd_dirs,
)
def malformed_lower(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A ``lower`` file is empty, unreadable, or has an element that is not ``l/<link id>``.

    Harm: creating or starting a container on it fails: ``readlink …/overlay2/l: invalid argument``, or too many levels
    of symbolic links where an element is a bare ``l``.
    Cause: power loss; a parent whose ``link`` was empty when the child was made.
    Remedy: rebuild it from the parent's ``link`` and ``lower``; while it is not mounted, also with the engine running.
    Not this rule: well-formed elements that name the wrong layers (GCD109) or nothing (GCD103).
    """
    layer_dir = inventory.layer_dirs.get(LayerDirId(node.id))
    if layer_dir is None or isinstance(layer_dir.lower, Absent):
        return
    if isinstance(layer_dir.lower, Present) and not layer_dir.lower.value.bad:
        return
    if not is_whole(inventory, graph, layer_dir):
        return
    bad = lower_of(layer_dir).bad
    found = f"element {bad[0].position} is {bad[0].text!r}" if bad else describe(layer_dir.lower)
    yield Fault(
        node,
        "The lower file of this layer dir cannot be used.",
        (Evidence(f"{layout.layer_dir(layer_dir.id)}/{layout.LOWER}", "l/<link id> elements joined by colons", found),),
    )


@rule(
    "GCD109",
    "foreign-lower",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LAYER_DIR,
    needs=WHOLE_DIRS,
    suspects=suspects.dirs_unlike_their_parent,
)
def foreign_lower(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A ``lower`` file names a layer that its chain does not have at that depth, or too few or too many.

    Harm: silent: containers see another image's files, or miss some of their own.
    Cause: a hand, a restore, or two damaged repairs.
    Remedy: none by gcd; remove and pull the images that the impact names.
    Not this rule: BuildKit's duplicate dirs, where the first element is not the parent's cache-id but has its diff id:
    healthy.
    """
    layer_dir = inventory.layer_dirs.get(LayerDirId(node.id))
    if layer_dir is None or not isinstance(layer_dir.lower, Present) or layer_dir.lower.value.bad:
        return
    if _is_as_its_parent_says(inventory, graph, layer_dir) or not is_whole(inventory, graph, layer_dir):
        return
    if (difference := _difference(inventory, graph, layer_dir)) is not None:
        expected, found = difference
        yield Fault(
            node,
            "The lower file of this layer dir does not spell its chain.",
            (Evidence(f"{layout.layer_dir(layer_dir.id)}/{layout.LOWER}", expected, found),),
        )


def _is_as_its_parent_says(inventory: Inventory, graph: StoreGraph, layer_dir: LayerDir) -> bool:
    """The quick and usual case: the parent's link, then the parent's own lower, which is judged on its own."""
    below = value_of(dir_below(inventory, graph, layer_dir))
    if below is None:
        return False
    parent = inventory.layer_dirs[below]
    return isinstance(parent.link, Present) and lower_of(layer_dir).links == (
        parent.link.value,
        *lower_of(parent).links,
    )


def _init_below(inventory: Inventory, graph: StoreGraph, layer_dir: LayerDir) -> LayerDirId | None:
    """The init dir that stands directly below `layer_dir`, gone or not; None where there is none."""
    record = graph.rw_layers_by_dir.get(layer_dir.id)
    if record is None or is_init_dir(layer_dir.id):
        return None
    init = init_dir_of(layer_dir.id)
    return value_of(record.init_id) or (init if init in inventory.layer_dirs else None)


def _difference(inventory: Inventory, graph: StoreGraph, layer_dir: LayerDir) -> tuple[str, str] | None:
    expected = diff_ids_below(inventory, graph, layer_dir)
    if expected is None:
        return None
    links = lower_of(layer_dir).links
    if (init := _init_below(inventory, graph, layer_dir)) is not None:
        if init in inventory.layer_dirs and init not in graph.dirs_of_link(links[0]):
            return f"element 0 to be the link of {init}", links[0]
        links = links[1:]
    for depth, (link, diff_id) in enumerate(zip(links, expected, strict=False)):
        known = frozenset[str]().union(*(known_diff_ids(graph, d) for d in graph.dirs_of_link(link)))
        if known and diff_id not in known:
            return f"element {depth} to have diff id {diff_id}", f"{link} with {', '.join(sorted(known))}"
    if len(links) != len(expected):
        return f"{len(expected)} layers below", f"{len(links)}"
    return None


RULES = (missing_lower, malformed_lower, foreign_lower)
