"""GCD801 to GCD805: what could not be read, other stores in the root, the engine's own files, several engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.facts import FileType
from gcd.model.finding import Evidence, Fault, Kind, Node, NodeKind, Severity
from gcd.model.inventory import BUILD_DATABASES, Coverage, Source
from gcd.model.reading import Malformed, Unreadable, describe
from gcd.rules.damage import database_is_damaged, file_is_damaged
from gcd.rules.rule import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph


@rule("GCD801", "source-unreadable", Kind.HAZARD, Severity.ERROR, node=NodeKind.SOURCE, needs=frozenset())
def source_unreadable(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A part of the root could not be read, or not in full.

    Harm: the rules that need it did not run. No finding of theirs means nothing, and what it may refer to is not called
    an orphan.
    Cause: gcd runs without root rights; a bad disk; a damaged directory or database.
    Remedy: run gcd as root; look into the kernel's log for errors of the disk.
    Not this rule: a damaged database of BuildKit (GCD501) or ``repositories.json`` (GCD403); a database that changed at
    every attempt to read it: run again when the engine is less busy.
    """
    source = Source(node.id)
    state = inventory.sources.get(source)
    if isinstance(inventory.build_cache.databases.get(BUILD_DATABASES.get(source, "")), Malformed):
        return
    if source is Source.REPOSITORIES and file_is_damaged(inventory.repositories):
        return
    if state is not None and state.coverage in {Coverage.PARTIAL, Coverage.UNREADABLE}:
        effect = "could not be read in full" if state.coverage is Coverage.PARTIAL else "could not be read"
        yield Fault(
            node,
            f"The source {node.id} {effect}: {state.why}.",
            (Evidence(node.id, "read in full", state.coverage.value),),
        )


@rule("GCD802", "dormant-store", Kind.HAZARD, Severity.INFO, node=NodeKind.STORE, needs=frozenset())
def dormant_store(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The root holds the tree of another store, which this engine does not use.

    Harm: disk space only. Its images and containers are whole, and are back when the engine is told to use it.
    Cause: the storage driver, the image store or the user namespace of the engine was changed.
    Remedy: none by gcd, which never calls it an orphan. If it is not wanted any more, remove it by hand.
    Not this rule: the store that the engine uses.
    """
    for store in inventory.dormant:
        if store.path == node.id:
            yield Fault(
                node,
                f"{store.path} belongs to another store ({store.driver}), which is not in use.",
                (Evidence(store.path, f"the store in use is {inventory.store}", store.driver),),
                paths=(store.path,),
            )


@rule("GCD803", "database-damaged", Kind.DAMAGED, Severity.CRITICAL, node=NodeKind.DATABASE, needs=frozenset())
def database_damaged(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A database of the engine (volumes, network) is damaged.

    Harm: the engine does not start (measured with either file truncated).
    Cause: power loss, a full disk, a bad disk.
    Remedy: none by gcd. With the engine stopped, put the file back from a backup, or move it aside: the engine makes a
    new one. Volumes stay as they are, but lose their labels and options; networks have to be made again.
    Not this rule: BuildKit's databases (GCD501).
    """
    reading = inventory.databases.get(node.id)
    if reading is not None and database_is_damaged(reading):
        yield Fault(
            node,
            f"The engine's database {node.id} is damaged: it will not start.",
            (Evidence(node.id, "a bolt database", describe(reading)),),
        )


@rule(
    "GCD804",
    "several-engines",
    Kind.HAZARD,
    Severity.ERROR,
    node=NodeKind.ENGINE,
    needs=frozenset({Source.ENGINE}),
)
def several_engines(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    More than one engine holds files of this root.

    Harm: each engine keeps its own books in memory and deletes what it does not know: images and containers get lost.
    gcd proves nothing while it lasts.
    Cause: Docker in a container with the host's root mounted; a second dockerd with the same data root.
    Remedy: stop all but one.
    Not this rule: other engines with roots of their own.
    """
    if inventory.engine.others:
        pids = ", ".join(map(str, sorted(inventory.engine.others)))
        yield Fault(
            node,
            f"Further engines hold files of this root: pid {pids}.",
            (Evidence("locks of the root's databases", f"one holder ({inventory.engine.pid})", f"also {pids}"),),
        )


@rule(
    "GCD805",
    "unreadable-volume-options",
    Kind.DAMAGED,
    Severity.CRITICAL,
    node=NodeKind.VOLUME,
    needs=frozenset({Source.VOLUMES}),
)
def unreadable_volume_options(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The engine cannot read a volume's ``opts.json``.

    Harm: the engine does not start. Seen with 20.10.24 and 26.1.5: at an empty file or one that is no such object it
    says ``error while unmarshaling volume options`` and exits. What is no file in its place it passes over: then it
    takes the volume for a plain one, so that what is written to it goes to the host's own disk (error).
    Cause: power loss, a full disk, an editor.
    Remedy: none by gcd, which never touches a volume. With the engine stopped, write the options anew (``MountType``,
    ``MountOpts``, ``MountDevice``); if the volume was a plain one, made without options, move the file aside. Its
    ``_data`` stays as it is.
    Not this rule: a volume without ``opts.json``, as most are; volumes in no container, which are healthy.
    """
    volume = inventory.volumes.get(node.id)
    if volume is None or not file_is_damaged(volume.options):
        return
    is_no_file = isinstance(volume.options, Malformed) and volume.options.expected == FileType.FILE.noun
    is_fatal = not is_no_file and not isinstance(volume.options, Unreadable)
    effect = "and does not start" if is_fatal else "and takes the volume for one without"
    yield Fault(
        node,
        f"The engine cannot read the options of this volume, {effect}.",
        (
            Evidence(
                f"{layout.volume(volume.name)}/{layout.VOLUME_OPTIONS}", "a volume's options", describe(volume.options)
            ),
        ),
        severity=None if is_fatal else Severity.ERROR,
    )


RULES = (source_unreadable, dormant_store, database_damaged, several_engines, unreadable_volume_options)
