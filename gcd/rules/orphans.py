"""GCD101, 102, 116: layer dirs that nothing refers to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.finding import Evidence, Fault, Kind, Node, NodeKind, Severity
from gcd.model.ids import LayerDirId, is_build_id, is_hex64, is_init_dir
from gcd.model.storegraph import partner_of
from gcd.rules import suspects
from gcd.rules.needs import EVERY_REFERENCE
from gcd.rules.remedies import QUARANTINE_ONLINE, QUARANTINE_STOPPED_MANUAL
from gcd.rules.rule import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.facts import LayerDir
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph


@rule(
    "GCD101",
    "orphaned-layer-dir",
    Kind.ORPHAN,
    Severity.WARNING,
    node=NodeKind.LAYER_DIR,
    needs=EVERY_REFERENCE,
    remedies=(QUARANTINE_ONLINE,),
    suspects=suspects.orphaned_dirs,
)
def orphaned_layer_dir(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    Nothing refers to a layer dir: no record, no container, no build, no mount, and no live layer's ``lower``.

    Harm: its bytes are lost; the engine does not know it, and no prune will ever remove it.
    Cause: the engine was killed during a pull, load, commit or removal, or a power loss took the record and not the
    dir.
    Remedy: quarantine, also while the engine runs, once it is proven older than everything that can be under way.
    Not this rule: dirs of the build cache (GCD102); a container's pair that still holds files (GCD116); a layer that
    has a record but no image (GCD211).
    """
    layer_dir = _orphan(inventory, graph, node)
    if layer_dir is None or is_build_id(layer_dir.id):
        return
    partner = inventory.layer_dirs.get(partner_of(layer_dir.id))
    if partner is None:
        if is_hex64(layer_dir.id) or is_init_dir(layer_dir.id):
            yield _fault(
                inventory, graph, "No record, container, build, mount or lower refers to this layer dir.", layer_dir
            )
    elif not is_init_dir(layer_dir.id) and _holds_nothing(layer_dir):
        yield _fault(
            inventory,
            graph,
            "Nothing refers to this pair of rw and init dirs; its rw diff is empty.",
            layer_dir,
            partner,
        )


@rule(
    "GCD102",
    "orphaned-build-dir",
    Kind.ORPHAN,
    Severity.WARNING,
    node=NodeKind.LAYER_DIR,
    needs=EVERY_REFERENCE,
    remedies=(QUARANTINE_ONLINE,),
    suspects=suspects.orphaned_dirs,
)
def orphaned_build_dir(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    Nothing refers to a build dir: BuildKit's databases do not mention it, and no record or live ``lower`` does.

    Harm: its bytes are lost; ``docker builder prune`` does not see it.
    Cause: a build step whose bytes were there before, from another builder or before a ``docker builder prune``: the
    engine keeps the layer that it has, and the next prune forgets BuildKit's dir of it (seen with 20.10.24, 26.1.5 and
    28.5.2). Or BuildKit removed its record, and the engine died before the directory was gone; or ``snapshots.db`` was
    lost.
    Remedy: quarantine, also while the engine runs, once it is proven older than everything that can be under way.
    Not this rule: dirs named by no database that are a lower of a live layer; BuildKit makes such, and they are alive.
    """
    layer_dir = _orphan(inventory, graph, node)
    if layer_dir is not None and is_build_id(layer_dir.id):
        yield _fault(
            inventory,
            graph,
            "BuildKit's databases do not mention this build dir, and nothing else refers to it.",
            layer_dir,
        )


@rule(
    "GCD116",
    "orphaned-rw-dir",
    Kind.ORPHAN,
    Severity.WARNING,
    node=NodeKind.LAYER_DIR,
    needs=EVERY_REFERENCE,
    remedies=(QUARANTINE_STOPPED_MANUAL,),
    suspects=suspects.orphaned_dirs,
)
def orphaned_rw_dir(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    Nothing refers to a container's pair of rw and init dirs, and the rw dir holds files.

    Harm: disk space; but the files are what a container wrote, and may exist nowhere else.
    Cause: the container's records were lost (power loss, a hand that deleted them), or its removal was interrupted.
    Remedy: look at ``overlay2/<id>/diff``, save what matters, then quarantine the pair by its id; never by policy.
    Not this rule: a pair whose rw diff is empty (GCD101).
    """
    layer_dir = _orphan(inventory, graph, node)
    if layer_dir is None or not is_hex64(layer_dir.id) or _holds_nothing(layer_dir):
        return
    if (partner := inventory.layer_dirs.get(partner_of(layer_dir.id))) is not None:
        yield _fault(
            inventory,
            graph,
            "Nothing refers to this pair of rw and init dirs, but its rw diff holds files.",
            layer_dir,
            partner,
        )


def _orphan(inventory: Inventory, graph: StoreGraph, node: Node) -> LayerDir | None:
    layer_dir = inventory.layer_dirs.get(LayerDirId(node.id))
    return layer_dir if layer_dir is not None and graph.is_orphaned_dir(layer_dir) else None


def _holds_nothing(layer_dir: LayerDir) -> bool:
    """Whether it is known that no file is in the dir's ``diff``; the engine may have died before it made one."""
    return layer_dir.diff is None or layer_dir.diff_is_empty is True


def _fault(inventory: Inventory, graph: StoreGraph, summary: str, *dirs: LayerDir) -> Fault:
    links = {link for d in dirs for link in graph.symlinks_to.get(d.id, ())}
    return Fault(
        subject=Node(NodeKind.LAYER_DIR, dirs[0].id),
        summary=summary,
        evidence=tuple(Evidence(layout.layer_dir(d.id), "a record that names it", "none") for d in dirs),
        since_ns=max(d.ctime_ns for d in dirs),
        is_held=any(d.id in inventory.held_dirs for d in dirs),
        paths=(*(layout.layer_dir(d.id) for d in dirs), *(layout.link_symlink(link) for link in sorted(links))),
    )


RULES = (orphaned_layer_dir, orphaned_build_dir, orphaned_rw_dir)
