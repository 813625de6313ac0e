"""GCD103, 104, 105, 112: the link farm ``overlay2/l``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.facts import FileType
from gcd.model.finding import Evidence, Fault, Kind, Node, NodeKind, Severity
from gcd.model.ids import LinkId
from gcd.model.inventory import Source
from gcd.model.reading import Present, describe, value_of
from gcd.rules import suspects
from gcd.rules.needs import WHOLE_DIRS
from gcd.rules.passing import is_whole
from gcd.rules.remedies import QUARANTINE_ONLINE, REPAIR_ONLINE, REPAIR_STOPPED_OPT_IN, to
from gcd.rules.rule import rule
from gcd.rules.stacking import dir_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph


@rule(
    "GCD103",
    "missing-link-symlink",
    Kind.DANGLING,
    Severity.ERROR,
    node=NodeKind.LINK,
    needs=WHOLE_DIRS,
    remedies=(REPAIR_ONLINE,),
    suspects=suspects.links_without_symlink,
)
def missing_link_symlink(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A layer dir in use has no symlink in the link farm, or a ``lower`` names a link id that nothing has.

    Harm: every container and layer above it fails to mount: ``readlink …/overlay2/l/…: no such file or directory``.
    Cause: a directory entry lost in a power loss; ``rm -rf overlay2/l``; a layer dir deleted by hand.
    Remedy: recreate ``l/<link id> -> ../<dir>/diff``; exact and additive, also while the engine runs. Where no dir says
    that it is the one, nothing can be recreated: pull the image again.
    Not this rule: an unreferenced dir without its symlink is an interrupted removal (GCD101), and the layers below one
    may be gone with their image.
    """
    link = LinkId(node.id)
    if link in inventory.link_farm.symlinks or _farm_is_no_directory(inventory):
        return
    if link in graph.unresolved_links:
        citers = sorted(d for d in graph.citers_of_link(link) if is_whole(inventory, graph, inventory.layer_dirs[d]))
        if citers and not _is_explained(inventory, graph, link):
            yield Fault(
                node,
                "A lower file names this link id, but no layer dir and no symlink has it.",
                (Evidence(f"{layout.layer_dir(citers[0])}/{layout.LOWER}", "a link id that exists", link),),
                remedies=(),
            )
        return
    for claimant in graph.claimants.get(link, ()):
        layer_dir = inventory.layer_dirs[claimant]
        if is_whole(inventory, graph, layer_dir):
            target = layout.link_target(claimant)
            yield Fault(
                Node(NodeKind.LAYER_DIR, claimant),
                "The symlink of this layer dir is missing from the link farm.",
                (Evidence(layout.link_symlink(link), f"a symlink to {target}", "absent"),),
                remedies=to(REPAIR_ONLINE, f"ln -s {target} {layout.link_symlink(link)}"),
            )


@rule(
    "GCD104",
    "dangling-link-symlink",
    Kind.DANGLING,
    Severity.INFO,
    node=NodeKind.LINK,
    needs=WHOLE_DIRS,
    remedies=(QUARANTINE_ONLINE,),
    suspects=suspects.symlinks_that_nothing_names,
)
def dangling_link_symlink(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A symlink of the link farm points to a dir that does not exist, and no ``lower`` names it.

    Harm: none but an inode; the engine never looks at it.
    Cause: creating a layer failed half-way, or its dir was removed and the symlink not.
    Remedy: quarantine, also while the engine runs.
    Not this rule: a symlink that some ``lower`` names; then the missing dir is the damage (GCD111, GCD201).
    """
    symlink = inventory.link_farm.symlinks.get(LinkId(node.id))
    if symlink is None or symlink.id in graph.cited_links or symlink.id in graph.claimants:
        return
    target = value_of(symlink.target)
    if target is None or target not in inventory.layer_dirs:
        yield Fault(
            node,
            "This symlink points to no layer dir, and no lower file names it.",
            (Evidence(layout.link_symlink(symlink.id), "../<layer dir>/diff that exists", describe(symlink.target)),),
            since_ns=symlink.ctime_ns,
            paths=(layout.link_symlink(symlink.id),),
            causes=graph.owners(target) if target is not None else (),
        )


@rule(
    "GCD105",
    "wrong-link-target",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LINK,
    needs=WHOLE_DIRS,
    remedies=(REPAIR_ONLINE,),
    suspects=suspects.symlinks_astray,
)
def wrong_link_target(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A symlink of the link farm does not point to the dir whose ``link`` file has its name.

    Harm: whatever is mounted through it gets another layer's files, or fails with ELOOP or ENOENT.
    Cause: a hand, or a restore that rewrote links.
    Remedy: point it at the one dir whose ``link`` says so, also while the engine runs; the old one goes to quarantine.
    Not this rule: a symlink whose name no ``link`` file says (GCD104).
    """
    symlink = inventory.link_farm.symlinks.get(LinkId(node.id))
    if symlink is None or graph.claimants.get(symlink.id) == (value_of(symlink.target),):
        return
    claimants = [d for d in graph.claimants.get(symlink.id, ()) if is_whole(inventory, graph, inventory.layer_dirs[d])]
    if not claimants or value_of(symlink.target) in claimants:
        return
    target, path = layout.link_target(claimants[0]), layout.link_symlink(symlink.id)
    yield Fault(
        node,
        "This symlink does not point to the layer dir whose link file has its name.",
        (Evidence(path, f"a symlink to {target}", describe(symlink.target)),),
        remedies=to(REPAIR_ONLINE, f"ln -sfT {target} {path}") if len(claimants) == 1 else (),
    )


@rule(
    "GCD112",
    "damaged-link-farm",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LINK_FARM,
    needs=frozenset({Source.OVERLAY2}),
    remedies=(REPAIR_STOPPED_OPT_IN,),
)
def damaged_link_farm(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    ``overlay2/l`` is not a directory.

    Harm: no layer with a parent can be mounted: no container starts (``file exists`` or ELOOP).
    Cause: a hand or a restore that put a symlink or a file in its place; an old engine's empty-link bug.
    Remedy: with the engine stopped, make the directory anew and rebuild all symlinks from the ``link`` files, if every
    layer dir has one; what is there now goes to quarantine.
    Not this rule: a missing ``l``, or one that lacks symlinks (GCD103 for each dir).
    """
    if _farm_is_no_directory(inventory):
        unnamed = sum(1 for d in graph.referenced_dirs if not isinstance(inventory.layer_dirs[d].link, Present))
        yield Fault(
            node,
            "The link farm is not a directory.",
            (Evidence(layout.link_farm(), "a directory", str(inventory.link_farm.type)),),
            remedies=() if unnamed else None,
        )


def _farm_is_no_directory(inventory: Inventory) -> bool:
    return inventory.link_farm.type not in (FileType.DIRECTORY, None)


def _is_explained(inventory: Inventory, graph: StoreGraph, link: LinkId) -> bool:
    """
    Whether records name a dir just where `link` is cited that is gone (GCD201, GCD306) or lost its link id (GCD106).
    """
    for citer in graph.citers_of_link(link):
        place = dir_at(inventory, graph, inventory.layer_dirs[citer], link)
        if place is not None:
            found = inventory.layer_dirs.get(place)
            return found is None or not isinstance(found.link, Present)
    return False


RULES = (missing_link_symlink, dangling_link_symlink, wrong_link_target, damaged_link_farm)
