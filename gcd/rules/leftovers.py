"""GCD601 to GCD605: what interrupted work left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import edges, layout
from gcd.model.facts import EngineState
from gcd.model.finding import Evidence, Fault, Kind, Node, NodeKind, Severity
from gcd.model.ids import ContainerId, LayerDirId
from gcd.model.inventory import Source
from gcd.model.reading import Absent, Present, describe, value_of
from gcd.rules import belonging
from gcd.rules.needs import EVERY_REFERENCE
from gcd.rules.remedies import QUARANTINE_ONLINE, QUARANTINE_STOPPED, QUARANTINE_STOPPED_OPT_IN
from gcd.rules.rule import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph

_UNFINISHED = frozenset({NodeKind.REMOVING_LAYER, NodeKind.WRITE_SET})


@rule(
    "GCD601",
    "abandoned-write-set",
    Kind.LEFTOVER,
    Severity.WARNING,
    node=NodeKind.WRITE_SET,
    needs=EVERY_REFERENCE,
    remedies=(QUARANTINE_ONLINE,),
)
def abandoned_write_set(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A layer's registration was begun and never finished.

    Harm: some disk space, more where the write set names a layer dir already. No start of the engine removes it (seen
    with 20.10.24 and 26.1.5).
    Cause: the engine was killed during a pull, a load, an import, a commit or a build.
    Remedy: quarantine, also while the engine runs, once it is older than the engine.
    Not this rule: the layer dir that was being filled: a write set does not name it until the very end (GCD101).
    """
    write_set = inventory.write_sets.get(node.id)
    if write_set is None:
        return
    path = layout.write_set(write_set.name)
    own, _ = _dirs_named(inventory, graph, value_of(write_set.cache_id))
    yield Fault(
        node,
        "The registration of a layer was begun and not finished.",
        (Evidence(path, "a layer record in its place", "a write set"),),
        since_ns=max(write_set.ctime_ns, *(inventory.layer_dirs[d].ctime_ns for d in own), 0),
        paths=(path, *belonging.freed_paths(graph, own)),
    )


@rule(
    "GCD602",
    "removing-layer",
    Kind.LEFTOVER,
    Severity.WARNING,
    node=NodeKind.REMOVING_LAYER,
    needs=EVERY_REFERENCE,
    remedies=(QUARANTINE_STOPPED,),
)
def removing_layer(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A layer's removal was begun and never finished.

    Harm: disk space, until the engine is stopped in an orderly way: only then it removes what such a record names.
    It does so unseen: if the dir has become that of a living layer meanwhile, that layer's files are deleted. A record
    without ``cache-id`` stays for ever. All three seen with 20.10.24 and 26.1.5; older engines leave no such records.
    Cause: the engine was killed during ``docker rmi`` or a prune.
    Remedy: with the engine stopped, quarantine the record with its dir. Where something that lives needs the dir, gcd
    offers none: do not stop the engine in the orderly way; kill it, then move the record aside by hand.
    Not this rule: a removal that is under way, which takes minutes for big layers.
    """
    removing = inventory.removing.get(node.id)
    if removing is None:
        return
    path = layout.removing_record(removing.name)
    own, needed_by = _dirs_named(inventory, graph, value_of(removing.cache_id))
    summary = "The removal of a layer was begun and not finished."
    evidence = [Evidence(path, "removed", "present")]
    if needed_by:
        summary = (
            f"The removal of a layer was begun and not finished, and its dir is in use: {_listed(needed_by)}; "
            "the next orderly stop of the engine deletes that dir."
        )
        evidence.append(Evidence(f"{path}/{layout.CACHE_ID}", "a dir of its own", describe(removing.cache_id)))
    yield Fault(
        node,
        summary,
        tuple(evidence),
        since_ns=max(removing.ctime_ns, *(inventory.layer_dirs[d].ctime_ns for d in own), 0),
        paths=() if needed_by else (path, *belonging.freed_paths(graph, own)),
        remedies=() if needed_by else None,
    )


@rule(
    "GCD603",
    "temporary-file",
    Kind.LEFTOVER,
    Severity.INFO,
    node=NodeKind.TEMPORARY_FILE,
    needs=frozenset({Source.ENGINE}),
    remedies=(QUARANTINE_ONLINE,),
)
def temporary_file(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A temporary file, which the engine writes before it puts it in the place of another, was left behind.

    Harm: none but an inode: the engine never looks at it, and no start removes it (seen with 20.10.24 and 26.1.5).
    Cause: the engine was killed, or the disk was full, in the moment of the writing.
    Remedy: quarantine, also while the engine runs, once it is older than the engine.
    Not this rule: a copy of a file that is itself missing or damaged, for it may be what mends that (GCD106, GCD307,
    GCD403, GCD404); what is in a layer dir that nothing refers to (GCD101).
    """
    temporary = inventory.temporaries.get(node.id)
    if temporary is not None and not _is_wanted(inventory, graph, temporary.path):
        yield Fault(
            node,
            "A temporary file was left behind.",
            (Evidence(temporary.path, "renamed or removed", "present"),),
            since_ns=temporary.ctime_ns,
            paths=(temporary.path,),
        )


@rule(
    "GCD604",
    "engine-temporary-file",
    Kind.LEFTOVER,
    Severity.INFO,
    node=NodeKind.TEMPORARY_FILE,
    needs=frozenset({Source.TEMPORARIES, Source.ENGINE}),
    remedies=(QUARANTINE_STOPPED,),
)
def engine_temporary_file(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A file that a pull, a build or a load was working with is still in ``tmp`` or ``tmp-old``.

    Harm: disk space, often as much as an image has. The engine removes those in ``tmp`` at its next start, but does not
    look at those in ``tmp-old`` again (seen with 20.10.24 and 26.1.5).
    Cause: the engine was killed during the work; in ``tmp-old``, also during the cleaning after it.
    Remedy: start the engine; or, with the engine stopped, quarantine.
    Not this rule: files of the engine that runs.
    """
    temporary = inventory.engine_temporaries.get(node.id)
    if temporary is None:
        return
    if inventory.engine.state is EngineState.RUNNING and not graph.is_settled(temporary.ctime_ns):
        return
    yield Fault(
        node,
        "A temporary file of a pull, a build or a load was left behind.",
        (Evidence(temporary.path, "removed at the end of the work", "present"),),
        since_ns=temporary.ctime_ns,
        paths=(temporary.path,),
    )


@rule(
    "GCD605",
    "plugin-remains",
    Kind.LEFTOVER,
    Severity.WARNING,
    node=NodeKind.PLUGIN,
    needs=frozenset({Source.PLUGINS}),
    remedies=(QUARANTINE_STOPPED_OPT_IN,),
)
def plugin_remains(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A plugin's directory outlived its removal, or has no ``config.json``.

    Harm: disk space. Seen with 20.10.24 and 26.1.5: both stay through every start, and ``docker plugin ls`` does not
    show them. Of the second the engine says ``missing plugin config … requires manual cleanup``; the first it means to
    clear away at its start, but looks for it in the wrong place.
    Cause: the engine was killed during ``docker plugin rm`` or ``install``, or the directory was busy.
    Remedy: with the engine stopped, quarantine it, after a look into ``propagated-mount``, which may hold a volume
    plugin's data.
    Not this rule: a ``config.json`` that cannot be read: the engine skips such a plugin.
    """
    plugin = inventory.plugins.get(node.id)
    if plugin is None:
        return
    is_removing = plugin.id.endswith(layout.REMOVING_SUFFIX)
    if not is_removing and not isinstance(plugin.config, Absent):
        return
    path = layout.plugin(plugin.id)
    yield Fault(
        node,
        "The removal of a plugin was begun and not finished." if is_removing else "This plugin has no configuration.",
        (
            Evidence(path, "removed", "present")
            if is_removing
            else Evidence(f"{path}/{layout.PLUGIN_CONFIG}", "a plugin's configuration", "absent"),
        ),
        since_ns=plugin.ctime_ns,
        paths=(path,),
    )


def _dirs_named(
    inventory: Inventory, graph: StoreGraph, cache_id: LayerDirId | None
) -> tuple[tuple[LayerDirId, ...], tuple[Node, ...]]:
    """
    The layer dir that unfinished work names, if it is there and nothing else needs it; else what needs it.

    Records of other unfinished work do not count, nor layer dirs that only such work names.
    """
    layer_dir = inventory.layer_dirs.get(cache_id) if cache_id is not None else None
    if layer_dir is None:
        return (), ()
    citers = {*graph.citers_of(layer_dir.id)} - {layer_dir.id}
    needed_by = (
        *(owner for owner in graph.owners(layer_dir.id) if owner.kind not in _UNFINISHED),
        *(edges.dir_node(citer) for citer in sorted(citers) if not _is_unfinished(graph, citer)),
    )
    return (() if needed_by else (layer_dir.id,)), needed_by


def _is_unfinished(graph: StoreGraph, layer_dir: LayerDirId) -> bool:
    owners = graph.owners(layer_dir)
    return bool(owners) and all(owner.kind in _UNFINISHED for owner in owners)


def _listed(nodes: tuple[Node, ...]) -> str:
    return ", ".join(f"{node.kind} {node.id}" for node in nodes[:4]) + (", …" if len(nodes) > 4 else "")


def _is_wanted(inventory: Inventory, graph: StoreGraph, path: str) -> bool:
    """Whether the temporary file at `path` may be of use, or goes with something else."""
    folder, _, name = path.rpartition("/")
    if folder == layout.image_tree():
        references = value_of(inventory.repositories)
        return references is None or not references.references
    place, _, owner = folder.rpartition("/")
    container = inventory.containers.get(ContainerId(owner)) if place == layout.CONTAINERS else None
    if container is not None:
        is_host = name.startswith(f"{layout.TEMPORARY_PREFIX}{layout.HOST_CONFIG}")
        return not isinstance(container.host_config if is_host else container.config, Present)
    layer_dir = inventory.layer_dirs.get(LayerDirId(owner)) if place == layout.OVERLAY2 else None
    if layer_dir is None:
        return False
    is_link = name.startswith(f"{layout.TEMPORARY_PREFIX}{layout.LINK}")
    return layer_dir.id not in graph.referenced_dirs or (is_link and not isinstance(layer_dir.link, Present))


RULES = (abandoned_write_set, removing_layer, temporary_file, engine_temporary_file, plugin_remains)
