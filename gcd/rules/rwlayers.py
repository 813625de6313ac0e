"""GCD301 to GCD304, 306 and 310: rw layer records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.finding import Evidence, Fault, Kind, Node, NodeKind, Remedy, Severity
from gcd.model.ids import ContainerId, RwLayerName, init_dir_of, is_build_id, is_hex64
from gcd.model.inventory import Source
from gcd.model.reading import Absent, Present, describe, value_of
from gcd.rules import belonging, suspects
from gcd.rules.remedies import (
    QUARANTINE_STOPPED,
    QUARANTINE_STOPPED_MANUAL,
    QUARANTINE_STOPPED_OPT_IN,
    REPAIR_STOPPED_OPT_IN,
    to,
    write,
)
from gcd.rules.rule import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.facts import RwLayerRecord
    from gcd.model.inventory import Inventory
    from gcd.model.reading import Reading
    from gcd.model.storegraph import StoreGraph

NEEDS = frozenset({Source.RW_LAYERS, Source.CONTAINERS, Source.OVERLAY2})


@rule(
    "GCD301",
    "unreadable-mount-id",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.RW_LAYER,
    needs=NEEDS,
    remedies=(REPAIR_STOPPED_OPT_IN,),
    suspects=suspects.odd_rw_layers,
)
def unreadable_mount_id(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The ``mount-id`` of an rw layer record is missing, empty or no layer dir's name.

    Harm: the engine does not load the record: the container vanishes from its lists, and the dir with all that it wrote
    looks like an orphan.
    Cause: power loss: the engine writes this file without fsync, in all versions.
    Remedy: with the engine stopped, write the id again that the init id or the one free pair of dirs on the same image
    proves. The container is then back at the next start: its restart policy may start it, and with AutoRemove the
    engine removes it and its data, so save its ``diff`` first.
    Not this rule: a sound id whose dir is missing (GCD306); a container that is being removed (GCD309).
    """
    record = _standing_record(inventory, graph, node)
    if record is None or isinstance(record.mount_id, Present):
        return
    implied = belonging.implied_mount_id(inventory, graph, record)
    yield Fault(
        node,
        "The mount id of this rw layer record cannot be read, so the engine does not load it.",
        (_file(record, layout.MOUNT_ID, implied or "64 hex digits", record.mount_id),),
        since_ns=record.ctime_ns,
        severity=_severity(inventory, graph, record),
        remedies=_mend(inventory, record, layout.MOUNT_ID, implied),
    )


@rule(
    "GCD302",
    "unreadable-init-id",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.RW_LAYER,
    needs=NEEDS,
    remedies=(REPAIR_STOPPED_OPT_IN,),
    suspects=suspects.odd_rw_layers,
)
def unreadable_init_id(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The ``init-id`` of an rw layer record is empty or no init dir's name, or missing though the init dir is there.

    Harm: empty: the engine does not load the record, and the container vanishes from its lists. Missing: all works, but
    the init dir stays behind when the container is removed (then only a warning).
    Cause: power loss: the engine writes this file without fsync, in all versions.
    Remedy: with the engine stopped, write ``<mount id>-init`` if that dir exists and the rw dir's ``lower`` starts with
    its link. A container that comes back may be started by its restart policy, and one with AutoRemove is removed.
    Not this rule: records without an init layer, which builds and image mounts make; a missing init dir (GCD306).
    """
    record = _standing_record(inventory, graph, node)
    if record is None or isinstance(record.init_id, Present):
        return
    mount_id = value_of(record.mount_id)
    init_dir = init_dir_of(mount_id) if mount_id else None
    is_missing = isinstance(record.init_id, Absent)
    if is_missing and (init_dir is None or init_dir not in inventory.layer_dirs):
        return
    implied = init_dir if mount_id and belonging.is_pair(inventory, graph, mount_id) else None
    yield Fault(
        node,
        "This rw layer record does not name its init dir, which is there."
        if is_missing
        else "The init id of this rw layer record cannot be read, so the engine does not load it.",
        (_file(record, layout.INIT_ID, implied or "64 hex digits and -init", record.init_id),),
        since_ns=record.ctime_ns,
        severity=Severity.WARNING if is_missing else _severity(inventory, graph, record),
        remedies=_mend(inventory, record, layout.INIT_ID, implied),
    )


@rule(
    "GCD303",
    "lost-rw-parent",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.RW_LAYER,
    needs=NEEDS | {Source.LINKS, Source.LAYERS, Source.IMAGES},
    remedies=(REPAIR_STOPPED_OPT_IN,),
    suspects=suspects.odd_rw_layers,
)
def lost_rw_parent(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The ``parent`` of an rw layer record is empty or no chain id, or missing though the container stands on layers.

    Harm: missing: silent; the record loads without a hold on the image, and the next ``rmi`` or prune deletes the
    layers under the container. Empty: the record is not loaded, and the container vanishes from the engine's lists.
    Cause: power loss, or a kill between two of the three writes that make a record.
    Remedy: no pull, load, rmi or prune before the repair. With the engine stopped, write the image's top chain, if the
    init dir's ``lower`` equals that chain by diff ids. A container that comes back may be started by its restart
    policy, and one with AutoRemove is removed.
    Not this rule: a container of an image without layers; a parent that is named but has no record (GCD212, GCD402).
    """
    record = _standing_record(inventory, graph, node)
    if record is None or isinstance(record.parent, Present):
        return
    is_missing = isinstance(record.parent, Absent)
    links = belonging.links_below(inventory, record)
    if is_missing and not links and not belonging.has_layers(inventory, graph, record):
        return
    implied = belonging.implied_parent(inventory, graph, record)
    effect = "its image can be deleted under it" if is_missing else "the engine does not load it"
    depth = Evidence(f"{layout.rw_layer_record(record.name)}/{layout.PARENT}", "none", f"{len(links)} layers in lower")
    yield Fault(
        node,
        f"This rw layer record lost its parent, so {effect}: no pull, load, rmi or prune before the repair.",
        (_file(record, layout.PARENT, implied or "sha256:<64 hex>", record.parent), *((depth,) if links else ())),
        since_ns=record.ctime_ns,
        severity=_severity(inventory, graph, record),
        remedies=_mend(inventory, record, layout.PARENT, implied),
    )


@rule(
    "GCD304",
    "ghost-rw-layer",
    Kind.HAZARD,
    Severity.WARNING,
    node=NodeKind.RW_LAYER,
    needs=NEEDS,
    remedies=(QUARANTINE_STOPPED_MANUAL,),
    suspects=suspects.rw_layers_without_container,
)
def ghost_rw_layer(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    An rw layer record of a container has no container.

    Harm: the engine loads it silently: it holds its dirs and all layers of its image for ever, and no command shows it.
    What it holds is what a container wrote, and may exist nowhere else.
    Cause: a crash between the making of the record and of ``containers/<id>``; a hand that removed the latter.
    Remedy: look at the rw dir's ``diff``, save what matters, then quarantine record and dirs by name with the engine
    stopped; never by policy.
    Not this rule: records without an init layer (GCD310); image mounts of a container that is there; a record whose rw
    dir is gone as well (GCD306).
    """
    record = inventory.rw_layers.get(RwLayerName(node.id))
    if record is None or belonging.is_owned(inventory, graph, record.name) or not belonging.has_init(inventory, record):
        return
    mount_id = value_of(record.mount_id)
    if mount_id is not None and mount_id not in inventory.layer_dirs:
        return
    yield _unowned(inventory, graph, record, "This rw layer record has no container; its dirs may hold user data.")


@rule(
    "GCD306",
    "missing-rw-dir",
    Kind.DANGLING,
    Severity.ERROR,
    node=NodeKind.RW_LAYER,
    needs=NEEDS,
    remedies=(QUARANTINE_STOPPED_OPT_IN,),
    suspects=suspects.odd_rw_layers,
)
def missing_rw_dir(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    An rw layer record names an rw dir or an init dir that does not exist.

    Harm: the container does not start (``stat overlay2/<id>: no such file or directory``); without its rw dir all that
    it wrote is gone. A record that has no container either only holds the layers of its image (then a warning).
    Cause: a crash during a removal, which takes the dirs before the record; a hand that cleaned in ``overlay2``.
    Remedy: if the container is gone too, quarantine the record with the engine stopped; else restore the dir from a
    backup, or remove the container with ``docker rm -f``, which works all the same, and make it anew.
    Not this rule: a container that is being removed (GCD309); a record whose mount id cannot be read (GCD301).
    """
    record = _standing_record(inventory, graph, node)
    if record is None:
        return
    named = [reading.value for reading in (record.mount_id, record.init_id) if isinstance(reading, Present)]
    missing = [layer_dir for layer_dir in named if layer_dir not in inventory.layer_dirs]
    if not missing:
        return
    is_gone = not belonging.is_owned(inventory, graph, record.name)
    what = "layer dirs" if len(missing) > 1 else "init dir" if missing[0] == value_of(record.init_id) else "rw dir"
    yield Fault(
        node,
        f"The {what} of this rw layer record {'do' if len(missing) > 1 else 'does'} not exist.",
        tuple(Evidence(layout.layer_dir(layer_dir), "a directory", "absent") for layer_dir in missing),
        since_ns=record.ctime_ns,
        paths=(layout.rw_layer_record(record.name),) if is_gone else (),
        severity=Severity.WARNING if is_gone else None,
        remedies=None if is_gone else (),
    )


@rule(
    "GCD310",
    "leaked-transient-rw-layer",
    Kind.ORPHAN,
    Severity.WARNING,
    node=NodeKind.RW_LAYER,
    needs=NEEDS | {Source.LINKS, Source.MOUNTS, Source.ENGINE},
    remedies=(QUARANTINE_STOPPED,),
    suspects=suspects.rw_layers_without_container,
)
def leaked_transient_rw_layer(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    An rw layer that a build made for one instruction was left behind.

    Harm: the engine loads it at each start: it holds its dir and all layers below for ever. No command shows it, and
    ``docker system prune -a`` leaves it.
    Cause: the engine was killed during a classic build's COPY or while BuildKit looked into a layer.
    Remedy: with the engine stopped, quarantine record and dir as one.
    Not this rule: records with an init layer, which are containers' (GCD304); image mounts; a dir that is mounted.
    """
    record = inventory.rw_layers.get(RwLayerName(node.id))
    if record is None or not (is_build_id(record.name) or is_hex64(record.name)):
        return
    mount_id = value_of(record.mount_id)
    if mount_id is None or mount_id not in inventory.layer_dirs or belonging.has_init(inventory, record):
        return
    if belonging.is_owned(inventory, graph, record.name):
        return
    if any(owner.kind is NodeKind.MOUNT for owner in graph.owners(mount_id)):
        return
    yield _unowned(inventory, graph, record, "No container and no build at work owns this rw layer record and its dir.")


def _standing_record(inventory: Inventory, graph: StoreGraph, node: Node) -> RwLayerRecord | None:
    """The record of `node`, unless its container is on its way out: then its files go one by one (safety rule S8)."""
    return None if graph.is_being_removed(node.id) else inventory.rw_layers.get(RwLayerName(node.id))


def _severity(inventory: Inventory, graph: StoreGraph, record: RwLayerRecord) -> Severity | None:
    """A warning where damage to `record` costs no container: a killed ``docker create`` leaves such records."""
    return None if belonging.is_owned(inventory, graph, record.name) else Severity.WARNING


def _file(record: RwLayerRecord, name: str, expected: str, found: Reading[str]) -> Evidence:
    return Evidence(f"{layout.rw_layer_record(record.name)}/{name}", expected, describe(found))


def _mend(inventory: Inventory, record: RwLayerRecord, name: str, value: str | None) -> tuple[Remedy, ...]:
    """
    The repair that writes `value` to the file `name`, with what the engine will then do (S13); none without a value.
    """
    if value is None:
        return ()
    container = inventory.containers.get(ContainerId(record.name))
    host = value_of(container.host_config) if container else None
    action = write(value, f"{layout.rw_layer_record(record.name)}/{name}")
    if host is not None and host.auto_remove:
        action += "; but save the rw dir's diff first: the container has AutoRemove, and the next start removes it"
    elif host is not None and host.restart_policy not in {"", "no"}:
        action += f"; the container's restart policy is {host.restart_policy[:20]!a}, and the next start may start it"
    return to(REPAIR_STOPPED_OPT_IN, action)


def _unowned(inventory: Inventory, graph: StoreGraph, record: RwLayerRecord, summary: str) -> Fault:
    name = ContainerId(record.name)
    return Fault(
        Node(NodeKind.RW_LAYER, record.name),
        summary,
        (Evidence(layout.container(name), "a container", "absent"),),
        since_ns=record.ctime_ns,
        paths=(
            layout.rw_layer_record(record.name),
            *belonging.freed_paths(graph, belonging.dirs_of(inventory, record)),
        ),
    )


RULES = (
    unreadable_mount_id,
    unreadable_init_id,
    lost_rw_parent,
    ghost_rw_layer,
    missing_rw_dir,
    leaked_transient_rw_layer,
)
