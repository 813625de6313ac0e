"""GCD305, 307, 308 and 309: containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.finding import Evidence, Fault, Kind, Node, NodeKind, Severity
from gcd.model.ids import ContainerId, RwLayerName
from gcd.model.inventory import Source
from gcd.model.reading import Empty, Malformed, Present, Unreadable, describe, value_of
from gcd.rules import belonging, suspects
from gcd.rules.remedies import QUARANTINE_STOPPED, QUARANTINE_STOPPED_OPT_IN, REPAIR_STOPPED_OPT_IN, to
from gcd.rules.rule import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.facts import Container
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph


@rule(
    "GCD305",
    "container-without-rw-layer",
    Kind.DANGLING,
    Severity.ERROR,
    node=NodeKind.CONTAINER,
    needs=frozenset({Source.CONTAINERS, Source.RW_LAYERS}),
    suspects=suspects.odd_containers,
)
def container_without_rw_layer(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A container has no rw layer record.

    Harm: the engine cannot load it (``failed to load container mount``): it vanishes from the lists, its directory
    stays.
    Cause: power loss took ``layerdb/mounts/<id>``; a hand that cleaned there.
    Remedy: none by gcd: find its pair of dirs among the orphans that it blocks (GCD101, GCD116). With the engine
    stopped make ``image/overlay2/layerdb/mounts/<container id>`` with the files ``mount-id`` (the name of the rw dir),
    ``init-id`` (the same with ``-init``) and ``parent`` (the top chain id of its image: ``gcd inspect`` shows it), no
    newline in any: the container is back with its data at the next start (seen with 20.10.24).
    Not this rule: a container of another driver; one whose removal has begun (GCD309).
    """
    container = inventory.containers.get(ContainerId(node.id))
    config = value_of(container.config) if container else None
    if container is None or config is None or config.driver != inventory.store or config.is_being_removed:
        return
    name = RwLayerName(container.id)
    if name not in inventory.rw_layers:
        yield Fault(
            node,
            "This container has no rw layer record, so the engine does not load it.",
            (Evidence(layout.rw_layer_record(name), "an rw layer record", "absent"),),
            since_ns=container.ctime_ns,
        )


@rule(
    "GCD307",
    "unreadable-container-config",
    Kind.DAMAGED,
    Severity.CRITICAL,
    node=NodeKind.CONTAINER,
    needs=frozenset({Source.CONTAINERS}),
    remedies=(REPAIR_STOPPED_OPT_IN, QUARANTINE_STOPPED_OPT_IN),
    suspects=suspects.odd_containers,
)
def unreadable_container_config(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The engine cannot read a container's ``config.v2.json`` or ``hostconfig.json``.

    Harm: the container vanishes from the lists (``Failed to load container: EOF``) while its rw layer stays; at
    ``"Config": null`` the engine panics at start (then critical).
    Cause: power loss on an old filesystem, an editor, a crash while volumes were being filled for a new container.
    Remedy: with the engine stopped, take a newer valid temporary copy (``.tmp-config.v2.json…``) in the file's place;
    if there is none and the engine panics, quarantine the file. A container that comes back may be started by its
    restart policy, and one with AutoRemove is removed with its data. Keep its rw layer either way.
    Not this rule: a missing ``hostconfig.json``, which the engine accepts; a config that says another id (GCD308).
    """
    container = inventory.containers.get(ContainerId(node.id))
    if container is None:
        return
    evidence = tuple(_config_damage(container))
    if not evidence:
        return
    config = value_of(container.config)
    is_fatal = config is not None and not config.has_config
    copies = _copies(container, evidence)
    yield Fault(
        node,
        f"The engine {'panics at' if is_fatal else 'cannot read'} this container's configuration"
        + (f"; temporary copies of it are there: {', '.join(copies)}." if copies else "."),
        evidence,
        since_ns=container.ctime_ns,
        paths=(evidence[0].where,) if is_fatal else (),
        severity=None if is_fatal else Severity.ERROR,
        remedies=(
            *(to(REPAIR_STOPPED_OPT_IN, f"put {copies[-1]} in its place if that is valid and newer") if copies else ()),
            *(to(QUARANTINE_STOPPED_OPT_IN, f"move {evidence[0].where} aside") if is_fatal else ()),
        ),
    )


@rule(
    "GCD308",
    "container-id-mismatch",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.CONTAINER,
    needs=frozenset({Source.CONTAINERS}),
    suspects=suspects.odd_containers,
)
def container_id_mismatch(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A container's config says another id than its directory's name.

    Harm: the engine refuses to load it (``Container X is stored at Y``): it vanishes from the lists.
    Cause: a directory that was copied or renamed by hand.
    Remedy: none by gcd: put the directory back under its own id, or take the copy away.
    Not this rule: a config that says no id at all, for which the engine takes the directory's name.
    """
    container = inventory.containers.get(ContainerId(node.id))
    config = value_of(container.config) if container else None
    if container is not None and config is not None and config.id and config.id != container.id:
        yield Fault(
            node,
            f"The config of this container is that of container {config.id[:80]!a}.",
            (Evidence(_config_path(container), container.id, ascii(config.id[:80])),),
        )


@rule(
    "GCD309",
    "dead-container-remains",
    Kind.LEFTOVER,
    Severity.WARNING,
    node=NodeKind.CONTAINER,
    needs=frozenset({Source.CONTAINERS, Source.RW_LAYERS, Source.OVERLAY2, Source.LINKS}),
    remedies=(QUARANTINE_STOPPED,),
    suspects=suspects.odd_containers,
)
def dead_container_remains(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A container's removal was begun and never finished.

    Harm: disk space; its name stays taken, and its image cannot be removed. Without its rw layer record the engine does
    not even load it, so that ``docker rm`` does not know it, and its name is free.
    Cause: the engine was killed during ``docker rm``, or gave up because the dir was busy.
    Remedy: ``docker rm -f`` while the record is there; else, with the engine stopped, quarantine what is left.
    Not this rule: a removal that is under way, which takes minutes for big containers. The engine writes the config of
    each container that it loads at every start, so that with a running engine one cannot tell them apart by age, and
    such remains stay suspected.
    """
    container = inventory.containers.get(ContainerId(node.id))
    config = value_of(container.config) if container else None
    if container is None or config is None or not config.is_being_removed:
        return
    record = inventory.rw_layers.get(RwLayerName(container.id))
    dirs = belonging.dirs_of(inventory, record) if record else ()
    left = (
        "its rw layer record and layer dirs are" if dirs else "its rw layer record is" if record else "no rw layer is"
    )
    yield Fault(
        node,
        f"The removal of this container was begun and not finished; {left} left.",
        (Evidence(_config_path(container), "Dead: false", "Dead" if config.dead else "RemovalInProgress"),),
        since_ns=container.ctime_ns,
        paths=(
            layout.container(container.id),
            *((layout.rw_layer_record(record.name),) if record else ()),
            *belonging.freed_paths(graph, dirs),
        ),
    )


def _config_path(container: Container) -> str:
    return f"{layout.container(container.id)}/{layout.CONTAINER_CONFIG}"


def _config_damage(container: Container) -> Iterator[Evidence]:
    config, host_config = container.config, container.host_config
    if not isinstance(config, Present):
        yield Evidence(_config_path(container), "a container's configuration", describe(config))
    elif not config.value.has_config:
        yield Evidence(_config_path(container), '"Config": {…}', '"Config": null')
    if isinstance(host_config, Empty | Malformed | Unreadable):
        where = f"{layout.container(container.id)}/{layout.HOST_CONFIG}"
        yield Evidence(where, "a host configuration, or no file", describe(host_config))


def _copies(container: Container, evidence: tuple[Evidence, ...]) -> tuple[str, ...]:
    """The temporary copies of the damaged files."""
    damaged = tuple(f"{layout.TEMPORARY_PREFIX}{item.where.rpartition('/')[2]}" for item in evidence)
    return tuple(name for name in container.temporaries if name.startswith(damaged))


RULES = (
    container_without_rw_layer,
    unreadable_container_config,
    container_id_mismatch,
    dead_container_remains,
)
