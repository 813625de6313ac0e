"""GCD106, 110, 111, 113, 114, 115: what a layer dir in ``overlay2`` holds besides its ``lower``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.facts import FileType
from gcd.model.finding import Evidence, Fault, Kind, Node, NodeKind, Severity
from gcd.model.ids import ContainerId, LayerDirId
from gcd.model.inventory import Source
from gcd.model.reading import Present, describe
from gcd.rules import suspects
from gcd.rules.needs import WHOLE_DIRS
from gcd.rules.passing import is_whole
from gcd.rules.remedies import QUARANTINE_ONLINE, REPAIR_ONLINE, to, write
from gcd.rules.rule import rule
from gcd.rules.stacking import links_cited_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph


@rule(
    "GCD106",
    "unreadable-link-file",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LAYER_DIR,
    needs=WHOLE_DIRS,
    remedies=(REPAIR_ONLINE,),
    suspects=suspects.odd_dirs,
)
def unreadable_link_file(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The ``link`` file of a layer dir in use is missing, empty or no link id.

    Harm: an empty one is silent: new containers start without this layer's files; a missing one stops creation:
    ``open …/link: no such file or directory``.
    Cause: power loss (engines before 20.10.27, 23.0.8 and 24.0.7 wrote it without fsync).
    Remedy: write the link id again that the symlink to this dir has, or that its children's ``lower`` files name at its
    depth; never a new one, for the children would lose it. Also while the engine runs.
    Not this rule: a dir whose removal or creation is under way.
    """
    layer_dir = inventory.layer_dirs.get(LayerDirId(node.id))
    if layer_dir is None or isinstance(layer_dir.link, Present) or not is_whole(inventory, graph, layer_dir):
        return
    candidates = graph.symlinks_to.get(layer_dir.id, ()) or links_cited_for(inventory, graph, layer_dir)
    cited = [link for link in candidates if link in graph.cited_links] or list(candidates)
    path = f"{layout.layer_dir(layer_dir.id)}/{layout.LINK}"
    yield Fault(
        node,
        "The link file of this layer dir cannot be used.",
        (Evidence(path, "26 characters of base 32", describe(layer_dir.link)),),
        remedies=to(REPAIR_ONLINE, write(cited[0], path)) if len(cited) == 1 else (),
    )


@rule(
    "GCD110",
    "missing-work-dir",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LAYER_DIR,
    needs=WHOLE_DIRS,
    remedies=(REPAIR_ONLINE,),
    suspects=suspects.odd_dirs,
)
def missing_work_dir(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A layer dir that stands on others has no ``work`` dir.

    Harm: mounting it for writing fails: ``error creating overlay mount``. A container's dir needs it to start; an
    image's layer only when the engine mounts it without children.
    Cause: a hand, or a restore that left out empty dirs.
    Remedy: make it, mode 0700, owned as ``diff``; also while the engine runs.
    Not this rule: base layers, which have none.
    """
    layer_dir = inventory.layer_dirs.get(LayerDirId(node.id))
    if layer_dir is None or layer_dir.work is FileType.DIRECTORY or not isinstance(layer_dir.lower, Present):
        return
    if is_whole(inventory, graph, layer_dir):
        home = layout.layer_dir(layer_dir.id)
        yield Fault(
            node,
            "The work dir of this layer dir is missing.",
            (Evidence(f"{home}/{layout.WORK}", "a directory", layer_dir.work or "absent"),),
            severity=None if layer_dir.id in graph.rw_layers_by_dir else Severity.WARNING,
            remedies=to(
                REPAIR_ONLINE,
                f"(cd {home} && mkdir -m 700 {layout.WORK} && chown --reference={layout.DIFF} {layout.WORK})",
            ),
        )


@rule(
    "GCD111",
    "missing-diff-dir",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LAYER_DIR,
    needs=WHOLE_DIRS,
    suspects=suspects.dirs_perhaps_without_files,
)
def missing_diff_dir(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The files of a layer in use are gone: its ``diff`` is missing, or the whole dir, though a ``lower`` names it.

    Harm: containers on it do not start, and the engine says "Already exists" when the image is pulled again.
    Cause: a clean-up script that deleted what no record names; a hand.
    Remedy: none by gcd; the images that the impact names must be removed and pulled again.
    Not this rule: a dir that a layer record (GCD201), an rw layer record (GCD306) or a build (GCD502) names and that is
    gone.
    """
    dir_id = LayerDirId(node.id)
    layer_dir = inventory.layer_dirs.get(dir_id)
    if layer_dir is None:
        links = [link for link in graph.symlinks_to.get(dir_id, ()) if link in graph.cited_links]
        cited_by = {d for link in links for d in graph.citers_of_link(link)}
        citers = sorted(d for d in cited_by if is_whole(inventory, graph, inventory.layer_dirs[d]))
        if dir_id in graph.lost_dirs and citers:
            lower = f"{layout.layer_dir(citers[0])}/{layout.LOWER}"
            yield Fault(
                node,
                "A lower file leads to this layer dir, which does not exist.",
                (Evidence(layout.layer_dir(dir_id), f"a directory, for {lower} names it", "absent"),),
            )
    elif layer_dir.diff is not FileType.DIRECTORY and is_whole(inventory, graph, layer_dir):
        yield Fault(
            node,
            "The diff dir of this layer dir is missing: its files are gone.",
            (Evidence(f"{layout.layer_dir(layer_dir.id)}/{layout.DIFF}", "a directory", layer_dir.diff or "absent"),),
        )


@rule(
    "GCD113",
    "probe-leftover",
    Kind.LEFTOVER,
    Severity.INFO,
    node=NodeKind.LAYER_DIR,
    needs=frozenset({Source.OVERLAY2, Source.ENGINE}),
    remedies=(QUARANTINE_ONLINE,),
    suspects=suspects.odd_dirs,
)
def probe_leftover(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A test dir that the engine makes at its start, to learn what the kernel can, was left behind.

    Harm: none but a few inodes.
    Cause: the engine was killed while it started.
    Remedy: quarantine, also while the engine runs, once it is older than the engine.
    Not this rule: layer dirs; these have names of 64 hex digits or 25 characters.
    """
    layer_dir = inventory.layer_dirs.get(LayerDirId(node.id))
    if layer_dir is not None and layer_dir.id.startswith(layout.PROBES):
        yield Fault(
            node,
            "A start-up probe of the engine was left behind.",
            (Evidence(layout.layer_dir(layer_dir.id), "removed after the probe", "present"),),
            since_ns=layer_dir.ctime_ns,
            paths=(layout.layer_dir(layer_dir.id),),
        )


@rule(
    "GCD114",
    "leaked-mount",
    Kind.HAZARD,
    Severity.WARNING,
    node=NodeKind.LAYER_DIR,
    needs=WHOLE_DIRS | {Source.MOUNTS, Source.ENGINE, Source.BUILD_SNAPSHOTS},
    suspects=suspects.mounted_dirs,
)
def leaked_mount(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    An overlay is mounted on a layer dir's ``merged``, though no record names that dir, or its container does not run.

    Harm: the mount holds the dir and all its lowers: their bytes cannot come back, and removal says "resource busy".
    Cause: another mount namespace copied the mount before the container stopped (a service with its own namespace, an
    agent that binds the root), or the engine was killed.
    Remedy: none by gcd; restart the process that holds it, or unmount it there.
    Not this rule: mounts of running containers and of builds; a moment's mount by ``docker cp`` or ``export``.
    """
    dir_id = LayerDirId(node.id)
    mounts = graph.mounts_of(dir_id)
    if not mounts or not _is_idle(inventory, graph, dir_id):
        return
    layer_dir = inventory.layer_dirs.get(dir_id)
    yield Fault(
        node,
        "An overlay is mounted here, but nothing runs that needs it.",
        tuple(
            Evidence(m.mount_point, "no mount", f"{m.fstype} held by pid {', '.join(map(str, m.pids))} ({m.holder})")
            for m in mounts
        ),
        since_ns=layer_dir.ctime_ns if layer_dir is not None else None,
    )


@rule(
    "GCD115",
    "occupied-mountpoint",
    Kind.HAZARD,
    Severity.WARNING,
    node=NodeKind.LAYER_DIR,
    needs=frozenset({Source.OVERLAY2, Source.MOUNTS}),
    suspects=suspects.odd_dirs,
)
def occupied_mountpoint(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A ``merged`` dir holds files, though nothing is mounted on it.

    Harm: the files are hidden as soon as the container starts, and count nowhere.
    Cause: something wrote to the path of a container's filesystem while the container was stopped.
    Remedy: none by gcd: while the container is stopped, look into ``overlay2/<id>/merged`` and move away what is there;
    it may be somebody's data.
    Not this rule: an empty ``merged`` of a stopped container, which is healthy.
    """
    layer_dir = inventory.layer_dirs.get(LayerDirId(node.id))
    if layer_dir is not None and layer_dir.merged_is_empty is False and is_whole(inventory, graph, layer_dir):
        yield Fault(
            node,
            "The merged dir holds files, though nothing is mounted on it.",
            (Evidence(f"{layout.layer_dir(layer_dir.id)}/{layout.MERGED}", "an empty directory", "entries in it"),),
        )


def _is_idle(inventory: Inventory, graph: StoreGraph, dir_id: LayerDirId) -> bool:
    """Whether nothing but mounts names the dir, or it is that of a container which is known not to run."""
    record = graph.rw_layers_by_dir.get(dir_id)
    container = inventory.containers.get(ContainerId(record.name)) if record is not None else None
    if container is not None and isinstance(container.config, Present):
        return not container.config.value.running
    return all(owner.kind is NodeKind.MOUNT for owner in graph.owners(dir_id))


RULES = (unreadable_link_file, missing_work_dir, missing_diff_dir, probe_leftover, leaked_mount, occupied_mountpoint)
